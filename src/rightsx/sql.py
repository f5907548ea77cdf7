"""Puts a market's events into a database, and asks it in SQL: what was traded, who has what, and whether it all adds up.

    EVENT[n] ─► table events ─► views: trades, orders, cash, holdings, face_ledger, expiries ─► audit: what does not hold

One text of views serves SQLite, which Python brings, and DuckDB (extra `duckdb`); sums are cast so that both add alike. They
are written from the meaning of the events alone (FORMATS.md), a second time beside `reports`: an auditor who reads SQL needs
nothing else. A view without a row, `audit`, says that everything adds up.

`Sink` follows a market, or a store beside its writer, into an SQLite file. Events are added in one transaction with their
numbers, so that each is there once, however often a process dies between.
Costs: some microseconds an event.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from rightsx.errors import MisuseError
from rightsx.protocol import EVENT, EventKind, FillFlag, Side

if TYPE_CHECKING:
    from pathlib import Path


COLUMNS: Final = tuple(name for name in EVENT.names or () if name not in ("length", "version", "salt"))
_K: Final = {kind.name: int(kind) for kind in EventKind}
_BUYER: Final = f"CASE WHEN side = {int(Side.BUY)} THEN account ELSE other_account END"
_SELLER: Final = f"CASE WHEN side = {int(Side.BUY)} THEN other_account ELSE account END"
_BUYER_FEE: Final = f"CASE WHEN side = {int(Side.BUY)} THEN fee ELSE other_fee END"
_SELLER_FEE: Final = f"CASE WHEN side = {int(Side.BUY)} THEN other_fee ELSE fee END"
_ENDS: Final = f"({_K['EXPIRED']}, {_K['SERIES_DEFAULTED']})"
_ISSUES: Final = f"({_K['SOLD']}, {_K['GRANTED']}, {_K['IMPORTED']})"

# Each view is one SELECT; a later one may stand on an earlier one.
VIEWS: Final[dict[str, str]] = {
    "listed": f"""
        SELECT series, account AS merchant, extra AS product, amount AS par, price AS issue_price, qty AS authorised,
               fee AS value_at_listing, order_id AS last_trade_ns, other_order_id AS expire_ns, event_seq AS listed_seq
        FROM events WHERE kind = {_K["LISTED"]}""",
    "trades": f"""
        SELECT event_seq, time_ns, series, price, qty, {_BUYER} AS buyer, {_SELLER} AS seller, {_BUYER_FEE} AS buyer_fee,
               {_SELLER_FEE} AS seller_fee, amount AS royalty, order_id AS taker_order, other_order_id AS maker_order, flags
        FROM events WHERE kind = {_K["FILL"]}""",
    "orders": f"""
        SELECT a.order_id, a.event_seq, a.time_ns, a.account, a.series, a.side, a.price, a.qty,
               (SELECT MIN(b.event_seq) FROM events b
                WHERE b.kind = {_K["ACCEPTED"]} AND b.order_id = a.order_id AND b.event_seq > a.event_seq) AS next_seq
        FROM events a WHERE a.kind = {_K["ACCEPTED"]}""",
    "cash_moves": f"""
        SELECT event_seq, account, amount FROM events WHERE kind = {_K["DEPOSITED"]}
        UNION ALL SELECT event_seq, account, -amount FROM events WHERE kind IN ({_K["WITHDRAWN"]}, {_K["CHARGED_BACK"]})
        UNION ALL SELECT event_seq, account, -amount FROM events WHERE kind = {_K["SOLD"]}
        UNION ALL SELECT event_seq, 0, fee FROM events WHERE kind IN ({_K["SOLD"]}, {_K["GIFTED"]})
        UNION ALL SELECT event_seq, other_account, amount - fee - other_fee FROM events WHERE kind = {_K["SOLD"]}
        UNION ALL SELECT event_seq, other_account, -other_fee FROM events WHERE kind IN ({_K["IMPORTED"]}, {_K["REFUNDED"]})
        UNION ALL SELECT event_seq, account, other_fee FROM events WHERE kind = {_K["REFUNDED"]}
        UNION ALL SELECT event_seq, buyer, -(price * qty + buyer_fee) FROM trades
        UNION ALL SELECT event_seq, seller, price * qty - seller_fee - royalty FROM trades
        UNION ALL SELECT event_seq, 0, buyer_fee + seller_fee FROM trades
        UNION ALL SELECT t.event_seq, l.merchant, t.royalty FROM trades t JOIN listed l ON l.series = t.series
        UNION ALL SELECT event_seq, account, -fee FROM events WHERE kind = {_K["GIFTED"]}
        UNION ALL SELECT event_seq, account, amount FROM events WHERE kind IN ({_K["ESCROW_RELEASED"]}, {_K["PAID_OUT"]})
        UNION ALL SELECT event_seq, account, -other_fee FROM events WHERE kind IN {_ENDS}""",
    "cash": "SELECT account, CAST(SUM(amount) AS BIGINT) AS cash FROM cash_moves GROUP BY account",
    "unit_moves": f"""
        SELECT event_seq, series, account, qty FROM events WHERE kind IN {_ISSUES}
        UNION ALL SELECT event_seq, series, account, -qty FROM events
                  WHERE kind IN ({_K["GIFTED"]}, {_K["REDEEMED"]}, {_K["VOUCHER_REDEEMED"]}, {_K["REFUNDED"]})
        UNION ALL SELECT event_seq, series, other_account, qty FROM events WHERE kind = {_K["GIFTED"]}
        UNION ALL SELECT event_seq, series, seller, -qty FROM trades
        UNION ALL SELECT event_seq, series, buyer, qty FROM trades WHERE (flags & {int(FillFlag.BUYBACK)}) = 0""",
    "ended": f"SELECT series, MIN(event_seq) AS end_seq FROM events WHERE kind IN {_ENDS} GROUP BY series",
    "holdings": """
        SELECT m.series, m.account, CAST(SUM(m.qty) AS BIGINT) AS units
        FROM unit_moves m LEFT JOIN ended e ON e.series = m.series
        WHERE e.end_seq IS NULL GROUP BY m.series, m.account HAVING SUM(m.qty) <> 0""",
    "values_at": f"""
        SELECT series, listed_seq AS from_seq, value_at_listing AS value FROM listed
        UNION ALL SELECT series, event_seq, price FROM events WHERE kind = {_K["DECAYED"]}
        UNION ALL SELECT series, event_seq, 0 FROM events WHERE kind = {_K["EXPIRED"]}""",
    "face_moves": f"""
        SELECT e.series, 'issued' AS what, e.qty * (SELECT v.value FROM values_at v WHERE v.series = e.series
               AND v.from_seq < e.event_seq ORDER BY v.from_seq DESC LIMIT 1) AS face FROM events e WHERE e.kind IN {_ISSUES}
        UNION ALL SELECT series, 'redeemed', amount FROM events WHERE kind IN ({_K["REDEEMED"]}, {_K["VOUCHER_REDEEMED"]})
        UNION ALL SELECT series, 'decayed', amount FROM events WHERE kind IN ({_K["DECAYED"]}, {_K["VOUCHER_LAPSED"]})
        UNION ALL SELECT series, 'refunded', qty * price FROM events WHERE kind = {_K["REFUNDED"]}
        UNION ALL SELECT series, 'expired', amount FROM events WHERE kind = {_K["EXPIRED"]}
        UNION ALL SELECT series, 'defaulted', amount FROM events WHERE kind = {_K["SERIES_DEFAULTED"]}
        UNION ALL SELECT t.series, 'bought back', t.qty * (SELECT v.value FROM values_at v WHERE v.series = t.series
               AND v.from_seq < t.event_seq ORDER BY v.from_seq DESC LIMIT 1) FROM trades t
               WHERE (t.flags & {int(FillFlag.BUYBACK)}) <> 0""",
    "face_ledger": """
        SELECT l.series, """
    + ", ".join(
        f"CAST(COALESCE(SUM(CASE WHEN m.what = '{what}' THEN m.face END), 0) AS BIGINT) AS {what.replace(' ', '_')}"
        for what in ("issued", "redeemed", "decayed", "refunded", "expired", "defaulted", "bought back")
    )
    + """,
               CAST(COALESCE(SUM(CASE WHEN m.what = 'issued' THEN m.face ELSE -m.face END), 0) AS BIGINT) AS owed
        FROM listed l LEFT JOIN face_moves m ON m.series = l.series GROUP BY l.series""",
    "escrow": f"""
        SELECT l.series, CAST(COALESCE(SUM(CASE
                   WHEN e.kind IN ({_K["SOLD"]}, {_K["IMPORTED"]}) THEN e.other_fee
                   WHEN e.kind = {_K["ESCROW_RELEASED"]} THEN -e.amount
                   WHEN e.kind IN {_ENDS} THEN -e.fee END), 0) AS BIGINT) AS escrow
        FROM listed l LEFT JOIN events e ON e.series = l.series GROUP BY l.series""",
    "expiries": """
        SELECT l.expire_ns, l.series, l.merchant, l.product,
               COALESCE((SELECT SUM(h.units) FROM holdings h WHERE h.series = l.series), 0) AS units, f.owed, s.escrow
        FROM listed l JOIN face_ledger f ON f.series = l.series JOIN escrow s ON s.series = l.series""",
    "audit": f"""
        SELECT what, number, off FROM (
            SELECT 'cash' AS what, 0 AS number,
                   (SELECT COALESCE(SUM(cash), 0) FROM cash) + (SELECT COALESCE(SUM(escrow), 0) FROM escrow)
                   - (SELECT COALESCE(SUM(CASE WHEN kind = {_K["DEPOSITED"]} THEN amount ELSE -amount END), 0) FROM events
                      WHERE kind IN ({_K["DEPOSITED"]}, {_K["WITHDRAWN"]}, {_K["CHARGED_BACK"]})) AS off) books
        WHERE off <> 0
        UNION ALL SELECT 'negative cash', account, cash FROM cash WHERE cash < 0
        UNION ALL SELECT 'negative units', account, units FROM holdings WHERE units < 0
        UNION ALL SELECT 'negative escrow', series, escrow FROM escrow WHERE escrow < 0
        UNION ALL SELECT 'negative face', series, owed FROM face_ledger WHERE owed < 0
        UNION ALL SELECT 'face after the end', f.series, f.owed
                  FROM face_ledger f JOIN ended e ON e.series = f.series WHERE f.owed <> 0
        UNION ALL SELECT 'escrow after the end', s.series, s.escrow
                  FROM escrow s JOIN ended e ON e.series = s.series WHERE s.escrow <> 0""",
}


def _rows(events: np.ndarray) -> dict[str, np.ndarray]:
    """Give the columns of events that are leaves."""
    if not isinstance(events, np.ndarray) or events.dtype != EVENT or events.ndim != 1:
        raise MisuseError(f"events were {getattr(events, 'dtype', type(events).__name__)}; a NumPy array EVENT[n] is due")
    plain = np.asarray(events)
    leaves = plain[plain["event_seq"] >= 0]
    return {name: np.ascontiguousarray(leaves[name]) for name in COLUMNS}


# ── DuckDB ───────────────────────────────────────────────────────────────────────────────────────


def to_duckdb(events: np.ndarray, connection: Any = None) -> Any:
    """Put events into a DuckDB connection (a new one in memory unless given), with all views; gives it.

    `MisuseError` without the extra `duckdb`. An `events` table or a view that is there already is replaced.
    """
    try:
        import duckdb  # noqa: PLC0415 - an extra
    except ImportError:
        raise MisuseError("this needs duckdb: pip install 'rightsx[duckdb]'") from None
    columns = _rows(events)
    made = connection if connection is not None else duckdb.connect()
    made.register("incoming", columns)
    try:
        made.execute(
            f"CREATE OR REPLACE TABLE events AS SELECT {', '.join(f'CAST({n} AS BIGINT) AS {n}' for n in COLUMNS)} FROM incoming"
        )
    finally:
        made.unregister("incoming")
    for name, text in VIEWS.items():
        made.execute(f"CREATE OR REPLACE VIEW {name} AS {text}")
    return made


# ── SQLite ───────────────────────────────────────────────────────────────────────────────────────


class Sink:
    """An SQLite file that follows a market's events, each of them once; `connection` is for asking.

    >>> from rightsx import Exchange
    >>> market = Exchange(engine="reference")
    >>> ann = market.open_account()
    >>> market.deposit(account=ann, amount=5).events and None
    >>> with Sink(":memory:") as sink:
    ...     sink.add(market.event_records), sink.add(market.event_records)
    ...     sink.connection.execute("SELECT account, cash FROM cash").fetchall()
    (2, 0)
    [(1, 5)]
    """

    def __init__(self, path: Path | str) -> None:
        """Open the file, or make it, with the table and its views. `sqlite3.Error` if it is none of SQLite's."""
        self.connection = sqlite3.connect(path, isolation_level=None)
        try:
            with _Transaction(self.connection):
                columns = ", ".join(f"{name} INTEGER NOT NULL" for name in COLUMNS if name != "event_seq")
                self.connection.execute(f"CREATE TABLE IF NOT EXISTS events (event_seq INTEGER PRIMARY KEY, {columns})")
                self.connection.execute("CREATE INDEX IF NOT EXISTS events_by_kind ON events (kind, series, event_seq)")
                for name, text in VIEWS.items():
                    self.connection.execute(f"CREATE VIEW IF NOT EXISTS {name} AS {text}")
        except BaseException:
            self.connection.close()
            raise

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @property
    def next_seq(self) -> int:
        """The number of the event that is next."""
        (last,) = self.connection.execute("SELECT MAX(event_seq) FROM events").fetchone()
        return 0 if last is None else last + 1

    def add(self, events: np.ndarray) -> int:
        """Add those of EVENT[n] that are not there yet, in one transaction; gives how many.

        `MisuseError` if events are missing between those there and these; nothing is added then.
        """
        columns = _rows(events)
        with _Transaction(self.connection):
            due = self.next_seq
            fresh = columns["event_seq"] >= due
            numbers = columns["event_seq"][fresh]
            if len(numbers) and (numbers[0] != due or (np.diff(numbers) != 1).any()):
                raise MisuseError(f"event {due} is next; events up to {numbers[-1]} came without it, or not in order")
            rows = zip(*(columns[name][fresh].tolist() for name in COLUMNS), strict=True)
            marks = ", ".join("?" * len(COLUMNS))
            self.connection.executemany(f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES ({marks})", rows)
        return len(numbers)

    def follow(self, path: Path | str) -> int:
        """Add what is new in a kept market's folder, beside its writer, who is not disturbed; gives how many events. O(log)."""
        from rightsx.exchange import Exchange  # noqa: PLC0415 - only here

        with Exchange.open(path, read_only=True) as market:
            return self.add(market.event_records)

    def audit(self) -> list[tuple[str, int, int]]:
        """List what does not hold: what, of which account or series, by how much. Empty if everything adds up."""
        return self.connection.execute("SELECT what, number, off FROM audit").fetchall()


class _Transaction:
    """All or nothing, an interrupt included."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._connection.execute("COMMIT" if kind is None else "ROLLBACK")
