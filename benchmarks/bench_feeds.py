"""Measures how fast venues' files are read: a made-up day of ITCH, written with NumPy, of many stocks or of one.

    python benchmarks/bench_feeds.py --messages 5000000 --runs 3 [--share 100]

`--share` is how many percent of the messages are about the stock that is asked for.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from rightsx.loaders import load_itch

LAYOUTS = {
    "A": [("id", ">u8"), ("side", "S1"), ("qty", ">u4"), ("stock", "S8"), ("price", ">u4")],
    "E": [("id", ">u8"), ("qty", ">u4"), ("match", ">u8")],
    "D": [("id", ">u8")],
    "U": [("id", ">u8"), ("new", ">u8"), ("qty", ">u4"), ("price", ">u4")],
}
HEAD = [("length", ">u2"), ("kind", "S1"), ("locate", ">u2"), ("tracking", ">u2"), ("high", ">u2"), ("low", ">u4")]
SHARES = (0.45, 0.05, 0.42, 0.08)  # about those of a day


def made_file(messages: int, share: int, seed: int = 1) -> bytes:
    """Write a day whose fields are random, kind by kind in small groups, so that it is made by NumPy alone."""
    draw = np.random.default_rng(seed)
    kinds = draw.choice(len(LAYOUTS), messages, p=SHARES)
    dtypes = [np.dtype(HEAD + fields) for fields in LAYOUTS.values()]
    sizes = np.array([dtype.itemsize for dtype in dtypes])[kinds]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    out = np.zeros(int(starts[-1]), np.uint8)
    time = 34_200 * 10**9 + np.arange(messages) * 4_000
    own = draw.integers(0, 100, messages) < share
    for number, (kind, dtype) in enumerate(zip(LAYOUTS, dtypes, strict=True)):
        chosen = np.flatnonzero(kinds == number)
        rows = np.zeros(len(chosen), dtype)
        rows["length"], rows["kind"] = dtype.itemsize - 2, kind.encode()
        rows["locate"] = np.where(own[chosen], 13, 14)
        rows["high"], rows["low"] = time[chosen] >> 32, time[chosen] & 0xFFFFFFFF
        rows["id"] = chosen + 1
        for name, value in {"qty": 100, "price": 1_850_000, "new": 9, "match": 5, "side": b"B"}.items():
            if name in (dtype.names or ()):
                rows[name] = value
        if kind == "A":
            rows["stock"] = np.where(own[chosen], b"AAPL    ", b"MSFT    ")
        view: np.ndarray = np.ndarray((len(out) - dtype.itemsize + 1,), dtype, out, strides=(1,))
        view[starts[chosen]] = rows
    return out.tobytes() + b"\0\0"


def main() -> None:
    """Measure, and print a row of a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--messages", type=int, default=5_000_000)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--share", type=int, default=5, help="percent of the messages that are the stock's (default 5)")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "day.itch"
        path.write_bytes(made_file(given.messages, given.share))
        seconds = []
        for _ in range(given.runs):
            start = perf_counter()
            feed = load_itch(path)
            seconds.append(perf_counter() - start)
        rate = [feed.total / taken / 1e6 for taken in seconds]
        print(f"{path.stat().st_size / 1e6:.0f} MB, {feed.total:,} messages, {len(feed.messages):,} of the stock")
        print(f"M messages/s: median {median(rate):.2f}, worst {min(rate):.2f}, best {max(rate):.2f}")


if __name__ == "__main__":
    main()
