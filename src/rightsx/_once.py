"""Has numba optimise an entry once, with every kernel in it, instead of every kernel with all that it calls.

    entry ─► kernel ─► kernel ─► kernel      numba: each is optimised with all to its right, and made machine code
      └────────── once ──────────┘           here:  each is lowered; the entry is optimised, with all of them in it

What lies deep would be done again at every level: more than half of the time that the engine takes to compile. What
only kernels call never runs by itself, so its part is skipped; the code that results is as fast. This
reaches into numba's `CodeLibrary` (`numba/core/codegen.py`); where that is not built as it was, everything is done.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = ("_optimize_final_module", "_finalize_final_module", "_finalized")


@contextmanager
def optimised_once(name: str) -> Iterator[None]:
    """Compile the function of this qualified name, while this lasts, with all that it calls. Other threads compile nothing."""
    from numba.core.compiler_lock import global_compiler_lock  # noqa: PLC0415 - only a compiled run has numba
    from numba.core.registry import cpu_target  # noqa: PLC0415

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
