"""Follows a market from its events: every queue, the best prices, trades, and what is known of each series.

    EVENT ─┬─ of orders ─► arriving ─► the book's own queues ─► totals of levels ─► QUOTE where the best changed
           ├─ FILL ──────► TRADE
           └─ of series ─► CARD

The queues are those of `book`: same tables, same trie, with a total beside each level so that the best quantity is
read and not summed. Nothing is matched here: that a maker was hit, and which, is what the events say.

An order that has just been accepted is *arriving*: it is kept apart until the next event that is not about it, so that a
taker that is filled at once never enters a queue. A third party knows its place all the same: a taker never trades with
its own side, so its place at the end of its level is the place it will have. How icebergs and amends keep or lose
their place is said in `reference.marketdata`, which does the same in plain Python and is the judge.

What is best is looked at when a command is over, and only of series that it touched. So a book is never seen crossed
but in a call phase. Costs: O(1) an event, and what `book` takes for a new level.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from rightsx._jit import exact, kernel, leaf, narrow, table, wide
from rightsx.book import (
    BOOK_TABLES,
    FLAG_BITS,
    FLAG_MASK,
    HALF,
    ICEBERG,
    NIL,
    cell_at,
    has_room,
    id_find,
    id_put,
    id_remove,
    ids_enter,
    level_next,
    level_price,
    node_at,
    open_qty,
    order_at,
    order_show,
    order_shrink,
    part_at,
    queue_append,
    queue_remove,
    queue_requeue,
    side_at,
    slot_free,
    slot_take,
)
from rightsx.protocol import EVENT, EventKind, FillFlag

# ── records ──────────────────────────────────────────────────────────────────────────────────────

TOTAL: Final = np.dtype([("qty", "<i8"), ("orders", "<i8")])  # of a level: what it shows
FLOW: Final = np.dtype(
    [
        (name, "<i8")
        for name in (
            "row",  # the event that is next
            "series_rows",
            "command_seq",  # whose events are being read
            "event_seq",
            "time_ns",
            "arriving",  # the order that was just accepted, 0 for none
            "arriving_side",
            "arriving_price",
            "arriving_qty",
            "arriving_display",
            "arriving_account",
            "touched",  # the first of a list of series
            "trades",  # written
            "trade_rows",  # 0 if none are wanted
            "quotes",
            "quote_rows",
        )
    ]
)
CARD: Final = np.dtype(
    [
        (name, "<i8")
        for name in (
            "par",
            "value",  # v(t)
            "issue_price",
            "authorised",
            "last_trade_ns",
            "expire_ns",
            "outstanding",  # N
            "escrow",  # E
            "sold",
            "issued_face",
            "redeemed_face",
            "decayed_face",
            "refunded_face",
            "bought_back_face",
            "expired_face",
            "defaulted_face",
            "last_price",
            "last_qty",
            "last_ns",
            "volume",
            "trades",
            "bid",
            "bid_qty",
            "ask",
            "ask_qty",
        )
    ]
    + [(name, "<i4") for name in ("merchant", "product", "halted", "closed", "is_touched", "next_touched")]
)
TRADE: Final = np.dtype(
    [
        ("time_ns", "<i8"),
        ("event_seq", "<i8"),
        ("price", "<i8"),
        ("qty", "<i8"),
        ("value", "<i8"),  # v(t) when it was made
        ("taker_order", "<i8"),  # in an auction the buyer's
        ("maker_order", "<i8"),
        ("taker", "<u4"),
        ("maker", "<u4"),
        ("series", "<u4"),
        ("side", "u1"),  # the taker's
        ("flags", "u1"),  # FillFlag bits
        ("unused", "<u2"),
    ]
)
QUOTE: Final = np.dtype(
    [
        ("time_ns", "<i8"),
        ("event_seq", "<i8"),  # of the command's last event
        ("bid", "<i8"),
        ("bid_qty", "<i8"),  # 0 for no bid
        ("ask", "<i8"),
        ("ask_qty", "<i8"),
        ("value", "<i8"),
        ("series", "<u4"),
        ("unused", "<u4"),
    ]
)
QUEUED: Final = np.dtype(
    [
        ("order_id", "<i8"),
        ("price", "<i8"),
        ("open_qty", "<i8"),
        ("shown_qty", "<i8"),
        ("ahead_qty", "<i8"),  # shown before it at its price
        ("place", "<i4"),  # in the queue of its price, from 0
        ("account", "<u4"),
    ]
)
SHOWN: Final = np.dtype([("price", "<i8"), ("qty", "<i8"), ("orders", "<i8")])
EVENT_TABLES: Final = (*BOOK_TABLES, TOTAL, FLOW, CARD, EVENT, TRADE, QUOTE, SHOWN, QUEUED)
TOTALS, FLOWS, CARDS, EVENTS, TRADES, QUOTES, LEVELS, QUEUES = range(7, 15)
total_at = table(TOTALS, TOTAL)
flow_at = table(FLOWS, FLOW)
card_at = table(CARDS, CARD)
event_at = table(EVENTS, EVENT)
trade_at = table(TRADES, TRADE)
quote_at = table(QUOTES, QUOTE)
level_at = table(LEVELS, SHOWN)
queued_at = table(QUEUES, QUEUED)

# Enums as plain integers: a kernel takes no objects.
ACCEPTED, FILL, CANCELLED = int(EventKind.ACCEPTED), int(EventKind.FILL), int(EventKind.CANCELLED)
AMENDED, TRIGGERED, REPRICED = int(EventKind.AMENDED), int(EventKind.TRIGGERED), int(EventKind.REPRICED)
SOLD, GRANTED, IMPORTED = int(EventKind.SOLD), int(EventKind.GRANTED), int(EventKind.IMPORTED)
REDEEMED, REFUNDED = int(EventKind.REDEEMED), int(EventKind.REFUNDED)
VOUCHER_REDEEMED, VOUCHER_LAPSED = int(EventKind.VOUCHER_REDEEMED), int(EventKind.VOUCHER_LAPSED)
ESCROW_RELEASED, DECAYED = int(EventKind.ESCROW_RELEASED), int(EventKind.DECAYED)
TRADING_ENDED, EXPIRED = int(EventKind.TRADING_ENDED), int(EventKind.EXPIRED)
SERIES_DEFAULTED, HALTED, RESUMED = int(EventKind.SERIES_DEFAULTED), int(EventKind.HALTED), int(EventKind.RESUMED)
LISTED, REFUSED = int(EventKind.LISTED), int(EventKind.REFUSED)
IN_AUCTION, BUYBACK = int(FillFlag.AUCTION), int(FillFlag.BUYBACK)
assert IN_AUCTION == 1

# How a call ends: all read; the book's tables are short; those of series are; an event does not go on from those before it.
DONE, GROW, MORE_SERIES, STRANGE = 0, 1, 2, 3

# ── queues with totals ───────────────────────────────────────────────────────────────────────────


@leaf
def order_rest(state: int, slot: int, side: int, price: int) -> None:
    """Let an order that shows something stand at the end of its price."""
    queue_append(state, side, slot, price, (side & 1) - 1)
    order = order_at(state, slot)
    total = total_at(state, wide(order["level"]))
    shown = order["word"] >> FLAG_BITS
    if order["prev"] == NIL:  # alone: what stood here is of a level that is gone
        total["qty"] = shown
        total["orders"] = 1
    else:
        total["qty"] = total["qty"] + shown
        total["orders"] = total["orders"] + 1


@leaf
def order_leave(state: int, slot: int) -> None:
    """Take an order out of its queue, if it stands in one."""
    order = order_at(state, slot)
    level = wide(order["level"])
    if level != NIL:
        total = total_at(state, level)
        total["qty"] = total["qty"] - (order["word"] >> FLAG_BITS)
        total["orders"] = total["orders"] - 1
        queue_remove(state, slot)
        order["level"] = NIL


@leaf
def order_forget(state: int, slot: int) -> None:
    """Forget an order that is finished."""
    order_leave(state, slot)
    id_remove(state, order_at(state, slot)["id"], slot)
    slot_free(state, slot)


@kernel
def order_make(state: int, order_id: int, account: int, qty: int, display: int) -> int:
    """Enter an order that shows what it will when it rests, and stands in no queue yet; gives its slot."""
    slot = slot_take(state)
    order = order_at(state, slot)
    order["id"] = order_id
    order["account"] = narrow(account)
    order["level"] = NIL
    order["word"] = 0 if display == 0 else ICEBERG
    part_at(state, slot)["display"] = display
    order_show(state, slot, qty)
    id_put(state, order_id, slot)
    return slot


@leaf
def total_change(state: int, slot: int, shown_before: int) -> None:
    """Let a level's total follow what one of its orders shows now."""
    order = order_at(state, slot)
    level = wide(order["level"])
    if level != NIL:
        total = total_at(state, level)
        total["qty"] = total["qty"] + (order["word"] >> FLAG_BITS) - shown_before


# ── orders ───────────────────────────────────────────────────────────────────────────────────────


@leaf
def arriving_rest(state: int) -> None:
    """Let the order that was arriving rest: it is over with it."""
    flow = flow_at(state, 0)
    order_id = flow["arriving"]
    if order_id != 0:
        flow["arriving"] = 0
        slot = order_make(state, order_id, flow["arriving_account"], flow["arriving_qty"], flow["arriving_display"])
        order_rest(state, slot, flow["arriving_side"], flow["arriving_price"])


@kernel
def accepted(state: int, row: int) -> int:
    """Read ACCEPTED: a stop waits outside of every queue, any other order is arriving."""
    event = event_at(state, row)
    side = wide(event["side"])
    qty, display = event["qty"], event["amount"]
    if (side != 1 and side != 2) or qty <= 0 or display < 0 or id_find(state, event["order_id"]) != NIL:
        return STRANGE
    if event["fee"] != 0:
        slot = order_make(state, event["order_id"], wide(event["account"]), qty, display)
        return DONE if slot != NIL else STRANGE
    flow = flow_at(state, 0)
    flow["arriving"] = event["order_id"]
    flow["arriving_side"] = wide(event["series"]) * 2 + side - 1
    flow["arriving_price"] = event["price"]
    flow["arriving_qty"] = qty
    flow["arriving_display"] = display
    flow["arriving_account"] = wide(event["account"])
    return DONE


@kernel
def amended(state: int, row: int) -> int:
    """Read AMENDED, TRIGGERED, which lets a stop that waited enter, or REPRICED, which lets a peg enter anew."""
    event = event_at(state, row)
    slot = id_find(state, event["order_id"])
    side = wide(event["side"])
    if slot == NIL or (side != 1 and side != 2) or event["qty"] <= 0:
        return STRANGE
    order = order_at(state, slot)
    waits = order["level"] == NIL
    if wide(event["kind"]) != AMENDED or wide(event["flags"]) != 0:
        order_leave(state, slot)
        order_show(state, slot, event["qty"])
        if not waits or wide(event["kind"]) == TRIGGERED:
            order_rest(state, slot, wide(event["series"]) * 2 + side - 1, event["price"])
    else:
        before = order["word"] >> FLAG_BITS
        order_shrink(state, slot, event["qty"])
        total_change(state, slot, before)
    return DONE


@kernel
def order_trade(state: int, order_id: int, qty: int, is_taker: int, requeues: int) -> int:
    """Let a resting order have traded: a taker shows anew, a maker the next part when one is gone; `requeues` then, 1 or 0."""
    slot = id_find(state, order_id)
    if slot == NIL:
        return STRANGE
    left = open_qty(state, slot) - qty
    if left < 0:
        return STRANGE
    if left == 0:
        order_forget(state, slot)
        return DONE
    order = order_at(state, slot)
    before = order["word"] >> FLAG_BITS
    shown = before - min(qty, before)
    if is_taker != 0 or shown == 0:
        order_show(state, slot, left)
    else:
        order["word"] = (shown << FLAG_BITS) | (order["word"] & FLAG_MASK)
        if order["word"] & ICEBERG != 0:
            part_at(state, slot)["hidden"] = left - shown
    total_change(state, slot, before)
    if shown == 0 and requeues != 0 and order["prev"] == NIL:
        queue_requeue(state, slot)
    return DONE


@kernel
def filled(state: int, row: int) -> int:
    """Read FILL: both orders have less, and the trade is told."""
    event = event_at(state, row)
    flow = flow_at(state, 0)
    qty = event["qty"]
    in_book = 1 - (wide(event["flags"]) & IN_AUCTION)
    if qty <= 0:
        return STRANGE
    if flow["arriving"] == event["order_id"] and qty <= flow["arriving_qty"]:
        flow["arriving_qty"] = flow["arriving_qty"] - qty
        if flow["arriving_qty"] == 0:
            flow["arriving"] = 0
    elif order_trade(state, event["order_id"], qty, in_book, 0) != DONE:
        return STRANGE
    if order_trade(state, event["other_order_id"], qty, 0, in_book) != DONE:
        return STRANGE
    trade_write(state, row)
    return DONE


@kernel
def trade_write(state: int, row: int) -> None:
    """Tell a trade, and keep what the series' card says of trades."""
    event = event_at(state, row)
    flow = flow_at(state, 0)
    card = card_at(state, wide(event["series"]))
    card["last_price"] = event["price"]
    card["last_qty"] = event["qty"]
    card["last_ns"] = event["time_ns"]
    card["volume"] = card["volume"] + event["qty"]
    card["trades"] = card["trades"] + 1
    if wide(event["flags"]) & BUYBACK != 0:
        card["outstanding"] = card["outstanding"] - event["qty"]
        card["bought_back_face"] = card["bought_back_face"] + event["qty"] * card["value"]
    at = flow["trades"]
    if at < flow["trade_rows"]:
        trade = trade_at(state, at)
        trade["time_ns"] = event["time_ns"]
        trade["event_seq"] = event["event_seq"]
        trade["price"] = event["price"]
        trade["qty"] = event["qty"]
        trade["value"] = card["value"]
        trade["taker_order"] = event["order_id"]
        trade["maker_order"] = event["other_order_id"]
        trade["taker"] = wide(event["account"])
        trade["maker"] = wide(event["other_account"])
        trade["series"] = wide(event["series"])
        trade["side"] = wide(event["side"])
        trade["flags"] = wide(event["flags"])
        trade["unused"] = 0
        flow["trades"] = at + 1


@leaf
def cancelled(state: int, row: int) -> int:
    """Read CANCELLED."""
    flow = flow_at(state, 0)
    order_id = event_at(state, row)["order_id"]
    if flow["arriving"] == order_id:
        flow["arriving"] = 0
        return DONE
    slot = id_find(state, order_id)
    if slot == NIL:
        return STRANGE
    order_forget(state, slot)
    return DONE


@leaf
def order_event(state: int, row: int, kind: int) -> int:
    """Read an event about an order, after whoever was arriving is over with it."""
    flow = flow_at(state, 0)
    event = event_at(state, row)
    series = wide(event["series"])
    card = card_at(state, series)
    if card["is_touched"] == 0:
        card["is_touched"] = 1
        card["next_touched"] = flow["touched"]
        flow["touched"] = series
    if flow["arriving"] != event["order_id"] or (kind != FILL and kind != CANCELLED):
        arriving_rest(state)
    if kind == ACCEPTED:
        return accepted(state, row)
    if kind == FILL:
        return filled(state, row)
    return cancelled(state, row) if kind == CANCELLED else amended(state, row)


# ── series ───────────────────────────────────────────────────────────────────────────────────────


@kernel
def series_event(state: int, row: int, kind: int) -> None:
    """Keep a series' card by an event that is not about an order."""
    event = event_at(state, row)
    card = card_at(state, wide(event["series"]))
    qty, amount = event["qty"], event["amount"]
    if kind == SOLD or kind == GRANTED or kind == IMPORTED:
        card["outstanding"] = card["outstanding"] + qty
        card["sold"] = card["sold"] + qty
        card["issued_face"] = card["issued_face"] + qty * card["value"]
        card["escrow"] = card["escrow"] + event["other_fee"]
    elif kind == REDEEMED or kind == VOUCHER_REDEEMED:
        card["outstanding"] = card["outstanding"] - qty
        card["redeemed_face"] = card["redeemed_face"] + amount
    elif kind == REFUNDED:
        card["outstanding"] = card["outstanding"] - qty
        card["refunded_face"] = card["refunded_face"] + qty * event["price"]
    elif kind == DECAYED:
        card["value"] = event["price"]
        card["decayed_face"] = card["decayed_face"] + amount
    elif kind == VOUCHER_LAPSED:
        card["decayed_face"] = card["decayed_face"] + amount
    elif kind == ESCROW_RELEASED:
        card["escrow"] = card["escrow"] - amount
    elif kind == EXPIRED or kind == SERIES_DEFAULTED:
        card["outstanding"] = 0
        card["escrow"] = card["escrow"] - event["fee"]
        card["closed"] = 1
        if kind == EXPIRED:
            card["expired_face"] = card["expired_face"] + amount
            card["value"] = 0
        else:
            card["defaulted_face"] = card["defaulted_face"] + amount
    else:
        series_change(state, row, kind)


@kernel
def series_change(state: int, row: int, kind: int) -> None:
    """Keep a series' card by its listing, and by what opens and closes it."""
    event = event_at(state, row)
    card = card_at(state, wide(event["series"]))
    if kind == LISTED:
        card["par"] = event["amount"]
        card["value"] = event["fee"]
        card["issue_price"] = event["price"]
        card["authorised"] = event["qty"]
        card["last_trade_ns"] = event["order_id"]
        card["expire_ns"] = event["other_order_id"]
        card["merchant"] = narrow(wide(event["account"]))
        card["product"] = narrow(wide(event["extra"]))
    elif kind == HALTED:
        card["halted"] = 1
    elif kind == RESUMED:
        card["halted"] = 0
    elif kind == TRADING_ENDED:
        card["closed"] = 1


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


@leaf
def best_of(state: int, side: int) -> int:
    """Give the number of the best level of a side, or NIL."""
    return wide(side_at(state, side)["best"])


@kernel
def command_end(state: int) -> None:
    """Let who was arriving rest, and tell what is best now in the series that were touched, where that has changed."""
    arriving_rest(state)
    flow = flow_at(state, 0)
    series = flow["touched"]
    flow["touched"] = 0
    while series != 0:
        card = card_at(state, series)
        bid = bid_qty = ask = ask_qty = 0
        level = best_of(state, 2 * series)
        if level != NIL:
            bid, bid_qty = level_price(state, level), total_at(state, level)["qty"]
        level = best_of(state, 2 * series + 1)
        if level != NIL:
            ask, ask_qty = level_price(state, level), total_at(state, level)["qty"]
        if bid != card["bid"] or bid_qty != card["bid_qty"] or ask != card["ask"] or ask_qty != card["ask_qty"]:
            card["bid"] = bid
            card["bid_qty"] = bid_qty
            card["ask"] = ask
            card["ask_qty"] = ask_qty
            quote_write(state, series)
        card["is_touched"] = 0
        series = wide(card["next_touched"])


@kernel
def quote_write(state: int, series: int) -> None:
    """Tell what is best in a series."""
    flow = flow_at(state, 0)
    at = flow["quotes"]
    if at < flow["quote_rows"]:
        card = card_at(state, series)
        quote = quote_at(state, at)
        quote["time_ns"] = flow["time_ns"]
        quote["event_seq"] = flow["event_seq"]
        quote["bid"] = card["bid"]
        quote["bid_qty"] = card["bid_qty"]
        quote["ask"] = card["ask"]
        quote["ask_qty"] = card["ask_qty"]
        quote["value"] = card["value"]
        quote["series"] = series
        quote["unused"] = 0
        flow["quotes"] = at + 1


@kernel
def events_read(state: int, count: int) -> int:
    """Read events from FLOW's `row` up to `count`; gives how it ended, and what it has not read is not begun."""
    flow = flow_at(state, 0)
    row = flow["row"]
    ended = DONE
    while ended == DONE and row < count:
        event = event_at(state, row)
        kind = wide(event["kind"])
        series = wide(event["series"])
        if kind >= REFUSED:
            row += 1
            continue
        if not has_room(state):
            ended = GROW
        elif series >= flow["series_rows"]:
            ended = MORE_SERIES
        elif event["command_seq"] != flow["command_seq"]:
            command_end(state)
            flow["command_seq"] = event["command_seq"]
        else:
            flow["time_ns"] = event["time_ns"]
            flow["event_seq"] = event["event_seq"]
            if kind <= TRIGGERED or kind == REPRICED:
                ended = order_event(state, row, kind)
            elif series != 0:
                series_event(state, row, kind)
            if ended == DONE:
                row += 1
    flow["row"] = row
    return ended


@kernel
def levels_fill(state: int, side: int, most: int) -> int:
    """Write the best levels of a side, best first; gives how many. O(levels)."""
    level = best_of(state, side)
    count = 0
    while level != NIL and count < most:
        row = level_at(state, count)
        total = total_at(state, level)
        row["price"] = level_price(state, level)
        row["qty"] = total["qty"]
        row["orders"] = total["orders"]
        count += 1
        level = level_next(state, level)
    return count


@kernel
def queues_fill(state: int, side: int, most: int) -> int:
    """Write up to `most` orders of a side in the order in which they would trade; gives how many there are. O(orders)."""
    level = best_of(state, side)
    count = 0
    while level != NIL:
        slot = wide(cell_at(state, level)["head"])
        place = 0
        ahead = 0
        while slot != NIL:
            order = order_at(state, slot)
            if count < most:
                row = queued_at(state, count)
                row["order_id"] = order["id"]
                row["price"] = level_price(state, level)
                row["open_qty"] = open_qty(state, slot)
                row["shown_qty"] = order["word"] >> FLAG_BITS
                row["ahead_qty"] = ahead
                row["place"] = place
                row["account"] = wide(order["account"]) & HALF
            ahead += order["word"] >> FLAG_BITS
            place += 1
            count += 1
            slot = wide(order["next"])
        level = level_next(state, level)
    return count


@kernel
def place_find(state: int, order_id: int) -> int:
    """Write where one order stands as the first row of QUEUES; 1 if it stands in a queue, else 0. O(orders at its price)."""
    slot = id_find(state, order_id)
    if slot == NIL or order_at(state, slot)["level"] == NIL:
        return 0
    level = wide(order_at(state, slot)["level"])
    row = queued_at(state, 0)
    at = wide(cell_at(state, level)["head"])
    ahead = place = 0
    while at != slot:
        ahead += order_at(state, at)["word"] >> FLAG_BITS
        place += 1
        at = wide(order_at(state, at)["next"])
    order = order_at(state, slot)
    row["order_id"] = order_id
    row["price"] = level_price(state, level)
    row["open_qty"] = open_qty(state, slot)
    row["shown_qty"] = order["word"] >> FLAG_BITS
    row["ahead_qty"] = ahead
    row["place"] = place
    row["account"] = wide(order["account"]) & HALF
    return 1 + wide(node_at(state, level >> 6)["side"])


# ── the entry ────────────────────────────────────────────────────────────────────────────────────

READ, END, LEVEL, QUEUE, PLACE, ENTER = range(6)
_exact = exact


@kernel
def _call(state: int, what: int, a: int, b: int, c: int, d: int) -> int:
    """Do one thing of those above."""
    if what == READ:
        return events_read(state, a)
    if what == END:
        if not has_room(state):
            return GROW
        command_end(state)
        return DONE
    if what == LEVEL:
        return levels_fill(state, a, b)
    if what == QUEUE:
        return queues_fill(state, a, b)
    if what == PLACE:
        return place_find(state, a)
    ids_enter(a, b, c, d)
    return 0


def event_entry(state: int, what: int, a: int, b: int, c: int, d: int) -> int:
    """Call the kernel with ints that Python gives."""
    number: int = _call(_exact(state), _exact(what), _exact(a), _exact(b), _exact(c), _exact(d))
    return number
