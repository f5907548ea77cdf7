"""Decides how kernels compile and are cached; nobody else names numba.

    state ──► header: (address, rows) of table 0, of table 1, …      one int64 is all that a kernel is given
                        │
                        └──► rows of fixed dtype: `row = order_at(state, slot); row["account"]`

A kernel takes the address of its state and plain integers. `table(k, dtype)` makes the accessor of
table k: compiled, a row is a pointer into memory that NumPy owns; uncompiled (`NUMBA_DISABLE_JIT=1`), a
row is a thin wrapper whose fields come out as Python ints, so that arithmetic neither wraps nor
promotes by itself and a value that does not fit its field raises. Tables use signed fields of 8, 4, 2
and 1 bytes; unsigned ones (COMMAND's) are read through `wide`. Deliberate wrap-around goes through
`wrap_mul`.

Compiled code is cached in a private directory (0700: cached code is pickled code) whose name is a
digest of all sources of kernels and of everything else that decides what they become: numba's own
cache does not see a constant that changed in another file, nor that bounds checks were asked for. The
directory is $RIGHTSX_CACHE_DIR or the user's cache; where it cannot be written nothing is cached.

Base addresses are loaded as invariant: tables move only between two calls of a kernel. Uncompiled, and
under NUMBA_BOUNDSCHECK=1, every access of a row is checked, and an IndexError names the table.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import importlib
import os
import stat
import sys
import time
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Read as numba reads it, but without numba: uncompiled runs never load it.
COMPILED: Final = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")
BOUNDSCHECK: Final = os.environ.get("NUMBA_BOUNDSCHECK", "0") not in ("", "0")
INT64_SIGN: Final = -(2**63)
_U64: Final = 2**64
Function = TypeVar("Function", bound="Callable[..., Any]")

# ── rows without the compiler ────────────────────────────────────────────────────────────────────


class Row:
    """One row of a table in an uncompiled run; fields come out as Python ints."""

    __slots__ = ("_row",)

    def __init__(self, row: Any) -> None:
        """Wrap a record that writes through to its table."""
        self._row = row

    def __getitem__(self, field: str) -> int:
        """Read a field."""
        return int(self._row[field])

    def __setitem__(self, field: str, value: int) -> None:
        """Write a field; a value beyond it raises `OverflowError`."""
        self._row[field] = value

    def clear(self) -> None:
        """Set every byte to zero."""
        for name in self._row.dtype.names:
            self._row[name] = 0


class Tables:
    """Owns the memory of a state: NumPy tables, and the header that compiled kernels are given.

    `state` is what a kernel takes: the header's address, or this object in an uncompiled run. Growing a
    table moves it; nothing but the header knows where it is.
    """

    def __init__(self, dtypes: Sequence[np.dtype]) -> None:
        """Begin with empty tables."""
        self.arrays: list[np.ndarray] = [np.zeros(0, dtype) for dtype in dtypes]
        self.header = np.zeros(2 * len(dtypes), np.int64)
        self.state: Any = self.header.ctypes.data if COMPILED else self

    def put(self, index: int, array: np.ndarray) -> None:
        """Let table `index` be this array from now on.

        What may be interrupted comes first, then three stores, the one last by which it is known that the others are made.
        """
        address, rows = array.ctypes.data, len(array)
        self.header[2 * index] = address
        self.header[2 * index + 1] = rows
        self.arrays[index] = array

    def grow(self, index: int, rows: int) -> None:
        """Give table `index` at least `rows` rows: what is there is copied, what is new is zero. O(rows)."""
        old = self.arrays[index]
        if rows > len(old):
            new = aligned_zeros(rows, old.dtype)
            new[: len(old)] = old
            self.put(index, new)


def out_of_range(index: int, dtype: np.dtype) -> str:
    """Say that a table has no such row."""
    return f"a row of table {index} ({', '.join(dtype.names or ())}) is out of range"


def aligned_zeros(rows: int, dtype: np.dtype) -> np.ndarray:
    """Make a zeroed table that begins at a cache line, so that rows of 32 or 64 bytes never straddle one."""
    raw = np.zeros(rows * dtype.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + rows * dtype.itemsize].view(dtype)


# ── the compiler ─────────────────────────────────────────────────────────────────────────────────

if not TYPE_CHECKING and COMPILED:
    # Importing numba makes a hundred thousand objects that stay; looking through them again and again takes a tenth of a start.
    _COLLECTS: Final = gc.isenabled()
    gc.disable()
    try:
        import numba
        from llvmlite import ir
        from numba import types
        from numba.extending import intrinsic

        from rightsx._compile import OPTIONS, Kernel, compile_in_order, keep, optimised_once
    finally:
        if _COLLECTS:
            gc.enable()

    _I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)

    def kernel(function: Callable[..., Any]) -> Any:
        """Compile a function that other kernels call."""
        return Kernel(function)

    def leaf(function: Callable[..., Any]) -> Any:
        """Compile a small hot function into each of its callers."""
        return Kernel(function, forceinline=True)

    def table(index: int, dtype: np.dtype) -> Any:
        """Make the accessor of table `index`: accessor(state, row number) gives the row."""
        record = numba.from_dtype(dtype)

        @intrinsic
        def row_at(_typing: Any, _state: Any, _row: Any) -> Any:
            def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
                header = builder.inttoptr(args[0], _I64.as_pointer())
                if BOUNDSCHECK:
                    rows = builder.load(builder.gep(header, [ir.Constant(_I64, 2 * index + 1)]))
                    with builder.if_then(builder.icmp_unsigned(">=", args[1], rows), likely=False):
                        context.call_conv.return_user_exc(builder, IndexError, (out_of_range(index, dtype),))
                base = builder.load(builder.gep(header, [ir.Constant(_I64, 2 * index)]))
                base.set_metadata("invariant.load", builder.module.add_metadata([]))
                start = builder.inttoptr(base, _I8.as_pointer())
                place = builder.gep(start, [builder.mul(args[1], ir.Constant(_I64, dtype.itemsize))])
                return builder.bitcast(place, context.get_value_type(record))

            return record(types.int64, types.int64), codegen

        return row_at

    @intrinsic
    def trailing_zeros(_typing: Any, _bits: Any) -> Any:
        """Count the zeros below the lowest bit of a word that is not 0."""

        def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

        return types.int64(types.int64), codegen

    @intrinsic
    def leading_zeros(_typing: Any, _bits: Any) -> Any:
        """Count the zeros above the highest bit of a word that is not 0."""

        def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))

        return types.int64(types.int64), codegen

    @intrinsic
    def wrap_mul(_typing: Any, _a: Any, _b: Any) -> Any:
        """Multiply modulo 2^64."""

        def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.mul(args[0], args[1])

        return types.int64(types.int64, types.int64), codegen

    @intrinsic
    def shift_right(_typing: Any, _bits: Any, _count: Any) -> Any:
        """Shift a word to the right as if it were unsigned, by 0 … 63."""

        def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.lshr(args[0], args[1])

        return types.int64(types.int64, types.int64), codegen

    @intrinsic
    def wide(_typing: Any, number: Any) -> Any:
        """Read a field of any width and sign as a signed 64-bit number; an unsigned 64-bit one keeps its bits."""
        signed = number.signed

        def codegen(_context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if signature.args[0].bitwidth == 64:
                return args[0]
            return builder.sext(args[0], _I64) if signed else builder.zext(args[0], _I64)

        return types.int64(number), codegen

    @intrinsic
    def prefetch(_typing: Any, _row: Any) -> Any:
        """Ask for the cache line of a row that will be needed soon."""

        def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            pointer = _I8.as_pointer()
            kind = ir.FunctionType(ir.VoidType(), [pointer, _I32, _I32, _I32])
            name = "llvm.prefetch.p0" if pointer.is_opaque else "llvm.prefetch.p0i8"
            function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
            numbers = [ir.Constant(_I32, number) for number in (0, 3, 1)]
            builder.call(function, [builder.bitcast(args[0], pointer), *numbers])
            return context.get_dummy_value()

        return types.none(_row), codegen

    @intrinsic
    def row_clear(_typing: Any, row: Any) -> Any:
        """Set every byte of a row to zero."""

        def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            zeros = ir.ArrayType(_I8, row.size)
            builder.store(ir.Constant(zeros, None), builder.bitcast(args[0], zeros.as_pointer()), align=1)
            return context.get_dummy_value()

        return types.none(row), codegen

else:  # what a type checker reads, too
    numba: Any = None
    types: Any = None
    compile_in_order: Any = None
    keep: Any = None
    optimised_once: Any = None
    OPTIONS: Final[dict[str, Any]] = {}

    def kernel(function: Function) -> Function:
        """Leave a function as it is."""
        return function

    leaf = kernel

    def table(index: int, dtype: np.dtype) -> Callable[[int, int], Row]:
        """Make the accessor of table `index`: accessor(state, row number) gives the row."""

        def row_at(state: Any, row: int) -> Row:
            rows = state.arrays[index]
            if not 0 <= row < len(rows):
                raise IndexError(out_of_range(index, dtype))
            return Row(rows[row])

        return row_at

    def trailing_zeros(bits: int) -> int:
        """Count the zeros below the lowest bit of a word that is not 0."""
        return (bits & -bits).bit_length() - 1

    def leading_zeros(bits: int) -> int:
        """Count the zeros above the highest bit of a word that is not 0."""
        return 64 - (bits % _U64).bit_length()

    def wrap_mul(a: int, b: int) -> int:
        """Multiply modulo 2^64."""
        return (a * b - INT64_SIGN) % _U64 + INT64_SIGN

    def shift_right(bits: int, count: int) -> int:
        """Shift a word to the right as if it were unsigned, by 0 … 63."""
        return (((bits % _U64) >> count) - INT64_SIGN) % _U64 + INT64_SIGN

    def wide(number: int) -> int:
        """Read a field of any width and sign as a signed 64-bit number; an unsigned 64-bit one keeps its bits."""
        return number - _U64 if number >= 2**63 else number

    def row_clear(row: Row) -> None:
        """Set every byte of a row to zero."""
        row.clear()

    def prefetch(row: Row) -> None:
        """Ask for the cache line of a row that will be needed soon."""


@leaf
def narrow(number: int) -> int:
    """Give an unsigned 32-bit number as it stands in a signed 4-byte field; `wide(field) & 0xFFFFFFFF` reads it."""
    return number - ((number >> 31) << 32)


@kernel
def mul_div(a: int, b: int, c: int) -> int:
    """Give a × b // c exactly, for 0 ≤ a, b, c < 2^62 and a quotient below 2^63 (R1).

    Small products divide at once; larger ones are carried as two words and divided bit by bit, because
    LLVM's 128-bit division needs a library that kernels are not linked with. 2 ns, or about 65 ns.
    """
    if a == 0 or leading_zeros(a) + leading_zeros(b | 1) > 64:
        return a * b // c
    high, low = wide_product(a, b)
    rest = 0
    quotient = 0
    for place in range(127, -1, -1):
        bit = (high >> (place - 64)) & 1 if place >= 64 else shift_right(low, place) & 1
        rest = rest + rest + bit
        quotient = quotient + quotient
        if rest >= c:
            rest -= c
            quotient += 1
    return quotient


@kernel
def mul_mod(a: int, b: int, c: int) -> int:
    """Give a × b modulo c exactly, for 0 ≤ a, b and 0 < c, all below 2^62 (R24)."""
    if a == 0 or leading_zeros(a) + leading_zeros(b | 1) > 64:
        return a * b % c
    high, low = wide_product(a, b)
    rest = 0
    for place in range(127, -1, -1):
        bit = (high >> (place - 64)) & 1 if place >= 64 else shift_right(low, place) & 1
        rest = rest + rest + bit
        if rest >= c:
            rest -= c
    return rest


@kernel
def wide_product(a: int, b: int) -> tuple[int, int]:
    """Give the two words of a × b for a, b ≥ 0: the upper one, and the lower one as it wraps."""
    half = 0xFFFF_FFFF
    low = wrap_mul(a & half, b & half)
    middle = wrap_mul(a >> 32, b & half) + shift_right(low, 32)
    other = wrap_mul(a & half, b >> 32) + (middle & half)
    high = (a >> 32) * (b >> 32) + (middle >> 32) + (other >> 32)
    return high, wrap_mul(a, b)


# ── entries and their cache ──────────────────────────────────────────────────────────────────────

_HERE: Final = Path(__file__).parent
_SOURCES: Final = (
    "_jit.py",
    "_compile.py",
    "_sha256.py",
    "protocol.py",
    "book.py",
    "expiry.py",
    "accounts.py",
    "eventbook.py",
    "engine/*.py",
)


def cache_directory() -> Path:
    """Name the directory of this code's compiled form; it need not exist yet."""
    home = os.environ.get("RIGHTSX_CACHE_DIR")
    if home:
        base = Path(home)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "rightsx"
    elif sys.platform == "darwin":
        base = Path.home() / "Library/Caches/rightsx"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rightsx"
    return base / _digest()


def _digest() -> str:
    """Digest everything that decides what a kernel compiles to; numba adds the processor itself."""
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for path in sorted(_HERE.glob(pattern)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    options = [os.environ.get(name, "") for name in ("NUMBA_BOUNDSCHECK", "NUMBA_OPT", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")]
    versions = [importlib.import_module(name).__version__ for name in ("numba", "llvmlite", "numpy")]
    digest.update(repr((options, versions, sys.version_info[:3])).encode())
    return digest.hexdigest()[:20]


def _private(directory: Path) -> bool:
    """Make the directory if need be; say whether it is ours alone, so that what it holds may be run."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid"):
            found = directory.stat()
            if found.st_uid != os.getuid():
                return False
            if stat.S_IMODE(found.st_mode) & 0o077:
                directory.chmod(0o700)
        return os.access(directory, os.W_OK)
    except OSError:
        return False


@contextmanager
def _numba_cache(directory: str) -> Iterator[None]:
    """Let numba cache there while an entry is made; the host program's own kernels keep theirs."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = directory
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


_ENTRIES: Final[dict[str, Any]] = {}
_COMPILED_ENTRIES: Final[dict[str, Any]] = {}  # what numba knows of them


def entry(function: Callable[..., Any], arguments: int, what: str) -> Any:
    """Compile a kernel that Python calls with `arguments` integers, or load it; gives the fastest way to call it.

    `what` is told in a line on stderr where it has to be compiled, because that takes seconds.
    Uncompiled, the function itself. The result takes the state and integers and gives an integer.
    """
    if not COMPILED:
        return function
    name = f"{function.__module__}.{function.__qualname__}"
    if name not in _ENTRIES:
        _ENTRIES[name] = _made(function, (types.int64,) * arguments, what)
    return _ENTRIES[name]


def _made(function: Callable[..., Any], arguments: tuple[Any, ...], what: str) -> Any:
    """Load a compiled function, or compile it and say so; gives what Python calls."""
    directory = cache_directory()
    private = _private(directory)
    with _numba_cache(str(directory) if private else ""):
        made = numba.njit(_nrt=False, **OPTIONS)(function)
        if private:
            keep(made)
        known = private and _is_cached(directory, function)
        with _told(what, directory, known=known, private=private) as told, optimised_once(function.__qualname__):
            if not known:
                compile_in_order(function, told)
            made.compile(types.int64(*arguments))
    compiled = _COMPILED_ENTRIES[f"{function.__module__}.{function.__qualname__}"] = made.overloads[arguments]
    return compiled.entry_point


@contextmanager
def _told(what: str, directory: Path, *, known: bool, private: bool) -> Iterator[Callable[[float], None]]:
    """Say on stderr that something is compiled, and how long that took or that it was cut short; nothing if it is known.

    Gives what is to be called with the part that is done, 0 … 1; a terminal shows it.
    """
    started = time.perf_counter()
    line = f"rightsx: compiling {what}, once …"
    shows = not known and sys.stderr.isatty()

    def told(part: float) -> None:
        if shows:
            print(f"\r{line} {part:.0%}", end="", file=sys.stderr, flush=True)

    if not known:
        print(line, end="", file=sys.stderr, flush=True)
    ended = "cut short after "
    try:
        yield told
        ended = ""
    finally:
        if not known:
            kept = "" if private else f" (not kept: {directory} cannot be written)"
            again = f"\r{line}" if shows else ""
            print(f"{again} {ended}{time.perf_counter() - started:.1f} s{kept}", file=sys.stderr, flush=True)


def _is_cached(directory: Path, function: Callable[..., Any]) -> bool:
    """Say whether the directory holds compiled code of this function, as numba names it."""
    return any(directory.glob(f"**/*.{function.__name__}-*.nbc"))


# ── entries for single calls ─────────────────────────────────────────────────────────────────────

if not TYPE_CHECKING and COMPILED:
    from numba.core import cgutils
    from numba.extending import NativeValue, models, register_model, unbox

    # Where an object says its type: behind its reference count, which is wider in some builds of Python.
    _TYPE_OFFSET: Final = next(at for at in (8, 16, 24) if ctypes.c_size_t.from_address(id(5) + at).value == id(int))
    # Where a type says whose child it is; every integer type says that it is one of `int`.
    _FLAGS_OFFSET: Final = next(
        at
        for at in range(0, 400, 8)
        if all(ctypes.c_ulong.from_address(id(kind) + at).value == kind.__flags__ for kind in (int, bool, str, list))
    )
    _IS_INT: Final = 1 << 24
    assert all(bool(kind.__flags__ & _IS_INT) == issubclass(kind, int) for kind in (int, bool, float, str, object))

    class _Exact(types.Type):
        """The argument of an entry that is an `int` or of a class made from it, and no `bool`."""

        def __init__(self) -> None:
            super().__init__(name="rightsx_exact")

    @register_model(_Exact)
    class _ExactModel(models.PrimitiveModel):
        def __init__(self, manager: Any, kind: Any) -> None:
            super().__init__(manager, kind, _I64)

    @unbox(_Exact)
    def _unbox_exact(_kind: Any, obj: Any, c: Any) -> Any:
        """Read an int; anything else, a bool or a float too, is a TypeError, and one too large an OverflowError."""
        builder = c.builder
        pointer = _I8.as_pointer()
        place = builder.gep(builder.bitcast(obj, pointer), [ir.Constant(_I64, _TYPE_OFFSET)])
        found = builder.load(builder.bitcast(place, pointer.as_pointer()))
        due, barred = (
            builder.bitcast(c.context.get_c_value(builder, _I8, name, dllimport=True), pointer)
            for name in ("PyLong_Type", "PyBool_Type")
        )
        number = cgutils.alloca_once_value(builder, ir.Constant(_I64, -1))
        fails = cgutils.alloca_once_value(builder, ir.Constant(ir.IntType(1), 0))
        good = cgutils.alloca_once_value(builder, builder.icmp_unsigned("==", found, due))
        with builder.if_then(builder.not_(builder.load(good)), likely=False):
            place = builder.gep(found, [ir.Constant(_I64, _FLAGS_OFFSET)])
            flags = builder.load(builder.bitcast(place, _I64.as_pointer()))
            child = builder.icmp_signed("!=", builder.and_(flags, ir.Constant(_I64, _IS_INT)), ir.Constant(_I64, 0))
            builder.store(builder.and_(child, builder.icmp_unsigned("!=", found, barred)), good)
        with builder.if_else(builder.load(good), likely=True) as (exact, other):
            with exact:
                value = c.pyapi.long_as_longlong(obj)
                builder.store(value, number)
                with builder.if_then(builder.icmp_signed("==", value, ir.Constant(_I64, -1)), likely=False):
                    builder.store(c.pyapi.c_api_error(), fails)
            with other:
                c.pyapi.err_set_string("PyExc_TypeError", "an int is due")
                builder.store(ir.Constant(ir.IntType(1), 1), fails)
        return NativeValue(builder.load(number), is_error=builder.load(fails))

    @intrinsic
    def exact(_typing: Any, _number: Any) -> Any:
        """Read the argument of an `exact_entry` as a number."""

        def codegen(_context: Any, _builder: Any, _signature: Any, args: Any) -> Any:
            return args[0]

        return types.int64(_number), codegen

    _ARGUMENT: Final = _Exact()

else:
    _ARGUMENT: Final[Any] = None

    def exact(number: int) -> int:
        """Read the argument of an `exact_entry` as a number; the state passes as it is."""
        if isinstance(number, Tables):
            return number
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError("an int is due")
        if not INT64_SIGN <= number < -INT64_SIGN:
            raise OverflowError("int too big to convert")
        return number


def exact_entry(function: Callable[..., Any], arguments: int, what: str) -> Any:
    """Make an entry like `entry` whose arguments are ints or of a class made from int, so that the caller need not look.

    The function reads each through `exact`. A bool, a float or a NumPy integer is a TypeError, an int
    beyond 64 bits an OverflowError, and the function was not called. It takes less time to enter, too.
    """
    if not COMPILED:
        return function
    name = f"{function.__module__}.{function.__qualname__}"
    if name not in _ENTRIES:
        _ENTRIES[name] = _made(function, (_ARGUMENT,) * arguments, what)
    return _ENTRIES[name]


# ── calls from other people's kernels ────────────────────────────────────────────────────────────

# A strategy is compiled with what drives it, anew in each process. So that the engine need not be compiled with them, they
# call its entry where it lies.


def entry_handle(function: Callable[..., Any]) -> Any:
    """Give what `call_entry6` and `call_entry10` call an entry by that is made: an address; uncompiled, the function."""
    if not COMPILED:
        return function
    made = _COMPILED_ENTRIES[f"{function.__module__}.{function.__qualname__}"]
    return made.library.get_pointer_to_function(made.fndesc.llvm_func_name)


if not TYPE_CHECKING and COMPILED:
    _OPENED: Final = weakref.WeakKeyDictionary()

    def open_kernel(function: Callable[..., Any], *, checked: bool = False) -> Any:
        """Compile a function of arrays and numbers when it is first called, the same one once; `checked` looks at every index."""
        if hasattr(function, "py_func"):
            return function
        if function not in _OPENED:
            _OPENED[function] = numba.njit(nogil=True, error_model="numpy", boundscheck=checked)(function)
        return _OPENED[function]

    def _call_by_address(context: Any, builder: Any, kinds: Sequence[Any], args: Sequence[Any]) -> Any:
        """Call compiled code as numba does: it is given places for its answer and its exception, of which entries have none."""
        convention = context.call_conv
        kind = convention.get_function_type(types.int64, kinds)
        answer, trouble = (cgutils.alloca_once(builder, one.pointee) for one in kind.args[:2])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [answer, trouble, *args[1:]])
        return builder.load(answer)

    @intrinsic
    def call_entry6(_typing: Any, _at: Any, _a: Any, _b: Any, _c: Any, _d: Any, _e: Any, _f: Any) -> Any:
        """Call an entry that takes six integers."""

        def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return _call_by_address(context, builder, (_ARGUMENT,) * 6, args)

        return types.int64(*[types.int64] * 7), codegen

    @intrinsic
    def call_entry10(
        _typing: Any, _at: Any, _a: Any, _b: Any, _c: Any, _d: Any, _e: Any, _f: Any, _g: Any, _h: Any, _i: Any, _j: Any
    ) -> Any:
        """Call an entry that takes ten integers."""

        def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return _call_by_address(context, builder, (_ARGUMENT,) * 10, args)

        return types.int64(*[types.int64] * 11), codegen

else:

    def open_kernel(function: Callable[..., Any], *, checked: bool = False) -> Any:  # noqa: ARG001 - NumPy looks anyway
        """Leave a function as it is."""
        return function

    def call_entry6(at: Callable[..., int], state: Any, *numbers: Any) -> int:
        """Call an entry that takes a state and five integers, NumPy's too."""
        return at(state, *map(int, numbers))

    call_entry10 = call_entry6


# ── calls from C ─────────────────────────────────────────────────────────────────────────────────

if not TYPE_CHECKING and COMPILED:

    def record_at(dtype: np.dtype) -> Any:
        """Make the accessor of records anywhere: accessor(address) gives the record there."""
        record = numba.from_dtype(dtype)

        @intrinsic
        def read(_typing: Any, _address: Any) -> Any:
            def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
                return builder.inttoptr(args[0], context.get_value_type(record))

            return record(types.int64), codegen

        return read

    def home(dtypes: Sequence[np.dtype]) -> Any:  # noqa: ARG001 - the uncompiled one needs them
        """Make what gives the state whose header stands at an address, after this function has written to the header.

        Base addresses are loaded as invariant. So the compiler is told that it does not know this address.
        """

        @intrinsic
        def state_at(_typing: Any, _address: Any) -> Any:
            def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
                return builder.asm(ir.FunctionType(_I64, [_I64]), "", "=r,0,~{memory}", [args[0]], side_effect=True)

            return types.int64(types.int64), codegen

        return state_at

else:

    def record_at(dtype: np.dtype) -> Any:
        """Make the accessor of records anywhere: accessor(address) gives the record there."""
        return lambda address: Row(memory_at(address, dtype, 1)[0])

    def home(dtypes: Sequence[np.dtype]) -> Any:
        """Make what gives the state whose header stands at an address."""
        return lambda address: tables_at(address, dtypes)


def memory_at(address: int, dtype: np.dtype, rows: int) -> np.ndarray:
    """Look at memory that somebody else owns as rows of a table."""
    if rows == 0:
        return np.zeros(0, dtype)
    raw: Any = (ctypes.c_char * (rows * dtype.itemsize)).from_address(address)
    return np.frombuffer(raw, dtype, rows)


def tables_at(address: int, dtypes: Sequence[np.dtype]) -> Tables:
    """Look at the tables whose header stands at an address, in memory that somebody else owns."""
    tables = Tables(dtypes)
    header = memory_at(address, np.dtype("<i8"), 2 * len(dtypes)).tolist()
    for index, dtype in enumerate(dtypes):
        tables.arrays[index] = memory_at(header[2 * index], dtype, header[2 * index + 1])
    return tables


_CALLBACKS: Final[dict[str, Any]] = {}


def callback(function: Callable[..., Any], arguments: int, what: str) -> int:
    """Compile a kernel that C calls with `arguments` integers, or load it; gives its address, good until the process ends.

    It takes and gives int64_t (a pointer is one), needs no Python and no lock. Only in a compiled run.
    """
    assert COMPILED, "a kernel has an address only if it is compiled"
    name = f"{function.__module__}.{function.__qualname__}"
    if name not in _CALLBACKS:
        directory = cache_directory()
        private = _private(directory)
        with _numba_cache(str(directory) if private else ""):
            known = private and _is_cached(directory, function)
            signature = types.int64(*(types.int64,) * arguments)
            with _told(what, directory, known=known, private=private) as told, optimised_once(function.__qualname__):
                if not known:
                    compile_in_order(function, told)
                _CALLBACKS[name] = numba.cfunc(signature, cache=private, error_model="numpy")(function)
    address: int = _CALLBACKS[name].address
    return address
