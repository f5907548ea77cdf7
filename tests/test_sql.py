"""Events in SQL: the views say what reports and the market say, and the audit finds what was altered."""

from __future__ import annotations

import sqlite3
import sys

import numpy as np
import pytest

from market_flow import Flow, Judged
from rightsx import Exchange
from rightsx._jit import COMPILED
from rightsx.errors import MisuseError
from rightsx.protocol import EventKind, event_records
from rightsx.reports import Books
from rightsx.sql import VIEWS, Sink, to_duckdb

COUNT = 1_500 if COMPILED else 300


@pytest.fixture(scope="module", params=[1, 2, 3])
def told(request):
    judged = Judged()
    flow = Flow(request.param, judged.market)
    events = [event for step in flow.opening() for event in judged.apply(*step, thorough=False)]
    for _ in range(COUNT):
        events += judged.apply(*flow.next(), thorough=False)
    return events


def asked(kind, events):
    """Give what asks in SQL."""
    if kind == "duckdb":
        pytest.importorskip("duckdb")
        connection = to_duckdb(events)
        return lambda words: connection.execute(words).fetchall()
    sink = Sink(":memory:")
    sink.add(events)
    return lambda words: sink.connection.execute(words).fetchall()


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_views_say_what_reports_say(kind, told):
    ask, books = asked(kind, event_records(told)), Books(told)
    assert {account: cash for account, cash in ask("SELECT account, cash FROM cash") if cash} == {
        account: cash for account, cash in books.cash.items() if cash
    }
    held = {(series, account): units for series, account, units in ask("SELECT series, account, units FROM holdings")}
    assert held == {
        (number, account): units for number, book in books.series.items() for account, units in book.holders.items() if units
    }
    assert dict(ask("SELECT series, escrow FROM escrow")) == {number: book.escrow for number, book in books.series.items()}
    names = ("issued", "redeemed", "decayed", "refunded", "expired", "defaulted", "bought back")
    ledger = {row[0]: row[1:] for row in ask("SELECT * FROM face_ledger")}
    for number, book in books.series.items():
        sums = [book.sums["issued face" if name == "issued" else name] for name in names]
        assert ledger[number] == (*sums, book.face_owed)
    fills = [event for event in told if event.kind == EventKind.FILL]
    assert ask("SELECT COUNT(*), COALESCE(SUM(qty), 0) FROM trades") == [(len(fills), sum(event.qty for event in fills))]
    assert ask("SELECT COUNT(*) FROM orders") == [(sum(event.kind == EventKind.ACCEPTED for event in told),)]
    assert len(ask("SELECT * FROM expiries ORDER BY expire_ns")) == len(books.series)
    assert ask("SELECT * FROM audit") == []


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
@pytest.mark.parametrize(
    ("of", "field", "by", "found"),
    [
        (EventKind.DEPOSITED, "amount", 1, "cash"),
        (EventKind.SOLD, "other_fee", 5, "negative escrow"),
        (EventKind.FILL, "qty", 10**6, "negative"),
        (EventKind.REDEEMED, "amount", 10**9, "negative face"),
    ],
)
def test_an_event_that_was_altered_is_found(kind, of, field, by, found, told):
    events = event_records(told)
    place = int(np.flatnonzero(events["kind"] == of)[-1])
    if of == EventKind.DEPOSITED:
        # A deposit that nobody made balances by itself; cash that came from nowhere does not.
        place = (
            int(np.flatnonzero(events["kind"] == EventKind.PAID_OUT)[0]) if (events["kind"] == EventKind.PAID_OUT).any() else -1
        )
        if place < 0:
            pytest.skip("nobody is paid out in this market")
    if of == EventKind.SOLD:
        events["other_fee"][place] -= 10**9
    else:
        events[field][place] += by
    rows = asked(kind, events)("SELECT what, off FROM audit")
    assert rows
    assert any(what.startswith(found) or what in ("cash", "negative cash") for what, _ in rows)


def test_each_event_is_there_once_however_often_it_comes(told, tmp_path):
    events = event_records(told)
    leaves = int((events["event_seq"] >= 0).sum())
    path = tmp_path / "market.db"
    added = 0
    for end in (10, 10, len(events) // 2, 5, len(events)):
        with Sink(path) as sink:
            added += sink.add(events[:end])
    with Sink(path) as sink:
        assert sink.next_seq == leaves == added
        assert sink.audit() == []
        assert sink.add(events) == 0


def test_a_call_that_is_cut_short_has_added_nothing(told, tmp_path, monkeypatch):
    events = event_records(told)
    with Sink(tmp_path / "market.db") as sink:
        sink.add(events[:20])
        before = sink.next_seq

        def interrupted(*_):
            raise KeyboardInterrupt

        connection = sink.connection

        class Cut:
            def __getattr__(self, name):
                return interrupted if name == "executemany" else getattr(connection, name)

        monkeypatch.setattr(sink, "connection", Cut())
        with pytest.raises(KeyboardInterrupt):
            sink.add(events)
        monkeypatch.undo()
        assert sink.next_seq == before
        assert sink.add(events) > 0


def test_events_with_a_gap_are_misuse(told):
    events = event_records(told)
    with Sink(":memory:") as sink:
        with pytest.raises(MisuseError, match="event 0 is next"):
            sink.add(events[5:])
        assert sink.next_seq == 0
        with pytest.raises(MisuseError, match="EVENT"):
            sink.add([1])


@pytest.mark.unaudited
def test_a_kept_market_is_followed_beside_its_writer(tmp_path):
    with Exchange.open(tmp_path / "store", engine="reference") as market, Sink(tmp_path / "market.db") as sink:
        ann = market.open_account()
        market.deposit(account=ann, amount=70)
        assert sink.follow(tmp_path / "store") == 2
        assert sink.follow(tmp_path / "store") == 0
        market.withdraw(account=ann, amount=30)
        assert sink.follow(tmp_path / "store") == 1
        assert sink.connection.execute("SELECT cash FROM cash WHERE account = ?", (int(ann),)).fetchall() == [(40,)]


def test_what_is_no_database_is_sqlites_error(tmp_path):
    path = tmp_path / "other.db"
    path.write_bytes(b"this is a text, long enough to be no database of anybody's at all" * 40)
    with pytest.raises(sqlite3.DatabaseError):
        Sink(path)


def test_a_connection_of_ones_own_may_be_used_and_used_again(told):
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    assert to_duckdb(event_records(told[:50]), connection) is connection
    to_duckdb(event_records(told), connection)
    assert connection.execute("SELECT COUNT(*) FROM events").fetchone() == (sum(event.event_seq >= 0 for event in told),)
    names = {name for (name,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()}
    assert names >= set(VIEWS)


def test_without_duckdb_it_says_what_is_missing(told, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MisuseError, match=r"rightsx\[duckdb\]"):
        to_duckdb(event_records(told))
