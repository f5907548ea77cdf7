"""The verbs people type: turns them into commands for a twin, and events into results.

    market = Exchange()
    shop = market.register_merchant("Cafe Nord")
    ann = market.open_account()
    coffee = market.list_series(merchant=shop, product="coffee", par=100, issue_price=80, authorised=1_000,
                                expire="2026-06-30", policy="forfeit")
    market.deposit(account=ann, amount=100_00)
    market.subscribe(series=coffee, account=ann, qty=50)

Every verb is keyword-only, takes integers, words and dates (`border`), builds one command
(`vocabulary`), and answers with a result (`results`) that is true if the market accepted. Money is
always integer minor units, quantities integer units, times ns since 1970 UTC or an ISO date. Common to
all verbs and not repeated below:

- `time_ns=` stamps the command; without it the `clock=` of the exchange does, or the engine's own clock.
- `ref=` is an idempotency key (1 … 2^64 − 1): the same command under it is answered, not done again, another one is
  IdempotencyConflict.
- a refusal is `result.refused` with code and values, or a `RefusedError` under `raise_on_refusal=True`.
- a wrong type or word is a `MisuseError` before anything is logged.

The face does not know which twin it has, decides nothing, and is the only place that reads a clock.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

import numpy as np

from rightsx import reports, results, schedule as schedules
from rightsx.baskets import Baskets
from rightsx.border import (
    SIDES,
    TIMES_IN_FORCE,
    Span,
    Time,
    check_out,
    iso,
    listed,
    member_row,
    number_of,
    span_ns,
    switch,
    text,
    time_ns as to_ns,
    venue_of,
    word,
)
from rightsx.errors import MisuseError
from rightsx.orderbook import CANCEL_BITS, CANCEL_TAKER, OWN_BITS, OWN_ORDERS, SIDE_BITS, TIME_BITS, most_levels
from rightsx.plans import Plans
from rightsx.protocol import (
    AT_ENGINE_CLOCK,
    EVENT,
    MAX_NAME_BYTES,
    AmendFlag,
    CommandKind,
    Event,
    EventKind,
    Limits,
    OrderFlag,
    Policy,
    Refusal,
    Side,
    Term,
    Terms,
    TimeInForce,
    events_in,
)
from rightsx.views import Card, CardRow, Ladder, ProductTable, discount_bps, word as shown
from rightsx.vocabulary import ROOT_BYTES, check_command, cold_command, command, integer, root_words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rightsx.dispatch import Raw
    from rightsx.protocol import Command
    from rightsx.results import (
        Created,
        ImportResult,
        OrderResult,
        RedeemResult,
        RefundResult,
        Result,
        SaleResult,
        VoucherResult,
    )
    from rightsx.views import (
        AccountView,
        AuctionRow,
        HoldingView,
        OrderView,
        Report,
        SeriesView,
        Statement,
        VoucherView,
    )

POLICIES: Final = {"forfeit": Policy.FORFEIT, "principal": Policy.PRINCIPAL}
TRIGGERS: Final = {"rise": OrderFlag.STOP_RISE, "fall": OrderFlag.STOP_FALL}
FOREVER: Final = 2**62
NONE: Final = 0
POST_ONLY_BIT: Final = int(OrderFlag.POST_ONLY) << 24


class Exchange(Baskets, Plans):
    """A whole market: accounts, series, books, escrow, and what falls due.

    `engine` is "compiled", or "reference" for judging. `clock` is a callable giving ns since 1970 (`time.time_ns`), read once a
    command that names no time; without it such a command happens at the engine's clock. `gift_fee`
    (minor units), `reference_days` and `limits` are the venue's, fixed for ever. `keep_events=False`
    drops the events that statements and reports are drawn from; a repeat under a `ref` then knows its
    order, voucher and filled quantity only, and its other amounts are 0. Not for two threads at once, nor
    to be called from a signal handler while a call of it runs.

    >>> market = Exchange()
    >>> ann = market.open_account()
    >>> bool(market.deposit(account=ann, amount=500)), market.account(ann).cash_free
    (True, 500)
    """

    def __init__(
        self,
        *,
        engine: Literal["compiled", "reference"] = "compiled",
        clock: Callable[[], int] | None = None,
        raise_on_refusal: bool = False,
        keep_events: bool = True,
        gift_fee: int = 0,
        reference_days: int = 30,
        limits: Limits | None = None,
    ) -> None:
        """Make an empty market; raises `MisuseError` for a rate or limit that makes no sense."""
        self._begin(engine, venue_of(gift_fee, reference_days, limits), clock, keeps=keep_events, raises=raise_on_refusal)

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled: `MisuseError`. The commands, applied again, make the same market."""
        raise MisuseError("an exchange cannot be copied or pickled; the commands, applied to a new one, make the same market")

    # ── accounts and cash ────────────────────────────────────────────────────────────────────────

    def open_account(
        self, *, tier: int = 0, max_open: int = 0, max_notional: int = 0, ref: int = 0, time_ns: Time | None = None
    ) -> Created:
        """Open an account and give its id (R3).

        `tier` caps the face held (`set_tier`), `max_open` the open orders, `max_notional` price × open
        quantity over them; 0 is no limit. Refused: BadQuantity, BadAmount, BadTerms, CapacityExceeded.
        """
        events = self._hot(CommandKind.OPEN_ACCOUNT, time_ns, tier=tier, max_open=max_open, max_notional=max_notional, ref=ref)
        return self._created(events, EventKind.ACCOUNT_OPENED, "account")

    def set_account(
        self, *, account: int, tier: int = 0, max_open: int = 0, max_notional: int = 0, ref: int = 0, time_ns: Time | None = None
    ) -> Result:
        """Replace an account's tier and limits. Refused: BadQuantity, BadAmount, BadTerms, UnknownAccount."""
        return self._do(
            results.Result,
            CommandKind.SET_ACCOUNT,
            time_ns,
            account=account,
            tier=tier,
            max_open=max_open,
            max_notional=max_notional,
            ref=ref,
        )

    def set_tier(self, *, tier: int, amount: int, ref: int = 0, time_ns: Time | None = None) -> Result:
        """Cap the face that accounts of a tier may hold per product (R31). Refused: BadAmount, BadTerms."""
        return self._do(results.Result, CommandKind.SET_TIER, time_ns, tier=tier, amount=amount, ref=ref)

    def deposit(self, *, account: int, amount: int, ref: int = 0, time_ns: Time | None = None) -> Result:
        """Credit cash. Refused: BadAmount, IdempotencyConflict, UnknownAccount, CapacityExceeded."""
        return self._do(results.Result, CommandKind.DEPOSIT, time_ns, account=account, amount=amount, ref=ref)

    def withdraw(self, *, account: int, amount: int, ref: int = 0, time_ns: Time | None = None) -> Result:
        """Pay free cash out.

        Refused: BadAmount, IdempotencyConflict, UnknownAccount, MerchantDefaulted, AccountFrozen,
        InsufficientCash.
        """
        return self._do(results.Result, CommandKind.WITHDRAW, time_ns, account=account, amount=amount, ref=ref)

    def freeze(self, *, account: int, ref: int = 0, time_ns: Time | None = None) -> Result:
        """Cancel an account's orders and refuse every action by it (R32). Refused: UnknownAccount."""
        return self._do(results.Result, CommandKind.FREEZE, time_ns, account=account, ref=ref)

    def unfreeze(self, *, account: int, ref: int = 0, time_ns: Time | None = None) -> Result:
        """Let an account act again; no order comes back (R32). Refused: UnknownAccount."""
        return self._do(results.Result, CommandKind.UNFREEZE, time_ns, account=account, ref=ref)

    def chargeback(self, *, account: int, amount: int, ref: int = 0, time_ns: Time | None = None) -> Result:
        """Take back cash that a bank has reversed (R33).

        Cancels the account's orders, refunds primary units where cash is short, records what is still
        missing as debt and then freezes. Refused: BadAmount, IdempotencyConflict, UnknownAccount,
        CapacityExceeded (a debt beyond 2^62).
        """
        return self._do(results.Result, CommandKind.CHARGEBACK, time_ns, account=account, amount=amount, ref=ref)

    # ── merchants and listings ───────────────────────────────────────────────────────────────────

    def register_merchant(self, name: str, *, ref: int = 0, time_ns: Time | None = None) -> Created:
        """Open a merchant's settlement account and give its id. Refused: CapacityExceeded."""
        payload = {"name": text("name", name, MAX_NAME_BYTES), "ref": ref}
        return self._created(
            self._cold(CommandKind.REGISTER_MERCHANT, time_ns, payload), EventKind.MERCHANT_REGISTERED, "account"
        )

    def register_store(
        self, name: str, *, merchant: int, settles_to: int = 0, ref: int = 0, time_ns: Time | None = None
    ) -> Created:
        """Register a till, its own or a franchisee's (`settles_to` is then who is paid), and give its id (R13).

        Refused: UnknownAccount, MerchantDefaulted, AccountFrozen, CapacityExceeded.
        """
        payload = {
            "name": text("name", name, MAX_NAME_BYTES),
            "settles_to": integer("settles_to", settles_to, Refusal.UnknownAccount),
            "ref": ref,
        }
        events = self._cold(CommandKind.REGISTER_STORE, time_ns, payload, account=merchant)
        return self._created(events, EventKind.STORE_REGISTERED, "extra")

    def register_terminal(self, name: str, *, merchant: int, ref: int = 0, time_ns: Time | None = None) -> Created:
        """Register a device for offline vouchers and give its number, from 1 (R28).

        Refused: UnknownAccount, MerchantDefaulted, AccountFrozen, CapacityExceeded (64 a merchant).
        """
        events = self._cold(
            CommandKind.REGISTER_TERMINAL,
            time_ns,
            {"name": text("name", name, MAX_NAME_BYTES), "ref": ref},
            account=merchant,
        )
        return self._created(events, EventKind.TERMINAL_REGISTERED, "extra")

    def register_channel(self, name: str, *, ref: int = 0, time_ns: Time | None = None) -> Created:
        """Register a sales channel and give its id (R45). Refused: DuplicateId, CapacityExceeded."""
        events = self._cold(CommandKind.REGISTER_CHANNEL, time_ns, {"name": text("name", name, MAX_NAME_BYTES), "ref": ref})
        return self._created(events, EventKind.CHANNEL_REGISTERED, "extra")

    def list_series(
        self,
        *,
        merchant: int,
        product: str,
        par: int,
        issue_price: int,
        authorised: int,
        expire: Time,
        policy: str | Policy | None = None,
        schedule: schedules.Shape | None = None,
        last_trade: Time | None = None,
        open_at: Time | None = None,
        cooling_off: Span = 0,
        hold: Span = 0,
        stores: Iterable[int | str] = (),
        channel_caps: Mapping[str, int] | None = None,
        resale: bool | None = None,
        gifts: bool | None = None,
        trial: bool = False,
        clawback: bool = True,
        ref: int = 0,
        time_ns: Time | None = None,
        **terms: int,
    ) -> Created:
        """List a series of a merchant's card product and give its id (R3).

        `par`, `issue_price`: minor units per unit; `authorised`: units. `schedule`: a shape of
        `rightsx.schedule`, default `cliff()`. `open_at` begins with a call auction until then.
        `stores`: ids or names; `channel_caps`: channel name → units. Further `terms`, all integers:
        residual, issue_bps, escrow_bps, cap_bps, band_bps, reference_price, maker_bps, taker_bps,
        auction_bps, royalty_bps, tick, lot, min_qty, max_qty. A trial allows neither resale nor gifts.
        Refused, in this order: BadQuantity, BadPrice, BadTime, BadTerms, UnknownAccount, PolicyMissing,
        ScheduleNotMonotone, ScheduleBelowPrincipal, MerchantDefaulted, AccountFrozen,
        StoreNotInProduct, CapacityExceeded.
        """
        expire_ns = to_ns("expire", expire)
        shape = schedules.cliff() if schedule is None else schedule
        if not isinstance(shape, schedules.Shape):
            raise MisuseError(f"schedule was {schedule!r}; a shape of rightsx.schedule is due", Refusal.BadTerms)
        given: dict[str, int | None] = {
            "par": integer("par", par, Refusal.BadPrice),
            "issue_price": integer("issue_price", issue_price, Refusal.BadPrice),
            "authorised": integer("authorised", authorised, Refusal.BadQuantity),
            "expire_ns": expire_ns,
            "policy": word("policy", policy, POLICIES, Refusal.PolicyMissing) if policy is not None else None,
            "last_trade_ns": to_ns("last_trade", last_trade) if last_trade is not None else None,
            "open_ns": to_ns("open_at", open_at) if open_at is not None else None,
            "cooling_off_ns": span_ns("cooling_off", cooling_off),
            "hold_ns": span_ns("hold", hold),
            "resale": int(switch("resale", not switch("trial", trial) if resale is None else resale)),
            "gifts": int(switch("gifts", not trial if gifts is None else gifts)),
            "trial": int(switch("trial", trial)),
            "clawback": int(switch("clawback", clawback)),
        }
        for name, value in terms.items():
            if name not in _FREE_TERMS:
                raise MisuseError(f"list_series has no term {name}; further terms are {', '.join(_FREE_TERMS)}", Refusal.BadTerms)
            given[name] = integer(name, value, Refusal.BadTerms)
        known = self._twin.stores(integer("merchant", merchant, Refusal.UnknownAccount))
        payload: dict[str, Any] = {
            "product": text("product", product, MAX_NAME_BYTES),
            "terms": {int(Term[name.upper()]): value for name, value in given.items() if value is not None},
            "steps": [list(step) for step in shape.compile(int(par), expire_ns)],
            "stores": [number_of(store, known, "store", 0) for store in listed("stores", stores)],
            "channel_caps": {},
            "ref": ref,
        }
        if channel_caps is not None:
            if not isinstance(channel_caps, Mapping):
                raise MisuseError(
                    f"channel_caps was {reprlib.repr(channel_caps)}; a dict of names to units is due", Refusal.BadTerms
                )
            caps = {
                text("channel", name, MAX_NAME_BYTES): integer("cap", cap, Refusal.BadTerms) for name, cap in channel_caps.items()
            }
            # Whatever makes this a wrong call shows before a channel is registered.
            cold_command(CommandKind.LIST_SERIES, payload, time_ns=_moment(time_ns), account=merchant)
            numbers = {name: self._channel(name, time_ns) for name in caps}
            for number in numbers.values():
                if not number:
                    return number
            payload["channel_caps"] = {int(number): caps[name] for name, number in numbers.items()}
        events = self._cold(CommandKind.LIST_SERIES, time_ns, payload, account=merchant)
        return self._created(events, EventKind.LISTED, "series")

    def import_members(
        self,
        *,
        series: int,
        rows: Iterable[tuple[int, int]],
        merchant: int | None = None,
        ref: int = 0,
        time_ns: Time | None = None,
    ) -> ImportResult:
        """Turn legacy balances into units: rows of (member id, balance in minor units) (R34).

        The whole batch or nothing, at most 65,536 rows. The merchant pays the escrow. Refused:
        BadAmount, BadTerms, IdempotencyConflict, UnknownAccount, UnknownSeries, NotOwner, DuplicateId,
        MerchantDefaulted, AccountFrozen, SeriesExpired, NoRedeemableValue, AuthorisedExceeded,
        ChannelCapExceeded, MerchantFundsInsufficient, CapacityExceeded.
        """
        given = [member_row(row) for row in listed("rows", rows)]
        owner = self._merchant_of(series) if merchant is None else merchant
        payload = {"rows": given, "ref": ref}
        return self._line.answer(
            results.ImportResult, self._cold(CommandKind.IMPORT_MEMBERS, time_ns, payload, series=series, account=owner)
        )

    # ── primary sale, gifts, redemption ──────────────────────────────────────────────────────────

    def subscribe(
        self, *, series: int, account: int, qty: int, channel: str | None = None, ref: int = 0, time_ns: Time | None = None
    ) -> SaleResult:
        """Buy units of the primary sale at the issue price (R5). A new `channel` name is registered first.

        Refused: BadQuantity, BadTerms, IdempotencyConflict, UnknownAccount, UnknownSeries,
        MerchantDefaulted, AccountFrozen, SeriesExpired, TradingClosed, Killed, SeriesHalted,
        MerchantCannotSubscribe, ResaleForbidden (trial), AuthorisedExceeded, ChannelCapExceeded,
        PriceAboveCap, HolderLimitExceeded, InsufficientCash, CapacityExceeded.
        """
        arguments = {"series": series, "account": account, "qty": qty, "ref": ref}
        # Whatever makes this a wrong call shows before a channel is registered.
        command(CommandKind.SUBSCRIBE, time_ns=_moment(time_ns), **arguments)
        number = self._channel(channel, time_ns) if channel is not None else results.Created(0)
        if number.refused:
            return self._line.answer(results.SaleResult, number.raw)
        return self._do(results.SaleResult, CommandKind.SUBSCRIBE, time_ns, channel=int(number), **arguments)

    def grant(
        self, *, series: int, account: int, qty: int, merchant: int | None = None, ref: int = 0, time_ns: Time | None = None
    ) -> Result:
        """Give units of a trial series for nothing; `merchant` defaults to the series' own (R46).

        Refused as `subscribe` is, and NotOwner for anyone but the merchant, BadTerms for a series
        that is no trial.
        """
        actor = self._merchant_of(series) if merchant is None else merchant
        return self._do(
            results.Result, CommandKind.GRANT, time_ns, series=series, account=actor, recipient=account, qty=qty, ref=ref
        )

    def transfer(
        self, *, series: int, account: int, recipient: int, qty: int, ref: int = 0, time_ns: Time | None = None
    ) -> Result:
        """Give free units to somebody, for the venue's flat gift fee (R27).

        Refused: BadQuantity, IdempotencyConflict, UnknownAccount, UnknownSeries, MerchantDefaulted,
        AccountFrozen (either side), SeriesExpired, TradingClosed, Killed, SeriesHalted,
        ResaleForbidden, SelfTransfer, HolderLimitExceeded, InsufficientUnits, InsufficientCash,
        CapacityExceeded.
        """
        return self._do(
            results.Result, CommandKind.TRANSFER, time_ns, series=series, account=account, recipient=recipient, qty=qty, ref=ref
        )

    def redeem(
        self, *, series: int, account: int, qty: int, store: int | str = 0, ref: int = 0, time_ns: Time | None = None
    ) -> RedeemResult:
        """Turn free units, and what a plan of the account's has on offer (R55), into goods worth qty × v(t) at a store (R13).

        Refused: BadQuantity, IdempotencyConflict, UnknownAccount, UnknownSeries, MerchantDefaulted,
        AccountFrozen, SeriesExpired, StoreNotInProduct, NoRedeemableValue, InsufficientUnits.
        """
        till = self._store(store, self._merchant_of(series))
        return self._do(
            results.RedeemResult, CommandKind.REDEEM, time_ns, series=series, account=account, qty=qty, store=till, ref=ref
        )

    def redeem_bill(
        self,
        *,
        merchant: int,
        product: str,
        account: int,
        amount: int,
        store: int | str = 0,
        ref: int = 0,
        time_ns: Time | None = None,
    ) -> RedeemResult:
        """Pay a bill of `amount` with whole units of a product, earliest expiry first, those of plans included (R14, R55).

        What is left is `cash_due`. Refused: BadAmount, IdempotencyConflict, UnknownAccount,
        UnknownSeries (no such product), MerchantDefaulted, AccountFrozen, StoreNotInProduct.
        """
        number = self._product(merchant, product)
        till = self._store(store, merchant)
        return self._do(
            results.RedeemResult,
            CommandKind.REDEEM_BILL,
            time_ns,
            account=account,
            product=number,
            amount=amount,
            store=till,
            ref=ref,
        )

    def refund(self, *, series: int, account: int, qty: int, ref: int = 0, time_ns: Time | None = None) -> RefundResult:
        """Give primary units back within their cooling-off, at the issue price (R25).

        Refused: BadQuantity, IdempotencyConflict, UnknownAccount, UnknownSeries, MerchantDefaulted,
        AccountFrozen, SeriesExpired, CoolingOffNotAvailable, MerchantFundsInsufficient.
        """
        return self._do(results.RefundResult, CommandKind.REFUND, time_ns, series=series, account=account, qty=qty, ref=ref)

    def lock_voucher(
        self,
        *,
        series: int,
        account: int,
        qty: int,
        ttl: Span,
        terminals: Iterable[int | str],
        grace: Span = 0,
        ref: int = 0,
        time_ns: Time | None = None,
    ) -> VoucherResult:
        """Freeze units, free or on offer by a plan (R55), at their value for use offline at 1 to 64 terminals (R28).

        `ttl` is how long it may be redeemed, `grace` how much longer an upload may take; terminals are
        numbers or names. Refused: BadQuantity, BadTime, BadTerms, IdempotencyConflict, UnknownAccount,
        UnknownSeries, MerchantDefaulted, AccountFrozen, SeriesExpired, NoRedeemableValue,
        VoucherBeyondExpiry, InsufficientUnits.
        """
        names = self._twin.terminals(self._merchant_of(series))
        known = {name: number for number, name in enumerate(names, 1)}
        mask = 0
        for terminal in listed("terminals", terminals):
            number = number_of(terminal, known, "terminal", 0)
            if not 1 <= number <= 64 or mask >> (number - 1) & 1:  # noqa: PLR2004 - the bits of the record
                mask = 0  # no terminal at all, which the market refuses
                break
            mask |= 1 << (number - 1)
        signed = mask - 2**64 if mask >= 2**63 else mask
        return self._do(
            results.VoucherResult,
            CommandKind.LOCK_VOUCHER,
            time_ns,
            series=series,
            account=account,
            qty=qty,
            ttl_ns=span_ns("ttl", ttl),
            grace_ns=span_ns("grace", grace),
            terminals=signed,
            ref=ref,
        )

    def upload_voucher(
        self,
        *,
        voucher: int,
        terminal: int | str,
        redeemed: Time,
        store: int | str = 0,
        account: int = 0,
        ref: int = 0,
        time_ns: Time | None = None,
    ) -> RedeemResult:
        """Book what a terminal redeemed offline at the time `redeemed`; the first upload wins (R28).

        Refused, in this order: IdempotencyConflict, UnknownVoucher, SeriesExpired, TerminalNotAllowed,
        VoucherExpired, DoubleRedeem, VoucherLapsed.
        """
        merchant = self._merchant_of(integer("voucher", voucher, Refusal.UnknownVoucher) >> 32)
        known = {name: number for number, name in enumerate(self._twin.terminals(merchant), 1)}
        return self._do(
            results.RedeemResult,
            CommandKind.UPLOAD_VOUCHER,
            time_ns,
            voucher_id=voucher,
            terminal=number_of(terminal, known, "terminal", 0),
            redeemed_ns=to_ns("redeemed", redeemed, Refusal.VoucherExpired),
            store=self._store(store, merchant),
            account=account,
            ref=ref,
        )

    # ── orders ───────────────────────────────────────────────────────────────────────────────────

    def place(
        self,
        *,
        series: int,
        account: int,
        side: str | Side,
        qty: int,
        price: int | None = None,
        peg: int = 0,
        time_in_force: str | TimeInForce | None = None,
        deadline: Time | None = None,
        post_only: bool = False,
        display: int = 0,
        budget: int = 0,
        stop_price: int = 0,
        trigger: str | None = None,
        own_orders: str = "cancel_taker",
        buyback: bool = False,
        order_id: int = 0,
        ref: int = 0,
        time_ns: Time | None = None,
    ) -> OrderResult:
        """Enter an order (R19, R39 … R42).

        No `price`: a market order, or with `stop_price` a plain stop. `peg` instead: a limit that moves with the value at each
        decay step (R54), bps of it (9_200) or below 0 what it stays below it (-5). `time_in_force`: gtc (default),
        gtd (default with a `deadline`), ioc, fok. `display`: units an iceberg shows. `budget`: the most
        an FOK may cost or the least it must bring. `trigger`: rise or fall. `own_orders`:
        cancel_taker, cancel_maker, cancel_both. `order_id`: the caller's own, from 2^62.
        Refused, in this order: BadQuantity, BadPrice, BadAmount, BadTime, BadTerms,
        IdempotencyConflict, UnknownAccount, UnknownSeries, DuplicateId, MerchantDefaulted,
        AccountFrozen, SeriesExpired, TradingClosed, Killed, SeriesHalted, MerchantCannotResell,
        BuybackFlagRequired, ResaleForbidden, PriceAboveCap, OutsidePriceBand, HolderLimitExceeded,
        OrderLimitExceeded, InsufficientUnits, HoldingPeriod, InsufficientCash, PostOnlyWouldCross,
        FOKUnfillable, CapacityExceeded.
        """
        at_ns = AT_ENGINE_CLOCK if time_ns is None and self._clock is None else self._stamp(time_ns)
        # The short way is for what most orders are; what is written otherwise, or wrong, is read below, at leisure.
        if (
            type(side) is str
            and side in SIDE_BITS
            and price is not None
            and peg is NONE
            and deadline is None
            and trigger is None
            and buyback is False
            and display is NONE
            and budget is NONE
            and stop_price is NONE
        ):
            bits = SIDE_BITS[side]
            if time_in_force is not None or own_orders is not CANCEL_TAKER or post_only is not False:
                bits = _more_bits(bits, time_in_force, own_orders, post_only)
            # Made before the call: after it nothing lets an interrupt in until the caller has the answer.
            result = results.OrderResult()
            raw = self._line.send_plain(bits, series, account, order_id, price, qty, ref, at_ns) if bits else None
            if raw is not None:
                result.raw = raw
                return result
        if time_in_force is None:
            time_in_force = "gtc" if deadline is None else "gtd"
        tif = word("time_in_force", time_in_force, TIMES_IN_FORCE)
        if integer("budget", budget, Refusal.BadAmount) and tif != TimeInForce.FOK:
            raise MisuseError("budget goes with time_in_force='fok' alone", Refusal.BadTerms)
        if deadline is not None and tif == TimeInForce.FOK:
            raise MisuseError("deadline goes with time_in_force='gtd' alone", Refusal.BadTerms)
        flags = word("own_orders", own_orders, OWN_ORDERS)
        if integer("peg", peg, Refusal.BadPrice) and price is not None:
            raise MisuseError("an order has a price, or a peg, not both", Refusal.BadTerms)
        flags |= OrderFlag.PEG if peg else OrderFlag.MARKET if price is None else 0
        flags |= OrderFlag.POST_ONLY if switch("post_only", post_only) else 0
        flags |= OrderFlag.BUYBACK if switch("buyback", buyback) else 0
        flags |= word("trigger", trigger, TRIGGERS) if trigger is not None else 0
        raw = self._send(
            CommandKind.PLACE,
            at_ns,
            series=series,
            account=account,
            side=word("side", side, SIDES),
            qty=qty,
            price=peg if price is None else price,
            time_in_force=tif,
            flags=flags,
            deadline_ns=budget if deadline is None else to_ns("deadline", deadline),
            display=display,
            stop_price=stop_price,
            order_id=order_id,
            ref=ref,
        )
        return self._line.answer(results.OrderResult, raw)

    def amend(
        self,
        *,
        account: int,
        order_id: int,
        price: int | None = None,
        qty: int | None = None,
        ref: int = 0,
        time_ns: Time | None = None,
    ) -> OrderResult:
        """Change an order's price or its open quantity (R38).

        Lowering the quantity keeps the place; anything else enters anew. Pegs and orders of plans have no price of their own
        to be changed (BadTerms). Refused as `place` is, and
        OrderNotOpen, NotOwner; then the old order stands untouched.
        """
        flags = int((AmendFlag.PRICE if price is not None else 0) | (AmendFlag.QTY if qty is not None else 0))
        named = {name: value for name, value in (("price", price), ("qty", qty)) if value is not None}
        at_ns = self._stamp(time_ns)
        bits = int(CommandKind.AMEND) + (flags << 24)
        numbers = named.get("price", 0), named.get("qty", 0)
        result = results.OrderResult()  # before the call, as in `place`
        raw = self._line.send_plain(bits, 0, account, order_id, *numbers, ref, at_ns)
        if raw is not None:
            result.raw = raw
            return result
        raw = self._send(CommandKind.AMEND, at_ns, account=account, order_id=order_id, flags=flags, ref=ref, **named)
        return self._line.answer(results.OrderResult, raw)

    def cancel(self, *, account: int, order_id: int, ref: int = 0, time_ns: Time | None = None) -> Result:
        """Cancel an order. Refused: IdempotencyConflict, UnknownAccount, OrderNotOpen, NotOwner."""
        at_ns = AT_ENGINE_CLOCK if time_ns is None and self._clock is None else self._stamp(time_ns)
        result = results.Result()  # before the call, as in `place`
        raw = self._line.send_plain(CANCEL_BITS, 0, account, order_id, 0, 0, ref, at_ns)
        if raw is not None:
            result.raw = raw
            return result
        raw = self._send(CommandKind.CANCEL, at_ns, account=account, order_id=order_id, ref=ref)
        return self._line.answer(results.Result, raw)

    def cancel_all(self, *, account: int = 0, series: int = 0, ref: int = 0, time_ns: Time | None = None) -> Result:
        """Cancel all orders of an account, or of a series (R43).

        Refused: BadTerms (both or neither), IdempotencyConflict, UnknownAccount, UnknownSeries,
        AccountFrozen, SeriesExpired.
        """
        return self._do(results.Result, CommandKind.CANCEL_ALL, time_ns, account=account, series=series, ref=ref)

    def cancel_after(self, *, account: int, at: Time, ref: int = 0, time_ns: Time | None = None) -> Result:
        """Cancel all orders of an account at a time, unless repeated before; 0 disarms (R43).

        Refused: BadTime, IdempotencyConflict, UnknownAccount, MerchantDefaulted, AccountFrozen.
        """
        return self._do(results.Result, CommandKind.CANCEL_AFTER, time_ns, account=account, deadline_ns=to_ns("at", at), ref=ref)

    # ── switches and time ────────────────────────────────────────────────────────────────────────

    def halt(self, *, series: int, ref: int = 0, time_ns: Time | None = None) -> Result:
        """Halt trading in a series (R32). Refused: UnknownSeries, MerchantDefaulted, SeriesExpired."""
        return self._do(results.Result, CommandKind.HALT, time_ns, series=series, ref=ref)

    def resume(self, *, series: int, ref: int = 0, time_ns: Time | None = None) -> Result:
        """Lift a halt; an uncross that fell due in it runs at once (R20). Refused as `halt` is."""
        return self._do(results.Result, CommandKind.RESUME, time_ns, series=series, ref=ref)

    def kill(self, *, on: bool = True, ref: int = 0, time_ns: Time | None = None) -> Result:
        """Turn the kill switch on or off: no new orders, amends, sales, grants, gifts (R43)."""
        return self._do(results.Result, CommandKind.KILL if switch("on", on) else CommandKind.UNKILL, time_ns, ref=ref)

    def default(self, *, merchant: int, ref: int = 0, time_ns: Time | None = None) -> Result:
        """End every series of a merchant that fails: escrow to the holders, claims for the rest (R29).

        Refused: UnknownAccount, MerchantDefaulted.
        """
        return self._do(results.Result, CommandKind.DEFAULT, time_ns, account=merchant, ref=ref)

    def advance(self, *, to: Time) -> Result:
        """Set the clock forward and run everything due by then. Refused: ClockBackwards, BadTime."""
        return self._do(results.Result, CommandKind.ADVANCE, to_ns("to", to))

    def publish_root(self, *, root: bytes, ref: int = 0, time_ns: Time | None = None) -> Result:
        """Put a root of the state, 32 bytes, into the journal as a STATE event; a market that is kept does so in `publish`.

        `MisuseError` for anything but 32 bytes, and for a market that is kept.
        """
        if not isinstance(root, bytes) or len(root) != ROOT_BYTES:
            raise MisuseError(f"root was {root!r}; {ROOT_BYTES} bytes are due", Refusal.BadTerms)
        return self._do(results.Result, CommandKind.PUBLISH, time_ns, **root_words(root), ref=ref)

    # ── records ──────────────────────────────────────────────────────────────────────────────────

    def apply(self, record: Command, payload: bytes = b"") -> tuple[Event, ...]:
        """Apply one command as it is and give its events; a cold one brings its payload.

        Raises `MisuseError` for anything but a `Command` of integers within their fields and for an
        unknown kind, `CorruptionError` for a payload that is not what the command states.
        """
        events = tuple(events_in(self._line.send(check_command(record), payload, as_first=False)))
        self._line.told = True
        return events

    def apply_batch(self, commands: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
        """Apply COMMAND[n] in order and give EVENT[m]: refusals and repeats included, salts zero.

        Events are written to `out`, an EVENT array, as long as they fit, and the answer is a part of it; without
        it to new memory, or to that of an answer that nobody holds any more. New memory costs more than the
        commands do, and so does keeping events (`keep_events=False`). Raises `MisuseError` before the first
        write for another dtype, an unknown kind, or a cold one. O(n) beside what each command costs.
        """
        check_out(out, "EVENT", EVENT, commands)
        return self._line.send_batch(commands, out)

    def take_unread(self) -> tuple[int, np.ndarray]:
        """Give what a call that an exception cut short (Ctrl-C, no memory) had done, once: how many commands, and their EVENTs.

        Those commands are done whole, the ones after them were not begun. (0, EVENT[0]) where there is nothing.
        """
        return self._line.take_unread()

    @property
    def events(self) -> Sequence[Event]:
        """Copy all events so far, oldest first; empty under `keep_events=False`. O(events)."""
        return tuple(self._line.events()) if self._line.keeps else ()

    @property
    def event_records(self) -> np.ndarray:
        """Copy all events so far as EVENT[m], oldest first; empty under `keep_events=False`. O(events)."""
        return self._line.records() if self._line.keeps else np.zeros(0, EVENT)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    @property
    def clock_ns(self) -> int:
        """The engine's clock."""
        return self._twin.clock_ns

    @property
    def next_due_ns(self) -> int | None:
        """When the next timer falls due, for an event loop to call `advance`; None if none will."""
        return self._twin.next_due_ns

    @property
    def platform_cash(self) -> int:
        """What the platform has earned in fees."""
        return self._twin.platform_cash

    def depth(self, series: int, *, levels: int | None = 10) -> Ladder:
        """Show the best `levels` prices of both sides; None shows all."""
        view, levels = self.series(series), most_levels(levels)
        bids, asks = (self._twin.depth(series, side, levels) for side in (Side.BUY, Side.SELL))
        return Ladder(title=f"{shown(view.name)}, series {series}, value {view.value:,}", bids=bids, asks=asks)

    def auction(self, series: int) -> list[AuctionRow]:
        """List price, volume and surplus of every candidate of a call auction; [] outside one (R20)."""
        self.series(series)
        return self._twin.auction(series)

    def account(self, account: int) -> AccountView:
        """Show an account; `MisuseError` (UnknownAccount) if there is none."""
        found = self._twin.account(integer("account", account, Refusal.UnknownAccount))
        if found is None:
            raise MisuseError(f"account was {account}; there is none", Refusal.UnknownAccount)
        return found

    def holding(self, account: int, series: int) -> HoldingView:
        """Show what an account has in a series, zeros included."""
        self.account(account)
        found = self._twin.holding(account, integer("series", series, Refusal.UnknownSeries))
        if found is None:
            raise MisuseError(f"series was {series}; there is none", Refusal.UnknownSeries)
        return found

    def series(self, series: int) -> SeriesView:
        """Show a series; `MisuseError` (UnknownSeries) if there is none."""
        found = self._find(series)
        if found is None:
            raise MisuseError(f"series was {series}; there is none", Refusal.UnknownSeries)
        return found

    def order(self, order_id: int) -> OrderView | None:
        """Show a live order, or None."""
        return self._twin.order(integer("order_id", order_id, Refusal.OrderNotOpen))

    def orders(self, *, account: int = 0, series: int = 0) -> list[OrderView]:
        """List live orders, of an account or a series if named, in order of acceptance."""
        if integer("account", account, Refusal.UnknownAccount):
            self.account(account)
        if integer("series", series, Refusal.UnknownSeries):
            self.series(series)
        return self._twin.orders(account=account, series=series)

    def queue(self, series: int, side: str | Side) -> list[OrderView]:
        """List the resting orders of one side in the order in which they would trade."""
        self.series(series)
        return self._twin.queue(series, word("side", side, SIDES))

    def voucher(self, voucher: int) -> VoucherView | None:
        """Show a voucher, or None once its series has expired."""
        return self._twin.voucher(integer("voucher", voucher, Refusal.UnknownVoucher))

    def member(self, merchant: int, member: int) -> int | None:
        """Give the account that an imported member has, or None."""
        self._merchant(merchant)
        return self._twin.member(merchant, integer("member", member, Refusal.BadTerms))

    def product(self, merchant: int, product: str) -> ProductTable:
        """Show all expiries of a card product side by side, by price and discount."""
        self._merchant(merchant)
        found = self._twin.product(merchant, text("product", product, MAX_NAME_BYTES))
        if found is None:
            raise MisuseError(f"product was {product!r}; merchant {merchant} has none of that name", Refusal.UnknownSeries)
        rows = []
        for number in found.series:
            view, ladder = self.series(number), self.depth(number, levels=1)
            ask = ladder.best_ask
            off = discount_bps(ask, view.value) if ask is not None else None
            expiry = iso(view.terms.expire_ns)
            rows.append((number, expiry, view.phase, view.value, ladder.best_bid, ask, off, view.last_price, view.units))
        return ProductTable(shown(product), rows)

    def card(self, account: int, merchant: int) -> Card:
        """Show an account's positions at one merchant: units, value, market price, cost, profit (R47)."""
        self._merchant(merchant)
        rows = []
        for holding in self.account(account).holdings:
            view = self.series(holding.series)
            if view.merchant == merchant:
                market = holding.units * view.last_price if view.last_price else None
                profit = market - holding.cost if market is not None and holding.cost is not None else None
                value = holding.units * holding.value
                expiry = iso(view.terms.expire_ns)
                rows.append(CardRow(view.series, shown(view.name), expiry, holding.units, value, market, holding.cost, profit))
        return Card(account, merchant, rows)

    def statement(self, account: int, *, start: Time = 0, end: Time = FOREVER) -> Statement:
        """Draw up an account's cash and units for start ≤ t < end: opening + entries = closing (R47)."""
        self.account(account)
        return reports.statement(self._line.events(), account, *_span(start, end))

    def report(
        self,
        *,
        merchant: int | None = None,
        product: str | None = None,
        series: int | None = None,
        start: Time = 0,
        end: Time = FOREVER,
    ) -> Report:
        """Add up a merchant's series, a product's, or one, for start ≤ t < end (R47).

        Name `merchant`, `merchant` and `product`, or `series`.
        """
        if series is not None and merchant is None and product is None:
            self.series(series)
            chosen, title = {series}, f"report of series {series}"
        elif merchant is not None and series is None:
            self._merchant(merchant)
            if product is not None:
                self.product(merchant, product)
            listed = [p for p in self._twin.products() if p.merchant == merchant and product in (None, p.name)]
            chosen, title = (
                {number for p in listed for number in p.series},
                f"report of {shown(product or 'merchant')} {merchant}",
            )
        else:
            raise MisuseError("report needs a merchant (and perhaps a product), or a series alone", Refusal.BadTerms)
        return reports.report(self._line.events(), lambda number, _: number in chosen, title, *_span(start, end))

    def check(self) -> None:
        """Audit the market: conservation of cash and units, the face ledger, every lock (R11, R36).

        Raises `AuditError` naming what does not add up. O(state).
        """
        self._twin.check()

    def state_hash(self) -> str:
        """Hash the whole state in its canonical order: equal states, equal hash. O(state)."""
        return self._twin.state_hash()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _merchant(self, merchant: int) -> None:
        if not self.account(integer("merchant", merchant, Refusal.UnknownAccount)).is_merchant:
            raise MisuseError(f"merchant was {merchant}; that account is none", Refusal.UnknownAccount)

    def _created(self, raw: Raw, kind: EventKind, field: str) -> Created:
        made = [event for event in events_in(raw) if event.kind == kind]
        created = results.Created(getattr(made[-1], field) if made else 0, raw)
        self._line.told = True
        return created

    def _channel(self, name: str, time_ns: Time | None) -> Created:
        """Give a channel's id, registering it if it is new; 0 with its events if that was refused."""
        known = self._twin.channels()
        if text("channel", name, MAX_NAME_BYTES) not in known:
            return self.register_channel(name, time_ns=time_ns)
        return results.Created(known.index(name) + 1)


_FREE_TERMS: Final = tuple(
    name
    for name in Terms._fields
    if name in ("residual", "reference_price", "tick", "lot", "min_qty", "max_qty") or name.endswith("_bps")
)


def _more_bits(bits: int, time_in_force: object, own_orders: object, post_only: object) -> int:
    """Add what a plain order asks for; 0 if that has to be read at leisure."""
    tif = "gtc" if time_in_force is None else time_in_force
    if type(tif) is not str or type(own_orders) is not str or type(post_only) is not bool:
        return 0
    if tif not in TIME_BITS or tif == "gtd" or own_orders not in OWN_BITS:
        return 0
    return bits + TIME_BITS[tif] + OWN_BITS[own_orders] + (POST_ONLY_BIT if post_only else 0)


def _moment(time_ns: Time | None) -> int:
    """Check a time without reading the clock."""
    return 0 if time_ns is None else to_ns("time_ns", time_ns)


def _span(start: Time, end: Time) -> tuple[int, int]:
    first, last = to_ns("start", start), to_ns("end", end)
    if first > last:
        raise MisuseError(f"start was {first} and end {last}; a span does not end before it starts", Refusal.BadTime)
    return first, last
