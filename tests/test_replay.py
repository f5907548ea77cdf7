"""The replays agree with the venues exactly where the files allow it, and notice where a book is wrong.

Small made-up feeds fix each rule of the comparison; the real files, where they are present, fix the
numbers. Agreement is worth only what can disagree: books that match last in first out, and files in
which one order was moved, must lower it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from rightsx.errors import InputFileError, MisuseError
from rightsx.loaders.bitstamp import BitstampEvent, BitstampFeed, BitstampTrade, load_bitstamp
from rightsx.loaders.lobster import LobsterFeed, LobsterMessage, LobsterRow, load_lobster
from rightsx.orderbook import OrderBook
from rightsx.reference.book import Book
from rightsx.replay import BitstampReplay, LobsterReplay, replay_bitstamp, replay_file, replay_lobster, venue_story
from rightsx.replay.lobster import transition

if TYPE_CHECKING:
    from collections.abc import Callable

    from rightsx.reference.book import Order

MS = 1_000_000
LOG = "data/bitstamp-ob-analytics/2015-05-01.log.xz"
CSV = "data/bitstamp-ob-analytics/orders.csv.xz"
LOBSTER = "data/lobster-aapl-l10-excerpt/AAPL_2012-06-21_34200000_57600000_message_10.csv"


class Tell(NamedTuple):
    """One event of a made-up feed."""

    action: str
    order_id: int
    side: str
    price: int
    qty: int
    ms: int = -1


@pytest.fixture(autouse=True)
def _a_book_that_is_bent_is_the_reference(request, monkeypatch):
    """Let the tests that bend the plain book run on it."""
    if "last_in_first_out" in request.node.name:
        monkeypatch.setitem(OrderBook.__init__.__kwdefaults__, "engine", "reference")


def feed_of(*tells: Tell, trades: list[tuple[int, int, int, int]] | None = None, tolerance: int = 0) -> BitstampFeed:
    """Make a feed, ten ms a line; `trades` are (line, trade id, price, qty)."""
    events = [
        BitstampEvent(
            line, (tell.ms if tell.ms >= 0 else 10 * line) * MS, 0, tell.action, tell.order_id, tell.side, tell.price, tell.qty
        )
        for line, tell in enumerate(tells, 1)
    ]
    tape = (
        None
        if trades is None
        else [BitstampTrade(line, 10 * line * MS, number, price, qty) for line, number, price, qty in trades]
    )
    return BitstampFeed(Path("made-up"), events, tape, 0, tolerance)


QUEUE = (Tell("created", 1, "sell", 100, 5), Tell("created", 2, "sell", 100, 5), Tell("created", 3, "buy", 101, 7))
FILLED = (
    Tell("deleted", 1, "sell", 100, 0),
    Tell("changed", 3, "buy", 101, 2),
    Tell("changed", 2, "sell", 100, 3),
    Tell("deleted", 3, "buy", 101, 0),
)


@pytest.fixture
def last_in_first_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the reference book rest an order at the front of its level."""
    insert = Book.insert

    def in_front(self: Book, order: Order) -> None:
        insert(self, order)
        self._levels[order.side][order.limit].move_to_end(order.id, last=False)

    monkeypatch.setattr(Book, "insert", in_front)


# ── Bitstamp, made up ────────────────────────────────────────────────────────────────────────────


def test_fills_in_price_time_order_agree() -> None:
    """A taker of 7 meets 5 of the first and 2 of the second."""
    result = replay_bitstamp(feed_of(*QUEUE, *FILLED))
    assert (result.venue_fills, result.allowed, result.agreed, result.in_order, result.our_fills) == (2, 2, 2, 2, 2)
    assert result.agrees
    assert result.left_at_deletion == result.refused == result.gone_before_cancel == 0


@pytest.mark.usefixtures("last_in_first_out")
def test_a_last_in_first_out_book_disagrees() -> None:
    """The comparison can fail: the maker met first is the wrong one, then the quantities are."""
    result = replay_bitstamp(feed_of(*QUEUE, *FILLED))
    assert (result.allowed, result.agreed) == (2, 0)
    assert not result.agrees
    assert len(result.mismatches) == 2


def test_a_moved_maker_disagrees() -> None:
    """The same fills, but the file says that the first maker stood behind in price."""
    events = [Tell("created", 1, "sell", 101, 5), *QUEUE[1:], Tell("deleted", 1, "sell", 101, 0), *FILLED[1:]]
    result = replay_bitstamp(feed_of(*events))
    assert (result.allowed, result.agreed, result.agrees) == (2, 0, False)


def test_a_fill_that_only_our_book_makes_counts_against_it() -> None:
    """The venue let two crossing orders stand; no fill is allowed, and ours is one too many."""
    result = replay_bitstamp(feed_of(QUEUE[0], QUEUE[2], Tell("deleted", 1, "sell", 100, 5), Tell("deleted", 3, "buy", 101, 7)))
    assert (result.allowed, result.extra, result.agrees) == (0, 1, False)
    assert result.gone_before_cancel == 1


def test_fills_in_another_order_than_the_venues_are_counted() -> None:
    """The trade ids say that the second fill was first."""
    result = replay_bitstamp(feed_of(*QUEUE, *FILLED, trades=[(5, 12, 100, 5), (7, 11, 100, 2)]))
    assert (result.agreed, result.in_order, result.tape_agreed, result.agrees) == (2, 1, 1, False)


def test_a_trade_printed_at_another_price_disagrees() -> None:
    """The price is what the venue printed, not what its orders said."""
    result = replay_bitstamp(feed_of(*QUEUE, *FILLED, trades=[(5, 11, 100, 5), (7, 12, 101, 2)]))
    assert (result.allowed, result.agreed, result.tape_agreed) == (2, 1, 1)


def test_a_trade_without_reports_is_counted() -> None:
    """A tape may know more than the reports."""
    result = replay_bitstamp(feed_of(*QUEUE, *FILLED, trades=[(5, 11, 100, 5), (7, 12, 100, 2), (7, 13, 100, 9)]))
    assert (result.tape_count, result.unjoined_trades, result.tape_agreed) == (3, 1, 2)


def test_a_cancelled_order_does_not_trade() -> None:
    """The first of the queue is cancelled before the taker comes."""
    events = [*QUEUE[:2], Tell("deleted", 1, "sell", 100, 5), QUEUE[2]._replace(qty=2), *FILLED[2:]]
    result = replay_bitstamp(feed_of(*events))
    assert (result.allowed, result.agreed, result.our_fills) == (1, 1, 1)


def test_an_order_older_than_the_file_stands_in_front_but_its_fill_is_not_allowed() -> None:
    """Its volume is only known from the fill, so agreeing on it proves nothing."""
    events = [QUEUE[1], QUEUE[2], Tell("deleted", 9, "sell", 100, 0), *FILLED[1:]]
    result = replay_bitstamp(feed_of(*events))
    assert (result.older_orders, result.older_events) == (1, 1)
    assert (result.venue_fills, result.older_fills, result.older_agreed) == (2, 1, 1)
    assert (result.allowed, result.agreed) == (1, 1)


def test_an_order_older_than_the_file_that_is_only_cancelled_rests_until_then() -> None:
    """It is entered with the volume that its cancel shows."""
    story = venue_story(feed_of(QUEUE[0], Tell("deleted", 9, "buy", 90, 4)))
    assert [(event.order_id, event.price, event.qty) for event in story.opening.values()] == [(9, 90, 4)]


def test_a_partly_filled_older_order_enters_with_what_it_had() -> None:
    """What is left of it, and what the other side says it lost."""
    story = venue_story(feed_of(QUEUE[2], Tell("changed", 9, "sell", 100, 4), Tell("deleted", 3, "buy", 101, 0)))
    assert story.opening[9].qty == 11
    assert [venue.fill for venue in story.fills] == [(9, 3, 7, 100)]


def test_a_fill_with_one_report_is_not_allowed_and_not_extra() -> None:
    """A market order bought for cash: it vanishes with a rest, and the printed amount is a little less than our book's."""
    events = [Tell("created", 1, "sell", 100, 50), Tell("created", 2, "buy", 100, 20), Tell("deleted", 2, "buy", 100, 20)]
    result = replay_bitstamp(feed_of(*events, Tell("changed", 1, "sell", 100, 31), trades=[(4, 1, 100, 19)]))
    assert (result.venue_fills, result.one_sided_fills, result.one_sided_met, result.extra) == (1, 1, 1, 0)
    assert (result.allowed, result.gone_before_cancel, result.tape_agreed) == (0, 1, 0)


def test_reports_too_far_apart_are_not_one_fill() -> None:
    """Equal volumes of opposite sides, a second apart, are two halves of which the others are missing."""
    late = [tell._replace(ms=2_000) for tell in FILLED[3:]]
    result = replay_bitstamp(feed_of(QUEUE[0], QUEUE[2]._replace(qty=5), FILLED[0], *late))
    assert result.one_sided_fills == 2


def test_a_repriced_order_is_amended_and_trades_at_the_makers_price() -> None:
    """The venue moves a market order to the best price; the volume it loses then is no fill."""
    events = [
        Tell("created", 1, "sell", 105, 5),
        Tell("created", 2, "buy", 100, 9),
        Tell("changed", 2, "buy", 105, 8),
        Tell("changed", 2, "buy", 105, 3),
        Tell("deleted", 1, "sell", 105, 0),
        Tell("deleted", 2, "buy", 105, 3),
    ]
    result = replay_bitstamp(feed_of(*events, trades=[(5, 1, 105, 5)]))
    assert (result.repriced, result.led, result.allowed, result.agreed) == (1, 1, 1, 1)
    assert result.agrees
    assert result.refused == result.gone_before_cancel == 0


def test_the_reports_of_one_order_are_put_into_the_order_of_a_life() -> None:
    """Deleted before changed, deleted before created, and deleted twice."""
    swapped = [*QUEUE, FILLED[0], FILLED[3], FILLED[2], FILLED[1]]
    early = [Tell("deleted", 8, "buy", 90, 1), Tell("created", 8, "buy", 90, 1)]
    twice = [Tell("created", 9, "buy", 91, 1), Tell("deleted", 9, "buy", 91, 1), Tell("deleted", 9, "buy", 91, 1)]
    result = replay_bitstamp(feed_of(*swapped, *early, *twice))
    assert (result.moved_orders, result.dropped_deletes, result.older_orders) == (2, 1, 0)
    assert (result.agreed, result.allowed, result.refused, result.agrees) == (2, 2, 0, True)


def test_volumes_that_the_file_cuts_agree_within_a_unit_or_two() -> None:
    """A rest of a unit is lowered or deleted, and both are counted."""
    events = [
        Tell("created", 1, "sell", 100, 999),
        Tell("created", 2, "buy", 100, 499),
        Tell("deleted", 2, "buy", 100, 0),
        Tell("changed", 1, "sell", 100, 499),
        Tell("created", 3, "buy", 100, 498),
        Tell("deleted", 3, "buy", 100, 0),
        Tell("deleted", 1, "sell", 100, 0),
    ]
    result = replay_bitstamp(feed_of(*events, tolerance=2))
    assert (result.allowed, result.agreed, result.agrees) == (2, 2, True)
    assert (result.lowered_rests, result.left_at_deletion) == (1, 1)


def test_the_same_volumes_do_not_agree_without_a_tolerance() -> None:
    """Where the file is exact, so is the comparison."""
    events = [
        Tell("created", 1, "sell", 100, 500),
        Tell("created", 2, "buy", 100, 499),
        Tell("deleted", 2, "buy", 100, 0),
        Tell("deleted", 1, "sell", 100, 0),
    ]
    result = replay_bitstamp(feed_of(*events))
    assert (result.one_sided_fills, result.left_at_deletion) == (2, 1)


def test_the_book_is_never_corrected_by_an_exact_feed() -> None:
    """The venue reports a fill that a book cannot make; the book goes on with what it has."""
    book = OrderBook()
    replay_bitstamp(feed_of(QUEUE[0], Tell("created", 3, "buy", 99, 7), Tell("changed", 1, "sell", 100, 3)), book=book)
    assert (book.open_qty(1), book.open_qty(3)) == (5, 7)


def test_progress_ends_at_the_total() -> None:
    """A callable is told how far the replay is."""
    seen: list[tuple[int, int]] = []
    replay_bitstamp(feed_of(*QUEUE), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (3, 3)]


def test_a_result_shows_itself_as_a_table() -> None:
    """Counts, reasons, throughput, and the first mismatches in words."""
    text = str(replay_bitstamp(feed_of(*QUEUE, *FILLED, trades=[(5, 11, 100, 5), (7, 12, 101, 2)])))
    assert "fills the file allows" in text
    assert "commands per second" in text
    assert "line 7: the venue made Fill(maker=2, taker=3, qty=2, price=101), our book Fill(maker=2" in text


# ── Bitstamp, real ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def log_feed(venue_file: Callable[[str], Path]) -> BitstampFeed:
    """Read the real log once."""
    return load_bitstamp(venue_file(LOG))


def test_every_fill_that_the_real_log_allows_agrees(log_feed: BitstampFeed) -> None:
    """544 of 544, in the venue's order; the other 31 of 575 have their reasons, and the book is never corrected."""
    result = replay_bitstamp(log_feed)
    assert (result.venue_fills, result.tape_count, result.our_fills, result.unjoined_trades) == (575, 575, 575, 0)
    assert (result.older_fills, result.one_sided_fills, result.allowed) == (27, 4, 544)
    assert (result.agreed, result.in_order, result.extra, result.agrees) == (544, 544, 0, True)
    assert (result.older_agreed, result.one_sided_met, result.tape_agreed) == (27, 4, 571)
    assert (result.left_at_deletion, result.lowered_rests, result.crumbs, result.refused) == (0, 0, 0, 0)
    # The 213 events for orders that are not live: older orders, and what the feed garbled.
    assert (result.older_orders, result.older_events, result.moved_orders, result.dropped_deletes) == (182, 186, 6, 21)
    assert result.older_events + result.moved_orders + result.dropped_deletes == 213


def test_every_fill_that_the_real_event_list_allows_agrees_within_its_rounding(venue_file: Callable[[str], Path]) -> None:
    """The same 544, by volumes that were cut to within a unit."""
    result = replay_file(venue_file(CSV), form="bitstamp")
    assert isinstance(result, BitstampReplay)
    assert (result.allowed, result.agreed, result.extra, result.agrees) == (544, 544, 0, True)
    assert (result.tape_count, result.tolerance_units) == (None, 2)


@pytest.mark.usefixtures("last_in_first_out")
def test_a_last_in_first_out_book_disagrees_on_the_real_log(log_feed: BitstampFeed) -> None:
    """Its fills go to other makers, and one wrong match makes more."""
    result = replay_bitstamp(log_feed)
    assert result.agreed < result.allowed == 544
    assert not result.agrees


def test_one_maker_moved_by_a_cent_disagrees_on_the_real_log(log_feed: BitstampFeed) -> None:
    """A file with one changed order is noticed."""
    maker = next(venue.fill.maker for venue in venue_story(log_feed).fills if not venue.is_older)
    events = [event._replace(price=event.price + 1) if event.order_id == maker else event for event in log_feed.events]
    assert not replay_bitstamp(log_feed._replace(events=events)).agrees


# ── LOBSTER, made up ─────────────────────────────────────────────────────────────────────────────

FULL = LobsterRow(((90, 5), (89, 3)), ((95, 4), (96, 2)))


def about(kind: int, order_id: int, qty: int, price: int, side: str = "buy") -> LobsterMessage:
    """Make a message."""
    return LobsterMessage(1, 0, kind, order_id, qty, price, side)


def lobster(*steps: tuple[LobsterMessage, LobsterRow], first: LobsterRow = FULL) -> LobsterFeed:
    """Make a feed of two levels that begins with the row `first`."""
    steps = ((about(1, 1, 5, 90), first), *steps)
    messages = [message._replace(line=line) for line, (message, _) in enumerate(steps, 1)]
    return LobsterFeed(Path("made-up"), Path("made-up"), messages, [row for _, row in steps], 2)


@pytest.mark.parametrize(
    ("message", "after", "verdict"),
    [
        (about(1, 7, 4, 91), LobsterRow(((91, 4), (90, 5)), FULL.asks), "exact"),
        (about(2, 7, 4, 90), LobsterRow(((90, 1), (89, 3)), FULL.asks), "exact"),
        (about(5, 0, 4, 93), FULL, "exact"),
        (about(7, 0, 0, -1), FULL, "exact"),
        (about(4, 7, 4, 95, "sell"), LobsterRow(FULL.bids, ((96, 2), (99, 1))), "reveal"),
        (about(3, 7, 3, 89), LobsterRow(((90, 5), (88, 1)), FULL.asks), "reveal"),
        (about(3, 7, 3, 89), LobsterRow(((90, 5),), FULL.asks), "exact"),
        (about(3, 7, 2, 89), FULL, "inconsistent"),
        (about(3, 7, 9, 89), LobsterRow(((90, 5), (89, -6)), FULL.asks), "inconsistent"),
        (about(3, 7, 5, 90), LobsterRow(((91, 1), (89, 3)), FULL.asks), "inconsistent"),
        (about(1, 7, 4, 91), LobsterRow(((91, 4), (90, 5)), ((95, 4), (97, 2))), "inconsistent"),
        (about(1, 7, 4, 88), LobsterRow(((90, 5), (89, 3)), FULL.asks), "exact"),
    ],
)
def test_a_row_and_a_message_give_the_next_row(message: LobsterMessage, after: LobsterRow, verdict: str) -> None:
    """Exact, exact with a level that comes into sight at the edge, or not consistent."""
    assert transition(FULL, message, after, 2) == verdict


def test_a_book_follows_the_messages() -> None:
    """New orders, cancels in part and whole, executions, hidden ones."""
    result = replay_lobster(
        lobster(
            (about(1, 7, 4, 91), LobsterRow(((91, 4), (90, 5)), FULL.asks)),
            (about(2, 7, 1, 91), LobsterRow(((91, 3), (90, 5)), FULL.asks)),
            (about(4, 7, 1, 91), LobsterRow(((91, 2), (90, 5)), FULL.asks)),
            (about(5, 0, 9, 93), LobsterRow(((91, 2), (90, 5)), FULL.asks)),
            (about(3, 7, 2, 91), FULL),
            (about(4, 3, 1, 95, "sell"), LobsterRow(FULL.bids, ((95, 3), (96, 2)))),
            (about(2, 5, 1, 96, "sell"), LobsterRow(FULL.bids, ((95, 3), (96, 1)))),
        )
    )
    assert (result.rows_equal, result.rows_revealed, result.rows_different) == (7, 0, 0)
    assert (result.executed_known, result.executed_anonymous) == (1, 1)
    assert (result.cancelled_known, result.cancelled_anonymous) == (2, 1)
    assert result.agrees


def test_a_revealed_level_is_adopted_once() -> None:
    """The level is equal in the row after, as an anonymous order that can be cancelled."""
    result = replay_lobster(
        lobster(
            (about(3, 1, 5, 90), LobsterRow(((89, 3), (85, 6)), FULL.asks)),
            (about(2, 2, 1, 85), LobsterRow(((89, 3), (85, 5)), FULL.asks)),
        )
    )
    assert (result.rows_equal, result.rows_revealed, result.rows_different) == (1, 1, 0)
    assert (result.transitions["reveal"], result.agrees) == (1, True)


def test_a_level_that_changed_out_of_sight_is_a_reveal() -> None:
    """Pushed out by a better one, and another quantity when it comes back."""
    result = replay_lobster(
        lobster(
            (about(1, 7, 4, 91), LobsterRow(((91, 4), (90, 5)), FULL.asks)),
            (about(3, 7, 4, 91), LobsterRow(((90, 5), (89, 8)), FULL.asks)),
        )
    )
    assert (result.rows_equal, result.rows_revealed, result.rows_different) == (1, 1, 0)


def test_a_level_in_sight_that_differs_counts_against_the_book_once() -> None:
    """The row changes without a message; the book adopts it and goes on."""
    odd = LobsterRow(((90, 6), (89, 3)), FULL.asks)
    result = replay_lobster(lobster((about(5, 0, 1, 93), odd), (about(5, 0, 1, 93), odd)))
    assert (result.rows_equal, result.rows_different, result.transitions["inconsistent"]) == (1, 1, 1)
    assert not result.agrees
    assert "differs from the file's row at [90]" in "\n".join(result.mismatches)


def test_an_execution_of_another_maker_than_the_books_first_differs() -> None:
    """The file says that the second in the queue traded."""
    two = LobsterRow(((91, 8), (90, 5)), FULL.asks)
    steps = [
        (about(1, 7, 4, 91), LobsterRow(((91, 4), (90, 5)), FULL.asks)),
        (about(1, 8, 4, 91), two),
        (about(4, 8, 4, 91), LobsterRow(((91, 4), (90, 5)), FULL.asks)),
    ]
    result = replay_lobster(lobster(*steps))
    assert (result.executed_known, result.messages_different, result.agrees) == (0, 1, False)


@pytest.mark.parametrize(
    "message",
    [about(1, 7, 4, 95), about(2, 7, 9, 90), about(4, 7, 9, 90), about(3, 7, 1, 94)],
    ids=["a new order that would trade", "too large a cancel", "too large an execution", "a cancel of nothing"],
)
def test_a_message_that_the_book_cannot_follow_is_counted(message: LobsterMessage) -> None:
    """A made-up impossibility of each kind."""
    result = replay_lobster(lobster((message, FULL)))
    assert result.messages_different >= 1
    assert not result.agrees


def test_a_lobster_result_shows_itself_as_a_table() -> None:
    """Counts, agreement, throughput."""
    text = str(replay_lobster(lobster((about(1, 7, 4, 91), LobsterRow(((91, 4), (90, 5)), FULL.asks)))))
    assert "transitions" in text
    assert "commands per second" in text


# ── LOBSTER, real, and the way in ────────────────────────────────────────────────────────────────


def test_the_real_lobster_file_is_consistent_and_our_book_follows_it(venue_file: Callable[[str], Path]) -> None:
    """998 transitions; 984 rows equal, 14 reveals; every execution met the maker that the file names."""
    seen: list[tuple[int, int]] = []
    result = replay_file(venue_file(LOBSTER), form="lobster", progress=lambda done, total: seen.append((done, total)))
    assert isinstance(result, LobsterReplay)
    assert result.transitions == {"exact": 680, "reveal": 318, "inconsistent": 0}
    assert (result.rows, result.rows_equal, result.rows_revealed, result.rows_different) == (998, 984, 14, 0)
    assert result.kinds == {1: 471, 3: 369, 4: 98, 5: 61}
    assert (result.executed_known, result.executed_anonymous, result.messages_different, result.refused) == (94, 4, 0, 0)
    assert result.agrees
    assert seen[-1] == (999, 999)


@pytest.mark.usefixtures("last_in_first_out")
def test_a_last_in_first_out_book_meets_other_makers_in_the_real_lobster_file(venue_file: Callable[[str], Path]) -> None:
    """Some level with two named orders tells."""
    result = replay_lobster(load_lobster(venue_file(LOBSTER)))
    assert result.executed_known + result.executed_anonymous < 98
    assert not result.agrees


def test_an_unknown_format_is_a_misuse() -> None:
    """The error lists the formats."""
    with pytest.raises(MisuseError, match="bitstamp, databento, itch, lobster"):
        replay_file("orders.csv", form="nasdaq")


def test_a_wrong_file_is_reported_by_the_way_in(tmp_path: Path) -> None:
    """The loaders' error passes through."""
    with pytest.raises(InputFileError, match="a readable file was expected"):
        replay_file(tmp_path / "absent.csv", form="bitstamp")
