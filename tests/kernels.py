"""Which functions are kernels, as the sources say it: for the checks that judge every one of them.

A kernel is what `_jit` compiles: a function under `kernel` or `leaf`, one that an `entry` or a `callback` is made of; and,
uncompiled, whatever `_jit` puts in the place of an intrinsic.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HOME: Final = Path(__file__).resolve().parents[1] / "src" / "rightsx"
FILES: Final = [HOME / name for name in ("_jit.py", "book.py", "expiry.py", "accounts.py", "embed.py", "eventbook.py")] + sorted(
    HOME.glob("engine/*.py")
)
MAKERS: Final = {"kernel", "leaf", "entry", "exact_entry", "callback"}


def entries(trees: Iterable[ast.Module]) -> set[str]:
    """Name the functions that are handed to what compiles them, and those in the table of calls from C."""
    names = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
            names |= {argument.id for argument in node.args[:1] if isinstance(argument, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "CALLS":
            names |= {row.elts[0].id for row in node.value.values}
    return names


def plain_forms(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """List the functions that stand for intrinsics where nothing is compiled."""
    for node in tree.body:
        if isinstance(node, ast.If) and "COMPILED" in ast.unparse(node.test):
            yield from (one for part in node.orelse for one in ast.walk(part) if isinstance(one, ast.FunctionDef))
        elif isinstance(node, ast.ClassDef) and node.name == "Row":
            yield from (one for one in node.body if isinstance(one, ast.FunctionDef))


def kernels() -> dict[Path, list[ast.FunctionDef]]:
    """Give every kernel, by its file."""
    trees = {path: ast.parse(path.read_text()) for path in FILES}
    named = entries(trees.values())
    found = {}
    for path, tree in trees.items():
        found[path] = list(plain_forms(tree)) if path.name == "_jit.py" else []
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                marks = {mark.id for mark in node.decorator_list if isinstance(mark, ast.Name)}
                if marks & {"kernel", "leaf"} or node.name in named:
                    found[path].append(node)
    return found
