"""Records as tables of other libraries: the same rows, times as times, prices as integers."""

from __future__ import annotations

import datetime as dt
import sys

import numpy as np
import pytest

from rightsx import Exchange
from rightsx.bars import bars
from rightsx.errors import MisuseError
from rightsx.frames import Frame, frame
from rightsx.marketdata import MarketData
from rightsx.protocol import T0_NS
from rightsx.sweep import sweep

SERIES = 1


@pytest.fixture(scope="module")
def data():
    market = Exchange(engine="reference")
    shop, ann, bob = market.register_merchant("Shop", time_ns=T0_NS), market.open_account(), market.open_account()
    for account in (ann, bob):
        market.deposit(account=account, amount=1_000_00)
    market.list_series(
        merchant=shop, product="tea", par=100, issue_price=80, authorised=500, expire="2026-06-30", policy="forfeit"
    )
    market.subscribe(series=SERIES, account=ann, qty=100)
    for price in range(81, 99):
        market.place(series=SERIES, account=ann, side="sell", price=price, qty=2, time_ns=T0_NS + price)
        market.place(series=SERIES, account=bob, side="buy", price=price, qty=1, time_ns=T0_NS + price)
    return MarketData(market.event_records)


def every_frame(data):
    yield data.trades
    yield data.quotes
    yield data.levels(SERIES, "sell")
    yield data.orders(SERIES, "sell")
    yield data.series_table()
    yield bars(data.trades, count=3)


def test_columnar_results_are_frames_and_numpy_arrays(data):
    for one in every_frame(data):
        assert type(one) is Frame
        assert isinstance(one, np.ndarray)
        assert len(one)
        name = one.dtype.names[-3]
        assert type(one[name]) is np.ndarray
        assert type(one[:1]) is Frame
        assert one[name].sum() == sum(one[name].tolist())
        assert name not in one.to_dict() or one.to_dict()[name] == one[name].tolist()
        assert "unused" not in one.to_dict()


def test_a_frame_shows_itself_and_its_columns_as_numpy_does(data):
    text = repr(data.trades)
    assert text.startswith("18 rows, the first 10")
    assert "price" in text
    assert "2026-01-01 00:00:00" in text
    assert "180.00 d" in repr(data.series_table())
    assert "<table" in data.trades._repr_html_()
    assert repr(data.trades["price"]) == repr(np.array(data.trades["price"]))
    column = data.trades["price"].view(Frame)
    assert column._repr_html_() is None
    assert repr(column) == repr(data.trades["price"])
    with pytest.raises(MisuseError, match="column of records"):
        column.to_dict()


def test_polars_and_pandas_read_the_same_rows(data):
    polars = pytest.importorskip("polars")
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("arro3.core")
    for one in every_frame(data):
        plain = one.to_dict()
        for table in (one.to_polars(), polars.DataFrame(one.to_polars())):
            assert table.columns == list(plain)
            for name in plain:
                column = table[name]
                assert (
                    column.dt.timestamp("ns") if name.endswith("_ns") and not name.startswith("to_") else column
                ).len() == len(one)
        table = one.to_pandas()
        assert list(table.columns) == list(plain)
        for name, values in plain.items():
            found = table[name].astype("int64").tolist() if name.endswith("_ns") else table[name].tolist()
            assert found == values
    first = data.trades.to_polars()["time_ns"]
    assert first.dtype == polars.Datetime("ns", "UTC")
    assert first[0] == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert data.trades.to_polars()["price"].dtype == polars.Int64
    assert str(data.series_table().to_polars()["to_expiry_ns"].dtype).startswith("Duration")
    assert isinstance(data.trades.to_pandas()["time_ns"].dtype, pandas.DatetimeTZDtype)


def test_arrow_reads_the_stream_itself(data):
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("arro3.core")
    for one in every_frame(data):
        table = pyarrow.table(one)
        assert table.num_rows == len(one)
        assert table.column_names == list(one.to_dict())
    table = pyarrow.table(data.trades)
    assert str(table.schema.field("time_ns").type) == "timestamp[ns, tz=UTC]"
    assert table["price"].to_pylist() == data.trades["price"].tolist()
    assert pyarrow.table(data.trades[:0]).num_rows == 0


def test_a_sweep_is_read_as_a_table(data):
    polars = pytest.importorskip("polars")
    pytest.importorskip("arro3.core")
    del data
    table = sweep(lambda a, b, **_: {"x": a * 2.5, "word": b}, {"a": [1, 2], "b": ["p", "q"]}, workers=1)
    read = table.to_polars()
    assert read.columns == ["a", "b", "seed", "x", "word"]
    assert read["x"].to_list() == [2.5, 2.5, 5.0, 5.0]
    assert read["b"].to_list() == ["p", "q", "p", "q"]
    assert read["seed"].dtype == polars.UInt64
    assert table.to_pandas()["word"].tolist() == ["p", "q", "p", "q"]


@pytest.mark.parametrize(
    ("missing", "call", "told"),
    [
        ("arro3.core", lambda one: one.__arrow_c_stream__(), r"rightsx\[arrow\]"),
        ("polars", lambda one: one.to_polars(), "pip install polars"),
        ("pandas", lambda one: one.to_pandas(), "pip install pandas"),
    ],
)
def test_what_is_missing_is_named_in_a_line(data, monkeypatch, missing, call, told):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MisuseError, match=told):
        call(data.trades)


@pytest.mark.parametrize("wrong", [None, [1], np.zeros(3), np.zeros((2, 2), [("a", "<i8")])])
def test_what_is_no_column_of_records_is_misuse(wrong):
    with pytest.raises(MisuseError):
        frame(wrong)


def test_a_field_of_several_numbers_is_left_out(data):
    events = np.zeros(2, [("price", "<i8"), ("salt", "<u8", (2,))])
    assert frame(events).to_dict() == {"price": [0, 0]}
    del data
