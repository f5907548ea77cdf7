"""Compiles the shapes of R8 into step tables, so that both twins receive finished steps.

    cliff       par ────────────────────────────┐
    linear      par ──┐__┐__┐__┐__              │   n values, the last step one period before expiry
    geometric   par ─┐_┐__┐___                  │   v × num // den, n times, the last one period before
    stepwise    as given                        ▼ expiry

A shape knows nothing of a series; `compile` gives it par and expiry and gets a list of (ns, v). The
running engine never works a shape out and never evaluates a float.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rightsx.border import Span, Time, span_ns, time_ns
from rightsx.errors import MisuseError
from rightsx.protocol import MAX_STEPS, Refusal
from rightsx.vocabulary import integer

Steps = list[tuple[int, int]]


@dataclass(frozen=True)
class Shape:
    """A value schedule that waits for par and expiry; made by the functions below."""

    kind: str
    steps: int = 0
    every_ns: int = 0
    num: int = 1
    den: int = 1
    table: tuple[tuple[int, int], ...] = ()

    def compile(self, par: int, expire_ns: int) -> Steps:
        """Give the table of (ns, v), times ascending. O(steps).

        >>> linear(steps=5, every=1).compile(97, 10)
        [(6, 77), (7, 58), (8, 38), (9, 19)]
        >>> [v for _, v in geometric(num=9, den=10, steps=10, every=1).compile(100, 10)]
        [90, 81, 72, 64, 57, 51, 45, 40, 36, 32]
        """
        if self.kind == "linear":
            n = self.steps
            return [(expire_ns - (n - k) * self.every_ns, par * (n - k) // n) for k in range(1, n)]
        if self.kind == "geometric":
            n, value, table = self.steps, par, []
            for k in range(1, n + 1):
                value = value * self.num // self.den
                table.append((expire_ns - (n - k + 1) * self.every_ns, value))
            return table
        return list(self.table)


def cliff() -> Shape:
    """Keep the full value until expiry: no steps."""
    return Shape("cliff")


def linear(*, steps: int, every: Span) -> Shape:
    """Fall from par to par/steps in equal parts, the last step one period before expiry (R8).

    `steps` is n, so there are n − 1 steps; `every` is the period. Raises `MisuseError` (BadTerms)
    unless 1 ≤ steps ≤ 4,097 and the period is positive.
    """
    return Shape("linear", _count("steps", steps, MAX_STEPS + 1), _period(every))


def geometric(*, num: int, den: int, steps: int, every: Span) -> Shape:
    """Multiply by num/den at each of `steps` steps, the last one period before expiry (R8).

    Raises `MisuseError` (BadTerms) unless 0 ≤ num ≤ den, den ≥ 1, 1 ≤ steps ≤ 4,096.
    """
    if not 0 <= integer("num", num, Refusal.BadTerms) <= integer("den", den, Refusal.BadTerms) or den < 1:
        raise MisuseError(f"the ratio was {num}/{den}; 0 ≤ num ≤ den and den ≥ 1 are due", Refusal.BadTerms)
    return Shape("geometric", _count("steps", steps, MAX_STEPS), _period(every), int(num), int(den))


def stepwise(table: Iterable[tuple[Time, int]]) -> Shape:
    """Take the steps as given: (when, v) with times ascending and values non-increasing.

    Whether they are so is the listing's to check (`ScheduleNotMonotone`).
    """
    rows = []
    if not isinstance(table, Iterable):
        raise MisuseError(f"table was {table!r}; a list of (when, v) is due", Refusal.BadTerms)
    for row in table:
        if not isinstance(row, (list, tuple)) or len(row) != 2:  # noqa: PLR2004
            raise MisuseError(f"a step was {row!r}; (when, v) is due", Refusal.BadTerms)
        rows.append((time_ns("step", row[0]), integer("v", row[1], Refusal.BadTerms)))
    return Shape("stepwise", table=tuple(rows))


def _count(name: str, value: int, most: int) -> int:
    if not 1 <= integer(name, value, Refusal.BadTerms) <= most:
        raise MisuseError(f"{name} was {value}; 1 to {most} is allowed", Refusal.BadTerms)
    return int(value)


def _period(every: Span) -> int:
    period = span_ns("every", every, Refusal.BadTerms)
    if period <= 0:
        raise MisuseError(f"every was {period} ns; a positive span is due", Refusal.BadTerms)
    return period
