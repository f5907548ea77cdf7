"""What a right is worth to somebody who will use it at an unknown time, or not at all.

    v(t) ──┐        redeemed, with hazard λ ──► v at that time ┐
           └──┐     the merchant fails, δ ───► recovery × v    ├─ discounted at r ─► fair value
              └──┐  neither by expiry ───────► 0, or residual  ┘

A holder redeems a unit when he happens to need it: in any short time dt with probability λ dt. The merchant fails with
probability δ dt, and pays then the part `recovery` of what a unit redeems for. What is left at expiry is forfeited or, under
PRINCIPAL, paid back (R23). With κ = λ + δ + r and a value that is v_k from a_k to b_k, seen from t,

    fair = Σ (λ + δ·recovery) · v_k · (e^−κ(a_k−t) − e^−κ(b_k−t)) / κ  +  residual · e^−κ(T−t)

in closed form for every schedule, because schedules are steps (R7, R8). Rates are per year of 365 days, continuous. Prices are
minor units and here, alone, floats: this advises, it moves nothing. The hazard that a price implies is found by bisection: the
sooner a right is used the more it is worth, as long as its value does not rise and what is paid back is no more.

Sources: reduced-form models with constant intensities, as D. Lando, "On Cox processes and credit risky securities" (1998).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rightsx.border import time_ns
from rightsx.errors import MisuseError
from rightsx.protocol import BPS, DAY_NS, EVENT, EventKind, Policy, Refusal, Term
from rightsx.vocabulary import integer

if TYPE_CHECKING:
    from rightsx.border import Time

YEAR_NS: Final = 365 * DAY_NS
MOST_HAZARD: Final = 1e9  # a year; at once, for all that can be told


class Terms(NamedTuple):
    """What decides what a unit is worth: its value from some times on, when it ends, and what is paid back then."""

    starts_ns: tuple[int, ...]  # ascending; the first is the listing
    values: tuple[int, ...]
    expire_ns: int
    residual: int  # 0 under FORFEIT

    def value(self, at_ns: int) -> int:
        """Give v(t)."""
        if at_ns >= self.expire_ns:
            return 0
        place = int(np.searchsorted(np.array(self.starts_ns), at_ns, side="right")) - 1
        return self.values[max(place, 0)]


def terms_of(events: np.ndarray, series: int) -> Terms:
    """Read the terms of a series from the events of its listing, EVENT[n]. `MisuseError` if it is not listed in them. O(n)."""
    if not isinstance(events, np.ndarray) or events.dtype != EVENT:
        raise MisuseError(f"events were {getattr(events, 'dtype', type(events).__name__)}; a NumPy array EVENT[n] is due")
    of = events[events["series"] == integer("series", series, Refusal.UnknownSeries)]
    listed = of[of["kind"] == EventKind.LISTED]
    if not len(listed):
        raise MisuseError(f"series was {series}; these events do not list it", Refusal.UnknownSeries)
    steps = of[of["kind"] == EventKind.STEP]
    terms = {int(row["code"]): int(row["amount"]) for row in of[of["kind"] == EventKind.TERM]}
    listed_ns, later = int(listed["time_ns"][0]), steps[steps["other_order_id"] > listed["time_ns"][0]]
    return Terms(
        (listed_ns, *later["other_order_id"].tolist()),
        (int(listed["fee"][0]), *later["price"].tolist()),
        int(listed["other_order_id"][0]),
        terms.get(Term.RESIDUAL, 0) if terms.get(Term.POLICY) == Policy.PRINCIPAL else 0,
    )


def fair_value(terms: Terms, at: Time, *, hazard: Any, rate: float = 0.0, default: float = 0.0, recovery: float = 0.0) -> Any:
    """Give the fair value of a unit at a time; `hazard` may be an array, and then it is one of values. O(steps) each.

    `hazard`, `rate` and `default` are per year, `recovery` is 0 … 1. `MisuseError` for anything else, or a time before the
    listing.

    >>> year = 365 * 86_400 * 10**9
    >>> plain = Terms((0,), (100,), year, 0)
    >>> round(fair_value(plain, 0, hazard=2.0), 2)     # 1 − e^−2 of them are used within the year
    86.47
    >>> round(fair_value(plain._replace(residual=80), 0, hazard=2.0, rate=0.05), 2)
    95.3
    """
    at_ns = time_ns("at", at)
    if at_ns < terms.starts_ns[0]:
        raise MisuseError(f"at was {at_ns}; the series was listed at {terms.starts_ns[0]}", Refusal.BadTime)
    using = np.asarray(_rate("hazard", hazard), np.float64)
    for name, value in (("rate", rate), ("default", default), ("recovery", recovery)):
        _rate(name, value, 1.0 if name == "recovery" else np.inf)
    if at_ns >= terms.expire_ns:
        return _plain(np.zeros_like(using))
    starts = np.maximum(np.array(terms.starts_ns, np.int64), at_ns)
    ends = np.append(starts[1:], terms.expire_ns)
    begin, end = ((edge - at_ns) / YEAR_NS for edge in (starts, ends))
    kappa = (using + default + rate)[..., None]
    # (e^−κa − e^−κb) / κ without loss where κ is small.
    span = np.exp(-kappa * begin) * -np.expm1(-kappa * (end - begin)) / np.where(kappa > 0, kappa, 1)
    span = np.where(kappa > 0, span, end - begin)
    left = terms.residual * np.exp(-kappa[..., 0] * (terms.expire_ns - at_ns) / YEAR_NS)
    return _plain((using + default * recovery) * (span * np.array(terms.values, np.float64)).sum(axis=-1) + left)


def _plain(found: np.ndarray) -> Any:
    return float(found) if found.ndim == 0 else found


def _rate(name: str, value: Any, most: float = np.inf) -> Any:
    """Let a rate pass, or an array of them."""
    if isinstance(value, bool | str) or value is None:
        raise MisuseError(f"{name} was {value!r}; a number is due")
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "iuf" or not (np.isfinite(numbers) & (numbers >= 0) & (numbers <= most)).all():
        raise MisuseError(f"{name} was {value!r}; 0 … {'1' if most == 1 else 'any number of times a year'} is due")
    return value


def implied_hazard(
    terms: Terms, at: Time, price: float, *, rate: float = 0.0, default: float = 0.0, recovery: float = 0.0
) -> float:
    """Give the hazard, per year, at which a price is fair; ∞ for the value itself. O(steps) some sixty times.

    `MisuseError` for a price above the value or below what a unit is worth that is never used.
    """
    at_ns = time_ns("at", at)
    options = {"rate": rate, "default": default, "recovery": recovery}
    least, most = fair_value(terms, at_ns, hazard=0.0, **options), float(terms.value(at_ns))
    if isinstance(price, bool) or not isinstance(price, int | float) or not least <= price <= most:
        raise MisuseError(
            f"price was {price!r}; {least:.6g}, of a unit that is never used, to {most:.6g} is due", Refusal.BadPrice
        )
    if price == most:
        return float("inf")
    low, high = 0.0, 1.0
    while high < MOST_HAZARD and fair_value(terms, at_ns, hazard=high, **options) < price:
        low, high = high, 2 * high
    if high >= MOST_HAZARD:
        return float("inf")
    for _ in range(64):
        middle = (low + high) / 2
        if fair_value(terms, at_ns, hazard=middle, **options) < price:
            low = middle
        else:
            high = middle
    return (low + high) / 2


TERM: Final = np.dtype(
    [
        ("series", "<i8"),
        ("expire_ns", "<i8"),
        ("to_expiry_ns", "<i8"),
        ("value", "<i8"),
        ("price", "<f8"),  # the middle of the best bid and ask, else of the last trade; NaN if there is none
        ("discount_bps", "<f8"),
        ("yearly_discount", "<f8"),  # the constant rate at which the value is worth the price by expiry
    ]
)


def term_structure(table: np.ndarray, *, product: int | None = None) -> np.ndarray:
    """Give what the market asks for waiting: a row for each series that lives, by expiry, TERM[k].

    `table` is `MarketData.series_table()`; `product` is the number of one product, or None for all.

    >>> from rightsx.marketdata import MarketData
    >>> len(term_structure(MarketData().series_table()))
    0
    """
    plain = np.asarray(table)
    if plain.dtype.names is None or "to_expiry_ns" not in plain.dtype.names:
        raise MisuseError(f"table was {plain.dtype}; MarketData.series_table() is due")
    alive = (plain["to_expiry_ns"] > 0) & (plain["value"] > 0) & (plain["closed"] == 0)
    if product is not None:
        alive &= plain["product"] == integer("product", product, Refusal.BadTerms)
    rows = plain[alive]
    rows = rows[np.lexsort((rows["series"], rows["expire_ns"]))]
    made = np.zeros(len(rows), TERM)
    for name in ("series", "expire_ns", "to_expiry_ns", "value"):
        made[name] = rows[name]
    both = (rows["bid_qty"] > 0) & (rows["ask_qty"] > 0)
    last = np.where(rows["trades"] > 0, rows["last_price"], np.nan)
    made["price"] = np.where(both, (rows["bid"] + rows["ask"]) / 2, last)
    made["discount_bps"] = BPS * (1 - made["price"] / made["value"])
    with np.errstate(divide="ignore", invalid="ignore"):
        made["yearly_discount"] = -np.log(made["price"] / made["value"]) / (made["to_expiry_ns"] / YEAR_NS)
    return made
