"""Writes tests/golden/store-1 and so on: small stores that every later version must open, and make again byte for byte.

They are kept for ever. When the format of a store changes its number rises, and a new golden store stands beside the others.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from unittest import mock

from rightsx import schedule
from rightsx.exchange import Exchange
from rightsx.note import make_signing_key
from rightsx.protocol import Limits
from rightsx.storage import FORMAT, open_twin

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"
KEY = make_signing_key("golden.rightsx.example", bytes(range(64, 96)))
SEGMENT = 4_096


def golden(number: int) -> Path:
    """Say where the golden store of a format is."""
    return GOLDEN / f"store-{number}"


def make(path: Path, engine: str, number: int = FORMAT) -> Exchange:
    """Make the store of a format anew; gives the market, which is closed."""
    small = lambda *given, **named: open_twin(*given, **named, segment_bytes=SEGMENT)  # noqa: E731
    with (
        mock.patch.object(secrets, "token_bytes", lambda count: bytes(place % 256 for place in range(count))),
        mock.patch("rightsx.storage.FORMAT", number),
        mock.patch.object(secrets, "token_hex", return_value="00112233445566778899aabbccddeeff"),
        mock.patch("rightsx.storage.open_twin", small),
    ):
        return play(path, engine)


def play(path: Path, engine: str) -> Exchange:
    """Play a small market with a bit of everything."""
    limits = Limits(orders=100, accounts=50, holdings=100, series=10)
    opened = Exchange.open(path, engine=engine, signer=KEY, gift_fee=3, reference_days=5, limits=limits)
    with opened as market:
        shop = market.register_merchant("Café Nord", time_ns="2026-01-01")
        till = market.register_store("Centre", merchant=shop)
        people = [market.open_account(ref=number) for number in range(1, 6)]
        for number, person in enumerate(people):
            market.deposit(account=person, amount=10_000 + number, ref=9)
        coffee = market.list_series(
            merchant=shop, product="coffee", par=100, issue_price=80, authorised=1_000, expire="2026-06-30",
            policy="forfeit", schedule=schedule.linear(steps=3, every="10d"), maker_bps=10, taker_bps=30, stores=[till],
        )  # fmt: skip
        market.import_members(series=coffee, rows=[(7, 500), (9, 300)])
        for person in people:
            market.subscribe(series=coffee, account=person, qty=10, channel="web", time_ns="2026-01-02")
        market.publish()
        for number, person in enumerate(people):
            market.place(series=coffee, account=person, side="sell", price=85 + number, qty=3, time_ns="2026-02-01")
            market.place(series=coffee, account=people[0], side="buy", price=86, qty=2)
        market.redeem(series=coffee, account=people[1], qty=2, store=till, time_ns="2026-03-01")
        market.transfer(series=coffee, account=people[2], recipient=people[3], qty=1)
        market.withdraw(account=people[4], amount=10**9)
        market.advance(to="2026-06-15")
        market.publish()
        market.deposit(account=people[0], amount=1, ref=9)
    return market


def main() -> None:
    """Write the golden store of this format, where there is none."""
    path = golden(FORMAT)
    assert not path.exists(), "a golden store is kept for ever; a new format has a new one beside it"
    make(path, "reference")
    (path / "lock").unlink()


if __name__ == "__main__":
    main()
