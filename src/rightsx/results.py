"""What a verb answers: small typed objects, true if the market accepted, with the refusal if it did not.

    result = market.place(...)
    if not result: print(result.refused)      →  PriceAboveCap: price was 101; 100 is allowed
    result.fills, result.leaves_qty, result.events

Verbs that create something answer with its id: an integer that carries the same attributes, 0 if
refused, so that a refused listing can never be mistaken for one.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple, Self

from rightsx.protocol import Event, EventKind, Refusal, code_name
from rightsx.vocabulary import refusal_words, refused_field

if TYPE_CHECKING:
    from collections.abc import Sequence


class Refused(NamedTuple):
    """Why the market said no: a stable code, the argument at fault, what was found and what is allowed."""

    code: Refusal
    field: str
    found: int
    allowed: int

    def __str__(self) -> str:
        """Say it in a clause."""
        words = refusal_words(self.code, self.field, self.found, self.allowed)
        return f"{self.code.name}: {words}" if words else self.code.name


class Fill(NamedTuple):
    """One trade of the order that was placed: at `price` a unit, `fee` charged to it, minor units.

    `maker` is the order that was resting; `royalty` is what the seller paid to the merchant.
    """

    price: int
    qty: int
    maker: int
    maker_account: int
    fee: int
    royalty: int


def refused_of(events: Sequence[Event]) -> Refused | None:
    """Give the refusal that ends a command's events, or None."""
    if not events:
        return None
    last = events[-1]
    if last.kind != EventKind.REFUSED:
        return None
    return Refused(Refusal(last.code), refused_field(last), last.amount, last.fee)


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """The answer to one command. `events` are all it caused, timers that fell due before it included."""

    events: tuple[Event, ...]
    refused: Refused | None

    def __bool__(self) -> bool:
        """Whether the market accepted."""
        return self.refused is None

    def __repr__(self) -> str:
        """Show the answer in a line: its numbers, or why not; the events are left out."""
        name = type(self).__name__
        if self.refused is not None:
            return f"<{name} refused {self.refused}>"
        shown = [one.name for one in fields(self) if one.name not in ("events", "refused")]
        told = [f"{name}={reprlib.repr(getattr(self, name))}" for name in shown]
        return f"{name}({', '.join(told)})"

    @property
    def command_seq(self) -> int:
        """The command's number in the log."""
        return self.events[-1].command_seq

    @property
    def duplicate(self) -> bool:
        """Whether this is the answer to a repeated `ref`."""
        return self.events[-1].kind == EventKind.DUPLICATE


@dataclass(frozen=True, slots=True, repr=False)
class OrderResult(Result):
    """The answer to a place or an amend.

    `leaves_qty` is what is open now, `cancelled` the reason why the rest went (IOC, SELF_TRADE, or a
    refusal's name for a stop that could not enter), or None.
    """

    order_id: int
    fills: tuple[Fill, ...]
    filled_qty: int
    leaves_qty: int
    cancelled: str | None


@dataclass(frozen=True, slots=True, repr=False)
class SaleResult(Result):
    """The answer to a subscription: what was paid in all, and where it went."""

    paid: int
    fee: int
    escrow: int


@dataclass(frozen=True, slots=True, repr=False)
class RedeemResult(Result):
    """The answer to a redemption: units taken, goods received, and for a bill what is due in cash."""

    qty: int
    goods: int
    cash_due: int


@dataclass(frozen=True, slots=True, repr=False)
class RefundResult(Result):
    """The answer to a refund: the amount paid back, and the part of it that the merchant paid."""

    amount: int
    from_merchant: int


@dataclass(frozen=True, slots=True, repr=False)
class VoucherResult(Result):
    """The answer to a voucher lock: its id, its value a unit, and the worst-case double-spend."""

    voucher_id: int
    value: int
    exposure: int
    redeem_end_ns: int
    lapse_ns: int


class ImportRow(NamedTuple):
    """One imported member: its account, the units it received, the dust that stays a merchant-side credit."""

    member: int
    account: int
    units: int
    dust: int


@dataclass(frozen=True, slots=True, repr=False)
class ImportResult(Result):
    """The answer to an import: one row a member, in the order given; none if refused."""

    rows: tuple[ImportRow, ...]


class Created(int):
    """The id of what a verb created; 0 if the market refused, and `refused` says why.

    Copied or pickled it is a plain integer: an id is what others need.
    """

    events: tuple[Event, ...]
    refused: Refused | None

    def __new__(cls, number: int, events: Sequence[Event]) -> Self:
        """Make the id carry the answer."""
        created = super().__new__(cls, number)
        created.events = tuple(events)
        created.refused = refused_of(events)
        return created

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        """Leave the answer behind when an id is copied or sent away."""
        return int, (int(self),)

    def __repr__(self) -> str:
        """Show the id, or why there is none."""
        return f"<refused {self.refused}>" if self.refused else str(int(self))


# ── from events ──────────────────────────────────────────────────────────────────────────────────


def result_of(events: Sequence[Event]) -> Result:
    """Answer a command that needs no more than yes or no."""
    return Result(tuple(events), refused_of(events))


def order_result(events: Sequence[Event]) -> OrderResult:
    """Answer a place or an amend; a repeat is answered as the first time.

    Without the first command's events (`keep_events=False`) a repeat knows no fills, only their sum.
    """
    last = events[-1]
    starts = [place for place, event in enumerate(events) if event.kind in (EventKind.ACCEPTED, EventKind.AMENDED)]
    if not starts:
        cancelled = code_name(last.code) if last.kind == EventKind.DUPLICATE and last.code else None
        return OrderResult(tuple(events), refused_of(events), last.order_id, (), last.qty, 0, cancelled)
    # A repeat brings the first command's events and then its own: only the first's are the answer.
    seq = events[starts[-1]].command_seq
    own = [event for event in events[starts[-1] :] if event.command_seq == seq]
    order_id = own[0].order_id
    fills = tuple(
        fill_of(event, order_id)
        for event in own
        if event.kind == EventKind.FILL and order_id in (event.order_id, event.other_order_id)
    )
    filled_qty = sum(fill.qty for fill in fills)
    ends = [event for event in own if event.kind == EventKind.CANCELLED and event.order_id == order_id]
    leaves_qty = own[0].qty - filled_qty - sum(event.qty for event in ends)
    cancelled = code_name(ends[0].code) if ends else None
    return OrderResult(tuple(events), None, order_id, fills, filled_qty, leaves_qty, cancelled)


def fill_of(event: Event, order_id: int) -> Fill:
    """Read a FILL from the side of one of its two orders.

    An order that was placed is mostly the taker; it is the maker where a stop that it woke met it.
    """
    fee = event.fee if order_id == event.order_id else event.other_fee
    return Fill(event.price, event.qty, event.other_order_id, event.other_account, fee, event.amount)


def sale_result(events: Sequence[Event]) -> SaleResult:
    """Answer a subscription."""
    sold = [event for event in events if event.kind == EventKind.SOLD]
    paid, fee, escrow = (sold[-1].amount, sold[-1].fee, sold[-1].other_fee) if sold else (0, 0, 0)
    return SaleResult(tuple(events), refused_of(events), paid, fee, escrow)


def redeem_result(events: Sequence[Event]) -> RedeemResult:
    """Answer a redemption of units, of a bill, or of a voucher."""
    kinds = (EventKind.REDEEMED, EventKind.VOUCHER_REDEEMED)
    taken = [event for event in events if event.kind in kinds]
    bills = [event.fee for event in events if event.kind == EventKind.BILL_REDEEMED]
    return RedeemResult(
        tuple(events),
        refused_of(events),
        sum(event.qty for event in taken),
        sum(event.amount for event in taken),
        bills[-1] if bills else 0,
    )


def refund_result(events: Sequence[Event]) -> RefundResult:
    """Answer a refund."""
    back = [(event.amount, event.other_fee) for event in events if event.kind == EventKind.REFUNDED]
    return RefundResult(tuple(events), refused_of(events), *(back[-1] if back else (0, 0)))


def voucher_result(events: Sequence[Event]) -> VoucherResult:
    """Answer a voucher lock."""
    locked = [event for event in events if event.kind == EventKind.VOUCHER_LOCKED]
    if not locked:
        return VoucherResult(tuple(events), refused_of(events), events[-1].order_id, 0, 0, 0, 0)
    one = locked[-1]
    return VoucherResult(tuple(events), None, one.order_id, one.price, one.amount, one.fee, one.other_fee)


def import_result(events: Sequence[Event]) -> ImportResult:
    """Answer an import."""
    rows = tuple(ImportRow(e.order_id, e.account, e.qty, e.fee) for e in events if e.kind == EventKind.IMPORTED)
    return ImportResult(tuple(events), refused_of(events), rows)
