"""Leads a book beside a venue's messages, and writes down what it was told.

    messages ─► Beside ─► OrderBook or Tape ─► TOLD, NOTED ─► a feed for a market (`flow`)

A venue tells of orders that rest. Within an instant, or while trading is halted, it may tell of a new order before those are
gone that it would meet: such a one waits until it can rest, behind those that waited before it.

A `Tape` is an order book that remembers every call that it took, with the time of the message behind it, and beside those what
the venue itself says it executed. Told to another market, the calls do there what they did here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rightsx.orderbook import BookResult, OrderBook

TAKER_FIRST = 1 << 61  # takers have no ids in a venue's messages


class Told(NamedTuple):
    """One call: an order placed (`is_taker`: at once or not at all), amended, or cancelled (neither price nor quantity)."""

    time_ns: int
    order_id: int
    side: str = ""  # of an order that is placed
    price: int | None = None
    qty: int | None = None
    is_taker: bool = False


class Noted(NamedTuple):
    """One execution as the venue told it; `taker` is 0 where the venue does not say."""

    maker: int
    price: int
    qty: int
    taker: int = 0


class Tape(OrderBook):
    """An order book that writes down what it was told; `time_ns` is that of the message behind the next call."""

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__()
        self.time_ns = 0
        self.told: list[Told] = []
        self.noted: list[Noted] = []

    def place(self, **order: Any) -> BookResult:
        """Enter an order as `OrderBook.place` does; one that is refused was never told."""
        result = super().place(**order)
        if result:
            is_taker = order.get("time_in_force") == "ioc"
            self.told.append(Told(self.time_ns, order["order_id"], order["side"], order["price"], order["qty"], is_taker))
        return result

    def amend(self, *, order_id: int, price: int | None = None, qty: int | None = None, account: int = 0) -> BookResult:
        """Change an order as `OrderBook.amend` does."""
        result = super().amend(order_id=order_id, price=price, qty=qty, account=account)
        if result:
            self.told.append(Told(self.time_ns, order_id, price=price, qty=qty))
        return result

    def cancel(self, *, order_id: int, account: int = 0) -> BookResult:
        """Take an order back as `OrderBook.cancel` does."""
        result = super().cancel(order_id=order_id, account=account)
        if result:
            self.told.append(Told(self.time_ns, order_id))
        return result


@dataclass
class Beside:
    """A book that stands as the venue's does; orders that would cross wait."""

    book: OrderBook = field(default_factory=OrderBook)
    counts: Counter[str] = field(default_factory=Counter)
    mismatches: list[str] = field(default_factory=list)
    waiting: dict[int, tuple[str, int, int]] = field(default_factory=dict)  # side, price, quantity
    takers: int = 0

    def add(self, order_id: int, side: str, price: int, qty: int) -> None:
        """Let a new order rest as soon as it can."""
        self.waiting[order_id] = side, price, qty

    def rest_waiting(self) -> None:
        """Let those rest that wait, in their order, as far as they cross nothing."""
        for order_id, (side, price, qty) in list(self.waiting.items()):
            if self.book.place(order_id=order_id, side=side, price=price, qty=qty, post_only=True):
                del self.waiting[order_id]

    def withdraw(self, order_id: int) -> bool:
        """Take an order out; gives whether it was there."""
        if self.waiting.pop(order_id, None) is not None:
            return True
        return bool(self.book.open_qty(order_id)) and bool(self.book.cancel(order_id=order_id))

    def lessen(self, order_id: int, by: int) -> None:
        """Take a part of an order out, which keeps its place; all of it if the part is larger."""
        if order_id in self.waiting:
            side, price, qty = self.waiting[order_id]
            if qty > by:
                self.waiting[order_id] = side, price, qty - by
                return
        left = self.book.open_qty(order_id) - by
        if left > 0:
            self.book.amend(order_id=order_id, qty=left)
        else:
            self.withdraw(order_id)

    def take(self, side: str, price: int, qty: int) -> list[tuple[int, int, int]]:
        """Send a taker; gives (maker, price, quantity) of its fills."""
        self.takers += 1
        found = self.book.place(order_id=TAKER_FIRST + self.takers, side=side, price=price, qty=qty, time_in_force="ioc")
        return [(fill.maker, fill.price, fill.qty) for fill in found.fills]

    def best(self, side: str) -> int | None:
        """Give the best price of a side."""
        front = self.book.front(0, side)
        return None if front is None else front[1]

    def clear(self) -> None:
        """Forget all orders."""
        self.waiting = {}
        for side in ("buy", "sell"):
            for order_id, _, _ in self.book.queue(0, side):
                self.book.cancel(order_id=order_id)

    def at(self, time_ns: int) -> None:
        """Say when the next message was."""
        if isinstance(self.book, Tape):
            self.book.time_ns = time_ns

    def note(self, maker: int, price: int, qty: int) -> None:
        """Write down what the venue says it executed."""
        if isinstance(self.book, Tape):
            self.book.noted.append(Noted(maker, price, qty))
