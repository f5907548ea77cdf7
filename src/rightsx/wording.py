"""What each kind of event means, in words: its sentence and the fields that it uses; refusals and names, as events carry them.

    EVENTS     EventKind → an English sentence and the meaning of every field it uses

From this table come the sentences (`describe`) and FORMATS.md's; `vocabulary` says the same of commands.
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Final, NamedTuple

from rightsx.errors import MisuseError
from rightsx.protocol import (
    EVENT,
    FIRST_COLD_KIND,
    Command,
    CommandKind,
    Event,
    EventKind,
    Refusal,
    Side,
    Term,
    Terms,
    code_name,
)
from rightsx.vocabulary import COMMANDS, PAYLOADS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np

# ── what each kind of event means ────────────────────────────────────────────────────────────────


class Shape(NamedTuple):
    """How to read one kind of event: an English sentence and what each used field means."""

    sentence: str
    fields: Mapping[str, str]


_E = EventKind
_ORDER_FIELDS = {"order_id": "the order", "account": "its owner", "series": "its series", "side": "its side"}
_HOLDER_FIELDS = {"series": "the series", "account": "the holder", "qty": "units"}

EVENTS: Final[Mapping[EventKind, Shape]] = {
    _E.ACCEPTED: Shape(
        "order {order_id}: account {account} {side} {qty} of series {series} at {price}",
        {
            **_ORDER_FIELDS,
            "price": "limit; of a market order what R39 gives it; of a plain stop what it locks at (buy: cap, sell: stop price)",
            "qty": "units",
            "amount": "units shown (iceberg), else 0",
            "fee": "stop price, 0 for none",
            "other_fee": "good till, ns; for FOK the budget; 0 for none",
            "extra": "TimeInForce",
            "flags": "OrderFlag bits",
            "other_order_id": "of a peg bps of v, or below 0 what it stays below v; else 0",
        },
    ),
    _E.FILL: Shape(
        "trade in series {series}: {qty} at {price}, order {order_id} of account {account} {side} "
        "against {other_order_id} of account {other_account}",
        {
            "series": "the series",
            "order_id": "taker's order; in an auction the buyer's",
            "other_order_id": "maker's order; in an auction the seller's",
            "account": "owner of order_id",
            "other_account": "owner of other_order_id",
            "price": "minor units per unit",
            "qty": "units",
            "amount": "royalty that the seller pays to the merchant",
            "fee": "fee charged to account",
            "other_fee": "fee charged to other_account",
            "side": "side of order_id",
            "flags": "FillFlag bits; BUYBACK: the units are destroyed",
        },
    ),
    _E.CANCELLED: Shape(
        "order {order_id} of account {account} cancelled with {qty} open: {code}",
        {
            **_ORDER_FIELDS,
            "price": "its limit",
            "qty": "units that were open; a sell order's return to its owner",
            "amount": "cash that returns to a buyer",
            "code": "CancelReason, or the Refusal that stopped a triggered order",
        },
    ),
    _E.AMENDED: Shape(
        "order {order_id} of account {account} amended to {qty} at {price}",
        {
            **_ORDER_FIELDS,
            "price": "its limit now",
            "qty": "units open now",
            "flags": "1 if it entered anew and lost its place, else 0",
        },
    ),
    _E.TRIGGERED: Shape(
        "stop {order_id} of account {account} enters: {side} {qty} at {price}",
        {**_ORDER_FIELDS, "price": "limit with which it enters; of a plain stop what R39 gives it", "qty": "units"},
    ),
    _E.MASS_CANCELLED: Shape(
        "{qty} orders are cancelled together: {code}",
        {"account": "whose, or 0", "series": "in which, or 0", "qty": "how many CANCELLED follow", "code": "CancelReason"},
    ),
    _E.CANCEL_AFTER_SET: Shape(
        "account {account}: all orders go at {amount} ns unless repeated",
        {"account": "whose", "amount": "when, ns; 0 for disarmed"},
    ),
    _E.UNCROSSED: Shape(
        "auction of series {series}: {qty} at {price}, surplus {amount}",
        {
            "series": "the series",
            "price": "the one price, 0 if nothing trades",
            "qty": "executable units at it",
            "amount": "buy minus sell quantity at it",
        },
    ),
    _E.REPRICED: Shape(
        "order {order_id} of account {account} moves with the value: {side} {qty} at {price}",
        {**_ORDER_FIELDS, "price": "its limit now", "qty": "units open now"},
    ),
    _E.SALE_PLANNED: Shape(
        "account {account} plans to sell what is unused of series {series}, but for {qty}, from {amount} ns on, "
        "at {price} falling to {fee} in {extra} steps",
        {
            "series": "the series",
            "account": "the holder",
            "amount": "from when on, ns; 0: its plan, if there was one, is over",
            "price": "the first price",
            "fee": "the last price",
            "extra": "how often the price falls",
            "qty": "units that stay free",
        },
    ),
    _E.PLAN_STEPPED: Shape(
        "the plan of account {account} in series {series} offers {qty} at {price} as order {order_id}",
        {
            "series": "the series",
            "account": "the holder",
            "order_id": "the plan's order, 0 if there is none; without a code its ACCEPTED, AMENDED or CANCELLED follows",
            "qty": "units to be on offer now",
            "price": "its limit now",
            "extra": "how often the price has fallen",
            "code": "0, or the Refusal that lets this time pass",
        },
    ),
    _E.SOLD: Shape(
        "account {account} subscribes {qty} of series {series} at {price} for {amount}",
        {
            **_HOLDER_FIELDS,
            "other_account": "the merchant",
            "price": "issue price",
            "amount": "g = what the buyer pays in all",
            "fee": "f, to the platform",
            "other_fee": "x, to the escrow; the merchant gets g − f − x",
            "extra": "channel",
        },
    ),
    _E.GRANTED: Shape(
        "account {account} is granted {qty} of trial series {series}",
        {**_HOLDER_FIELDS, "other_account": "the merchant", "extra": "channel"},
    ),
    _E.IMPORTED: Shape(
        "member {order_id} is account {account}: {qty} of series {series}, {fee} left over",
        {
            **_HOLDER_FIELDS,
            "other_account": "the merchant",
            "order_id": "member id",
            "price": "issue price",
            "amount": "legacy balance",
            "fee": "dust: the part below one unit",
            "other_fee": "paid by the merchant into the escrow",
            "extra": "channel",
        },
    ),
    _E.GIFTED: Shape(
        "account {account} gives {qty} of series {series} to account {other_account}",
        {**_HOLDER_FIELDS, "other_account": "who receives", "fee": "gift fee, to the platform"},
    ),
    _E.REDEEMED: Shape(
        "account {account} redeems {qty} of series {series} for goods worth {amount}",
        {
            **_HOLDER_FIELDS,
            "other_account": "who settles",
            "price": "v",
            "amount": "goods = qty × v",
            "extra": "store, 0 for none",
        },
    ),
    _E.BILL_REDEEMED: Shape(
        "bill of {amount}: account {account} redeems, {fee} is due in cash",
        {"account": "the holder", "amount": "the bill", "fee": "cash_due", "extra": "store, 0 for none", "order_id": "product"},
    ),
    _E.BILL_PAID: Shape(
        "bill of {amount}: account {account} buys {qty} for {other_fee} and redeems them, {fee} is due in cash",
        {
            "account": "who pays",
            "order_id": "product",
            "amount": "the bill",
            "qty": "units bought in all; the legs follow, each with its order, fills and redemption",
            "fee": "cash_due",
            "other_fee": "what the units cost, fees included",
            "extra": "store, 0 for none",
        },
    ),
    _E.PRODUCT_BOUGHT: Shape(
        "account {account} buys {qty} of product {order_id} for {other_fee}",
        {
            "account": "who buys",
            "order_id": "product",
            "qty": "units bought in all; the legs follow, each with its order and fills",
            "other_fee": "what they cost, fees included",
        },
    ),
    _E.ROLLED: Shape(
        "account {account} rolls {qty} of series {series} into series {extra}: sells for {amount}, buys for {other_fee}",
        {
            "account": "who rolls",
            "series": "what is sold",
            "extra": "the series that is bought",
            "qty": "units of each; the two legs follow, each with its order and fills",
            "amount": "what the old units bring, after fee and royalty",
            "other_fee": "what the new ones cost, fees included",
        },
    ),
    _E.REFUNDED: Shape(
        "account {account} is refunded {amount} for {qty} of series {series}",
        {
            **_HOLDER_FIELDS,
            "other_account": "the merchant",
            "price": "v; refunded face = qty × v",
            "amount": "the whole refund",
            "other_fee": "the part that the merchant pays; the rest follows as ESCROW_RELEASED",
            "flags": "1 if a chargeback forced it (R33), else 0",
        },
    ),
    _E.VOUCHER_LOCKED: Shape(
        "voucher {order_id}: {qty} of series {series} at value {price}, worst case {amount}",
        {
            **_HOLDER_FIELDS,
            "order_id": "the voucher",
            "price": "v(lock)",
            "amount": "worst-case double-spend",
            "other_order_id": "terminal bits",
            "fee": "redeemable until, ns",
            "other_fee": "lapses at, ns",
        },
    ),
    _E.VOUCHER_REDEEMED: Shape(
        "voucher {order_id} redeemed at terminal {flags}: goods worth {amount}",
        {
            **_HOLDER_FIELDS,
            "order_id": "the voucher",
            "other_account": "who settles",
            "price": "v(lock)",
            "amount": "goods",
            "extra": "store, 0 for none",
            "flags": "terminal",
            "fee": "redeemed at, ns",
        },
    ),
    _E.VOUCHER_LAPSED: Shape(
        "voucher {order_id} lapses: {qty} of series {series} return to account {account}, decay {amount}",
        {**_HOLDER_FIELDS, "order_id": "the voucher", "price": "v now", "amount": "decay booked now"},
    ),
    _E.DOUBLE_REDEEMED: Shape(
        "voucher {order_id} redeemed again at terminal {flags}: the merchant bears {amount}",
        {**_HOLDER_FIELDS, "order_id": "the voucher", "other_account": "the merchant", "amount": "borne", "flags": "terminal"},
    ),
    _E.ESCROW_RELEASED: Shape(
        "escrow of series {series} releases {amount} to account {account}",
        {"series": "the series", "account": "who is paid", "amount": "cash"},
    ),
    _E.DECAYED: Shape(
        "series {series} decays from {fee} to {price}: {amount} of face",
        {
            "series": "the series",
            "price": "v now",
            "fee": "v before",
            "qty": "units that decay (outside vouchers)",
            "amount": "ΔL",
        },
    ),
    _E.TRADING_ENDED: Shape("series {series} has had its last trade", {"series": "the series"}),
    _E.EXPIRED: Shape(
        "series {series} expires: {qty} units, face {amount}",
        {
            "series": "the series",
            "qty": "N",
            "amount": "L, expired",
            "fee": "paid from the escrow to holders",
            "other_fee": "paid by the merchant to holders",
            "account": "the merchant",
        },
    ),
    _E.PAID_OUT: Shape(
        "account {account} is paid {amount} for {qty} of series {series}, claim {other_fee}",
        {**_HOLDER_FIELDS, "amount": "cash", "other_fee": "claim on the merchant"},
    ),
    _E.MERCHANT_DEFAULTED: Shape("merchant {account} defaults", {"account": "the merchant"}),
    _E.SERIES_DEFAULTED: Shape(
        "series {series} of merchant {account} ends: {qty} units, face {amount}, escrow {fee} to holders",
        {"series": "the series", "account": "the merchant", "qty": "N", "amount": "L, defaulted", "fee": "E, paid to holders"},
    ),
    _E.HALTED: Shape("series {series} halts", {"series": "the series"}),
    _E.RESUMED: Shape("series {series} resumes", {"series": "the series"}),
    _E.FROZEN: Shape("account {account} is frozen", {"account": "whose"}),
    _E.UNFROZEN: Shape("account {account} is no longer frozen", {"account": "whose"}),
    _E.KILLED: Shape("the kill switch is on", {}),
    _E.UNKILLED: Shape("the kill switch is off", {}),
    _E.CHARGED_BACK: Shape(
        "account {account} is charged back {amount}, debt {fee}",
        {"account": "whose", "amount": "cash taken", "fee": "debt recorded now", "qty": "what was asked"},
    ),
    _E.DEPOSITED: Shape("account {account} deposits {amount}", {"account": "whose", "amount": "cash"}),
    _E.WITHDRAWN: Shape("account {account} withdraws {amount}", {"account": "whose", "amount": "cash"}),
    _E.ADVANCED: Shape("the clock is set forward", {}),
    _E.STATE: Shape(
        "the state's root is published",
        {name: f"bytes {8 * part} … {8 * part + 8} of the root" for part, name in enumerate(("price", "qty", "amount", "fee"))},
    ),
    _E.REFERENCE_FORGOTTEN: Shape(
        "reference {order_id} of account {account} is forgotten",
        {"account": "whose", "order_id": "the reference, as a signed number"},
    ),
    _E.ACCOUNT_OPENED: Shape(
        "account {account} opens",
        {
            "account": "its id",
            "extra": "tier",
            "qty": "max_open",
            "amount": "max_notional",
            "order_id": "member id if flags is 1",
            "flags": "1 if it was imported",
        },
    ),
    _E.ACCOUNT_SET: Shape(
        "limits of account {account} are set", {"account": "its id", "extra": "tier", "qty": "max_open", "amount": "max_notional"}
    ),
    _E.TIER_SET: Shape("tier {extra} may hold a face of {amount} a product", {"extra": "tier", "amount": "cap on face"}),
    _E.MERCHANT_REGISTERED: Shape("merchant {account} is registered", {"account": "its account"}),
    _E.STORE_REGISTERED: Shape(
        "store {extra} of merchant {account} settles to account {other_account}",
        {"extra": "store id", "account": "the merchant", "other_account": "who is paid"},
    ),
    _E.TERMINAL_REGISTERED: Shape(
        "terminal {extra} of merchant {account}", {"extra": "number, from 1", "account": "the merchant"}
    ),
    _E.CHANNEL_REGISTERED: Shape("channel {extra} is registered", {"extra": "channel id"}),
    _E.LISTED: Shape(
        "series {series} of merchant {account}: par {amount}, issue price {price}, {qty} authorised",
        {
            "series": "its id",
            "account": "the merchant",
            "amount": "par",
            "price": "issue price",
            "qty": "authorised units",
            "fee": "v at the listing",
            "order_id": "last trade, ns",
            "other_order_id": "expiry, ns",
            "extra": "product id",
        },
    ),
    _E.STEP: Shape(
        "series {series}: value {price} from {other_order_id} ns",
        {"series": "the series", "other_order_id": "when, ns", "price": "v from then"},
    ),
    _E.TERM: Shape(
        "series {series}: term {code} is {amount}",
        {"series": "the series", "code": "Term", "amount": "its value", "extra": "store or channel that it is about, else 0"},
    ),
    _E.NAME: Shape(
        "a name of {qty} bytes",
        {
            "code": "NameOf",
            "extra": "id of what is named",
            "account": "the merchant it belongs to, if any",
            "flags": "part of the name, from 0",
            "qty": "bytes of the whole name",
            "order_id, other_order_id, price, amount, fee, other_fee": "48 bytes of UTF-8, zero-filled",
        },
    ),
    _E.REFUSED: Shape(
        "refused: {code}",
        {
            "code": "Refusal",
            "extra": "CommandKind",
            "flags": "what was wrong: COMMAND field, from 1; payload key, from 32; term of a listing, from 64; 0 for none",
            "amount": "what was found",
            "fee": "what is allowed",
            "account": "who asked",
            "series": "in which series",
        },
    ),
    _E.DUPLICATE: Shape(
        "a repeat of command {other_order_id}: order {order_id}, {qty} filled",
        {
            "other_order_id": "command_seq of the first",
            "order_id": "its order or voucher",
            "qty": "filled when it was answered first",
            "code": "CancelReason if it was cancelled in the same command, else 0",
            "account": "who asked",
        },
    ),
}


def describe(event: Event | np.void) -> str:
    """Say in one English sentence what an event reports.

    `event` is an `Event` or one row of EVENT[n]. O(1).

    >>> describe(Event(kind=EventKind.DEPOSITED, account=3, amount=500))
    'account 3 deposits 500'
    """
    if not isinstance(event, Event):
        if getattr(event, "dtype", None) != EVENT:
            raise MisuseError(f"event was {reprlib.repr(event)}; an Event or a row of EVENT[n] is due", Refusal.BadTerms)
        event = Event(*event.item()[2:-1])
    if event.kind not in EventKind._value2member_map_:
        return f"event of kind {event.kind}, which this version does not know"
    words = event._asdict()
    words["side"] = {Side.BUY: "buys", Side.SELL: "sells"}.get(event.side, "-")  # type: ignore[call-overload]
    is_term = event.kind == EventKind.TERM and event.code in Term._value2member_map_
    words["code"] = Term(event.code).name if is_term else code_name(event.code)
    sentence = EVENTS[EventKind(event.kind)].sentence.format(**words)
    if event.kind == EventKind.REFUSED:
        sentence += _found_and_allowed(event)
    elif event.kind == EventKind.SALE_PLANNED and not event.amount:
        sentence = f"account {event.account} has no plan in series {event.series}"
    elif event.kind == EventKind.PLAN_STEPPED and not event.code and not event.qty:
        sentence = f"the plan of account {event.account} in series {event.series} has nothing to offer"
    elif event.kind == EventKind.PLAN_STEPPED and event.code:
        sentence = f"the plan of account {event.account} in series {event.series} changes nothing this time: {words['code']}"
    return sentence


def _found_and_allowed(event: Event) -> str:
    words = refusal_words(Refusal(event.code), refused_field(event), event.amount, event.fee)
    return f" ({words})" if words else ""


# What was found, where it is not the field itself but what follows from it.
_MEASURES: Final = {
    (Refusal.OrderLimitExceeded, "account"): "open orders",
    (Refusal.OrderLimitExceeded, "price"): "notional",
    (Refusal.HolderLimitExceeded, "qty"): "face held",
    (Refusal.InsufficientCash, "qty"): "cash needed",
    (Refusal.InsufficientCash, "amount"): "cash needed",
    (Refusal.MerchantFundsInsufficient, "qty"): "cash needed",
    (Refusal.MerchantFundsInsufficient, "rows"): "cash needed",
    (Refusal.VoucherBeyondExpiry, "ttl_ns"): "ttl and grace",
    (Refusal.BadAmount, "deadline_ns"): "budget",
}


def refusal_words(code: Refusal, field: str, found: int, allowed: int) -> str:
    """Say what was found and, where a range was left, what is allowed; "" if no field is at fault.

    >>> refusal_words(Refusal.InsufficientCash, "qty", 3040, 3000)
    'cash needed was 3,040; 3,000 is allowed'
    """
    if not field:
        return ""
    words = f"{_MEASURES.get((code, field), field)} was {found:,}"
    return f"{words}; {allowed:,} is allowed" if code in RANGES or (code, field) in RANGED_TERMS else words


# Refusals of which `fee` says what would have been allowed; the others only name what they met.
RANGES: Final = frozenset(Refusal) - {
    Refusal.BadTerms,
    Refusal.IdempotencyConflict,
    Refusal.UnknownAccount,
    Refusal.UnknownSeries,
    Refusal.UnknownVoucher,
    Refusal.OrderNotOpen,
    Refusal.DuplicateId,
    Refusal.PolicyMissing,
    Refusal.MerchantDefaulted,
    Refusal.AccountFrozen,
    Refusal.Killed,
    Refusal.SeriesHalted,
    Refusal.MerchantCannotSubscribe,
    Refusal.MerchantCannotResell,
    Refusal.BuybackFlagRequired,
    Refusal.ResaleForbidden,
    Refusal.SelfTransfer,
    Refusal.StoreNotInProduct,
    Refusal.NoRedeemableValue,
    Refusal.PostOnlyWouldCross,
    Refusal.FOKUnfillable,
    Refusal.TerminalNotAllowed,
    Refusal.DoubleRedeem,
}


RANGED_TERMS: Final = frozenset({(Refusal.BadTerms, "falls"), (Refusal.BadTerms, "last_price")})  # as RANGES, of these arguments


# The `flags` of a REFUSED event: a COMMAND field from 1, a payload's key from 32, a listing's term from 64.
FIRST_PAYLOAD_FIELD: Final = 32
FIRST_TERM_FIELD: Final = 64


def field_number(kind: int, field: str) -> int:
    """Give the number of the field that a refusal complains about; 0 for none."""
    if not field:
        return 0
    if kind == CommandKind.LIST_SERIES and field in Terms._fields:
        return FIRST_TERM_FIELD + Terms._fields.index(field)
    if kind >= FIRST_COLD_KIND and field in PAYLOADS[CommandKind(kind)]:
        return FIRST_PAYLOAD_FIELD + list(PAYLOADS[CommandKind(kind)]).index(field)
    return Command._fields.index(field) + 1


def refused_field(event: Event) -> str:
    """Name the argument that a REFUSED event complains about, "" for none."""
    names: tuple[str, ...] = Command._fields
    place = event.flags - 1
    if event.flags >= FIRST_TERM_FIELD:
        names, place = Terms._fields, event.flags - FIRST_TERM_FIELD
    elif event.flags >= FIRST_PAYLOAD_FIELD:
        names, place = tuple(PAYLOADS.get(event.extra, ())), event.flags - FIRST_PAYLOAD_FIELD  # type: ignore[call-overload]
    if not 0 <= place < len(names):
        return ""
    field = names[place]
    if names is not Command._fields:
        return field
    for argument in COMMANDS.get(event.extra, ()):  # type: ignore[call-overload]
        if argument.field == field:
            return str(argument.name)
    return field


# ── names as events ──────────────────────────────────────────────────────────────────────────────

_NAME_FIELDS: Final = ("order_id", "other_order_id", "price", "amount", "fee", "other_fee")
_NAME_PART: Final = 8 * len(_NAME_FIELDS)


def name_parts(text: str) -> list[dict[str, int]]:
    r"""Cut a name into the fields of as many NAME events as it needs; "" needs none.

    >>> name_parts("Nord")[0]["order_id"].to_bytes(8, "little")
    b'Nord\x00\x00\x00\x00'
    """
    data = text.encode()
    parts = []
    for index in range(0, len(data), _NAME_PART):
        chunk = data[index : index + _NAME_PART].ljust(_NAME_PART, b"\0")
        words = {field: int.from_bytes(chunk[8 * k : 8 * k + 8], "little", signed=True) for k, field in enumerate(_NAME_FIELDS)}
        parts.append({**words, "flags": index // _NAME_PART, "qty": len(data)})
    return parts


def name_text(events: Iterable[Event]) -> str:
    """Put the name back together from its NAME events, in order."""
    data, size = b"", 0
    for event in events:
        data += b"".join(getattr(event, field).to_bytes(8, "little", signed=True) for field in _NAME_FIELDS)
        size = event.qty
    return data[:size].decode()
