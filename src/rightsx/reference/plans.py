"""Use it or sell it: plans that sell what is still unused, at a falling price, and give back what is used after all (R55).

    start ───────┬───────────┬───────────┬───────► last trade
    price        │ falls     │ falls     │ last_price
    one order: all that is free and not to be kept ┄┄ redeemed? taken back ┄┄► AMENDED, REDEEMED

A plan is no type of order, because what nobody sells yet stays free to be used, given away or sold otherwise: its order is
there only from `start` on, and is placed, amended or cancelled whenever the plan is due.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rightsx.protocol import MAX_FALLS, QTY_END, TIME_END, CancelReason, EventKind, Refusal, Side, TimeInForce
from rightsx.reference.book import Order
from rightsx.reference.lots import lots_eligible
from rightsx.reference.orders import (
    amend_lower,
    check_funds,
    check_limit_price,
    check_price,
    check_trading,
    emit_order,
    old_enough,
    order_accept,
    order_cancel,
    order_change,
    plan_limit,
)
from rightsx.reference.state import Market, Plan, RefusedError, Series, TimerKind, timer

if TYPE_CHECKING:
    from rightsx.protocol import Command


# ── planning ─────────────────────────────────────────────────────────────────────────────────────


def plan_sale(market: Market, command: Command) -> None:
    """Make, replace or end an account's plan in a series."""
    series = admit_plan(market, command)
    account, start_ns = command.account, command.deadline_ns
    # From here the command must succeed.
    before = series.plans.get(account)
    market.emit(
        EventKind.SALE_PLANNED,
        series=series.id,
        account=account,
        price=command.price,
        fee=command.stop_price,
        qty=command.qty,
        amount=start_ns,
        extra=command.display,
    )
    if before is not None:
        plan_end(market, series, before)
        if before.order_id in market.orders:
            order_cancel(market, series, market.orders[before.order_id], CancelReason.USER)
    if start_ns:
        plan = Plan(account, start_ns, command.price, command.stop_price, command.display, command.qty)
        series.plans[account] = plan
        market.plan_count += 1
        plan_arm(market, series, plan)


def admit_plan(market: Market, command: Command) -> Series:
    """Make every check of a plan; one that is only ended names nothing but the series."""
    known = market.find_series(command.series)
    price, last, falls, keep = command.price, command.stop_price, command.display, command.qty
    begins = command.deadline_ns != 0
    wrong = not 0 <= keep < QTY_END
    market.refuse_if(wrong, Refusal.BadQuantity, "qty", keep, 0 if keep < 0 else QTY_END - 1)
    if begins:
        check_price(market, known, price)
        check_price(market, known, last, "stop_price")
        first, start_ns = market.clock_ns + 1, command.deadline_ns
        # Past last trade no start is good any more; that is said further on.
        end = known.terms.last_trade_ns if known and known.terms.last_trade_ns >= first else TIME_END
        late = not first <= start_ns < end
        market.refuse_if(late, Refusal.BadTime, "deadline_ns", start_ns, first if start_ns < first else end - 1)
        market.refuse_if(last > price, Refusal.BadTerms, "stop_price", last, price)
        least = 0 if last == price else 1
        allowed = least if falls < least else MAX_FALLS
        market.refuse_if(not least <= falls <= MAX_FALLS, Refusal.BadTerms, "display", falls, allowed)
    for field, found in (("qty", keep), ("price", price), ("stop_price", last), ("display", falls)):
        market.refuse_if(not begins and found != 0, Refusal.BadTerms, field, found)
    market.check_reference(command)
    account = market.known_account(command.account)
    series = market.known_series(command.series)
    market.check_living(series, account)
    end = series.terms.last_trade_ns
    market.refuse_if(market.clock_ns >= end, Refusal.TradingClosed, "time_ns", market.clock_ns, end - 1)
    own = account.id == series.merchant
    market.refuse_if(own, Refusal.MerchantCannotResell, "account", account.id)
    market.refuse_if(not series.terms.resale, Refusal.ResaleForbidden, "series", series.id)
    full = begins and account.id not in series.plans and market.plan_count >= market.venue.limits.orders
    market.refuse_if(full, Refusal.CapacityExceeded)
    return series


def plan_arm(market: Market, series: Series, plan: Plan) -> None:
    """Arm the next time at which a plan is due, if there is one."""
    plan.timer_seq = 0
    if plan.step <= plan.falls:
        plan.timer_seq = market.arm(plan_due_ns(series, plan), TimerKind.PLAN_DUE, plan.account, series.id).seq


def plan_due_ns(series: Series, plan: Plan) -> int:
    """Say when a plan is due next."""
    return plan.start_ns + (series.terms.last_trade_ns - plan.start_ns) * plan.step // (plan.falls + 1)


def plan_end(market: Market, series: Series, plan: Plan) -> None:
    """Forget a plan; what becomes of its order is the caller's."""
    if plan.timer_seq:
        market.disarm(timer(plan_due_ns(series, plan), TimerKind.PLAN_DUE, plan.timer_seq, plan.account, series.id))
    del series.plans[plan.account]
    market.plan_count -= 1


def plans_end(market: Market, series: Series) -> None:
    """Forget all plans of a series in which nobody will trade any more."""
    for plan in list(series.plans.values()):
        plan_end(market, series, plan)


# ── selling ──────────────────────────────────────────────────────────────────────────────────────


def plan_due(market: Market, account: int, series: Series) -> None:
    """Bring a plan's order to the price and the quantity of now; what refuses it lets this time pass."""
    plan = series.plans[account]
    plan.step += 1
    order = market.orders.get(plan.order_id)
    wanted = plan_wanted(market, series, plan, order)
    market.checked = 0  # what refuses it is checked in an order of its own
    code = 0
    try:
        check_wanted(market, series, wanted, order)
    except RefusedError as refusal:
        code = refusal.code
    if not code and wanted.open_qty and order is None:
        plan.order_id = wanted.id = market.take_order_id(0)
    market.emit(
        EventKind.PLAN_STEPPED,
        series=series.id,
        account=account,
        order_id=order.id if order else wanted.id,
        price=wanted.limit,
        qty=wanted.open_qty,
        extra=plan.step - 1,
        code=code,
    )
    plan_arm(market, series, plan)
    if code:
        return
    if order is None:
        if wanted.open_qty:
            order_accept(market, series, wanted)
    elif not wanted.open_qty:
        order_cancel(market, series, order, CancelReason.USER)
    else:
        order_change(market, series, order, wanted.limit, wanted.open_qty)


def plan_wanted(market: Market, series: Series, plan: Plan, order: Order | None) -> Order:
    """Give the order that a plan wants now; its quantity is 0 where there is nothing to sell."""
    limit = plan_limit(series, plan)
    qty = plan_qty(market, series, plan, order.open_qty if order else 0)
    if order is not None:
        return replace(order, limit=limit, open_qty=qty, lots=[])
    return Order(0, plan.account, series.id, Side.SELL, limit, qty, time_in_force=TimeInForce.GTC, planned=True)


def plan_qty(market: Market, series: Series, plan: Plan, open_qty: int) -> int:
    """Give how many units a plan has on offer from now on: a size that R49 allows, or what stands there already."""
    holding, terms = market.holding(plan.account, series), series.terms
    old = lots_eligible(holding, old_enough(market, series)) if terms.hold_ns else holding.free_qty
    most = max(0, open_qty + min(holding.free_qty - plan.keep, old))
    size = min(most, terms.max_qty or most)
    size -= size % terms.lot
    size = size if size >= terms.min_qty else 0
    return open_qty if size <= open_qty <= most else size


def check_wanted(market: Market, series: Series, wanted: Order, order: Order | None) -> None:
    """Refuse what a plan wants where an order, or an amend of the one that it has, would be refused."""
    if not wanted.open_qty:
        return  # Cancelling is always allowed.
    check_trading(market, series, market.accounts[wanted.account])
    if order is None or wanted.limit != order.limit or wanted.open_qty > order.open_qty:
        check_limit_price(market, series, wanted)
        check_funds(market, series, wanted, order)
    full = order is None and len(market.orders) >= market.venue.limits.orders
    market.refuse_if(full, Refusal.CapacityExceeded)


# ── using ────────────────────────────────────────────────────────────────────────────────────────


def usable_qty(market: Market, series: Series, account: int) -> int:
    """Give the units that an account may use: what is free, and what its plan has on offer."""
    return market.holding(account, series).free_qty + plan_offered(market, series, account)


def plan_offered(market: Market, series: Series, account: int) -> int:
    """Give how many units an account's plan has on offer."""
    plan = series.plans.get(account)
    order = market.orders.get(plan.order_id) if plan else None
    return order.open_qty if order else 0


def units_recall(market: Market, series: Series, account: int, qty: int) -> None:
    """Take back from a plan's order what `qty` free units are short of."""
    short = qty - market.holding(account, series).free_qty
    if short <= 0:
        return
    order = market.orders[series.plans[account].order_id]
    if short == order.open_qty:
        order_cancel(market, series, order, CancelReason.USER)
    else:
        amend_lower(market, series, order, order.open_qty - short)
        emit_order(market, EventKind.AMENDED, order)
