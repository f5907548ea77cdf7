"""Orders: entering, locking, matching, settling, amending, cancelling (R16 … R19, R38 … R42).

    place ─ check ─► ACCEPTED ─┬─► stop list ┄┄ a trade reaches its price ┄┄► TRIGGERED ─┐
                               └─────────────────────────────────────────────────────────┴─► enter
    enter ─ match ─► FILL* ─► what is left rests, or is cancelled with its reason

A command's way: `place` or `amend` checks everything, numbers the acceptance and locks; `order_enter`
lets the book match and `settle` move cash and units; `stops_wake` enters what the trades have reached.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rightsx.protocol import (
    BPS,
    CALLER_ID_FIRST,
    ICEBERG_PARTS_MAX,
    PRICE_END,
    QTY_END,
    TIME_END,
    AmendFlag,
    CancelReason,
    EventKind,
    OrderFlag,
    Refusal,
    Side,
    TimeInForce,
)
from rightsx.reference.book import OWN_ORDER_MODES, Order
from rightsx.reference.holders import check_holder_limit
from rightsx.reference.lots import lots_eligible, lots_return, lots_split, lots_take
from rightsx.reference.settle import Trade, charge_fee, charge_royalty, lock_due, relock, settle_fill
from rightsx.reference.state import Account, Market, Plan, Series, TimerKind, timer

if TYPE_CHECKING:
    from collections.abc import Callable

    from rightsx.protocol import Command
    from rightsx.reference.book import Match
    from rightsx.reference.lots import Lot

# ── the price of an order without one ──────────────────────────────────────────────────────────


def plain_limit(series: Series, side: Side) -> tuple[int, Refusal | None]:
    """Give the best price that the rules allow a market order, or why there is none (R39)."""
    tick = series.terms.tick
    low, high = series.band()
    ceiling = series.cap // tick * tick
    price = min(ceiling, high) if side == Side.BUY else max(tick, low)
    if ceiling < 1:
        return price, Refusal.PriceAboveCap
    if ceiling < low or not max(1, low) <= price <= high:
        return price, Refusal.OutsidePriceBand
    return price, None


def peg_limit(series: Series, side: Side, peg: int) -> int:
    """Give the limit of a peg at the value of now: to the tick, down for a buy, up for a sell; it may be none, below 1 (R54)."""
    limit = series.value * peg if peg > 0 else (series.value + peg) * BPS
    tick = series.terms.tick
    return limit // (BPS * tick) * tick if side == Side.BUY else -(-limit // (BPS * tick)) * tick


def plan_limit(series: Series, plan: Plan) -> int:
    """Give the limit of a plan's order: its price of now, or what cap and band allow, but at least its last one (R55)."""
    fallen = (plan.price - plan.last_price) * (plan.step - 1) // plan.falls if plan.falls else 0
    tick = series.terms.tick
    asked = -(-(plan.price - fallen) // tick) * tick
    return max(plan.last_price, min(asked, series.cap // tick * tick, series.band()[1]))


# ── checks ───────────────────────────────────────────────────────────────────────────────────────


def check_sizes(market: Market, series: Series | None, qty: int, display: int = 0) -> None:
    """Refuse a quantity that R1, R40 or R49 does not allow."""
    market.check_qty(qty)
    if display:
        shown = 0 < display < qty <= ICEBERG_PARTS_MAX * display
        market.refuse_if(not shown, Refusal.BadQuantity, "display", display, qty - 1)
    if series is not None:
        terms = series.terms
        market.refuse_if(qty % terms.lot, Refusal.BadQuantity, "qty", qty, max(terms.lot, qty - qty % terms.lot))
        market.refuse_if(qty < terms.min_qty, Refusal.BadQuantity, "qty", qty, terms.min_qty)
        market.refuse_if(terms.max_qty and qty > terms.max_qty, Refusal.BadQuantity, "qty", qty, terms.max_qty)


def check_price(market: Market, series: Series | None, price: int, field: str = "price") -> None:
    """Refuse a price that R1 or the tick (R49) does not allow."""
    market.refuse_if(not 0 < price < PRICE_END, Refusal.BadPrice, field, price, 1 if price <= 0 else PRICE_END - 1)
    tick = series.terms.tick if series is not None else 1
    market.refuse_if(price % tick, Refusal.BadPrice, field, price, max(tick, price - price % tick))


def check_peg(market: Market, peg: int) -> None:
    """Refuse a peg of nothing, above the value, or beyond R1's range (R54)."""
    allowed = BPS if peg > BPS else 1 if peg == 0 else 1 - PRICE_END
    market.refuse_if(peg == 0 or not -PRICE_END < peg <= BPS, Refusal.BadPrice, "price", peg, allowed)


def check_trading(market: Market, series: Series, account: Account, receiver: Account | None = None) -> None:
    """Refuse where nobody, or not these accounts, may trade now (R22, R29, R32, R43)."""
    now = market.clock_ns
    market.check_living(series, account, receiver)
    market.refuse_if(now >= series.terms.last_trade_ns, Refusal.TradingClosed, "time_ns", now, series.terms.last_trade_ns - 1)
    market.refuse_if(market.killed, Refusal.Killed)
    market.refuse_if(series.halted, Refusal.SeriesHalted, "series", series.id)


def check_limit_price(market: Market, series: Series, order: Order) -> None:
    """Refuse a limit above the cap or outside the band (R10, R21, R39, R41)."""
    if order.is_plain and not order.stop_price:
        _, wrong = plain_limit(series, order.side)
        market.refuse_if(wrong == Refusal.PriceAboveCap, Refusal.PriceAboveCap, "price", order.limit, series.cap)
        market.refuse_if(wrong, Refusal.OutsidePriceBand, "price", order.limit, series.band()[0])
    elif order.is_plain:
        market.refuse_if(order.stop_price > series.cap, Refusal.PriceAboveCap, "stop_price", order.stop_price, series.cap)
    else:
        low, high = series.band()
        low = max(1, low)
        market.refuse_if(order.limit > series.cap, Refusal.PriceAboveCap, "price", order.limit, series.cap)
        market.refuse_if(order.limit < low, Refusal.OutsidePriceBand, "price", order.limit, low)
        market.refuse_if(order.limit > high, Refusal.OutsidePriceBand, "price", order.limit, high)


def check_funds(market: Market, series: Series, order: Order, replaced: Order | None) -> None:
    """Refuse an order over a limit or without the units or the cash for it (R17, R26, R31, R49).

    What the order that it replaces holds counts as returned (R38).
    """
    account = market.accounts[order.account]
    if order.side == Side.BUY:
        check_holder_limit(market, series, account, order.open_qty, replaced)
    check_order_limits(market, order, replaced)
    if order.side == Side.SELL:
        check_units(market, series, account, order.open_qty, replaced.open_qty if replaced else 0)
    else:
        cash = account.cash_free + (replaced.cash_locked if replaced else 0)
        due = lock_due(series, order)
        market.refuse_if(due > cash, Refusal.InsufficientCash, "qty", due, cash)


def check_order_limits(market: Market, order: Order, replaced: Order | None) -> None:
    """Refuse an order beyond the limits of its account (R49)."""
    account = market.accounts[order.account]
    if account.max_open:
        count = len(account.orders) + (replaced is None)
        market.refuse_if(count > account.max_open, Refusal.OrderLimitExceeded, "account", count, account.max_open)
    if account.max_notional:
        others = (one for one in account.orders.values() if one is not replaced)
        notional = order.limit * order.open_qty + sum(one.limit * one.open_qty for one in others)
        market.refuse_if(notional > account.max_notional, Refusal.OrderLimitExceeded, "price", notional, account.max_notional)


def check_units(market: Market, series: Series, account: Account, qty: int, back: int = 0) -> None:
    """Refuse to sell more units than are free, or old enough; `back` more count as both (R26)."""
    holding = market.holding(account.id, series)
    free = holding.free_qty + back
    market.refuse_if(qty > free, Refusal.InsufficientUnits, "qty", qty, free)
    if series.terms.hold_ns:
        old = lots_eligible(holding, old_enough(market, series)) + back
        market.refuse_if(qty > old, Refusal.HoldingPeriod, "qty", qty, old)


def check_entry(market: Market, series: Series, order: Order) -> None:
    """Refuse a post-only order that would cross and an FOK that would not fill (R19)."""
    if order.stop_price:
        return  # It waits; what is wrong when it wakes cancels it then (R41).
    wrong = entry_refusal(series, order)
    market.refuse_if(wrong == Refusal.PostOnlyWouldCross, Refusal.PostOnlyWouldCross, "price", order.limit)
    market.refuse_if(wrong == Refusal.FOKUnfillable, Refusal.FOKUnfillable, "qty", order.open_qty)


def entry_refusal(series: Series, order: Order) -> Refusal | None:
    """Say why an order cannot enter the book now, or None."""
    if order.flags & OrderFlag.POST_ONLY and not series.in_auction and series.book.crosses(order.side, order.limit):
        return Refusal.PostOnlyWouldCross
    if order.time_in_force == TimeInForce.FOK and (series.in_auction or not fills_whole(series, order)):
        return Refusal.FOKUnfillable
    return None


def fills_whole(series: Series, order: Order) -> bool:
    """Say whether an FOK would fill, and within its budget where it has one (R19)."""
    matches = series.book.plan(order)
    if sum(match.qty for match in matches) < order.open_qty:
        return False
    if not order.budget:
        return True
    total = fill_total(series, order, matches)
    return total <= order.budget if order.side == Side.BUY else total >= order.budget


def fill_total(series: Series, order: Order, matches: list[Match]) -> int:
    """Work out what a taker's fills cost with fee, or bring after fee and royalty, fill by fill."""
    trial = Order(order.id, order.account, order.series, order.side, order.limit, order.open_qty)
    total = 0
    for maker, qty in matches:
        notional = maker.limit * qty
        fee = charge_fee(trial, notional, series.terms.taker_bps)
        if order.side == Side.BUY:
            total += notional + fee
        else:
            total += notional - fee - charge_royalty(series, trial, maker.account, notional, fee)
    return total


def old_enough(market: Market, series: Series) -> Callable[[Lot], bool]:
    """Give the test for lots that may be offered for sale (R26)."""
    return lambda lot: market.clock_ns >= lot.acquired_ns + series.terms.hold_ns


# ── placing ──────────────────────────────────────────────────────────────────────────────────────


def place(market: Market, command: Command) -> None:
    """Accept an order, and match it or keep it waiting (R19, R39 … R41)."""
    series, order = admit_place(market, command)
    # From here the command must succeed.
    order.id = market.take_order_id(order.id)
    if order.time_in_force == TimeInForce.GTD:
        order.timer_seq = market.arm(order.deadline_ns, TimerKind.ORDER_DUE, order.id).seq
    order_accept(market, series, order)


def order_accept(market: Market, series: Series, order: Order) -> None:
    """Register an order that has its id, lock what it needs, say so, and send it on its way."""
    market.accounts[order.account].orders[order.id] = market.orders[order.id] = order
    order_lock(market, series, order)
    market.emit(
        EventKind.ACCEPTED,
        series=series.id,
        order_id=order.id,
        other_order_id=order.peg,
        account=order.account,
        price=order.limit,
        qty=order.open_qty,
        amount=order.display,
        fee=order.stop_price,
        other_fee=order.deadline_ns or order.budget,
        extra=order.time_in_force,
        side=order.side,
        flags=order.flags,
    )
    order_admitted(market, series, order)


def admit_place(market: Market, command: Command) -> tuple[Series, Order]:
    """Make every check of a new order, in RULES.md's order, and give the order."""
    series = market.find_series(command.series)
    is_fok = command.time_in_force == TimeInForce.FOK
    is_market = bool(command.flags & OrderFlag.MARKET)
    check_sizes(market, series, command.qty, command.display)
    if command.flags & OrderFlag.PEG and not is_market:
        check_peg(market, command.price)
    elif not is_market:
        check_price(market, series, command.price)
    stop_wrong = not 0 <= command.stop_price < PRICE_END
    market.refuse_if(
        stop_wrong, Refusal.BadPrice, "stop_price", command.stop_price, 1 if command.stop_price < 0 else PRICE_END - 1
    )
    market.refuse_if(is_fok and command.deadline_ns < 0, Refusal.BadAmount, "deadline_ns", command.deadline_ns, 1)
    if command.time_in_force == TimeInForce.GTD:
        late = not market.clock_ns < command.deadline_ns < TIME_END
        market.refuse_if(late, Refusal.BadTime, "deadline_ns", command.deadline_ns, market.clock_ns + 1)
    check_place_terms(market, command, series)
    market.check_reference(command)
    account = market.known_account(command.account)
    series = market.known_series(command.series)
    market.refuse_if(command.order_id in market.orders, Refusal.DuplicateId, "order_id", command.order_id)
    check_trading(market, series, account)
    own = account.id == series.merchant
    selling = command.side == Side.SELL
    market.refuse_if(own and selling, Refusal.MerchantCannotResell, "side", command.side, Side.BUY)
    market.refuse_if(own and not command.flags & OrderFlag.BUYBACK, Refusal.BuybackFlagRequired)
    market.refuse_if(not series.terms.resale, Refusal.ResaleForbidden, "series", series.id)
    order = order_of(series, command)
    check_limit_price(market, series, order)
    check_funds(market, series, order, None)
    check_entry(market, series, order)
    full = len(market.orders) >= market.venue.limits.orders or not market.has_room([(account.id, series)])
    market.refuse_if(full, Refusal.CapacityExceeded)
    return series, order


def check_place_terms(market: Market, command: Command, series: Series | None) -> None:
    """Refuse words that do not go together (R19, R30, R41, R42)."""
    flags, tif = command.flags, command.time_in_force
    is_market = bool(flags & OrderFlag.MARKET)
    both_modes = flags & OWN_ORDER_MODES == OWN_ORDER_MODES
    both_ways = bool(flags & OrderFlag.STOP_RISE) and bool(flags & OrderFlag.STOP_FALL)
    way_without_stop = bool(flags & (OrderFlag.STOP_RISE | OrderFlag.STOP_FALL)) and not command.stop_price
    hasty = is_market or tif in (TimeInForce.IOC, TimeInForce.FOK)
    given_id = command.order_id
    foreign_buyback = bool(flags & OrderFlag.BUYBACK) and series is not None and command.account != series.merchant
    for field, found, wrong in (
        ("side", command.side, command.side not in (Side.BUY, Side.SELL)),
        ("time_in_force", tif, tif not in TimeInForce._value2member_map_),
        ("flags", flags, flags >= OrderFlag.PEG * 2 or both_modes or both_ways or way_without_stop),
        ("flags", flags, bool(flags & OrderFlag.PEG) and (is_market or command.stop_price != 0)),
        ("flags", flags, bool(flags & OrderFlag.POST_ONLY) and hasty),
        ("price", command.price, is_market and command.price != 0),
        (
            "time_in_force",
            tif,
            is_market and not command.stop_price and tif not in (TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK),
        ),
        ("deadline_ns", command.deadline_ns, tif in (TimeInForce.GTC, TimeInForce.IOC) and command.deadline_ns != 0),
        ("order_id", given_id, given_id != 0 and given_id < CALLER_ID_FIRST),
        ("flags", flags, foreign_buyback),
    ):
        market.refuse_if(wrong, Refusal.BadTerms, field, found)


def order_of(series: Series, command: Command) -> Order:
    """Make the order that a PLACE asks for; nothing is locked or entered yet."""
    side = Side(command.side)
    limit, tif = command.price, command.time_in_force
    peg = command.price if command.flags & OrderFlag.PEG else 0
    if peg:
        limit = peg_limit(series, side, peg)
    if command.flags & OrderFlag.MARKET:
        limit, _ = plain_limit(series, side)
        if command.stop_price:
            limit = series.cap if side == Side.BUY else command.stop_price  # R41: a plain buy stop locks at the cap
        if tif == TimeInForce.GTC and not command.stop_price:
            tif = TimeInForce.IOC  # R39
    is_fok = tif == TimeInForce.FOK
    return Order(
        id=command.order_id,
        account=command.account,
        series=series.id,
        side=side,
        limit=limit,
        open_qty=command.qty,
        display=command.display,
        budget=command.deadline_ns if is_fok else 0,
        peg=peg,
        flags=command.flags,
        time_in_force=tif,
        deadline_ns=0 if is_fok else command.deadline_ns,
        stop_price=command.stop_price,
    )


def order_lock(market: Market, series: Series, order: Order) -> None:
    """Count the acceptance and lock the order's cash, or take its lots out of the queue (R15, R17)."""
    order.accept_seq = market.next_accept_seq()
    if order.side == Side.BUY:
        market.units_move(order.account, series, bid=order.open_qty)
        relock(market, series, order)
    else:
        holding = market.units_move(order.account, series, free=-order.open_qty, offered=order.open_qty)
        order.lots = lots_take(holding, order.open_qty, old_enough(market, series))


def order_admitted(market: Market, series: Series, order: Order) -> None:
    """Send an accepted order on its way: to the stops, or into the book; then wake stops (R41)."""
    if order.stop_price:
        series.stops[order.id] = order
        if series.last_price and stop_reached(order, series.last_price, series.last_price):
            market.traded = (series.last_price, series.last_price)
    else:
        order_enter(market, series, order)
    stops_wake(market, series)


def order_enter(market: Market, series: Series, order: Order) -> None:
    """Match an order as a taker, and rest, cancel or finish what is left (R16, R19, R20)."""
    if not series.in_auction and not order_match(market, series, order):
        return
    if not order.open_qty:
        order_finish(market, order)
    elif order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
        order_close(market, series, order, CancelReason.IOC)
    else:
        series.book.insert(order)


def order_match(market: Market, series: Series, taker: Order) -> bool:
    """Match and settle; False if the taker was cancelled on meeting an own order (R42)."""
    terms = series.terms
    for maker, qty in series.book.match(taker):
        if qty:
            settle_fill(market, series, Trade(taker, maker, qty, maker.limit, terms.taker_bps, terms.maker_bps))
            if not maker.open_qty:
                order_finish(market, maker)
            continue
        if taker.flags & OWN_ORDER_MODES:
            order_cancel(market, series, maker, CancelReason.SELF_TRADE)
        if not taker.flags & OrderFlag.CANCEL_MAKER:
            order_close(market, series, taker, CancelReason.SELF_TRADE)
            return False
    return True


# ── stops ────────────────────────────────────────────────────────────────────────────────────────


def stop_reached(order: Order, low: int, high: int) -> bool:
    """Say whether trades between `low` and `high` reach a stop (R41)."""
    return high >= order.stop_price if order.rises else low <= order.stop_price


def stops_wake(market: Market, series: Series) -> None:
    """Enter the stops that the trades so far have reached, and then those that they reach (R41)."""
    while market.traded:
        low, high = market.traded
        market.traded = None
        reached = [order for order in series.stops.values() if stop_reached(order, low, high)]
        for order in sorted(reached, key=lambda one: one.accept_seq):
            stop_enter(market, series, order)


def stop_enter(market: Market, series: Series, order: Order) -> None:
    """Let one stop enter as a taker of its own; what would refuse it cancels it (R41)."""
    del series.stops[order.id]
    wrong: Refusal | None = None
    if order.is_plain:
        order.limit, wrong = plain_limit(series, order.side)
        if order.time_in_force != TimeInForce.FOK:
            order.time_in_force = TimeInForce.IOC
    else:
        low, high = series.band()
        wrong = None if low <= order.limit <= high else Refusal.OutsidePriceBand
    order.stop_price = 0
    emit_order(market, EventKind.TRIGGERED, order)
    wrong = wrong or entry_refusal(series, order)
    if wrong:
        order_close(market, series, order, wrong)
    else:
        relock(market, series, order)
        order_enter(market, series, order)


# ── pegs (R54) ───────────────────────────────────────────────────────────────────────────────────


def pegs_move(market: Market, series: Series) -> None:
    """Take all pegs out of the book and let them enter anew at the value of now, in order of acceptance.

    An order of a plan goes with them where it stands above the cap (R55).
    """
    cap = series.cap
    pegs = [order for order in series.orders() if order.peg or (order.planned and order.limit > cap)]
    for order in pegs:
        series.book.remove(order)
    for order in pegs:
        peg_enter(market, series, order)
    stops_wake(market, series)


def peg_enter(market: Market, series: Series, order: Order) -> None:
    """Let a peg or a plan's order enter as a taker of its own; what refuses it cancels it, and so does a match in a halt."""
    plan = series.plans[order.account] if order.planned else None
    limit = plan_limit(series, plan) if plan else peg_limit(series, order.side, order.peg)
    low, high = series.band()
    if limit > series.cap:
        order_close(market, series, order, Refusal.PriceAboveCap)
        return
    if not max(1, low) <= limit <= high:
        order_close(market, series, order, Refusal.OutsidePriceBand)
        return
    order.limit = limit
    emit_order(market, EventKind.REPRICED, order)
    wrong = entry_refusal(series, order)
    if series.halted and not series.in_auction and series.book.crosses(order.side, limit):
        wrong = Refusal.SeriesHalted
    if wrong:
        order_close(market, series, order, wrong)
    else:
        relock(market, series, order)
        order_enter(market, series, order)


def emit_order(market: Market, kind: EventKind, order: Order, **more: int) -> None:
    """Say what becomes of an order, as it is now."""
    market.emit(
        kind,
        series=order.series,
        order_id=order.id,
        account=order.account,
        price=order.limit,
        qty=order.open_qty,
        side=order.side,
        **more,
    )


# ── cancelling ───────────────────────────────────────────────────────────────────────────────────


def cancel(market: Market, command: Command) -> None:
    """Cancel one order for its owner."""
    series, order = admit_owned(market, command)
    # From here the command must succeed.
    order_cancel(market, series, order, CancelReason.USER)


def admit_owned(market: Market, command: Command) -> tuple[Series, Order]:
    """Refuse an order that is not open, or somebody else's."""
    market.check_reference(command)
    account = market.known_account(command.account)
    order = market.orders.get(command.order_id)
    market.refuse_if(order is None, Refusal.OrderNotOpen, "order_id", command.order_id)
    assert order is not None
    market.refuse_if(order.account != account.id, Refusal.NotOwner, "account", account.id, order.account)
    return market.series[order.series - 1], order


def order_cancel(market: Market, series: Series, order: Order, reason: CancelReason) -> None:
    """Take a resting order or a waiting stop out, and close it."""
    if order.id in series.stops:
        del series.stops[order.id]
    else:
        series.book.remove(order)
    order_close(market, series, order, reason)


def order_close(market: Market, series: Series, order: Order, reason: CancelReason | Refusal) -> None:
    """Return what an order outside the book has locked, finish it, and say why."""
    cash = order.cash_locked
    order_unlock(market, series, order)
    order_finish(market, order)
    emit_order(market, EventKind.CANCELLED, order, amount=cash, code=reason)


def order_unlock(market: Market, series: Series, order: Order) -> None:
    """Return an order's cash, or its units and lots, to its owner (R15, R17)."""
    if order.side == Side.BUY:
        market.cash_lock(order.account, -order.cash_locked)
        order.cash_locked = 0
        market.units_move(order.account, series, bid=-order.open_qty)
    else:
        holding = market.units_move(order.account, series, free=order.open_qty, offered=-order.open_qty)
        lots_return(holding, order.lots)
        order.lots = []


def order_finish(market: Market, order: Order) -> None:
    """Forget an order that has nothing open, and its timer; its id is free again."""
    del market.orders[order.id]
    del market.accounts[order.account].orders[order.id]
    if order.deadline_ns:
        market.disarm(timer(order.deadline_ns, TimerKind.ORDER_DUE, order.timer_seq, order.id))


def orders_cancel(market: Market, orders: list[Order], reason: CancelReason) -> None:
    """Cancel many orders, in order of acceptance, across series (R48)."""
    for order in sorted(orders, key=lambda one: one.accept_seq):
        order_cancel(market, market.series[order.series - 1], order, reason)


def order_expire(market: Market, order_id: int) -> None:
    """Let a good-till-date order go (R19)."""
    order = market.orders[order_id]
    order_cancel(market, market.series[order.series - 1], order, CancelReason.GTD)


# ── amending ─────────────────────────────────────────────────────────────────────────────────────


def amend(market: Market, command: Command) -> None:
    """Lower an order in place, or cancel and re-enter it as one command (R38)."""
    series, order, price, qty = admit_amend(market, command)
    # From here the command must succeed.
    order_change(market, series, order, price, qty)


def order_change(market: Market, series: Series, order: Order, price: int, qty: int) -> None:
    """Give an order another price or open quantity: in place if the price stays and it does not grow, else it enters anew."""
    if price == order.limit and qty <= order.open_qty:
        amend_lower(market, series, order, qty)
        emit_order(market, EventKind.AMENDED, order)
        return
    if order.id in series.stops:
        del series.stops[order.id]
    else:
        series.book.remove(order)
    order_unlock(market, series, order)
    order.limit, order.open_qty = price, qty
    order_lock(market, series, order)
    emit_order(market, EventKind.AMENDED, order, flags=1)
    order_admitted(market, series, order)


def admit_amend(market: Market, command: Command) -> tuple[Series, Order, int, int]:
    """Make every check of an amend; gives the series, the order, its new price and open quantity."""
    check_amend_numbers(market, command, market.orders.get(command.order_id))
    series, order = admit_owned(market, command)
    check_trading(market, series, market.accounts[order.account])
    price = command.price if command.flags & AmendFlag.PRICE else order.limit
    qty = command.qty if command.flags & AmendFlag.QTY else order.open_qty
    if order.is_plain and order.side == Side.BUY and qty > order.open_qty:
        price = series.cap  # R41: a plain buy stop that enters anew locks at the cap of now
    if price != order.limit or qty > order.open_qty:
        wanted = amended_copy(order, price, qty)
        check_limit_price(market, series, wanted)
        check_funds(market, series, wanted, order)
        check_entry(market, series, wanted)
    return series, order, price, qty


def check_amend_numbers(market: Market, command: Command, live: Order | None) -> None:
    """Refuse numbers that no order, or not this one, may be amended to; it may turn out not to be open."""
    series = market.series[live.series - 1] if live else None
    if command.flags & AmendFlag.QTY:
        check_sizes(market, series, command.qty)
        most = ICEBERG_PARTS_MAX * live.display if live and live.display else QTY_END
        market.refuse_if(command.qty > most, Refusal.BadQuantity, "qty", command.qty, most)
    if command.flags & AmendFlag.PRICE:
        check_price(market, series, command.price)
    market.refuse_if(command.flags not in (1, 2, 3), Refusal.BadTerms, "flags", command.flags)
    priceless = command.flags & AmendFlag.PRICE and live is not None and (live.is_plain or live.peg or live.planned)
    market.refuse_if(priceless, Refusal.BadTerms, "price", command.price)


def amended_copy(order: Order, price: int, qty: int) -> Order:
    """Give the order as it would re-enter, with its sums, to check it."""
    return replace(order, limit=price, open_qty=qty, lots=[])


def amend_lower(market: Market, series: Series, order: Order, qty: int) -> None:
    """Lower the open quantity in place; the youngest lots and the excess cash go back (R38)."""
    less = order.open_qty - qty
    if order.id in series.stops:
        order.open_qty = qty
    else:
        series.book.shrink(order, qty)
    if order.side == Side.BUY:
        market.units_move(order.account, series, bid=-less)
        relock(market, series, order)
    else:
        holding = market.units_move(order.account, series, free=less, offered=-less)
        lots_return(holding, lots_split(order.lots, less, youngest=True))


# ── switches of orders (R43) ─────────────────────────────────────────────────────────────────────


def cancel_all(market: Market, command: Command) -> None:
    """Cancel all orders of an account or of a series."""
    both = bool(command.account) == bool(command.series)
    market.refuse_if(both, Refusal.BadTerms, "account", command.account)
    market.check_reference(command)
    if command.account:
        account = market.known_account(command.account)
        market.refuse_if(account.frozen, Refusal.AccountFrozen, "account", account.id)
        orders = list(account.orders.values())
    else:
        series = market.known_series(command.series)
        end = series.terms.expire_ns
        expired = market.clock_ns >= end and not series.defaulted
        market.refuse_if(expired, Refusal.SeriesExpired, "time_ns", market.clock_ns, end - 1)
        orders = series.orders()
    # From here the command must succeed.
    emit_mass(market, CancelReason.CANCEL_ALL, len(orders), command.account, command.series)
    orders_cancel(market, orders, CancelReason.CANCEL_ALL)


def emit_mass(market: Market, reason: CancelReason, count: int, account: int = 0, series: int = 0) -> None:
    """Announce how many orders go together."""
    market.emit(EventKind.MASS_CANCELLED, account=account, series=series, qty=count, code=reason)


def cancel_after(market: Market, command: Command) -> None:
    """Arm, re-arm or disarm the switch of an account that may fall silent (R43)."""
    at_ns = command.deadline_ns
    late = at_ns != 0 and not market.clock_ns < at_ns < TIME_END
    market.refuse_if(late, Refusal.BadTime, "deadline_ns", at_ns, market.clock_ns + 1)
    market.check_reference(command)
    account = market.known_account(command.account)
    market.refuse_if(account.defaulted, Refusal.MerchantDefaulted)
    market.refuse_if(account.frozen, Refusal.AccountFrozen, "account", account.id)
    # From here the command must succeed.
    if account.cancel_after is not None:
        market.disarm(account.cancel_after)
    account.cancel_after = market.arm(at_ns, TimerKind.ACCOUNT_SILENT, account.id) if at_ns else None
    market.emit(EventKind.CANCEL_AFTER_SET, account=account.id, amount=at_ns)


def account_silent(market: Market, account_id: int) -> None:
    """Cancel all orders of an account whose switch was not repeated in time (R43)."""
    account = market.accounts[account_id]
    account.cancel_after = None
    emit_mass(market, CancelReason.CANCEL_AFTER, len(account.orders), account.id)
    orders_cancel(market, list(account.orders.values()), CancelReason.CANCEL_AFTER)
