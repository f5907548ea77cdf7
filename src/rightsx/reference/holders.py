"""Accounts as holders: opening them, their limits, the cap on face held (R3, R31, R49)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rightsx.protocol import CASH_END, MAX_TIERS, EventKind, Refusal, Side
from rightsx.reference.state import Account, Market, Series

if TYPE_CHECKING:
    from rightsx.protocol import Command
    from rightsx.reference.book import Order


def open_account(market: Market, command: Command) -> None:
    """Open an account; its id is the next integer (R3)."""
    admit_limits(market, command)
    market.check_reference(command)
    check_account_room(market, 1)
    # From here the command must succeed.
    account = account_add(market)
    account.tier, account.max_open, account.max_notional = command.other_account, command.qty, command.price
    emit_account(market, EventKind.ACCOUNT_OPENED, account)


def set_account(market: Market, command: Command) -> None:
    """Replace an account's tier and limits; what it holds already stays (R31, R49)."""
    admit_limits(market, command)
    market.check_reference(command)
    account = market.known_account(command.account)
    # From here the command must succeed.
    account.tier, account.max_open, account.max_notional = command.other_account, command.qty, command.price
    emit_account(market, EventKind.ACCOUNT_SET, account)


def admit_limits(market: Market, command: Command) -> None:
    """Refuse negative limits and a tier that was never set."""
    market.refuse_if(command.qty < 0, Refusal.BadQuantity, "qty", command.qty)
    market.refuse_if(command.price < 0, Refusal.BadAmount, "price", command.price)
    unknown = command.other_account != 0 and command.other_account not in market.tiers
    market.refuse_if(unknown, Refusal.BadTerms, "other_account", command.other_account)


def set_tier(market: Market, command: Command) -> None:
    """Set the most face that accounts of a tier may hold per product (R31)."""
    tier, cap = command.other_account, command.qty
    market.refuse_if(not 0 < cap < CASH_END, Refusal.BadAmount, "qty", cap, 1 if cap <= 0 else CASH_END - 1)
    market.refuse_if(not 0 < tier < MAX_TIERS, Refusal.BadTerms, "other_account", tier, 1 if tier == 0 else MAX_TIERS - 1)
    market.check_reference(command)
    # From here the command must succeed.
    market.tiers[tier] = cap
    market.emit(EventKind.TIER_SET, extra=tier, amount=cap)


def check_account_room(market: Market, count: int) -> None:
    """Refuse accounts beyond the venue's limit."""
    opened = len(market.accounts) - 1
    full = opened + count > market.venue.limits.accounts
    market.refuse_if(full, Refusal.CapacityExceeded, "account", opened + count, market.venue.limits.accounts)


def account_add(market: Market, *, is_merchant: bool = False) -> Account:
    """Add an account under the next id."""
    account = Account(len(market.accounts), is_merchant)
    market.accounts.append(account)
    return account


def emit_account(market: Market, kind: EventKind, account: Account) -> None:
    """Say what an account's tier and limits are."""
    market.emit(kind, account=account.id, extra=account.tier, qty=account.max_open, amount=account.max_notional)


def check_holder_limit(market: Market, series: Series, account: Account, qty: int, replaced: Order | None = None) -> None:
    """Refuse `qty` more units where the face held in the product would pass the tier's cap (R31).

    Units wherever they are and open bids count, stops included, over the product's live series; the
    order that an amend replaces does not, and the merchant is exempt in its own series.
    """
    if not account.tier or account.id == series.merchant:
        return
    face = qty * series.terms.par
    if replaced is not None and replaced.side == Side.BUY:
        face -= replaced.open_qty * series.terms.par
    check_face(market, series.product, account, face)


def check_face(market: Market, product: int, account: Account, face: int) -> None:
    """Refuse where an account's face held in a product, changed by `face`, would pass its tier's cap (R31)."""
    if not account.tier:
        return
    for number in market.products[product - 1].series:
        other = market.series[number - 1]
        if other.live:
            holding = market.holding(account.id, other)
            face += (holding.units + holding.bid_qty) * other.terms.par
    cap = market.tiers[account.tier]
    market.refuse_if(face > cap, Refusal.HolderLimitExceeded, "qty", face, cap)
