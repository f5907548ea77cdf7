"""The compiled order book for programs in C: five addresses over memory that the caller owns.

    block   ┌ header ┬ HEAD ┬ sides ┬ nodes ┬ cells ┬ orders ┬ parts ┬ ids ┬ ids ┐   one piece, made once by `init`
            └─ (address, rows) of each ───────────────────────────────────────────┘   COMMANDs, REPORTs stay outside

CPython is started once, to compile or load the kernels and to say where they are (`api`); from then on no
call needs it, nor its lock. The kernels are those of `engine.bare`, on the same tables; only, nothing
here can grow. `init` lays out room for so many orders, books and price levels, and none of these limits
can be outrun by surprise: one order too many is refused with CapacityExceeded like any other refusal, and
where a new price might find no node of the trie left, CAPACITY is answered before the command has begun;
cancels are always possible.

Bound: L levels never need more than 11 × L nodes (at each of eleven depths a node has a level below it), of
544 bytes each; two more let the last check pass. So up to `levels` prices at once CAPACITY is never
answered. Nodes are taken in order, and what is never taken is never touched: prices that stand side by
side share a node, 64 to one. The table of ids is as large as the orders that were live at once ask for,
because a small one stays near the processor: it doubles by moving between two places, O(orders) each time.

A block holds its own address: it may not be moved, and one that was is answered with BAD, as is one that
`init` never saw. `header_text` writes `rightsx.h`, which states every record and number and lets the
C compiler check sizes and places. A block is for one thread at a time; blocks share nothing.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rightsx._jit import callback, home, kernel, leaf, record_at, tables_at, wide
from rightsx.book import (
    CELL,
    FAN,
    FLAG_BITS,
    HEAD,
    IDCELL,
    NIL,
    NODE,
    NODES_END,
    NODES_PER_INSERT,
    ORDER,
    PART,
    SIDE,
    TAG_BITS,
    cell_at,
    head_at,
    ids_enter,
    level_next,
    level_price,
    node_at,
    order_at,
    side_at,
)
from rightsx.engine.bare import (
    AMEND,
    BARE_TABLES,
    CANCEL,
    COMMANDS,
    DONE as RAN,
    FULL as NO_ROOM,
    LEVEL,
    PLACE,
    REPORTS,
    REPORTS_PER_STEP,
    amend,
    bare_run,
    command_at,
    place,
)
from rightsx.protocol import (
    BOOK_QTY_END,
    COMMAND,
    REPORT,
    AmendFlag,
    CancelReason,
    CommandKind,
    OrderFlag,
    Refusal,
    ReportKind,
    Side,
    TimeInForce,
)

if TYPE_CHECKING:
    from enum import IntEnum

    from rightsx._jit import Tables

# ── records ──────────────────────────────────────────────────────────────────────────────────────

LIMITS: Final = np.dtype([("orders", "<i8"), ("books", "<i8"), ("levels", "<i8"), ("handles", "<i8")])
PROGRESS: Final = np.dtype([("command", "<i8"), ("report", "<i8")])
WORD: Final = np.dtype([("value", "<i8")])
limits_at = record_at(LIMITS)
progress_at = record_at(PROGRESS)
found_at = record_at(LEVEL)
word_at = record_at(WORD)
memory_head_at = record_at(HEAD)
state_at = home(BARE_TABLES)

# How a call ends. Zero is none of them, so that memory that was never written to says nothing.
DONE, FULL, CAPACITY, EMPTY, BAD = 1, 2, 3, 4, 5
STATUSES: Final = {
    "DONE": (DONE, "All is done; of best and depth_at: there is such a level."),
    "FULL": (FULL, "No room for reports. Read them, let progress.report be 0, call again with the same commands."),
    "CAPACITY": (CAPACITY, "commands[progress.command] has not begun: a new price might find no room. Cancel, or leave it out."),
    "EMPTY": (EMPTY, "There is no such level."),
    "BAD": (BAD, "A wrong call: limits, a block that was moved or never made, room for fewer than 3 reports, other commands"),
}
MORE_OF_BAD: Final = "than those that were FULL; or commands[progress.command] is no PLACE, CANCEL or AMEND."

LINE: Final = 64  # bytes; tables begin at a cache line
ADDRESS_WORD: Final = 2 * len(BARE_TABLES)  # the word of the header that names the block's own address
LARGE_IDS_WORD, SMALL_IDS_WORD = ADDRESS_WORD + 1, ADDRESS_WORD + 2  # and those that name the places for ids
ORDERS, PARTS, IDS = 4, 5, 6  # tables
FIRST_ORDERS: Final = 1_024
HEADER_BYTES: Final = 256
NODES_PER_LEVEL: Final = 11
ORDERS_END: Final = 2**28
BOOKS_END: Final = 2**29
LEVELS_END: Final = NODES_END // NODES_PER_LEVEL - 1
STRETCH: Final = 1_024  # commands whose kinds are looked at before they run, while they are near
SIDE_BYTES, NODE_BYTES, CELL_BYTES = SIDE.itemsize, NODE.itemsize, CELL.itemsize
ORDER_BYTES, PART_BYTES, IDCELL_BYTES, HEAD_BYTES = ORDER.itemsize, PART.itemsize, IDCELL.itemsize, HEAD.itemsize

assert 8 * (SMALL_IDS_WORD + 1) <= HEADER_BYTES

# ── the block ────────────────────────────────────────────────────────────────────────────────────


@leaf
def lines(count: int, size: int) -> int:
    """Give the bytes of so many rows, up to the next cache line."""
    return (count * size + LINE - 1) & -LINE


@leaf
def id_bits(rows: int) -> int:
    """Give the bits of a cell's number in a table of ids for so many rows of orders: load at most 1/4."""
    bits = 2
    while 1 << bits < 4 * rows:
        bits += 1
    return bits


@leaf
def nodes_of(levels: int) -> int:
    """Give the nodes that so many levels may need, slot 0 and what the last check asks for included."""
    return NODES_PER_LEVEL * levels + 1 + NODES_PER_INSERT


@kernel
def limits_good(limits: int) -> bool:
    """Say whether a book of these limits can be."""
    row = limits_at(limits)
    orders, books, levels, handles = row["orders"], row["books"], row["levels"], row["handles"]
    if orders < 1 or orders >= ORDERS_END or books < 1 or books >= BOOKS_END or levels < 1 or levels >= LEVELS_END:
        return False
    return handles in (0, 1)


@kernel
def table_place(block: int, index: int, start: int, rows: int, size: int) -> int:
    """Write into the header where a table is; gives where the next begins."""
    word_at(block + 16 * index)["value"] = start
    word_at(block + 16 * index + 8)["value"] = rows
    return start + lines(rows, size)


@kernel
def memory_clear(start: int, end: int) -> None:
    """Let memory be zero."""
    at = start
    while at < end:
        word_at(at)["value"] = 0
        at += 8


@kernel
def orders_open(block: int, rows: int, bits: int) -> None:
    """Let so many rows of orders be in use, with so large a table of ids."""
    head = memory_head_at(word_at(block)["value"])
    head["order_rows"] = rows
    head["id_shift"] = TAG_BITS - bits
    word_at(block + 16 * ORDERS + 8)["value"] = rows
    word_at(block + 16 * PARTS + 8)["value"] = rows


@kernel
def orders_double(block: int) -> None:
    """Let twice the orders be in use, up to the limit, and enter their ids into a table twice as large. O(orders)."""
    head = memory_head_at(word_at(block)["value"])
    old, cells = word_at(block + 16 * IDS)["value"], word_at(block + 16 * IDS + 8)["value"]
    new = word_at(block + 8 * LARGE_IDS_WORD)["value"]
    if new == old:
        new = word_at(block + 8 * SMALL_IDS_WORD)["value"]
    memory_clear(new, table_place(block, IDS, new, 2 * cells, IDCELL_BYTES))
    orders_open(block, min(2 * head["order_rows"], head["live_limit"] + 1), TAG_BITS + 1 - head["id_shift"])
    ids_enter(old, cells, new, head["id_shift"])


def embed_bytes_needed(limits: int) -> int:
    """Give the bytes of a block of these limits, or 0 if there is none."""
    if not limits_good(limits):
        return 0
    row = limits_at(limits)
    orders, nodes = row["orders"] + 1, nodes_of(row["levels"])
    fixed = HEADER_BYTES + lines(1, HEAD_BYTES) + lines(2 * row["books"], SIDE_BYTES)
    trie = lines(nodes, NODE_BYTES) + lines(nodes * FAN, CELL_BYTES)
    queues = lines(orders, ORDER_BYTES) + lines(orders, PART_BYTES)
    cells = 1 << id_bits(orders) if row["handles"] == 0 else 0
    return LINE + fixed + trie + queues + lines(cells, IDCELL_BYTES) + lines(cells // 2, IDCELL_BYTES)


def embed_init(block: int, limits: int) -> int:
    """Lay out empty books in a block of at least `bytes_needed`, of any content; DONE or BAD. O(books).

    Nodes, cells and orders are not touched: each is written before it is read.
    """
    if block == 0 or block & 7 != 0 or not limits_good(limits):
        return BAD
    row = limits_at(limits)
    books, nodes, orders = row["books"], nodes_of(row["levels"]), row["orders"] + 1
    memory_clear(block, block + HEADER_BYTES)
    at = (block + HEADER_BYTES + LINE - 1) & -LINE
    head = memory_head_at(at)
    memory_clear(at, at + lines(1, HEAD_BYTES))
    sides = table_place(block, 0, at, 1, HEAD_BYTES)
    node = table_place(block, 1, sides, 2 * books, SIDE_BYTES)
    memory_clear(sides, node)
    cell = table_place(block, 2, node, nodes, NODE_BYTES)
    order = table_place(block, 3, cell, nodes * FAN, CELL_BYTES)
    part = table_place(block, ORDERS, order, orders, ORDER_BYTES)
    memory_clear(order, order + ORDER_BYTES)
    large = table_place(block, PARTS, part, orders, PART_BYTES)
    most = id_bits(orders)
    word_at(block + 8 * LARGE_IDS_WORD)["value"] = large
    word_at(block + 8 * SMALL_IDS_WORD)["value"] = large + lines(1 << most, IDCELL_BYTES)
    first = min(FIRST_ORDERS, orders)
    bits = id_bits(first)
    # The largest table of ids stands in the larger place, the next one in the other, and so on down.
    ids = word_at(block + 8 * (LARGE_IDS_WORD + (most - bits) % 2))["value"]
    cells = 1 << bits if row["handles"] == 0 else 0  # handles are found without them
    memory_clear(ids, table_place(block, IDS, ids, cells, IDCELL_BYTES))
    head["order_used"] = 1
    head["node_used"] = 1
    head["node_rows"] = nodes
    head["live_limit"] = row["orders"]
    head["sides"] = 2 * books
    head["handles"] = row["handles"]
    orders_open(block, first, bits)
    word_at(block + 8 * ADDRESS_WORD)["value"] = block
    return DONE


@leaf
def is_home(block: int) -> bool:
    """Say whether a block was made where it is."""
    return block != 0 and block & 7 == 0 and word_at(block + 8 * ADDRESS_WORD)["value"] == block


# ── commands ─────────────────────────────────────────────────────────────────────────────────────


@kernel
def nodes_left(state: int) -> bool:
    """Say whether a new price finds its nodes, freed ones counted too."""
    head = head_at(state, 0)
    fresh = head["node_rows"] - head["node_used"]
    if fresh >= NODES_PER_INSERT:
        return True
    first = head["node_free"]
    if first == NIL:
        return False
    return fresh >= 1 or wide(node_at(state, first)["parent"]) != NIL


@kernel
def kinds_good(state: int, first: int, end: int) -> int:
    """Give the row of the first command of another kind than the three, or `end`."""
    for row in range(first, end):
        kind = wide(command_at(state, row)["kind"])
        if kind not in (PLACE, CANCEL, AMEND):
            return row
    return end


@kernel
def stretch_run(block: int, end: int) -> int:
    """Apply commands from HEAD's `command` to `end`: DONE, FULL or CAPACITY, with HEAD saying how far."""
    while True:
        state = state_at(block)
        head = head_at(state, 0)
        ended = bare_run(state, end)
        if ended == RAN:
            return DONE
        if ended == NO_ROOM:
            return FULL
        if head["order_free"] == NIL and head["order_used"] == head["order_rows"] <= head["live_limit"]:
            orders_double(block)
            continue
        # A place or an amend. At the limit of orders it is refused; nodes may be short, or fresh ones alone.
        row = head["command"]
        kind = wide(command_at(state, row)["kind"])
        if not nodes_left(state):
            return CAPACITY
        ended = place(state, row, row) if kind == PLACE else amend(state, row, row)
        if ended == NO_ROOM:
            return FULL
        head["command"] = row + 1


@kernel
def batch_run(block: int, count: int) -> int:
    """Apply commands from HEAD's `command` to `count`, looking at the kinds of a stretch before it runs."""
    state = state_at(block)
    head = head_at(state, 0)
    while head["command"] < count:
        end = min(count, head["command"] + STRETCH)
        good = kinds_good(state, head["command"], end)
        ended = stretch_run(block, good)
        if ended != DONE:
            return ended
        if good != end:
            return BAD
    return DONE


def embed_apply_batch(block: int, commands: int, count: int, reports: int, room: int, progress: int) -> int:
    """Apply COMMAND[count] from progress.command on, write REPORTs from progress.report on; DONE, FULL, CAPACITY or BAD.

    Both numbers say afterwards how far it came. A command that was in the middle when there was no room is
    gone on with by the next call, which must bring the same commands.
    """
    if not is_home(block):
        return BAD
    told = progress_at(progress)
    first, written = told["command"], told["report"]
    if first < 0 or count < first or written < 0 or room < written or room < REPORTS_PER_STEP:
        return BAD
    word_at(block + 16 * COMMANDS)["value"] = commands
    word_at(block + 16 * COMMANDS + 8)["value"] = count
    word_at(block + 16 * REPORTS)["value"] = reports
    word_at(block + 16 * REPORTS + 8)["value"] = room
    state = state_at(block)
    head = head_at(state, 0)
    if head["resuming"] != 0 and (head["command"] != first or count == first):
        return BAD
    head["command"] = first
    head["report"] = written
    head["report_rows"] = room
    ended = batch_run(block, count)
    told["command"] = head["command"]
    told["report"] = head["report"]
    return ended


# ── queries ──────────────────────────────────────────────────────────────────────────────────────


@kernel
def side_number(block: int, book: int, side: int) -> int:
    """Give the number of a side, or −1 if there is none."""
    if not is_home(block) or side not in (1, 2) or book < 0:
        return -1
    number = 2 * book + side - 1
    return number if book < BOOKS_END and number < head_at(state_at(block), 0)["sides"] else -1


def embed_best(block: int, book: int, side: int, price: int) -> int:
    """Write the best price of a side of a book (1 buy, 2 sell) to `price`: DONE, EMPTY or BAD. O(1)."""
    number = side_number(block, book, side)
    if number < 0:
        return BAD
    state = state_at(block)
    level = wide(side_at(state, number)["best"])
    if level == NIL:
        return EMPTY
    word_at(price)["value"] = level_price(state, level)
    return DONE


def embed_depth_at(block: int, book: int, side: int, place: int, found: int) -> int:
    """Write the level that has `place` better ones to `found`: DONE, EMPTY or BAD. O(place + orders of the level)."""
    number = side_number(block, book, side)
    if number < 0 or place < 0:
        return BAD
    state = state_at(block)
    level = wide(side_at(state, number)["best"])
    for _ in range(place):
        if level == NIL:
            break
        level = level_next(state, level)
    if level == NIL:
        return EMPTY
    qty = 0
    orders = 0
    slot = wide(cell_at(state, level)["head"])
    while slot != NIL:
        order = order_at(state, slot)
        qty += order["word"] >> FLAG_BITS
        orders += 1
        slot = wide(order["next"])
    row = found_at(found)
    row["price"] = level_price(state, level)
    row["qty"] = qty
    row["orders"] = orders
    return DONE


# ── addresses ────────────────────────────────────────────────────────────────────────────────────

WHAT: Final = "the order book for C"
CALLS: Final[dict[str, tuple[Any, tuple[str, ...], str]]] = {
    "bytes_needed": (
        embed_bytes_needed,
        ("const struct rightsx_limits *limits",),
        "The bytes of a block of these limits, 0 if there is none. Need not be zeroed; aligned to 8 bytes.",
    ),
    "init": (embed_init, ("void *block", "const struct rightsx_limits *limits"), "Lays out empty books: DONE or BAD."),
    "apply_batch": (
        embed_apply_batch,
        (
            "void *block",
            "const struct rightsx_command *commands",
            "int64_t count",
            "struct rightsx_report *reports",
            "int64_t room",
            "struct rightsx_progress *progress",
        ),
        "Applies commands[progress->command .. count), writes reports[progress->report .. room): DONE, FULL, CAPACITY, BAD.",
    ),
    "best": (
        embed_best,
        ("const void *block", "int64_t book", "int64_t side", "int64_t *price"),
        "The best price of a side: DONE, EMPTY, BAD.",
    ),
    "depth_at": (
        embed_depth_at,
        ("const void *block", "int64_t book", "int64_t side", "int64_t place", "struct rightsx_level *level"),
        "The level that has `place` better ones: DONE, EMPTY, BAD. Walks there and over its orders.",
    ),
}


def addresses() -> dict[str, int]:
    """Give the addresses of the five functions; compiles them the first time ever. Good until this process ends."""
    return {name: callback(function, len(words), WHAT) for name, (function, words, _) in CALLS.items()}


def api() -> bytes:
    """Give the addresses as `struct rightsx_api` of rightsx.h."""
    return struct.pack(f"={len(CALLS)}Q", *addresses().values())


def block_tables(block: int) -> Tables:
    """Look at the tables of a block from Python, in a process that has it: for `engine.bookread` to check."""
    return tables_at(block, BARE_TABLES[:COMMANDS])


# ── rightsx.h ────────────────────────────────────────────────────────────────────────────────────

INCLUDE: Final = Path(__file__).parent / "include"
_C_TYPES: Final = {"<i8": "int64_t", "<u8": "uint64_t", "<u4": "uint32_t", "<u2": "uint16_t", "|u1": "uint8_t"}
_RECORDS: Final = {"limits": LIMITS, "command": COMMAND, "report": REPORT, "progress": PROGRESS, "level": LEVEL}
_SAID: Final = {
    "limits": "The most resting orders, books and prices at once; handles is 1 if the book issues ids.",
    "command": "What is asked: PLACE, CANCEL or AMEND. series chooses the book, from 0; fields without a use are 0.",
    "report": "What the book says. command_index is the row of the command that it answers.",
    "progress": "How far a batch is: the next command, and the reports written. Begin with zeros.",
    "level": "A price with the quantity that it shows and its orders.",
}
_NUMBERS: Final[dict[str, tuple[IntEnum, ...]]] = {
    "": (CommandKind.PLACE, CommandKind.CANCEL, CommandKind.AMEND),
    "SIDE_": tuple(Side),
    "TIME_": (TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK),
    "FLAG_": (OrderFlag.POST_ONLY, OrderFlag.CANCEL_MAKER, OrderFlag.CANCEL_BOTH),
    "AMEND_": tuple(AmendFlag),
    "REPORT_": tuple(ReportKind),
    "REFUSED_": (
        Refusal.BadQuantity,
        Refusal.BadTerms,
        Refusal.UnknownSeries,
        Refusal.OrderNotOpen,
        Refusal.NotOwner,
        Refusal.DuplicateId,
        Refusal.PostOnlyWouldCross,
        Refusal.FOKUnfillable,
        Refusal.CapacityExceeded,
    ),
    "CANCELLED_": (CancelReason.USER, CancelReason.IOC, CancelReason.SELF_TRADE),
}


def header_text() -> str:
    """Write rightsx.h: a function of the records and numbers of this version alone."""
    parts = [
        "/* rightsx.h: the order book of rightsx for programs in C. Written by rightsx.embed; do not edit.",
        "",
        "   Start Python once, rightsx_load(&api), and call its functions over your own memory; Python must stay",
        "   loaded, but no call needs it. Little-endian, 64 bits. Prices are any int64_t, quantities 1 to",
        f"   {BOOK_QTY_END - 1}, ids positive. The book is for one thread at a time. */",
        "#ifndef RIGHTSX_H",
        "#define RIGHTSX_H",
        "#include <stddef.h>",
        "#include <stdint.h>",
        "#ifdef __cplusplus",
        "#define RIGHTSX_ASSERT static_assert",
        "#else",
        "#define RIGHTSX_ASSERT _Static_assert",
        "#endif",
        "",
    ]
    for name, (value, words) in STATUSES.items():
        parts += [f"/* {words}", f"   {MORE_OF_BAD} */"] if name == "BAD" else [f"/* {words} */"]
        parts += [f"#define RIGHTSX_{name} {value}"]
    for prefix, members in _NUMBERS.items():
        parts += ["", *(f"#define RIGHTSX_{prefix}{member.name} {int(member)}" for member in members)]
    for name, dtype in _RECORDS.items():
        parts += ["", *_record_text(name, dtype)]
    parts += ["", "struct rightsx_api {"]
    for name, (_, arguments, said) in CALLS.items():
        parts += [f"    /* {said} */", f"    int64_t (*{name})({', '.join(arguments)});"]
    return "\n".join([*parts, "};", "", *_LOAD, "#endif", ""])


def _record_text(name: str, dtype: np.dtype) -> list[str]:
    """Write a record, with what the C compiler has to hold it to."""
    assert dtype.fields is not None
    fields = [(field, kind.str, at) for field, (kind, at, *_) in dtype.fields.items()]
    lines_ = [f"/* {_SAID[name]} */", f"struct rightsx_{name} {{"]
    lines_ += [f"    {_C_TYPES[kind]} {field};" for field, kind, _ in fields]
    lines_ += ["};", f'RIGHTSX_ASSERT(sizeof(struct rightsx_{name}) == {dtype.itemsize}, "{name}");']
    lines_ += [f'RIGHTSX_ASSERT(offsetof(struct rightsx_{name}, {field}) == {at}, "{name}.{field}");' for field, _, at in fields]
    return lines_


_LOAD: Final = [
    "#ifdef Py_PYTHON_H",
    "#include <string.h>",
    "/* Asks Python for the addresses; the first time ever this compiles for some seconds. 0, or -1 with a Python error set. */",
    "static inline int rightsx_load(struct rightsx_api *api) {",
    '    PyObject *module = PyImport_ImportModule("rightsx.embed");',
    '    PyObject *bytes = module ? PyObject_CallMethod(module, "api", NULL) : NULL;',
    "    int good = bytes && PyBytes_Size(bytes) == (Py_ssize_t)sizeof *api;",
    "    if (good) memcpy(api, PyBytes_AsString(bytes), sizeof *api);",
    "    Py_XDECREF(bytes);",
    "    Py_XDECREF(module);",
    "    return good ? 0 : -1;",
    "}",
    "#endif",
    "",
]


if __name__ == "__main__":
    sys.stdout.write(header_text())
