"""Puts a root of the state into the journal, where a replay finds it at the same place (`commitment`)."""

from __future__ import annotations

from rightsx._jit import kernel
from rightsx.engine.numbers import E_STATE
from rightsx.engine.references import check_reference
from rightsx.engine.state import command_at, event_at, event_begin


@kernel
def publish(state: int, row: int) -> int:
    """Copy the 32 bytes that the command carries; who gives it has computed them."""
    code = check_reference(state)
    if code != 0:
        return code
    # From here the command must succeed.
    command = command_at(state, row)
    event = event_at(state, event_begin(state, E_STATE))
    event["price"] = command["order_id"]
    event["qty"] = command["price"]
    event["amount"] = command["qty"]
    event["fee"] = command["deadline_ns"]
    return 0
