"""Every mistake that was seen in other libraries is a test with its name, on both engines, in the bare book and in the exchange.

    Book  ── OrderBook ─┐                ┌─ compiled
                        ├─ one `floor` ──┤
    Stall ── Exchange ──┘                └─ reference

A floor is whatever orders can be placed on: `Book` is the bare order book, `Stall` one series of an
exchange, with money, units and a clock. What is true of matching is asked of all four; what only an
exchange has (good-till-date, money) of its two engines. After every step the floor checks itself.

One mistake has no test here: a snapshot that does not name its place in the log, so that the tail is
applied twice. There are no snapshots yet; it is a test of theirs when they come.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType

import numpy as np
import pytest

import rightsx
from rightsx import Exchange, OrderBook
from rightsx.errors import MisuseError
from rightsx.protocol import CALLER_ID_FIRST, DAY_NS, T0_NS, CommandKind, command_records
from rightsx.vocabulary import command

ENGINES = ("compiled", "reference")
SELLER, BUYER, OTHER = 2, 3, 4  # accounts of a stall, where 1 is the merchant


class Book:
    """The bare order book."""

    def __init__(self, engine):
        self.book = OrderBook(engine=engine)

    def place(self, number, side, price, qty, account, **more):
        made = self.book.place(order_id=number, side=side, price=price, qty=qty, account=account, **more)
        self.book.check()
        return made

    def cancel(self, number, account):
        made = self.book.cancel(order_id=number, account=account)
        self.book.check()
        return made

    def record(self, number, side, price, qty, account):
        return command(CommandKind.PLACE, time_ns=7, series=0, account=account, side=side, qty=qty, price=price, order_id=number)

    def batch(self, records):
        self.book.apply_batch(records)
        self.book.check()

    def queue(self, side):
        return [(number, qty) for number, _, qty in self.book.queue(0, side)]

    def depth(self):
        return self.book.depth(0, levels=None)

    def open_qty(self, number):
        return self.book.open_qty(number)


class Stall:
    """One series of an exchange, with a seller who has units and two buyers who have cash; ids from 2^62 are the caller's."""

    def __init__(self, engine, par=2**16, authorised=2**31 - 1, **terms):
        self.market = Exchange(engine=engine, keep_events=False)
        merchant = self.market.register_merchant("Cafe Nord", time_ns=T0_NS)
        for _ in (SELLER, BUYER, OTHER):
            self.market.deposit(account=self.market.open_account(), amount=2**58)
        self.market.list_series(
            merchant=merchant, product="coffee", par=par, issue_price=1, authorised=authorised, expire=T0_NS + 100 * DAY_NS,
            policy="forfeit", clawback=False, **terms,
        )  # fmt: skip
        for account in (SELLER, OTHER):
            assert self.market.subscribe(series=1, account=account, qty=authorised // 2)

    def place(self, number, side, price, qty, account, **more):
        return self.market.place(
            series=1, account=account, order_id=CALLER_ID_FIRST + number, side=side, price=price, qty=qty, **more
        )

    def cancel(self, number, account):
        return self.market.cancel(account=account, order_id=CALLER_ID_FIRST + number)

    def record(self, number, side, price, qty, account):
        return command(
            CommandKind.PLACE, time_ns=T0_NS, series=1, account=account, side=side, qty=qty, price=price,
            order_id=CALLER_ID_FIRST + number,
        )  # fmt: skip

    def batch(self, records):
        self.market.apply_batch(records)
        self.market.check()

    def queue(self, side):
        return [(order.order_id - CALLER_ID_FIRST, order.open_qty) for order in self.market.queue(1, side)]

    def depth(self):
        return self.market.depth(1, levels=None)

    def open_qty(self, number):
        order = self.market.order(CALLER_ID_FIRST + number)
        return order.open_qty if order else 0


@pytest.fixture(
    params=[(kind, engine) for kind in (Book, Stall) for engine in ENGINES], ids=lambda it: f"{it[0].__name__}-{it[1]}"
)
def floor(request):
    kind, engine = request.param
    return kind(engine)


@pytest.fixture(params=ENGINES)
def stall(request):
    return Stall(request.param)


def sell(floor, number, price, qty, account=SELLER, **more):
    return floor.place(number, "sell", price, qty, account, **more)


def buy(floor, number, price, qty, account=BUYER, **more):
    return floor.place(number, "buy", price, qty, account, **more)


def shown(floor):
    ladder = floor.depth()
    return [(level.price, level.qty) for level in ladder.bids], [(level.price, level.qty) for level in ladder.asks]


def fills(made):
    return [(fill.price, fill.qty) for fill in made.fills]


def refusal(made):
    """Give the word of a refusal: the book says it as it is, the exchange with its values."""
    return made.refused.code.name if hasattr(made.refused, "code") else made.refused


# ── levels and queues ────────────────────────────────────────────────────────────────────────────


def test_a_cancel_after_a_partial_fill_leaves_no_empty_best_level(floor):
    """Seen: the empty level still shows as the best (two libraries), or the next taker spins on it for ever (one)."""
    sell(floor, 1, 101, 5)
    sell(floor, 2, 102, 5)
    buy(floor, 3, 101, 2)
    assert floor.cancel(1, SELLER)
    assert shown(floor) == ([], [(102, 5)])
    assert fills(buy(floor, 4, 102, 1)) == [(102, 1)]
    assert floor.cancel(2, SELLER)
    assert shown(floor) == ([], [])
    assert buy(floor, 5, 103, 1).fills == ()


def test_orders_of_the_same_instant_do_not_overwrite_each_other(floor):
    """Seen: a queue keyed by time keeps only the last order of a timestamp."""
    floor.batch(command_records(floor.record(number, 2, 100, number, SELLER) for number in (1, 2, 3)))
    assert floor.queue("sell") == [(1, 1), (2, 2), (3, 3)]
    assert fills(buy(floor, 4, 100, 6)) == [(100, 1), (100, 2), (100, 3)]


def test_a_partial_fill_keeps_its_place_at_the_front_of_the_queue(floor):
    """Seen: what is left of a partly filled order goes to the back."""
    sell(floor, 1, 100, 5)
    sell(floor, 2, 100, 5)
    buy(floor, 3, 100, 2)
    assert floor.queue("sell") == [(1, 3), (2, 5)]
    assert [fill.qty for fill in buy(floor, 4, 100, 4).fills] == [3, 1]


# ── cancels and ids ──────────────────────────────────────────────────────────────────────────────


def test_a_cancel_of_a_filled_order_is_refused_and_nothing_else(floor):
    """Seen: it is acknowledged, it raises, or it kills the process; so for a cancelled and for an unknown one."""
    sell(floor, 1, 100, 1)
    buy(floor, 2, 100, 1)
    sell(floor, 3, 100, 1)
    assert floor.cancel(3, SELLER)
    for number, account in ((1, SELLER), (2, BUYER), (3, SELLER), (99, BUYER)):
        assert refusal(floor.cancel(number, account)) == "OrderNotOpen"
    assert shown(floor) == ([], [])


def test_a_duplicate_live_id_is_refused_before_it_trades(floor):
    """Seen: it is accepted, so that a cancel meets either; or it trades first and is refused afterwards."""
    sell(floor, 1, 100, 1)
    buy(floor, 2, 90, 1)
    for made in (buy(floor, 2, 100, 1), buy(floor, 1, 100, 1, account=OTHER)):
        assert refusal(made) == "DuplicateId"
        assert made.fills == ()
    assert shown(floor) == ([(90, 1)], [(100, 1)])
    assert buy(floor, 3, 100, 1).filled_qty == 1
    assert buy(floor, 1, 90, 1).refused is None, "a finished order's id is free again"


# ── prices ───────────────────────────────────────────────────────────────────────────────────────


def test_a_trade_prints_at_the_makers_price_and_not_the_takers(floor):
    sell(floor, 1, 95, 1)
    assert fills(buy(floor, 2, 100, 1)) == [(95, 1)]
    buy(floor, 3, 105, 1)
    assert fills(sell(floor, 4, 100, 1)) == [(105, 1)]


def test_a_limit_order_never_sweeps_past_its_own_limit(floor):
    for number, price in enumerate((95, 100, 101), 1):
        sell(floor, number, price, 1)
    made = buy(floor, 9, 100, 3)
    assert fills(made) == [(95, 1), (100, 1)]
    assert made.leaves_qty == 1
    assert shown(floor) == ([(100, 1)], [(101, 1)])
    for number, price in enumerate((99, 98), 11):
        buy(floor, number, price, 1)
    assert fills(sell(floor, 19, 99, 5, account=OTHER)) == [(100, 1), (99, 1)]
    assert shown(floor) == ([(98, 1)], [(99, 3), (101, 1)])


def test_what_is_left_of_an_ioc_never_rests(floor):
    sell(floor, 1, 100, 1)
    made = buy(floor, 2, 100, 5, time_in_force="ioc")
    assert (made.filled_qty, made.cancelled, made.leaves_qty) == (1, "IOC", 0)
    assert shown(floor) == ([], [])
    assert refusal(floor.cancel(2, BUYER)) == "OrderNotOpen"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_price_is_never_rounded(engine):
    """Seen: prices held as floats, so that two neighbours beyond 2^53 are one level; or rounded to a tick unasked."""
    book = Book(engine)
    for number, price in enumerate((2**53 + 1, 2**53, 2**62 + 1, 2**62), 1):
        sell(book, number, price, 1)
    assert [price for price, _ in shown(book)[1]] == [2**53, 2**53 + 1, 2**62, 2**62 + 1]
    assert fills(buy(book, 9, 2**53, 2)) == [(2**53, 1)]
    stall = Stall(engine, tick=5)
    for price in (101, 104, 99):
        assert refusal(sell(stall, 1, price, 1)) == "BadPrice"
    assert sell(stall, 1, 100, 1).leaves_qty == 1
    for floor in (book, stall):
        with pytest.raises(MisuseError, match="price"):
            buy(floor, 20, 100.4, 1)


def test_two_neighbouring_prices_at_the_limit_of_the_exchange_are_two_prices(stall):
    sell(stall, 1, 2**16, 1)
    sell(stall, 2, 2**16 - 1, 1)
    assert shown(stall) == ([], [(2**16 - 1, 1), (2**16, 1)])
    assert refusal(sell(stall, 3, 2**32 + 100, 1)) == "BadPrice", "a price is refused, not cut to 100"


# ── quantities ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("engine", ENGINES)
def test_a_quantity_is_never_cut_to_32_bits(engine):
    """Seen: 2^32 + 5 units are 5. Here they are as many, or refused."""
    book = Book(engine)
    sell(book, 1, 2**40 + 1, 2**32 + 5)
    sell(book, 2, 2**40 + 1, 2**33)
    assert shown(book)[1] == [(2**40 + 1, 2**32 + 5 + 2**33)]
    assert fills(buy(book, 3, 2**40 + 1, 2**32 + 6)) == [(2**40 + 1, 2**32 + 5), (2**40 + 1, 1)]
    assert book.open_qty(2) == 2**33 - 1
    assert refusal(sell(book, 4, 1, 2**40)) == "BadQuantity"


def test_a_quantity_and_an_amount_of_the_exchange_are_never_cut_to_32_bits(stall):
    for qty in (2**31, 2**32 + 5, 2**33):
        assert refusal(sell(stall, 1, 100, qty)) == "BadQuantity"
    qty = 2**30 - 1
    before = stall.market.account(SELLER).cash_free
    sell(stall, 1, 2**16, qty)
    assert fills(buy(stall, 2, 2**16, qty)) == [(2**16, qty)]
    assert stall.market.account(SELLER).cash_free - before == 2**16 * qty > 2**45
    assert stall.market.holding(account=BUYER, series=1).units == qty


# ── own orders ───────────────────────────────────────────────────────────────────────────────────


def test_meeting_an_own_order_always_says_so(floor):
    """Seen: a hidden rule drops the order, or lets it rest crossed, without a reason."""
    sell(floor, 1, 99, 1, account=OTHER)
    sell(floor, 2, 100, 1, account=SELLER)
    made = buy(floor, 3, 100, 3, account=SELLER)
    assert (fills(made), made.cancelled, made.leaves_qty) == ([(99, 1)], "SELF_TRADE", 0)
    assert floor.queue("sell") == [(2, 1)]
    assert shown(floor) == ([], [(100, 1)])


# ── time ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_stale_expiry_never_evicts_a_live_order_that_reuses_its_id(stall):
    """Seen: the expiry entry of a finished order fires on whoever has its id by then."""
    for finish in ("cancel", "fill"):
        at_ns = stall.market.clock_ns
        sell(stall, 1, 100, 1, deadline=at_ns + 10)
        if finish == "cancel":
            assert stall.cancel(1, SELLER)
        else:
            assert buy(stall, 2, 100, 1).filled_qty == 1
        sell(stall, 1, 100, 3, account=OTHER)
        stall.market.advance(to=at_ns + 20)
        assert stall.queue("sell") == [(1, 3)]
        sell(stall, 3, 101, 1, deadline=at_ns + 30)  # the id's next holder may have a deadline of its own
        stall.cancel(3, SELLER)
        sell(stall, 3, 101, 1, deadline=at_ns + 50)
        stall.market.advance(to=at_ns + 49)
        assert stall.open_qty(3) == 1
        stall.market.advance(to=at_ns + 50)
        assert stall.open_qty(3) == 0
        assert stall.cancel(1, OTHER)


def test_good_till_date_is_kept_by_time_and_not_only_on_entry(stall):
    """Seen: the date is looked at when the order arrives, and then it rests for ever."""
    now = stall.market.clock_ns
    assert refusal(sell(stall, 1, 100, 1, deadline=now)) == "BadTime"
    sell(stall, 2, 100, 1, deadline=now + 5)
    sell(stall, 3, 100, 1)
    assert buy(stall, 4, 90, 1, time_ns=now + 4).leaves_qty == 1
    assert stall.queue("sell") == [(2, 1), (3, 1)]
    made = buy(stall, 5, 100, 2, time_ns=now + 5)
    assert [fill.qty for fill in made.fills] == [1], "the order that was due does not trade in the ns in which it ends"
    assert stall.queue("sell") == []
    assert stall.open_qty(2) == 0


# ── memory and imports ───────────────────────────────────────────────────────────────────────────


def size(thing):
    """Add up everything that can be reached from a floor, NumPy's tables included, but for code."""
    seen, waiting, total = set(), [thing], 0
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, (type, ModuleType, FunctionType, BuiltinFunctionType)):
            seen.add(id(one))
            total += one.nbytes if isinstance(one, np.ndarray) else sys.getsizeof(one)
            waiting += gc.get_referents(one)
    return total


def history(floor, begin, count):
    """Orders with fresh ids at ever other prices that trade, are cancelled, or were refused; nothing stays."""
    for number in range(begin, begin + count, 4):
        price = 1_000 + number % 40_000
        sell(floor, number, price, 3)
        buy(floor, number + 1, price, 2)
        buy(floor, number + 2, price, 5, time_in_force="ioc")
        sell(floor, number + 3, price, 1)
        floor.cancel(number + 3, SELLER)
        assert refusal(floor.cancel(number, SELLER)) == "OrderNotOpen"


def test_memory_does_not_grow_with_history(floor):
    """Seen: finished orders, empty price levels, cancelled timers and old ids are kept for ever."""
    history(floor, 1_000_000, 400)
    before = size(floor)
    history(floor, 2_000_000, 2_000)
    assert size(floor) <= before + 1_000, "a list of what was, wherever it is kept, would be 16 bytes an order or more"


def test_memory_does_not_grow_with_deadlines_that_were_not_needed(stall):
    def deadlines(begin, count):
        for number in range(begin, begin + count):
            sell(stall, number, 100, 1, deadline=stall.market.clock_ns + DAY_NS + number)
            stall.cancel(number, SELLER)

    deadlines(1_000_000, 100)
    before = size(stall)
    deadlines(2_000_000, 1_000)
    assert size(stall) <= before + 1_000


OPTIONAL = ("tqdm", "hypothesis", "pandas", "polars", "pyarrow", "matplotlib", "pytest", "IPython")
WITHOUT_THEM = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OPTIONAL}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import rightsx, rightsx.cli, rightsx.replay, rightsx.demo, rightsx.scenario, rightsx.marketdata, rightsx.embed
for name in rightsx.__all__:
    getattr(rightsx, name)
book = rightsx.OrderBook(engine="reference")
book.place(order_id=1, side="sell", price=100, qty=1)
print(book.depth(), rightsx.Exchange(engine="reference").open_account())
print(sorted(set({OPTIONAL}) & set(sys.modules)))
"""


def test_an_import_never_fails_for_want_of_an_optional_library():
    """Seen: the package imports its plotting or its data frames at the top, and is not usable without them."""
    environment = {**os.environ, "PYTHONPATH": str(Path(rightsx.__file__).parents[1])}
    made = subprocess.run([sys.executable, "-c", WITHOUT_THEM], capture_output=True, text=True, check=False, env=environment)
    assert made.returncode == 0, made.stderr
    assert made.stdout.endswith("\n[]\n")
