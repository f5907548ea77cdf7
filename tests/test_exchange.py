"""The friendly face: what people type becomes commands, and what comes back shows itself."""

from __future__ import annotations

import copy
import datetime as dt
import itertools
import pickle

import numpy as np
import pytest

from rightsx import COMMAND, EVENT, Exchange, Limits, MisuseError, Refusal, RefusedError, schedule
from rightsx.errors import AuditError, CorruptionError
from rightsx.protocol import DAY_NS, T0_NS, Command, CommandKind, EventKind, command_records
from rightsx.vocabulary import cold_command, command


class Stage:
    """A merchant with a series, two people with cash, and units sold to the first."""

    def __init__(self, **options):
        self.market = Exchange(**options)
        self.shop = self.market.register_merchant("Cafe Nord", time_ns=T0_NS)
        self.ann, self.bob = self.market.open_account(), self.market.open_account()
        for account in (self.ann, self.bob):
            self.market.deposit(account=account, amount=100_00)
        self.coffee = self.list()
        self.market.subscribe(series=self.coffee, account=self.ann, qty=50)

    def list(self, **terms):
        given = {"par": 100, "issue_price": 80, "authorised": 1_000, "expire": "2026-06-30", "policy": "forfeit"}
        return self.market.list_series(merchant=self.shop, product="coffee", **{**given, **terms})


@pytest.fixture
def stage():
    return Stage()


# ── results ──────────────────────────────────────────────────────────────────────────────────────


def test_a_refusal_is_false_and_says_what_was_found_and_what_is_allowed(stage):
    result = stage.market.place(series=stage.coffee, account=stage.bob, side="buy", price=101, qty=1)
    assert not result
    assert result.refused == (Refusal.PriceAboveCap, "price", 101, 100)
    assert str(result.refused) == "PriceAboveCap: price was 101; 100 is allowed"
    assert (result.order_id, result.fills, result.leaves_qty) == (0, (), 0)


def test_results_show_themselves_in_a_line(stage):
    market = stage.market
    assert repr(market.subscribe(series=stage.coffee, account=stage.bob, qty=2)) == "SaleResult(paid=160, fee=0, escrow=0)"
    assert repr(market.deposit(account=stage.bob, amount=5)) == "Result()"
    refused = market.redeem(series=stage.coffee, account=stage.bob, qty=3)
    assert repr(refused) == "<RedeemResult refused InsufficientUnits: qty was 3; 2 is allowed>"


def test_a_ladder_in_a_notebook_has_bars_of_its_quantities(stage):
    market = stage.market
    market.place(series=stage.coffee, account=stage.ann, side="sell", price=90, qty=20)
    market.place(series=stage.coffee, account=stage.ann, side="sell", price=95, qty=10)
    page = market.depth(stage.coffee)._repr_html_()
    assert "100%" in page
    assert "50%" in page
    assert market.depth(stage.list())._repr_html_().count("<tr>") == 1


def test_a_refusal_can_be_an_exception_instead():
    market = Exchange(raise_on_refusal=True)
    with pytest.raises(RefusedError, match=r"UnknownAccount: account was 9$") as caught:
        market.deposit(account=9, amount=1)
    assert caught.value.refused.code == Refusal.UnknownAccount


def test_a_refused_creation_is_no_id(stage):
    refused = stage.list(policy=None)
    assert refused == 0
    assert refused.refused.code == Refusal.PolicyMissing
    assert repr(refused) == "<refused PolicyMissing: policy was 0>"
    assert str(stage.list(authorised=2**40).refused) == "BadQuantity: authorised was 1,099,511,627,776; 2,147,483,647 is allowed"
    assert str(stage.list(taker_bps=10_001).refused) == "BadTerms: taker_bps was 10,001"
    assert str(stage.list(stores=[1, 1]).refused) == "BadTerms: stores was 2"
    poor = stage.market.open_account(max_open=1, max_notional=100)
    order = {"series": stage.coffee, "account": poor, "side": "buy"}
    assert str(stage.market.place(**order, qty=2, price=90).refused) == "OrderLimitExceeded: notional was 180; 100 is allowed"
    assert str(stage.market.place(**order, qty=1, price=90).refused) == "InsufficientCash: cash needed was 90; 0 is allowed"
    assert str(stage.market.import_members(series=1, rows=[(7, 5), (7, 5)]).refused) == "DuplicateId: rows was 7"
    assert str(stage.market.import_members(series=1, rows=[(1, -5)]).refused) == "BadAmount: rows was -5; 0 is allowed"
    assert repr(stage.coffee) == "1"
    assert stage.market.subscribe(series=refused, account=stage.ann, qty=1).refused.code == Refusal.UnknownSeries


def test_a_trade_is_in_the_result_of_the_order_that_made_it(stage):
    market = stage.market
    ask = market.place(series=stage.coffee, account=stage.ann, side="sell", price=90, qty=20)
    assert (ask.order_id, ask.leaves_qty, ask.cancelled) == (1, 20, None)
    result = market.place(series=stage.coffee, account=stage.bob, side="buy", price=95, qty=25)
    (fill,) = result.fills
    assert (fill.price, fill.qty, fill.maker, fill.maker_account, fill.fee) == (90, 20, 1, stage.ann, 0)
    assert (result.filled_qty, result.leaves_qty) == (20, 5)
    assert market.order(result.order_id).open_qty == 5
    assert market.order(ask.order_id) is None


def test_fills_by_a_stop_that_the_order_woke_are_in_its_result(stage):
    market = stage.market
    sell = {"series": stage.coffee, "account": stage.ann, "side": "sell"}
    market.place(**sell, price=90, qty=1)
    market.place(**sell, price=85, qty=5, stop_price=90, trigger="rise")
    result = market.place(series=stage.coffee, account=stage.bob, side="buy", price=90, qty=3)
    # It takes 1 at 90, rests with 2 at 90, and the stop that this woke meets the 2.
    assert [(fill.price, fill.qty) for fill in result.fills] == [(90, 1), (90, 2)]
    assert result.leaves_qty == 0


def test_a_repeat_is_answered_as_the_first_time(stage):
    market, order = stage.market, {"series": stage.coffee, "side": "sell", "price": 90, "qty": 5, "ref": 7}
    first = market.place(account=stage.ann, **order)
    before = market.state_hash()
    again = market.place(account=stage.ann, **order)
    assert again.duplicate
    assert not first.duplicate
    assert (again.order_id, again.leaves_qty, again.filled_qty) == (first.order_id, 5, 0)
    assert market.state_hash() != before, "the repeat has a command_seq of its own"
    assert market.account(stage.ann).holdings[0].offered_qty == 5
    assert market.place(account=stage.ann, **{**order, "qty": 6}).refused.code == Refusal.IdempotencyConflict


def test_a_repeat_is_not_changed_by_what_fell_due_since(stage):
    order = {
        "series": stage.coffee,
        "account": stage.ann,
        "side": "sell",
        "price": 95,
        "qty": 4,
        "deadline": "2026-01-05",
        "ref": 7,
    }
    first = stage.market.place(**order)
    again = stage.market.place(**order, time_ns="2026-01-06")
    assert (again.leaves_qty, again.cancelled) == (first.leaves_qty, first.cancelled) == (4, None)
    assert stage.market.order(first.order_id) is None


def test_a_repeat_without_kept_events_still_knows_id_and_filled_quantity():
    stage = Stage(keep_events=False)
    stage.market.place(series=stage.coffee, account=stage.ann, side="sell", price=90, qty=5)
    order = {"series": stage.coffee, "account": stage.bob, "side": "buy", "price": 90, "qty": 3, "ref": 7}
    first, again = stage.market.place(**order), stage.market.place(**order)
    assert again.duplicate
    assert (again.order_id, again.filled_qty) == (first.order_id, 3)
    with pytest.raises(MisuseError, match="keep_events=False"):
        stage.market.statement(stage.ann)
    assert stage.market.events == ()


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("open_account", {"tier": 0}),
        ("register_merchant", {"name": "Bar"}),
        ("register_store", {"name": "st", "merchant": 1}),
        ("register_terminal", {"name": "t", "merchant": 1}),
        ("register_channel", {"name": "web"}),
        ("set_tier", {"tier": 1, "amount": 5}),
        ("set_account", {"account": 2, "max_open": 3}),
        ("freeze", {"account": 2}),
        ("unfreeze", {"account": 2}),
        ("halt", {"series": 1}),
        ("resume", {"series": 1}),
        ("kill", {"on": True}),
        ("kill", {"on": False}),
        ("default", {"merchant": 1}),
        ("cancel_after", {"account": 2, "at": "2026-02-01"}),
        ("grant", {"series": 2, "account": 2, "qty": 1}),
    ],
)
def test_every_verb_can_be_repeated_under_a_reference(verb, given):
    stage = Stage()
    stage.list(trial=True, issue_price=0)
    first = getattr(stage.market, verb)(**given, ref=2**64 - 1)
    written = sum(event.event_seq >= 0 for event in stage.market.events)
    again = getattr(stage.market, verb)(**given, ref=2**64 - 1)
    assert first.refused is None
    assert again.refused is None
    assert again.events[-1].kind == EventKind.DUPLICATE
    assert sum(event.event_seq >= 0 for event in stage.market.events) == written
    if isinstance(first, int):
        assert again == first > 0


# ── time ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_clock_stamps_commands_that_name_no_time():
    ticks = itertools.count(T0_NS)
    market = Exchange(clock=lambda: next(ticks))
    market.open_account()
    market.open_account()
    assert [event.time_ns for event in market.events] == [T0_NS, T0_NS + 1]
    assert market.clock_ns == T0_NS + 1


def test_a_clock_that_gives_no_integer_is_misuse():
    with pytest.raises(MisuseError, match=r"clock\(\) was 1.5"):
        Exchange(clock=lambda: 1.5).open_account()


def test_a_clock_that_goes_back_is_refused(stage):
    assert stage.market.advance(to="2025-12-31").refused.code == Refusal.ClockBackwards
    assert stage.market.clock_ns == T0_NS


def test_next_due_tells_an_event_loop_when_to_advance(stage):
    assert stage.market.next_due_ns == stage.market.series(stage.coffee).terms.expire_ns
    stage.market.advance(to=stage.market.next_due_ns)
    assert stage.market.series(stage.coffee).phase == "expired"
    assert stage.market.next_due_ns is None


def test_times_are_said_as_dates_spans_or_integers(stage):
    series = stage.list(expire=dt.date(2026, 6, 30), last_trade="2026-06-29T12:00", cooling_off="7d", hold=dt.timedelta(hours=1))
    terms = stage.market.series(series).terms
    assert terms.expire_ns == stage.market.series(stage.coffee).terms.expire_ns
    assert terms.expire_ns - terms.last_trade_ns == DAY_NS // 2
    assert (terms.cooling_off_ns, terms.hold_ns) == (7 * DAY_NS, DAY_NS // 24)


# ── wrong calls ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("value", [True, 1.0, "1", None, float("nan"), np.float64(1)])
@pytest.mark.parametrize(
    ("verb", "given", "name", "code"),
    [
        ("deposit", {"account": 2}, "amount", Refusal.BadAmount),
        ("subscribe", {"account": 2, "series": 1}, "qty", Refusal.BadQuantity),
        ("place", {"account": 2, "series": 1, "side": "buy", "price": 5}, "qty", Refusal.BadQuantity),
        ("cancel", {"account": 2}, "order_id", Refusal.OrderNotOpen),
        ("redeem", {"series": 1, "qty": 1}, "account", Refusal.UnknownAccount),
        ("halt", {}, "series", Refusal.UnknownSeries),
    ],
)
def test_only_true_integers_pass_and_nothing_is_logged(stage, verb, given, name, code, value):
    before = stage.market.state_hash()
    with pytest.raises(MisuseError) as caught:
        getattr(stage.market, verb)(**given, **{name: value})
    assert caught.value.code == code
    assert name in str(caught.value)
    assert stage.market.state_hash() == before


@pytest.mark.parametrize("value", [0, -1, 2**31, 2**63, -(2**70), 10**30])
def test_integers_out_of_range_are_refused_with_the_field_named(stage, value):
    refused = stage.market.place(series=stage.coffee, account=stage.bob, side="buy", price=90, qty=value).refused
    assert (refused.code, refused.field) == (Refusal.BadQuantity, "qty")
    refused = stage.market.place(series=stage.coffee, account=stage.bob, side="buy", price=value, qty=1).refused
    assert (refused.code, refused.field) == (Refusal.BadPrice, "price")


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.place(series=1, account=2, side="both", price=1, qty=1),
        lambda m: m.place(series=1, account=2, side="buy", price=1, qty=1, time_in_force="day"),
        lambda m: m.place(series=1, account=2, side="buy", price=1, qty=1, own_orders="ignore"),
        lambda m: m.place(series=1, account=2, side="buy", price=1, qty=1, trigger="sideways"),
        lambda m: m.place(series=1, account=2, side="buy", price=1, qty=1, post_only=1),
        lambda m: m.place(series=1, account=2, side="buy", price=1, qty=1, budget=5),
        lambda m: m.place(series=1, account=2, side="buy", price=1, qty=1, deadline="never"),
        lambda m: m.place(series=1, account=2, side="buy", price=1, qty=1, deadline="2026-02-01", time_in_force="fok", budget=5),
        lambda m: m.register_merchant(""),
        lambda m: m.register_merchant("x" * 225),
        lambda m: m.kill(on=1),
        lambda m: m.account(99),
        lambda m: m.account(0),
        lambda m: m.series(99),
        lambda m: m.holding(2, 99),
        lambda m: m.depth(99),
        lambda m: m.product(1, "tea"),
        lambda m: m.report(),
        lambda m: m.list_series(
            merchant=1, product="x", par=1, issue_price=1, authorised=1, expire=5, policy="forfeit", taker_fee=3
        ),
        lambda m: m.list_series(merchant=1, product="x", par=1, issue_price=1, authorised=1, expire=5, policy="lapse"),
        lambda m: m.list_series(merchant=1, product="x", par=1, issue_price=1, authorised=1, expire=5, policy=1),
        lambda m: m.list_series(merchant=1, product="x", par=1, issue_price=1, authorised=1, expire=5, trial=1),
    ],
)
def test_a_wrong_word_is_misuse_and_changes_nothing(stage, call):
    before = stage.market.state_hash()
    with pytest.raises(MisuseError):
        call(stage.market)
    assert stage.market.state_hash() == before


@pytest.mark.parametrize(
    "options",
    [
        {"engine": "quantum"},
        {"gift_fee": -1},
        {"gift_fee": 1.5},
        {"reference_days": 0},
        {"limits": Limits(orders=0)},
    ],
)
def test_a_market_of_wrong_rates_is_misuse(options):
    with pytest.raises(MisuseError):
        Exchange(**options)


# ── stores, channels, terminals by name ──────────────────────────────────────────────────────────


def test_stores_are_known_by_name_or_number(stage):
    market = stage.market
    first = market.register_store("st1", merchant=stage.shop)
    market.register_store("st2", merchant=stage.shop, settles_to=stage.bob)
    series = stage.list(stores=["st1", 2], escrow_bps=10_000)
    market.subscribe(series=series, account=stage.ann, qty=10)
    assert market.redeem(series=series, account=stage.ann, qty=1, store="st1")
    assert market.redeem(series=series, account=stage.ann, qty=1, store=first)
    cash = market.account(stage.bob).cash_free
    assert market.redeem(series=series, account=stage.ann, qty=1, store="st2")
    assert market.account(stage.bob).cash_free == cash + 80
    assert market.redeem(series=series, account=stage.ann, qty=1, store="st3").refused.code == Refusal.StoreNotInProduct
    assert market.redeem(series=series, account=stage.ann, qty=1).refused.code == Refusal.StoreNotInProduct
    assert stage.list(stores=["st3"]).refused.code == Refusal.StoreNotInProduct


def test_a_new_channel_is_registered_by_its_first_sale(stage):
    market = stage.market
    market.subscribe(series=stage.coffee, account=stage.ann, qty=2, channel="web")
    market.subscribe(series=stage.coffee, account=stage.ann, qty=3, channel="web")
    assert market.series(stage.coffee).channels == {"none": (50, 4_000), "web": (5, 400)}
    assert market.register_channel("web").refused.code == Refusal.DuplicateId
    capped = stage.list(channel_caps={"web": 4})
    refused = market.subscribe(series=capped, account=stage.ann, qty=5, channel="web").refused
    assert (refused.code, refused.found, refused.allowed) == (Refusal.ChannelCapExceeded, 5, 4)


def test_a_voucher_lives_from_lock_to_upload(stage):
    market = stage.market
    market.register_terminal("till", merchant=stage.shop)
    market.register_terminal("van", merchant=stage.shop)
    locked = market.lock_voucher(series=stage.coffee, account=stage.ann, qty=6, ttl="1d", grace="1h", terminals=["till", 2])
    assert (locked.exposure, locked.value, locked.lapse_ns - locked.redeem_end_ns) == (600, 100, DAY_NS // 24)
    assert market.voucher(locked.voucher_id).state == "live"
    done = market.upload_voucher(voucher=locked.voucher_id, terminal="van", redeemed="2026-01-01T06:00")
    assert (done.qty, done.goods) == (6, 600)
    assert market.voucher(locked.voucher_id).state == "redeemed"
    assert market.voucher(99) is None
    wrong = {"series": stage.coffee, "account": stage.ann, "qty": 1, "ttl": "1d"}
    for terminals in ([], [1, 1], ["nowhere"], [0], [65], [3]):
        assert market.lock_voucher(**wrong, terminals=terminals).refused.code == Refusal.BadTerms


def test_a_voucher_can_name_the_sixty_fourth_terminal(stage):
    for number in range(64):
        assert stage.market.register_terminal(f"t{number}", merchant=stage.shop)
    assert stage.market.register_terminal("t64", merchant=stage.shop).refused.code == Refusal.CapacityExceeded
    locked = stage.market.lock_voucher(series=stage.coffee, account=stage.ann, qty=1, ttl="1d", terminals=list(range(1, 65)))
    assert locked.exposure == 100 * 63
    assert stage.market.upload_voucher(voucher=locked.voucher_id, terminal=64, redeemed=T0_NS)


# ── records ──────────────────────────────────────────────────────────────────────────────────────


def test_a_batch_equals_single_calls():
    one, two = Stage(), Stage()
    records = command_records(
        command(CommandKind.PLACE, series=1, account=account, side=side, qty=3, price=90)
        for account, side in ((one.ann, 2), (one.bob, 1), (one.bob, 1))
    )
    events = one.market.apply_batch(records)
    assert events.dtype == EVENT
    single = [event for record in records for event in two.market.apply(Command(*record.item()))]
    assert [row[2:-1] for row in events.tolist()] == [tuple(event) for event in single]
    assert one.market.state_hash() == two.market.state_hash()
    assert one.market.events[-1] == two.market.events[-1]


@pytest.mark.parametrize("rows", [0, 7, 8, 60])
def test_a_batch_writes_to_the_memory_that_it_is_given_as_long_as_its_events_fit(rows):
    one, two = Stage(), Stage(keep_events=False)
    records = command_records([command(CommandKind.PLACE, series=1, account=one.ann, side=2, qty=3, price=90)] * 12)
    out = np.zeros(rows, EVENT)
    events = two.market.apply_batch(records, out=out)
    assert events.tobytes() == one.market.apply_batch(records).tobytes()
    assert np.shares_memory(events, out) == (rows == 60)
    for bad in (np.zeros(8), np.zeros((2, 8), EVENT), np.zeros(80, EVENT)[::2], "out"):
        with pytest.raises(MisuseError, match="out was"):
            two.market.apply_batch(records, out=bad)
    assert one.market.state_hash() == two.market.state_hash()


def test_an_exchange_is_not_copied():
    for engine in ("compiled", "reference"):
        for way in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(MisuseError, match="copied or pickled"):
                way(Exchange(engine=engine))


def test_a_refusal_that_is_raised_brings_what_fell_due_before_it():
    stage = Stage(raise_on_refusal=True, keep_events=False)
    market = stage.market
    market.place(series=stage.coffee, account=stage.ann, side="sell", price=90, qty=2, deadline="2026-02-01")
    with pytest.raises(RefusedError) as raised:
        market.place(series=stage.coffee, account=stage.bob, side="buy", price=999, qty=1, time_ns="2026-03-01")
    assert [EventKind(event.kind).name for event in raised.value.events] == ["CANCELLED", "REFUSED"]
    assert market.take_unread()[0] == 0


def test_events_are_rows_or_objects(stage):
    records = stage.market.event_records
    assert records.dtype == EVENT
    assert records["event_seq"].tolist() == [event.event_seq for event in stage.market.events]
    assert len(Stage(keep_events=False).market.event_records) == 0


def test_cold_or_unknown_kinds_in_a_batch_are_misuse_before_the_first_write(stage):
    before = stage.market.state_hash()
    good = command(CommandKind.DEPOSIT, account=stage.ann, amount=1)
    cold, payload = cold_command(CommandKind.REGISTER_MERCHANT, {"name": "x", "ref": 0})
    for bad in (cold, Command(kind=200)):
        with pytest.raises(MisuseError, match="command 1"):
            stage.market.apply_batch(command_records([good, bad]))
    with pytest.raises(MisuseError, match="kind was 200"):
        stage.market.apply(Command(kind=200))
    with pytest.raises(CorruptionError):
        stage.market.apply(cold, payload + b"x")
    assert stage.market.state_hash() == before
    assert stage.market.apply(cold, payload)[0].kind == EventKind.MERCHANT_REGISTERED
    assert len(stage.market.apply_batch(np.zeros(0, COMMAND))) == 0


def test_two_markets_with_the_same_commands_have_one_hash():
    assert Stage().market.state_hash() == Stage().market.state_hash()
    other = Stage()
    other.market.deposit(account=other.ann, amount=1)
    assert other.market.state_hash() != Stage().market.state_hash()


def test_an_audit_can_fail(stage):
    stage.market.check()
    if hasattr(stage.market._twin, "_market"):
        stage.market._twin._market.accounts[stage.ann].cash_free += 1
    else:
        stage.market._twin._memory.arrays[14]["cash_free"][stage.ann] += 1
    with pytest.raises(AuditError, match=r"cash is not conserved \(R36\)"):
        stage.market.check()


# ── looking ──────────────────────────────────────────────────────────────────────────────────────


def test_views_show_themselves_in_terminals_and_notebooks(stage):
    market = stage.market
    market.place(series=stage.coffee, account=stage.ann, side="sell", price=90, qty=20)
    market.place(series=stage.coffee, account=stage.bob, side="buy", price=90, qty=5)
    market.place(series=stage.coffee, account=stage.bob, side="buy", price=70, qty=5)
    views = {
        "ladder": market.depth(stage.coffee),
        "card": market.card(stage.ann, stage.shop),
        "statement": market.statement(stage.ann),
        "report": market.report(series=stage.coffee),
        "account": market.account(stage.ann),
        "series": market.series(stage.coffee),
        "product": market.product(stage.shop, "coffee"),
    }
    for name, view in views.items():
        assert max(map(len, str(view).splitlines())) <= 80, name
        assert repr(view) == str(view)
        page = view._repr_html_()
        assert page.startswith("<table>")
        assert page.count("<tr>") == page.count("</tr>") > 1, name
    assert str(views["ladder"]).splitlines() == [
        "coffee, series 1, value 100",
        "bid  price  ask  orders",
        "───  ─────  ───  ──────",
        "        90   15       1",
        "  5     70            1",
    ]


def test_a_card_shows_cost_and_profit(stage):
    market = stage.market
    assert market.card(stage.ann, stage.shop).rows[0][3:] == (50, 5_000, None, 4_000, None)
    market.place(series=stage.coffee, account=stage.ann, side="sell", price=90, qty=20)
    market.place(series=stage.coffee, account=stage.bob, side="buy", price=90, qty=5)
    assert market.card(stage.ann, stage.shop).rows[0][3:] == (45, 4_500, 4_050, 3_600, 450)
    assert market.card(stage.bob, stage.shop).rows[0][3:] == (5, 500, 450, 450, 0)
    lots_not_kept = stage.list(clawback=False)
    market.subscribe(series=lots_not_kept, account=stage.ann, qty=1)
    assert market.card(stage.ann, stage.shop).rows[1].cost is None
    other = market.register_merchant("Other")
    assert market.card(stage.ann, other).rows == []


def test_a_product_shows_its_expiries_side_by_side(stage):
    market = stage.market
    early = stage.list(expire="2026-03-01", schedule=schedule.linear(steps=2, every="30d"))
    market.place(series=stage.coffee, account=stage.ann, side="sell", price=90, qty=2)
    table = market.product(stage.shop, "coffee")
    assert [row[0] for row in table.rows] == [early, stage.coffee]
    assert table.rows[1][5:7] == (90, 1_000)


def test_names_in_a_notebook_are_escaped(stage):
    series = stage.market.list_series(
        merchant=stage.shop, product="<b>tea</b>", par=1, issue_price=1, authorised=1, expire="2026-06-30", policy="forfeit"
    )
    assert "<b>tea" not in stage.market.series(series)._repr_html_()


def test_the_auction_can_be_looked_at(stage):
    market = stage.market
    series = stage.list(open_at="2026-02-01")
    market.subscribe(series=series, account=stage.ann, qty=10)
    market.place(series=series, account=stage.ann, side="sell", price=85, qty=4)
    market.place(series=series, account=stage.bob, side="buy", price=90, qty=6)
    assert market.series(series).phase == "auction"
    assert [tuple(row) for row in market.auction(series)] == [(80, 0, 6), (85, 4, 2), (90, 4, 2)]
    assert market.auction(stage.coffee) == []
    assert [order.account for order in market.orders(series=series)] == [stage.ann, stage.bob]
    assert [order.side for order in market.orders(account=stage.bob)] == ["buy"]
    assert [order.price for order in market.queue(series, "buy")] == [90]


def test_phases_have_words(stage):
    market = stage.market
    market.halt(series=stage.coffee)
    assert market.series(stage.coffee).phase == "halted"
    market.resume(series=stage.coffee)
    closed = stage.list(last_trade="2026-02-01")
    market.advance(to="2026-02-01")
    assert market.series(closed).phase == "closed"
    market.default(merchant=stage.shop)
    assert market.series(closed).phase == "defaulted"
    assert "defaulted" in str(market.account(stage.shop))


def test_an_imported_member_is_found_by_its_number(stage):
    market = stage.market
    result = market.import_members(series=stage.coffee, rows=[(7, 250), (8, 90)])
    assert [(row.member, row.units, row.dust) for row in result.rows] == [(7, 2, 50), (8, 0, 90)]
    assert market.member(stage.shop, 7) == result.rows[0].account
    assert market.member(stage.shop, 9) is None
    with pytest.raises(MisuseError):
        market.import_members(series=stage.coffee, rows=[(7, 2.5)])


def test_claims_and_debts_are_shown(stage):
    market = stage.market
    market.default(merchant=stage.shop)
    assert "claim on series 1" in str(market.account(stage.ann))
    market.chargeback(account=stage.bob, amount=100_01)
    assert market.account(stage.bob).debt == 1
    assert "debt" in str(market.account(stage.bob))
