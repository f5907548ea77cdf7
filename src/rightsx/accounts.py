"""Cash, holdings and lots in tables: moved here, never created (R3, R15, R36).

    ACCOUNT ─ cash free and locked, what restrains it, its open orders in order of acceptance
    HOLDING ─ (account, series) ─ units free, offered, in vouchers; open bids ─► LOT ⇄ LOT ⇄ LOT, oldest first
       ▲
    HOLDCELL: open addressing over (account, series), 4-byte cells, load ≤ 1/2, backward shift

A holding's row comes with its first unit or bid and goes with its last, so it stays where it is while an
order or a voucher refers to it. The holdings of a series are linked, because expiry walks them. A list
of lots is doubly linked and named by its two ends; a lot of an order or a voucher is in that one's list
instead of the holding's (R15).

Invariants: no row has a negative part; a holding with neither units nor bids has no row; lots of a list
are ordered by (acquired, seq); only slots of our own tables index a table; slot 0 is nobody.
Costs: find, move O(1); lots O(lots touched), returning one O(lots between it and the last one returned).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from rightsx._jit import Tables, aligned_zeros, kernel, leaf, mul_div, shift_right, table, wide, wrap_mul
from rightsx.probing import pair_homes, spots_of

FUNDS: Final = np.dtype(
    [
        (name, "<i8")
        for name in (
            "account_count",  # the platform included
            "account_rows",
            "account_limit",
            "holding_free",
            "holding_used",
            "holding_rows",
            "holding_count",
            "holding_limit",
            "holding_shift",  # 32 − log2 of the cells
            "lot_free",
            "lot_used",
            "lot_rows",
            "lot_seq",
            "taken_first",  # the list that `lots_take` and `lots_split` leave
            "taken_last",
            "taken_cost",
        )
    ]
)
ACCOUNT: Final = np.dtype(
    [
        ("cash_free", "<i8"),
        ("cash_locked", "<i8"),
        ("debt", "<i8"),
        ("max_notional", "<i8"),
        ("max_open", "<i8"),
        ("open_orders", "<i4"),
        ("tier", "<i4"),
        ("first_order", "<i4"),
        ("last_order", "<i4"),
        ("silent_timer", "<i4"),
        ("terminals", "i1"),  # how many a merchant has registered; −1 of an account that is no merchant
        ("frozen", "i1"),
        ("defaulted", "i1"),
        ("restrained", "i1"),  # frozen, defaulted, or under any limit: not for the plain path
    ]
)
HOLDING: Final = np.dtype(
    [
        ("account", "<i4"),
        ("series", "<i4"),
        ("free_qty", "<i4"),
        ("offered_qty", "<i4"),
        ("voucher_qty", "<i4"),
        ("next", "<i4"),
        ("bid_qty", "<i8"),
        ("first_lot", "<i4"),
        ("last_lot", "<i4"),
        ("finger", "<i4"),  # the lot returned last, where the next one probably goes
        ("prev", "<i4"),
    ]
)
HOLDCELL: Final = np.dtype([("slot", "<i4")])
LOT: Final = np.dtype(
    [
        ("acquired_ns", "<i8"),
        ("seq", "<i8"),
        ("cost", "<i8"),
        ("qty", "<i4"),
        ("primary", "<i4"),
        ("next", "<i4"),
        ("prev", "<i4"),
    ]
)
ACCOUNT_TABLES: Final = (FUNDS, ACCOUNT, HOLDING, HOLDCELL, LOT)
FIRST_TABLE: Final = 13
funds_at = table(FIRST_TABLE, FUNDS)
account_at = table(FIRST_TABLE + 1, ACCOUNT)
holding_at = table(FIRST_TABLE + 2, HOLDING)
holdcell_at = table(FIRST_TABLE + 3, HOLDCELL)
lot_at = table(FIRST_TABLE + 4, LOT)

NIL: Final = 0
MULTIPLIER: Final = -7046029254386353131  # 2^64 / φ, odd
TAG_BITS: Final = 32
ALL_LOTS, OLD_ENOUGH, STILL_COOLING, PRIMARY = 0, 1, 2, 3  # which lots are eligible

# ── cash ─────────────────────────────────────────────────────────────────────────────────────────


@leaf
def cash_credit(state: int, account: int, amount: int) -> None:
    """Add to an account's free cash; a negative amount takes away what the caller has checked is there."""
    row = account_at(state, account)
    row["cash_free"] = row["cash_free"] + amount


@kernel
def account_open(state: int) -> int:
    """Open an account under the next id. The caller has checked that there is room."""
    funds = funds_at(state, 0)
    account = funds["account_count"]
    funds["account_count"] = account + 1
    account_at(state, account)["terminals"] = -1
    return account


@leaf
def is_merchant(state: int, account: int) -> bool:
    """Say whether an account that is there is a merchant's."""
    return account_at(state, account)["terminals"] >= 0


@leaf
def account_known(state: int, account: int) -> bool:
    """Say whether an account can act; the platform, 0, cannot."""
    return 0 < account and account < funds_at(state, 0)["account_count"]


@kernel
def account_restrain(state: int, account: int) -> None:
    """Note whether anything keeps an account from the plain path."""
    row = account_at(state, account)
    limits = row["max_open"] != 0 or row["max_notional"] != 0 or row["tier"] != 0
    row["restrained"] = 1 if limits or row["frozen"] != 0 or row["defaulted"] != 0 else 0


# ── holdings ─────────────────────────────────────────────────────────────────────────────────────


@leaf
def holding_home(state: int, account: int, series: int) -> int:
    """Give the cell where the search for a holding begins."""
    hashed = shift_right(wrap_mul(account ^ wrap_mul(series, 0x1_0000_0001_0001), MULTIPLIER), TAG_BITS)
    return hashed >> funds_at(state, 0)["holding_shift"]


@leaf
def holding_find(state: int, account: int, series: int) -> int:
    """Give the slot of a holding, or NIL."""
    last = (1 << (TAG_BITS - funds_at(state, 0)["holding_shift"])) - 1
    place = holding_home(state, account, series)
    while True:
        slot = wide(holdcell_at(state, place)["slot"])
        if slot == NIL:
            return NIL
        row = holding_at(state, slot)
        if row["account"] == account and row["series"] == series:
            return slot
        place = (place + 1) & last


@kernel
def holding_make(state: int, account: int, series: int) -> int:
    """Make the row of a holding that is not there; the caller links it to its series and has checked for room."""
    funds = funds_at(state, 0)
    slot = funds["holding_free"]
    if slot != NIL:
        funds["holding_free"] = wide(holding_at(state, slot)["next"])
    else:
        slot = funds["holding_used"]
        funds["holding_used"] = slot + 1
    funds["holding_count"] = funds["holding_count"] + 1
    row = holding_at(state, slot)
    row["account"] = account
    row["series"] = series
    row["free_qty"] = 0
    row["offered_qty"] = 0
    row["voucher_qty"] = 0
    row["bid_qty"] = 0
    row["first_lot"] = NIL
    row["last_lot"] = NIL
    row["finger"] = NIL
    holding_put(state, account, series, slot)
    return slot


@kernel
def holding_put(state: int, account: int, series: int, slot: int) -> None:
    """Enter a slot into the first empty cell from its home."""
    last = (1 << (TAG_BITS - funds_at(state, 0)["holding_shift"])) - 1
    place = holding_home(state, account, series)
    while holdcell_at(state, place)["slot"] != NIL:
        place = (place + 1) & last
    holdcell_at(state, place)["slot"] = slot


@kernel
def holding_drop(state: int, slot: int) -> None:
    """Give back the row of a holding that is in no list of its series any more and has nothing."""
    funds = funds_at(state, 0)
    last = (1 << (TAG_BITS - funds["holding_shift"])) - 1
    row = holding_at(state, slot)
    place = holding_home(state, wide(row["account"]), wide(row["series"]))
    while holdcell_at(state, place)["slot"] != slot:
        place = (place + 1) & last
    gap = place
    while True:
        place = (place + 1) & last
        moved = wide(holdcell_at(state, place)["slot"])
        if moved == NIL:
            break
        other = holding_at(state, moved)
        home = holding_home(state, wide(other["account"]), wide(other["series"]))
        if ((place - home) & last) >= ((place - gap) & last):
            holdcell_at(state, gap)["slot"] = moved
            gap = place
    holdcell_at(state, gap)["slot"] = NIL
    row["next"] = funds["holding_free"]
    funds["holding_free"] = slot
    funds["holding_count"] = funds["holding_count"] - 1


@leaf
def holding_units(state: int, slot: int) -> int:
    """Give all units of a holding, wherever they are."""
    row = holding_at(state, slot)
    return wide(row["free_qty"]) + wide(row["offered_qty"]) + wide(row["voucher_qty"])


@leaf
def holding_free_qty(state: int, account: int, series: int) -> int:
    """Give the free units of an account in a series, 0 where it has no holding."""
    slot = holding_find(state, account, series)
    return wide(holding_at(state, slot)["free_qty"]) if slot != NIL else 0


# ── lots ─────────────────────────────────────────────────────────────────────────────────────────


@kernel
def lot_make(state: int, acquired_ns: int, seq: int, qty: int, cost: int, primary: int) -> int:
    """Make a lot that is in no list. The caller has checked that there is room."""
    funds = funds_at(state, 0)
    slot = funds["lot_free"]
    if slot != NIL:
        funds["lot_free"] = wide(lot_at(state, slot)["next"])
    else:
        slot = funds["lot_used"]
        funds["lot_used"] = slot + 1
    lot = lot_at(state, slot)
    lot["acquired_ns"] = acquired_ns
    lot["seq"] = seq
    lot["qty"] = qty
    lot["cost"] = cost
    lot["primary"] = primary
    lot["next"] = NIL
    lot["prev"] = NIL
    return slot


@kernel
def lot_drop(state: int, slot: int) -> None:
    """Give back a lot that is in no list."""
    funds = funds_at(state, 0)
    lot_at(state, slot)["next"] = funds["lot_free"]
    funds["lot_free"] = slot


@kernel
def lot_part(state: int, slot: int, qty: int) -> int:
    """Split `qty` units off a lot with their share of the cost, cost × qty // all, and leave the rest (R15)."""
    lot = lot_at(state, slot)
    cost = mul_div(lot["cost"], qty, wide(lot["qty"]))
    lot["qty"] = wide(lot["qty"]) - qty
    lot["cost"] = lot["cost"] - cost
    return lot_make(state, lot["acquired_ns"], lot["seq"], qty, cost, wide(lot["primary"]))


@kernel
def lot_eligible(state: int, slot: int, which: int, limit_ns: int) -> bool:
    """Say whether a lot may be taken.

    ALL_LOTS; OLD_ENOUGH: acquired by `limit_ns` (R26); PRIMARY; STILL_COOLING: primary, acquired after `limit_ns` (R25).
    """
    lot = lot_at(state, slot)
    if which == OLD_ENOUGH:
        return lot["acquired_ns"] <= limit_ns
    if which == STILL_COOLING:
        return lot["primary"] != 0 and lot["acquired_ns"] > limit_ns
    return which == ALL_LOTS or lot["primary"] != 0


@kernel
def lots_eligible(state: int, holding: int, which: int, limit_ns: int) -> int:
    """Count the free units of a holding in eligible lots. O(lots)."""
    if holding == NIL:
        return 0
    found = 0
    slot = wide(holding_at(state, holding)["first_lot"])
    while slot != NIL:
        if lot_eligible(state, slot, which, limit_ns):
            found += wide(lot_at(state, slot)["qty"])
        slot = wide(lot_at(state, slot)["next"])
    return found


@kernel
def lot_append(state: int, holding: int, slot: int) -> None:
    """Put a lot that is the newest at the end of a holding's list."""
    row = holding_at(state, holding)
    last = wide(row["last_lot"])
    lot = lot_at(state, slot)
    lot["prev"] = last
    lot["next"] = NIL
    if last == NIL:
        row["first_lot"] = slot
    else:
        lot_at(state, last)["next"] = slot
    row["last_lot"] = slot


@kernel
def lot_unlink(state: int, holding: int, slot: int) -> None:
    """Take a lot out of a holding's list."""
    row = holding_at(state, holding)
    lot = lot_at(state, slot)
    before = wide(lot["prev"])
    after = wide(lot["next"])
    if before == NIL:
        row["first_lot"] = after
    else:
        lot_at(state, before)["next"] = after
    if after == NIL:
        row["last_lot"] = before
    else:
        lot_at(state, after)["prev"] = before
    if row["finger"] == slot:
        row["finger"] = before


@kernel
def taken_begin(state: int) -> None:
    """Begin the list of what is taken."""
    funds = funds_at(state, 0)
    funds["taken_first"] = NIL
    funds["taken_last"] = NIL
    funds["taken_cost"] = 0


@kernel
def taken_add(state: int, slot: int) -> None:
    """Add a lot to the list of what is taken."""
    funds = funds_at(state, 0)
    last = funds["taken_last"]
    lot = lot_at(state, slot)
    lot["prev"] = last
    lot["next"] = NIL
    if last == NIL:
        funds["taken_first"] = slot
    else:
        lot_at(state, last)["next"] = slot
    funds["taken_last"] = slot
    funds["taken_cost"] = funds["taken_cost"] + lot["cost"]


@kernel
def lots_take(state: int, holding: int, wanted: int, which: int, limit_ns: int) -> None:
    """Take `wanted` units of the oldest eligible lots out of a holding, into FUNDS' `taken` list.

    The caller has checked that there are as many; where the series keeps no lots nothing is taken.
    At most one lot is split, so one row is enough. O(lots).
    """
    taken_begin(state)
    rest = wanted
    slot = wide(holding_at(state, holding)["first_lot"])
    while slot != NIL and rest > 0:
        after = wide(lot_at(state, slot)["next"])
        if lot_eligible(state, slot, which, limit_ns):
            qty = wide(lot_at(state, slot)["qty"])
            if qty <= rest:
                lot_unlink(state, holding, slot)
                taken_add(state, slot)
                rest -= qty
            else:
                taken_add(state, lot_part(state, slot, rest))
                rest = 0
        slot = after


@kernel
def lots_split(state: int, first: int, last: int, wanted: int, youngest: int) -> int:
    """Take `wanted` units off a list of lots from the oldest on, or from the youngest, into `taken`.

    Gives the list's other end: its first lot now, or its last one, NIL if nothing is left. O(lots taken).
    """
    taken_begin(state)
    rest = wanted
    slot = last if youngest != 0 else first
    while slot != NIL and rest > 0:
        lot = lot_at(state, slot)
        qty = wide(lot["qty"])
        if qty > rest:
            taken_add(state, lot_part(state, slot, rest))
            break
        after = wide(lot["prev"]) if youngest != 0 else wide(lot["next"])
        taken_add(state, slot)
        rest -= qty
        slot = after
    if slot != NIL:
        if youngest != 0:
            lot_at(state, slot)["next"] = NIL
        else:
            lot_at(state, slot)["prev"] = NIL
    return slot


@kernel
def lots_destroy(state: int, first: int) -> None:
    """Give back every lot of a list. O(lots)."""
    slot = first
    while slot != NIL:
        after = wide(lot_at(state, slot)["next"])
        lot_drop(state, slot)
        slot = after


@leaf
def lot_before(state: int, a: int, b: int) -> bool:
    """Say whether lot a stands before lot b in a queue of lots (R15)."""
    one = lot_at(state, a)
    other = lot_at(state, b)
    if one["acquired_ns"] != other["acquired_ns"]:
        return one["acquired_ns"] < other["acquired_ns"]
    return one["seq"] < other["seq"]


@kernel
def lots_return(state: int, holding: int, first: int) -> None:
    """Put the lots of a list back into their old places, joined to what was left of them (R15)."""
    slot = first
    while slot != NIL:
        after = wide(lot_at(state, slot)["next"])
        lot_return(state, holding, slot)
        slot = after


@kernel
def lot_return(state: int, holding: int, slot: int) -> None:
    """Put one lot back, searching from where the last one went."""
    row = holding_at(state, holding)
    before = wide(row["finger"])
    while before != NIL and lot_before(state, slot, before):
        before = wide(lot_at(state, before)["prev"])
    after = wide(row["first_lot"]) if before == NIL else wide(lot_at(state, before)["next"])
    while after != NIL and not lot_before(state, slot, after):
        before = after
        after = wide(lot_at(state, after)["next"])
    lot = lot_at(state, slot)
    if before != NIL and lot_at(state, before)["seq"] == lot["seq"]:
        rest = lot_at(state, before)
        rest["qty"] = wide(rest["qty"]) + wide(lot["qty"])
        rest["cost"] = rest["cost"] + lot["cost"]
        lot_drop(state, slot)
        row["finger"] = before
        return
    lot["prev"] = before
    lot["next"] = after
    if before == NIL:
        row["first_lot"] = slot
    else:
        lot_at(state, before)["next"] = slot
    if after == NIL:
        row["last_lot"] = slot
    else:
        lot_at(state, after)["prev"] = slot
    row["finger"] = slot


# ── making and growing ───────────────────────────────────────────────────────────────────────────


def account_tables(tables: Tables, *, rows: int) -> None:
    """Lay out the platform's account and nothing else, with so many rows each. O(rows)."""
    for index, count in enumerate((1, rows, rows, 2 * rows, rows)):
        tables.grow(FIRST_TABLE + index, count)
    funds = tables.arrays[FIRST_TABLE][0]
    funds["account_count"] = funds["holding_used"] = funds["lot_used"] = 1
    funds["account_rows"] = funds["holding_rows"] = funds["lot_rows"] = rows
    funds["holding_shift"] = holding_shift(rows)
    tables.arrays[FIRST_TABLE + 1]["terminals"][0] = -1


def holding_cells(tables: Tables, rows: int) -> np.ndarray:
    """Make the cells for so many holdings, those that there are entered. O(cells)."""
    slots = tables.arrays[FIRST_TABLE + 3]["slot"]
    slots = slots[slots != NIL]
    cells = aligned_zeros(2 * rows, HOLDCELL)
    held = tables.arrays[FIRST_TABLE + 2][slots]
    # A holding's key is hashed as (series, account).
    cells["slot"][spots_of(pair_homes(held["series"], held["account"], holding_shift(rows)), len(cells))] = slots
    return cells


def holding_shift(rows: int) -> int:
    """Give 32 − log2 of the cells for so many holdings."""
    return TAG_BITS + 1 - (2 * rows).bit_length()
