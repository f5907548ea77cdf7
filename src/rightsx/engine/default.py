"""When somebody fails: a merchant's default, a frozen account, a chargeback (R29, R32, R33)."""

from __future__ import annotations

from rightsx._jit import kernel, wide
from rightsx.accounts import (
    PRIMARY,
    account_at,
    account_known,
    account_restrain,
    cash_credit,
    funds_at,
    holding_at,
    holding_find,
    is_merchant,
    lots_eligible,
)
from rightsx.engine.holders import check_account
from rightsx.engine.numbers import (
    BY_ACCOUNT_FROZEN,
    BY_CHARGEBACK,
    BY_MERCHANT_DEFAULT,
    CAPACITY_EXCEEDED,
    E_CHARGED_BACK,
    E_FROZEN,
    E_MERCHANT_DEFAULTED,
    E_SERIES_DEFAULTED,
    E_UNFROZEN,
    F_ACCOUNT,
    F_QTY,
    MERCHANT_DEFAULTED,
    UNKNOWN_ACCOUNT,
)
from rightsx.engine.plans import plans_end
from rightsx.engine.redemption import refund_from_escrow, refund_units
from rightsx.engine.references import check_reference
from rightsx.engine.state import (
    DONE,
    GROW,
    MORE,
    NIL,
    check_amount,
    command_at,
    event_about,
    event_at,
    face_owed,
    no,
    scratch_at,
    scratch_short,
    scratch_sort,
    scratch_write,
    series_at,
    series_live,
    series_refresh,
    task_at,
    task_pop,
    task_push,
    timer_disarm,
    world_at,
)
from rightsx.engine.tasks import K_CANCEL_LIST, K_CANCEL_ORDERS, K_CHARGEBACK, K_DEFAULT, K_DEFAULT_END, K_LAPSE
from rightsx.engine.value import pay_out_begin, product_unlink
from rightsx.protocol import CASH_END

# ── default of a merchant ────────────────────────────────────────────────────────────────────────


@kernel
def default(state: int, row: int) -> int:
    """End every live series of a merchant that fails: escrow to the holders, the rest a claim (R29)."""
    merchant = wide(command_at(state, row)["account"])
    code = check_reference(state)
    if code != 0:
        return code
    if not account_known(state, merchant) or not is_merchant(state, merchant):
        return no(state, UNKNOWN_ACCOUNT, F_ACCOUNT, merchant, funds_at(state, 0)["account_count"] - 1)
    if account_at(state, merchant)["defaulted"] != 0:
        return no(state, MERCHANT_DEFAULTED, F_ACCOUNT, merchant, 0)
    # From here the command must succeed.
    account_at(state, merchant)["defaulted"] = 1
    account_restrain(state, merchant)
    event_about(state, E_MERCHANT_DEFAULTED, 0, merchant)
    task_push(state, K_DEFAULT, merchant, 0)
    return 0


@kernel
def default_step(state: int) -> int:
    """Begin to end the next series of merchant `a` after `b`: its orders, then its vouchers, then the rest."""
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    series = task["b"] + 1
    count = world_at(state, 0)["series_count"]
    while series <= count and (series_at(state, series)["merchant"] != task["a"] or series_at(state, series)["expired"] != 0):
        series += 1
    if series > count:
        task_pop(state)
        return DONE
    task["b"] = series
    task_push(state, K_DEFAULT_END, series, 0)
    task_push(state, K_LAPSE, series, 0)
    task_push(state, K_CANCEL_LIST, series, BY_MERCHANT_DEFAULT)
    return MORE


@kernel
def default_end_step(state: int) -> int:
    """Pay the escrow out by units, destroy the units, record claims; the orders and vouchers are gone (R29)."""
    series = task_at(state, world_at(state, 0)["depth"] - 1)["a"]
    task_pop(state)
    row = series_at(state, series)
    timer_disarm(state, wide(row["decay_timer"]))
    timer_disarm(state, wide(row["uncross_timer"]))
    timer_disarm(state, wide(row["last_trade_timer"]))
    plans_end(state, series)
    row["decay_timer"] = NIL
    row["uncross_timer"] = NIL
    row["last_trade_timer"] = NIL
    worth = max(row["issue_price"] * row["value"] // row["par"], row["residual"])
    escrow = row["escrow"]
    face = face_owed(state, series)
    event = event_at(state, event_about(state, E_SERIES_DEFAULTED, series, wide(row["merchant"])))
    event["qty"] = row["units"]
    event["amount"] = face
    event["fee"] = escrow
    row["defaulted"] = 1
    row["defaulted_face"] = row["defaulted_face"] + face
    row["units"] = 0
    row["escrow"] = 0
    row["in_auction"] = 0
    row["uncross_waits"] = 0
    series_refresh(state, series)
    product_unlink(state, series)
    pay_out_begin(state, series, escrow, 1, worth)
    return DONE


# ── freezing an account ──────────────────────────────────────────────────────────────────────────


@kernel
def freeze(state: int, row: int) -> int:
    """Cancel an account's orders and refuse every action by it from now on (R32)."""
    account = wide(command_at(state, row)["account"])
    code = check_reference(state)
    code = code if code != 0 else check_account(state, account, F_ACCOUNT)
    if code != 0:
        return code
    # From here the command must succeed.
    freeze_account(state, account)
    return 0


@kernel
def freeze_account(state: int, account: int) -> None:
    """Freeze; the orders go in order of acceptance."""
    account_at(state, account)["frozen"] = 1
    account_restrain(state, account)
    event_about(state, E_FROZEN, 0, account)
    task_push(state, K_CANCEL_ORDERS, account, BY_ACCOUNT_FROZEN)


@kernel
def unfreeze(state: int, row: int) -> int:
    """Let an account act again; no order comes back (R32)."""
    account = wide(command_at(state, row)["account"])
    code = check_reference(state)
    code = code if code != 0 else check_account(state, account, F_ACCOUNT)
    if code != 0:
        return code
    # From here the command must succeed.
    account_at(state, account)["frozen"] = 0
    account_restrain(state, account)
    event_about(state, E_UNFROZEN, 0, account)
    return 0


# ── chargeback ───────────────────────────────────────────────────────────────────────────────────


@kernel
def chargeback(state: int, row: int) -> int:
    """Take back cash that a bank has reversed, refunding primary units where cash is short (R33)."""
    command = command_at(state, row)
    account, wanted = wide(command["account"]), command["qty"]
    code = check_amount(state, wanted)
    code = code if code != 0 else check_reference(state)
    code = code if code != 0 else check_account(state, account, F_ACCOUNT)
    if code != 0:
        return code
    debt = account_at(state, account)["debt"]
    if wanted > CASH_END - 1 - debt:
        return no(state, CAPACITY_EXCEEDED, F_QTY, wanted, CASH_END - 1 - debt)
    # From here the command must succeed.
    task_push(state, K_CHARGEBACK, account, wanted)
    task_push(state, K_CANCEL_ORDERS, account, BY_CHARGEBACK)
    return 0


@kernel
def chargeback_step(state: int) -> int:
    """Refund the next series of account `a` while its cash is below `b`, then take what is there.

    The series stand in SCRATCH in order of (expiry, id): `c` of them, `d` done, `e` whether they are gathered.
    """
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    account, wanted = task["a"], task["b"]
    if task["e"] == 0:
        if scratch_short(state, funds_at(state, 0)["holding_count"]):
            return GROW
        task["e"] = 1
        task["c"] = refundable_gather(state, account)
        return MORE
    cash = account_at(state, account)["cash_free"]
    if task["d"] < task["c"] and cash < wanted:
        series = scratch_at(state, task["d"])["slot"]
        task["d"] = task["d"] + 1
        refund_for(state, series, account, wanted - cash)
        return MORE
    task_pop(state)
    chargeback_take(state, account, wanted)
    return DONE


@kernel
def refundable_gather(state: int, account: int) -> int:
    """List the live series in which an account has units and that are sold for money, in order of (expiry, id). O(holdings)."""
    count = 0
    for slot in range(1, funds_at(state, 0)["holding_used"]):
        holding = holding_at(state, slot)
        series = wide(holding["series"])
        # A row that is free keeps what it was; only one that is found under its key is in use.
        if holding["account"] == account and holding_find(state, account, series) == slot:
            if series_live(state, series) and series_at(state, series)["issue_price"] > 0:
                scratch_write(state, count, series, series)
                count += 1
    scratch_sort(state, count)
    for at in range(count):
        row = scratch_at(state, at)
        row["key"] = series_at(state, row["slot"])["expire_ns"]
    scratch_sort(state, count)
    return count


@kernel
def refund_for(state: int, series: int, account: int, short: int) -> None:
    """Refund as many primary units as `short` needs; a series that its merchant cannot fund is skipped."""
    row = series_at(state, series)
    price = row["issue_price"]
    primary = lots_eligible(state, holding_find(state, account, series), PRIMARY, 0)
    qty = min(primary, short // price + (1 if short % price != 0 else 0))
    if qty == 0:
        return
    from_merchant = qty * price - refund_from_escrow(state, series, qty)
    if from_merchant <= account_at(state, wide(row["merchant"]))["cash_free"]:
        refund_units(state, series, account, qty, PRIMARY, 0, 1)


@kernel
def chargeback_take(state: int, account: int, wanted: int) -> None:
    """Take what free cash there is; a rest is debt, and freezes the account."""
    world = world_at(state, 0)
    owner = account_at(state, account)
    taken = min(owner["cash_free"], wanted)
    cash_credit(state, account, -taken)
    owner["debt"] = owner["debt"] + wanted - taken
    world["cash"] = world["cash"] - taken
    world["charged_back"] = world["charged_back"] + taken
    if world["charged_back"] >= CASH_END:
        world["charged_back"] = world["charged_back"] - CASH_END
        world["charged_back_high"] = world["charged_back_high"] + 1
    event = event_at(state, event_about(state, E_CHARGED_BACK, 0, account))
    event["qty"] = wanted
    event["amount"] = taken
    event["fee"] = wanted - taken
    if wanted > taken:
        freeze_account(state, account)
