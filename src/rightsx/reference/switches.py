"""What the platform turns on and off: the halt of a series, the kill switch, the clock (R20, R32, R43)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rightsx.protocol import EventKind, Refusal
from rightsx.reference.auction import uncross

if TYPE_CHECKING:
    from rightsx.protocol import Command
    from rightsx.reference.state import Market, Series


def admit_switch(market: Market, command: Command) -> Series:
    """Refuse a series that is unknown, ended by default, or expired."""
    market.check_reference(command)
    series = market.known_series(command.series)
    market.refuse_if(series.defaulted, Refusal.MerchantDefaulted)
    market.check_unexpired(series)
    return series


def halt(market: Market, command: Command) -> None:
    """Refuse orders, primary sales and gifts in a series until it resumes (R32)."""
    series = admit_switch(market, command)
    # From here the command must succeed.
    series.halted = True
    market.emit(EventKind.HALTED, series=series.id)


def resume(market: Market, command: Command) -> None:
    """Lift a halt; an uncross that fell due in it is the first effect (R20)."""
    series = admit_switch(market, command)
    # From here the command must succeed.
    series.halted = False
    market.emit(EventKind.RESUMED, series=series.id)
    if series.uncross_waits:
        uncross(market, series)


def kill(market: Market, command: Command) -> None:
    """Refuse new orders, amends, primary sales, grants and gifts everywhere (R43)."""
    market.check_reference(command)
    # From here the command must succeed.
    market.killed = True
    market.emit(EventKind.KILLED)


def unkill(market: Market, command: Command) -> None:
    """Take the kill switch off."""
    market.check_reference(command)
    # From here the command must succeed.
    market.killed = False
    market.emit(EventKind.UNKILLED)


def advance(market: Market, command: Command) -> None:
    """Set the clock forward; what fell due has run before (R2)."""
    market.check_reference(command)
    # From here the command must succeed.
    market.emit(EventKind.ADVANCED)
