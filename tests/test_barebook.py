"""The compiled book as an object: equal to the reference, in any buffer, after any interruption, and checked for real."""

from __future__ import annotations

import copy
import os
import random
import subprocess
import sys
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pytest

from book_flow import SHAPES, BookFlow
from interrupter import Interrupter
from rightsx import Exchange, OrderBook, book as book_tables
from rightsx._jit import COMPILED
from rightsx.engine import bare, barebook, bookread
from rightsx.engine.barebook import CompiledBook
from rightsx.engine.spare import MOST_BYTES, Spare
from rightsx.protocol import COMMAND, REPORT, Command, CommandKind, Side, commands_of, report_records
from rightsx.reference.bare import ReferenceBook, reports_of

LIMIT = 2**22
SOME_SHAPES = ["calm", "calm_handles", "icebergs", "icebergs_handles", "own_orders", "ends", "digits", "full", "hostile_handles"]


def live_of(reference):
    """Ids and accounts of live orders, as a flow wants them."""
    return np.array([(order.id, order.account) for order in reference._live.values()], np.int64).reshape(-1, 2)


def flow_of(name, seed, batches, length):
    """Batches of a shape, with what the reference says of each and its hash after it."""
    shape = SHAPES[name]
    reference = ReferenceBook(shape.books, shape.ids, shape.limit)
    flow = BookFlow(shape, seed)
    for _ in range(batches):
        rows = flow.batch(length, live_of(reference))
        yield rows, records(reports_of(reference, commands_of(rows))), reference.state_hash()


def records(reports):
    return report_records(reports) if reports else np.zeros(0, REPORT)


def compiled(name, **rooms):
    shape = SHAPES[name]
    return CompiledBook(shape.books, shape.ids, shape.limit, **rooms)


TINY = {"report_rows": 3, "order_rows": 2, "node_rows": 3}

# ── equal to the reference ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SOME_SHAPES)
def test_reports_state_and_queries_are_the_references(name):
    shape = SHAPES[name]
    book, reference = compiled(name, **TINY), ReferenceBook(shape.books, shape.ids, shape.limit)
    flow = BookFlow(shape, seed=1)
    for _ in range(40):
        rows = flow.batch(8, live_of(reference))
        for index, command in enumerate(commands_of(rows)):
            assert book.apply(command, index) == reference.apply(command, index)
            assert book.state_hash() == reference.state_hash()
            book.check()
        for number in range(shape.books):
            for side in Side:
                assert book.depth(number, side) == reference.depth(number, side)
                assert book.depth(number, side, 2) == reference.depth(number, side, 2)
                mine, theirs = list(book.orders(number, side)), list(reference.orders(number, side))
                for name_ in bookread.Resting._fields:
                    assert [getattr(o, name_) for o in mine] == [getattr(o, name_) for o in theirs]
        for order_id, _ in live_of(reference).tolist():
            assert book.order(order_id).open_qty == reference.order(order_id).open_qty


@pytest.mark.parametrize("name", SOME_SHAPES)
@pytest.mark.parametrize("seed", range(2))
def test_memory_is_the_same_in_batches_and_buffers_of_any_size(name, seed):
    rooms = {"order_rows": 2, "node_rows": 3}
    books = [compiled(name, report_rows=rows, **rooms) for rows in (3, 4, 7, None)]
    single = compiled(name, **rooms)
    for rows, reports, state in flow_of(name, seed, 12, 24):
        for book in books:
            assert book.apply_batch(rows).tobytes() == reports.tobytes()
        for command in commands_of(rows):
            single.apply(command)
        assert {book.memory_hash() for book in [*books, single]} == {single.memory_hash()}
        assert {book.state_hash() for book in [*books, single]} == {state}
        single.check()


def test_memory_tells_states_apart():
    book, other = CompiledBook(1, "caller", 9), CompiledBook(1, "caller", 9)
    empty = book.memory_hash()
    book.apply(Command(kind=1, side=1, time_in_force=1, order_id=5, price=3, qty=2))
    assert book.memory_hash() != empty == other.memory_hash()
    other.apply(Command(kind=1, side=1, time_in_force=1, order_id=6, price=3, qty=2))
    assert book.memory_hash() != other.memory_hash()
    book.apply(Command(kind=CommandKind.CANCEL, order_id=5))
    assert book.memory_hash() != empty, "the slot was used once"


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from test_barebook import compiled, flow_of
for name in ("calm", "icebergs_handles"):
    book = compiled(name, order_rows=2, node_rows=3)
    for rows, _, _ in flow_of(name, 3, 4, 40):
        book.apply_batch(rows)
    print(book.memory_hash(), book.state_hash())
"""


def test_memory_is_the_same_compiled_and_uncompiled():
    told = []
    for disabled in ("0", "1"):
        words = [sys.executable, "-c", SCRIPT.format(tests=str(Path(__file__).parent))]
        done = subprocess.run(
            words, capture_output=True, text=True, check=True, env={**os.environ, "NUMBA_DISABLE_JIT": disabled}
        )
        told.append(done.stdout)
    assert told[0] == told[1] != ""


def test_any_stretch_of_commands_will_do():
    shape = SHAPES["calm"]
    rows = BookFlow(shape, 1).batch(50, np.zeros((0, 2), np.int64))
    expected = compiled("calm").apply_batch(rows)
    shifted = np.frombuffer(bytes(3) + rows.tobytes(), np.uint8)[3:].view(COMMAND)
    doubled = np.repeat(rows, 2)[::2]
    frozen = rows.copy()
    frozen.setflags(write=False)
    for given in (shifted, doubled, frozen):
        assert compiled("calm").apply_batch(given).tobytes() == expected.tobytes()


def test_reports_given_once_are_never_written_again():
    book = OrderBook()
    rows = np.zeros(3, COMMAND)
    rows["kind"], rows["side"], rows["time_in_force"], rows["qty"], rows["order_id"] = 1, 1, 1, 1, [1, 2, 3]
    first = book.apply_batch(rows)
    kept = first.copy()
    result = book.place(order_id=4, side="buy", price=1, qty=1)
    said = result.reports
    book.apply_batch(rows)
    book.place(order_id=5, side="buy", price=1, qty=1)
    assert first.tobytes() == kept.tobytes()
    assert result.reports == said


def test_a_handle_is_used_again_after_two_to_the_31_orders():
    book = CompiledBook(1, "handles", 9)
    place = Command(kind=1, side=1, time_in_force=1, qty=2)
    book.apply(place)
    book._tables.arrays[4][1]["id"] = last = (2**31 - 1) << 32 | 1
    book.check()
    assert book.apply(Command(kind=CommandKind.CANCEL, order_id=last))[0].code == 101
    book.check()
    assert book.apply(place)[0].order_id == 1
    book.check()
    assert book.order(last) is None


# ── interrupted ──────────────────────────────────────────────────────────────────────────────────

whole_kernels = pytest.mark.skipif(not COMPILED, reason="a kernel that is not compiled can be interrupted itself")


def swept_flow():
    """Commands that fill a tiny book, grow every table and sweep it."""
    shape = SHAPES["icebergs"]
    return BookFlow(shape, 5).batch(30, np.zeros((0, 2), np.int64))


def interrupted(rows, *moments):
    """Apply a batch that is interrupted, then the rest of it: the reports of all, the memory, the instructions passed."""
    book, reference = compiled("icebergs", **TINY), ReferenceBook(3, "caller", LIMIT)
    told = []
    try:
        with Interrupter(*moments) as interrupter:
            book.apply_batch(rows)
    except KeyboardInterrupt:
        done, reports = book.take_unread()
        told += reports.tolist()
        assert book.take_unread()[0] == 0, "what was taken is taken"
        reports_of(reference, commands_of(rows[:done]))
        assert book.state_hash() == reference.state_hash()
        book.check()
        rest = book.apply_batch(rows[done:])
        rest["command_index"] += done
        told += rest.tolist()
    return told, book.memory_hash(), interrupter.passed


@whole_kernels
def test_a_batch_interrupted_anywhere_has_done_whole_commands_and_keeps_their_reports():
    rows = swept_flow()
    expected = compiled("icebergs").apply_batch(rows).tolist()
    _, memory, moments = interrupted(rows)
    assert moments > 100
    stride = 7
    for moment in range(1, moments, stride):
        told, left, _ = interrupted(rows, moment)
        assert (told, left) == (expected, memory), f"interrupted at {moment}"


@whole_kernels
@pytest.mark.parametrize("seed", range(3))
def test_a_batch_interrupted_while_it_settles_settles_later(seed):
    rows = swept_flow()
    expected = compiled("icebergs").apply_batch(rows).tolist()
    _, memory, moments = interrupted(rows)
    rnd = random.Random(seed)
    for _ in range(40):
        first = rnd.randrange(1, moments)
        again = (first + rnd.randrange(1, 60), first + rnd.randrange(60, 120))
        told, left, _ = interrupted(rows, first, *again)
        assert (told, left) == (expected, memory), f"interrupted at {first}, {again}"


@whole_kernels
@pytest.mark.parametrize("asks_at_once", [True, False])
def test_a_single_order_interrupted_anywhere_is_applied_or_not(asks_at_once):
    def filled():
        book = OrderBook()
        for number in range(1, 100):
            book.place(order_id=number, side="sell", price=100 + number % 3, qty=1)
        return book

    states, unread = set(), set()
    after = filled()
    due = after.place(order_id=1_000, side="buy", price=102, qty=100).reports
    before = filled().state_hash()
    for moment in count(1):
        book = filled()
        try:
            with Interrupter(moment):
                book.place(order_id=1_000, side="buy", price=102, qty=100)
        except KeyboardInterrupt:
            pass
        else:
            break
        if asks_at_once:
            done, reports = book.take_unread()
            unread.add((done, len(reports)))
        # Whoever asks first, a query or an order, finds no half of a command.
        result = book.place(order_id=1_001, side="sell", price=500, qty=1)
        assert (result.order_id, result.leaves_qty) == (1_001, 1)
        assert book.cancel(order_id=1_001)
        book.check()
        states.add(book.state_hash())
    assert states == {before, after.state_hash()}
    assert unread == ({(0, 0), (1, len(due))} if asks_at_once else set())


def test_an_exception_says_how_much_was_done(monkeypatch):
    rows = swept_flow()
    book = compiled("icebergs", **TINY)
    grow = barebook.growth_due
    calls = count()

    def short(tables, enter):
        if next(calls) == 2:
            raise MemoryError
        return grow(tables, enter)

    monkeypatch.setattr(barebook, "growth_due", short)
    with pytest.raises(MemoryError) as caught:
        book.apply_batch(rows)
    done, reports = book.take_unread()
    assert caught.value.__notes__ == [f"{done} of {len(rows)} commands were applied; take_unread() gives their reports"]
    assert 0 < done < len(rows)
    assert reports["command_index"][-1] == done - 1


@pytest.mark.parametrize("short_of", ["nodes", "orders"])
def test_growth_that_fails_leaves_the_state_of_before(monkeypatch, short_of):
    book = CompiledBook(1, "caller", LIMIT, order_rows=4, node_rows=4)
    place = Command(kind=1, side=1, time_in_force=1, qty=2)
    step = 1 if short_of == "orders" else 10**6
    for number in count(1):
        before = (book.memory_hash(), book.state_hash())
        with monkeypatch.context() as patched:
            patched.setattr(book_tables, "aligned_zeros", fails := Failing(book_tables.aligned_zeros))
            for fails.at in range(1, 4):
                fails.calls = 0
                try:
                    book.apply(place._replace(order_id=number, price=number * step))
                except MemoryError:
                    assert (book.memory_hash(), book.state_hash()) == before
                    book.check()
                else:
                    break
        if book.order(number) is None:
            book.apply(place._replace(order_id=number, price=number * step))
            break
    book.check()
    assert [order.id for order in book.orders(0, Side.BUY)] == list(range(number, 0, -1))


class Failing:
    """Raises MemoryError at a call."""

    def __init__(self, function):
        self.function, self.at, self.calls = function, 0, 0

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls == self.at:
            raise MemoryError
        return self.function(*arguments)


def test_a_sweep_without_room_for_its_reports_is_finished_when_there_is_memory(monkeypatch):
    book = CompiledBook(1, "caller", LIMIT, report_rows=3)
    place = Command(kind=1, side=2, time_in_force=1, qty=1, price=5)
    for number in range(1, 11):
        book.apply(place._replace(order_id=number))
    with monkeypatch.context() as patched:
        patched.setattr(barebook.np, "empty", Failing(np.empty))
        barebook.np.empty.at = 1
        with pytest.raises(MemoryError):
            book.apply(place._replace(order_id=11, side=1, qty=11))
        barebook.np.empty.function = lambda *_: (_ for _ in ()).throw(MemoryError)
    done, reports = book.take_unread()
    assert (done, len(reports)) == (1, 11)
    assert [order.open_qty for order in book.orders(0, Side.BUY)] == [1]
    book.check()


def test_an_unfinished_command_is_finished_by_whoever_asks_next():
    for ask in (CompiledBook.check, CompiledBook.state_hash, CompiledBook.memory_hash, lambda book: book.depth(0, Side.BUY)):
        book = CompiledBook(1, "caller", LIMIT, report_rows=3)
        place = Command(kind=1, side=2, time_in_force=1, qty=1, price=5)
        for number in range(1, 11):
            book.apply(place._replace(order_id=number))
        plain = 1 | 1 << 8 | 1 << 16
        assert book.call(book.state, bare.ONE, plain, 0, 0, 11, 5, 11, 0) & 3 == bare.FULL
        assert book.call(book.state, bare.ONE, plain, 0, 0, 12, 5, 11, 0) == bare.BUSY
        ask(book)
        assert [order.id for order in book.orders(0, Side.BUY)] == [11]
        done, reports = book.take_unread()
        assert (done, len(reports)) == (1, 11)


def test_a_single_order_finds_an_unfinished_one_and_finishes_it_first():
    book = OrderBook()
    for number in range(1, 101):
        book.place(order_id=number, side="sell", price=5, qty=1)
    plain = 1 | 1 << 8 | 1 << 16
    assert book._call(book._state, bare.ONE, plain, 0, 0, 101, 5, 101, 0) & 3 == bare.FULL
    result = book.place(order_id=102, side="sell", price=5, qty=3)
    assert [(fill.maker, fill.qty) for fill in result.fills] == [(101, 1)]
    assert result.leaves_qty == 2
    done, reports = book.take_unread()
    assert (done, len(reports)) == (1, 101)
    book.check()


@pytest.mark.skipif(COMPILED, reason="a constant of a compiled kernel is compiled, too")
@pytest.mark.parametrize("name", ["calm", "calm_handles", "hostile_handles"])
def test_asking_memory_early_changes_nothing(monkeypatch, name):
    monkeypatch.setattr(bare, "DEEP", 0)
    book = compiled(name, **TINY)
    for rows, reports, state in flow_of(name, 4, 4, 40):
        assert book.apply_batch(rows).tobytes() == reports.tobytes()
        assert book.state_hash() == state


def test_more_nodes_than_a_level_can_name_are_a_memory_error(monkeypatch):
    monkeypatch.setattr(book_tables, "NODES_END", 8)
    book = CompiledBook(1, "caller", LIMIT, node_rows=4)
    place = Command(kind=1, side=1, time_in_force=1, qty=1)
    for number in range(1, 6):
        book.apply(place._replace(order_id=number, price=64 * number))
    before = book.memory_hash()
    with pytest.raises(MemoryError, match="16 nodes of prices; 8 is the most"):
        book.apply(place._replace(order_id=6, price=64 * 6))
    assert book.memory_hash() == before
    assert book.apply(Command(kind=CommandKind.CANCEL, order_id=1))[0].code == 101, "a cancel needs no room"
    book.check()


# ── checked for real ─────────────────────────────────────────────────────────────────────────────


def busy(ids="caller"):
    """A book with deep queues, icebergs, inner nodes, free slots and free nodes."""
    book = CompiledBook(2, ids, 100)
    place = Command(kind=1, time_in_force=1, qty=6)
    handles = []
    for number, price in enumerate((100, 100, 100, 130, 2**40, -5, 101), 1):
        display = 2 if number == 2 else 0
        for side, at in ((1, price - 2**50), (2, price)):
            order_id = 2 * number + side if ids == "caller" else 0
            handles += [r.order_id for r in book.apply(place._replace(order_id=order_id, side=side, price=at, display=display))]
    for order_id in handles[-3:]:
        book.apply(Command(kind=CommandKind.CANCEL, order_id=order_id))
    book.check()
    return book


def leaf_of(book, side=1):
    level, _ = next(bookread.levels_walk(book._tables, side))
    return level


BREAKS = {
    "a level is forgotten": lambda t, level: t.arrays[2][level // 64].__setitem__("bitmap", 0),
    "an empty level is remembered": lambda t, level: t.arrays[2][level // 64].__setitem__("bitmap", -1),
    "the best is not the first": lambda t, _: t.arrays[1][1].__setitem__("best", 64 * 3 + 1),
    "the best key is off": lambda t, _: t.arrays[1][1].__setitem__("best_key", 7),
    "a root is lost": lambda t, _: t.arrays[1][1].__setitem__("root", 0),
    "a node is another side's": lambda t, level: t.arrays[2][level // 64].__setitem__("side", 0),
    "a node has another mask": lambda t, level: t.arrays[2][level // 64].__setitem__("mask", -1),
    "a node has a wrong parent": lambda t, level: t.arrays[2][level // 64].__setitem__("parent", 0),
    "a node has an odd shift": lambda t, level: t.arrays[2][level // 64].__setitem__("shift", 5),
    "a node has another prefix": lambda t, level: t.arrays[2][level // 64].__setitem__("key", 2**45),
    "a queue's tail is wrong": lambda t, level: t.arrays[3][level].__setitem__("tail", 0),
    "a queue's head is free": lambda t, level: t.arrays[3][level].__setitem__("head", int(t.arrays[0][0]["order_free"])),
    "an order forgets who is before it": lambda t, level: order_at(t, level).__setitem__("prev", 1),
    "an order names another level": lambda t, level: order_at(t, level).__setitem__("level", 1),
    "an order shows nothing": lambda t, level: order_at(t, level).__setitem__("word", 0),
    "an order has another id": lambda t, level: order_at(t, level).__setitem__("id", 999),
    "an order has no id": lambda t, level: order_at(t, level).__setitem__("id", -1),
    "free slots run in a circle": lambda t, _: t.arrays[4][int(t.arrays[0][0]["order_free"])].__setitem__(
        "next", int(t.arrays[0][0]["order_free"])
    ),
    "free slots are lost": lambda t, _: t.arrays[0][0].__setitem__("order_free", 0),
    "free nodes are lost": lambda t, _: t.arrays[0][0].__setitem__("node_used", 12),
    "the live are miscounted": lambda t, _: t.arrays[0][0].__setitem__("live", 3),
    "there are more than may": lambda t, _: t.arrays[0][0].__setitem__("live_limit", 3),
    "a command is half done": lambda t, _: t.arrays[0][0].__setitem__("resuming", 1),
    "more slots are used than there are": lambda t, _: t.arrays[0][0].__setitem__("order_used", 2_000),
    "a table is shorter than HEAD says": lambda t, _: t.arrays[0][0].__setitem__("node_rows", 128),
    "a book is crossed": lambda t, _: cross(t),
}
CALLER_BREAKS = {
    "ids are hashed to fewer cells": lambda t, _: t.arrays[0][0].__setitem__("id_shift", 21),
    "an id is lost": lambda t, _: t.arrays[6][int(np.flatnonzero(t.arrays[6]["slot"])[0])].__setitem__("slot", 0),
    "an id has another's tag": lambda t, _: t.arrays[6][int(np.flatnonzero(t.arrays[6]["slot"])[0])].__setitem__("tag", 1),
    "an id stands behind a gap": lambda t, _: move_an_id(t),
    "an id is entered twice": lambda t, _: copy_an_id(t),
    "an iceberg shows more than it may": lambda t, _: t.arrays[5]["display"].__setitem__(slice(None), 1),
    "an iceberg hides less than nothing": lambda t, _: t.arrays[5]["hidden"].__setitem__(slice(None), -1),
}
HANDLE_BREAKS = {
    "a free handle lives": lambda t, _: t.arrays[4][int(t.arrays[0][0]["order_free"])].__setitem__(
        "id", 5 << 32 | int(t.arrays[0][0]["order_free"])
    ),
    "a handle names another slot": lambda t, level: order_at(t, level).__setitem__("id", 1 << 32 | 9),
    "handles have a table": lambda t, _: t.grow(6, 16),
}


def order_at(tables, level):
    return tables.arrays[4][int(tables.arrays[3][level]["head"])]


def cross(tables):
    """Give the asks' side the bids' prices."""
    for node in tables.arrays[2][1:]:
        if node["side"] == 1:
            node["key"] -= 2**60 if node["shift"] < 54 else 0
    _, price = next(bookread.levels_walk(tables, 1))
    tables.arrays[1][1]["best_key"] = price


def move_an_id(tables):
    cells = tables.arrays[6]
    place = int(np.flatnonzero(cells["slot"])[0])
    cells[(place + 2) % len(cells)] = cells[place]
    cells[place]["slot"] = 0


def copy_an_id(tables):
    cells = tables.arrays[6]
    place = next(int(a) for a, b in pairwise([*np.flatnonzero(cells["slot"]), len(cells)]) if b > a + 1)
    cells[place + 1] = cells[place]


@pytest.mark.parametrize(
    ("ids", "name"),
    [(ids, name) for ids, more in (("caller", CALLER_BREAKS), ("handles", HANDLE_BREAKS)) for name in {**BREAKS, **more}],
)
def test_a_broken_invariant_is_found(ids, name):
    book = busy(ids)
    breaks = {**BREAKS, **CALLER_BREAKS, **HANDLE_BREAKS}[name]
    breaks(book._tables, leaf_of(book))
    with pytest.raises(AssertionError):
        bookread.tables_check(book._tables)


def test_a_copy_has_memory_of_its_own():
    book = busy()
    twin = copy.deepcopy(book)
    assert twin.memory_hash() == book.memory_hash()
    twin.apply(Command(kind=CommandKind.CANCEL, order_id=3))
    assert twin.memory_hash() != book.memory_hash()
    book.check()
    twin.check()


def test_books_that_are_not_there_are_empty():
    book = CompiledBook(2, "caller", 9)
    for number in (-1, 2, 2**40):
        assert book.depth(number, Side.BUY) == list(book.orders(number, Side.SELL)) == []


# ── memory for answers ───────────────────────────────────────────────────────────────────────────


def batches_of(face):
    """A book or a market, and commands of which each is refused: as many answers as commands."""
    if face == "book":
        return OrderBook(), np.array([tuple(Command(kind=2, order_id=n)) for n in range(1, 40)], COMMAND)
    return Exchange(keep_events=False), np.array([tuple(Command(kind=2, order_id=n)) for n in range(1, 40)], COMMAND)


@pytest.mark.unaudited
@pytest.mark.parametrize("face", ["book", "market"])
def test_an_answer_that_is_held_stays_and_the_memory_of_one_that_is_gone_is_used_again(face):
    one, rows = batches_of(face)
    first = one.apply_batch(rows)
    part, kept = first[3:5], first.tobytes()
    held = part.tobytes()
    place = first.ctypes.data
    second = one.apply_batch(rows[::-1])
    assert second.ctypes.data != place
    assert first.tobytes() == kept
    del first
    third = one.apply_batch(rows)
    assert part.tobytes() == held, "a part of an answer is held, too"
    place = third.ctypes.data
    del second, third
    assert one.apply_batch(rows).ctypes.data == place
    assert one.apply_batch(rows).ctypes.data == place


def test_much_memory_is_not_held():
    held = Spare(REPORT)
    assert len(held.take(MOST_BYTES // REPORT.itemsize + 1)) > MOST_BYTES // REPORT.itemsize
    assert len(held._array) == 0
    place = held.take(5).ctypes.data
    assert held.take(4).ctypes.data == place
    one = held.take(5)
    assert held.take(5) is not one
