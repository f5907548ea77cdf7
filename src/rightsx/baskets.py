"""Verbs over several books at once: a bill paid with rights to be bought, a product bought, a roll (R50 … R53).

books of a product ─► what is cheapest for its value ─► one order in each ─► one command: all of it, or nothing
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rightsx import results
from rightsx.border import Time, switch, text, time_ns as to_ns
from rightsx.commanding import Commanding
from rightsx.protocol import MAX_NAME_BYTES, CommandKind, Refusal, TimeInForce
from rightsx.vocabulary import integer

if TYPE_CHECKING:
    from rightsx.results import BasketResult

NO_LIMIT: Final = 0


class Baskets(Commanding):
    """The part of an exchange that trades in several books with one command."""

    def pay_bill(
        self,
        *,
        merchant: int,
        product: str,
        account: int,
        amount: int,
        max_price: int | None = None,
        store: int | str = 0,
        ref: int = 0,
        time_ns: Time | None = None,
    ) -> BasketResult:
        """Buy just enough of the cheapest rights of a product and redeem them towards a bill of `amount` at once (R51).

        Of all asks the one that costs least per value, fee included, is taken first, as long as a whole unit fits what is left
        of the bill, costs at most `max_price`, and costs less than it is worth. What is left is `cash_due`; `saving` is what the
        goods are worth beyond their cost. Nothing bought is an answer, too. Refused: BadPrice, BadAmount,
        IdempotencyConflict, UnknownAccount, UnknownSeries (no such product), MerchantDefaulted, AccountFrozen, Killed,
        BuybackFlagRequired (the merchant itself), StoreNotInProduct, HolderLimitExceeded, OrderLimitExceeded,
        InsufficientCash, CapacityExceeded.
        """
        return self._do(
            results.BasketResult,
            CommandKind.PAY_BILL,
            time_ns,
            account=account,
            product=self._product(merchant, product),
            amount=amount,
            max_price=_most(max_price),
            store=self._store(store, merchant),
            ref=ref,
        )

    def buy_product(
        self,
        *,
        merchant: int,
        product: str,
        account: int,
        qty: int,
        max_price: int | None = None,
        expires_from: Time | None = None,
        all_or_nothing: bool = False,
        ref: int = 0,
        time_ns: Time | None = None,
    ) -> BasketResult:
        """Buy `qty` units of a product, whatever their series, the best value for the money first (R52).

        Series that expire before `expires_from` are left out, and prices above `max_price`. Without `all_or_nothing` what there
        is is bought. Refused: BadQuantity, BadPrice, BadTime, IdempotencyConflict, UnknownAccount, UnknownSeries (no such
        product), MerchantDefaulted, AccountFrozen, Killed, BuybackFlagRequired (the merchant itself), HolderLimitExceeded,
        OrderLimitExceeded, InsufficientCash, FOKUnfillable, CapacityExceeded.
        """
        return self._do(
            results.BasketResult,
            CommandKind.BUY_PRODUCT,
            time_ns,
            account=account,
            product=self._product(merchant, product),
            qty=qty,
            max_price=_most(max_price),
            expires_from_ns=0 if expires_from is None else to_ns("expires_from", expires_from),
            time_in_force=TimeInForce.FOK if switch("all_or_nothing", all_or_nothing) else TimeInForce.IOC,
            ref=ref,
        )

    def roll(
        self, *, account: int, series: int, to: int, qty: int, net_price: int, ref: int = 0, time_ns: Time | None = None
    ) -> BasketResult:
        """Sell `qty` units of one series and buy as many of another, in one command, all or nothing (R53).

        The new units, fee included, cost at most `net_price` × `qty` more than the old ones bring after fee and royalty; a
        negative `net_price` asks for money back. Refused: BadQuantity, BadPrice, BadTerms (into itself), IdempotencyConflict,
        UnknownAccount, UnknownSeries, MerchantDefaulted, AccountFrozen, SeriesExpired, TradingClosed, Killed, SeriesHalted,
        MerchantCannotResell, BuybackFlagRequired, ResaleForbidden, HolderLimitExceeded, OrderLimitExceeded, InsufficientUnits,
        HoldingPeriod, InsufficientCash, FOKUnfillable, CapacityExceeded.
        """
        return self._do(
            results.BasketResult,
            CommandKind.ROLL,
            time_ns,
            series=series,
            to=to,
            account=account,
            qty=qty,
            net_price=net_price,
            ref=ref,
        )

    def _product(self, merchant: int, product: str) -> int:
        """Give the id of a merchant's product, or 0, which is nobody's."""
        integer("merchant", merchant, Refusal.UnknownAccount)
        found = self._twin.product(merchant, text("product", product, MAX_NAME_BYTES))
        return found.product if found else 0


def _most(price: int | None) -> int:
    """Give a limit per unit as a command tells it; None is none, and 0 buys nothing."""
    if price is None:
        return NO_LIMIT
    named = integer("max_price", price, Refusal.BadPrice)
    return named or -1
