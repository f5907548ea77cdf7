"""Offline vouchers: units frozen at their value for a till without a network (R28).

    lock ───────────── redeemable ─────────────► lock + ttl ── late uploads ──► lapse
     │ v(lock) holds, the units do not decay                                     │ decay booked,
     └ worst case told: q × v × (terminals − 1)                                  └ units come back

A voucher's id is `series << 32 | n`. Its row stays until its series expires, because a late second upload
must still be recognised; the rows of a series are linked in order of locking.
"""

from __future__ import annotations

from rightsx._jit import kernel, leaf, shift_right, wide
from rightsx.accounts import (
    ALL_LOTS,
    account_at,
    funds_at,
    holding_at,
    holding_find,
    lots_destroy,
    lots_return,
    lots_take,
)
from rightsx.engine.holders import check_account
from rightsx.engine.numbers import (
    BAD_TERMS,
    BAD_TIME,
    DOUBLE_REDEEM,
    E_DOUBLE_REDEEMED,
    E_VOUCHER_LAPSED,
    E_VOUCHER_LOCKED,
    E_VOUCHER_REDEEMED,
    F_ACCOUNT,
    F_DEADLINE_NS,
    F_DISPLAY,
    F_ORDER_ID,
    F_QTY,
    F_SERIES,
    F_STOP_PRICE,
    F_TIME_NS,
    FORFEIT,
    INSUFFICIENT_UNITS,
    NO_REDEEMABLE_VALUE,
    RANK_VOUCHER,
    T_VOUCHER_LAPSE,
    TERMINAL_NOT_ALLOWED,
    UNKNOWN_VOUCHER,
    VOUCHER_BEYOND_EXPIRY,
    VOUCHER_EXPIRED,
    VOUCHER_LAPSED,
)
from rightsx.engine.orders import check_series
from rightsx.engine.plans import units_recall, usable_qty
from rightsx.engine.redemption import settlement_account, store_listed
from rightsx.engine.references import check_reference, memo_order
from rightsx.engine.state import (
    DONE,
    MORE,
    NIL,
    VOUCHERS,
    base_of,
    check_living,
    check_qty,
    check_unexpired,
    command_at,
    escrow_pay,
    escrow_share,
    event_about,
    event_at,
    holding_tidy,
    index_at,
    index_place,
    index_put,
    index_remove,
    no,
    series_at,
    series_known,
    task_at,
    task_pop,
    timer_arm,
    timer_disarm,
    timer_seq,
    voucher_at,
    world_at,
)
from rightsx.protocol import MAX_TERMINALS, TIME_END

N_BITS = 0xFFFF_FFFF

# ── locking ──────────────────────────────────────────────────────────────────────────────────────


@kernel
def lock_voucher(state: int, row: int) -> int:
    """Freeze free units at their value for named terminals (R28)."""
    code = admit_lock(state, row)
    if code != 0:
        return code
    # From here the command must succeed.
    command = command_at(state, row)
    account, series, qty = wide(command["account"]), wide(command["series"]), command["qty"]
    terms = series_at(state, series)
    slot = voucher_take(state, series)
    voucher = voucher_at(state, slot)
    units_recall(state, account, series, qty)
    holding = holding_find(state, account, series)
    lots_take(state, holding, qty, ALL_LOTS, 0)
    held = holding_at(state, holding)
    held["free_qty"] = wide(held["free_qty"]) - qty
    held["voucher_qty"] = wide(held["voucher_qty"]) + qty
    now = world_at(state, 0)["clock_ns"]
    voucher["account"] = account
    voucher["qty"] = qty
    voucher["value"] = terms["value"]
    voucher["lock_ns"] = now
    voucher["redeem_end_ns"] = now + command["deadline_ns"]
    voucher["lapse_ns"] = now + command["deadline_ns"] + command["display"]
    voucher["terminals"] = command["stop_price"]
    voucher["first_lot"] = funds_at(state, 0)["taken_first"]
    voucher["timer"] = timer_arm(state, voucher["lapse_ns"], RANK_VOUCHER, T_VOUCHER_LAPSE, voucher["id"], 0)
    voucher["timer_seq"] = timer_seq(state, wide(voucher["timer"]))
    terms["voucher_units"] = terms["voucher_units"] + qty
    terms["voucher_face"] = terms["voucher_face"] + qty * terms["value"]
    event = event_at(state, event_about(state, E_VOUCHER_LOCKED, series, account))
    event["order_id"] = voucher["id"]
    event["other_order_id"] = command["stop_price"]
    event["price"] = terms["value"]
    event["qty"] = qty
    event["amount"] = qty * terms["value"] * (bits_set(command["stop_price"]) - 1)
    event["fee"] = voucher["redeem_end_ns"]
    event["other_fee"] = voucher["lapse_ns"]
    memo_order(state, voucher["id"])
    return 0


@kernel
def bits_set(bits: int) -> int:
    """Count the bits of a word."""
    count = 0
    for place in range(64):
        count += (bits >> place) & 1
    return count


@kernel
def voucher_take(state: int, series: int) -> int:
    """Take a row for the next voucher of a series, with its id, at the end of the series' list."""
    world = world_at(state, 0)
    slot = world["voucher_free"]
    if slot != NIL:
        world["voucher_free"] = wide(voucher_at(state, slot)["next"])
    else:
        slot = world["voucher_used"]
        world["voucher_used"] = slot + 1
    terms = series_at(state, series)
    terms["voucher_count"] = wide(terms["voucher_count"]) + 1
    voucher = voucher_at(state, slot)
    voucher["id"] = (series << 32) | wide(terms["voucher_count"])
    voucher["next"] = NIL
    voucher["redeemed"] = 0
    voucher["lapsed"] = 0
    last = wide(terms["last_voucher"])
    if last == NIL:
        terms["first_voucher"] = slot
    else:
        voucher_at(state, last)["next"] = slot
    terms["last_voucher"] = slot
    index_put(state, VOUCHERS, voucher["id"], slot)
    return slot


@kernel
def admit_lock(state: int, row: int) -> int:
    """Make every check of a voucher lock."""
    command = command_at(state, row)
    account, series, qty = wide(command["account"]), wide(command["series"]), command["qty"]
    ttl, grace, named = command["deadline_ns"], command["display"], command["stop_price"]
    code = check_qty(state, qty)
    if code != 0:
        return code
    if not 0 < ttl < TIME_END:
        return no(state, BAD_TIME, F_DEADLINE_NS, ttl, 1)
    if not 0 <= grace < TIME_END:
        return no(state, BAD_TIME, F_DISPLAY, grace, 0)
    registered = MAX_TERMINALS
    if series_known(state, series):
        registered = wide(account_at(state, wide(series_at(state, series)["merchant"]))["terminals"])
    if named == 0 or (registered < MAX_TERMINALS and shift_right(named, registered) != 0):
        return no(state, BAD_TERMS, F_STOP_PRICE, named, registered)
    code = check_reference(state)
    code = code if code != 0 else check_account(state, account, F_ACCOUNT)
    code = code if code != 0 else check_series(state, series)
    code = code if code != 0 else check_living(state, series, account, account)
    if code != 0:
        return code
    now = world_at(state, 0)["clock_ns"]
    end = series_at(state, series)["expire_ns"]
    if series_at(state, series)["value"] == 0:
        return no(state, NO_REDEEMABLE_VALUE, F_SERIES, series, 0)
    # ttl and grace may add up to 2^63 with the clock, so each is held against what is left.
    if ttl > end - now or grace > end - now - ttl:
        return no(state, VOUCHER_BEYOND_EXPIRY, F_DEADLINE_NS, ttl + grace, end - now)
    usable = usable_qty(state, account, series)
    return 0 if qty <= usable else no(state, INSUFFICIENT_UNITS, F_QTY, qty, usable)


# ── uploading ────────────────────────────────────────────────────────────────────────────────────


@kernel
def upload_voucher(state: int, row: int) -> int:
    """Book what a terminal redeemed offline: the first upload wins (R28)."""
    code = admit_upload(state, row)
    if code != 0:
        return code
    # From here the command must succeed.
    command = command_at(state, row)
    slot = voucher_find(state, command["order_id"])
    voucher = voucher_at(state, slot)
    series = voucher["id"] >> 32
    terms = series_at(state, series)
    store = wide(command["other_account"])
    store = store if store_listed(state, series, store) else 0
    qty = voucher["qty"]
    goods = qty * voucher["value"]
    payee = settlement_account(state, series, store)
    share = escrow_share(state, series, base_of(state, series, qty, voucher["value"]))
    voucher["redeemed"] = 1
    lots_destroy(state, wide(voucher["first_lot"]))
    voucher["first_lot"] = NIL
    timer_disarm(state, wide(voucher["timer"]))
    voucher["timer"] = NIL
    holding = holding_find(state, wide(voucher["account"]), series)
    held = holding_at(state, holding)
    held["voucher_qty"] = wide(held["voucher_qty"]) - qty
    holding_tidy(state, holding)
    terms["units"] = terms["units"] - qty
    terms["voucher_units"] = terms["voucher_units"] - qty
    terms["voucher_face"] = terms["voucher_face"] - goods
    terms["redeemed"] = terms["redeemed"] + goods
    event = event_at(state, event_about(state, E_VOUCHER_REDEEMED, series, wide(voucher["account"])))
    event["order_id"] = voucher["id"]
    event["other_account"] = payee
    event["price"] = voucher["value"]
    event["qty"] = qty
    event["amount"] = goods
    event["extra"] = store
    event["flags"] = command["display"]
    event["fee"] = command["deadline_ns"]
    escrow_pay(state, series, payee, share)
    return 0


@leaf
def voucher_find(state: int, voucher_id: int) -> int:
    """Give the row of a voucher, or NIL."""
    return index_at(state, index_place(state, VOUCHERS, voucher_id))["slot"]


@kernel
def admit_upload(state: int, row: int) -> int:
    """Make the checks of an upload in R28's own order, and no others."""
    command = command_at(state, row)
    voucher_id, terminal, redeemed_ns = command["order_id"], command["display"], command["deadline_ns"]
    code = check_reference(state)
    if code != 0:
        return code
    series = voucher_id >> 32
    if not series_known(state, series) or not 0 < voucher_id & N_BITS <= wide(series_at(state, series)["voucher_count"]):
        return no(state, UNKNOWN_VOUCHER, F_ORDER_ID, voucher_id, 0)
    code = check_unexpired(state, series)
    if code != 0:
        return code
    voucher = voucher_at(state, voucher_find(state, voucher_id))
    if not 0 < terminal <= MAX_TERMINALS or (voucher["terminals"] >> (terminal - 1)) & 1 == 0:
        return no(state, TERMINAL_NOT_ALLOWED, F_DISPLAY, terminal, 0)
    if not voucher["lock_ns"] <= redeemed_ns < voucher["redeem_end_ns"]:
        return no(state, VOUCHER_EXPIRED, F_DEADLINE_NS, redeemed_ns, voucher["redeem_end_ns"] - 1)
    if voucher["redeemed"] != 0:
        # The one refusal that writes an entry (R35): the merchant bears what was consumed twice.
        event = event_at(state, event_about(state, E_DOUBLE_REDEEMED, series, wide(voucher["account"])))
        event["order_id"] = voucher_id
        event["other_account"] = wide(series_at(state, series)["merchant"])
        event["qty"] = voucher["qty"]
        event["amount"] = voucher["qty"] * voucher["value"]
        event["flags"] = terminal
        return no(state, DOUBLE_REDEEM, F_DISPLAY, terminal, 0)
    if voucher["lapsed"] != 0:
        return no(state, VOUCHER_LAPSED, F_TIME_NS, world_at(state, 0)["clock_ns"], voucher["lapse_ns"] - 1)
    return 0


# ── lapsing and forgetting ───────────────────────────────────────────────────────────────────────


@kernel
def voucher_lapse(state: int, slot: int, releases: int) -> None:
    """Return a voucher's units to the holder and book the decay that they missed (R28, R29)."""
    voucher = voucher_at(state, slot)
    series = voucher["id"] >> 32
    terms = series_at(state, series)
    qty = voucher["qty"]
    missed = qty * (voucher["value"] - terms["value"])
    share = escrow_share(state, series, missed) if releases != 0 and terms["policy"] == FORFEIT else 0
    voucher["lapsed"] = 1
    terms["voucher_units"] = terms["voucher_units"] - qty
    terms["voucher_face"] = terms["voucher_face"] - qty * voucher["value"]
    terms["decayed"] = terms["decayed"] + missed
    holding = holding_find(state, wide(voucher["account"]), series)
    held = holding_at(state, holding)
    held["free_qty"] = wide(held["free_qty"]) + qty
    held["voucher_qty"] = wide(held["voucher_qty"]) - qty
    lots_return(state, holding, wide(voucher["first_lot"]))
    voucher["first_lot"] = NIL
    event = event_at(state, event_about(state, E_VOUCHER_LAPSED, series, wide(voucher["account"])))
    event["order_id"] = voucher["id"]
    event["qty"] = qty
    event["price"] = terms["value"]
    event["amount"] = missed
    escrow_pay(state, series, wide(terms["merchant"]), share)


@kernel
def voucher_due(state: int, voucher_id: int) -> None:
    """Let a voucher lapse whose upload did not come; its timer has fired."""
    slot = voucher_find(state, voucher_id)
    voucher_at(state, slot)["timer"] = NIL
    voucher_lapse(state, slot, 1)


@kernel
def lapse_step(state: int) -> int:
    """Let the next live voucher of a series lapse without a release (R29): `a` the series, `b` the voucher, `c` begun."""
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    if task["c"] == 0:
        task["c"] = 1
        task["b"] = wide(series_at(state, task["a"])["first_voucher"])
    slot = task["b"]
    while slot != NIL and (wide(voucher_at(state, slot)["redeemed"]) | voucher_at(state, slot)["lapsed"]) != 0:
        slot = wide(voucher_at(state, slot)["next"])
    if slot == NIL:
        task_pop(state)
        return DONE
    task["b"] = wide(voucher_at(state, slot)["next"])
    timer_disarm(state, wide(voucher_at(state, slot)["timer"]))
    voucher_at(state, slot)["timer"] = NIL
    voucher_lapse(state, slot, 0)
    return MORE


@kernel
def vouchers_forget(state: int, series: int) -> None:
    """Give back the rows of all vouchers of a series. O(vouchers)."""
    terms = series_at(state, series)
    world = world_at(state, 0)
    slot = wide(terms["first_voucher"])
    while slot != NIL:
        voucher = voucher_at(state, slot)
        after = wide(voucher["next"])
        index_remove(state, VOUCHERS, voucher["id"])
        voucher["next"] = world["voucher_free"]
        world["voucher_free"] = slot
        slot = after
    terms["first_voucher"] = NIL
    terms["last_voucher"] = NIL
