"""What the grammar of scenarios cannot say: references of platform commands, limits beyond a text's size."""

from __future__ import annotations

import pytest

from rightsx.exchange import Exchange
from rightsx.protocol import CommandKind, EventKind, OrderFlag, Refusal, Venue
from rightsx.reference import listing
from rightsx.reference.run import run
from rightsx.reference.state import Market
from rightsx.vocabulary import cold_command, command

# par, issue price, authorised, expiry in 2027, FORFEIT
TERMS = {1: 100, 2: 80, 3: 10, 4: 1_798_761_600_000_000_000, 6: 1}


def stage() -> Exchange:
    market = Exchange()
    market.register_merchant("M")  # 1
    market.open_account()  # 2
    terms = {"par": 100, "authorised": 100_000, "expire": "2027-01-01", "policy": "forfeit", "time_ns": 1_767_225_600_000_000_000}
    market.list_series(merchant=1, product="coffee", issue_price=80, **terms)
    market.list_series(merchant=1, product="taste", issue_price=0, trial=True, **terms)
    return market


VERBS = [
    ("set_tier", {"tier": 1, "amount": 5}),
    ("set_account", {"account": 2}),
    ("open_account", {}),
    ("kill", {"on": True}),
    ("kill", {"on": False}),
    ("halt", {"series": 1}),
    ("resume", {"series": 1}),
    ("freeze", {"account": 2}),
    ("unfreeze", {"account": 2}),
    ("default", {"merchant": 1}),
    ("cancel_all", {"series": 1}),
    ("cancel_all", {"account": 2}),
    ("cancel_after", {"account": 2, "at": "2026-02-01"}),
    ("grant", {"series": 2, "account": 2, "qty": 1}),
    ("register_merchant", {"name": "N"}),
    ("register_store", {"name": "st", "merchant": 1}),
    ("register_terminal", {"name": "t", "merchant": 1}),
    ("register_channel", {"name": "web"}),
    ("withdraw", {"account": 2, "amount": 1}),
]


@pytest.mark.parametrize(("verb", "given"), VERBS)
def test_other_content_under_a_reference_is_refused(verb, given):
    """Whoever acts, account 0 (the platform), 1 or 2, has used the reference for something else."""
    market = stage()
    market.deposit(account=1, amount=5, ref=9)
    market.deposit(account=2, amount=5, ref=9)
    market.register_channel("shop", ref=9)
    made = getattr(market, verb)(**given, ref=9)
    assert made.refused.code == Refusal.IdempotencyConflict


def test_an_import_has_at_most_65536_rows():
    market = stage()
    rows = [(member, 0) for member in range(1, 65_538)]
    assert market.import_members(series=1, rows=rows).refused.code == Refusal.BadTerms
    assert market.import_members(series=1, rows=rows[:-1]).refused is None


def test_stores_and_channels_have_a_limit(monkeypatch):
    assert listing._MAX_NAMED == 65_536
    monkeypatch.setattr(listing, "_MAX_NAMED", 3)
    market = stage()
    made = [market.register_store(f"st{n}", merchant=1) for n in range(4)]
    assert [one.refused and one.refused.code for one in made] == [None] * 3 + [Refusal.CapacityExceeded]
    made = [market.register_channel(f"way{n}") for n in range(2)]  # `none` and `import` are there already
    assert [one.refused and one.refused.code for one in made] == [None, Refusal.CapacityExceeded]


def test_an_advance_with_a_reference_is_remembered_as_any_command():
    """No verb gives one, but a record can."""
    market = Market(Venue())
    first = command(CommandKind.ADVANCE, time_ns=5, ref=9)
    assert run(market, first, {})[-1].kind == EventKind.ADVANCED
    assert run(market, first._replace(time_ns=6), {})[-1].kind == EventKind.DUPLICATE
    assert run(market, command(CommandKind.KILL, time_ns=7, ref=9), {})[-1].code == Refusal.IdempotencyConflict
    market = Market(Venue())
    run(market, command(CommandKind.KILL, time_ns=5, ref=9), {})
    assert run(market, first, {})[-1].code == Refusal.IdempotencyConflict


def test_another_root_under_a_reference_is_refused():
    market = stage()
    for part, refused in ((1, None), (1, None), (2, Refusal.IdempotencyConflict)):
        roots = {"root_0": part, "root_1": 0, "root_2": 0, "root_3": 0}
        events = market.apply(command(CommandKind.PUBLISH, ref=5, **roots))
        assert [event.code for event in events if event.kind == EventKind.REFUSED] == ([refused] if refused else [])


@pytest.mark.parametrize("kind", [CommandKind.ADVANCE, CommandKind.DEFAULT])
def test_a_reference_of_another_command_is_refused(kind):
    """A DEFAULT names its merchant as the account, an ADVANCE nobody; both keep a `ref` apart from what it stood for."""
    market = stage()
    account = {"account": 1} if kind == CommandKind.DEFAULT else {}
    first = CommandKind.CANCEL_AFTER if account else CommandKind.PUBLISH
    given = {"deadline_ns": 0} if account else dict.fromkeys(("root_0", "root_1", "root_2", "root_3"), 0)
    market.apply(command(first, ref=5, **account, **given))
    (event,) = market.apply(command(kind, ref=5, **account))
    assert event.code == Refusal.IdempotencyConflict


def test_who_is_no_merchant_cannot_default():
    """The verb names no such account, but a record can."""
    market = stage()
    for account in (2, 3):
        (event,) = market.apply(command(CommandKind.DEFAULT, account=account))
        assert event.code == Refusal.UnknownAccount


def test_an_order_with_an_unknown_flag_is_refused():
    market = Market(Venue())
    run(market, command(CommandKind.OPEN_ACCOUNT), {})
    record = command(CommandKind.PLACE, series=1, account=1, side=1, qty=1, price=50)
    events = run(market, record._replace(flags=OrderFlag.PEG * 2), {})
    assert events[-1].code == Refusal.BadTerms


@pytest.mark.parametrize("field", ["price", "stop_price", "qty", "display"])
def test_who_ends_a_plan_names_nothing_else(field):
    """The verb names no numbers, but a record can."""
    market = stage()
    record = command(CommandKind.PLAN_SALE, series=1, account=2, start_ns=0)
    (event,) = market.apply(record._replace(**{field: 1}))
    assert (event.kind, event.code, event.amount, event.fee) == (EventKind.REFUSED, Refusal.BadTerms, 1, 0)
    assert market.apply(record)[0].kind == EventKind.SALE_PLANNED


@pytest.mark.parametrize("channel", [-1, 0, 3])
def test_a_cap_is_for_a_channel_that_exists(channel):
    """Channels count from 1, and `none` and `import` are all there are yet."""
    payload = {"product": "x", "terms": TERMS, "steps": [], "stores": [], "channel_caps": {channel: 5}, "ref": 0}
    market = stage()
    events = market.apply(*cold_command(CommandKind.LIST_SERIES, payload, account=1))
    assert (events[-1].kind, events[-1].code) == (EventKind.REFUSED, Refusal.BadTerms)
    accepted = {**payload, "channel_caps": {1: 5, 2: 5}}
    assert market.apply(*cold_command(CommandKind.LIST_SERIES, accepted, account=1))[0].kind == EventKind.LISTED
