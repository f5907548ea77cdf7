"""What every number and byte means, once: units, limits, enums, COMMAND, EVENT, REPORT.

           what is asked                 what happened                  what the bare book says
         ┌──────────────┐              ┌──────────────┐               ┌──────────────┐
         │ COMMAND 80 B │ ──► twin ──► │ EVENT  120 B │     book ──►  │ REPORT  48 B │
         └──────────────┘              └──────────────┘               └──────────────┘

The same little-endian bytes are kernel argument, log record, wire frame and Merkle leaf, so nothing on
the hot path encodes or decodes. A record has one shape for all kinds; what its fields mean for a kind
is said in `vocabulary` and `wording`. Commands that cannot fit (a listing, a registration, an import) are *cold*: their
record says how long their msgpack payload is and begins its SHA-256, and the payload travels beside it.

Invariants
- Numbers of enums are part of the format: they are never reused, and zero never means success.
- Money is integer minor units, rights are integer units, times are integer nanoseconds UTC (R1).
- `Refusal` is numbered in the order in which the checks are made; the first that fails is the answer.

Overflow (all of it in signed 64 bits, except two products that the engine computes with 128):
- par, price, qty < 2^31, so price × qty < 2^62;
- what a series can ever be worth is par × authorised < 2^48, so G, L, the face ledger and every
  payment for units that exist stay below 2^48, and such a sum times 10,000 bps below 2^62;
- the sum of all cash is below 2^62, so a balance plus a payment stays below 2^63;
- a bid may ask for more units than exist; its lock is compared with cash before it is multiplied by
  bps: notional > cash is refused first, and the fee on a notional < 2^62 needs the 128-bit product;
- E × ΔB // B and P × w // W are the two products that need 128 bits everywhere (R1).
The assertions below hold the constants to this argument.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from rightsx.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import Iterable

RULES_VERSION: Final = 1
EVENT_VERSION: Final = 1

# ── limits (R1) ──────────────────────────────────────────────────────────────────────────────────

BPS: Final = 10_000
DAY_NS: Final = 86_400_000_000_000
T0_NS: Final = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z, day 0 of RULES.md
AT_ENGINE_CLOCK: Final = -(2**63)  # a command with this time happens at the engine's clock
TIME_END: Final = 2**62
QTY_END: Final = 2**31
PRICE_END: Final = 2**31
FACE_END: Final = 2**48  # par × authorised
CASH_END: Final = 2**62  # the sum of all cash
BOOK_QTY_END: Final = 2**40  # the bare book has no money; 2^23 orders of this size still add up
FILLED_END: Final = 2**62  # an order that is amended and filled again and again counts no further
CALLER_ID_FIRST: Final = 2**62  # order ids below it are the engine's own
MAX_STEPS: Final = 4_096
MAX_FALLS: Final = 4_096  # of a plan's price (R55)
MAX_TERMINALS: Final = 64
MAX_IMPORT_ROWS: Final = 65_536
MAX_NAME_BYTES: Final = 224
MAX_TIERS: Final = 2**16
MAX_REFERENCE_DAYS: Final = 36_525  # a century; a clock below 2^62 plus it stays below 2^63
ICEBERG_PARTS_MAX: Final = 1_000
INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)
U32_MAX: Final = 2**32 - 1

assert (PRICE_END - 1) * (QTY_END - 1) < CASH_END
assert (FACE_END - 1) * BPS <= 2**62
assert CASH_END + FACE_END < 2**63
assert BOOK_QTY_END * 2**23 <= 2**63


class Limits(NamedTuple):
    """How large a market may grow; beyond it commands are refused with `CapacityExceeded`.

    A holding is a pair (account, series) with units or open bids. They stand in a store's header,
    because they decide what is refused.
    """

    orders: int = 2**22
    accounts: int = 2**22
    holdings: int = 2**23
    series: int = 2**17


class Venue(NamedTuple):
    """The rates of the whole venue, fixed when a market is made.

    `gift_fee` is in minor units per gift (R27); `reference_days` is how long a `ref` is remembered.
    """

    gift_fee: int = 0
    reference_days: int = 30
    limits: Limits = Limits()


# ── enums ────────────────────────────────────────────────────────────────────────────────────────


class Side(IntEnum):
    """The side of an order; 0 in a record means that it has none."""

    BUY = 1
    SELL = 2


class TimeInForce(IntEnum):
    """How long an order lives (R19); 0 in a record means that it has none."""

    GTC = 1
    GTD = 2
    IOC = 3
    FOK = 4


class OrderFlag(IntEnum):
    """What else an order asks for (R19, R30, R39, R41, R42, R54); bits of one number, combined with `|`."""

    POST_ONLY = 1
    BUYBACK = 2
    MARKET = 4
    CANCEL_MAKER = 8
    CANCEL_BOTH = 16
    STOP_RISE = 32
    STOP_FALL = 64
    PEG = 128


class AmendFlag(IntEnum):
    """Which of the two numbers an amend names (R38); bits of one number."""

    PRICE = 1
    QTY = 2


class FillFlag(IntEnum):
    """What kind of trade a fill was; bits of one number."""

    AUCTION = 1
    BUYBACK = 2


class Policy(IntEnum):
    """What happens to the units that are left at expiry (R23)."""

    FORFEIT = 1
    PRINCIPAL = 2


class NameOf(IntEnum):
    """What a NAME event names."""

    ACCOUNT = 1
    PRODUCT = 2
    STORE = 3
    TERMINAL = 4
    CHANNEL = 5


class Channel(IntEnum):
    """The channels that exist from the start; registered ones follow from 3 (R45)."""

    NONE = 1
    IMPORT = 2


class Refusal(IntEnum):
    """Why the market said no, in the order in which the checks are made (RULES.md, clarifications)."""

    ClockBackwards = 1
    BadQuantity = 2
    BadPrice = 3
    BadAmount = 4
    BadTime = 5
    BadTerms = 6
    IdempotencyConflict = 7
    UnknownAccount = 8
    UnknownSeries = 9
    UnknownVoucher = 10
    OrderNotOpen = 11
    NotOwner = 12
    DuplicateId = 13
    PolicyMissing = 14
    ScheduleNotMonotone = 15
    ScheduleBelowPrincipal = 16
    MerchantDefaulted = 17
    AccountFrozen = 18
    SeriesExpired = 19
    TradingClosed = 20
    Killed = 21
    SeriesHalted = 22
    MerchantCannotSubscribe = 23
    MerchantCannotResell = 24
    BuybackFlagRequired = 25
    ResaleForbidden = 26
    SelfTransfer = 27
    StoreNotInProduct = 28
    NoRedeemableValue = 29
    VoucherBeyondExpiry = 30
    AuthorisedExceeded = 31
    ChannelCapExceeded = 32
    CoolingOffNotAvailable = 33
    PriceAboveCap = 34
    OutsidePriceBand = 35
    HolderLimitExceeded = 36
    OrderLimitExceeded = 37
    InsufficientUnits = 38
    HoldingPeriod = 39
    InsufficientCash = 40
    MerchantFundsInsufficient = 41
    PostOnlyWouldCross = 42
    FOKUnfillable = 43
    TerminalNotAllowed = 44
    VoucherExpired = 45
    DoubleRedeem = 46
    VoucherLapsed = 47
    CapacityExceeded = 48


class CancelReason(IntEnum):
    """Why an order was cancelled (R48); a `Refusal` number stands here for a stop that failed to enter."""

    USER = 101
    IOC = 102
    GTD = 103
    SELF_TRADE = 104
    PRICE_ABOVE_CAP = 105
    LAST_TRADE = 106
    MERCHANT_DEFAULT = 107
    ACCOUNT_FROZEN = 108
    CHARGEBACK = 109
    CANCEL_ALL = 110
    CANCEL_AFTER = 111


def code_name(code: int) -> str:
    """Give the word for a refusal or cancel number, or the number itself where there is none.

    >>> code_name(34), code_name(101)
    ('PriceAboveCap', 'USER')
    """
    for enum in (Refusal, CancelReason):
        if code in enum._value2member_map_:
            return enum(code).name
    return str(code)


class ReportKind(IntEnum):
    """What the bare book says of a command."""

    ACCEPTED = 1
    FILL = 2
    CANCELLED = 3
    AMENDED = 4
    REFUSED = 5


class CommandKind(IntEnum):
    """What is asked. Kinds from 64 are cold: a payload travels with them."""

    PLACE = 1
    CANCEL = 2
    AMEND = 3
    CANCEL_ALL = 4
    CANCEL_AFTER = 5
    SUBSCRIBE = 6
    GRANT = 7
    TRANSFER = 8
    REDEEM = 9
    REDEEM_BILL = 10
    REFUND = 11
    LOCK_VOUCHER = 12
    UPLOAD_VOUCHER = 13
    HALT = 14
    RESUME = 15
    FREEZE = 16
    UNFREEZE = 17
    KILL = 18
    UNKILL = 19
    DEFAULT = 20
    CHARGEBACK = 21
    DEPOSIT = 22
    WITHDRAW = 23
    ADVANCE = 24
    OPEN_ACCOUNT = 25
    SET_ACCOUNT = 26
    SET_TIER = 27
    PUBLISH = 28
    PAY_BILL = 29
    BUY_PRODUCT = 30
    ROLL = 31
    PLAN_SALE = 32
    REGISTER_MERCHANT = 64
    REGISTER_STORE = 65
    REGISTER_TERMINAL = 66
    REGISTER_CHANNEL = 67
    LIST_SERIES = 68
    IMPORT_MEMBERS = 69


FIRST_COLD_KIND: Final = 64


class EventKind(IntEnum):
    """What happened."""

    ACCEPTED = 1
    FILL = 2
    CANCELLED = 3
    AMENDED = 4
    TRIGGERED = 5
    MASS_CANCELLED = 6
    CANCEL_AFTER_SET = 7
    UNCROSSED = 8
    REPRICED = 9
    SALE_PLANNED = 10
    PLAN_STEPPED = 11
    SOLD = 16
    GRANTED = 17
    IMPORTED = 18
    GIFTED = 19
    REDEEMED = 20
    BILL_REDEEMED = 21
    REFUNDED = 22
    VOUCHER_LOCKED = 23
    VOUCHER_REDEEMED = 24
    VOUCHER_LAPSED = 25
    DOUBLE_REDEEMED = 26
    BILL_PAID = 27
    PRODUCT_BOUGHT = 28
    ROLLED = 29
    ESCROW_RELEASED = 32
    DECAYED = 33
    TRADING_ENDED = 34
    EXPIRED = 35
    PAID_OUT = 36
    MERCHANT_DEFAULTED = 37
    SERIES_DEFAULTED = 38
    HALTED = 48
    RESUMED = 49
    FROZEN = 50
    UNFROZEN = 51
    KILLED = 52
    UNKILLED = 53
    CHARGED_BACK = 54
    DEPOSITED = 55
    WITHDRAWN = 56
    ADVANCED = 57
    REFERENCE_FORGOTTEN = 58
    STATE = 59
    ACCOUNT_OPENED = 64
    ACCOUNT_SET = 65
    TIER_SET = 66
    MERCHANT_REGISTERED = 67
    STORE_REGISTERED = 68
    TERMINAL_REGISTERED = 69
    CHANNEL_REGISTERED = 70
    LISTED = 71
    STEP = 72
    TERM = 73
    NAME = 74
    REFUSED = 128
    DUPLICATE = 129


class Term(IntEnum):
    """The terms of a series (R3). Numbers are part of the format."""

    PAR = 1
    ISSUE_PRICE = 2
    AUTHORISED = 3
    EXPIRE_NS = 4
    LAST_TRADE_NS = 5
    POLICY = 6
    RESIDUAL = 7
    ISSUE_BPS = 8
    ESCROW_BPS = 9
    CAP_BPS = 10
    BAND_BPS = 11
    REFERENCE_PRICE = 12
    COOLING_OFF_NS = 13
    HOLD_NS = 14
    MAKER_BPS = 15
    TAKER_BPS = 16
    AUCTION_BPS = 17
    ROYALTY_BPS = 18
    OPEN_NS = 19
    TICK = 20
    LOT = 21
    MIN_QTY = 22
    MAX_QTY = 23
    RESALE = 24
    GIFTS = 25
    TRIAL = 26
    CLAWBACK = 27
    STORE = 28
    CHANNEL_CAP = 29


# ── records ──────────────────────────────────────────────────────────────────────────────────────

COMMAND: Final = np.dtype(
    [
        ("time_ns", "<i8"),
        ("kind", "u1"),
        ("side", "u1"),
        ("time_in_force", "u1"),
        ("flags", "u1"),
        ("series", "<u4"),
        ("account", "<u4"),
        ("other_account", "<u4"),
        ("order_id", "<i8"),
        ("price", "<i8"),
        ("qty", "<i8"),
        ("deadline_ns", "<i8"),
        ("display", "<i8"),
        ("stop_price", "<i8"),
        ("ref", "<u8"),
    ]
)
EVENT: Final = np.dtype(
    [
        ("length", "<u2"),
        ("version", "u1"),
        ("kind", "u1"),
        ("series", "<u4"),
        ("event_seq", "<i8"),
        ("time_ns", "<i8"),
        ("command_seq", "<i8"),
        ("order_id", "<i8"),
        ("other_order_id", "<i8"),
        ("account", "<u4"),
        ("other_account", "<u4"),
        ("price", "<i8"),
        ("qty", "<i8"),
        ("amount", "<i8"),
        ("fee", "<i8"),
        ("other_fee", "<i8"),
        ("extra", "<u4"),
        ("code", "<u2"),
        ("side", "u1"),
        ("flags", "u1"),
        ("salt", "<u8", (2,)),
    ]
)
REPORT: Final = np.dtype(
    [
        ("order_id", "<i8"),
        ("other_order_id", "<i8"),
        ("price", "<i8"),
        ("qty", "<i8"),
        ("command_index", "<u4"),
        ("series", "<u4"),
        ("account", "<u4"),
        ("kind", "u1"),
        ("side", "u1"),
        ("code", "<u2"),
    ]
)
# What the state's root is made of: what a series owes, laid out as a leaf of 118 bytes like an event's, and who holds it.
PROMISE: Final = np.dtype(
    [
        ("length", "<u2"),
        ("version", "u1"),
        ("kind", "u1"),
        ("series", "<u4"),
        ("merchant", "<u4"),
        ("units", "<i8"),
        ("face", "<i8"),
        ("escrow", "<i8"),
        ("value", "<i8"),
        ("expire_ns", "<i8"),
        ("holders", "u1", (32,)),
        ("zeros", "u1", (36,)),
    ]
)
PROMISE_KIND: Final = 255  # no event has it
HOLDER: Final = np.dtype([("series", "<u4"), ("account", "<u4"), ("units", "<i8")])
# The bytes `00 76`: C2SP's big-endian length 118 of the leaf that follows.
EVENT_LENGTH: Final = 0x7600
NOT_A_LEAF: Final = -1  # the event_seq of REFUSED and DUPLICATE
EVENT_STRUCT: Final = Struct("<3xBI5q2I5qIHBB16x")  # the fields of `Event` in an EVENT, in their order
KIND_BYTE: Final = 3  # where an EVENT says what it is
assert EVENT_STRUCT.size == EVENT.itemsize == PROMISE.itemsize
assert EVENT.fields is not None
assert EVENT.fields["kind"][1] == KIND_BYTE


class Command(NamedTuple):
    """One COMMAND record as plain integers, in the record's own order."""

    time_ns: int = AT_ENGINE_CLOCK
    kind: int = 0
    side: int = 0
    time_in_force: int = 0
    flags: int = 0
    series: int = 0
    account: int = 0
    other_account: int = 0
    order_id: int = 0
    price: int = 0
    qty: int = 0
    deadline_ns: int = 0
    display: int = 0
    stop_price: int = 0
    ref: int = 0


class Event(NamedTuple):
    """One EVENT record as plain integers; `length`, `version` and `salt` are the same for all."""

    kind: int
    series: int = 0
    event_seq: int = NOT_A_LEAF
    time_ns: int = 0
    command_seq: int = 0
    order_id: int = 0
    other_order_id: int = 0
    account: int = 0
    other_account: int = 0
    price: int = 0
    qty: int = 0
    amount: int = 0
    fee: int = 0
    other_fee: int = 0
    extra: int = 0
    code: int = 0
    side: int = 0
    flags: int = 0


class Report(NamedTuple):
    """One REPORT record as plain integers."""

    order_id: int = 0
    other_order_id: int = 0
    price: int = 0
    qty: int = 0
    command_index: int = 0
    series: int = 0
    account: int = 0
    kind: int = 0
    side: int = 0
    code: int = 0


class Terms(NamedTuple):
    """The terms of a series (R3), in the order of `Term` from PAR to CLAWBACK.

    Prices in minor units, rates in bps, spans and times in ns, switches 0 or 1. A last trade, residual
    or reference price that a listing does not name is worked out (R22, R23, R44). A band, a size, a
    span or an auction of 0 means that there is none.
    """

    par: int = 0
    issue_price: int = 0
    authorised: int = 0
    expire_ns: int = 0
    last_trade_ns: int = 0
    policy: int = 0
    residual: int = 0
    issue_bps: int = 0
    escrow_bps: int = 0
    cap_bps: int = BPS
    band_bps: int = 0
    reference_price: int = 0
    cooling_off_ns: int = 0
    hold_ns: int = 0
    maker_bps: int = 0
    taker_bps: int = 0
    auction_bps: int = 0
    royalty_bps: int = 0
    open_ns: int = 0
    tick: int = 1
    lot: int = 1
    min_qty: int = 0
    max_qty: int = 0
    resale: int = 1
    gifts: int = 1
    trial: int = 0
    clawback: int = 1


def command_records(commands: Iterable[Command]) -> np.ndarray:
    """Pack commands into a COMMAND[n] array. O(n)."""
    return np.array([tuple(command) for command in commands], dtype=COMMAND)


def event_records(events: Iterable[Event]) -> np.ndarray:
    """Pack events into an EVENT[n] array with zero salts. O(n)."""
    rows = [(EVENT_LENGTH, EVENT_VERSION, *event, (0, 0)) for event in events]
    return np.array(rows, dtype=EVENT)


def report_records(reports: Iterable[Report]) -> np.ndarray:
    """Pack reports into a REPORT[n] array. O(n)."""
    return np.array([tuple(report) for report in reports], dtype=REPORT)


def commands_of(records: np.ndarray) -> list[Command]:
    """Read COMMAND[n] as plain integers; any other dtype is a `MisuseError`. O(n)."""
    if not isinstance(records, np.ndarray) or records.dtype != COMMAND or records.ndim != 1:
        found = getattr(records, "dtype", type(records).__name__)
        raise MisuseError(f"commands were {found}; a NumPy array COMMAND[n] is due", Refusal.BadTerms)
    return [Command(*row) for row in records.tolist()]


def events_of(records: np.ndarray) -> list[Event]:
    """Read EVENT[n] as plain integers; any other dtype is a `MisuseError`. O(n)."""
    if not isinstance(records, np.ndarray) or records.dtype != EVENT or records.ndim != 1:
        found = getattr(records, "dtype", type(records).__name__)
        raise MisuseError(f"events were {found}; a NumPy array EVENT[n] is due", Refusal.BadTerms)
    return events_in(records.tobytes())


def events_in(raw: bytes | bytearray) -> list[Event]:
    """Read the bytes of EVENT[n] as plain integers. O(n)."""
    return [Event._make(row) for row in EVENT_STRUCT.iter_unpack(raw)]
