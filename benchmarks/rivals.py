"""Other order books for Python behind one face: what pip can install, one call per command.

    rows of plain integers ─► rival.run(rows, books) ─► (nanoseconds, trades in order)

An adapter is only as thick as the library makes it: it makes the library's own order from plain numbers,
keeps the map from our ids to its own where the library issues them, and collects the trades. All of that is
inside the clock, because every user pays it; making the rows and sorting trades by time are not.
`deviation` says where a library does not do what the flow asks. A library that is not installed, or does
not run on this Python, is absent with a reason.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import rightsx
from rightsx.protocol import CommandKind, Side, TimeInForce

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

PLACE, CANCEL, BUY = int(CommandKind.PLACE), int(CommandKind.CANCEL), int(Side.BUY)


class Row(NamedTuple):
    """A command as plain numbers."""

    kind: int
    order_id: int
    side: int
    price: int
    qty: int
    book: int
    ioc: bool


class Trade(NamedTuple):
    """A trade in the flow's own ids."""

    maker: int
    taker: int
    price: int
    qty: int


class Rival(Protocol):
    """A library: its name, what of the flows it does otherwise, and a run of one flow on fresh books."""

    name: str
    deviation: str

    def run(self, rows: Sequence[Row], books: int) -> tuple[int, list[Trade]]:
        """Apply the rows one call at a time; gives elapsed ns and all trades in order."""
        ...


def plain_rows(stream: np.ndarray) -> list[Row]:
    """Turn COMMAND[n] into rows."""
    fields = ("kind", "order_id", "side", "price", "qty", "series")
    ioc = (stream["time_in_force"] == TimeInForce.IOC).tolist()
    return [Row(*row) for row in zip(*(stream[field].tolist() for field in fields), ioc, strict=True)]


# ── ours ─────────────────────────────────────────────────────────────────────────────────────────


class Ours:
    """`OrderBook`, one call per command with a typed result, of which trades are read from the reports."""

    deviation = ""

    def __init__(self, engine: str) -> None:
        """Choose the engine."""
        self.name = f"rightsx {rightsx.__version__}, {engine}"
        self._engine: Any = engine

    def run(self, rows: Sequence[Row], books: int) -> tuple[int, list[Trade]]:
        """Place, cancel and amend."""
        book = rightsx.OrderBook(books=books, engine=self._engine)
        place, cancel, amend = book.place, book.cancel, book.amend
        results: list[Any] = []
        keep = results.append
        start = time.perf_counter_ns()
        for kind, order_id, side, price, qty, number, ioc in rows:
            if kind == PLACE:
                word = "buy" if side == BUY else "sell"
                if ioc:
                    keep(place(order_id=order_id, side=word, price=price, qty=qty, book=number, time_in_force="ioc"))
                else:
                    keep(place(order_id=order_id, side=word, price=price, qty=qty, book=number))
            elif kind == CANCEL:
                keep(cancel(order_id=order_id))
            else:
                keep(amend(order_id=order_id, price=price, qty=qty))
        elapsed = time.perf_counter_ns() - start
        trades = [Trade(fill.maker, result.order_id, fill.price, fill.qty) for result in results for fill in result.fills]
        return elapsed, trades


# ── bourse ───────────────────────────────────────────────────────────────────────────────────────


class Bourse:
    """bourse (Rust): issues its own ids, and orders of one instant overwrite each other, so its clock is moved."""

    deviation = "an IOC order is a limit order and a cancel; its ids are numbers from 0, kept in a dict"

    def __init__(self) -> None:
        """Load it, or raise ImportError."""
        self._core: Any = importlib.import_module("bourse").core
        self.name = f"bourse {importlib.metadata.version('bourse')}"

    def run(self, rows: Sequence[Row], books: int) -> tuple[int, list[Trade]]:
        """Place, cancel and modify at one instant each."""
        there = [self._core.OrderBook(0, True) for _ in range(books)]
        ids: dict[int, int] = {}
        owners: list[list[int]] = [[] for _ in range(books)]
        start = time.perf_counter_ns()
        for now, (kind, order_id, side, price, qty, number, ioc) in enumerate(rows, 1):
            book = there[number]
            book.set_time(now)
            if kind == PLACE:
                theirs = book.place_order(side == BUY, qty, 0, price=price)
                if ioc:
                    book.cancel_order(theirs)
                ids[order_id] = theirs
                owners[number].append(order_id)
            elif kind == CANCEL:
                book.cancel_order(ids[order_id])
            else:
                book.modify_order(ids[order_id], price, qty)
        told = [book.get_trades() for book in there]
        elapsed = time.perf_counter_ns() - start
        timed = [
            (now, Trade(owner[passive], owner[active], price, qty))
            for owner, trades in zip(owners, told, strict=True)
            for now, _, price, qty, active, passive in trades
        ]
        timed.sort(key=lambda pair: pair[0])
        return elapsed, [trade for _, trade in timed]


# ── liquibook ────────────────────────────────────────────────────────────────────────────────────


class Liquibook:
    """liquibook (C++ through SWIG): orders are objects, a listener in Python hears of trades."""

    deviation = (
        "an amend is a cancel and, if it was open, a new order (`replace` breaks its depth); its orders are kept in a dict"
    )

    def __init__(self) -> None:
        """Load it, or raise ImportError."""
        self._module: Any = importlib.import_module("liquibook")
        self.name = f"liquibook {importlib.metadata.version('liquibook')}"

    def run(self, rows: Sequence[Row], books: int) -> tuple[int, list[Trade]]:
        """Add and cancel."""
        lib = self._module
        trades: list[Trade] = []
        names: dict[int, int] = {}

        class Listener(lib.OrderListener):  # type: ignore[misc, name-defined]
            """Keeps orders as the book says, and writes the trades down."""

            def on_accept(self, order: Any) -> None:
                """Let the order know."""
                order.accept()

            def on_reject(self, order: Any, reason: str) -> None:
                """Nothing is to be done."""

            def on_cancel_reject(self, order: Any, reason: str) -> None:
                """Nothing is to be done."""

            def on_fill(self, order: Any, matched: Any, qty: int, price: int) -> None:
                """Write a trade down."""
                order.fill(qty, price, 0)
                matched.fill(qty, price, 0)
                trades.append(Trade(names[matched.order_id_], names[order.order_id_], price, qty))

            def on_cancel(self, order: Any) -> None:
                """Let the order know."""
                order.cancel()

        listener = Listener()
        there = [lib.DepthOrderBook() for _ in range(books)]
        for book in there:
            book.set_order_listener(listener)
        orders: dict[int, Any] = {}
        gtc, at_once = lib.oc_no_conditions, lib.oc_immediate_or_cancel
        start = time.perf_counter_ns()
        for kind, order_id, side, price, qty, number, ioc in rows:
            if kind == PLACE:
                order = lib.SimpleOrder(side == BUY, price, qty)
                orders[order_id] = order
                names[order.order_id_] = order_id
                there[number].add(order, at_once if ioc else gtc)
            elif kind == CANCEL:
                there[number].cancel(orders[order_id])
            else:
                order = orders[order_id]
                if order.state() == lib.os_accepted:
                    there[number].cancel(order)
                    order = lib.SimpleOrder(order.is_buy(), price, qty)
                    orders[order_id] = order
                    names[order.order_id_] = order_id
                    there[number].add(order, gtc)
        return time.perf_counter_ns() - start, trades


# ── matching-engine ──────────────────────────────────────────────────────────────────────────────


class MatchingEngine:
    """matching-engine (Python, msgspec): commands and events are objects; it has no amend."""

    deviation = "an amend is a cancel and, if that succeeds, a new order"

    def __init__(self) -> None:
        """Load it, or raise ImportError."""
        self._domain: Any = importlib.import_module("matching_engine.domain")
        self._engine: Any = importlib.import_module("matching_engine.engine")
        self._events: Any = importlib.import_module("matching_engine.events")
        self.name = f"matching-engine {importlib.metadata.version('matching-engine')}"

    def run(self, rows: Sequence[Row], books: int) -> tuple[int, list[Trade]]:
        """Process one command after the other; the n-th of a book has number n."""
        d, traded = self._domain, self._events.Trade
        new, cancel, sequenced, limit = d.NewOrder, d.CancelOrder, d.SequencedCommand, d.OrderType.LIMIT
        sides, gtc, now_or_never, never = {1: d.Side.BUY, 2: d.Side.SELL}, d.TimeInForce.GTC, d.TimeInForce.IOC, False
        own = d.SelfTradePrevention.NONE
        there = [self._engine.MatchingEngine() for _ in range(books)]
        sides_of: dict[int, int] = {}
        said: list[Any] = []
        start = time.perf_counter_ns()
        for seq, (kind, order_id, side, price, qty, number, ioc) in enumerate(rows, 1):
            process = there[number].process
            if kind == PLACE:
                sides_of[order_id] = side
                tif = now_or_never if ioc else gtc
                order = new(order_id, 1, sides[side], price, qty, limit, tif, never, own)
                said += process(sequenced(2 * seq, 0, order))
            elif kind == CANCEL:
                said += process(sequenced(2 * seq, 0, cancel(order_id, 1)))
            else:
                events = process(sequenced(2 * seq, 0, cancel(order_id, 1)))
                if type(events[0]) is self._events.OrderCancelled:
                    order = new(order_id, 1, sides[sides_of[order_id]], price, qty, limit, gtc, never, own)
                    events += process(sequenced(2 * seq + 1, 0, order))
                said += events
        elapsed = time.perf_counter_ns() - start
        trades = [Trade(e.maker_order_id, e.taker_order_id, e.price, e.qty) for e in said if type(e) is traded]
        return elapsed, trades


# ── who is there ─────────────────────────────────────────────────────────────────────────────────

ADAPTERS: Final[dict[str, tuple[type[Any], str]]] = {
    "bourse": (Bourse, "pip install bourse"),
    "liquibook": (Liquibook, "pip install liquibook"),
    "matching-engine": (MatchingEngine, "pip install matching-engine, which needs Python 3.12 or later"),
}


def present() -> tuple[list[Rival], dict[str, str]]:
    """Give the rivals that are installed, and for each of the others why it is absent."""
    there: list[Rival] = []
    absent = {}
    for name, (adapter, how) in ADAPTERS.items():
        try:
            there.append(adapter())
        except ImportError as error:
            absent[name] = f"{error}; {how}"
    return there, absent
