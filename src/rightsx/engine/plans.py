"""Use it or sell it: plans that sell what is still unused, at a falling price, and give back what is used after all (R55).

    PLAN ── by (account, series) in INDEX, in a list of its series ── TIMER: when it is due next
      └ order_id ─► its order, as long as that id is live; ids of the engine's are never given twice

There is one row for an account and a series. An order that is `planned` (TICKET) has a plan: who replaces or ends a plan cancels
its order with it, last trade and default end both before anything else can happen. Planning and ending cost O(1), each
time a plan is due as much as an order or an amend, and O(lots) where there is a holding period.
"""

from __future__ import annotations

from rightsx._jit import kernel, mul_div, narrow, wide
from rightsx.accounts import OLD_ENOUGH, holding_at, holding_find, holding_free_qty, lots_eligible
from rightsx.book import FLAG_BITS, head_at, id_find, open_qty, order_at
from rightsx.engine.entry import (
    DRAFT,
    check_funds,
    check_limit_price,
    check_not_ended,
    check_price,
    check_trading,
    plan_limit,
)
from rightsx.engine.holders import check_account
from rightsx.engine.numbers import (
    BAD_QUANTITY,
    BAD_TERMS,
    BAD_TIME,
    BY_USER,
    CAPACITY_EXCEEDED,
    E_AMENDED,
    E_PLAN_STEPPED,
    E_SALE_PLANNED,
    F_ACCOUNT,
    F_DEADLINE_NS,
    F_DISPLAY,
    F_PRICE,
    F_QTY,
    F_SERIES,
    F_STOP_PRICE,
    MERCHANT_CANNOT_RESELL,
    RANK_ORDER,
    RESALE_FORBIDDEN,
    SELL,
    T_PLAN_DUE,
)
from rightsx.engine.orders import (
    amend_lower,
    check_series,
    draft_accept,
    order_cancel,
    order_change,
    order_event,
    ticket_begin,
)
from rightsx.engine.references import check_reference
from rightsx.engine.state import (
    NIL,
    check_living,
    command_at,
    event_about,
    event_at,
    index_put,
    index_remove,
    no,
    plan_at,
    plan_find,
    plan_key,
    series_at,
    series_known,
    ticket_at,
    timer_arm,
    timer_disarm,
    timer_seq,
    world_at,
)
from rightsx.protocol import MAX_FALLS, QTY_END, TIME_END

# ── planning ─────────────────────────────────────────────────────────────────────────────────────


@kernel
def plan_sale(state: int, row: int) -> int:
    """Make, replace or end an account's plan in a series."""
    code = admit_plan(state, row)
    if code != 0:
        return code
    # From here the command must succeed.
    command = command_at(state, row)
    account, series = wide(command["account"]), wide(command["series"])
    event = event_at(state, event_about(state, E_SALE_PLANNED, series, account))
    event["price"] = command["price"]
    event["fee"] = command["stop_price"]
    event["qty"] = command["qty"]
    event["amount"] = command["deadline_ns"]
    event["extra"] = command["display"]
    before = plan_find(state, account, series)
    if before != NIL:
        slot = id_find(state, plan_at(state, before)["order_id"])
        plan_end(state, before)
        if slot != NIL:
            order_cancel(state, slot, BY_USER)
    if command["deadline_ns"] != 0:
        at = plan_begin(state, account, series)
        plan = plan_at(state, at)
        plan["start_ns"] = command["deadline_ns"]
        plan["price"] = command["price"]
        plan["last_price"] = command["stop_price"]
        plan["falls"] = command["display"]
        plan["keep"] = command["qty"]
        plan_arm(state, at)
    return 0


@kernel
def admit_plan(state: int, row: int) -> int:
    """Make every check of a plan; one that is only ended names nothing but the series."""
    command = command_at(state, row)
    account, series = wide(command["account"]), wide(command["series"])
    code = check_plan_numbers(state, row)
    code = code if code != 0 else check_reference(state)
    code = code if code != 0 else check_account(state, account, F_ACCOUNT)
    code = code if code != 0 else check_series(state, series)
    code = code if code != 0 else check_living(state, series, account, account)
    code = code if code != 0 else check_not_ended(state, series)
    if code != 0:
        return code
    terms = series_at(state, series)
    if terms["merchant"] == account:
        return no(state, MERCHANT_CANNOT_RESELL, F_ACCOUNT, account, 0)
    if terms["resale"] == 0:
        return no(state, RESALE_FORBIDDEN, F_SERIES, series, 0)
    full = world_at(state, 0)["plan_count"] >= head_at(state, 0)["live_limit"]
    if command["deadline_ns"] != 0 and full and plan_find(state, account, series) == NIL:
        return no(state, CAPACITY_EXCEEDED, 0, 0, 0)
    return 0


@kernel
def check_plan_numbers(state: int, row: int) -> int:
    """Refuse numbers that no plan, or none in this series, may have; the series may be one that is not there."""
    command = command_at(state, row)
    series, start_ns = wide(command["series"]), command["deadline_ns"]
    price, last, falls, keep = command["price"], command["stop_price"], command["display"], command["qty"]
    if not 0 <= keep < QTY_END:
        return no(state, BAD_QUANTITY, F_QTY, keep, 0 if keep < 0 else QTY_END - 1)
    if start_ns == 0:
        return check_plan_ends(state, row)
    code = check_price(state, series, price, F_PRICE)
    code = code if code != 0 else check_price(state, series, last, F_STOP_PRICE)
    if code != 0:
        return code
    first = world_at(state, 0)["clock_ns"] + 1
    end = series_at(state, series)["last_trade_ns"] if series_known(state, series) else TIME_END
    if end < first:
        end = TIME_END  # Past last trade no start is good any more; that is said further on.
    if not first <= start_ns < end:
        return no(state, BAD_TIME, F_DEADLINE_NS, start_ns, first if start_ns < first else end - 1)
    if last > price:
        return no(state, BAD_TERMS, F_STOP_PRICE, last, price)
    least = 0 if last == price else 1
    if not least <= falls <= MAX_FALLS:
        return no(state, BAD_TERMS, F_DISPLAY, falls, least if falls < least else MAX_FALLS)
    return 0


@kernel
def check_plan_ends(state: int, row: int) -> int:
    """Refuse anything but zeros from one who ends a plan."""
    command = command_at(state, row)
    if command["qty"] != 0:
        return no(state, BAD_TERMS, F_QTY, command["qty"], 0)
    if command["price"] != 0:
        return no(state, BAD_TERMS, F_PRICE, command["price"], 0)
    if command["stop_price"] != 0:
        return no(state, BAD_TERMS, F_STOP_PRICE, command["stop_price"], 0)
    return 0 if command["display"] == 0 else no(state, BAD_TERMS, F_DISPLAY, command["display"], 0)


@kernel
def plan_begin(state: int, account: int, series: int) -> int:
    """Make the row of a plan, enter it under its key and into the list of its series."""
    world = world_at(state, 0)
    at = world["plan_free"]
    if at != NIL:
        world["plan_free"] = wide(plan_at(state, at)["next"])
    else:
        at = world["plan_used"]
        world["plan_used"] = at + 1
    world["plan_count"] = world["plan_count"] + 1
    terms = series_at(state, series)
    first = wide(terms["first_plan"])
    plan = plan_at(state, at)
    plan["account"] = account
    plan["series"] = series
    plan["step"] = 0
    plan["order_id"] = 0
    plan["next"] = first
    plan["prev"] = NIL
    plan_at(state, first)["prev"] = at
    terms["first_plan"] = at
    index_put(state, plan_key(account), series, at)
    return at


@kernel
def plan_arm(state: int, at: int) -> None:
    """Arm the next time at which a plan is due, if there is one."""
    plan = plan_at(state, at)
    plan["timer"] = NIL
    plan["timer_seq"] = 0
    if plan["step"] <= plan["falls"]:
        series = wide(plan["series"])
        span = series_at(state, series)["last_trade_ns"] - plan["start_ns"]
        due_ns = plan["start_ns"] + mul_div(span, plan["step"], plan["falls"] + 1)
        timer = timer_arm(state, due_ns, RANK_ORDER, T_PLAN_DUE, wide(plan["account"]), series)
        plan["timer"] = timer
        plan["timer_seq"] = timer_seq(state, timer)


@kernel
def plan_end(state: int, at: int) -> None:
    """Forget a plan; what becomes of its order is the caller's."""
    plan = plan_at(state, at)
    series = wide(plan["series"])
    timer_disarm(state, wide(plan["timer"]))
    index_remove(state, plan_key(wide(plan["account"])), series)
    before = wide(plan["prev"])
    after = wide(plan["next"])
    if before == NIL:
        series_at(state, series)["first_plan"] = after
    else:
        plan_at(state, before)["next"] = after
    plan_at(state, after)["prev"] = before
    world = world_at(state, 0)
    plan["next"] = world["plan_free"]
    world["plan_free"] = at
    world["plan_count"] = world["plan_count"] - 1


@kernel
def plans_end(state: int, series: int) -> None:
    """Forget all plans of a series in which nobody will trade any more. O(plans of the series)."""
    at = wide(series_at(state, series)["first_plan"])
    while at != NIL:
        plan_end(state, at)
        at = wide(series_at(state, series)["first_plan"])


# ── selling ──────────────────────────────────────────────────────────────────────────────────────


@kernel
def plan_due(state: int, account: int, series: int) -> None:
    """Bring a plan's order to the price and the quantity of now; what refuses it lets this time pass."""
    at = plan_find(state, account, series)
    plan = plan_at(state, at)
    plan["step"] = plan["step"] + 1
    slot = id_find(state, plan["order_id"])
    qty = plan_qty(state, at, slot)
    limit = plan_limit(state, at)
    ticket_begin(state, DRAFT, series, SELL, limit)
    ticket_at(state, DRAFT)["planned"] = 1
    order_at(state, DRAFT)["account"] = narrow(account)
    order_at(state, DRAFT)["word"] = qty << FLAG_BITS
    code = check_wanted(state, slot)
    enters = slot == NIL and code == 0 and qty != 0
    if enters:
        plan["order_id"] = world_at(state, 0)["next_order_id"]
    event = event_at(state, event_about(state, E_PLAN_STEPPED, series, account))
    if enters or slot != NIL:
        event["order_id"] = plan["order_id"]
    event["price"] = limit
    event["qty"] = qty
    event["extra"] = plan["step"] - 1
    event["code"] = code
    plan_arm(state, at)
    if enters:
        draft_accept(state, 0, 0)
    elif slot != NIL and code == 0:
        if qty == 0:
            order_cancel(state, slot, BY_USER)
        else:
            order_change(state, slot, limit, qty)


@kernel
def plan_qty(state: int, at: int, slot: int) -> int:
    """Give how many units a plan has on offer from now on: a size that R49 allows, or what stands there already."""
    plan = plan_at(state, at)
    terms = series_at(state, wide(plan["series"]))
    offered = open_qty(state, slot) if slot != NIL else 0
    holding = holding_find(state, wide(plan["account"]), wide(plan["series"]))
    free = wide(holding_at(state, holding)["free_qty"]) if holding != NIL else 0
    old = free
    if terms["hold_ns"] != 0:
        old = lots_eligible(state, holding, OLD_ENOUGH, world_at(state, 0)["clock_ns"] - terms["hold_ns"])
    most = max(0, offered + min(free - plan["keep"], old))
    size = min(most, terms["max_qty"]) if terms["max_qty"] != 0 else most
    size -= size % terms["lot"]
    if size < terms["min_qty"]:
        size = 0
    return offered if size <= offered and offered <= most else size


@kernel
def check_wanted(state: int, slot: int) -> int:
    """Refuse the draft of a plan where an order, or an amend of the one that it has, would be refused."""
    ticket = ticket_at(state, DRAFT)
    order = order_at(state, DRAFT)
    series, account, qty = wide(ticket["series"]), wide(order["account"]), order["word"] >> FLAG_BITS
    if qty == 0:
        return 0  # Cancelling is always allowed.
    code = check_trading(state, series, account, account)
    if code != 0:
        return code
    if slot == NIL or ticket["limit"] != ticket_at(state, slot)["limit"] or qty > open_qty(state, slot):
        code = check_limit_price(state, series, DRAFT)
        code = code if code != 0 else check_funds(state, series, DRAFT, slot)
    head = head_at(state, 0)
    if code == 0 and slot == NIL and head["live"] >= head["live_limit"]:
        return CAPACITY_EXCEEDED
    return code


# ── using ────────────────────────────────────────────────────────────────────────────────────────


@kernel
def usable_qty(state: int, account: int, series: int) -> int:
    """Give the units that an account may use: what is free, and what its plan has on offer."""
    slot = planned_order(state, account, series)
    return holding_free_qty(state, account, series) + (open_qty(state, slot) if slot != NIL else 0)


@kernel
def planned_order(state: int, account: int, series: int) -> int:
    """Give the slot of the order of an account's plan, or NIL."""
    if series_at(state, series)["first_plan"] == NIL:
        return NIL
    at = plan_find(state, account, series)
    return id_find(state, plan_at(state, at)["order_id"]) if at != NIL else NIL


@kernel
def units_recall(state: int, account: int, series: int, qty: int) -> None:
    """Take back from a plan's order what `qty` free units are short of."""
    short = qty - holding_free_qty(state, account, series)
    if short <= 0:
        return
    slot = planned_order(state, account, series)
    offered = open_qty(state, slot)
    if short == offered:
        order_cancel(state, slot, BY_USER)
    else:
        amend_lower(state, slot, offered - short)
        # Not amended_event: what a plan gives back is no answer to the command, so that no `ref` remembers it.
        order_event(state, E_AMENDED, slot)
