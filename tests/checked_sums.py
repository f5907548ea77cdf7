"""Kernels in which no sum, difference or product may pass 64 bits: for runs without the compiler.

    a * b   in a kernel   ─►   within(a * b)   raises where a compiled run would be undefined

numba tells LLVM that signed sums, differences and products do not overflow, so where one does a compiled
kernel may do anything. Run as a program this reads the kernels' sources, puts every `+`, `-`, `*`, `+=`,
`-=`, `*=` and unary minus of a kernel into a check, and gives the rest of its arguments to pytest:

    NUMBA_DISABLE_JIT=1 python tests/checked_sums.py tests/test_edges.py

Shifts and masks are left alone: they do not overflow. What is to wrap goes through `_jit.wrap_mul`.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import types
    from collections.abc import Sequence

CHECKED = ("rightsx.book", "rightsx.accounts", "rightsx.expiry", "rightsx.embed", "rightsx.engine.", "rightsx._jit")
ENTRIES = {"engine_call", "bare_call", "bare_entry"}
counted = 0


def within(value: int) -> int:
    """Give a number that a kernel has worked out, if 64 bits hold it."""
    if -(2**63) <= value < 2**63:
        return value
    raise OverflowError(f"a kernel worked out {value}, beyond 64 bits")


class Checks(ast.NodeTransformer):
    """Puts the arithmetic of one kernel into checks."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Check a sum, a difference, a product."""
        self.generic_visit(node)
        return checked(node) if isinstance(node.op, ast.Add | ast.Sub | ast.Mult) else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        """Check a change of sign."""
        self.generic_visit(node)
        return checked(node) if isinstance(node.op, ast.USub) else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """Check `a += b`."""
        self.generic_visit(node)
        if not isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
            return node
        assert isinstance(node.target, ast.Name), "a kernel changes fields by assigning them"
        value = ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value)
        return ast.copy_location(ast.Assign([node.target], checked(value)), node)


def checked(node: ast.expr) -> ast.expr:
    """Put an expression into a check."""
    global counted  # noqa: PLW0603 - a count of what was rewritten
    counted += 1
    return ast.copy_location(ast.Call(ast.Name("__within", ast.Load()), [node], []), node)


def is_kernel(node: ast.AST) -> bool:
    """Say whether a function is compiled."""
    names = {one.id for one in getattr(node, "decorator_list", ()) if isinstance(one, ast.Name)}
    return isinstance(node, ast.FunctionDef) and (bool(names & {"kernel", "leaf"}) or node.name in ENTRIES)


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a file with its kernels checked; never from its cached form."""

    def get_code(self, fullname: str) -> types.CodeType:  # noqa: ARG002 - whatever its name
        """Compile the source, its kernels rewritten."""
        tree = ast.parse(self.get_data(self.path), self.path)
        for node in ast.walk(tree):
            if is_kernel(node):
                assert isinstance(node, ast.FunctionDef)
                node.body = [Checks().visit(statement) for statement in node.body]
        return compile(ast.fix_missing_locations(tree), self.path, "exec")

    def exec_module(self, module: types.ModuleType) -> None:
        """Let the module know the check."""
        module.__dict__["__within"] = within
        super().exec_module(module)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the files of kernels."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Give the usual place of a file of kernels, and the other way to load it."""
        spec = importlib.machinery.PathFinder.find_spec(name, path, target) if name.startswith(CHECKED) else None
        if spec is not None and spec.origin is not None and spec.submodule_search_locations is None:
            spec.loader = Loader(name, spec.origin)
        return spec


def install() -> None:
    """Check the kernels of all files that are imported from now on."""
    assert not any(name.startswith(CHECKED) for name in sys.modules), "the kernels are there already"
    sys.meta_path.insert(0, Finder())


if __name__ == "__main__":
    install()
    import pytest

    code = pytest.main(sys.argv[1:])
    print(f"{counted} sums, differences and products were checked")
    sys.exit(code)
