"""Accounts as holders: opening them, their limits, the cap on face held (R3, R31, R49)."""

from __future__ import annotations

from rightsx._jit import kernel, wide
from rightsx.accounts import (
    account_at,
    account_known,
    account_open,
    account_restrain,
    funds_at,
    holding_at,
    holding_find,
    holding_units,
)
from rightsx.book import open_qty
from rightsx.engine.numbers import (
    BAD_AMOUNT,
    BAD_QUANTITY,
    BAD_TERMS,
    BUY,
    CAPACITY_EXCEEDED,
    E_ACCOUNT_OPENED,
    E_ACCOUNT_SET,
    E_TIER_SET,
    F_ACCOUNT,
    F_OTHER_ACCOUNT,
    F_PRICE,
    F_QTY,
    HOLDER_LIMIT_EXCEEDED,
    UNKNOWN_ACCOUNT,
)
from rightsx.engine.references import check_reference
from rightsx.engine.state import (
    NIL,
    command_at,
    event_about,
    event_at,
    event_begin,
    no,
    product_at,
    series_at,
    ticket_at,
    tier_at,
)
from rightsx.protocol import CASH_END, INT64_MAX, MAX_TIERS


@kernel
def open_account(state: int, row: int) -> int:
    """Open an account; its id is the next integer (R3)."""
    code = admit_limits(state, row)
    code = code if code != 0 else check_reference(state)
    code = code if code != 0 else check_account_room(state)
    if code != 0:
        return code
    # From here the command must succeed.
    limits_set(state, row, account_open(state), E_ACCOUNT_OPENED)
    return 0


@kernel
def set_account(state: int, row: int) -> int:
    """Replace an account's tier and limits; what it holds already stays (R31, R49)."""
    account = wide(command_at(state, row)["account"])
    code = admit_limits(state, row)
    code = code if code != 0 else check_reference(state)
    code = code if code != 0 else check_account(state, account, F_ACCOUNT)
    if code != 0:
        return code
    # From here the command must succeed.
    limits_set(state, row, account, E_ACCOUNT_SET)
    return 0


@kernel
def admit_limits(state: int, row: int) -> int:
    """Refuse negative limits and a tier that was never set."""
    command = command_at(state, row)
    tier = wide(command["other_account"])
    if command["qty"] < 0:
        return no(state, BAD_QUANTITY, F_QTY, command["qty"], 0)
    if command["price"] < 0:
        return no(state, BAD_AMOUNT, F_PRICE, command["price"], 0)
    if tier != 0 and (tier >= MAX_TIERS or tier_at(state, tier)["cap"] == 0):
        return no(state, BAD_TERMS, F_OTHER_ACCOUNT, tier, 0)
    return 0


@kernel
def limits_set(state: int, row: int, account: int, kind: int) -> None:
    """Set an account's tier and limits, and say what they are."""
    command = command_at(state, row)
    target = account_at(state, account)
    target["tier"] = wide(command["other_account"])
    target["max_open"] = command["qty"]
    target["max_notional"] = command["price"]
    account_restrain(state, account)
    event = event_at(state, event_about(state, kind, 0, account))
    event["extra"] = wide(command["other_account"])
    event["qty"] = command["qty"]
    event["amount"] = command["price"]


@kernel
def set_tier(state: int, row: int) -> int:
    """Set the most face that accounts of a tier may hold per product (R31)."""
    command = command_at(state, row)
    tier, cap = wide(command["other_account"]), command["qty"]
    if not 0 < cap < CASH_END:
        return no(state, BAD_AMOUNT, F_QTY, cap, 1 if cap <= 0 else CASH_END - 1)
    if not 0 < tier < MAX_TIERS:
        return no(state, BAD_TERMS, F_OTHER_ACCOUNT, tier, 1 if tier == 0 else MAX_TIERS - 1)
    code = check_reference(state)
    if code != 0:
        return code
    # From here the command must succeed.
    tier_at(state, tier)["cap"] = cap
    event = event_at(state, event_begin(state, E_TIER_SET))
    event["extra"] = tier
    event["amount"] = cap
    return 0


# ── checks ───────────────────────────────────────────────────────────────────────────────────────


@kernel
def check_account(state: int, account: int, field: int) -> int:
    """Refuse an account that is not there; the platform's is nobody's."""
    if account_known(state, account):
        return 0
    return no(state, UNKNOWN_ACCOUNT, field, account, funds_at(state, 0)["account_count"] - 1)


@kernel
def check_account_room(state: int) -> int:
    """Refuse an account beyond the venue's limit."""
    funds = funds_at(state, 0)
    opened = funds["account_count"]  # the platform, which does not count, stands for the one to come
    if opened <= funds["account_limit"]:
        return 0
    return no(state, CAPACITY_EXCEEDED, F_ACCOUNT, opened, funds["account_limit"])


@kernel
def saturating_product(count: int, each: int) -> int:
    """Give count × each for numbers ≥ 0, at most what 64 bits hold: beyond it no limit lies."""
    return count * each if each == 0 or count <= INT64_MAX // each else INT64_MAX


@kernel
def saturating_sum(a: int, b: int) -> int:
    """Give a + b for numbers ≥ 0, at most what 64 bits hold."""
    return a + b if a <= INT64_MAX - b else INT64_MAX


@kernel
def check_holder_limit(state: int, series: int, account: int, qty: int, replaced: int) -> int:
    """Refuse `qty` more units where the face held in the product would pass the tier's cap (R31).

    Units wherever they are and open bids count, stops included, over the product's live series; the
    order that an amend replaces does not, and the merchant is exempt in its own series. O(live series).
    """
    row = series_at(state, series)
    tier = wide(account_at(state, account)["tier"])
    if tier == 0 or row["merchant"] == account:
        return 0
    face = saturating_product(qty, row["par"])
    if replaced != NIL and ticket_at(state, replaced)["side"] == BUY:
        face -= saturating_product(open_qty(state, replaced), row["par"])
    return check_face(state, wide(row["product"]), account, face)


@kernel
def check_face(state: int, product: int, account: int, change: int) -> int:
    """Refuse where an account's face held in a product, changed by `change`, would pass its tier's cap (R31)."""
    tier = wide(account_at(state, account)["tier"])
    if tier == 0:
        return 0
    face = 0
    number = wide(product_at(state, product)["first_series"])
    while number != NIL:
        slot = holding_find(state, account, number)
        if slot != NIL:
            held = holding_units(state, slot) + holding_at(state, slot)["bid_qty"]
            face = saturating_sum(face, saturating_product(held, series_at(state, number)["par"]))
        number = wide(series_at(state, number)["product_next"])
    face = saturating_sum(face, change) if change > 0 else max(0, face + change)
    cap = tier_at(state, tier)["cap"]
    return 0 if face <= cap else no(state, HOLDER_LIMIT_EXCEEDED, F_QTY, face, cap)
