"""Merchants, stores, terminals, channels, and the listing of a series (R3, R7, R20, R23, R44, R46).

    register_merchant ─► stores, terminals ─► list_series ─► LISTED, STEP*, TERM*, NAME*

These commands are cold: a payload carries what does not fit a record. A listing arrives with its
steps finished (R8), is checked whole, and from then on never changes; the journal alone defines it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rightsx.protocol import (
    BPS,
    FACE_END,
    MAX_STEPS,
    MAX_TERMINALS,
    PRICE_END,
    QTY_END,
    TIME_END,
    EventKind,
    NameOf,
    Policy,
    Refusal,
    Term,
    Terms,
)
from rightsx.reference.holders import account_add, check_account_room
from rightsx.reference.state import Account, Market, Product, Series, Store, TimerKind

if TYPE_CHECKING:
    from rightsx.protocol import Command

_RATES: Final = ("issue_bps", "escrow_bps", "band_bps", "maker_bps", "taker_bps", "auction_bps", "royalty_bps")
_SWITCHES: Final = ("resale", "gifts", "trial", "clawback")
_MAX_NAMED: Final = 2**16  # stores, and channels


def register_merchant(market: Market, command: Command, payload: dict[str, Any]) -> None:
    """Open a merchant's settlement account."""
    market.check_reference(command, payload["ref"])
    check_account_room(market, 1)
    # From here the command must succeed.
    merchant = account_add(market, is_merchant=True)
    market.emit(EventKind.MERCHANT_REGISTERED, account=merchant.id)
    market.emit_name(NameOf.ACCOUNT, payload["name"], account=merchant.id, extra=merchant.id)


def known_merchant(market: Market, account: int) -> Account:
    """Give a merchant, or refuse: an account of another kind is unknown here."""
    merchant = market.find_merchant(account)
    market.refuse_if(merchant is None, Refusal.UnknownAccount, "account", account, len(market.accounts) - 1)
    return merchant  # type: ignore[return-value]


def check_merchant_acts(market: Market, merchant: Account) -> None:
    """Refuse a merchant that has failed or is frozen (R29, R32)."""
    market.refuse_if(merchant.defaulted, Refusal.MerchantDefaulted, "account", merchant.id)
    market.refuse_if(merchant.frozen, Refusal.AccountFrozen, "account", merchant.id)


def register_store(market: Market, command: Command, payload: dict[str, Any]) -> None:
    """Register a till; its redemptions pay the merchant, or the account named (R13)."""
    settles_to = payload["settles_to"] or command.account
    market.check_reference(command, payload["ref"])
    unknown = market.find_account(settles_to) is None
    market.refuse_if(unknown, Refusal.UnknownAccount, "settles_to", settles_to, len(market.accounts) - 1)
    merchant = known_merchant(market, command.account)
    check_merchant_acts(market, merchant)
    market.refuse_if(len(market.stores) >= _MAX_NAMED, Refusal.CapacityExceeded)
    # From here the command must succeed.
    market.stores.append(Store(merchant.id, payload["name"], settles_to))
    store = len(market.stores)
    market.emit(EventKind.STORE_REGISTERED, account=merchant.id, other_account=settles_to, extra=store)
    market.emit_name(NameOf.STORE, payload["name"], account=merchant.id, extra=store)


def register_terminal(market: Market, command: Command, payload: dict[str, Any]) -> None:
    """Register a device that can redeem vouchers offline; a merchant has at most 64 (R28)."""
    market.check_reference(command, payload["ref"])
    merchant = known_merchant(market, command.account)
    check_merchant_acts(market, merchant)
    terminals = merchant.terminals
    market.refuse_if(len(terminals) >= MAX_TERMINALS, Refusal.CapacityExceeded, "account", len(terminals) + 1, MAX_TERMINALS)
    # From here the command must succeed.
    terminals.append(payload["name"])
    market.emit(EventKind.TERMINAL_REGISTERED, account=merchant.id, extra=len(terminals))
    market.emit_name(NameOf.TERMINAL, payload["name"], account=merchant.id, extra=len(terminals))


def register_channel(market: Market, command: Command, payload: dict[str, Any]) -> None:
    """Register a channel by name (R45)."""
    market.check_reference(command, payload["ref"])
    market.refuse_if(payload["name"] in market.channels, Refusal.DuplicateId)
    market.refuse_if(len(market.channels) >= _MAX_NAMED, Refusal.CapacityExceeded)
    # From here the command must succeed.
    market.channels.append(payload["name"])
    market.emit(EventKind.CHANNEL_REGISTERED, extra=len(market.channels))
    market.emit_name(NameOf.CHANNEL, payload["name"], extra=len(market.channels))


# ── listing ──────────────────────────────────────────────────────────────────────────────────────


def list_series(market: Market, command: Command, payload: dict[str, Any]) -> None:
    """List a series under the next id, with its steps, terms, stores and channel caps (R3)."""
    terms = admit_listing(market, command, payload)
    # From here the command must succeed.
    merchant = command.account
    key = (merchant, payload["product"])
    is_new = key not in market.product_ids
    if is_new:
        market.products.append(Product(*key, []))
        market.product_ids[key] = len(market.products)
    product = market.product_ids[key]
    steps = [(ns, value) for ns, value in payload["steps"]]
    passed = sum(ns <= market.clock_ns for ns, _ in steps)  # R7: they apply at once, without booking
    series = Series(
        id=len(market.series) + 1,
        merchant=merchant,
        product=product,
        terms=terms,
        steps=steps,
        stores=tuple(sorted(payload["stores"])),
        channel_caps=dict(sorted(payload["channel_caps"].items())),
        value=steps[passed - 1][1] if passed else terms.par,
        reference=terms.reference_price,
        step_index=passed,
        in_auction=bool(terms.open_ns),
    )
    market.series.append(series)
    market.products[product - 1].series.append(series.id)
    arm_life(market, series)
    emit_listing(market, series)
    if is_new:
        market.emit_name(NameOf.PRODUCT, payload["product"], account=merchant, extra=product)


def resolved_terms(given: dict[int, int]) -> Terms:
    """Fill in the terms that a listing leaves out (R22, R23, R44)."""
    terms = Terms(**{Term(number).name.lower(): value for number, value in given.items()})
    principal = terms.policy == Policy.PRINCIPAL
    return terms._replace(
        last_trade_ns=given.get(Term.LAST_TRADE_NS, terms.expire_ns),
        residual=given.get(Term.RESIDUAL, terms.issue_price if principal else 0),
        reference_price=given.get(Term.REFERENCE_PRICE, terms.issue_price),
    )


def admit_listing(market: Market, command: Command, payload: dict[str, Any]) -> Terms:
    """Make every check of a listing, in RULES.md's order, and give its terms."""
    terms = resolved_terms(payload["terms"])
    check_listing_numbers(market, terms)
    check_listing_times(market, terms)
    check_listing_terms(market, terms, payload)
    market.check_reference(command, payload["ref"])
    merchant = known_merchant(market, command.account)
    foreign = [store for store in payload["stores"] if not is_own_store(market, merchant.id, store)]
    market.refuse_if(terms.policy not in Policy._value2member_map_, Refusal.PolicyMissing, "policy", terms.policy)
    check_schedule(market, terms, payload["steps"])
    check_merchant_acts(market, merchant)
    market.refuse_if(foreign, Refusal.StoreNotInProduct, "stores", foreign[0] if foreign else 0)
    full = len(market.series) >= market.venue.limits.series
    market.refuse_if(full, Refusal.CapacityExceeded, "series", len(market.series) + 1, market.venue.limits.series)
    return terms


def is_own_store(market: Market, merchant: int, store: int) -> bool:
    """Say whether a store is one of this merchant's."""
    return 0 < store <= len(market.stores) and market.stores[store - 1].merchant == merchant


def check_listing_numbers(market: Market, terms: Terms) -> None:
    """Refuse quantities and prices outside R1's ranges."""
    for name, low in (("authorised", 1), ("lot", 1), ("min_qty", 0), ("max_qty", 0)):
        value = getattr(terms, name)
        market.refuse_if(not low <= value < QTY_END, Refusal.BadQuantity, name, value, low if value < low else QTY_END - 1)
    least = 0 if terms.trial else 1  # R46: only a trial is given for nothing
    for name, low in (("par", 1), ("issue_price", least), ("residual", 0), ("reference_price", 0), ("tick", 1)):
        value = getattr(terms, name)
        market.refuse_if(not low <= value < PRICE_END, Refusal.BadPrice, name, value, low if value < low else PRICE_END - 1)


def check_listing_times(market: Market, terms: Terms) -> None:
    """Refuse deadlines that have passed and spans that are negative."""
    now = market.clock_ns
    for name, low in (("expire_ns", now + 1), ("last_trade_ns", now + 1), ("cooling_off_ns", 0), ("hold_ns", 0), ("open_ns", 0)):
        value = getattr(terms, name)
        market.refuse_if(not low <= value < TIME_END, Refusal.BadTime, name, value, low if value < low else TIME_END - 1)


def check_listing_terms(market: Market, terms: Terms, payload: dict[str, Any]) -> None:
    """Refuse terms that do not go together (R1, R7, R18, R20, R44, R45, R46)."""
    open_wrong = terms.open_ns != 0 and not market.clock_ns <= terms.open_ns < terms.last_trade_ns
    trial_wrong = bool(terms.trial) and (terms.issue_price or terms.policy != Policy.FORFEIT or terms.resale or terms.gifts)
    sizes_wrong = terms.max_qty != 0 and terms.max_qty < max(terms.min_qty, terms.lot)
    caps = payload["channel_caps"]
    caps_wrong = any(not 0 < channel <= len(market.channels) or not 0 <= cap < QTY_END for channel, cap in caps.items())
    for name in (*_RATES, *_SWITCHES):
        value, end = getattr(terms, name), 1 if name in _SWITCHES else BPS
        market.refuse_if(not 0 <= value <= end, Refusal.BadTerms, name, value, end)
    for name, wrong in (
        ("cap_bps", not 1 <= terms.cap_bps <= BPS),
        ("authorised", terms.par * terms.authorised >= FACE_END),
        ("steps", len(payload["steps"]) > MAX_STEPS),
        ("last_trade_ns", terms.last_trade_ns > terms.expire_ns),
        ("open_ns", open_wrong),
        ("auction_bps", terms.auction_bps > max(terms.maker_bps, terms.taker_bps)),
        ("reference_price", bool(terms.band_bps) and not terms.reference_price),
        ("trial", trial_wrong),
        ("max_qty", sizes_wrong),
        ("channel_caps", caps_wrong),
        ("stores", len(set(payload["stores"])) != len(payload["stores"])),
        ("residual", terms.policy == Policy.FORFEIT and bool(terms.residual)),
    ):
        found = getattr(terms, name) if name in Terms._fields else len(payload[name])
        market.refuse_if(wrong, Refusal.BadTerms, name, found)


def check_schedule(market: Market, terms: Terms, steps: list[list[int]]) -> None:
    """Refuse a schedule that rises, or falls below what PRINCIPAL owes back (R7, R23)."""
    last_ns, last_value = -1, terms.par
    for ns, value in steps:
        monotone = last_ns < ns < terms.expire_ns and 0 <= value <= last_value
        market.refuse_if(not monotone, Refusal.ScheduleNotMonotone, "steps", value, last_value)
        last_ns, last_value = ns, value
    below = terms.policy == Policy.PRINCIPAL and last_value < terms.residual
    market.refuse_if(below, Refusal.ScheduleBelowPrincipal, "steps", last_value, terms.residual)


def arm_life(market: Market, series: Series) -> None:
    """Arm everything that will befall a series, created at its listing (R2)."""
    arm_next_step(market, series)
    if series.terms.open_ns:
        market.arm_series(series.terms.open_ns, TimerKind.UNCROSS, series.id)
    market.arm_series(series.terms.last_trade_ns, TimerKind.LAST_TRADE, series.id)
    market.arm_series(series.terms.expire_ns, TimerKind.EXPIRY, series.id)


def arm_next_step(market: Market, series: Series) -> None:
    """Arm the next decay step, if there is one."""
    if series.step_index < len(series.steps):
        market.arm_series(series.steps[series.step_index][0], TimerKind.DECAY, series.id)


def emit_listing(market: Market, series: Series) -> None:
    """Write LISTED, a STEP for each step, and a TERM for each other term, store and channel cap."""
    terms = series.terms
    market.emit(
        EventKind.LISTED,
        series=series.id,
        account=series.merchant,
        amount=terms.par,
        price=terms.issue_price,
        qty=terms.authorised,
        fee=series.value,
        order_id=terms.last_trade_ns,
        other_order_id=terms.expire_ns,
        extra=series.product,
    )
    for ns, value in series.steps:
        market.emit(EventKind.STEP, series=series.id, other_order_id=ns, price=value)
    for term, value in zip(Term, terms, strict=False):
        if term >= Term.POLICY:
            market.emit(EventKind.TERM, series=series.id, code=term, amount=value)
    for store in series.stores:
        market.emit(EventKind.TERM, series=series.id, code=Term.STORE, amount=1, extra=store)
    for channel, cap in series.channel_caps.items():
        market.emit(EventKind.TERM, series=series.id, code=Term.CHANNEL_CAP, amount=cap, extra=channel)
