"""Reads the tables of the order book in Python: walks queues, checks every invariant, hashes the memory.

    SIDE.root ─► NODE ─► … ─► leaf NODE ─► CELL.head ─► ORDER ─► ORDER ─► … ─► CELL.tail
                 shift falls, prefixes grow            next / prev agree, each names its level

Nothing here is fast and nothing here writes: it is for questions, for tests, and for those who doubt.
`tables_check` looks at the raw tables alone, as `book` describes them, and believes no number that it
can count for itself. `memory_hash` covers what is in use and where it lies. Bytes that nobody will read
(freed rows, cells of empty levels, slot 0) count as zero: what stands there depends on where a full
buffer happened to interrupt a sweep, and nothing else does.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from rightsx.book import FAN, FLAG_BITS, FLAG_MASK, HALF, ICEBERG, ID_MULTIPLIER, NIL, TAG_BITS, TOP_SHIFT
from rightsx.protocol import BOOK_QTY_END, INT64_MAX, INT64_MIN, Side

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rightsx._jit import Tables

HEADS, SIDES, NODES, CELLS, ORDERS, PARTS, IDCELLS = range(7)
# What HEAD holds only while a call runs, or for the sake of one.
WORKING: Final = (
    "command",
    "report",
    "report_rows",
    "resuming",
    "held",
    "taker",
    "taker_side",
    "taker_rest",
    "taker_price",
    "taker_ioc",
)


class Resting(NamedTuple):
    """A resting order as it stands in the tables; the names are those of the reference's orders."""

    id: int
    account: int
    series: int
    side: Side
    limit: int
    open_qty: int
    shown_qty: int
    display: int
    flags: int


# ── walking ──────────────────────────────────────────────────────────────────────────────────────


def levels_walk(tables: Tables, side: int) -> Iterator[tuple[int, int]]:
    """Give (level, price) of a side, best first. O(levels)."""
    nodes, cells = tables.arrays[NODES], tables.arrays[CELLS]
    root = int(tables.arrays[SIDES][side]["root"])
    waiting = [root] if root != NIL else []
    while waiting:
        slot = waiting.pop()
        bitmap, key, _, _, shift, mask = nodes[slot].item()
        places = [place for place in range(FAN) if bitmap >> place & 1]
        if shift == 0:
            for place in places:
                yield slot * FAN + place, ((key & -FAN) | place) ^ mask
        else:
            waiting += [int(cells[slot * FAN + place]["head"]) for place in reversed(places)]


def queue_walk(tables: Tables, level: int) -> Iterator[int]:
    """Give the slots of a level, front first. O(orders)."""
    orders = tables.arrays[ORDERS]
    slot = int(tables.arrays[CELLS][level]["head"])
    while slot != NIL:
        yield slot
        slot = int(orders[slot]["next"])


def orders_walk(tables: Tables, side: int) -> Iterator[Resting]:
    """Give the orders of a side in the order in which they would trade. O(orders)."""
    for level, _ in levels_walk(tables, side):
        for slot in queue_walk(tables, level):
            yield order_read(tables, slot)


def order_read(tables: Tables, slot: int) -> Resting:
    """Read the resting order of a slot. O(1)."""
    order_id, word, _, _, level, account = tables.arrays[ORDERS][slot].item()
    _, key, _, side, _, mask = tables.arrays[NODES][level // FAN].item()
    price = ((key & -FAN) | level % FAN) ^ mask
    shown = word >> FLAG_BITS
    display, hidden = tables.arrays[PARTS][slot].item() if word & ICEBERG else (0, 0)
    flags = word & FLAG_MASK & ~ICEBERG
    return Resting(order_id, account & HALF, side >> 1, Side((side & 1) + 1), price, shown + hidden, shown, display, flags)


def order_slot(tables: Tables, order_id: int) -> int:
    """Find a live order by its id or handle: its slot, or NIL. O(1)."""
    head, orders = tables.arrays[HEADS][0], tables.arrays[ORDERS]
    if not 0 < order_id <= INT64_MAX:
        return NIL
    if head["handles"]:
        slot = order_id & HALF
        return slot if 0 < slot < head["order_used"] and orders[slot]["id"] == order_id else NIL
    cells = tables.arrays[IDCELLS]
    place = id_tag(order_id) >> int(head["id_shift"])
    while True:
        slot = int(cells[place]["slot"])
        if slot == NIL or orders[slot]["id"] == order_id:
            return slot
        place = (place + 1) % len(cells)


def id_tag(order_id: int) -> int:
    """Hash an id to 32 bits, as the kernel does."""
    return order_id * ID_MULTIPLIER % 2**64 >> TAG_BITS


def free_walk(links: np.ndarray, first: int) -> list[int]:
    """List a free list, the slot freed last first. O(slots)."""
    following = links.tolist()
    free: list[int] = []
    slot = int(first)
    while slot != NIL:
        assert len(free) <= len(following), "a free list runs in a circle"
        free.append(slot)
        slot = following[slot]
    return free


def generations(tables: Tables) -> list[int]:
    """List the generation of every slot that was ever used, 0 for nobody's. O(slots)."""
    ids = tables.arrays[ORDERS]["id"][1 : int(tables.arrays[HEADS][0]["order_used"])]
    return [0, *((ids & np.int64(INT64_MAX)) >> np.int64(32)).tolist()]


# ── hashing ──────────────────────────────────────────────────────────────────────────────────────


def state_hash(tables: Tables) -> str:
    """Hash the canonical content as the reference does: every queue in order, then ids. O(orders)."""
    digest = hashlib.sha256()
    for side in np.flatnonzero(tables.arrays[SIDES]["root"]).tolist():
        for o in orders_walk(tables, side):
            row = (o.series, o.id, o.account, int(o.side), o.limit, o.open_qty, o.shown_qty, o.display, o.flags)
            digest.update(repr(row).encode())
    issued: tuple[list[int], list[int]] = ([0], [])
    head = tables.arrays[HEADS][0]
    if head["handles"]:
        issued = (generations(tables), free_walk(tables.arrays[ORDERS]["next"], head["order_free"])[::-1])
    digest.update(repr(issued).encode())
    return digest.hexdigest()


def memory_hash(tables: Tables) -> str:
    """Hash every byte of the tables that anybody will read, where it lies. O(rows)."""
    head, sides, nodes, cells, orders, parts, idcells = (array.copy() for array in tables.arrays[:7])
    for name in WORKING:
        head[name] = 0
    sides["best_key"][sides["best"] == NIL] = 0
    free = free_walk(nodes["parent"], head[0]["node_free"])
    links = nodes["parent"][free]
    nodes[~_in_use(len(nodes), head[0]["node_used"], free)] = 0
    nodes["parent"][free] = links
    empty = (nodes["bitmap"][:, None] >> np.arange(FAN) & 1) == 0
    cells[empty.ravel()] = 0
    cells.reshape(-1, FAN)["tail"][nodes["shift"] != 0] = 0
    free = free_walk(orders["next"], head[0]["order_free"])
    kept = orders[["id", "next"]][free]
    orders[~_in_use(len(orders), head[0]["order_used"], free)] = 0
    orders["next"][free] = kept["next"]
    if head[0]["handles"]:
        orders["id"][free] = kept["id"]
    parts[orders["word"] & ICEBERG == 0] = 0
    idcells["tag"][idcells["slot"] == NIL] = 0
    digest = hashlib.sha256()
    for array in (head, sides, nodes, cells, orders, parts, idcells):
        digest.update(array.tobytes())
    return digest.hexdigest()


def _in_use(rows: int, used: int, free: list[int]) -> np.ndarray:
    """Mark the rows that hold something."""
    marks = np.zeros(rows, bool)
    marks[1:used] = True
    marks[free] = False
    return marks


# ── checking ─────────────────────────────────────────────────────────────────────────────────────


def tables_check(tables: Tables) -> None:
    """Assert every invariant of `book` over the raw tables, between two commands. O(rows)."""
    _check_head(tables)
    live: set[int] = set()
    used: set[int] = set()
    sides = tables.arrays[SIDES]
    assert ((sides["root"] == NIL) == (sides["best"] == NIL)).all(), "a side has a best level or a trie, but not both"
    for side in np.flatnonzero(sides["root"]).tolist():
        _check_trie(tables, side, used)
        _check_queues(tables, side, live)
    for side in np.flatnonzero((sides["root"][::2] != NIL) & (sides["root"][1::2] != NIL)).tolist():
        bid, ask = int(sides[2 * side]["best_key"]) ^ -1, int(sides[2 * side + 1]["best_key"])
        assert bid < ask, f"book {side} is crossed: {bid} bid, {ask} asked"
    _check_pools(tables, used, live)
    _check_ids(tables, live)


def _check_head(tables: Tables) -> None:
    """Assert that HEAD says how large the tables are, and that nothing is half done."""
    head = tables.arrays[HEADS][0]
    rows = [len(array) for array in tables.arrays[:7]]
    orders, nodes = int(head["order_rows"]), int(head["node_rows"])
    cells = 0 if head["handles"] else 2 ** (TAG_BITS - int(head["id_shift"]))
    assert rows == [1, head["sides"], nodes, nodes * FAN, orders, orders, cells], "a table is not as long as HEAD says"
    assert head["handles"] or 4 * orders <= cells, "the table of ids is small for so many orders"
    assert 1 <= head["order_used"] <= orders, "slots beyond the orders are in use"
    assert 1 <= head["node_used"] <= nodes, "slots beyond the nodes are in use"
    assert head["resuming"] == 0 == head["held"], "a command is half done"
    assert 0 <= head["live"] <= head["live_limit"], "more orders live than may"


def _check_trie(tables: Tables, side: int, used: set[int]) -> None:
    """Assert that a side's nodes form one trie whose first level is kept as the best; adds them to `used`."""
    nodes, cells, row = tables.arrays[NODES], tables.arrays[CELLS], tables.arrays[SIDES][side]
    waiting = [(int(row["root"]), NIL, TOP_SHIFT + 1, 0, 0)]
    while waiting:
        slot, above, upper_shift, upper_key, place = waiting.pop()
        assert 0 < slot < len(nodes), f"node {slot} is out of range"
        assert slot not in used, f"node {slot} stands at two places"
        used.add(slot)
        bitmap, key, parent, owner, shift, mask = nodes[slot].item()
        assert (parent, owner, mask) == (above, side, (side & 1) - 1), f"node {slot} belongs elsewhere"
        assert bitmap != 0, f"node {slot} is empty"
        assert shift % 6 == 0, f"node {slot} has shift {shift}"
        assert 0 <= shift < upper_shift, f"node {slot} does not stand below its parent"
        if above != NIL:
            assert (key ^ INT64_MIN) >> upper_shift & (FAN - 1) == place, f"node {slot} stands at a wrong place"
            assert upper_shift == TOP_SHIFT or (key ^ upper_key) >> (upper_shift + 6) == 0, f"node {slot} parts above its parent"
        if shift:
            children = [(int(cells[slot * FAN + p]["head"]), p) for p in range(FAN) if bitmap >> p & 1]
            waiting += [(child, slot, shift, key, p) for child, p in children]
    level, price = next(levels_walk(tables, side))
    assert level == row["best"], f"the best level of side {side} is not its first"
    assert row["best_key"] == price ^ ((side & 1) - 1), f"the best key of side {side} is not its best level's"


def _check_queues(tables: Tables, side: int, live: set[int]) -> None:
    """Assert that a side's queues hang together and its orders show what they may; adds them to `live`."""
    orders, parts = tables.arrays[ORDERS], tables.arrays[PARTS]
    for level, _ in levels_walk(tables, side):
        head, tail = tables.arrays[CELLS][level].item()
        slot, before = head, NIL
        while slot != NIL:
            assert 0 < slot < len(orders), f"slot {slot} is out of range"
            assert slot not in live, f"slot {slot} stands in two queues"
            live.add(slot)
            _, word, after, prev, home, _ = orders[slot].item()
            assert home == level, f"slot {slot} names another level"
            assert prev == before, f"slot {slot} does not know who stands before it"
            display, hidden = parts[slot].item() if word & ICEBERG else (0, 0)
            shown = word >> FLAG_BITS
            assert 0 < shown <= shown + hidden < BOOK_QTY_END, f"slot {slot} shows {shown} and hides {hidden}"
            assert hidden == 0 or shown <= display, f"slot {slot} shows {shown} of at most {display}"
            slot, before = after, slot
        assert before == tail != NIL, f"level {level} ends elsewhere than its tail says"


def _check_pools(tables: Tables, used: set[int], live: set[int]) -> None:
    """Assert that every slot is in use or free, never both and never neither."""
    head = tables.arrays[HEADS][0]
    for name, links, taken in (("node", tables.arrays[NODES]["parent"], used), ("order", tables.arrays[ORDERS]["next"], live)):
        free = free_walk(links, head[f"{name}_free"])
        assert len(set(free)) == len(free), f"a free {name} is free twice"
        assert not taken & set(free), f"a free {name} is in use"
        assert taken | set(free) == set(range(1, int(head[f"{name}_used"]))), f"a {name} is neither in use nor free"
    assert head["live"] == len(live), f"{len(live)} orders live, HEAD says {head['live']}"


def _check_ids(tables: Tables, live: set[int]) -> None:
    """Assert that ids find their orders and nothing else, or that handles say who lives."""
    head, orders, cells = tables.arrays[HEADS][0], tables.arrays[ORDERS], tables.arrays[IDCELLS]
    entered = {int(place): int(cells[place]["slot"]) for place in np.flatnonzero(cells["slot"])}
    if head["handles"]:
        assert not entered, "handles need no table of ids"
        for slot, number in enumerate(orders["id"][1 : int(head["order_used"])].tolist(), 1):
            assert number & HALF == slot, f"slot {slot} has the handle of another"
            assert (number >= 0) == (slot in live), f"the handle of slot {slot} does not say whether it lives"
        return
    assert set(entered.values()) == live, "live orders and ids differ"
    assert len(entered) == len(live), "an order has two ids"
    for place, slot in entered.items():
        number = int(orders[slot]["id"])
        tag = int(cells[place]["tag"])
        assert number > 0, f"slot {slot} has id {number}"
        assert tag & HALF == id_tag(number), f"the tag of id {number} is not its hash"
        home = id_tag(number) >> int(head["id_shift"])
        while home != place:
            assert home in entered, f"a gap hides id {number}"
            home = (home + 1) % len(cells)
