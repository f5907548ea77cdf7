"""Every branch of every kernel is taken, uncompiled, by the tests that a minute has room for.

    the tests chosen here ─► one process, NUMBA_DISABLE_JIT=1, coverage with branches ─► what lies in a kernel and was not met

What a kernel is, `kernels.py` says. Other code in these files (growing, exporting, the faces) is
judged by the rest of the suite. All scenarios are among the tests, on the engine alone and beside the reference with the
smallest tables: so this is also where they run on the engine uncompiled.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernels import FILES, HOME, kernels

ROOT = Path(__file__).resolve().parents[1]
# Whole files, or what of them the rest does not do in less time.
FLOWS = "smallest or events_and_rows or moment"
CHOICE = {
    "test_scenarios.py": "compiled",
    "test_agreement.py": FLOWS,
    "test_beyond_scenarios.py": "compiled and not 65536",
    "test_expiry.py": "not same_bytes and not benchmark",
    "test_barebook.py": "not compiled_and_uncompiled",
    "test_orderbook.py": "record or other_makes",
    "test_embed.py": "",
    "test_short_way.py": "tells_what or numbers or held",
    "test_hot.py": "twice or cut_short or busy",
    "test_bounds.py": "does_not_have",
    "test_marketdata.py": "",
    "test_backtest.py": "plain_replay",
}

SETTINGS = """
[run]
branch = true
data_file = {data}
source = {home}
omit =
    {others}
[report]
exclude_also =
    if TYPE_CHECKING:
"""


# ── what was met ─────────────────────────────────────────────────────────────────────────────────


def coverage(folder, *arguments):
    """Let coverage work in a process of its own, apart from one that may measure this one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE_", "PYTEST_"))}
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    env = kept | {"NUMBA_DISABLE_JIT": "1", "RIGHTSX_IN_PROCESS": "1", "RIGHTSX_SEED": "1", "PYTHONPATH": paths}
    head = [sys.executable, "-m", "coverage", arguments[0], f"--rcfile={folder / 'settings'}"]
    return subprocess.run([*head, *arguments[1:]], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def gaps(folder, tests):
    """Run pytest with these arguments and list what it did not meet of any kernel: file, kernel, lines, branches."""
    others = "\n    ".join(str(path) for path in HOME.rglob("*.py") if path not in FILES)
    (folder / "settings").write_text(SETTINGS.format(data=folder / "data", home=HOME, others=others))
    ran = coverage(folder, "run", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=1", *tests)
    assert ran.returncode == 0, ran.stdout[-4_000:] + ran.stderr[-2_000:]
    told = coverage(folder, "json", "-q", "-o", str(folder / "report"))
    assert told.returncode == 0, told.stdout + told.stderr
    report = json.loads((folder / "report").read_text())["files"]
    by_path = {(ROOT / name).resolve(): rows for name, rows in report.items()}
    lines = []
    for path, chosen in kernels().items():
        for kernel in chosen:
            first, last = kernel.lineno, kernel.end_lineno
            missed = [line for line in by_path[path]["missing_lines"] if first <= line <= last]
            jumps = [f"{a}→{'end' if b < 0 else b}" for a, b in by_path[path]["missing_branches"] if first <= a <= last]
            if missed or jumps:
                lines.append(f"{path.relative_to(ROOT)}: {kernel.name}: lines {missed}, branches {' '.join(jumps)}")
    return lines


def test_every_branch_of_every_kernel_is_taken_uncompiled(tmp_path):
    chosen = " or ".join(f"({file} and ({words}))" if words else file for file, words in CHOICE.items())
    missed = gaps(tmp_path, [*(f"tests/{file}" for file in CHOICE), "-k", chosen])
    assert not missed, "no test takes these:\n" + "\n".join(missed)


def test_a_branch_that_no_test_takes_is_named(tmp_path):
    """One scenario alone takes no stop, and says which lines were left."""
    missed = gaps(tmp_path, ["tests/test_scenarios.py", "-k", "S1_first_card and compiled"])
    (told,) = [line for line in missed if ": stop_enter: " in line]
    assert told.startswith("src/rightsx/engine/orders.py: stop_enter: lines [")
    assert not [line for line in missed if ": book_tables: " in line], "what is no kernel is not judged here"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("_jit.py", "mul_div"),
        ("_jit.py", "shift_right"),
        ("book.py", "node_split"),
        ("expiry.py", "wheel_call"),
        ("accounts.py", "lot_return"),
        ("embed.py", "embed_apply_batch"),
        ("engine/bare.py", "bare_call"),
        ("engine/barebook.py", "bare_entry"),
        ("engine/run.py", "engine_call"),
    ],
)
def test_what_is_compiled_is_known_as_a_kernel(file, name):
    assert name in {kernel.name for kernel in kernels()[HOME / file]}


def test_no_kernel_is_left_out_of_the_count():
    text = {path: path.read_text() for path in HOME.rglob("*.py")}
    assert {path for path, lines in text.items() if "@kernel" in lines or "@leaf" in lines} <= set(FILES)
    assert not [path.name for path in FILES if "pragma: no cover" in text[path]]
