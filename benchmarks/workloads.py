"""Seeded order flows for the bare book, and the trades that every engine must make of them.

    calm     thin book near the mid          sweep   a third of the orders take, some of them a lot
    deep     335,000 orders resting          wild    the mid walks far
    market   a thousand books, a few of them busy

Each flow is a million limit orders with the cancels of those that outlive their patience, of which all
but 3 % of the cancels that come too late are left out. The digest is over every trade in order:
h = h × 1000003 + (maker ^ taker × 31 ^ price × 131 ^ qty × 8191), modulo 2^64. `EXPECTED` holds what a
plain price-time book gives for the whole flows; shorter ones are compared between engines.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any, Final, NamedTuple

import numpy as np

from rightsx.protocol import COMMAND, CommandKind, Side, TimeInForce

ADDS: Final = 1_000_000
_U64: Final = 2**64 - 1


class Profile(NamedTuple):
    """What a flow is like: share of takers, mean life in orders, depth and walk in ticks, books."""

    takers: float
    life: int
    depth: float
    walk: float
    books: int
    taker_qty: int = 100


PROFILES: Final = {
    "calm": Profile(0.10, 5_000, 8.0, 0.02, 1),
    "deep": Profile(0.04, 400_000, 300.0, 0.02, 1),
    "sweep": Profile(0.35, 20_000, 10.0, 0.05, 1, 400),
    "wild": Profile(0.10, 20_000, 40.0, 2.00, 1),
    "market": Profile(0.10, 50_000, 10.0, 0.02, 1_000),
}


class Expected(NamedTuple):
    """What a whole flow of a million orders comes to."""

    trades: int
    volume: int
    notional: int
    digest: str
    rejects: int
    resting: int


EXPECTED: Final = {
    "calm": Expected(223_711, 5_656_403, 565_558_212_826, "338409704245bc38", 6_734, 3_955),
    "deep": Expected(83_641, 2_117_645, 211_734_109_286, "f300f8873f7bc614", 1_563, 335_780),
    "sweep": Expected(741_017, 44_862_487, 4_484_621_469_773, "509527c0dbffcec7", 21_917, 4_902),
    "wild": Expected(726_373, 18_361_063, 1_809_364_887_841, "ef8f02031a588142", 21_667, 5_777),
    "market": Expected(286_941, 7_424_466, 742_338_222_938, "70531e0d3570c8ad", 8_266, 33_978),
}


def flow(name: str, *, adds: int = ADDS, seed: int = 1) -> np.ndarray:
    """Make a flow as COMMAND[n] for an `OrderBook(books=…)` with callers' ids. O(n log n)."""
    profile = PROFILES[name]
    rng = np.random.default_rng(seed)
    mid = 100_000 + np.round(np.cumsum(rng.normal(0, profile.walk, adds))).astype(np.int64)
    side = rng.integers(0, 2, adds).astype(np.uint8)
    takes = rng.random(adds) < profile.takers
    away = np.minimum(1 + np.floor(profile.depth * rng.pareto(2.5, adds)).astype(np.int64), 40_000)
    offset = np.where(takes, -np.maximum(2, (profile.depth / 2) * rng.random(adds)).astype(np.int64), away)
    price = np.where(side == 0, mid - offset, mid + offset)
    qty = np.where(takes, rng.integers(1, profile.taker_qty, adds), rng.integers(1, 100, adds)).astype(np.int64)
    book = np.zeros(adds, np.uint32)
    if profile.books > 1:
        weight = 1 / np.arange(1, profile.books + 1) ** 1.1
        book = rng.choice(profile.books, adds, p=weight / weight.sum()).astype(np.uint32)
    # The flow draws an owner for every order; the bare book knows none, but the draw belongs to the seed.
    rng.integers(1, 10_000, adds)
    placed = np.zeros(adds, COMMAND)
    placed["kind"], placed["time_in_force"] = CommandKind.PLACE, TimeInForce.GTC
    placed["side"] = np.where(side == 0, Side.BUY, Side.SELL)
    placed["order_id"], placed["price"], placed["qty"], placed["series"] = np.arange(1, adds + 1), price, qty, book
    death = np.arange(adds) + 0.5 + rng.exponential(profile.life, adds)
    dies = death < adds
    cancels = np.zeros(int(dies.sum()), COMMAND)
    cancels["kind"], cancels["order_id"] = CommandKind.CANCEL, placed["order_id"][dies]
    cancels["series"] = book[dies]
    moment = np.concatenate([np.arange(adds, dtype=float), death[dies]])
    stream = np.concatenate([placed, cancels])[np.argsort(moment, kind="stable")]
    late = np.array(oracle(stream)[1], dtype=np.int64)
    return np.delete(stream, late[rng.random(len(late)) > 0.03])  # noqa: PLR2004 - real flow rarely cancels what is filled


def oracle(stream: np.ndarray) -> tuple[Expected, list[int]]:
    """Work the trades out with heaps and queues, and list the rows whose cancel comes too late. O(n log n)."""
    books: dict[int, tuple[Any, Any, Any, Any]] = {}
    live: dict[int, list[int]] = {}
    digest = trades = volume = notional = 0
    late: list[int] = []
    fields = ("order_id", "price", "qty", "series", "kind", "side")
    for row, (order_id, price, wanted, series, kind, side) in enumerate(zip(*(stream[f].tolist() for f in fields), strict=True)):
        qty = wanted
        if kind == CommandKind.CANCEL:
            order = live.pop(order_id, None)
            if order is None:
                late.append(row)
            else:
                order[1] = 0
            continue
        mine = 0 if side == Side.BUY else 1
        book = books.setdefault(series, ({}, {}, [], []))
        levels, heap = book[1 - mine], book[3 - mine]
        while qty and heap:
            best = heap[0] if mine == 0 else -heap[0]
            queue = levels.get(best)
            while queue and queue[0][1] == 0:
                queue.popleft()
            if not queue:
                heapq.heappop(heap)
                levels.pop(best, None)
                continue
            if best > price if mine == 0 else best < price:
                break
            maker = queue[0]
            traded = min(qty, maker[1])
            maker[1] -= traded
            qty -= traded
            trades, volume, notional = trades + 1, volume + traded, notional + traded * best
            digest = fold(digest, maker[0], order_id, best, traded)
            if maker[1] == 0:
                queue.popleft()
                live.pop(maker[0])
        if qty:
            own = book[mine]
            if price not in own:
                own[price] = deque()
                heapq.heappush(book[2 + mine], price if mine else -price)
            order = [order_id, qty]
            own[price].append(order)
            live[order_id] = order
    return Expected(trades, volume, notional, f"{digest:016x}", len(late), len(live)), late


def fold(digest: int, maker: int, taker: int, price: int, qty: int) -> int:
    """Fold one trade into a digest."""
    return (digest * 1_000_003 + (maker ^ (taker * 31) ^ (price * 131) ^ (qty * 8191))) & _U64
