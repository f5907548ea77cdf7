"""Checks LOBSTER's order flow: each message against the rows around it, and all of them through an `OrderBook`.

    row[i-1] ──┬── message[i] ──► row[i]        transition: does the file agree with itself?
       │       ╎
       ▼       ▼
    OrderBook ─┴────────────────► best levels   does our book keep saying what the file says?

The levels of the first row enter as one anonymous order each, because nothing says which orders stand
in them. A cancel or an execution of an order that the book does not know takes from the anonymous
order of its price; that order stands in front, as what was there before must. A new order rests by
definition of the format (what trades at once is only seen as executions), so it is entered post-only
and a refusal counts as a difference. An execution is sent as a taker at the maker's price, not naming
the maker: the book itself must find the order that the file names. Hidden executions, crosses and
halts do not touch visible orders.

After each message the best levels are compared with the file's row. A level that was beyond the last
level of the row before is a *reveal*: nobody told us what happened to it out of sight. Any other
difference is counted as one. Both are adopted, so that one difference counts once: the orders that we
thought were there are forgotten, and one anonymous order takes their place.

Costs: O(messages · levels shown); the time is that of the calls of the book alone, without rows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Final

from rightsx.loaders.lobster import (
    KIND_DELETE,
    KIND_EXECUTE,
    KIND_HIDDEN,
    KIND_NEW,
    KIND_REDUCE,
    LobsterFeed,
    LobsterMessage,
    LobsterRow,
)
from rightsx.orderbook import BookResult, OrderBook
from rightsx.progress import following
from rightsx.replay.beside import Noted, Tape
from rightsx.views import text_table

if TYPE_CHECKING:
    from rightsx.progress import Progress

PROGRESS_STEP: Final = 4_096
MISMATCHES_SHOWN: Final = 10
Levels = tuple[tuple[int, int], ...]

_OTHER: Final = {"buy": "sell", "sell": "buy"}
_ANONYMOUS_ID: Final = 1 << 62


def rate_of(count: int, seconds: float) -> int:
    """Give a count per second for people, 0 where no time passed."""
    return round(count / seconds) if seconds else 0


# ── LOBSTER: one row after the other ─────────────────────────────────────────────────────────────


def side_of(row: LobsterRow, side: str) -> Levels:
    """Give the levels of one side of a row, best first."""
    return row.bids if side == "buy" else row.asks


def transition(row: LobsterRow, message: LobsterMessage, after: LobsterRow, level_count: int) -> str:
    """Say whether a message turns `row` into `after`: "exact", "reveal" or "inconsistent".

    A reveal is exact but for one more level at the far edge, which the file showed for the first time
    because a nearer level went.

    >>> before, message = LobsterRow(((9, 5),), ((11, 2),)), LobsterMessage(2, 0, 1, 7, 4, 9, "buy")
    >>> transition(before, message, LobsterRow(((9, 9),), ((11, 2),)), 10)
    'exact'
    """
    levels = dict(side_of(row, message.side))
    if message.kind == KIND_NEW:
        levels[message.price] = levels.get(message.price, 0) + message.qty
    elif message.kind in (KIND_REDUCE, KIND_DELETE, KIND_EXECUTE):
        levels[message.price] = levels.get(message.price, 0) - message.qty
        if levels[message.price] == 0:
            del levels[message.price]
    due = tuple(sorted(levels.items(), reverse=message.side == "buy")[:level_count])
    found = side_of(after, message.side)
    if side_of(row, _OTHER[message.side]) != side_of(after, _OTHER[message.side]) or any(qty < 0 for _, qty in due):
        return "inconsistent"
    if due == found:
        return "exact"
    return "reveal" if len(found) == level_count and due == found[:-1] else "inconsistent"


# ── LOBSTER: the same messages through a book ────────────────────────────────────────────────────


@dataclass
class _Shadow:
    """A book that follows the messages; orders that the file never named are anonymous, one a level."""

    book: OrderBook
    level_count: int
    anonymous: dict[tuple[str, int], int] = field(default_factory=dict)
    next_id: int = _ANONYMOUS_ID
    commands: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    mismatches: list[str] = field(default_factory=list)

    def rest(self, side: str, price: int, qty: int) -> None:
        """Rest an anonymous order of a level that the file shows."""
        order_id = self.anonymous[side, price] = self._new_id()
        if not self.book.place(order_id=order_id, side=side, price=price, qty=qty, post_only=True):
            self.counts["refused"] += 1

    def at(self, time_ns: int) -> None:
        """Say when what comes next was, for a book that writes it down."""
        if isinstance(self.book, Tape):
            self.book.time_ns = time_ns

    def message(self, message: LobsterMessage) -> None:
        """Apply one message. Hidden executions, crosses and halts do not touch the visible book."""
        if message.kind == KIND_NEW:
            result = self.book.place(
                order_id=message.order_id, side=message.side, price=message.price, qty=message.qty, post_only=True
            )
            self._call(result)
            if not result:
                self._differs(message, f"the book refused it: {result.refused}")
        elif message.kind in (KIND_REDUCE, KIND_DELETE):
            self._cancel(message)
        elif message.kind == KIND_EXECUTE:
            self._execute(message)
        elif message.kind == KIND_HIDDEN:
            self.counts["hidden"] += 1

    def adopt(self, side: str, due: Levels) -> list[int]:
        """Make our best levels those of the file, giving the prices that were not equal."""
        ours, theirs = dict(self.levels(side, None)), dict(due)
        worst = due[-1][0] if len(due) == self.level_count else None
        stale = {price for price, qty in ours.items() if within_row(side, price, worst) and theirs.get(price) != qty}
        missing = {price for price, qty in due if ours.get(price) != qty}
        for order_id, price, _ in self.book.queue(0, side) if stale else []:
            if price in stale:
                self.book.cancel(order_id=order_id)
        for price in sorted(missing):
            self.rest(side, price, theirs[price])
        return sorted(stale | missing)

    def levels(self, side: str, most: int | None) -> Levels:
        """Give our best levels of one side, all for None."""
        ladder = self.book.depth(levels=most)
        return tuple((level.price, level.qty) for level in (ladder.bids if side == "buy" else ladder.asks))

    def _cancel(self, message: LobsterMessage) -> None:
        order_id, open_qty = self._target(message)
        self.counts["cancel known" if order_id == message.order_id else "cancel anonymous"] += 1
        if open_qty < message.qty:
            self._differs(message, f"the book has only {open_qty} of it")
        if open_qty > message.qty:
            self._call(self.book.amend(order_id=order_id, qty=open_qty - message.qty))
        elif open_qty:
            self._call(self.book.cancel(order_id=order_id))

    def _execute(self, message: LobsterMessage) -> None:
        """Send the taker, whom the file does not name, and see whether the book finds the file's maker."""
        due, _ = self._target(message)
        if isinstance(self.book, Tape):
            self.book.noted.append(Noted(due, message.price, message.qty))
        result = self.book.place(
            order_id=self._new_id(), side=_OTHER[message.side], price=message.price, qty=message.qty, time_in_force="ioc"
        )
        self._call(result)
        kind = "known" if due == message.order_id else "anonymous"
        if [tuple(fill) for fill in result.fills] == [(message.price, message.qty, due)]:
            self.counts[f"executed {kind}"] += 1
        else:
            self._differs(message, f"the book made {list(result.fills)}")

    def _target(self, message: LobsterMessage) -> tuple[int, int]:
        """Give the order that a message is about, by its id or as the anonymous one of its level, with what is open."""
        open_qty = self.book.open_qty(message.order_id)
        if open_qty:
            return message.order_id, open_qty
        order_id = self.anonymous.get((message.side, message.price), 0)
        return order_id, self.book.open_qty(order_id)

    def _new_id(self) -> int:
        self.next_id += 1
        return self.next_id

    def _call(self, result: BookResult) -> None:
        self.commands += 1
        self.counts["refused"] += result.refused is not None

    def _differs(self, message: LobsterMessage, what: str) -> None:
        self.counts["message differs"] += 1
        self.mismatches.append(f"line {message.line}: {message}: {what}")


def within_row(side: str, price: int, worst: int | None) -> bool:
    """Say whether a row whose last price is `worst` would show this price; None is a row with room left."""
    return worst is None or (price >= worst if side == "buy" else price <= worst)


@dataclass(frozen=True)
class LobsterReplay:
    """How far a LOBSTER pair agrees with itself and with our book; `str` shows the table."""

    path: str
    messages: int
    kinds: dict[int, int]
    transitions: dict[str, int]
    rows: int
    rows_equal: int
    rows_revealed: int
    rows_different: int
    gaps: int
    executed_known: int
    executed_anonymous: int
    cancelled_known: int
    cancelled_anonymous: int
    messages_different: int
    refused: int
    commands: int
    seconds: float
    mismatches: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether every transition is consistent, and every message and row was as our book has it."""
        return not (self.transitions["inconsistent"] or self.rows_different or self.messages_different or self.refused)

    @property
    def commands_per_second(self) -> int:
        """Calls of the book per second, comparison and loading left out."""
        return rate_of(self.commands, self.seconds)

    def __str__(self) -> str:
        """Show the counts, the agreement and the throughput."""
        executed = self.executed_known + self.executed_anonymous
        rows: list[tuple[str, object, str]] = [
            ("messages", self.messages, ", ".join(f"type {kind}: {count}" for kind, count in self.kinds.items())),
            ("transitions", sum(self.transitions.values()), "row + message = next row"),
            ("- exact", self.transitions["exact"], ""),
            ("- exact and a reveal", self.transitions["reveal"], "a level comes into sight at the edge"),
            ("- inconsistent", self.transitions["inconsistent"], ""),
            ("rows compared", self.rows, "our best levels after each message"),
            ("- equal on all levels", self.rows_equal, ""),
            ("- but for reveals", self.rows_revealed, "a level unseen in the row before, adopted"),
            ("- different", self.rows_different, "adopted"),
            ("gaps", self.gaps, "rows behind messages that were left out, adopted"),
            ("executions", self.kinds.get(KIND_EXECUTE, 0), ""),
            ("- our book met the same", executed, f"{self.executed_known} by id, {self.executed_anonymous} anonymous"),
            ("cancels", self.cancelled_known + self.cancelled_anonymous, f"{self.cancelled_anonymous} of anonymous orders"),
            ("messages that differ", self.messages_different, ""),
            ("commands", self.commands, f"{self.refused} refused"),
            ("commands per second", self.commands_per_second, f"{self.seconds:.3f} s in the book"),
        ]
        table = text_table(("LOBSTER", "count", ""), rows, f"replay of {self.path}")
        return "\n".join([table, *self.mismatches])


def replay_lobster(
    feed: LobsterFeed,
    *,
    book: OrderBook | None = None,
    progress: Progress = None,
) -> LobsterReplay:
    """Check every transition of a LOBSTER pair, and drive a book seeded from its first row with the messages.

    `book` must be empty and take the callers' ids; it may be a `Tape`. A new one is made by default. O(messages · level_count).
    """
    shadow = _Shadow(OrderBook() if book is None else book, feed.level_count)
    transitions = {"exact": 0, "reveal": 0, "inconsistent": 0}
    outcomes: Counter[str] = Counter()
    seconds = 0.0
    shadow.at(feed.messages[0].time_ns)
    for side in _OTHER:
        for price, qty in side_of(feed.rows[0], side):
            shadow.rest(side, price, qty)
    with following(progress, "replay") as step:
        for index in range(1, len(feed.messages)):
            before, message, after = feed.rows[index - 1], feed.messages[index], feed.rows[index]
            shadow.at(message.time_ns)
            if message.line != feed.messages[index - 1].line + 1:
                outcomes["gap"] += 1  # what was left out may have changed anything
                for side in _OTHER:
                    shadow.adopt(side, side_of(after, side))
                continue
            verdict = transition(before, message, after, feed.level_count)
            transitions[verdict] += 1
            if verdict == "inconsistent":
                shadow.mismatches.append(f"line {message.line}: the row before and the message do not give the row")
            start = perf_counter()
            shadow.message(message)
            seconds += perf_counter() - start
            outcomes[_follow(shadow, before, after, message.line)] += 1
            if index % PROGRESS_STEP == 0:
                step(index, len(feed.messages))
        step(len(feed.messages), len(feed.messages))
    kinds = Counter(message.kind for message in feed.messages)
    return LobsterReplay(
        path=str(feed.path),
        messages=len(feed.messages),
        kinds=dict(sorted(kinds.items())),
        transitions=transitions,
        rows=sum(outcomes.values()) - outcomes["gap"],
        gaps=outcomes["gap"],
        rows_equal=outcomes["equal"],
        rows_revealed=outcomes["reveal"],
        rows_different=outcomes["different"],
        executed_known=shadow.counts["executed known"],
        executed_anonymous=shadow.counts["executed anonymous"],
        cancelled_known=shadow.counts["cancel known"],
        cancelled_anonymous=shadow.counts["cancel anonymous"],
        messages_different=shadow.counts["message differs"],
        refused=shadow.counts["refused"],
        commands=shadow.commands,
        seconds=seconds,
        mismatches=tuple(shadow.mismatches[:MISMATCHES_SHOWN]),
    )


def _follow(shadow: _Shadow, before: LobsterRow, after: LobsterRow, line: int) -> str:
    """Compare our levels with the file's row and adopt what differs: "equal", "reveal" or "different"."""
    outcome = "equal"
    for side in _OTHER:
        due = side_of(after, side)
        if shadow.levels(side, shadow.level_count) == due:
            continue
        seen = side_of(before, side)
        worst = seen[-1][0] if len(seen) == shadow.level_count else None
        wrong = shadow.adopt(side, due)
        if any(within_row(side, price, worst) for price in wrong):
            outcome = "different"
            shadow.mismatches.append(f"line {line}: the {side} side differs from the file's row at {wrong}")
        elif outcome == "equal":
            outcome = "reveal"
    return outcome
