"""Reads CME's order flow (Databento MBO) and asks our book, before each trade, whose turn it is.

    A, C, M (added, cancelled, modified) ──► OrderBook ─┐ whose turn is it?
    T, F    (a trade, and the makers it met) ───────────┴─► agreement, maker by maker

The book is told what the venue tells of resting orders. At a trade its queue at that price says which makers should be met
and for how much; the F records say which were. Then those are taken out, so that one difference counts once. By the
venue's rules, as far as they are ours: price, then time; a modify to less keeps the place, to another price or to more it
does not (R38). Within an instant a venue may tell of a new order before those are gone that it would meet: such a one waits
until it can rest.

What differs, and why, as far as the file shows it
- *own orders*: a maker whose turn it was is cancelled at the same instant, unfilled: it was the taker's own, and the venue's
  protection took it out (R42, `cancel_maker`). Passing over those, the rest must agree exactly.
- *icebergs*: a maker fills more than it showed, or is told once for several turns, because it showed its next part within the
  sweep (R40); how much is hidden no message says.
- *others* are neither.

O(messages + trades × orders).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rightsx.loaders.databento import SIDES
from rightsx.progress import following
from rightsx.replay.beside import Beside, Tape
from rightsx.replay.lobster import MISMATCHES_SHOWN, PROGRESS_STEP
from rightsx.views import text_table

if TYPE_CHECKING:
    from rightsx.loaders.databento import DatabentoFeed
    from rightsx.progress import Progress

# ── the book beside the venue ────────────────────────────────────────────────────────────────────

Makers = list[tuple[int, int]]  # order and units, in the order in which they trade


_OTHER = {"buy": "sell", "sell": "buy"}


@dataclass
class _Night(Beside):
    """Our book beside the venue's messages."""

    rows: list[Any] = field(default_factory=list)

    def tell(self, at: int) -> int:
        """Take one message, or a trade with its fills; gives the row that is next."""
        time, order_id, price, size, _, action, side, _ = self.rows[at]
        self.at(time)
        if action == b"T":
            return self._trade(at)
        if action == b"R":
            self.clear()
        elif action == b"C":
            self.withdraw(order_id)
        elif action in (b"A", b"M"):
            self._change(order_id, SIDES[side], price, size)
        self.rest_waiting()
        return at + 1

    def _change(self, order_id: int, side: str, price: int, size: int) -> None:
        """Let an order stand so, in its place if it may keep that."""
        self.waiting.pop(order_id, None)
        if not self.book.open_qty(order_id):
            self.add(order_id, side, price, size)
        elif not self.book.amend(order_id=order_id, price=price, qty=size):
            self.withdraw(order_id)
            self.add(order_id, side, price, size)

    def _trade(self, at: int) -> int:
        """Compare a trade's makers with our queue, and take out what traded."""
        time, _, price, size, _, _, side, _ = self.rows[at]
        after = at + 1
        while after < len(self.rows) and self.rows[after][5] == b"F":
            after += 1
        fills = [(row[1], row[3], row[6]) for row in self.rows[at + 1 : after]]
        if side in SIDES:
            other = _OTHER[SIDES[side]]
            makers = [(order_id, qty) for order_id, qty, own_side in fills if SIDES.get(own_side) == other]
            queue = [(order_id, qty) for order_id, _, qty in self.book.queue(0, other, price=price)]
            gone = self._gone(after, time, makers)
            outcome = self._compare(at, makers, queue, size, gone)
            for order_id, qty in makers:
                self.note(order_id, price, qty)
            if outcome in {"exact", "own orders"} and self._met(SIDES[side], price, makers, gone):
                fills = [fill for fill in fills if SIDES.get(fill[2]) != other]
        else:
            self.counts["of an auction"] += 1
        for order_id, qty, _ in fills:
            self.lessen(order_id, qty)
        self.rest_waiting()
        return after

    def _met(self, side: str, price: int, makers: Makers, gone: set[int]) -> bool:
        """Send the taker where our book is sure to say what the venue did, own orders taken out before; gives whether it was."""
        if self.best(_OTHER[side]) != price:
            return False
        for order_id, _, _ in self.book.queue(0, _OTHER[side], price=price):
            if order_id == makers[-1][0]:
                break
            if order_id in gone:
                self.withdraw(order_id)
        found = self.take(side, price, sum(qty for _, qty in makers))
        assert found == [(order_id, price, qty) for order_id, qty in makers], "the queue said otherwise"
        return True

    def _gone(self, after: int, time: int, makers: Makers) -> set[int]:
        """List the orders that are cancelled or changed at the instant of a trade, and do not trade in it."""
        gone: set[int] = set()
        traded = {order_id for order_id, _ in makers}
        while after < len(self.rows) and self.rows[after][0] == time:
            row = self.rows[after]
            (traded if row[5] == b"F" else gone).add(row[1])
            after += 1
        return gone - traded

    def _compare(self, at: int, makers: Makers, queue: Makers, size: int, gone: set[int]) -> str:
        """Say how the venue's makers answer ours."""
        shown = dict(queue)
        ours = first_of(queue, size)
        others = first_of([one for one in queue if one[0] not in gone], size)
        if ours == makers:
            outcome = "exact"
        elif others == makers:
            outcome = "own orders"
        elif sorted(makers) in (sorted(ours), sorted(others)) or any(qty > shown.get(order_id, qty) for order_id, qty in makers):
            outcome = "icebergs"
        else:
            outcome = "others"
            self.mismatches.append(f"message {at}: the venue met {makers[:4]}, our queue is {queue[:4]}")
        self.counts[outcome] += 1
        self.counts["makers"] += len(makers)
        return outcome


def first_of(queue: Makers, size: int) -> Makers:
    """Give the makers that a taker of a size meets.

    >>> first_of([(1, 2), (2, 5)], 4)
    [(1, 2), (2, 2)]
    """
    met = []
    for order_id, qty in queue:
        if size <= 0:
            break
        met.append((order_id, min(qty, size)))
        size -= qty
    return met


@dataclass(frozen=True)
class DatabentoReplay:
    """How far our queue says what CME did; `str` shows the table. Each trade is one of `exact` to `others`."""

    path: str
    messages: int
    trades: int
    exact: int
    own_orders: int
    icebergs: int
    others: int
    of_an_auction: int
    makers: int
    mismatches: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether every trade is as our queue says, or differs for a reason that the file shows."""
        return not self.others

    def __str__(self) -> str:
        """Show the counts and their reasons."""
        rows: list[tuple[str, object, str]] = [
            ("messages", self.messages, ""),
            ("trades", self.trades, f"{self.makers} makers; {self.of_an_auction} of an auction left out"),
            ("- as our queue says", self.exact, f"{self.exact / max(1, self.trades):.1%}: the same makers, units and order"),
            ("- but for own orders", self.own_orders, "makers cancelled at that instant: the taker's own"),
            ("- icebergs", self.icebergs, "more traded than was shown, or told once for several turns"),
            ("- others", self.others, ""),
        ]
        return "\n".join([text_table(("Databento MBO", "count", ""), rows, f"replay of {self.path}"), *self.mismatches])


def replay_databento(feed: DatabentoFeed, *, tape: Tape | None = None, progress: Progress = None) -> DatabentoReplay:
    """Lead a book beside an MBO file, and compare the makers of every trade with its queue.

    An empty `tape` is the book, and writes down what it was told.
    """
    beside = _Night() if tape is None else _Night(tape)
    beside.rows = feed.messages.tolist()
    at, told = 0, 0
    with following(progress, "replay") as step:
        while at < len(beside.rows):
            at = beside.tell(at)
            if at >= told:
                step(at, len(beside.rows))
                told = at + PROGRESS_STEP
        step(at, at)
    counts = beside.counts
    return DatabentoReplay(
        path=str(feed.path),
        messages=len(beside.rows),
        trades=sum(counts[name] for name in ("exact", "own orders", "icebergs", "others")),
        exact=counts["exact"],
        own_orders=counts["own orders"],
        icebergs=counts["icebergs"],
        others=counts["others"],
        of_an_auction=counts["of an auction"],
        makers=counts["makers"],
        mismatches=tuple(beside.mismatches[:MISMATCHES_SHOWN]),
    )
