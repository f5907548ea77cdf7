"""Thousands of series in one exchange, and thousands of holders before a sweep, an uncross and an expiry; `make scale` runs more."""

from __future__ import annotations

import pytest

import scale
from rightsx._jit import COMPILED

SERIES, HOLDERS = (5_000, 20_000) if COMPILED else (200, 300)


def test_thousands_of_series_live_in_one_exchange_and_an_empty_book_costs_64_bytes():
    scale.many_series(SERIES)


def test_a_sweep_an_uncross_and_an_expiry_before_thousands_go_on_from_a_full_buffer():
    scale.many_holders(HOLDERS)


def test_an_empty_book_that_had_a_node_would_be_found(monkeypatch):
    check = scale.check_empty_books

    def with_a_node(pair, count):
        pair.subject._memory.arrays[scale.HEADS][0]["node_used"] = 2
        check(pair, count)

    monkeypatch.setattr(scale, "check_empty_books", with_a_node)
    with pytest.raises(AssertionError, match="no book has a node"):
        scale.many_series(9)
