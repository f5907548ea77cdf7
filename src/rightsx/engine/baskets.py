"""One command over several books: a bill paid with rights to be bought, a product bought, a roll (R50 … R53).

    product ─► asks of all its series ─► cheapest per value first ─► leg_qty, leg_price of each ─► checks ─► task K_LEGS

What a leg takes is settled before the first write, and noted in its series' row; then a task lets one order after the other
in, which fills whole: an IOC under `cancel_maker`. Between two commands all notes are 0. Choosing costs O(levels taken × series).
"""

from __future__ import annotations

from rightsx._jit import kernel, mul_div, narrow, wide
from rightsx.accounts import account_at, funds_at, holding_find
from rightsx.book import (
    FLAG_BITS,
    cell_at,
    head_at,
    level_next,
    level_price,
    open_qty,
    order_at,
    side_at,
)
from rightsx.engine.entry import DRAFT, check_not_ended, check_order_limits, check_sizes, check_units, fill_total, side_of
from rightsx.engine.holders import check_account, check_face, saturating_product, saturating_sum
from rightsx.engine.numbers import (
    ACCOUNT_FROZEN,
    BAD_PRICE,
    BAD_TERMS,
    BAD_TIME,
    BUY,
    BUYBACK_FLAG_REQUIRED,
    CANCEL_MAKER,
    CAPACITY_EXCEEDED,
    E_BILL_PAID,
    E_PRODUCT_BOUGHT,
    E_ROLLED,
    F_ACCOUNT,
    F_DEADLINE_NS,
    F_OTHER_ACCOUNT,
    F_PRICE,
    F_QTY,
    F_SERIES,
    F_TIME_IN_FORCE,
    FOK,
    FOK_UNFILLABLE,
    INSUFFICIENT_CASH,
    IOC,
    KILLED,
    MERCHANT_CANNOT_RESELL,
    MERCHANT_DEFAULTED,
    RESALE_FORBIDDEN,
    SELL,
    SERIES_HALTED,
)
from rightsx.engine.orders import check_known, draft_accept, ticket_begin
from rightsx.engine.redemption import check_product, check_store, redeem_units, store_allowed
from rightsx.engine.references import check_reference
from rightsx.engine.settle import lock_due
from rightsx.engine.state import (
    DONE,
    MORE,
    NIL,
    check_amount,
    check_qty,
    check_unexpired,
    command_at,
    event_about,
    event_at,
    no,
    product_at,
    room_for_holding,
    series_at,
    task_at,
    task_pop,
    task_push,
    ticket_at,
    world_at,
)
from rightsx.engine.tasks import K_LEG, K_LEG_REDEEM, K_LEGS
from rightsx.protocol import BPS, PRICE_END, TIME_END

NO_STORE = -1  # of legs whose units are not redeemed

# ── choosing (R50) ───────────────────────────────────────────────────────────────────────────────


@kernel
def trades_now(state: int, series: int) -> bool:
    """Say whether a basket may take from a live series now."""
    row = series_at(state, series)
    shut = wide(row["halted"]) | row["in_auction"]
    return shut == 0 and row["value"] != 0 and row["resale"] != 0 and world_at(state, 0)["clock_ns"] < row["last_trade_ns"]


@kernel
def legs_begin(state: int, product: int, store: int, until_ns: int) -> None:
    """Put every series of a product that may take part at its best ask, the others at none; NO_STORE asks for no store."""
    number = wide(product_at(state, product)["first_series"])
    while number != NIL:
        row = series_at(state, number)
        level = NIL
        if trades_now(state, number) and row["expire_ns"] >= until_ns and (store < 0 or store_allowed(state, number, store)):
            level = wide(side_at(state, side_of(number, SELL))["best"])
        row["leg_level"] = level
        number = wide(row["product_next"])


@kernel
def legs_clear(state: int, product: int) -> None:
    """Take back what was noted of legs."""
    number = wide(product_at(state, product)["first_series"])
    while number != NIL:
        row = series_at(state, number)
        row["leg_qty"] = 0
        row["leg_price"] = 0
        row["leg_level"] = NIL
        number = wide(row["product_next"])


@kernel
def legs_choose(state: int, product: int, account: int, wanted: int, most: int, by_value: int) -> int:
    """Note what to buy in each series, cheapest per value first; gives what of `wanted` is left.

    By value a unit counts as much as it is worth, and nothing is taken that costs, with its fee, as much; else it counts 1.
    """
    rest = wanted
    number = cheapest(state, product, most, by_value, rest)
    while rest > 0 and number != NIL:
        row = series_at(state, number)
        level = wide(row["leg_level"])
        weight = row["value"] if by_value != 0 else 1
        before = wide(row["leg_qty"])
        qty = min(others_open(state, level, account), rest // weight)
        if row["max_qty"] != 0:
            qty = min(qty, row["max_qty"] - before)
        qty -= qty % row["lot"]
        if qty != 0:
            row["leg_qty"] = narrow(before + qty)
            row["leg_price"] = narrow(level_price(state, level))
            rest -= qty * weight
        row["leg_level"] = level_next(state, level)
        number = cheapest(state, product, most, by_value, rest)
    return rest


@kernel
def cheapest(state: int, product: int, most: int, by_value: int, rest: int) -> int:
    """Give the series whose next ask costs least per value, the first of equals in the order of bills; NIL if none is left.

    `rest` is what is still to be paid by value. No ask is above v (R10), so cost ÷ value is at most 20,000 and the quotient fits.
    """
    best = NIL
    best_cost = 0
    best_value = 1
    number = wide(product_at(state, product)["first_series"])
    while number != NIL:
        row = series_at(state, number)
        level = wide(row["leg_level"])
        if level != NIL:
            price = level_price(state, level)
            cost = price * (BPS + row["taker_bps"])
            useless = by_value != 0 and (cost >= row["value"] * BPS or row["value"] > rest)
            if useless or (most != 0 and price > most):
                row["leg_level"] = NIL
            # A ÷ a < B ÷ b just if ⌊A × b ÷ a⌋ < B.
            elif best == NIL or mul_div(cost, best_value, row["value"]) < best_cost:
                best = number
                best_cost = cost
                best_value = row["value"]
        number = wide(row["product_next"])
    return best


@kernel
def others_open(state: int, level: int, account: int) -> int:
    """Add up what other accounts have open at a level, hidden parts too. O(orders of the level)."""
    total = 0
    slot = wide(cell_at(state, level)["head"])
    while slot != NIL:
        order = order_at(state, slot)
        if wide(order["account"]) != account:
            total += open_qty(state, slot)
        slot = wide(order["next"])
    return total


# ── checks ───────────────────────────────────────────────────────────────────────────────────────


@kernel
def leg_draft(state: int, account: int, series: int, side: int, qty: int, limit: int) -> None:
    """Write a leg as the draft: an IOC under `cancel_maker`."""
    ticket_begin(state, DRAFT, series, side, limit)
    ticket_at(state, DRAFT)["time_in_force"] = IOC
    order = order_at(state, DRAFT)
    order["account"] = narrow(account)
    order["word"] = (qty << FLAG_BITS) | CANCEL_MAKER


@kernel
def leg_lock(state: int, series: int, qty: int, limit: int) -> int:
    """Give the cash that a buying leg locks (R17)."""
    return lock_due(limit * qty, series_at(state, series)["dear_bps"], 0)


@kernel
def check_legs(state: int, product: int, account: int) -> int:
    """Refuse legs that the account's limits or its cash do not allow (R17, R31, R49, R50)."""
    face = 0
    due = 0
    wrong = 0
    first = wide(product_at(state, product)["first_series"])
    number = first
    while number != NIL:
        row = series_at(state, number)
        face = saturating_sum(face, saturating_product(wide(row["leg_qty"]), row["par"]))
        due = saturating_sum(due, leg_lock(state, number, wide(row["leg_qty"]), wide(row["leg_price"])))
        number = wide(row["product_next"])
    wrong = check_face(state, product, account, face)
    number = first
    while number != NIL and wrong == 0:
        row = series_at(state, number)
        if row["leg_qty"] != 0:
            leg_draft(state, account, number, BUY, wide(row["leg_qty"]), wide(row["leg_price"]))
            wrong = check_order_limits(state, account, DRAFT, NIL)
        number = wide(row["product_next"])
    cash = account_at(state, account)["cash_free"]
    if wrong == 0 and due > cash:
        wrong = no(state, INSUFFICIENT_CASH, F_QTY, due, cash)
    return wrong


@kernel
def check_legs_room(state: int, product: int, account: int) -> int:
    """Refuse legs whose orders or holdings the venue has no room for."""
    funds = funds_at(state, 0)
    head = head_at(state, 0)
    fresh = 0
    any_leg = False
    number = wide(product_at(state, product)["first_series"])
    while number != NIL:
        row = series_at(state, number)
        if row["leg_qty"] != 0:
            any_leg = True
            fresh += 1 if holding_find(state, account, number) == NIL else 0
        number = wide(row["product_next"])
    full = any_leg and head["live"] >= head["live_limit"]
    if full or funds["holding_count"] + fresh > funds["holding_limit"]:
        return no(state, CAPACITY_EXCEEDED, 0, 0, 0)
    return 0


@kernel
def check_buyer(state: int, row: int) -> int:
    """Refuse a product that is not there, or somebody who may not buy in it now."""
    command = command_at(state, row)
    code = check_product(state, row)
    if code != 0:
        return code
    if world_at(state, 0)["killed"] != 0:
        return no(state, KILLED, 0, 0, 0)
    merchant = wide(product_at(state, command["order_id"])["merchant"])
    return 0 if merchant != wide(command["account"]) else no(state, BUYBACK_FLAG_REQUIRED, 0, 0, 0)


@kernel
def check_most(state: int, price: int) -> int:
    """Refuse a limit per unit outside R1's range; 0 names none."""
    return 0 if 0 <= price < PRICE_END else no(state, BAD_PRICE, F_PRICE, price, 0 if price < 0 else PRICE_END - 1)


@kernel
def legs_total(state: int, product: int, account: int) -> tuple[int, int]:
    """Give how many units the legs buy, and what they will cost, fees included."""
    units = 0
    cost = 0
    number = wide(product_at(state, product)["first_series"])
    while number != NIL:
        row = series_at(state, number)
        if row["leg_qty"] != 0:
            units += wide(row["leg_qty"])
            leg_draft(state, account, number, BUY, wide(row["leg_qty"]), wide(row["leg_price"]))
            cost += fill_total(state, number, DRAFT, side_of(number, SELL))
        number = wide(row["product_next"])
    return units, cost


# ── a bill, a product (R51, R52) ─────────────────────────────────────────────────────────────────


@kernel
def pay_bill(state: int, row: int) -> int:
    """Buy just enough of the cheapest rights of a product and redeem them towards a bill at once (R51)."""
    command = command_at(state, row)
    account, bill, store, product = wide(command["account"]), command["qty"], wide(command["other_account"]), command["order_id"]
    code = check_most(state, command["price"])
    code = code if code != 0 else check_amount(state, bill)
    code = code if code != 0 else check_buyer(state, row)
    code = code if code != 0 else check_store(state, product, store)
    if code != 0:
        return code
    legs_begin(state, product, store, 0)
    rest = legs_choose(state, product, account, bill, command["price"], 1)
    code = check_legs(state, product, account)
    code = code if code != 0 else check_legs_room(state, product, account)
    if code != 0:
        legs_clear(state, product)
        return code
    # From here the command must succeed.
    units, cost = legs_total(state, product, account)
    event = event_at(state, event_about(state, E_BILL_PAID, 0, account))
    event["order_id"] = product
    event["amount"] = bill
    event["qty"] = units
    event["fee"] = rest
    event["other_fee"] = cost
    event["extra"] = store
    legs_push(state, product, account, store)
    return 0


@kernel
def buy_product(state: int, row: int) -> int:
    """Buy units of a product that last long enough, the best value for the money first (R52)."""
    command = command_at(state, row)
    account, qty, product, until = wide(command["account"]), command["qty"], command["order_id"], command["deadline_ns"]
    tif = wide(command["time_in_force"])
    code = check_qty(state, qty)
    code = code if code != 0 else check_most(state, command["price"])
    if code == 0 and not 0 <= until < TIME_END:
        code = no(state, BAD_TIME, F_DEADLINE_NS, until, 0 if until < 0 else TIME_END - 1)
    if code == 0 and tif != IOC and tif != FOK:
        code = no(state, BAD_TERMS, F_TIME_IN_FORCE, tif, 0)
    code = code if code != 0 else check_buyer(state, row)
    if code != 0:
        return code
    legs_begin(state, product, NO_STORE, until)
    rest = legs_choose(state, product, account, qty, command["price"], 0)
    code = check_legs(state, product, account)
    if code == 0 and tif == FOK and rest != 0:
        code = no(state, FOK_UNFILLABLE, F_QTY, qty, qty - rest)
    code = code if code != 0 else check_legs_room(state, product, account)
    if code != 0:
        legs_clear(state, product)
        return code
    # From here the command must succeed.
    units, cost = legs_total(state, product, account)
    event = event_at(state, event_about(state, E_PRODUCT_BOUGHT, 0, account))
    event["order_id"] = product
    event["qty"] = units
    event["other_fee"] = cost
    legs_push(state, product, account, NO_STORE)
    return 0


@kernel
def legs_push(state: int, product: int, account: int, store: int) -> None:
    """Leave the task that lets the legs in."""
    task_push(state, K_LEGS, account, wide(product_at(state, product)["first_series"]))
    task_at(state, world_at(state, 0)["depth"] - 1)["c"] = store


@kernel
def legs_step(state: int) -> int:
    """Let the next leg in: `a` the account, `b` the series, `c` the store where its units are redeemed, or NO_STORE."""
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    account, series, store = task["a"], task["b"], task["c"]
    if series == NIL:
        task_pop(state)
        return DONE
    row = series_at(state, series)
    task["b"] = wide(row["product_next"])
    qty = wide(row["leg_qty"])
    price = wide(row["leg_price"])
    row["leg_qty"] = 0
    row["leg_price"] = 0
    row["leg_level"] = NIL
    if qty == 0:
        return MORE
    if store != NO_STORE:
        task_push(state, K_LEG_REDEEM, account, series)
        redeeming = task_at(state, world_at(state, 0)["depth"] - 1)
        redeeming["c"] = qty
        redeeming["d"] = store
    leg_draft(state, account, series, BUY, qty, price)
    draft_accept(state, 0, 0)
    return MORE


@kernel
def leg_redeem_step(state: int) -> int:
    """Redeem what a leg has bought: `a` the account, `b` the series, `c` units, `d` the store."""
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    account, series, qty, store = task["a"], task["b"], task["c"], task["d"]
    task_pop(state)
    redeem_units(state, series, account, qty, store)
    return DONE


# ── a roll (R53) ─────────────────────────────────────────────────────────────────────────────────


@kernel
def roll(state: int, row: int) -> int:
    """Sell units of one series and buy as many of another, all or nothing, within a net price (R53)."""
    command = command_at(state, row)
    account, old, new, qty = wide(command["account"]), wide(command["series"]), wide(command["other_account"]), command["qty"]
    code = admit_roll(state, row)
    if code != 0:
        return code
    bid = worst_price(state, old, SELL, account, qty)
    ask = worst_price(state, new, BUY, account, qty)
    code = check_roll_limits(state, row, bid, ask)
    if code == 0 and (bid == 0 or ask == 0):
        code = no(state, FOK_UNFILLABLE, F_QTY, qty, 0)
    if code != 0:
        return code
    leg_draft(state, account, old, SELL, qty, bid)
    proceeds = fill_total(state, old, DRAFT, side_of(old, BUY))
    leg_draft(state, account, new, BUY, qty, ask)
    cost = fill_total(state, new, DRAFT, side_of(new, SELL))
    code = check_roll_price(state, row, ask, proceeds, cost)
    if code != 0:
        return code
    # From here the command must succeed.
    event = event_at(state, event_about(state, E_ROLLED, old, account))
    event["extra"] = new
    event["qty"] = qty
    event["amount"] = proceeds
    event["other_fee"] = cost
    leg_push(state, account, new, BUY, qty, ask)
    leg_push(state, account, old, SELL, qty, bid)
    return 0


@kernel
def leg_push(state: int, account: int, series: int, side: int, qty: int, limit: int) -> None:
    """Leave the task of one leg."""
    task_push(state, K_LEG, account, series)
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    task["c"] = side
    task["d"] = qty
    task["e"] = limit


@kernel
def leg_step(state: int) -> int:
    """Let one leg in: `a` the account, `b` the series, `c` the side, `d` units, `e` the limit."""
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    leg_draft(state, task["a"], task["b"], task["c"], task["d"], task["e"])
    task_pop(state)
    draft_accept(state, 0, 0)
    return DONE


@kernel
def worst_price(state: int, series: int, side: int, account: int, qty: int) -> int:
    """Give the worst price at which so many units are there for a taker; 0 if they are not, or in an auction."""
    if series_at(state, series)["in_auction"] != 0:
        return 0
    rest = qty
    level = wide(side_at(state, side_of(series, BUY if side == SELL else SELL))["best"])
    while level != NIL:
        rest -= others_open(state, level, account)
        if rest <= 0:
            return level_price(state, level)
        level = level_next(state, level)
    return 0


@kernel
def admit_roll(state: int, row: int) -> int:
    """Refuse numbers that no roll may have, and where either series or the account may not trade now."""
    command = command_at(state, row)
    account, old, new, qty, net = (
        wide(command["account"]),
        wide(command["series"]),
        wide(command["other_account"]),
        command["qty"],
        command["price"],
    )
    code = check_sizes(state, old, qty, 0)
    code = code if code != 0 else check_sizes(state, new, qty, 0)
    if code == 0 and not -PRICE_END < net < PRICE_END:
        code = no(state, BAD_PRICE, F_PRICE, net, 1 - PRICE_END if net < 0 else PRICE_END - 1)
    if code == 0 and old == new:
        code = no(state, BAD_TERMS, F_OTHER_ACCOUNT, new, 0)
    code = code if code != 0 else check_reference(state)
    code = code if code != 0 else check_account(state, account, F_ACCOUNT)
    code = code if code != 0 else check_known(state, old, F_SERIES)
    code = code if code != 0 else check_known(state, new, F_OTHER_ACCOUNT)
    if code != 0:
        return code
    if series_at(state, old)["defaulted"] + series_at(state, new)["defaulted"] + account_at(state, account)["defaulted"] != 0:
        return no(state, MERCHANT_DEFAULTED, 0, 0, 0)
    if account_at(state, account)["frozen"] != 0:
        return no(state, ACCOUNT_FROZEN, F_ACCOUNT, account, 0)
    code = check_unexpired(state, old)
    code = code if code != 0 else check_unexpired(state, new)
    code = code if code != 0 else check_not_ended(state, old)
    code = code if code != 0 else check_not_ended(state, new)
    return code if code != 0 else check_pair(state, old, new, account)


@kernel
def check_pair(state: int, old: int, new: int, account: int) -> int:
    """Refuse a roll under the kill switch or a halt, of a merchant, or where nobody may resell (R32, R43, R46)."""
    sold = series_at(state, old)
    bought = series_at(state, new)
    if world_at(state, 0)["killed"] != 0:
        return no(state, KILLED, 0, 0, 0)
    if sold["halted"] != 0:
        return no(state, SERIES_HALTED, F_SERIES, old, 0)
    if bought["halted"] != 0:
        return no(state, SERIES_HALTED, F_OTHER_ACCOUNT, new, 0)
    if sold["merchant"] == account:
        return no(state, MERCHANT_CANNOT_RESELL, F_SERIES, old, 0)
    if bought["merchant"] == account:
        return no(state, BUYBACK_FLAG_REQUIRED, F_OTHER_ACCOUNT, new, 0)
    if sold["resale"] == 0:
        return no(state, RESALE_FORBIDDEN, F_SERIES, old, 0)
    return 0 if bought["resale"] != 0 else no(state, RESALE_FORBIDDEN, F_OTHER_ACCOUNT, new, 0)


@kernel
def check_roll_limits(state: int, row: int, bid: int, ask: int) -> int:
    """Refuse a roll over a limit of its account, or without its units; worst prices of 0 are of books that do not give it."""
    command = command_at(state, row)
    account, old, new, qty = wide(command["account"]), wide(command["series"]), wide(command["other_account"]), command["qty"]
    sold = series_at(state, old)
    bought = series_at(state, new)
    back = qty * sold["par"] if sold["product"] == bought["product"] else 0
    code = check_face(state, wide(bought["product"]), account, qty * bought["par"] - back)
    if code == 0 and bid != 0 and ask != 0:
        leg_draft(state, account, old, SELL, qty, bid)
        code = check_order_limits(state, account, DRAFT, NIL)
        if code == 0:
            leg_draft(state, account, new, BUY, qty, ask)
            code = check_order_limits(state, account, DRAFT, NIL)
    leg_draft(state, account, old, SELL, qty, bid)
    return code if code != 0 else check_units(state, old, DRAFT, NIL)


@kernel
def check_roll_price(state: int, row: int, ask: int, proceeds: int, cost: int) -> int:
    """Refuse a roll that its account cannot pay or does not want at this price, or that the venue has no room for."""
    command = command_at(state, row)
    account, new, qty = wide(command["account"]), wide(command["other_account"]), command["qty"]
    due = leg_lock(state, new, qty, ask)
    cash = account_at(state, account)["cash_free"] + proceeds
    if due > cash:
        return no(state, INSUFFICIENT_CASH, F_QTY, due, cash)
    net = command["price"] * qty
    if cost - proceeds > net:
        return no(state, FOK_UNFILLABLE, F_PRICE, cost - proceeds, net)
    head = head_at(state, 0)
    if head["live"] >= head["live_limit"] or not room_for_holding(state, account, new):
        return no(state, CAPACITY_EXCEEDED, 0, 0, 0)
    return 0
