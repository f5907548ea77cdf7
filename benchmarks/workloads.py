"""Seeded order flows for the bare book, and the trades that every engine must make of them.

    calm     thin book near the mid          sweep   a third of the orders take, some of them a lot
    deep     335,000 orders resting          wild    the mid walks far
    market   a thousand books, a few of them busy
    crash    a thin book over tens of thousands of prices, orders moved about, much of it too late

Each of the first five flows is a million limit orders with the cancels of those that outlive their patience, of which all
but 3 % of the cancels that come too late are left out. The digest is over every trade in order:
h = h × 1000003 + (maker ^ taker × 31 ^ price × 131 ^ qty × 8191), modulo 2^64. `EXPECTED` holds what a
plain price-time book gives for the whole flows; shorter ones are compared between engines.

`crash` is half a million orders and what is done to them. The mid walks half a tick an order and falls by
40,000 in the fifth tenth of the flow, half of which comes back in the next two. 15 % are IOC and cross; all
others rest near the mid and are cancelled after 60 orders on average. Each is moved once or twice with
chances of 50 % and 30 %: an AMEND of price and quantity to where the mid is by then, which enters anew and
one time in eight crosses. Orders stand at prices 0 modulo 3, moved ones at 1 and 2, so that a move always
changes the price and any library can do it as a cancel and a new order. Nobody looks whether an order is
still there: two fifths of the amends and cancels come too late, among them cancels of a tenth of the IOC
orders. Ids are used again after 65,536 orders.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any, Final, NamedTuple

import numpy as np

from rightsx.protocol import COMMAND, AmendFlag, CommandKind, Side, TimeInForce

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
    "crash": Expected(267_850, 7_788_568, 663_340_590_866, "2094540b4278fdda", 357_321, 25),
}
FLOWS: Final = (*PROFILES, "crash")


def commands(name: str, *, adds: int = ADDS) -> np.ndarray:
    """Make any of the flows; `crash` of half as many orders, because more happens to each. O(n log n)."""
    return crash(adds=adds // 2) if name == "crash" else flow(name, adds=adds)


def books(name: str) -> int:
    """Say how many books a flow is for."""
    return PROFILES[name].books if name in PROFILES else 1


def answers(name: str, stream: np.ndarray) -> Expected:
    """Work out what a flow comes to, plainly. O(n log n)."""
    return crash_oracle(stream) if name == "crash" else oracle(stream)[0]


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


# ── crash ────────────────────────────────────────────────────────────────────────────────────────

CRASH_FALL: Final = 40_000
CRASH_IDS: Final = 2**16


def crash(*, adds: int = ADDS // 2, seed: int = 1) -> np.ndarray:
    """Make the flow of a falling market as COMMAND[n] for an `OrderBook()` with callers' ids. O(n log n)."""
    rng = np.random.default_rng(seed)
    tenth = np.arange(adds) * 10 // adds
    drift = np.where(tenth == 4, -CRASH_FALL * 10 / adds, np.where((tenth == 5) | (tenth == 6), CRASH_FALL * 2.5 / adds, 0))  # noqa: PLR2004 - tenths
    mid = 100_000 + np.round(np.cumsum(rng.normal(0, 0.5, adds) + drift)).astype(np.int64)
    ioc = rng.random(adds) < 0.15  # noqa: PLR2004 - its share
    placed = np.zeros(adds, COMMAND)
    placed["kind"] = CommandKind.PLACE
    placed["time_in_force"] = np.where(ioc, TimeInForce.IOC, TimeInForce.GTC)
    placed["side"] = rng.integers(1, 3, adds)
    placed["order_id"] = 1 + np.arange(adds) % CRASH_IDS
    placed["price"] = (mid + np.where((placed["side"] == Side.BUY) == ioc, 1, -1) * _away(rng, adds)) // 3 * 3
    placed["qty"] = rng.integers(1, np.where(ioc, 150, 100))
    life = rng.exponential(60, adds)
    moment = [np.arange(adds, dtype=float)]
    parts = [placed]
    for move, share in ((1, 0.5), (2, 0.3)):
        moved = np.flatnonzero(~ioc & (rng.random(adds) < share))
        when = moved + 0.5 + rng.random(len(moved)) * 1.1 * life[moved]
        moved, when = moved[when < adds], when[when < adds]
        amends = np.zeros(len(moved), COMMAND)
        amends["kind"], amends["flags"] = CommandKind.AMEND, AmendFlag.PRICE | AmendFlag.QTY
        amends["order_id"] = placed["order_id"][moved]
        behind = np.where(placed["side"][moved] == Side.BUY, -1, 1)
        # One in eight chases the market and crosses.
        behind *= np.where(rng.random(len(moved)) < 0.125, -1, 1)  # noqa: PLR2004 - its share
        amends["price"] = (mid[when.astype(np.int64)] + behind * _away(rng, len(moved))) // 3 * 3 + move
        amends["qty"] = rng.integers(1, 100, len(moved))
        parts.append(amends)
        moment.append(when)
    gone = np.flatnonzero(~ioc | (rng.random(adds) < 0.1))  # noqa: PLR2004 - its share
    when = gone + 0.5 + life[gone]
    gone, when = gone[when < adds], when[when < adds]
    cancels = np.zeros(len(gone), COMMAND)
    cancels["kind"], cancels["order_id"] = CommandKind.CANCEL, placed["order_id"][gone]
    return np.concatenate([*parts, cancels])[np.argsort(np.concatenate([*moment, when]), kind="stable")]


def _away(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw how many ticks from the mid orders stand."""
    return np.minimum(1 + np.floor(8 * rng.pareto(2.5, count)).astype(np.int64), 4_000)


class _Plain:
    """A book of one list per price, in which whoever is gone has no quantity left."""

    def __init__(self) -> None:
        """Begin with no orders."""
        self.levels: dict[int, dict[int, deque[list[int]]]] = {Side.BUY: {}, Side.SELL: {}}
        self.heaps: dict[int, list[int]] = {Side.BUY: [], Side.SELL: []}
        self.live: dict[int, tuple[int, int, list[int]]] = {}
        self.trades: list[tuple[int, int, int, int]] = []

    def enter(self, order_id: int, side: int, price: int, wanted: int, *, rests: bool) -> None:
        """Match an order against the other side, then rest what is left."""
        other, sign = 3 - side, 1 if side == Side.BUY else -1
        levels, heap, qty = self.levels[other], self.heaps[other], wanted
        while qty and heap and heap[0] <= sign * price:
            queue = levels[sign * heap[0]]
            while queue and qty:
                maker = queue[0]
                traded = min(qty, maker[1])
                if traded:
                    self.trades.append((maker[0], order_id, sign * heap[0], traded))
                maker[1] -= traded
                qty -= traded
                if maker[1] == 0:
                    queue.popleft()
                    if traded:
                        del self.live[maker[0]]
            if not queue:
                del levels[sign * heapq.heappop(heap)]
        if qty and rests:
            if price not in self.levels[side]:
                self.levels[side][price] = deque()
                heapq.heappush(self.heaps[side], -sign * price)
            order = [order_id, qty]
            self.levels[side][price].append(order)
            self.live[order_id] = (side, price, order)


def crash_oracle(stream: np.ndarray) -> Expected:
    """Work out what `crash` comes to: GTC and IOC orders, cancels, and amends of price and quantity. O(n log n)."""
    book = _Plain()
    rejects = 0
    fields = ("kind", "order_id", "side", "price", "qty", "time_in_force")
    for kind, order_id, side, price, qty, tif in zip(*(stream[field].tolist() for field in fields), strict=True):
        if kind == CommandKind.PLACE:
            book.enter(order_id, side, price, qty, rests=tif == TimeInForce.GTC)
            continue
        found = book.live.pop(order_id, None)
        if found is None:
            rejects += 1
            continue
        own_side, own_price, order = found
        order[1] = 0
        if kind == CommandKind.AMEND:
            assert price != own_price, "an amend at the same price may keep its place"
            book.enter(order_id, own_side, price, qty, rests=True)
    digest = volume = notional = 0
    for maker, taker, price, qty in book.trades:
        digest = fold(digest, maker, taker, price, qty)
        volume, notional = volume + qty, notional + qty * price
    return Expected(len(book.trades), volume, notional, f"{digest:016x}", rejects, len(book.live))
