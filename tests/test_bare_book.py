"""The bare book: what no test of it said yet (R19, R38, R40)."""

from __future__ import annotations

import pytest

from rightsx import OrderBook
from rightsx.protocol import ReportKind, Side


@pytest.fixture
def book():
    return OrderBook()


def sell(to, order_id, price, qty, **more):
    return to.place(order_id=order_id, side="sell", price=price, qty=qty, **more)


def buy(to, order_id, price, qty, **more):
    return to.place(order_id=order_id, side="buy", price=price, qty=qty, **more)


@pytest.mark.parametrize("qty", [0, -1, 2**40])
def test_a_quantity_is_positive_and_below_2_to_the_40(book, qty):
    assert sell(book, 1, 100, qty).refused == "BadQuantity"
    sell(book, 1, 100, 5)
    assert book.amend(order_id=1, qty=qty).refused == "BadQuantity"
    assert book.amend(order_id=1, qty=2**40 - 1).refused is None
    assert sell(book, 2, 100, 2**40 - 1).refused is None


def test_an_iceberg_of_exactly_a_thousand_parts_is_allowed_and_one_more_is_not(book):
    """qty ≤ 1,000 × display, at entry and in an amend (R38, R40)."""
    assert sell(book, 1, 100, 2_001, display=2).refused == "BadQuantity"
    assert sell(book, 1, 100, 2_000, display=2).refused is None
    assert sell(book, 2, 100, 3, display=2).refused is None
    assert book.amend(order_id=2, qty=2_001).refused == "BadQuantity"
    assert book.amend(order_id=2, qty=2_000).refused is None


def test_fok_counts_the_last_part_of_an_iceberg_as_what_is_left(book):
    sell(book, 1, 100, 7, display=5)
    assert buy(book, 2, 100, 8, time_in_force="fok").refused == "FOKUnfillable"
    assert buy(book, 2, 100, 7, time_in_force="fok").filled_qty == 7


def test_an_amend_that_trades_all_finishes_the_order(book):
    sell(book, 1, 100, 5)
    buy(book, 2, 90, 5)
    assert book.amend(order_id=2, price=100).filled_qty == 5
    book.check()
    assert book.cancel(order_id=2).refused == "OrderNotOpen"
    assert buy(book, 2, 90, 1).refused is None  # the id is free again


def test_an_amend_that_meets_an_own_order_finishes_the_order(book):
    sell(book, 1, 100, 5, account=7)
    buy(book, 2, 90, 5, account=7)
    assert book.amend(order_id=2, price=100, account=7).cancelled == "SELF_TRADE"
    book.check()
    assert book.cancel(order_id=2, account=7).refused == "OrderNotOpen"


def test_an_amend_that_cancels_a_maker_and_trades_on_rests(book):
    """The last report is a cancellation, but of another order."""
    sell(book, 1, 100, 2, account=7)
    buy(book, 2, 90, 5, account=7, own_orders="cancel_maker")
    assert book.amend(order_id=2, price=100, account=7).cancelled is None
    book.check()
    assert book.queue(0, "buy") == [(2, 100, 5)]


def test_an_amend_to_the_same_quantity_and_price_keeps_the_place(book):
    sell(book, 1, 100, 5)
    sell(book, 2, 100, 5)
    for change in ({"qty": 5}, {"price": 100}, {"qty": 5, "price": 100}):
        made = book.amend(order_id=1, **change)
        assert made.refused is None
        assert made.reports[0].code == 0
    assert [order for order, _, _ in book.queue(0, "sell")] == [1, 2]
    assert book.amend(order_id=1, price=101, qty=4).reports[0].code == 1  # both named at once
    assert book.queue(0, "sell") == [(2, 100, 5), (1, 101, 4)]


def test_every_report_says_all_and_nothing_more(book):
    accepted = sell(book, 1, 100, 5, account=3).reports
    assert [(r.kind, r.order_id, r.other_order_id, r.price, r.qty, r.account, r.side, r.code) for r in accepted] == [
        (ReportKind.ACCEPTED, 1, 0, 100, 5, 3, Side.SELL, 0)
    ]
    traded = buy(book, 2, 101, 2, account=4).reports
    assert [(r.kind, r.order_id, r.other_order_id, r.price, r.qty, r.account, r.side, r.code) for r in traded] == [
        (ReportKind.ACCEPTED, 2, 0, 101, 2, 4, Side.BUY, 0),
        (ReportKind.FILL, 2, 1, 100, 2, 4, Side.BUY, 0),
    ]


@pytest.mark.parametrize("amends", [False, True])
def test_a_trade_then_an_own_maker_cancelled_leaves_the_rest(book, amends):
    """The last report is the maker's cancellation, the first trade's that of the order itself."""
    sell(book, 1, 100, 1, account=3)
    sell(book, 2, 100, 1, account=7)
    if amends:
        buy(book, 3, 90, 5, account=7, own_orders="cancel_maker")
        made = book.amend(order_id=3, price=100, account=7)
    else:
        made = buy(book, 3, 100, 5, account=7, own_orders="cancel_maker")
    assert (made.filled_qty, made.cancelled) == (1, None)
    book.check()
    assert book.queue(0, "buy") == [(3, 100, 4)]


@pytest.mark.parametrize("amends", [False, True])
def test_cancel_both_leaves_neither(book, amends):
    sell(book, 1, 100, 1, account=7)
    if amends:
        buy(book, 3, 90, 5, account=7, own_orders="cancel_both")
        made = book.amend(order_id=3, price=100, account=7)
    else:
        made = buy(book, 3, 100, 5, account=7, own_orders="cancel_both")
    assert made.cancelled == "SELF_TRADE"
    book.check()
    assert book.queue(0, "buy") == book.queue(0, "sell") == []
    assert book.cancel(order_id=3, account=7).refused == "OrderNotOpen"
