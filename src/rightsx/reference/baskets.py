"""One command over several books: a bill paid with rights to be bought, a product bought, a roll (R50 … R53).

    product ─► asks of all its series ─► cheapest per value first ─► legs ─► checks ─► one order a leg, one after the other

What each leg takes is settled before the first write; a leg is an IOC order of its own that fills whole.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from rightsx.protocol import BPS, PRICE_END, TIME_END, EventKind, OrderFlag, Refusal, Side, TimeInForce
from rightsx.reference.book import Order, opposite
from rightsx.reference.holders import check_face
from rightsx.reference.orders import check_order_limits, check_sizes, check_units, fill_total, order_accept
from rightsx.reference.redemption import check_product, redeem_units, series_with
from rightsx.reference.settle import lock_due

if TYPE_CHECKING:
    from collections.abc import Callable

    from rightsx.protocol import Command
    from rightsx.reference.state import Account, Market, Series


class Leg(NamedTuple):
    """What a command does in one series: an order that will fill whole (R50)."""

    series: Series
    order: Order


def leg_of(account: Account, series: Series, side: Side, qty: int, limit: int) -> Leg:
    """Make a leg; nothing is locked or entered yet."""
    flags, tif = OrderFlag.CANCEL_MAKER, TimeInForce.IOC
    return Leg(series, Order(0, account.id, series.id, side, limit, qty, flags=flags, time_in_force=tif))


def leg_enter(market: Market, leg: Leg) -> None:
    """Accept a leg's order and let it fill, then the stops that its trades woke (R41)."""
    leg.order.id = market.take_order_id(0)
    order_accept(market, leg.series, leg.order)


def others(series: Series, account: Account, side: Side) -> list[tuple[int, int]]:
    """List (price, open units) of what other accounts rest on a side, best first."""
    levels: dict[int, int] = {}
    for order in series.book.orders(side):
        levels[order.limit] = levels.get(order.limit, 0) + (order.open_qty if order.account != account.id else 0)
    return list(levels.items())


# ── choosing ─────────────────────────────────────────────────────────────────────────────────────


def trades_now(market: Market, series: Series) -> bool:
    """Say whether a basket may take from a series now (R50)."""
    shut = series.halted or series.in_auction or market.clock_ns >= series.terms.last_trade_ns
    return bool(series.live and series.value and series.terms.resale) and not shut


def unit_cost(series: Series, price: int) -> int:
    """Give what a unit costs with the taker's fee, in 1/10,000 of a minor unit."""
    return price * (BPS + series.terms.taker_bps)


def legs_choose(
    market: Market, account: Account, usable: list[Series], wanted: int, most: int, weigh: Callable[[Series], int], *, saves: bool
) -> tuple[list[Leg], int]:
    """Choose what to buy, cheapest per value first; gives the legs in the order of bills, and what of `wanted` is left (R50).

    A unit counts as `weigh` says. With `saves` nothing is taken that costs, with its fee, as much as it is worth.
    """
    offers = [
        (Fraction(unit_cost(series, price), series.value), at, price, qty)
        for at, series in enumerate(usable)
        if trades_now(market, series)
        for price, qty in others(series, account, Side.SELL)
        if price <= (most or price) and not (saves and unit_cost(series, price) >= series.value * BPS)
    ]
    rest = wanted
    taken: dict[int, tuple[int, int]] = {}
    for _, at, price, offered in sorted(offers):
        terms, (before, _) = usable[at].terms, taken.get(at, (0, 0))
        qty = min(offered, rest // weigh(usable[at]))
        qty = min(qty, terms.max_qty - before) if terms.max_qty else qty
        qty -= qty % terms.lot
        if qty:
            taken[at] = before + qty, price
            rest -= qty * weigh(usable[at])
    return [leg_of(account, usable[at], Side.BUY, *taken[at]) for at in sorted(taken)], rest


def check_legs(market: Market, account: Account, product: int, legs: list[Leg]) -> None:
    """Refuse legs that the account's limits or its cash do not allow (R17, R31, R49, R50)."""
    check_face(market, product, account, sum(leg.order.open_qty * leg.series.terms.par for leg in legs))
    for leg in legs:
        check_order_limits(market, leg.order, None)
    due = sum(lock_due(leg.series, leg.order) for leg in legs)
    market.refuse_if(due > account.cash_free, Refusal.InsufficientCash, "qty", due, account.cash_free)


def check_legs_room(market: Market, account: Account, legs: list[Leg]) -> None:
    """Refuse legs whose orders or holdings the venue has no room for."""
    full = bool(legs) and len(market.orders) >= market.venue.limits.orders
    none = not market.has_room([(account.id, leg.series) for leg in legs])
    market.refuse_if(full or none, Refusal.CapacityExceeded)


def check_buyer(market: Market, command: Command) -> Account:
    """Refuse a product that is not there, or somebody who may not buy in it now."""
    account, merchant = check_product(market, command)
    market.refuse_if(market.killed, Refusal.Killed)
    market.refuse_if(merchant is account, Refusal.BuybackFlagRequired)
    return account


def check_most(market: Market, price: int) -> None:
    """Refuse a limit per unit outside R1's range; 0 names none."""
    market.refuse_if(not 0 <= price < PRICE_END, Refusal.BadPrice, "price", price, 0 if price < 0 else PRICE_END - 1)


def cost_of(legs: list[Leg]) -> int:
    """Add up what the legs will cost, fees included."""
    return sum(fill_total(leg.series, leg.order, leg.series.book.plan(leg.order)) for leg in legs)


# ── the commands ─────────────────────────────────────────────────────────────────────────────────


def pay_bill(market: Market, command: Command) -> None:
    """Buy just enough of the cheapest rights of a product and redeem them towards a bill at once (R51)."""
    bill, store, product = command.qty, command.other_account, command.order_id
    check_most(market, command.price)
    market.check_amount(bill)
    account = check_buyer(market, command)
    usable = series_with(market, product, store)
    legs, rest = legs_choose(market, account, usable, bill, command.price, lambda series: series.value, saves=True)
    check_legs(market, account, product, legs)
    check_legs_room(market, account, legs)
    # From here the command must succeed.
    market.emit(
        EventKind.BILL_PAID,
        account=account.id,
        order_id=product,
        amount=bill,
        qty=sum(leg.order.open_qty for leg in legs),
        fee=rest,
        other_fee=cost_of(legs),
        extra=store,
    )
    for leg in legs:
        qty = leg.order.open_qty
        leg_enter(market, leg)
        redeem_units(market, leg.series, account, qty, store)


def buy_product(market: Market, command: Command) -> None:
    """Buy units of a product that last long enough, the best value for the money first (R52)."""
    qty, tif, until, product = command.qty, command.time_in_force, command.deadline_ns, command.order_id
    market.check_qty(qty)
    check_most(market, command.price)
    market.refuse_if(not 0 <= until < TIME_END, Refusal.BadTime, "deadline_ns", until, 0 if until < 0 else TIME_END - 1)
    market.refuse_if(tif not in (TimeInForce.IOC, TimeInForce.FOK), Refusal.BadTerms, "time_in_force", tif)
    account = check_buyer(market, command)
    usable = [series for series in market.product_series(product) if series.terms.expire_ns >= until]
    legs, rest = legs_choose(market, account, usable, qty, command.price, lambda _: 1, saves=False)
    check_legs(market, account, product, legs)
    market.refuse_if(tif == TimeInForce.FOK and rest, Refusal.FOKUnfillable, "qty", qty, qty - rest)
    check_legs_room(market, account, legs)
    # From here the command must succeed.
    market.emit(EventKind.PRODUCT_BOUGHT, account=account.id, order_id=product, qty=qty - rest, other_fee=cost_of(legs))
    for leg in legs:
        leg_enter(market, leg)


def roll(market: Market, command: Command) -> None:
    """Sell units of one series and buy as many of another, all or nothing, within a net price (R53)."""
    qty, net = command.qty, command.price
    account, old, new = admit_roll(market, command)
    legs = roll_legs(account, old, new, qty)
    proceeds, cost = [cost_of([leg]) for leg in legs] or [0, 0]
    back = qty * old.terms.par if old.product == new.product else 0
    check_face(market, new.product, account, qty * new.terms.par - back)
    for leg in legs:
        check_order_limits(market, leg.order, None)
    check_units(market, old, account, qty)
    due, cash = sum(lock_due(leg.series, leg.order) for leg in legs), account.cash_free + proceeds
    market.refuse_if(due > cash, Refusal.InsufficientCash, "qty", due, cash)
    market.refuse_if(not legs, Refusal.FOKUnfillable, "qty", qty)
    market.refuse_if(cost - proceeds > net * qty, Refusal.FOKUnfillable, "price", cost - proceeds, net * qty)
    check_legs_room(market, account, legs)
    # From here the command must succeed.
    market.emit(EventKind.ROLLED, series=old.id, account=account.id, extra=new.id, qty=qty, amount=proceeds, other_fee=cost)
    for leg in legs:
        leg_enter(market, leg)


def roll_legs(account: Account, old: Series, new: Series, qty: int) -> list[Leg]:
    """Give the sale and the purchase, each at the worst price that it needs; none if a book does not give all of it now."""
    legs = []
    for series, side in ((old, Side.SELL), (new, Side.BUY)):
        rest = 0 if series.in_auction else qty
        for price, offered in others(series, account, opposite(side)) if rest else ():
            rest -= offered
            if rest <= 0:
                legs.append(leg_of(account, series, side, qty, price))
                break
    return legs if len(legs) == len((old, new)) else []


def admit_roll(market: Market, command: Command) -> tuple[Account, Series, Series]:
    """Refuse numbers that no roll may have, and where either series or the account may not trade now."""
    for number in (command.series, command.other_account):
        check_sizes(market, market.find_series(number), command.qty)
    net = command.price
    market.refuse_if(
        not -PRICE_END < net < PRICE_END, Refusal.BadPrice, "price", net, -PRICE_END + 1 if net < 0 else PRICE_END - 1
    )
    market.refuse_if(command.series == command.other_account, Refusal.BadTerms, "other_account", command.other_account)
    market.check_reference(command)
    account = market.known_account(command.account)
    old = market.known_series(command.series)
    new = market.known_series(command.other_account, "other_account")
    both = ((old, "series"), (new, "other_account"))
    market.refuse_if(old.defaulted or new.defaulted or account.defaulted, Refusal.MerchantDefaulted)
    market.refuse_if(account.frozen, Refusal.AccountFrozen, "account", account.id)
    for series, _ in both:
        market.check_unexpired(series)
    now = market.clock_ns
    for series, _ in both:
        end = series.terms.last_trade_ns
        market.refuse_if(now >= end, Refusal.TradingClosed, "time_ns", now, end - 1)
    market.refuse_if(market.killed, Refusal.Killed)
    for series, field in both:
        market.refuse_if(series.halted, Refusal.SeriesHalted, field, series.id)
    market.refuse_if(account.id == old.merchant, Refusal.MerchantCannotResell, "series", old.id)
    market.refuse_if(account.id == new.merchant, Refusal.BuybackFlagRequired, "other_account", new.id)
    for series, field in both:
        market.refuse_if(not series.terms.resale, Refusal.ResaleForbidden, field, series.id)
    return account, old, new
