"""How a market begins, in memory or from a folder, and what one that is kept has beside its verbs.

with Exchange.open("store/", signer=key) as market:      made at the first time, brought back at every other
market.deposit(account=ann, amount=500)              on the disk when it returns
market.publish()                                     a signed checkpoint over everything so far
receipt = market.journal.receipt(event_seq)          what a customer keeps
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar

from rightsx.border import switch, venue_of
from rightsx.dispatch import Dispatcher
from rightsx.errors import MisuseError
from rightsx.twins import twin_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    import numpy as np

    from rightsx.ledger import Journal, Published
    from rightsx.note import SigningKey
    from rightsx.protocol import Limits, Venue
    from rightsx.solvency import SolvencyProof
    from rightsx.storage import DurableTwin
    from rightsx.twins import Twin

DURABLE: Final = "_durable"
RAW_VERBS: Final = ("advance", "apply", "apply_batch")
R = TypeVar("R")
ENGINES: Final = ("compiled", "reference")
REFERENCE_DAYS: Final = 30


class Kept:
    """The part of an exchange that begins it, keeps it and ends it."""

    _clock: Callable[[], int] | None
    _twin: Twin
    _line: Dispatcher
    _keeper: DurableTwin | None

    def _begin(self, engine: str, venue: Venue, clock: Callable[[], int] | None, *, keeps: bool, raises: bool) -> None:
        """Begin in memory."""
        keeps, raises = switch("keep_events", keeps), switch("raise_on_refusal", raises)
        self._clock = _callable(clock)
        self._twin = _made(engine, venue)
        self._line = Dispatcher(self._twin, keeps=keeps, raises=raises)
        self._keeper = None

    def drive(self, rows: np.ndarray, out: np.ndarray, go: Callable[..., int]) -> np.ndarray:
        """Let a backtest run the commands that it writes to `rows`; see `engine.twin`. `MisuseError` but in memory, compiled."""
        self.check_drivable()
        twin: Any = self._twin
        self._line.admit()
        events: np.ndarray = twin.drive(rows, out, go)
        return events

    def check_drivable(self) -> None:
        """Raise `MisuseError` unless a backtest may run here."""
        if self._keeper is not None or not hasattr(self._twin, "drive"):
            raise MisuseError("a backtest runs in a market in memory, on the compiled engine")

    @property
    def keeps_events(self) -> bool:
        """Whether this market keeps its events in memory."""
        return self._line.keeps

    def driven(self, events: np.ndarray, *, keeps: bool) -> None:
        """Hear of the events of `drive`; unless it `keeps` them this market keeps none any more, and the last is enough."""
        twin: Any = self._twin
        twin.end_drive()
        self._line.driven(events, keeps=keeps)

    def undriven(self, told: int) -> np.ndarray:
        """Give what a `drive` that was cut short had done: the events of commands after number `told`."""
        twin: Any = self._twin
        twin.end_drive()
        unread: np.ndarray = twin.take_unread(told)
        return unread

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        engine: Literal["compiled", "reference"] = "compiled",
        durability: Literal["disk", "os", "none"] = "disk",
        mode: Literal["tail", "strict"] = "tail",
        read_only: bool = False,
        origin: str | None = None,
        signer: SigningKey | None = None,
        clock: Callable[[], int] | None = None,
        raise_on_refusal: bool = False,
        keep_events: bool = True,
        gift_fee: int | None = None,
        reference_days: int | None = None,
        limits: Limits | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Open a market that is kept in a folder, or make it: what was acknowledged is there again, to the last unit.

        `durability` says what an acknowledgement means: "disk", the command is on the disk; "os", it survives the process;
        "none", neither, until `sync` or `close`. `mode`: "tail" cuts a last write that a crash tore, "strict" refuses it.
        `read_only` looks at what is there, beside a writer too, and takes no commands. `origin` names the journal, `signer`
        signs its checkpoints. The venue (`gift_fee`, `reference_days`, `limits`) is fixed when the store is made.
        `progress` is told of the commands replayed and the bytes of log read. Raises `MisuseError` for words and rates
        that make no sense or are not the store's, `StoreLockedError` beside another writer, `CorruptionError` naming file and
        byte, `DivergenceError` if the log does not give what was recorded. O(commands since the last `snapshot`).
        """
        from rightsx.storage import MODES, open_twin  # noqa: PLC0415 - a market in memory needs no disk

        if mode not in MODES:
            raise MisuseError(f"mode was {mode!r}; one of {', '.join(MODES)} is due")
        given = [value for value in (gift_fee, reference_days, limits) if value is not None]
        days = REFERENCE_DAYS if reference_days is None else reference_days
        market = cls.__new__(cls)
        market._clock = _callable(clock)
        keeps, raises = switch("keep_events", keep_events), switch("raise_on_refusal", raise_on_refusal)
        market._twin = market._keeper = twin = open_twin(
            path,
            lambda venue: _made(engine, venue),
            durability=durability,
            read_only=switch("read_only", read_only),
            origin=origin,
            signer=signer,
            venue=venue_of(gift_fee or 0, days, limits) if given else None,
        )
        try:
            market._line = Dispatcher(twin, keeps=keeps, raises=raises, one_thread=True)
            twin.recover(market._line.hear if keeps else None, mode=mode, progress=progress)
        except BaseException:
            twin.close()
            raise
        return market

    @property
    def journal(self) -> Journal:
        """The journal of a market that is kept: proofs and receipts of everything that was settled."""
        return self._kept().journal_now()

    def sync(self) -> int:
        """Make everything acknowledged so far safe on the disk; gives the number of the last command that is."""
        return self._kept().sync()

    def publish(self) -> Published:
        """Commit to what everybody is owed, make everything safe, write the journal's files, sign the checkpoint over it.

        The last event before the checkpoint is the STATE with the root of `commitment.State`. O(accounts + holdings + events).
        """
        keeper = self._kept()
        self._line.admit()
        publishes = keeper.publish_command()
        if publishes is not None:
            self._line.send(publishes)
            self._line.told = True
        return keeper.publish()

    @contextlib.asynccontextmanager
    async def publishing(self, every: float = 1.0) -> AsyncIterator[None]:
        """Publish by itself, off the path of commands, every so many seconds in which something happened, and once at the end.

        For a server: `async with market.publishing(): …`. A publication that fails ends the block with what it raised.
        """
        if isinstance(every, bool) or not isinstance(every, int | float) or not 0 < every < math.inf:
            raise MisuseError(f"every was {every!r}; a number of seconds above 0 is due")
        self._kept()
        block = asyncio.current_task()

        async def publish_on() -> None:
            seq = -1
            while True:
                await asyncio.sleep(every)
                if self.command_seq != seq:
                    self.publish()
                    seq = self.command_seq

        def ended(task: asyncio.Task[None]) -> None:
            if block is not None and not task.cancelled() and task.exception() is not None:
                block.cancel()

        task = asyncio.create_task(publish_on())
        task.add_done_callback(ended)
        try:
            yield
        except asyncio.CancelledError:
            if block is not None and task.done() and not task.cancelled():
                block.uncancel()
                task.result()  # raises what ended it, in place of the cancellation that it asked for
            raise
        finally:
            task.cancel()
        self.publish()

    def prove_solvency(self, *, series: Iterable[int] | None = None, holders: Iterable[tuple[int, int]] = ()) -> SolvencyProof:
        """Prove what series owe (all, unless some are named) and what (account, series) of `holders` hold, by the last `publish`.

        `MisuseError` for an account or series that is not in that state, or if nothing was published and signed. O(accounts).
        """
        return self._kept().prove_solvency(series, holders)

    def forget_salt(self, account: int) -> int:
        """Forget what links an account to its entries in the states published so far; gives how many salts that were.

        It gets another salt, and a state with that is published before the old one goes. Proofs that were handed out still
        hold, and so do everybody else's. `MisuseError` for an unknown account.
        """
        keeper = self._kept()
        self._line.admit()
        keeper.renew_salt(account)
        self.publish()
        return keeper.store.salts.forget(account)

    def snapshot(self) -> Path:
        """Write the whole market as it is, so that the next start reads the log from here on; gives the file. O(bytes).

        `MisuseError` for the reference engine, which has none. A snapshot may be removed at any time.
        """
        return self._kept().snapshot()

    def close(self) -> None:
        """Make everything safe and let another writer have the store. A market in memory has nothing to close."""
        if self._keeper is not None:
            self._keeper.close()

    def __enter__(self) -> Self:
        """Give the market, which is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def __getattr__(self, name: str) -> Any:
        """Give the durable form of a verb: `place_durable` for `place`."""
        verb = name.removesuffix(DURABLE)
        if verb != name and is_verb(type(self), verb):
            return partial(self._durably, getattr(self, verb))
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    async def _durably(self, verb: Callable[..., R], *given: Any, **named: Any) -> R:
        """Do a verb now, and answer when it is safe. What the verb raises is raised at once, and nothing is waited for."""
        keeper = self._kept()
        with keeper.unsynced():
            answer = verb(*given, **named)
        await keeper.safe()
        return answer

    @property
    def command_seq(self) -> int:
        """How many commands there were, refused ones included."""
        return self._twin.command_seq

    def _kept(self) -> DurableTwin:
        if self._keeper is None:
            raise MisuseError("this market is in memory; Exchange.open(folder) makes one that is kept")
        return self._keeper


def is_verb(kind: type, name: str) -> bool:
    """Say whether a method of an exchange gives a command: it takes `time_ns`, or commands as they are."""
    method = getattr(kind, name, None)
    return name in RAW_VERBS or "time_ns" in getattr(method, "__annotations__", {})


def _made(engine: str, venue: Venue) -> Twin:
    if engine not in ENGINES:
        raise MisuseError(f"engine was {engine!r}; one of {', '.join(ENGINES)} is due")
    return twin_of(engine, venue)


def _callable(clock: Callable[[], int] | None) -> Callable[[], int] | None:
    if clock is not None and not callable(clock):
        raise MisuseError(f"clock was {clock!r}; a callable such as time.time_ns is due")
    return clock
