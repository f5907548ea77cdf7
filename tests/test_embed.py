"""The order book for C: the header is true, the example runs, and a block says what the reference says."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from book_flow import SHAPES, BookFlow
from rightsx import embed
from rightsx._jit import COMPILED, memory_at
from rightsx.engine import bookread
from rightsx.engine.bare import LEVEL
from rightsx.protocol import COMMAND, REPORT, Side, commands_of, report_records
from rightsx.reference.bare import ReferenceBook, reports_of

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "embed.c"
CC = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
PYTHON_H = Path(sysconfig.get_path("include")) / "Python.h"
TOLD = """\
command 0 kind 1 order 1 other 0 price 101 qty 5 code 0
command 1 kind 1 order 2 other 0 price 102 qty 5 code 0
command 2 kind 1 order 3 other 0 price 99 qty 4 code 0
command 3 kind 1 order 4 other 0 price 102 qty 7 code 0
command 3 kind 2 order 4 other 1 price 101 qty 5 code 0
command 3 kind 2 order 4 other 2 price 102 qty 2 code 0
command 4 kind 3 order 3 other 0 price 99 qty 4 code 101
command 5 kind 5 order 3 other 0 price 0 qty 0 code 11
no bids, 3 asked for 102
"""
needs_cc = pytest.mark.skipif(CC is None, reason="there is no C compiler")
needs_addresses = pytest.mark.skipif(not COMPILED, reason="a kernel has an address only if it is compiled")


class Calls:
    """The five functions as Python calls them: by address, or uncompiled as they are."""

    def __init__(self):
        for name, (function, words, _) in embed.CALLS.items():
            if COMPILED:
                kind = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(words))
                setattr(self, name, kind(embed.addresses()[name]))
            else:
                setattr(self, name, function)


CALLS = Calls()


class Block:
    """A block and its limits, in memory that Python owns, filled with rubbish first."""

    def __init__(self, *, orders=100, books=1, levels=20, handles=0, lies=0):
        self.limits = np.array([(orders, books, levels, handles)], embed.LIMITS)
        needed = CALLS.bytes_needed(self.limits.ctypes.data)
        assert needed > 0
        self.memory = np.full(needed // 8 + 16, -0x5A5A5A5A5A5A5A5A, np.int64)
        self.end = needed // 8 + 1 + lies
        self.address = self.memory[1 + lies :].ctypes.data
        assert CALLS.init(self.address, self.limits.ctypes.data) == embed.DONE

    def apply(self, rows, room=10_000):
        """Apply commands as a C program would: report by report buffer; gives the last answer, how far, and all reports."""
        reports = np.zeros(room, REPORT)
        progress = np.zeros(1, embed.PROGRESS)
        parts = []
        ended = embed.FULL
        while ended == embed.FULL:
            ended = CALLS.apply_batch(self.address, rows.ctypes.data, len(rows), reports.ctypes.data, room, progress.ctypes.data)
            parts.append(reports[: progress["report"][0]].copy())
            progress["report"] = 0
        return ended, int(progress["command"][0]), np.concatenate(parts)

    def check(self):
        """Hold the block to every invariant of the book; nothing has been written beyond it."""
        tables = embed.block_tables(self.address)
        bookread.tables_check(tables)
        assert (self.memory[self.end :] == -0x5A5A5A5A5A5A5A5A).all()
        assert (self.memory[: (self.address - self.memory.ctypes.data) // 8] == -0x5A5A5A5A5A5A5A5A).all()

    def state_hash(self):
        return bookread.state_hash(embed.block_tables(self.address))


def place(order_id, side=1, price=100, qty=1):
    row = np.zeros(1, COMMAND)
    row["kind"], row["side"], row["time_in_force"] = 1, side, 1
    row["order_id"], row["price"], row["qty"] = order_id, price, qty
    return row


def cancel(order_id):
    row = np.zeros(1, COMMAND)
    row["kind"], row["order_id"] = 2, order_id
    return row


def live_of(reference):
    return np.array([(order.id, order.account) for order in reference._live.values()], np.int64).reshape(-1, 2)


# ── a block and the reference ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("room", [3, 4, 7, 5_000])
@pytest.mark.parametrize("name", ["calm", "calm_handles", "icebergs", "own_orders", "ends", "digits", "hostile_handles", "full"])
def test_a_block_says_what_the_reference_says(name, room):
    shape = SHAPES[name]
    limit = min(shape.limit, 4_000)
    reference = ReferenceBook(shape.books, shape.ids, limit)
    block = Block(orders=limit, books=shape.books, levels=400, handles=int(shape.ids == "handles"))
    flow = BookFlow(shape, seed=7)
    for _ in range(12):
        rows = flow.batch(32, live_of(reference))
        expected = reports_of(reference, commands_of(rows))
        ended, reached, reports = block.apply(rows, room)
        assert (ended, reached) == (embed.DONE, len(rows))
        assert reports.tobytes() == report_records(expected).tobytes()
        assert block.state_hash() == reference.state_hash()
        block.check()
    price, level = np.zeros(1, np.int64), np.zeros(1, LEVEL)
    for number in range(shape.books):
        for side in Side:
            ladder = reference.depth(number, side)
            for place_, expected_level in enumerate(ladder):
                assert CALLS.depth_at(block.address, number, int(side), place_, level.ctypes.data) == embed.DONE
                assert level[0].tolist() == expected_level
            assert CALLS.depth_at(block.address, number, int(side), len(ladder), level.ctypes.data) == embed.EMPTY
            assert CALLS.depth_at(block.address, number, int(side), len(ladder) + 5, level.ctypes.data) == embed.EMPTY
            best = CALLS.best(block.address, number, int(side), price.ctypes.data)
            assert (best, price[0] if ladder else None) == ((embed.DONE, ladder[0][0]) if ladder else (embed.EMPTY, None))


def test_one_message_a_call_is_the_same_as_a_batch():
    rows = BookFlow(SHAPES["calm"], 3).batch(200, np.zeros((0, 2), np.int64))
    whole, single = Block(books=3, orders=500, levels=100), Block(books=3, orders=500, levels=100)
    _, _, expected = whole.apply(rows)
    told = []
    for index in range(len(rows)):
        ended, _, reports = single.apply(rows[index : index + 1], room=3)
        assert ended == embed.DONE
        reports["command_index"] = index
        told.append(reports)
    assert np.concatenate(told).tobytes() == expected.tobytes()
    assert whole.state_hash() == single.state_hash()


def test_a_long_batch_is_run_in_stretches():
    rows = np.concatenate([np.concatenate([place(1), cancel(1)])] * (embed.STRETCH + 3))
    block = Block()
    ended, reached, reports = block.apply(rows, room=100_000)
    assert (ended, reached, len(reports)) == (embed.DONE, len(rows), len(rows))
    rows["kind"][embed.STRETCH + 5] = 9
    ended, reached, reports = block.apply(rows, room=100_000)
    assert (ended, reached, len(reports)) == (embed.BAD, embed.STRETCH + 5, embed.STRETCH + 5)
    block.check()


# ── limits ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("levels", [1, 2, 5])
def test_as_many_levels_as_are_promised_always_find_room(levels):
    """Prices that part at every depth of the trie, and come and go, so that chains of nodes are left behind."""
    rng = np.random.default_rng(levels)
    block = Block(orders=levels, levels=levels)
    live = []
    for number in range(1, 2_001):
        if len(live) == levels:
            ended, _, _ = block.apply(cancel(live.pop(int(rng.integers(levels)))))
            assert ended == embed.DONE
        price = int(rng.integers(0, 64)) << int(6 * rng.integers(0, 10))
        ended, _, _ = block.apply(place(number, price=-price if rng.random() < 0.5 else price))
        assert ended == embed.DONE
        live.append(number)
        if number % 100 == 0:
            block.check()


def spread(number):
    """A price that shares a node with no other."""
    return number * 64


def test_a_price_too_many_is_capacity_before_the_command_begins_and_cancels_go_on():
    block = Block(orders=5_000, levels=1)
    placed = 0
    for placed in range(1, 100):
        before = block.state_hash()
        ended, reached, reports = block.apply(place(placed, price=spread(placed)))
        if ended == embed.CAPACITY:
            break
    assert (ended, reached, len(reports)) == (embed.CAPACITY, 0, 0)
    assert block.state_hash() == before
    block.check()
    rows = np.concatenate([cancel(1), place(1, price=spread(1)), place(901, price=spread(5_000)), cancel(2)])
    ended, reached, reports = block.apply(rows)
    assert (ended, reached) == (embed.CAPACITY, 2)
    assert reports["command_index"].tolist() == [0, 1]
    for number in range(1, placed):
        assert block.apply(cancel(number))[0] == embed.DONE
    # Freed nodes count, though no fresh one is left.
    for number in range(1, 12):
        assert block.apply(place(number, price=spread(number)))[0] == embed.DONE
        assert block.apply(cancel(number))[0] == embed.DONE
    block.check()


def test_an_amend_may_be_capacity_too_and_a_sweep_may_be_full_there():
    block = Block(orders=5_000, levels=1)
    placed = 0
    while block.apply(place(placed + 1, price=spread(placed + 1)))[0] == embed.DONE:
        placed += 1
    amend = cancel(1)
    amend["kind"], amend["flags"], amend["price"] = 3, 1, spread(5_000)
    assert block.apply(amend)[:2] == (embed.CAPACITY, 0)
    for number in (1, 2):
        assert block.apply(cancel(number))[0] == embed.DONE
    amend["order_id"] = 3
    assert block.apply(amend)[0] == embed.DONE
    ended, _, reports = block.apply(place(7_000, side=2, price=0, qty=placed), room=3)
    assert (ended, (reports["kind"] == 2).sum()) == (embed.DONE, placed - 2)
    block.check()


@pytest.mark.parametrize("handles", [0, 1])
@pytest.mark.parametrize("orders", [1_022, 1_023, 1_024, 2_500, 9_000])
def test_the_table_of_ids_grows_with_the_live_orders_and_not_with_the_limit(orders, handles):
    block = Block(orders=orders, handles=handles, levels=3)
    cells = [len(embed.block_tables(block.address).arrays[6])]
    ids = np.arange(1, orders + 2)
    for part in np.array_split(ids, 7):
        rows = np.repeat(place(0), len(part))
        rows["order_id"] = 0 if handles else part * 7_919
        rows["price"] = part % 3
        ended, _, reports = block.apply(rows)
        assert ended == embed.DONE
        cells.append(len(embed.block_tables(block.address).arrays[6]))
        block.check()
    assert reports["code"][-1] == 48, "the last one is one too many"
    assert cells == sorted(cells)
    assert cells[0] == (0 if handles else 4_096)
    assert cells[-1] == (0 if handles else 4 * 2 ** orders.bit_length())
    number = reports["order_id"][0]
    assert block.apply(cancel(number))[2]["kind"].tolist() == [3]
    block.check()


def test_an_order_too_many_is_refused_and_a_freed_one_makes_room():
    block = Block(orders=2, levels=2)
    for number, kind in ((1, 1), (2, 1), (3, 5)):
        assert block.apply(place(number))[2]["kind"].tolist() == [kind]
    assert block.apply(place(3))[2]["code"].tolist() == [48]
    block.apply(cancel(1))
    assert block.apply(place(3))[2]["kind"].tolist() == [1]
    block.check()


GOOD = {"orders": 9, "books": 9, "levels": 9, "handles": 0}


@pytest.mark.parametrize(
    "bad",
    [
        *({name: value} for name in ("orders", "books", "levels") for value in (0, -1, -(2**63), 2**63 - 1)),
        {"orders": embed.ORDERS_END},
        {"books": embed.BOOKS_END},
        {"levels": embed.LEVELS_END},
        {"handles": 2},
        {"handles": -1},
    ],
)
def test_limits_that_no_book_can_have_are_bad(bad):
    limits = np.array([tuple({**GOOD, **bad}.values())], embed.LIMITS)
    assert CALLS.bytes_needed(limits.ctypes.data) == 0
    assert CALLS.init(np.zeros(10_000, np.int64).ctypes.data, limits.ctypes.data) == embed.BAD


def test_the_largest_limits_have_a_size():
    limits = np.array([(embed.ORDERS_END - 1, embed.BOOKS_END - 1, embed.LEVELS_END - 1, 1)], embed.LIMITS)
    assert CALLS.bytes_needed(limits.ctypes.data) > 2**33


# ── wrong calls ──────────────────────────────────────────────────────────────────────────────────


def test_a_block_that_was_moved_or_never_made_is_bad():
    block = Block()
    moved = block.memory.copy()
    address = moved.ctypes.data + (block.address - block.memory.ctypes.data)
    progress, reports, rows, price = np.zeros(1, embed.PROGRESS), np.zeros(9, REPORT), place(1), np.zeros(3, np.int64)
    for wrong in (address, 0, block.address + 4, np.zeros(100, np.int64).ctypes.data):
        given = (wrong, rows.ctypes.data, 1, reports.ctypes.data, 9, progress.ctypes.data)
        assert CALLS.apply_batch(*given) == embed.BAD
        assert CALLS.best(wrong, 0, 1, price.ctypes.data) == embed.BAD
        assert CALLS.depth_at(wrong, 0, 1, 0, price.ctypes.data) == embed.BAD
    assert CALLS.init(block.address + 4, block.limits.ctypes.data) == embed.BAD
    assert CALLS.init(0, block.limits.ctypes.data) == embed.BAD


@pytest.mark.parametrize(
    ("count", "room", "command", "report"),
    [(1, 2, 0, 0), (1, 9, 2, 0), (1, 9, -1, 0), (1, 9, 0, -1), (1, 9, 0, 10), (-1, 9, 0, 0)],
)
def test_numbers_that_cannot_be_are_bad(count, room, command, report):
    block = Block()
    progress, reports = np.array([(command, report)], embed.PROGRESS), np.zeros(9, REPORT)
    given = (block.address, place(1).ctypes.data, count, reports.ctypes.data, room, progress.ctypes.data)
    assert CALLS.apply_batch(*given) == embed.BAD
    block.check()


def test_another_batch_than_the_one_that_is_full_is_bad():
    block = Block()
    rows = np.concatenate([place(1, 2), place(2, 2), place(3, 2), place(4, 1, qty=3)])
    progress, reports = np.zeros(1, embed.PROGRESS), np.zeros(5, REPORT)
    assert block.apply(rows[:3])[0] == embed.DONE

    def go_on(count):
        return CALLS.apply_batch(block.address, rows.ctypes.data, count, reports.ctypes.data, 3, progress.ctypes.data)

    progress["command"] = 3
    assert go_on(4) == embed.FULL
    for command, count in ((0, 4), (2, 4), (3, 3)):
        progress[0] = (command, 0)
        assert go_on(count) == embed.BAD
    progress[0] = (3, 0)
    assert go_on(4) == embed.DONE
    block.check()


@pytest.mark.parametrize(("book", "side"), [(0, 0), (0, 3), (-1, 1), (2, 1), (2**62, 1), (-(2**63), 2)])
def test_sides_that_are_not_there_are_bad(book, side):
    block = Block(books=2)
    out = np.zeros(3, np.int64)
    assert CALLS.best(block.address, book, side, out.ctypes.data) == embed.BAD
    assert CALLS.depth_at(block.address, book, side, 0, out.ctypes.data) == embed.BAD
    assert CALLS.depth_at(block.address, 0, 1, -1, out.ctypes.data) == embed.BAD


@pytest.mark.parametrize("lies", range(9))
def test_a_block_may_lie_anywhere(lies):
    block = Block(lies=lies)
    assert block.apply(np.concatenate([place(1), place(2, 2)]))[0] == embed.DONE
    block.check()


def test_memory_is_laid_out_as_it_is_paid_for():
    """An order takes 32 + 16 bytes and 6 to 12 cells of 8, a level up to 11 nodes of 544."""
    small, large = Block(orders=100, levels=10), Block(orders=200, levels=10)
    grown = CALLS.bytes_needed(large.limits.ctypes.data) - CALLS.bytes_needed(small.limits.ctypes.data)
    assert 100 * (48 + 48) - 6_144 <= grown <= 100 * (48 + 96) + 6_144
    wide = Block(orders=100, levels=20)
    grown = CALLS.bytes_needed(wide.limits.ctypes.data) - CALLS.bytes_needed(small.limits.ctypes.data)
    assert abs(grown - 10 * 11 * 544) < 2 * 64
    assert memory_at(small.address, embed.WORD, 1)["value"][0] % 64 == 0


# ── the header and the example ───────────────────────────────────────────────────────────────────


def test_the_header_is_the_one_that_the_records_make():
    kept = (embed.INCLUDE / "rightsx.h").read_text()
    assert kept == embed.header_text(), "python -m rightsx.embed > src/rightsx/include/rightsx.h"


def test_the_example_is_short():
    assert len(EXAMPLE.read_text().splitlines()) <= 60


def compiled(words, target):
    done = subprocess.run(
        [CC, "-Wall", "-Wextra", "-Werror", "-O2", f"-I{embed.INCLUDE}", *words, "-o", str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@needs_cc
@needs_addresses
def test_the_example_starts_python_once_and_trades_without_it(tmp_path):
    if not PYTHON_H.is_file():
        pytest.skip(f"{PYTHON_H} is absent")
    variable = sysconfig.get_config_var
    library = variable("LIBDIR")
    words = [str(EXAMPLE), f"-I{PYTHON_H.parent}", f"-L{library}", f"-Wl,-rpath,{library}", f"-lpython{variable('LDVERSION')}"]
    compiled([*words, *variable("LIBS").split(), "-lm"], tmp_path / "embed")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHOME": sys.base_prefix}
    done = subprocess.run([tmp_path / "embed"], capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout, done.returncode) == (TOLD, 0), done.stderr


HOST = """
import ctypes, sys
from rightsx import embed
api = ctypes.create_string_buffer(embed.api())
sys.exit(ctypes.CDLL(sys.argv[1]).trade(api))
"""


@needs_cc
@needs_addresses
def test_the_example_trades_in_a_host_that_has_no_python_of_its_own_to_start(tmp_path):
    compiled([str(EXAMPLE), "-DNO_PYTHON", "-shared", "-fPIC"], tmp_path / "embed.so")
    words = [sys.executable, "-c", HOST, str(tmp_path / "embed.so")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout, done.returncode) == (TOLD, 0), done.stderr


@needs_cc
def test_the_header_is_good_for_c_plus_plus_too(tmp_path):
    source = tmp_path / "one.cpp"
    source.write_text('#include "rightsx.h"\nint main() { return 0; }\n')
    if subprocess.run([CC, "-x", "c++", "-E", str(source), f"-I{embed.INCLUDE}"], capture_output=True, check=False).returncode:
        pytest.skip("the compiler has no C++")
    compiled(["-x", "c++", "-c", str(source)], tmp_path / "one.o")
    assert (tmp_path / "one.o").stat().st_size > 0


@needs_addresses
def test_addresses_are_those_of_five_functions_and_stay():
    first = embed.addresses()
    assert list(first) == ["bytes_needed", "init", "apply_batch", "best", "depth_at"]
    assert len(set(first.values())) == 5
    assert embed.addresses() == first
    assert np.frombuffer(embed.api(), np.int64).tolist() == list(first.values())
