"""The call auction: many orders, one price, one moment (R20, R42).

    price   buy at ≥ p   sell at ≤ p   volume   surplus
       90          100            40       40        60
       91           80            90       80       −10     ◄── greatest volume
       92           30           120       30       −90

Candidates are all resting limits and the reference price. They are walked once, from the lowest up: bids
from their worst level to their best, asks from their best to their worst. Chosen are, in turn: the
greatest volume, the least |surplus|, the highest price if every surplus left is positive and the lowest if
every one is negative, the nearest to the reference price, the higher.
"""

from __future__ import annotations

from rightsx._jit import kernel, wide
from rightsx.book import (
    FLAG_BITS,
    ICEBERG,
    cell_at,
    level_before,
    level_last,
    level_next,
    level_price,
    open_qty,
    order_at,
    order_show,
    queue_remove,
    side_at,
)
from rightsx.engine.numbers import BY_SELF_TRADE, E_UNCROSSED, FILL_AUCTION
from rightsx.engine.orders import order_cancel, order_finish
from rightsx.engine.settle import settle_fill
from rightsx.engine.state import (
    DONE,
    MORE,
    NIL,
    event_about,
    event_at,
    series_at,
    series_refresh,
    task_at,
    task_pop,
    task_push,
    ticket_at,
    world_at,
)
from rightsx.engine.tasks import K_STOPS, K_UNCROSS
from rightsx.protocol import INT64_MAX


@kernel
def level_open(state: int, level: int) -> int:
    """Add up the open quantities of a level's orders, hidden parts too."""
    total = 0
    slot = wide(cell_at(state, level)["head"])
    while slot != NIL:
        total += open_qty(state, slot)
        slot = wide(order_at(state, slot)["next"])
    return total


@kernel
def side_open(state: int, side: int) -> int:
    """Add up the open quantities of a side. O(orders)."""
    total = 0
    level = wide(side_at(state, side)["best"])
    while level != NIL:
        total += level_open(state, level)
        level = level_next(state, level)
    return total


@kernel
def auction_price(state: int, series: int) -> tuple[int, int, int]:
    """Choose the one price: price, volume, surplus; volume 0 where nothing can trade. O(orders)."""
    reference = series_at(state, series)["reference"]
    ask = wide(side_at(state, 4 * series + 1)["best"])
    bid = level_last(state, 4 * series)
    buy = side_open(state, 4 * series)
    sell = 0
    reference_due = True
    volume = 0
    surplus = INT64_MAX
    low = high = near = 0
    low_surplus = high_surplus = near_surplus = 0
    while bid != NIL or ask != NIL or reference_due:
        price = reference if reference_due else INT64_MAX
        if bid != NIL:
            price = min(price, level_price(state, bid))
        if ask != NIL:
            price = min(price, level_price(state, ask))
        reference_due = reference_due and price != reference
        if ask != NIL and level_price(state, ask) == price:
            sell += level_open(state, ask)
            ask = level_next(state, ask)
        over = buy - sell
        size = abs(over)
        if min(buy, sell) > volume or (min(buy, sell) == volume and size < surplus):
            volume = min(buy, sell)
            surplus = size
            low = near = price
            low_surplus = near_surplus = over
        if min(buy, sell) == volume and size == surplus:
            high = price
            high_surplus = over
            # Going up, a price as near as the nearest so far is the higher of the two.
            if abs(price - reference) <= abs(near - reference):
                near = price
                near_surplus = over
        if bid != NIL and level_price(state, bid) == price:
            buy -= level_open(state, bid)
            bid = level_before(state, bid)
    # Going up, surpluses only fall: all are positive if the last one is, all negative if the first one is.
    if high_surplus > 0:
        return high, volume, high_surplus
    if low_surplus < 0:
        return low, volume, low_surplus
    return near, volume, near_surplus


@kernel
def uncross_due(state: int, series: int) -> None:
    """Uncross at the opening, or as soon as the halt is lifted (R20)."""
    row = series_at(state, series)
    row["uncross_timer"] = NIL
    if row["halted"] != 0:
        row["uncross_waits"] = 1
    else:
        uncross(state, series)


@kernel
def uncross(state: int, series: int) -> None:
    """Trade everything that the one price allows, best buy against best sell; then trade continuously."""
    row = series_at(state, series)
    row["uncross_waits"] = 0
    row["in_auction"] = 0
    series_refresh(state, series)
    price, volume, surplus = auction_price(state, series)
    event = event_at(state, event_about(state, E_UNCROSSED, series, 0))
    task_push(state, K_STOPS, series, 0)
    if volume == 0:
        return
    event["price"] = price
    event["qty"] = volume
    event["amount"] = surplus
    task_push(state, K_UNCROSS, series, price)


@kernel
def uncross_step(state: int) -> int:
    """Trade the best buy against the best sell of a series, `a`, at the one price, `b` (R20, R42)."""
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    series, price = task["a"], task["b"]
    bids, asks = side_at(state, 4 * series), side_at(state, 4 * series + 1)
    crossed = bids["best"] != NIL and asks["best"] != NIL
    if not crossed or bids["best_key"] ^ -1 < price or asks["best_key"] > price:
        task_pop(state)
        return DONE
    buy = wide(cell_at(state, wide(bids["best"]))["head"])
    sell = wide(cell_at(state, wide(asks["best"]))["head"])
    if order_at(state, buy)["account"] == order_at(state, sell)["account"]:
        later = ticket_at(state, buy)["accept_seq"] > ticket_at(state, sell)["accept_seq"]
        order_cancel(state, buy if later else sell, BY_SELF_TRADE)
        return MORE
    qty = min(open_qty(state, buy), open_qty(state, sell))
    buy_gone = uncross_take(state, buy, qty)
    sell_gone = uncross_take(state, sell, qty)
    bps = series_at(state, series)["auction_bps"]
    settle_fill(state, series, buy, sell, qty, price, bps, bps, FILL_AUCTION)
    if buy_gone:
        order_finish(state, buy)
    if sell_gone:
        order_finish(state, sell)
    return MORE


@kernel
def uncross_take(state: int, slot: int, qty: int) -> bool:
    """Take `qty` of a resting order's whole open quantity; True if nothing is left, and it is out of the book.

    An iceberg whose shown part is gone shows the next in place.
    """
    order = order_at(state, slot)
    rest = open_qty(state, slot) - qty
    shown = (order["word"] >> FLAG_BITS) - qty
    if rest == 0:
        queue_remove(state, slot)
        order_show(state, slot, 0)
        return True
    if order["word"] & ICEBERG != 0 and shown <= 0:
        order_show(state, slot, rest)
    else:
        order["word"] = order["word"] - (qty << FLAG_BITS)
    return False
