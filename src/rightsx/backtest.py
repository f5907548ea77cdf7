"""Runs a strategy against recorded or made-up order flow, in the real market: its rules, its queues, its expiry.

    market (listed, funded) ─┐
    feed COMMAND[n] ─────────┼─► backtest ─► BacktestResult: fills, equity, where the profit came from, every command that ran
    strategy, its account ───┘

A strategy's orders stand in the same queues as the feed's: they trade when their turn comes and take what others would have
taken; fees, royalties, limits, decay and expiry are those of the market. They arrive `latency` after what they answer to:
nothing is known before it happened. There are two ways to write one.

*Compiled*: a function `step(view, memory, orders)`, called after every command, of a row of `VIEW` (what is best, the value, the
own position and cash), an array of one's own, and rows that `buy`, `sell`, `cancel` and `amend` write to; it gives how many
it wrote. It is compiled with numba, with what it calls, and runs at the speed of the engine.

*Python*: a class with `on_market`, called at intervals, `on_fill`, `on_timer`, and a `Desk` to look and act from. Some
hundred microseconds a call with what it asks and sends, so not for each tick.

Profit is taken apart against the value v(t) that the goods have (R7): what was bought below it or sold above it is *edge*;
what was held through a decay step has lost `position × (v − v')`, and what was held to the end loses what it was not paid
for. With fees and royalties these add up to the change of cash and of the position at value, exactly.

What ran is in `result.commands`: applied to a market made in the same way it gives the same events again, bit for bit, on the
reference engine too. Sources: the manner of numba strategies is that of hftbacktest, `on_…` that of nautilus_trader.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rightsx._jit import open_kernel
from rightsx.border import span_ns, switch
from rightsx.errors import MisuseError
from rightsx.frames import Frame, frame
from rightsx.marketdata import MarketData
from rightsx.progress import Progress, Step, following
from rightsx.protocol import (
    CALLER_ID_FIRST,
    COMMAND,
    EVENT,
    INT64_MAX,
    TIME_END,
    AmendFlag,
    CommandKind,
    EventKind,
    Refusal,
    Side,
    TimeInForce,
)
from rightsx.pump import (
    CROWDED,
    ENDED,
    ENGINE,
    FILLED,
    FULL,
    NO_MARKS,
    NO_ORDER,
    NO_ROOM,
    ORDERS,
    PUMP,
    READER,
    VIEW,
    WAITS,
    pump_run,
)
from rightsx.views import text_table
from rightsx.vocabulary import check_hot, integer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from rightsx.exchange import Exchange

WINDOW: Final = 16_384  # commands, or events, before results are taken out
NEVER: Final = INT64_MAX
PLACE, AMEND, CANCEL = int(CommandKind.PLACE), int(CommandKind.AMEND), int(CommandKind.CANCEL)
GTC: Final = int(TimeInForce.GTC)
IDS_OF_A_STRATEGY: Final = 2**40
FILL: Final = np.dtype(
    [
        ("time_ns", "<i8"),
        ("event_seq", "<i8"),
        ("order_id", "<i8"),
        ("price", "<i8"),
        ("qty", "<i8"),  # negative for a sale
        ("charge", "<i8"),  # fee, and royalty of a sale
        ("value", "<i8"),  # v(t)
        ("position", "<i8"),  # of the series, after it
        ("series", "<u4"),
        ("is_maker", "u1"),
        ("unused", "u1", (3,)),
    ]
)
EQUITY: Final = np.dtype([("time_ns", "<i8"), ("cash", "<i8"), ("at_value", "<i8"), ("at_bid", "<i8"), ("units", "<i8")])

# ── what a compiled strategy calls ───────────────────────────────────────────────────────────────


def _order(orders: Any, sent: int, kind: int, side: int, series: int, price: int, qty: int, order_id: int, flags: int) -> int:
    if sent >= len(orders):
        return sent
    row = orders[sent]
    row["kind"] = kind
    row["side"] = side
    row["time_in_force"] = GTC if kind == PLACE else 0
    row["flags"] = flags
    row["series"] = series
    row["other_account"] = 0
    row["order_id"] = order_id
    row["price"] = price
    row["qty"] = qty
    row["deadline_ns"] = 0
    row["display"] = 0
    row["stop_price"] = 0
    row["ref"] = 0
    return sent + 1


_write = open_kernel(_order)


def _buy(orders: Any, sent: int, series: int, price: int, qty: int, order_id: int) -> int:
    """Send a bid; gives how many orders of this step there are now."""
    return _write(orders, sent, PLACE, 1, series, price, qty, order_id, 0)  # type: ignore[no-any-return]


def _sell(orders: Any, sent: int, series: int, price: int, qty: int, order_id: int) -> int:
    """Send an offer; gives how many orders of this step there are now."""
    return _write(orders, sent, PLACE, 2, series, price, qty, order_id, 0)  # type: ignore[no-any-return]


def _cancel(orders: Any, sent: int, order_id: int) -> int:
    """Take an order back; gives how many orders of this step there are now."""
    return _write(orders, sent, CANCEL, 0, 0, 0, 0, order_id, 0)  # type: ignore[no-any-return]


def _amend(orders: Any, sent: int, order_id: int, price: int, qty: int) -> int:
    """Give an order another price and open quantity; gives how many orders of this step there are now."""
    return _write(orders, sent, AMEND, 0, 0, price, qty, order_id, 3)  # type: ignore[no-any-return]


buy, sell, cancel, amend = (open_kernel(function) for function in (_buy, _sell, _cancel, _amend))
assert int(AmendFlag.PRICE | AmendFlag.QTY) == 3  # noqa: PLR2004


def _nothing(_view: Any, _memory: Any, _orders: Any) -> int:
    """Send nothing: the step of a strategy in Python, or of a plain replay."""
    return 0


nothing = open_kernel(_nothing)
CURVE_ROWS: Final = 512  # of equity, beside those where something changed
MEMORY_ROWS: Final = 64  # of a step that brings no memory

# ── strategies in Python ─────────────────────────────────────────────────────────────────────────


class Strategy:
    """A strategy in Python: override what is wanted. Each call gets the desk, and acts through it."""

    def on_start(self, desk: Desk) -> None:
        """Begin, before the first command of the feed."""

    def on_market(self, desk: Desk) -> None:
        """Look at the market, at each interval."""

    def on_fill(self, desk: Desk, fills: np.ndarray) -> None:
        """Hear of own trades, FILL[n], when the command that made them is over."""

    def on_timer(self, desk: Desk) -> None:
        """Act at a time that was asked for (`desk.wake`)."""


class Desk:
    """What a strategy in Python sees and does: it sees what has happened by now, and sends orders with the run's latency."""

    def __init__(self, run: _Run) -> None:
        """Sit in a run."""
        self._run = run
        self.open_orders: dict[int, list[int]] = {}  # id: series, side, price, units still open, as the market has told

    @property
    def time_ns(self) -> int:
        """The time of the moment."""
        return self._run.now_ns

    @property
    def market(self) -> MarketData:
        """What is known of the market: best prices, depth, queues, trades, values."""
        return self._run.data

    @property
    def cash(self) -> int:
        """All of the account's cash, what is locked included."""
        return int(self._run.view["cash"][0])

    def position(self, series: int) -> int:
        """Give the units held of a series, those on offer included."""
        number = integer("series", series, Refusal.UnknownSeries)
        if not 0 < number < len(self._run.units):
            raise MisuseError(f"series was {number}; there is none with that number", Refusal.UnknownSeries)
        return int(self._run.units[number])

    def buy(self, *, series: int, price: int, qty: int) -> int:
        """Send a bid; gives its order id. What the market refuses is not heard of: the order is not among `open_orders`."""
        return self._run.send(PLACE, series=series, side=Side.BUY, price=price, qty=qty, time_in_force=GTC)

    def sell(self, *, series: int, price: int, qty: int) -> int:
        """Send an offer; gives its order id."""
        return self._run.send(PLACE, series=series, side=Side.SELL, price=price, qty=qty, time_in_force=GTC)

    def cancel(self, order_id: int) -> None:
        """Take an order back."""
        self._run.send(CANCEL, order_id=order_id)

    def amend(self, order_id: int, *, price: int, qty: int) -> None:
        """Give an order another price and open quantity."""
        self._run.send(AMEND, order_id=order_id, price=price, qty=qty, flags=AmendFlag.PRICE | AmendFlag.QTY)

    def wake(self, time_ns: int) -> None:
        """Be called (`on_timer`) at a time; now, if it has passed; not at all, if the feed is over by then."""
        self._run.timers.append(max(integer("time_ns", time_ns, Refusal.BadTime), self.time_ns))


# ── what comes out ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, repr=False)
class BacktestResult:
    """A run: what ran, what happened, and what became of the strategy's account.

    Money is minor units. `profit` is the change of cash and of the position at value; it is `edge − charges − decay − expiry`.
    `profit_at_bid` takes the position at the best bid, then and now, `profit_at_price` at the price of the last trade: where
    nobody redeems, as in a venue's flow, they are what counts. `drawdown` is the most that equity at value has lost.
    """

    commands: Frame
    events: Frame
    fills: Frame
    equity: Frame
    data: MarketData
    account: int
    sums: dict[str, int] = field(default_factory=dict)

    def __getattr__(self, name: str) -> int:
        """Give one of the sums by its name."""
        if name.startswith("_") or name not in self.sums:
            raise AttributeError(name)
        return self.sums[name]

    def __dir__(self) -> list[str]:
        """List the sums, too."""
        return [*super().__dir__(), *self.sums]

    def __repr__(self) -> str:
        """Show the sums as a table."""
        rows = [(name.replace("_", " "), f"{amount:,}") for name, amount in self.sums.items()]
        return text_table(("backtest", ""), rows)


# ── running ──────────────────────────────────────────────────────────────────────────────────────


class _Column:
    """Rows that a run makes, in memory that they need not leave; where they are not kept, the last window's alone."""

    def __init__(self, dtype: np.dtype, expected: int, *, keeps: bool) -> None:
        self._dtype = dtype
        self._keeps = keeps
        self._expected = expected + expected // 4
        self._pieces: list[np.ndarray] = []
        self._block = np.empty(0, dtype)
        self._used = 0

    def room(self, rows: int) -> np.ndarray:
        """Give memory for the next rows."""
        if not self._keeps:
            self._used = 0
        if self._used + rows > len(self._block):
            self._block = np.empty(max(rows, self._expected if self._keeps and not self._pieces else rows), self._dtype)
            self._used = 0
        return self._block[self._used : self._used + rows]

    def add(self, rows: np.ndarray) -> None:
        """Keep rows that were made, in their room or elsewhere."""
        if not self._keeps:
            self._pieces = [rows]
        elif rows.base is self._block and self._pieces and self._pieces[-1].base is self._block:
            before = len(self._pieces[-1])
            self._pieces[-1] = self._block[self._used - before : self._used + len(rows)]
        elif len(rows):
            self._pieces.append(rows)
        if rows.base is self._block:
            self._used += len(rows)

    def last_seq(self, begun: int) -> int:
        """Give the number of the command that the last of these events is of, or what it was at the beginning."""
        return int(self._pieces[-1][-1]["command_seq"]) if self._pieces and len(self._pieces[-1]) else begun

    def all(self) -> np.ndarray:
        """Give all that are kept, which is one array where the room was enough."""
        if len(self._pieces) > 1:
            raw = [np.ascontiguousarray(piece).view(np.uint8) for piece in self._pieces]
            return np.concatenate(raw).view(self._dtype)
        return self._pieces[0] if self._pieces else np.zeros(0, self._dtype)


class _Run:
    """One run: the tables of the pump, and what Python does when it stops."""

    def __init__(self, market: Exchange, feed: np.ndarray, account: int, latency: np.ndarray, *, keeps: bool) -> None:
        self.market = market
        self.feed = feed
        self.account = account
        self.latency = latency
        self.data = MarketData(market.event_records)
        self.pump, self.view = np.zeros(1, PUMP), np.zeros(1, VIEW)
        self.pending, self.orders = np.zeros(1_024, COMMAND), np.zeros(ORDERS, COMMAND)
        self.marks = np.zeros(2 * WINDOW, np.int64)
        self.commands, self.events = _Column(COMMAND, len(feed), keeps=keeps), _Column(EVENT, len(feed), keeps=keeps)
        self.marked: list[np.ndarray] = []
        self.keeps = keeps
        self.timers: list[int] = []
        self.step: Any = nothing
        self.memory = np.zeros(MEMORY_ROWS, np.int64)
        self.strategy: Strategy | None = None
        self.desk = Desk(self)
        self.every_ns = 0
        self.next_ns = NEVER
        self.progress: Step
        self._looked = 0
        self._end_ns = int(feed["time_ns"][-1]) if len(feed) else market.clock_ns
        self._rows = self.commands.room(0)
        self._status = FULL
        self.now_ns = market.clock_ns
        if account:
            holder = market.account(account)
            self.view["cash"] = holder.cash_free + holder.cash_locked
        listed = self.data.series_table()
        count = int(listed["series"].max(initial=0)) + 1  # no event is of a series that is not listed
        self.units, self.values = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.values[listed["series"]] = listed["value"]
        self.before = {int(row["series"]): row for row in listed.view(np.ndarray)}  # cards as they were
        self.seen = len(self.data.trades), len(self.data.quotes)
        for number in listed["series"].tolist() if account else ():
            held = market.holding(account=account, series=number)
            self.units[number] = 0 if held is None else held.free_qty + held.offered_qty + held.voucher_qty
        self.view["event_seq"] = self.data.next_seq - 1
        self.view["next_id"] = CALLER_ID_FIRST + IDS_OF_A_STRATEGY * (account + 1)
        pump = self.pump[0]
        pump["feed_end"], pump["account"], pump["until_ns"] = len(feed), account, NEVER
        pump["most_events"], pump["latency_step"] = WINDOW, len(latency) > 1
        pump["sample_step"] = max(1, len(feed) // CURVE_ROWS)

    def send(self, kind: int, **fields: int) -> int:
        """Send an order of a strategy in Python."""
        pump = self.pump[0]
        order_id = fields.pop("order_id", 0)
        if kind == PLACE:
            order_id = int(self.view["next_id"][0])
            self.view["next_id"] += 1
        row = np.zeros(1, COMMAND)
        row["kind"], row["order_id"], row["account"] = kind, integer("order_id", order_id, Refusal.BadTerms), self.account
        for name, number in fields.items():
            plain = integer(name, int(number) if isinstance(number, Side | AmendFlag) else number, Refusal.BadTerms)
            limits = np.iinfo(COMMAND[name])
            if not limits.min <= plain <= limits.max:
                raise MisuseError(f"{name} was {plain}; it does not fit a record", Refusal.BadTerms)
            row[name] = plain
        at = max(int(pump["feed"]) - 1, 0) if len(self.latency) > 1 else 0
        row["time_ns"] = self.now_ns + int(self.latency[at])
        self._queue(row)
        return order_id

    def _queue(self, row: np.ndarray) -> None:
        """Let a command be on its way, behind those that arrive at the same time."""
        pump = self.pump[0]
        if pump["head"] + pump["pending"] + 1 >= len(self.pending):
            self.more_pending()
        head = int(pump["head"])
        end = head + int(pump["pending"])
        place = head + int(np.searchsorted(self.pending["time_ns"][head:end], row["time_ns"][0], side="right"))
        self.pending[place + 1 : end + 1] = self.pending[place:end].copy()
        self.pending[place] = row[0]
        pump["pending"] += 1
        pump["sent"] += 1

    def more_pending(self) -> None:
        """Make room for as many orders again as are on their way."""
        pump = self.pump[0]
        head, count = int(pump["head"]), int(pump["pending"])
        made = np.zeros(max(len(self.pending), 2 * count + 2 * ORDERS), COMMAND)
        made[:count] = self.pending[head : head + count]
        self.pending, pump["head"] = made, 0

    def run(self) -> None:
        """Let everything through, window by window."""
        pump = self.pump[0]
        if self.strategy is not None:
            self.strategy.on_start(self.desk)
        begun = self.market.command_seq
        try:
            while self._status != ENDED:
                pump["ran"] = pump["event"] = pump["marks"] = self._looked = 0
                self._rows = self.commands.room(WINDOW)
                events = self.market.drive(self._rows, self.events.room(2 * WINDOW), self._go)
                self.commands.add(self._rows[: int(pump["ran"])])
                self.events.add(events)
                self.marked.append(events[self.marks[: int(pump["marks"])]])
                self.data.give_back(int(self.view["event_seq"][0]) + 1)
                self.progress(int(pump["feed"]), len(self.feed))
        finally:
            self._hand_over(begun)

    def _hand_over(self, begun: int) -> None:
        """Let the market have all events, what a window that was cut short had done included; an interrupt waits until it has."""
        interrupt = None
        while True:
            try:
                last = self.events.last_seq(begun)
                rest = self.market.undriven(last)
                if len(rest):
                    self.events.add(rest[rest["command_seq"] > last])
                self.market.driven(self.events.all(), keeps=self.keeps)
                break
            except KeyboardInterrupt as error:
                interrupt = error  # All of this may be done twice.
        if interrupt is not None:
            raise interrupt

    def _go(self, engine: Any, engine_state: Any, events: np.ndarray, world: np.ndarray) -> int:
        """Let the pump run, and do what it asks for, until the window is over (0) or the engine has to be helped."""
        pump = self.pump[0]
        while True:
            reader, reader_state, flow, cards = self.data.lend(events)
            self._set_time()
            status = pump_run(
                self.step, self.pump, self.view, self.memory, self.orders, self.feed, self.latency, self._rows, self.pending,
                self.units, self.marks, events, world, flow, cards, engine, engine_state, reader, reader_state,
            )  # fmt: skip
            if status >= READER:
                self.data.resolve(status - READER)
            elif status >= ENGINE:
                return int(status - ENGINE)
            elif status == NO_ROOM:
                self.data.make_room(int(world[0]["event_count"]) - int(pump["event"]))
            elif status == CROWDED:
                self.more_pending()
            elif status == NO_ORDER:
                kinds = ", ".join(str(int(kind)) for kind in self.orders["kind"] if kind not in (PLACE, AMEND, CANCEL))
                raise MisuseError(
                    f"a step sent rows of kind {kinds}; PLACE, AMEND and CANCEL are orders: buy, sell, amend, cancel"
                )
            elif status == NO_MARKS:
                more = int(world[0]["event_count"]) - int(pump["event"])
                self.marks = np.concatenate([self.marks, np.zeros(len(self.marks) + more, np.int64)])
            elif status == FILLED:
                self.now_ns = int(self.view["time_ns"][0])
                self._hear(events)
            elif status in (WAITS, ENDED) and self._wake(events, ended=status == ENDED):
                continue
            elif status in (FULL, ENDED):
                self._hear(events)
                self._status = status
                return 0

    def _set_time(self) -> None:
        self.pump["until_ns"] = min([self.next_ns, *self.timers])

    def _wake(self, events: np.ndarray, *, ended: bool) -> bool:
        """Call what is due at the time up to which everything ran; False if nothing is, and the feed is over."""
        due = min([self.next_ns, *self.timers])
        if self.strategy is None or due == NEVER or (ended and due > self._end_ns):
            return False
        falls_due = self.market.next_due_ns
        if falls_due is not None and falls_due <= due:
            # A market learns the time from commands; what has befallen it by now is to be seen.
            row = np.zeros(1, COMMAND)
            row["kind"], row["time_ns"] = CommandKind.ADVANCE, due
            self._queue(row)
            return True
        self._hear(events)
        self.now_ns = due
        if due == self.next_ns:
            self.next_ns += self.every_ns
            self.strategy.on_market(self.desk)
        if due in self.timers:
            self.timers = [time_ns for time_ns in self.timers if time_ns != due]
            self.strategy.on_timer(self.desk)
        return True

    def _hear(self, events: np.ndarray) -> None:
        """Tell the strategy in Python of what it has not heard yet."""
        count = int(self.pump["event"][0])
        if self.strategy is None or count == self._looked:
            return
        news = events[self._looked : count]
        self._looked = count
        about = (news["kind"] <= EventKind.TRIGGERED) | (news["kind"] == EventKind.REPRICED)
        mine = news[((news["account"] == self.account) | (news["other_account"] == self.account)) & about]
        for event in mine:
            self._follow(event)
        fills = mine[mine["kind"] == EventKind.FILL]
        if len(fills):
            self.strategy.on_fill(self.desk, own_fills(fills, self.account))

    def _follow(self, event: Any) -> None:
        """Keep the list of own open orders."""
        mine = self.desk.open_orders
        kind, number = int(event["kind"]), int(event["order_id"])
        if kind == EventKind.ACCEPTED:
            mine[number] = [int(event["series"]), int(event["side"]), int(event["price"]), int(event["qty"])]
        elif kind == EventKind.FILL:
            for each in (number, int(event["other_order_id"])):
                if each in mine:
                    mine[each][3] -= int(event["qty"])
                    if not mine[each][3]:
                        del mine[each]
        elif kind == EventKind.CANCELLED:
            mine.pop(number, None)
        elif number in mine:
            mine[number][2:] = [int(event["price"]), int(event["qty"])]


def backtest(
    market: Exchange,
    feed: np.ndarray,
    strategy: Any = None,
    *,
    account: int = 0,
    memory: np.ndarray | None = None,
    every: str | int | timedelta = "1s",
    latency: str | int | timedelta | np.ndarray | Callable[[np.ndarray], np.ndarray] = 0,
    keep_events: bool = True,
    progress: Progress = None,
) -> BacktestResult:
    """Let a feed through a market while a strategy trades against it with an account.

    `market` is in memory, on the compiled engine, keeps its events, and is as it is to begin: series listed, accounts opened
    and funded; it is used up. `feed` is COMMAND[n] of hot kinds in order of time, for accounts and series that are there.
    `strategy` is a compiled step with its `memory`, a `Strategy`, or None for a plain replay. `every` is the interval of
    `on_market`. `latency` is ns, a span, a column of ns for the commands of the feed, or a function from their times
    to one. `progress` is told of commands: see `rightsx.progress`. Without `keep_events` the result has no `commands`
    and `events`, and the market keeps no events any more: half of the time goes into them.

    The run ends with the feed: what was sent by then still arrives, but nobody is called any more.

    Raises `MisuseError` before anything runs for what is none of these. Afterwards whatever the strategy raises comes
    through, and the market has done what it had done. O(n), and what the strategy takes.
    """
    if not hasattr(market, "drive"):
        raise MisuseError(f"market was {market!r}; an Exchange is due")
    if memory is not None and not (isinstance(memory, np.ndarray) and memory.ndim >= 1 and memory.dtype.kind in "iufbV"):
        raise MisuseError(f"memory was {getattr(memory, 'dtype', type(memory).__name__)}; a NumPy array of numbers is due")
    _check_feed(market, feed)
    trader = _account_of(market, feed, account, strategy)
    run = _Run(market, np.ascontiguousarray(feed), trader, _latency_of(latency, feed), keeps=switch("keep_events", keep_events))
    if isinstance(strategy, Strategy):
        run.strategy = strategy
        run.every_ns = span_ns("every", every)
        if run.every_ns < 1:
            raise MisuseError(f"every was {every!r}; a span longer than nothing is due", Refusal.BadTime)
        first = int(feed["time_ns"][0]) if len(feed) else market.clock_ns
        run.next_ns = max(first, market.clock_ns) + run.every_ns
        run.pump["stops_at_fills"] = 1
    elif strategy is not None:
        run.step = open_kernel(strategy, checked=True)
        if memory is not None:
            run.memory = memory
    before = int(run.view["cash"][0]), run.units.copy()
    with following(progress, "backtest") as run.progress:
        run.run()
    return _result(run, before)


def _check_feed(market: Exchange, feed: np.ndarray) -> None:
    market.check_drivable()
    check_hot(feed)
    times = feed["time_ns"]
    strange = np.flatnonzero((times < 0) | (times >= TIME_END))
    if len(strange):
        raise MisuseError(f"command {strange[0]} of the feed is at {times[strange[0]]}; 0 up to 2^62 is due", Refusal.BadTime)
    back = np.flatnonzero(times[1:] < times[:-1])
    if len(back):
        at = int(back[0]) + 1
        raise MisuseError(f"the feed goes back in time at command {at}; it is due in order", Refusal.BadTime)
    if len(feed) and feed["time_ns"][0] < market.clock_ns:
        raise MisuseError(f"the feed begins at {feed['time_ns'][0]}; the market's clock is at {market.clock_ns}", Refusal.BadTime)
    if not market.keeps_events:
        raise MisuseError("the market keeps no events; a backtest needs those of its beginning")


def _account_of(market: Exchange, feed: np.ndarray, account: int, strategy: Any) -> int:
    if strategy is None and account == 0:
        return 0
    number = integer("account", account, Refusal.UnknownAccount)
    if (feed["account"] == number).any():
        raise MisuseError(f"the feed has commands of account {number}, which is to be the strategy's alone", Refusal.NotOwner)
    given = feed[feed["kind"] == CommandKind.TRANSFER]
    if (given["other_account"] == number).any():
        raise MisuseError(f"the feed gives units to account {number}, which is to be the strategy's alone", Refusal.NotOwner)
    if not (isinstance(strategy, Strategy) or (callable(strategy) and not isinstance(strategy, type))):
        raise MisuseError(f"strategy was {strategy!r}; a Strategy, or a function step(view, memory, orders), is due")
    if number < 1 or market.account(number) is None:
        raise MisuseError(f"account was {account!r}; the strategy needs one that is open", Refusal.UnknownAccount)
    if market.account(number).is_merchant:
        raise MisuseError(f"account {number} is a merchant's; a strategy needs one of its own", Refusal.NotOwner)
    return number


def _latency_of(latency: Any, feed: np.ndarray) -> np.ndarray:
    """Give the latencies as a column, of one row if all are alike."""
    if callable(latency):
        latency = latency(feed["time_ns"])
    if isinstance(latency, np.ndarray):
        if latency.shape != feed.shape or latency.dtype.kind not in "iu":
            raise MisuseError(
                f"latency was {latency.dtype}{list(latency.shape)}; integers [{len(feed)}] are due", Refusal.BadTime
            )
        column = latency if len(latency) else np.zeros(1, np.int64)
    else:
        column = np.array([span_ns("latency", latency)], object)
    if ((column < 0) | (column >= TIME_END)).any():
        raise MisuseError(f"latency was from {column.min()} to {column.max()}; 0 up to 2^62 ns is due", Refusal.BadTime)
    return column.astype(np.int64)


# ── drawing up ───────────────────────────────────────────────────────────────────────────────────


def own_fills(events: np.ndarray, account: int) -> np.ndarray:
    """Give an account's trades in FILL events as FILL[n], in which `value` and `position` are still to be told."""
    first = events["account"] == account
    buys = (events["side"] == Side.BUY) == first
    fills = np.zeros(len(events), FILL)
    for name in ("time_ns", "event_seq", "price", "series"):
        fills[name] = events[name]
    fills["order_id"] = np.where(first, events["order_id"], events["other_order_id"])
    fills["qty"] = np.where(buys, events["qty"], -events["qty"])
    fills["charge"] = np.where(first, events["fee"], events["other_fee"]) + np.where(buys, 0, events["amount"])
    fills["is_maker"] = ~first
    return fills


def _result(run: _Run, before: tuple[int, np.ndarray]) -> BacktestResult:
    """Follow the account through the events of a run."""
    story = _Story(run, np.concatenate([np.zeros(0, EVENT), *run.marked]), before)
    commands, events = (column.all() if run.keeps else column.all()[:0] for column in (run.commands, run.events))
    return BacktestResult(
        frame(commands), frame(events), frame(story.fills), frame(story.equity), run.data, run.account, story.sums
    )


class _Story:
    """An account's way through the marked events of a run: what it traded, what became of it, series by series."""

    def __init__(self, run: _Run, events: np.ndarray, before: tuple[int, np.ndarray]) -> None:
        cash, units = before
        account = run.account
        kinds = events["kind"]
        mine = (kinds == EventKind.FILL) & ((events["account"] == account) | (events["other_account"] == account)) & (account > 0)
        self.fills = own_fills(events[mine], account)
        paid = events[(kinds == EventKind.PAID_OUT) & (events["account"] == account)]
        moved = self.fills["price"] * self.fills["qty"] + self.fills["charge"]
        self._cash = _Steps(
            np.concatenate([self.fills["event_seq"], paid["event_seq"]]),
            np.concatenate([-moved, paid["amount"]]),
            cash,
            sums=True,
        )
        self._units: dict[int, _Steps] = {}
        self._values: dict[int, _Steps] = {}
        self.sums = dict.fromkeys(
            (
                "profit",
                "profit_at_bid",
                "profit_at_price",
                "edge",
                "charges",
                "decay",
                "expiry",
                "other",
                "drawdown",
                "turnover",
                "fills",
                "maker_fills",
            ),
            0,
        )
        touched = np.union1d(np.flatnonzero(units), np.unique(self.fills["series"])).astype(np.int64)
        for series in touched.tolist():
            self._follow(series, events[events["series"] == series], int(units[series]), int(run.values[series]), paid)
        self.equity = self._curve(run, events)
        self._sum_up(run, cash, units)

    def _follow(self, series: int, events: np.ndarray, held: int, value: int, paid: np.ndarray) -> None:
        """Take one series apart: its values, the position, what decay and the end took."""
        kinds = events["kind"]
        ends = (kinds == EventKind.EXPIRED) | (kinds == EventKind.SERIES_DEFAULTED)
        decays = kinds == EventKind.DECAYED
        fell = events[decays | ends]
        values = self._values[series] = _Steps(
            fell["event_seq"], np.where(fell["kind"] == EventKind.DECAYED, fell["price"], 0), value
        )
        rows = np.flatnonzero(self.fills["series"] == series)
        fills = self.fills[rows]
        out = paid[paid["series"] == series]
        # What stands at the end of a series goes with it, whether it was paid for or not.
        last = events["event_seq"][ends]
        before_end = held + int(fills["qty"].sum())
        units = self._units[series] = _Steps(
            np.concatenate([fills["event_seq"], last[:1]]),
            np.concatenate([fills["qty"], -np.full(len(last[:1]), before_end)]),
            held,
            sums=True,
        )
        self.fills["value"][rows] = values.at(fills["event_seq"])
        self.fills["position"][rows] = units.at(fills["event_seq"])
        sums = self.sums
        sums["edge"] += int(((self.fills["value"][rows] - fills["price"]) * fills["qty"]).sum())
        steps = events[decays]
        sums["decay"] += int((units.at(steps["event_seq"]) * (steps["fee"] - steps["price"])).sum())
        if len(last):
            sums["expiry"] += before_end * int(values.at(last[:1] - 1)[0]) - int(out["amount"].sum())

    def _curve(self, run: _Run, events: np.ndarray) -> np.ndarray:
        """Draw equity after each event that is marked: where something changed, and at some regular moments."""
        at = events["event_seq"]
        curve = np.zeros(len(at), EQUITY)
        curve["time_ns"] = events["time_ns"]
        curve["cash"] = curve["at_value"] = curve["at_bid"] = self._cash.at(at)
        quotes = run.data.quotes.view(np.ndarray)
        for series, units in self._units.items():
            held = units.at(at)
            curve["units"] += held
            curve["at_value"] += held * self._values[series].at(at)
            own = quotes[quotes["series"] == series]
            bids = _Steps(own["event_seq"], np.where(own["bid_qty"] > 0, own["bid"], 0), 0)
            curve["at_bid"] += held * bids.at(at)
        return curve

    def _sum_up(self, run: _Run, cash: int, units: np.ndarray) -> None:
        sums, fills, curve = self.sums, self.fills, self.equity
        sums["charges"] = int(fills["charge"].sum())
        sums["turnover"] = int((fills["price"] * np.abs(fills["qty"])).sum())
        sums["fills"], sums["maker_fills"] = len(fills), int(fills["is_maker"].sum())
        if not run.account:
            return
        holder = run.market.account(run.account)
        start = cash + sum(int(units[series]) * int(run.values[series]) for series in self._units)
        end = holder.cash_free + holder.cash_locked
        changed = end - cash
        sums["profit_at_bid"] = sums["profit_at_price"] = changed
        for series in self._units:
            held = run.market.holding(account=run.account, series=series)
            count = 0 if held is None else held.free_qty + held.offered_qty + held.voucher_qty
            end += count * run.data.value_of(series)
            (bid, price), (bid_then, price_then) = self._marks(run, series)
            sums["profit_at_bid"] += count * bid - int(units[series]) * bid_then
            sums["profit_at_price"] += count * price - int(units[series]) * price_then
        sums["profit"] = end - start
        sums["other"] = sums["profit"] - (sums["edge"] - sums["charges"] - sums["decay"] - sums["expiry"])
        if len(curve):
            height = np.maximum.accumulate(np.append(start, curve["at_value"]))[1:]
            sums["drawdown"] = int((height - curve["at_value"]).max())

    def _marks(self, run: _Run, series: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Give the bid and the price of the last trade, now and at the beginning: what was there, or came first."""
        before = run.before[series]
        trades, quotes = run.data.trades.view(np.ndarray)[run.seen[0] :], run.data.quotes.view(np.ndarray)[run.seen[1] :]
        first_trades = trades["price"][trades["series"] == series]
        first_bids = quotes["bid"][(quotes["series"] == series) & (quotes["bid_qty"] > 0)]
        price = int(before["last_price"]) or (int(first_trades[0]) if len(first_trades) else 0)
        bid = int(before["bid"]) or (int(first_bids[0]) if len(first_bids) else 0)
        last = int(first_trades[-1]) if len(first_trades) else price
        return (run.data.top(series)["bid"], last if run.data.value_of(series) else 0), (bid, price)


class _Steps:
    """A number that changes with events: what it is after each of some."""

    def __init__(self, seqs: np.ndarray, numbers: np.ndarray, start: int, *, sums: bool = False) -> None:
        order = np.argsort(seqs, kind="stable")
        self.seqs = seqs[order].astype(np.int64)
        after = start + np.cumsum(numbers[order]) if sums else numbers[order]
        self._after = np.concatenate([[start], after]).astype(np.int64)

    def at(self, seqs: np.ndarray) -> np.ndarray:
        """Give what it is when the event of each number is over."""
        return self._after[np.searchsorted(self.seqs, seqs, side="right")]
