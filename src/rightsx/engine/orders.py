"""Orders: entering, matching, stops, amending, cancelling (R16 … R19, R26, R38 … R43, R48).

    place ─ admit ─► ACCEPTED ─┬─► waits as a stop ┄┄ a trade reaches its price ┄┄► TRIGGERED ─┐
                               └───────────────────────────────────────────────────────────────┴─► enter
    enter ─ match ─► FILL* ─► what is left rests, or is cancelled with its reason

The plain order (a limit, good till cancelled, nothing else asked, nobody under limits) is accepted by one
test over numbers that `series_refresh` keeps ready; whatever fails it goes the long way through every
check in order, so the short way never has to say why not. Matching is the task MATCH: it stops between
two fills where there is no room. An order that is being matched, or waits as a stop, has its whole open
quantity in its `word`; only in the book is a part of it hidden.
"""

from __future__ import annotations

from rightsx._jit import kernel, leaf, narrow, wide
from rightsx.accounts import (
    OLD_ENOUGH,
    account_at,
    account_known,
    funds_at,
    holding_at,
    holding_find,
    lots_return,
    lots_split,
    lots_take,
)
from rightsx.book import (
    FLAG_BITS,
    FLAG_MASK,
    ICEBERG,
    cell_at,
    crosses,
    head_at,
    iceberg_shows,
    id_find,
    id_put,
    id_remove,
    level_next,
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
from rightsx.engine.entry import (
    DRAFT,
    check_entry,
    check_funds,
    check_limit_price,
    check_place_numbers,
    check_price,
    check_sizes,
    check_trading,
    entry_refusal,
    peg_limit,
    plain_limit,
    plan_limit,
    side_mask,
    side_of,
)
from rightsx.engine.holders import check_account
from rightsx.engine.numbers import (
    BAD_QUANTITY,
    BAD_TERMS,
    BUY,
    BUYBACK,
    BUYBACK_FLAG_REQUIRED,
    BY_GTD,
    BY_IOC,
    BY_SELF_TRADE,
    BY_USER,
    CANCEL_MAKER,
    CAPACITY_EXCEEDED,
    DUPLICATE_ID,
    E_ACCEPTED,
    E_AMENDED,
    E_CANCELLED,
    E_REPRICED,
    E_TRIGGERED,
    F_ACCOUNT,
    F_FLAGS,
    F_ORDER_ID,
    F_PRICE,
    F_QTY,
    F_SERIES,
    F_SIDE,
    FOK,
    GTC,
    GTD,
    IOC,
    MARKET,
    MERCHANT_CANNOT_RESELL,
    NOT_OWNER,
    ORDER_NOT_OPEN,
    OUTSIDE_PRICE_BAND,
    OWN_MODES,
    PEG,
    PRICE_ABOVE_CAP,
    RANK_ORDER,
    RESALE_FORBIDDEN,
    SELL,
    SERIES_HALTED,
    STOP_FALL,
    STOP_RISE,
    T_ORDER_DUE,
    UNKNOWN_SERIES,
)
from rightsx.engine.references import check_reference, memo_cancel, memo_order
from rightsx.engine.settle import lock_due, relock, settle_fill
from rightsx.engine.state import (
    DONE,
    GROW,
    LOOSE,
    MORE,
    NIL,
    RESTING,
    WAITING,
    band_high,
    band_low,
    cap_of,
    command_at,
    event_about,
    event_at,
    event_begin,
    has_stops,
    holding_of,
    holding_tidy,
    no,
    open_set,
    own_at,
    plan_find,
    room_for_holding,
    room_for_plain,
    room_for_step,
    scratch_at,
    scratch_short,
    scratch_sort,
    scratch_write,
    series_at,
    series_known,
    task_at,
    task_pop,
    task_push,
    ticket_at,
    timer_arm,
    timer_disarm,
    world_at,
)
from rightsx.engine.tasks import K_MATCH, K_STOPS
from rightsx.protocol import CALLER_ID_FIRST, ICEBERG_PARTS_MAX, QTY_END

NAMES_PRICE, NAMES_QTY = 1, 2  # AmendFlag

# ── accepting ────────────────────────────────────────────────────────────────────────────────────


@leaf
def place_plain(state: int, row: int) -> bool:
    """Accept a plain order if nothing can speak against it, and match or rest it; False has changed nothing."""
    command = command_at(state, row)
    series = wide(command["series"])
    account = wide(command["account"])
    order_id = command["order_id"]
    asks = wide(command["flags"]) | command["display"] | command["stop_price"] | command["deadline_ns"] | wide(command["ref"])
    if asks != 0 or wide(command["time_in_force"]) != GTC or not series_known(state, series) or not account_known(state, account):
        return False
    world = world_at(state, 0)
    terms = series_at(state, series)
    price, qty, side = command["price"], command["qty"], wide(command["side"])
    if world["clock_ns"] >= terms["open_until_ns"] or price < terms["price_low"] or price > terms["price_high"]:
        return False
    if qty < terms["size_low"] or qty > terms["size_high"] or (side != BUY and side != SELL) or world["killed"] != 0:
        return False
    head = head_at(state, 0)
    owner = account_at(state, account)
    if owner["restrained"] != 0 or terms["merchant"] == account or head["live"] >= head["live_limit"]:
        return False
    if order_id != 0 and (order_id < CALLER_ID_FIRST or id_find(state, order_id) != NIL):
        return False
    due = 0
    holding = holding_find(state, account, series)
    if side == BUY:
        due = lock_due(price * qty, terms["dear_bps"], 0)
        if due > owner["cash_free"] or (
            holding == NIL and funds_at(state, 0)["holding_count"] >= funds_at(state, 0)["holding_limit"]
        ):
            return False
    elif holding == NIL or wide(holding_at(state, holding)["free_qty"]) < qty:
        return False
    # From here the command must succeed.
    if order_id == 0:
        order_id = world["next_order_id"]
        world["next_order_id"] = order_id + 1
    slot = slot_take(state)
    order = order_at(state, slot)
    order["id"] = order_id
    order["word"] = qty << FLAG_BITS
    order["account"] = narrow(account)
    ticket_begin(state, slot, series, side, price)
    if side == BUY:
        if holding == NIL:
            holding = holding_of(state, account, series)
        bids = holding_at(state, holding)
        bids["bid_qty"] = bids["bid_qty"] + qty
        ticket_at(state, slot)["cash_locked"] = due
        owner["cash_free"] = owner["cash_free"] - due
        owner["cash_locked"] = owner["cash_locked"] + due
    else:
        offer_lock(state, slot, holding, qty)
    ticket_at(state, slot)["holding"] = holding
    order_register(state, slot)
    accepted_event(state, slot)
    number = side_of(series, side)
    if not crosses(state, number ^ 1, price, side_mask(number ^ 1)):
        ticket_at(state, slot)["place"] = RESTING
        queue_append(state, number, slot, price, side_mask(number))
        return True
    if has_stops(state, series):
        task_push(state, K_STOPS, series, 0)
    task_push(state, K_MATCH, slot, 0)
    return True


@leaf
def ticket_begin(state: int, slot: int, series: int, side: int, limit: int) -> None:
    """Begin the ticket of a new order: a good-till-cancelled limit, nothing filled, nothing locked."""
    ticket = ticket_at(state, slot)
    ticket["limit"] = limit
    ticket["stop_price"] = 0
    ticket["deadline"] = 0
    ticket["filled_qty"] = 0
    ticket["fee_charged"] = 0
    ticket["cash_locked"] = 0
    ticket["royalty_held"] = 0
    ticket["series"] = series
    ticket["first_lot"] = NIL
    ticket["last_lot"] = NIL
    ticket["timer"] = NIL
    ticket["peg"] = 0
    ticket["fee_slack"] = 0
    ticket["royalty_rest"] = 0
    ticket["side"] = side
    ticket["time_in_force"] = GTC
    ticket["place"] = LOOSE
    ticket["planned"] = 0


@leaf
def offer_lock(state: int, slot: int, holding: int, qty: int) -> None:
    """Take an order's units, and their lots, out of what is free (R15)."""
    offer = holding_at(state, holding)
    offer["free_qty"] = wide(offer["free_qty"]) - qty
    offer["offered_qty"] = wide(offer["offered_qty"]) + qty
    if offer["first_lot"] != NIL:
        series = series_at(state, wide(offer["series"]))
        lots_take(state, holding, qty, OLD_ENOUGH, world_at(state, 0)["clock_ns"] - series["hold_ns"])
        ticket = ticket_at(state, slot)
        ticket["first_lot"] = funds_at(state, 0)["taken_first"]
        ticket["last_lot"] = funds_at(state, 0)["taken_last"]


@leaf
def order_register(state: int, slot: int) -> None:
    """Count an acceptance and enter a new order under its id, with its account and its series."""
    order = order_at(state, slot)
    id_put(state, order["id"], slot)
    series = series_at(state, wide(ticket_at(state, slot)["series"]))
    series["order_count"] = wide(series["order_count"]) + 1
    owner = account_at(state, wide(order["account"]))
    owner["open_orders"] = wide(owner["open_orders"]) + 1
    own_append(state, slot)


@leaf
def own_append(state: int, slot: int) -> None:
    """Count an acceptance; the order becomes the last of its account's (R48)."""
    world = world_at(state, 0)
    world["accept_seq"] = world["accept_seq"] + 1
    ticket_at(state, slot)["accept_seq"] = world["accept_seq"]
    owner = account_at(state, wide(order_at(state, slot)["account"]))
    last = wide(owner["last_order"])
    own = own_at(state, slot)
    own["next"] = NIL
    own["prev"] = last
    if last == NIL:
        owner["first_order"] = slot
    else:
        own_at(state, last)["next"] = slot
    owner["last_order"] = slot


@leaf
def own_unlink(state: int, slot: int) -> None:
    """Take an order out of its account's list."""
    owner = account_at(state, wide(order_at(state, slot)["account"]))
    own = own_at(state, slot)
    before = wide(own["prev"])
    after = wide(own["next"])
    if before == NIL:
        owner["first_order"] = after
    else:
        own_at(state, before)["next"] = after
    if after == NIL:
        owner["last_order"] = before
    else:
        own_at(state, after)["prev"] = before


@leaf
def accepted_event(state: int, slot: int) -> None:
    """Say what was accepted."""
    event = event_at(state, event_begin(state, E_ACCEPTED))
    order = order_at(state, slot)
    ticket = ticket_at(state, slot)
    word = order["word"]
    event["series"] = wide(ticket["series"])
    event["order_id"] = order["id"]
    event["account"] = wide(order["account"])
    event["price"] = ticket["limit"]
    event["qty"] = word >> FLAG_BITS
    if word & ICEBERG != 0:
        event["amount"] = part_at(state, slot)["display"]
    event["fee"] = ticket["stop_price"]
    event["other_fee"] = ticket["deadline"]
    event["extra"] = wide(ticket["time_in_force"])
    event["side"] = wide(ticket["side"])
    peg = wide(ticket["peg"])
    event["flags"] = (word & (FLAG_MASK - ICEBERG)) | (PEG if peg != 0 else 0)
    event["other_order_id"] = peg
    memo_order(state, order["id"])


@kernel
def place(state: int, row: int) -> int:
    """Accept any order, and match it or keep it waiting (R19, R39 … R41)."""
    code = admit_place(state, row)
    if code != 0:
        return code
    # From here the command must succeed.
    command = command_at(state, row)
    draft_accept(state, command["order_id"], command["display"])
    return 0


@kernel
def draft_accept(state: int, order_id: int, display: int) -> None:
    """Let the draft be an order: its id (0 for one of the engine's), its timer, its lock, its event; then send it on its way."""
    slot = slot_take(state)
    draft = ticket_at(state, DRAFT)
    order = order_at(state, slot)
    if order_id == 0:
        world = world_at(state, 0)
        order_id = world["next_order_id"]
        world["next_order_id"] = order_id + 1
    order["id"] = order_id
    order["word"] = order_at(state, DRAFT)["word"]
    order["account"] = order_at(state, DRAFT)["account"]
    part_at(state, slot)["display"] = display
    part_at(state, slot)["hidden"] = 0
    ticket_begin(state, slot, wide(draft["series"]), wide(draft["side"]), draft["limit"])
    ticket = ticket_at(state, slot)
    ticket["stop_price"] = draft["stop_price"]
    ticket["deadline"] = draft["deadline"]
    ticket["time_in_force"] = wide(draft["time_in_force"])
    ticket["planned"] = wide(draft["planned"])
    ticket["peg"] = wide(draft["peg"])
    if draft["peg"] != 0 or draft["planned"] != 0:
        series_at(state, wide(draft["series"]))["has_moving"] = 1
    if draft["time_in_force"] == GTD:
        ticket["timer"] = timer_arm(state, draft["deadline"], RANK_ORDER, T_ORDER_DUE, order_id, 0)
    order_register(state, slot)
    order_lock(state, slot)
    accepted_event(state, slot)
    order_admitted(state, slot)


@kernel
def admit_place(state: int, row: int) -> int:
    """Make every check of a new order, in RULES.md's order, and leave it as the draft."""
    code = check_place_numbers(state, row)
    code = code if code != 0 else check_reference(state)
    command = command_at(state, row)
    account, series, flags = wide(command["account"]), wide(command["series"]), wide(command["flags"])
    code = code if code != 0 else check_account(state, account, F_ACCOUNT)
    code = code if code != 0 else check_series(state, series)
    if code == 0 and command["order_id"] != 0 and id_find(state, command["order_id"]) != NIL:
        code = no(state, DUPLICATE_ID, F_ORDER_ID, command["order_id"], 0)
    code = code if code != 0 else check_trading(state, series, account, account)
    if code != 0:
        return code
    terms = series_at(state, series)
    own = terms["merchant"] == account
    if own and wide(command["side"]) == SELL:
        return no(state, MERCHANT_CANNOT_RESELL, F_SIDE, SELL, BUY)
    if own and flags & BUYBACK == 0:
        return no(state, BUYBACK_FLAG_REQUIRED, 0, 0, 0)
    if terms["resale"] == 0:
        return no(state, RESALE_FORBIDDEN, F_SERIES, series, 0)
    draft_write(state, row)
    code = check_limit_price(state, series, DRAFT)
    code = code if code != 0 else check_funds(state, series, DRAFT, NIL)
    code = code if code != 0 else check_entry(state, series, DRAFT)
    head = head_at(state, 0)
    if code == 0 and (head["live"] >= head["live_limit"] or not room_for_holding(state, account, series)):
        code = no(state, CAPACITY_EXCEEDED, 0, 0, 0)
    return code


@kernel
def check_series(state: int, series: int) -> int:
    """Refuse a series that is not there."""
    return check_known(state, series, F_SERIES)


@kernel
def check_known(state: int, series: int, field: int) -> int:
    """Refuse a series that is not there, named by this field of the command."""
    return 0 if series_known(state, series) else no(state, UNKNOWN_SERIES, field, series, world_at(state, 0)["series_count"])


@kernel
def draft_write(state: int, row: int) -> None:
    """Write the order that a PLACE asks for as the draft; nothing is locked or entered yet."""
    command = command_at(state, row)
    series, side, flags, tif = (
        wide(command["series"]),
        wide(command["side"]),
        wide(command["flags"]),
        wide(command["time_in_force"]),
    )
    limit, stop = command["price"], command["stop_price"]
    if flags & MARKET != 0:
        limit, _ = plain_limit(state, series, side)
        if stop != 0:
            limit = cap_of(state, series) if side == BUY else stop  # R41: a plain buy stop locks at the cap
        elif tif == GTC:
            tif = IOC  # R39
    peg = limit if flags & PEG != 0 else 0
    if peg != 0:
        limit = peg_limit(state, series, side, peg)
    ticket_begin(state, DRAFT, series, side, limit)
    ticket = ticket_at(state, DRAFT)
    ticket["peg"] = peg
    ticket["stop_price"] = stop
    ticket["deadline"] = command["deadline_ns"]
    ticket["time_in_force"] = tif
    order = order_at(state, DRAFT)
    order["account"] = narrow(wide(command["account"]))
    # A peg is one by its ticket: PEG's bit in a word is ICEBERG.
    order["word"] = (command["qty"] << FLAG_BITS) | (flags & ~PEG) | (ICEBERG if command["display"] != 0 else 0)


@kernel
def order_lock(state: int, slot: int) -> None:
    """Lock the cash of an order outside the book, or take its units and lots (R15, R17)."""
    ticket = ticket_at(state, slot)
    order = order_at(state, slot)
    qty = order["word"] >> FLAG_BITS
    holding = holding_of(state, wide(order["account"]), wide(ticket["series"]))
    ticket["holding"] = holding
    if ticket["side"] == BUY:
        bids = holding_at(state, holding)
        bids["bid_qty"] = bids["bid_qty"] + qty
        relock(state, slot)
    else:
        offer_lock(state, slot, holding, qty)


@kernel
def order_admitted(state: int, slot: int) -> None:
    """Send an accepted order on its way: to the stops, or into the book; then wake stops (R41)."""
    ticket = ticket_at(state, slot)
    series = wide(ticket["series"])
    stop = ticket["stop_price"]
    if stop == 0:
        task_push(state, K_STOPS, series, 0)
        task_push(state, K_MATCH, slot, 0)
        return
    number = stop_side(state, slot)
    ticket["place"] = WAITING
    queue_append(state, number, slot, stop, side_mask(number))
    last = series_at(state, series)["last_price"]
    reached = last >= stop if number & 3 == 2 else last <= stop
    if last != 0 and reached:
        world = world_at(state, 0)
        world["traded"] = 1
        world["traded_low"] = last
        world["traded_high"] = last
        task_push(state, K_STOPS, series, 0)


@leaf
def stop_side(state: int, slot: int) -> int:
    """Give the side on which a stop waits: for a rise, or for a fall (R41)."""
    ticket = ticket_at(state, slot)
    flags = order_at(state, slot)["word"]
    rises = ticket["side"] == BUY
    if flags & (STOP_RISE | STOP_FALL) != 0:
        rises = flags & STOP_RISE != 0
    return 4 * wide(ticket["series"]) + (2 if rises else 3)


# ── matching ─────────────────────────────────────────────────────────────────────────────────────


@kernel
def match_step(state: int, slot: int) -> int:
    """Match an order as a taker, and rest, cancel or finish what is left (R16, R19, R20).

    DONE, or FULL or GROW between two fills: the task goes on from there.
    """
    ticket = ticket_at(state, slot)
    order = order_at(state, slot)
    series = wide(ticket["series"])
    terms = series_at(state, series)
    number = side_of(series, wide(ticket["side"]))
    other = side_at(state, number ^ 1)
    limit = ticket["limit"] ^ side_mask(number ^ 1)
    matches = terms["in_auction"] == 0
    while True:
        if not room_for_plain(state):
            return room_for_step(state)
        rest = order["word"] >> FLAG_BITS
        if not matches or rest == 0 or other["best"] == NIL or other["best_key"] > limit:
            break
        maker = wide(cell_at(state, wide(other["best"]))["head"])
        if wide(order_at(state, maker)["account"]) == wide(order["account"]):
            flags = order["word"]
            if flags & OWN_MODES != 0:
                order_cancel(state, maker, BY_SELF_TRADE)
            if flags & CANCEL_MAKER == 0:
                order_close(state, slot, BY_SELF_TRADE)
                return DONE
        else:
            qty = min(rest, order_at(state, maker)["word"] >> FLAG_BITS)
            price = other["best_key"] ^ side_mask(number ^ 1)
            order["word"] = order["word"] - (qty << FLAG_BITS)
            gone = maker_take(state, maker, qty)
            settle_fill(state, series, slot, maker, qty, price, terms["taker_bps"], terms["maker_bps"], 0)
            if gone:
                order_finish(state, maker)
    if rest == 0:
        order_finish(state, slot)
    elif ticket["time_in_force"] == IOC or ticket["time_in_force"] == FOK:
        order_close(state, slot, BY_IOC)
    else:
        order_show(state, slot, rest)
        ticket["place"] = RESTING
        queue_append(state, number, slot, ticket["limit"], side_mask(number))
    return DONE


@leaf
def maker_take(state: int, slot: int, qty: int) -> bool:
    """Take what is traded off a resting order's shown part; True if nothing of it is left, and it is out of the book (R40)."""
    order = order_at(state, slot)
    word = order["word"] - (qty << FLAG_BITS)
    order["word"] = word
    if word >> FLAG_BITS != 0:
        return False
    if word & ICEBERG != 0 and iceberg_shows(state, slot):
        queue_requeue(state, slot)
        return False
    queue_remove(state, slot)
    return True


# ── stops (R41) ──────────────────────────────────────────────────────────────────────────────────


@kernel
def stops_step(state: int) -> int:
    """Enter the next of the stops that the trades so far have reached; first gather them where that is due.

    The reached ones stand in SCRATCH in order of acceptance: `b` of them, `c` entered.
    """
    world = world_at(state, 0)
    task = task_at(state, world["depth"] - 1)
    if task["c"] < task["b"]:
        slot = scratch_at(state, task["c"])["slot"]
        task["c"] = task["c"] + 1
        stop_enter(state, slot)
        return MORE
    if world["traded"] == 0 or not has_stops(state, task["a"]):
        world["traded"] = 0
        task_pop(state)
        return DONE
    if scratch_short(state, wide(series_at(state, task["a"])["order_count"])):
        return GROW
    world["traded"] = 0
    task["b"] = stops_gather(state, task["a"], world["traded_low"], world["traded_high"])
    task["c"] = 0
    return MORE


@kernel
def stops_gather(state: int, series: int, low: int, high: int) -> int:
    """Take every stop that trades between `low` and `high` reach off its queue, into SCRATCH in order of acceptance."""
    count = 0
    for number in (4 * series + 2, 4 * series + 3):
        side = side_at(state, number)
        limit = high if number & 3 == 2 else low ^ -1
        while side["best"] != NIL and side["best_key"] <= limit:
            slot = wide(cell_at(state, wide(side["best"]))["head"])
            queue_remove(state, slot)
            ticket_at(state, slot)["place"] = LOOSE
            scratch_write(state, count, ticket_at(state, slot)["accept_seq"], slot)
            count += 1
    scratch_sort(state, count)
    return count


@kernel
def stop_enter(state: int, slot: int) -> None:
    """Let one stop enter as a taker of its own; what would refuse it cancels it."""
    ticket = ticket_at(state, slot)
    order = order_at(state, slot)
    series = wide(ticket["series"])
    wrong = 0
    if order["word"] & MARKET != 0:
        ticket["limit"], wrong = plain_limit(state, series, wide(ticket["side"]))
        if ticket["time_in_force"] != FOK:
            ticket["time_in_force"] = IOC
    # A limit is still within the band that it was checked against: the reference moves down to the cap alone (R21), so
    # that the lower edge sinks, and the upper one stays above the cap, to which the sweep has held all limits (R10).
    ticket["stop_price"] = 0
    order_event(state, E_TRIGGERED, slot)
    if wrong == 0:
        wrong = entry_refusal(state, series, slot)
    if wrong != 0:
        order_close(state, slot, wrong)
    else:
        relock(state, slot)
        task_push(state, K_MATCH, slot, 0)


# ── pegs (R54) ───────────────────────────────────────────────────────────────────────────────────


@kernel
def pegs_step(state: int) -> int:
    """Let the next of a series' pegs enter at the value of now; first take all of them out of the book.

    They stand in SCRATCH in order of acceptance: `b` of them, `c` entered, `d` whether they are out.
    """
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    if task["d"] == 0:
        if scratch_short(state, wide(series_at(state, task["a"])["order_count"])):
            return GROW
        task["d"] = 1
        task["b"] = pegs_gather(state, task["a"])
        return MORE
    if task["c"] == task["b"]:
        task_pop(state)
        return DONE
    slot = scratch_at(state, task["c"])["slot"]
    task["c"] = task["c"] + 1
    peg_enter(state, slot)
    return MORE


@kernel
def pegs_gather(state: int, series: int) -> int:
    """Take every peg of a series out of its queue, into SCRATCH in order of acceptance; gives how many. O(orders).

    An order of a plan goes with them where it stands above the cap (R55).
    """
    count = 0
    cap = cap_of(state, series)
    for number in (4 * series, 4 * series + 1):
        level = wide(side_at(state, number)["best"])
        while level != NIL:
            slot = wide(cell_at(state, level)["head"])
            while slot != NIL:
                ticket = ticket_at(state, slot)
                if ticket["peg"] != 0 or (ticket["planned"] != 0 and ticket["limit"] > cap):
                    scratch_write(state, count, ticket["accept_seq"], slot)
                    count += 1
                slot = wide(order_at(state, slot)["next"])
            level = level_next(state, level)
    scratch_sort(state, count)
    for at in range(count):
        slot = scratch_at(state, at)["slot"]
        qty = open_qty(state, slot)
        queue_remove(state, slot)
        ticket_at(state, slot)["place"] = LOOSE
        if order_at(state, slot)["word"] & ICEBERG != 0:
            part_at(state, slot)["hidden"] = 0
        open_set(state, slot, qty)
    return count


@kernel
def peg_enter(state: int, slot: int) -> None:
    """Let a peg or a plan's order enter as a taker of its own; what refuses it cancels it, and so does a match in a halt."""
    ticket = ticket_at(state, slot)
    series = wide(ticket["series"])
    side = wide(ticket["side"])
    if ticket["planned"] != 0:
        limit = plan_limit(state, plan_find(state, wide(order_at(state, slot)["account"]), series))
    else:
        limit = peg_limit(state, series, side, wide(ticket["peg"]))
    if limit > cap_of(state, series):
        order_close(state, slot, PRICE_ABOVE_CAP)
        return
    if limit < max(1, band_low(state, series)) or limit > band_high(state, series):
        order_close(state, slot, OUTSIDE_PRICE_BAND)
        return
    ticket["limit"] = limit
    order_event(state, E_REPRICED, slot)
    wrong = entry_refusal(state, series, slot)
    row = series_at(state, series)
    other = side_of(series, side) ^ 1
    if row["halted"] != 0 and row["in_auction"] == 0 and crosses(state, other, limit, side_mask(other)):
        wrong = SERIES_HALTED
    if wrong != 0:
        order_close(state, slot, wrong)
    else:
        relock(state, slot)
        task_push(state, K_MATCH, slot, 0)


# ── what is said of an order ─────────────────────────────────────────────────────────────────────


@leaf
def order_event(state: int, kind: int, slot: int) -> int:
    """Begin an event about an order as it is: its owner, side, limit and open quantity; gives its row in EVENTS."""
    ticket = ticket_at(state, slot)
    order = order_at(state, slot)
    at = event_about(state, kind, wide(ticket["series"]), wide(order["account"]))
    event = event_at(state, at)
    event["order_id"] = order["id"]
    event["price"] = ticket["limit"]
    event["qty"] = open_qty(state, slot)
    event["side"] = wide(ticket["side"])
    return at


# ── ending ───────────────────────────────────────────────────────────────────────────────────────


@kernel
def order_cancel(state: int, slot: int, reason: int) -> None:
    """Take a resting order or a waiting stop out, and close it."""
    queue_remove(state, slot)
    order_close(state, slot, reason)


@kernel
def order_close(state: int, slot: int, reason: int) -> None:
    """Return what an order outside the book has locked, finish it, and say why."""
    event = event_at(state, order_event(state, E_CANCELLED, slot))
    event["amount"] = ticket_at(state, slot)["cash_locked"]
    event["code"] = reason
    memo_cancel(state, order_at(state, slot)["id"], reason)
    order_unlock(state, slot)
    order_finish(state, slot)


@kernel
def order_unlock(state: int, slot: int) -> None:
    """Return an order's cash, or its units and lots, to its owner (R15, R17)."""
    ticket = ticket_at(state, slot)
    qty = open_qty(state, slot)
    holding = wide(ticket["holding"])
    held = holding_at(state, holding)
    if ticket["side"] == BUY:
        locked = ticket["cash_locked"]
        ticket["cash_locked"] = 0
        owner = account_at(state, wide(order_at(state, slot)["account"]))
        owner["cash_free"] = owner["cash_free"] + locked
        owner["cash_locked"] = owner["cash_locked"] - locked
        held["bid_qty"] = held["bid_qty"] - qty
        holding_tidy(state, holding)
    else:
        held["free_qty"] = wide(held["free_qty"]) + qty
        held["offered_qty"] = wide(held["offered_qty"]) - qty
        if ticket["first_lot"] != NIL:
            lots_return(state, holding, wide(ticket["first_lot"]))
            ticket["first_lot"] = NIL
            ticket["last_lot"] = NIL


@leaf
def order_finish(state: int, slot: int) -> None:
    """Forget an order that has nothing open, and its timer; its id is free again."""
    order = order_at(state, slot)
    ticket = ticket_at(state, slot)
    id_remove(state, order["id"], slot)
    own_unlink(state, slot)
    owner = account_at(state, wide(order["account"]))
    owner["open_orders"] = wide(owner["open_orders"]) - 1
    series = series_at(state, wide(ticket["series"]))
    series["order_count"] = wide(series["order_count"]) - 1
    if ticket["timer"] != NIL:
        timer_disarm(state, wide(ticket["timer"]))
    slot_free(state, slot)


@kernel
def order_expire(state: int, order_id: int) -> None:
    """Let a good-till-date order go (R19); its timer has fired."""
    slot = id_find(state, order_id)
    ticket_at(state, slot)["timer"] = NIL
    order_cancel(state, slot, BY_GTD)


# ── cancelling and amending ──────────────────────────────────────────────────────────────────────


@kernel
def cancel(state: int, row: int) -> int:
    """Cancel one order for its owner."""
    code = admit_owned(state, row)
    if code != 0:
        return code
    # From here the command must succeed.
    order_cancel(state, id_find(state, command_at(state, row)["order_id"]), BY_USER)
    return 0


@kernel
def admit_owned(state: int, row: int) -> int:
    """Refuse an order that is not open, or somebody else's."""
    command = command_at(state, row)
    account, order_id = wide(command["account"]), command["order_id"]
    code = check_reference(state)
    code = code if code != 0 else check_account(state, account, F_ACCOUNT)
    if code != 0:
        return code
    slot = id_find(state, order_id)
    if slot == NIL:
        return no(state, ORDER_NOT_OPEN, F_ORDER_ID, order_id, 0)
    owner = wide(order_at(state, slot)["account"])
    return 0 if owner == account else no(state, NOT_OWNER, F_ACCOUNT, account, owner)


@kernel
def amend(state: int, row: int) -> int:
    """Lower in place, or cancel and re-enter as one command (R38)."""
    code = admit_amend(state, row)
    if code != 0:
        return code
    # From here the command must succeed.
    slot = id_find(state, command_at(state, row)["order_id"])
    price = ticket_at(state, DRAFT)["limit"]
    order_change(state, slot, price, order_at(state, DRAFT)["word"] >> FLAG_BITS)
    return 0


@kernel
def order_change(state: int, slot: int, price: int, qty: int) -> None:
    """Give an order another price or open quantity: in place if the price stays and it does not grow, else it enters anew."""
    ticket = ticket_at(state, slot)
    if price == ticket["limit"] and qty <= open_qty(state, slot):
        amend_lower(state, slot, qty)
        amended_event(state, slot, 0)
        return
    queue_remove(state, slot)
    ticket["place"] = LOOSE
    order_unlock(state, slot)
    ticket["limit"] = price
    if order_at(state, slot)["word"] & ICEBERG != 0:
        part_at(state, slot)["hidden"] = 0
    open_set(state, slot, qty)
    own_unlink(state, slot)
    own_append(state, slot)
    order_lock(state, slot)
    amended_event(state, slot, 1)
    order_admitted(state, slot)


@kernel
def admit_amend(state: int, row: int) -> int:
    """Make every check of an amend; the draft has the order's new price and open quantity."""
    command = command_at(state, row)
    flags = wide(command["flags"])
    code = check_amend_numbers(state, row)
    code = code if code != 0 else admit_owned(state, row)
    if code != 0:
        return code
    slot = id_find(state, command["order_id"])
    ticket = ticket_at(state, slot)
    order = order_at(state, slot)
    series, account = wide(ticket["series"]), wide(order["account"])
    code = check_trading(state, series, account, account)
    if code != 0:
        return code
    before = open_qty(state, slot)
    price = command["price"] if flags & NAMES_PRICE != 0 else ticket["limit"]
    qty = command["qty"] if flags & NAMES_QTY != 0 else before
    if order["word"] & MARKET != 0 and ticket["side"] == BUY and qty > before:
        price = cap_of(state, series)  # R41: a plain buy stop that enters anew locks at the cap of now
    ticket_begin(state, DRAFT, series, wide(ticket["side"]), price)
    draft = ticket_at(state, DRAFT)
    draft["stop_price"] = ticket["stop_price"]
    draft["deadline"] = ticket["deadline"]
    draft["time_in_force"] = wide(ticket["time_in_force"])
    draft["fee_slack"] = wide(ticket["fee_slack"])
    order_at(state, DRAFT)["account"] = order["account"]
    order_at(state, DRAFT)["word"] = (order["word"] & FLAG_MASK) | (qty << FLAG_BITS)
    if price == ticket["limit"] and qty <= before:
        return 0
    code = check_limit_price(state, series, DRAFT)
    code = code if code != 0 else check_funds(state, series, DRAFT, slot)
    return code if code != 0 else check_entry(state, series, DRAFT)


@kernel
def check_amend_numbers(state: int, row: int) -> int:
    """Refuse numbers that no order, or not this one, may be amended to; it may turn out not to be open."""
    command = command_at(state, row)
    flags, qty = wide(command["flags"]), command["qty"]
    slot = id_find(state, command["order_id"])
    series = wide(ticket_at(state, slot)["series"]) if slot != NIL else 0
    word = order_at(state, slot)["word"] if slot != NIL else 0
    code = 0
    if flags & NAMES_QTY != 0:
        code = check_sizes(state, series, qty, 0)
        most = ICEBERG_PARTS_MAX * part_at(state, slot)["display"] if word & ICEBERG != 0 else QTY_END
        if code == 0 and qty > most:
            code = no(state, BAD_QUANTITY, F_QTY, qty, most)
    if code == 0 and flags & NAMES_PRICE != 0:
        code = check_price(state, series, command["price"], F_PRICE)
    if code == 0 and flags not in (1, 2, 3):
        code = no(state, BAD_TERMS, F_FLAGS, flags, 0)
    priceless = word & MARKET != 0
    if slot != NIL:
        priceless = priceless or ticket_at(state, slot)["peg"] != 0 or ticket_at(state, slot)["planned"] != 0
    if code == 0 and flags & NAMES_PRICE != 0 and priceless:
        code = no(state, BAD_TERMS, F_PRICE, command["price"], 0)
    return code


@kernel
def amend_lower(state: int, slot: int, qty: int) -> None:
    """Lower the open quantity in place; the youngest lots and the excess cash go back (R38)."""
    ticket = ticket_at(state, slot)
    less = open_qty(state, slot) - qty
    if ticket["place"] == WAITING:
        open_set(state, slot, qty)
    else:
        order_shrink(state, slot, qty)
    holding = wide(ticket["holding"])
    held = holding_at(state, holding)
    if ticket["side"] == BUY:
        held["bid_qty"] = held["bid_qty"] - less
        relock(state, slot)
        return
    held["free_qty"] = wide(held["free_qty"]) + less
    held["offered_qty"] = wide(held["offered_qty"]) - less
    if ticket["first_lot"] != NIL:
        last = lots_split(state, wide(ticket["first_lot"]), wide(ticket["last_lot"]), less, 1)
        ticket["last_lot"] = last
        lots_return(state, holding, funds_at(state, 0)["taken_first"])


@kernel
def amended_event(state: int, slot: int, entered_anew: int) -> None:
    """Say what an amend made of an order."""
    event_at(state, order_event(state, E_AMENDED, slot))["flags"] = entered_anew
    memo_order(state, order_at(state, slot)["id"])
