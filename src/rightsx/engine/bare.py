"""The order book without accounts and money, compiled: COMMANDs in, REPORTs out.

    COMMAND ─┬─ plain (limit, GTC or IOC, nothing else asked) ─► rest, or match and rest
             └─ all else ─► every check in order ─► the same, with icebergs and own orders

The judge is `reference/bare`. One compiled entry, `bare_call`, does it all: a batch, one order given as
plain integers, depth. It stops where a buffer is full or a table is short, says which, and goes on from
there when it is called again: a taker that waits for room for its reports stands in HEAD.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from rightsx._jit import INT64_SIGN, kernel, leaf, narrow, prefetch, table, wide
from rightsx.book import (
    BOOK_TABLES,
    FLAG_BITS,
    FLAG_MASK,
    HALF,
    ICEBERG,
    NIL,
    NOBODY,
    cell_at,
    crosses,
    fillable,
    handle_end,
    has_room,
    head_at,
    iceberg_shows,
    id_find,
    id_put,
    id_remove,
    id_tag,
    idcell_at,
    ids_enter,
    level_drop,
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
    side_at,
    slot_free,
    slot_take,
)
from rightsx.protocol import (
    BOOK_QTY_END,
    COMMAND,
    ICEBERG_PARTS_MAX,
    INT64_MAX,
    REPORT,
    AmendFlag,
    CancelReason,
    CommandKind,
    OrderFlag,
    Refusal,
    ReportKind,
    TimeInForce,
)

LEVEL: Final = np.dtype([("price", "<i8"), ("qty", "<i8"), ("orders", "<i8")])
BARE_TABLES: Final = (*BOOK_TABLES, COMMAND, REPORT, LEVEL)
COMMANDS, REPORTS, LEVELS = 7, 8, 9
command_at = table(COMMANDS, COMMAND)
report_at = table(REPORTS, REPORT)
depth_at = table(LEVELS, LEVEL)

# Enums as plain integers: a kernel takes no objects.
PLACE, AMEND, CANCEL = int(CommandKind.PLACE), int(CommandKind.AMEND), int(CommandKind.CANCEL)
ACCEPTED, FILL, CANCELLED = int(ReportKind.ACCEPTED), int(ReportKind.FILL), int(ReportKind.CANCELLED)
AMENDED, REFUSED = int(ReportKind.AMENDED), int(ReportKind.REFUSED)
GTC, IOC, FOK = int(TimeInForce.GTC), int(TimeInForce.IOC), int(TimeInForce.FOK)
POST_ONLY, CANCEL_MAKER, CANCEL_BOTH = int(OrderFlag.POST_ONLY), int(OrderFlag.CANCEL_MAKER), int(OrderFlag.CANCEL_BOTH)
OWN_MODES: Final = CANCEL_MAKER | CANCEL_BOTH
KNOWN_FLAGS: Final = POST_ONLY | OWN_MODES
NAMES_PRICE, NAMES_QTY = int(AmendFlag.PRICE), int(AmendFlag.QTY)
BY_USER, BY_IOC, BY_SELF_TRADE = int(CancelReason.USER), int(CancelReason.IOC), int(CancelReason.SELF_TRADE)
BAD_QUANTITY, BAD_TERMS, UNKNOWN_SERIES = int(Refusal.BadQuantity), int(Refusal.BadTerms), int(Refusal.UnknownSeries)
ORDER_NOT_OPEN, NOT_OWNER, DUPLICATE_ID = int(Refusal.OrderNotOpen), int(Refusal.NotOwner), int(Refusal.DuplicateId)
POST_ONLY_WOULD_CROSS, FOK_UNFILLABLE = int(Refusal.PostOnlyWouldCross), int(Refusal.FOKUnfillable)
CAPACITY_EXCEEDED: Final = int(Refusal.CapacityExceeded)

# How a call ends: all done, no room for reports, a table is short, a call before it was cut short.
DONE, FULL, GROW, BUSY = 0, 1, 2, 3
REPORTS_PER_STEP: Final = 3  # what a command needs before it begins: accepted, one fill, cancelled
DEEP: Final = 65_536  # live orders from which asking memory early pays
AHEAD: Final = 16  # commands

# ── reports ──────────────────────────────────────────────────────────────────────────────────────


@leaf
def report_write(
    state: int, at: int, kind: int, order_id: int, other: int, price: int, qty: int, index: int, series: int, account: int,
    side: int, code: int,
) -> None:  # fmt: skip
    """Write one REPORT."""
    row = report_at(state, at)
    row["order_id"] = order_id
    row["other_order_id"] = other
    row["price"] = price
    row["qty"] = qty
    row["command_index"] = index
    row["series"] = series
    row["account"] = account
    row["kind"] = kind
    row["side"] = side
    row["code"] = code


@kernel
def report_order(state: int, index: int, kind: int, slot: int, side: int, price: int, qty: int, code: int) -> None:
    """Report something about an order that has a slot."""
    head = head_at(state, 0)
    at = head["report"]
    order = order_at(state, slot)
    account = wide(order["account"]) & HALF
    report_write(state, at, kind, order["id"], 0, price, qty, index, side >> 1, account, (side & 1) + 1, code)
    head["report"] = at + 1


@kernel
def refuse(state: int, index: int, row: int, code: int) -> None:
    """Report that a command was refused; nothing has changed."""
    head = head_at(state, 0)
    at = head["report"]
    command = command_at(state, row)
    report_write(
        state, at, REFUSED, command["order_id"], 0, 0, 0, index, wide(command["series"]), wide(command["account"]),
        wide(command["side"]), code,
    )  # fmt: skip
    head["report"] = at + 1


# ── ids and ends ─────────────────────────────────────────────────────────────────────────────────


@leaf
def order_find(state: int, order_id: int) -> int:
    """Give the slot of a live order by its id or handle, or NIL."""
    head = head_at(state, 0)
    if head["handles"] == 0:
        return id_find(state, order_id)
    slot = order_id & HALF
    # A freed slot keeps its next handle with the sign turned: no number below 1 names an order.
    if order_id > 0 and NIL < slot < head["order_used"] and order_at(state, slot)["id"] == order_id:
        return slot
    return NIL


@leaf
def order_end(state: int, slot: int) -> None:
    """Forget an order that is in no queue: its id or handle is void, its slot free."""
    if head_at(state, 0)["handles"] == 0:
        id_remove(state, order_at(state, slot)["id"], slot)
    else:
        handle_end(state, slot)
    slot_free(state, slot)


# ── matching ─────────────────────────────────────────────────────────────────────────────────────


@kernel
def taker_match(
    state: int, index: int, order_id: int, side: int, price: int, wanted: int, account: int, flags: int
) -> int:  # fmt: skip
    """Match a taker that crosses, best price first, then front of the queue (R16).

    Gives rest × 4 + how it ended: 0 nothing more crosses, 1 no room for reports, 2 it met an own order
    that cancels it (R42). Writes a FILL for each match and a CANCELLED for each own maker.
    """
    head = head_at(state, 0)
    at = head["report"]
    room = head["report_rows"] - 1
    other = side_at(state, side ^ 1)
    other_mask = (side & 1) - 1  # of the other side: −1 for bids
    other_mask = -1 - other_mask
    limit = price ^ other_mask
    own = narrow(account) if account != 0 else NOBODY
    series = side >> 1
    face = (side & 1) + 1
    rest = wanted
    ended = 0
    while rest > 0 and other["best"] != NIL and other["best_key"] <= limit and ended == 0:
        level = other["best"]
        cell = cell_at(state, level)
        slot = wide(cell["head"])
        traded_at = other["best_key"] ^ other_mask
        while True:
            if at >= room:
                ended = 1
                break
            maker = order_at(state, slot)
            if wide(maker["account"]) == own:
                ended = 2
                break
            word = maker["word"]
            shown = word >> FLAG_BITS
            qty = min(rest, shown)
            rest -= qty
            report_write(state, at, FILL, order_id, maker["id"], traded_at, qty, index, series, account, face, 0)
            at += 1
            if qty < shown:
                maker["word"] = word - (qty << FLAG_BITS)
                break
            after = wide(maker["next"])
            if word & ICEBERG != 0:
                if iceberg_shows(state, slot):
                    if after == NIL:
                        break  # alone at its price: it stays where it is
                    maker["prev"] = cell["tail"]
                    order_at(state, cell["tail"])["next"] = slot
                    maker["next"] = NIL
                    cell["tail"] = slot
                else:
                    order_end(state, slot)
            else:
                order_end(state, slot)
            slot = after
            if slot == NIL or rest == 0:
                break
        if slot == NIL:
            level_drop(state, level)
        else:  # also where the head is the same: an iceberg may have come round behind a maker that is gone
            cell["head"] = slot
            order_at(state, slot)["prev"] = NIL
        if ended == 2 and flags & OWN_MODES != 0:
            head["report"] = at
            own_cancel(state, index, slot)
            at += 1
            if flags & CANCEL_MAKER != 0:
                ended = 0
    head["report"] = at
    return rest * 4 + ended


@kernel
def own_cancel(state: int, index: int, slot: int) -> None:
    """Cancel a maker of the taker's own (R42)."""
    level = wide(order_at(state, slot)["level"])
    side = wide(node_at(state, level >> 6)["side"])
    report_order(state, index, CANCELLED, slot, side, level_price(state, level), open_qty(state, slot), BY_SELF_TRADE)
    queue_remove(state, slot)
    order_end(state, slot)


@kernel
def taker_enter(state: int, index: int, slot: int, side: int, price: int, wanted: int, hasty: int) -> int:
    """Match an order that has a slot and its id, and rest, cancel or finish what is left.

    `hasty` is 1 for an order that may not rest. Gives DONE, or FULL with the taker kept in HEAD.
    """
    head = head_at(state, 0)
    order = order_at(state, slot)
    flags = order["word"] & FLAG_MASK
    rest = wanted
    ended = 0
    if crosses(state, side ^ 1, price, -1 - ((side & 1) - 1)):
        answer = taker_match(state, index, order["id"], side, price, wanted, wide(order["account"]) & HALF, flags)
        rest = answer >> 2
        ended = answer & 3
    head["resuming"] = 0
    if ended == 1:
        head["resuming"] = 1
        head["taker"] = slot
        head["taker_side"] = side
        head["taker_rest"] = rest
        head["taker_price"] = price
        head["taker_ioc"] = hasty
        return FULL
    if ended == 2 or (rest > 0 and hasty != 0):
        report_order(state, index, CANCELLED, slot, side, price, rest, BY_SELF_TRADE if ended == 2 else BY_IOC)
        order_end(state, slot)
    elif rest == 0:
        order_end(state, slot)
    else:
        order_show(state, slot, rest)
        queue_append(state, side, slot, price, (side & 1) - 1)
    return DONE


# ── placing ──────────────────────────────────────────────────────────────────────────────────────


@kernel
def place_refusal(state: int, row: int) -> int:
    """Make every check of a new order, in RULES.md's order: the refusal, or 0."""
    head = head_at(state, 0)
    command = command_at(state, row)
    qty, display, flags = command["qty"], command["display"], wide(command["flags"])
    tif, side = wide(command["time_in_force"]), wide(command["side"])
    hidden = display != 0 and not (display > 0 and display < qty and qty // ICEBERG_PARTS_MAX <= display)
    if qty <= 0 or qty >= BOOK_QTY_END or hidden or (display != 0 and qty > ICEBERG_PARTS_MAX * display):
        return BAD_QUANTITY
    if side not in (1, 2) or tif not in (GTC, IOC, FOK) or flags & ~KNOWN_FLAGS != 0 or flags & OWN_MODES == OWN_MODES:
        return BAD_TERMS
    if (flags & POST_ONLY != 0 and tif != GTC) or command["stop_price"] != 0 or command["deadline_ns"] != 0:
        return BAD_TERMS
    handles = head["handles"] != 0
    if (handles and command["order_id"] != 0) or (not handles and command["order_id"] <= 0):
        return BAD_TERMS
    if wide(command["series"]) * 2 >= head["sides"]:
        return UNKNOWN_SERIES
    if not handles and id_find(state, command["order_id"]) != NIL:
        return DUPLICATE_ID
    number = wide(command["series"]) * 2 + side - 1
    if flags & POST_ONLY != 0 and crosses(state, number ^ 1, command["price"], -1 - ((number & 1) - 1)):
        return POST_ONLY_WOULD_CROSS
    if tif == FOK and fillable(state, number, command["price"], qty, wide(command["account"]), flags) < qty:
        return FOK_UNFILLABLE
    if head["live"] >= head["live_limit"]:
        return CAPACITY_EXCEEDED
    return 0


@kernel
def place_general(state: int, index: int, row: int) -> int:
    """Place an order that may ask for anything; gives DONE or FULL."""
    code = place_refusal(state, row)
    if code != 0:
        refuse(state, index, row, code)
        return DONE
    # From here the command must succeed.
    command = command_at(state, row)
    slot = slot_take(state)
    order = order_at(state, slot)
    number = wide(command["series"]) * 2 + wide(command["side"]) - 1
    flags = wide(command["flags"])
    if command["display"] != 0:
        flags |= ICEBERG
        part_at(state, slot)["display"] = command["display"]
    order["word"] = flags
    order["account"] = narrow(wide(command["account"]))
    if head_at(state, 0)["handles"] == 0:
        order["id"] = command["order_id"]
        id_put(state, command["order_id"], slot)
    else:
        order["id"] = order["id"] ^ INT64_SIGN
    report_order(state, index, ACCEPTED, slot, number, command["price"], command["qty"], 0)
    hasty = 0 if wide(command["time_in_force"]) == GTC else 1
    return taker_enter(state, index, slot, number, command["price"], command["qty"], hasty)


@leaf
def place(state: int, index: int, row: int) -> int:
    """Place an order: the plain one here, any other by `place_general`; gives DONE or FULL."""
    head = head_at(state, 0)
    command = command_at(state, row)
    qty = command["qty"]
    face = wide(command["side"])
    tif = wide(command["time_in_force"])
    series = wide(command["series"])
    order_id = command["order_id"]
    number = series * 2 + face - 1
    asks = wide(command["flags"]) | command["display"] | command["stop_price"] | command["deadline_ns"]
    known = qty > 0 and qty < BOOK_QTY_END and (face == 1 or face == 2) and number < head["sides"]
    named = order_id > 0 if head["handles"] == 0 else order_id == 0
    if asks != 0 or not known or not named or tif != GTC or head["live"] >= head["live_limit"]:
        return place_general(state, index, row)
    if head["handles"] == 0 and id_find(state, order_id) != NIL:
        refuse(state, index, row, DUPLICATE_ID)
        return DONE
    # From here the command must succeed.
    price = command["price"]
    account = wide(command["account"])
    slot = slot_take(state)
    order = order_at(state, slot)
    if head["handles"] != 0:
        order_id = order["id"] ^ INT64_SIGN
    order["id"] = order_id
    order["account"] = narrow(account)
    at = head["report"]
    report_write(state, at, ACCEPTED, order_id, 0, price, qty, index, series, account, face, 0)
    head["report"] = at + 1
    if crosses(state, number ^ 1, price, -1 - ((number & 1) - 1)):
        order["word"] = 0
        if head["handles"] == 0:
            id_put(state, order_id, slot)
        return taker_enter(state, index, slot, number, price, qty, 0)
    order["word"] = qty << FLAG_BITS
    queue_append(state, number, slot, price, (number & 1) - 1)
    if head["handles"] == 0:
        id_put(state, order_id, slot)
    return DONE


# ── cancelling and amending ──────────────────────────────────────────────────────────────────────


@leaf
def cancel(state: int, index: int, row: int) -> None:
    """Cancel a resting order for its owner."""
    command = command_at(state, row)
    slot = order_find(state, command["order_id"])
    if slot == NIL:
        refuse(state, index, row, ORDER_NOT_OPEN)
        return
    order = order_at(state, slot)
    account = wide(command["account"])
    if wide(order["account"]) != narrow(account):
        refuse(state, index, row, NOT_OWNER)
        return
    # From here the command must succeed.
    head = head_at(state, 0)
    level = wide(order["level"])
    number = wide(node_at(state, level >> 6)["side"])
    qty = order["word"] >> FLAG_BITS
    if order["word"] & ICEBERG != 0:
        qty = open_qty(state, slot)
    at = head["report"]
    price = level_price(state, level)
    report_write(
        state, at, CANCELLED, order["id"], 0, price, qty, index, number >> 1, account, (number & 1) + 1, BY_USER
    )  # fmt: skip
    head["report"] = at + 1
    queue_remove(state, slot)
    order_end(state, slot)


@kernel
def amend_refusal(state: int, row: int, slot: int) -> int:
    """Make the checks of an amend that come before its price is known to cross: the refusal, or 0."""
    command = command_at(state, row)
    flags, qty = wide(command["flags"]), command["qty"]
    if flags & NAMES_QTY != 0 and (qty <= 0 or qty >= BOOK_QTY_END):
        return BAD_QUANTITY
    if slot != NIL and order_at(state, slot)["word"] & ICEBERG != 0:
        wanted = qty if flags & NAMES_QTY != 0 else open_qty(state, slot)
        if wanted > ICEBERG_PARTS_MAX * part_at(state, slot)["display"]:
            return BAD_QUANTITY
    if flags not in (1, 2, 3):
        return BAD_TERMS
    if slot == NIL:
        return ORDER_NOT_OPEN
    if wide(order_at(state, slot)["account"]) != narrow(wide(command["account"])):
        return NOT_OWNER
    return 0


@kernel
def amend(state: int, index: int, row: int) -> int:
    """Lower an order in place, or cancel and re-enter it as one command (R38); gives DONE or FULL."""
    command = command_at(state, row)
    slot = order_find(state, command["order_id"])
    code = amend_refusal(state, row, slot)
    if code != 0:
        refuse(state, index, row, code)
        return DONE
    flags = wide(command["flags"])
    order = order_at(state, slot)
    level = wide(order["level"])
    number = wide(node_at(state, level >> 6)["side"])
    before = open_qty(state, slot)
    qty = command["qty"] if flags & NAMES_QTY != 0 else before
    price = command["price"] if flags & NAMES_PRICE != 0 else level_price(state, level)
    if price == level_price(state, level) and qty <= before:
        # From here the command must succeed.
        order_shrink(state, slot, qty)
        report_order(state, index, AMENDED, slot, number, price, qty, 0)
        return DONE
    if order["word"] & POST_ONLY != 0 and crosses(state, number ^ 1, price, -1 - ((number & 1) - 1)):
        refuse(state, index, row, POST_ONLY_WOULD_CROSS)
        return DONE
    # From here the command must succeed.
    queue_remove(state, slot)
    report_order(state, index, AMENDED, slot, number, price, qty, 1)
    return taker_enter(state, index, slot, number, price, qty, 0)


# ── running ──────────────────────────────────────────────────────────────────────────────────────


@leaf
def ask_early(state: int, row: int, count: int) -> None:
    """Ask memory for what the commands ahead will need: id cells first, then orders, then their neighbours."""
    if row + AHEAD < count and head_at(state, 0)["handles"] == 0:
        order_id = command_at(state, row + AHEAD)["order_id"]
        prefetch(idcell_at(state, id_tag(order_id) >> head_at(state, 0)["id_shift"]))
    if row + AHEAD // 2 < count:
        prefetch(order_at(state, slot_ahead(state, row + AHEAD // 2)))
    if row + AHEAD // 4 < count:
        order = order_at(state, slot_ahead(state, row + AHEAD // 4))
        prefetch(order_at(state, wide(order["next"])))
        prefetch(order_at(state, wide(order["prev"])))
        prefetch(node_at(state, wide(order["level"]) >> 6))


@leaf
def slot_ahead(state: int, row: int) -> int:
    """Guess the slot of the order that a command to come names: an order's, perhaps another one's."""
    head = head_at(state, 0)
    order_id = command_at(state, row)["order_id"]
    if head["handles"] == 0:
        return wide(idcell_at(state, id_tag(order_id) >> head["id_shift"])["slot"])
    slot = order_id & HALF
    return slot if slot < head["order_rows"] else NIL


@kernel
def bare_run(state: int, count: int) -> int:
    """Apply commands from HEAD's `command` to `count`; gives DONE, FULL or GROW, with HEAD saying how far."""
    head = head_at(state, 0)
    row = head["command"]
    ended = DONE
    if head["resuming"] != 0:
        ended = taker_enter(
            state, row, head["taker"], head["taker_side"], head["taker_price"], head["taker_rest"], head["taker_ioc"]
        )  # fmt: skip
        if ended == DONE:
            row += 1
    while ended == DONE and row < count:
        if head["report"] + REPORTS_PER_STEP > head["report_rows"]:
            ended = FULL
            break
        kind = wide(command_at(state, row)["kind"])
        # A cancel needs no room, and where memory is short it is what makes some.
        if kind != CANCEL and not has_room(state):
            ended = GROW
            break
        if head["live"] >= DEEP:
            ask_early(state, row, count)
        if kind == PLACE:
            ended = place(state, row, row)
        elif kind == CANCEL:
            cancel(state, row, row)
        else:
            ended = amend(state, row, row)
        if ended == DONE:
            row += 1
    head["command"] = row
    return ended


@kernel
def depth_fill(state: int, side: int, most: int) -> int:
    """Write (price, shown quantity, orders) of the best levels of a side, best first; gives how many. O(orders shown).

    A quantity that 64 bits cannot say, of a level with 2^23 orders or more, is told as 2^63 − 1.
    """
    level = wide(side_at(state, side)["best"])
    count = 0
    while level != NIL and count < most:
        row = depth_at(state, count)
        qty = 0
        orders = 0
        slot = wide(cell_at(state, level)["head"])
        while slot != NIL:
            order = order_at(state, slot)
            shown = order["word"] >> FLAG_BITS
            qty = qty + shown if qty <= INT64_MAX - shown else INT64_MAX
            orders += 1
            slot = wide(order["next"])
        row["price"] = level_price(state, level)
        row["qty"] = qty
        row["orders"] = orders
        count += 1
        level = level_next(state, level)
    return count


RUN, ONE, DEPTH, ENTER = range(4)


def bare_call(
    state: int, what: int, a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int, i: int
) -> int:  # fmt: skip
    """Do one of four things: RUN a rows, ONE command of nine numbers, DEPTH of side a, b levels, ENTER ids (`ids_enter`).

    ONE is BUSY, and does nothing, while a command waits for room or the rows of commands are another's.
    """
    if what == DEPTH:
        return depth_fill(state, a, b)
    if what == ENTER:
        ids_enter(a, b, c, d)
        return 0
    count = a
    head = head_at(state, 0)
    if what == ONE:
        if head["resuming"] | head["held"] != 0:
            return BUSY
        command = command_at(state, 0)
        command["kind"] = a & 255
        command["side"] = (a >> 8) & 255
        command["time_in_force"] = (a >> 16) & 255
        command["flags"] = (a >> 24) & 255
        command["series"] = b
        command["account"] = c
        command["order_id"] = d
        command["price"] = e
        command["qty"] = f
        command["display"] = g
        command["stop_price"] = h
        command["deadline_ns"] = i
        head["command"] = 0
        head["report"] = 0
        count = 1
    ended = bare_run(state, count)
    return (head["report"] << 2) | ended
