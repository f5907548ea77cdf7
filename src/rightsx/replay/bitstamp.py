"""Drives `OrderBook` with Bitstamp's real order flow and says how far it agrees with the venue.

    creates, re-pricings, cancels ───────────► OrderBook ──► our trades ─┐
    changed and deleted reports, printed trades ──────► their fills ─────┴─► agreement

The book gets what people told the venue and never what the venue answered. A `created`
is placed as it stands, a `deleted` that still has volume is cancelled, and a `changed` that moves the
price (the venue lets a market order walk that way) is an amend by the same step. A `changed` to less
volume, or a `deleted` with none, is the venue's report of one side of a fill; two such reports of
opposite sides and equal volume within `PAIR_SPAN_NS` are one fill. The book is not corrected by them,
so one wrong match would go on disturbing all later ones. Only where volumes are cut (orders.csv) is a
rest lowered that is off by no more than that, and whatever the venue deletes is deleted here; both
are counted, and both are 0 for the raw log.

*Every fill that the file allows*: both sides are reported, and both orders were created in the file.
Not allowed is a fill with an order older than the file, for its volume is known from the fill alone;
or with one side only, as a market order that buys for an amount of cash vanishes with a rest that is
not in the file. An allowed fill agrees if maker, taker, quantity and price are all equal; the price is
what the venue printed, if it did. The venue's order of fills is that of its trade ids, else of its
reports. Orders older than the file enter first, in the order of their ids, with the volume they turn
out to have had: whoever stands in the queue changes everybody's fills. Feeds garble a few reports;
those of one order are put back into the order of a life: created, changed, deleted once.

Costs: O(events · log levels); the time is that of the loop which drives the book, comparison left out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

from rightsx.orderbook import BookResult, OrderBook
from rightsx.progress import following
from rightsx.replay.lobster import MISMATCHES_SHOWN, PROGRESS_STEP, rate_of
from rightsx.views import text_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rightsx.loaders.bitstamp import BitstampEvent, BitstampFeed, BitstampTrade
    from rightsx.progress import Progress

# ── Bitstamp: what the venue says ────────────────────────────────────────────────────────────────

PAIR_SPAN_NS: Final = 250_000_000  # the two reports of a fill come at most 37 ms apart in the file of 2015-05-01
TAPE_SPAN_LINES: Final = 20
_LIFE: Final = {"created": 0, "changed": 1, "deleted": 2}


class Fill(NamedTuple):
    """One trade; `maker` and `taker` are order ids, 0 for the side that nobody reported."""

    maker: int
    taker: int
    qty: int
    price: int


class VenueFill(NamedTuple):
    """One fill as the venue reported it; `rank` orders fills as the venue made them."""

    fill: Fill
    line: int
    rank: int
    is_older: bool
    is_led: bool = False  # the taker stood at a price to which the venue had moved it

    @property
    def is_one_sided(self) -> bool:
        """Whether only one of its two orders was reported to have traded."""
        return not (self.fill.maker and self.fill.taker)


class _Report(NamedTuple):
    """One side of a fill; `qty` is None for an order whose volume before it is unknown.

    `entered` is the event that brought the order to its price, -1 for an order older than the file;
    `is_moved` says that this was a re-pricing.
    """

    event: BitstampEvent
    qty: int | None
    entered: int
    is_moved: bool


def ordered_lives(events: Sequence[BitstampEvent]) -> tuple[list[BitstampEvent], int, int]:
    """Put each order's events into the order created, changed, deleted, over the same places.

    Gives the events, how many orders were put right, and how many second deletes were dropped.
    """
    places: dict[int, list[int]] = defaultdict(list)
    for index, event in enumerate(events):
        places[event.order_id].append(index)
    result: list[BitstampEvent | None] = list(events)
    moved = dropped = 0
    for indices in places.values():
        found = [events[index] for index in indices]
        life = sorted(found, key=lambda event: _LIFE[event.action])
        moved += life != found
        for index, event in zip(indices, life, strict=True):
            result[index] = event
        deletes = [index for index in indices if result[index].action == "deleted"]  # type: ignore[union-attr]
        for index in deletes[1:]:
            result[index] = None
            dropped += 1
    return [event for event in result if event is not None], moved, dropped


def is_repriced(event: BitstampEvent, before: BitstampEvent | None) -> bool:
    """Say whether a `changed` event is an order to the venue, not the report of a fill."""
    return before is not None and event.action == "changed" and (event.price != before.price or event.qty > before.qty)


def _reports(events: Sequence[BitstampEvent]) -> tuple[list[_Report], dict[int, BitstampEvent]]:
    """List every report of a fill, and the first event of every order older than the file."""
    last: dict[int, BitstampEvent] = {}
    entered: dict[int, int] = {}
    older: dict[int, BitstampEvent] = {}
    reports = []
    for index, event in enumerate(events):
        before = last.get(event.order_id)
        last[event.order_id] = event
        if event.action == "created" or is_repriced(event, before):
            entered[event.order_id] = index
            continue
        if before is None:
            older[event.order_id] = event
        if event.action == "changed" or event.qty == 0:
            qty = None if before is None else before.qty - event.qty
            if qty != 0:
                start = entered.get(event.order_id, -1)
                reports.append(_Report(event, qty, start, is_moved=start >= 0 and events[start].action == "changed"))
    return reports, older


def _paired(reports: Iterable[_Report], tolerance: int) -> tuple[list[tuple[_Report, _Report]], list[_Report]]:
    """Join the reports of the two sides of each fill; also give those that found no other side."""
    pairs, waiting, alone = [], [], []  # type: ignore[var-annotated]
    for report in reports:
        alone += [other for other in waiting if report.event.time_ns - other.event.time_ns > PAIR_SPAN_NS]
        waiting = [other for other in waiting if report.event.time_ns - other.event.time_ns <= PAIR_SPAN_NS]
        facing = [other for other in waiting if other.event.side != report.event.side]
        # The nearest volume first; an unknown volume fits any, so it comes last.
        fits = [(_distance(other.qty, report.qty, unknown=tolerance + 1), k) for k, other in enumerate(facing)]
        best = min((fit for fit in fits if fit[0] <= tolerance + 1), default=None)
        if best is None:
            waiting.append(report)
        else:
            waiting.remove(facing[best[1]])
            pairs.append((facing[best[1]], report))
    return pairs, alone + waiting


def _distance(left: int | None, right: int | None, *, unknown: int) -> int:
    """Say how far two volumes are apart: `unknown` if one is, and more than that if they are farther."""
    if left is None or right is None:
        return unknown
    distance = abs(left - right)
    return distance if distance < unknown else unknown + 1


def _fill_of(pair: tuple[_Report, _Report]) -> VenueFill:
    """Make one fill of two reports: the maker is whoever stood at his price before the other."""
    maker, taker = sorted(pair, key=lambda report: (report.entered, report.event.order_id))
    qty = maker.qty if maker.qty is not None else taker.qty or 0
    line = max(report.event.line for report in pair)
    fill = Fill(maker.event.order_id, taker.event.order_id, qty, maker.event.price)
    return VenueFill(fill, line, line, is_older=maker.entered < 0 or taker.entered < 0, is_led=taker.is_moved)


def _joined_to_tape(fills: list[VenueFill], tape: list[BitstampTrade]) -> tuple[list[VenueFill], int]:
    """Give each fill the price and the rank of the trade that the venue printed for it, by amount and nearness.

    Also counts the trades that belong to no fill.
    """
    by_qty: dict[int, list[int]] = defaultdict(list)
    for index, venue in enumerate(fills):
        by_qty[venue.fill.qty].append(index)
    joined = list(fills)
    unjoined = 0
    for trade in tape:
        near = [(abs(fills[k].line - trade.line), k) for k in by_qty[trade.qty]]
        best = min((place for place in near if place[0] <= TAPE_SPAN_LINES), default=None)
        if best is None:
            unjoined += 1
            continue
        venue = fills[best[1]]
        by_qty[trade.qty].remove(best[1])
        joined[best[1]] = venue._replace(fill=venue.fill._replace(price=trade.price), rank=trade.trade_id)
    return sorted(joined, key=lambda venue: venue.rank), unjoined


class VenueStory(NamedTuple):
    """What a Bitstamp file says happened: its fills, and the orders that must have been there before."""

    events: list[BitstampEvent]
    fills: list[VenueFill]
    opening: dict[int, BitstampEvent]
    moved_orders: int
    dropped_deletes: int
    unjoined_trades: int


def venue_story(feed: BitstampFeed) -> VenueStory:
    """Work out the venue's fills and the orders older than the file, each with the volume it had at first. O(events)."""
    events, moved, dropped = ordered_lives(feed.events)
    reports, older = _reports(events)
    pairs, alone = _paired(reports, feed.tolerance_units)
    opening = dict(older)
    for pair in pairs:
        for report, other in (pair, pair[::-1]):
            order_id = report.event.order_id
            if report.qty is None:
                opening[order_id] = older[order_id]._replace(qty=report.event.qty + (other.qty or 0))
    fills = [_fill_of(pair) for pair in pairs]
    for report in alone:
        event = report.event
        fills.append(VenueFill(Fill(event.order_id, 0, report.qty or 0, event.price), event.line, event.line, is_older=False))
    fills.sort(key=lambda venue: venue.rank)
    unjoined = 0
    if feed.trades is not None:
        fills, unjoined = _joined_to_tape(fills, feed.trades)
    return VenueStory(events, fills, {key: event for key, event in opening.items() if event.qty}, moved, dropped, unjoined)


# ── Bitstamp: what our book does ─────────────────────────────────────────────────────────────────


@dataclass
class _Drive:
    """One run of the book over the venue's orders: our trades, and everything that was not smooth."""

    book: OrderBook
    tolerance: int
    fills: list[Fill] = field(default_factory=list)
    commands: int = 0
    repriced: int = 0
    refused: int = 0
    gone_before_cancel: int = 0
    left_at_deletion: int = 0
    lowered_rests: int = 0

    def open(self, event: BitstampEvent) -> None:
        """Rest an order older than the file; it must not trade, so one that would is refused."""
        self._place(event, post_only=True)

    def event(self, event: BitstampEvent, before: BitstampEvent | None) -> None:
        """Pass on what was told to the venue; its own reports of fills only bound the rests (see the top)."""
        if event.action == "created":
            self._place(event, post_only=False)
            return
        open_qty = self.book.open_qty(event.order_id)
        if event.action == "deleted":
            if open_qty:
                self.left_at_deletion += not event.qty
                self._took(event, self.book.cancel(order_id=event.order_id))
            elif event.qty:
                self.gone_before_cancel += 1
        elif before is not None and is_repriced(event, before):
            self.repriced += 1
            qty = open_qty + event.qty - before.qty
            if not open_qty or qty <= 0:
                self.refused += 1
            else:
                self._took(event, self.book.amend(order_id=event.order_id, price=event.price, qty=qty))
        elif event.qty and 0 < open_qty - event.qty <= self.tolerance:
            self.lowered_rests += 1
            self._took(event, self.book.amend(order_id=event.order_id, qty=event.qty))

    def _place(self, event: BitstampEvent, *, post_only: bool) -> None:
        result = self.book.place(order_id=event.order_id, side=event.side, price=event.price, qty=event.qty, post_only=post_only)
        self._took(event, result)

    def _took(self, event: BitstampEvent, result: BookResult) -> None:
        self.commands += 1
        self.refused += result.refused is not None
        self.fills += [Fill(fill.maker, event.order_id, fill.qty, fill.price) for fill in result.fills]


@dataclass
class _Match:
    """How our fills answer the venue's, fill by fill; filled in by `_compare`."""

    agreed: list[int] = field(default_factory=list)  # of the allowed fills: where ours stands
    older_agreed: int = 0
    one_sided_met: int = 0
    extra: int = 0
    crumbs: int = 0
    mismatches: list[str] = field(default_factory=list)


def _compare(venue: list[VenueFill], ours: list[Fill], tolerance: int) -> _Match:
    """Look for every fill of the venue among ours, each of ours answering once."""
    match = _Match()
    by_pair: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index in reversed(range(len(ours))):
        if ours[index].qty > tolerance:
            by_pair[ours[index].maker, ours[index].taker].append(index)
        else:
            match.crumbs += 1
    for theirs in (entry for entry in venue if not entry.is_one_sided):
        indices = by_pair[theirs.fill.maker, theirs.fill.taker]
        mine = ours[indices[-1]] if indices else None
        agrees = mine is not None and mine.price == theirs.fill.price and abs(mine.qty - theirs.fill.qty) <= tolerance
        if agrees:
            match.older_agreed += theirs.is_older
            if not theirs.is_older:
                match.agreed.append(indices[-1])
        elif not theirs.is_older:
            answer = mine or "nothing between these two"
            match.mismatches.append(f"line {theirs.line}: the venue made {theirs.fill}, our book {answer}")
        if indices:
            indices.pop()
    rest = sorted(index for indices in by_pair.values() for index in indices)
    for theirs in (entry for entry in venue if entry.is_one_sided):
        known = theirs.fill
        met = next((k for k in rest if known.maker in ours[k][:2] and ours[k].price == known.price), None)
        if met is not None:
            rest.remove(met)
            match.one_sided_met += 1
    match.extra = len(rest)
    match.mismatches += [f"our book made {ours[k]}, the venue did not" for k in rest]
    return match


def _longest_rise(values: Sequence[int]) -> int:
    """Give the length of the longest rising subsequence: how many can keep their order. O(n log n)."""
    ends: list[int] = []
    for value in values:
        place = bisect_left(ends, value)
        ends[place : place + 1] = [value]
    return len(ends)


@dataclass(frozen=True)
class BitstampReplay:
    """How far our book agrees with Bitstamp on one file; `str` shows the table.

    `allowed` and `agreed` are the figures that matter (the top of this file defines them);
    `in_order` of the agreed fills also came in the venue's order; of `led` allowed fills the file tells
    the price at which the taker looked for makers, because the venue re-priced it. `tape_count` and `tape_agreed`
    are None for a file without printed trades.
    """

    path: str
    event_counts: dict[str, int]
    older_orders: int
    older_events: int
    moved_orders: int
    dropped_deletes: int
    venue_fills: int
    older_fills: int
    one_sided_fills: int
    allowed: int
    agreed: int
    in_order: int
    led: int
    older_agreed: int
    one_sided_met: int
    our_fills: int
    extra: int
    crumbs: int
    tape_count: int | None
    tape_agreed: int | None
    unjoined_trades: int
    commands: int
    repriced: int
    refused: int
    gone_before_cancel: int
    left_at_deletion: int
    lowered_rests: int
    tolerance_units: int
    seconds: float
    mismatches: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether every allowed fill agrees, in the order of the trade ids if there are any, and no other was made."""
        in_order = self.tape_count is None or self.in_order == self.agreed
        return self.agreed == self.allowed and in_order and not self.extra

    @property
    def commands_per_second(self) -> int:
        """Calls of the book per second, comparison and loading left out."""
        return rate_of(self.commands, self.seconds)

    def __str__(self) -> str:
        """Show the counts, what was left out with its reason, the agreement and the throughput."""
        near = f", each within {self.tolerance_units} units" if self.tolerance_units else ""
        rows: list[tuple[str, object, str]] = [
            (f"events {action}", self.event_counts[action], "") for action in ("created", "changed", "deleted")
        ]
        rows += [
            ("events of older orders", self.older_events, f"{self.older_orders} orders were there before the file"),
            ("orders put right", self.moved_orders, "reports of one order arrived out of order"),
            ("second deletes dropped", self.dropped_deletes, ""),
            ("venue's fills", self.venue_fills, "from the reports of their two sides"),
            ("- with an older order", self.older_fills, f"left out: volume unknown; {self.older_agreed} agree all the same"),
            ("- one side reported", self.one_sided_fills, f"left out: bought for cash; {self.one_sided_met} met, other quantity"),
            ("fills the file allows", self.allowed, f"{self.led} of takers that the venue re-priced"),
            ("fills that agree", self.agreed, f"maker, taker, quantity, price{near}"),
            ("- in the venue's order", self.in_order, "by trade id" if self.tape_count is not None else "by its reports"),
            ("our fills", self.our_fills, ""),
            ("- the venue did not make", self.extra, ""),
            ("- crumbs", self.crumbs, "no larger than what the file's volumes are off"),
        ]
        if self.tape_count is not None:
            rows += [
                ("trades printed", self.tape_count, f"{self.unjoined_trades} without reports"),
                ("- ours equal, in order", self.tape_agreed, "price and amount"),
            ]
        rows += [
            ("commands", self.commands, f"{self.repriced} re-pricings, {self.refused} refused"),
            ("cancels of what we filled", self.gone_before_cancel, ""),
            ("rests deleted, lowered", self.left_at_deletion + self.lowered_rests, "the only corrections made"),
            ("commands per second", self.commands_per_second, f"{self.seconds:.3f} s in the book"),
        ]
        table = text_table(("Bitstamp", "count", ""), rows, f"replay of {self.path}")
        return "\n".join([table, *self.mismatches])


def replay_bitstamp(
    feed: BitstampFeed,
    *,
    book: OrderBook | None = None,
    progress: Progress = None,
) -> BitstampReplay:
    """Drive a book with a Bitstamp feed and compare its trades with the venue's fills.

    `book` must be empty and take the callers' ids; a new one is made by default. O(events · log levels).
    """
    story = venue_story(feed)
    drive = _Drive(OrderBook() if book is None else book, feed.tolerance_units)
    last: dict[int, BitstampEvent] = {}
    with following(progress, "replay") as step:
        start = perf_counter()
        for _, event in sorted(story.opening.items()):
            drive.open(event)
        for done, event in enumerate(story.events):
            drive.event(event, last.get(event.order_id))
            last[event.order_id] = event
            if done % PROGRESS_STEP == 0:
                step(done, len(story.events))
        seconds = perf_counter() - start
        step(len(story.events), len(story.events))
    return _bitstamp_result(feed, story, drive, seconds)


def _bitstamp_result(feed: BitstampFeed, story: VenueStory, drive: _Drive, seconds: float) -> BitstampReplay:
    match = _compare(story.fills, drive.fills, feed.tolerance_units)
    created = {event.order_id for event in story.events if event.action == "created"}
    older = [event for event in feed.events if event.order_id not in created]
    one_sided = sum(venue.is_one_sided for venue in story.fills)
    older_fills = sum(venue.is_older for venue in story.fills)
    tape_agreed = None
    if feed.trades is not None:
        tape = [(trade.price, trade.qty) for trade in sorted(feed.trades, key=lambda trade: trade.trade_id)]
        ours = [(fill.price, fill.qty) for fill in drive.fills]
        tape_agreed = sum(block.size for block in SequenceMatcher(None, tape, ours, autojunk=False).get_matching_blocks())
    counts = Counter(event.action for event in feed.events)
    return BitstampReplay(
        path=str(feed.path),
        event_counts={action: counts[action] for action in _LIFE},
        older_orders=len({event.order_id for event in older}),
        older_events=len(older),
        moved_orders=story.moved_orders,
        dropped_deletes=story.dropped_deletes,
        venue_fills=len(story.fills),
        older_fills=older_fills,
        one_sided_fills=one_sided,
        allowed=len(story.fills) - older_fills - one_sided,
        agreed=len(match.agreed),
        in_order=_longest_rise(match.agreed),
        led=sum(venue.is_led and not venue.is_older for venue in story.fills),
        older_agreed=match.older_agreed,
        one_sided_met=match.one_sided_met,
        our_fills=len(drive.fills),
        extra=match.extra,
        crumbs=match.crumbs,
        tape_count=None if feed.trades is None else len(feed.trades),
        tape_agreed=tape_agreed,
        unjoined_trades=story.unjoined_trades,
        commands=drive.commands,
        repriced=drive.repriced,
        refused=drive.refused,
        gone_before_cancel=drive.gone_before_cancel,
        left_at_deletion=drive.left_at_deletion,
        lowered_rests=drive.lowered_rests,
        tolerance_units=feed.tolerance_units,
        seconds=seconds,
        mismatches=tuple(match.mismatches[:MISMATCHES_SHOWN]),
    )
