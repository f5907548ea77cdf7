"""Rows that come in order, are read for a while and let go again, in memory that nothing moves.

    numbers   0 ············ let go ············ first ······ end      room
    slabs                             [   ······ xxxx ][ xxxx ][ xx            ]

Room is given before rows are made, so that whoever makes them writes them where they stay. How many there are, and from
which number on they are still wanted, is their owner's to know: both are told with every call, and an owner who changes each
by one assignment has lost nothing when an interrupt comes in between.

Slabs are used again, because the system clears a page when it is first touched, which costs more than to fill it. They stay
below the size from which NumPy asks for huge pages: where memory is in pieces the system may take milliseconds to find one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

HUGE_BYTES: Final = 1 << 22  # arrays from this size on are put into huge pages (numpy/core/src/multiarray/alloc.c)
SPARE_SLABS: Final = 16
FIRST_ROWS: Final = 256


class Slabs:
    """Rows of one dtype, or of so many bytes each, by number."""

    def __init__(self, row: Any) -> None:
        """Begin with none; `row` is a dtype, or a number of bytes."""
        self._row: np.dtype = np.dtype(np.uint8 if isinstance(row, int) else row)
        self._shape = (row,) if isinstance(row, int) else ()
        row_bytes = row if isinstance(row, int) else self._row.itemsize
        self._most_rows = 1 << ((HUGE_BYTES - 1) // row_bytes).bit_length() - 1
        self._slabs: list[tuple[int, np.ndarray]] = []  # and the number of their first row
        self._spare: list[np.ndarray] = []

    def room(self, end: int, count: int, *, first: int) -> np.ndarray:
        """Give memory for the `count` rows from number `end` on; those from `first` up to it stay. O(1)."""
        slabs = self._slabs
        if slabs and first == end:
            slabs[:] = [(end, slabs[-1][1])]  # none stays: the last begins anew
        if not slabs or end + count > slabs[-1][0] + len(slabs[-1][1]):
            if slabs and slabs[-1][0] == end:
                slabs.pop()  # no row of it is used
            slabs.append((end, self._slab(count)))
        start, slab = slabs[-1]
        return slab[end - start : end - start + count]

    def _slab(self, count: int) -> np.ndarray:
        """Take a slab for so many rows, each twice as large as the one before it up to a limit."""
        if self._spare and count <= self._most_rows:
            return self._spare.pop()
        last = len(self._slabs[-1][1]) if self._slabs else FIRST_ROWS // 2
        return np.empty((max(count, min(2 * last, self._most_rows)), *self._shape), self._row)

    def arrays(self, first: int, end: int) -> Iterator[tuple[int, np.ndarray]]:
        """Give the rows from number `first` up to `end` as arrays, each with the number of its first row."""
        slabs = list(self._slabs)
        for index, (start, slab) in enumerate(slabs):
            stop = min(end, slabs[index + 1][0]) if index + 1 < len(slabs) else end
            begin = max(first, start)
            if begin < stop:
                yield begin, slab[begin - start : stop - start]

    def read(self, first: int, count: int) -> bytes:
        """Give the bytes of the `count` rows from number `first` on, which are all there."""
        return b"".join(rows.tobytes() for _, rows in self.arrays(first, first + count))

    def let_go(self, until: int) -> None:
        """Use memory again of which no row from number `until` on is. O(slabs)."""
        slabs = self._slabs
        while len(slabs) > 1 and slabs[1][0] <= until:
            _, slab = slabs.pop(0)
            if len(slab) == self._most_rows and len(self._spare) < SPARE_SLABS:
                self._spare.append(slab)
