"""Plays a whole market from listing to expiry: a seeded season of prepaid cards that nobody has to invent.

    day 0            presale: people arrive, subscribe through channels, some give back in time
      │              tills: units and bills are redeemed, vouchers work where there is no network
      │              resale: who cannot use a card offers it, lower as the deadline nears; others hunt
      ├─ 46 %        a rumour about one merchant, whose cards get cheap
      ├─ 60 %        it defaults: escrow to the holders, claims for the rest
      ▼              series after series reaches its last trade and expires, by FORFEIT or PRINCIPAL
    last day         every series is over; the sums are drawn from the events and held against the engine

Everything goes through the public verbs of `Exchange`, each with its time, so a demo is also a long
example of them: `scene` draws up merchants and listings, `crowd` is how people behave, and `sums`
adds up. This file only keeps the calendar.

Invariants
- The same arguments give the same commands, the same state hash and the same table. No clock decides anything.
- The market is audited at every sixth of the way and at the end (`Exchange.check`), by its own full audit.
- It is kept in a store, which is read again at the end and must give the same market (`verify_store`).
- Everything is bounded: 10 to 1,000 days, 2 to 1,000 series, 10 to 100,000 holders.

Costs: about one command per holder and two days; the default demo is some eighty thousand commands.

>>> result = run_demo(days=10, series=2, holders=10, seed=7)
>>> result.conservation.holds, result.totals.owed_face
(True, 0)
"""

from __future__ import annotations

import heapq
import random
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, Literal, cast

from rightsx.demo.crowd import HABITS, SHARES, Crowd, Person
from rightsx.demo.scene import CHANNELS, HOUR_NS, Scene, Shop, plans_draw, shop_count, shop_names
from rightsx.demo.stopwatch import Stopwatch
from rightsx.demo.sums import Book, DemoResult, Quote, Reading, conservation
from rightsx.errors import AuditError, MisuseError
from rightsx.exchange import Exchange
from rightsx.inspection import verify_store
from rightsx.protocol import DAY_NS, T0_NS, Refusal
from rightsx.vocabulary import integer

if TYPE_CHECKING:
    from collections.abc import Callable

    Action = Callable[[int], None]

BOUNDS: Final = {"days": (10, 1_000), "series": (2, 1_000), "holders": (10, 100_000), "seed": (0, 2**63 - 1)}
TURNS_PERCENT: Final = 62  # of those present, who looks at the market on a day
AUDITS: Final = 6
SAMPLES: Final = 240
BEGINNER_FACE: Final = 400_000  # what a beginner may hold of one product, in face
GIFT_FEE: Final = 50
ORIGIN: Final = "demo.rightsx.example"

__all__ = ["BOUNDS", "DemoResult", "run_demo"]


def run_demo(
    *,
    days: int = 90,
    series: int = 50,
    holders: int = 2_000,
    seed: int = 1,
    engine: Literal["compiled", "reference"] = "compiled",
    progress: Callable[[int, int, str], None] | None = None,
    clock: Callable[[], int] | None = None,
    store: Path | str | None = None,
) -> DemoResult:
    """Play a market of `series` series and `holders` people for `days` days, and add it up.

    `progress` is called with (steps done, all steps, what is going on), once a day and once for the
    sums, from (0, days + 1, …) to (days + 1, days + 1, …). Raises `MisuseError` (BadTerms) for a number
    that is no integer or out of `BOUNDS`, and what `Exchange` raises for an unknown engine; `AuditError`
    if the books of the market do not add up. Equal arguments give equal results. `clock` (ns, such as
    `time.perf_counter_ns`) times the market's verbs, which decides nothing: `result.seconds`. The market is kept in the
    folder `store`, or one that is removed again, and that store is verified at the end: `result.kept`.
    """
    tell = progress or _silent
    _check(days=days, series=series, holders=holders, seed=seed)
    steps = int(days) + 1
    tell(0, steps, "setting up")
    with ExitStack() as stack:
        folder = Path(store) if store is not None else Path(stack.enter_context(TemporaryDirectory(prefix="rightsx-"))) / "store"
        market = stack.enter_context(Exchange.open(folder, engine=engine, durability="os", gift_fee=GIFT_FEE, origin=ORIGIN))
        watch = Stopwatch(market, clock or _no_time)
        rng = random.Random(int(seed))  # noqa: S311 - a market, not a secret
        crowd = _open(cast("Exchange", watch), int(days), int(series), int(holders), rng)
        arrivals = _arrivals(crowd)
        for day in range(days):
            _play(crowd, day, arrivals[day])
            if (day + 1) % max(1, days // AUDITS) == 0:
                crowd.market.check()
            tell(day + 1, steps, f"day {day + 1:,} of {days:,}")
        crowd.desk.note("advance", crowd.market.advance(to=crowd.scene.end_ns))
        crowd.market.check()
        result = _add_up(crowd, market, series=int(series), seed=int(seed), engine=engine, seconds=watch.elapsed_ns / 1e9)
        market.publish()  # after the sums: salts are random, so what it states differs from run to run
        state = market.state_hash()
        market.close()
        kept = verify_store(folder, engine=engine)
    if (kept.state_hash, kept.holds) != (state, True):
        raise AuditError(f"the store of the demo gives another market: {kept}")
    tell(steps, steps, "done")
    return replace(result, kept=kept)


def _no_time() -> int:
    """Tell no time."""
    return 0


def _silent(done: int, total: int, what: str) -> None:
    """Tell nobody."""


def _check(**given: object) -> None:
    """Let only integers within `BOUNDS` pass."""
    for name, value in given.items():
        least, most = BOUNDS[name]
        found = integer(name, value, Refusal.BadTerms)
        if not least <= found <= most:
            raise MisuseError(f"{name} was {found:,}; {least:,} to {most:,} is allowed", Refusal.BadTerms)


# ── before the first day ─────────────────────────────────────────────────────────────────────────


def _open(market: Exchange, days: int, series: int, holders: int, rng: random.Random) -> Crowd:
    """Register merchants, tills and channels, and draw what will be listed. All of it at the first midnight."""
    scene = Scene(days, holders)
    crowd = Crowd(market, scene, rng)
    note = crowd.desk.note
    note("set tier", market.set_tier(tier=1, amount=BEGINNER_FACE, time_ns=T0_NS))
    for channel in CHANNELS:
        note("register", market.register_channel(channel, time_ns=T0_NS))
    for index in range(shop_count(series)):
        name, *products = shop_names(index)
        account = int(note("register", market.register_merchant(name, time_ns=T0_NS)))
        franchise = int(note("open", market.open_account(time_ns=T0_NS)))
        stores = (f"{name} Centre", f"{name} Station", f"{name} Franchise")
        for store in stores:
            settles_to = franchise if store is stores[-1] else 0
            note("register", market.register_store(store, merchant=account, settles_to=settles_to, time_ns=T0_NS))
        terminals = ("kiosk", "van")
        for terminal in terminals:
            note("register", market.register_terminal(terminal, merchant=account, time_ns=T0_NS))
        scene.shops.append(Shop(account, name, stores, terminals, tuple(products), franchise, doomed=index == 1))
    scene.plans += plans_draw(scene, series, rng)
    return crowd


def _arrivals(crowd: Crowd) -> list[list[Person]]:
    """Draw all people and the days on which they come: most early, the last at three fifths."""
    rng, scene = crowd.rng, crowd.scene
    days: list[list[Person]] = [[] for _ in range(scene.days)]
    shops = range(len(scene.shops))
    for _ in range(scene.holders):
        habit = rng.choices(HABITS, SHARES)[0]
        likes = tuple(rng.sample(shops, min(3, len(shops))))
        purse = rng.randrange(200, 1_500) * 100 * (2 if habit.appetite > 10 else 1)  # noqa: PLR2004 - who buys much has much
        days[scene.days * 6 // 10 * rng.randrange(1_000) ** 2 // 1_000_000].append(Person(habit, likes, purse))
    return days


# ── one day ──────────────────────────────────────────────────────────────────────────────────────


def _play(crowd: Crowd, day: int, arriving: list[Person]) -> None:
    """Draw up the day's calendar and go through it: midnight, then everything in order of time."""
    rng, scene = crowd.rng, crowd.scene
    start_ns = T0_NS + day * DAY_NS
    calendar: list[tuple[int, int, Action]] = []

    def at(time_ns: int, action: Action) -> None:
        calendar.append((time_ns, len(calendar), action))

    for person in arriving:
        at(start_ns + _moment(rng), partial(crowd.arrive, person))
    for person in crowd.present:
        if crowd.chance(TURNS_PERCENT):
            at(start_ns + _moment(rng), partial(crowd.turn, person))
    for plan in scene.plans:
        if start_ns <= plan.times.listed_ns < start_ns + DAY_NS:
            at(plan.times.listed_ns, partial(crowd.announce, plan))
    for index, shop in enumerate(scene.shops):
        at(start_ns + 20 * HOUR_NS + index, partial(crowd.mind, shop, index, day))
    while crowd.uploads and crowd.uploads[0].due_ns < start_ns + DAY_NS:
        one = heapq.heappop(crowd.uploads)
        at(max(one.due_ns, start_ns), partial(crowd.upload, one))
    for hour in (0, 6, 12, 18):
        at(start_ns + hour * HOUR_NS + 1, crowd.glance)
    _incidents(crowd, day, at)
    crowd.desk.note("advance", crowd.market.advance(to=start_ns))
    crowd.refresh(start_ns)
    for time_ns, _, action in sorted(calendar, key=lambda entry: entry[:2]):
        action(time_ns)


def _moment(rng: random.Random) -> int:
    """Draw a time between six in the morning and midnight, in ns, to the second."""
    return 6 * HOUR_NS + rng.randrange(18 * 3_600) * 1_000_000_000


def _incidents(crowd: Crowd, day: int, at: Callable[[int, Action], None]) -> None:
    """Enter what does not happen every day: the default, reversed payments, one halt of a day."""
    scene, rng, start_ns = crowd.scene, crowd.rng, T0_NS + day * DAY_NS
    if start_ns <= scene.default_ns < start_ns + DAY_NS:
        at(scene.default_ns, crowd.fail)
    if rng.randrange(scene.days * 150) < scene.holders:
        at(start_ns + _moment(rng), crowd.reverse)
    halted = min(crowd.plans, default=0)
    if halted and start_ns == scene.moment(3_000):
        at(start_ns + 12 * HOUR_NS, partial(crowd.pause, halted))
        at(start_ns + 15 * HOUR_NS, partial(crowd.unpause, halted))


# ── after the last day ───────────────────────────────────────────────────────────────────────────


def _add_up(crowd: Crowd, market: Exchange, *, series: int, seed: int, engine: str, seconds: float) -> DemoResult:
    """Read the events once, join what the crowd noted, and hold it all against the engine."""
    scene = crowd.scene
    events = market.events
    reading = Reading(events, start_ns=T0_NS, end_ns=scene.end_ns, samples=min(SAMPLES, 4 * scene.days))
    for number, story in reading.stories.items():
        plan = crowd.plans[number]
        story.shape, story.policy = plan.shape, str(plan.terms["policy"])
        story.quotes += [Quote(*quote) for quote in crowd.quotes[number]]
    book = None
    if crowd.fullest is not None:
        _, time_ns, number, value, ladder = crowd.fullest
        book = Book(number, time_ns, value, tuple(ladder.bids), tuple(ladder.asks))
    return DemoResult(
        days=scene.days,
        series=series,
        holders=scene.holders,
        seed=seed,
        engine=engine,
        totals=reading.totals(),
        conservation=conservation(market, events),
        commands=dict(sorted(crowd.desk.accepted.items())),
        refusals=dict(sorted(crowd.desk.refused.items())),
        state_hash=market.state_hash(),
        flows=reading.flows,
        stories=tuple(reading.stories[number] for number in sorted(reading.stories)),
        book=book,
        market=market,
        seconds=seconds,
    )
