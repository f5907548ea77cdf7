"""Cash comes and goes, units are given away (R27, R35, R36)."""

from __future__ import annotations

from rightsx._jit import kernel, wide
from rightsx.accounts import (
    ALL_LOTS,
    account_at,
    cash_credit,
    funds_at,
    holding_at,
    holding_find,
    holding_free_qty,
    lots_destroy,
    lots_take,
)
from rightsx.engine.entry import check_trading
from rightsx.engine.holders import check_account, check_holder_limit
from rightsx.engine.numbers import (
    ACCOUNT_FROZEN,
    CAPACITY_EXCEEDED,
    E_DEPOSITED,
    E_GIFTED,
    E_WITHDRAWN,
    F_ACCOUNT,
    F_OTHER_ACCOUNT,
    F_QTY,
    F_SERIES,
    INSUFFICIENT_CASH,
    INSUFFICIENT_UNITS,
    MERCHANT_DEFAULTED,
    RESALE_FORBIDDEN,
    SELF_TRANSFER,
)
from rightsx.engine.orders import check_series
from rightsx.engine.references import check_reference
from rightsx.engine.state import (
    NIL,
    check_amount,
    check_qty,
    command_at,
    event_about,
    event_at,
    holding_of,
    holding_tidy,
    no,
    room_for_holding,
    series_at,
    units_receive,
    world_at,
)
from rightsx.protocol import CASH_END


@kernel
def deposit(state: int, row: int) -> int:
    """Credit cash to an account, frozen or not (R32)."""
    command = command_at(state, row)
    account, amount = wide(command["account"]), command["qty"]
    code = check_amount(state, amount)
    code = code if code != 0 else check_reference(state)
    code = code if code != 0 else check_account(state, account, F_ACCOUNT)
    if code != 0:
        return code
    world = world_at(state, 0)
    room = CASH_END - 1 - world["cash"]
    if amount > room:
        return no(state, CAPACITY_EXCEEDED, F_QTY, amount, room)
    # From here the command must succeed.
    cash_credit(state, account, amount)
    world["cash"] = world["cash"] + amount
    world["deposited"] = world["deposited"] + amount
    if world["deposited"] >= CASH_END:
        world["deposited"] = world["deposited"] - CASH_END
        world["deposited_high"] = world["deposited_high"] + 1
    event = event_at(state, event_about(state, E_DEPOSITED, 0, account))
    event["amount"] = amount
    return 0


@kernel
def withdraw(state: int, row: int) -> int:
    """Pay free cash out of the market."""
    command = command_at(state, row)
    account, amount = wide(command["account"]), command["qty"]
    code = check_amount(state, amount)
    code = code if code != 0 else check_reference(state)
    code = code if code != 0 else check_account(state, account, F_ACCOUNT)
    if code != 0:
        return code
    owner = account_at(state, account)
    if owner["defaulted"] != 0:
        return no(state, MERCHANT_DEFAULTED, F_ACCOUNT, account, 0)
    if owner["frozen"] != 0:
        return no(state, ACCOUNT_FROZEN, F_ACCOUNT, account, 0)
    if amount > owner["cash_free"]:
        return no(state, INSUFFICIENT_CASH, F_QTY, amount, owner["cash_free"])
    # From here the command must succeed.
    world = world_at(state, 0)
    cash_credit(state, account, -amount)
    world["cash"] = world["cash"] - amount
    world["withdrawn"] = world["withdrawn"] + amount
    if world["withdrawn"] >= CASH_END:
        world["withdrawn"] = world["withdrawn"] - CASH_END
        world["withdrawn_high"] = world["withdrawn_high"] + 1
    event = event_at(state, event_about(state, E_WITHDRAWN, 0, account))
    event["amount"] = amount
    return 0


@kernel
def transfer(state: int, row: int) -> int:
    """Give free units to somebody for the venue's flat fee; the donee's lot is new and keeps the cost (R27)."""
    code = admit_transfer(state, row)
    if code != 0:
        return code
    # From here the command must succeed.
    command = command_at(state, row)
    giver, donee, series, qty = wide(command["account"]), wide(command["other_account"]), wide(command["series"]), command["qty"]
    fee = world_at(state, 0)["gift_fee"]
    cash_credit(state, giver, -fee)
    cash_credit(state, 0, fee)
    source = holding_find(state, giver, series)
    lots_take(state, source, qty, ALL_LOTS, 0)
    cost = funds_at(state, 0)["taken_cost"]
    lots_destroy(state, funds_at(state, 0)["taken_first"])
    held = holding_at(state, source)
    held["free_qty"] = wide(held["free_qty"]) - qty
    holding_tidy(state, source)
    units_receive(state, holding_of(state, donee, series), qty, cost, 0)
    event = event_at(state, event_about(state, E_GIFTED, series, giver))
    event["other_account"] = donee
    event["qty"] = qty
    event["fee"] = fee
    return 0


@kernel
def admit_transfer(state: int, row: int) -> int:
    """Make every check of a gift."""
    command = command_at(state, row)
    giver, donee, series, qty = wide(command["account"]), wide(command["other_account"]), wide(command["series"]), command["qty"]
    code = check_qty(state, qty)
    code = code if code != 0 else check_reference(state)
    code = code if code != 0 else check_account(state, giver, F_ACCOUNT)
    code = code if code != 0 else check_account(state, donee, F_OTHER_ACCOUNT)
    code = code if code != 0 else check_series(state, series)
    code = code if code != 0 else check_trading(state, series, giver, donee)
    if code == 0 and series_at(state, series)["gifts"] == 0:
        code = no(state, RESALE_FORBIDDEN, F_SERIES, series, 0)
    if code == 0 and giver == donee:
        code = no(state, SELF_TRANSFER, F_OTHER_ACCOUNT, donee, 0)
    code = code if code != 0 else check_holder_limit(state, series, donee, qty, NIL)
    if code != 0:
        return code
    free = holding_free_qty(state, giver, series)
    fee = world_at(state, 0)["gift_fee"]
    cash = account_at(state, giver)["cash_free"]
    if qty > free:
        return no(state, INSUFFICIENT_UNITS, F_QTY, qty, free)
    if fee > cash:
        return no(state, INSUFFICIENT_CASH, F_QTY, fee, cash)
    return 0 if room_for_holding(state, donee, series) else no(state, CAPACITY_EXCEEDED, 0, 0, 0)
