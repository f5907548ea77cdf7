"""No number passes 64 bits (ARCHITECTURE.md, "Numbers"): at the edges of every field, and where only very long runs would come.

A kernel whose sum passes 64 bits may do anything, so this is looked at in kernels that are not compiled and
whose every sum, difference and product is checked (`checked_sums`). What an hour of trading, or millions of
orders, would be needed to reach is written into the tables instead.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import checked_sums
import rightsx
from rightsx import Exchange, OrderBook
from rightsx.protocol import BOOK_QTY_END, FILLED_END, INT64_MAX, T0_NS

HERE = Path(__file__).parent
LAST_HANDLE = f"{HERE}/test_barebook.py::test_a_handle_is_used_again_after_two_to_the_31_orders"


def test_no_sum_of_a_kernel_passes_64_bits_at_the_edges_of_any_two_fields():
    paths = os.pathsep.join([str(Path(rightsx.__file__).parents[1]), str(HERE)])
    made = subprocess.run(
        [sys.executable, HERE / "checked_sums.py", "-q", "-p", "no:cacheprovider", HERE / "test_edges.py", LAST_HANDLE],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": paths},
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout[-3_000:]
    assert int(made.stdout.splitlines()[-1].split()[0]) > 500, "the kernels were rewritten"


PLANTED = """
from rightsx._jit import INT64_SIGN

def leaf(function):
    return function

@leaf
def product(a, b):
    return a * b

@leaf
def total(a, b):
    c = a
    c += b
    return c

@leaf
def turned(a):
    return -a

def of_python(a, b):
    return a * b
"""


@pytest.mark.parametrize(
    ("name", "fits", "breaks"),
    [
        ("product", (2**31, 2**31), (2**32, 2**31)),
        ("total", (2**62, 2**62 - 1), (2**62, 2**62)),
        ("turned", (-INT64_MAX,), (-(2**63),)),
    ],
)
def test_a_planted_overflow_is_found(tmp_path, monkeypatch, name, fits, breaks):
    (tmp_path / "planted.py").write_text(PLANTED)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(checked_sums, "CHECKED", ("planted",))
    monkeypatch.setattr(sys, "meta_path", [checked_sums.Finder(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "planted", raising=False)
    planted = importlib.import_module("planted")
    assert abs(getattr(planted, name)(*fits)) < 2**63
    with pytest.raises(OverflowError, match="beyond 64 bits"):
        getattr(planted, name)(*breaks)
    assert planted.of_python(2**62, 4) == 2**64
    monkeypatch.delitem(sys.modules, "planted")


# ── what only very long runs reach ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_the_filled_quantity_of_an_order_stops_at_its_end(engine):
    """2^32 fills of 2^31 units, each after an amend, would pass 64 bits."""
    market = Exchange(engine=engine)
    shop = market.register_merchant("M", time_ns=T0_NS)
    ann, bob = market.open_account(), market.open_account()
    for account in (ann, bob):
        market.deposit(account=account, amount=10_000)
    market.list_series(merchant=shop, product="x", par=9, issue_price=5, authorised=99, expire="2026-03-01", policy="forfeit")
    market.subscribe(series=1, account=ann, qty=20)
    sell = market.place(series=1, account=ann, side="sell", price=6, qty=10).order_id
    buy = market.place(series=1, account=bob, side="buy", price=4, qty=9).order_id
    if engine == "compiled":
        memory = market._twin._memory
        tickets = memory.arrays[next(at for at, table in enumerate(memory.arrays) if "filled_qty" in (table.dtype.names or ()))]
        tickets["filled_qty"][1:3] = FILLED_END - 5
    else:
        for order in market._twin._market.orders.values():
            order.filled_qty = FILLED_END - 5
    assert market.amend(account=bob, order_id=buy, price=6, qty=6).filled_qty == 6
    assert market.order(sell).filled_qty == FILLED_END
    assert market.place(series=1, account=bob, side="buy", price=6, qty=3).filled_qty == 3
    assert market.order(sell).filled_qty == FILLED_END
    assert market.order(buy) is None


@pytest.fixture(params=["compiled", "reference"])
def overflowing(request):
    """A book whose 600 orders at one price have 2^54 units each, as 8,388,608 of the largest size would have."""
    book = OrderBook(engine=request.param)
    for number in range(1, 601):
        book.place(order_id=number, side="sell", price=7, qty=1)
    if request.param == "compiled":
        orders = book._twin._tables.arrays[4]
        orders["word"][1:601] = (2**54 << 8) | (orders["word"][1:601] & 255)
    else:
        for order in book._twin._live.values():
            order.open_qty = order.shown_qty = 2**54
    return book


def test_a_level_of_more_than_64_bits_shows_as_many_as_they_say(overflowing):
    (level,) = overflowing.depth().asks
    assert (level.price, level.qty, level.orders) == (7, INT64_MAX, 600)


def test_an_fok_in_a_book_of_more_than_64_bits_fills(overflowing):
    made = overflowing.place(order_id=1_000, side="buy", price=7, qty=BOOK_QTY_END - 1, time_in_force="fok")
    assert made.filled_qty == BOOK_QTY_END - 1
    assert [fill.maker for fill in made.fills] == [1]
