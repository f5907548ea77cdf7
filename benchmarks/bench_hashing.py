"""How fast a tree grows: millions of leaves a second, of every way to hash that this processor has.

    python benchmarks/bench_hashing.py [--leaves 1000000] [--runs 9] [--append]

Seeded random events become leaves, and these a tree from nothing (RFC 6962), in batches: all at once, and as
small as a journal's may be. "with all nodes" is both, so a leaf is two hashes there; "leaves alone" is one. Hashes go to
memory that was used before. Each line is the median, the worst and the best of its runs, which take turns; a way is
compiled outside the clock. hashlib hashes a fiftieth. The digest begins the root of the tree, and that of the first fiftieth is
compared between all ways. --append writes the table to HISTORY.md.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import time
from typing import Final, NamedTuple

import numpy as np
from telling import Table, tell

from rightsx.hashing import HASH_BYTES, LEVELS, implementations, leaf_hashes, tree_levels
from rightsx.protocol import EVENT

SEED: Final = 6_962
FIFTIETH: Final = 50
BATCHES: Final = (4_096, 64, 1)  # besides all at once
CALLS: Final = 2_000  # of the smallest batches; more say nothing new


class Line(NamedTuple):
    """One measurement: what was done, in batches of how many, leaves a second, and the root if there is one."""

    using: str
    what: str
    batch: int
    rate: float
    digest: str = ""


class Ground:
    """Events, and memory for their hashes that has been touched."""

    def __init__(self, count: int) -> None:
        """Draw them."""
        raw = np.random.default_rng(SEED).integers(0, 256, count * EVENT.itemsize, np.uint8)
        self.events = raw.view(EVENT)
        self.leaves = np.zeros((count, HASH_BYTES), np.uint8)
        self.nodes = np.zeros((count + LEVELS, HASH_BYTES), np.uint8)


def root(frontier: np.ndarray, size: int) -> str:
    """Fold a frontier into the root of the tree, and begin it."""
    folded = b""
    for level in range(LEVELS):
        if size >> level & 1:
            left = frontier[level].tobytes()
            folded = hashlib.sha256(b"\x01" + left + folded).digest() if folded else left
    return folded.hex()[:16]


def leaves_alone(ground: Ground, using: str, count: int) -> Line:
    """Hash leaves, all at once."""
    start = time.perf_counter_ns()
    leaf_hashes(ground.events[:count], ground.leaves[:count], using=using)
    return Line(using, "leaves alone", count, count * 1e9 / (time.perf_counter_ns() - start))


def tree(ground: Ground, using: str, count: int, batch: int) -> Line:
    """Grow a tree from nothing, batch by batch."""
    frontier = np.zeros((LEVELS, HASH_BYTES), np.uint8)
    start = time.perf_counter_ns()
    for size in range(0, count, batch):
        end = min(size + batch, count)
        leaves = leaf_hashes(ground.events[size:end], ground.leaves[size:end], using=using)
        tree_levels(leaves, ground.nodes, frontier=frontier, size=size, using=using)
    elapsed_ns = time.perf_counter_ns() - start
    return Line(using, "with all nodes", batch, count * 1e9 / elapsed_ns, root(frontier, count))


def turn(ground: Ground, using: str) -> list[Line]:
    """Measure a way to hash once."""
    count = len(ground.events) // (FIFTIETH if using == "hashlib" else 1)
    lines = [leaves_alone(ground, using, count), tree(ground, using, count, count)]
    smaller = [batch for batch in BATCHES if batch < count and using != "hashlib"]
    return lines + [tree(ground, using, min(count, CALLS * batch), batch) for batch in smaller]


def measured(leaves: int, runs: int) -> Table:
    """Compare all ways on a fiftieth, then measure them in turn."""
    ground = Ground(leaves)
    some = max(1, leaves // FIFTIETH)
    roots = {using: tree(ground, using, some, some).digest for using in implementations()}
    assert len(set(roots.values())) == 1, f"they disagree on the root: {roots}"
    results: dict[tuple[str, str, int], list[Line]] = {}
    for _ in range(runs):
        for using in implementations():
            for line in turn(ground, using):
                results.setdefault(line[:3], []).append(line)
    rows: list[tuple[object, ...]] = []
    for (using, what, batch), lines in results.items():
        rates = [line.rate / 1e6 for line in lines]
        rows.append(
            (
                using,
                what,
                f"{batch:,}",
                len(lines),
                *map(million, (statistics.median(rates), min(rates), max(rates))),
                lines[0].digest,
            )
        )
    return (f"{leaves:,} leaves", "", "batch", "runs", "M leaves/s, median", "worst", "best", "digest"), rows


def million(rate: float) -> str:
    """Write millions a second as finely as they deserve."""
    return f"{rate:.1f}" if rate >= 1 else f"{rate:.3f}"


def main() -> int:
    """Measure, print, and append if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leaves", type=int, default=1_000_000, help="events (default 1000000)")
    parser.add_argument("--runs", type=int, default=9, help="runs per line (default 9)")
    parser.add_argument("--append", action="store_true", help="add the table to HISTORY.md")
    options = parser.parse_args()
    table = measured(options.leaves, options.runs)
    tell("the hashing", [table], keeps=options.append)
    return 0


if __name__ == "__main__":
    sys.exit(main())
