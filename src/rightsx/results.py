"""What a verb answers: small typed objects, true if the market accepted, with the refusal if it did not.

    result = market.place(...)
    if not result: print(result.refused)      →  PriceAboveCap: price was 101; 100 is allowed
    result.fills, result.leaves_qty, result.events

A result keeps the bytes of its EVENTs and reads them when it is asked: most are never asked for more than yes or no.
Verbs that create something answer with its id: an integer that carries the same attributes, 0 if
refused, so that a refused listing can never be mistaken for one.
"""

from __future__ import annotations

import reprlib
from typing import ClassVar, Final, NamedTuple, Self

from rightsx.protocol import EVENT_STRUCT, KIND_BYTE, Event, EventKind, Refusal, code_name, events_in
from rightsx.wording import refusal_words, refused_field

BASKETS: Final = (EventKind.BILL_PAID, EventKind.PRODUCT_BOUGHT, EventKind.ROLLED)
LAST_KIND: Final = KIND_BYTE - EVENT_STRUCT.size  # where the last of some EVENTs says what it is


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


def refused_in(raw: bytes | bytearray) -> Refused | None:
    """Give the refusal that ends the EVENTs of a command, or None."""
    if not raw or raw[LAST_KIND] != EventKind.REFUSED:
        return None
    last = Event._make(EVENT_STRUCT.unpack_from(raw, len(raw) - EVENT_STRUCT.size))
    return Refused(Refusal(last.code), refused_field(last), last.amount, last.fee)


class Result:
    """The answer to one command, read from the bytes of its EVENTs, timers that fell due before it included.

    Results are equal if their events are.
    """

    __slots__ = ("raw",)
    raw: bytes | bytearray  # EVENT[n]
    _shown: ClassVar[tuple[str, ...]] = ()

    @property
    def events(self) -> tuple[Event, ...]:
        """Everything that the command caused. O(events)."""
        return tuple(events_in(self.raw))

    @property
    def refused(self) -> Refused | None:
        """Why the market said no, or None."""
        return refused_in(self.raw)

    def __bool__(self) -> bool:
        """Whether the market accepted."""
        return self.raw[LAST_KIND] != EventKind.REFUSED

    def __eq__(self, other: object) -> bool:
        """Whether the same happened."""
        return isinstance(other, Result) and self.raw == other.raw

    def __hash__(self) -> int:
        """Hash what happened."""
        return hash(bytes(self.raw))

    def __repr__(self) -> str:
        """Show the answer in a line: its numbers, or why not; the events are left out."""
        name = type(self).__name__
        if not self:
            return f"<{name} refused {self.refused}>"
        told = [f"{one}={reprlib.repr(getattr(self, one))}" for one in self._shown]
        return f"{name}({', '.join(told)})"

    @property
    def command_seq(self) -> int:
        """The command's number in the log."""
        return self._last().command_seq

    @property
    def duplicate(self) -> bool:
        """Whether this is the answer to a repeated `ref`."""
        return self.raw[LAST_KIND] == EventKind.DUPLICATE

    def _last(self) -> Event:
        return Event._make(EVENT_STRUCT.unpack_from(self.raw, len(self.raw) - EVENT_STRUCT.size))

    def _found(self, *kinds: EventKind) -> list[Event]:
        return [event for event in self.events if event.kind in kinds]


class OrderResult(Result):
    """The answer to a place or an amend; a repeat is answered as the first time.

    Without the first command's events (`keep_events=False`) a repeat knows no fills, only their sum.
    """

    __slots__ = ()
    _shown = ("order_id", "fills", "filled_qty", "leaves_qty", "cancelled")

    @property
    def order_id(self) -> int:
        """The order's id; of a refused command the one that it named."""
        own = self._own()
        return own[0].order_id if own else self._last().order_id

    @property
    def fills(self) -> tuple[Fill, ...]:
        """The trades of the order in this command, oldest first."""
        own = self._own()
        order_id = own[0].order_id if own else 0
        return tuple(
            fill_of(event, order_id)
            for event in own
            if event.kind == EventKind.FILL and order_id in (event.order_id, event.other_order_id)
        )

    @property
    def filled_qty(self) -> int:
        """Units that it traded in this command."""
        return sum(fill.qty for fill in self.fills) if self._own() else self._last().qty

    @property
    def leaves_qty(self) -> int:
        """Units that were open when the command was done."""
        own = self._own()
        return own[0].qty - self.filled_qty - sum(event.qty for event in self._ends()) if own else 0

    @property
    def cancelled(self) -> str | None:
        """Why its rest went: IOC, SELF_TRADE, or a refusal's name for a stop that could not enter; or None."""
        if self._own():
            ends = self._ends()
            return code_name(ends[0].code) if ends else None
        last = self._last()
        return code_name(last.code) if last.kind == EventKind.DUPLICATE and last.code else None

    def _own(self) -> list[Event]:
        """Give the command's own events from the one that says what the order is, or none."""
        if not self:
            return []
        # A repeat brings the first command's events and then its own: only the first's are the answer.
        last = self._last()
        seq = last.other_order_id if last.kind == EventKind.DUPLICATE else last.command_seq
        events = [event for event in self.events if event.command_seq == seq]
        for place in range(len(events) - 1, -1, -1):
            # Plans that were due before the command may have placed or amended orders, too (R55): the last one is its own.
            if events[place].kind in (EventKind.ACCEPTED, EventKind.AMENDED):
                return events[place:]
        return []

    def _ends(self) -> list[Event]:
        own = self._own()
        return [event for event in own if event.kind == EventKind.CANCELLED and event.order_id == own[0].order_id]


def fill_of(event: Event, order_id: int) -> Fill:
    """Read a FILL from the side of one of its two orders.

    An order that was placed is mostly the taker; it is the maker where a stop that it woke met it.
    """
    fee = event.fee if order_id == event.order_id else event.other_fee
    return Fill(event.price, event.qty, event.other_order_id, event.other_account, fee, event.amount)


class SaleResult(Result):
    """The answer to a subscription: what was paid in all, and where it went. Minor units, 0 if refused."""

    __slots__ = ()
    _shown = ("paid", "fee", "escrow")

    @property
    def paid(self) -> int:
        """What the buyer paid, fee included."""
        return sum(event.amount for event in self._found(EventKind.SOLD)[-1:])

    @property
    def fee(self) -> int:
        """What the platform keeps of it."""
        return sum(event.fee for event in self._found(EventKind.SOLD)[-1:])

    @property
    def escrow(self) -> int:
        """What of it backs the units."""
        return sum(event.other_fee for event in self._found(EventKind.SOLD)[-1:])


class RedeemResult(Result):
    """The answer to a redemption of units, of a bill, or of a voucher."""

    __slots__ = ()
    _shown = ("qty", "goods", "cash_due")

    @property
    def qty(self) -> int:
        """Units taken."""
        return sum(event.qty for event in self._found(EventKind.REDEEMED, EventKind.VOUCHER_REDEEMED))

    @property
    def goods(self) -> int:
        """What was received for them, in minor units."""
        return sum(event.amount for event in self._found(EventKind.REDEEMED, EventKind.VOUCHER_REDEEMED))

    @property
    def cash_due(self) -> int:
        """What of a bill is still to be paid, in minor units."""
        return sum(event.fee for event in self._found(EventKind.BILL_REDEEMED)[-1:])


class BasketResult(Result):
    """The answer to a bill paid with rights to be bought, to buying a product, or to a roll. Minor units, 0 if refused."""

    __slots__ = ()
    _shown = ("qty", "cost", "goods", "cash_due", "saving", "proceeds")

    @property
    def qty(self) -> int:
        """Units bought."""
        return sum(event.qty for event in self._head())

    @property
    def cost(self) -> int:
        """What they cost, fees included."""
        return sum(event.other_fee for event in self._head())

    @property
    def proceeds(self) -> int:
        """What the units that a roll sold brought, after fee and royalty."""
        return sum(event.amount for event in self._found(EventKind.ROLLED)[-1:])

    @property
    def net(self) -> int:
        """What was paid in all: cost − proceeds."""
        return self.cost - self.proceeds

    @property
    def goods(self) -> int:
        """What of the bill the units paid."""
        return sum(event.amount - event.fee for event in self._found(EventKind.BILL_PAID)[-1:])

    @property
    def cash_due(self) -> int:
        """What of the bill is still to be paid."""
        return sum(event.fee for event in self._found(EventKind.BILL_PAID)[-1:])

    @property
    def saving(self) -> int:
        """What the goods of a bill are worth beyond the cost of their units."""
        return self.goods - self.cost if self.goods else 0

    @property
    def fills(self) -> tuple[Fill, ...]:
        """The trades, in the order in which they happened; those of stops that they woke are not among them."""
        found: list[Event] = []
        for event in self.events:
            # The legs follow upon the event that sums the command up; what fell due stands before it, or is a repeat's.
            if event.kind in BASKETS:
                found = [event]
            elif found and event.command_seq == found[0].command_seq:
                found.append(event)
        own = {event.order_id for event in found if event.kind == EventKind.ACCEPTED}
        return tuple(fill_of(event, event.order_id) for event in found if event.kind == EventKind.FILL and event.order_id in own)

    def _head(self) -> list[Event]:
        """Give the event that sums the command up, as a list; none if it was refused."""
        return self._found(*BASKETS)[-1:]


class RefundResult(Result):
    """The answer to a refund, in minor units."""

    __slots__ = ()
    _shown = ("amount", "from_merchant")

    @property
    def amount(self) -> int:
        """What was paid back."""
        return sum(event.amount for event in self._found(EventKind.REFUNDED)[-1:])

    @property
    def from_merchant(self) -> int:
        """The part of it that the merchant paid."""
        return sum(event.other_fee for event in self._found(EventKind.REFUNDED)[-1:])


class VoucherResult(Result):
    """The answer to a voucher lock; its numbers are 0 if it was refused."""

    __slots__ = ()
    _shown = ("voucher_id", "value", "exposure", "redeem_end_ns", "lapse_ns")

    @property
    def voucher_id(self) -> int:
        """The voucher's id."""
        return self._locked().order_id

    @property
    def value(self) -> int:
        """Its value a unit, frozen until it is redeemed or lapses."""
        return self._locked().price

    @property
    def exposure(self) -> int:
        """The worst case of its being spent at every terminal at once."""
        return self._locked().amount

    @property
    def redeem_end_ns(self) -> int:
        """Until when it may be redeemed."""
        return self._locked().fee

    @property
    def lapse_ns(self) -> int:
        """Until when a redemption may be uploaded."""
        return self._locked().other_fee

    def _locked(self) -> Event:
        found = self._found(EventKind.VOUCHER_LOCKED)
        return found[-1] if found else Event(EventKind.REFUSED, order_id=self._last().order_id)


class ImportRow(NamedTuple):
    """One imported member: its account, the units it received, the dust that stays a merchant-side credit."""

    member: int
    account: int
    units: int
    dust: int


class ImportResult(Result):
    """The answer to an import: one row a member, in the order given; none if refused."""

    __slots__ = ()
    _shown = ("rows",)

    @property
    def rows(self) -> tuple[ImportRow, ...]:
        """What each member received."""
        return tuple(ImportRow(e.order_id, e.account, e.qty, e.fee) for e in self._found(EventKind.IMPORTED))


class Created(int):
    """The id of what a verb created; 0 if the market refused, and `refused` says why.

    Copied or pickled it is a plain integer: an id is what others need.
    """

    raw: bytes | bytearray  # EVENT[n]

    def __new__(cls, number: int, raw: bytes | bytearray = b"") -> Self:
        """Make the id carry the bytes of its EVENTs."""
        created = super().__new__(cls, number)
        created.raw = raw
        return created

    @property
    def events(self) -> tuple[Event, ...]:
        """Everything that the command caused."""
        return tuple(events_in(self.raw))

    @property
    def refused(self) -> Refused | None:
        """Why the market said no, or None."""
        return refused_in(self.raw)

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        """Leave the answer behind when an id is copied or sent away."""
        return int, (int(self),)

    def __repr__(self) -> str:
        """Show the id, or why there is none."""
        return f"<refused {self.refused}>" if self.refused else str(int(self))
