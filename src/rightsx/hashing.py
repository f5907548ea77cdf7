"""Hashes leaves and nodes of an RFC 6962 tree in batches as fast as the processor can.

    level 2             o                  a node is SHA-256(0x01 ‖ left child ‖ right child)
                    ┌───┴───┐
    level 1         o       o       o
                  ┌─┴─┐   ┌─┴─┐   ┌─┴─┐
    level 0       o   o   o   o   o   o   o    a leaf is SHA-256(0x00 ‖ bytes 2 … 120 of an EVENT)
                  └ size 3 ┘  └ a batch ──┘

A tree grows on the right only, and a node is made once: when the last leaf below it is there. So a batch of n leaves
at size s makes, of level k, the nodes from s >> k up to (s + n) >> k, about n in all. Their children lie in the batch
but for one a level at most: a left child that had no sibling until now. Those are the *frontier*; there is one of level k
exactly where bit k of the size is set, and they are all of the tree that has to be kept for its growth.

There are several ways to hash. All give the same bytes, and hashlib is their judge. The others are compiled at their
first use, each only where the processor has what it needs and numba may use it:

    "sha-ni"    the processor's own instructions, two messages in turn
    "vector"    4, 8 or 16 messages side by side; the fastest where there are 16
    "hashlib"   a loop in Python; the only way in an uncompiled run (NUMBA_DISABLE_JIT=1)

Costs in ns for a leaf and its share of all nodes, one core of Zen 3: "sha-ni" 80–100, "vector" 180–200, "hashlib" 3,000; of
Zen 5: "vector", of sixteen, 50, "sha-ni" 76; to that come some µs a call. Compiled code runs without the interpreter's lock.

Sources: RFC 6962, 2.1; FIPS 180-4; the arithmetic of indices is that of C2SP tlog-tiles.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from rightsx.errors import DivergenceError, MisuseError
from rightsx.protocol import EVENT, NOT_A_LEAF

if TYPE_CHECKING:
    from collections.abc import Callable

HASH_BYTES: Final = 32
_BYTE: Final = np.dtype(np.uint8)
LEVELS: Final = 64  # of any tree, with room: its size is below 2^62
SIZE_END: Final = 2**62
ROW_BYTES: Final = 40
_SEED: Final = np.dtype([("secret", np.uint8, (HASH_BYTES,)), ("event_seq", "<u8")])
_LEAF_START: Final = 2  # the two bytes before are an entry's length in a bundle, and no part of the leaf

# ── the ways to hash ─────────────────────────────────────────────────────────────────────────────


class _Way(NamedTuple):
    """How to hash a batch; the arguments are sound."""

    leaves: Callable[[np.ndarray, np.ndarray], None]  # of records, to a row each
    nodes: Callable[[np.ndarray, np.ndarray], None]  # of children, to a row for two
    levels: Callable[[int, np.ndarray, np.ndarray, np.ndarray], None]  # of size, frontier and leaves, to rows level by level
    rows: Callable[[np.ndarray, np.ndarray], None]  # of 40 bytes each, to a row each
    take: Callable[[np.ndarray, int, bytes | None, np.ndarray, np.ndarray], int]  # as `take_leaves`: how many, or −1 − a row


def implementations() -> list[str]:
    """Name the ways to hash that there are here, the one that is used unless another is asked for first.

    Loads numba unless the run is uncompiled, and compiles nothing. "hashlib" is always there.
    """
    from rightsx import _sha256  # noqa: PLC0415 - numba is loaded when it is needed

    return [*_sha256.offered(), "hashlib"]


def _way(using: str | None) -> _Way:
    """Find a way to hash, the best unless one is named."""
    if using is not None and not isinstance(using, str):
        raise MisuseError(f"using was {using!r}; one of the names that implementations() gives is due")
    return _found(using)


@cache
def _found(using: str | None) -> _Way:
    """Compile or load a way to hash."""
    by_hashlib = _Way(_leaves_by_hashlib, _nodes_by_hashlib, _levels_by_hashlib, _rows_by_hashlib, _take_by_hashlib)
    if using == "hashlib":
        return by_hashlib
    names = implementations()
    if using is not None and using not in names:
        raise MisuseError(f"using was {using!r}; there are {', '.join(names)} here")
    chosen = using or names[0]
    return by_hashlib if chosen == "hashlib" else _compiled(chosen)


def _compiled(name: str) -> _Way:
    """Give a way to hash whose loops are compiled: it is told addresses and numbers of rows."""
    from rightsx._sha256 import LEAVES, ROWS, TAKE, batch_hasher  # noqa: PLC0415

    run = batch_hasher(name)

    def leaves(records: np.ndarray, out: np.ndarray) -> None:
        run(LEAVES, 0, 0, records.ctypes.data, len(records), out.ctypes.data, 0)

    def nodes(children: np.ndarray, out: np.ndarray) -> None:
        run(1, 0, 0, children.ctypes.data, len(children), out.ctypes.data, 0)

    def levels(size: int, frontier: np.ndarray, leaves: np.ndarray, out: np.ndarray) -> None:
        run(LEVELS, size, frontier.ctypes.data, leaves.ctypes.data, len(leaves), out.ctypes.data, 0)

    def rows(rows: np.ndarray, out: np.ndarray) -> None:
        run(ROWS, 0, 0, rows.ctypes.data, len(rows), out.ctypes.data, 0)

    def take(events: np.ndarray, size: int, secret: bytes | None, records: np.ndarray, hashes: np.ndarray) -> int:
        key = None if secret is None else np.frombuffer(secret, np.uint8)
        at = 0 if key is None else key.ctypes.data
        return int(run(TAKE, size, at, events.ctypes.data, len(events), hashes.ctypes.data, records.ctypes.data))

    return _Way(leaves, nodes, levels, rows, take)


def _leaves_by_hashlib(records: np.ndarray, out: np.ndarray) -> None:
    _by_hashlib(b"\x00", records.tobytes(), EVENT.itemsize, _LEAF_START, out)


def _nodes_by_hashlib(children: np.ndarray, out: np.ndarray) -> None:
    _by_hashlib(b"\x01", children.tobytes(), 2 * HASH_BYTES, 0, out)


def _rows_by_hashlib(rows: np.ndarray, out: np.ndarray) -> None:
    _by_hashlib(b"", rows.tobytes(), rows.itemsize, 0, out)


def _take_by_hashlib(events: np.ndarray, size: int, secret: bytes | None, records: np.ndarray, hashes: np.ndarray) -> int:
    places = np.flatnonzero(events["event_seq"] != NOT_A_LEAF)
    count = len(places)
    strange = np.flatnonzero(events["event_seq"][places] != np.arange(size, size + count))
    if len(strange):
        return -1 - int(places[strange[0]])
    records[:count] = events[places]
    if secret is not None:
        seeds, found = np.zeros(count, _SEED), np.empty((count, HASH_BYTES), np.uint8)
        seeds["secret"] = np.frombuffer(secret, np.uint8)
        seeds["event_seq"] = np.arange(size, size + count)
        _rows_by_hashlib(seeds, found)
        records["salt"][:count] = np.ascontiguousarray(found[:, :16]).view("<u8")
    _leaves_by_hashlib(records[:count], hashes[:count])
    return count


def _by_hashlib(prefix: bytes, raw: bytes, stride: int, start: int, out: np.ndarray) -> None:
    """Hash parts of `stride` bytes, each from its byte `start` on, behind a prefix."""
    ends = range(stride, stride * len(out) + 1, stride)
    hashes = [hashlib.sha256(prefix + raw[end - stride + start : end]).digest() for end in ends]
    out[:] = np.frombuffer(b"".join(hashes), np.uint8).reshape(out.shape)


def _levels_by_hashlib(size: int, frontier: np.ndarray, leaves: np.ndarray, out: np.ndarray) -> None:
    nodes, used = leaves, 0
    for level in range(LEVELS):
        children = np.concatenate((frontier[level : level + (size >> level & 1)], nodes))
        made = out[used : used + len(children) // 2]
        _nodes_by_hashlib(children, made)
        if len(nodes) and len(children) % 2:
            frontier[level] = nodes[-1]
        nodes, used = made, used + len(made)


# ── batches ──────────────────────────────────────────────────────────────────────────────────────


def leaf_hashes(records: np.ndarray, out: np.ndarray | None = None, *, using: str | None = None) -> np.ndarray:
    """Hash events as leaves: SHA-256(0x00 ‖ bytes 2 … 120) of each.

    `records` is EVENT[n], read where it lies; gives uint8[n, 32], which is `out` if that is given.
    `using` names one of `implementations()`. Changes: `out`.
    A `MisuseError`, before anything is written: any other dtype or shape, rows that do not lie one after the
    other, `out` read-only or overlapping what is read, an unknown `using`. O(n). RFC 6962, 2.1.

    >>> import hashlib
    >>> import numpy as np
    >>> from rightsx.protocol import EVENT
    >>> records = np.zeros(3, EVENT)
    >>> hashes = leaf_hashes(records, using="hashlib")
    >>> bytes(hashes[2]) == hashlib.sha256(bytes(119)).digest()
    True
    """
    _check("records", records, EVENT, ())
    out = _room(out, len(records), records)
    _way(using).leaves(records, out)
    return out


def node_hashes(children: np.ndarray, out: np.ndarray | None = None, *, using: str | None = None) -> np.ndarray:
    """Hash pairs of neighbours as nodes: SHA-256(0x01 ‖ left ‖ right) of each.

    `children` is uint8[2 m, 32]; gives uint8[m, 32], which is `out` if that is given. `using`, what changes and
    what is a `MisuseError` are as for `leaf_hashes`; an odd number of children is one, too. O(m). RFC 6962, 2.1.

    >>> import numpy as np
    >>> node_hashes(np.zeros((6, 32), np.uint8), using="hashlib").shape
    (3, 32)
    """
    _check("children", children, _BYTE, (HASH_BYTES,))
    if len(children) % 2:
        raise MisuseError(f"there were {len(children)} children; pairs are due")
    out = _room(out, len(children) // 2, children)
    _way(using).nodes(children, out)
    return out


def tree_levels(
    leaves: np.ndarray, out: np.ndarray | None = None, *, frontier: np.ndarray, size: int, using: str | None = None
) -> list[np.ndarray]:
    """Append leaf hashes to a tree and give the nodes that become complete, level by level.

    `leaves` is uint8[n, 32], `size` the number of leaves before them. Row k of `frontier`, uint8[64, 32], is the last
    node of level k where bit k of `size` is set, and is not read elsewhere; a tree begins with any. Level 0 of the answer
    is `leaves`; level k is uint8[·, 32], its first row is node `size >> k`, and its row count is
    ((size + n) >> k) − (size >> k). It ends before the first level without a row, but has level 0 always.
    Levels from 1 on lie one after the other in `out`, if that is given: uint8[n + 62 or more, 32] is always enough.
    Changes: `out`, and `frontier` to that of `size + n`. An interrupt may come in between: whoever goes on after
    one gives a copy, and then keeps it together with the new size.
    A `MisuseError` is what it is for `leaf_hashes`; also a size beyond 0 … 2^62 or too few rows. O(n + log size).

    >>> import numpy as np
    >>> leaves, frontier = np.zeros((3, 32), np.uint8), np.zeros((64, 32), np.uint8)
    >>> [len(level) for level in tree_levels(leaves, frontier=frontier, size=0, using="hashlib")]
    [3, 1]
    >>> [len(level) for level in tree_levels(leaves, frontier=frontier, size=3, using="hashlib")]
    [3, 2, 1]
    """
    _check("leaves", leaves, _BYTE, (HASH_BYTES,))
    end = _end_of(size, len(leaves))
    _check("frontier", frontier, _BYTE, (HASH_BYTES,), rows=LEVELS)
    _check_written("frontier", frontier, leaves)
    out = _room(out, size.bit_count() + len(leaves) - end.bit_count(), leaves, frontier, more=True)
    way = _way(using)
    # From here the call must succeed.
    way.levels(size, frontier, leaves, out)
    levels = [leaves]
    start = 0
    for level in range(1, end.bit_length()):
        rows = (end >> level) - (size >> level)
        if not rows:
            break
        levels.append(out[start : start + rows])
        start += rows
    return levels


def levels_above(hashes: bytes) -> list[bytes]:
    """Do what `tiles.levels_above` does, all levels in one call."""
    frontier = np.zeros((LEVELS, HASH_BYTES), np.uint8)
    found = tree_levels(np.frombuffer(hashes, np.uint8).reshape(-1, HASH_BYTES), frontier=frontier, size=0)
    return [level.tobytes() for level in found[1:]]


def is_ready() -> bool:
    """Say whether the way to hash was chosen and loaded in this process, so that using it costs nothing first."""
    return _found.cache_info().currsize > 0


def row_hashes(rows: np.ndarray, *, using: str | None = None) -> np.ndarray:
    """Hash rows of 40 bytes as they are: SHA-256 of each, one compression.

    `rows` is any NumPy array of one dimension whose items have 40 bytes and lie one after the other; gives uint8[n, 32].
    `MisuseError` for anything else, and for an unknown `using`. O(n).

    >>> import numpy as np
    >>> row_hashes(np.zeros(3, "S40"), using="hashlib").shape
    (3, 32)
    """
    fits = isinstance(rows, np.ndarray) and rows.ndim == 1 and rows.itemsize == ROW_BYTES and rows.flags.c_contiguous
    if not fits:
        raise MisuseError(f"a NumPy array of rows of {ROW_BYTES} bytes, one after the other, is due")
    out = np.empty((len(rows), HASH_BYTES), np.uint8)
    _way(using).rows(rows, out)
    return out


def take_leaves(
    events: np.ndarray,
    size: int,
    secret: bytes | None = None,
    *,
    records: np.ndarray | None = None,
    hashes: np.ndarray | None = None,
    using: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Copy those of EVENT[m] that are leaves, salt and hash them: all that a journal of `size` events needs, in one pass.

    The salt of an event is the first 16 bytes of SHA-256(secret ‖ event_seq, 8 bytes little-endian); without a `secret`, of
    32 bytes, it stays as it is. Gives EVENT[n] and uint8[n, 32], parts of `records` and `hashes` if those are given, which
    have m rows or more. Changes: those two. O(m).
    Raises `DivergenceError` for an `event_seq` that does not go on from `size`; both have any content then. `MisuseError`
    is as for `leaf_hashes`, and comes before anything is written.

    >>> import numpy as np
    >>> from rightsx.protocol import EVENT
    >>> events = np.zeros(3, EVENT)
    >>> events["event_seq"] = 7, -1, 8  # a refusal, of −1, is no leaf
    >>> [len(rows) for rows in take_leaves(events, 7, bytes(32), using="hashlib")]
    [2, 2]
    """
    _check("events", events, EVENT, ())
    _end_of(size, len(events))
    if secret is not None and (not isinstance(secret, bytes) or len(secret) != HASH_BYTES):
        raise MisuseError(f"a secret of {HASH_BYTES} bytes is due")
    if records is None:
        records = np.empty(len(events), EVENT)
    else:
        _check("records", records, EVENT, ())
        if len(records) < len(events):
            raise MisuseError(f"records had {len(records)} rows; {len(events)} are due")
        _check_written("records", records, events)
    hashes = _room(hashes, len(events), events, records, more=True)
    count = _way(using).take(events, size, secret, records, hashes)
    if count < 0:
        number = int(events["event_seq"][-1 - count])
        due = size + int(np.count_nonzero(events["event_seq"][: -1 - count] != NOT_A_LEAF))
        raise DivergenceError(f"event {number} came where {due} was due")
    return records[:count], hashes[:count]


# ── checks ───────────────────────────────────────────────────────────────────────────────────────


def _check(name: str, array: object, dtype: np.dtype, row: tuple[int, ...], rows: int | None = None) -> None:
    """Raise a `MisuseError` unless it is an array of this type and shape whose rows lie one after the other."""
    if not isinstance(array, np.ndarray):
        raise MisuseError(f"{name} was a {type(array).__name__}; a NumPy array {_due(dtype, row, rows)} is due")
    if array.dtype != dtype or array.ndim != 1 + len(row) or array.shape[1:] != row or rows not in (None, len(array)):
        found = "EVENT" if array.dtype == EVENT else array.dtype
        raise MisuseError(f"{name} was {found}{list(array.shape)}; {_due(dtype, row, rows)} is due")
    if not array.flags.c_contiguous:
        raise MisuseError(f"rows of {name} did not lie one after the other; np.ascontiguousarray makes them")


def _due(dtype: np.dtype, row: tuple[int, ...], rows: int | None) -> str:
    """Write what an array should have been."""
    sizes = ", ".join(map(str, ("n" if rows is None else rows, *row)))
    return f"{'EVENT' if dtype == EVENT else dtype}[{sizes}]"


def _room(out: np.ndarray | None, rows: int, *read: np.ndarray, more: bool = False) -> np.ndarray:
    """Make room for hashes, or check what is given for that: so many rows, or `more`."""
    if out is None:
        return np.empty((rows, HASH_BYTES), np.uint8)
    _check("out", out, _BYTE, (HASH_BYTES,), None if more else rows)
    if len(out) < rows:
        raise MisuseError(f"out had {len(out)} rows; {rows} are due")
    _check_written("out", out, *read)
    return out


def _check_written(name: str, out: np.ndarray, *read: np.ndarray) -> None:
    """Raise a `MisuseError` unless it may be written to while others are read."""
    if not out.flags.writeable:
        raise MisuseError(f"{name} was read-only; it is to be written to")
    if any(np.may_share_memory(out, array) for array in read):
        raise MisuseError(f"{name} overlapped what is read; it needs memory of its own")


def _end_of(size: int, count: int) -> int:
    """Add leaves to the size of a tree."""
    if type(size) is not int or not 0 <= size <= SIZE_END - count:
        raise MisuseError(f"size was {size!r}; an integer from 0 to {SIZE_END - count} is due")
    return size + count
