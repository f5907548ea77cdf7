"""What an order costs and what a trade moves: locks, fees, royalties, buy-backs (R17, R18, R30).

    buy order   locks  price × open + ⌈(Σ notional × bps so far + price × open × dearer bps) / 10,000⌉ − charged
    a trade     buyer ── notional + fee ──► seller: notional − fee − royalty · platform: fees · merchant: royalty

Fees and royalties are sums over all fills of an order, charged as increases, so slicing a trade never
changes them. Everything a trade can need was locked when its orders were accepted: settling cannot
fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rightsx.protocol import BPS, FILLED_END, EventKind, FillFlag, Side
from rightsx.reference.lots import lots_split
from rightsx.reference.state import PLATFORM, Market, Series, escrow_share

if TYPE_CHECKING:
    from rightsx.reference.book import Order

# ── what an order costs ──────────────────────────────────────────────────────────────────────────


def ceil_bps(numerator: int) -> int:
    """Divide by 10,000, rounding up: fees favour the platform (R18)."""
    return -(-numerator // BPS)


def lock_due(series: Series, order: Order) -> int:
    """Work out what a buy order must have locked now (R17); a sell order locks no cash."""
    if order.side == Side.SELL:
        return 0
    notional = order.limit * order.open_qty
    dearest = max(series.terms.maker_bps, series.terms.taker_bps)
    return notional + ceil_bps(order.fee_owed + notional * dearest)


def relock(market: Market, series: Series, order: Order) -> int:
    """Lock what the order needs now; gives the change, negative where cash came back."""
    change = lock_due(series, order) - order.cash_locked
    order.cash_locked += change
    market.cash_lock(order.account, change)
    return change


# ── settling a fill ──────────────────────────────────────────────────────────────────────────────


def charge_fee(order: Order, notional: int, bps: int) -> int:
    """Add a fill to an order's fee sum and give the increase that is charged (R18)."""
    order.fee_owed += notional * bps
    increase = ceil_bps(order.fee_owed)
    order.fee_owed -= increase * BPS
    order.fee_charged += increase
    return increase


def charge_royalty(series: Series, order: Order, buyer: int, notional: int, fee: int) -> int:
    """Add a fill to a sell order's royalty sum and give what is charged, at most what is left (R18)."""
    if buyer == series.merchant:
        return 0
    order.royalty_owed += notional * series.terms.royalty_bps
    due = order.royalty_owed // BPS
    charged = min(due, notional - fee)
    order.royalty_owed -= charged * BPS
    return charged


class Trade(NamedTuple):
    """One trade that the book has made: `first` is the taker, in an auction the buyer; rates in bps."""

    first: Order
    second: Order
    qty: int
    price: int
    first_bps: int
    second_bps: int
    flags: int = 0


def settle_fill(market: Market, series: Series, trade: Trade) -> None:
    """Move cash and units for one trade (R16 … R18, R30).

    Changes both owners' cash and holdings, the platform's and the merchant's cash, the series' last
    price; a buy-back destroys the units.
    """
    first, second, qty, price, first_bps, second_bps, flags = trade
    notional = price * qty
    buy, sell = (first, second) if first.side == Side.BUY else (second, first)
    first.filled_qty = min(FILLED_END, first.filled_qty + qty)
    second.filled_qty = min(FILLED_END, second.filled_qty + qty)
    first_fee = charge_fee(first, notional, first_bps)
    second_fee = charge_fee(second, notional, second_bps)
    buy_fee, sell_fee = (first_fee, second_fee) if first is buy else (second_fee, first_fee)
    royalty = charge_royalty(series, sell, buy.account, notional, sell_fee)

    buyer, seller = market.accounts[buy.account], market.accounts[sell.account]
    buy.cash_locked -= notional + buy_fee
    buyer.cash_locked -= notional + buy_fee
    relock(market, series, buy)
    seller.cash_free += notional - sell_fee - royalty
    market.accounts[series.merchant].cash_free += royalty
    market.accounts[PLATFORM].cash_free += buy_fee + sell_fee
    lots_split(sell.lots, qty)
    market.units_move(sell.account, series, offered=-qty)

    is_buyback = buy.account == series.merchant
    market.emit(
        EventKind.FILL,
        series=series.id,
        order_id=first.id,
        other_order_id=second.id,
        account=first.account,
        other_account=second.account,
        price=price,
        qty=qty,
        amount=royalty,
        fee=first_fee,
        other_fee=second_fee,
        side=first.side,
        flags=flags | (FillFlag.BUYBACK if is_buyback else 0),
    )
    market.units_move(buy.account, series, bid=-qty)
    if is_buyback:
        buy_back(market, series, qty)
    else:
        market.units_receive(buy.account, series, qty, notional + buy_fee)
    series.last_price = price
    low, high = market.traded or (price, price)
    market.traded = (min(low, price), max(high, price))


def buy_back(market: Market, series: Series, qty: int) -> None:
    """Destroy units that their merchant bought and release their escrow (R30)."""
    face = qty * series.value
    share = escrow_share(series, series.base_of(qty, series.value))
    series.units -= qty
    series.bought_back += face
    market.escrow_pay(series, series.merchant, share)
