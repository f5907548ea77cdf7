"""Made-up markets: the same from the same seed, real in every rule, and fit to be traded in again."""

from __future__ import annotations

import numpy as np
import pytest

from backtesting import taker
from rightsx.backtest import backtest
from rightsx.errors import MisuseError
from rightsx.protocol import EVENT, EventKind, Side, event_records
from rightsx.simulate import SERIES, Crowd, Listing, design, rescued_value, simulate

pytestmark = pytest.mark.unaudited
SMALL = Listing(days=14), Crowd(holders=40, newcomers=40)


@pytest.fixture(scope="module")
def played():
    return simulate(*SMALL, seed=3)


def test_a_market_is_its_seed_on_either_engine(played):
    again, other = simulate(*SMALL, seed=3), simulate(*SMALL, seed=4)
    judged = simulate(*SMALL, seed=3, engine="reference")
    assert played.commands.tobytes() == again.commands.tobytes() == judged.commands.tobytes()
    assert played.events.tobytes() == judged.events.tobytes()
    assert played.market.state_hash() == judged.market.state_hash()
    assert played.commands.tobytes() != other.commands.tobytes()
    played.market.check()


def test_everything_that_agents_do_happens(played):
    kinds = set(played.events["kind"].tolist())
    due = {EventKind.SOLD, EventKind.ACCEPTED, EventKind.FILL, EventKind.CANCELLED, EventKind.REDEEMED, EventKind.EXPIRED}
    assert due <= kinds
    assert (np.diff(played.events["time_ns"]) >= 0).all()
    assert set(simulate(Listing(days=14, steps=3), SMALL[1]).events["kind"].tolist()) >= {EventKind.DECAYED}


def test_the_sums_are_those_of_the_market(played):
    series, sums = played.market.series(SERIES), played.sums
    assert sums["sold_units"] == series.sold
    assert sums["used_face"] + sums["expired_face"] + sums["decayed_face"] == series.sold * 10_000
    assert 0 < sums["rescued_face"] <= sums["used_face"]
    assert sums["revenue"] == series.sold * 7_000


def test_it_can_be_traded_in_again(played):
    market, account = played.stage()
    result = backtest(market, played.commands, taker, account=account, memory=np.zeros(4, np.int64), latency="1s")
    assert len(result.fills) > 5
    assert result.other == 0
    plain, _ = played.stage()
    assert len(backtest(plain, played.commands).events) > 1_000


def test_who_needs_more_uses_more_and_lets_less_go_to_waste():
    few, many = (simulate(SMALL[0], SMALL[1]._replace(hazard=hazard), seed=1).sums for hazard in (9.0, 60.0))
    assert many["used_part"] > few["used_part"]
    assert many["sold_units"] > few["sold_units"]


def test_a_redemption_curve_may_depend_on_the_part_of_the_life_that_is_over():
    late = simulate(SMALL[0], SMALL[1]._replace(hazard=lambda over: 200.0 if over > 0.8 else 1.0), seed=1)
    used = late.events[late.events["kind"] == EventKind.REDEEMED]
    begun, end = late.events["time_ns"][[0, -1]]
    over = (used["time_ns"] - begun) / (end - begun)
    assert (used["qty"][over > 0.8].sum()) > 3 * used["qty"][over <= 0.8].sum()


def told(kind, account, qty, *, other=0, price=100, side=0):
    blank = np.zeros(1, EVENT)[0]
    row = dict(zip(EVENT.names, blank.tolist(), strict=True))
    row |= {
        "kind": int(kind),
        "series": 1,
        "account": account,
        "other_account": other,
        "qty": qty,
        "price": price,
        "side": int(side),
    }
    return tuple(row.values())


def test_rescued_is_what_buyers_consume_oldest_first():
    rows = [
        told(EventKind.SOLD, 1, 5),
        told(EventKind.SOLD, 2, 2),
        told(EventKind.FILL, 2, 4, other=1, side=Side.BUY),  # 2 buys of 1
        told(EventKind.REDEEMED, 2, 3, price=90),  # its own two, and one that it bought
        told(EventKind.GIFTED, 2, 1, other=3),
        told(EventKind.REDEEMED, 3, 1, price=90),  # a gift is no purchase
        told(EventKind.FILL, 1, 1, other=3, side=Side.SELL),
        told(EventKind.VOUCHER_REDEEMED, 3, 1, price=80),
        told(EventKind.REFUNDED, 2, 1),
        told(EventKind.REDEEMED, 2, 1, price=70),
    ]
    assert rescued_value(np.array(rows, EVENT)) == 90 + 80 + 70
    assert rescued_value(event_records([])) == 0


def test_listings_are_tried_against_the_same_people():
    grid = {"issue_price": [4_000, 9_000], "steps": [0, 2]}
    one, two = (design(grid, listing=Listing(days=10), crowd=Crowd(holders=30), trials=3, workers=workers) for workers in (1, 2))
    assert one.to_dict() == two.to_dict()
    assert len(one) == 4
    assert one["issue_price"].tolist() == [4_000, 4_000, 9_000, 9_000]
    assert (one["revenue_low"] <= one["revenue"]).all()
    assert (one["revenue"] <= one["revenue_high"]).all()
    assert one["sold_units"][0] > one["sold_units"][2]
    assert one["decayed_face"].tolist()[::2] == [0, 0]
    single = design({"issue_price": [9_000]}, listing=Listing(days=10), crowd=Crowd(holders=30), trials=1, workers=1)
    assert single["revenue_low"] == single["revenue"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"listing": Listing(days=0)},
        {"listing": Listing(par=1.5)},
        {"listing": Listing(days=True)},
        {"crowd": Crowd(holders=0)},
        {"crowd": Crowd(spread=-1)},
        {"crowd": Crowd(arrivals="many")},
        {"crowd": Crowd(hazard=-2.0)},
        {"crowd": Crowd(hazard=lambda _: None)},
        {"seed": 1.5},
        {"step": 0},
        {"step": "1000d"},
    ],
)
def test_numbers_that_make_no_market_are_misuse(wrong):
    with pytest.raises(MisuseError):
        simulate(**{"listing": SMALL[0], "crowd": SMALL[1], **wrong})


@pytest.mark.parametrize("wrong", [{"grid": {"luck": [1]}}, {"grid": {}}, {"grid": {"days": [5]}, "trials": 0}])
def test_what_is_no_design_is_misuse(wrong):
    with pytest.raises(MisuseError):
        design(**wrong, workers=1)


def test_progress_is_told_in_steps_and_in_markets():
    told = []
    small = {"listing": Listing(days=2), "crowd": Crowd(holders=3, newcomers=3, makers=1)}
    simulate(**small, step="12h", progress=lambda *step: told.append(step))
    assert told == [(1, 3), (2, 3), (3, 3)]
    told.clear()
    design({"issue_price": [5_000]}, **small, trials=2, step="1d", workers=1, progress=lambda *step: told.append(step))
    assert told == [(1, 2), (2, 2)]
    with pytest.raises(MisuseError, match="progress was 7"):
        simulate(**small, progress=7)
