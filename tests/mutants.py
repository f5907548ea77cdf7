"""Do the tests notice a kernel that is a little wrong? Mutants of kernels, each judged until something differs: `make mutants`.

    a kernel's syntax tree ─► one place changed ─► compiled ─► put into the function, in a forked child, uncompiled
                                                                  └─► flows ─► scenarios ─► longer flows ─► unit tests

A mutant is one change: a comparison's border moved, a number one more or one less, plus for minus, a condition turned, `and` for
`or`, a statement left out. Uncompiled a kernel is a plain function, so a change is its code object exchanged, in memory and in a
child that ends with it: nothing on disk is touched. What kills is whatever differs, raises, dies, or does not come back.

First kernels that are exchanged for themselves are judged: they must survive everything, and say how long a child may take. The sample is drawn from all
mutants by a seed. A survivor is printed with the line that it changes, and with its number, which `--only` judges again; it is a
missing test or it changes nothing that anybody can see: then ALIKE says why.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final

if __name__ == "__main__" and os.environ.get("NUMBA_DISABLE_JIT") != "1":
    uncompiled = {"NUMBA_DISABLE_JIT": "1", "RIGHTSX_IN_PROCESS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.exit(subprocess.run([sys.executable, *sys.argv], env=os.environ | uncompiled, check=False).returncode)

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from agreement import Case, replay, run
from book_flow import SHAPES
from kernels import FILES, HOME, kernels
from market_shapes import MARKETS
from retelling import scenario_script
from twins import MarketTwins, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from retelling import Script

TESTS: Final = Path(__file__).parent
ENOUGH: Final = 0.95
CALL_S: Final = 10.0  # one call of a kernel, of at most some hundred commands
TEST_S: Final = 30.0  # one unit test
MEMORY: Final = 4 << 30
MUTATED: Final = [path for path in FILES if path.name not in ("_jit.py", "embed.py")]
BARE: Final = ("bare.py", "barebook.py")

# What changes nothing but how long something takes: a kernel, or a statement of one.
FASTER: Final = {"ask_early", "if head['live'] >= DEEP and head['handles'] == 0:"}
LONG_WAY: Final = "a command that is kept from the plain path goes the long way, to the same end"
# What nobody can see, and why: a kernel, and what its mutant has in the place of what.
ALIKE: Final[dict[tuple[str, str, str], str]] = {
    ("check_reference", "ref if ref >= 0 else INT64_MAX", "ref if ref >= 1 else INT64_MAX"): "a reference of 0 is none",
    ("bare_entry", "return -1", "return -2"): "Python asks whether the answer is negative",
    ("scratch_sort", "['key'] <= key", "['key'] < key"): "what is sorted once more, equal keys as they stand, is the same",
    ("check_sizes", "0 < display < qty", "0 <= display < qty"): "a display of 0 was let pass before",
    (
        "cold_operation",
        "world['taken'] + world",
        "world['taken'] - world",
    ): "the place of a part of the events need only be a new one",
    ("subscribe", "channel, g, 1)", "channel, g, 2)"): "a lot is primary or not",
    ("lot_make", "lot['next'] = NIL", "_ = 0"): "whoever makes a lot puts it into a list at once",
    ("lot_make", "lot['prev'] = NIL", "_ = 0"): "whoever makes a lot puts it into a list at once",
    ("run_plain", "time_ns < clock", "time_ns <= clock"): LONG_WAY,
}

# ── mutants ──────────────────────────────────────────────────────────────────────────────────────

BORDERS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}


@dataclass(frozen=True)
class Mutant:
    """One change of one kernel: at the `place`-th node of its tree, in one of the ways that there are for such a node."""

    number: int
    path: Path
    kernel: ast.FunctionDef
    place: int
    way: int

    def made(self) -> tuple[ast.FunctionDef, str, str, int]:
        """Give the changed tree, and the statement that was changed: before, after, and its line."""
        tree = copy.deepcopy(self.kernel)
        nodes = list(ast.walk(tree))
        node = nodes[self.place]
        around = [one for one in nodes if isinstance(one, ast.stmt) and any(inner is node for inner in ast.walk(one))]
        statement = around[-1]  # The walk goes from the outside in.
        before = ast.unparse(statement).splitlines()[0]
        list(ways(node, parents_of(tree).get(node)))[self.way](node)
        ast.fix_missing_locations(tree)
        return tree, before, ast.unparse(statement).splitlines()[0], statement.lineno

    def __str__(self) -> str:
        """Tell the change as a difference."""
        _, before, after, line = self.made()
        return f"{self.path.relative_to(HOME.parents[1])}:{line} {self.kernel.name}\n    - {before}\n    + {after}"

    @property
    def alike(self) -> str:
        """Say why nobody can see this change, if that is known."""
        _, before, after, _ = self.made()
        if before in FASTER:
            return "nothing but time"
        known = (
            why
            for (kernel, old, new), why in ALIKE.items()
            if kernel == self.kernel.name and before.replace(old, new, 1) == after
        )
        return next(known, "")


def exchange(path: Path, kernel: ast.FunctionDef) -> tuple[FunctionType, CodeType]:
    """Give the function of a kernel, and the code that this tree of it is."""
    module = importlib.import_module(".".join(path.relative_to(HOME.parent).with_suffix("").parts))
    plain = copy.deepcopy(kernel)
    plain.decorator_list = []
    code = compile(ast.Module([plain], []), str(path), "exec")
    return getattr(module, kernel.name), next(one for one in code.co_consts if isinstance(one, CodeType))


def steps(number: int, parent: ast.AST | None) -> tuple[int, ...]:
    """Say by how much a number is moved: not what is only asked to be 0 or not, nor a flag to 2."""
    if number == 0 and isinstance(parent, ast.Compare) and isinstance(parent.ops[0], (ast.Eq, ast.NotEq)):
        return ()
    return (-1,) if number == 1 and isinstance(parent, ast.Assign) else (1, -1)


def ways(node: ast.AST, parent: ast.AST | None) -> Iterator[Callable[[Any], None]]:
    """List what can be done to a node of a tree; each changes the node that it is given."""
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            if type(operator) in BORDERS:
                yield lambda it, at=at: it.ops.__setitem__(at, BORDERS[type(it.ops[at])]())
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        for step in steps(node.value, parent):
            yield lambda it, step=step: setattr(it, "value", it.value + step)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        yield lambda it: setattr(it, "op", ast.Sub() if isinstance(it.op, ast.Add) else ast.Add())
    elif isinstance(node, ast.BoolOp):
        yield lambda it: setattr(it, "op", ast.Or() if isinstance(it.op, ast.And) else ast.And())
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)) and not isinstance(node.test, ast.Constant):
        yield lambda it: setattr(it, "test", ast.UnaryOp(ast.Not(), it.test))
    elif isinstance(node, ast.AugAssign) or is_write(node):
        yield blank


def is_write(node: ast.AST) -> bool:
    """Say whether a statement sets a field, or calls for what the call does."""
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Subscript)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def blank(statement: Any) -> None:
    """Leave a statement out: `0` stands in its place."""
    if isinstance(statement, ast.Expr):
        statement.value = ast.copy_location(ast.Constant(0), statement.value)
    else:
        name = ast.copy_location(ast.Name("_", ast.Store()), statement)
        zero = ast.copy_location(ast.Constant(0), statement)
        statement.__class__, statement.__dict__ = ast.Assign, {**vars(statement), "targets": [name], "value": zero}


def parents_of(tree: ast.AST) -> dict[ast.AST, ast.AST]:
    """Give the parent of every node; those that trees share, such as operators, have none that anybody asks for."""
    return {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}


def is_row_number(node: ast.AST, parent: ast.AST | None) -> bool:
    """Say whether a number chooses the only row of a table: another one is out of range at once, which shows nothing."""
    return (
        isinstance(parent, ast.Call)
        and isinstance(parent.func, ast.Name)
        and parent.func.id.endswith("_at")
        and node is parent.args[-1]
    )


def mutants() -> list[Mutant]:
    """List all of them, in the order of the sources."""
    found: list[Mutant] = []
    by_path = kernels()
    for path in MUTATED:
        for kernel in by_path[path]:
            if kernel.name in FASTER:
                continue
            parents = parents_of(kernel)
            for place, node in enumerate(ast.walk(kernel)):
                parent = parents.get(node)
                if not is_row_number(node, parent):
                    found += [Mutant(len(found) + way, path, kernel, place, way) for way, _ in enumerate(ways(node, parent))]
    return found


# ── judging ──────────────────────────────────────────────────────────────────────────────────────


class Noticed(Exception):  # noqa: N818 - it is what is hoped for
    """Something differed."""


class Alarm:
    """A plugin of pytest that ends this process if a test does not."""

    def pytest_runtest_setup(self) -> None:
        """Begin a test."""
        signal.setitimer(signal.ITIMER_REAL, TEST_S)


def flows(names: Sequence[str], commands: int, seed: int, *, thorough: bool) -> None:
    """Compare some commands of each of these shapes with the reference."""
    for name in names:
        watch = Watch(CALL_S)
        watch.in_child = True
        outcome = run(Case(name, seed, commands, thorough=thorough), watch)
        if outcome.what:
            raise Noticed(name)


def scenarios(scripts: dict[str, Script]) -> None:
    """Compare all scenarios with the reference, with the smallest tables."""
    for name, script in scripts.items():
        watch = Watch(CALL_S)
        watch.in_child = True
        if replay(script, watch).what:
            raise Noticed(name)


def unit_tests(names: Sequence[str], words: str) -> None:
    """Let pytest run what these words choose of these files, in this process."""
    files = [str(TESTS / f"test_{name}.py") for name in names]
    with open(os.devnull, "w", encoding="utf-8") as nothing, redirect_stdout(nothing):  # noqa: PTH123 - no Path has this name
        ended = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=1", *files, "-k", words], plugins=[Alarm()])
    signal.setitimer(signal.ITIMER_REAL, 0)
    if ended != pytest.ExitCode.OK:
        raise Noticed(words)


def checks(path: Path | None, scripts: dict[str, Script]) -> Iterator[tuple[str, Callable[[], None]]]:
    """List what judges a mutant of a file, the fastest first; all there is for no file."""
    books = [f"book:{name}" for name in SHAPES]
    markets = list(MARKETS)
    by_book = path is None or path.name in (*BARE, "book.py")
    by_market = path is None or path.name not in BARE
    if by_book:
        yield "flows", lambda: flows(books, 200, 1, thorough=False)
    if by_market:
        yield "flows", lambda: flows(markets, 120, 1, thorough=False)
        yield "scenarios", lambda: scenarios(scripts)
        yield "longer flows", lambda: flows(markets, 500, 2, thorough=False)
        yield "longer flows", lambda: flows(markets, 250, 3, thorough=True)
    if path is None or path.name == "expiry.py":
        yield "unit tests", lambda: unit_tests(["expiry"], "not same_bytes and not benchmark")
    if by_book:
        yield (
            "unit tests",
            lambda: unit_tests(["barebook", "orderbook", "embed"], "not compiled_and_uncompiled and not reference-"),
        )
    if by_market:
        yield "unit tests", lambda: unit_tests(["agreement", "beyond_scenarios", "hostile"], "moment or (compiled and not 65536)")


def judged(mutant: Mutant | None, scripts: dict[str, Script], limit_s: float) -> str:
    """Judge a mutant in a child, at most so long; no mutant: every kernel exchanged for itself. Tells what noticed it, or ""."""
    if mutant:
        exchanges = [exchange(mutant.path, mutant.made()[0])]
    else:
        exchanges = [exchange(path, kernel) for path, every in kernels().items() if path in MUTATED for kernel in every]
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # Nothing interrupts a kernel but the end of its process.
        if mutant:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        for function, code in exchanges:
            function.__code__ = code
        os._exit(first_notice(mutant, scripts))
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done and os.WIFSIGNALED(status):
            return "hanging" if os.WTERMSIG(status) == signal.SIGALRM else "dying"
        if done:
            number = os.WEXITSTATUS(status)
            return [name for name, _ in checks(mutant.path if mutant else None, scripts)][number - 1] if number else ""
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hanging"


def first_notice(mutant: Mutant | None, scripts: dict[str, Script]) -> int:
    """Give the number, from 1, of the first check that this process fails, or 0; whatever is raised is a failure."""
    for number, (name, check) in enumerate(checks(mutant.path if mutant else None, scripts), 1):
        try:
            check()
        except BaseException as error:  # noqa: BLE001 - a wrong kernel may raise anything
            if mutant is None:
                print(f"unchanged kernels do not pass {name}: {error!r}", file=sys.stderr)
            return number
    return 0


# ── the run ──────────────────────────────────────────────────────────────────────────────────────


def survey(chosen: Sequence[Mutant], scripts: dict[str, Script], limit_s: float) -> tuple[int, int]:
    """Judge mutants in turn, tell how far it is, and of each survivor what it is: how many there were, and were noticed."""
    alike = 0
    by: Counter[str] = Counter()
    for count, mutant in enumerate(chosen, 1):
        how = judged(mutant, scripts, limit_s)
        if how:
            by[how] += 1
        elif mutant.alike:
            alike += 1
        else:
            print(f"\r{'':<110}\rsurvived: --only {mutant.number}: {mutant}", flush=True)
        line = f"{count} of {len(chosen)}: {by.total()} noticed, {count - by.total() - alike} survived, {alike} alike; {mutant.path.name}"
        print(f"\r{line:<110}", end="", flush=True)
    print("\nnoticed by " + ", ".join(f"{name} {number}" for name, number in by.most_common()))
    return len(chosen) - alike, by.total()


def main() -> int:
    """Read what is to be judged, and judge it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default 1)")
    parser.add_argument("--count", type=int, default=100, help="how many mutants (default 100)")
    parser.add_argument("--file", help="only mutants of files whose path ends so")
    parser.add_argument("--only", type=int, action="append", help="the mutant of this number; may be repeated")
    options = parser.parse_args()
    every = mutants()
    among = [mutant for mutant in every if mutant.path.as_posix().endswith(options.file or "")]
    sample = random.Random(options.seed).sample(among, min(options.count, len(among)))
    chosen = [every[number] for number in options.only] if options.only else sample
    scripts = {
        path.stem: scenario_script(path.read_text(), MarketTwins(event_rows=8, first_rows=8))
        for path in sorted((TESTS / "scenarios").glob("*.txt"))
    }
    print(f"{len(every):,} mutants, {len(chosen)} chosen by seed {options.seed}; unchanged kernels first …", flush=True)
    started = time.monotonic()
    if judged(None, scripts, 3_600):
        return 2
    usual_s = time.monotonic() - started
    print(f"they pass in {usual_s:.0f} s", flush=True)
    count, killed = survey(chosen, scripts, 3 * usual_s + 30)
    print(f"{killed} of {count} mutants were noticed ({killed / max(1, count):.1%}; {ENOUGH:.0%} are due)")
    return 0 if killed >= ENOUGH * count else 1


if __name__ == "__main__":
    sys.exit(main())
