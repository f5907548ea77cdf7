"""What time does to a series: decay steps, the sweep, last trade, expiry, paying out (R7 … R10, R12, R22 … R24).

listing ──► step ──► step ──► … ──► last trade ──► expiry
             │ v falls               │ orders go     │ FORFEIT: breakage to the merchant
             │ escrow to merchant    │ trading shut  │ PRINCIPAL: residual to each holder, R24,
             │ orders above cap go   ▼               ▼   the unpaid rest a claim

Paying out is prepared in one go (holders in order of account, their remainders, the remainder from which
on a holder gets one more) and then done holder by holder, so it can stop for a full buffer in the middle.
"""

from __future__ import annotations

from rightsx._jit import kernel, leading_zeros, mul_div, mul_mod, wide
from rightsx.accounts import account_at, cash_credit, holding_at, holding_units, lots_destroy
from rightsx.book import level_key, level_last, side_at
from rightsx.engine.numbers import (
    BY_LAST_TRADE,
    BY_PRICE_ABOVE_CAP,
    E_DECAYED,
    E_EXPIRED,
    E_PAID_OUT,
    E_TRADING_ENDED,
    FORFEIT,
    RANK_DECAY,
    T_DECAY,
)
from rightsx.engine.plans import plans_end
from rightsx.engine.state import (
    DONE,
    GROW,
    MORE,
    NIL,
    cap_of,
    claim_at,
    counter_at,
    escrow_pay,
    escrow_share,
    event_about,
    event_at,
    face_owed,
    has_stops,
    holding_end,
    product_at,
    scratch_at,
    scratch_short,
    scratch_sort,
    scratch_write,
    series_at,
    series_refresh,
    step_at,
    task_at,
    task_pop,
    task_push,
    world_at,
)
from rightsx.engine.tasks import K_CANCEL_LIST, K_PAY_OUT, K_PEGS, K_STOPS
from rightsx.engine.vouchers import vouchers_forget
from rightsx.expiry import wheel_arm
from rightsx.protocol import INT64_MAX

# ── decay (R9, R10, R12, R21) ────────────────────────────────────────────────────────────────────


@kernel
def decay(state: int, series: int) -> None:
    """Apply the step that is due: book the decay, release escrow, move the reference, sweep."""
    row = series_at(state, series)
    before = row["value"]
    value = step_at(state, wide(row["step_start"]) + wide(row["step_index"]))["value"]
    qty = row["units"] - row["voucher_units"]
    lost = qty * (before - value)
    share = escrow_share(state, series, lost) if row["policy"] == FORFEIT else 0
    row["step_index"] = wide(row["step_index"]) + 1
    row["value"] = value
    row["decayed"] = row["decayed"] + lost
    event = event_at(state, event_about(state, E_DECAYED, series, 0))
    event["price"] = value
    event["fee"] = before
    event["qty"] = qty
    event["amount"] = lost
    escrow_pay(state, series, wide(row["merchant"]), share)
    cap = cap_of(state, series)
    if cap >= 1:
        row["reference"] = min(row["reference"], cap)
    step_arm(state, series)
    series_refresh(state, series)
    if row["has_moving"] != 0 and value != before:
        task_push(state, K_STOPS, series, 0)
        task_push(state, K_PEGS, series, 0)
    if anything_above(state, series, cap):
        task_push(state, K_CANCEL_LIST, series, BY_PRICE_ABOVE_CAP)
        task_at(state, world_at(state, 0)["depth"] - 1)["c"] = cap


@kernel
def anything_above(state: int, series: int, cap: int) -> bool:
    """Say whether an order may stand above the cap: a stop, the best bid, or the last ask."""
    bid = side_at(state, 4 * series)
    if has_stops(state, series) or (bid["best"] != NIL and bid["best_key"] ^ -1 > cap):
        return True
    ask = level_last(state, 4 * series + 1)
    return ask != NIL and level_key(state, ask) > cap


@kernel
def step_arm(state: int, series: int) -> None:
    """Arm the next decay step, if there is one; it counts as created at the listing, by series id (R2)."""
    row = series_at(state, series)
    row["decay_timer"] = NIL
    if row["step_index"] < row["step_count"]:
        due_ns = step_at(state, wide(row["step_start"]) + wide(row["step_index"]))["ns"]
        row["decay_timer"] = wheel_arm(state, due_ns, RANK_DECAY, series, T_DECAY, series, 0)


# ── the end (R22, R23) ───────────────────────────────────────────────────────────────────────────


@kernel
def last_trade(state: int, series: int) -> None:
    """Cancel every order and close trading; redemption goes on (R22)."""
    row = series_at(state, series)
    row["last_trade_timer"] = NIL
    row["closed"] = 1
    row["in_auction"] = 0
    row["uncross_waits"] = 0
    series_refresh(state, series)
    event_about(state, E_TRADING_ENDED, series, 0)
    plans_end(state, series)
    if row["order_count"] != 0:
        task_push(state, K_CANCEL_LIST, series, BY_LAST_TRADE)


@kernel
def expire(state: int, series: int) -> None:
    """Run the expiry policy once and end the series (R23); a defaulted series only forgets its vouchers."""
    row = series_at(state, series)
    row["expiry_timer"] = NIL
    vouchers_forget(state, series)
    if row["defaulted"] != 0:
        return
    face = face_owed(state, series)
    total = row["units"] * row["residual"]
    merchant = wide(row["merchant"])
    from_escrow = min(row["escrow"], total)
    from_merchant = min(account_at(state, merchant)["cash_free"], total - from_escrow)
    event = event_at(state, event_about(state, E_EXPIRED, series, merchant))
    event["qty"] = row["units"]
    event["amount"] = face
    event["fee"] = from_escrow
    event["other_fee"] = from_merchant
    row["expired"] = 1
    row["value"] = 0  # R7
    row["expired_face"] = row["expired_face"] + face
    row["units"] = 0
    row["escrow"] = row["escrow"] - from_escrow
    series_refresh(state, series)
    product_unlink(state, series)
    cash_credit(state, merchant, -from_merchant)
    pay_out_begin(state, series, from_escrow + from_merchant, row["residual"], row["residual"])


@kernel
def product_unlink(state: int, series: int) -> None:
    """Take a series that has ended out of the live ones of its product. O(live series of the product)."""
    row = series_at(state, series)
    product = product_at(state, wide(row["product"]))
    number = wide(product["first_series"])
    if number == series:
        product["first_series"] = wide(row["product_next"])
        return
    while wide(series_at(state, number)["product_next"]) != series:
        number = wide(series_at(state, number)["product_next"])
    series_at(state, number)["product_next"] = wide(row["product_next"])


# ── paying out (R24) ─────────────────────────────────────────────────────────────────────────────


@kernel
def pay_out_begin(state: int, series: int, pool: int, weight: int, owed: int) -> None:
    """Leave a task that divides a pool by units × weight, records what stays owed, and drops the units.

    `weight` is per unit, 0 if nothing is divided; `owed` is what a unit is due. The task's fields: `a` series,
    `b` holders paid, `c` pool, `d` weight, `e` owed, `f` holders, `g` the remainder from which on a holder
    gets one more, `h` how many of those that have just that remainder get it.
    """
    task_push(state, K_PAY_OUT, series, 0)
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    task["c"] = pool
    task["d"] = weight
    task["e"] = owed
    task["f"] = -1


@kernel
def pay_out_step(state: int) -> int:
    """Pay the next holder; first prepare, last give what is left of the escrow to the merchant."""
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    series = task["a"]
    row = series_at(state, series)
    if task["f"] < 0:
        if scratch_short(state, wide(row["holding_count"])):
            return GROW
        pay_out_prepare(state, series)
        return MORE
    if task["b"] < task["f"]:
        pay_out_one(state, series)
        return MORE
    escrow = row["escrow"]
    task_pop(state)
    escrow_pay(state, series, wide(row["merchant"]), escrow)
    return DONE


@kernel
def pay_out_prepare(state: int, series: int) -> None:
    """List the holders by account in SCRATCH, with their remainders behind them, and settle who gets one more."""
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    count = 0
    total = 0
    slot = wide(series_at(state, series)["first_holding"])
    while slot != NIL:
        scratch_write(state, count, wide(holding_at(state, slot)["account"]), slot)
        total += holding_units(state, slot) * task["d"]
        count += 1
        slot = wide(holding_at(state, slot)["next"])
    scratch_sort(state, count)
    task["f"] = count
    task["g"] = INT64_MAX
    task["h"] = 0
    if total == 0:
        return
    pool = task["c"]
    left = pool
    for at in range(count):
        slot = scratch_at(state, at)["slot"]
        weight = holding_units(state, slot) * task["d"]
        left -= mul_div(pool, weight, total)
        scratch_write(state, count + at, mul_mod(pool, weight, total), mul_div(pool, weight, total))
    if left != 0:
        threshold(state, count, left)


@kernel
def threshold(state: int, count: int, wanted: int) -> None:
    """Find the `wanted`-th largest remainder, and how many holders with just that one are among the largest.

    A byte at a time from the top: only remainders that begin as the wanted one does are still counted.
    """
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    high = 0
    for at in range(count):
        high |= scratch_at(state, count + at)["key"]
    shift = (63 - leading_zeros(high | 1)) // 8 * 8
    prefix = 0
    rest = wanted
    while shift >= 0:
        for value in range(256):
            counter_at(state, value)["count"] = 0
        for at in range(count):
            key = scratch_at(state, count + at)["key"]
            if (key >> shift) >> 8 == prefix:
                counter = counter_at(state, (key >> shift) & 255)
                counter["count"] = counter["count"] + 1
        value = 255
        while counter_at(state, value)["count"] < rest:
            rest -= counter_at(state, value)["count"]
            value -= 1
        prefix = (prefix << 8) | value
        shift -= 8
    task["g"] = prefix
    task["h"] = rest


@kernel
def pay_out_one(state: int, series: int) -> None:
    """Pay one holder its share, record its claim, and drop its units; who is owed and paid nothing gets no event."""
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    at = task["b"]
    task["b"] = at + 1
    slot = scratch_at(state, at)["slot"]
    holding = holding_at(state, slot)
    account = wide(holding["account"])
    units = holding_units(state, slot)
    share = pay_out_share(state, at)
    owed = units * task["e"]
    claim = max(0, owed - share)
    if owed != 0 or share != 0:
        cash_credit(state, account, share)
        if claim != 0:
            claim_add(state, account, series, claim)
        event = event_at(state, event_about(state, E_PAID_OUT, series, account))
        event["qty"] = units
        event["amount"] = share
        event["other_fee"] = claim
    lots_destroy(state, wide(holding["first_lot"]))
    holding_end(state, slot)


@kernel
def pay_out_share(state: int, at: int) -> int:
    """Give the share of the holder that stands at a place: the floor, and one more for the largest remainders."""
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    if task["c"] == 0 or task["d"] == 0:
        return 0
    row = scratch_at(state, task["f"] + at)
    if row["key"] > task["g"]:
        return row["slot"] + 1
    if row["key"] == task["g"] and task["h"] > 0:
        task["h"] = task["h"] - 1
        return row["slot"] + 1
    return row["slot"]


@kernel
def claim_add(state: int, account: int, series: int, amount: int) -> None:
    """Record what a merchant owes a holder of a series that has ended."""
    world = world_at(state, 0)
    slot = world["claim_used"]
    world["claim_used"] = slot + 1
    claim = claim_at(state, slot)
    claim["account"] = account
    claim["series"] = series
    claim["amount"] = amount
