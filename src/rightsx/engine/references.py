"""Commands remembered by their `ref`: answered again, conflicting, forgotten (RULES.md, clarifications).

    (account, ref) ──INDEX──► REFERENCE: the command without its time, and how it was answered

A `ref` of 0 is none. While a command with a `ref` runs, WORLD's `memo_…` gathers what its answer will be:
the first order or voucher that it names, what of it is filled, why it was cancelled.
"""

from __future__ import annotations

from rightsx._jit import kernel, leaf, wide
from rightsx.engine.numbers import E_DUPLICATE, E_REFERENCE_FORGOTTEN, F_REF, IDEMPOTENCY_CONFLICT, RANK_FORGET, T_FORGET
from rightsx.engine.state import (
    NIL,
    command_at,
    event_about,
    event_at,
    event_write,
    index_at,
    index_place,
    index_put,
    index_remove,
    no,
    reference_at,
    timer_arm,
    world_at,
)
from rightsx.protocol import INT64_MAX

CONFLICT = 2  # of WORLD's `memo`: its ref stands for another command


@leaf
def check_reference(state: int) -> int:
    """Refuse a `ref` that stands for another command; equal ones were answered before."""
    world = world_at(state, 0)
    if world["memo"] != CONFLICT:
        return 0
    ref = world["ref"]
    return no(state, IDEMPOTENCY_CONFLICT, F_REF, ref if ref >= 0 else INT64_MAX, 0)


@kernel
def same_command(state: int, slot: int, row: int) -> bool:
    """Say whether a remembered command is this one, but for its time."""
    one = reference_at(state, slot)
    other = command_at(state, row)
    return (
        wide(one["kind"]) == wide(other["kind"])
        and wide(one["side"]) == wide(other["side"])
        and wide(one["time_in_force"]) == wide(other["time_in_force"])
        and wide(one["flags"]) == wide(other["flags"])
        and wide(one["series"]) == wide(other["series"])
        and wide(one["account"]) == wide(other["account"])
        and wide(one["other_account"]) == wide(other["other_account"])
        and one["order_id"] == other["order_id"]
        and one["price"] == other["price"]
        and one["qty"] == other["qty"]
        and one["deadline_ns"] == other["deadline_ns"]
        and one["display"] == other["display"]
        and one["stop_price"] == other["stop_price"]
        and wide(one["ref"]) == wide(other["ref"])
    )


@kernel
def answered_before(state: int, row: int) -> bool:
    """Answer a command that was accepted before under the same `ref`; False if it is another one, or new."""
    world = world_at(state, 0)
    account = wide(command_at(state, row)["account"])
    slot = index_at(state, index_place(state, account, world["ref"]))["slot"]
    world["memo"] = 1
    world["memo_order"] = 0
    world["memo_filled"] = 0
    world["memo_code"] = 0
    if slot == NIL:
        return False
    if not same_command(state, slot, row):
        world["memo"] = CONFLICT
        return False
    known = reference_at(state, slot)
    event = event_at(state, event_write(state, E_DUPLICATE, -1))
    event["series"] = wide(command_at(state, row)["series"])
    event["account"] = account
    event["order_id"] = known["first_order"]
    event["other_order_id"] = known["first_seq"]
    event["qty"] = known["filled_qty"]
    event["code"] = known["code"]
    return True


@kernel
def remember(state: int, row: int) -> None:
    """Remember the accepted command that has run, and when to forget it."""
    world = world_at(state, 0)
    slot = world["reference_free"]
    if slot != NIL:
        world["reference_free"] = reference_at(state, slot)["first_seq"]
    else:
        slot = world["reference_used"]
        world["reference_used"] = slot + 1
    one = reference_at(state, slot)
    other = command_at(state, row)
    account = wide(other["account"])
    one["time_ns"] = 0
    one["kind"] = wide(other["kind"])
    one["side"] = wide(other["side"])
    one["time_in_force"] = wide(other["time_in_force"])
    one["flags"] = wide(other["flags"])
    one["series"] = wide(other["series"])
    one["account"] = account
    one["other_account"] = wide(other["other_account"])
    one["order_id"] = other["order_id"]
    one["price"] = other["price"]
    one["qty"] = other["qty"]
    one["deadline_ns"] = other["deadline_ns"]
    one["display"] = other["display"]
    one["stop_price"] = other["stop_price"]
    one["ref"] = other["ref"]
    one["first_seq"] = world["command_seq"]
    one["first_order"] = world["memo_order"]
    one["filled_qty"] = world["memo_filled"]
    one["code"] = world["memo_code"]
    index_put(state, account, world["ref"], slot)
    timer_arm(state, world["clock_ns"] + world["reference_ns"], RANK_FORGET, T_FORGET, account, world["ref"])


@kernel
def forget(state: int, account: int, ref: int) -> None:
    """Forget a reference; the same `ref` is new again."""
    world = world_at(state, 0)
    slot = index_at(state, index_place(state, account, ref))["slot"]
    index_remove(state, account, ref)
    reference_at(state, slot)["first_seq"] = world["reference_free"]
    world["reference_free"] = slot
    event = event_at(state, event_about(state, E_REFERENCE_FORGOTTEN, 0, account))
    event["order_id"] = ref


@leaf
def memo_order(state: int, order_id: int) -> None:
    """Note the first order or voucher that a command with a `ref` names."""
    world = world_at(state, 0)
    if world["memo"] != 0 and world["memo_order"] == 0:
        world["memo_order"] = order_id


@leaf
def memo_cancel(state: int, order_id: int, code: int) -> None:
    """Note why the order of a command with a `ref` was cancelled."""
    world = world_at(state, 0)
    if world["memo"] != 0 and world["memo_order"] == order_id and world["memo_code"] == 0:
        world["memo_code"] = code
