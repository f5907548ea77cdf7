"""What the platform turns on and off: the halt of a series, the kill switch, the clock (R20, R32, R43)."""

from __future__ import annotations

from rightsx._jit import kernel, wide
from rightsx.engine.auction import uncross
from rightsx.engine.numbers import E_ADVANCED, E_HALTED, E_KILLED, E_RESUMED, E_UNKILLED, MERCHANT_DEFAULTED
from rightsx.engine.orders import check_series
from rightsx.engine.references import check_reference
from rightsx.engine.state import check_unexpired, command_at, event_about, event_begin, no, series_at, series_refresh, world_at


@kernel
def admit_switch(state: int, series: int) -> int:
    """Refuse a series that is unknown, ended by default, or expired."""
    code = check_reference(state)
    code = code if code != 0 else check_series(state, series)
    if code == 0 and series_at(state, series)["defaulted"] != 0:
        code = no(state, MERCHANT_DEFAULTED, 0, 0, 0)
    return code if code != 0 else check_unexpired(state, series)


@kernel
def halt(state: int, row: int) -> int:
    """Refuse orders, primary sales and gifts in a series until it resumes (R32)."""
    series = wide(command_at(state, row)["series"])
    code = admit_switch(state, series)
    if code != 0:
        return code
    # From here the command must succeed.
    series_at(state, series)["halted"] = 1
    series_refresh(state, series)
    event_about(state, E_HALTED, series, 0)
    return 0


@kernel
def resume(state: int, row: int) -> int:
    """Lift a halt; an uncross that fell due in it is the first effect (R20)."""
    series = wide(command_at(state, row)["series"])
    code = admit_switch(state, series)
    if code != 0:
        return code
    # From here the command must succeed.
    series_at(state, series)["halted"] = 0
    series_refresh(state, series)
    event_about(state, E_RESUMED, series, 0)
    if series_at(state, series)["uncross_waits"] != 0:
        uncross(state, series)
    return 0


@kernel
def kill(state: int, on: int) -> int:
    """Refuse new orders, amends, primary sales, grants and gifts everywhere, or let them pass again (R43)."""
    code = check_reference(state)
    if code != 0:
        return code
    # From here the command must succeed.
    world_at(state, 0)["killed"] = on
    event_begin(state, E_KILLED if on != 0 else E_UNKILLED)
    return 0


@kernel
def advance(state: int) -> int:
    """Set the clock forward; what fell due has run before (R2)."""
    code = check_reference(state)
    if code != 0:
        return code
    # From here the command must succeed.
    event_begin(state, E_ADVANCED)
    return 0
