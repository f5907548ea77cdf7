"""The call auction: many orders, one price, one moment (R20, R42).

    price   buy at ≥ p   sell at ≤ p   volume   surplus
       90          100            40       40        60
       91           80            90       80       −10     ◄── greatest volume
       92           30           120       30       −90

Candidates are all resting limits and the reference price. Chosen are, in turn: the greatest volume,
the least |surplus|, the highest price if every surplus left is positive and the lowest if every one is
negative, the nearest to the reference price, the higher.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from rightsx.protocol import CancelReason, EventKind, FillFlag, Side
from rightsx.reference.orders import order_cancel, order_finish, stops_wake
from rightsx.reference.settle import Trade, settle_fill

if TYPE_CHECKING:
    from rightsx.reference.state import Market, Series


class Candidate(NamedTuple):
    """One row of the auction's table."""

    price: int
    volume: int
    surplus: int


def auction_table(series: Series) -> list[Candidate]:
    """List every candidate price with its executable volume and surplus, ascending. O(orders + prices log prices)."""
    buys: Counter[int] = Counter()
    sells: Counter[int] = Counter()
    for order in series.book.orders(Side.BUY):
        buys[order.limit] += order.open_qty
    for order in series.book.orders(Side.SELL):
        sells[order.limit] += order.open_qty
    table = []
    buy, sell = sum(buys.values()), 0
    for price in sorted({*buys, *sells, series.reference}):
        sell += sells[price]
        table.append(Candidate(price, min(buy, sell), buy - sell))
        buy -= buys[price]
    return table


def auction_price(series: Series) -> Candidate | None:
    """Choose the one price, or None where nothing can trade."""
    table = auction_table(series)
    volume = max(row.volume for row in table)
    if not volume:
        return None
    best = [row for row in table if row.volume == volume]
    least = min(abs(row.surplus) for row in best)
    best = [row for row in best if abs(row.surplus) == least]
    if all(row.surplus > 0 for row in best):
        return best[-1]
    if all(row.surplus < 0 for row in best):
        return best[0]
    return min(best, key=lambda row: (abs(row.price - series.reference), -row.price))


def uncross_due(market: Market, series: Series) -> None:
    """Uncross at the opening, or as soon as the halt is lifted (R20)."""
    if series.halted:
        series.uncross_waits = True
    else:
        uncross(market, series)


def uncross(market: Market, series: Series) -> None:
    """Trade everything that the one price allows, best buy against best sell; then trade continuously."""
    series.uncross_waits = False
    series.in_auction = False
    chosen = auction_price(series)
    price, volume, surplus = chosen or (0, 0, 0)
    market.emit(EventKind.UNCROSSED, series=series.id, price=price, qty=volume, amount=surplus)
    while chosen:
        buy, sell = series.book.best(Side.BUY), series.book.best(Side.SELL)
        if buy is None or sell is None or buy.limit < price or sell.limit > price:
            break
        if buy.account == sell.account:
            later = buy if buy.accept_seq > sell.accept_seq else sell
            order_cancel(market, series, later, CancelReason.SELF_TRADE)
            continue
        qty = min(buy.open_qty, sell.open_qty)
        for order in (buy, sell):
            series.book.trade(order, qty, requeue=False)
        bps = series.terms.auction_bps
        settle_fill(market, series, Trade(buy, sell, qty, price, bps, bps, FillFlag.AUCTION))
        for order in (buy, sell):
            if not order.open_qty:
                order_finish(market, order)
    stops_wake(market, series)
