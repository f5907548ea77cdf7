"""What each field of a command means, kind by kind, and everything that follows from saying it once.

    COMMANDS   CommandKind → arguments: name, record field, meaning, the refusal a wrong type anticipates
    PAYLOADS   cold CommandKind → keys of its msgpack payload

From these tables come the builders (`command`, `cold_command`) and the tables of FORMATS.md; a test holds them together.
The border is here too: only true integers get into a record (R1), and canonical payloads are the only ones that
come out of one. `wording` says what events mean.
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
    FIRST_COLD_KIND,
    INT64_MAX,
    INT64_MIN,
    MAX_NAME_BYTES,
    U32_MAX,
    Command,
    CommandKind,
    Event,
    Refusal,
    Term,
    TimeInForce,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    CommandKind.PLAN_SALE: (
        _SERIES,
        _ACCOUNT,
        _argument("start_ns", "from when on what is unused is sold, 0 to end the plan", Refusal.BadTime, None, "deadline_ns"),
        _argument("price", "what a unit shall cost at first, 0 to end the plan", Refusal.BadPrice, 0),
        _argument("last_price", "what it shall cost at last, 0 to end the plan", Refusal.BadPrice, 0, "stop_price"),
        _argument("falls", "how often the price falls, 0 to end the plan", Refusal.BadTerms, 0, "display"),
        _argument("keep", "units that stay free, 0 to end the plan", Refusal.BadQuantity, 0, "qty"),
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
