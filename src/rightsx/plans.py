"""Use it or sell it: plans that sell what an account has not used by a time, at a price that falls until last trade (R55).

    plan_sale ─► nothing is locked until `start` ─► one order, cheaper each time it is due ─► last trade
                                                      └ redeem, redeem_bill, lock_voucher take back from it

The engine does all of it; these verbs say from when on, and how often the price falls, where nobody says it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rightsx import results
from rightsx.border import Span, Time, span_ns, time_ns as to_ns
from rightsx.commanding import Commanding
from rightsx.errors import MisuseError
from rightsx.protocol import DAY_NS, MAX_FALLS, TIME_END, CommandKind, Refusal
from rightsx.vocabulary import integer

if TYPE_CHECKING:
    from rightsx.results import Result
    from rightsx.views import PlanView

NO_START: Final = 0  # the start_ns that ends a plan


class Plans(Commanding):
    """The part of an exchange that keeps plans."""

    def plan_sale(
        self,
        *,
        series: int,
        account: int,
        price: int,
        last_price: int | None = None,
        start: Time | None = None,
        before_expiry: Span | None = None,
        falls: int | None = None,
        keep: int = 0,
        ref: int = 0,
        time_ns: Time | None = None,
    ) -> Result:
        """Plan to sell what is unused by `start`, or so long `before_expiry`: at `price`, falling until last trade (R55).

        From then on all free units but `keep` are on offer in one order of the plan's, whose price falls `falls` times, in equal
        steps of time and money (not named: about once a day), never below `last_price` (not named: `price`). What is
        on offer can still be redeemed until somebody buys it; for all else it is an offer like any, so that a purchase of the
        owner's own cancels it until the plan is due next (R42). One plan per account and series: another one replaces it.
        Refused: BadQuantity, BadPrice, BadTime (start is not ahead, or not before last trade), BadTerms, IdempotencyConflict,
        UnknownAccount, UnknownSeries, MerchantDefaulted, AccountFrozen, SeriesExpired, TradingClosed, MerchantCannotResell,
        ResaleForbidden, CapacityExceeded. Costs O(1), and each of the `falls` + 1 times at which it is due as much as an order.

        >>> from rightsx import Exchange
        >>> market = Exchange()
        >>> shop, ann = market.register_merchant("Cafe"), market.open_account()
        >>> tea = market.list_series(
        ...     merchant=shop, product="tea", par=100, issue_price=50, authorised=9, expire="2026-06-30", policy="forfeit"
        ... )
        >>> bool(market.plan_sale(series=tea, account=ann, price=80, last_price=40, before_expiry="7d"))
        True
        >>> market.plan(series=tea, account=ann).falls
        6
        """
        found = self._find(series)
        if start is not None and before_expiry is None:
            start_ns = to_ns("start", start) or NO_START - 1  # 0 would end the plan; as a start it has passed
        elif start is None and before_expiry is not None:
            span = span_ns("before_expiry", before_expiry)
            start_ns = max(NO_START + 1, found.terms.expire_ns - span) if found else TIME_END - 1
        else:
            raise MisuseError("a plan begins at its start, or so long before_expiry; name one of the two", Refusal.BadTime)
        lowest = price if last_price is None else last_price
        if falls is None:
            days = -(-(found.terms.last_trade_ns - start_ns) // DAY_NS) if found else 0
            falls = min(max(days - 1, 0 if lowest == price else 1), MAX_FALLS)
        return self._do(
            results.Result,
            CommandKind.PLAN_SALE,
            time_ns,
            series=series,
            account=account,
            start_ns=start_ns,
            price=price,
            last_price=lowest,
            falls=falls,
            keep=keep,
            ref=ref,
        )

    def end_plan(self, *, series: int, account: int, ref: int = 0, time_ns: Time | None = None) -> Result:
        """End an account's plan in a series and cancel its order; where there is none, that is said and no more happens.

        Refused: IdempotencyConflict, UnknownAccount, UnknownSeries, MerchantDefaulted, AccountFrozen, SeriesExpired,
        TradingClosed, MerchantCannotResell, ResaleForbidden.
        """
        return self._do(
            results.Result, CommandKind.PLAN_SALE, time_ns, series=series, account=account, start_ns=NO_START, ref=ref
        )

    def plan(self, *, series: int, account: int) -> PlanView | None:
        """Show an account's plan in a series, or None. O(1)."""
        wanted = integer("series", series, Refusal.UnknownSeries), integer("account", account, Refusal.UnknownAccount)
        if min(wanted) <= 0:
            return None
        return self._twin.plan(series, account)

    def plans(self, *, account: int = 0, series: int = 0) -> list[PlanView]:
        """List plans, of an account or in a series if named, by series and account. O(series + plans listed)."""
        integer("account", account, Refusal.UnknownAccount)
        integer("series", series, Refusal.UnknownSeries)
        return self._twin.plans(account=account, series=series)
