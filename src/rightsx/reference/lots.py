"""Where a holding's units came from: a queue of lots, oldest first (R15).

    free units of one holding       a sell order        a voucher
    ┌──────┬──────┬──────────┐      ┌──────┐            ┌───┐
    │ lot 3│ lot 7│  lot 12  │  ──► │ lot 3│            │l 7│
    └──────┴──────┴──────────┘      └──────┘            └───┘

A lot is dated, costs something, and may be primary (bought in the presale). Taking units takes the
oldest eligible lots; a part of a lot carries cost × k // qty, the rest stays. What is returned goes
back to its old place, joined to what is left of its lot, because the queue is ordered by (acquired
ns, seq) and a part keeps both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sortedcontainers import SortedKeyList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(slots=True)
class Lot:
    """A parcel of one holding with one origin; `cost` is in minor units for the whole parcel."""

    acquired_ns: int
    seq: int
    qty: int
    cost: int
    primary: bool

    def part(self, qty: int) -> Lot:
        """Split `qty` units off, with their share of the cost, and leave the rest here."""
        cost = self.cost * qty // self.qty
        self.qty -= qty
        self.cost -= cost
        return Lot(self.acquired_ns, self.seq, qty, cost, self.primary)


def lot_place(lot: Lot) -> tuple[int, int]:
    """Give a lot's place in the queue."""
    return lot.acquired_ns, lot.seq


def lot_queue() -> SortedKeyList:
    """Make an empty queue of lots."""
    return SortedKeyList(key=lot_place)


@dataclass(slots=True)
class Holding:
    """What one account has in one series: units by where they are, open bids, and the free lots."""

    free_qty: int = 0
    offered_qty: int = 0
    voucher_qty: int = 0
    bid_qty: int = 0
    lots: SortedKeyList = field(default_factory=lot_queue)

    @property
    def units(self) -> int:
        """All units, wherever they are."""
        return self.free_qty + self.offered_qty + self.voucher_qty


def lots_eligible(holding: Holding, eligible: Callable[[Lot], bool]) -> int:
    """Count the free units in eligible lots. O(lots)."""
    return sum(lot.qty for lot in holding.lots if eligible(lot))


def lots_take(holding: Holding, qty: int, eligible: Callable[[Lot], bool] = lambda _: True) -> list[Lot]:
    """Take `qty` units of the oldest eligible lots out of the queue. O(lots).

    The caller has checked that there are as many. Where the series keeps no lots nothing is taken.
    """
    taken = []
    for lot in list(holding.lots):
        if not qty:
            break
        if not eligible(lot):
            continue
        if lot.qty <= qty:
            holding.lots.remove(lot)
            taken.append(lot)
        else:
            taken.append(lot.part(qty))
        qty -= taken[-1].qty
    return taken


def lots_return(holding: Holding, lots: Iterable[Lot]) -> None:
    """Put lots back into their old places, joined to what was left of them. O(lots log lots)."""
    for lot in lots:
        place = holding.lots.bisect_key_left(lot_place(lot))
        if place < len(holding.lots) and lot_place(holding.lots[place]) == lot_place(lot):
            rest = holding.lots[place]
            rest.qty += lot.qty
            rest.cost += lot.cost
        else:
            holding.lots.add(lot)


def lots_split(lots: list[Lot], qty: int, *, youngest: bool = False) -> list[Lot]:
    """Take `qty` units off a list of lots in queue order: the oldest, or the youngest. O(lots)."""
    taken = []
    while qty and lots:
        place = -1 if youngest else 0
        if lots[place].qty <= qty:
            taken.append(lots.pop(place))
        else:
            taken.append(lots[place].part(qty))
        qty -= taken[-1].qty
    return taken


def lots_cost(lots: Iterable[Lot]) -> int:
    """Add up what lots cost, in minor units."""
    return sum(lot.cost for lot in lots)
