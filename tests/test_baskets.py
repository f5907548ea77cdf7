"""Bills paid with rights to be bought, products bought, rolls (R50 … R53), held against brute force on small books."""

from __future__ import annotations

import random
from itertools import product
from math import ceil

import pytest

from rightsx import Exchange
from rightsx.errors import MisuseError
from rightsx.protocol import DAY_NS, T0_NS

ANN, BOB = 2, 3


def market_of(
    seed: int, *, equal_values: bool = False, taker: bool = True
) -> tuple[Exchange, list[list[tuple[int, int]]], list[int], list[int]]:
    """Make a product of two or three series with small books; gives it, asks (price, units), values and taker rates by series."""
    rnd = random.Random(seed)
    market = Exchange()
    market.register_merchant("shop", time_ns=T0_NS)
    for _ in (ANN, BOB):
        market.deposit(account=market.open_account(), amount=10**6)
    books, values, rates = [], [], []
    for number in range(1, rnd.randint(2, 3) + 1):
        values.append(20 if equal_values else rnd.choice((7, 10, 12, 20)))
        rates.append(rnd.choice((0, 0, 100, 2_000)) if taker else 0)
        market.list_series(
            merchant=1, product="tea", par=values[-1], issue_price=1, authorised=100, expire=T0_NS + (60 + number) * DAY_NS,
            policy="forfeit", taker_bps=rates[-1],
        )  # fmt: skip
        market.subscribe(series=number, account=ANN, qty=50)
        prices = rnd.sample(range(1, values[-1] + 1), rnd.randint(0, 2))
        books.append([(price, rnd.randint(1, 3)) for price in sorted(prices)])
        for price, qty in books[-1]:
            assert market.place(series=number, account=ANN, side="sell", price=price, qty=qty)
    return market, books, values, rates


def cost_of(book: list[tuple[int, int]], qty: int, rate: int) -> int:
    """Give what the cheapest `qty` units of a book cost with fee."""
    total = 0
    for price, offered in book:
        total += price * min(qty, offered)
        qty -= min(qty, offered)
    return total + ceil(total * rate / 10_000)


def unit_by_unit(books: list[list[tuple[int, int]]], values: list[int], rates: list[int], bill: int) -> list[int]:
    """Walk all single units, the cheapest per value first, and take each that fits and saves; units by series."""
    units = [
        (price * (10_000 + rates[at]) / values[at], at, price)
        for at, book in enumerate(books)
        for price, qty in book
        for _ in range(qty)
    ]
    taken = [0] * len(books)
    for cost, at, _ in sorted(units):
        if cost < 10_000 and values[at] <= bill:
            taken[at] += 1
            bill -= values[at]
    return taken


@pytest.mark.parametrize("seed", range(150))
def test_a_bill_takes_unit_by_unit_what_is_cheapest_for_its_value(seed):
    market, books, values, rates = market_of(seed)
    bill = random.Random(seed).randint(1, 150)
    answer = market.pay_bill(merchant=1, product="tea", account=BOB, amount=bill)
    taken = unit_by_unit(books, values, rates, bill)
    goods = sum(map(int.__mul__, taken, values))
    cost = sum(map(cost_of, books, taken, rates))
    assert (answer.qty, answer.goods, answer.cash_due, answer.cost) == (sum(taken), goods, bill - goods, cost)
    assert answer.saving == goods - cost >= 0
    assert market.account(BOB).cash_free == 10**6 - cost
    assert not any(market.holding(BOB, series).free_qty for series in range(1, len(books) + 1))
    market.check()


@pytest.mark.parametrize("seed", range(100))
def test_no_other_choice_pays_a_bill_cheaper_where_all_units_are_worth_the_same(seed):
    market, books, values, rates = market_of(seed, equal_values=True, taker=False)
    bill = random.Random(seed).randint(1, 150)
    answer = market.pay_bill(merchant=1, product="tea", account=BOB, amount=bill)
    outlays = [
        bill - sum(map(int.__mul__, units, values)) + sum(map(cost_of, books, units, rates))
        for units in product(*(range(sum(qty for _, qty in book) + 1) for book in books))
        if sum(map(int.__mul__, units, values)) <= bill
    ]
    assert answer.cash_due + answer.cost == min(outlays)


@pytest.mark.parametrize("seed", range(100))
def test_a_product_is_bought_at_the_least_price_where_all_units_are_worth_the_same(seed):
    market, books, _, rates = market_of(seed, equal_values=True, taker=False)
    wanted = random.Random(seed).randint(1, 8)
    answer = market.buy_product(merchant=1, product="tea", account=BOB, qty=wanted)
    there = sum(qty for book in books for _, qty in book)
    costs = [
        sum(map(cost_of, books, units, rates))
        for units in product(*(range(sum(qty for _, qty in book) + 1) for book in books))
        if sum(units) == min(wanted, there)
    ]
    assert (answer.qty, answer.cost) == (min(wanted, there), min(costs))
    whole = market_of(seed, equal_values=True, taker=False)[0].buy_product(
        merchant=1, product="tea", account=BOB, qty=wanted, all_or_nothing=True
    )
    assert bool(whole) == (there >= wanted)
    assert whole or whole.refused.code.name == "FOKUnfillable"


def test_a_basket_knows_its_trades_and_a_repeat_is_answered_as_the_first_time():
    market, books, _, _ = market_of(4)
    first = market.buy_product(merchant=1, product="tea", account=BOB, qty=3, ref=7)
    again = market.buy_product(merchant=1, product="tea", account=BOB, qty=3, ref=7)
    assert sum(fill.qty for fill in first.fills) == first.qty > 0
    assert (again.qty, again.cost, again.fills) == (first.qty, first.cost, first.fills)
    assert first.net == first.cost
    assert first.proceeds == first.saving == 0
    assert sum(qty for book in books for _, qty in book) >= first.qty


def test_what_is_no_number_is_a_wrong_call():
    market, *_ = market_of(1)
    with pytest.raises(MisuseError, match="max_price"):
        market.pay_bill(merchant=1, product="tea", account=BOB, amount=5, max_price=1.5)
    with pytest.raises(MisuseError, match="all_or_nothing"):
        market.buy_product(merchant=1, product="tea", account=BOB, qty=5, all_or_nothing=1)
    assert market.pay_bill(merchant=1, product="tea", account=BOB, amount=5, max_price=0).refused.code.name == "BadPrice"
