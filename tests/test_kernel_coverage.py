"""Every branch of every kernel is taken, uncompiled, by the tests that a minute has room for.

    the tests chosen here ─► one process, NUMBA_DISABLE_JIT=1, coverage with branches ─► what lies in a kernel and was not met

A kernel is what `_jit` compiles: a function under `kernel` or `leaf`, one that an `entry` or a `callback` is made of, and,
uncompiled, whatever `_jit` puts in the place of an intrinsic. Other code in these files (growing, exporting, the faces) is
judged by the rest of the suite. All scenarios are among the tests, on the engine alone and beside the reference with the
smallest tables: so this is also where they run on the engine uncompiled.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "src" / "rightsx"
FILES = [HOME / name for name in ("_jit.py", "book.py", "expiry.py", "accounts.py", "embed.py")] + sorted(
    HOME.glob("engine/*.py")
)
MAKERS = {"kernel", "leaf", "entry", "exact_entry", "callback"}

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
}

SETTINGS = """
[run]
branch = true
data_file = {data}
source = {home}
[report]
exclude_also =
    if TYPE_CHECKING:
"""


# ── what is a kernel ─────────────────────────────────────────────────────────────────────────────


def entries(trees):
    """Name the functions that are handed to what compiles them, and those in the table of calls from C."""
    names = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
            names |= {argument.id for argument in node.args[:1] if isinstance(argument, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "CALLS":
            names |= {row.elts[0].id for row in node.value.values}
    return names


def plain_forms(tree):
    """List the functions that stand for intrinsics where nothing is compiled."""
    for node in tree.body:
        if isinstance(node, ast.If) and "COMPILED" in ast.unparse(node.test):
            yield from (one for part in node.orelse for one in ast.walk(part) if isinstance(one, ast.FunctionDef))
        elif isinstance(node, ast.ClassDef) and node.name == "Row":
            yield from (one for one in node.body if isinstance(one, ast.FunctionDef))


def kernels():
    """Give path → (name, first line, last line) of every kernel."""
    trees = {path: ast.parse(path.read_text()) for path in FILES}
    named = entries(trees.values())
    found = defaultdict(list)
    for path, tree in trees.items():
        chosen = list(plain_forms(tree)) if path.name == "_jit.py" else []
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                marks = {mark.id for mark in node.decorator_list if isinstance(mark, ast.Name)}
                if marks & {"kernel", "leaf"} or node.name in named:
                    chosen.append(node)
        found[path] = [(node.name, node.lineno, node.end_lineno) for node in chosen]
    return found


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
    (folder / "settings").write_text(SETTINGS.format(data=folder / "data", home=HOME))
    ran = coverage(folder, "run", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=1", *tests)
    assert ran.returncode == 0, ran.stdout[-4_000:] + ran.stderr[-2_000:]
    told = coverage(folder, "json", "-q", "-o", str(folder / "report"))
    assert told.returncode == 0, told.stdout + told.stderr
    report = json.loads((folder / "report").read_text())["files"]
    by_path = {(ROOT / name).resolve(): rows for name, rows in report.items()}
    lines = []
    for path, chosen in kernels().items():
        for name, first, last in chosen:
            missed = [line for line in by_path[path]["missing_lines"] if first <= line <= last]
            jumps = [f"{a}→{'end' if b < 0 else b}" for a, b in by_path[path]["missing_branches"] if first <= a <= last]
            if missed or jumps:
                lines.append(f"{path.relative_to(ROOT)}: {name}: lines {missed}, branches {' '.join(jumps)}")
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
    assert name in {kernel for kernel, _, _ in kernels()[HOME / file]}


def test_no_kernel_is_left_out_of_the_count():
    text = {path: path.read_text() for path in HOME.rglob("*.py")}
    assert {path for path, lines in text.items() if "@kernel" in lines or "@leaf" in lines} <= set(FILES)
    assert not [path.name for path in FILES if "pragma: no cover" in text[path]]
