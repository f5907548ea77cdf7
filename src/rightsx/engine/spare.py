"""Memory for answers, used again when nobody holds the last one any more.

New memory costs more than matching does: the system clears each page when it is first touched. So a batch
that names no `out` writes to where the one before it was answered, if that answer is gone: who counts its
references is Python, and a part of an array counts for the whole.
"""

from __future__ import annotations

from sys import getrefcount
from typing import Final

import numpy as np

MOST_BYTES: Final = 2**26  # more than this is not held for a batch that may never come


class Spare:
    """One array of records at a time; not for two threads at once, like what it serves."""

    def __init__(self, dtype: np.dtype) -> None:
        """Begin with nothing."""
        self._dtype = dtype
        self._array = np.empty(0, dtype)

    def take(self, rows: int) -> np.ndarray:
        """Give an array of at least so many rows, of any content, that nobody else can see. O(1)."""
        # This attribute and the argument of the count are two; whoever holds the answer, or a part of it, is a third.
        if len(self._array) < rows or getrefcount(self._array) > 2:
            self._array = np.empty(0, self._dtype)  # first, so that both are not there at once
            made = np.empty(rows, self._dtype)
            if made.nbytes > MOST_BYTES:
                return made
            self._array = made
        return self._array
