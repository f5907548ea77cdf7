"""Market data in columns: after every command they show what the plain reading of events shows, and what the market says."""

from __future__ import annotations

import numpy as np
import pytest

from market_flow import Flow, Judged
from market_shapes import MARKETS, flow_of
from rightsx import Exchange
from rightsx._jit import COMPILED
from rightsx.errors import MisuseError
from rightsx.marketdata import QUOTE, SHOWN, TRADE, MarketData
from rightsx.protocol import Command, CommandKind, Event, EventKind, Side, Venue, commands_of, event_records
from rightsx.reference.marketdata import EventDepth
from rightsx.reference.twin import ReferenceExchange
from rightsx.reports import Books

SIDES = (Side.BUY, Side.SELL)
COUNT = 1_200 if COMPILED else 300


def assert_alike(data, plain, series):
    for side in SIDES:
        queue = plain.queue(series, side)
        assert [row[:4] for row in data.orders(series, side).tolist()] == queue
        levels = [tuple(level) for level in plain.depth(series, side)]
        assert data.levels(series, side).tolist() == levels
        names = ("bid", "bid_qty") if side == Side.BUY else ("ask", "ask_qty")
        assert tuple(data.top(series)[name] for name in names) == (levels[0][:2] if levels else (0, 0))


@pytest.mark.parametrize("shape", [name for name, shape in MARKETS.items() if not shape.singly])
def test_columns_show_what_plain_reading_shows_after_every_batch(shape):
    twin = ReferenceExchange(MARKETS[shape].venue)
    data, plain, books = MarketData(), EventDepth(), Books()
    for piece in flow_of(MARKETS[shape], 7, twin._market).pieces(COUNT):
        events = []
        if isinstance(piece, tuple):
            events = twin.apply(*piece)
        else:
            for record in commands_of(piece):
                events += twin.apply(record)
        data.apply(event_records(events))
        for event in events:
            plain.apply(event)
            books.apply(event)
        for series in {
            event.series for event in events if event.kind != EventKind.REFUSED and event.series
        } & books.series.keys():
            assert_alike(data, plain, series)
    for series in books.series:
        assert_alike(data, plain, series)
    for row in data.series_table():
        book = books.series[int(row["series"])]
        assert (row["par"], row["value"], row["escrow"], row["outstanding"]) == (book.par, book.value, book.escrow, book.units)
        sums = book.sums
        assert row["redeemed_face"] == sums["redeemed"]
        assert row["decayed_face"] == sums["decayed"]
        assert row["expired_face"] == sums["expired"]
        assert row["refunded_face"] == sums["refunded"]
        assert row["bought_back_face"] == sums["bought back"]
        assert row["defaulted_face"] == sums["defaulted"]
        assert row["issued_face"] == sums["issued face"]
        assert row["volume"] == sums["traded units"]
        assert row["last_price"] == book.last_price


@pytest.mark.parametrize("seed", range(3))
def test_columns_show_what_plain_reading_shows_after_every_command(seed):
    judged = Judged()
    flow = Flow(seed, judged.market)
    data, said = MarketData(), []
    steps = [*flow.opening(), *[None] * (1_500 if COMPILED else 200)]
    for step in steps:
        events = judged.apply(*(step or flow.next()), thorough=False)
        said += events
        data.apply(event_records(events))
        for series in {event.series for event in events if event.kind < EventKind.SOLD and event.series}:
            assert_alike(data, judged.depth, series)
    fills = [event for event in said if event.kind == EventKind.FILL]
    assert [row[2:4] for row in data.trades.tolist()] == [(event.price, event.qty) for event in fills]
    assert data.trades["event_seq"].tolist() == [event.event_seq for event in fills]


def test_however_events_come_they_show_the_same():
    judged = Judged()
    flow = Flow(5, judged.market)
    batches = [judged.apply(*step, thorough=False) for step in flow.opening()]
    batches += [judged.apply(*flow.next(), thorough=False) for _ in range(600)]
    events = [event for batch in batches for event in batch]
    whole, plain = MarketData(event_records(events)), EventDepth(events)
    apart = MarketData()
    for batch in batches:
        apart.apply(event_records(batch))
    assert whole.trades.tobytes() == apart.trades.tobytes()
    assert whole.quotes.tobytes() == apart.quotes.tobytes()
    assert whole.series_table().tobytes() == apart.series_table().tobytes()
    for series in whole.series_table()["series"].tolist():
        assert_alike(apart, plain, series)


def small_market():
    market = Exchange(engine="reference")
    shop, ann, bob = market.register_merchant("Shop"), market.open_account(), market.open_account()
    for account in (ann, bob):
        market.deposit(account=account, amount=1_000_00)
    tea = market.list_series(
        merchant=shop, product="tea", par=100, issue_price=80, authorised=500, expire="2026-06-30", policy="forfeit"
    )
    market.subscribe(series=tea, account=ann, qty=100)
    return market, tea, ann, bob


def test_quotes_tell_each_change_of_the_best_once():
    market, tea, ann, bob = small_market()
    market.place(series=tea, account=ann, side="sell", price=95, qty=10)
    market.place(series=tea, account=ann, side="sell", price=96, qty=10)  # behind the best
    market.place(series=tea, account=bob, side="buy", price=95, qty=4)
    market.place(series=tea, account=bob, side="buy", price=90, qty=7)
    quotes = MarketData(market.event_records).quotes
    assert [tuple(row)[2:6] for row in quotes.tolist()] == [(0, 0, 95, 10), (0, 0, 95, 6), (90, 7, 95, 6)]
    assert set(quotes["series"]) == {int(tea)}
    assert set(quotes["value"]) == {100}


def test_an_order_knows_what_stands_before_it():
    market, tea, ann, bob = small_market()
    market.place(series=tea, account=ann, side="sell", price=95, qty=10)
    mine = market.place(series=tea, account=ann, side="sell", price=95, qty=3).order_id
    behind = market.place(series=tea, account=ann, side="sell", price=95, qty=1).order_id
    market.place(series=tea, account=bob, side="buy", price=95, qty=4)
    data = MarketData(market.event_records)
    place = data.place_of(mine)
    assert place is not None
    assert (place["price"], place["open_qty"], place["ahead_qty"], place["place"], place["account"]) == (95, 3, 6, 1, int(ann))
    behind_place = data.place_of(behind)
    assert behind_place is not None
    assert behind_place["ahead_qty"] == 9
    assert data.place_of(12_345) is None


def test_discounts_and_deadlines_are_of_the_time_asked_for():
    market, tea, ann, bob = small_market()
    market.place(series=tea, account=ann, side="sell", price=93, qty=10)
    market.place(series=tea, account=bob, side="buy", price=93, qty=4)
    (row,) = MarketData(market.event_records).series_table(at_ns=1_767_225_600_000_000_000)
    assert row["discount_bps"] == 700
    assert row["to_expiry_ns"] == 180 * 86_400_000_000_000
    assert row["to_last_trade_ns"] == row["to_expiry_ns"]
    assert (row["outstanding"], row["sold"]) == (100, 100)


def test_what_is_not_wanted_is_not_kept():
    market, tea, ann, bob = small_market()
    market.place(series=tea, account=ann, side="sell", price=93, qty=10)
    market.place(series=tea, account=bob, side="buy", price=93, qty=4)
    data = MarketData(market.event_records, trades=False, quotes=False)
    assert (len(data.trades), data.trades.dtype) == (0, TRADE)
    assert (len(data.quotes), data.quotes.dtype) == (0, QUOTE)
    assert data.top(tea)["ask_qty"] == 6


def test_a_ladder_shows_both_sides():
    market, tea, ann, bob = small_market()
    market.place(series=tea, account=ann, side="sell", price=93, qty=10)
    market.place(series=tea, account=bob, side="buy", price=90, qty=4)
    ladder = MarketData(market.event_records).depth(tea)
    assert (ladder.best_bid, ladder.best_ask) == (90, 93)
    assert str(market.depth(tea)).splitlines()[1:] == str(ladder).splitlines()[1:]


def test_a_side_of_many_levels_is_shown_whole_and_cut():
    market, tea, _, bob = small_market()
    for price in range(1, 61):
        market.place(series=tea, account=bob, side="buy", price=price, qty=1)
    data = MarketData(market.event_records)
    levels = data.levels(tea, "buy")
    assert levels.dtype == SHOWN
    assert levels["price"].tolist() == list(range(60, 0, -1))
    assert data.levels(tea, "buy", 20).tolist() == levels[:20].tolist()
    assert len(data.levels(tea, "buy", 0)) == 0
    assert len(data.orders(tea, "buy")) == 60


def told(kind, **fields):
    """Give an event of series 1, by fields."""
    return Event(**{**dict.fromkeys(Event._fields, 0), "kind": kind, "series": 1, **fields})


def numbered(events):
    """Let each event be a command of its own."""
    return event_records(event._replace(event_seq=at, command_seq=at + 1, time_ns=at) for at, event in enumerate(events))


def far_apart(count):
    """List a series and accept so many bids that hardly any two of them share a node of prices."""
    bids = [told(EventKind.ACCEPTED, order_id=at + 1, account=2, side=1, price=1 + 97 * at, qty=3) for at in range(count)]
    return numbered([told(EventKind.LISTED, amount=10**6, fee=10**6), *bids])


@pytest.mark.parametrize("step", [1, 3, 10_000])
def test_tables_grow_wherever_they_are_full(step):
    events = far_apart(1_100)
    data = MarketData()
    for start in range(0, len(events), step):
        data.apply(events[start : start + step])
    assert len(data.levels(1, "buy")) == 1_100
    assert data.top(1) == {"bid": 1 + 97 * 1_099, "bid_qty": 3, "ask": 0, "ask_qty": 0}
    assert data.place_of(1_000)["price"] == 1 + 97 * 999


def test_tables_grow_at_the_end_of_a_command_too():
    events = far_apart(1_100)
    events["command_seq"] = (np.arange(1_101) + 1) // 2 + 1
    data = MarketData(events[:1])
    for start in range(1, len(events), 2):
        data.apply(events[start : start + 2])
    assert len(data.orders(1, "buy")) == 1_100


def test_series_of_large_numbers_are_shown():
    events = far_apart(2)
    events["series"] = 5_000
    assert MarketData(events).top(5_000)["bid"] == 98
    events["series"] = 2**22
    with pytest.raises(MisuseError, match="series 4194304"):
        MarketData(events)


# ── what is wrong ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("wrong", [None, [1, 2], np.zeros(3), np.zeros((2, 2), np.int64)])
def test_what_is_no_column_of_events_is_misuse(wrong):
    with pytest.raises(MisuseError, match="EVENT"):
        MarketData().apply(wrong)


def test_events_that_are_missing_are_named():
    market, tea, ann, _ = small_market()
    market.place(series=tea, account=ann, side="sell", price=93, qty=10)
    events = market.event_records
    with pytest.raises(MisuseError, match="event 3 came where 0 was due"):
        MarketData(events[3:])
    with pytest.raises(MisuseError, match="event 5 came where 4 was due"):
        MarketData(np.delete(events, 4))
    data = MarketData(events[:5])
    data.apply(events[5:])
    assert data.top(tea)["ask_qty"] == 10


def test_an_order_that_was_never_accepted_is_named_and_ends_the_reading():
    market, tea, ann, _ = small_market()
    order = market.place(series=tea, account=ann, side="sell", price=93, qty=10).order_id
    market.cancel(order_id=order, account=ann)
    events = market.event_records.copy()
    events["order_id"][-1] += 1
    data = MarketData()
    with pytest.raises(MisuseError, match=f"order {order + 1} is unknown"):
        data.apply(events)
    with pytest.raises(MisuseError, match="cut short"):
        data.apply(events)


BID = {"order_id": 1, "account": 2, "side": 1, "price": 50, "qty": 3}
ASK = {**BID, "order_id": 2, "account": 3, "side": 2, "price": 60}
FILL = {"order_id": 2, "other_order_id": 1, "price": 50, "side": 2}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (EventKind.ACCEPTED, {**ASK, "side": 0}),
        (EventKind.ACCEPTED, {**ASK, "qty": 0}),
        (EventKind.ACCEPTED, {**ASK, "amount": -1}),
        (EventKind.ACCEPTED, BID),
        (EventKind.AMENDED, {**BID, "order_id": 9}),
        (EventKind.AMENDED, {**BID, "side": 3}),
        (EventKind.AMENDED, {**BID, "qty": 0}),
        (EventKind.TRIGGERED, {**BID, "order_id": 9}),
        (EventKind.FILL, {**FILL, "qty": 0}),
        (EventKind.FILL, {**FILL, "qty": 4}),
        (EventKind.FILL, {**FILL, "qty": 1, "order_id": 9}),
        (EventKind.FILL, {**FILL, "qty": 1, "other_order_id": 9}),
        (EventKind.CANCELLED, {**BID, "order_id": 9}),
    ],
)
def test_events_that_cannot_follow_are_named(kind, fields):
    before = [told(EventKind.LISTED, amount=100, fee=100), told(EventKind.ACCEPTED, **BID), told(EventKind.ACCEPTED, **ASK)]
    wrong = before[: 2 if kind == EventKind.ACCEPTED else 3]
    with pytest.raises(MisuseError, match=f"event {len(wrong)} "):
        MarketData(numbered([*wrong, told(kind, **fields)]))


@pytest.mark.parametrize("series", [0, -1, 99, 2**40])
def test_a_series_that_was_never_listed_is_misuse(series):
    market, *_ = small_market()
    data = MarketData(market.event_records)
    for ask in (data.top, data.depth, lambda number: data.orders(number, "buy"), lambda number: data.levels(number, "sell")):
        with pytest.raises(MisuseError, match="series was"):
            ask(series)


def test_the_callers_events_stay_as_they_are_and_may_lie_anywhere():
    market, tea, ann, _ = small_market()
    market.place(series=tea, account=ann, side="sell", price=93, qty=10)
    events = market.event_records
    spread = np.zeros(2 * len(events), events.dtype)
    spread[::2] = events
    before = spread.tobytes()
    assert MarketData(spread[::2]).top(tea) == MarketData(events).top(tea)
    assert spread.tobytes() == before
    raw = np.zeros(events.nbytes + 1, np.uint8)
    raw[1:] = events.view(np.uint8)
    assert MarketData(raw[1:].view(events.dtype)).top(tea)["ask_qty"] == 10


def test_an_empty_market_has_no_series():
    data = MarketData()
    assert len(data.series_table()) == 0
    assert len(data.trades) == len(data.quotes) == 0
    data.apply(event_records(ReferenceExchange(Venue()).apply(Command(kind=CommandKind.OPEN_ACCOUNT))))
