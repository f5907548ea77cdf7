"""Markets that are large in one way: very many series, or very many holders, on both engines.

`make test` runs them small (`test_scale`), `make scale` large: a hundred thousand series, a hundred thousand
holders. What is asked is the same: every event of the compiled engine is the reference's, an empty book
costs 64 bytes and no node, and whatever touches everybody (a sweep, an uncross, an expiry) stops for a
buffer of eight events and goes on from there.

    python tests/scale.py --series 100000 --holders 100000
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from rightsx.engine.memory import HEADS
from rightsx.protocol import (
    COMMAND,
    DAY_NS,
    T0_NS,
    CommandKind as K,
    EventKind,
    Limits,
    Policy,
    Side,
    Term,
    TimeInForce,
    Venue,
)
from rightsx.vocabulary import cold_command, command
from twins import MarketTwins, Watch, rows_differ

if TYPE_CHECKING:
    from twins import MarketPair, Part

SIDES: Final = 1  # the table of books
TINY: Final = 8  # events: the smallest buffer there can be
PRODUCTS: Final = 400
MERCHANT, BUYER, SELLER = 1, 2, 3


def agree(pair: MarketPair, part: Part) -> np.ndarray:
    """Hand a part to both engines; gives the events, which are the same."""
    judge, subject = pair.ask(part)
    _, said = rows_differ(judge, subject)
    assert not said, said
    return judge


def listing(product: str, **terms: int) -> tuple[tuple[str, object], ...]:
    """Give the payload of a listing."""
    usual = {"PAR": 100, "ISSUE_PRICE": 80, "AUTHORISED": 2**22, "EXPIRE_NS": T0_NS + 90 * DAY_NS, "POLICY": Policy.FORFEIT}
    numbers = {int(Term[name]): int(value) for name, value in (usual | terms).items()}
    payload = {"product": product, "terms": numbers, "steps": [], "stores": [], "channel_caps": {}, "ref": 0}
    return tuple(payload.items())


# ── many series ──────────────────────────────────────────────────────────────────────────────────


def many_series(count: int) -> float:
    """List so many series, find orders in some of them and nothing in the others; gives seconds a listing of both engines."""
    pair = MarketTwins(Venue(limits=Limits(series=count))).open(Watch())
    agree(pair, cold_command(K.REGISTER_MERCHANT, {"name": "M", "ref": 0}, time_ns=T0_NS))
    for _ in (BUYER, SELLER):
        agree(pair, (command(K.OPEN_ACCOUNT), b""))
    started = time.perf_counter()
    for number in range(count):
        agree(pair, cold_command(K.LIST_SERIES, dict(listing(f"card {number % PRODUCTS}")), account=MERCHANT))
    seconds = (time.perf_counter() - started) / count
    refused = agree(pair, cold_command(K.LIST_SERIES, dict(listing("one more")), account=MERCHANT))
    assert refused["kind"].tolist() == [EventKind.REFUSED]
    check_empty_books(pair, count)
    chosen = sorted({1, 2, count // 3, count // 2, count - 1, count})
    for account in (BUYER, SELLER):
        agree(pair, (command(K.DEPOSIT, account=account, amount=10**6), b""))
    for series in chosen:
        trade_in(pair, series)
    for series in (3, count // 2 + 1, count - 2):
        assert pair.subject.depth(series, Side.BUY, None) == pair.subject.depth(series, Side.SELL, None) == []
    said = pair.whole_differs()
    assert not said, said
    return seconds


def check_empty_books(pair: MarketPair, count: int) -> None:
    """Assert what an empty book costs: a row of 16 bytes for each of its four queues, and no node of a trie."""
    memory = pair.subject._memory
    assert memory.world["series_count"] == count
    assert memory.arrays[SIDES].itemsize * 4 <= 64
    rows = len(memory.arrays[SIDES])
    assert 4 * (count + 1) <= rows <= 2 * 4 * (count + 1), "the table doubles and no more"
    assert memory.arrays[HEADS][0]["node_used"] == 1, "no book has a node"


def trade_in(pair: MarketPair, series: int) -> None:
    """Rest orders on both sides of one book, trade, and find what is left by id, by price and in the queue."""
    agree(pair, (command(K.SUBSCRIBE, series=series, account=SELLER, qty=9), b""))
    chosen = {"series": series, "time_in_force": TimeInForce.GTC}
    orders = [(BUYER, Side.BUY, 70 + series % 7, 4), (SELLER, Side.SELL, 90, 6), (BUYER, Side.BUY, 90, 2)]
    events = [
        agree(pair, (command(K.PLACE, account=account, side=side, price=price, qty=qty, **chosen), b""))
        for account, side, price, qty in orders
    ]
    assert [int(told[-1]["kind"]) for told in events] == [EventKind.ACCEPTED, EventKind.ACCEPTED, EventKind.FILL]
    (bid,), (ask,) = (pair.subject.depth(series, side, None) for side in Side)
    assert (bid.price, bid.qty, ask.price, ask.qty) == (70 + series % 7, 4, 90, 4)
    number = int(events[0][-1]["order_id"])
    assert pair.subject.order(number).series == series
    assert [order.order_id for order in pair.subject.queue(series, Side.BUY)] == [number]


# ── many holders ─────────────────────────────────────────────────────────────────────────────────


def count_calls(owner: Any, name: str) -> list[Any]:
    """Note every call of a method from now on."""
    method, calls = getattr(owner, name), []

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return method(*arguments)

    setattr(owner, name, counted)
    return calls


class Crowd:
    """A market with very many holders of three series, whose engine has room for eight events; accounts from 2."""

    def __init__(self, holders: int) -> None:
        """Open the accounts, give them cash and units, place their orders."""
        self.holders = holders
        self.accounts = np.arange(2, 2 + holders)
        self.pair = MarketTwins(event_rows=TINY).open(Watch())
        self.full = count_calls(self.pair.subject, "_lengthen")
        agree(self.pair, cold_command(K.REGISTER_MERCHANT, {"name": "M", "ref": 0}, time_ns=T0_NS))
        decays = dict(listing("decays", EXPIRE_NS=T0_NS + 9 * DAY_NS, POLICY=Policy.PRINCIPAL, ESCROW_BPS=3_000))
        decays["steps"] = [[T0_NS + DAY_NS, 90]]
        agree(self.pair, cold_command(K.LIST_SERIES, decays, account=MERCHANT))
        opens = listing("opens", OPEN_NS=T0_NS + 2 * DAY_NS, MAKER_BPS=30, AUCTION_BPS=20, ROYALTY_BPS=100)
        agree(self.pair, cold_command(K.LIST_SERIES, dict(opens), account=MERCHANT))
        self.every(K.OPEN_ACCOUNT)
        self.every(K.DEPOSIT, account=self.accounts, qty=1_000)
        self.every(K.SUBSCRIBE, account=self.accounts, series=1, qty=1 + self.accounts % 3)
        self.every(K.SUBSCRIBE, account=self.accounts, series=2, qty=3)
        agree(self.pair, (command(K.WITHDRAW, account=MERCHANT, amount=holders * 250), b""))
        place = {"kind": K.PLACE, "account": self.accounts, "time_in_force": TimeInForce.GTC}
        self.every(**place, series=1, side=Side.SELL, price=88 + self.accounts % 7, qty=1)
        odd = self.accounts % 2
        self.every(**place, series=2, side=1 + odd, price=70 + self.accounts % 9, qty=1 + self.accounts % 3)

    def every(self, kind: K, **columns: np.ndarray | int) -> None:
        """Hand over one command for each holder."""
        rows = np.zeros(self.holders, COMMAND)
        rows["time_ns"] = T0_NS
        rows["kind"] = kind
        for name, values in columns.items():
            rows[name] = values
        events = agree(self.pair, rows)
        assert not np.any(events["kind"] == EventKind.REFUSED)

    def advance(self, days: int) -> np.ndarray:
        """Let time pass as one command, which stopped for a full buffer as often as it had to."""
        before = len(self.full)
        events = agree(self.pair, (command(K.ADVANCE, time_ns=T0_NS + days * DAY_NS), b""))
        stops = len(self.full) - before
        assert stops >= len(events) // TINY - 1, f"{len(events)} events came with {stops} stops"
        return events

    def count(self, events: np.ndarray, kind: EventKind) -> int:
        """Say how many events of a kind there are."""
        return int(np.count_nonzero(events["kind"] == kind))


def many_holders(holders: int) -> None:
    """Sweep, uncross and expire before so many: every event is the reference's, and so is the state after each."""
    crowd = Crowd(holders)
    swept = crowd.advance(1)
    assert crowd.count(swept, EventKind.CANCELLED) == np.count_nonzero(88 + crowd.accounts % 7 > 90)
    uncrossed = crowd.advance(2)
    assert crowd.count(uncrossed, EventKind.FILL) > holders // 4
    ended = crowd.advance(9)
    assert crowd.count(ended, EventKind.PAID_OUT) == holders
    paid = ended[ended["kind"] == EventKind.PAID_OUT]
    assert paid["account"].tolist() == crowd.accounts.tolist(), "everybody, in order of account"
    assert 0 < paid["other_fee"].sum() < paid["amount"].sum(), "not all that is owed was there"
    said = crowd.pair.whole_differs()
    assert not said, said


def main() -> None:
    """Run both, large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--holders", type=int, default=100_000)
    options = parser.parse_args()
    started = time.perf_counter()
    seconds = many_series(options.series)
    print(f"{options.series:,} series: {seconds * 1e6:.0f} µs a listing on both engines, {time.perf_counter() - started:.0f} s")
    started = time.perf_counter()
    many_holders(options.holders)
    print(f"{options.holders:,} holders swept, uncrossed and paid out: {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
