"""Anybody's table is a feed: the same commands from every kind of source, and one clear line for whatever is wrong."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import lzma
import random
import sys
from decimal import Decimal

import numpy as np
import pytest

from backtesting import some_feed, staged
from rightsx.errors import InputFileError, MisuseError
from rightsx.frames import frame
from rightsx.loaders import load_table
from rightsx.loaders.cells import Column, exact, iso_ns, reader_of
from rightsx.protocol import CALLER_ID_FIRST, COMMAND, DAY_NS, T0_NS, AmendFlag, CommandKind, OrderFlag, TimeInForce

SAME = {name: name for name in COMMAND.names}
HEAD = "ts,what,id,side,px,units\n"
ROWS = ["1000,new,7,b,236.47,5\n", "1001,amend,7,,236.5,\n", "1002,cancel,7,,,\n", "1002,new,8,ASK,300,1\n"]
MAP = {"time_ns": "ts", "kind": "what", "order_id": "id", "side": "side", "price": "px", "qty": "units"}
GIVEN = {"columns": MAP, "price_places": 2, "series": 1, "account": 3}


@pytest.fixture(scope="module")
def flow():
    _, _, people = staged(engine="reference")
    feed = some_feed(4, 700, people)
    amended = feed["kind"] == CommandKind.CANCEL
    amended[::2] = False
    feed["kind"][amended], feed["flags"][amended] = CommandKind.AMEND, AmendFlag.PRICE
    feed["price"][amended] = 610
    feed["ref"][5] = 2**64 - 1
    feed["deadline_ns"][7], feed["time_in_force"][7] = T0_NS + 3 * DAY_NS, TimeInForce.GTD
    return feed


def written(tmp_path, text, name="orders.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def as_csv(flow, path, opened=open):
    with opened(path, "wt", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(COMMAND.names)
        writer.writerows(flow.tolist())
    return path


def as_parquet(flow, path):
    frame(flow).to_polars().write_parquet(path)
    return path


def as_pyarrow(flow):
    return pytest.importorskip("pyarrow").table(frame(flow))


SOURCES = {
    "csv": lambda flow, at: as_csv(flow, at / "f.csv"),
    "csv.gz": lambda flow, at: as_csv(flow, at / "f.csv.gz", gzip.open),
    "csv.xz": lambda flow, at: as_csv(flow, at / "f.csv.xz", lzma.open),
    "parquet": lambda flow, at: as_parquet(flow, at / "f.parquet"),
    "polars": lambda flow, _: frame(flow).to_polars(),
    "pandas": lambda flow, _: frame(flow).to_pandas(),
    "pyarrow": lambda flow, _: as_pyarrow(flow),
    "arro3": lambda flow, _: frame(flow),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_flow_that_was_written_comes_back_and_gives_the_same_events(kind, flow, tmp_path):
    if kind not in ("csv", "csv.gz", "csv.xz"):
        for name in ("arro3.core", "polars", "pandas", "duckdb"):
            pytest.importorskip(name)
    feed = load_table(SOURCES[kind](flow, tmp_path), columns=SAME, ids="engine")
    assert feed.commands.dtype == COMMAND
    assert feed.commands.tolist() == flow.tolist()
    assert (feed.skipped, feed.complaints) == (0, ())
    first, second = (staged(engine="reference")[0].apply_batch(rows) for rows in (flow, feed.commands))
    assert len(first) > len(flow)
    assert first.tobytes() == second.tobytes()


def test_a_venues_own_table_is_read_with_a_map(tmp_path):
    feed = load_table(written(tmp_path, HEAD + "".join(ROWS)), **GIVEN)
    place, amend, cancel, ask = feed.commands
    assert place.tolist()[:12] == (1000, 1, 1, TimeInForce.GTC, 0, 1, 3, 0, CALLER_ID_FIRST + 7, 23_647, 5, 0)
    assert (amend["kind"], amend["flags"], amend["price"]) == (CommandKind.AMEND, AmendFlag.PRICE, 23_650)
    assert (cancel["kind"], cancel["order_id"], cancel["time_in_force"]) == (CommandKind.CANCEL, CALLER_ID_FIRST + 7, 0)
    assert (ask["side"], ask["price"]) == (2, 30_000)


def test_words_constants_flags_and_ids_of_text(tmp_path):
    text = "".join(f"2026-01-01T00:00:0{n}.000000001+00:00;{name};{side};{flags}\n" for n, name, side, flags in
                   [(0, "a-b", "True", "post_only|cancel_maker"), (1, "c-d", "false", ""), (1, "a-b", "True", "4")])  # fmt: skip
    feed = load_table(
        written(tmp_path, text), columns={"time_ns": "t", "order_id": "i", "side": "s", "flags": "f"}, names=["t", "i", "s", "f"],
        delimiter=";", words={"side": {True: "sell", "false": 1}}, time_unit="iso", ids="text",
        kind="place", series=2, account=9, price=5, qty=6, time_in_force="ioc",
    )  # fmt: skip
    assert feed.commands["time_ns"].tolist() == [T0_NS + 1, T0_NS + 10**9 + 1, T0_NS + 10**9 + 1]
    assert feed.commands["order_id"].tolist() == [CALLER_ID_FIRST + 1, CALLER_ID_FIRST + 2, CALLER_ID_FIRST + 1]
    assert feed.commands["side"].tolist() == [2, 1, 2]
    assert feed.commands["flags"].tolist() == [OrderFlag.POST_ONLY | OrderFlag.CANCEL_MAKER, 0, OrderFlag.MARKET]
    assert set(feed.commands["time_in_force"].tolist()) == {TimeInForce.IOC}


@pytest.mark.parametrize(
    ("unit", "text", "ns"),
    [("ns", "17", 17), ("us", "17", 17_000), ("ms", "1.5", 1_500_000), ("s", "2.000000001", 2 * 10**9 + 1)],
)
def test_times_are_exact_in_every_unit(tmp_path, unit, text, ns):
    path = written(tmp_path, f"t\n{text}\n")
    assert load_table(path, columns={"time_ns": "t"}, kind="advance", time_unit=unit).commands["time_ns"].tolist() == [ns]


def test_numbers_of_arrow_are_exact_or_refused():
    polars = pytest.importorskip("polars")
    pytest.importorskip("arro3.core")
    fixed = {"kind": "place", "series": 1, "account": 2, "side": "buy", "qty": 1, "order_id": 0}
    columns = {"time_ns": "t", "price": "p"}
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    for prices in ([Decimal("1.25"), Decimal(3)], ["1.25", "3"]):
        table = polars.DataFrame({"t": [moment, moment], "p": prices})
        feed = load_table(table, columns=columns, price_places=2, time_unit="ms", **fixed)
        assert feed.commands["price"].tolist() == [125, 300]
        assert feed.commands["time_ns"].tolist() == [T0_NS] * 2
    whole = polars.DataFrame({"t": [1, 2], "p": [1.0, 2.0]})
    assert load_table(whole, columns=columns, price_places=2, **fixed).commands["price"].tolist() == [100, 200]
    for wrong in (1.25, 2.0**54, float("inf")):
        table = polars.DataFrame({"t": [1, 2], "p": [1.0, wrong]})
        with pytest.raises(InputFileError, match=r"polars.DataFrame: row 1: .* was expected as price \(p\)"):
            load_table(table, columns=columns, price_places=2, **fixed)
    categories = whole.with_columns(s=polars.Series(["bid", "ask"], dtype=polars.Categorical))
    del fixed["side"]
    read = load_table(categories, columns={**columns, "side": "s"}, **fixed)
    assert read.commands["side"].tolist() == [1, 2]
    empty = whole.clear()
    with pytest.raises(InputFileError, match="at least one right row"):
        load_table(empty, columns=columns, **fixed, side="buy")


def test_pandas_with_holes_is_read_without_arrow(monkeypatch):
    pandas = pytest.importorskip("pandas")
    monkeypatch.setitem(sys.modules, "arro3.core", None)
    times = pandas.to_datetime(["2026-01-01", "2026-01-02"]).tz_localize("Europe/Berlin")
    table = pandas.DataFrame({"t": times, "k": ["place", "cancel"], "p": [5, None], "s": ["buy", None], "i": [1, 1]})
    columns = {"time_ns": "t", "kind": "k", "price": "p", "side": "s", "order_id": "i"}
    feed = load_table(table, columns=columns, qty=1, series=1, account=2)
    assert feed.commands["time_ns"].tolist() == [T0_NS - DAY_NS // 24, T0_NS + 23 * DAY_NS // 24]
    assert feed.commands["price"].tolist() == [5, 0]
    with pytest.raises(MisuseError, match="a path, or a table"):
        load_table(table["p"], columns=columns, qty=1, series=1, account=2)


WRONG = [
    (HEAD.replace("px", "price") + ROWS[0], r"csv:1: a column 'px' was expected for price; the columns are ts, what,"),
    (HEAD.replace("units", "px") + ROWS[0], "csv:1: a column 'px' was expected for price; it is there twice"),
    (
        HEAD + ROWS[0].replace("236.47", "236.475"),
        r"csv:2: a number with at most 2 decimals was expected as price \(px\), '236.475'",
    ),
    (HEAD + ROWS[0].replace("236.47", "1e3"), "csv:2: a number with at most 2 decimals"),
    (HEAD + ROWS[0].replace(",b,", ",up,"), r"csv:2: one of buy, sell, b, s, bid, ask was expected as side \(side\), 'up'"),
    (HEAD + ROWS[0].replace("new", "64"), "csv:2: one of place, "),
    (HEAD + ROWS[0].replace("new", "63"), "csv:2: one of place, "),
    (HEAD + ROWS[0].replace(",b,", ",,"), "csv:2: side was expected for place, nothing was found"),
    (HEAD + ROWS[0].replace("236.47", ""), "csv:2: price was expected for place, nothing was found"),
    (HEAD + ROWS[0].replace("1000", ""), "csv:2: time_ns was expected for every command, nothing"),
    (HEAD + ROWS[0].replace("1000", "-1"), "csv:2: a time in ns"),
    (HEAD + ROWS[0].replace("1000", str(2**62)), "csv:2: a time in ns"),
    (HEAD + ROWS[0].replace(",7,", f",{2**63},"), r"csv:2: an order id below 2\^63"),
    (HEAD + ROWS[0].replace(",5\n", f",{2**63}\n"), "csv:2: a whole number was expected as qty"),
    (HEAD + ROWS[0] + ROWS[1].replace("236.5", ""), "csv:3: flags was expected for amend, nothing"),
    (HEAD + ROWS[1] + ROWS[0], "csv:3: a time not before 1001 ns was expected as time_ns, 1000 ns was found"),
    (HEAD + ROWS[0] + "\n1,2\n", "csv:4: 6 columns were expected, 2 were found"),
    (HEAD + '1000,"new', "csv:2: a row of CSV was expected"),
    ("", "csv: the file is empty"),
    (HEAD, "csv: at least one right row was expected"),
]


@pytest.mark.parametrize(("text", "told"), WRONG)
def test_what_is_wrong_is_one_line(tmp_path, text, told):
    with pytest.raises(InputFileError, match=told) as raised:
        load_table(written(tmp_path, text), **GIVEN)
    assert "\n" not in str(raised.value)


def test_wrong_rows_are_left_out_and_counted_and_move_no_clock(tmp_path):
    late = ROWS[0].replace("1000", "9000").replace("236.47", "x")
    feed = load_table(written(tmp_path, "\ufeff" + HEAD + late + "".join(ROWS) + "1,2\n" + ROWS[0]), errors="skip", **GIVEN)
    assert feed.commands["time_ns"].tolist() == [1000, 1001, 1002, 1002]
    assert feed.skipped == 3
    assert sorted(text.partition(": ")[0][-5:] for text in feed.complaints) == ["csv:2", "csv:7", "csv:8"]
    with pytest.raises(InputFileError, match=r"one right row was expected; 1 were wrong"):
        load_table(written(tmp_path, HEAD + late), errors="skip", **GIVEN)


MISUSE = [
    ({"columns": {"time": "ts"}}, "columns named 'time'; fields of COMMAND"),
    ({"columns": MAP, "quantity": 1}, "constants named 'quantity'"),
    ({"columns": MAP, "price": 1}, "price was both a column and a constant"),
    ({"columns": {"kind": "what"}}, "neither a column nor a constant was given for time_ns"),
    ({"columns": {"time_ns": "ts"}, "kind": "list_series"}, "kind was 'list_series'; place, cancel"),
    ({"columns": MAP, "account": -1}, "account was -1"),
    ({"columns": MAP, "account": True}, "account was True"),
    ({"columns": MAP, "account": 2**32}, "account was 4294967296"),
    ({"columns": MAP, "words": {"side": {"A": "up"}}}, r"words\['side'\]\['A'\] was 'up'; buy, sell"),
    ({"columns": MAP, "words": {"kind": {"A": 64}}}, r"words\['kind'\]\['A'\] was 64"),
    ({"columns": MAP, "time_unit": "h"}, "time_unit was 'h'"),
    ({"columns": MAP, "ids": "mine"}, "ids was 'mine'"),
    ({"columns": MAP, "price_places": 19}, "price_places was 19"),
    ({"columns": MAP, "qty_places": -1}, "qty_places was -1"),
    ({"columns": MAP, "delimiter": "ab"}, "delimiter was 'ab'"),
    ({"columns": MAP, "errors": "ignore"}, "errors was 'ignore'"),
]


@pytest.mark.parametrize(("options", "told"), MISUSE)
def test_a_wrong_call_is_misuse_before_anything_is_read(tmp_path, options, told):
    with pytest.raises(MisuseError, match=told):
        load_table(tmp_path / "absent.csv", **options)


@pytest.mark.parametrize(
    ("missing", "source", "told"),
    [
        ("arro3.core", "polars", r"rightsx\[arrow\]"),
        ("duckdb", "f.parquet", r"rightsx\[parquet\]"),
        ("", 3, "a path, or a table"),
    ],
)
def test_what_is_missing_is_named_in_a_line(monkeypatch, missing, source, told):
    if source == "polars":
        source = pytest.importorskip("polars").DataFrame({"ts": [1]})
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MisuseError, match=told):
        load_table(source, columns={"time_ns": "ts"}, kind="advance")


def test_a_damaged_parquet_file_is_refused_or_gives_a_table(flow, tmp_path):
    for name in ("arro3.core", "polars", "duckdb"):
        pytest.importorskip(name)
    raw = as_parquet(flow[:50], tmp_path / "f.parquet").read_bytes()
    chance, refused = random.Random(3), 0
    with pytest.raises(InputFileError, match="a readable file was expected"):
        load_table(tmp_path / "absent.parquet", columns=SAME)
    with pytest.raises(InputFileError, match="a column 'px' was expected for price"):
        load_table(tmp_path / "f.parquet", columns={**SAME, "price": "px"})
    damaged = [b"", b"PAR1", raw[:100], raw[:-1], raw[10:]]
    for _ in range(60):
        bent = bytearray(raw)
        bent[chance.randrange(len(bent))] ^= 1 << chance.randrange(8)
        damaged.append(bytes(bent))
    for content in damaged:
        (tmp_path / "bent.parquet").write_bytes(content)
        try:
            load_table(tmp_path / "bent.parquet", columns=SAME, ids="engine", errors="skip")
        except InputFileError as error:
            refused += "\n" not in str(error)
    assert refused > 15


def test_progress_is_told(tmp_path):
    told = []
    path = written(tmp_path, HEAD + "".join(ROWS))
    load_table(path, progress=lambda *one: told.append(one), **GIVEN)
    assert told == [(path.stat().st_size,) * 2]


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01 00:00:00.5Z", 500_000_000),
        ("1970-01-01T00:00:01-0000", 10**9),
        ("1970-13-01T00:00:00Z", None),
        ("1970", None),
    ],
)
def test_iso_times_have_a_zone_and_nine_decimals(text, ns):
    assert iso_ns(text) == ns


@pytest.mark.parametrize(("text", "places", "units"), [("-1.50", 1, -15), ("1.", 2, None), (".5", 1, None), ("1_0", 0, None)])
def test_decimals_are_exact(text, places, units):
    assert exact(text, places) == units


@pytest.mark.parametrize("places", [0, 4])
@pytest.mark.parametrize("field", ["account", "price", "deadline_ns", "flags", "ref", "order_id"])
@pytest.mark.parametrize("dtype", ["Int64", "UInt64", "Int8", "UInt16"])
def test_integers_are_read_as_a_whole_as_one_by_one(dtype, field, places):
    edges = [
        -(2**63),
        -(2**31),
        -129,
        -128,
        -1,
        0,
        1,
        127,
        128,
        255,
        256,
        65_535,
        2**32 - 1,
        2**32,
        2**49,
        2**62 - 1,
        2**62,
        2**63 - 1,
    ]
    held = np.iinfo(dtype.lower())
    fitting = [edge for edge in [*edges, 2**63, 2**64 - 1] if held.min <= edge <= held.max]
    bounds = np.iinfo({"price": "i8", "order_id": "i8", "deadline_ns": "i8", "account": "u4", "flags": "u1", "ref": "u8"}[field])
    reader = reader_of(field, time_unit="ns", price_places=places, qty_places=0, ids="engine", words={})
    cells = np.array(fitting, dtype.lower())
    fast, slow, text = (reader.column(Column(one)) for one in (cells, cells.tolist(), [str(cell) for cell in fitting]))
    for other in (slow, text):
        assert fast.wrong.tolist() == other.wrong.tolist()
        assert fast.values.tolist() == other.values.tolist()
    scaled = [edge * 10 ** (places if field == "price" else 0) for edge in fitting]
    least, end = (0, 2**62) if field == "deadline_ns" else (int(bounds.min), int(bounds.max) + 1)
    assert fast.wrong.tolist() == [not least <= number < end for number in scaled]
    assert fast.values[~fast.wrong].tolist() == [number for number in scaled if least <= number < end]
