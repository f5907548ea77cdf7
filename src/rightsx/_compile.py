"""Has numba compile an entry, with every kernel that it calls, in a quarter of the time; the code is as fast.

    entry ─► kernel ─► kernel ─► kernel      numba: from the left, each inside its caller's typing; each is optimised with
      └────────── once ──────────┘           all to its right and made machine code, at every level of calls anew
                                             here:  from the right; each is lowered, and the entry optimised with them all

What only kernels call never runs by itself, so its machine code is never made. This reaches into numba's `CodeLibrary`
(numba/core/codegen.py); where that is not built as it was, everything is done. And of numba's passes a kernel takes those
that plain 64-bit integers need, by way of `pipeline_class` (numba/core/compiler.py), which numba offers its extenders.
What was compiled before is loaded without numba's rules for compiling, which take a quarter of a second to set up.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numba
from numba import types
from numba.core import typed_passes, untyped_passes
from numba.core.caching import FunctionCache
from numba.core.compiler import CompilerBase
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager
from numba.core.registry import cpu_target
from numba.extending import typeof_impl

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


# ── kernels ──────────────────────────────────────────────────────────────────────────────────────

OPTIONS = {"nogil": True, "error_model": "numpy"}

# Only entries are called from Python or C: the rest needs no wrapper for either, which halves its cost. No kernel
# has objects whose references are to be counted (`_nrt`), and where none can be nobody looks for them.
_INNER: dict[str, Any] = {
    **OPTIONS,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": KernelCompiler,
    "_nrt": False,
}


class Kernel:
    """A function that other kernels call. What numba needs to know of it is made where something is compiled."""

    def __init__(self, function: Callable[..., Any], *, forceinline: bool = False) -> None:
        """Take a function of integers; with `forceinline` it becomes part of each of its callers."""
        self.py_func = function
        self.forceinline = forceinline

    @cached_property
    def dispatcher(self) -> Any:
        """What numba compiles: one form, for 64-bit integers, whatever widths the callers' fields have."""
        made = numba.njit(forceinline=self.forceinline, **_INNER)(self.py_func)
        choose = made.get_call_template

        def chosen(args: Any, kws: Any) -> Any:
            return choose([types.int64] * len(args), kws)

        made.get_call_template = chosen
        return made


@typeof_impl.register(Kernel)
def _type_of_kernel(kernel: Kernel, _purpose: Any) -> Any:
    """Tell numba what a kernel is that another one names."""
    return types.Dispatcher(kernel.dispatcher)


# ── in order ─────────────────────────────────────────────────────────────────────────────────────


def callees(function: Callable[..., Any]) -> list[Kernel]:
    """List the kernels that a function calls, and those that they call: each after what it calls itself."""
    found: dict[Kernel, None] = {}
    begun = set()

    def visit(caller: Callable[..., Any]) -> None:
        for name in caller.__code__.co_names:
            called = caller.__globals__.get(name)
            if isinstance(called, Kernel) and called not in begun:
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
        called.dispatcher.compile((types.int64,) * called.py_func.__code__.co_argcount)


# ── once ─────────────────────────────────────────────────────────────────────────────────────────

# What is used of a library of numba's.
STEPS = ("_optimize_functions", "finalize", "_finalized", "_linking_libraries")


@contextmanager
def optimised_once(name: str) -> Iterator[None]:
    """Compile the function of this qualified name, while this lasts, with all that it calls. Other threads compile nothing."""
    codegen: Any = cpu_target.target_context.codegen()
    usual: Any = getattr(codegen, "_library_class", None)
    if usual is None or not all(hasattr(usual(codegen, name), step) for step in STEPS):
        yield
        return
    with global_compiler_lock, _resolved_once():
        set_env = codegen.set_env

        class Library(usual):  # type: ignore[misc]
            """The code of a function, as it was lowered, unless it is the entry's: that is the code of all that it calls, too."""

            def _optimize_functions(self, module: Any) -> None:
                if self.name == name:
                    super()._optimize_functions(module)
                else:
                    module.data_layout = self._codegen._data_layout

            def finalize(self) -> None:
                if self.name == name:
                    self._linking_libraries = _below(self)
                    super().finalize()
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


def _below(library: Any) -> list[Any]:
    """List the libraries that a library calls, and those that they call."""
    found: dict[Any, None] = {}
    waiting = [library]
    while waiting:
        for called in waiting.pop()._linking_libraries:
            if called not in found:
                found[called] = None
                waiting.append(called)
    return list(found)


@contextmanager
def _resolved_once() -> Iterator[None]:
    """Find what a function is for integers of some kinds, while this lasts, once: numba looks through a list at each use."""
    context: Any = cpu_target.typing_context
    usual = context.resolve_function_type
    known: dict[Any, Any] = {}

    def resolve(function: Any, args: Any, kws: Any) -> Any:
        if kws or not all(isinstance(kind, types.Integer | types.Boolean) for kind in args):
            return usual(function, args, kws)
        key = function, tuple(args)
        if key not in known:
            known[key] = usual(function, args, kws)
        return known[key]

    context.resolve_function_type = resolve
    try:
        yield
    finally:
        del context.resolve_function_type


# ── before ───────────────────────────────────────────────────────────────────────────────────────


class CodeCache(FunctionCache):
    """Keeps the code of a function that has no objects to count (`_nrt`), and loads it as it is."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Give the code for a signature, or None. Numba would set up its rules for compiling first; compiling does so itself."""
        return self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]


def keep(compiled: Any) -> None:
    """Let a function load its code from numba's directory of the moment, and put it there."""
    compiled._cache = CodeCache(compiled.py_func)  # type: ignore[no-untyped-call]
