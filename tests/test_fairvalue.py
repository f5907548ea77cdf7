"""What a right is worth: the closed form is what summing small steps gives, and what lives that are drawn give."""

from __future__ import annotations

import numpy as np
import pytest

from rightsx import Exchange, schedule
from rightsx.errors import MisuseError
from rightsx.fairvalue import TERM, YEAR_NS, Terms, fair_value, implied_hazard, term_structure, terms_of
from rightsx.marketdata import MarketData
from rightsx.protocol import DAY_NS, T0_NS

FALLING = Terms((0, 100 * DAY_NS, 150 * DAY_NS, 190 * DAY_NS), (1_000, 700, 400, 100), 200 * DAY_NS, 0)
CASES = [
    (FALLING, 0, {"hazard": 3.0}),
    (FALLING, 120 * DAY_NS, {"hazard": 0.7, "rate": 0.08}),
    (FALLING._replace(residual=90), 30 * DAY_NS, {"hazard": 1.5, "rate": 0.04, "default": 0.2, "recovery": 0.4}),
    (Terms((0,), (500,), 400 * DAY_NS, 300), 7, {"hazard": 0.0, "rate": 0.1, "default": 0.3, "recovery": 1.0}),
    (Terms((0,), (500,), 400 * DAY_NS, 0), 0, {"hazard": 0.0}),
]


@pytest.mark.parametrize(("terms", "at", "rates"), CASES)
def test_the_closed_form_is_what_small_steps_add_up_to(terms, at, rates):
    rates = {"rate": 0.0, "default": 0.0, "recovery": 0.0, **rates}
    kappa = rates["hazard"] + rates["rate"] + rates["default"]
    edges = np.linspace(at, terms.expire_ns, 200_001)
    middle = (edges[1:] + edges[:-1]) / 2
    years = (middle - at) / YEAR_NS
    values = np.array([terms.values[place] for place in np.searchsorted(terms.starts_ns, middle, side="right") - 1])
    gained = (rates["hazard"] + rates["default"] * rates["recovery"]) * values * np.exp(-kappa * years)
    due = gained.sum() * (edges[1] - edges[0]) / YEAR_NS + terms.residual * np.exp(-kappa * (terms.expire_ns - at) / YEAR_NS)
    assert fair_value(terms, at, **rates) == pytest.approx(due, rel=1e-4, abs=1e-9)


def test_lives_that_are_drawn_pay_it_on_average():
    terms, rates = FALLING._replace(residual=90), {"hazard": 2.0, "rate": 0.1, "default": 0.5, "recovery": 0.3}
    chance = np.random.default_rng(1)
    use, fail = (chance.exponential(1 / rates[name], 400_000) for name in ("hazard", "default"))
    end = terms.expire_ns / YEAR_NS
    first = np.minimum(np.minimum(use, fail), end)
    values = np.array(terms.values)[np.searchsorted(np.array(terms.starts_ns) / YEAR_NS, first, side="right") - 1]
    paid = np.where(first == end, terms.residual, np.where(use < fail, 1.0, rates["recovery"]) * values) * np.exp(
        -rates["rate"] * first
    )
    assert fair_value(terms, 0, **rates) == pytest.approx(paid.mean(), abs=4 * paid.std() / np.sqrt(len(paid)))


def test_hazards_in_an_array_give_an_array():
    found = fair_value(FALLING, 0, hazard=np.array([[0.0, 1.0], [2.0, 50.0]]))
    assert found.shape == (2, 2)
    assert found[1, 0] == fair_value(FALLING, 0, hazard=2.0)
    assert found[0, 0] == 0
    assert (np.diff(found.reshape(-1)) > 0).all()
    assert found.max() < 1_000


def test_what_has_expired_is_worth_nothing():
    assert fair_value(FALLING, FALLING.expire_ns, hazard=3.0) == 0
    assert FALLING.value(FALLING.expire_ns) == 0
    assert [FALLING.value(day * DAY_NS) for day in (0, 99, 100, 199)] == [1_000, 1_000, 700, 100]


@pytest.mark.parametrize("hazard", [0.01, 0.9, 7.0, 900.0])
@pytest.mark.parametrize("terms", [FALLING, FALLING._replace(residual=60)])
def test_a_hazard_is_implied_by_its_fair_value(terms, hazard):
    rates = {"rate": 0.05, "default": 0.1, "recovery": 0.2}
    price = fair_value(terms, 5, hazard=hazard, **rates)
    assert implied_hazard(terms, 5, price, **rates) == pytest.approx(hazard, rel=1e-6)


def test_the_value_itself_is_fair_to_who_uses_it_at_once():
    assert implied_hazard(FALLING, 0, 1_000) == float("inf")
    assert implied_hazard(FALLING, 0, 0) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("price", [-1, 1_001, float("nan"), True, "90"])
def test_a_price_that_no_hazard_implies_is_misuse(price):
    with pytest.raises(MisuseError, match="price was"):
        implied_hazard(FALLING, 0, price)


@pytest.mark.parametrize(
    "wrong",
    [
        {"hazard": -1},
        {"hazard": None},
        {"hazard": "2"},
        {"hazard": True},
        {"hazard": np.inf},
        {"hazard": 1, "recovery": 1.1},
        {"hazard": 1, "rate": np.nan},
    ],
)
def test_rates_that_are_none_are_misuse(wrong):
    with pytest.raises(MisuseError):
        fair_value(FALLING, 0, **wrong)


def listed_market():
    market = Exchange(engine="reference")
    shop, ann, bob = market.register_merchant("Shop", time_ns=T0_NS), market.open_account(), market.open_account()
    for account in (ann, bob):
        market.deposit(account=account, amount=1_000_00)
    for days, policy in ((90, "forfeit"), (30, "principal")):
        market.list_series(
            merchant=shop, product="tea", par=1_000, issue_price=400, authorised=500, expire=T0_NS + days * DAY_NS, policy=policy,
            schedule=schedule.linear(steps=2, every="10d"),
        )  # fmt: skip
    return market, ann, bob


def test_terms_are_read_from_the_events_of_the_listing():
    market, *_ = listed_market()
    long, short = (terms_of(market.event_records, series) for series in (1, 2))
    assert long == Terms((T0_NS, T0_NS + 80 * DAY_NS), (1_000, 500), T0_NS + 90 * DAY_NS, 0)
    assert short == Terms((T0_NS, T0_NS + 20 * DAY_NS), (1_000, 500), T0_NS + 30 * DAY_NS, 400)
    assert fair_value(short, "2026-01-02", hazard=1.0) > 400
    with pytest.raises(MisuseError, match="do not list"):
        terms_of(market.event_records, 3)
    with pytest.raises(MisuseError, match="EVENT"):
        terms_of(np.zeros(3), 1)
    with pytest.raises(MisuseError, match="was listed at"):
        fair_value(long, 0, hazard=1.0)


def test_a_term_structure_has_the_series_that_live_by_expiry():
    market, ann, bob = listed_market()
    for series, price in ((1, 700), (2, 900)):
        market.subscribe(series=series, account=ann, qty=50)
        market.place(series=series, account=ann, side="sell", price=price, qty=10)
    market.place(series=1, account=bob, side="buy", price=600, qty=10)
    market.place(series=2, account=bob, side="buy", price=900, qty=10)
    data = MarketData(market.event_records)
    found = term_structure(data.series_table())
    assert found.dtype == TERM
    assert found["series"].tolist() == [2, 1]
    assert found["price"].tolist() == [900, 650]
    assert found["discount_bps"].tolist() == pytest.approx([1_000, 3_500])
    assert found["yearly_discount"][0] == pytest.approx(-np.log(0.9) * 365 / 30)
    assert len(term_structure(data.series_table(), product=99)) == 0
    market.advance(to=T0_NS + 40 * DAY_NS)
    later = term_structure(MarketData(market.event_records).series_table())
    assert later["series"].tolist() == [1]
    with pytest.raises(MisuseError, match="series_table"):
        term_structure(np.zeros(3))
