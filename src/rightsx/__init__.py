"""rightsx: a matching engine and settlement core for time-limited discounted consumption rights.

    import rightsx as rx

    market = rx.Exchange()          a whole market: accounts, series, books, escrow, deadlines
    book = rx.OrderBook()           matching alone, without accounts and money
    journal = rx.Journal(...)       what was settled, provable to anybody
    rx.schedule.linear(...)         how a right's value falls as its deadline nears

Names are loaded when they are first used, so that importing the package costs almost nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rightsx import schedule
    from rightsx.errors import (
        AuditError,
        CorruptionError,
        DivergenceError,
        InputFileError,
        MisuseError,
        ProofError,
        RefusedError,
        RightsxError,
        StoreFailedError,
        StoreLockedError,
    )
    from rightsx.exchange import Exchange
    from rightsx.expiry import TimingWheel
    from rightsx.ledger import Journal
    from rightsx.orderbook import OrderBook
    from rightsx.protocol import COMMAND, EVENT, REPORT, CommandKind, EventKind, Limits, Refusal
    from rightsx.vocabulary import command
    from rightsx.wording import describe

__version__ = "0.1.0"

_HOME: Final = {
    "Exchange": "exchange",
    "OrderBook": "orderbook",
    "TimingWheel": "expiry",
    "Journal": "ledger",
    "schedule": "",
    "Limits": "protocol",
    "COMMAND": "protocol",
    "EVENT": "protocol",
    "REPORT": "protocol",
    "CommandKind": "protocol",
    "EventKind": "protocol",
    "Refusal": "protocol",
    "command": "vocabulary",
    "describe": "wording",
    "RightsxError": "errors",
    "MisuseError": "errors",
    "RefusedError": "errors",
    "InputFileError": "errors",
    "CorruptionError": "errors",
    "AuditError": "errors",
    "StoreLockedError": "errors",
    "StoreFailedError": "errors",
    "ProofError": "errors",
    "DivergenceError": "errors",
}

__all__ = [
    "COMMAND",
    "EVENT",
    "REPORT",
    "AuditError",
    "CommandKind",
    "CorruptionError",
    "DivergenceError",
    "EventKind",
    "Exchange",
    "InputFileError",
    "Journal",
    "Limits",
    "MisuseError",
    "OrderBook",
    "ProofError",
    "Refusal",
    "RefusedError",
    "RightsxError",
    "StoreFailedError",
    "StoreLockedError",
    "TimingWheel",
    "command",
    "describe",
    "schedule",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'rightsx' has no attribute {name!r}")
    if not _HOME[name]:
        return importlib.import_module(f"rightsx.{name}")
    return getattr(importlib.import_module(f"rightsx.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
