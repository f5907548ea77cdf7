"""When somebody fails: a merchant's default, a frozen account, a chargeback (R29, R32, R33)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rightsx.protocol import CASH_END, CancelReason, EventKind, Refusal
from rightsx.reference.listing import known_merchant
from rightsx.reference.lots import lots_eligible
from rightsx.reference.orders import orders_cancel
from rightsx.reference.plans import plans_end
from rightsx.reference.redemption import refund_terms, refund_units
from rightsx.reference.state import Account, Market, Series, TimerKind, series_timer
from rightsx.reference.value import pay_out
from rightsx.reference.vouchers import lapse

if TYPE_CHECKING:
    from rightsx.protocol import Command
    from rightsx.reference.lots import Lot


# ── default of a merchant ────────────────────────────────────────────────────────────────────────


def default(market: Market, command: Command) -> None:
    """End every live series of a merchant that fails: escrow to the holders, the rest a claim (R29)."""
    market.check_reference(command)
    merchant = known_merchant(market, command.account)
    market.refuse_if(merchant.defaulted, Refusal.MerchantDefaulted, "account", merchant.id)
    # From here the command must succeed.
    merchant.defaulted = True
    market.emit(EventKind.MERCHANT_DEFAULTED, account=merchant.id)
    for series in market.series:
        if series.merchant == merchant.id and not series.expired:
            default_series(market, series)


def default_series(market: Market, series: Series) -> None:
    """Cancel, return vouchers, pay the escrow out by units, destroy the units, record claims (R29)."""
    orders_cancel(market, series.orders(), CancelReason.MERCHANT_DEFAULT)
    plans_end(market, series)
    for voucher in sorted(series.vouchers.values(), key=lambda one: one.timer_seq):
        if not voucher.redeemed and not voucher.lapsed:
            market.disarm_voucher(voucher)
            lapse(market, series, voucher, releases=False)
    disarm_life(market, series)
    face, units, escrow = series.face_owed, series.units, series.escrow
    worth = max(series.terms.issue_price * series.value // series.terms.par, series.terms.residual)
    weights = {account: series.holdings[account].units for account in sorted(series.holdings)}
    series.defaulted = True
    series.defaulted_face += face
    series.units = series.escrow = 0
    series.in_auction = series.uncross_waits = False
    market.emit(
        EventKind.SERIES_DEFAULTED,
        series=series.id,
        account=series.merchant,
        qty=units,
        amount=face,
        fee=escrow,
    )
    pay_out(market, series, escrow, weights, {account: qty * worth for account, qty in weights.items()})


def disarm_life(market: Market, series: Series) -> None:
    """Take out the timers that have nothing left to do; expiry stays, to forget the vouchers."""
    terms = series.terms
    if series.step_index < len(series.steps):
        market.disarm(series_timer(series.steps[series.step_index][0], TimerKind.DECAY, series.id))
    market.disarm(series_timer(terms.open_ns, TimerKind.UNCROSS, series.id))
    market.disarm(series_timer(terms.last_trade_ns, TimerKind.LAST_TRADE, series.id))


# ── freezing an account ──────────────────────────────────────────────────────────────────────────


def freeze(market: Market, command: Command) -> None:
    """Cancel an account's orders and refuse every action by it from now on (R32)."""
    market.check_reference(command)
    account = market.known_account(command.account)
    # From here the command must succeed.
    freeze_account(market, account)


def freeze_account(market: Market, account: Account) -> None:
    """Freeze; the orders go in order of acceptance."""
    account.frozen = True
    market.emit(EventKind.FROZEN, account=account.id)
    orders_cancel(market, list(account.orders.values()), CancelReason.ACCOUNT_FROZEN)


def unfreeze(market: Market, command: Command) -> None:
    """Let an account act again; no order comes back (R32)."""
    market.check_reference(command)
    account = market.known_account(command.account)
    # From here the command must succeed.
    account.frozen = False
    market.emit(EventKind.UNFROZEN, account=account.id)


# ── chargeback ───────────────────────────────────────────────────────────────────────────────────


def is_primary(lot: Lot) -> bool:
    """Say whether a lot was bought in the primary sale."""
    return lot.primary


def chargeback(market: Market, command: Command) -> None:
    """Take back cash that a bank has reversed, refunding primary units where cash is short (R33)."""
    wanted = command.qty
    market.check_amount(wanted)
    market.check_reference(command)
    account = market.known_account(command.account)
    debt = account.debt + wanted
    market.refuse_if(debt >= CASH_END, Refusal.CapacityExceeded, "qty", wanted, CASH_END - 1 - account.debt)
    # From here the command must succeed.
    orders_cancel(market, list(account.orders.values()), CancelReason.CHARGEBACK)
    live = [series for series in market.series if series.live and series.terms.issue_price > 0]
    for series in sorted(live, key=lambda one: (one.terms.expire_ns, one.id)):
        if account.cash_free < wanted:
            refund_for(market, series, account, wanted - account.cash_free)
    taken = min(account.cash_free, wanted)
    account.cash_free -= taken
    market.charged_back += taken
    account.debt += wanted - taken
    market.emit(EventKind.CHARGED_BACK, account=account.id, qty=wanted, amount=taken, fee=wanted - taken)
    if wanted > taken:
        freeze_account(market, account)


def refund_for(market: Market, series: Series, account: Account, short: int) -> None:
    """Refund as many primary units as `short` needs; a series that its merchant cannot fund is skipped."""
    primary = lots_eligible(market.holding(account.id, series), is_primary)
    qty = min(primary, -(-short // series.terms.issue_price))
    terms = refund_terms(series, qty)
    if qty and terms.from_merchant <= market.accounts[series.merchant].cash_free:
        refund_units(market, series, account, terms, is_primary, forced=True)
