"""The short way of plain orders: straight to the kernel, and the same as every other way."""

from __future__ import annotations

import random
from enum import IntEnum

import numpy as np
import pytest

from rightsx import Exchange, MisuseError
from rightsx.dispatch import Dispatcher
from rightsx.engine.twin import CompiledExchange
from rightsx.protocol import AT_ENGINE_CLOCK, CALLER_ID_FIRST, CommandKind, Limits, Side, TimeInForce, Venue, events_in
from rightsx.reference.twin import ReferenceExchange
from rightsx.vocabulary import cold_command, command

PLACE = int(CommandKind.PLACE) + (int(TimeInForce.GTC) << 16)
BUY, SELL = PLACE + (int(Side.BUY) << 8), PLACE + (int(Side.SELL) << 8)
CANCEL, AMEND = int(CommandKind.CANCEL), int(CommandKind.AMEND)


class Number(IntEnum):
    ONE = 1


def opened(engine):
    """A merchant's series, and two accounts (2 and 3) with cash, the first with units."""
    engine.apply(*cold_command(CommandKind.REGISTER_MERCHANT, {"name": "Nord", "ref": 0}, time_ns=10**18))
    terms = {1: 100, 2: 80, 3: 10_000, 4: 2 * 10**18, 6: 1, 15: 10, 16: 30}
    listing = {"product": "coffee", "terms": terms, "steps": [], "stores": [], "channel_caps": {}, "ref": 0}
    engine.apply(*cold_command(CommandKind.LIST_SERIES, listing, account=1))
    for _ in range(2):
        engine.apply(command(CommandKind.OPEN_ACCOUNT))
    for account in (2, 3):
        engine.apply(command(CommandKind.DEPOSIT, account=account, amount=10**9))
    engine.apply(command(CommandKind.SUBSCRIBE, series=1, account=2, qty=5_000))
    return engine


def sent(engine, bits, series=0, account=0, order_id=0, price=0, qty=0, ref=0, time_ns=AT_ENGINE_CLOCK):
    """Send a command the short way; its events, or None if it cannot go it."""
    way = engine.short_way()
    numbers = (bits, series, account, order_id, price, qty, ref, time_ns)
    answer = way.call(way.state, way.code, *numbers)
    if answer < 0:
        return None
    return events_in(bytes(way.raw[: answer // 4 * 120]) if not answer & 3 else way.finish(answer & 3, numbers))


def drawn(source, orders):
    """Draw a plain command about what may be there: what the short way takes, and the record that says the same."""
    account, kind = source.choice((2, 2, 3, 3, 1, 9)), source.choice((BUY, SELL, BUY, SELL, CANCEL, AMEND))
    order_id = source.choice(orders or [5])
    ref = source.choice((0, 0, 0, 7, 8, 2**63 - 1))
    price, qty = source.choice((80, 81, 82, 0, -1, 101)), source.choice((1, 5, 30, 0, -2, 2**40))
    if kind == CANCEL:
        return (CANCEL, 0, account, order_id, 0, 0, ref), command(CommandKind.CANCEL, account=account, order_id=order_id, ref=ref)
    if kind == AMEND:
        return (AMEND + (3 << 24), 0, account, order_id, price, qty, ref), command(
            CommandKind.AMEND, account=account, order_id=order_id, flags=3, price=price, qty=qty, ref=ref
        )
    order_id = source.choice((0, CALLER_ID_FIRST + source.randrange(99), 3))
    side = Side.BUY if kind == BUY else Side.SELL
    return (kind, 1, account, order_id, price, qty, ref), command(
        CommandKind.PLACE, series=1, account=account, side=side, price=price, qty=qty, order_id=order_id, ref=ref
    )


@pytest.mark.parametrize("rows", [8, None])
def test_it_tells_what_the_reference_tells(rows):
    venue = Venue(limits=Limits(orders=40))
    judge, subject = opened(ReferenceExchange(venue)), opened(CompiledExchange(venue, event_rows=rows, first_rows=8))
    source, orders = random.Random(5), []
    for number in range(1_500):
        numbers, record = drawn(source, orders)
        due = judge.apply(record)
        assert sent(subject, *numbers) == due, f"command {number}: {record}"
        orders = [*orders, *(event.order_id for event in due if event.kind == 1)][-30:]
        if number % 100 == 0:
            assert subject.state_hash() == judge.state_hash()
    assert subject.state_hash() == judge.state_hash()
    subject.check()


def test_numbers_that_fit_no_record_go_another_way():
    market = opened(CompiledExchange(Venue()))
    before = market.memory_hash()
    for wrong in ({"series": 2**32}, {"series": -1}, {"account": 2**32}, {"account": -1}, {"ref": -1}):
        assert sent(market, BUY, **{"series": 1, "account": 2, "price": 80, "qty": 1, **wrong}) is None
    for wrong in (1.0, True, None, "1", np.int64(1)):
        with pytest.raises(TypeError):
            sent(market, BUY, 1, 2, 0, wrong, 1)
    with pytest.raises(OverflowError):
        sent(market, BUY, 1, 2, 0, 2**63, 1)
    assert market.memory_hash() == before
    assert sent(market, SELL, Number.ONE, 2, 0, 80, 1), "a number with a name is a number"


def test_a_market_that_is_held_is_busy_and_finishes_first():
    market, other = opened(CompiledExchange(Venue())), opened(CompiledExchange(Venue()))
    market._memory.world["held"] = 1
    way = market.short_way()
    numbers = (SELL, 1, 2, 0, 80, 1, 0, AT_ENGINE_CLOCK)
    assert way.call(way.state, way.code, *numbers) == 3
    assert sent(market, *numbers) == sent(other, *numbers)
    assert market.memory_hash() == other.memory_hash()


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"time_in_force": "ioc"},
        {"time_in_force": "fok"},
        {"post_only": True},
        {"own_orders": "cancel_maker"},
        {"own_orders": "cancel_both", "time_in_force": "gtc"},
        {"order_id": CALLER_ID_FIRST + 1},
        {"ref": 2**64 - 1},
        {"qty": np.int64(3)},
        {"side": "BUY"},
        {"side": Side.BUY},
        {"time_in_force": TimeInForce.IOC},
        {"price": None},
        {"price": 2**70},
        {"account": -4},
        {"display": 1},
        {"deadline": "2026-02-01"},
        {"stop_price": 85},
        {"time_in_force": "gtd", "deadline": "2026-03-01"},
        {"time_ns": "2026-01-02"},
    ],
    ids=str,
)
def test_whatever_way_an_order_goes_it_ends_alike(how):
    ends = []
    for engine in ("compiled", "reference"):
        market = Exchange(engine=engine)
        shop = market.register_merchant("Nord", time_ns="2026-01-01")
        ann, bob = market.open_account(), market.open_account()
        for account in (ann, bob):
            market.deposit(account=account, amount=10_000)
        coffee = market.list_series(
            merchant=shop, product="coffee", par=100, issue_price=80, authorised=90, expire="2026-06-30", policy="forfeit"
        )
        market.subscribe(series=coffee, account=ann, qty=9)
        market.place(series=coffee, account=ann, side="sell", price=90, qty=2)
        result = market.place(**{"series": coffee, "account": bob, "side": "buy", "price": 91, "qty": 3, **how})
        ends.append((repr(result), result.events, market.events, market.state_hash()))
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"side": "up"},
        {"side": np.array(["buy"])},
        {"qty": 1.0},
        {"qty": True},
        {"post_only": 1},
        {"own_orders": "cancel"},
        {"time_in_force": "day"},
        {"time_in_force": "gtd", "post_only": None},
        {"display": 0.0},
        {"display": False},
        {"budget": 5},
        {"ref": -1},
        {"trigger": "sideways"},
        {"buyback": 0},
    ],
    ids=str,
)
def test_a_wrong_order_is_misuse_whatever_way_it_would_have_gone(wrong):
    market = Exchange()
    with pytest.raises(MisuseError):
        market.place(**{"series": 1, "account": 2, "side": "buy", "price": 91, "qty": 3, **wrong})
    assert market.events == ()


def test_most_orders_go_the_short_way(monkeypatch):
    def long_way(*_):
        raise AssertionError("the long way")

    market = Exchange(clock=lambda: 10**18)
    shop = market.register_merchant("Nord")
    ann = market.open_account()
    market.deposit(account=ann, amount=10_000)
    coffee = market.list_series(
        merchant=shop, product="coffee", par=100, issue_price=80, authorised=90, expire=2 * 10**18, policy="forfeit"
    )
    market.subscribe(series=coffee, account=ann, qty=9)
    monkeypatch.setattr(Dispatcher, "send", long_way)
    result = market.place(series=coffee, account=ann, side="sell", price=90, qty=2, post_only=True, ref=4)
    assert result.leaves_qty == 2
    assert market.place(series=coffee, account=ann, side="sell", price=90, qty=2, post_only=True, ref=4).duplicate
    assert market.amend(account=ann, order_id=result.order_id, qty=1, time_ns=10**18)
    assert market.cancel(account=ann, order_id=result.order_id)
    assert market.cancel(account=ann, order_id=result.order_id).refused.code.name == "OrderNotOpen"
