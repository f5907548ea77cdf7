"""How a verb's words become a command, and its events an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rightsx.border import number_of, time_ns as to_ns
from rightsx.kept import Kept
from rightsx.protocol import AT_ENGINE_CLOCK, Refusal
from rightsx.vocabulary import cold_command, command, integer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rightsx.border import Time
    from rightsx.dispatch import R, Raw
    from rightsx.protocol import CommandKind
    from rightsx.views import SeriesView


class Commanding(Kept):
    """The part of an exchange that sends commands."""

    def _merchant_of(self, series: int) -> int:
        """Give the merchant of a series, or 0, which is nobody's number."""
        return self._twin.merchant_of(integer("series", series, Refusal.UnknownSeries))

    def _find(self, series: int) -> SeriesView | None:
        return self._twin.series(integer("series", series, Refusal.UnknownSeries))

    def _stamp(self, time_ns: Time | None) -> int:
        if time_ns is not None:
            named = to_ns("time_ns", time_ns)
        elif self._clock is not None:
            named = integer("clock()", self._clock(), Refusal.BadTime)
        else:
            return AT_ENGINE_CLOCK
        return max(named, AT_ENGINE_CLOCK + 1)

    def _do(self, result: type[R], kind: CommandKind, time_ns: Time | None, **arguments: int) -> R:
        return self._line.answer(result, self._hot(kind, time_ns, **arguments))

    def _hot(self, kind: CommandKind, time_ns: Time | None, **arguments: int) -> Raw:
        return self._send(kind, self._stamp(time_ns), **arguments)

    def _send(self, kind: CommandKind, at_ns: int, **arguments: int) -> Raw:
        return self._line.send(command(kind, time_ns=at_ns, **arguments))

    def _cold(self, kind: CommandKind, time_ns: Time | None, payload: Mapping[str, object], **arguments: int) -> Raw:
        record, data = cold_command(kind, payload, time_ns=self._stamp(time_ns), **arguments)
        return self._line.send(record, data)

    def _store(self, store: int | str, merchant: int) -> int:
        return number_of(store, self._twin.stores(merchant), "store", 2**32 - 1)
