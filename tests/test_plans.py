"""Plans as people use them: defaults, wrong words, what is shown, and answers to commands before which a plan was due."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest

from rightsx import Exchange, schedule
from rightsx.errors import MisuseError
from rightsx.protocol import DAY_NS, T0_NS, CommandKind, EventKind, Refusal, command_records
from rightsx.vocabulary import command
from rightsx.wording import describe

T = T0_NS + 30 * DAY_NS


@pytest.fixture(params=["compiled", "reference"])
def market(request):
    """Series 1 lives thirty days; account 2 has twenty of its units, 3 has cash."""
    made = Exchange(engine=request.param)
    shop, ann, bob = made.register_merchant("Cafe", time_ns=T0_NS), made.open_account(), made.open_account()
    made.list_series(merchant=shop, product="tea", par=100, issue_price=50, authorised=900, expire=T, policy="forfeit")
    made.register_terminal("till", merchant=shop)
    for account in (ann, bob):
        made.deposit(account=account, amount=5_000)
    made.subscribe(series=1, account=2, qty=20)
    return made


def offered(market):
    return market.holding(2, 1).offered_qty


@pytest.mark.parametrize(
    ("given", "falls"),
    [
        ({"before_expiry": "7d", "last_price": 60}, 6),
        ({"before_expiry": "7d"}, 6),
        ({"before_expiry": "1d", "last_price": 60}, 1),
        ({"before_expiry": "1h", "last_price": 60}, 1),
        ({"before_expiry": "1h"}, 0),
        ({"start": "2026-01-02", "last_price": 1}, 28),
        ({"start": T0_NS + 1, "last_price": 1, "falls": 3}, 3),
    ],
)
def test_the_price_falls_once_a_day_unless_something_else_is_said(market, given, falls):
    assert market.plan_sale(series=1, account=2, price=90, **given)
    assert market.plan(series=1, account=2).falls == falls


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"before_expiry": "30d"}, Refusal.BadTime),
        ({"before_expiry": "9999d"}, Refusal.BadTime),
        ({"start": 0}, Refusal.BadTime),
        ({"start": T}, Refusal.BadTime),
        ({"before_expiry": 0}, Refusal.BadTime),
        ({"start": T - 1, "keep": -1}, Refusal.BadQuantity),
        ({"start": T - 1, "last_price": 91}, Refusal.BadTerms),
        ({"start": T - 1, "series": 7}, Refusal.UnknownSeries),
        ({"before_expiry": "1d", "series": 7}, Refusal.UnknownSeries),
        ({"start": T - 1, "account": 7}, Refusal.UnknownAccount),
        ({"start": T - 1, "account": 1}, Refusal.MerchantCannotResell),
    ],
)
def test_what_is_no_plan_is_refused(market, given, code):
    made = market.plan_sale(**{"series": 1, "account": 2, "price": 90, **given})
    assert made.refused.code == code
    assert market.plans() == []
    assert [event.kind for event in made.events] == [EventKind.REFUSED]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"start": T - 1, "before_expiry": "1d"},
        {"start": T - 1, "price": 90.0},
        {"start": "next week"},
        {"before_expiry": "soon"},
        {"start": T - 1, "keep": True},
        {"start": T - 1, "falls": 1.5},
    ],
)
def test_a_wrong_word_is_a_misuse(market, given):
    with pytest.raises(MisuseError):
        market.plan_sale(**{"series": 1, "account": 2, "price": 90, **given})
    assert market.command_seq == 8, "nothing was sent"


@pytest.mark.parametrize(("start", "allowed"), [(T0_NS, T0_NS + 1), (T, T - 1)])
def test_the_nearest_good_start_is_told(market, start, allowed):
    refused = market.plan_sale(series=1, account=2, price=90, start=start).refused
    assert (refused.field, refused.found, refused.allowed) == ("start_ns", start, allowed)
    assert str(refused) == f"BadTime: start_ns was {start:,}; {allowed:,} is allowed"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"last_price": 91}, "BadTerms: last_price was 91; 90 is allowed"),
        ({"last_price": 60, "falls": 0}, "BadTerms: falls was 0; 1 is allowed"),
        ({"falls": 5_000}, "BadTerms: falls was 5,000; 4,096 is allowed"),
        ({"falls": -1}, "BadTerms: falls was -1; 0 is allowed"),
        ({"keep": -1}, "BadQuantity: keep was -1; 0 is allowed"),
        ({"price": 0}, "BadPrice: price was 0; 1 is allowed"),
    ],
)
def test_what_is_allowed_is_told(market, given, told):
    assert str(market.plan_sale(**{"series": 1, "account": 2, "price": 90, "start": T - 1, **given}).refused) == told


def test_plans_are_listed_by_series_and_account(market):
    market.list_series(merchant=1, product="tea", par=100, issue_price=50, authorised=9, expire=T + DAY_NS, policy="forfeit")
    for series, account in ((2, 3), (1, 3), (2, 2)):
        market.plan_sale(series=series, account=account, price=70 + series, start=T0_NS + DAY_NS, keep=account)
    assert [(one.series, one.account, one.price, one.keep) for one in market.plans()] == [
        (1, 3, 71, 3),
        (2, 2, 72, 2),
        (2, 3, 72, 3),
    ]
    assert [one.series for one in market.plans(account=3)] == [1, 2]
    assert [one.account for one in market.plans(series=2)] == [2, 3]
    assert market.plans(account=2, series=1) == []
    assert market.plans(series=9) == []
    assert market.plan(series=1, account=2) is None
    assert market.plan(series=-1, account=2) is None
    assert market.plan(series=2, account=3).due_ns == T0_NS + DAY_NS
    with pytest.raises(MisuseError):
        market.plans(account="ann")


def test_a_plans_order_says_so(market):
    market.place(series=1, account=2, side="sell", qty=1, price=99)
    market.plan_sale(series=1, account=2, price=90, before_expiry="7d")
    market.advance(to=T - 7 * DAY_NS)
    assert [one.planned for one in market.orders()] == [False, True]
    assert market.plan(series=1, account=2).order_id == market.orders()[1].order_id


# ── the rule once more, by trying every number ───────────────────────────────────────────────────


def brute_qty(most, there, lot, least, largest):
    """Give the largest size up to `most`; but what is there stays where that is more and may stay."""
    sizes = [qty for qty in range(1, most + 1) if qty % lot == 0 and least <= qty <= (largest or most)]
    size = max(sizes, default=0)
    return there if there <= most and there >= size else size


def brute_limit(asked, last_price, tick, view):
    """Give the least price on the tick from what is asked, or else the highest that cap and band allow, or the last one."""
    allowed = [price for price in range(tick, 400, tick) if price <= min(view.cap, view.band[1] if view.band else 400)]
    fitting = [price for price in allowed if price >= asked]
    return max(last_price, min(fitting, default=max(allowed, default=0)))


def market_with_a_plan(chance):
    """Give a market of any sizes, band, cap and steps in which account 2 plans anything, and the times at which that is due."""
    market = Exchange(engine=chance.choice(["compiled", "reference"]))
    for make in (lambda: market.register_merchant("M", time_ns=T0_NS), market.open_account, market.open_account):
        make()
    life = chance.choice((40, 5_000))
    end, times = T0_NS + life, sorted(chance.sample(range(2, life - 1), 2))
    steps = schedule.stepwise([(T0_NS + times[0], 91), (T0_NS + times[1], 70)]) if chance.random() < 0.6 else None
    band = {"band_bps": 1_000, "reference_price": 80} if chance.random() < 0.5 else {}
    sizes = {"lot": chance.choice((1, 4)), "min_qty": chance.choice((0, 8)), "max_qty": chance.choice((0, 12))}
    tick, cap = chance.choice((1, 3, 7)), chance.choice((10_000, 9_100))
    assert market.list_series(
        merchant=1, product="p", par=100, issue_price=40, authorised=900, expire=end + 9, last_trade=end, policy="forfeit",
        schedule=steps, tick=tick, cap_bps=cap, **sizes, **band,
    )  # fmt: skip
    for account in (2, 3):
        market.deposit(account=account, amount=10**6)
    market.subscribe(series=1, account=2, qty=chance.choice((17, 40, 90)))
    price = tick * chance.randint(50 // tick, 105 // tick)
    plan = {"price": price, "last_price": tick * chance.randint(1, price // tick), "keep": chance.choice((0, 2, 9))}
    falls, start = chance.choice((1, 2, 9)), chance.randint(T0_NS + 1, end - 15)
    assert market.plan_sale(series=1, account=2, start=start, falls=falls, **plan)
    return market, [start + (end - start) * time // (falls + 1) for time in range(falls + 1)]


def test_a_plan_asks_what_trying_every_number_finds():
    seen = set()
    for seed in range(60):
        chance = Random(seed)
        market, dues = market_with_a_plan(chance)
        for time, due in enumerate(dues):
            moved = market.advance(to=max(due - 1, market.clock_ns))
            seen |= {event.kind for event in moved.events if event.kind == EventKind.REPRICED}
            held = market.holding(2, 1)
            if chance.random() < 0.4:
                market.redeem(series=1, account=2, qty=chance.randint(1, max(1, held.free_qty + held.offered_qty)))
            if chance.random() < 0.3:
                market.subscribe(series=1, account=2, qty=chance.randint(1, 9))
            if chance.random() < 0.3:
                most = market.series(1).cap // market.series(1).terms.tick * market.series(1).terms.tick
                market.place(series=1, account=3, side="buy", qty=12, price=most, time_in_force="ioc")
            seen |= step_by_hand(market, time, due)
    assert seen == {"asked", "cap", "band", "last price", "nothing", "stays", "size", EventKind.REPRICED} | {
        Refusal.PriceAboveCap,
        Refusal.OutsidePriceBand,
    }


def step_by_hand(market, time, due):
    """Let a plan be due, hold it to what every number says, and tell what decided."""
    held, plan = market.holding(2, 1), market.plan(series=1, account=2)
    stands = market.order(plan.order_id or 0)
    made = market.advance(to=due)
    if EventKind.DECAYED in {event.kind for event in made.events}:
        return set()  # What stood there before the value fell is not known.
    view = market.series(1)
    terms, (low, high) = view.terms, view.band or (1, 2**31)
    (step,) = [event for event in made.events if event.kind == EventKind.PLAN_STEPPED]
    most = max(0, held.free_qty + held.offered_qty - plan.keep)
    size = brute_qty(most, 0, terms.lot, terms.min_qty, terms.max_qty)
    assert step.qty == brute_qty(most, held.offered_qty, terms.lot, terms.min_qty, terms.max_qty)
    asked = Fraction(plan.price) - Fraction((plan.price - plan.last_price) * time // plan.falls)
    assert step.price == brute_limit(asked, plan.last_price, terms.tick, view)
    wrong = Refusal.PriceAboveCap if step.price > view.cap else None if low <= step.price <= high else Refusal.OutsidePriceBand
    changes = stands is None or step.qty > stands.open_qty or step.price != stands.price
    assert step.code == (wrong if wrong and step.qty and changes else 0)
    if not step.code:
        assert market.holding(2, 1).offered_qty == step.qty
    told = {Refusal(step.code)} if step.code else set()
    if step.price >= asked:
        return told | {"asked", "size" if step.qty == size and size else "stays" if step.qty else "nothing"}
    return told | {"last price" if step.price > min(view.cap, high) else "band" if step.price == high else "cap"}


# ── answers to commands before which a plan was due ──────────────────────────────────────────────


def test_an_order_is_not_taken_for_the_one_that_a_plan_placed_before_it(market):
    market.plan_sale(series=1, account=2, price=90, before_expiry="7d", last_price=60)
    made = market.place(series=1, account=3, side="buy", qty=5, price=95, time_ns=T - 7 * DAY_NS)
    assert [event.kind for event in made.events][:2] == [EventKind.PLAN_STEPPED, EventKind.ACCEPTED]
    assert (made.order_id, made.filled_qty, made.leaves_qty) == (2, 5, 0)
    refused = market.place(series=1, account=3, side="buy", qty=5, price=101, time_ns=T - 6 * DAY_NS)
    assert EventKind.AMENDED in [event.kind for event in refused.events]
    assert refused.refused.code == Refusal.PriceAboveCap
    assert (refused.order_id, refused.fills, refused.leaves_qty, refused.cancelled) == (0, (), 0, None)
    mine = market.amend(account=2, order_id=1, qty=3, time_ns=T - 5 * DAY_NS)
    assert (mine.order_id, mine.leaves_qty) == (1, 3)


@pytest.mark.parametrize("halted", [False, True])
def test_an_order_is_known_behind_a_plan_that_does_nothing(market, halted):
    """What stands before it, PLAN_STEPPED without an order or with a code, has no order of the plan's behind it."""
    market.list_series(merchant=1, product="coffee", par=100, issue_price=50, authorised=9, expire=T, policy="forfeit")
    market.plan_sale(series=1, account=2 if halted else 3, price=90, before_expiry="7d", last_price=60)
    if halted:
        market.halt(series=1)
    bid = {"series": 2, "account": 3, "side": "buy", "qty": 5, "price": 60, "ref": 9, "time_ns": T - 7 * DAY_NS}
    for made in (market.place(**bid), market.place(**bid)):
        assert [event.kind for event in made.events][:2] == [EventKind.PLAN_STEPPED, EventKind.ACCEPTED]
        assert (made.order_id, made.filled_qty, made.leaves_qty, made.cancelled) == (1, 0, 5, None)
    amended = market.amend(account=3, order_id=1, qty=7, time_ns=T - 6 * DAY_NS)
    assert [event.kind for event in amended.events][:2] == [EventKind.PLAN_STEPPED, EventKind.AMENDED]
    assert (amended.filled_qty, amended.leaves_qty) == (0, 7)


def test_a_basket_counts_its_own_trades_alone(market):
    market.place(series=1, account=3, side="buy", qty=2, price=95)
    market.plan_sale(series=1, account=2, price=90, before_expiry="7d")
    bought = market.buy_product(merchant=1, product="tea", account=3, qty=4, time_ns=T - 7 * DAY_NS)
    assert [(fill.price, fill.qty) for fill in bought.fills] == [(90, 4)], "not the two that the plan sold at 95"
    assert market.pay_bill(merchant=1, product="tea", account=3, amount=1, time_ns=T - 6 * DAY_NS).fills == ()


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_a_repeat_is_answered_as_the_first_time_whatever_a_plan_did_in_between(engine, keeps):
    market = Exchange(engine=engine, keep_events=keeps)
    shop, ann, bob = market.register_merchant("Cafe", time_ns=T0_NS), market.open_account(), market.open_account()
    market.list_series(merchant=shop, product="tea", par=100, issue_price=50, authorised=900, expire=T, policy="forfeit")
    market.register_terminal("till", merchant=shop)
    market.deposit(account=ann, amount=5_000)
    market.deposit(account=bob, amount=5_000)
    market.subscribe(series=1, account=ann, qty=20)
    market.plan_sale(series=1, account=ann, price=90, before_expiry="7d", last_price=60, falls=6)
    first = market.place(series=1, account=bob, side="buy", qty=5, price=95, ref=7, time_ns=T - 7 * DAY_NS)
    again = market.place(series=1, account=bob, side="buy", qty=5, price=95, ref=7, time_ns=T - 6 * DAY_NS)
    assert again.duplicate
    assert (again.order_id, again.filled_qty) == (first.order_id, first.filled_qty) == (2, 5)
    assert again.fills == (first.fills if keeps else ())
    lock = {"series": 1, "account": ann, "qty": 3, "ttl": "1h", "terminals": [1], "ref": 8}
    voucher = market.lock_voucher(**lock, time_ns=T - 6 * DAY_NS)
    assert EventKind.AMENDED in [event.kind for event in voucher.events], "taken back from the plan's order"
    repeated = market.lock_voucher(**lock, time_ns=T - 5 * DAY_NS)
    assert (repeated.duplicate, repeated.voucher_id) == (True, voucher.voucher_id)
    assert voucher.voucher_id


def test_what_is_told_of_a_plan_can_be_read(market):
    market.plan_sale(series=1, account=2, price=90, before_expiry="7d")
    market.halt(series=1)
    told = [describe(event) for event in market.advance(to=T - 7 * DAY_NS).events]
    assert told[0] == "the plan of account 2 in series 1 changes nothing this time: SeriesHalted"
    market.resume(series=1)
    told = [describe(event) for event in market.advance(to=T - 6 * DAY_NS).events]
    assert told[0] == "the plan of account 2 in series 1 offers 20 at 90 as order 1"
    told = [describe(event) for event in market.redeem(series=1, account=2, qty=20).events]
    assert told[0] == "order 1 of account 2 cancelled with 20 open: USER"
    told = [describe(event) for event in market.advance(to=T - 5 * DAY_NS).events]
    assert told[0] == "the plan of account 2 in series 1 has nothing to offer"
    market.subscribe(series=1, account=2, qty=20)
    market.advance(to=T - 4 * DAY_NS)
    (ended, cancelled) = market.end_plan(series=1, account=2).events
    assert describe(ended) == "account 2 has no plan in series 1"
    assert cancelled.kind == EventKind.CANCELLED


# ── plans are kept ───────────────────────────────────────────────────────────────────────────────


def test_a_plan_outlives_a_restart_with_and_without_a_snapshot(tmp_path):
    for snapshot in (False, True):
        folder = tmp_path / str(snapshot)
        with Exchange.open(folder) as market:
            shop, ann = market.register_merchant("Cafe", time_ns=T0_NS), market.open_account()
            market.list_series(merchant=shop, product="tea", par=100, issue_price=50, authorised=900, expire=T, policy="forfeit")
            market.deposit(account=ann, amount=5_000)
            market.subscribe(series=1, account=ann, qty=20)
            market.plan_sale(series=1, account=ann, price=90, last_price=60, before_expiry="7d")
            market.advance(to=T - 7 * DAY_NS)
            if snapshot:
                market.snapshot()
            before, plan = market.state_hash(), market.plans()
        with Exchange.open(folder) as market:
            assert market.state_hash() == before
            assert market.plans() == plan
            market.advance(to=T - 6 * DAY_NS)
            assert market.order(1).price == 85
            assert offered(market) == 20


def test_many_plans_make_room_for_themselves():
    """Tables begin small; every account plans, and all of them are due at one time."""
    market = Exchange()
    shop = market.register_merchant("Cafe", time_ns=T0_NS)
    market.list_series(merchant=shop, product="tea", par=100, issue_price=50, authorised=9_000, expire=T, policy="forfeit")
    people = range(2, 3_002)
    planned = {"series": 1, "start_ns": T - 7 * DAY_NS, "price": 90, "last_price": 60, "falls": 3}
    rows = [command(CommandKind.OPEN_ACCOUNT) for _ in people]
    for account in people:
        rows.append(command(CommandKind.DEPOSIT, account=account, amount=100))
        rows.append(command(CommandKind.SUBSCRIBE, series=1, account=account, qty=2))
        rows.append(command(CommandKind.PLAN_SALE, account=account, **planned))
    assert EventKind.REFUSED not in market.apply_batch(command_records(rows))["kind"]
    market.advance(to=T - DAY_NS)
    market.check()
    assert len(market.orders()) == len(market.plans()) == len(people)
    assert market.depth(1).asks[0].price == 60
    assert [one.account for one in market.queue(1, "sell")] == [*people], "in the order of their plans"
    market.advance(to=T)
    assert market.plans() == []
    market.check()
