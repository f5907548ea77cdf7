"""Turns what people told a venue into a feed for a market of ours: for backtests against real order flow.

    BitstampFeed ─► created, re-priced, deleted ─► COMMAND[n]  of two accounts, whoever buys and whoever sells
                                      └──────────► market()    one series whose value is above every price

Only what was told to the venue is passed on, never what it answered: whose turn it was, our book says itself, and as far as
nobody else trades it says what the venue said (`replay_bitstamp` counts that). With a strategy in the market it says what
would have happened then, but for what people would have answered.

A foreign price is one of a right whose value never falls: `par` is far above all prices, and an order above it is left out
and counted. Quantities are told in whole units of `qty_unit` of the venue's, rounded up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rightsx.errors import MisuseError
from rightsx.exchange import Exchange
from rightsx.protocol import (
    CALLER_ID_FIRST,
    COMMAND,
    DAY_NS,
    FACE_END,
    QTY_END,
    AmendFlag,
    CommandKind,
    OrderFlag,
    Refusal,
    Side,
    TimeInForce,
)
from rightsx.replay.bitstamp import is_repriced, venue_story
from rightsx.vocabulary import integer

if TYPE_CHECKING:
    from rightsx.loaders.bitstamp import BitstampEvent, BitstampFeed

MERCHANT, BUYERS, SELLERS = 1, 2, 3  # accounts
SERIES: Final = 1
ROOM: Final = 16  # how far the value is above the median of prices


class VenueFlow(NamedTuple):
    """A venue's orders as a feed: COMMAND[n] in order of time, and what a market must be like in which they can be told.

    `left_out` are orders whose prices are above the value.
    """

    commands: np.ndarray
    par: int
    units: int
    cash: int
    left_out: int

    def market(self, *, maker_bps: int = 0, taker_bps: int = 0, **options: Any) -> Exchange:
        """Make a market for it: series 1, buyers (account 2) with cash, sellers (3) with units; `options` are `Exchange`'s."""
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
        return market


def bitstamp_flow(feed: BitstampFeed, *, qty_unit: int = 10_000) -> VenueFlow:
    """Give the orders of a Bitstamp file as a feed; prices stay cents, a unit is `qty_unit` × 1e-8 BTC. O(events).

    `MisuseError` for a unit so small that quantities do not fit a market.
    """
    if integer("qty_unit", qty_unit, Refusal.BadQuantity) < 1:
        raise MisuseError(f"qty_unit was {qty_unit}; 1 or more is due", Refusal.BadQuantity)
    story = venue_story(feed)
    prices = [event.price for event in story.events if event.action == "created"]
    par = ROOM * int(np.median(prices)) if prices else 1
    told = _Told(par, qty_unit)
    start = story.events[0].time_ns if story.events else 0
    for _, event in sorted(story.opening.items()):
        told.place(event, start, OrderFlag.POST_ONLY)
    last: dict[int, BitstampEvent] = {}
    latest = start
    for event in story.events:
        before, last[event.order_id] = last.get(event.order_id), event
        latest = max(latest, event.time_ns)  # feeds garble the order of a few reports
        if event.action == "created":
            told.place(event, latest, 0)
        elif event.action == "deleted":
            told.cancel(event, latest)
        elif before is not None and is_repriced(event, before):
            told.amend(event, latest)
    traded = sum(told.units_of(venue.fill.qty) for venue in story.fills)
    units, cash = told.units + traded, told.cash + traded * par
    if units >= min(QTY_END, FACE_END // par):
        raise MisuseError(f"{units} units may be offered; a market takes fewer: give a larger qty_unit", Refusal.BadQuantity)
    rows = np.array(told.rows, COMMAND) if told.rows else np.zeros(0, COMMAND)
    return VenueFlow(rows, par, units, cash, told.left_out)


class _Told:
    """Commands so far, and what they may need."""

    def __init__(self, par: int, qty_unit: int) -> None:
        self.rows: list[tuple[int, ...]] = []
        self.units = self.cash = self.left_out = 0  # units and cash: the most that open orders had at once
        self._par, self._qty_unit = par, qty_unit
        self._open: dict[int, tuple[int, int, int]] = {}  # account, units, cash
        self._units_now = self._cash_now = 0

    def place(self, event: BitstampEvent, time_ns: int, flags: int) -> None:
        """Enter an order, unless its price is above the value."""
        if not 0 < event.price <= self._par:
            self.left_out += 1
            return
        side = Side.BUY if event.side == "buy" else Side.SELL
        qty = self.units_of(event.qty)
        if side == Side.BUY:
            self._open[event.order_id] = BUYERS, 0, event.price * qty
        else:
            self._open[event.order_id] = SELLERS, qty, 0
        self._count(event, 1)
        fields = {"side": side, "time_in_force": TimeInForce.GTC, "series": SERIES, "price": event.price, "qty": qty}
        self._row(CommandKind.PLACE, event, time_ns, flags=flags, **fields)

    def _count(self, event: BitstampEvent, sign: int) -> None:
        """Count what an open order locks, and the most there was."""
        _, units, cash = self._open[event.order_id]
        self._units_now += sign * units
        self._cash_now += sign * cash
        self.units, self.cash = max(self.units, self._units_now), max(self.cash, self._cash_now)

    def cancel(self, event: BitstampEvent, time_ns: int) -> None:
        """Take an order back; one that our book has filled is refused there, as it should be."""
        if event.order_id in self._open:
            self._row(CommandKind.CANCEL, event, time_ns)
            self._count(event, -1)
            del self._open[event.order_id]

    def amend(self, event: BitstampEvent, time_ns: int) -> None:
        """Let an order stand at another price, as the venue let market orders walk."""
        if event.order_id in self._open and 0 < event.price <= self._par:
            self._row(CommandKind.AMEND, event, time_ns, flags=AmendFlag.PRICE, price=event.price)

    def units_of(self, qty: int) -> int:
        """Tell a quantity of the venue's in our units."""
        return max(1, -(-qty // self._qty_unit))

    def _row(self, kind: CommandKind, event: BitstampEvent, time_ns: int, **fields: int) -> None:
        row = dict.fromkeys(COMMAND.names or (), 0) | fields
        row |= {"time_ns": time_ns, "kind": kind, "account": self._open[event.order_id][0]}
        row["order_id"] = CALLER_ID_FIRST + event.order_id
        self.rows.append(tuple(map(int, row.values())))
