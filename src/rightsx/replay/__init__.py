"""Real order flow through `OrderBook`, held against what the venue itself printed.

bitstamp   creates, re-pricings and cancels in; every fill compared with the venue's own
lobster    messages in; every row compared with the venue's own book
databento  CME's orders in; the makers of every trade compared with our queue
itch       NASDAQ's orders in; every execution compared with our queue
beside     what the last two share; a tape of what a book was told
flow       a venue's orders as a feed for a market: real order flow for backtests

`rightsx.loaders` reads the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rightsx.loaders import BitstampFeed, DatabentoFeed, ItchFeed, LobsterFeed, load_file
from rightsx.replay.bitstamp import BitstampReplay, replay_bitstamp, venue_story
from rightsx.replay.databento import DatabentoReplay, replay_databento
from rightsx.replay.flow import VenueFlow, bitstamp_flow, venue_flow
from rightsx.replay.itch import ItchReplay, replay_itch
from rightsx.replay.lobster import LobsterReplay, replay_lobster

if TYPE_CHECKING:
    from pathlib import Path

    from rightsx.progress import Progress

__all__ = [
    "BitstampReplay",
    "DatabentoReplay",
    "ItchReplay",
    "LobsterReplay",
    "VenueFlow",
    "bitstamp_flow",
    "replay_bitstamp",
    "replay_databento",
    "replay_feed",
    "replay_file",
    "replay_itch",
    "replay_lobster",
    "venue_flow",
    "venue_story",
]


def replay_file(
    path: Path | str, *, form: str, stock: str = "AAPL", errors: str = "raise", progress: Progress = None
) -> BitstampReplay | DatabentoReplay | ItchReplay | LobsterReplay:
    """Load a file of the format `form` (bitstamp, databento, itch or lobster) and replay it through a new `OrderBook`.

    `stock` is the one that is read out of a file of ITCH. Raises `MisuseError` for another format or a missing extra,
    `InputFileError` for a wrong file.
    """
    return replay_feed(load_file(path, form=form, stock=stock, errors=errors, progress=progress), progress=progress)


def replay_feed(
    feed: BitstampFeed | DatabentoFeed | ItchFeed | LobsterFeed, *, progress: Progress = None
) -> BitstampReplay | DatabentoReplay | ItchReplay | LobsterReplay:
    """Replay what a loader of `rightsx.loaders` gave, through a new `OrderBook`. O(messages)."""
    if isinstance(feed, BitstampFeed):
        return replay_bitstamp(feed, progress=progress)
    if isinstance(feed, DatabentoFeed):
        return replay_databento(feed, progress=progress)
    if isinstance(feed, ItchFeed):
        return replay_itch(feed, progress=progress)
    return replay_lobster(feed, progress=progress)
