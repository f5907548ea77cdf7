"""An order book without accounts and money: n books, the words of the exchange, REPORTs out.

    book = OrderBook()
    book.place(order_id=1, side="sell", price=101, qty=5)
    book.place(order_id=2, side="buy", price=102, qty=3).fills   →  3 @ 101

For those who only want matching: backtests of other markets, replays of a venue's feed, teaching. It
knows GTC, IOC, FOK, post-only, icebergs, amends and the three answers to an own order (R16, R19, R38,
R40, R42). Prices are any int64, negative ones too; quantities are 1 … 2^40 − 1. Nothing expires, and
an order of account 0 belongs to nobody.
"""

from __future__ import annotations

from itertools import takewhile
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np

from rightsx.border import SIDES, TIMES_IN_FORCE, check_out, word
from rightsx.errors import MisuseError
from rightsx.protocol import (
    INT64_MAX,
    INT64_MIN,
    REPORT,
    AmendFlag,
    CancelReason,
    Command,
    CommandKind,
    OrderFlag,
    Refusal,
    Report,
    ReportKind,
    Side,
    TimeInForce,
    code_name,
    commands_of,
    report_records,
)
from rightsx.reference.bare import ReferenceBook, reports_of
from rightsx.views import Ladder, Level
from rightsx.vocabulary import COMMANDS, command, integer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rightsx.engine.barebook import CompiledBook

OWN_ORDERS: Final[dict[str, int]] = {
    "cancel_taker": 0,
    "cancel_maker": OrderFlag.CANCEL_MAKER,
    "cancel_both": OrderFlag.CANCEL_BOTH,
}
BARE_KINDS: Final = (CommandKind.PLACE, CommandKind.AMEND, CommandKind.CANCEL)
BOOKS_END: Final = 2**30  # a side's number, and a slot times four, are 4 signed bytes
REPORT_STRUCT: Final = Struct("<4q3I2BH")
ORDER_ID: Final = Struct("<q")
KIND_AT: Final = 44
# How the compiled entry takes a single command: kind + side × 2^8 + time in force × 2^16 + flags × 2^24, then numbers.
# The entry's answer is reports × 4 + how it ended, or −1 if a book or an account does not fit a record.
ONE: Final = 1
SLICES: Final = [slice(0, answer // 4 * REPORT.itemsize) for answer in range(4 * 64 + 1)]
AMEND_BITS: Final = int(CommandKind.AMEND)
NAMES_PRICE, NAMES_QTY = AmendFlag.PRICE << 24, AmendFlag.QTY << 24
CANCEL_BITS: Final = int(CommandKind.CANCEL)
GTC, CANCEL_TAKER = "gtc", "cancel_taker"  # what a place that names neither is; `SIDE_BITS` begin with them
SIDE_BITS: Final = {name: int(CommandKind.PLACE | side << 8 | TimeInForce.GTC << 16) for name, side in SIDES.items()}
TIME_BITS: Final = {name: (time - TimeInForce.GTC) << 16 for name, time in TIMES_IN_FORCE.items()}
OWN_BITS: Final = {name: int(flag << 24) for name, flag in OWN_ORDERS.items()}

assert REPORT_STRUCT.size == REPORT.itemsize
assert REPORT.fields is not None
assert (REPORT.fields["order_id"][1], REPORT.fields["kind"][1]) == (0, KIND_AT)


class BareFill(NamedTuple):
    """One trade of a bare book: at the maker's price."""

    price: int
    qty: int
    maker: int


class BookResult:
    """What the bare book answered: the order's id, its fills, what is left of it, or why not.

    It keeps the bytes of the REPORTs and reads them when it is asked. `leaves_qty` is what rested when
    the command was done; `cancelled` and `refused` are words or None.
    """

    __slots__ = ("_raw",)
    _raw: bytes | bytearray

    @property
    def reports(self) -> tuple[Report, ...]:
        """Everything that the book said."""
        return tuple(Report(*row) for row in REPORT_STRUCT.iter_unpack(self._raw))

    @property
    def order_id(self) -> int:
        """The order's id or handle; of a refused command the one that it named."""
        return ORDER_ID.unpack_from(self._raw)[0]  # type: ignore[no-any-return]

    @property
    def fills(self) -> tuple[BareFill, ...]:
        """The trades of this command, in order."""
        if len(self._raw) == REPORT_STRUCT.size:
            return ()
        return tuple(BareFill(r.price, r.qty, r.other_order_id) for r in self.reports if r.kind == ReportKind.FILL)

    @property
    def filled_qty(self) -> int:
        """Units traded by this command."""
        return sum(report.qty for report in self.reports if report.kind == ReportKind.FILL)

    @property
    def leaves_qty(self) -> int:
        """Units that rested when the command was done."""
        first = self.reports[0]
        if first.kind not in (ReportKind.ACCEPTED, ReportKind.AMENDED) or self.cancelled is not None:
            return 0
        return first.qty - self.filled_qty

    @property
    def cancelled(self) -> str | None:
        """Why the order's rest is gone, or None."""
        order_id = self.order_id
        own = [r.code for r in self.reports if r.kind == ReportKind.CANCELLED and r.order_id == order_id]
        return CancelReason(own[0]).name if own else None

    @property
    def refused(self) -> str | None:
        """Why the book said no, or None."""
        first = self.reports[0]
        return code_name(first.code) if first.kind == ReportKind.REFUSED else None

    def __bool__(self) -> bool:
        """Whether the command was accepted."""
        return self._raw[KIND_AT] != ReportKind.REFUSED

    def __eq__(self, other: object) -> bool:
        """Whether the book said the same."""
        return isinstance(other, BookResult) and self._raw == other._raw

    def __hash__(self) -> int:
        """Hash what the book said."""
        return hash(bytes(self._raw))

    def __repr__(self) -> str:
        """Show all but the reports."""
        shown = ("order_id", "fills", "leaves_qty", "cancelled", "refused")
        return f"BookResult({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


def most_levels(levels: int | None) -> int | None:
    """Let a number of levels to show pass, None for all."""
    if levels is not None and integer("levels", levels, Refusal.BadQuantity) < 0:
        raise MisuseError(f"levels was {levels}; 0 or more is allowed, None for all", Refusal.BadQuantity)
    return levels


def _within(kind: CommandKind, **arguments: int) -> Command:
    """Build a command of which no number had to be saturated: any id, account and price is good here."""
    record = command(kind, **arguments)
    for argument in COMMANDS[kind]:
        given = arguments.get(argument.name)
        if argument.field != "qty" and given is not None and getattr(record, argument.field) != given:
            raise MisuseError(f"{argument.name} was {given}; it does not fit a record", argument.code)
    return record


def _no_short_way(*_: object) -> int:
    """Stand in for the compiled entry where there is none: whoever calls goes the long way."""
    raise TypeError


class OrderBook:
    """`books` price-time books in one id space, without accounts and money.

    `ids="caller"`: every order names its own positive int64, free again once finished.
    `ids="handles"`: the book issues handles and no table of ids is kept.
    `limit` is the most resting orders over all books. `engine` is "compiled", or "reference" for those
    who want to judge it. An empty book takes 32 bytes. Not for two threads at once.
    """

    def __init__(
        self,
        books: int = 1,
        *,
        ids: Literal["caller", "handles"] = "caller",
        engine: Literal["compiled", "reference"] = "compiled",
        limit: int = 2**22,
    ) -> None:
        """Make empty books; raises `MisuseError` for anything but the words above."""
        for name, value in (("books", books), ("limit", limit)):
            if not 0 < integer(name, value, Refusal.CapacityExceeded) < BOOKS_END:
                raise MisuseError(f"{name} was {value}; 1 to {BOOKS_END - 1} is allowed", Refusal.CapacityExceeded)
        if ids not in ("caller", "handles"):
            raise MisuseError(f"ids was {ids!r}; one of caller, handles is due")
        if engine not in ("compiled", "reference"):
            raise MisuseError(f"engine was {engine!r}; one of compiled, reference is due")
        if engine == "compiled":
            from rightsx.engine.barebook import CompiledBook  # noqa: PLC0415 - the compiler loads at first use

            self._open(int(books), CompiledBook(int(books), ids, int(limit)))
        else:
            self._open(int(books), ReferenceBook(int(books), ids, int(limit)))

    def _open(self, books: int, twin: CompiledBook | ReferenceBook) -> None:
        """Stand on a twin; a compiled one is called without a detour where all words and numbers are plain."""
        self._books = books
        self._twin = twin
        self._call: Callable[..., int] = _no_short_way
        self._state: Any = None
        self._bytes = bytearray()
        if not isinstance(twin, ReferenceBook):
            assert twin.one_code == ONE, "the entry is called by another name"
            assert len(twin.report_bytes) <= SLICES[-1].stop, "a single command has more room than there are slices"
            self._call, self._state, self._bytes = twin.call, twin.state, twin.report_bytes

    def __getstate__(self) -> tuple[int, CompiledBook | ReferenceBook]:
        """Give what a copy needs."""
        return self._books, self._twin

    def __setstate__(self, kept: tuple[int, CompiledBook | ReferenceBook]) -> None:
        """Stand on the copy of a twin."""
        self._open(*kept)

    def place(
        self,
        *,
        side: str | Side,
        qty: int,
        price: int | None = None,
        order_id: int = 0,
        account: int = 0,
        book: int = 0,
        time_in_force: str | TimeInForce = GTC,
        post_only: bool = False,
        display: int = 0,
        own_orders: str = CANCEL_TAKER,
    ) -> BookResult:
        """Enter an order, match it, and rest what is left.

        No `price` is a market order: at any price, its rest cancelled. Refused, in this order:
        BadQuantity, BadTerms, UnknownSeries (no such book), DuplicateId, PostOnlyWouldCross,
        FOKUnfillable, CapacityExceeded. Raises `MisuseError` for wrong words and types.
        O(log levels + orders met).

        >>> OrderBook().place(order_id=7, side="buy", price=-3, qty=5).leaves_qty
        5
        """
        # The short way: the entry takes ints and their children. All else is read below, at leisure.
        result = BookResult()  # before the call: after it nothing lets an interrupt in until the caller has the answer
        try:
            bits = SIDE_BITS[side]  # type: ignore[index]
            if time_in_force is not GTC or own_orders is not CANCEL_TAKER:
                bits += TIME_BITS[time_in_force] + OWN_BITS[own_orders]  # type: ignore[index]
            if post_only is False:
                answer = self._call(self._state, ONE, bits, book, account, order_id, price, qty, display)
                if not answer & 3:
                    result._raw = self._bytes[SLICES[answer]]  # noqa: SLF001 - a constructor would cost 60 ns
                    return result
                if answer > 0:
                    return self._finish(answer, bits, book, account, order_id, price, qty, display)
        except (KeyError, TypeError, OverflowError):
            pass
        except BaseException:
            self._cut_short()
            raise
        chosen_side = word("side", side, SIDES)
        tif = word("time_in_force", time_in_force, TIMES_IN_FORCE)
        if price is None:
            price = INT64_MAX if chosen_side == Side.BUY else INT64_MIN
            tif = TimeInForce.IOC if tif == TimeInForce.GTC else tif
        if not isinstance(post_only, bool):
            raise MisuseError(f"post_only was {post_only!r}; True or False is due", Refusal.BadTerms)
        flags = word("own_orders", own_orders, OWN_ORDERS) | (OrderFlag.POST_ONLY if post_only else 0)
        record = _within(
            CommandKind.PLACE,
            series=book,
            account=account,
            side=chosen_side,
            qty=qty,
            price=price,
            time_in_force=tif,
            flags=flags,
            display=display,
            order_id=order_id,
        )
        return self._apply(record)

    def amend(self, *, order_id: int, price: int | None = None, qty: int | None = None, account: int = 0) -> BookResult:
        """Change a resting order's price or open quantity (R38).

        Lowering the quantity keeps the place; a new price or a larger quantity enters anew. Refused:
        BadQuantity, BadTerms (neither named), OrderNotOpen, NotOwner, PostOnlyWouldCross.
        """
        bits = AMEND_BITS
        new_price = new_qty = 0
        if price is not None:
            bits, new_price = bits + NAMES_PRICE, price
        if qty is not None:
            bits, new_qty = bits + NAMES_QTY, qty
        result = BookResult()  # as in `place`
        try:
            answer = self._call(self._state, ONE, bits, 0, account, order_id, new_price, new_qty, 0)
            if not answer & 3:
                result._raw = self._bytes[SLICES[answer]]  # noqa: SLF001
                return result
            if answer > 0:
                return self._finish(answer, bits, 0, account, order_id, new_price, new_qty, 0)
        except (TypeError, OverflowError):
            pass
        except BaseException:
            self._cut_short()
            raise
        flags = (bits - AMEND_BITS) >> 24
        named = {key: value for key, value in (("price", price), ("qty", qty)) if value is not None}
        return self._apply(_within(CommandKind.AMEND, account=account, order_id=order_id, flags=flags, **named))

    def cancel(self, *, order_id: int, account: int = 0) -> BookResult:
        """Take a resting order out. Refused: OrderNotOpen, NotOwner."""
        result = BookResult()  # as in `place`
        try:
            answer = self._call(self._state, ONE, CANCEL_BITS, 0, account, order_id, 0, 0, 0)
            if not answer & 3:
                result._raw = self._bytes[SLICES[answer]]  # noqa: SLF001
                return result
            if answer > 0:
                return self._finish(answer, CANCEL_BITS, 0, account, order_id, 0, 0, 0)
        except (TypeError, OverflowError):
            pass
        except BaseException:
            self._cut_short()
            raise
        return self._apply(_within(CommandKind.CANCEL, account=account, order_id=order_id))

    def apply_batch(self, commands: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
        """Apply COMMAND[n] of the kinds PLACE, AMEND, CANCEL in order and give every REPORT.

        `command_index` of a report is the row that it answers. Reports are written to `out`, a REPORT array,
        as long as they fit, and the answer is a part of it; without it to new memory, which costs as much as the
        commands do, or to that of an answer that nobody holds any more. Raises `MisuseError` before the
        first write for another dtype or kind. O(n log levels + trades).
        """
        check_out(out, "REPORT", REPORT, commands)
        commands_of(commands[:0] if isinstance(commands, np.ndarray) and commands.ndim else commands)
        # Read once, as bytes: kind − 1 wraps, so that 0 is as far off as 200.
        if len(commands) and (commands["kind"] - np.uint8(1)).max() >= len(BARE_KINDS):
            index = int(np.flatnonzero(~np.isin(commands["kind"], BARE_KINDS))[0])
            kind = commands["kind"][index]
            raise MisuseError(f"command {index} was of kind {kind}; the bare book takes PLACE, AMEND, CANCEL", Refusal.BadTerms)
        if isinstance(self._twin, ReferenceBook):
            reports = report_records(reports_of(self._twin, commands_of(commands)))
            if out is None or len(out) < len(reports):
                return reports
            out[: len(reports)] = reports
            return out[: len(reports)]
        return self._twin.apply_batch(commands, out)

    def take_unread(self) -> tuple[int, np.ndarray]:
        """Give what a call that an exception cut short had done, once: how many commands, and their REPORTs.

        KeyboardInterrupt and MemoryError leave the book at the end of a command: those before it are
        applied, those after it are not. The reference keeps no such account.
        """
        if isinstance(self._twin, ReferenceBook):
            return 0, np.zeros(0, REPORT)
        return self._twin.take_unread()

    def depth(self, book: int = 0, *, levels: int | None = 10) -> Ladder:
        """Show the best `levels` prices of both sides: price, shown quantity, orders. None shows all."""
        self._check_number(book)
        levels = most_levels(levels)
        bids, asks = ([Level(*row) for row in self._twin.depth(book, side, levels)] for side in (Side.BUY, Side.SELL))
        return Ladder(title=f"book {book}", bids=bids, asks=asks)

    def queue(self, book: int, side: str | Side, *, price: int | None = None) -> list[tuple[int, int, int]]:
        """List (order id, price, open quantity) of a side, or of one price, in the order in which it would trade."""
        self._check_number(book)
        chosen = word("side", side, SIDES)
        orders: Iterable[Any] = self._twin.orders(book, chosen)
        if price is not None:
            worst = integer("price", price, Refusal.BadPrice)
            orders = takewhile(lambda order: order.limit >= worst if chosen == Side.BUY else order.limit <= worst, orders)
            orders = (order for order in orders if order.limit == worst)
        return [(order.id, order.limit, order.open_qty) for order in orders]

    def front(self, book: int, side: str | Side) -> tuple[int, int, int] | None:
        """Give (order id, price, open quantity) of the order of a side that would trade first, None where there is none.

        O(log levels).
        """
        self._check_number(book)
        orders: Iterable[Any] = self._twin.orders(book, word("side", side, SIDES))
        order = next(iter(orders), None)
        return None if order is None else (order.id, order.limit, order.open_qty)

    def open_qty(self, order_id: int) -> int:
        """Give what is open of an order: 0 if it is not live. O(1)."""
        order = self._twin.order(integer("order_id", order_id, Refusal.OrderNotOpen))
        return order.open_qty if order else 0

    def check(self) -> None:
        """Assert the book's invariants. O(orders)."""
        self._twin.check()

    def state_hash(self) -> str:
        """Hash the whole state in its canonical order: equal states, equal hash. O(orders)."""
        return self._twin.state_hash()

    def _check_number(self, book: int) -> None:
        if not 0 <= integer("book", book, Refusal.UnknownSeries) < self._books:
            raise MisuseError(f"book was {book}; there are {self._books}, from 0", Refusal.UnknownSeries)

    def _finish(self, answer: int, *numbers: Any) -> BookResult:
        """Finish a command that needs more room than a single one has, or that found another unfinished."""
        assert not isinstance(self._twin, ReferenceBook)
        result = BookResult()  # before the call, as in `place`
        result._raw = self._twin.finish_one(answer & 3, numbers)  # noqa: SLF001
        return result

    def _cut_short(self) -> None:
        """Keep for `take_unread` what a single command had done whose caller never hears."""
        if not isinstance(self._twin, ReferenceBook):
            self._twin.keep_single()

    def _apply(self, record: Command) -> BookResult:
        result = BookResult()  # before the call, as in `place`
        if isinstance(self._twin, ReferenceBook):
            result._raw = report_records(self._twin.apply(record)).tobytes()  # noqa: SLF001
        else:
            result._raw = self._twin.apply_raw(record)  # noqa: SLF001
        return result
