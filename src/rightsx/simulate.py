"""Makes up a market of rights from agents, seeded: for strategies to be tried in, and for listings before they are made.

    holders ─ buy in the presale ─┬─ use units as they need them, with hazard λ(t)
                                  ├─ give up: the more, and the cheaper, the nearer the end
    newcomers ────────────────────┼─ bid below what a unit is worth to them, or take what is offered below it
    makers ───────────────────────┴─ quote around the fair value, lower when they hold much

Each step (an hour, unless said otherwise) every kind of agent looks at the market as its events show it (`MarketData`) and
sends commands of that hour, at random instants. Everything is drawn from one seed in one order: the same arguments give the same
market, to the last unit, and all commands, in a column, are a feed for `backtest` (`stage` makes the market that it begins with).

What a unit is worth to somebody is `fairvalue.fair_value` with his own hazard. Nobody knows more than the public sees.
Costs: some numpy passes over the agents a step, and the market's own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rightsx.border import span_ns
from rightsx.errors import MisuseError
from rightsx.exchange import Exchange
from rightsx.fairvalue import YEAR_NS, fair_value, terms_of
from rightsx.frames import Frame, frame
from rightsx.marketdata import MarketData
from rightsx.progress import Progress, following
from rightsx.protocol import (
    CALLER_ID_FIRST,
    COMMAND,
    DAY_NS,
    T0_NS,
    CommandKind,
    EventKind,
    Refusal,
    Side,
    TimeInForce,
)
from rightsx.sweep import Sweep, sweep
from rightsx.vocabulary import integer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SERIES: Final = 1
MERCHANT: Final = 1  # accounts: the merchant, then holders, newcomers, makers
PLENTY: Final = 2**40
MAKER_UNITS: Final = 60


class Listing(NamedTuple):
    """What a merchant decides: prices in minor units, days until expiry, steps of linear decay over the last half, or 0."""

    par: int = 10_000
    issue_price: int = 7_000
    days: int = 60
    steps: int = 0
    policy: str = "forfeit"
    escrow_bps: int = 3_000
    taker_bps: int = 50
    royalty_bps: int = 100


class Crowd(NamedTuple):
    """Who is there. Rates are per year; `hazard` is one number, or a function of the part of the life that is over, 0 … 1."""

    holders: int = 300
    newcomers: int = 300
    makers: int = 2
    units_each: int = 12  # that a holder would buy at no price; fewer the dearer they are
    hazard: float | Callable[[float], float] = 12.0
    spread: float = 0.6  # of hazards among people, as the standard deviation of their logarithm
    impatience: float = 6.0  # how much more often units are given up at the end than at the beginning
    arrivals: float = 40.0  # of newcomers a day


@dataclass(frozen=True)
class Simulation:
    """A made-up market: as it ended, all commands and events, and how to begin again."""

    market: Exchange
    data: MarketData
    commands: Frame
    events: Frame
    listing: Listing
    crowd: Crowd
    seed: int
    engine: str

    def stage(self) -> tuple[Exchange, int]:
        """Make the market that the commands begin with, and an account with cash and units for a strategy; gives both."""
        market = _staged(self.listing, self.crowd, self.engine)
        account = int(market.open_account())
        market.deposit(account=account, amount=PLENTY)
        market.subscribe(series=SERIES, account=account, qty=MAKER_UNITS)
        return market, account

    @property
    def sums(self) -> dict[str, float]:
        """Say what the market was to the merchant and to people: money in minor units, face at the value of its time."""
        (card,) = self.data.series_table()
        sold = int(self.events["amount"][self.events["kind"] == EventKind.SOLD].sum())
        royalty = int(self.events["amount"][self.events["kind"] == EventKind.FILL].sum())
        rescued = rescued_value(self.events)
        issued = max(1, int(card["issued_face"]))
        return {
            "sold_units": int(card["sold"]),
            "revenue": sold,
            "royalties": royalty,
            "traded_units": int(card["volume"]),
            "used_face": int(card["redeemed_face"]),
            "rescued_face": rescued,
            "decayed_face": int(card["decayed_face"]),
            "expired_face": int(card["expired_face"]),
            "used_part": int(card["redeemed_face"]) / issued,
            "rescued_part": rescued / issued,
        }


def simulate(
    listing: Listing | None = None,
    crowd: Crowd | None = None,
    *,
    seed: int = 1,
    step: Any = "1h",
    engine: str = "compiled",
    progress: Progress = None,
) -> Simulation:
    """Play a market from its presale to its expiry. O(steps × (agents + commands)).

    `progress` is told of steps: see `rightsx.progress`. `MisuseError` for numbers that make no market.

    >>> small = simulate(Listing(days=2), Crowd(holders=5, newcomers=5, makers=1), engine="reference", step="6h")
    >>> small.sums["sold_units"] == small.market.series(1).sold
    True
    """
    listing, crowd = listing or Listing(), crowd or Crowd()
    step_ns = _checked(listing, crowd, seed, step)
    market = _staged(listing, crowd, engine)
    play = _Play(market, listing, crowd, np.random.default_rng(seed))
    begun = len(market.event_records)
    play.send(play.presale())
    end = T0_NS + listing.days * DAY_NS
    hours = range(T0_NS + step_ns, end, step_ns)
    with following(progress, "simulate") as told:
        for done, now in enumerate(hours, 1):
            play.send(play.hour(now, min(step_ns, end - now)))
            told(done, len(hours))
    last = np.zeros(1, COMMAND)
    last["time_ns"], last["kind"] = end, CommandKind.ADVANCE
    play.send(last)
    commands = np.concatenate(play.ran)
    events = market.event_records[begun:]
    return Simulation(market, play.data, frame(commands), frame(events), listing, crowd, seed, engine)


def _checked(listing: Listing, crowd: Crowd, seed: int, step: Any) -> int:
    """Let a market pass whose numbers make one; gives the step in ns."""
    for what in (listing, crowd):
        for name, value in what._asdict().items():
            if isinstance(value, bool) or (
                name not in ("policy", "hazard", "spread", "impatience", "arrivals") and not isinstance(value, int)
            ):
                raise MisuseError(f"{name} was {value!r}; an integer is due", Refusal.BadTerms)
    for name in ("holders", "newcomers", "makers", "units_each", "days"):
        value = getattr(crowd, name, None) if name != "days" else listing.days
        if value is None or not 1 <= value <= 100_000:  # noqa: PLR2004 - as the message says
            raise MisuseError(f"{name} was {value}; 1 to 100,000 is due", Refusal.BadTerms)
    for name in ("spread", "impatience", "arrivals"):
        value = getattr(crowd, name)
        if not isinstance(value, int | float) or not 0 <= value < 1e6:  # noqa: PLR2004 - as large as makes sense
            raise MisuseError(f"{name} was {value!r}; 0 or more is due", Refusal.BadTerms)
    integer("seed", seed, Refusal.BadTerms)
    step_ns = span_ns("step", step)
    if not 0 < step_ns <= listing.days * DAY_NS:
        raise MisuseError(f"step was {step!r}; a span within the series' life is due", Refusal.BadTime)
    return step_ns


def _staged(listing: Listing, crowd: Crowd, engine: Any) -> Exchange:
    """Make the market as it is before the presale: one series, everybody with cash."""
    from rightsx import schedule  # noqa: PLC0415 - the package's face imports this file last

    market = Exchange(engine=engine)
    shop = market.register_merchant("merchant", time_ns=T0_NS)
    half = max(1, listing.days * DAY_NS // 2)
    shape = schedule.linear(steps=listing.steps + 1, every=half // (listing.steps + 1)) if listing.steps else schedule.cliff()
    count = crowd.holders + crowd.newcomers + crowd.makers
    market.list_series(
        merchant=shop, product="card", par=listing.par, issue_price=listing.issue_price, expire=T0_NS + listing.days * DAY_NS,
        authorised=max(1, 4 * count * max(crowd.units_each, MAKER_UNITS)), policy=listing.policy, schedule=shape, clawback=False,
        escrow_bps=listing.escrow_bps, taker_bps=listing.taker_bps, royalty_bps=listing.royalty_bps,
    )  # fmt: skip
    people = np.zeros(2 * count, COMMAND)
    people["time_ns"], people["kind"], people["kind"][count:] = T0_NS, CommandKind.OPEN_ACCOUNT, CommandKind.DEPOSIT
    people["account"][count:], people["qty"][count:] = MERCHANT + 1 + np.arange(count), PLENTY
    market.apply_batch(people)
    return market


class _Play:
    """The agents, what they have, and what they send."""

    def __init__(self, market: Exchange, listing: Listing, crowd: Crowd, chance: np.random.Generator) -> None:
        self.market, self.listing, self.crowd, self.chance = market, listing, crowd, chance
        self.data = MarketData(market.event_records)
        self.terms = terms_of(market.event_records, SERIES)
        self.ran: list[np.ndarray] = []
        people = crowd.holders + crowd.newcomers
        self.first_maker = MERCHANT + 1 + people
        count = self.first_maker + crowd.makers
        self.units, self.offered = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.taste = np.exp(crowd.spread * chance.standard_normal(count))  # of the hazard
        self.next_id = CALLER_ID_FIRST
        self.quotes = np.zeros(0, COMMAND)

    # ── what is sent ─────────────────────────────────────────────────────────────────────────────

    def send(self, rows: np.ndarray) -> None:
        """Send commands, and see what came of them."""
        rows = rows[np.argsort(rows["time_ns"], kind="stable")]
        events = self.market.apply_batch(rows)
        self.ran.append(rows)
        self.data.apply(events)
        for kind, sign in ((EventKind.SOLD, 1), (EventKind.REDEEMED, -1)):
            of = events[events["kind"] == kind]
            np.add.at(self.units, of["account"], sign * of["qty"])
        fills = events[events["kind"] == EventKind.FILL]
        first_buys = fills["side"] == Side.BUY
        np.add.at(self.units, np.where(first_buys, fills["account"], fills["other_account"]), fills["qty"])
        sellers = np.where(first_buys, fills["other_account"], fills["account"])
        np.add.at(self.units, sellers, -fills["qty"])
        np.add.at(self.offered, sellers, -fills["qty"])
        for kind, sign in ((EventKind.ACCEPTED, 1), (EventKind.CANCELLED, -1)):
            of = events[(events["kind"] == kind) & (events["side"] == Side.SELL)]
            np.add.at(self.offered, of["account"], sign * of["qty"])

    def rows(self, count: int, kind: CommandKind, now: int, within: int) -> np.ndarray:
        """Make so many commands at random instants of a span."""
        rows = np.zeros(count, COMMAND)
        rows["kind"], rows["series"] = kind, SERIES
        rows["time_ns"] = now + self.chance.integers(0, max(1, within), count)
        return rows

    def orders(self, accounts: np.ndarray, side: Side, prices: np.ndarray, qty: np.ndarray, now: int, within: int) -> np.ndarray:
        """Make orders, those that have a price and a quantity."""
        cap = self.data.value_of(SERIES)
        good = (qty > 0) & (prices >= 1)
        rows = self.rows(int(good.sum()), CommandKind.PLACE, now, within)
        rows["account"], rows["side"], rows["time_in_force"] = accounts[good], side, TimeInForce.GTC
        rows["price"], rows["qty"] = np.minimum(prices[good], cap), qty[good]
        rows["order_id"] = self.next_id + np.arange(len(rows))
        self.next_id += len(rows)
        return rows

    # ── what agents do ───────────────────────────────────────────────────────────────────────────

    def hazard(self, now: int) -> float:
        """Give λ(t)."""
        over = (now - T0_NS) / (self.listing.days * DAY_NS)
        found = self.crowd.hazard(over) if callable(self.crowd.hazard) else self.crowd.hazard
        if not isinstance(found, int | float) or not 0 <= found < 1e9:  # noqa: PLR2004
            raise MisuseError(f"hazard was {found!r}; 0 or more a year is due", Refusal.BadTerms)
        return float(found)

    def worth(self, accounts: np.ndarray, now: int) -> np.ndarray:
        """Say what a unit is worth to each."""
        return np.asarray(fair_value(self.terms, now, hazard=self.hazard(now) * self.taste[accounts]))

    def presale(self) -> np.ndarray:
        """Let holders buy: the more the more a unit is worth to them than it costs; makers take what they quote with."""
        holders = MERCHANT + 1 + np.arange(self.crowd.holders)
        keen = np.clip(1 - self.listing.issue_price / np.maximum(self.worth(holders, T0_NS), 1), 0, 1)
        qty = self.chance.binomial(self.crowd.units_each, keen)
        makers = self.first_maker + np.arange(self.crowd.makers)
        rows = self.rows(len(holders) + len(makers), CommandKind.SUBSCRIBE, T0_NS, DAY_NS // 24)
        rows["account"], rows["qty"] = np.append(holders, makers), np.append(qty, np.full(len(makers), MAKER_UNITS))
        return rows[rows["qty"] > 0]

    def hour(self, now: int, within: int) -> np.ndarray:
        """Let everybody act for a step."""
        if self.data.value_of(SERIES) < 1:
            return np.zeros(0, COMMAND)
        return np.concatenate([self.used(now, within), self.given_up(now, within), self.arrived(now, within), self.quoted(now)])

    def used(self, now: int, within: int) -> np.ndarray:
        """Let people use what they need."""
        people = np.arange(MERCHANT + 1, self.first_maker)
        free = np.maximum(self.units - self.offered, 0)[people]
        chance = -np.expm1(-self.hazard(now) * self.taste[people] * within / YEAR_NS)
        qty = self.chance.binomial(free, chance)
        rows = self.rows(int((qty > 0).sum()), CommandKind.REDEEM, now, within)
        rows["account"], rows["qty"] = people[qty > 0], qty[qty > 0]
        return rows

    def given_up(self, now: int, within: int) -> np.ndarray:
        """Let people offer what they will hardly use: more of them, and for less, the nearer the end."""
        people = np.arange(MERCHANT + 1, self.first_maker)
        left = (self.terms.expire_ns - now) / (self.listing.days * DAY_NS)
        free = np.maximum(self.units - self.offered, 0)[people]
        hurry = 1 + self.crowd.impatience * (1 - left) ** 2
        gives = self.chance.random(len(people)) < -np.expm1(-2.0 * hurry * within / (self.listing.days * DAY_NS))
        qty = np.where(gives, self.chance.binomial(free, 0.5), 0)
        asks = self.worth(people, now) * (1 + self.chance.normal(0.02, 0.05, len(people)) * left)
        return self.orders(people, Side.SELL, np.rint(asks).astype(np.int64), qty, now, within)

    def arrived(self, now: int, within: int) -> np.ndarray:
        """Let newcomers bid what a unit is worth to them, or a little less."""
        count = int(self.chance.poisson(self.crowd.arrivals * within / DAY_NS))
        first = MERCHANT + 1 + self.crowd.holders
        who = self.chance.integers(first, first + self.crowd.newcomers, count)
        bids = self.worth(who, now) * (1 - np.abs(self.chance.normal(0.0, 0.06, count)))
        return self.orders(who, Side.BUY, np.floor(bids).astype(np.int64), self.chance.integers(1, 4, count), now, within)

    def quoted(self, now: int) -> np.ndarray:
        """Let makers take their quotes back and quote anew, around what a unit is worth to most, lower if they hold much."""
        makers = self.first_maker + np.arange(self.crowd.makers)
        back = self.rows(len(self.quotes), CommandKind.CANCEL, now, 1)
        back["order_id"], back["account"], back["series"] = self.quotes["order_id"], self.quotes["account"], 0
        middle = float(fair_value(self.terms, now, hazard=self.hazard(now)))
        lean = np.clip((MAKER_UNITS - self.units[makers]) / MAKER_UNITS, -1, 1) * 0.04
        wide = 0.02 + 0.005 * np.arange(len(makers))
        bids = np.floor(middle * (1 + lean - wide)).astype(np.int64)
        asks = np.ceil(middle * (1 + lean + wide)).astype(np.int64)
        qty = np.full(len(makers), 8)
        new_bids = self.orders(makers, Side.BUY, bids, qty, now + 1, 1)
        new_asks = self.orders(makers, Side.SELL, asks, np.clip(self.units[makers], 0, qty), now + 1, 1)
        self.quotes = np.concatenate([new_bids, new_asks])
        return np.concatenate([back, self.quotes])


def rescued_value(events: np.ndarray) -> int:
    """Add up the face that was consumed by those who had bought it from others: what those sellers would have let go to waste.

    A holder uses his units oldest first (R15); a unit is rescued if it came to him by a trade. Face is told at the value at
    which it was redeemed. O(events that move units).
    """
    moving = {EventKind.SOLD, EventKind.GRANTED, EventKind.IMPORTED, EventKind.FILL, EventKind.GIFTED, EventKind.REDEEMED}
    moving |= {EventKind.VOUCHER_REDEEMED, EventKind.REFUNDED}
    held: dict[tuple[int, int], deque[list[int]]] = {}
    rescued = 0
    chosen = np.isin(events["kind"], [int(kind) for kind in moving])
    for kind, series, account, other, price, qty, side in events[chosen][
        ["kind", "series", "account", "other_account", "price", "qty", "side"]
    ].tolist():
        if kind in (EventKind.SOLD, EventKind.GRANTED, EventKind.IMPORTED):
            held.setdefault((account, series), deque()).append([qty, 0])
        elif kind in (EventKind.FILL, EventKind.GIFTED):
            gives, takes = (account, other) if kind == EventKind.GIFTED or side == Side.SELL else (other, account)
            _taken(held, (gives, series), qty)
            held.setdefault((takes, series), deque()).append([qty, int(kind == EventKind.FILL)])
        else:
            bought = _taken(held, (account, series), qty)
            rescued += 0 if kind == EventKind.REFUNDED else bought * price
    return rescued


def _taken(held: dict[tuple[int, int], deque[list[int]]], whose: tuple[int, int], qty: int) -> int:
    """Take units, oldest first; gives how many of them were bought."""
    lots = held.setdefault(whose, deque())
    bought = 0
    while qty and lots:
        lot = lots[0]
        part = min(qty, lot[0])
        lot[0] -= part
        qty -= part
        bought += part * lot[1]
        if not lot[0]:
            lots.popleft()
    return bought


# ── before a listing is made ─────────────────────────────────────────────────────────────────────

TOLD: Final = ("revenue", "sold_units", "used_part", "rescued_part", "expired_face", "decayed_face", "royalties")
BAND: Final = 1.96  # standard errors: 95 % of a normal distribution


def _trial(crowd: Crowd, fixed: Listing, step: Any, *, trial: int, seed: int, **terms: Any) -> dict[str, float]:
    """Play one market of a listing; the seed is that of the trial alone, so that listings meet the same people."""
    del seed
    return simulate(fixed._replace(**terms), crowd, seed=trial, step=step).sums


def design(
    grid: Mapping[str, Sequence[Any]],
    *,
    listing: Listing | None = None,
    crowd: Crowd | None = None,
    trials: int = 8,
    step: Any = "6h",
    workers: int | None = None,
    progress: Progress = None,
) -> Sweep:
    """Try listings against agents before one is made: a row for each point of a grid of `Listing`'s fields.

    Columns are means over `trials` markets, and with `_low` and `_high` the band in which the mean lies at 95 %: revenue of the
    presale and royalties, units sold, the parts of the face that are used and rescued, face expired and decayed. The same people
    meet every listing. `progress` is told of markets: see `rightsx.progress`. O(points × trials markets).

    >>> table = design({"issue_price": [5_000, 9_000]}, listing=Listing(days=10), crowd=Crowd(holders=20), trials=2, workers=1)
    >>> cheap, dear = table["sold_units"].tolist()
    >>> cheap > dear
    True
    """
    fixed = listing or Listing()
    if not hasattr(grid, "items") or not len(grid):
        raise MisuseError(f"grid was {grid!r}; names of a Listing's fields with lists of values are due", Refusal.BadTerms)
    unknown = [name for name in grid if name not in Listing._fields]
    if unknown:
        raise MisuseError(f"a listing has no {unknown[0]!r}; some of {', '.join(Listing._fields)} are due", Refusal.BadTerms)
    if not 1 <= integer("trials", trials, Refusal.BadTerms) <= 10_000:  # noqa: PLR2004
        raise MisuseError(f"trials was {trials}; 1 to 10,000 is due", Refusal.BadTerms)
    found = sweep(
        partial(_trial, crowd or Crowd(), fixed, step),
        {**grid, "trial": range(1, trials + 1)},
        workers=workers,
        progress=progress,
    )
    columns = {name: found[name][::trials] for name in grid}
    for name in TOLD:
        each = found[name].reshape(-1, trials).astype(np.float64)
        middle, error = each.mean(axis=1), each.std(axis=1, ddof=1) / trials**0.5 if trials > 1 else np.zeros(len(each))
        columns |= {name: middle, f"{name}_low": middle - BAND * error, f"{name}_high": middle + BAND * error}
    return Sweep(columns)
