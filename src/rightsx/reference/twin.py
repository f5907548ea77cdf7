"""The reference as a twin: commands in, events out, queries beside them.

Behind this small interface the friendly face cannot tell which engine it has. Nothing here decides
anything: it unpacks, runs, and copies state into views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rightsx.errors import MisuseError
from rightsx.protocol import (
    FIRST_COLD_KIND,
    HOLDER,
    PROMISE,
    Command,
    CommandKind,
    Event,
    Refusal,
    Side,
    Venue,
    commands_of,
    event_records,
)
from rightsx.reference.auction import auction_table
from rightsx.reference.audit import check, state_hash
from rightsx.reference.lots import lots_cost
from rightsx.reference.plans import plan_due_ns
from rightsx.reference.run import run
from rightsx.reference.state import PLATFORM, Market, Series
from rightsx.views import AccountView, AuctionRow, HoldingView, Level, OrderView, PlanView, ProductView, SeriesView, VoucherView
from rightsx.vocabulary import unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rightsx.reference.book import Order
    from rightsx.reference.state import Plan

_KINDS = frozenset(CommandKind)


class ReferenceExchange:
    """The whole market in plain Python; the judge of every other engine."""

    resumable = False

    def __init__(self, venue: Venue) -> None:
        """Begin empty, at time 0."""
        self._market = Market(venue)

    # ── commands ─────────────────────────────────────────────────────────────────────────────────

    def apply(self, command: Command, payload: bytes = b"") -> list[Event]:
        """Apply one command and give its events; a cold one brings its payload.

        Raises `MisuseError` for an unknown kind and `CorruptionError` for a payload that is not what
        the command states; nothing has changed then.
        """
        if command.kind not in _KINDS:
            raise MisuseError(f"kind was {command.kind}; no command has that number", Refusal.BadTerms)
        content = unpack(command, payload) if command.kind >= FIRST_COLD_KIND else {}
        return run(self._market, command, content)

    def apply_raw(self, command: Command, payload: bytes = b"") -> bytes:
        """Apply one command and give the bytes of its EVENTs, as `apply` does."""
        return event_records(self.apply(command, payload)).tobytes()

    def apply_batch(self, records: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Apply COMMAND[n] and give EVENT[m], in `out` if they fit; cold kinds are a `MisuseError` before the first write."""
        commands = commands_of(records)
        for index, command in enumerate(commands):
            if command.kind not in _KINDS or command.kind >= FIRST_COLD_KIND:
                message = f"command {index} was of kind {command.kind}; a batch takes hot kinds alone, which have no payload"
                raise MisuseError(message, Refusal.BadTerms)
        events = event_records([event for command in commands for event in run(self._market, command, {})])
        if out is None or len(out) < len(events):
            return events
        out[: len(events)] = events
        return out[: len(events)]

    def short_way(self) -> None:
        """Give nothing: every command goes the same way."""

    def heard(self) -> None:
        """Forget nothing: no answer is kept."""

    def take_unread(self, told: int) -> np.ndarray:
        """Give nothing: a market of plain objects that is cut short in the midst of a command must not go on."""
        del told
        return event_records(())

    # ── the whole ────────────────────────────────────────────────────────────────────────────────

    def check(self) -> None:
        """Raise `AuditError` if the books do not add up. O(state)."""
        check(self._market)

    def state_hash(self) -> str:
        """Hash the canonical state. O(state)."""
        return state_hash(self._market)

    @property
    def clock_ns(self) -> int:
        """The engine's clock."""
        return self._market.clock_ns

    @property
    def next_due_ns(self) -> int | None:
        """When the next timer falls due, or None."""
        return self._market.timers[0].due_ns if self._market.timers else None

    @property
    def command_seq(self) -> int:
        """How many commands there were."""
        return self._market.command_seq

    @property
    def platform_cash(self) -> int:
        """What the platform has earned, in minor units."""
        return self._market.accounts[PLATFORM].cash_free

    # ── queries ──────────────────────────────────────────────────────────────────────────────────

    def account(self, account: int) -> AccountView | None:
        """Copy an account, or None."""
        found = self._market.find_account(account)
        if found is None:
            return None
        holdings = [
            self._holding(account, series)
            for series in self._market.series
            if account in series.holdings and series.holdings[account].units
        ]
        return AccountView(
            account=found.id,
            is_merchant=found.is_merchant,
            cash_free=found.cash_free,
            cash_locked=found.cash_locked,
            debt=found.debt,
            claims=dict(sorted((series, claim) for (who, series), claim in self._market.claims.items() if who == account)),
            frozen=found.frozen,
            defaulted=found.defaulted,
            tier=found.tier,
            max_open=found.max_open,
            max_notional=found.max_notional,
            open_orders=len(found.orders),
            holdings=holdings,
        )

    def holding(self, account: int, series: int) -> HoldingView | None:
        """Copy a holding; zeros where there is none, None for an unknown series."""
        found = self._market.find_series(series)
        return self._holding(account, found) if found else None

    def _holding(self, account: int, series: Series) -> HoldingView:
        holding = self._market.holding(account, series)
        cost = lots_cost(holding.lots)
        cost += sum(lots_cost(one.lots) for one in series.vouchers.values() if one.account == account)
        if holding.offered_qty:
            mine = self._market.accounts[account].orders.values()
            cost += sum(lots_cost(order.lots) for order in mine if order.series == series.id)
        return HoldingView(
            series=series.id,
            free_qty=holding.free_qty,
            offered_qty=holding.offered_qty,
            voucher_qty=holding.voucher_qty,
            cost=cost if series.keeps_lots else None,
            value=series.value if series.live else 0,
            last_price=series.last_price or None,
            expire_ns=series.terms.expire_ns,
        )

    def series(self, series: int) -> SeriesView | None:
        """Copy a series, or None."""
        found = self._market.find_series(series)
        if found is None:
            return None
        return series_view(found, self._market.products[found.product - 1].name, self._market.channels)

    def merchant_of(self, series: int) -> int:
        """Give the merchant of a series, or 0."""
        found = self._market.find_series(series)
        return found.merchant if found else 0

    def products(self) -> list[ProductView]:
        """Copy every product: merchant, name, its series by expiry."""
        return [
            ProductView(number, product.merchant, product.name, [one.id for one in self._market.product_series(number)])
            for number, product in enumerate(self._market.products, 1)
        ]

    def product(self, merchant: int, name: str) -> ProductView | None:
        """Copy one product by name, or None."""
        number = self._market.product_ids.get((merchant, name))
        if number is None:
            return None
        return ProductView(number, merchant, name, [one.id for one in self._market.product_series(number)])

    def depth(self, series: int, side: Side, most: int | None) -> list[Level]:
        """List the best levels of one side."""
        found = self._market.find_series(series)
        return [Level(*row) for row in found.book.depth(side, most)] if found else []

    def auction(self, series: int) -> list[AuctionRow]:
        """List the candidate prices of a series that is in its auction; [] otherwise."""
        found = self._market.find_series(series)
        return [AuctionRow(*row) for row in auction_table(found)] if found and found.in_auction else []

    def order(self, order_id: int) -> OrderView | None:
        """Copy a live order, or None."""
        found = self._market.orders.get(order_id)
        return self._order(found) if found else None

    def orders(self, *, account: int = 0, series: int = 0) -> list[OrderView]:
        """List live orders of an account, or of a series, in order of acceptance."""
        some = self._market.accounts[account].orders if account else self._market.orders
        orders = sorted(some.values(), key=lambda order: order.accept_seq)
        return [self._order(order) for order in orders if series in (0, order.series)]

    def queue(self, series: int, side: Side) -> list[OrderView]:
        """List the resting orders of one side in the order in which they would trade."""
        found = self._market.find_series(series)
        return [self._order(order) for order in found.book.orders(side)] if found else []

    def _order(self, order: Order) -> OrderView:
        return OrderView(
            order_id=order.id,
            account=order.account,
            series=order.series,
            side=order.side.name.lower(),
            price=order.limit,
            open_qty=order.open_qty,
            shown_qty=order.shown_qty,
            filled_qty=order.filled_qty,
            cash_locked=order.cash_locked,
            stop_price=order.stop_price or None,
            deadline_ns=order.deadline_ns or None,
            fee_charged=order.fee_charged,
            peg=order.peg or None,
            planned=order.planned,
        )

    def plan(self, series: int, account: int) -> PlanView | None:
        """Copy an account's plan in a series, or None. O(1)."""
        one = self._market.find_series(series)
        plan = one.plans.get(account) if one else None
        return plan_view(one, plan, live=plan.order_id in self._market.orders) if one and plan else None

    def plans(self, *, account: int = 0, series: int = 0) -> list[PlanView]:
        """List plans, of an account or in a series if named, by series and account."""
        return [
            plan_view(one, plan, live=plan.order_id in self._market.orders)
            for one in self._market.series
            if series in (0, one.id)
            for _, plan in sorted(one.plans.items())
            if account in (0, plan.account)
        ]

    def voucher(self, voucher_id: int) -> VoucherView | None:
        """Copy a voucher whose row is still there, or None."""
        series = self._market.find_series(voucher_id >> 32)
        voucher = series.vouchers.get(voucher_id) if series else None
        if voucher is None:
            return None
        state = "redeemed" if voucher.redeemed else "lapsed" if voucher.lapsed else "live"
        return VoucherView(
            voucher.id, voucher.account, voucher.qty, voucher.value, voucher.redeem_end_ns, voucher.lapse_ns, state
        )

    def promises(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Give PROMISE of each series without its holders, HOLDER of what is held, and the number of accounts. O(holdings)."""
        owed = np.zeros(len(self._market.series), PROMISE)
        held = []
        for row, series in zip(owed, self._market.series, strict=True):
            row["series"], row["merchant"], row["units"], row["escrow"] = series.id, series.merchant, series.units, series.escrow
            row["face"], row["value"] = (series.face_owed, series.value) if series.live else (0, 0)
            row["expire_ns"] = series.terms.expire_ns
            held += [(series.id, account, found.units) for account, found in series.holdings.items() if found.units]
        return owed, np.array(held, HOLDER), len(self._market.accounts)

    def channels(self) -> list[str]:
        """List channels, from id 1."""
        return list(self._market.channels)

    def terminals(self, merchant: int) -> list[str]:
        """List a merchant's terminals, from number 1."""
        found = self._market.find_merchant(merchant)
        return list(found.terminals) if found else []

    def stores(self, merchant: int) -> dict[str, int]:
        """Map a merchant's store names to ids."""
        return {store.name: number for number, store in enumerate(self._market.stores, 1) if store.merchant == merchant}

    def member(self, merchant: int, member: int) -> int | None:
        """Give the account of an imported member, or None."""
        return self._market.members.get((merchant, member))


def plan_view(series: Series, plan: Plan, *, live: bool) -> PlanView:
    """Copy a plan in a series; `live` says whether its order is."""
    return PlanView(
        series=series.id,
        account=plan.account,
        start_ns=plan.start_ns,
        price=plan.price,
        last_price=plan.last_price,
        falls=plan.falls,
        keep=plan.keep,
        due_ns=plan_due_ns(series, plan) if plan.timer_seq else None,
        order_id=plan.order_id if live else None,
    )


def series_view(found: Series, name: str, channels: Sequence[str]) -> SeriesView:
    """Copy a series of a product of this name; `channels` are the names of all channels, from id 1."""
    phases = ("expired", "defaulted", "closed", "halted", "in_auction")
    phase = next((phase for phase in phases if getattr(found, phase)), "open")
    return SeriesView(
        series=found.id,
        merchant=found.merchant,
        product=found.product,
        name=name,
        terms=found.terms,
        steps=tuple(found.steps),
        stores=found.stores,
        value=found.value,
        cap=found.cap,
        reference=found.reference,
        band=found.band() if found.terms.band_bps else None,
        last_price=found.last_price or None,
        sold=found.sold,
        gross=found.gross,
        units=found.units,
        escrow=found.escrow,
        face_owed=found.face_owed if found.live else 0,
        redeemed=found.redeemed,
        decayed=found.decayed,
        decayed_before_sale=found.decayed_before_sale,
        expired=found.expired_face,
        refunded=found.refunded,
        bought_back=found.bought_back,
        defaulted=found.defaulted_face,
        phase="auction" if phase == "in_auction" else phase,
        channels={
            channels[channel - 1]: (found.channel_sold[channel], found.channel_gross[channel])
            for channel in sorted(found.channel_sold)
        },
    )
