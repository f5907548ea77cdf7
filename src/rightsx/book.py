"""Matches orders by price, then time (R16), in memory that does not move while it works.

    SIDE            NODE (64-way radix trie over prices)         CELL            ORDER
    root ─────────► prefix, bitmap ──► prefix, bitmap ─────────► head, tail ──► o7 ⇄ o9 ⇄ o12
    best ──────────────────────────────────────────────────────► (a level)

Each side of a book is a radix trie of prices, path-compressed, 6 bits a node: any int64 price, at most
eleven steps, nothing for an empty book but its 16 bytes. A leaf's 64 cells are the levels of 64
neighbouring prices; a level is a queue of orders. The trie is keyed by `price ^ mask`, with mask −1 for
bids, so that the best level is always the least key and one path serves both sides. `best` is kept.

An order is found by its id in one small open-addressing table (8-byte cells, linear probing, backward
shift, load ≤ 1/4), or is named by its slot and generation ("handles"), which needs no table. Freed slots
are reused last in first out; all tables grow with live orders and live prices, never with history.

Invariants: bit p of a leaf's bitmap is set exactly if level p has orders; an inner node has a child for
each set bit; 0 < shown; only slots of our own tables index a table; slot 0 is nobody and may be
scribbled on, so that unlinking needs no branch. A level keeps no totals: whoever wants depth walks it.
Costs: place, cancel and each fill O(1) at a known level; a new level ≤ 11 steps.

Matching neither knows cash nor units: `bare` writes REPORTs over this, the engine settles over this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from rightsx._jit import (
    INT64_SIGN,
    Tables,
    aligned_zeros,
    kernel,
    leading_zeros,
    leaf,
    narrow,
    record_at,
    shift_right,
    table,
    trailing_zeros,
    wide,
    wrap_mul,
)
from rightsx.protocol import OrderFlag

# ── tables ───────────────────────────────────────────────────────────────────────────────────────

HEAD: Final = np.dtype(
    [
        (name, "<i8")
        for name in (
            "order_free",  # the slot freed last, 0 for none
            "order_used",  # slots from here on were never used
            "order_rows",
            "live",  # orders in use
            "live_limit",
            "node_free",
            "node_used",
            "node_rows",
            "id_shift",  # 32 − log2 of the cells of the id table
            "handles",  # 1 if ids are handles
            "sides",  # sides that exist
            "command",  # the row of the batch that is next, or resumes
            "report",  # reports written
            "report_rows",
            "resuming",  # 1 while a taker waits for room for its reports
            "taker",
            "taker_side",
            "taker_rest",
            "taker_price",
            "taker_ioc",
            "held",  # 1 while COMMANDS, REPORTS or a growing table are not what a single command needs
            "spare_2",
            "spare_3",
            "spare_4",
        )
    ]
)
SIDE: Final = np.dtype([("best_key", "<i8"), ("best", "<i4"), ("root", "<i4")])
NODE: Final = np.dtype([("bitmap", "<i8"), ("key", "<i8"), ("parent", "<i4"), ("side", "<i4"), ("shift", "<i4"), ("mask", "<i4")])
CELL: Final = np.dtype([("head", "<i4"), ("tail", "<i4")])
# `word` is the displayed quantity × 256 + flags: OrderFlag bits, and 128 for an order with a PART.
ORDER: Final = np.dtype([("id", "<i8"), ("word", "<i8"), ("next", "<i4"), ("prev", "<i4"), ("level", "<i4"), ("account", "<i4")])
PART: Final = np.dtype([("display", "<i8"), ("hidden", "<i8")])  # of an iceberg (R40)
IDCELL: Final = np.dtype([("slot", "<i4"), ("tag", "<i4")])

BOOK_TABLES: Final = (HEAD, SIDE, NODE, CELL, ORDER, PART, IDCELL)
head_at = table(0, HEAD)
side_at = table(1, SIDE)
node_at = table(2, NODE)
cell_at = table(3, CELL)
order_at = table(4, ORDER)
part_at = table(5, PART)
cell_read = record_at(IDCELL)
CELL_STRIDE: Final = IDCELL.itemsize
EnterIds = Callable[[int, int, int, int], object]  # `ids_enter`, by whoever may call kernels
idcell_at = table(6, IDCELL)

NIL: Final = 0  # never used as an index of something
FAN: Final = 64
TOP_SHIFT: Final = 60
ICEBERG: Final = 128  # a flag bit of `word`
FLAG_BITS: Final = 8
FLAG_MASK: Final = 255
NOBODY: Final = 1 << 40  # an account that no order has
CANCEL_MAKER: Final = int(OrderFlag.CANCEL_MAKER)
NODES_END: Final = 2**25  # a level's number is its node's × 64, in 4 signed bytes
NODES_PER_INSERT: Final = 2  # a split makes an inner node and a leaf
ID_MULTIPLIER: Final = -7046029254386353131  # 2^64 / φ, odd
TAG_BITS: Final = 32
HALF: Final = 0xFFFF_FFFF

# ── keys ─────────────────────────────────────────────────────────────────────────────────────────


@leaf
def bit(place: int) -> int:
    """Give the word whose only bit is `place`."""
    return wrap_mul(1, 1 << place)


@leaf
def digit(key: int, shift: int) -> int:
    """Give the six bits of a key that choose a child; negative keys come first."""
    return ((key ^ INT64_SIGN) >> shift) & (FAN - 1)


@leaf
def beyond(differs: int, shift: int) -> bool:
    """Say whether keys that differ so part above a node of this shift; at the top nothing does."""
    return shift != TOP_SHIFT and differs >> (shift + 6) != 0


@leaf
def level_key(state: int, level: int) -> int:
    """Give the key of a level."""
    return (node_at(state, level >> 6)["key"] & -FAN) | (level & (FAN - 1))


@leaf
def level_price(state: int, level: int) -> int:
    """Give the price of a level."""
    return level_key(state, level) ^ node_at(state, level >> 6)["mask"]


# ── nodes ────────────────────────────────────────────────────────────────────────────────────────


@kernel
def node_take(state: int, key: int, shift: int, parent: int, side: int, mask: int) -> int:
    """Take a node with no children. The caller has checked that there is room. O(1)."""
    head = head_at(state, 0)
    slot = head["node_free"]
    if slot != NIL:
        head["node_free"] = node_at(state, slot)["parent"]
    else:
        slot = head["node_used"]
        head["node_used"] = slot + 1
    node = node_at(state, slot)
    node["bitmap"] = 0
    node["key"] = key
    node["parent"] = parent
    node["side"] = side
    node["shift"] = shift
    node["mask"] = mask
    return slot


@kernel
def node_adopt(state: int, parent: int, key: int, child: int) -> None:
    """Make a node the child of another at the place of its key."""
    node = node_at(state, parent)
    place = digit(key, node["shift"])
    node["bitmap"] = node["bitmap"] | bit(place)
    cell_at(state, parent * FAN + place)["head"] = child


@kernel
def leaf_make(state: int, side: int, key: int, mask: int) -> int:
    """Give the leaf of a key, making it if need be. At most 11 steps; takes at most NODES_PER_INSERT nodes."""
    row = side_at(state, side)
    slot = row["root"]
    if slot == NIL:
        slot = node_take(state, key, 0, NIL, side, mask)
        row["root"] = slot
        return slot
    while True:
        node = node_at(state, slot)
        shift = node["shift"]
        differs = key ^ node["key"]
        if beyond(differs, shift):
            return node_split(state, slot, key, (63 - leading_zeros(differs)) // 6 * 6)
        if shift == 0:
            return slot
        place = digit(key, shift)
        if node["bitmap"] & bit(place) == 0:
            fresh = node_take(state, key, 0, slot, side, mask)
            node_adopt(state, slot, key, fresh)
            return fresh
        slot = cell_at(state, slot * FAN + place)["head"]


@kernel
def node_split(state: int, slot: int, key: int, shift: int) -> int:
    """Put an inner node above one whose keys part from `key` at `shift`; gives the new leaf beside it."""
    node = node_at(state, slot)
    side = node["side"]
    mask = node["mask"]
    parent = node["parent"]
    upper = node_take(state, key, shift, parent, side, mask)
    if parent == NIL:
        side_at(state, side)["root"] = upper
    else:
        node_adopt(state, parent, key, upper)
    node["parent"] = upper
    node_adopt(state, upper, node["key"], slot)
    fresh = node_take(state, key, 0, upper, side, mask)
    node_adopt(state, upper, key, fresh)
    return fresh


@kernel
def node_drop(state: int, slot: int) -> int:
    """Free a node without children and the ancestors that it leaves without any; gives the first that stays."""
    head = head_at(state, 0)
    while True:
        node = node_at(state, slot)
        parent = node["parent"]
        node["parent"] = head["node_free"]
        head["node_free"] = slot
        if parent == NIL:
            side_at(state, node["side"])["root"] = NIL
            return NIL
        upper = node_at(state, parent)
        upper["bitmap"] = upper["bitmap"] & ~bit(digit(node["key"], upper["shift"]))
        if upper["bitmap"] != 0:
            return parent
        slot = parent


@kernel
def leaf_first(state: int, slot: int) -> int:
    """Give the first level below a node."""
    while True:
        node = node_at(state, slot)
        place = trailing_zeros(node["bitmap"])
        if node["shift"] == 0:
            return slot * FAN + place
        slot = cell_at(state, slot * FAN + place)["head"]


# ── levels ───────────────────────────────────────────────────────────────────────────────────────


@leaf
def level_drop(state: int, level: int) -> None:
    """Take an empty level out; if it was the best, find the next."""
    slot = level >> 6
    node = node_at(state, slot)
    left = node["bitmap"] & ~bit(level & (FAN - 1))
    node["bitmap"] = left
    side = side_at(state, node["side"])
    if left != 0:
        if side["best"] == level:
            place = trailing_zeros(left)
            side["best"] = slot * FAN + place
            side["best_key"] = (node["key"] & -FAN) | place
    else:
        leaf_drop(state, slot, level)


@kernel
def leaf_drop(state: int, slot: int, level: int) -> None:
    """Take an empty leaf out; if it held the best level, find the next."""
    side = side_at(state, node_at(state, slot)["side"])
    above = node_drop(state, slot)
    if side["best"] == level:
        if above == NIL:
            side["best"] = NIL
        else:
            best = leaf_first(state, above)
            side["best"] = best
            side["best_key"] = level_key(state, best)


@leaf
def level_next(state: int, level: int) -> int:
    """Give the level after this one on its side, or NIL. At most 22 steps."""
    slot = level >> 6
    place = level & (FAN - 1)
    while slot != NIL:
        node = node_at(state, slot)
        left = node["bitmap"] & (wrap_mul(-2, 1 << place))
        if left != 0:
            place = trailing_zeros(left)
            if node["shift"] == 0:
                return slot * FAN + place
            return leaf_first(state, cell_at(state, slot * FAN + place)["head"])
        slot = node["parent"]
        if slot != NIL:
            place = digit(node["key"], node_at(state, slot)["shift"])
    return NIL


@kernel
def level_before(state: int, level: int) -> int:
    """Give the level before this one on its side, or NIL. At most 22 steps."""
    slot = level >> 6
    place = level & (FAN - 1)
    while slot != NIL:
        node = node_at(state, slot)
        left = node["bitmap"] & ~wrap_mul(-1, 1 << place)
        if left != 0:
            place = 63 - leading_zeros(left)
            if node["shift"] == 0:
                return slot * FAN + place
            return leaf_last(state, wide(cell_at(state, slot * FAN + place)["head"]))
        slot = wide(node["parent"])
        if slot != NIL:
            place = digit(node["key"], wide(node_at(state, slot)["shift"]))
    return NIL


@kernel
def level_last(state: int, side: int) -> int:
    """Give the last level of a side, or NIL. At most 11 steps."""
    slot = wide(side_at(state, side)["root"])
    return leaf_last(state, slot) if slot != NIL else NIL


@kernel
def leaf_last(state: int, slot: int) -> int:
    """Give the last level below a node."""
    while True:
        node = node_at(state, slot)
        place = 63 - leading_zeros(node["bitmap"])
        if node["shift"] == 0:
            return slot * FAN + place
        slot = wide(cell_at(state, slot * FAN + place)["head"])


# ── queues ───────────────────────────────────────────────────────────────────────────────────────


@leaf
def queue_append(state: int, side: int, slot: int, price: int, mask: int) -> None:
    """Rest an order at the end of its price's queue. The caller has checked that there is room for nodes."""
    key = price ^ mask
    row = side_at(state, side)
    near = row["best"] >> 6
    # Most orders rest within the 64 prices of the best level's leaf.
    is_near = near != NIL and (key ^ node_at(state, near)["key"]) >> 6 == 0
    number = near if is_near else leaf_make(state, side, key, mask)
    place = key & (FAN - 1)
    level = number * FAN + place
    node = node_at(state, number)
    order = order_at(state, slot)
    cell = cell_at(state, level)
    order["level"] = level
    order["next"] = NIL
    if node["bitmap"] & bit(place) != 0:
        tail = cell["tail"]
        order["prev"] = tail
        order_at(state, tail)["next"] = slot
        cell["tail"] = slot
    else:
        node["bitmap"] = node["bitmap"] | bit(place)
        order["prev"] = NIL
        cell["head"] = slot
        cell["tail"] = slot
        if row["best"] == NIL or key < row["best_key"]:
            row["best"] = level
            row["best_key"] = key


@leaf
def queue_remove(state: int, slot: int) -> None:
    """Take a resting order out of its queue; its level goes with its last order."""
    order = order_at(state, slot)
    before = order["prev"]
    after = order["next"]
    level = order["level"]
    order_at(state, before)["next"] = after  # of slot 0 nobody reads what is written
    order_at(state, after)["prev"] = before
    if before == NIL or after == NIL:
        cell = cell_at(state, level)
        if before == after:
            level_drop(state, level)
        elif before == NIL:
            cell["head"] = after
        else:
            cell["tail"] = before


@kernel
def queue_requeue(state: int, slot: int) -> None:
    """Move the first order of a level's queue to its end (R40)."""
    order = order_at(state, slot)
    after = order["next"]
    if after == NIL:
        return
    cell = cell_at(state, order["level"])
    order_at(state, after)["prev"] = NIL
    cell["head"] = after
    tail = cell["tail"]
    order_at(state, tail)["next"] = slot
    order["prev"] = tail
    order["next"] = NIL
    cell["tail"] = slot


@leaf
def crosses(state: int, other: int, price: int, other_mask: int) -> bool:
    """Say whether an order at `price` would meet any order of the other side."""
    row = side_at(state, other)
    return row["best"] != NIL and row["best_key"] <= price ^ other_mask


# ── orders ───────────────────────────────────────────────────────────────────────────────────────


@leaf
def open_qty(state: int, slot: int) -> int:
    """Give an order's open quantity, hidden part included."""
    word = order_at(state, slot)["word"]
    hidden = 0
    if word & ICEBERG != 0:
        hidden = part_at(state, slot)["hidden"]
    return (word >> FLAG_BITS) + hidden


@kernel
def iceberg_shows(state: int, slot: int) -> bool:
    """Let an iceberg whose shown part is gone show the next one; False if nothing is hidden (R40)."""
    part = part_at(state, slot)
    hidden = part["hidden"]
    if hidden == 0:
        return False
    shows = min(part["display"], hidden)
    part["hidden"] = hidden - shows
    order = order_at(state, slot)
    order["word"] = (order["word"] & FLAG_MASK) | (shows << FLAG_BITS)
    return True


@kernel
def order_show(state: int, slot: int, rest: int) -> None:
    """Split what is open of an order into what it shows and what it hides (R40)."""
    order = order_at(state, slot)
    flags = order["word"] & FLAG_MASK
    shown = rest
    if flags & ICEBERG != 0:
        part = part_at(state, slot)
        shown = min(part["display"], rest)
        part["hidden"] = rest - shown
    order["word"] = (shown << FLAG_BITS) | flags


@kernel
def order_shrink(state: int, slot: int, qty: int) -> None:
    """Lower an order's open quantity in place, from its hidden part first (R38)."""
    order = order_at(state, slot)
    word = order["word"]
    shown = min(word >> FLAG_BITS, qty)
    if word & ICEBERG != 0:
        part_at(state, slot)["hidden"] = qty - shown
    order["word"] = (shown << FLAG_BITS) | (word & FLAG_MASK)


@kernel
def fillable(state: int, side: int, price: int, wanted: int, account: int, flags: int) -> int:
    """Count what an FOK would fill, up to `wanted` (R19).

    Own orders stop the count, or are passed over under `cancel_maker`. At the level of an own order
    that stops it only shown parts ahead count: the next parts come up behind it. The count stops at
    `wanted`, because a book may hold more than 64 bits can say. O(orders met).
    """
    other_mask = -1 - ((side & 1) - 1)
    limit = price ^ other_mask
    own = narrow(account) if account != 0 else NOBODY
    level = wide(side_at(state, side ^ 1)["best"])
    found = 0
    while level != NIL and found < wanted and level_key(state, level) <= limit:
        hidden = 0
        slot = wide(cell_at(state, level)["head"])
        while slot != NIL:
            order = order_at(state, slot)
            if wide(order["account"]) != own:
                shown = order["word"] >> FLAG_BITS
                found += shown
                if found >= wanted:
                    return wanted
                hidden = min(wanted, hidden + open_qty(state, slot) - shown)
            elif flags & CANCEL_MAKER == 0:
                return found
            slot = wide(order["next"])
        found += hidden
        level = level_next(state, level)
    return found


# ── slots ────────────────────────────────────────────────────────────────────────────────────────


@leaf
def slot_take(state: int) -> int:
    """Take a slot for an order: the one freed last, or a fresh one. The caller has checked that there is room."""
    head = head_at(state, 0)
    slot = head["order_free"]
    if slot != NIL:
        head["order_free"] = order_at(state, slot)["next"]
    else:
        slot = head["order_used"]
        head["order_used"] = slot + 1
        order_at(state, slot)["id"] = ((1 << 32) | slot) ^ INT64_SIGN
    head["live"] = head["live"] + 1
    return slot


@leaf
def slot_free(state: int, slot: int) -> None:
    """Give a slot back."""
    head = head_at(state, 0)
    order_at(state, slot)["next"] = head["order_free"]
    head["order_free"] = slot
    head["live"] = head["live"] - 1


@leaf
def handle_end(state: int, slot: int) -> None:
    """Let the handle of a slot be void: what stands there is the next one, with its sign turned.

    Generations are counted modulo 2^31: a handle stays positive however often its slot is used.
    """
    order = order_at(state, slot)
    # With the sign turned first, the sum cannot pass 64 bits.
    order["id"] = ((order["id"] ^ INT64_SIGN) + (1 << 32)) | INT64_SIGN


@leaf
def has_room(state: int) -> bool:
    """Say whether one more order, and what resting it needs, fits the tables."""
    head = head_at(state, 0)
    orders = head["order_free"] != NIL or head["order_used"] < head["order_rows"]
    # The list of free nodes is not counted; it is enough that fresh ones are left.
    return orders and head["node_used"] + NODES_PER_INSERT <= head["node_rows"]


# ── ids ──────────────────────────────────────────────────────────────────────────────────────────


@leaf
def id_tag(order_id: int) -> int:
    """Hash an id to 32 bits, the upper ones of which choose its cell."""
    return shift_right(wrap_mul(order_id, ID_MULTIPLIER), TAG_BITS)


@leaf
def id_find(state: int, order_id: int) -> int:
    """Give the slot of a live order, or NIL."""
    shift = head_at(state, 0)["id_shift"]
    last = (1 << (TAG_BITS - shift)) - 1
    tag = id_tag(order_id)
    stored = narrow(tag)
    place = tag >> shift
    while True:
        cell = idcell_at(state, place)
        slot = cell["slot"]
        if slot == NIL or (cell["tag"] == stored and order_at(state, slot)["id"] == order_id):
            return slot
        place = (place + 1) & last


@leaf
def id_put(state: int, order_id: int, slot: int) -> None:
    """Enter a live order under its id, which is not there."""
    tag = id_tag(order_id)
    shift = head_at(state, 0)["id_shift"]
    last = (1 << (TAG_BITS - shift)) - 1
    place = tag >> shift
    while idcell_at(state, place)["slot"] != NIL:
        place = (place + 1) & last
    cell = idcell_at(state, place)
    cell["slot"] = slot
    cell["tag"] = narrow(tag)


@leaf
def id_remove(state: int, order_id: int, slot: int) -> None:
    """Take a live order's id out; what was pushed past it moves back, so no tombstone stays."""
    shift = head_at(state, 0)["id_shift"]
    last = (1 << (TAG_BITS - shift)) - 1
    place = id_tag(order_id) >> shift
    while idcell_at(state, place)["slot"] != slot:
        place = (place + 1) & last
    gap = place
    while True:
        place = (place + 1) & last
        cell = idcell_at(state, place)
        moved = cell["slot"]
        if moved == NIL:
            break
        home = (cell["tag"] & HALF) >> shift
        # It may fill the gap unless its home lies after the gap, on the way from there to here.
        if ((place - home) & last) >= ((place - gap) & last):
            hole = idcell_at(state, gap)
            hole["slot"] = moved
            hole["tag"] = cell["tag"]
            gap = place
    idcell_at(state, gap)["slot"] = NIL


@kernel
def ids_enter(old: int, cells: int, new: int, shift: int) -> None:
    """Enter the ids of a table of so many cells at the address `old` into an empty, larger one at `new`. O(cells).

    Cells come in the order of their homes, or nearly, so both tables are gone through once from end to end.
    """
    last = (1 << (TAG_BITS - shift)) - 1
    for number in range(cells):
        cell = cell_read(old + number * CELL_STRIDE)
        slot = cell["slot"]
        if slot != NIL:
            place = (cell["tag"] & HALF) >> shift
            while cell_read(new + place * CELL_STRIDE)["slot"] != NIL:
                place = (place + 1) & last
            entered = cell_read(new + place * CELL_STRIDE)
            entered["slot"] = slot
            entered["tag"] = cell["tag"]


# ── making and growing ───────────────────────────────────────────────────────────────────────────


def book_tables(tables: Tables, *, sides: int, order_rows: int, node_rows: int, handles: bool = False) -> None:
    """Lay out empty books in `tables`, whose first tables are BOOK_TABLES; handles need no cells for ids. O(rows)."""
    cells = 0 if handles else 4 * order_rows
    for index, rows in enumerate((1, sides, node_rows, node_rows * FAN, order_rows, order_rows, cells)):
        tables.grow(index, rows)
    head = tables.arrays[0][0]
    head["handles"] = handles
    head["order_used"] = head["node_used"] = 1
    head["order_rows"], head["node_rows"], head["sides"] = order_rows, node_rows, sides
    head["id_shift"] = TAG_BITS + 1 - (4 * order_rows).bit_length()


class Growth(NamedTuple):
    """Larger tables, made and filled but not yet in use, and what HEAD will say of them."""

    arrays: dict[int, np.ndarray]
    head: dict[str, int]


def growth_install(tables: Tables, growth: Growth) -> None:
    """Use larger tables from now on. Done twice it is done once, so whoever is interrupted begins again."""
    for index, array in growth.arrays.items():
        tables.put(index, array)
    for name, value in growth.head.items():
        tables.arrays[0][0][name] = value


def nodes_growth(tables: Tables) -> Growth:
    """Make twice the nodes; nothing has changed when memory is short. O(nodes)."""
    rows = 2 * len(tables.arrays[2])
    if rows > NODES_END:
        raise MemoryError(f"{rows} nodes of prices; {NODES_END} is the most that a level's number can name")
    arrays = {2: grown(tables.arrays[2], rows), 3: grown(tables.arrays[3], rows * FAN)}
    return Growth(arrays, {"node_rows": rows})


def orders_growth(tables: Tables, enter: EnterIds) -> Growth:
    """Make twice the orders and cells for their ids; nothing has changed when memory is short. O(orders).

    `enter` lets the kernel `ids_enter` do so; the new table is a function of the old one alone.
    """
    rows = 2 * len(tables.arrays[4])
    shift = TAG_BITS + 1 - (4 * rows).bit_length()
    arrays = {4: grown(tables.arrays[4], rows), 5: grown(tables.arrays[5], rows)}
    if not tables.arrays[0][0]["handles"]:
        arrays[6] = aligned_zeros(4 * rows, IDCELL)
        old = tables.arrays[6]
        enter(old.ctypes.data, len(old), arrays[6].ctypes.data, shift)
    return Growth(arrays, {"order_rows": rows, "id_shift": shift})


def grown(old: np.ndarray, rows: int) -> np.ndarray:
    """Copy a table into a longer one whose new rows are zero. O(rows)."""
    new = aligned_zeros(rows, old.dtype)
    # As bytes: NumPy would copy a record field by field.
    new.view(np.uint8)[: old.nbytes] = old.view(np.uint8)
    return new


def growth_due(tables: Tables, enter: EnterIds) -> Growth:
    """Make what `has_room` found short. O(rows)."""
    head = tables.arrays[0][0]
    if head["node_used"] + NODES_PER_INSERT > head["node_rows"]:
        return nodes_growth(tables)
    return orders_growth(tables, enter)
