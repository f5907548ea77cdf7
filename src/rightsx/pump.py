"""Lets a feed and a strategy's orders through the engine, one command after the other, in compiled code.

    feed ────────┐  by time                          ┌─► market data ─► VIEW ─► step ─┐
                 ├─────────► rows ─► engine ─► events┤                                │
    pending ─────┘  the feed first                   └─► position, cash               │
       ▲                                                                              │
       └───────────────────── + latency ◄──── orders ◄────────────────────────────────┘

`step` is the strategy: a function of what it sees after a command, of its own memory, and of rows for orders; it gives how many
it wrote. It sees a command's events when the command is over, and what it sends then arrives `latency` later: before every
command of the feed that is later than that, and behind those of the same time. So nothing it does can rest on what
comes after. Whatever ran, the strategy's orders among the feed's, is left in `rows`: applied to another market like the
first it gives the same events, on the reference engine too.

The pump stops where Python has to do something (STATUS), and goes on at the same stage when it is called again.
The engine and the market data are called where they lie, so that only this and the strategy are compiled for a run.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from rightsx._jit import call_entry6, call_entry10, open_kernel
from rightsx.protocol import CommandKind, EventKind

PUMP: Final = np.dtype(
    [
        (name, "<i8")
        for name in (
            "stage",
            "ran",  # rows of this window that ran
            "feed",  # the row of the feed that is next
            "feed_end",
            "pending",  # orders on their way
            "head",  # the row of the first of them
            "until_ns",  # commands after this time wait
            "stops_at_fills",
            "account",
            "is_own",  # the command that runs is the strategy's
            "sent",  # orders the strategy has sent
            "calls",
            "most_events",  # of a window
            "event",  # the first that was not looked at
            "latency_step",  # 1 if each command of the feed has a latency of its own
            "marks",  # rows of events that are marked
            "sample_step",  # commands of the feed, after each of which an event is marked
        )
    ]
)
VIEW: Final = np.dtype(
    [
        ("time_ns", "<i8"),
        ("event_seq", "<i8"),  # of the command's last event that is a leaf
        ("bid", "<i8"),
        ("bid_qty", "<i8"),  # 0 for no bid
        ("ask", "<i8"),
        ("ask_qty", "<i8"),
        ("value", "<i8"),  # v(t)
        ("last_price", "<i8"),
        ("last_qty", "<i8"),
        ("to_last_trade_ns", "<i8"),
        ("position", "<i8"),  # units of this series, those on offer included
        ("cash", "<i8"),  # all of it, what is locked included
        ("bought_qty", "<i8"),  # by the strategy in this command
        ("sold_qty", "<i8"),
        ("filled_id", "<i8"),  # the own order that traded last in this command, or 0
        ("next_id", "<i8"),  # free for an order
        ("series", "<i8"),  # that the command was about, or that was shown last
        ("is_own", "<i8"),  # 1 if the command was the strategy's own, 0 for the feed's
    ]
)
ORDERS: Final = 16  # that a step may send

CHOOSE, RUN, READ, END, LOOK, STEP = range(6)  # stages
# STATUS: the feed is over; the time is; the window is full; own fills; there is no room for orders, for trades, for marks; a step
# sent what is no order; beyond that the engine's answer, or the reader's.
ENDED, WAITS, FULL, FILLED, CROWDED, NO_ROOM, NO_MARKS, NO_ORDER, ENGINE, READER = 0, 1, 2, 3, 4, 5, 6, 7, 16, 32
OP_RUN: Final = 0
OP_READ, OP_END = 0, 1
FILL_KIND, PAID_OUT_KIND = int(EventKind.FILL), int(EventKind.PAID_OUT)
PLACE_KIND, AMEND_KIND, CANCEL_KIND = int(CommandKind.PLACE), int(CommandKind.AMEND), int(CommandKind.CANCEL)
REFUSED_KIND: Final = int(EventKind.REFUSED)
DECAYED_KIND, EXPIRED_KIND, DEFAULTED_KIND = int(EventKind.DECAYED), int(EventKind.EXPIRED), int(EventKind.SERIES_DEFAULTED)


def _choose(pump: Any, feed: Any, rows: Any, pending: Any, world: Any) -> int:
    """Put the command that is next behind the rows that ran: STATUS, or −1 if there is one now."""
    if pump["ran"] >= len(rows) or world["event_count"] >= pump["most_events"]:
        return FULL
    has_feed = pump["feed"] < pump["feed_end"]
    has_own = pump["pending"] > 0
    if not has_feed and not has_own:
        return ENDED
    head = pump["head"]
    own = has_own and (not has_feed or pending[head]["time_ns"] < feed[pump["feed"]]["time_ns"])
    at = pump["ran"]
    if own:
        if pending[head]["time_ns"] > pump["until_ns"]:
            return WAITS
        rows[at] = pending[head]
        pump["pending"] -= 1
        pump["head"] = head + 1 if pump["pending"] > 0 else 0
        pump["is_own"] = 1
    else:
        if feed[pump["feed"]]["time_ns"] > pump["until_ns"]:
            return WAITS
        rows[at] = feed[pump["feed"]]
        pump["feed"] += 1
        pump["is_own"] = 0
    return -1


def _mark(pump: Any, marks: Any, at: int) -> None:
    """Mark an event, once."""
    if pump["marks"] == 0 or marks[pump["marks"] - 1] != at:
        marks[pump["marks"]] = at
        pump["marks"] += 1


def _look(pump: Any, view: Any, units: Any, events: Any, count: int, marks: Any) -> None:
    """Follow what the strategy's account has through the events of a command, and mark those that its story is told by."""
    account = pump["account"]
    view["bought_qty"] = 0
    view["sold_qty"] = 0
    view["filled_id"] = 0
    leaf = -1
    for at in range(pump["event"], count):
        event = events[at]
        if event["series"] != 0 and event["kind"] < REFUSED_KIND:
            view["series"] = event["series"]
        if event["event_seq"] >= 0:
            view["event_seq"] = event["event_seq"]
            leaf = at
        view["time_ns"] = event["time_ns"]
        kind = event["kind"]
        if kind == FILL_KIND and (event["account"] == account or event["other_account"] == account):
            first = event["account"] == account
            buys = (event["side"] == 1) == first
            qty = np.int64(event["qty"])
            fee = event["fee"] if first else event["other_fee"]
            if buys:
                units[event["series"]] += qty
                view["cash"] -= event["price"] * qty + fee
                view["bought_qty"] += qty
            else:
                units[event["series"]] -= qty
                view["cash"] += event["price"] * qty - fee - event["amount"]
                view["sold_qty"] += qty
            view["filled_id"] = event["order_id"] if first else event["other_order_id"]
            mark(pump, marks, at)
        elif kind == PAID_OUT_KIND and event["account"] == account:
            view["cash"] += event["amount"]
            mark(pump, marks, at)
        elif kind in (DECAYED_KIND, EXPIRED_KIND, DEFAULTED_KIND):
            if kind != DECAYED_KIND:
                units[event["series"]] = 0  # whatever is paid for them
            mark(pump, marks, at)
    pump["event"] = count
    if pump["feed"] % pump["sample_step"] == 0 and pump["is_own"] == 0 and leaf >= 0:
        mark(pump, marks, leaf)


def _show(view: Any, card: Any, units: Any, series: int) -> None:
    """Show a series as it is now."""
    view["series"] = series
    view["bid"] = card["bid"]
    view["bid_qty"] = card["bid_qty"]
    view["ask"] = card["ask"]
    view["ask_qty"] = card["ask_qty"]
    view["value"] = card["value"]
    view["last_price"] = card["last_price"]
    view["last_qty"] = card["last_qty"]
    view["to_last_trade_ns"] = card["last_trade_ns"] - view["time_ns"]
    view["position"] = units[series]


def _send(pump: Any, orders: Any, pending: Any, at: int, arrives_ns: int) -> None:
    """Let an order be on its way, behind those that arrive at the same time."""
    place = pump["head"] + pump["pending"]
    while place > pump["head"] and pending[place - 1]["time_ns"] > arrives_ns:
        pending[place] = pending[place - 1]
        place -= 1
    pending[place] = orders[at]
    pending[place]["time_ns"] = arrives_ns
    pending[place]["account"] = pump["account"]
    pump["pending"] += 1
    pump["sent"] += 1


def _pump(
    step: Any, pump: Any, view: Any, memory: Any, orders: Any, feed: Any, latency: Any, rows: Any, pending: Any, units: Any,
    marks: Any, events: Any, world: Any, flow: Any, cards: Any, engine: Any, engine_state: Any, reader: Any, reader_state: Any,
) -> Any:  # fmt: skip
    """Go on until Python has something to do: STATUS. Each table is an array; those of one row are read as that."""
    p, v, w, f = pump[0], view[0], world[0], flow[0]
    while True:
        if p["stage"] == CHOOSE:
            status = choose(p, feed, rows, pending, w)
            if status >= 0:
                return status
            p["stage"] = RUN
        if p["stage"] == RUN:
            ended = call_entry10(engine, engine_state, OP_RUN, p["ran"] + 1, 0, 0, 0, 0, 0, 0, 0)
            if ended != 0:
                return ENGINE + ended
            f["row"] = p["event"]
            p["stage"] = READ
        count = np.int64(w["event_count"])
        if p["stage"] == READ:
            more = count - p["event"]
            if (f["trade_rows"] > 0 and f["trades"] + more > f["trade_rows"]) or (
                f["quote_rows"] > 0 and f["quotes"] + more >= f["quote_rows"]
            ):
                return NO_ROOM
            if p["marks"] + more >= len(marks):
                return NO_MARKS
            ended = call_entry6(reader, reader_state, OP_READ, count, 0, 0, 0)
            if ended != 0:
                return READER + ended
            p["stage"] = END
        if p["stage"] == END:
            ended = call_entry6(reader, reader_state, OP_END, 0, 0, 0, 0)
            if ended != 0:
                return READER + ended
            look(p, v, units, events, count, marks)
            p["stage"] = LOOK
        at = p["ran"]
        if p["stage"] == LOOK:
            # What the command's events were about; the last series shown, if about none.
            series = v["series"]
            if 0 < series < min(len(cards), len(units)):
                show(v, cards[series], units, series)
            v["is_own"] = p["is_own"]
            p["stage"] = STEP
        if p["head"] + p["pending"] + ORDERS > len(pending):
            return CROWDED
        v["next_id"] += 1  # also where the last one was not used
        sent = step(v, memory, orders)
        p["calls"] += 1
        after = latency[max(p["feed"] - 1, 0) * p["latency_step"]]
        for number in range(min(sent, ORDERS)):
            kind = orders[number]["kind"]
            if kind not in (PLACE_KIND, AMEND_KIND, CANCEL_KIND):
                return NO_ORDER
            send(p, orders, pending, number, v["time_ns"] + after)
            orders[number]["kind"] = 0  # so that it is not sent again unless it is written again
            v["next_id"] += 1
        p["ran"] = at + 1
        p["stage"] = CHOOSE
        if p["stops_at_fills"] != 0 and v["filled_id"] != 0:
            return FILLED


choose, mark, look, show, send = (open_kernel(function) for function in (_choose, _mark, _look, _show, _send))
pump_run: Any = open_kernel(_pump)
