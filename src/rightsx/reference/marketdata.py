"""Shows the books from events alone, in plain Python: every resting order with its place in the queue, and depth.

A third party that reads ACCEPTED, TRIGGERED, REPRICED, AMENDED, FILL, CANCELLED, UNCROSSED and the end of a
series knows every queue exactly. What is not written can be worked out:

- an order rests with what is left of it once its own trades are over, at the end of its level;
- an iceberg shows min(display, open); when its shown part is gone by a trade it goes to the end of its
  level with the next part, but at an uncross it keeps its place (R40);
- an amend that entered anew (flags 1) leaves its place and comes back as an arriving order (R38);
- until UNCROSSED, orders of a series with an opening auction rest without trading (R20).

An arriving order is inserted when its ACCEPTED is read. That is safe although its fills come later: a
taker never trades with its own side, so its place at the end of its level is the place it will have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rightsx.protocol import Event, EventKind, FillFlag, Side
from rightsx.views import Level

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class Seen:
    """An open order as events tell it; a stop that waits is not in a queue."""

    order_id: int
    series: int
    side: Side
    price: int
    open_qty: int
    display: int
    shown_qty: int
    waits: bool

    def show(self) -> None:
        """Show the next part."""
        self.shown_qty = min(self.display, self.open_qty) if self.display else self.open_qty


class EventDepth:
    """The order books of all series, rebuilt; `apply` takes events in order. O(1) an event."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        """Begin with no orders and read what is given."""
        self._orders: dict[int, Seen] = {}
        # (series, side, price) → orders in queue order; a dict keeps the order in which keys came.
        self._queues: dict[tuple[int, Side, int], dict[int, Seen]] = {}
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> None:
        """Read one event; kinds that do not touch a book are passed over."""
        if event.kind == EventKind.ACCEPTED:
            side, waits = Side(event.side), bool(event.fee)
            order = Seen(event.order_id, event.series, side, event.price, event.qty, event.amount, 0, waits)
            self._orders[order.order_id] = order
            self._enter(order)
        elif event.kind == EventKind.TRIGGERED:
            order = self._orders[event.order_id]
            order.waits, order.price = False, event.price
            self._enter(order)
        elif event.kind == EventKind.REPRICED:
            order = self._orders[event.order_id]
            self._leave(order)
            order.price = event.price
            self._enter(order)
        elif event.kind == EventKind.AMENDED:
            self._amend(event)
        elif event.kind == EventKind.FILL:
            in_auction = bool(event.flags & FillFlag.AUCTION)
            self._trade(event.order_id, event.qty, arrives=not in_auction, requeues=False)
            self._trade(event.other_order_id, event.qty, arrives=False, requeues=not in_auction)
        elif event.kind == EventKind.CANCELLED:
            self._leave(self._orders.pop(event.order_id))

    def _enter(self, order: Seen) -> None:
        if not order.waits:
            order.show()
            self._queues.setdefault((order.series, order.side, order.price), {})[order.order_id] = order

    def _leave(self, order: Seen) -> None:
        key = (order.series, order.side, order.price)
        queue = self._queues.get(key)
        if queue is not None:
            queue.pop(order.order_id, None)
            if not queue:
                del self._queues[key]

    def _amend(self, event: Event) -> None:
        order = self._orders[event.order_id]
        if event.flags:
            self._leave(order)
            order.price, order.open_qty = event.price, event.qty
            self._enter(order)
        else:
            order.open_qty = event.qty
            order.shown_qty = min(order.shown_qty, event.qty)

    def _trade(self, order_id: int, qty: int, *, arrives: bool, requeues: bool) -> None:
        order = self._orders[order_id]
        order.open_qty -= qty
        if not order.open_qty:
            self._leave(self._orders.pop(order_id))
        elif arrives:
            order.show()
        else:
            order.shown_qty -= min(qty, order.shown_qty)
            if not order.shown_qty:
                order.show()
                if requeues:
                    queue = self._queues[order.series, order.side, order.price]
                    queue[order_id] = queue.pop(order_id)

    def queue(self, series: int, side: Side) -> list[tuple[int, int, int, int]]:
        """List (order id, price, open, shown) of one side in the order in which they would trade."""
        prices = sorted((key[2] for key in self._queues if key[:2] == (series, side)), reverse=side == Side.BUY)
        return [
            (order.order_id, order.price, order.open_qty, order.shown_qty)
            for price in prices
            for order in self._queues[series, side, price].values()
        ]

    def depth(self, series: int, side: Side, most: int | None = None) -> list[Level]:
        """List the best levels of one side: price, shown quantity, orders."""
        levels: dict[int, Level] = {}
        for _, price, _, shown in self.queue(series, side):
            old = levels.get(price, Level(price, 0, 0))
            levels[price] = Level(price, old.qty + shown, old.orders + 1)
        return list(levels.values())[:most]
