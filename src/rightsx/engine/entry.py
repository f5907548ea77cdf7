"""What an order must satisfy to be accepted, in the order of the refusals (R10, R17, R19, R21, R26, R31, R38 … R41, R49).

A new order is first written as a *draft*, into slot 0 of the tables of orders, which nobody else reads;
so is an order as an amend would let it re-enter. The checks read the draft and, of an amend, the order
that it replaces, whose lock and units count as returned. `reference/orders` is the same in plain Python.
"""

from __future__ import annotations

from typing import Final

from rightsx._jit import kernel, leaf, narrow, wide
from rightsx.accounts import OLD_ENOUGH, account_at, holding_at, holding_find, lots_eligible
from rightsx.book import (
    FLAG_BITS,
    ICEBERG,
    cell_at,
    crosses,
    fillable,
    level_key,
    level_next,
    open_qty,
    order_at,
    part_at,
    side_at,
)
from rightsx.engine.holders import check_holder_limit, saturating_sum
from rightsx.engine.numbers import (
    BAD_AMOUNT,
    BAD_PRICE,
    BAD_QUANTITY,
    BAD_TERMS,
    BAD_TIME,
    BUY,
    BUYBACK,
    F_ACCOUNT,
    F_DEADLINE_NS,
    F_DISPLAY,
    F_FLAGS,
    F_ORDER_ID,
    F_PRICE,
    F_QTY,
    F_SERIES,
    F_SIDE,
    F_STOP_PRICE,
    F_TIME_IN_FORCE,
    F_TIME_NS,
    FOK,
    FOK_UNFILLABLE,
    GTC,
    GTD,
    HOLDING_PERIOD,
    INSUFFICIENT_CASH,
    INSUFFICIENT_UNITS,
    IOC,
    KILLED,
    MARKET,
    ORDER_LIMIT_EXCEEDED,
    OUTSIDE_PRICE_BAND,
    OWN_MODES,
    PEG,
    POST_ONLY,
    POST_ONLY_WOULD_CROSS,
    PRICE_ABOVE_CAP,
    SELL,
    SERIES_HALTED,
    STOP_WAYS,
    TRADING_CLOSED,
)
from rightsx.engine.settle import lock_due
from rightsx.engine.state import (
    NIL,
    band_high,
    band_low,
    cap_of,
    check_living,
    check_qty,
    command_at,
    no,
    order_flags,
    own_at,
    plan_at,
    series_at,
    series_known,
    ticket_at,
    world_at,
)
from rightsx.protocol import BPS, CALLER_ID_FIRST, ICEBERG_PARTS_MAX, PRICE_END, TIME_END

DRAFT: Final = 0  # the slot of the order that is not accepted yet

# ── the price of an order without one (R39) ──────────────────────────────────────────────────────


@kernel
def plain_limit(state: int, series: int, side: int) -> tuple[int, int]:
    """Give the best price that the rules allow a market order, and why there is none, or 0."""
    tick = series_at(state, series)["tick"]
    low = band_low(state, series)
    high = band_high(state, series)
    ceiling = cap_of(state, series) // tick * tick
    price = min(ceiling, high) if side == BUY else max(tick, low)
    if ceiling < 1:
        return price, PRICE_ABOVE_CAP
    if ceiling < low or price < max(1, low) or price > high:
        return price, OUTSIDE_PRICE_BAND
    return price, 0


@kernel
def peg_limit(state: int, series: int, side: int, peg: int) -> int:
    """Give the limit of a peg at the value of now: to the tick, down for a buy, up for a sell; it may be none, below 1 (R54)."""
    row = series_at(state, series)
    limit = row["value"] * peg if peg > 0 else (row["value"] + peg) * BPS
    tick = row["tick"]
    return limit // (BPS * tick) * tick if side == BUY else -(-limit // (BPS * tick)) * tick


@kernel
def plan_limit(state: int, at: int) -> int:
    """Give the limit of a plan's order: its price of now, or what cap and band allow, but at least its last one (R55)."""
    plan = plan_at(state, at)
    series = wide(plan["series"])
    tick = series_at(state, series)["tick"]
    fallen = (plan["price"] - plan["last_price"]) * (plan["step"] - 1) // plan["falls"] if plan["falls"] != 0 else 0
    asked = -(-(plan["price"] - fallen) // tick) * tick
    return max(plan["last_price"], min(asked, cap_of(state, series) // tick * tick, band_high(state, series)))


# ── numbers and words ────────────────────────────────────────────────────────────────────────────


@kernel
def check_sizes(state: int, series: int, qty: int, display: int) -> int:
    """Refuse a quantity that R1, R40 or R49 does not allow; `series` may be one that is not there."""
    code = check_qty(state, qty)
    if code != 0:
        return code
    if display != 0 and not (0 < display < qty and qty <= ICEBERG_PARTS_MAX * display):
        return no(state, BAD_QUANTITY, F_DISPLAY, display, qty - 1)
    if series_known(state, series):
        row = series_at(state, series)
        lot = row["lot"]
        if qty % lot != 0:
            return no(state, BAD_QUANTITY, F_QTY, qty, max(lot, qty - qty % lot))
        if qty < row["min_qty"]:
            return no(state, BAD_QUANTITY, F_QTY, qty, row["min_qty"])
        if row["max_qty"] != 0 and qty > row["max_qty"]:
            return no(state, BAD_QUANTITY, F_QTY, qty, row["max_qty"])
    return 0


@kernel
def check_price(state: int, series: int, price: int, field: int) -> int:
    """Refuse a price, in this field, that R1 or the tick (R49) does not allow; `series` may be one that is not there."""
    if not 0 < price < PRICE_END:
        return no(state, BAD_PRICE, field, price, 1 if price <= 0 else PRICE_END - 1)
    tick = series_at(state, series)["tick"] if series_known(state, series) else 1
    if price % tick != 0:
        return no(state, BAD_PRICE, field, price, max(tick, price - price % tick))
    return 0


@kernel
def check_peg(state: int, peg: int) -> int:
    """Refuse a peg of nothing, above the value, or beyond R1's range (R54)."""
    if peg != 0 and -PRICE_END < peg <= BPS:
        return 0
    return no(state, BAD_PRICE, F_PRICE, peg, BPS if peg > BPS else 1 if peg == 0 else 1 - PRICE_END)


@kernel
def check_place_numbers(state: int, row: int) -> int:
    """Refuse numbers that no new order may have."""
    command = command_at(state, row)
    series, tif, deadline = wide(command["series"]), wide(command["time_in_force"]), command["deadline_ns"]
    code = check_sizes(state, series, command["qty"], command["display"])
    flags = wide(command["flags"])
    if code == 0 and flags & MARKET == 0:
        code = check_price(state, series, command["price"], F_PRICE) if flags & PEG == 0 else check_peg(state, command["price"])
    if code != 0:
        return code
    stop = command["stop_price"]
    if stop < 0 or stop >= PRICE_END:
        return no(state, BAD_PRICE, F_STOP_PRICE, stop, 1 if stop < 0 else PRICE_END - 1)
    if tif == FOK and deadline < 0:
        return no(state, BAD_AMOUNT, F_DEADLINE_NS, deadline, 1)
    now = world_at(state, 0)["clock_ns"]
    if tif == GTD and not now < deadline < TIME_END:
        return no(state, BAD_TIME, F_DEADLINE_NS, deadline, now + 1)
    return check_place_terms(state, row)


@kernel
def check_place_terms(state: int, row: int) -> int:
    """Refuse words that do not go together (R19, R30, R41, R42)."""
    command = command_at(state, row)
    flags, tif, side = wide(command["flags"]), wide(command["time_in_force"]), wide(command["side"])
    series, order_id = wide(command["series"]), command["order_id"]
    waits = command["stop_price"] != 0
    is_market = flags & MARKET != 0
    if side != BUY and side != SELL:
        return no(state, BAD_TERMS, F_SIDE, side, 0)
    if tif < GTC or tif > FOK:
        return no(state, BAD_TERMS, F_TIME_IN_FORCE, tif, 0)
    if flags & OWN_MODES == OWN_MODES or flags & STOP_WAYS == STOP_WAYS:
        return no(state, BAD_TERMS, F_FLAGS, flags, 0)
    if flags & STOP_WAYS != 0 and not waits:
        return no(state, BAD_TERMS, F_FLAGS, flags, 0)
    if flags & PEG != 0 and (is_market or waits):
        return no(state, BAD_TERMS, F_FLAGS, flags, 0)
    if flags & POST_ONLY != 0 and (is_market or tif == IOC or tif == FOK):
        return no(state, BAD_TERMS, F_FLAGS, flags, 0)
    if is_market and command["price"] != 0:
        return no(state, BAD_TERMS, F_PRICE, command["price"], 0)
    if is_market and not waits and tif == GTD:
        return no(state, BAD_TERMS, F_TIME_IN_FORCE, tif, 0)
    if (tif == GTC or tif == IOC) and command["deadline_ns"] != 0:
        return no(state, BAD_TERMS, F_DEADLINE_NS, command["deadline_ns"], 0)
    if order_id != 0 and order_id < CALLER_ID_FIRST:
        return no(state, BAD_TERMS, F_ORDER_ID, order_id, 0)
    if flags & BUYBACK != 0 and series_known(state, series) and series_at(state, series)["merchant"] != wide(command["account"]):
        return no(state, BAD_TERMS, F_FLAGS, flags, 0)
    return 0


# ── whether anybody may trade now ────────────────────────────────────────────────────────────────


@kernel
def check_trading(state: int, series: int, account: int, receiver: int) -> int:
    """Refuse where nobody, or not these accounts, may trade now (R22, R29, R32, R43)."""
    code = check_living(state, series, account, receiver)
    code = code if code != 0 else check_not_ended(state, series)
    if code != 0:
        return code
    if world_at(state, 0)["killed"] != 0:
        return no(state, KILLED, 0, 0, 0)
    if series_at(state, series)["halted"] != 0:
        return no(state, SERIES_HALTED, F_SERIES, series, 0)
    return 0


@kernel
def check_not_ended(state: int, series: int) -> int:
    """Refuse a series past its last trade (R22)."""
    now = world_at(state, 0)["clock_ns"]
    end = series_at(state, series)["last_trade_ns"]
    return 0 if now < end else no(state, TRADING_CLOSED, F_TIME_NS, now, end - 1)


# ── prices, funds, the book ──────────────────────────────────────────────────────────────────────


@kernel
def check_limit_price(state: int, series: int, slot: int) -> int:
    """Refuse a limit above the cap or outside the band (R10, R21, R39, R41)."""
    ticket = ticket_at(state, slot)
    limit, stop, cap = ticket["limit"], ticket["stop_price"], cap_of(state, series)
    low, high = band_low(state, series), band_high(state, series)
    if order_flags(state, slot) & MARKET != 0:
        if stop != 0:
            return 0 if stop <= cap else no(state, PRICE_ABOVE_CAP, F_STOP_PRICE, stop, cap)
        _, wrong = plain_limit(state, series, wide(ticket["side"]))
        if wrong == PRICE_ABOVE_CAP:
            return no(state, wrong, F_PRICE, limit, cap)
        return 0 if wrong == 0 else no(state, wrong, F_PRICE, limit, low)
    if limit > cap:
        return no(state, PRICE_ABOVE_CAP, F_PRICE, limit, cap)
    low = max(1, low)
    if limit < low:
        return no(state, OUTSIDE_PRICE_BAND, F_PRICE, limit, low)
    return 0 if limit <= high else no(state, OUTSIDE_PRICE_BAND, F_PRICE, limit, high)


@kernel
def check_funds(state: int, series: int, slot: int, replaced: int) -> int:
    """Refuse an order over a limit or without the units or the cash for it (R17, R26, R31, R49).

    What the order that it replaces holds counts as returned (R38); NIL replaces none.
    """
    account = wide(order_at(state, slot)["account"])
    qty = order_at(state, slot)["word"] >> FLAG_BITS
    buys = ticket_at(state, slot)["side"] == BUY
    code = check_holder_limit(state, series, account, qty, replaced) if buys else 0
    code = code if code != 0 else check_order_limits(state, account, slot, replaced)
    if code != 0:
        return code
    return check_cash(state, series, slot, replaced) if buys else check_units(state, series, slot, replaced)


@kernel
def check_order_limits(state: int, account: int, slot: int, replaced: int) -> int:
    """Refuse an order beyond the limits of its account (R49). O(orders of the account) where notional is limited."""
    row = account_at(state, account)
    if row["max_open"] != 0:
        count = wide(row["open_orders"]) + (1 if replaced == NIL else 0)
        if count > row["max_open"]:
            return no(state, ORDER_LIMIT_EXCEEDED, F_ACCOUNT, count, row["max_open"])
    if row["max_notional"] != 0:
        total = ticket_at(state, slot)["limit"] * (order_at(state, slot)["word"] >> FLAG_BITS)
        other = wide(row["first_order"])
        while other != NIL:
            if other != replaced:
                total = saturating_sum(total, ticket_at(state, other)["limit"] * open_qty(state, other))
            other = wide(own_at(state, other)["next"])
        if total > row["max_notional"]:
            return no(state, ORDER_LIMIT_EXCEEDED, F_PRICE, total, row["max_notional"])
    return 0


@kernel
def check_units(state: int, series: int, slot: int, replaced: int) -> int:
    """Refuse a sell order for more units than are free, or old enough (R26)."""
    order = order_at(state, slot)
    qty = order["word"] >> FLAG_BITS
    holding = holding_find(state, wide(order["account"]), series)
    back = open_qty(state, replaced) if replaced != NIL else 0
    free = back + (wide(holding_at(state, holding)["free_qty"]) if holding != NIL else 0)
    if qty > free:
        return no(state, INSUFFICIENT_UNITS, F_QTY, qty, free)
    hold_ns = series_at(state, series)["hold_ns"]
    if hold_ns != 0:
        old = back + lots_eligible(state, holding, OLD_ENOUGH, world_at(state, 0)["clock_ns"] - hold_ns)
        if qty > old:
            return no(state, HOLDING_PERIOD, F_QTY, qty, old)
    return 0


@kernel
def check_cash(state: int, series: int, slot: int, replaced: int) -> int:
    """Refuse a buy order that its account's free cash does not cover (R17)."""
    ticket = ticket_at(state, slot)
    notional = ticket["limit"] * (order_at(state, slot)["word"] >> FLAG_BITS)
    due = lock_due(notional, series_at(state, series)["dear_bps"], wide(ticket["fee_slack"]))
    cash = account_at(state, wide(order_at(state, slot)["account"]))["cash_free"]
    if replaced != NIL:
        cash += ticket_at(state, replaced)["cash_locked"]
    return 0 if due <= cash else no(state, INSUFFICIENT_CASH, F_QTY, due, cash)


@kernel
def check_entry(state: int, series: int, slot: int) -> int:
    """Refuse a post-only order that would cross and an FOK that would not fill (R19)."""
    if ticket_at(state, slot)["stop_price"] != 0:
        return 0  # It waits; what is wrong when it wakes cancels it then (R41).
    wrong = entry_refusal(state, series, slot)
    if wrong == POST_ONLY_WOULD_CROSS:
        return no(state, wrong, F_PRICE, ticket_at(state, slot)["limit"], 0)
    if wrong == FOK_UNFILLABLE:
        return no(state, wrong, F_QTY, order_at(state, slot)["word"] >> FLAG_BITS, 0)
    return 0


@leaf
def side_of(series: int, side: int) -> int:
    """Give the number of a side of a series' book."""
    return 4 * series + side - 1


@leaf
def side_mask(side: int) -> int:
    """Give the mask of a side's keys: −1 for bids, and for stops that wait for a fall."""
    return -1 if side & 3 == 0 or side & 3 == 3 else 0


@kernel
def entry_refusal(state: int, series: int, slot: int) -> int:
    """Say why an order cannot enter the book now, or 0."""
    ticket = ticket_at(state, slot)
    in_auction = series_at(state, series)["in_auction"] != 0
    other = side_of(series, wide(ticket["side"])) ^ 1
    flags = order_flags(state, slot)
    if flags & POST_ONLY != 0 and not in_auction and crosses(state, other, ticket["limit"], side_mask(other)):
        return POST_ONLY_WOULD_CROSS
    if ticket["time_in_force"] == FOK and (in_auction or not fills_whole(state, series, slot)):
        return FOK_UNFILLABLE
    return 0


@kernel
def fills_whole(state: int, series: int, slot: int) -> bool:
    """Say whether an FOK would fill, and within its budget where it has one (R19)."""
    ticket = ticket_at(state, slot)
    order = order_at(state, slot)
    qty = order["word"] >> FLAG_BITS
    account = wide(order["account"])
    side = side_of(series, wide(ticket["side"]))
    flags = order_flags(state, slot)
    if fillable(state, side, ticket["limit"], qty, account, flags) < qty:
        return False
    budget = ticket["deadline"]
    if budget == 0:
        return True
    total = fill_total(state, series, slot, side ^ 1)
    return total <= budget if ticket["side"] == BUY else total >= budget


@kernel
def fill_total(state: int, series: int, slot: int, other: int) -> int:
    """Work out what an FOK that fills would cost with fee, or bring after fee and royalty, fill by fill.

    An iceberg's parts come up in rounds: after everybody's first part everybody's second, in the same
    order. O(orders met × parts).
    """
    row = series_at(state, series)
    rest = order_at(state, slot)["word"] >> FLAG_BITS
    account = narrow(wide(order_at(state, slot)["account"]))
    buys = ticket_at(state, slot)["side"] == BUY
    total = 0
    fees = 0
    sums = 0  # Σ notional × bps, in whole units and the rest
    rest_bps = 0
    royalty_rest = 0
    held = 0
    level = wide(side_at(state, other)["best"])
    while rest > 0:
        price = level_key(state, level) ^ side_mask(other)
        round_ = 0
        shown_any = True
        while rest > 0 and shown_any:
            shown_any = False
            maker = wide(cell_at(state, level)["head"])
            while maker != NIL and rest > 0:
                part = part_shown(state, maker, round_)
                if part > 0 and wide(order_at(state, maker)["account"]) != account:
                    shown_any = True
                    qty = min(part, rest)
                    rest -= qty
                    notional = price * qty
                    rest_bps += notional * row["taker_bps"]
                    sums += rest_bps // BPS
                    rest_bps -= rest_bps // BPS * BPS
                    fee = sums + (1 if rest_bps > 0 else 0) - fees
                    fees += fee
                    if buys:
                        total += notional + fee
                    else:
                        royalty = 0
                        if wide(order_at(state, maker)["account"]) != wide(row["merchant"]):
                            royalty_rest += notional * row["royalty_bps"]
                            held += royalty_rest // BPS
                            royalty_rest -= royalty_rest // BPS * BPS
                            royalty = min(held, notional - fee)
                            held -= royalty
                        total += notional - fee - royalty
                maker = wide(order_at(state, maker)["next"])
            round_ += 1
        level = level_next(state, level)
    return total


@kernel
def part_shown(state: int, slot: int, round_: int) -> int:
    """Give how much a resting order shows when it comes up for the (round + 1)-th time."""
    word = order_at(state, slot)["word"]
    if round_ == 0:
        return word >> FLAG_BITS
    if word & ICEBERG == 0:
        return 0
    part = part_at(state, slot)
    return min(part["display"], max(0, part["hidden"] - (round_ - 1) * part["display"]))
