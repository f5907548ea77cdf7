"""The order book without accounts and money: n books, REPORTs out, judge of the compiled one.

A record's `series` chooses the book and 0 is one of them; account 0 is nobody and never meets an own
order. What rests, trades and is refused follows R16, R19, R38, R40 and R42; prices are any int64,
because nothing here multiplies one.

Ids come from the caller (any positive int64, free again once its order is finished) or are *handles*:
`generation << 32 | slot`. An arriving order takes its slot before it matches, freed slots are reused
last in first out, then fresh ones ascending from 1, so every twin issues the same handles.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

from rightsx.protocol import (
    BOOK_QTY_END,
    ICEBERG_PARTS_MAX,
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
)
from rightsx.reference.book import Book, Order, opposite

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BARE_TIMES = (TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK)
KNOWN_FLAGS = OrderFlag.POST_ONLY | OrderFlag.CANCEL_MAKER | OrderFlag.CANCEL_BOTH


class _RefusedError(Exception):
    """Leaves the checks of one command; caught in `ReferenceBook.apply` alone."""

    def __init__(self, code: Refusal) -> None:
        self.code = code


class ReferenceBook:
    """`count` order books behind one id space; `ids` is "caller" or "handles"."""

    def __init__(self, count: int, ids: Literal["caller", "handles"], order_limit: int) -> None:
        """Begin with empty books."""
        self._books: dict[int, Book] = {}
        self._count = count
        self._handles = ids == "handles"
        self._order_limit = order_limit
        self._live: dict[int, Order] = {}
        self._generations: list[int] = [0]
        self._free_slots: list[int] = []

    # ── commands ─────────────────────────────────────────────────────────────────────────────────

    def apply(self, command: Command, index: int = 0) -> list[Report]:
        """Apply one command and give its reports; a refused command changes nothing."""
        try:
            if command.kind == CommandKind.PLACE:
                reports = self._place(command)
            elif command.kind == CommandKind.AMEND:
                reports = self._amend(command)
            else:
                reports = self._cancel(command)
        except _RefusedError as refusal:
            reports = [
                Report(
                    order_id=command.order_id,
                    series=command.series,
                    account=command.account,
                    kind=ReportKind.REFUSED,
                    side=command.side,
                    code=refusal.code,
                )
            ]
        return [report._replace(command_index=index) for report in reports]

    def _place(self, command: Command) -> list[Report]:
        self._check_place(command)
        # From here the command must succeed.
        order = self._order_of(command)
        if self._handles:
            order.id = self._take_handle()
        reports = [_report(ReportKind.ACCEPTED, order, qty=order.open_qty)]
        reports += self._enter(order)
        if not order.open_qty or (reports[-1].kind == ReportKind.CANCELLED and reports[-1].order_id == order.id):
            self._finish(order)
        else:
            self._live[order.id] = order
            self._book(order.series).insert(order)
        return reports

    def _check_place(self, command: Command) -> None:
        display = command.display
        hidden = display != 0 and not 0 < display < command.qty <= ICEBERG_PARTS_MAX * display
        _refuse_if(not 0 < command.qty < BOOK_QTY_END or hidden, Refusal.BadQuantity)
        both = OrderFlag.CANCEL_MAKER | OrderFlag.CANCEL_BOTH
        post_only = command.flags & OrderFlag.POST_ONLY
        _refuse_if(command.side not in (Side.BUY, Side.SELL), Refusal.BadTerms)
        _refuse_if(command.time_in_force not in BARE_TIMES, Refusal.BadTerms)
        _refuse_if(bool(command.flags & ~KNOWN_FLAGS) or command.flags & both == both, Refusal.BadTerms)
        _refuse_if(bool(post_only) and command.time_in_force != TimeInForce.GTC, Refusal.BadTerms)
        _refuse_if(bool(command.stop_price or command.deadline_ns), Refusal.BadTerms)
        _refuse_if(command.order_id != 0 if self._handles else command.order_id <= 0, Refusal.BadTerms)
        _refuse_if(command.series >= self._count, Refusal.UnknownSeries)
        _refuse_if(command.order_id in self._live, Refusal.DuplicateId)
        order = self._order_of(command)
        book = self._book(command.series)
        _refuse_if(bool(post_only) and book.crosses(order.side, order.limit), Refusal.PostOnlyWouldCross)
        if command.time_in_force == TimeInForce.FOK:
            fillable = sum(match.qty for match in book.plan(order))
            _refuse_if(fillable < command.qty, Refusal.FOKUnfillable)
        _refuse_if(len(self._live) >= self._order_limit, Refusal.CapacityExceeded)

    def _enter(self, order: Order) -> list[Report]:
        """Match an order that has arrived or re-entered; a rest that may not stay is cancelled."""
        book = self._book(order.series)
        reports = []
        for match in book.match(order):
            maker = match.maker
            if match.qty:
                reports.append(_report(ReportKind.FILL, order, other=maker.id, price=maker.limit, qty=match.qty))
                if not maker.open_qty:
                    self._finish(maker)
                continue
            if order.flags & (OrderFlag.CANCEL_MAKER | OrderFlag.CANCEL_BOTH):
                book.remove(maker)
                self._finish(maker)
                reports.append(_report(ReportKind.CANCELLED, maker, qty=maker.open_qty, code=CancelReason.SELF_TRADE))
            if not order.flags & OrderFlag.CANCEL_MAKER:
                reports.append(_report(ReportKind.CANCELLED, order, qty=order.open_qty, code=CancelReason.SELF_TRADE))
                return reports
        if order.open_qty and order.time_in_force == TimeInForce.IOC:
            reports.append(_report(ReportKind.CANCELLED, order, qty=order.open_qty, code=CancelReason.IOC))
        return reports

    def _cancel(self, command: Command) -> list[Report]:
        order = self._owned(command)
        self._book(order.series).remove(order)
        self._finish(order)
        return [_report(ReportKind.CANCELLED, order, qty=order.open_qty, code=CancelReason.USER)]

    def _amend(self, command: Command) -> list[Report]:
        """Lower in place, or cancel and re-enter as one command (R38)."""
        named_qty, named_price = command.flags & AmendFlag.QTY, command.flags & AmendFlag.PRICE
        _refuse_if(bool(named_qty) and not 0 < command.qty < BOOK_QTY_END, Refusal.BadQuantity)
        live = self._live.get(command.order_id)
        qty = command.qty if named_qty else live.open_qty if live else 0
        too_fine = live is not None and live.display != 0 and qty > ICEBERG_PARTS_MAX * live.display
        _refuse_if(too_fine, Refusal.BadQuantity)
        _refuse_if(command.flags not in (1, 2, 3), Refusal.BadTerms)
        order = self._owned(command)
        price = command.price if named_price else order.limit
        book = self._book(order.series)
        if price == order.limit and qty <= order.open_qty:
            book.shrink(order, qty)
            return [_report(ReportKind.AMENDED, order, qty=qty)]
        best = book.best(opposite(order.side))
        crosses = best is not None and book.crosses(order.side, price)
        _refuse_if(bool(order.flags & OrderFlag.POST_ONLY) and crosses, Refusal.PostOnlyWouldCross)
        # From here the command must succeed.
        book.remove(order)
        order.limit, order.open_qty = price, qty
        reports = [_report(ReportKind.AMENDED, order, qty=qty, code=1)]
        reports += self._enter(order)
        if not order.open_qty or (reports[-1].kind == ReportKind.CANCELLED and reports[-1].order_id == order.id):
            self._finish(order)
        else:
            book.insert(order)
        return reports

    # ── ids ──────────────────────────────────────────────────────────────────────────────────────

    def _owned(self, command: Command) -> Order:
        order = self._live.get(command.order_id)
        if order is None:
            raise _RefusedError(Refusal.OrderNotOpen)
        _refuse_if(order.account != command.account, Refusal.NotOwner)
        return order

    def _take_handle(self) -> int:
        if self._free_slots:
            slot = self._free_slots.pop()
        else:
            slot = len(self._generations)
            self._generations.append(1)
        return self._generations[slot] << 32 | slot

    def _finish(self, order: Order) -> None:
        self._live.pop(order.id, None)
        if self._handles:
            slot = order.id & 0xFFFF_FFFF
            self._generations[slot] += 1
            self._free_slots.append(slot)

    def _book(self, number: int) -> Book:
        book = self._books.get(number)
        if book is None:
            book = self._books[number] = Book()
        return book

    def _order_of(self, command: Command) -> Order:
        return Order(
            id=command.order_id,
            account=command.account,
            series=command.series,
            side=Side(command.side),
            limit=command.price,
            open_qty=command.qty,
            display=command.display,
            flags=command.flags,
            time_in_force=command.time_in_force,
        )

    # ── queries ──────────────────────────────────────────────────────────────────────────────────

    def depth(self, number: int, side: Side, most: int | None = None) -> list[tuple[int, int, int]]:
        """List (price, shown quantity, orders) of one side of a book, best first."""
        return self._book(number).depth(side, most)

    def orders(self, number: int, side: Side) -> Iterator[Order]:
        """Walk the resting orders of one side in the order in which they would trade."""
        return self._book(number).orders(side)

    def order(self, order_id: int) -> Order | None:
        """Give a live order, or None."""
        return self._live.get(order_id)

    def check(self) -> None:
        """Assert what holds between any two commands. O(orders)."""
        seen = set()
        for book in self._books.values():
            bid, ask = book.best(Side.BUY), book.best(Side.SELL)
            assert bid is None or ask is None or bid.limit < ask.limit, "a bare book is crossed"
            for side in Side:
                for order in book.orders(side):
                    assert 0 < order.shown_qty <= order.open_qty, f"order {order.id} shows too much"
                    seen.add(order.id)
        assert seen == set(self._live), "live orders and resting orders differ"

    def state_hash(self) -> str:
        """Hash the canonical content: every queue in order, then ids. O(orders)."""
        digest = hashlib.sha256()
        for number in sorted(self._books):
            for side in Side:
                for o in self._books[number].orders(side):
                    row = (number, o.id, o.account, side, o.limit, o.open_qty, o.shown_qty, o.display, o.flags)
                    digest.update(repr(tuple(int(value) for value in row)).encode())
        digest.update(repr((self._generations, self._free_slots)).encode())
        return digest.hexdigest()


def _refuse_if(wrong: bool, code: Refusal) -> None:  # noqa: FBT001 - a condition reads as one
    if wrong:
        raise _RefusedError(code)


def _report(kind: ReportKind, order: Order, *, qty: int, other: int = 0, price: int | None = None, code: int = 0) -> Report:
    return Report(
        order_id=order.id,
        other_order_id=other,
        price=order.limit if price is None else price,
        qty=qty,
        series=order.series,
        account=order.account,
        kind=kind,
        side=order.side,
        code=code,
    )


def reports_of(book: ReferenceBook, commands: Iterable[Command]) -> list[Report]:
    """Apply commands in order and give all their reports."""
    return [report for index, command in enumerate(commands) for report in book.apply(command, index)]
