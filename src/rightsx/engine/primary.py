"""Units come into being: the primary sale and grants of trials; imports mint through here (R4 … R6, R45, R46).

buyer ──g──┬── f ──► platform       f, x: increases of ⌈G × bps / 10,000⌉ over the series' life,
           ├── x ──► escrow         so that totals never depend on how sales were sliced
           └── g−f−x ► merchant
"""

from __future__ import annotations

from rightsx._jit import kernel, wide
from rightsx.accounts import account_at, cash_credit
from rightsx.engine.entry import check_trading
from rightsx.engine.holders import check_account, check_holder_limit
from rightsx.engine.numbers import (
    AUTHORISED_EXCEEDED,
    BAD_TERMS,
    CAPACITY_EXCEEDED,
    CHANNEL_CAP_EXCEEDED,
    E_GRANTED,
    E_SOLD,
    F_ACCOUNT,
    F_OTHER_ACCOUNT,
    F_PRICE,
    F_QTY,
    F_SERIES,
    INSUFFICIENT_CASH,
    MERCHANT_CANNOT_SUBSCRIBE,
    NOT_OWNER,
    PRICE_ABOVE_CAP,
    RESALE_FORBIDDEN,
)
from rightsx.engine.orders import check_series
from rightsx.engine.references import check_reference
from rightsx.engine.state import (
    NIL,
    bps_up,
    cap_of,
    channel_at,
    check_qty,
    command_at,
    event_about,
    event_at,
    holding_of,
    no,
    room_for_holding,
    series_at,
    series_known,
    units_receive,
    world_at,
)
from rightsx.protocol import Channel

CHANNEL_NONE, CHANNEL_IMPORT = int(Channel.NONE), int(Channel.IMPORT)
NO_CAP = -1


@kernel
def sale_split(state: int, series: int, g: int) -> tuple[int, int]:
    """Work out f and x for a sale of `g`: the increases of the totals of R6, escrow limited to g − f.

    Escrow held back by the limit is made up by later sales, so that R6's total is reached as soon as it can be.
    """
    row = series_at(state, series)
    fee = bps_up(row["gross"] + g, row["issue_bps"]) - row["fee_total"]
    escrow = bps_up(row["gross"] + g, row["escrow_bps"]) - row["escrow_total"]
    return fee, min(escrow, g - fee)


@kernel
def channel_find(state: int, series: int, channel: int) -> int:
    """Give the row of a channel of a series, or NIL. O(channels of the series)."""
    slot = wide(series_at(state, series)["first_channel"])
    while slot != NIL and channel_at(state, slot)["channel"] != channel:
        slot = wide(channel_at(state, slot)["next"])
    return slot


@kernel
def channel_of(state: int, series: int, channel: int) -> int:
    """Give the row of a channel of a series, making it without a cap where there is none."""
    slot = channel_find(state, series, channel)
    if slot != NIL:
        return slot
    world = world_at(state, 0)
    slot = world["channel_used"]
    world["channel_used"] = slot + 1
    one = channel_at(state, slot)
    one["channel"] = channel
    one["cap"] = NO_CAP
    one["next"] = wide(series_at(state, series)["first_channel"])
    series_at(state, series)["first_channel"] = slot
    return slot


@kernel
def check_sale(state: int, series: int, qty: int, channel: int, field: int) -> int:
    """Refuse more units than are authorised, or than the channel may sell (R5, R45)."""
    row = series_at(state, series)
    left = row["authorised"] - row["sold"]
    if qty > left:
        return no(state, AUTHORISED_EXCEEDED, field, qty, left)
    slot = channel_find(state, series, channel)
    if slot != NIL and channel_at(state, slot)["cap"] != NO_CAP:
        left = channel_at(state, slot)["cap"] - channel_at(state, slot)["sold"]
        if qty > left:
            return no(state, CHANNEL_CAP_EXCEEDED, field, qty, left)
    return 0


@kernel
def mint(state: int, series: int, account: int, qty: int, fee: int, escrow: int, channel: int, cost: int, primary: int) -> None:
    """Bring units into being for an account and count the sale in every sum (R4, R6, R11)."""
    if qty == 0:
        return  # an imported member whose balance is below one unit
    row = series_at(state, series)
    g = qty * row["issue_price"]
    row["sold"] = row["sold"] + qty
    row["units"] = row["units"] + qty
    row["gross"] = row["gross"] + g
    row["fee_total"] = row["fee_total"] + fee
    row["escrow_total"] = row["escrow_total"] + escrow
    row["escrow"] = row["escrow"] + escrow
    row["decayed_before_sale"] = row["decayed_before_sale"] + qty * (row["par"] - row["value"])
    one = channel_at(state, channel_of(state, series, channel))
    one["sold"] = one["sold"] + qty
    one["gross"] = one["gross"] + g
    units_receive(state, holding_of(state, account, series), qty, cost, primary)


@kernel
def import_units(state: int, series: int, account: int, qty: int, fee: int, escrow: int, event_seq: int) -> None:
    """Bring an imported member's units into being; the merchant pays their escrow (R34).

    Done twice it is done once: events before number `event_seq`, which says so, have happened.
    """
    world = world_at(state, 0)
    if world["event_seq"] <= event_seq:
        world["event_seq"] = event_seq + 1
        cash_credit(state, wide(series_at(state, series)["merchant"]), -escrow)
        mint(state, series, account, qty, fee, escrow, CHANNEL_IMPORT, 0, 0)


@kernel
def subscribe(state: int, row: int) -> int:
    """Sell units of the primary sale: g = fee + escrow + merchant's part, in one step (R5, R6)."""
    code = admit_subscribe(state, row)
    if code != 0:
        return code
    # From here the command must succeed.
    command = command_at(state, row)
    account, series, qty = wide(command["account"]), wide(command["series"]), command["qty"]
    channel = wide(command["other_account"])
    channel = channel if channel != 0 else CHANNEL_NONE
    terms = series_at(state, series)
    merchant = wide(terms["merchant"])
    g = qty * terms["issue_price"]
    fee, escrow = sale_split(state, series, g)
    cash_credit(state, account, -g)
    cash_credit(state, 0, fee)
    cash_credit(state, merchant, g - fee - escrow)
    mint(state, series, account, qty, fee, escrow, channel, g, 1)
    event = event_at(state, event_about(state, E_SOLD, series, account))
    event["other_account"] = merchant
    event["price"] = terms["issue_price"]
    event["qty"] = qty
    event["amount"] = g
    event["fee"] = fee
    event["other_fee"] = escrow
    event["extra"] = channel
    return 0


@kernel
def admit_subscribe(state: int, row: int) -> int:
    """Make every check of a primary sale."""
    command = command_at(state, row)
    account, series, qty = wide(command["account"]), wide(command["series"]), command["qty"]
    channel = wide(command["other_account"])
    channel = channel if channel != 0 else CHANNEL_NONE
    code = check_qty(state, qty)
    if code == 0 and (channel > world_at(state, 0)["channel_count"] or channel == CHANNEL_IMPORT):
        code = no(state, BAD_TERMS, F_OTHER_ACCOUNT, channel, 0)
    code = code if code != 0 else check_reference(state)
    code = code if code != 0 else check_account(state, account, F_ACCOUNT)
    code = code if code != 0 else check_series(state, series)
    code = code if code != 0 else check_trading(state, series, account, account)
    if code != 0:
        return code
    terms = series_at(state, series)
    if terms["merchant"] == account:
        return no(state, MERCHANT_CANNOT_SUBSCRIBE, F_ACCOUNT, account, 0)
    if terms["trial"] != 0:
        return no(state, RESALE_FORBIDDEN, F_SERIES, series, 0)
    code = check_sale(state, series, qty, channel, F_QTY)
    price = terms["issue_price"]
    if code == 0 and price > cap_of(state, series):
        code = no(state, PRICE_ABOVE_CAP, F_PRICE, price, cap_of(state, series))
    code = code if code != 0 else check_holder_limit(state, series, account, qty, NIL)
    if code != 0:
        return code
    cash = account_at(state, account)["cash_free"]
    if qty * price > cash:
        return no(state, INSUFFICIENT_CASH, F_QTY, qty * price, cash)
    return 0 if room_for_holding(state, account, series) else no(state, CAPACITY_EXCEEDED, 0, 0, 0)


@kernel
def grant(state: int, row: int) -> int:
    """Give units of a trial series for nothing, by its merchant (R46)."""
    code = admit_grant(state, row)
    if code != 0:
        return code
    # From here the command must succeed.
    command = command_at(state, row)
    recipient, series, qty = wide(command["other_account"]), wide(command["series"]), command["qty"]
    mint(state, series, recipient, qty, 0, 0, CHANNEL_NONE, 0, 0)
    event = event_at(state, event_about(state, E_GRANTED, series, recipient))
    event["other_account"] = wide(series_at(state, series)["merchant"])
    event["qty"] = qty
    event["extra"] = CHANNEL_NONE
    return 0


@kernel
def admit_grant(state: int, row: int) -> int:
    """Make every check of a grant."""
    command = command_at(state, row)
    merchant, recipient = wide(command["account"]), wide(command["other_account"])
    series, qty = wide(command["series"]), command["qty"]
    code = check_qty(state, qty)
    if code == 0 and series_known(state, series) and series_at(state, series)["trial"] == 0:
        code = no(state, BAD_TERMS, F_SERIES, series, 0)
    code = code if code != 0 else check_reference(state)
    code = code if code != 0 else check_account(state, merchant, F_ACCOUNT)
    code = code if code != 0 else check_account(state, recipient, F_OTHER_ACCOUNT)
    code = code if code != 0 else check_series(state, series)
    if code != 0:
        return code
    owner = wide(series_at(state, series)["merchant"])
    if merchant != owner:
        return no(state, NOT_OWNER, F_ACCOUNT, merchant, owner)
    code = check_trading(state, series, merchant, recipient)
    if code == 0 and recipient == owner:
        code = no(state, MERCHANT_CANNOT_SUBSCRIBE, F_OTHER_ACCOUNT, recipient, 0)
    code = code if code != 0 else check_sale(state, series, qty, CHANNEL_NONE, F_QTY)
    code = code if code != 0 else check_holder_limit(state, series, recipient, qty, NIL)
    if code != 0:
        return code
    return 0 if room_for_holding(state, recipient, series) else no(state, CAPACITY_EXCEEDED, 0, 0, 0)
