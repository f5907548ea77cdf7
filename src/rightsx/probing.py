"""Places keys in a table of open addressing, all at once: what growing such a table does.

    homes   3 3 4 9 9        table of 10 cells        0 1 2 3 4 5 6 7 8 9
                                                      ▲     └─┴─┘       │
                                                      └──── past the end┘

Linear probing in order of home: a key stands at its home, or right behind the one before it; what is
pushed past the end takes the first cells that are empty from the start. A search from any home then meets
its key before an empty cell, as if the keys had been entered one by one. Keys of one home stay in order.
"""

from __future__ import annotations

import numpy as np

MULTIPLIER = np.uint64(0x9E37_79B9_7F4A_7C15)  # 2^64 / φ, odd
PAIR = np.uint64(0x1_0000_0001_0001)


def spots_of(homes: np.ndarray, cells: int) -> np.ndarray:
    """Give each key its cell, for int64 homes in 0 … cells − 1 and fewer keys than cells. O(keys log keys + cells)."""
    order = np.argsort(homes, kind="stable")
    count = np.arange(len(homes), dtype=np.int64)
    spots = np.maximum.accumulate(homes[order] - count) + count
    around = spots >= cells
    if around.any():
        taken = np.zeros(cells, bool)
        taken[spots[~around]] = True
        spots[around] = np.flatnonzero(~taken)[: int(around.sum())]
    placed = np.empty(len(homes), np.int64)
    placed[order] = spots
    return placed


def pair_homes(a: np.ndarray, b: np.ndarray, shift: int) -> np.ndarray:
    """Hash pairs of numbers as kernels do, to the cells where their search begins: (b ^ a × PAIR) × MULTIPLIER, upper half."""
    first, second = (numbers.astype(np.int64).view(np.uint64) for numbers in (a, b))
    hashed = (second ^ (first * PAIR)) * MULTIPLIER
    return ((hashed >> np.uint64(32)) >> np.uint64(shift)).astype(np.int64)
