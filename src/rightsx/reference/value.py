"""What time does to a series: decay steps, the sweep, last trade, expiry (R7 … R10, R12, R22, R23).

listing ──► step ──► step ──► … ──► last trade ──► expiry
             │ v falls               │ orders go     │ FORFEIT: breakage to the merchant
             │ escrow to merchant    │ trading shut  │ PRINCIPAL: residual to each holder, R24,
             │ orders above cap go   ▼               ▼   the unpaid rest a claim
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rightsx.protocol import CancelReason, EventKind, Policy
from rightsx.reference.listing import arm_next_step
from rightsx.reference.orders import orders_cancel, pegs_move
from rightsx.reference.plans import plans_end
from rightsx.reference.state import Market, Series, escrow_share, pro_rata

if TYPE_CHECKING:
    from rightsx.reference.book import Order


def decay(market: Market, series: Series) -> None:
    """Apply the step that is due: book the decay, release escrow, move the reference, sweep (R9, R10, R12, R21)."""
    before = series.value
    _, value = series.steps[series.step_index]
    qty = series.units - series.voucher_units
    lost = qty * (before - value)
    share = escrow_share(series, lost) if series.terms.policy == Policy.FORFEIT else 0
    series.step_index += 1
    series.value = value
    series.decayed += lost
    market.emit(EventKind.DECAYED, series=series.id, price=value, fee=before, qty=qty, amount=lost)
    market.escrow_pay(series, series.merchant, share)
    if series.cap >= 1:
        series.reference = min(series.reference, series.cap)
    arm_next_step(market, series)
    cap = series.cap
    swept = [order for order in series.orders() if sweep_price(order) > cap and not ((order.peg or order.planned) and cap >= 1)]
    orders_cancel(market, swept, CancelReason.PRICE_ABOVE_CAP)
    if value != before:
        pegs_move(market, series)


def sweep_price(order: Order) -> int:
    """Give the price that the cap is held against: the limit, of a plain stop the stop price (R41)."""
    return order.stop_price if order.is_plain and order.stop_price else order.limit


def last_trade(market: Market, series: Series) -> None:
    """Cancel every order and close trading; redemption goes on (R22)."""
    series.closed = True
    series.in_auction = series.uncross_waits = False
    market.emit(EventKind.TRADING_ENDED, series=series.id)
    orders_cancel(market, series.orders(), CancelReason.LAST_TRADE)
    plans_end(market, series)


def expire(market: Market, series: Series) -> None:
    """Run the expiry policy once and end the series (R23); a defaulted series only forgets its vouchers."""
    series.vouchers.clear()
    if series.defaulted:
        return
    face, units, escrow = series.face_owed, series.units, series.escrow
    due = {account: series.holdings[account].units * series.terms.residual for account in sorted(series.holdings)}
    total = sum(due.values())
    merchant = market.accounts[series.merchant]
    from_escrow = min(escrow, total)
    from_merchant = min(merchant.cash_free, total - from_escrow)
    series.expired = True
    series.value = 0  # R7
    series.expired_face += face
    series.units = 0
    series.escrow -= from_escrow
    merchant.cash_free -= from_merchant
    market.emit(
        EventKind.EXPIRED,
        series=series.id,
        account=series.merchant,
        qty=units,
        amount=face,
        fee=from_escrow,
        other_fee=from_merchant,
    )
    pay_out(market, series, from_escrow + from_merchant, due, due)
    market.escrow_pay(series, series.merchant, series.escrow)


def pay_out(market: Market, series: Series, pool: int, weights: dict[int, int], owed: dict[int, int]) -> None:
    """Divide a pool among holders (R24), record what stays owed as claims, and drop their units.

    `weights` and `owed` map accounts in ascending order; who is owed and paid nothing gets no event.
    """
    for account, share in pro_rata(pool, weights).items():
        holding = series.holdings[account]
        claim = max(0, owed[account] - share)
        if owed[account] or share:
            market.accounts[account].cash_free += share
            if claim:
                market.claims[account, series.id] = claim
            market.emit(
                EventKind.PAID_OUT,
                series=series.id,
                account=account,
                qty=holding.units,
                amount=share,
                other_fee=claim,
            )
    market.holding_count -= len(series.holdings)
    series.holdings.clear()
