"""What an order costs and what a trade moves: locks, fees, royalties, buy-backs (R17, R18, R30).

    buy order   locks  price × open + ⌈(Σ notional × bps so far + price × open × dearer bps) / 10,000⌉ − charged
    a trade     buyer ── notional + fee ──► seller: notional − fee − royalty · platform: fees · merchant: royalty

An order's sums of notional × bps may pass 64 bits; what decides anything is how far they are from the
next whole unit. So a ticket keeps `fee_slack` = charged × 10,000 − sum, in 0 … 9,999, for the fee that
is rounded up, and `royalty_rest`, the sum modulo 10,000, with `royalty_held`, what the limit of R18 held
back, for the royalty that is rounded down. One fill's notional is below 2^48, so one step fits.
"""

from __future__ import annotations

from rightsx._jit import kernel, leaf, wide
from rightsx.accounts import account_at, funds_at, holding_at, lots_destroy, lots_split
from rightsx.book import open_qty, order_at
from rightsx.engine.numbers import BUY, E_FILL, FILL_BUYBACK
from rightsx.engine.state import (
    NIL,
    base_of,
    escrow_pay,
    escrow_share,
    event_at,
    event_begin,
    holding_tidy,
    series_at,
    ticket_at,
    units_receive,
    world_at,
)
from rightsx.protocol import BPS, FILLED_END

# ── what an order costs ──────────────────────────────────────────────────────────────────────────


@leaf
def lock_due(notional: int, dear_bps: int, slack: int) -> int:
    """Work out what a buy order must have locked for `notional` still open (R17). Below 2^63 by R1."""
    whole = notional // BPS
    part = (notional - whole * BPS) * dear_bps - slack
    return notional + whole * dear_bps + ((part + BPS - 1) // BPS if part > 0 else 0)


@leaf
def order_due(state: int, slot: int) -> int:
    """Give what an order must have locked now; a sell order locks no cash."""
    ticket = ticket_at(state, slot)
    if ticket["side"] != BUY:
        return 0
    notional = ticket["limit"] * open_qty(state, slot)
    return lock_due(notional, series_at(state, wide(ticket["series"]))["dear_bps"], wide(ticket["fee_slack"]))


@leaf
def relock(state: int, slot: int) -> None:
    """Lock what an order outside the book needs now; the excess comes back."""
    ticket = ticket_at(state, slot)
    due = order_due(state, slot)
    change = due - ticket["cash_locked"]
    ticket["cash_locked"] = due
    account = account_at(state, wide(order_at(state, slot)["account"]))
    account["cash_free"] = account["cash_free"] - change
    account["cash_locked"] = account["cash_locked"] + change


# ── settling a fill ──────────────────────────────────────────────────────────────────────────────


@leaf
def fee_charge(state: int, slot: int, notional: int, bps: int) -> int:
    """Add a fill to an order's fee sum and give the increase that is charged (R18)."""
    ticket = ticket_at(state, slot)
    due = notional * bps - wide(ticket["fee_slack"])
    fee = (due + BPS - 1) // BPS if due > 0 else 0
    ticket["fee_slack"] = fee * BPS - due
    ticket["fee_charged"] = ticket["fee_charged"] + fee
    return fee


@leaf
def royalty_charge(state: int, slot: int, bps: int, notional: int, fee: int) -> int:
    """Add a fill to a sell order's royalty sum and give what is charged, at most what is left (R18)."""
    ticket = ticket_at(state, slot)
    total = notional * bps + wide(ticket["royalty_rest"])
    whole = total // BPS
    ticket["royalty_rest"] = total - whole * BPS
    due = ticket["royalty_held"] + whole
    charged = min(due, notional - fee)
    ticket["royalty_held"] = due - charged
    return charged


@kernel
def settle_fill(
    state: int, series: int, first: int, second: int, qty: int, price: int, first_bps: int, second_bps: int, flags: int
) -> None:  # fmt: skip
    """Move cash and units for one trade (R16 … R18, R30): `first` is the taker, in an auction the buyer.

    Both orders' open quantities are what is left after the trade. Writes FILL, and what a buy-back releases.
    """
    row = series_at(state, series)
    notional = price * qty
    buys = ticket_at(state, first)["side"] == BUY
    buy = first if buys else second
    sell = second if buys else first
    first_fee = fee_charge(state, first, notional, first_bps)
    second_fee = fee_charge(state, second, notional, second_bps)
    buy_fee = first_fee if buys else second_fee
    sell_fee = second_fee if buys else first_fee
    merchant = wide(row["merchant"])
    buyer = wide(order_at(state, buy)["account"])
    seller = wide(order_at(state, sell)["account"])
    is_buyback = buyer == merchant
    royalty = 0
    if not is_buyback and row["royalty_bps"] != 0:
        royalty = royalty_charge(state, sell, row["royalty_bps"], notional, sell_fee)
        cash = account_at(state, merchant)
        cash["cash_free"] = cash["cash_free"] + royalty
    ticket = ticket_at(state, buy)
    ticket["filled_qty"] = min(FILLED_END, ticket["filled_qty"] + qty)
    due = order_due(state, buy)
    before = ticket["cash_locked"]
    ticket["cash_locked"] = due
    account = account_at(state, buyer)
    account["cash_free"] = account["cash_free"] + (before - notional - buy_fee - due)
    account["cash_locked"] = account["cash_locked"] + (due - before)
    account = account_at(state, seller)
    account["cash_free"] = account["cash_free"] + (notional - sell_fee - royalty)
    platform = account_at(state, 0)
    platform["cash_free"] = platform["cash_free"] + (buy_fee + sell_fee)
    fill_event(state, series, first, second, qty, price, first_fee, second_fee, royalty, flags | (FILL_BUYBACK * is_buyback))
    sold_units(state, sell, qty)
    holding = wide(ticket["holding"])
    bids = holding_at(state, holding)
    bids["bid_qty"] = bids["bid_qty"] - qty
    if is_buyback:
        holding_tidy(state, holding)
        buy_back(state, series, qty)
    else:
        units_receive(state, holding, qty, notional + buy_fee, 0)
    row["last_price"] = price
    world = world_at(state, 0)
    if world["traded"] == 0:
        world["traded"] = 1
        world["traded_low"] = price
        world["traded_high"] = price
    else:
        world["traded_low"] = min(world["traded_low"], price)
        world["traded_high"] = max(world["traded_high"], price)


@leaf
def sold_units(state: int, sell: int, qty: int) -> None:
    """Take what was sold out of the seller's offer, the oldest lots first (R15)."""
    ticket = ticket_at(state, sell)
    ticket["filled_qty"] = min(FILLED_END, ticket["filled_qty"] + qty)
    if ticket["first_lot"] != NIL:
        first = lots_split(state, wide(ticket["first_lot"]), wide(ticket["last_lot"]), qty, 0)
        ticket["first_lot"] = first
        if first == NIL:
            ticket["last_lot"] = NIL
        lots_destroy(state, funds_at(state, 0)["taken_first"])
    holding = wide(ticket["holding"])
    offer = holding_at(state, holding)
    offer["offered_qty"] = wide(offer["offered_qty"]) - qty
    holding_tidy(state, holding)


@leaf
def fill_event(
    state: int, series: int, first: int, second: int, qty: int, price: int, first_fee: int, second_fee: int, royalty: int,
    flags: int,
) -> None:  # fmt: skip
    """Write FILL, and remember it for a command that has a `ref`."""
    event = event_at(state, event_begin(state, E_FILL))
    one = order_at(state, first)
    other = order_at(state, second)
    event["series"] = series
    event["order_id"] = one["id"]
    event["other_order_id"] = other["id"]
    event["account"] = wide(one["account"])
    event["other_account"] = wide(other["account"])
    event["price"] = price
    event["qty"] = qty
    event["amount"] = royalty
    event["fee"] = first_fee
    event["other_fee"] = second_fee
    event["side"] = wide(ticket_at(state, first)["side"])
    event["flags"] = flags
    world = world_at(state, 0)
    if world["memo"] != 0 and (one["id"] == world["memo_order"] or other["id"] == world["memo_order"]):
        world["memo_filled"] = world["memo_filled"] + qty


@kernel
def buy_back(state: int, series: int, qty: int) -> None:
    """Destroy units that their merchant bought and release their escrow (R30)."""
    row = series_at(state, series)
    face = qty * row["value"]
    share = escrow_share(state, series, base_of(state, series, qty, row["value"]))
    row["units"] = row["units"] - qty
    row["bought_back"] = row["bought_back"] + face
    escrow_pay(state, series, wide(row["merchant"]), share)
