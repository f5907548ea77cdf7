"""Wrong calls of every kind are one clear `MisuseError`, and leave nothing behind."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
from types import MappingProxyType

import numpy as np
import pytest

from rightsx import Exchange, Limits, OrderBook, command, describe, schedule
from rightsx.errors import CorruptionError, InputFileError, MisuseError, RefusedError
from rightsx.protocol import (
    COMMAND,
    T0_NS,
    Command,
    CommandKind,
    EventKind,
    Refusal,
    command_records,
    event_records,
)

LISTING = {"product": "tea", "par": 100, "issue_price": 80, "authorised": 10, "expire": "2026-06-30", "policy": "forfeit"}


class NoOffset(dt.tzinfo):
    def utcoffset(self, _moment):
        return None

    def dst(self, _moment):
        return None


class BadOffset(NoOffset):
    def utcoffset(self, _moment):
        return dt.timedelta(days=3)


@pytest.fixture
def market():
    market = Exchange()
    shop = market.register_merchant("Cafe", time_ns=T0_NS)
    for _ in range(2):
        market.deposit(account=market.open_account(), amount=1_000)
    market.list_series(merchant=shop, **LISTING)
    market.subscribe(series=1, account=2, qty=5)
    return market


WRONG_CALLS = {
    "text as a series": lambda m: m.redeem(series="x", account=2, qty=1),
    "None as a series": lambda m: m.grant(series=None, account=2, qty=1),
    "a float as a series": lambda m: m.import_members(series=np.float64(1), rows=[(1, 1)]),
    "bytes as a series": lambda m: m.lock_voucher(series=b"x", account=2, qty=1, ttl="1d", terminals=[1]),
    "a bool as a series": lambda m: m.holding(2, True),
    "a span as an amount": lambda m: m.deposit(account=2, amount=np.timedelta64(5)),
    "a reference below 0": lambda m: m.deposit(account=2, amount=5, ref=-1),
    "a reference of 2^64": lambda m: m.deposit(account=2, amount=5, ref=2**64),
    "a new channel and a wrong qty": lambda m: m.subscribe(series=1, account=2, qty="x", channel="new"),
    "a new channel and a wrong time": lambda m: m.subscribe(series=1, account=2, qty=1, channel="new", time_ns="soon"),
    "a new channel and a wrong cap": lambda m: m.list_series(merchant=1, **LISTING, channel_caps={"new": 1.5}),
    "a new channel and a wrong merchant": lambda m: m.list_series(merchant="x", **LISTING, channel_caps={"new": 5}),
    "a channel that is no text": lambda m: m.list_series(merchant=1, **LISTING, channel_caps={"new": 5, 7: 5}),
    "caps in a list": lambda m: m.list_series(merchant=1, **LISTING, channel_caps=[("new", 1)]),
    "stores as a word": lambda m: m.list_series(merchant=1, **LISTING, stores="till"),
    "stores as a number": lambda m: m.list_series(merchant=1, **LISTING, stores=5),
    "a store of 1.5": lambda m: m.list_series(merchant=1, **LISTING, stores=[1.5]),
    "a schedule as a word": lambda m: m.list_series(merchant=1, **LISTING, schedule="linear"),
    "a schedule as a list": lambda m: m.list_series(merchant=1, **LISTING, schedule=[]),
    "terminals as a word": lambda m: m.lock_voucher(series=1, account=2, qty=1, ttl="1d", terminals="van"),
    "terminals as None": lambda m: m.lock_voucher(series=1, account=2, qty=1, ttl="1d", terminals=None),
    "rows as a number": lambda m: m.import_members(series=1, rows=5),
    "a row of one": lambda m: m.import_members(series=1, rows=[(1,)]),
    "a name with half a letter": lambda m: m.register_merchant("\ud800"),
    "a budget of many": lambda m: m.place(
        series=1, account=2, side="buy", qty=1, price=1, time_in_force="fok", budget=np.array([1, 2])
    ),
    "a span of five thousand digits": lambda m: m.list_series(merchant=1, **LISTING, hold="9" * 5_000 + "d"),
    "a zone without an offset": lambda m: m.advance(to=dt.datetime(2026, 2, 1, tzinfo=NoOffset())),
    "a zone of three days": lambda m: m.advance(to=dt.datetime(2026, 2, 1, tzinfo=BadOffset())),
    "a batch as a list": lambda m: m.apply_batch([]),
    "a batch as None": lambda m: m.apply_batch(None),
    "a batch of big-endian records": lambda m: m.apply_batch(np.zeros(1, COMMAND).astype(COMMAND.newbyteorder(">"))),
    "a batch in two dimensions": lambda m: m.apply_batch(np.zeros((1, 1), COMMAND)),
    "no command": lambda m: m.apply(None),
    "a tuple as a command": lambda m: m.apply((1, 2)),
    "a command of floats": lambda m: m.apply(Command(kind=CommandKind.DEPOSIT, account=2, qty=1.5)),
    "a command of NaN": lambda m: m.apply(Command(kind=CommandKind.DEPOSIT, account=2, qty=float("nan"))),
    "a command beyond its field": lambda m: m.apply(Command(kind=CommandKind.CHARGEBACK, account=2, qty=2**70)),
    "a command without a ref": lambda m: m.apply(Command(kind=CommandKind.DEPOSIT, account=2, qty=1, ref=None)),
    "a kind of 1.0": lambda m: m.apply(Command(kind=1.0)),
    "orders of a word": lambda m: m.orders(account="x"),
    "orders of nobody": lambda m: m.orders(account=99),
    "orders in no series": lambda m: m.orders(series=99),
    "a time of 0.0": lambda m: m.open_account(time_ns=0.0),
    "a time of False": lambda m: m.open_account(time_ns=False),
    "a time of nothing": lambda m: m.open_account(time_ns=""),
    "no time to advance to": lambda m: m.advance(to=None),
    "a product of many": lambda m: m.product(1, np.array([1, 2])),
    "a trial of many": lambda m: m.list_series(merchant=1, **LISTING, trial=np.array([1, 2])),
    "a merchant of many": lambda m: m.list_series(merchant=np.array([1, 2]), **LISTING),
    "a reference of five thousand digits": lambda m: m.deposit(account=2, amount=1, ref=10**5_000),
    "a span that ends before it starts": lambda m: m.statement(2, start="2026-02-01", end="2026-01-01"),
    "a member of a word": lambda m: m.member(1, "x"),
    "a member of no merchant": lambda m: m.member(2, 1),
    "a card at no merchant": lambda m: m.card(2, 99),
    "a report of two things": lambda m: m.report(series=1, merchant=1),
    "a report of an unknown product": lambda m: m.report(merchant=1, product="zzz"),
    "half a level": lambda m: m.depth(1, levels=1.5),
    "less than no levels": lambda m: m.depth(1, levels=-1),
    "a bill at a word": lambda m: m.redeem_bill(merchant="x", product="tea", account=2, amount=5),
}


@pytest.mark.parametrize("call", WRONG_CALLS.values(), ids=WRONG_CALLS)
def test_a_wrong_call_is_misuse_and_leaves_nothing_behind(market, call):
    before, events, channels = market.state_hash(), len(market.events), market._twin.channels()
    with pytest.raises(MisuseError):
        call(market)
    assert (market.state_hash(), len(market.events), market._twin.channels()) == (before, events, channels)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Exchange(limits=(1, 2, 3, 4)),
        lambda: Exchange(limits={"orders": 5}),
        lambda: Exchange(clock=5),
        lambda: schedule.stepwise([5]),
        lambda: OrderBook(books=2**32),
        lambda: OrderBook().place(order_id=2**70, side="buy", price=1, qty=1),
        lambda: OrderBook().place(order_id=1, side="buy", price=1, qty=1, account=-1),
        lambda: OrderBook().place(order_id=1, side="buy", price=1, qty=1, book=-1),
        lambda: OrderBook().place(order_id=1, side="buy", price=1, qty=1, post_only="no"),
        lambda: OrderBook().amend(order_id=1, price=2**70),
        lambda: OrderBook().cancel(order_id=2**80),
        lambda: OrderBook().depth(levels=-1),
        lambda: command(CommandKind.PLACE),
        lambda: command(999),
        lambda: command("PLACE"),
        lambda: schedule.stepwise(None),
        lambda: Exchange(raise_on_refusal="no"),
        lambda: Exchange(keep_events="no"),
    ],
)
def test_other_wrong_calls_are_misuse_too(call):
    with pytest.raises(MisuseError):
        call()


def test_numpy_integers_are_as_good_as_others():
    market = Exchange(gift_fee=np.int8(30), reference_days=np.int32(30), limits=Limits(orders=np.int16(9)))
    shop = market.register_merchant("Cafe")
    ann, bob = market.open_account(), market.open_account()
    market.deposit(account=np.uint32(ann), amount=np.int64(1_000), ref=np.uint64(2**63))
    shape = schedule.geometric(num=np.int8(9), den=np.int8(10), steps=np.int16(3), every="1d")
    series = market.list_series(
        merchant=shop, **{**LISTING, "par": np.int8(100)}, schedule=shape, channel_caps={"w": np.int64(5)}
    )
    assert [value for _, value in market.series(series).steps] == [90, 81, 72]
    assert market.subscribe(series=series, account=ann, qty=np.int64(3), channel="w")
    assert market.transfer(series=series, account=ann, recipient=bob, qty=1)
    assert market.account(ann).cash_free == 1_000 - 240 - 30
    assert len(market.state_hash()) == 64


def test_whatever_can_be_walked_is_a_list(market):
    market.register_store("st", merchant=1)
    market.register_terminal("till", merchant=1)
    tea = market.list_series(merchant=1, **LISTING, stores={"st": 1}.keys(), channel_caps=MappingProxyType({"w": 5}))
    assert market.series(tea).stores == (1,)
    market.deposit(account=1, amount=1_000)
    for rows in (zip((1, 2), (100, 100), strict=True), {3: 100}.items(), np.array([[4, 100]]), ((5, 100) for _ in range(1))):
        assert market.import_members(series=1, rows=rows)
    assert market.lock_voucher(series=1, account=2, qty=1, ttl="1d", terminals=np.array([1]))


def test_an_error_can_cross_to_another_process():
    error = pickle.loads(pickle.dumps(InputFileError("a.txt", 3, "a number")))  # noqa: S301
    assert str(error) == "a.txt:3: a number"


HUGE = (2**63 - 1, 2**63, 2**64, 2**70, -(2**63), -(2**70))


@pytest.mark.parametrize("value", HUGE)
def test_numbers_beyond_every_field_are_refused_by_registrations_too(market, value):
    codes = {
        "par": Refusal.BadPrice,
        "issue_price": Refusal.BadPrice,
        "authorised": Refusal.BadQuantity,
        "expire": Refusal.BadTime,
        "last_trade": Refusal.BadTime,
        "tick": Refusal.BadPrice,
        "taker_bps": Refusal.BadTerms,
    }
    for name, code in codes.items():
        refused = market.list_series(merchant=1, **{**LISTING, name: value}).refused
        assert refused.code == code, name
    linear = schedule.linear(steps=5, every="10000w")
    assert not market.list_series(merchant=1, **{**LISTING, "par": value}, schedule=linear)
    steep = schedule.stepwise([(T0_NS + 5, value)])
    assert market.list_series(merchant=1, **LISTING, schedule=steep).refused.code == Refusal.ScheduleNotMonotone
    assert market.list_series(merchant=1, **LISTING, stores=[value]).refused.code == Refusal.StoreNotInProduct
    assert market.list_series(merchant=1, **LISTING, channel_caps={"w": value}).refused.code == Refusal.BadTerms
    assert market.register_store("st", merchant=1, settles_to=value).refused.code == Refusal.UnknownAccount
    expected = Refusal.BadAmount if value < 0 else Refusal.AuthorisedExceeded
    assert market.import_members(series=1, rows=[(1, value), (2, value)]).refused.code == expected
    assert market.set_tier(tier=value, amount=5).refused.code == Refusal.BadTerms
    assert market.advance(to=value if value < 0 else -value).refused.code == Refusal.ClockBackwards
    assert len(event_records(market.events)) == len(market.events)


def test_a_clock_long_ago_is_refused():
    market = Exchange(clock=lambda: -(2**80))
    assert not market.open_account()


def test_a_sale_through_a_channel_that_cannot_be_registered_is_refused(market):
    (getattr(market._twin, "_market", None) or market._twin._registry).channels.extend(f"c{number}" for number in range(2**16))
    result = market.subscribe(series=1, account=2, qty=1, channel="one more")
    assert result.refused.code == Refusal.CapacityExceeded
    assert market.list_series(merchant=1, **LISTING, channel_caps={"one more": 5}).refused.code == Refusal.CapacityExceeded
    assert market.series(1).sold == 5


def test_a_reference_beyond_int64_is_told_without_breaking_the_batch(market):
    rows = [Command(kind=CommandKind.DEPOSIT, account=2, qty=qty, ref=2**63) for qty in (5, 6)]
    events = market.apply_batch(command_records([*rows, Command(kind=CommandKind.DEPOSIT, account=2, qty=7)]))
    assert [int(code) for code in events["code"]] == [0, Refusal.IdempotencyConflict, 0]
    assert market.statement(2).closing_cash == market.account(2).cash


def test_switches_under_one_reference_leave_no_timer_behind(market):
    rows = [Command(kind=kind, ref=5) for kind in (CommandKind.KILL, CommandKind.UNKILL)]
    events = market.apply_batch(command_records(rows))
    assert [EventKind(kind) for kind in events["kind"]] == [EventKind.KILLED, EventKind.REFUSED]
    assert market.advance(to="2026-06-01")


def test_a_debt_has_an_end(market):
    for _ in range(3):
        market.chargeback(account=2, amount=2**62 - 1)
    assert market.account(2).debt < 2**62
    assert market.chargeback(account=2, amount=2**63 - 1).refused.code == Refusal.CapacityExceeded


def test_a_repeat_tells_what_fell_due_before_it_too(market):
    market.deposit(account=2, amount=5, ref=3)
    market.place(series=1, account=2, side="sell", qty=1, price=90, deadline="2026-01-05")
    again = market.deposit(account=2, amount=5, ref=3, time_ns="2026-01-06")
    assert again.duplicate
    assert EventKind.CANCELLED in {event.kind for event in again.events}


def test_a_repeat_counts_what_a_woken_stop_took(market):
    market.place(series=1, account=2, side="sell", price=90, qty=1)
    market.place(series=1, account=2, side="sell", price=85, qty=3, stop_price=90, trigger="rise")
    market.place(series=1, account=3, side="buy", price=90, qty=3, ref=9)
    again = market._twin.apply(
        Command(kind=CommandKind.PLACE, side=1, time_in_force=1, series=1, account=3, price=90, qty=3, ref=9)
    )
    assert (again[-1].kind, again[-1].qty) == (EventKind.DUPLICATE, 3)


def test_ids_can_be_copied_and_sent_away(market):
    made = market.open_account()
    for copied in (copy.copy(made), copy.deepcopy({"id": made})["id"], pickle.loads(pickle.dumps(made))):  # noqa: S301
        assert copied == made
        assert type(copied) is int


def test_names_cannot_write_to_the_terminal(market):
    series = market.list_series(merchant=1, **{**LISTING, "product": "\x1b[31mred\n" + "x" * 200})
    market.subscribe(series=series, account=2, qty=1, channel="\x07" * 200)
    views = [market.depth(series), market.series(series), market.card(2, 1), market.report(series=series)]
    for view in views:
        assert "\x1b" not in str(view)
        assert "\x07" not in str(view)
        assert max(map(len, str(view).splitlines())) <= 80


def test_whatever_describe_is_given_it_says_something_or_is_misuse():
    with pytest.raises(MisuseError):
        describe(5)
    for event in ({"kind": 99}, {"kind": 128, "flags": 99, "code": 2}):
        assert describe(type(Exchange().open_account().events[0])(**event))


def test_raised_refusals_reach_raw_commands_too():
    with pytest.raises(RefusedError):
        Exchange(raise_on_refusal=True).apply(Command(kind=CommandKind.DEPOSIT, account=9, qty=1))


def test_a_payload_beside_a_wrong_record_is_corruption(market):
    with pytest.raises(CorruptionError):
        market.apply(Command(kind=CommandKind.LIST_SERIES, account=1, qty=3, ref=5), b"abc")
