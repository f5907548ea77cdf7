"""Matches orders by price, then time, as plainly as Python allows (R16, R19, R40, R42).

    bids                      asks
    price ──► queue           price ──► queue
      90  ──► o7, o9            92  ──► o3
      88  ──► o1                95  ──► o5, o2, o8

A book is two sorted maps from price to a queue of orders. The best level is the last of the bids and
the first of the asks; the front of its queue trades first. The book knows neither cash nor units of a
holding: whoever calls `match` settles each match as it is yielded, which is why `match` is a
generator and keeps nothing across a yield but the taker.

Invariants: a level is never empty; every resting order is in exactly one level; 0 < shown ≤ open, and
shown = open unless the order is an iceberg. O(log levels) an operation, O(1) at a known level.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sortedcontainers import SortedDict

from rightsx.protocol import INT64_MAX, OrderFlag, Side, TimeInForce

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rightsx.reference.lots import Lot

OWN_ORDER_MODES = OrderFlag.CANCEL_MAKER | OrderFlag.CANCEL_BOTH


@dataclass(slots=True, eq=False)
class Order:
    """One live order: what the book needs, and what settlement keeps with it (R17, R18).

    `limit` is the price at which it stands in the book; of a market order what R39 gives it; of a
    plain stop that waits what it locks at (R41). `peg` is bps of v, or below 0 what it stays below v (R54).
    """

    id: int
    account: int
    series: int
    side: Side
    limit: int
    open_qty: int
    display: int = 0
    flags: int = 0
    time_in_force: int = TimeInForce.GTC
    deadline_ns: int = 0
    stop_price: int = 0
    budget: int = 0
    peg: int = 0
    planned: bool = False
    shown_qty: int = 0
    filled_qty: int = 0
    accept_seq: int = 0
    timer_seq: int = 0
    # What settlement keeps: what its fills owe and has not been charged, in 1/10,000 of a minor unit (of the
    # fee, which is rounded up, at most 0), and what is locked.
    fee_owed: int = 0
    fee_charged: int = 0
    royalty_owed: int = 0
    cash_locked: int = 0
    lots: list[Lot] = field(default_factory=list)

    @property
    def is_plain(self) -> bool:
        """Whether it has no limit of its own: a market order or a plain stop."""
        return bool(self.flags & OrderFlag.MARKET)

    @property
    def rises(self) -> bool:
        """Whether this stop waits for a rise of the last trade price (R41)."""
        if self.flags & (OrderFlag.STOP_RISE | OrderFlag.STOP_FALL):
            return bool(self.flags & OrderFlag.STOP_RISE)
        return self.side == Side.BUY

    def show(self) -> None:
        """Show the next part: at most `display` of an iceberg, the whole of any other order."""
        self.shown_qty = min(self.display, self.open_qty) if self.display else self.open_qty


class Match(NamedTuple):
    """One meeting of the taker with a maker; `qty` 0 means that the maker is the taker's own order."""

    maker: Order
    qty: int


class Book:
    """The resting orders of one series or product."""

    def __init__(self) -> None:
        """Begin with no orders."""
        self._levels: dict[Side, SortedDict] = {Side.BUY: SortedDict(), Side.SELL: SortedDict()}

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def best(self, side: Side) -> Order | None:
        """Give the order that would trade first on this side, or None. O(log levels)."""
        levels = self._levels[side]
        if not levels:
            return None
        _, queue = levels.peekitem(-1 if side == Side.BUY else 0)
        return next(iter(queue.values()))  # type: ignore[no-any-return]

    def orders(self, side: Side) -> Iterator[Order]:
        """Walk one side in the order in which it would trade. O(orders)."""
        levels = self._levels[side]
        for price in reversed(levels) if side == Side.BUY else iter(levels):
            yield from levels[price].values()

    def depth(self, side: Side, most: int | None = None) -> list[tuple[int, int, int]]:
        """List (price, shown quantity, orders) of the best levels, best first. O(orders shown).

        A quantity that 64 bits cannot say is told as 2^63 − 1.
        """
        levels = self._levels[side]
        prices = reversed(levels) if side == Side.BUY else iter(levels)
        rows: list[tuple[int, int, int]] = []
        for price in prices:
            if most is not None and len(rows) == most:
                break
            queue = levels[price]
            rows.append((price, min(INT64_MAX, sum(order.shown_qty for order in queue.values())), len(queue)))
        return rows

    def crosses(self, side: Side, limit: int) -> bool:
        """Say whether an order of this side and limit would meet any resting order, own ones too."""
        best = self.best(opposite(side))
        return best is not None and within(side, limit, best.limit)

    # ── changing ─────────────────────────────────────────────────────────────────────────────────

    def insert(self, order: Order) -> None:
        """Rest an order at the end of its level's queue."""
        levels = self._levels[order.side]
        queue = levels.get(order.limit)
        if queue is None:
            queue = levels[order.limit] = OrderedDict()
        order.show()
        queue[order.id] = order

    def remove(self, order: Order) -> None:
        """Take a resting order out; its level goes with its last order."""
        levels = self._levels[order.side]
        queue = levels[order.limit]
        del queue[order.id]
        if not queue:
            del levels[order.limit]

    def shrink(self, order: Order, open_qty: int) -> None:
        """Lower a resting order's open quantity in place, from its hidden part first (R38)."""
        order.open_qty = open_qty
        order.shown_qty = min(order.shown_qty, open_qty)

    def trade(self, order: Order, qty: int, *, requeue: bool) -> None:
        """Take `qty` of a resting order's open quantity.

        When its shown part is gone the next part is shown: at the end of the queue if `requeue`
        (R40), in place at an uncross (R20).
        """
        order.open_qty -= qty
        order.shown_qty -= min(qty, order.shown_qty)
        if order.open_qty == 0:
            self.remove(order)
        elif order.shown_qty == 0:
            order.show()
            if requeue:
                self._levels[order.side][order.limit].move_to_end(order.id)

    def match(self, taker: Order) -> Iterator[Match]:
        """Yield the makers that a taker meets, best price first, then front of the queue (R16).

        Each yielded match with `qty` > 0 has already been taken from both orders. A match with
        `qty` 0 is the taker's own order: the caller removes it to go on, or stops (R42).
        """
        other = opposite(taker.side)
        while taker.open_qty:
            maker = self.best(other)
            if maker is None or not within(taker.side, taker.limit, maker.limit):
                return
            if maker.account == taker.account != 0:
                yield Match(maker, 0)
                continue  # The caller has removed it, or does not come back.
            qty = min(taker.open_qty, maker.shown_qty)
            self.trade(maker, qty, requeue=True)
            taker.open_qty -= qty
            yield Match(maker, qty)

    def plan(self, taker: Order) -> list[Match]:
        """List what `match` would fill for this taker, without touching anything (FOK, R19).

        Own orders stop the walk, or are walked past under `cancel_maker`. O(orders met).
        """
        matches: list[Match] = []
        rest = taker.open_qty
        levels = self._levels[opposite(taker.side)]
        for price in levels if taker.side == Side.BUY else reversed(levels):
            if not rest or not within(taker.side, taker.limit, price):
                break
            queue = [[maker, maker.shown_qty, maker.open_qty] for maker in levels[price].values()]
            while queue and rest:
                maker, shown, open_qty = queue.pop(0)
                if maker.account == taker.account != 0:
                    if taker.flags & OrderFlag.CANCEL_MAKER:
                        continue
                    return matches
                qty = min(rest, shown)
                rest -= qty
                matches.append(Match(maker, qty))
                if open_qty > qty:  # an iceberg whose next part comes up behind the others
                    queue.append([maker, min(maker.display, open_qty - qty), open_qty - qty])
        return matches


def opposite(side: Side) -> Side:
    """Give the other side."""
    return Side.SELL if side == Side.BUY else Side.BUY


def within(side: Side, limit: int, price: int) -> bool:
    """Say whether `price` is as good as `limit` or better for an order of this side."""
    return price <= limit if side == Side.BUY else price >= limit
