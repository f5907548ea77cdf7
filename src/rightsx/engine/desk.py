"""The cold commands: merchants, stores, terminals, channels, listings, imports (R3, R7, R34, R45, R46).

    verb of reference ──► Desk: reads the tables, keeps what is added ──► write ──► tables and registry
         │                                                                  ▲
       REFUSED: nothing is added                     cut short: again from its beginning

They are rare and bring text, so they run in Python: the very verbs of `reference`, over a `Desk` that stands
for the tables. A desk shows the verb what it may ask for (accounts, series, registries, the clock) and
keeps what it adds; `write` then brings that into the tables, when nothing can be refused any more.

A write may be cut short anywhere (a KeyboardInterrupt, no memory) and is then done again as a whole: every
step of it either states what will be, or looks whether it has been done.
"""

from __future__ import annotations

from collections import ChainMap
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from rightsx.engine import memory as at
from rightsx.engine.export import export_account, export_series
from rightsx.engine.hot import OP_IMPORT, OP_LISTED, OP_OPEN_ACCOUNT
from rightsx.engine.numbers import C_IMPORT_MEMBERS
from rightsx.protocol import Terms
from rightsx.reference.primary import import_members
from rightsx.reference.run import perform, refuse
from rightsx.reference.state import Market, Product, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rightsx.engine.memory import MarketMemory
    from rightsx.engine.registry import Registry
    from rightsx.protocol import Command, Event, Venue
    from rightsx.reference.primary import Row
    from rightsx.reference.state import Account, Series, Store

T = TypeVar("T")


class Additions(Generic[T]):
    """A list that stands elsewhere, and after it what one command adds, kept here until it is written."""

    def __init__(self, count: int, read: Callable[[int], T]) -> None:
        """Begin with the `count` that are there."""
        self.count, self.read = count, read
        self.fresh: list[T] = []

    def __len__(self) -> int:
        """Count all."""
        return self.count + len(self.fresh)

    def __getitem__(self, place: int) -> T:
        """Give one of either."""
        return self.read(place) if place < self.count else self.fresh[place - self.count]

    def append(self, one: T) -> None:
        """Add one."""
        self.fresh.append(one)


class Imported(NamedTuple):
    """What one row of an import brings, and the number of the event that says so."""

    series: int
    account: int
    units: int
    fee: int
    escrow: int
    event_seq: int


def note_import(desk: Desk, series: Series, account: int, row: Row) -> None:
    """Keep what one row of an import brings, until it is written."""
    desk.imported.append(Imported(series.id, account, row.units, row.split.fee, row.split.escrow, desk.event_seq))


class _Holders:
    """Who has a holding in a series: all that is asked of it here."""

    def __init__(self, desk: Desk, series: int) -> None:
        self.desk, self.series = desk, series

    def __contains__(self, account: object) -> bool:
        rows = self.desk.memory.arrays[at.HOLDING]
        slot = int(self.desk.memory.arrays[at.SERIES][self.series]["first_holding"])
        if not hasattr(self, "_known"):
            self._known = set()
            while slot:
                self._known.add(int(rows[slot]["account"]))
                slot = int(rows[slot]["next"])
        return account in self._known


class _References:
    """Whether the running command's `ref` stands for another one: the kernel has looked."""

    def __init__(self, *, conflicts: bool) -> None:
        self.conflicts = conflicts

    def __contains__(self, key: object) -> bool:
        return self.conflicts


class Desk(Market):
    """One cold command: what it may ask for, what it adds, and, in `out`, what happened."""

    accounts: Additions[Account]  # type: ignore[assignment]
    series: Additions[Series]  # type: ignore[assignment]
    stores: Additions[Store]  # type: ignore[assignment]
    channels: Additions[str]  # type: ignore[assignment]
    products: Additions[Product]  # type: ignore[assignment]
    product_ids: ChainMap[tuple[int, str], int]  # type: ignore[assignment]
    members: ChainMap[tuple[int, int], int]  # type: ignore[assignment]

    def __init__(self, memory: MarketMemory, registry: Registry, venue: Venue, operate: Callable[..., int]) -> None:
        """Read the clock and the counters."""
        world = memory.world
        self.memory, self.registry, self.venue, self.operate = memory, registry, venue, operate
        self.clock_ns, self.command_seq, self.event_seq = (int(world[n]) for n in ("clock_ns", "command_seq", "event_seq"))
        self.killed = bool(world["killed"])
        self.holding_count = int(memory.funds["holding_count"])
        self.out: list[Event] = []
        self.checked = 0
        self.accepted = True
        self.references = _References(conflicts=bool(world["memo"] == 2))  # type: ignore[assignment]
        self.accounts = Additions(int(memory.funds["account_count"]), self._account)
        self.series = Additions(int(world["series_count"]), self._series)
        self.stores = Additions(len(registry.stores), registry.stores.__getitem__)
        self.channels = Additions(len(registry.channels), registry.channels.__getitem__)
        self.products = Additions(len(registry.products), self._product)
        self.product_ids = ChainMap({}, registry.product_ids)
        self.members = ChainMap({}, registry.members)
        self.terminals: dict[int, list[str]] = {}  # of the merchants that were looked at
        self.imported: list[Imported] = []
        # Where what is added will stand: found once, before anything is written.
        self.used = dict(registry.used)
        self.channel_used = int(world["channel_used"])
        self.neighbours = 0, 0

    def run(self, command: Command, payload: dict[str, Any]) -> None:
        """Perform the command, but write nothing; where it is not `accepted`, REFUSED is the last event of `out`."""
        try:
            if command.kind == C_IMPORT_MEMBERS:
                import_members(self, command, payload, note_import)
            else:
                perform(self, command, payload)
        except RefusedError as refusal:
            self.accepted = False
            refuse(self, command, refusal)
        for series in self.series.fresh:
            self.neighbours = self._neighbours(series)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def _account(self, account: int) -> Account:
        names = self.registry.terminals.get(account)
        if names is not None:
            names = self.terminals.setdefault(account, list(names))
        return export_account(self.memory, account, [] if names is None else names)

    def _series(self, place: int) -> Series:
        found = export_series(self.memory, place + 1)
        found.holdings = _Holders(self, place + 1)  # type: ignore[assignment]
        return found

    def _product(self, place: int) -> Product:
        kept = self.registry.products[place]
        return Product(kept.merchant, kept.name, [])

    def _neighbours(self, series: Series) -> tuple[int, int]:
        """Find between which series of its product a new one stands, in the order in which bills walk them: (expiry, id)."""
        rows, products = self.memory.arrays[at.SERIES], self.memory.arrays[at.PRODUCT]
        before, after = 0, int(products[series.product]["first_series"]) if series.product < len(products) else 0
        while after and rows[after]["expire_ns"] <= series.terms.expire_ns:
            before, after = after, int(rows[after]["product_next"])
        return before, after

    def arm_series(self, due_ns: int, kind: object, series: int) -> None:
        """Leave arming to `write`: the tables have no row of the series yet."""

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def write(self) -> None:
        """Write into the tables and the registry what the command adds; done twice it is done once."""
        memory, registry, world = self.memory, self.registry, self.memory.world
        for account in self.accounts.fresh:
            memory.grow_short()
            self.operate(OP_OPEN_ACCOUNT, account.id)
            if account.is_merchant:
                self.terminals[account.id] = account.terminals
        for merchant, names in self.terminals.items():
            registry.terminals[merchant] = names
            memory.arrays[at.ACCOUNT][merchant]["terminals"] = len(names)
        registry.members.update(self.members.maps[0])
        for imported in self.imported:
            memory.grow_short()
            self.operate(OP_IMPORT, *imported)
        registry.channels[self.channels.count :] = self.channels.fresh
        world["channel_count"] = len(registry.channels)
        self._write_stores()
        registry.products[self.products.count :] = self.products.fresh
        registry.product_ids.update(self.product_ids.maps[0])
        world["product_count"] = len(registry.products)
        for series in self.series.fresh:
            self._write_series(series)
        world["event_seq"] = self.event_seq

    def _write_stores(self) -> None:
        first = self.stores.count
        self.memory.grow_by_doubling(at.STORE, len(self.stores) + 1)
        for number, store in enumerate(self.stores.fresh, first + 1):
            self.memory.arrays[at.STORE][number] = (store.merchant, store.settles_to)
        self.registry.stores[first:] = self.stores.fresh
        self.memory.world["store_count"] = len(self.stores)

    def _write_series(self, series: Series) -> None:
        """Write the row of a new series and of what belongs to it, and let the kernel arm its timers."""
        memory, number = self.memory, series.id
        memory.grow_by_doubling(at.SERIES, number + 1)
        memory.grow_by_doubling(at.SIDES, 4 * (number + 1))
        row = memory.arrays[at.SERIES][number]
        for name, value in zip(Terms._fields, series.terms, strict=True):
            row[name] = value
        row["merchant"], row["product"] = series.merchant, series.product
        row["value"], row["reference"], row["step_index"] = series.value, series.reference, series.step_index
        row["in_auction"], row["keeps_lots"] = series.in_auction, series.keeps_lots
        row["step_start"], row["step_count"] = self._write_rows(at.STEP, [tuple(step) for step in series.steps])
        row["shop_start"], row["shop_count"] = self._write_rows(at.SHOP, [(store,) for store in series.stores])
        row["first_channel"] = self._write_channels(series)
        self._link(series)
        self.operate(OP_LISTED, number)

    def _write_rows(self, table: int, rows: list[tuple[int, ...]]) -> tuple[int, int]:
        """Append rows to a table that only listings write: where they begin, how many they are."""
        start = self.used.get(table, 0)
        self.memory.grow_by_doubling(table, start + len(rows))
        for offset, row in enumerate(rows):
            self.memory.arrays[table][start + offset] = row
        self.registry.used[table] = start + len(rows)
        return start, len(rows)

    def _write_channels(self, series: Series) -> int:
        """Append the chain of the channels that have a cap: where it begins, or NIL."""
        memory, world, first = self.memory, self.memory.world, 0
        end = self.channel_used + len(series.channel_caps)
        memory.grow_by_doubling(at.CHANNEL, end)
        world["channel_rows"] = len(memory.arrays[at.CHANNEL])
        for slot, (channel, cap) in enumerate(series.channel_caps.items(), self.channel_used):
            memory.arrays[at.CHANNEL][slot] = (channel, first, cap, 0, 0)
            first = slot
        world["channel_used"] = end
        return first

    def _link(self, series: Series) -> None:
        """Link a series into the live ones of its product."""
        self.memory.grow_by_doubling(at.PRODUCT, series.product + 1)
        rows, product = self.memory.arrays[at.SERIES], self.memory.arrays[at.PRODUCT][series.product]
        before, after = self.neighbours
        product["merchant"] = series.merchant
        rows[series.id]["product_next"] = after
        if before:
            rows[before]["product_next"] = series.id
        else:
            product["first_series"] = series.id
        listed = self.registry.products[series.product - 1].series
        if series.id not in listed[-1:]:
            listed.append(series.id)
