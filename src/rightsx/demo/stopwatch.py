"""Adds up how long a market takes for its verbs, apart from the people who look at it and make up their minds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from rightsx.exchange import Exchange

QUESTIONS: Final = frozenset({"account", "holding", "series", "order", "orders", "depth", "queue", "check", "state_hash"})


class Stopwatch:
    """An `Exchange` whose verbs are timed by `clock`, in ns; questions pass by."""

    def __init__(self, market: Exchange, clock: Callable[[], int]) -> None:
        """Begin at 0."""
        self.market = market
        self.elapsed_ns = 0
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        """Give what the market has by that name; a verb as one that is timed."""
        found = getattr(self.market, name)
        if name.startswith("_") or name in QUESTIONS or not callable(found):
            return found

        def timed(*arguments: Any, **named: Any) -> Any:
            start = self._clock()
            try:
                return found(*arguments, **named)
            finally:
                self.elapsed_ns += self._clock() - start

        self.__dict__[name] = timed
        return timed
