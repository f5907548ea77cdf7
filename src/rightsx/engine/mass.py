"""Many orders go at once: by account, by series, above a price, after a silence (R10, R22, R29, R32, R43, R48).

They go in order of acceptance. An account's orders are linked in that order; a series' are gathered from
the four sides of its book and put in it. Each is one step of a task, so a sweep stops for a full buffer.
"""

from __future__ import annotations

from rightsx._jit import kernel, leaf, wide
from rightsx.accounts import account_at
from rightsx.book import cell_at, level_next, order_at, side_at
from rightsx.engine.holders import check_account
from rightsx.engine.numbers import (
    ACCOUNT_FROZEN,
    BAD_TERMS,
    BAD_TIME,
    BY_CANCEL_AFTER,
    BY_CANCEL_ALL,
    E_CANCEL_AFTER_SET,
    E_MASS_CANCELLED,
    F_ACCOUNT,
    F_DEADLINE_NS,
    F_TIME_NS,
    MARKET,
    MERCHANT_DEFAULTED,
    RANK_ORDER,
    SERIES_EXPIRED,
    T_ACCOUNT_SILENT,
)
from rightsx.engine.orders import check_series, order_cancel
from rightsx.engine.references import check_reference
from rightsx.engine.state import (
    DONE,
    GROW,
    MORE,
    NIL,
    command_at,
    event_about,
    event_at,
    no,
    scratch_at,
    scratch_short,
    scratch_sort,
    scratch_write,
    series_at,
    task_at,
    task_pop,
    task_push,
    ticket_at,
    timer_arm,
    timer_disarm,
    world_at,
)
from rightsx.engine.tasks import K_CANCEL_LIST, K_CANCEL_ORDERS
from rightsx.protocol import TIME_END


@kernel
def cancel_all(state: int, row: int) -> int:
    """Cancel all orders of an account or of a series."""
    command = command_at(state, row)
    account, series = wide(command["account"]), wide(command["series"])
    if (account != 0) == (series != 0):
        return no(state, BAD_TERMS, F_ACCOUNT, account, 0)
    code = check_reference(state)
    if account != 0:
        code = code if code != 0 else check_account(state, account, F_ACCOUNT)
        if code == 0 and account_at(state, account)["frozen"] != 0:
            code = no(state, ACCOUNT_FROZEN, F_ACCOUNT, account, 0)
    else:
        code = code if code != 0 else check_series(state, series)
        code = code if code != 0 else check_series_ends(state, series)
    if code != 0:
        return code
    # From here the command must succeed.
    if account != 0:
        mass_event(state, BY_CANCEL_ALL, wide(account_at(state, account)["open_orders"]), account, 0)
        task_push(state, K_CANCEL_ORDERS, account, BY_CANCEL_ALL)
    else:
        mass_event(state, BY_CANCEL_ALL, wide(series_at(state, series)["order_count"]), 0, series)
        task_push(state, K_CANCEL_LIST, series, BY_CANCEL_ALL)
    return 0


@kernel
def check_series_ends(state: int, series: int) -> int:
    """Refuse a series that has expired; one that its merchant's default has ended has nothing to cancel."""
    terms = series_at(state, series)
    now = world_at(state, 0)["clock_ns"]
    if now < terms["expire_ns"] or terms["defaulted"] != 0:
        return 0
    return no(state, SERIES_EXPIRED, F_TIME_NS, now, terms["expire_ns"] - 1)


@kernel
def mass_event(state: int, reason: int, count: int, account: int, series: int) -> None:
    """Announce how many orders go together."""
    event = event_at(state, event_about(state, E_MASS_CANCELLED, series, account))
    event["qty"] = count
    event["code"] = reason


@kernel
def cancel_orders_step(state: int) -> int:
    """Cancel the next of an account's orders, in order of acceptance (R48)."""
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    slot = wide(account_at(state, task["a"])["first_order"])
    if slot == NIL:
        task_pop(state)
        return DONE
    order_cancel(state, slot, task["b"])
    return MORE


@kernel
def cancel_list_step(state: int) -> int:
    """Cancel the next of a series' orders, in order of acceptance; first gather them into SCRATCH.

    Those above the price `c` where that is not 0, else all (R10, R22, R29, R43). `d` is how many, `e` how
    many are done, `f` whether they are gathered.
    """
    task = task_at(state, world_at(state, 0)["depth"] - 1)
    if task["f"] == 0:
        if scratch_short(state, wide(series_at(state, task["a"])["order_count"])):
            return GROW
        task["f"] = 1
        task["d"] = orders_gather(state, task["a"], task["c"])
        return MORE
    if task["e"] == task["d"]:
        task_pop(state)
        return DONE
    slot = scratch_at(state, task["e"])["slot"]
    task["e"] = task["e"] + 1
    order_cancel(state, slot, task["b"])
    return MORE


@kernel
def orders_gather(state: int, series: int, above: int) -> int:
    """List the orders of a series whose price is above `above` in SCRATCH, in order of acceptance; gives how many.

    The price that counts is the limit; of a plain stop it is the stop price (R41).
    """
    count = 0
    for number in range(4 * series, 4 * series + 4):
        level = wide(side_at(state, number)["best"])
        while level != NIL:
            slot = wide(cell_at(state, level)["head"])
            while slot != NIL:
                # A peg, or a plan's order, moves instead, as long as there is a price for it (R54, R55).
                moves = ticket_at(state, slot)["peg"] != 0 or ticket_at(state, slot)["planned"] != 0
                if sweep_price(state, slot) > above and (above == 0 or not moves):
                    scratch_write(state, count, ticket_at(state, slot)["accept_seq"], slot)
                    count += 1
                slot = wide(order_at(state, slot)["next"])
            level = level_next(state, level)
    scratch_sort(state, count)
    return count


@leaf
def sweep_price(state: int, slot: int) -> int:
    """Give the price that the cap is held against: the limit, of a plain stop the stop price (R41)."""
    ticket = ticket_at(state, slot)
    if order_at(state, slot)["word"] & MARKET != 0 and ticket["stop_price"] != 0:
        return ticket["stop_price"]
    return ticket["limit"]


@kernel
def cancel_after(state: int, row: int) -> int:
    """Arm, re-arm or disarm the switch of an account that may fall silent (R43)."""
    command = command_at(state, row)
    at_ns, account = command["deadline_ns"], wide(command["account"])
    now = world_at(state, 0)["clock_ns"]
    if at_ns != 0 and not now < at_ns < TIME_END:
        return no(state, BAD_TIME, F_DEADLINE_NS, at_ns, now + 1)
    code = check_reference(state)
    code = code if code != 0 else check_account(state, account, F_ACCOUNT)
    if code != 0:
        return code
    owner = account_at(state, account)
    if owner["defaulted"] != 0:
        return no(state, MERCHANT_DEFAULTED, 0, 0, 0)
    if owner["frozen"] != 0:
        return no(state, ACCOUNT_FROZEN, F_ACCOUNT, account, 0)
    # From here the command must succeed.
    timer_disarm(state, wide(owner["silent_timer"]))
    owner["silent_timer"] = timer_arm(state, at_ns, RANK_ORDER, T_ACCOUNT_SILENT, account, 0) if at_ns != 0 else NIL
    event = event_at(state, event_about(state, E_CANCEL_AFTER_SET, 0, account))
    event["amount"] = at_ns
    return 0


@kernel
def account_silent(state: int, account: int) -> None:
    """Cancel all orders of an account whose switch was not repeated in time (R43)."""
    owner = account_at(state, account)
    owner["silent_timer"] = NIL
    mass_event(state, BY_CANCEL_AFTER, wide(owner["open_orders"]), account, 0)
    task_push(state, K_CANCEL_ORDERS, account, BY_CANCEL_AFTER)
