"""The repository's own rules: STYLE as far as a machine can read it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
MODULES = [path for path in SOURCES if path.name not in ("__init__.py", "__main__.py")]
# At most five functions may be longer than a screen, each for a reason.
LONG_FUNCTIONS: dict[str, str] = {
    "bare.py:taker_match": "the loop of the bare book: cut in two, its counters would go through memory",
    "orders.py:place_plain": "one test that admits, and the writes that follow from it",
}
SCREEN = 60


def functions(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            has_doc = isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant)
            body = node.body[1:] if has_doc else node.body
            yield node.name, (node.end_lineno - body[0].lineno + 1) if body else 0


def test_a_function_fits_a_screen():
    assert len(LONG_FUNCTIONS) <= 5
    tests = sorted((ROOT / "tests").glob("*.py"))
    long = {f"{p.name}:{name}": n for p in [*SOURCES, *tests] for name, n in functions(p) if n > SCREEN}
    assert set(long) <= set(LONG_FUNCTIONS), long


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_file_is_one_idea_and_opens_with_what_it_is(path):
    text = path.read_text()
    assert text.count("\n") <= 1_000, "a file that outgrows 1,000 lines has become two ideas"
    essay = ast.get_docstring(ast.parse(text)) or ""
    assert essay.splitlines()[0].endswith((".", "?", ":")), essay[:80]


def test_dev_tools_are_the_same_for_pip_and_uv():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["optional-dependencies"]["dev"] == project["dependency-groups"]["dev"]


def test_the_core_depends_on_four_libraries_alone():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = {re.match(r"[a-z]+", line)[0] for line in project["project"]["dependencies"]}
    assert names == {"numpy", "numba", "sortedcontainers", "msgpack"}


def test_no_unfinished_work_is_left_in_the_code():
    words = "TO" + "DO|FIX" + "ME|XX" + "X|HA" + "CK"
    found = [
        f"{path.name}:{number}"
        for path in [*SOURCES, *(ROOT / "tests").glob("*.py")]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(rf"\b({words})\b", line) or re.search(r"except( Exception)?:", line)
    ]
    assert not found


def test_every_rule_is_cited_where_it_is_implemented():
    text = "\n".join(path.read_text() for path in (ROOT / "src/rightsx").rglob("*.py"))
    cited = {int(number) for number in re.findall(r"\bR(\d+)\b", text)}
    for first, last in re.findall(r"R(\d+) … R(\d+)", text):
        cited |= set(range(int(first), int(last) + 1))
    assert set(range(1, 50)) <= cited, set(range(1, 50)) - cited


def test_nothing_but_tests_needs_the_shared_data():
    for path in [*SOURCES, *(ROOT / "benchmarks").glob("*"), *(ROOT / "examples").glob("*"), ROOT / "README.md"]:
        if path.is_file():
            assert "../shared" not in path.read_text(), path


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_loads_neither_numpy_nor_numba():
    assert run_python("import sys, rightsx; print(sorted({'numba', 'numpy', 'msgpack'} & set(sys.modules)))") == "[]\n"


def test_help_loads_nothing_heavy():
    code = "import sys\nfrom rightsx.cli import parser\nparser()\nprint(sorted({'numba', 'numpy', 'msgpack'} & set(sys.modules)))"
    assert run_python(code) == "[]\n"


def test_the_public_names_are_all_there():
    code = "import rightsx\nfor name in rightsx.__all__: getattr(rightsx, name)\nprint(sorted(dir(rightsx)) == sorted([*rightsx.__all__, '__version__']))"
    assert run_python(code) == "True\n"


def test_an_unknown_public_name_is_an_attribute_error():
    import rightsx  # noqa: PLC0415

    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        rightsx.nothing  # noqa: B018


def test_the_rules_here_are_the_rules():
    shared = ROOT / os.environ.get("RIGHTSX_TEST_DATA", "../shared") / "RULES.md"
    if not shared.is_file():
        pytest.skip(f"{shared} is absent; it is what RULES.md was copied from")
    assert (ROOT / "RULES.md").read_text() == shared.read_text()
