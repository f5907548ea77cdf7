"""What each field of a record means, kind by kind, and everything that follows from saying it once.

    COMMANDS   CommandKind → arguments: name, record field, meaning, the refusal a wrong type anticipates
    PAYLOADS   cold CommandKind → keys of its msgpack payload
    EVENTS     EventKind → an English sentence and the meaning of every field it uses

From these tables come the builders (`command`, `cold_command`), the sentences (`describe`) and the
tables of FORMATS.md; a test holds the three together. The border is here too: only true integers get
into a record (R1), and canonical payloads are the only ones that come out of one.
"""

from __future__ import annotations

import hashlib
import reprlib
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

import msgpack
import numpy as np

from rightsx.errors import CorruptionError, MisuseError
from rightsx.protocol import (
    AT_ENGINE_CLOCK,
    COMMAND,
    EVENT,
    FIRST_COLD_KIND,
    INT64_MAX,
    INT64_MIN,
    MAX_NAME_BYTES,
    U32_MAX,
    Command,
    CommandKind,
    Event,
    EventKind,
    Refusal,
    Side,
    Term,
    Terms,
    TimeInForce,
    code_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# ── what each kind of command means ──────────────────────────────────────────────────────────────


class Argument(NamedTuple):
    """One argument of a command: its name, the record field that carries it, what it means.

    `code` is the refusal that a wrong type anticipates; `default` is None where it must be given.
    """

    name: str
    field: str
    meaning: str
    code: Refusal = Refusal.BadTerms
    default: int | None = None


def _argument(name: str, meaning: str, code: Refusal, default: int | None = None, field: str = "") -> Argument:
    return Argument(name, field or name, meaning, code, default)


_SERIES = _argument("series", "id of the series", Refusal.UnknownSeries)
_ACCOUNT = _argument("account", "id of the account that acts", Refusal.UnknownAccount)
_QTY = _argument("qty", "units", Refusal.BadQuantity)
_AMOUNT = _argument("amount", "minor units of cash", Refusal.BadAmount, field="qty")
_STORE = _argument("store", "id of the store, 0 for none", Refusal.StoreNotInProduct, 0, "other_account")
_PRODUCT = _argument("product", "id of the product", Refusal.UnknownSeries, None, "order_id")
_REF = _argument("ref", "idempotency key of the account, 0 for none", Refusal.BadTerms, 0)
_ORDER = _argument("order_id", "id of a live order", Refusal.OrderNotOpen)
_TIER = _argument("tier", "number of the tier, 0 for none", Refusal.BadTerms, 0, "other_account")
_MAX_OPEN = _argument("max_open", "most open orders, 0 for no limit", Refusal.BadQuantity, 0, "qty")
_MAX_NOTIONAL = _argument("max_notional", "most price × open qty over open orders, 0 for no limit", Refusal.BadAmount, 0, "price")
_ROOT = tuple(
    _argument(
        f"root_{part}", f"bytes {8 * part} … {8 * part + 8} of the state's root, little-endian", Refusal.BadTerms, None, field
    )
    for part, field in enumerate(("order_id", "price", "qty", "deadline_ns"))
)
_PAYLOAD = (
    _argument("payload_bytes", "length of the payload", Refusal.BadTerms, field="qty"),
    _argument("payload_digest", "first 8 bytes of the payload's SHA-256, little-endian", Refusal.BadTerms, field="ref"),
)

_WORDS: Final = Struct("<4q")
ROOT_BYTES: Final = _WORDS.size

COMMANDS: Final[Mapping[CommandKind, tuple[Argument, ...]]] = {
    CommandKind.PLACE: (
        _SERIES,
        _ACCOUNT,
        _argument("side", "Side", Refusal.BadTerms),
        _QTY,
        _argument(
            "price",
            "limit, minor units per unit; 0 for a market order or a plain stop; of a peg bps of v, or, below 0, how far below v",
            Refusal.BadPrice,
            0,
        ),
        _argument("time_in_force", "TimeInForce", Refusal.BadTerms, TimeInForce.GTC),
        _argument("flags", "OrderFlag bits", Refusal.BadTerms, 0),
        _argument("deadline_ns", "good till this time (GTD); for FOK the budget in minor units; else 0", Refusal.BadTime, 0),
        _argument("display", "units that an iceberg shows, else 0", Refusal.BadQuantity, 0),
        _argument("stop_price", "price that wakes the order, 0 for none", Refusal.BadPrice, 0),
        _argument("order_id", "caller's own id from 2^62, 0 to have one issued", Refusal.BadTerms, 0),
        _REF,
    ),
    CommandKind.CANCEL: (_ACCOUNT, _ORDER, _REF),
    CommandKind.AMEND: (
        _ACCOUNT,
        _ORDER,
        _argument("flags", "AmendFlag bits: which of the next two is named", Refusal.BadTerms),
        _argument("price", "new limit", Refusal.BadPrice, 0),
        _argument("qty", "new open quantity", Refusal.BadQuantity, 0),
        _REF,
    ),
    CommandKind.CANCEL_ALL: (
        _argument("account", "whose orders, 0 if a series is named", Refusal.UnknownAccount, 0),
        _argument("series", "in which series, 0 if an account is named", Refusal.UnknownSeries, 0),
        _REF,
    ),
    CommandKind.CANCEL_AFTER: (_ACCOUNT, _argument("deadline_ns", "when all its orders go, 0 to disarm", Refusal.BadTime), _REF),
    CommandKind.SUBSCRIBE: (
        _SERIES,
        _ACCOUNT,
        _QTY,
        _argument("channel", "id of the channel, 0 for none", Refusal.BadTerms, 0, "other_account"),
        _REF,
    ),
    CommandKind.GRANT: (
        _SERIES,
        _argument("account", "the merchant that grants", Refusal.UnknownAccount),
        _argument("recipient", "who receives", Refusal.UnknownAccount, None, "other_account"),
        _QTY,
        _REF,
    ),
    CommandKind.TRANSFER: (
        _SERIES,
        _ACCOUNT,
        _argument("recipient", "who receives the gift", Refusal.UnknownAccount, None, "other_account"),
        _QTY,
        _REF,
    ),
    CommandKind.REDEEM: (_SERIES, _ACCOUNT, _QTY, _STORE, _REF),
    CommandKind.REDEEM_BILL: (
        _ACCOUNT,
        _PRODUCT,
        _AMOUNT,
        _STORE,
        _REF,
    ),
    CommandKind.PAY_BILL: (
        _ACCOUNT,
        _PRODUCT,
        _AMOUNT,
        _argument("max_price", "most that a unit may cost, 0 for no limit", Refusal.BadPrice, 0, "price"),
        _STORE,
        _REF,
    ),
    CommandKind.BUY_PRODUCT: (
        _ACCOUNT,
        _PRODUCT,
        _QTY,
        _argument("max_price", "most that a unit may cost, 0 for no limit", Refusal.BadPrice, 0, "price"),
        _argument("expires_from_ns", "earliest expiry that will do, 0 for any", Refusal.BadTime, 0, "deadline_ns"),
        _argument("time_in_force", "IOC: what there is; FOK: all or nothing", Refusal.BadTerms, TimeInForce.IOC),
        _REF,
    ),
    CommandKind.ROLL: (
        _argument("series", "id of the series that is sold", Refusal.UnknownSeries),
        _argument("to", "id of the series that is bought", Refusal.UnknownSeries, None, "other_account"),
        _ACCOUNT,
        _QTY,
        _argument(
            "net_price",
            "most that a unit may cost after what the old one brings, may be below 0",
            Refusal.BadPrice,
            None,
            "price",
        ),
        _REF,
    ),
    CommandKind.REFUND: (_SERIES, _ACCOUNT, _QTY, _REF),
    CommandKind.LOCK_VOUCHER: (
        _SERIES,
        _ACCOUNT,
        _QTY,
        _argument("ttl_ns", "how long the voucher may be redeemed", Refusal.BadTime, None, "deadline_ns"),
        _argument("grace_ns", "how much longer an upload may take", Refusal.BadTime, 0, "display"),
        _argument("terminals", "bit i−1 for the merchant's terminal i, all 64 bits", Refusal.BadTerms, None, "stop_price"),
        _REF,
    ),
    CommandKind.UPLOAD_VOUCHER: (
        _argument("voucher_id", "id of the voucher", Refusal.UnknownVoucher, None, "order_id"),
        _argument("terminal", "the merchant's terminal, from 1", Refusal.TerminalNotAllowed, None, "display"),
        _argument("redeemed_ns", "when the terminal redeemed it", Refusal.VoucherExpired, None, "deadline_ns"),
        _STORE,
        _argument("account", "in whose name `ref` is remembered, 0 for nobody's", Refusal.UnknownAccount, 0),
        _REF,
    ),
    CommandKind.HALT: (_SERIES, _REF),
    CommandKind.RESUME: (_SERIES, _REF),
    CommandKind.FREEZE: (_ACCOUNT, _REF),
    CommandKind.UNFREEZE: (_ACCOUNT, _REF),
    CommandKind.KILL: (_REF,),
    CommandKind.UNKILL: (_REF,),
    CommandKind.DEFAULT: (_argument("account", "the merchant that fails", Refusal.UnknownAccount), _REF),
    CommandKind.CHARGEBACK: (_ACCOUNT, _AMOUNT, _REF),
    CommandKind.DEPOSIT: (_ACCOUNT, _AMOUNT, _REF),
    CommandKind.WITHDRAW: (_ACCOUNT, _AMOUNT, _REF),
    CommandKind.ADVANCE: (_REF,),
    CommandKind.OPEN_ACCOUNT: (_TIER, _MAX_OPEN, _MAX_NOTIONAL, _REF),
    CommandKind.SET_ACCOUNT: (_ACCOUNT, _TIER, _MAX_OPEN, _MAX_NOTIONAL, _REF),
    CommandKind.SET_TIER: (
        _argument("tier", "number of the tier, from 1", Refusal.BadTerms, None, "other_account"),
        _argument("amount", "most face held per product, minor units", Refusal.BadAmount, None, "qty"),
        _REF,
    ),
    CommandKind.PUBLISH: (*_ROOT, _REF),
    CommandKind.REGISTER_MERCHANT: _PAYLOAD,
    CommandKind.REGISTER_STORE: (_argument("account", "the merchant", Refusal.UnknownAccount), *_PAYLOAD),
    CommandKind.REGISTER_TERMINAL: (_argument("account", "the merchant", Refusal.UnknownAccount), *_PAYLOAD),
    CommandKind.REGISTER_CHANNEL: _PAYLOAD,
    CommandKind.LIST_SERIES: (_argument("account", "the merchant", Refusal.UnknownAccount), *_PAYLOAD),
    CommandKind.IMPORT_MEMBERS: (_SERIES, _argument("account", "the merchant", Refusal.UnknownAccount), *_PAYLOAD),
}

_REF_MEANING: Final = "idempotency key, 0 for none"
PAYLOADS: Final[Mapping[CommandKind, Mapping[str, str]]] = {
    CommandKind.REGISTER_MERCHANT: {"name": "text", "ref": _REF_MEANING},
    CommandKind.REGISTER_STORE: {
        "name": "text",
        "settles_to": "account that is paid, 0 for the merchant's own",
        "ref": _REF_MEANING,
    },
    CommandKind.REGISTER_TERMINAL: {"name": "text", "ref": _REF_MEANING},
    CommandKind.REGISTER_CHANNEL: {"name": "text", "ref": _REF_MEANING},
    CommandKind.LIST_SERIES: {
        "product": "text",
        "terms": "map: Term number → integer",
        "steps": "list of [ns, v], finished (R8)",
        "stores": "list of store ids",
        "channel_caps": "map: channel id → units",
        "ref": _REF_MEANING,
    },
    CommandKind.IMPORT_MEMBERS: {"rows": "list of [member id, legacy balance]", "ref": _REF_MEANING},
}


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
        "peg {order_id} of account {account} enters anew: {side} {qty} at {price}",
        {**_ORDER_FIELDS, "price": "its limit now", "qty": "units open now"},
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
    return f"{words}; {allowed:,} is allowed" if code in RANGES else words


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


# ── the border: building commands ────────────────────────────────────────────────────────────────

_RANGES: Final = {"|u1": (0, 2**8 - 1), "<u4": (0, U32_MAX), "<i8": (INT64_MIN, INT64_MAX), "<u8": (0, 2**64 - 1)}
_HOT: Final = np.zeros(256, bool)
_HOT[[kind for kind in CommandKind if kind < FIRST_COLD_KIND]] = True
_ASKED: Final = _HOT & (np.arange(256) != CommandKind.PUBLISH)
_FIELD_RANGE: Final = {name: _RANGES[code] for name, code in COMMAND.descr}  # type: ignore[misc]


_BEYOND: Final = 2**256


def integer(name: str, value: object, code: Refusal) -> int:
    """Let only a true integer pass (R1): `int` or a NumPy integer, never `bool`, `float`, `str` or None.

    Raises `MisuseError` with the refusal `code` that the value anticipates.

    >>> integer("qty", np.int32(5), Refusal.BadQuantity)
    5
    """
    # NumPy calls a span of time an integer; nobody who gives one as a quantity means that.
    if isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.timedelta64)):
        # Beyond 2^256 nothing tells integers apart, and Python will not write those of 4,300 digits.
        return int(value) if -_BEYOND < value < _BEYOND else _BEYOND if value > 0 else -_BEYOND
    message = f"{name} was {reprlib.repr(value)}, a {type(value).__name__}; an integer is due ({code.name})"
    raise MisuseError(message, code)


def saturated(field: str, value: int) -> int:
    """Bring an integer into the range of a COMMAND field: no limit of R1 lies that far out, so the market refuses it.

    A negative id becomes the largest one, which is as unknown.

    >>> saturated("account", -1) == saturated("account", 2**40) == 2**32 - 1
    True
    """
    low, high = _FIELD_RANGE[field]
    return high if value > high or (low == 0 and value < 0) else max(low, value)


def command(kind: CommandKind, *, time_ns: int = AT_ENGINE_CLOCK, **arguments: int) -> Command:
    """Build a command from the arguments that `COMMANDS[kind]` names.

    Raises `MisuseError` for an unknown or a missing argument, for anything but a true integer, and for
    a `ref` outside 0 … 2^64 − 1. Any other integer too large for its field is `saturated`, so that the
    market refuses it with the code that is due. O(arguments).

    >>> command(CommandKind.DEPOSIT, account=3, amount=500).qty
    500
    """
    if kind not in COMMANDS:
        raise MisuseError(f"kind was {reprlib.repr(kind)}; a CommandKind is due", Refusal.BadTerms)
    kind = CommandKind(kind)
    fields = {"kind": int(kind), "time_ns": integer("time_ns", time_ns, Refusal.BadTime)}
    known = {argument.name: argument for argument in COMMANDS[kind]}
    unknown = [name for name in arguments if name not in known]
    if unknown:
        allowed = ", ".join(known)
        raise MisuseError(f"{kind.name} has no argument {unknown[0]}; it takes {allowed or 'none'}", Refusal.BadTerms)
    for name, argument in known.items():
        value = arguments.get(name, argument.default)
        if value is None:
            raise MisuseError(f"{kind.name} needs {name}: {argument.meaning}", argument.code)
        fields[argument.field] = integer(name, value, argument.code)
    check_ref(fields.get("ref", 0))
    # The smallest time has a meaning; whoever names a smaller one means a time long ago.
    fields["time_ns"] = max(fields["time_ns"], AT_ENGINE_CLOCK + (time_ns < AT_ENGINE_CLOCK))
    return Command(**{name: saturated(name, value) for name, value in fields.items()})


def check_ref(ref: int) -> int:
    """Let an idempotency key pass: two keys must never become one by saturation."""
    if not 0 <= ref < 2**64:
        raise MisuseError(f"ref was {ref}; 0 to 2^64 − 1 is allowed, 0 for none", Refusal.BadTerms)
    return ref


def check_command(record: object) -> Command:
    """Let a `Command` of true integers, each in the range of its field, pass; else `MisuseError`. O(1)."""
    if not isinstance(record, Command):
        raise MisuseError(f"command was {reprlib.repr(record)}; a Command is due", Refusal.BadTerms)
    for field, value in zip(Command._fields, record, strict=True):
        low, high = _FIELD_RANGE[field]
        if not low <= integer(field, value, Refusal.BadTerms) <= high:
            raise MisuseError(f"{field} was {value}; {low} to {high} is allowed", Refusal.BadTerms)
    return Command(*map(int, record))


def root_words(root: bytes) -> dict[str, int]:
    """Give the arguments of the PUBLISH that carries a root, 32 bytes."""
    return {f"root_{part}": word for part, word in enumerate(_WORDS.unpack(root))}


def root_in(told: Command | Event) -> bytes:
    """Give the 32 bytes that a PUBLISH carries, or a STATE.

    >>> root_in(command(CommandKind.PUBLISH, **root_words(bytes(range(32))))) == bytes(range(32))
    True
    """
    if isinstance(told, Command):
        return _WORDS.pack(told.order_id, told.price, told.qty, told.deadline_ns)
    return _WORDS.pack(told.price, told.qty, told.amount, told.fee)


def check_hot(records: np.ndarray, *, kept: bool = False) -> None:
    """Let COMMAND[n] of hot kinds pass, else `MisuseError` naming the first that is not; in a `kept` market no PUBLISH. O(n)."""
    if not isinstance(records, np.ndarray) or records.dtype != COMMAND or records.ndim != 1:
        found = getattr(records, "dtype", type(records).__name__)
        raise MisuseError(f"commands were {found}; a NumPy array COMMAND[n] is due", Refusal.BadTerms)
    strange = np.flatnonzero(~(_ASKED if kept else _HOT)[records["kind"]])
    if len(strange):
        index = int(strange[0])
        kind = int(records["kind"][index])
        message = f"command {index} was of kind {kind}; a batch takes hot kinds alone, which have no payload"
        if kind == CommandKind.PUBLISH:
            message = f"command {index} was PUBLISH, which publish() gives in a market that is kept"
        raise MisuseError(message, Refusal.BadTerms)


def cold_command(kind: CommandKind, payload: Mapping[str, object], **arguments: int) -> tuple[Command, bytes]:
    """Build a cold command and its canonical msgpack payload (`PAYLOADS` lists the keys).

    Integers in the payload are checked and saturated as in a record.
    """
    data = pack(
        {
            key: check_ref(integer(key, value, Refusal.BadTerms)) if key == "ref" else _plain(key, value)
            for key, value in payload.items()
        }
    )
    return command(kind, payload_bytes=len(data), payload_digest=payload_digest(data), **arguments), data


def _plain(name: str, value: object) -> object:
    """Make numbers plain integers of 64 bits, at every depth of a payload."""
    if isinstance(value, dict):
        return {_plain(name, key): _plain(name, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(name, item) for item in value]
    return value if isinstance(value, str) else saturated("price", integer(name, value, Refusal.BadTerms))


def pack(payload: Mapping[str, object]) -> bytes:
    """Write a payload in its canonical form: keys sorted, shortest integers."""
    return bytes(msgpack.packb(_sorted(payload)))


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return value


def payload_digest(data: bytes) -> int:
    """Give the first 8 bytes of a payload's SHA-256 as the `ref` of its command."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "little")


def unpack(record: Command, data: bytes) -> dict[str, object]:
    """Read the payload of a cold command, or raise `CorruptionError` naming what does not fit.

    The bytes must have the length and digest that the record states, be canonical msgpack, and hold
    exactly the keys of `PAYLOADS`. O(bytes).
    """
    if not isinstance(data, bytes):
        raise MisuseError(f"payload was {reprlib.repr(data)}; bytes are due", Refusal.BadTerms)
    if len(data) != record.qty or payload_digest(data) != record.ref:
        found = f"{len(data)} bytes with digest {payload_digest(data):016x}"
        raise CorruptionError(f"payload was {found}; the command states {record.qty} bytes, {record.ref:016x}")
    keys = PAYLOADS[CommandKind(record.kind)]
    try:
        payload = msgpack.unpackb(data, strict_map_key=False)
        canonical = isinstance(payload, dict) and set(payload) == set(keys) and pack(payload) == data
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise CorruptionError(f"payload is not msgpack of ours: {error}") from error
    if not canonical:
        raise CorruptionError(f"payload is not a canonical map of exactly {', '.join(keys)}")
    for key, value in payload.items():
        if not _PAYLOAD_TYPES[key](value):
            raise CorruptionError(f"payload has {key} = {reprlib.repr(value)}; {keys[key]} is due")
    return payload  # type: ignore[no-any-return]


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and INT64_MIN <= value <= INT64_MAX


def _is_ref(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value.encode()) <= MAX_NAME_BYTES


def _is_int_map(value: object) -> bool:
    return isinstance(value, dict) and all(_is_int(key) and _is_int(value[key]) for key in value)


def _is_terms(value: object) -> bool:
    return isinstance(value, dict) and _is_int_map(value) and all(Term.PAR <= key <= Term.CLAWBACK for key in value)


def _is_ints(value: object) -> bool:
    return isinstance(value, list) and all(_is_int(item) for item in value)


def _is_pairs(value: object) -> bool:
    return isinstance(value, list) and all(_is_ints(row) and len(row) == 2 for row in value)  # noqa: PLR2004


_PAYLOAD_TYPES: Final[Mapping[str, Callable[[object], bool]]] = {
    "name": _is_name,
    "product": _is_name,
    "settles_to": _is_int,
    "ref": _is_ref,
    "terms": _is_terms,
    "channel_caps": _is_int_map,
    "steps": _is_pairs,
    "rows": _is_pairs,
    "stores": _is_ints,
}
