"""One command after another: the clock, what falls due, references, refusals, dispatch (R2, R35).

    IDLE ─ clock ─► TIMERS ─ all that is due, each with its tasks ─► PERFORM ─ checks, writes ─► FINISH ─ tasks ─► IDLE
              │                                                        │    │
        ClockBackwards                                      DUPLICATE, REFUSED   COLD: Python takes over

WORLD's `phase` says where a run is, its stack of tasks what is left to do there, so `run` can be left
between any two steps, for a full buffer or a short table, and called again. A plain order takes a short
way through the same phases (`hot`): nothing due, nothing to ask, nobody under limits.
"""

from __future__ import annotations

from typing import Any

from rightsx._jit import exact, kernel, wide
from rightsx.engine.auction import uncross_due, uncross_step
from rightsx.engine.baskets import buy_product, leg_redeem_step, leg_step, legs_step, pay_bill, roll
from rightsx.engine.default import chargeback, chargeback_step, default, default_end_step, default_step, freeze, unfreeze
from rightsx.engine.holders import open_account, set_account, set_tier
from rightsx.engine.hot import (
    FINISH,
    IDLE,
    OP_ONE,
    OP_RUN,
    PERFORM,
    TIMERS,
    cold_operation,
    finish,
    run_plain,
    single,
)
from rightsx.engine.mass import account_silent, cancel_after, cancel_all, cancel_list_step, cancel_orders_step
from rightsx.engine.numbers import (
    BAD_TIME,
    C_ADVANCE,
    C_AMEND,
    C_BUY_PRODUCT,
    C_CANCEL,
    C_CANCEL_AFTER,
    C_CANCEL_ALL,
    C_CHARGEBACK,
    C_DEFAULT,
    C_DEPOSIT,
    C_FREEZE,
    C_GRANT,
    C_HALT,
    C_KILL,
    C_LOCK_VOUCHER,
    C_OPEN_ACCOUNT,
    C_PAY_BILL,
    C_PLACE,
    C_PLAN_SALE,
    C_PUBLISH,
    C_REDEEM,
    C_REDEEM_BILL,
    C_REFUND,
    C_RESUME,
    C_ROLL,
    C_SET_ACCOUNT,
    C_SUBSCRIBE,
    C_TRANSFER,
    C_UNFREEZE,
    C_UNKILL,
    C_UPLOAD_VOUCHER,
    C_WITHDRAW,
    CLOCK_BACKWARDS,
    F_TIME_NS,
    T_ACCOUNT_SILENT,
    T_DECAY,
    T_EXPIRY,
    T_LAST_TRADE,
    T_ORDER_DUE,
    T_PLAN_DUE,
    T_UNCROSS,
    T_VOUCHER_LAPSE,
)
from rightsx.engine.orders import (
    amend,
    cancel,
    match_step,
    order_expire,
    pegs_step,
    place,
    stops_step,
)
from rightsx.engine.plans import plan_due, plan_sale
from rightsx.engine.primary import grant, subscribe
from rightsx.engine.publication import publish
from rightsx.engine.redemption import bill_step, redeem, redeem_bill, refund
from rightsx.engine.references import answered_before, forget, remember
from rightsx.engine.state import (
    BUSY,
    COLD,
    DONE,
    FULL,
    GROW,
    NIL,
    command_at,
    no,
    refuse,
    room_for_step,
    task_at,
    task_pop,
    world_at,
)
from rightsx.engine.switches import advance, halt, kill, resume
from rightsx.engine.tasks import (
    K_BILL,
    K_CANCEL_LIST,
    K_CANCEL_ORDERS,
    K_CHARGEBACK,
    K_DEFAULT,
    K_DEFAULT_END,
    K_LAPSE,
    K_LEG,
    K_LEG_REDEEM,
    K_LEGS,
    K_MATCH,
    K_PEGS,
    K_STOPS,
    K_UNCROSS,
)
from rightsx.engine.transfer import deposit, transfer, withdraw
from rightsx.engine.value import decay, expire, last_trade, pay_out_step
from rightsx.engine.vouchers import lapse_step, lock_voucher, upload_voucher, voucher_due
from rightsx.expiry import timer_at, timer_free, wheel_idle_until, wheel_pop
from rightsx.protocol import AT_ENGINE_CLOCK, FIRST_COLD_KIND, TIME_END

# ── tasks ────────────────────────────────────────────────────────────────────────────────────────


@kernel
def drain(state: int) -> int:
    """Do what is on the stack, step by step: DONE, or FULL or GROW with the rest still to be done."""
    world = world_at(state, 0)
    while world["depth"] > 0:
        task = task_at(state, world["depth"] - 1)
        if task["kind"] == K_MATCH:
            ended = match_step(state, task["a"])
            if ended == DONE:
                task_pop(state)
        else:
            ended = room_for_step(state)
            if ended == DONE:
                ended = task_step(state, task["kind"])
        if ended == FULL or ended == GROW:
            return ended
    return DONE


@kernel
def task_step(state: int, kind: int) -> int:
    """Do one step of the task on top, which is of this kind."""
    if kind == K_STOPS:
        return stops_step(state)
    if kind == K_CANCEL_ORDERS:
        return cancel_orders_step(state)
    if kind == K_CANCEL_LIST:
        return cancel_list_step(state)
    if kind == K_UNCROSS:
        return uncross_step(state)
    if kind == K_BILL:
        return bill_step(state)
    if kind == K_CHARGEBACK:
        return chargeback_step(state)
    if kind == K_DEFAULT:
        return default_step(state)
    if kind == K_LAPSE:
        return lapse_step(state)
    if kind == K_DEFAULT_END:
        return default_end_step(state)
    if kind == K_LEGS:
        return legs_step(state)
    if kind == K_LEG:
        return leg_step(state)
    if kind == K_PEGS:
        return pegs_step(state)
    if kind == K_LEG_REDEEM:
        return leg_redeem_step(state)
    return pay_out_step(state)


# ── what falls due (R2) ──────────────────────────────────────────────────────────────────────────


@kernel
def fire_due(state: int) -> int:
    """Let every timer due by WORLD's `until_ns` take effect, in order, each finished before the next."""
    world = world_at(state, 0)
    while True:
        ended = drain(state)
        if ended == DONE:
            ended = room_for_step(state)
        if ended != DONE:
            return ended
        slot = wheel_pop(state, world["until_ns"])
        if slot == NIL:
            return DONE
        timer = timer_at(state, slot)
        kind, subject, ref = wide(timer["kind"]), timer["subject"], timer["ref"]
        world["clock_ns"] = timer["due_ns"]
        timer_free(state, slot)
        fire(state, kind, subject, ref)


@kernel
def fire(state: int, kind: int, subject: int, ref: int) -> None:
    """Let one timer take effect."""
    if kind == T_ORDER_DUE:
        order_expire(state, subject)
    elif kind == T_DECAY:
        decay(state, subject)
    elif kind == T_VOUCHER_LAPSE:
        voucher_due(state, subject)
    elif kind == T_ACCOUNT_SILENT:
        account_silent(state, subject)
    elif kind == T_UNCROSS:
        uncross_due(state, subject)
    elif kind == T_LAST_TRADE:
        last_trade(state, subject)
    elif kind == T_EXPIRY:
        expire(state, subject)
    elif kind == T_PLAN_DUE:
        plan_due(state, subject, ref)
    else:
        forget(state, subject, ref)


# ── dispatch ─────────────────────────────────────────────────────────────────────────────────────


@kernel
def perform(state: int, row: int) -> int:
    """Hand a hot command to its chapter; gives its refusal, or 0."""
    kind = wide(command_at(state, row)["kind"])
    if kind == C_PLACE:
        return place(state, row)
    if kind == C_CANCEL:
        return cancel(state, row)
    if kind == C_AMEND:
        return amend(state, row)
    if kind <= C_REFUND:
        return perform_units(state, row, kind)
    return perform_rest(state, row, kind)


@kernel
def perform_units(state: int, row: int, kind: int) -> int:
    """Hand over a command about many orders, or about units."""
    if kind == C_CANCEL_ALL:
        return cancel_all(state, row)
    if kind == C_CANCEL_AFTER:
        return cancel_after(state, row)
    if kind == C_SUBSCRIBE:
        return subscribe(state, row)
    if kind == C_GRANT:
        return grant(state, row)
    if kind == C_TRANSFER:
        return transfer(state, row)
    if kind == C_REDEEM:
        return redeem(state, row)
    if kind == C_REDEEM_BILL:
        return redeem_bill(state, row)
    return refund(state, row)


@kernel
def perform_rest(state: int, row: int, kind: int) -> int:
    """Hand over a command about vouchers, switches, cash or accounts."""
    if kind == C_LOCK_VOUCHER:
        return lock_voucher(state, row)
    if kind == C_UPLOAD_VOUCHER:
        return upload_voucher(state, row)
    if kind == C_HALT:
        return halt(state, row)
    if kind == C_RESUME:
        return resume(state, row)
    if kind == C_FREEZE:
        return freeze(state, row)
    if kind == C_UNFREEZE:
        return unfreeze(state, row)
    if kind == C_KILL or kind == C_UNKILL:
        return kill(state, 1 if kind == C_KILL else 0)
    if kind == C_DEFAULT:
        return default(state, row)
    if kind == C_CHARGEBACK:
        return chargeback(state, row)
    if kind == C_DEPOSIT:
        return deposit(state, row)
    if kind == C_WITHDRAW:
        return withdraw(state, row)
    if kind == C_ADVANCE:
        return advance(state)
    if kind == C_OPEN_ACCOUNT:
        return open_account(state, row)
    if kind == C_SET_ACCOUNT:
        return set_account(state, row)
    if kind == C_PUBLISH:
        return publish(state, row)
    if kind == C_PAY_BILL:
        return pay_bill(state, row)
    if kind == C_BUY_PRODUCT:
        return buy_product(state, row)
    if kind == C_ROLL:
        return roll(state, row)
    if kind == C_PLAN_SALE:
        return plan_sale(state, row)
    return set_tier(state, row)


# ── running ──────────────────────────────────────────────────────────────────────────────────────


@kernel
def begin(state: int, row: int) -> int:
    """Count a command and move the clock to its time; what falls due by then comes first. Gives the refusal, or 0."""
    world = world_at(state, 0)
    command = command_at(state, row)
    time_ns = command["time_ns"]
    world["command_seq"] = world["command_seq"] + 1
    world["memo"] = 0
    if time_ns == AT_ENGINE_CLOCK:
        time_ns = world["clock_ns"]
    if time_ns < world["clock_ns"]:
        return no(state, CLOCK_BACKWARDS, F_TIME_NS, time_ns, world["clock_ns"])
    if time_ns >= TIME_END:
        return no(state, BAD_TIME, F_TIME_NS, time_ns, TIME_END - 1)
    world["until_ns"] = time_ns
    world["phase"] = TIMERS
    return 0


@kernel
def perform_phase(state: int, row: int) -> int:
    """Answer the command, again if it was answered before: DONE, or COLD if Python has to perform it."""
    world = world_at(state, 0)
    command = command_at(state, row)
    kind = wide(command["kind"])
    if kind < FIRST_COLD_KIND:
        world["ref"] = wide(command["ref"])
    if world["ref"] != 0 and answered_before(state, row):
        world["memo"] = 0
        finish(state)
        return DONE
    if kind >= FIRST_COLD_KIND:
        return COLD
    code = perform(state, row)
    if code != 0:
        refuse(state, row, code)
        finish(state)
    else:
        world["phase"] = FINISH
    return DONE


@kernel
def run(state: int, count: int) -> int:
    """Apply commands up to row `count`: DONE; FULL or GROW to be called again; COLD for a command that Python performs."""
    world = world_at(state, 0)
    while True:
        row = world["row"]
        if world["phase"] == IDLE:
            if row >= count:
                return DONE
            if run_plain(state, row):
                world["row"] = row + 1
                if world["depth"] > 0:
                    world["phase"] = FINISH
                    world["row"] = row
                else:
                    continue
        if world["phase"] == IDLE:
            ended = room_for_step(state)
            if ended != DONE:
                return ended
            code = begin(state, row)
            if code != 0:
                refuse(state, row, code)
                finish(state)
                continue
        if world["phase"] == TIMERS:
            if wheel_idle_until(state) <= world["until_ns"]:
                ended = fire_due(state)
                if ended != DONE:
                    return ended
            world["clock_ns"] = world["until_ns"]
            world["phase"] = PERFORM
        if world["phase"] == PERFORM:
            # There is room: the last look for a timer found it, or the look before `begin`, and nothing was written since.
            ended = perform_phase(state, row)
            if ended != DONE:
                return ended
        if world["phase"] == FINISH:
            ended = drain(state)
            if ended == DONE and world["memo"] != 0:
                ended = room_for_step(state)
            if ended != DONE:
                return ended
            if world["memo"] != 0:
                remember(state, row)
            world["memo"] = 0
            world["traded"] = 0
            finish(state)


# ── the entry ────────────────────────────────────────────────────────────────────────────────────


@kernel
def one(state: int, bits: int, series: int, account: int, order_id: int, price: int, qty: int, ref: int, time_ns: int) -> int:
    """Run a plain order, amend or cancel as row 0: events × 4 + how it ended, BUSY if nothing may begin now."""
    if not single(state, bits, series, account, order_id, price, qty, ref, time_ns):
        return BUSY
    ended = run(state, 1)
    return world_at(state, 0)["event_count"] * 4 + ended


@kernel
def engine_call(state: int, what: int, a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int) -> int:
    """OP_RUN up to row a, and give how it ended; OP_ONE; else what a cold command needs."""
    if what == OP_ONE:
        return one(state, a, b, c, d, e, f, g, h)
    return run(state, a) if what == OP_RUN else cold_operation(state, what, a, b, c, d, e, f)


_call: Any = engine_call
_exact: Any = exact


def engine_entry(state: int, what: int, a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int) -> int:
    """Call the kernel with ints that Python gives.

    −1, and nothing is done, if OP_ONE's series or account (b, c) does not fit a record or its `ref` (g) is negative.
    """
    if _exact(what) == OP_ONE and ((_exact(b) | _exact(c)) >> 32 != 0 or _exact(g) < 0):
        return -1
    number: int = _call(
        _exact(state), _exact(what), _exact(a), _exact(b), _exact(c), _exact(d), _exact(e), _exact(f), _exact(g), _exact(h)
    )
    return number
