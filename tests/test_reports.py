"""Statements and reports, drawn from events alone: opening + movements = closing (R47)."""

from __future__ import annotations

import pytest

from market_flow import Flow, Judged
from rightsx import Exchange, schedule
from rightsx.protocol import DAY_NS, T0_NS
from rightsx.reports import MOVED, report, statement

FACE_OUT = ("redeemed", "decayed", "expired", "refunded", "bought back", "defaulted")


@pytest.fixture(scope="module")
def busy():
    """Events and series of a random market, with its span."""
    judged, events = Judged(), []
    flow = Flow(11, judged.market)
    for made, payload in flow.opening():
        events += judged.apply(made, payload, thorough=False)
    for _ in range(8_000):
        made, payload = flow.next()
        events += judged.apply(made, payload, thorough=False)
    return judged, events


def cuts(judged):
    end = judged.market.clock_ns
    return [(0, 2**62), (T0_NS, T0_NS + (end - T0_NS) // 3), (T0_NS + (end - T0_NS) // 3, end), (end + 1, 2**62), (0, 1)]


def test_a_report_opens_moves_and_closes(busy):
    judged, events = busy
    for start, end in cuts(judged):
        one = report(events, lambda _number, _book: True, "all", start, end)
        assert tuple(one.moved) == MOVED
        face = one.opening["face owed"] + one.moved["issued face"] - sum(one.moved[name] for name in FACE_OUT)
        assert face == one.closing["face owed"]
        assert one.opening["escrow"] + one.moved["escrow in"] - one.moved["escrow out"] == one.closing["escrow"]
        sold = sum(one.moved[name] for name in ("sold units", "granted units", "imported units"))
        assert sum(one.sold_by_channel.values()) == sold
        assert sum(one.redeemed_by_store.values()) == one.moved["redeemed"]


def test_reports_of_parts_of_a_span_add_up_to_the_whole(busy):
    judged, events = busy
    middle = T0_NS + (judged.market.clock_ns - T0_NS) // 2
    parts = [report(events, lambda *_: True, "", start, end) for start, end in ((0, middle), (middle, 2**62))]
    whole = report(events, lambda *_: True, "", 0, 2**62)
    assert parts[0].closing == parts[1].opening
    assert {name: parts[0].moved[name] + parts[1].moved[name] for name in MOVED} == whole.moved


def test_a_report_has_the_sums_of_the_face_ledger(busy):
    judged, events = busy
    for series in judged.market.series:
        one = report(events, lambda number, _, wanted=series.id: number == wanted, "", 0, 2**62)
        sums = (series.redeemed, series.decayed, series.expired_face, series.refunded, series.bought_back, series.defaulted_face)
        assert tuple(one.moved[name] for name in FACE_OUT) == sums
        assert one.moved["gross"] == series.gross
        assert one.closing["units"] == series.units


def test_a_statement_opens_moves_and_closes_with_the_engines_balance(busy):
    judged, events = busy
    for account in judged.market.accounts:
        for start, end in cuts(judged):
            one = statement(events, account.id, start, end)
            assert one.opening_cash + sum(entry.cash for entry in one.entries) == one.closing_cash
            units = dict(one.opening_units)
            for entry in one.entries:
                units[entry.series] = units.get(entry.series, 0) + entry.units
            assert {series: qty for series, qty in units.items() if qty} == one.closing_units
            assert all(start <= entry.time_ns < end for entry in one.entries)
        assert statement(events, account.id, 0, 2**62).closing_cash == account.cash_free + account.cash_locked


def market_with_names():
    market = Exchange()
    shop = market.register_merchant("Cafe", time_ns=T0_NS)
    market.register_store("Altona", merchant=shop)
    ann = market.open_account()
    market.deposit(account=ann, amount=100_000)
    terms = {"par": 100, "issue_price": 80, "authorised": 100, "expire": "2026-03-01", "policy": "forfeit"}
    coffee = market.list_series(merchant=shop, product="coffee", **terms, stores=["Altona"], schedule=schedule.cliff())
    tea = market.list_series(merchant=shop, product="tea", **terms)
    market.subscribe(series=coffee, account=ann, qty=10, channel="the web")
    market.subscribe(series=tea, account=ann, qty=4)
    market.advance(to=T0_NS + DAY_NS)
    market.redeem(series=coffee, account=ann, qty=3, store="Altona")
    market.redeem(series=tea, account=ann, qty=1)
    return market, shop, ann, coffee


def test_a_report_names_channels_and_stores():
    market, shop, _, coffee = market_with_names()
    one = market.report(series=coffee)
    assert one.sold_by_channel == {"the web": 10}
    assert one.redeemed_by_store == {"Altona": 300}
    everything = market.report(merchant=shop)
    assert everything.sold_by_channel == {"the web": 10, "none": 4}
    assert everything.redeemed_by_store == {"Altona": 300, "no store": 100}
    assert market.report(merchant=shop, product="tea").moved["redeemed"] == 100


def test_a_span_is_half_open():
    market, shop, ann, _ = market_with_names()
    assert market.report(merchant=shop, end=T0_NS + DAY_NS).moved["redeemed"] == 0
    assert market.report(merchant=shop, start=T0_NS + DAY_NS).moved["redeemed"] == 400
    assert [entry.what for entry in market.statement(ann, start="2026-01-02").entries] == ["redemption", "redemption"]
    assert market.statement(ann, end="2026-01-02").entries[0].what == "deposit"
    assert market.statement(ann, start="2027-01-01").opening_units == {1: 7, 2: 3}
