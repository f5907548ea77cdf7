"""The cold commands: merchants, stores, terminals, channels, listings, imports (R3, R7, R34, R45, R46).

They are rare and bring text, so they run in Python: the very verbs of `reference`, over a `Desk` that stands
for the tables. A desk shows the verb what it may ask for (accounts, series, registries, the clock) and
keeps what it changes; `commit` then writes that into the tables, when nothing can be refused any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rightsx.engine import memory as at
from rightsx.engine.export import export_account, export_series
from rightsx.engine.numbers import C_IMPORT_MEMBERS
from rightsx.engine.run import OP_LISTED, OP_MINT, OP_OPEN_ACCOUNT
from rightsx.protocol import Channel, CommandKind, EventKind, Terms
from rightsx.reference.primary import admit_import
from rightsx.reference.run import perform, refuse
from rightsx.reference.state import Market, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rightsx.engine.memory import MarketMemory
    from rightsx.engine.registry import Registry
    from rightsx.protocol import Command, Event, Venue
    from rightsx.reference.state import Account, Series


class _Accounts:
    """The accounts as a list: read from the tables when asked for, appended to them at once."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def __len__(self) -> int:
        return int(self.desk.memory.funds["account_count"])

    def __getitem__(self, account: int) -> Account:
        return export_account(self.desk.memory, account, list(self.desk.registry.terminals.get(account, [])))

    def append(self, account: Account) -> None:
        self.desk.operate(OP_OPEN_ACCOUNT)
        if account.is_merchant:
            self.desk.registry.terminals[account.id] = account.terminals
            self.desk.memory.arrays[at.ACCOUNT][account.id]["terminals"] = 0


class _SeriesList:
    """The series as a list: read from the tables when asked for; one that is new is kept for `commit`."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.fresh: Series | None = None

    def __len__(self) -> int:
        return int(self.desk.memory.world["series_count"])

    def __getitem__(self, place: int) -> Series:
        found = export_series(self.desk.memory, place + 1)
        found.holdings = _Holders(self.desk, place + 1)  # type: ignore[assignment]
        return found

    def append(self, series: Series) -> None:
        self.fresh = series


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
    """One cold command's view of the tables; `out` is what happened."""

    def __init__(self, memory: MarketMemory, registry: Registry, venue: Venue, operate: Callable[..., int]) -> None:
        """Read the clock and the counters."""
        world = memory.world
        self.memory, self.registry, self.venue, self.operate = memory, registry, venue, operate
        self.clock_ns, self.command_seq, self.event_seq = (int(world[n]) for n in ("clock_ns", "command_seq", "event_seq"))
        self.killed = bool(world["killed"])
        self.holding_count = int(memory.funds["holding_count"])
        self.out: list[Event] = []
        self.checked = 0
        self.accounts = _Accounts(self)  # type: ignore[assignment]
        self.series = _SeriesList(self)  # type: ignore[assignment]
        self.references = _References(conflicts=bool(world["memo"] == 2))  # type: ignore[assignment]
        self.channels, self.members = registry.channels, registry.members
        self.stores, self.products, self.product_ids = list(registry.stores), registry.products, registry.product_ids

    def run(self, command: Command, payload: dict[str, Any]) -> bool:
        """Perform the command: True if it was accepted, else REFUSED is the last event and nothing has changed."""
        try:
            if command.kind == C_IMPORT_MEMBERS:
                self.import_members(command, payload)
            else:
                perform(self, command, payload)
                self.commit(command, payload)
        except RefusedError as refusal:
            refuse(self, command, refusal)
            return False
        self.memory.world["event_seq"] = self.event_seq
        return True

    def arm_series(self, due_ns: int, kind: object, series: int) -> None:
        """Leave arming to `commit`: the tables have no row of the series yet."""

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def commit(self, command: Command, payload: dict[str, Any]) -> None:
        """Write into the tables what the verb has changed here."""
        memory, registry, world = self.memory, self.registry, self.memory.world
        world["channel_count"] = len(self.channels)
        if command.kind == CommandKind.REGISTER_TERMINAL:
            names = registry.terminals.setdefault(command.account, [])
            names.append(payload["name"])
            memory.arrays[at.ACCOUNT][command.account]["terminals"] = len(names)
        for store in self.stores[len(registry.stores) :]:
            registry.stores.append(store)
            number = len(registry.stores)
            memory.grow_by_doubling(at.STORE, number + 1)
            memory.arrays[at.STORE][number] = (store.merchant, store.settles_to)
            world["store_count"] = number
        fresh = self.series.fresh  # type: ignore[attr-defined]
        if fresh is not None:
            self.commit_series(fresh)

    def commit_series(self, series: Series) -> None:
        """Write the row of a new series and of what belongs to it, and let the kernel arm its timers."""
        memory, world, number = self.memory, self.memory.world, series.id
        memory.grow_by_doubling(at.SERIES, number + 1)
        memory.grow_by_doubling(1, 4 * (number + 1))
        row = memory.arrays[at.SERIES][number]
        for name, value in zip(Terms._fields, series.terms, strict=True):
            row[name] = value
        row["merchant"], row["product"] = series.merchant, series.product
        row["value"], row["reference"], row["step_index"] = series.value, series.reference, series.step_index
        row["in_auction"], row["keeps_lots"] = series.in_auction, series.keeps_lots
        row["step_start"], row["step_count"] = self._rows(at.STEP, [tuple(step) for step in series.steps])
        row["shop_start"], row["shop_count"] = self._rows(at.SHOP, [(store,) for store in series.stores])
        for channel, cap in series.channel_caps.items():
            slot = int(world["channel_used"])
            memory.grow_by_doubling(at.CHANNEL, slot + 1)
            world["channel_rows"] = len(memory.arrays[at.CHANNEL])
            memory.arrays[at.CHANNEL][slot] = (channel, row["first_channel"], cap, 0, 0)
            world["channel_used"], row["first_channel"] = slot + 1, slot
        self._link_product(series)
        world["series_count"] = number
        self.operate(OP_LISTED, number)

    def _rows(self, table: int, rows: list[tuple[int, ...]]) -> tuple[int, int]:
        """Append rows to a table that only listings write: where they begin, how many they are."""
        start = self.registry.used.get(table, 0)
        self.memory.grow_by_doubling(table, start + len(rows))
        for offset, row in enumerate(rows):
            self.memory.arrays[table][start + offset] = row
        self.registry.used[table] = start + len(rows)
        return start, len(rows)

    def _link_product(self, series: Series) -> None:
        """Link a series into the live ones of its product, in the order in which bills walk them: (expiry, id)."""
        memory, rows = self.memory, self.memory.arrays[at.SERIES]
        memory.grow_by_doubling(at.PRODUCT, series.product + 1)
        product = memory.arrays[at.PRODUCT][series.product]
        product["merchant"] = series.merchant
        self.memory.world["product_count"] = len(self.products)
        before, after = 0, int(product["first_series"])
        while after and rows[after]["expire_ns"] <= series.terms.expire_ns:
            before, after = after, int(rows[after]["product_next"])
        rows[series.id]["product_next"] = after
        if before:
            rows[before]["product_next"] = series.id
        else:
            product["first_series"] = series.id

    # ── the import (R34) ─────────────────────────────────────────────────────────────────────────

    def import_members(self, command: Command, payload: dict[str, Any]) -> None:
        """Turn legacy balances into units, the whole batch or nothing; the merchant pays their escrow."""
        series, rows = admit_import(self, command, payload)
        # From here the command must succeed.
        for row in rows:
            self.ensure_room()
            key = (series.merchant, row.member)
            if key not in self.members:
                self.members[key] = self.operate(OP_OPEN_ACCOUNT)
                self.emit(EventKind.ACCOUNT_OPENED, account=self.members[key], order_id=row.member, flags=1)
            account = self.members[key]
            self.memory.arrays[at.ACCOUNT][series.merchant]["cash_free"] -= row.split.escrow
            self.operate(OP_MINT, series.id, account, row.units, row.split.fee, row.split.escrow, int(Channel.IMPORT), 0, 0)
            self.emit(
                EventKind.IMPORTED,
                series=series.id,
                account=account,
                other_account=series.merchant,
                order_id=row.member,
                price=series.terms.issue_price,
                qty=row.units,
                amount=row.balance,
                fee=row.dust,
                other_fee=row.split.escrow,
                extra=Channel.IMPORT,
            )

    def ensure_room(self) -> None:
        """Make sure that one more member fits the tables."""
        self.memory.grow_short()
