"""Shows a market from its events alone: best prices, depth, every order with its place, trades, and each series' numbers.

    EVENT[n] ─► MarketData ─┬─ top, depth, orders, place_of      what stands now       (L1, L2, L3)
                            ├─ trades ─► bars                    what was made         TRADE[n]
                            ├─ quotes                            what was best, when   QUOTE[n]
                            └─ series_table                      value, discount, deadlines, outstanding, escrow …

Whoever has the events needs no market: a third party, a backtest, a report drawn up years later. Events are read as columns,
some tens of nanoseconds each; what stands is then what the market itself would say after the same command. They come from
`market.event_records`, `apply_batch`, a kept market's journal; in order, from the first on, as few or many at a time as
one likes, but whole commands.

Rights have numbers that shares have not: the value v(t) that the goods have now, the discount of a price against it,
the time to the last trade and to expiry, units outstanding and what stands in escrow for them, and where the face that was
sold has gone: redeemed, decayed, expired. Prices and values are minor units, times ns UTC, discounts bps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rightsx._jit import Tables, entry_handle, exact_entry
from rightsx.book import book_tables, growth_due, growth_install
from rightsx.border import SIDES, word
from rightsx.errors import MisuseError
from rightsx.eventbook import (
    CARD,
    CARDS,
    END,
    ENTER,
    EVENT_TABLES,
    EVENTS,
    FLOWS,
    GROW,
    LEVEL,
    LEVELS,
    MORE_SERIES,
    PLACE,
    QUEUE,
    QUEUED,
    QUEUES,
    QUOTE,
    QUOTES,
    READ,
    SHOWN,
    STRANGE,
    TOTALS,
    TRADE,
    TRADES,
    event_entry,
)
from rightsx.frames import Frame, frame
from rightsx.protocol import BPS, EVENT, Refusal, Side
from rightsx.views import Ladder, Level
from rightsx.vocabulary import integer

if TYPE_CHECKING:
    from collections.abc import Callable

WHAT: Final = "the market data"
CHUNK: Final = 32_768  # events a call of the kernel, which nothing can interrupt
FIRST_ORDERS: Final = 1_024
FIRST_NODES: Final = 64
FIRST_SERIES: Final = 16
FAN: Final = 64
SERIES_END: Final = 2**22
SERIES_ROW: Final = np.dtype(
    [("series", "<i8"), *[(name, CARD[name]) for name in CARD.names or () if name not in ("is_touched", "next_touched")]]
    + [(name, "<i8") for name in ("discount_bps", "to_last_trade_ns", "to_expiry_ns")]
)


class MarketData:
    """A market as its events show it. `apply` reads more of them; everything else only asks.

    `trades` and `quotes` say whether those are kept; each takes 80 or 64 bytes. Not for two threads at once.

    >>> from rightsx import Exchange
    >>> market = Exchange(engine="reference")
    >>> shop, ann = market.register_merchant("Shop"), market.open_account()
    >>> market.deposit(account=ann, amount=10_00).events and None
    >>> tea = market.list_series(
    ...     merchant=shop, product="tea", par=100, issue_price=80, authorised=50, expire="2026-06-30", policy="forfeit"
    ... )
    >>> market.subscribe(series=tea, account=ann, qty=5).events and None
    >>> market.place(series=tea, account=ann, side="sell", price=90, qty=2).events and None
    >>> data = MarketData(market.event_records)
    >>> data.top(tea)["ask"], data.top(tea)["ask_qty"], data.series_table()["outstanding"]
    (90, 2, array([5]))
    """

    def __init__(self, events: np.ndarray | None = None, *, trades: bool = True, quotes: bool = True) -> None:
        """Begin with an empty market and read what is given."""
        for name, value in (("trades", trades), ("quotes", quotes)):
            if not isinstance(value, bool):
                raise MisuseError(f"{name} was {value!r}; True or False is due")
        tables = self._tables = Tables(EVENT_TABLES)
        book_tables(tables, sides=2 * FIRST_SERIES, order_rows=FIRST_ORDERS, node_rows=FIRST_NODES)
        tables.arrays[0][0]["live_limit"] = np.iinfo(np.int64).max
        for index, rows in ((TOTALS, FIRST_NODES * FAN), (FLOWS, 1), (CARDS, FIRST_SERIES), (LEVELS, 16), (QUEUES, 16)):
            tables.grow(index, rows)
        tables.grow(TRADES, CHUNK if trades else 0)
        tables.grow(QUOTES, 2 * CHUNK if quotes else 0)
        self._flow = tables.arrays[FLOWS][0]
        self._flow["series_rows"] = FIRST_SERIES
        self._flow["trade_rows"], self._flow["quote_rows"] = len(tables.arrays[TRADES]), len(tables.arrays[QUOTES])
        self._call: Callable[..., int] = exact_entry(event_entry, 6, WHAT)
        self._kept: dict[int, list[np.ndarray]] = {TRADES: [], QUOTES: []}
        self._broken = False
        self._next = 0  # event_seq
        if events is not None:
            self.apply(events)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def apply(self, events: np.ndarray) -> None:
        """Read more events, EVENT[n], of whole commands. O(n).

        `MisuseError` for anything else, and for events that do not go on from those before: a gap in `event_seq`, or an
        order that was never accepted. What was cut short, by that or by an interrupt, may have been read in part, and cannot be
        gone on with.
        """
        if not isinstance(events, np.ndarray) or events.dtype != EVENT or events.ndim != 1:
            raise MisuseError(f"events were {getattr(events, 'dtype', type(events).__name__)}; a NumPy array EVENT[n] is due")
        if self._broken:
            raise MisuseError("reading events was cut short before; begin with new MarketData")
        rows = np.ascontiguousarray(events)
        if rows.ctypes.data % 8:
            rows = rows.copy()
        numbers = rows["event_seq"][rows["event_seq"] >= 0]
        if len(numbers) and (numbers[0] != self._next or (np.diff(numbers) != 1).any()):
            at = int(np.flatnonzero(numbers != np.arange(self._next, self._next + len(numbers)))[0])
            raise MisuseError(f"event {numbers[at]} came where {self._next + at} was due; events are due in order, from 0 on")
        self._broken = True
        for start in range(0, len(rows), CHUNK):
            self._read(rows[start : start + CHUNK], start)
        self._run(END, 0)
        self._take_out()
        self._tables.put(EVENTS, np.zeros(0, EVENT))
        self._next += len(numbers)
        self._broken = False

    def lend(self, events: np.ndarray) -> tuple[Any, Any, np.ndarray, np.ndarray]:
        """Let somebody else's kernel read events from this array: gives the entry, its state, FLOW[1] and CARD[n].

        He makes room for the trades and quotes of each command (`make_room`), asks for larger tables where the entry does
        (`resolve`), takes out what was written, and gives the data back. Until then nobody else reads more.
        """
        self._broken = True
        self._tables.put(EVENTS, events)
        return entry_handle(event_entry), self._tables.state, self._tables.arrays[FLOWS], self._tables.arrays[CARDS]

    def make_room(self, events: int) -> None:
        """Make room for the trades and quotes of so many events more."""
        self._take_out()
        for index, name in ((TRADES, "trade_rows"), (QUOTES, "quote_rows")):
            if 0 < len(self._tables.arrays[index]) < events + 1:
                self._tables.grow(index, 2 * events)
                self._flow[name] = len(self._tables.arrays[index])

    def resolve(self, ended: int) -> None:
        """Make the tables larger that the entry's answer says are short; `MisuseError` if it says something else."""
        if ended == GROW:
            growth = growth_due(self._tables, self._enter_ids)
            if "node_rows" in growth.head:
                self._tables.grow(TOTALS, growth.head["node_rows"] * FAN)
            growth_install(self._tables, growth)
        elif ended == MORE_SERIES:
            self._more_series()
        else:
            raise MisuseError(f"event row {int(self._flow['row'])} does not go on from those before it")

    def give_back(self, next_seq: int) -> None:
        """Go on alone, from this number on."""
        self._take_out()
        self._tables.put(EVENTS, np.zeros(0, EVENT))
        self._next = next_seq
        self._broken = False

    def _read(self, rows: np.ndarray, start: int) -> None:
        self._tables.put(EVENTS, rows)
        self._flow["row"] = 0
        if self._run(READ, len(rows)) == STRANGE:
            at = int(self._flow["row"])
            told = f"event {rows['event_seq'][at]} (row {start + at}) does not go on from those before it"
            raise MisuseError(f"{told}: order {rows['order_id'][at]} is unknown, or not as it says")
        self._take_out()

    def _run(self, what: int, count: int) -> int:
        """Let the kernel go on to its end, with larger tables where it asks for them."""
        while True:
            ended = self._call(self._tables.state, what, count, 0, 0, 0)
            if ended not in (GROW, MORE_SERIES):
                return ended
            self.resolve(ended)

    def _more_series(self) -> None:
        asked = int(self._tables.arrays[EVENTS][int(self._flow["row"])]["series"])
        if asked >= SERIES_END:
            raise MisuseError(f"an event is of series {asked}; {SERIES_END - 1} is the largest number that is read")
        rows = 1 << asked.bit_length()
        self._tables.grow(1, 2 * rows)
        self._tables.grow(CARDS, rows)
        self._tables.arrays[0][0]["sides"] = 2 * rows
        self._flow["series_rows"] = rows

    def _enter_ids(self, old: int, cells: int, new: int, shift: int) -> int:
        return self._call(self._tables.state, ENTER, old, cells, new, shift)

    def _take_out(self) -> None:
        """Keep the trades and quotes that the kernel has written."""
        for index, name in ((TRADES, "trades"), (QUOTES, "quotes")):
            count = int(self._flow[name])
            if count:
                raw = self._tables.arrays[index].view(np.uint8).reshape(-1, self._tables.arrays[index].itemsize)
                self._kept[index].append(raw[:count].copy().view(self._tables.arrays[index].dtype).reshape(-1))
            self._flow[name] = 0

    def _column(self, index: int, dtype: np.dtype) -> np.ndarray:
        """Join what was kept of one kind."""
        kept = self._kept[index]
        if len(kept) != 1:
            kept[:] = [np.concatenate(kept) if kept else np.zeros(0, dtype)]
        return kept[0]

    @property
    def trades(self) -> Frame:
        """All trades so far, TRADE[n]; empty if they are not kept."""
        self._take_out()
        return frame(self._column(TRADES, TRADE))

    @property
    def quotes(self) -> Frame:
        """What was best after each command that changed it, QUOTE[n], per series; empty if they are not kept."""
        self._take_out()
        return frame(self._column(QUOTES, QUOTE))

    # ── what stands now ──────────────────────────────────────────────────────────────────────────

    def top(self, series: int) -> dict[str, int]:
        """Give the best prices and what stands there (L1): bid, bid_qty, ask, ask_qty; a quantity of 0 is none. O(1)."""
        card = self._card(series)
        return {name: int(card[name]) for name in ("bid", "bid_qty", "ask", "ask_qty")}

    def value_of(self, series: int) -> int:
        """Give v(t) of a series: what a unit redeems for now. O(1)."""
        return int(self._card(series)["value"])

    def levels(self, series: int, side: str | Side, most: int | None = None) -> Frame:
        """Give the best levels of a side, best first (L2), as SHOWN[k]: price, quantity shown, orders. O(k)."""
        self._card(series)
        number = 2 * int(series) + word("side", side, SIDES) - 1
        count = len(self._tables.arrays[LEVELS])
        while True:
            wanted = count if most is None else min(count, integer("most", most, Refusal.BadQuantity))
            found = self._call(self._tables.state, LEVEL, number, wanted, 0, 0)
            if found < count or (most is not None and found >= most):
                return frame(self._tables.arrays[LEVELS][:found].copy())
            count *= 2
            self._tables.grow(LEVELS, count)

    def depth(self, series: int, most: int | None = None) -> Ladder:
        """Give both sides as a ladder that shows itself in a terminal and in a notebook."""
        bids, asks = ([Level(*row) for row in self.levels(series, side, most).tolist()] for side in (Side.BUY, Side.SELL))
        return Ladder(f"series {series}", bids, asks)

    def orders(self, series: int, side: str | Side) -> Frame:
        """Give every order that stands on a side in the order in which they would trade (L3), QUEUED[k]. O(k)."""
        self._card(series)
        number = 2 * int(series) + word("side", side, SIDES) - 1
        while True:
            most = len(self._tables.arrays[QUEUES])
            found = self._call(self._tables.state, QUEUE, number, most, 0, 0)
            if found <= most:
                return frame(self._tables.arrays[QUEUES][:found].copy())
            self._tables.grow(QUEUES, 1 << found.bit_length())

    def place_of(self, order_id: int) -> dict[str, int] | None:
        """Say where an order stands, as a QUEUED by name, or None if it is in no queue. O(orders at its price)."""
        if self._call(self._tables.state, PLACE, integer("order_id", order_id, Refusal.BadTerms), 0, 0, 0) == 0:
            return None
        row = self._tables.arrays[QUEUES][0]
        return {name: int(row[name]) for name in QUEUED.names or ()}

    def series_table(self, *, at_ns: int | None = None) -> Frame:
        """Give a row for each listed series, SERIES_ROW[k]: its card, and at a time (of the last event) what is left of it.

        `discount_bps` is of the last trade's price against the value, 0 where there is none; the deadlines are told as what
        is left until then, negative when they have passed.
        """
        cards = self._tables.arrays[CARDS]
        listed = np.flatnonzero(cards["par"] > 0)
        table = np.zeros(len(listed), SERIES_ROW)
        for name in CARD.names or ():
            if name in (SERIES_ROW.names or ()):
                table[name] = cards[name][listed]
        table["series"] = listed
        known = (table["trades"] > 0) & (table["value"] > 0)
        ratio = table["last_price"][known] * BPS // table["value"][known]
        table["discount_bps"][known] = BPS - ratio
        now = int(self._flow["time_ns"]) if at_ns is None else at_ns
        table["to_last_trade_ns"], table["to_expiry_ns"] = table["last_trade_ns"] - now, table["expire_ns"] - now
        return frame(table)

    @property
    def next_seq(self) -> int:
        """The number of the event that is next."""
        return self._next

    @property
    def time_ns(self) -> int:
        """The time of the last event."""
        return int(self._flow["time_ns"])

    def _card(self, series: int) -> Any:
        number = integer("series", series, Refusal.UnknownSeries)
        cards = self._tables.arrays[CARDS]
        if not 0 < number < len(cards) or not cards[number]["par"]:
            raise MisuseError(f"series was {series}; no event has listed it", Refusal.UnknownSeries)
        return cards[number]


__all__ = ["CARD", "QUEUED", "QUOTE", "SERIES_ROW", "SHOWN", "TRADE", "MarketData"]
