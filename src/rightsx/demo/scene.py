"""Draws up the street on which the demo plays: merchants, their tills, and the series they will list.

    Scene ── merchants ── stores (one of them a franchise that is paid itself), terminals, products
      │         └ one of them is doomed: it defaults when three fifths of the days are over
      └──── plans: one a series, in the order in which they will be listed

A plan is everything that `Exchange.list_series` takes, worked out before the first day, so that what
people do later can never change what is on offer. Terms are dealt out like cards: each shape of
schedule, each policy, opening auctions, bands, cooling-off, holding periods, ticks and channel caps
all occur as soon as there are a dozen series, and the rest is drawn.

Invariants
- Everything follows from (days, series, holders) and the random numbers; there is no clock here.
- Money is integer minor units, times are integer ns. Shares of a life are taken in bps and by `//`.
- Every plan ends by the last day: 0 ≤ listed < open ≤ last trade ≤ expiry ≤ T0 + days.
- A doomed merchant's series all outlive its default, so there is something to lose.
- A plan under PRINCIPAL promises no more than its schedule keeps (R23), so no listing is refused.

Costs: O(series). The names are invented.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rightsx import schedule
from rightsx.protocol import BPS, DAY_NS, T0_NS

if TYPE_CHECKING:
    import random

HOUR_NS: Final = DAY_NS // 24
SERIES_PER_MERCHANT: Final = 6
DEFAULT_BPS: Final = 6_000  # when the doomed merchant defaults, as a share of all days
RUMOUR_BPS: Final = 4_600  # when people begin to doubt it
CHANNELS: Final = ("app", "web", "live", "till")
SHAPES: Final = ("cliff", "linear", "geometric", "stepwise")
_PARS: Final = (1_500, 2_000, 2_500, 3_000, 4_000, 5_000, 8_000, 10_000)
_ESCROWS: Final = (3_000, 5_000, 7_000, 9_500)
_SHOPS: Final = (
    ("Cafe Nord", "coffee", "breakfast"),
    ("Noodle House", "noodles", "hotpot"),
    ("Lantern Cinema", "matinee", "evening"),
    ("Quiet Spa", "massage", "sauna"),
    ("Old Mill Bakery", "bread", "cakes"),
    ("Lotus Yoga", "classes", "courses"),
    ("Harbour Grill", "lunch", "dinner"),
    ("Bright Wash", "car wash", "laundry"),
    ("Paper Moon Books", "books", "readings"),
    ("Green Court", "tennis", "badminton"),
)


class Shop(NamedTuple):
    """A merchant as the demo knows it: its account, its tills and what it sells."""

    account: int
    name: str
    stores: tuple[str, ...]
    terminals: tuple[str, ...]
    products: tuple[str, ...]
    franchise: int
    doomed: bool


class Times(NamedTuple):
    """When things happen in the life of a series: moments and spans in ns, 0 where there is none."""

    listed_ns: int
    open_ns: int
    last_trade_ns: int
    expire_ns: int
    cooling_ns: int
    hold_ns: int


class Plan(NamedTuple):
    """One series before it is listed; `fame` is how people rate it, in bps of the ordinary.

    `terms` are what `Exchange.list_series` takes; the other fields repeat what people look at.
    """

    shop: int
    shape: str
    par: int
    issue_price: int
    residual: int
    tick: int
    stores: tuple[str, ...]
    fame: int
    doomed: bool
    times: Times
    terms: dict[str, Any]

    @property
    def product(self) -> str:
        """What the series is a card for."""
        return str(self.terms["product"])

    def life_bps(self, now_ns: int) -> int:
        """Give the share of its life that is left, in bps: 10,000 at the listing, 0 at expiry."""
        listed_ns, expire_ns = self.times.listed_ns, self.times.expire_ns
        return max(0, min(BPS, (expire_ns - now_ns) * BPS // (expire_ns - listed_ns)))


@dataclass
class Scene:
    """What is on stage. `plans` are in order of listing; `default_ns` is when the doomed merchant fails."""

    days: int
    holders: int
    shops: list[Shop] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)

    @property
    def end_ns(self) -> int:
        """When the last day is over."""
        return T0_NS + self.days * DAY_NS

    @property
    def default_ns(self) -> int:
        """When the doomed merchant defaults, at a whole hour and before anything expires at midnight."""
        return self.moment(DEFAULT_BPS) + 10 * HOUR_NS

    @property
    def rumour_ns(self) -> int:
        """When people begin to doubt the doomed merchant."""
        return self.moment(RUMOUR_BPS)

    def moment(self, share_bps: int) -> int:
        """Give the midnight at or before a share of all days."""
        return T0_NS + self.days * share_bps // BPS * DAY_NS


def shop_count(series: int) -> int:
    """Say how many merchants share so many series: at least two, so that one can default.

    >>> shop_count(2), shop_count(6), shop_count(50)
    (2, 2, 9)
    """
    return max(2, -(-series // SERIES_PER_MERCHANT))


def shop_names(index: int) -> tuple[str, str, str]:
    """Name merchant `index` and its two products; from the eleventh on the names are numbered.

    >>> shop_names(0)[0], shop_names(10)[0]
    ('Cafe Nord', 'Cafe Nord 2')
    """
    name, first, second = _SHOPS[index % len(_SHOPS)]
    turn = index // len(_SHOPS)
    return (f"{name} {turn + 1}" if turn else name), first, second


def plans_draw(scene: Scene, series: int, rng: random.Random) -> list[Plan]:
    """Draw the plans of all series in order of listing; each shop gets every n-th. O(series)."""
    ranks = list(range(series))
    rng.shuffle(ranks)
    plans = [_plan_draw(scene, index, ranks[index] + 1, series, rng) for index in range(series)]
    return sorted(plans, key=lambda plan: plan.times.listed_ns)


def _plan_draw(scene: Scene, index: int, rank: int, series: int, rng: random.Random) -> Plan:
    """Draw one plan; `rank` of `series` spreads the expiries from 55 % of the days to the last."""
    count = len(scene.shops)
    shop, turn = scene.shops[index % count], index // count
    times = _times_draw(scene, index, turn, (rank, series), rng, doomed=shop.doomed)
    shape_name = SHAPES[(index + turn) % len(SHAPES)]
    par = rng.choice(_PARS)
    issue_price = par * rng.randrange(68, 91) // 500 * 5
    principal = _every(5, index, 3)
    steps = _shape(shape_name, par, issue_price, times, principal=principal)
    least = min([par, *(value for _, value in steps.compile(par, times.expire_ns))])
    residual = min(issue_price, least) if principal else 0
    authorised = max(50, scene.holders * 3 // count * rng.randrange(80, 300) // 1_000 * 10)
    stores = () if _every(4, index, 0) else shop.stores
    tick = 5 if _every(7, index, 3) else 1
    terms: dict[str, Any] = {
        "merchant": shop.account,
        "product": shop.products[turn % len(shop.products)],
        "par": par,
        "issue_price": issue_price,
        "authorised": authorised,
        "expire": times.expire_ns,
        "policy": "principal" if principal else "forfeit",
        "schedule": steps,
        "last_trade": times.last_trade_ns,
        "cooling_off": times.cooling_ns,
        "hold": times.hold_ns,
        "stores": stores,
        "tick": tick,
        "band_bps": 4_500 if _every(6, index, 2) else 0,
        "clawback": bool(times.cooling_ns or times.hold_ns or not _every(8, index, 5)),
        "channel_caps": {"live": authorised // 5} if _every(9, index, 4) else None,
    }
    terms |= {"residual": residual} if principal else {}
    terms |= {"open_at": times.open_ns} if times.open_ns else {}
    terms |= _rates_draw(rng)
    fame = rng.randrange(8_700, 11_300)
    return Plan(index % count, shape_name, par, issue_price, residual, tick, stores, fame, shop.doomed, times, terms)


def _every(step: int, index: int, place: int) -> bool:
    """Deal a term to one series in `step`."""
    return index % step == place


def _times_draw(scene: Scene, index: int, turn: int, rank: tuple[int, int], rng: random.Random, *, doomed: bool) -> Times:
    """Draw the moments of a series; the first of each shop is listed on the first day."""
    first_bps = 7_500 if doomed else 5_500
    expire_ns = scene.moment(first_bps + (BPS - first_bps) * rank[0] // rank[1])
    listed_ns = scene.moment(rng.randrange(3_400) if turn else 0) + 6 * HOUR_NS + index % 100 * HOUR_NS // 20
    life_ns = expire_ns - listed_ns
    trading_ns = life_ns * (9_600, 9_000, 10_000, 9_300)[index % 4] // BPS
    return Times(
        listed_ns=listed_ns,
        open_ns=listed_ns + life_ns // 12 if _every(5, index, 1) else 0,
        last_trade_ns=listed_ns + trading_ns,
        expire_ns=expire_ns,
        cooling_ns=min(3 * DAY_NS, life_ns // 5) if _every(3, index, 0) else 0,
        hold_ns=min(2 * DAY_NS, life_ns // 10) if _every(4, index, 2) else 0,
    )


def _rates_draw(rng: random.Random) -> dict[str, int]:
    """Draw what the platform, the escrow and the merchant take of a series, in bps."""
    return {
        "issue_bps": rng.randrange(100, 301),
        "escrow_bps": rng.choice(_ESCROWS),
        "maker_bps": 10,
        "taker_bps": 30,
        "auction_bps": 20,
        "royalty_bps": 50 * rng.randrange(7),
    }


def _shape(name: str, par: int, issue_price: int, times: Times, *, principal: bool) -> schedule.Shape:
    """Make the value schedule of a plan; under PRINCIPAL a stepwise one stays above the issue price."""
    life_ns = times.expire_ns - times.listed_ns
    if name == "linear":
        return schedule.linear(steps=10, every=life_ns * 6 // 100)
    if name == "geometric":
        return schedule.geometric(num=9, den=10, steps=8, every=life_ns * 7 // 100)
    if name == "stepwise":
        floor = issue_price if principal else par * 35 // 100
        values = (par - (par - floor) * share // 100 for share in (25, 60, 100))
        return schedule.stepwise(zip((times.expire_ns - life_ns * share // 100 for share in (50, 30, 12)), values, strict=True))
    return schedule.cliff()
