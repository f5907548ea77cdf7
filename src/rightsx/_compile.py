"""Has numba compile an entry, with every kernel that it calls, in a third of the time; the code is as fast.

    entry ─► kernel ─► kernel ─► kernel      numba: from the left, each inside its caller's typing; each is optimised with
      └────────── once ──────────┘           all to its right and made machine code, at every level of calls anew
                                             here:  from the right; each is lowered, and the entry optimised with them all

What only kernels call never runs by itself, so its machine code is never made. This reaches into numba's `CodeLibrary`
(numba/core/codegen.py); where that is not built as it was, everything is done. And of numba's passes a kernel takes those
that plain 64-bit integers need, by way of `pipeline_class` (numba/core/compiler.py), which numba offers its extenders.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from numba import types
from numba.core import typed_passes, untyped_passes
from numba.core.compiler import CompilerBase
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager
from numba.core.dispatcher import Dispatcher
from numba.core.registry import cpu_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# ── few passes ───────────────────────────────────────────────────────────────────────────────────

# Left out is what looks for closures, context managers, array expressions, overloads to inline and dead branches (LLVM
# drops those, too). What kernels call of numba's own, as `min`, goes through all its passes as ever.
PASSES: tuple[Any, ...] = (
    untyped_passes.TranslateByteCode,
    untyped_passes.FixupArgs,
    untyped_passes.IRProcessing,
    untyped_passes.GenericRewrites,  # row["field"] becomes an access by name
    untyped_passes.ReconstructSSA,
    typed_passes.NopythonTypeInference,
    typed_passes.PreLowerStripPhis,
    typed_passes.NoPythonSupportedFeatureValidation,
    typed_passes.IRLegalization,
    typed_passes.AnnotateTypes,
    typed_passes.NativeLowering,
    typed_passes.NoPythonBackend,
)


class KernelCompiler(CompilerBase):
    """Compiles kernels that other kernels call."""

    def define_pipelines(self) -> list[Any]:
        """Give the one way there is."""
        make: Any = PassManager
        manager = make("rightsx")
        for step in PASSES:
            manager.add_pass(step, step.__name__)
        manager.finalize()
        return [manager]


# ── in order ─────────────────────────────────────────────────────────────────────────────────────


def callees(function: Callable[..., Any]) -> list[Any]:
    """List the kernels that a function calls, and those that they call: each after what it calls itself."""
    found: dict[Any, None] = {}
    begun = set()

    def visit(caller: Callable[..., Any]) -> None:
        for name in caller.__code__.co_names:
            called = caller.__globals__.get(name)
            if isinstance(called, Dispatcher) and called not in begun:
                begun.add(called)
                visit(called.py_func)
                found[called] = None

    visit(function)
    return list(found)


def compile_in_order(function: Callable[..., Any], told: Callable[[float], None]) -> None:
    """Compile the kernels that an entry calls, from the last on; `told` hears what part of them is done."""
    kernels = callees(function)
    for done, called in enumerate(kernels):
        told(done / len(kernels))
        called.compile((types.int64,) * called.py_func.__code__.co_argcount)


# ── once ─────────────────────────────────────────────────────────────────────────────────────────

STEPS = ("_optimize_final_module", "_finalize_final_module", "_finalized")


@contextmanager
def optimised_once(name: str) -> Iterator[None]:
    """Compile the function of this qualified name, while this lasts, with all that it calls. Other threads compile nothing."""
    codegen: Any = cpu_target.target_context.codegen()
    usual: Any = getattr(codegen, "_library_class", None)
    if not all(hasattr(usual, step) for step in STEPS):
        yield
        return
    with global_compiler_lock:
        set_env = codegen.set_env

        class Library(usual):  # type: ignore[misc]
            """The code of a function and of all that it calls: as it was lowered, unless it is the entry's."""

            def _optimize_final_module(self) -> None:
                if self.name == name:
                    super()._optimize_final_module()

            def _finalize_final_module(self) -> None:
                if self.name == name:
                    super()._finalize_final_module()
                self._finalized = True

        def set_env_if_there(env_name: str, env: object) -> None:
            """Tell machine code of its module's globals, where there is machine code."""
            if codegen._engine.is_symbol_defined(env_name):
                set_env(env_name, env)

        codegen._library_class, codegen.set_env = Library, set_env_if_there
        try:
            yield
        finally:
            codegen._library_class = usual
            del codegen.set_env
