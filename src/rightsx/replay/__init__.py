"""Real order flow through `OrderBook`, held against what the venue itself printed.

bitstamp   creates, re-pricings and cancels in; every fill compared with the venue's own
lobster    messages in; every row compared with the venue's own book
databento  CME's orders in; the makers of every trade compared with our queue
flow       a venue's orders as a feed for a market: real order flow for backtests

`rightsx.loaders` reads the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rightsx.border import word
from rightsx.loaders import load_bitstamp, load_databento, load_lobster
from rightsx.replay.bitstamp import BitstampReplay, replay_bitstamp, venue_story
from rightsx.replay.databento import DatabentoReplay, replay_databento
from rightsx.replay.flow import VenueFlow, bitstamp_flow
from rightsx.replay.lobster import LobsterReplay, replay_lobster

if TYPE_CHECKING:
    from pathlib import Path

    from rightsx.progress import Progress

__all__ = [
    "BitstampReplay",
    "DatabentoReplay",
    "LobsterReplay",
    "VenueFlow",
    "bitstamp_flow",
    "replay_bitstamp",
    "replay_databento",
    "replay_file",
    "replay_lobster",
    "venue_story",
]

FORMATS: Final = {"bitstamp": "bitstamp", "databento": "databento", "lobster": "lobster"}


def replay_file(
    path: Path | str, *, form: str, errors: str = "raise", progress: Progress = None
) -> BitstampReplay | DatabentoReplay | LobsterReplay:
    """Load a file of the format `form` (bitstamp, databento or lobster) and replay it through a new `OrderBook`.

    Raises `MisuseError` for another format or a missing extra, `InputFileError` for a wrong file.
    """
    if word("format", form, FORMATS) == "bitstamp":
        return replay_bitstamp(load_bitstamp(path, errors=errors, progress=progress), progress=progress)
    if form == "databento":
        return replay_databento(load_databento(path, errors=errors, progress=progress), progress=progress)
    return replay_lobster(load_lobster(path, errors=errors, progress=progress), progress=progress)
