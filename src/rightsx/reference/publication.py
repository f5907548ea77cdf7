"""Puts a root of the state into the journal, where a replay finds it at the same place (`commitment`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rightsx.protocol import EventKind

if TYPE_CHECKING:
    from rightsx.protocol import Command
    from rightsx.reference.state import Market


def publish(market: Market, command: Command) -> None:
    """Copy the 32 bytes that the command carries; who gives it has computed them."""
    market.check_reference(command)
    # From here the command must succeed.
    market.emit(EventKind.STATE, price=command.order_id, qty=command.price, amount=command.qty, fee=command.deadline_ns)
