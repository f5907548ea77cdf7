"""Small operations, one call each, timed by pytest-benchmark: `pytest benchmarks/test_small.py`.

What people do between orders: look at a book, an account, a series; arm a timer; read a result. They are measured
to be compared with what they were, not asserted.
"""

from __future__ import annotations

from itertools import count

import pytest
from bench_exchange import stage

from rightsx import OrderBook, TimingWheel

pytest.importorskip("pytest_benchmark")


@pytest.fixture(scope="module")
def book():
    """A book with ten thousand orders on a hundred prices a side."""
    made = OrderBook()
    for number in range(1, 10_001):
        side, away = ("buy", -1) if number % 2 else ("sell", 1)
        made.place(order_id=number, side=side, price=1_000 + away * (1 + number % 100), qty=5)
    return made


@pytest.fixture(scope="module")
def market():
    """A market with one series, fifty owners, two thousand orders."""
    made = stage(1, keep_events=True)
    for number in range(2_000):
        made.place(series=1, account=2 + number % 50, side="sell", price=1_000 + number % 100, qty=1)
    return made


def test_book_place_and_cancel(benchmark, book):
    numbers = count(20_000)

    def both():
        number = next(numbers)
        book.place(order_id=number, side="buy", price=900, qty=5)
        book.cancel(order_id=number)

    benchmark(both)


def test_book_depth_of_ten(benchmark, book):
    assert len(benchmark(book.depth).bids) == 10


def test_book_open_qty(benchmark, book):
    assert benchmark(book.open_qty, 5) == 5


def test_exchange_place_and_cancel(benchmark, market):
    def both():
        market.cancel(account=2, order_id=market.place(series=1, account=2, side="sell", price=1_500, qty=1).order_id)

    benchmark(both)


def test_exchange_deposit(benchmark, market):
    assert benchmark(market.deposit, account=3, amount=1)


def test_exchange_redeem(benchmark, market):
    assert benchmark(market.redeem, series=1, account=3, qty=1)


def test_exchange_depth_of_ten(benchmark, market):
    assert len(benchmark(market.depth, 1).asks) == 10


def test_exchange_series(benchmark, market):
    assert benchmark(market.series, 1).value == 2_000


def test_exchange_account(benchmark, market):
    assert benchmark(market.account, 5).open_orders == 40


def test_result_fills(benchmark, market):
    result = market.place(series=1, account=3, side="buy", price=1_000, qty=3)
    assert len(benchmark(lambda: result.fills)) == 3


def test_wheel_arm_and_disarm(benchmark):
    wheel = TimingWheel()
    assert benchmark(lambda: wheel.disarm(wheel.arm(due_ns=5)))
