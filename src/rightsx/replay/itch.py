"""Reads a stock's day of ITCH 5.0 and asks our book, before each execution, whose turn it is.

    A, F, U, X, D (added, replaced, cancelled in part, deleted) ──► OrderBook ─┐ whose turn is it?
    E, C          (executed, maker by maker) ──────────────────────────────────┴─► agreement

An execution agrees if its order is the first at the best price of its side and has the shares, and a taker of that size at that
price then meets it and nobody else. Whatever differs is taken out of the order that the venue names, so that one difference
counts once. A replaced order is a new one at the back; a partial cancel keeps the place.

What is not asked, or may differ, as far as the file shows it
- *at another price*: a C whose price is not the order's. The order must be the first all the same; it is lessened.
- *of a cross*: a C that is not printable, as its shares are in a Q. An auction takes orders of both sides, not queues.
- *while crossed*: the venue told of orders that would meet each other: before the opening, or in a halt.
- *unknown*: of an order that the file never added, being older than an excerpt.
- *others* are none of these.

Hidden orders' trades (P) are counted, and touch nothing that is seen. O(messages × log orders).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rightsx.loaders.itch import SIDES
from rightsx.progress import following
from rightsx.replay.beside import Beside, Tape
from rightsx.replay.lobster import MISMATCHES_SHOWN, PROGRESS_STEP
from rightsx.views import text_table

if TYPE_CHECKING:
    from rightsx.loaders.itch import ItchFeed
    from rightsx.progress import Progress

_OTHER = {"buy": "sell", "sell": "buy"}
_ASIDE = {b"P": "hidden", b"Q": "crosses", b"B": "broken"}
_JUDGED = ("exact", "at another price", "while crossed", "others")


@dataclass
class _Day(Beside):
    """Our book beside the venue's messages; `orders` are the side and price of every order there was."""

    orders: dict[int, tuple[str, int]] = field(default_factory=dict)

    def tell(self, row: Any) -> None:
        """Take one message."""
        time_ns, order_id, new_id, _, price, qty, offset, kind, side, printable = row
        self.at(time_ns)
        if kind in _ASIDE:
            self.counts[_ASIDE[kind]] += 1
        elif kind in {b"A", b"F"}:
            self._enter(order_id, SIDES[side], price, qty, offset)
        elif order_id not in self.orders:
            self.counts["unknown" if kind in {b"E", b"C"} else "about unknown"] += 1
            if kind in {b"E", b"C"}:
                self.note(order_id, price, qty)
        elif kind in {b"E", b"C"}:
            self._execute(order_id, price, qty, offset, is_cross=printable == b"N")
        elif kind == b"X":
            self.lessen(order_id, qty)
        else:
            self.withdraw(order_id)
            own_side, _ = self.orders.pop(order_id)
            if kind == b"U":
                self._enter(new_id, own_side, price, qty, offset)
        if self.waiting:
            self.rest_waiting()

    def _enter(self, order_id: int, side: str, price: int, qty: int, offset: int) -> None:
        """Let a new order stand at the back; an id that is still open is a contradiction."""
        if self.withdraw(order_id):
            self.counts["ids twice"] += 1
            self.mismatches.append(f"byte {offset}: order {order_id} is added while it is open")
        self.orders[order_id] = side, price
        self.add(order_id, side, price, qty)

    def _execute(self, order_id: int, price: int, qty: int, offset: int, *, is_cross: bool) -> None:
        """Compare an execution with the front of our queue, and take it out."""
        side, own_price = self.orders[order_id]
        price = price or own_price
        self.note(order_id, price, qty)
        front = self.book.front(0, side)
        is_first = front is not None and front[:2] == (order_id, own_price) and front[2] >= qty
        if is_cross:
            outcome = "of a cross"
        elif is_first and price == own_price and self.take(_OTHER[side], price, qty) == [(order_id, price, qty)]:
            self.counts["exact"] += 1
            return
        elif is_first:
            outcome = "at another price"
        elif self.waiting:
            outcome = "while crossed"
        else:
            outcome = "others"
            self.mismatches.append(f"byte {offset}: the venue met {qty} of order {order_id} at {own_price}, our first is {front}")
        self.counts[outcome] += 1
        self.lessen(order_id, qty)


@dataclass(frozen=True)
class ItchReplay:
    """How far our queue says what NASDAQ did; `str` shows the table. Each execution is one of `exact` to `unknown`."""

    path: str
    stock: str
    messages: int
    executions: int
    exact: int
    at_another_price: int
    while_crossed: int
    others: int
    of_a_cross: int
    unknown: int
    about_unknown: int
    ids_twice: int
    hidden: int
    crosses: int
    broken: int
    mismatches: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether every execution met the first of our queue, or did not for a reason that the file shows."""
        return not (self.others or self.ids_twice)

    def __str__(self) -> str:
        """Show the counts and their reasons."""
        aside = f"{self.hidden} hidden, {self.crosses} crosses, {self.broken} broken"
        rows: list[tuple[str, object, str]] = [
            ("messages", self.messages, aside),
            ("executions", self.executions, f"{self.of_a_cross} of a cross and {self.unknown} of unknown orders left out"),
            ("- as our queue says", self.exact, f"{self.exact / max(1, self.executions):.1%}: the first of the best price"),
            ("- at another price", self.at_another_price, "of the first, but not at its price"),
            ("- while crossed", self.while_crossed, "orders stood that would meet: no continuous trading"),
            ("- others", self.others, ""),
            ("about unknown orders", self.about_unknown, "added before the file begins"),
            ("ids given twice", self.ids_twice, ""),
        ]
        table = text_table(("ITCH 5.0", "count", ""), rows, f"replay of {self.stock} in {self.path}")
        return "\n".join([table, *self.mismatches])


def replay_itch(feed: ItchFeed, *, tape: Tape | None = None, progress: Progress = None) -> ItchReplay:
    """Lead a book beside a stock's messages, and compare every execution with its queue.

    An empty `tape` is the book, and writes down what it was told.
    """
    day = _Day() if tape is None else _Day(tape)
    total = len(feed.messages)
    with following(progress, "replay") as step:
        for begin in range(0, total, PROGRESS_STEP):
            for row in feed.messages[begin : begin + PROGRESS_STEP].tolist():
                day.tell(row)
            step(min(begin + PROGRESS_STEP, total), total)
    counts = day.counts
    return ItchReplay(
        path=str(feed.path),
        stock=feed.stock,
        messages=total,
        executions=sum(counts[name] for name in _JUDGED),
        exact=counts["exact"],
        at_another_price=counts["at another price"],
        while_crossed=counts["while crossed"],
        others=counts["others"],
        of_a_cross=counts["of a cross"],
        unknown=counts["unknown"],
        about_unknown=counts["about unknown"],
        ids_twice=counts["ids twice"],
        hidden=counts["hidden"],
        crosses=counts["crosses"],
        broken=counts["broken"],
        mismatches=tuple(day.mismatches[:MISMATCHES_SHOWN]),
    )
