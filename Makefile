# Each command sets up what it needs: a virtual environment in .venv, with this project in it.
#   make demo    run a market from listing to expiry and draw it      make test    run the tests
#   make check   style, types, layers, tests' own rules               make sim     random markets until stopped

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin

.PHONY: help demo test bounds mutants check bench sim crashes scale format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    a seeded market from listing to expiry: a table, an audit, a picture (demo.html)"
	@echo "make test    all tests; the reference engine's branches are covered to the last one"
	@echo "make bounds  all tests once more, every access of a row checked"
	@echo "make mutants kernels made a little wrong, and whether a test notices; SEED=n COUNT=n ARGS=--help"
	@echo "make check   ruff, mypy --strict, import-linter"
	@echo "make bench   nanoseconds per command, beside other libraries; adds its tables to benchmarks/HISTORY.md; ARGS=--help"
	@echo "make sim     random markets on both engines, compared, until stopped; SEED=n COMMANDS=n ARGS=--help"
	@echo "make crashes a million crashes of kept markets, damaged stores, killed processes; SEED=n ARGS=--help"
	@echo "make scale   a hundred thousand series, a hundred thousand holders, on both engines; ARGS=--help"
	@echo "make format  write the code as ruff would"

# Debian's python3 may come without ensurepip; pip can then fill the environment from outside.
$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rightsx needs Python 3.11 or later: make PYTHON=python3.12 …"; exit 1; }
	@echo "setting up $(VENV) …"
	@if $(PYTHON) -m venv $(VENV) 2>/dev/null; then $(RUN)/python -m pip install --quiet --editable '.[dev]'; \
	 else $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(RUN)/python install --quiet --editable '.[dev]' \
	 || { echo "this Python has neither venv nor pip: apt-get install python3-venv"; exit 1; }; fi
	@touch $@

demo: $(VENV)/ready
	$(RUN)/rightsx demo $(ARGS)

WORKERS ?= 2
test: $(VENV)/ready
	$(RUN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal --cov --cov-report=term --durations=30 $(ARGS)

bounds: $(VENV)/ready
	NUMBA_BOUNDSCHECK=1 $(RUN)/python -m pytest $(ARGS)

COUNT ?= 100
mutants: $(VENV)/ready
	$(RUN)/python tests/mutants.py --seed $(SEED) --count $(COUNT) $(ARGS)

check: $(VENV)/ready
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports --no-cache

bench: $(VENV)/ready
	$(RUN)/python benchmarks/bench.py $(ARGS)

SEED ?= 1
COMMANDS ?= 0
sim: $(VENV)/ready
	$(RUN)/python tests/simulate_forever.py --seed $(SEED) --commands $(COMMANDS) $(ARGS)

crashes: $(VENV)/ready
	$(RUN)/python tests/simulate_crashes.py --seed $(SEED) $(ARGS)

scale: $(VENV)/ready
	$(RUN)/python tests/scale.py $(ARGS)

format: $(VENV)/ready
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .coverage .hypothesis demo.html dist
