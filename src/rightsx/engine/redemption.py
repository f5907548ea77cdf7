"""Units become goods, or money again: redeeming, bills, cooling-off refunds (R12 … R14, R25)."""

from __future__ import annotations

from rightsx._jit import kernel, wide
from rightsx.accounts import (
    ALL_LOTS,
    STILL_COOLING,
    account_at,
    cash_credit,
    funds_at,
    holding_at,
    holding_find,
    lots_destroy,
    lots_eligible,
    lots_take,
)
from rightsx.engine.holders import check_account
from rightsx.engine.numbers import (
    ACCOUNT_FROZEN,
    COOLING_OFF_NOT_AVAILABLE,
    E_BILL_REDEEMED,
    E_REDEEMED,
    E_REFUNDED,
    F_ACCOUNT,
    F_ORDER_ID,
    F_OTHER_ACCOUNT,
    F_QTY,
    F_SERIES,
    INSUFFICIENT_UNITS,
    MERCHANT_DEFAULTED,
    MERCHANT_FUNDS_INSUFFICIENT,
    NO_REDEEMABLE_VALUE,
    STORE_NOT_IN_PRODUCT,
    UNKNOWN_SERIES,
)
from rightsx.engine.orders import check_series
from rightsx.engine.plans import units_recall, usable_qty
from rightsx.engine.references import check_reference
from rightsx.engine.state import (
    DONE,
    MORE,
    NIL,
    base_of,
    base_of_all,
    check_amount,
    check_living,
    check_qty,
    command_at,
    escrow_pay,
    escrow_share,
    event_about,
    event_at,
    holding_tidy,
    no,
    product_at,
    series_at,
    shop_at,
    store_at,
    task_at,
    task_pop,
    task_push,
    world_at,
)
from rightsx.engine.tasks import K_BILL


@kernel
def store_listed(state: int, series: int, store: int) -> bool:
    """Say whether a series lists a store. O(log stores)."""
    row = series_at(state, series)
    low = wide(row["shop_start"])
    high = low + wide(row["shop_count"])
    while low < high:
        middle = (low + high) >> 1
        found = wide(shop_at(state, middle)["store"])
        if found == store:
            return True
        if found < store:
            low = middle + 1
        else:
            high = middle
    return False


@kernel
def store_allowed(state: int, series: int, store: int) -> bool:
    """Say whether a series takes redemptions at this store, 0 being none (R13)."""
    return store_listed(state, series, store) if series_at(state, series)["shop_count"] != 0 else store == 0


@kernel
def settlement_account(state: int, series: int, store: int) -> int:
    """Give the account that a redemption at this store pays (R13)."""
    return wide(store_at(state, store)["settles_to"]) if store != 0 else wide(series_at(state, series)["merchant"])


# ── redeeming ────────────────────────────────────────────────────────────────────────────────────


@kernel
def redeem(state: int, row: int) -> int:
    """Turn free units into goods worth qty × v(t); the units are destroyed (R13)."""
    command = command_at(state, row)
    account, series, qty, store = (
        wide(command["account"]),
        wide(command["series"]),
        command["qty"],
        wide(command["other_account"]),
    )
    code = check_qty(state, qty)
    code = code if code != 0 else check_reference(state)
    code = code if code != 0 else check_account(state, account, F_ACCOUNT)
    code = code if code != 0 else check_series(state, series)
    code = code if code != 0 else check_living(state, series, account, account)
    if code != 0:
        return code
    if not store_allowed(state, series, store):
        return no(state, STORE_NOT_IN_PRODUCT, F_OTHER_ACCOUNT, store, 0)
    if series_at(state, series)["value"] == 0:
        return no(state, NO_REDEEMABLE_VALUE, F_SERIES, series, 0)
    usable = usable_qty(state, account, series)
    if qty > usable:
        return no(state, INSUFFICIENT_UNITS, F_QTY, qty, usable)
    # From here the command must succeed.
    units_recall(state, account, series, qty)
    redeem_units(state, series, account, qty, store)
    return 0


@kernel
def redeem_units(state: int, series: int, account: int, qty: int, store: int) -> None:
    """Destroy free units at their value and release their escrow to whoever settles (R12, R13)."""
    row = series_at(state, series)
    value = row["value"]
    payee = settlement_account(state, series, store)
    share = escrow_share(state, series, base_of(state, series, qty, value))
    units_destroy(state, series, account, qty, ALL_LOTS, 0)
    row["redeemed"] = row["redeemed"] + qty * value
    event = event_at(state, event_about(state, E_REDEEMED, series, account))
    event["other_account"] = payee
    event["price"] = value
    event["qty"] = qty
    event["amount"] = qty * value
    event["extra"] = store
    escrow_pay(state, series, payee, share)


@kernel
def units_destroy(state: int, series: int, account: int, qty: int, which: int, limit_ns: int) -> None:
    """Take free units, of the oldest eligible lots, out of existence."""
    holding = holding_find(state, account, series)
    lots_take(state, holding, qty, which, limit_ns)
    lots_destroy(state, funds_at(state, 0)["taken_first"])
    held = holding_at(state, holding)
    held["free_qty"] = wide(held["free_qty"]) - qty
    holding_tidy(state, holding)
    row = series_at(state, series)
    row["units"] = row["units"] - qty


@kernel
def redeem_bill(state: int, row: int) -> int:
    """Pay as much of a bill as whole units can, the rest is due in cash (R14)."""
    command = command_at(state, row)
    account, bill, store, product = wide(command["account"]), command["qty"], wide(command["other_account"]), command["order_id"]
    code = admit_bill(state, row)
    if code != 0:
        return code
    # From here the command must succeed.
    rest = bill
    number = wide(product_at(state, product)["first_series"])
    first = number
    while number != NIL:
        rest -= bill_part(state, number, account, store, rest) * series_at(state, number)["value"]
        number = wide(series_at(state, number)["product_next"])
    event = event_at(state, event_about(state, E_BILL_REDEEMED, 0, account))
    event["order_id"] = product
    event["amount"] = bill
    event["fee"] = rest
    event["extra"] = store
    task_push(state, K_BILL, account, first)
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    task["c"] = bill
    task["d"] = store
    return 0


@kernel
def bill_part(state: int, series: int, account: int, store: int, rest: int) -> int:
    """Give how many units of a live series go towards what is left of a bill."""
    value = series_at(state, series)["value"]
    if value == 0 or not store_allowed(state, series, store):
        return 0
    return min(usable_qty(state, account, series), rest // value)


@kernel
def bill_step(state: int) -> int:
    """Redeem the next series' part of a bill: `a` the account, `b` the series, `c` what is left, `d` the store."""
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    series = task["b"]
    if series == NIL:
        task_pop(state)
        return DONE
    task["b"] = wide(series_at(state, series)["product_next"])
    qty = bill_part(state, series, task["a"], task["d"], task["c"])
    if qty != 0:
        task["c"] = task["c"] - qty * series_at(state, series)["value"]
        units_recall(state, task["a"], series, qty)
        redeem_units(state, series, task["a"], qty, task["d"])
    return MORE


@kernel
def admit_bill(state: int, row: int) -> int:
    """Make every check of a bill; the store is checked once, even if no unit will be taken."""
    command = command_at(state, row)
    code = check_amount(state, command["qty"])
    code = code if code != 0 else check_product(state, row)
    return code if code != 0 else check_store(state, command["order_id"], wide(command["other_account"]))


@kernel
def check_product(state: int, row: int) -> int:
    """Refuse a command about a product that is not there, or where default or freeze has ended what the account may do in it."""
    command = command_at(state, row)
    account, product = wide(command["account"]), command["order_id"]
    code = check_reference(state)
    code = code if code != 0 else check_account(state, account, F_ACCOUNT)
    if code != 0:
        return code
    count = world_at(state, 0)["product_count"]
    if not 0 < product <= count:
        return no(state, UNKNOWN_SERIES, F_ORDER_ID, product, count)
    merchant = wide(product_at(state, product)["merchant"])
    if account_at(state, merchant)["defaulted"] != 0 or account_at(state, account)["defaulted"] != 0:
        return no(state, MERCHANT_DEFAULTED, F_ORDER_ID, product, 0)
    return 0 if account_at(state, account)["frozen"] == 0 else no(state, ACCOUNT_FROZEN, F_ACCOUNT, account, 0)


@kernel
def check_store(state: int, product: int, store: int) -> int:
    """Refuse a store that no live series of a product lists (R14)."""
    number = wide(product_at(state, product)["first_series"])
    while number != NIL and not store_allowed(state, number, store):
        number = wide(series_at(state, number)["product_next"])
    return 0 if number != NIL else no(state, STORE_NOT_IN_PRODUCT, F_OTHER_ACCOUNT, store, 0)


# ── refunds ──────────────────────────────────────────────────────────────────────────────────────


@kernel
def refund_from_escrow(state: int, series: int, qty: int) -> int:
    """Give the part of a refund of `qty` units that comes from the escrow: the R12 share, at most the refund (R25)."""
    row = series_at(state, series)
    share = escrow_share(state, series, base_of(state, series, qty, row["value"]))
    return min(share, qty * row["issue_price"])


@kernel
def refund(state: int, row: int) -> int:
    """Give units from the primary sale back within their cooling-off (R25)."""
    command = command_at(state, row)
    account, series, qty = wide(command["account"]), wide(command["series"]), command["qty"]
    code = check_qty(state, qty)
    code = code if code != 0 else check_reference(state)
    code = code if code != 0 else check_account(state, account, F_ACCOUNT)
    code = code if code != 0 else check_series(state, series)
    code = code if code != 0 else check_living(state, series, account, account)
    if code != 0:
        return code
    terms = series_at(state, series)
    since = world_at(state, 0)["clock_ns"] - terms["cooling_off_ns"]
    cooling = lots_eligible(state, holding_find(state, account, series), STILL_COOLING, since)
    if qty > cooling:
        return no(state, COOLING_OFF_NOT_AVAILABLE, F_QTY, qty, cooling)
    from_merchant = qty * terms["issue_price"] - refund_from_escrow(state, series, qty)
    cash = account_at(state, wide(terms["merchant"]))["cash_free"]
    if from_merchant > cash:
        return no(state, MERCHANT_FUNDS_INSUFFICIENT, F_QTY, from_merchant, cash)
    # From here the command must succeed.
    refund_units(state, series, account, qty, STILL_COOLING, since, 0)
    return 0


@kernel
def refund_units(state: int, series: int, account: int, qty: int, which: int, limit_ns: int, forced: int) -> None:
    """Destroy eligible units and pay their issue price back; the platform keeps its fee (R25, R33)."""
    row = series_at(state, series)
    merchant = wide(row["merchant"])
    amount = qty * row["issue_price"]
    from_escrow = refund_from_escrow(state, series, qty)
    units_destroy(state, series, account, qty, which, limit_ns)
    row["refunded"] = row["refunded"] + qty * row["value"]
    cash_credit(state, merchant, from_escrow - amount)
    cash_credit(state, account, amount - from_escrow)
    event = event_at(state, event_about(state, E_REFUNDED, series, account))
    event["other_account"] = merchant
    event["price"] = row["value"]
    event["qty"] = qty
    event["amount"] = amount
    event["other_fee"] = amount - from_escrow
    event["flags"] = forced
    escrow_pay(state, series, account, from_escrow)
    if base_of_all(state, series) == 0:  # R12: the refund took less than its share, and nothing is promised any more
        escrow_pay(state, series, merchant, row["escrow"])
