"""Compiles every kernel ahead of time: for images of servers, for the first minute of a class, for a clean benchmark.

    rightsx warmup      →  order book, exchange, timing wheel, hashing, market data, the order book for C; where they are kept

Compiled code of other versions of rightsx, numba or Python stays beside it until `prune` removes it.
"""

from __future__ import annotations

import re
import shutil
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rightsx import _jit
from rightsx.views import text_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NAMED = re.compile(r"[0-9a-f]{20}")


class Warmed(NamedTuple):
    """One entry, and the seconds until it could be called."""

    what: str
    seconds: float


class Warmth(NamedTuple):
    """What is compiled now, and where it is kept."""

    entries: list[Warmed]
    directory: Path
    kept_bytes: int
    others: list[Path]

    def __str__(self) -> str:
        """Show a table, and where the code is."""
        rows = [(one.what, f"{one.seconds:.2f}") for one in self.entries]
        kept = f"kept in {self.directory}, {self.kept_bytes / 1e6:.1f} MB"
        if not self.kept_bytes:
            kept = f"not kept: {self.directory} cannot be written; RIGHTSX_CACHE_DIR names another place"
        count = len(self.others)
        versions = "another version" if count == 1 else f"{count} other versions"
        others = f"\nbeside it is the code of {versions}; `rightsx warmup --prune` removes it" if count else ""
        return f"{text_table(('ready', 'seconds'), rows)}\n\n{kept}{others}"


def warm_up() -> Warmth:
    """Compile what is not compiled yet, and load the rest. A minute the first time, else a second.

    >>> from rightsx.warmup import warm_up
    >>> [entry.what for entry in warm_up().entries][3:]  # doctest: +SKIP
    ['the timing wheel', 'the hashing', 'the market data', 'the order book for C']
    """
    entries = []
    for what, make in _makers():
        start = time.perf_counter()
        make()
        entries.append(Warmed(what, time.perf_counter() - start))
    directory = _jit.cache_directory()
    kept = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) if directory.is_dir() else 0
    return Warmth(entries, directory, kept, others())


def _makers() -> list[tuple[str, Callable[[], object]]]:
    from rightsx.embed import addresses  # noqa: PLC0415 - importing is a part of the time
    from rightsx.engine.twin import whole_entry  # noqa: PLC0415
    from rightsx.exchange import Exchange  # noqa: PLC0415
    from rightsx.expiry import TimingWheel  # noqa: PLC0415
    from rightsx.hashing import HASH_BYTES, node_hashes  # noqa: PLC0415
    from rightsx.marketdata import MarketData  # noqa: PLC0415
    from rightsx.orderbook import OrderBook  # noqa: PLC0415

    makers: list[tuple[str, Callable[[], object]]] = [
        ("the order book", OrderBook),
        ("plain orders of the exchange", Exchange),
        ("the whole exchange", whole_entry),
        ("the timing wheel", TimingWheel),
        ("the hashing", lambda: node_hashes(np.zeros((0, HASH_BYTES), np.uint8))),
        ("the market data", MarketData),
    ]
    return [*makers, ("the order book for C", addresses)] if _jit.COMPILED else makers


def others() -> list[Path]:
    """List the directories of compiled code beside this version's own."""
    own = _jit.cache_directory()
    if not own.parent.is_dir():
        return []
    return sorted(path for path in own.parent.iterdir() if path.is_dir() and path != own and _NAMED.fullmatch(path.name))


def prune() -> int:
    """Remove compiled code of other versions; gives how many there were. A process that runs them keeps what it has loaded."""
    found = others()
    for path in found:
        shutil.rmtree(path)
    return len(found)
