"""The demo is a function of its arguments, ends with nothing owed, loses nothing, and draws what it adds up.

Runs are small: twenty days and thirty people already list, trade, decay, default and expire. The
checks that a demo makes of itself are tested by breaking what they look at.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rightsx.demo.page import chosen_stories, demo_page, write_demo_page
from rightsx.demo.run import BOUNDS, run_demo
from rightsx.demo.scene import SHAPES, Scene, Shop, plans_draw, shop_count, shop_names
from rightsx.demo.sums import FATES, PURSES, Parcels, conservation
from rightsx.demo.svg import MONTHS, Frame, day_text, day_ticks, element, ticks
from rightsx.errors import MisuseError
from rightsx.protocol import Event, EventKind, Refusal, Side

if TYPE_CHECKING:
    from pathlib import Path

    from rightsx.demo.sums import DemoResult

SMALL: dict[str, Any] = {"days": 20, "series": 6, "holders": 30}
MIDDLE: dict[str, Any] = {"days": 30, "series": 12, "holders": 250}


pytestmark = pytest.mark.unaudited


@pytest.fixture(scope="module")
def small() -> DemoResult:
    return run_demo(**SMALL, seed=1)


@pytest.fixture(scope="module")
def middle() -> DemoResult:
    return run_demo(**MIDDLE, seed=4)


# ── a function of its arguments ──────────────────────────────────────────────────────────────────


def test_the_same_seed_gives_the_same_state_events_table_and_page(small: DemoResult) -> None:
    again = run_demo(**SMALL, seed=1)
    assert again.state_hash == small.state_hash
    settled, before = ([event for event in each.market.events if event.kind != EventKind.STATE] for each in (again, small))
    assert settled == before  # but for what was published, which salts make another each time
    assert len(again.market.events) == len(settled) + 1
    assert str(again) == str(small)
    assert demo_page(again) == demo_page(small)
    assert again == small


def test_another_seed_gives_another_market(small: DemoResult) -> None:
    other = run_demo(**SMALL, seed=2)
    assert other.state_hash != small.state_hash
    assert str(other) != str(small)


def test_an_integer_of_numpy_counts_as_an_integer(small: DemoResult) -> None:
    given: dict[str, Any] = {name: np.int64(value) for name, value in {**SMALL, "seed": 1}.items()}
    assert run_demo(**given) == small


@pytest.mark.parametrize("name", sorted(BOUNDS))
@pytest.mark.parametrize("wrong", [True, 20.0, math.nan, "20", None])
def test_an_argument_that_is_no_integer_is_a_wrong_call(name: str, wrong: Any) -> None:
    with pytest.raises(MisuseError, match=rf"{name} was .*an integer is due") as caught:
        run_demo(**{**SMALL, "seed": 1, name: wrong})
    assert caught.value.code == Refusal.BadTerms


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_an_argument_just_out_of_its_bounds_is_a_wrong_call_that_names_them(name: str) -> None:
    least, most = BOUNDS[name]
    for wrong in (least - 1, most + 1, -most):
        with pytest.raises(MisuseError, match=re.escape(f"{name} was {wrong:,}; {least:,} to {most:,} is allowed")):
            run_demo(**{**SMALL, "seed": 1, name: wrong})


@pytest.mark.parametrize("wrong", [{"days": 0}, {"series": 1}, {"series": -3}, {"holders": 0}])
def test_no_days_one_series_or_no_holders_make_no_market(wrong: Any) -> None:
    with pytest.raises(MisuseError, match="is allowed"):
        run_demo(**{**SMALL, **wrong})


def test_a_watch_times_the_verbs_and_decides_nothing(small: DemoResult) -> None:
    assert small.pace_text() == ""
    ticks = iter(range(0, 10**9, 10**6))  # a millisecond each time that somebody looks
    timed = run_demo(**SMALL, seed=1, clock=lambda: next(ticks))
    assert timed == small
    assert str(timed) == str(small)
    assert timed.seconds * 1_000 >= timed.command_count
    assert "commands a second, one call each" in timed.pace_text()


def test_an_unknown_engine_is_a_wrong_call() -> None:
    with pytest.raises(MisuseError, match="engine was 'abacus'"):
        run_demo(**{**SMALL, "engine": "abacus"})


@pytest.mark.parametrize("arguments", [{"days": 10, "series": 2, "holders": 10}, {"days": 11, "series": 13, "holders": 10}])
def test_the_smallest_markets_end_and_hold_too(arguments: dict[str, Any]) -> None:
    for seed in range(6):
        result = run_demo(**arguments, seed=seed)
        assert result.conservation.holds, f"seed {seed}\n{result}"
        assert {story.series for story in result.stories} == set(range(1, arguments["series"] + 1))
        assert demo_page(result)


# ── progress ─────────────────────────────────────────────────────────────────────────────────────


def test_progress_is_told_step_by_step_from_nothing_to_the_end() -> None:
    told = []
    run_demo(**SMALL, progress=lambda done, total, what: told.append((done, total, what)))
    done = [step for step, _, _ in told]
    totals = {total for _, total, _ in told}
    assert done == list(range(SMALL["days"] + 2))
    assert totals == {SMALL["days"] + 1}
    assert all(isinstance(what, str) and what for _, _, what in told)
    assert told[-1][2] == "done"


# ── what happens ─────────────────────────────────────────────────────────────────────────────────


def test_all_series_are_over_at_the_end(middle: DemoResult) -> None:
    phases = [middle.market.series(story.series).phase for story in middle.stories]
    assert len(phases) == MIDDLE["series"]
    assert set(phases) == {"expired", "defaulted"}
    assert middle.totals.owed_face == middle.totals.escrow_left == 0
    assert all(middle.market.series(story.series).units == 0 for story in middle.stories)


def test_one_merchant_defaults_at_three_fifths_and_the_others_last(middle: DemoResult) -> None:
    moments = {story.defaulted_ns for story in middle.stories if story.defaulted_ns}
    merchants = {story.merchant for story in middle.stories}
    failed = {story.merchant for story in middle.stories if story.defaulted_ns}
    assert len(moments) == len(failed) == 1
    assert len(merchants) >= 2
    start, end = middle.flows.times[0], middle.flows.times[-1]
    assert 55 <= (moments.pop() - start) * 100 // (end - start) <= 65


def test_everything_that_a_market_can_do_happens_in_a_middling_one(middle: DemoResult) -> None:
    t = middle.totals
    assert min(t.sold_units, t.trades, t.redeemed_face, t.rescued_face, t.decayed_face, t.expired_face) > 0
    assert min(t.refunded_face, t.bought_back_face, t.defaulted_face, t.escrow_in, t.claims, t.royalties) > 0
    verbs = {
        "subscribe",
        "place",
        "amend",
        "cancel",
        "redeem",
        "redeem bill",
        "give",
        "refund",
        "lock voucher",
        "upload",
        "default",
    }
    assert verbs <= middle.commands.keys()
    assert {story.shape for story in middle.stories} == set(SHAPES)
    assert {story.policy for story in middle.stories} == {"forfeit", "principal"}
    assert any(story.open_ns for story in middle.stories)


def test_refusals_occur_and_stay_below_a_tenth(middle: DemoResult) -> None:
    refused = sum(middle.refusals.values())
    assert 0 < refused * 10 < middle.command_count
    assert all(Refusal[code] for code in middle.refusals)


def test_no_trade_is_above_the_value_of_its_moment(middle: DemoResult) -> None:
    for story in middle.stories:
        for trade in story.trades:
            passed = [value for when, value in story.steps if when <= trade.time_ns]
            assert trade.price <= (passed[-1] if passed else story.first_value)


@pytest.mark.parametrize("days", [10, 11, 90, 1_000])
def test_a_plan_is_listed_before_it_opens_closes_and_expires_within_the_days(days: int) -> None:
    for seed in range(20):
        scene = Scene(days, 100)
        for index in range(shop_count(30)):
            scene.shops.append(Shop(index + 1, shop_names(index)[0], ("a",), ("t",), ("p", "q"), 0, doomed=index == 1))
        plans = plans_draw(scene, 30, random.Random(seed))
        assert max(plan.times.expire_ns for plan in plans) == scene.end_ns
        for plan in plans:
            times = plan.times
            assert times.listed_ns < times.last_trade_ns <= times.expire_ns <= scene.end_ns
            assert not times.open_ns or times.listed_ns < times.open_ns < times.last_trade_ns
            assert not plan.doomed or times.listed_ns < scene.default_ns < times.expire_ns
            assert plan.life_bps(times.listed_ns) == 10_000
            assert plan.life_bps(times.expire_ns) == 0


# ── sums ─────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_lost(small: DemoResult, middle: DemoResult) -> None:
    for result in (small, middle):
        proof = result.conservation
        assert proof.holds
        assert proof.differences == ()
        assert proof.net == proof.deposits - proof.withdrawals - proof.chargebacks == proof.cash + proof.escrow
        assert "nothing is lost" in str(result)


def test_the_money_of_every_sample_is_what_came_in(middle: DemoResult) -> None:
    flows = middle.flows
    for k in range(len(flows.times)):
        assert sum(flows.money[name][k] for name in PURSES) == flows.net[k]
    assert flows.net[-1] == middle.conservation.net


def test_the_face_of_all_fates_is_what_was_sold(middle: DemoResult) -> None:
    t, face = middle.totals, middle.flows.face
    assert sum(face[name][-1] for name in FATES) + t.decayed_before_sale_face == t.sold_face
    ends = (t.redeemed_face, t.decayed_face, t.expired_face, t.refunded_face, t.bought_back_face, t.defaulted_face, t.owed_face)
    assert sum(ends) + t.decayed_before_sale_face == t.sold_face
    gone = (t.redeemed_units, t.expired_units, t.refunded_units, t.bought_back_units, t.defaulted_units)
    assert sum(gone) == t.sold_units <= t.issued_units


def test_totals_are_those_that_the_engine_keeps(middle: DemoResult) -> None:
    views = [middle.market.series(story.series) for story in middle.stories]
    t = middle.totals
    assert t.sold_units == sum(view.sold for view in views)
    assert t.sold_money == sum(view.gross for view in views)
    assert t.issued_units == sum(view.terms.authorised for view in views)
    assert t.redeemed_face == sum(view.redeemed for view in views)
    assert t.issue_fees + t.trade_fees + t.gift_fees == middle.market.platform_cash
    assert t.escrow_in == t.escrow_out + t.escrow_left


MOVING = (
    EventKind.DEPOSITED,
    EventKind.WITHDRAWN,
    EventKind.SOLD,
    EventKind.FILL,
    EventKind.GIFTED,
    EventKind.REDEEMED,
    EventKind.REFUNDED,
    EventKind.ESCROW_RELEASED,
    EventKind.DECAYED,
    EventKind.EXPIRED,
    EventKind.PAID_OUT,
    EventKind.SERIES_DEFAULTED,
    EventKind.ACCOUNT_OPENED,
)


@pytest.mark.parametrize("kind", MOVING, ids=lambda kind: kind.name)
def test_a_lost_or_doubled_event_breaks_the_conservation(middle: DemoResult, kind: EventKind) -> None:
    events = list(middle.market.events)
    assert conservation(middle.market, events).holds
    moving = [k for k, e in enumerate(events) if e.kind == kind and (e.amount or e.qty or kind == EventKind.ACCOUNT_OPENED)]
    at = moving[len(moving) // 2]
    lost = conservation(middle.market, events[:at] + events[at + 1 :])
    assert not lost.holds
    assert "DOES NOT HOLD" in str(lost)
    if kind != EventKind.ACCOUNT_OPENED:
        assert not conservation(middle.market, [*events[: at + 1], events[at], *events[at + 1 :]]).holds


@pytest.mark.parametrize("change", [{"amount": 1}, {"qty": 1}, {"price": 1}, {"fee": 1}, {"account": 1}])
def test_an_altered_trade_or_sale_breaks_the_conservation(middle: DemoResult, change: dict[str, int]) -> None:
    events = list(middle.market.events)
    for kind in (EventKind.SOLD, EventKind.FILL):
        name = next(iter(change))
        if (kind, name) == (EventKind.SOLD, "price"):
            continue  # what a sale cost is its amount; the price beside it moves nothing
        at = next(k for k, e in enumerate(events) if e.kind == kind)
        altered = events[at]._replace(**{name: getattr(events[at], name) + change[name]})
        found = conservation(middle.market, [*events[:at], altered, *events[at + 1 :]])
        assert found.differences
        assert not found.holds


def test_a_broken_conservation_names_at_most_five_numbers(middle: DemoResult) -> None:
    events = [e for e in middle.market.events if e.kind != EventKind.DEPOSITED]
    text = str(conservation(middle.market, events))
    assert "≠" in text
    assert text.count("cash of account") == 5


# ── rescued value ────────────────────────────────────────────────────────────────────────────────


def sold(account: int, qty: int) -> Event:
    return Event(EventKind.SOLD, series=1, account=account, qty=qty)


def fill(buyer: int, seller: int, qty: int, *, taker: Side = Side.BUY, flags: int = 0) -> Event:
    first, second = (buyer, seller) if taker == Side.BUY else (seller, buyer)
    return Event(EventKind.FILL, series=1, account=first, other_account=second, qty=qty, side=taker, flags=flags)


def redeemed(account: int, qty: int, value: int = 100) -> Event:
    return Event(EventKind.REDEEMED, series=1, account=account, qty=qty, price=value, amount=qty * value)


def rescued(*events: Event) -> tuple[int, int]:
    parcels = Parcels()
    for event in events:
        parcels.read(event)
    return parcels.units, parcels.face


def test_what_the_first_buyer_redeems_is_not_rescued() -> None:
    assert rescued(sold(1, 10), redeemed(1, 10)) == (0, 0)


@pytest.mark.parametrize("taker", [Side.BUY, Side.SELL])
def test_what_was_bought_from_a_holder_and_redeemed_is_rescued_at_the_value_of_that_moment(taker: Side) -> None:
    assert rescued(sold(1, 10), fill(2, 1, 6, taker=taker), redeemed(2, 4, 90), redeemed(1, 4)) == (4, 360)


def test_the_oldest_units_are_redeemed_first() -> None:
    events = (sold(1, 10), sold(2, 3), fill(2, 1, 5))
    assert rescued(*events, redeemed(2, 3)) == (0, 0)
    assert rescued(*events, redeemed(2, 4)) == (1, 100)
    assert rescued(*events, redeemed(2, 8)) == (5, 500)


def test_a_gift_rescues_nothing() -> None:
    gift = Event(EventKind.GIFTED, series=1, account=2, other_account=3, qty=5)
    assert rescued(sold(1, 5), fill(2, 1, 5), gift, redeemed(3, 5)) == (0, 0)


def test_a_refund_takes_primary_units_and_leaves_bought_ones() -> None:
    refund = Event(EventKind.REFUNDED, series=1, account=2, qty=3)
    assert rescued(sold(1, 5), fill(2, 1, 5), sold(2, 3), refund, redeemed(2, 5)) == (5, 500)


def test_units_bought_back_by_the_merchant_are_gone() -> None:
    assert rescued(sold(1, 5), fill(9, 1, 5, flags=2), redeemed(9, 5)) == (0, 0)


def test_a_voucher_that_was_used_counts_as_redeemed() -> None:
    used = redeemed(2, 2, 80)._replace(kind=EventKind.VOUCHER_REDEEMED)
    assert rescued(sold(1, 5), fill(2, 1, 2), used) == (2, 160)


# ── the table and the page ───────────────────────────────────────────────────────────────────────


def test_the_table_fits_eighty_columns_and_names_what_counts(small: DemoResult, middle: DemoResult) -> None:
    for result in (small, middle):
        text = str(result)
        assert max(len(line) for line in text.splitlines()) <= 80
        for words in (
            "issued",
            "sold",
            "traded",
            "redeemed",
            "decayed",
            "expired",
            "escrow left",
            "rescued",
            "conservation",
            "state hash",
        ):
            assert words in text


class Reader(HTMLParser):
    """Collects ids, tags and the attributes that could fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.open.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.fetched += [name for name, _ in attrs if name in ("src", "href", "xlink:href", "srcset", "action")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open[-1] in ("meta", "br") and tag != self.open[-1]:
            self.open.pop()
        assert self.open.pop() == tag


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def test_the_page_is_self_contained_and_its_tags_are_closed(middle: DemoResult) -> None:
    page = demo_page(middle)
    reader = read(page)
    assert reader.open == []
    assert reader.fetched == []
    assert not reader.tags & {"script", "link", "img", "iframe", "object", "image", "use"}
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "@import" not in page
    assert "url(" not in page


def test_the_page_has_every_panel_and_follows_light_and_dark(middle: DemoResult) -> None:
    page = demo_page(middle)
    assert read(page).ids == ["prices", "depth", "money", "face", "totals"]
    assert "prefers-color-scheme: dark" in page
    assert page.count("<figure>") == len(chosen_stories(middle.stories)) == 6
    for words in (
        "last trade",
        "expiry",
        ">default<",
        "million minor units",
        "minor units per unit",
        "units, cumulated",
        "rescued",
    ):
        assert words in page


def test_every_row_and_the_conservation_of_the_table_are_on_the_page(middle: DemoResult) -> None:
    page = demo_page(middle)
    for what, *values in middle.rows():
        assert what.strip() in page
        assert all(f"{value:,}" in page for value in values if value is not None)
    assert str(middle.conservation) in page
    assert middle.state_hash in page


def test_the_chosen_series_are_of_every_shape_and_one_defaulted(middle: DemoResult) -> None:
    chosen = chosen_stories(middle.stories)
    assert {story.shape for story in chosen} == set(SHAPES)
    assert sum(story.defaulted_ns > 0 for story in chosen) >= 1
    assert len({story.series for story in chosen}) == len(chosen)


def test_a_page_is_written_even_if_no_book_ever_had_two_sides(small: DemoResult, tmp_path: Path) -> None:
    bare = dataclasses.replace(small, book=None)
    path = write_demo_page(bare, tmp_path / "demo.html")
    assert path == tmp_path / "demo.html"
    page = path.read_text(encoding="utf-8")
    assert 'id="depth"' in page
    assert "No book ever had both sides" in page


def test_a_broken_conservation_shows_on_the_page(small: DemoResult) -> None:
    proof = conservation(small.market, small.market.events[:-200])
    page = demo_page(dataclasses.replace(small, conservation=proof))
    assert 'class="proof broken"' in page
    assert "DOES NOT HOLD" in page


# ── drawing ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("hi", [0, 1, 2, 7, 99, 100, 101, 12_345, 10**9 + 1])
@pytest.mark.parametrize("most", [3, 5, 9])
def test_ticks_are_round_equidistant_few_and_cover_the_data(hi: int, most: int) -> None:
    found = ticks(hi, most)
    steps = {b - a for a, b in itertools.pairwise(found)}
    assert len(steps) == 1
    assert str(steps.pop()).rstrip("0") in ("1", "2", "5")
    assert found[0] == 0
    assert found[-1] >= hi
    assert len(found) <= most + 1


def test_day_ticks_are_midnights_inside_the_span() -> None:
    day = 86_400_000_000_000
    found = day_ticks(day // 2, 100 * day + 5, 7)
    assert all(time % day == 0 and day // 2 <= time <= 100 * day + 5 for time in found)
    assert len(found) <= 8
    assert all(day_text(time).split()[1] in MONTHS for time in found)


def test_text_and_attributes_from_outside_are_escaped() -> None:
    assert element("text", class_='a"b<c') == '<text class="a&quot;b&lt;c"/>'


def test_a_step_line_holds_each_value_until_the_next() -> None:
    frame = Frame(120, 100, (0, 10), [0, 10])
    left, right, bottom, top = frame.left, frame.right, frame.bottom, frame.top
    middle_x = (left + right) / 2
    assert frame.steps([(0, 0), (5, 10)], 10) == f"M{left} {bottom}H{middle_x:g}V{top}H{right}"
    assert frame.steps([], 10) == ""
