"""What an engine offers the face: commands in, events out, questions; and which engines there are.

The face does not know which one it has: all of them answer every command with the same events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    from rightsx.engine.twin import ShortWay
    from rightsx.protocol import Command, Side, Venue
    from rightsx.views import (
        AccountView,
        AuctionRow,
        HoldingView,
        Level,
        OrderView,
        PlanView,
        ProductView,
        SeriesView,
        VoucherView,
    )


class Twin(Protocol):
    """What an engine offers the face: commands, the whole, queries.

    One that is `resumable` finishes a command that an exception cut short; any other must not go on then.
    """

    resumable: bool

    @property
    def clock_ns(self) -> int: ...  # noqa: D102
    @property
    def command_seq(self) -> int: ...  # noqa: D102
    @property
    def next_due_ns(self) -> int | None: ...  # noqa: D102
    @property
    def platform_cash(self) -> int: ...  # noqa: D102

    def apply_raw(self, command: Command, payload: bytes = b"") -> bytes: ...  # noqa: D102
    def apply_batch(self, records: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...  # noqa: D102
    def short_way(self) -> ShortWay | None: ...  # noqa: D102
    def heard(self) -> None: ...  # noqa: D102
    def take_unread(self, told: int) -> np.ndarray: ...  # noqa: D102
    def check(self) -> None: ...  # noqa: D102
    def state_hash(self) -> str: ...  # noqa: D102
    def account(self, account: int) -> AccountView | None: ...  # noqa: D102
    def holding(self, account: int, series: int) -> HoldingView | None: ...  # noqa: D102
    def series(self, series: int) -> SeriesView | None: ...  # noqa: D102
    def merchant_of(self, series: int) -> int: ...  # noqa: D102
    def products(self) -> list[ProductView]: ...  # noqa: D102
    def product(self, merchant: int, name: str) -> ProductView | None: ...  # noqa: D102
    def depth(self, series: int, side: Side, most: int | None) -> list[Level]: ...  # noqa: D102
    def auction(self, series: int) -> list[AuctionRow]: ...  # noqa: D102
    def order(self, order_id: int) -> OrderView | None: ...  # noqa: D102
    def orders(self, *, account: int = 0, series: int = 0) -> list[OrderView]: ...  # noqa: D102
    def plan(self, series: int, account: int) -> PlanView | None: ...  # noqa: D102
    def plans(self, *, account: int = 0, series: int = 0) -> list[PlanView]: ...  # noqa: D102
    def queue(self, series: int, side: Side) -> list[OrderView]: ...  # noqa: D102
    def voucher(self, voucher_id: int) -> VoucherView | None: ...  # noqa: D102
    def channels(self) -> list[str]: ...  # noqa: D102
    def stores(self, merchant: int) -> dict[str, int]: ...  # noqa: D102
    def terminals(self, merchant: int) -> list[str]: ...  # noqa: D102
    def promises(self) -> tuple[np.ndarray, np.ndarray, int]: ...  # noqa: D102
    def member(self, merchant: int, member: int) -> int | None: ...  # noqa: D102


@runtime_checkable
class SavingTwin(Twin, Protocol):
    """An engine that can become what it was: `save` gives what has names, and the tables."""

    def save(self) -> tuple[dict[str, Any], dict[int, np.ndarray]]: ...  # noqa: D102
    def load(self, names: dict[str, Any], tables: dict[int, np.ndarray]) -> None: ...  # noqa: D102


def twin_of(engine: str, venue: Venue) -> Twin:
    """Make the engine that was chosen; the other one is not even loaded."""
    if engine == "reference":
        from rightsx.reference.twin import ReferenceExchange  # noqa: PLC0415

        return ReferenceExchange(venue)
    from rightsx.engine.twin import CompiledExchange  # noqa: PLC0415 - numba loads at the first compiled use

    return CompiledExchange(venue)
