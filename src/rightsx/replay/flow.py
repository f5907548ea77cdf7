"""Turns what people told a venue into a feed for a market of ours: for backtests against real order flow.

    BitstampFeed ─► created, re-priced, deleted ────────────┐
    LOBSTER, Databento, ITCH ─► replay ─► Tape of its calls ─┴─► COMMAND[n] of three accounts: who buys, who sells, who takes
                                               └───────────────► market()     one series whose value is above every price
                                                                 executions   the venue's own, to be held against ours

Bitstamp says what its customers told it, takers too, so that is passed on and nothing else. The others name resting orders and
executions. Their feed is what the replay told its book: new orders are plain limit orders that anyone can meet; an execution is
a taker at the maker's price, who does not name the maker; what our book would have said otherwise (icebergs, crosses, prices
other than the maker's, see each replay) is a smaller order. As far as nobody else trades the market then does what the venue
did, and `agreement` counts how far. With a strategy in it, it says what would have happened but for what people had answered.

A foreign price is one of a right whose value never falls: `par` is far above all prices, and an order above it is left out
and counted. Prices are told in units of `price_unit`, which is the greatest that divides all of them unless it is given; a price
that it does not divide is rounded away from the other side for what rests, and towards it for what takes. Quantities are told
in whole units of `qty_unit`, each rounded up: where parts of orders are no whole units, fewer executions agree.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rightsx.errors import MisuseError
from rightsx.exchange import Exchange
from rightsx.loaders.bitstamp import BitstampEvent, BitstampFeed
from rightsx.loaders.databento import DatabentoFeed
from rightsx.loaders.itch import ItchFeed
from rightsx.loaders.lobster import LobsterFeed
from rightsx.protocol import (
    CALLER_ID_FIRST,
    CASH_END,
    COMMAND,
    DAY_NS,
    FACE_END,
    PRICE_END,
    QTY_END,
    AmendFlag,
    CommandKind,
    OrderFlag,
    Refusal,
    Side,
    TimeInForce,
)
from rightsx.replay.beside import Noted, Tape
from rightsx.replay.bitstamp import is_repriced, venue_story
from rightsx.replay.databento import replay_databento
from rightsx.replay.itch import replay_itch
from rightsx.replay.lobster import replay_lobster
from rightsx.vocabulary import integer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rightsx.progress import Progress

MERCHANT, BUYERS, SELLERS, TAKERS = 1, 2, 3, 4  # accounts; takers alone have none where the venue names its takers
SERIES: Final = 1
ROOM: Final = 16  # how far the value is above the median of prices
BITSTAMP_UNIT: Final = 10_000  # × 1e-8 BTC
EXECUTION: Final = np.dtype([("maker", "<i8"), ("taker", "<i8"), ("price", "<i8"), ("qty", "<i8")])
_PLAIN_IDS: Final = 2**40  # greater ones would meet those that a backtest gives to its strategy
_MOVED: Final = 2**61


class Agreement(NamedTuple):
    """How many of a venue's executions a market's fills are: the same maker, price and quantity, and taker if it is known.

    `other_qty` are those of which the quantity alone is another.
    """

    agreed: int
    other_qty: int
    total: int

    def __str__(self) -> str:
        """Show the numbers."""
        also = f", {self.other_qty:,} more but for the quantity" * bool(self.other_qty)
        return f"{self.agreed:,} of {self.total:,} executions ({self.agreed / max(1, self.total):.1%}) as at the venue{also}"


class VenueFlow(NamedTuple):
    """A venue's orders as a feed: COMMAND[n] in order of time, and what a market must be like in which they can be told.

    `left_out` are orders whose prices are above the value. `executions` are the venue's own, EXECUTION[n] in the market's
    ids and units; `taker` is 0 where the venue does not say. `slack` is by how many units rounding may move a quantity.
    """

    commands: np.ndarray
    par: int
    units: int
    cash: int
    left_out: int
    executions: np.ndarray
    taker_units: int = 0
    taker_cash: int = 0
    qty_unit: int = 1
    price_unit: int = 1

    @property
    def slack(self) -> int:
        """By how many units the rounding of quantities may move a fill."""
        return int(self.qty_unit > 1)

    def market(self, *, maker_bps: int = 0, taker_bps: int = 0, **options: Any) -> Exchange:
        """Make a market for it: series 1, buyers (2) with cash, sellers (3) with units, takers (4) with both if there are any.

        `options` are `Exchange`'s.
        """
        start = int(self.commands["time_ns"][0]) - 1 if len(self.commands) else 0
        market = Exchange(**options)
        shop = market.register_merchant("venue", time_ns=start)
        market.list_series(
            merchant=shop, product="flow", par=self.par, issue_price=1, authorised=min(QTY_END - 1, (FACE_END - 1) // self.par),
            expire=start + 3_650 * DAY_NS, policy="forfeit", maker_bps=maker_bps, taker_bps=taker_bps, clawback=False,
        )  # fmt: skip
        for _ in (BUYERS, SELLERS):
            market.open_account()
        market.deposit(account=BUYERS, amount=2 * self.cash + 1)
        market.deposit(account=SELLERS, amount=self.units + 1)
        market.subscribe(series=SERIES, account=SELLERS, qty=self.units)
        if self.taker_units or self.taker_cash:
            market.open_account()
            market.deposit(account=TAKERS, amount=2 * self.taker_cash + self.taker_units + 1)
            if self.taker_units:
                market.subscribe(series=SERIES, account=TAKERS, qty=self.taker_units)
        return market

    def agreement(self, trades: np.ndarray) -> Agreement:
        """Count the venue's executions that are among a market's trades (`MarketData.trades`), each once. O(both)."""
        names = ("maker_order", "price", "taker_order", "qty")
        fills: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        for maker, price, taker, qty in zip(*(trades[name].tolist() for name in names), strict=True):
            fills[maker, price].append((taker, qty))
        due = self.executions.tolist()
        left = [one for one in due if not _met(one, fills, self.slack)]
        missed = [one for one in left if not _met(one, fills, QTY_END)]
        return Agreement(len(due) - len(left), len(left) - len(missed), len(due))


def _met(execution: tuple[int, ...], fills: dict[tuple[int, int], list[tuple[int, int]]], slack: int) -> bool:
    """Say whether an execution is among fills, and take it out."""
    maker, due_taker, price, due_qty = execution
    candidates = fills[maker, price]
    for at, (taker, qty) in enumerate(candidates):
        if due_taker in {0, taker} and abs(qty - due_qty) <= slack:
            del candidates[at]
            return True
    return False


def venue_flow(
    feed: BitstampFeed | DatabentoFeed | ItchFeed | LobsterFeed,
    *,
    qty_unit: int | None = None,
    price_unit: int | None = None,
    progress: Progress = None,
) -> VenueFlow:
    """Give a venue's orders as a feed for a market.

    `qty_unit` is how much of the venue's is a unit here: by default 1, and 10,000 × 1e-8 BTC for Bitstamp. `price_unit` is how
    much of the loader's price is 1 here. `MisuseError` for units so small that a market has no room. O(messages).
    """
    if isinstance(feed, BitstampFeed):
        return _bitstamp(feed, BITSTAMP_UNIT if qty_unit is None else qty_unit, price_unit)
    tape = Tape()
    if isinstance(feed, ItchFeed):
        replay_itch(feed, tape=tape, progress=progress)
    elif isinstance(feed, DatabentoFeed):
        replay_databento(feed, tape=tape, progress=progress)
    elif isinstance(feed, LobsterFeed):
        replay_lobster(feed, book=tape, progress=progress)
    else:
        raise MisuseError(f"feed was a {type(feed).__name__}; what a function of rightsx.loaders gives is due")
    told = _Told([call.price for call in tape.told if call.price is not None], 1 if qty_unit is None else qty_unit, price_unit)
    latest = 0
    for call in tape.told:
        latest = max(latest, call.time_ns)
        if call.is_taker:
            told.take(latest, call.order_id, call.side, call.price or 0, call.qty or 0)
        elif call.side:
            told.place(latest, call.order_id, call.side, call.price or 0, call.qty or 0)
        elif call.price is None and call.qty is None:
            told.cancel(latest, call.order_id)
        else:
            told.amend(latest, call.order_id, call.price, call.qty)
    told.lend(sum(told.units_of(call.qty or 0) for call in tape.told if call.is_taker))
    return told.flow(tape.noted)


def bitstamp_flow(feed: BitstampFeed, *, qty_unit: int = BITSTAMP_UNIT) -> VenueFlow:
    """Give the orders of a Bitstamp file as a feed; prices stay cents, a unit is `qty_unit` × 1e-8 BTC. O(events).

    `MisuseError` for a unit so small that quantities do not fit a market.
    """
    return _bitstamp(feed, qty_unit, 1)


def _bitstamp(feed: BitstampFeed, qty_unit: int, price_unit: int | None) -> VenueFlow:
    """Pass on what customers said; orders older than the file stand before it begins."""
    story = venue_story(feed)
    told = _Told([event.price for event in story.events if event.action == "created"], qty_unit, price_unit)
    start = story.events[0].time_ns if story.events else 0
    for _, event in sorted(story.opening.items()):
        told.place(start, event.order_id, event.side, event.price, event.qty, OrderFlag.POST_ONLY)
    last: dict[int, BitstampEvent] = {}
    latest = start
    for event in story.events:
        before, last[event.order_id] = last.get(event.order_id), event
        latest = max(latest, event.time_ns)  # feeds garble the order of a few reports
        if event.action == "created":
            told.place(latest, event.order_id, event.side, event.price, event.qty)
        elif event.action == "deleted":
            told.cancel(latest, event.order_id)
        elif before is not None and is_repriced(event, before):
            told.amend(latest, event.order_id, event.price)
    told.lend(sum(told.units_of(venue.fill.qty) for venue in story.fills))
    fills = [venue.fill for venue in story.fills if not venue.is_older and not venue.is_one_sided]
    return told.flow(Noted(fill.maker, fill.price, fill.qty, fill.taker) for fill in fills)


# ── what is told ─────────────────────────────────────────────────────────────────────────────────


def market_id(order_id: int) -> int:
    """Give the id of a venue's order in the market."""
    return CALLER_ID_FIRST + (order_id if order_id < _PLAIN_IDS else _MOVED + order_id % _MOVED)


class _Open(NamedTuple):
    """An order that is not taken back, and what it may lock."""

    account: int
    side: str
    units: int
    cash: int


class _Told:
    """Commands so far, and what they may need."""

    def __init__(self, prices: list[int], qty_unit: int, price_unit: int | None) -> None:
        for name, value in (("qty_unit", qty_unit), ("price_unit", 1 if price_unit is None else price_unit)):
            if integer(name, value, Refusal.BadQuantity) < 1:
                raise MisuseError(f"{name} was {value}; 1 or more is due", Refusal.BadQuantity)
        most = ROOM * int(np.median(prices)) if prices else 1
        if price_unit is None:
            price_unit = int(np.gcd.reduce([price for price in prices if 0 < price <= most] or [1]))
        self.par = max(1, most // price_unit)
        if self.par >= PRICE_END:
            raise MisuseError(f"prices go up to {self.par}; a market takes less: give a larger price_unit", Refusal.BadPrice)
        self.rows: list[tuple[int, ...]] = []
        self.left_out = self._qty_most = 0
        self._units = self._cash = 0  # the most that open orders had at once
        self._units_now = self._cash_now = self._lent = self._taker_units = self._taker_cash = 0
        self._price_unit, self._qty_unit = price_unit, qty_unit
        self._open: dict[int, _Open] = {}

    def place(self, time_ns: int, order_id: int, side: str, price: int, qty: int, flags: int = 0) -> None:
        """Enter an order, unless its price is above the value."""
        price, qty = self.price_of(price, up=side == "sell"), self.units_of(qty)
        if not 0 < price <= self.par:
            self.left_out += 1
            return
        is_bid = side == "buy"
        self._open[order_id] = _Open(BUYERS, side, 0, price * qty) if is_bid else _Open(SELLERS, side, qty, 0)
        self._count(order_id, 1)
        self._place(time_ns, order_id, side, self._open[order_id].account, TimeInForce.GTC, flags, price, qty)

    def take(self, time_ns: int, order_id: int, side: str, price: int, qty: int) -> None:
        """Send a taker, whose rest goes at once."""
        price, qty = self.price_of(price, up=side == "buy"), self.units_of(qty)
        if not 0 < price <= self.par:
            self.left_out += 1
            return
        if side == "buy":
            self._taker_cash += price * qty
        else:
            self._taker_units += qty
        self._place(time_ns, order_id, side, TAKERS, TimeInForce.IOC, 0, price, qty)

    def cancel(self, time_ns: int, order_id: int) -> None:
        """Take an order back; one that our book has filled is refused there, as it should be."""
        if order_id in self._open:
            self._row(CommandKind.CANCEL, time_ns, order_id, self._open[order_id].account)
            self._count(order_id, -1)
            del self._open[order_id]

    def amend(self, time_ns: int, order_id: int, price: int | None = None, qty: int | None = None) -> None:
        """Let an order stand at another price, or with another quantity; what it locks is counted anew as far as it is more."""
        if order_id not in self._open:
            return
        order, fields, flags = self._open[order_id], {}, 0
        if price is not None:
            fields["price"] = self.price_of(price, up=order.side == "sell")
            flags |= AmendFlag.PRICE
            if not 0 < fields["price"] <= self.par:
                return
        if qty is not None:
            fields["qty"] = self.units_of(qty)
            flags |= AmendFlag.QTY
            self._count(order_id, -1)
            cash = fields["qty"] * fields.get("price", self.par)
            is_bid = order.account == BUYERS
            self._open[order_id] = order._replace(cash=max(order.cash, cash)) if is_bid else order._replace(units=fields["qty"])
            self._count(order_id, 1)
        self._row(CommandKind.AMEND, time_ns, order_id, order.account, flags=flags, **fields)

    def lend(self, units: int) -> None:
        """Let both sides have more, for what trades away from those who would offer it again."""
        self._lent += units

    def units_of(self, qty: int) -> int:
        """Tell a quantity of the venue's in our units."""
        return max(1, -(-qty // self._qty_unit))

    def price_of(self, price: int, *, up: bool) -> int:
        """Tell a price of the venue's in our units."""
        return -(-price // self._price_unit) if up else price // self._price_unit

    def flow(self, noted: Iterable[Noted]) -> VenueFlow:
        """Give the feed; `noted` are the venue's executions."""
        units, cash = self._units + self._lent, self._cash + self._lent * self.par
        needed = units + self._taker_units
        if needed >= min(QTY_END, FACE_END // self.par):
            raise MisuseError(f"{needed} units may be offered; a market takes fewer: give a larger qty_unit", Refusal.BadQuantity)
        cash_most = max(2 * cash, 2 * self._taker_cash + self._taker_units) + 1
        if cash_most >= CASH_END or self._qty_most >= QTY_END:
            expected = f"{self._qty_most} units in an order and {cash_most} of cash are too much for a market"
            raise MisuseError(f"{expected}: give a larger qty_unit", Refusal.BadQuantity)
        executions = [
            (market_id(maker), market_id(taker) if taker else 0, self.price_of(price, up=self._sells(maker)), self.units_of(qty))
            for maker, price, qty, taker in noted
        ]
        return VenueFlow(
            commands=np.array(self.rows, COMMAND) if self.rows else np.zeros(0, COMMAND),
            par=self.par,
            units=units,
            cash=cash,
            left_out=self.left_out,
            executions=np.array(executions, EXECUTION),
            taker_units=self._taker_units,
            taker_cash=self._taker_cash,
            qty_unit=self._qty_unit,
            price_unit=self._price_unit,
        )

    def _sells(self, order_id: int) -> bool:
        return order_id in self._open and self._open[order_id].side == "sell"

    def _count(self, order_id: int, sign: int) -> None:
        """Count what an open order locks, and the most there was."""
        order = self._open[order_id]
        self._units_now += sign * order.units
        self._cash_now += sign * order.cash
        self._units, self._cash = max(self._units, self._units_now), max(self._cash, self._cash_now)

    def _place(
        self, time_ns: int, order_id: int, side: str, account: int, tif: TimeInForce, flags: int, price: int, qty: int
    ) -> None:
        self._qty_most = max(self._qty_most, qty)
        word = Side.BUY if side == "buy" else Side.SELL
        fields = {"side": word, "time_in_force": tif, "series": SERIES, "flags": flags, "price": price, "qty": qty}
        self._row(CommandKind.PLACE, time_ns, order_id, account, **fields)

    def _row(self, kind: CommandKind, time_ns: int, order_id: int, account: int, **fields: int) -> None:
        row = dict.fromkeys(COMMAND.names or (), 0) | fields
        row |= {"time_ns": time_ns, "kind": kind, "account": account, "order_id": market_id(order_id)}
        self.rows.append(tuple(map(int, row.values())))
