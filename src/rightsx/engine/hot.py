"""What every market needs on its first day, compiled in seconds: plain orders, and what comes before the first of them.

    first call ─► hot_entry ── RARE ─► engine_entry of `run`, which compiles then and goes on from the same WORLD
                      │
                      ├─ plain orders and cancels, with all their fills
                      ├─ accounts, cash, primary sales; cold commands, as far as Python takes them
                      └─ what cold commands and growing need of the tables

Compiling the whole engine takes three times as long as compiling this. A market begins with this entry and has the
other from the first command on that is not among these: an amend, a `ref`, an order refused, anything that falls due.
RARE has changed nothing, or stopped between two steps, as FULL and GROW do.
"""

from __future__ import annotations

from typing import Any

from rightsx._jit import exact, kernel, leaf, wide
from rightsx.accounts import account_known, account_open, funds_at
from rightsx.book import id_find, ids_enter, order_at
from rightsx.engine.holders import open_account
from rightsx.engine.numbers import (
    BY_USER,
    C_CANCEL,
    C_DEPOSIT,
    C_OPEN_ACCOUNT,
    C_PLACE,
    C_PUBLISH,
    C_SUBSCRIBE,
    RANK_EXPIRY,
    RANK_LAST_TRADE,
    RANK_UNCROSS,
    T_EXPIRY,
    T_LAST_TRADE,
    T_UNCROSS,
)
from rightsx.engine.orders import match_step, order_cancel, place_plain
from rightsx.engine.primary import import_units, subscribe
from rightsx.engine.publication import publish
from rightsx.engine.state import (
    BUSY,
    COLD,
    DONE,
    GROW,
    NIL,
    RARE,
    command_at,
    refuse,
    room_for_plain,
    room_for_step,
    series_at,
    series_refresh,
    task_at,
    task_pop,
    world_at,
)
from rightsx.engine.tasks import K_MATCH
from rightsx.engine.transfer import deposit
from rightsx.engine.value import step_arm
from rightsx.expiry import wheel_arm, wheel_due, wheel_idle_until
from rightsx.protocol import AT_ENGINE_CLOCK, FIRST_COLD_KIND, TIME_END

IDLE, TIMERS, PERFORM, FINISH = 0, 1, 2, 3  # WORLD's `phase`

# ── one command ──────────────────────────────────────────────────────────────────────────────────


@leaf
def cancel_plain(state: int, row: int) -> bool:
    """Cancel an order that is its owner's, where no `ref` is to be remembered; False has changed nothing."""
    command = command_at(state, row)
    account = wide(command["account"])
    slot = id_find(state, command["order_id"])
    if slot == NIL or wide(command["ref"]) != 0 or not account_known(state, account):
        return False
    if wide(order_at(state, slot)["account"]) != account:
        return False
    order_cancel(state, slot, BY_USER)
    return True


@leaf
def run_plain(state: int, row: int) -> bool:
    """Run a plain order or cancel if nothing is due by its time and nothing speaks against it; False has changed nothing."""
    world = world_at(state, 0)
    command = command_at(state, row)
    kind = wide(command["kind"])
    time_ns = command["time_ns"]
    clock = world["clock_ns"]
    if time_ns == AT_ENGINE_CLOCK:
        time_ns = clock
    if (
        kind > C_CANCEL
        or time_ns < clock
        or time_ns >= TIME_END
        or wheel_idle_until(state) <= time_ns
        or not room_for_plain(state)
    ):
        return False
    world["clock_ns"] = time_ns
    world["command_seq"] = world["command_seq"] + 1
    world["memo"] = 0
    done = place_plain(state, row) if kind == C_PLACE else cancel_plain(state, row)
    if not done:
        world["clock_ns"] = clock
        world["command_seq"] = world["command_seq"] - 1
    return done


@kernel
def run_first(state: int, row: int) -> int:
    """Run a command that comes before orders, if nothing is due by its time: DONE, or COLD for Python to perform it.

    FULL, GROW and RARE have changed nothing.
    """
    world = world_at(state, 0)
    command = command_at(state, row)
    kind = wide(command["kind"])
    is_cold = kind >= FIRST_COLD_KIND
    ref = world["ref"] if is_cold else wide(command["ref"])
    time_ns = command["time_ns"]
    clock = world["clock_ns"]
    if time_ns == AT_ENGINE_CLOCK:
        time_ns = clock
    known = is_cold or kind == C_DEPOSIT or kind == C_OPEN_ACCOUNT or kind == C_SUBSCRIBE or kind == C_PUBLISH
    if not known or ref != 0 or time_ns < clock or time_ns >= TIME_END or wheel_idle_until(state) <= time_ns:
        return RARE
    ended = room_for_step(state)
    if ended != DONE:
        return ended
    world["command_seq"] = world["command_seq"] + 1
    world["memo"] = 0
    world["ref"] = 0
    world["until_ns"] = time_ns
    world["clock_ns"] = time_ns
    if is_cold:
        world["phase"] = PERFORM
        return COLD
    code = perform_first(state, row, kind)
    if code != 0:
        refuse(state, row, code)
    finish(state)
    return DONE


@kernel
def perform_first(state: int, row: int, kind: int) -> int:
    """Hand a command that comes before orders to its chapter; gives its refusal, or 0."""
    if kind == C_DEPOSIT:
        return deposit(state, row)
    if kind == C_PUBLISH:
        return publish(state, row)
    return open_account(state, row) if kind == C_OPEN_ACCOUNT else subscribe(state, row)


@leaf
def finish(state: int) -> None:
    """Go on to the next command."""
    world = world_at(state, 0)
    world["phase"] = IDLE
    world["row"] = world["row"] + 1


# ── running ──────────────────────────────────────────────────────────────────────────────────────


@kernel
def drain_matches(state: int) -> int:
    """Do what is on the stack as long as it is matching: DONE, or FULL, GROW or RARE with the rest still to be done."""
    world = world_at(state, 0)
    while world["depth"] > 0:
        task = task_at(state, world["depth"] - 1)
        if task["kind"] != K_MATCH:
            return RARE
        ended = match_step(state, task["a"])
        if ended != DONE:
            return ended
        task_pop(state)
    return DONE


@kernel
def run_hot(state: int, count: int) -> int:
    """Apply commands up to row `count`, as `run` does, as far as they are usual: DONE, FULL, GROW, COLD or RARE."""
    world = world_at(state, 0)
    while True:
        row = world["row"]
        if world["phase"] == IDLE:
            if row >= count:
                return DONE
            if not run_plain(state, row):
                ended = run_first(state, row)
                if ended != DONE:
                    return ended
                continue
            if world["depth"] == 0:
                world["row"] = row + 1
                continue
            world["phase"] = FINISH
        if world["phase"] != FINISH or world["memo"] != 0:
            return RARE
        ended = drain_matches(state)
        if ended != DONE:
            return ended
        world["traded"] = 0
        finish(state)


# ── the entry ────────────────────────────────────────────────────────────────────────────────────

OP_RUN, OP_ONE, OP_DUE, OP_OPEN_ACCOUNT, OP_LISTED, OP_ENTER, OP_IMPORT = range(7)


@leaf
def single(state: int, bits: int, series: int, account: int, order_id: int, price: int, qty: int, ref: int, time_ns: int) -> bool:
    """Write a plain order, amend or cancel into row 0, to be run: False, and nothing has changed, if nothing may begin now.

    `bits` are kind + side × 2^8 + time in force × 2^16 + flags × 2^24. Python may hold a run, or the last single command
    is to be finished first.
    """
    world = world_at(state, 0)
    if world["held"] != 0 or world["phase"] != IDLE:
        return False
    command = command_at(state, 0)
    command["time_ns"] = time_ns
    command["kind"] = bits & 255
    command["side"] = (bits >> 8) & 255
    command["time_in_force"] = (bits >> 16) & 255
    command["flags"] = bits >> 24
    command["series"] = series
    command["account"] = account
    command["other_account"] = 0
    command["order_id"] = order_id
    command["price"] = price
    command["qty"] = qty
    command["deadline_ns"] = 0
    command["display"] = 0
    command["stop_price"] = 0
    command["ref"] = ref
    world["row"] = 0
    world["event_count"] = 0
    return True


@kernel
def listed(state: int, series: int) -> None:
    """Count a series and arm everything that will befall it, created at its listing (R2); done twice it is done once."""
    world = world_at(state, 0)
    if world["series_count"] >= series:
        return
    world["series_count"] = series
    row = series_at(state, series)
    step_arm(state, series)
    if row["open_ns"] != 0:
        row["uncross_timer"] = wheel_arm(state, row["open_ns"], RANK_UNCROSS, series, T_UNCROSS, series, 0)
    row["last_trade_timer"] = wheel_arm(state, row["last_trade_ns"], RANK_LAST_TRADE, series, T_LAST_TRADE, series, 0)
    row["expiry_timer"] = wheel_arm(state, row["expire_ns"], RANK_EXPIRY, series, T_EXPIRY, series, 0)
    series_refresh(state, series)


@kernel
def cold_operation(state: int, what: int, a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    """Do for Python what a cold command, or growing, needs of the tables; done twice it is done once."""
    if what == OP_DUE:
        return wheel_due(state)
    if what == OP_OPEN_ACCOUNT:
        if funds_at(state, 0)["account_count"] == a:
            account_open(state)
    elif what == OP_LISTED:
        listed(state, a)
    elif what == OP_ENTER:
        ids_enter(a, b, c, d)
    else:
        import_units(state, a, b, c, d, e, f)
    return 0


@kernel
def one_hot(state: int, bits: int, series: int, account: int, order_id: int, price: int, qty: int, ref: int, time_ns: int) -> int:
    """Run a plain order or cancel as row 0: events × 4 + how it ended, BUSY if nothing may begin now; RARE is told as GROW."""
    if not single(state, bits, series, account, order_id, price, qty, ref, time_ns):
        return BUSY
    ended = run_hot(state, 1)
    return world_at(state, 0)["event_count"] * 4 + (GROW if ended == RARE else ended)


@kernel
def hot_call(state: int, what: int, a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int) -> int:
    """OP_RUN up to row a, and give how it ended; OP_ONE; else what a cold command needs."""
    if what == OP_ONE:
        return one_hot(state, a, b, c, d, e, f, g, h)
    return run_hot(state, a) if what == OP_RUN else cold_operation(state, what, a, b, c, d, e, f)


_call: Any = hot_call
_exact: Any = exact


def hot_entry(state: int, what: int, a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int) -> int:
    """Call the kernel with ints that Python gives.

    −1, and nothing is done, if OP_ONE's series or account (b, c) does not fit a record or its `ref` (g) is negative.
    """
    if _exact(what) == OP_ONE and ((_exact(b) | _exact(c)) >> 32 != 0 or _exact(g) < 0):
        return -1
    number: int = _call(
        _exact(state), _exact(what), _exact(a), _exact(b), _exact(c), _exact(d), _exact(e), _exact(f), _exact(g), _exact(h)
    )
    return number
