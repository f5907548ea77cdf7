"""The bare book, on both of its engines: price-time priority, instructions, amends, records, words."""

from __future__ import annotations

import copy
import functools
import pickle
import random

import numpy as np
import pytest

from rightsx import COMMAND, REPORT, OrderBook
from rightsx.errors import MisuseError
from rightsx.protocol import INT64_MAX, INT64_MIN, Command, CommandKind, ReportKind, Side, TimeInForce, command_records
from rightsx.vocabulary import command


@pytest.fixture(params=["compiled", "reference"])
def make(request):
    return functools.partial(OrderBook, engine=request.param)


@pytest.fixture
def book(make):
    return make()


def sell(to, order_id, price, qty, **more):
    return to.place(order_id=order_id, side="sell", price=price, qty=qty, **more)


def buy(to, order_id, price, qty, **more):
    return to.place(order_id=order_id, side="buy", price=price, qty=qty, **more)


def shown(book, number=0):
    ladder = book.depth(number, levels=None)
    return [(level.price, level.qty) for level in ladder.bids], [(level.price, level.qty) for level in ladder.asks]


# ── prices, sides, books ─────────────────────────────────────────────────────────────────────────


def test_the_id_of_a_finished_order_is_free_again(book):
    sell(book, 1, 100, 1)
    buy(book, 2, 100, 1)
    assert sell(book, 1, 100, 1)
    assert book.open_qty(1) == 1


def test_any_int64_price_will_do(book):
    for number, price in enumerate((INT64_MIN, -5, 0, INT64_MAX), 1):
        sell(book, number, price, 1)
    prices = [fill.price for fill in book.place(order_id=9, side="buy", qty=3).fills]
    assert prices == [INT64_MIN, -5, 0]
    with pytest.raises(MisuseError, match="price was 9223372036854775808; it does not fit a record"):
        sell(book, 10, 2**63, 1)


def test_a_market_order_without_a_counterpart_is_cancelled(book):
    result = book.place(order_id=1, side="buy", qty=3)
    assert (result.refused, result.cancelled, result.filled_qty) == (None, "IOC", 0)


def test_books_share_ids_and_nothing_else(make):
    book = make(books=3)
    sell(book, 1, 100, 1, book=0)
    assert buy(book, 2, 100, 1, book=2).fills == ()
    assert buy(book, 1, 100, 1, book=1).refused == "DuplicateId"
    assert buy(book, 3, 100, 1, book=3).refused == "UnknownSeries"
    assert shown(book, 0) == ([], [(100, 1)])


def test_account_zero_is_nobody_and_meets_no_own_orders(book):
    sell(book, 1, 100, 1)
    assert buy(book, 2, 100, 1).filled_qty == 1


# ── instructions ─────────────────────────────────────────────────────────────────────────────────


def test_post_only_never_takes(book):
    sell(book, 1, 100, 1)
    assert buy(book, 2, 100, 1, post_only=True).refused == "PostOnlyWouldCross"
    assert buy(book, 2, 99, 1, post_only=True).leaves_qty == 1
    assert buy(book, 3, 90, 1, post_only=True, time_in_force="ioc").refused == "BadTerms"


def test_fok_fills_whole_or_not_at_all(book):
    sell(book, 1, 100, 2)
    sell(book, 2, 101, 2)
    assert buy(book, 3, 100, 3, time_in_force="fok").refused == "FOKUnfillable"
    assert buy(book, 3, 101, 3, time_in_force="fok").filled_qty == 3
    assert shown(book) == ([], [(101, 1)])


def test_the_front_is_who_would_trade_first(book):
    assert book.front(0, "sell") is None
    for order_id, price in ((1, 101), (2, 100), (3, 100)):
        sell(book, order_id, price, 5)
    assert book.front(0, "sell") == book.queue(0, "sell")[0] == (2, 100, 5)
    assert book.front(0, "buy") is None
    book.cancel(order_id=2)
    assert book.front(0, "sell") == (3, 100, 5)


def test_an_iceberg_shows_a_part_and_the_next_part_queues_last(book):
    sell(book, 1, 100, 7, display=3)
    sell(book, 2, 100, 3)
    assert shown(book) == ([], [(100, 6)])
    assert [(f.maker, f.qty) for f in buy(book, 3, 100, 7).fills] == [(1, 3), (2, 3), (1, 1)]
    assert book.queue(0, "sell") == [(1, 100, 3)]
    assert shown(book) == ([], [(100, 2)])


@pytest.mark.parametrize(("qty", "display"), [(5, 5), (5, 6), (5, -1), (1_001, 1)])
def test_an_iceberg_shows_less_than_it_is_and_at_least_a_thousandth(book, qty, display):
    assert sell(book, 1, 100, qty, display=display).refused == "BadQuantity"


def test_fok_counts_what_icebergs_hide(book):
    sell(book, 1, 100, 9, display=2)
    assert buy(book, 2, 100, 9, time_in_force="fok").filled_qty == 9


def test_cancel_maker_goes_on_past_own_orders(book):
    sell(book, 1, 100, 1, account=7)
    sell(book, 2, 100, 1, account=8)
    result = buy(book, 3, 100, 2, account=7, own_orders="cancel_maker")
    assert ([f.maker for f in result.fills], result.leaves_qty) == ([2], 1)
    assert book.open_qty(1) == 0


def test_cancel_both_cancels_both(book):
    sell(book, 1, 100, 1, account=7)
    result = buy(book, 3, 100, 2, account=7, own_orders="cancel_both")
    assert result.cancelled == "SELF_TRADE"
    assert shown(book) == ([], [])


def test_fok_stops_counting_at_an_own_order_unless_it_cancels_makers(book):
    sell(book, 1, 100, 1, account=8)
    sell(book, 2, 100, 1, account=7)
    sell(book, 3, 100, 1, account=8)
    assert buy(book, 4, 100, 2, account=7, time_in_force="fok").refused == "FOKUnfillable"
    result = buy(book, 4, 100, 2, account=7, time_in_force="fok", own_orders="cancel_maker")
    assert [f.maker for f in result.fills] == [1, 3]


# ── amends ───────────────────────────────────────────────────────────────────────────────────────


def test_lowering_keeps_the_place_and_raising_loses_it(book):
    sell(book, 1, 100, 5)
    sell(book, 2, 100, 5)
    assert book.amend(order_id=1, qty=3).leaves_qty == 3
    assert [order for order, _, _ in book.queue(0, "sell")] == [1, 2]
    book.amend(order_id=1, qty=4)
    assert [order for order, _, _ in book.queue(0, "sell")] == [2, 1]


def test_a_new_price_enters_anew_and_trades_if_it_crosses(book):
    sell(book, 1, 105, 5)
    buy(book, 2, 100, 3)
    result = book.amend(order_id=1, price=99)
    assert [(f.price, f.qty) for f in result.fills] == [(100, 3)]
    assert shown(book) == ([], [(99, 2)])
    buy(book, 3, 98, 2)
    assert book.amend(order_id=3, price=99).leaves_qty == 0
    assert shown(book) == ([], [])


def test_an_amend_takes_from_the_hidden_part_first(book):
    sell(book, 1, 100, 9, display=4)
    book.amend(order_id=1, qty=5)
    assert shown(book) == ([], [(100, 4)])
    book.amend(order_id=1, qty=2)
    assert shown(book) == ([], [(100, 2)])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"qty": 0}, "BadQuantity"),
        ({"qty": 2**40}, "BadQuantity"),
        ({}, "BadTerms"),
        ({"qty": 1, "account": 3}, "NotOwner"),
        ({"price": 90}, "PostOnlyWouldCross"),
        ({"qty": 1_001}, "BadQuantity"),
    ],
)
def test_a_refused_amend_changes_nothing(book, change, code):
    buy(book, 2, 90, 1)
    sell(book, 1, 100, 3, account=7, post_only=True, display=1)
    before = book.state_hash()
    assert book.amend(order_id=1, **{"account": 7, **change}).refused == code
    assert book.state_hash() == before
    assert book.amend(order_id=5, qty=1).refused == "OrderNotOpen"


def test_an_amend_into_an_own_order_answers_as_the_order_asked(book):
    buy(book, 1, 90, 1, account=7)
    sell(book, 2, 100, 1, account=7)
    assert book.amend(order_id=2, price=90, account=7).cancelled == "SELF_TRADE"
    assert shown(book) == ([(90, 1)], [])


# ── handles ──────────────────────────────────────────────────────────────────────────────────────


def test_handles_are_slots_with_generations(make):
    book = make(ids="handles")
    first = book.place(side="sell", price=100, qty=1).order_id
    second = book.place(side="sell", price=101, qty=1).order_id
    assert (first, second) == (1 << 32 | 1, 1 << 32 | 2)
    taker = book.place(side="buy", price=100, qty=1).order_id
    assert taker == 1 << 32 | 3, "an arriving order takes its slot before it matches"
    # The maker's slot was freed first, then the taker's: last in, first out.
    assert book.place(side="sell", price=100, qty=1).order_id == 2 << 32 | 3
    assert book.place(side="sell", price=100, qty=1).order_id == 2 << 32 | 1
    assert book.cancel(order_id=first).refused == "OrderNotOpen", "an old handle never names a new order"
    assert book.place(side="sell", price=100, qty=1, order_id=5).refused == "BadTerms"


# ── records ──────────────────────────────────────────────────────────────────────────────────────


def test_a_batch_gives_every_report_with_the_command_it_answers(book):
    records = command_records(
        [
            command(CommandKind.PLACE, series=0, account=0, side=2, qty=5, price=100, order_id=1),
            command(CommandKind.PLACE, series=0, account=0, side=1, qty=7, price=100, order_id=2),
            command(CommandKind.AMEND, account=0, order_id=2, flags=2, qty=1),
            command(CommandKind.CANCEL, account=0, order_id=2),
            command(CommandKind.CANCEL, account=0, order_id=2),
        ]
    )
    reports = book.apply_batch(records)
    assert reports.dtype == REPORT
    assert reports["command_index"].tolist() == [0, 1, 1, 2, 3, 4]
    kinds = [ReportKind(kind).name for kind in reports["kind"]]
    assert kinds == ["ACCEPTED", "ACCEPTED", "FILL", "AMENDED", "CANCELLED", "REFUSED"]
    assert book.apply_batch(records[:0]).shape == (0,)


@pytest.mark.parametrize("rows", [0, 2, 3, 4, 6, 50])
def test_a_batch_writes_to_the_memory_that_it_is_given_as_long_as_its_reports_fit(make, rows):
    orders = [command(CommandKind.PLACE, series=0, account=0, side=n % 2 + 1, qty=n, price=100, order_id=n) for n in range(1, 5)]
    records = command_records(orders)
    due = make().apply_batch(records)
    out = np.zeros(rows, REPORT)
    reports = make().apply_batch(records, out=out)
    assert reports.tobytes() == due.tobytes()
    if rows == 50 or rows < len(due):
        assert np.shares_memory(reports, out) == (rows == 50)


def test_memory_that_reports_cannot_be_written_to_is_misuse(book):
    records = command_records([command(CommandKind.PLACE, series=0, account=0, side=2, qty=5, price=100, order_id=1)])
    locked = np.zeros(8, REPORT)
    locked.flags.writeable = False
    shared = np.zeros(400, np.uint8)
    for bad in (np.zeros(8), np.zeros((2, 8), REPORT), np.zeros(8, REPORT)[::2], locked, [], "out"):
        with pytest.raises(MisuseError, match="out was"):
            book.apply_batch(records, out=bad)
    with pytest.raises(MisuseError, match="of its own"):
        book.apply_batch(shared[:80].view(COMMAND), out=shared[:384].view(REPORT))
    assert shown(book) == ([], [])


def test_a_batch_of_another_kind_is_misuse_before_the_first_write(book):
    good = command(CommandKind.PLACE, series=0, account=0, side=2, qty=5, price=100, order_id=1)
    for bad in (Command(kind=CommandKind.DEPOSIT), Command(kind=0)):
        with pytest.raises(MisuseError, match="command 1 was of kind"):
            book.apply_batch(command_records([good, bad]))
    with pytest.raises(MisuseError, match="COMMAND"):
        book.apply_batch(np.zeros(3))
    assert shown(book) == ([], [])


@pytest.mark.parametrize(
    "bad",
    [
        {"side": 3},
        {"time_in_force": 0},
        {"time_in_force": 2},
        {"flags": 24},
        {"flags": 4},
        {"stop_price": 5},
        {"deadline_ns": 5},
        {"order_id": 0},
        {"order_id": -5},
    ],
)
def test_a_record_with_wrong_words_is_refused(book, bad):
    good = command(CommandKind.PLACE, series=0, account=0, side=2, qty=5, price=100, order_id=1)
    (report,) = book.apply_batch(command_records([good._replace(**bad)]))
    assert (report["kind"], report["code"]) == (ReportKind.REFUSED, 6)


def test_a_full_book_refuses_and_stays_as_it_was(make):
    book = make(limit=1)
    sell(book, 1, 100, 1)
    assert sell(book, 2, 100, 1).refused == "CapacityExceeded"
    assert book.queue(0, "sell") == [(1, 100, 1)]


@pytest.mark.parametrize(
    "wrong",
    [{"books": 0}, {"books": 1.0}, {"books": 2**30}, {"limit": 0}, {"limit": 2**30}, {"ids": "guids"}, {"engine": "quantum"}],
)
def test_a_book_of_wrong_words_is_misuse(wrong):
    with pytest.raises(MisuseError):
        OrderBook(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"side": "both"}, {"side": 1}, {"qty": 1.0}, {"qty": True}, {"price": "5"}, {"time_in_force": "day"}]
)
def test_a_wrong_word_or_type_is_misuse(book, wrong):
    with pytest.raises(MisuseError):
        book.place(**{"order_id": 1, "side": "buy", "price": 5, "qty": 1, **wrong})
    with pytest.raises(MisuseError):
        book.depth(1)


# ── borders, amends that trade, whole reports ────────────────────────────────────────────────────


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


# ── words, types and results ─────────────────────────────────────────────────────────────────────

GOOD = {"order_id": 1, "side": "buy", "price": 5, "qty": 1, "account": 0, "book": 0, "display": 0}
TOLD = {"book": "series"}  # what a record calls it


@pytest.mark.parametrize("name", ["order_id", "price", "qty", "account", "book", "display"])
@pytest.mark.parametrize("wrong", [True, False, 1.0, "1", None, np.timedelta64(1), np.float64(1), [1]], ids=repr)
def test_only_true_integers_pass(book, name, wrong):
    if name == "price" and wrong is None:
        return  # a market order
    with pytest.raises(MisuseError, match=rf"(^|needs ){TOLD.get(name, name)}\b"):
        book.place(**{**GOOD, name: wrong})
    if name in ("order_id", "account"):
        with pytest.raises(MisuseError, match=name):
            book.cancel(**{"order_id": 1, name: wrong})
        with pytest.raises(MisuseError, match=name):
            book.amend(**{"order_id": 1, "qty": 1, name: wrong})
    if name in ("price", "qty") and wrong is not None:
        with pytest.raises(MisuseError, match=name):
            book.amend(**{"order_id": 1, name: wrong})
    book.check()
    assert shown(book) == ([], [])


@pytest.mark.parametrize("number", [np.int64(1), np.uint8(1), Side.BUY], ids=repr)
def test_integers_of_other_makes_pass(book, number):
    assert book.place(**{**GOOD, **dict.fromkeys(("order_id", "price", "qty", "account"), number)}).leaves_qty == 1
    assert book.amend(order_id=number, account=number, price=number, qty=number)
    assert book.cancel(order_id=number, account=number)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("order_id", "price", "display") for value in (2**63, -(2**63) - 1, 2**80)),
        *((name, value) for name in ("account", "book") for value in (2**32, -1, 2**63, -(2**70))),
    ],
)
def test_a_number_that_does_not_fit_a_record_is_misuse(book, name, value):
    with pytest.raises(MisuseError, match=f"{TOLD.get(name, name)} was {value}; it does not fit a record"):
        book.place(**{**GOOD, name: value})
    if name in ("order_id", "account"):
        with pytest.raises(MisuseError, match=f"{name} was {value}; it does not fit a record"):
            book.cancel(**{"order_id": 1, name: value})
    assert shown(book) == ([], [])


@pytest.mark.parametrize("qty", [2**63, 2**80, -(2**63), -(2**80)])
def test_a_quantity_beyond_every_number_is_refused(book, qty):
    assert buy(book, 1, 5, qty).refused == "BadQuantity"


def test_words_may_be_in_capitals_or_members_of_their_enum(book):
    assert sell(book, 1, 100, 3)
    result = book.place(order_id=2, side=Side.BUY, price=100, qty=5, time_in_force="IOC", own_orders="Cancel_Maker")
    assert (result.filled_qty, result.cancelled) == (3, "IOC")
    assert book.place(order_id=3, side="BUY", price=100, qty=5, time_in_force=TimeInForce.FOK).refused == "FOKUnfillable"


@pytest.mark.parametrize("wrong", [1, True, None, ["buy"], "by"], ids=repr)
def test_words_that_nobody_knows_are_misuse(book, wrong):
    for name in ("side", "time_in_force", "own_orders"):
        with pytest.raises(MisuseError, match=f"{name} was"):
            book.place(**{**GOOD, name: wrong})


def test_a_result_keeps_what_was_said_when_it_was_said(book):
    first = sell(book, 1, 100, 5)
    buy(book, 2, 100, 2)
    assert (first.order_id, first.leaves_qty, first.fills) == (1, 5, ())
    assert repr(first) == "BookResult(order_id=1, fills=(), leaves_qty=5, cancelled=None, refused=None)"


def test_results_are_equal_if_the_book_said_the_same(make):
    one, two = sell(make(), 1, 100, 5), sell(make(), 1, 100, 5)
    other = sell(make(), 1, 100, 6)
    assert one == two != other
    assert one != "something else"
    assert len({one, two, other}) == 2
    assert pickle.loads(pickle.dumps(one)) == copy.copy(one) == one  # noqa: S301 - our own
    with pytest.raises(AttributeError):
        one.refused = "NotOwner"


def test_a_copy_of_a_book_is_a_book_of_its_own(make):
    for ids in ("caller", "handles"):
        book = make(ids=ids)
        number = sell(book, 1 if ids == "caller" else 0, 100, 5).order_id
        for twin in (copy.deepcopy(book), pickle.loads(pickle.dumps(book))):  # noqa: S301 - our own
            assert twin.state_hash() == book.state_hash()
            assert twin.cancel(order_id=number)
            twin.check()
        book.check()
        assert book.open_qty(number) == 5


@pytest.mark.parametrize("number", [0, -1, 2**63, 2**200, np.int64(7)])
def test_what_is_not_live_has_nothing_open(make, number):
    for ids in ("caller", "handles"):
        assert make(ids=ids).open_qty(number) == 0


def test_a_sweep_reports_every_fill_however_many(book):
    for number in range(1, 201):
        sell(book, number, 100 + number % 7, 1)
    result = buy(book, 1_000, 107, 201)
    assert (len(result.fills), result.leaves_qty) == (200, 1)
    assert [fill.price for fill in result.fills] == sorted(fill.price for fill in result.fills)
    assert buy(book, 1_001, 50, 1).leaves_qty == 1
    book.check()


def test_an_amend_reports_every_fill_however_many(book):
    for number in range(1, 201):
        sell(book, number, 100, 1)
    buy(book, 1_000, 90, 1)
    result = book.amend(order_id=1_000, price=100, qty=200)
    assert (len(result.fills), result.leaves_qty) == (200, 0)
    book.check()


def test_nothing_is_unread_after_calls_that_returned(make):
    for engine_book in (make(), make(ids="handles")):
        engine_book.place(side="buy", price=1, qty=1)
        done, reports = engine_book.take_unread()
        assert (done, reports.dtype, len(reports)) == (0, REPORT, 0)


def test_depth_shows_as_many_levels_as_are_asked_for(book):
    for number in range(1, 101):
        buy(book, number, number, 1)
    assert [level.price for level in book.depth(levels=3).bids] == [100, 99, 98]
    assert len(book.depth(levels=None).bids) == 100
    assert book.depth(levels=0).bids == []
    assert len(book.depth(levels=16).bids) == 16
    assert len(book.depth(levels=1_000).bids) == 100


# ── random books ─────────────────────────────────────────────────────────────────────────────────


def naive(orders, cancels):
    """The simplest book there is: a list, sorted whenever somebody trades."""
    resting, trades = [], []
    for number, (side, price, wanted) in enumerate(orders):
        qty = wanted
        for maker in sorted((m for m in resting if m[0] != side), key=lambda m: (m[1] if side == "buy" else -m[1], m[3])):
            if not qty or (maker[1] > price if side == "buy" else maker[1] < price):
                break
            traded = min(qty, maker[2])
            maker[2] -= traded
            qty -= traded
            trades.append((maker[3], number, maker[1], traded))
        resting = [m for m in resting if m[2] and m[3] != cancels.get(number)]
        if qty:
            resting.append([side, price, qty, number])
    return trades, sorted((m[3], m[2]) for m in resting)


@pytest.mark.parametrize("seed", range(20))
def test_the_book_agrees_with_the_simplest_one(make, seed):
    rnd = random.Random(seed)
    orders = [(rnd.choice(("buy", "sell")), rnd.randint(95, 105), rnd.randint(1, 9)) for _ in range(300)]
    cancels = {number: rnd.randint(0, number) for number in range(300) if rnd.random() < 0.3}
    book, trades = make(), []
    for number, (side, price, qty) in enumerate(orders):
        result = book.place(order_id=number + 1, side=side, price=price, qty=qty)
        trades += [(fill.maker - 1, number, fill.price, fill.qty) for fill in result.fills]
        if number in cancels and cancels[number] != number:
            book.cancel(order_id=cancels[number] + 1)
        book.check()
    expected, resting = naive(orders, {n: c for n, c in cancels.items() if c != n})
    assert trades == expected
    assert sorted((order - 1, qty) for side in ("buy", "sell") for order, _, qty in book.queue(0, side)) == resting


@pytest.mark.parametrize("ids", ["caller", "handles"])
@pytest.mark.parametrize("seed", range(4))
def test_a_random_book_keeps_its_invariants(make, seed, ids):
    rnd = random.Random(seed)
    book = make(books=2, ids=ids)
    known = [1]
    for number in range(600):
        draw = rnd.random()
        if draw < 0.6:
            result = book.place(
                order_id=number + 1 if ids == "caller" else 0,
                side=rnd.choice(("buy", "sell")),
                price=rnd.randint(95, 105),
                qty=rnd.randint(2, 9),
                account=rnd.randint(0, 3),
                book=rnd.randint(0, 1),
                display=rnd.choice((0, 0, 1)),
                time_in_force=rnd.choice(("gtc", "gtc", "ioc", "fok")),
                own_orders=rnd.choice(("cancel_taker", "cancel_maker", "cancel_both")),
            )
            known.append(result.order_id)
        elif draw < 0.8:
            book.cancel(order_id=rnd.choice(known[-15:]), account=rnd.randint(0, 3))
        else:
            book.amend(
                order_id=rnd.choice(known[-15:]), account=rnd.randint(0, 3), price=rnd.randint(95, 105), qty=rnd.randint(1, 9)
            )
        book.check()
