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

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from rightsx.border import SIDES, TIMES_IN_FORCE, word
from rightsx.errors import MisuseError
from rightsx.protocol import (
    INT64_MAX,
    INT64_MIN,
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
    import numpy as np

OWN_ORDERS: Final[dict[str, int]] = {
    "cancel_taker": 0,
    "cancel_maker": OrderFlag.CANCEL_MAKER,
    "cancel_both": OrderFlag.CANCEL_BOTH,
}
BARE_KINDS: Final = (CommandKind.PLACE, CommandKind.AMEND, CommandKind.CANCEL)


class BareFill(NamedTuple):
    """One trade of a bare book: at the maker's price."""

    price: int
    qty: int
    maker: int


@dataclass(frozen=True, slots=True)
class BookResult:
    """What the bare book answered: the order's id, its fills, what is left of it, or why not.

    `leaves_qty` is what rests now; `cancelled` and `refused` are words or None.
    """

    order_id: int
    fills: tuple[BareFill, ...]
    leaves_qty: int
    cancelled: str | None
    refused: str | None
    reports: tuple[Report, ...] = field(repr=False)

    @property
    def filled_qty(self) -> int:
        """Units traded by this command."""
        return sum(fill.qty for fill in self.fills)

    def __bool__(self) -> bool:
        """Whether the command was accepted."""
        return self.refused is None


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


class OrderBook:
    """`books` price-time books in one id space, without accounts and money.

    `ids="caller"`: every order names its own positive int64, free again once finished.
    `ids="handles"`: the book issues handles and no table of ids is kept.
    `limit` is the most resting orders over all books. `engine` is "reference".
    """

    def __init__(
        self,
        books: int = 1,
        *,
        ids: Literal["caller", "handles"] = "caller",
        engine: Literal["reference"] = "reference",
        limit: int = 2**22,
    ) -> None:
        """Make empty books; raises `MisuseError` for anything but the words above."""
        for name, value, end in (("books", books, 2**32), ("limit", limit, 2**31)):
            if not 0 < integer(name, value, Refusal.CapacityExceeded) < end:
                raise MisuseError(f"{name} was {value}; 1 to {end - 1} is allowed", Refusal.CapacityExceeded)
        if ids not in ("caller", "handles"):
            raise MisuseError(f"ids was {ids!r}; one of caller, handles is due")
        if engine != "reference":
            raise MisuseError(f"engine was {engine!r}; only reference is there so far")
        self._ids = ids
        self._twin = ReferenceBook(books, ids, limit)
        self._books = books

    def place(
        self,
        *,
        side: str | Side,
        qty: int,
        price: int | None = None,
        order_id: int = 0,
        account: int = 0,
        book: int = 0,
        time_in_force: str | TimeInForce = "gtc",
        post_only: bool = False,
        display: int = 0,
        own_orders: str = "cancel_taker",
    ) -> BookResult:
        """Enter an order, match it, and rest what is left.

        No `price` is a market order: at any price, its rest cancelled. Refused, in this order:
        BadQuantity, BadTerms, UnknownSeries (no such book), DuplicateId, PostOnlyWouldCross,
        FOKUnfillable, CapacityExceeded. Raises `MisuseError` for wrong words and types.
        O(log levels + orders met).

        >>> OrderBook().place(order_id=7, side="buy", price=-3, qty=5).leaves_qty
        5
        """
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
        named = {key: value for key, value in (("price", price), ("qty", qty)) if value is not None}
        flags = (AmendFlag.PRICE if price is not None else 0) | (AmendFlag.QTY if qty is not None else 0)
        return self._apply(_within(CommandKind.AMEND, account=account, order_id=order_id, flags=flags, **named))

    def cancel(self, *, order_id: int, account: int = 0) -> BookResult:
        """Take a resting order out. Refused: OrderNotOpen, NotOwner."""
        return self._apply(_within(CommandKind.CANCEL, account=account, order_id=order_id))

    def apply_batch(self, commands: np.ndarray) -> np.ndarray:
        """Apply COMMAND[n] of the kinds PLACE, AMEND, CANCEL in order and give every REPORT.

        `command_index` of a report is the row that it answers. Raises `MisuseError` before the first
        write for another dtype or kind. O(n log levels + trades).
        """
        rows = commands_of(commands)
        for index, row in enumerate(rows):
            if row.kind not in BARE_KINDS:
                raise MisuseError(
                    f"command {index} was of kind {row.kind}; the bare book takes PLACE, AMEND, CANCEL", Refusal.BadTerms
                )
        return report_records(reports_of(self._twin, rows))

    def depth(self, book: int = 0, *, levels: int | None = 10) -> Ladder:
        """Show the best `levels` prices of both sides: price, shown quantity, orders. None shows all."""
        self._check_number(book)
        levels = most_levels(levels)
        bids, asks = ([Level(*row) for row in self._twin.depth(book, side, levels)] for side in (Side.BUY, Side.SELL))
        return Ladder(title=f"book {book}", bids=bids, asks=asks)

    def queue(self, book: int, side: str | Side) -> list[tuple[int, int, int]]:
        """List (order id, price, open quantity) of one side in the order in which it would trade."""
        self._check_number(book)
        return [(order.id, order.limit, order.open_qty) for order in self._twin.orders(book, word("side", side, SIDES))]

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

    def _apply(self, record: Command) -> BookResult:
        reports = tuple(self._twin.apply(record))
        first = reports[0]
        if first.kind == ReportKind.REFUSED:
            return BookResult(record.order_id, (), 0, None, code_name(first.code), reports)
        fills = tuple(BareFill(r.price, r.qty, r.other_order_id) for r in reports if r.kind == ReportKind.FILL)
        own = [r for r in reports if r.kind == ReportKind.CANCELLED and r.order_id == first.order_id]
        cancelled = CancelReason(own[0].code).name if own else None
        return BookResult(first.order_id, fills, self.open_qty(first.order_id), cancelled, None, reports)
