"""Cash comes and goes, units are given away (R27, R35, R36)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rightsx.protocol import CASH_END, EventKind, Refusal
from rightsx.reference.holders import check_holder_limit
from rightsx.reference.lots import lots_cost, lots_take
from rightsx.reference.orders import check_trading
from rightsx.reference.state import PLATFORM

if TYPE_CHECKING:
    from rightsx.protocol import Command
    from rightsx.reference.state import Market


def deposit(market: Market, command: Command) -> None:
    """Credit cash to an account, frozen or not (R32)."""
    amount = command.qty
    market.check_amount(amount)
    market.check_reference(command)
    account = market.known_account(command.account)
    room = CASH_END - 1 - (market.deposited - market.withdrawn - market.charged_back)
    market.refuse_if(amount > room, Refusal.CapacityExceeded, "qty", amount, room)
    # From here the command must succeed.
    account.cash_free += amount
    market.deposited += amount
    market.emit(EventKind.DEPOSITED, account=account.id, amount=amount)


def withdraw(market: Market, command: Command) -> None:
    """Pay free cash out of the market."""
    amount = command.qty
    market.check_amount(amount)
    market.check_reference(command)
    account = market.known_account(command.account)
    market.refuse_if(account.defaulted, Refusal.MerchantDefaulted, "account", account.id)
    market.refuse_if(account.frozen, Refusal.AccountFrozen, "account", account.id)
    market.refuse_if(amount > account.cash_free, Refusal.InsufficientCash, "qty", amount, account.cash_free)
    # From here the command must succeed.
    account.cash_free -= amount
    market.withdrawn += amount
    market.emit(EventKind.WITHDRAWN, account=account.id, amount=amount)


def transfer(market: Market, command: Command) -> None:
    """Give free units to somebody for the venue's flat fee; the donee's lot is new and keeps the cost (R27)."""
    qty, fee = command.qty, market.venue.gift_fee
    market.check_qty(qty)
    market.check_reference(command)
    giver = market.known_account(command.account)
    donee = market.known_account(command.other_account, "other_account")
    series = market.known_series(command.series)
    check_trading(market, series, giver, donee)
    market.refuse_if(not series.terms.gifts, Refusal.ResaleForbidden, "series", series.id)
    market.refuse_if(giver is donee, Refusal.SelfTransfer, "other_account", donee.id)
    check_holder_limit(market, series, donee, qty)
    free = market.holding(giver.id, series).free_qty
    market.refuse_if(qty > free, Refusal.InsufficientUnits, "qty", qty, free)
    market.refuse_if(fee > giver.cash_free, Refusal.InsufficientCash, "qty", fee, giver.cash_free)
    market.refuse_if(not market.has_room([(donee.id, series)]), Refusal.CapacityExceeded)
    # From here the command must succeed.
    market.pay(giver.id, PLATFORM, fee)
    lots = lots_take(market.holding(giver.id, series), qty)
    market.units_move(giver.id, series, free=-qty)
    market.units_receive(donee.id, series, qty, lots_cost(lots))
    market.emit(EventKind.GIFTED, series=series.id, account=giver.id, other_account=donee.id, qty=qty, fee=fee)
