"""Units become goods, or money again: redeeming, bills, cooling-off refunds (R12 … R14, R25)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rightsx.protocol import EventKind, Refusal
from rightsx.reference.lots import lots_eligible, lots_take
from rightsx.reference.plans import units_recall, usable_qty
from rightsx.reference.state import Account, Market, Series, escrow_share

if TYPE_CHECKING:
    from collections.abc import Callable

    from rightsx.protocol import Command
    from rightsx.reference.lots import Lot


def store_allowed(series: Series, store: int) -> bool:
    """Say whether a series takes redemptions at this store, 0 being none (R13)."""
    return store in series.stores if series.stores else store == 0


def settlement_account(market: Market, series: Series, store: int) -> int:
    """Give the account that a redemption at this store pays (R13)."""
    return market.stores[store - 1].settles_to if store else series.merchant


# ── redeeming ────────────────────────────────────────────────────────────────────────────────────


def redeem(market: Market, command: Command) -> None:
    """Turn free units into goods worth qty × v(t); the units are destroyed (R13)."""
    qty, store = command.qty, command.other_account
    market.check_qty(qty)
    market.check_reference(command)
    account = market.known_account(command.account)
    series = market.known_series(command.series)
    market.check_living(series, account)
    market.refuse_if(not store_allowed(series, store), Refusal.StoreNotInProduct, "other_account", store)
    market.refuse_if(series.value == 0, Refusal.NoRedeemableValue, "series", series.id)
    usable = usable_qty(market, series, account.id)
    market.refuse_if(qty > usable, Refusal.InsufficientUnits, "qty", qty, usable)
    # From here the command must succeed.
    units_recall(market, series, account.id, qty)
    redeem_units(market, series, account, qty, store)


def redeem_units(market: Market, series: Series, account: Account, qty: int, store: int) -> None:
    """Destroy free units at their value and release their escrow to whoever settles (R12, R13)."""
    goods = qty * series.value
    payee = settlement_account(market, series, store)
    share = escrow_share(series, series.base_of(qty, series.value))
    lots_take(market.holding(account.id, series), qty)
    market.units_move(account.id, series, free=-qty)
    series.units -= qty
    series.redeemed += goods
    market.emit(
        EventKind.REDEEMED,
        series=series.id,
        account=account.id,
        other_account=payee,
        price=series.value,
        qty=qty,
        amount=goods,
        extra=store,
    )
    market.escrow_pay(series, payee, share)


def redeem_bill(market: Market, command: Command) -> None:
    """Pay as much of a bill as whole units can, the rest is due in cash (R14)."""
    bill, store, product = command.qty, command.other_account, command.order_id
    market.check_amount(bill)
    account, _ = check_product(market, command)
    usable = series_with(market, product, store)
    # From here the command must succeed.
    walk = []
    rest = bill
    for series in usable:
        if series.value:
            qty = min(usable_qty(market, series, account.id), rest // series.value)
            rest -= qty * series.value
            walk.append((series, qty))
    market.emit(EventKind.BILL_REDEEMED, account=account.id, order_id=product, amount=bill, fee=rest, extra=store)
    for series, qty in walk:
        if qty:
            units_recall(market, series, account.id, qty)
            redeem_units(market, series, account, qty, store)


def check_product(market: Market, command: Command) -> tuple[Account, Account]:
    """Refuse a product that is not there, or where default or freeze has ended what the account may do in it.

    Gives the account and the product's merchant.
    """
    product = command.order_id
    market.check_reference(command)
    account = market.known_account(command.account)
    known = 0 < product <= len(market.products)
    market.refuse_if(not known, Refusal.UnknownSeries, "order_id", product, len(market.products))
    merchant = market.accounts[market.products[product - 1].merchant]
    market.refuse_if(merchant.defaulted or account.defaulted, Refusal.MerchantDefaulted, "order_id", product)
    market.refuse_if(account.frozen, Refusal.AccountFrozen, "account", account.id)
    return account, merchant


def series_with(market: Market, product: int, store: int) -> list[Series]:
    """List the live series of a product that take redemptions at a store, in the order of bills; none is refused (R14)."""
    usable = [series for series in market.product_series(product) if series.live and store_allowed(series, store)]
    market.refuse_if(not usable, Refusal.StoreNotInProduct, "other_account", store)
    return usable


# ── refunds ──────────────────────────────────────────────────────────────────────────────────────


class RefundTerms(NamedTuple):
    """Where a refund comes from: the escrow's share and the merchant's part."""

    qty: int
    amount: int
    from_escrow: int
    from_merchant: int


def refund_terms(series: Series, qty: int) -> RefundTerms:
    """Work out a refund of `qty` units: the R12 share first, the rest from the merchant (R25)."""
    amount = qty * series.terms.issue_price
    from_escrow = min(escrow_share(series, series.base_of(qty, series.value)), amount)
    return RefundTerms(qty, amount, from_escrow, amount - from_escrow)


def still_cooling(market: Market, series: Series) -> Callable[[Lot], bool]:
    """Give the test for lots that may be refunded on demand (R25)."""
    return lambda lot: lot.primary and market.clock_ns < lot.acquired_ns + series.terms.cooling_off_ns


def refund(market: Market, command: Command) -> None:
    """Give units from the primary sale back within their cooling-off (R25)."""
    qty = command.qty
    market.check_qty(qty)
    market.check_reference(command)
    account = market.known_account(command.account)
    series = market.known_series(command.series)
    market.check_living(series, account)
    eligible = still_cooling(market, series)
    cooling = lots_eligible(market.holding(account.id, series), eligible)
    market.refuse_if(qty > cooling, Refusal.CoolingOffNotAvailable, "qty", qty, cooling)
    terms, cash = refund_terms(series, qty), market.accounts[series.merchant].cash_free
    short = terms.from_merchant > cash
    market.refuse_if(short, Refusal.MerchantFundsInsufficient, "qty", terms.from_merchant, cash)
    # From here the command must succeed.
    refund_units(market, series, account, terms, eligible)


def refund_units(
    market: Market, series: Series, account: Account, terms: RefundTerms, eligible: Callable[[Lot], bool], *, forced: bool = False
) -> None:
    """Destroy eligible units and pay their issue price back; the platform keeps its fee (R25, R33)."""
    qty = terms.qty
    lots_take(market.holding(account.id, series), qty, eligible)
    market.units_move(account.id, series, free=-qty)
    series.units -= qty
    series.refunded += qty * series.value
    market.pay(series.merchant, account.id, terms.from_merchant)
    market.emit(
        EventKind.REFUNDED,
        series=series.id,
        account=account.id,
        other_account=series.merchant,
        price=series.value,
        qty=qty,
        amount=terms.amount,
        other_fee=terms.from_merchant,
        flags=int(forced),
    )
    market.escrow_pay(series, account.id, terms.from_escrow)
    if series.base == 0:  # R12: the refund took less than its share, and nothing is promised any more
        market.escrow_pay(series, series.merchant, series.escrow)
