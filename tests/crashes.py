"""A small market on a faulty disk: run it, stop it anywhere, open what may be left, compare with a market in memory."""

from __future__ import annotations

import random
from pathlib import Path

from faulty_disk import FaultyDisk, PowerLost
from market_flow import Flow
from rightsx.engine.twin import CompiledExchange
from rightsx.errors import CorruptionError, DivergenceError
from rightsx.note import make_signing_key
from rightsx.protocol import FIRST_COLD_KIND, Command, CommandKind, Limits, Venue, command_records
from rightsx.reference.twin import ReferenceExchange
from rightsx.storage import DurableTwin, open_twin

STORE = Path("/store")
VENUE = Venue(gift_fee=2, reference_days=3, limits=Limits(orders=60, accounts=40, holdings=200, series=1_000))
KEY = make_signing_key("market.example/rightsx", bytes(32))
SEGMENT = 8_192


class Script:
    """Commands of a seeded market, with the state after each; some of them publish, of which only the root is not known before."""

    def __init__(self, seed: int, count: int, publishes: float = 0) -> None:
        judge = ReferenceExchange(VENUE)
        flow = Flow(seed, judge._market)
        opening = flow.opening()
        chance = random.Random(seed)
        self.steps: list[tuple[Command, bytes]] = []
        self.states = [judge.state_hash()]
        while len(self.steps) < count:
            step = next(opening, None) or flow.next()
            if step[0].kind == CommandKind.PUBLISH:
                continue
            if self.steps and self.steps[-1][0].kind != CommandKind.PUBLISH and chance.random() < publishes:
                step = Command(kind=CommandKind.PUBLISH), b""
            # The state that a store must have again is that of the times it resolved.
            self.steps.append(step)
            judge.apply(*step)
            self.states.append(judge.state_hash())


def opened(disk: FaultyDisk, *, make=ReferenceExchange, durability="disk", mode="tail", signer=KEY, **options) -> DurableTwin:
    twin = open_twin(STORE, make, disk=disk, venue=VENUE, signer=signer, durability=durability, segment_bytes=SEGMENT, **options)
    try:
        twin.recover(lambda _: None, mode=mode)
    except BaseException:
        twin.store.close()
        raise
    return twin


class Run:
    """A run of a script on a disk: how many commands were acknowledged, and on the disk, before it stopped."""

    def __init__(
        self,
        script: Script,
        disk: FaultyDisk,
        seed: int,
        *,
        durability="disk",
        chance_of=(0.1, 0.05, 0.1),
        make=ReferenceExchange,
    ) -> None:
        self.script, self.disk, self.durability = script, disk, durability
        self.issued = self.safe = 0
        self.published = 0
        self._chance = random.Random(seed)
        self._publish, self._reopen, self._snapshot = chance_of
        self.make = make

    def go(self) -> None:
        """Run to the end, or until the disk fails."""
        twin = opened(self.disk, make=self.make, durability=self.durability)
        self.issued = self.safe = twin.command_seq
        steps = self.script.steps
        while self.issued < len(steps):
            self._step(twin, steps)
            if self._chance.random() < self._publish:
                twin.publish()
                self.safe = self.issued
                self.published = twin.journal.size
            if isinstance(twin.twin, CompiledExchange) and self._chance.random() < self._snapshot:
                twin.snapshot()
                self.safe = self.issued
            if self._chance.random() < self._reopen:
                twin.close()
                self.safe = self.issued
                twin = opened(self.disk, make=self.make, durability=self.durability)
                assert twin.command_seq == self.issued
        twin.close()
        self.safe = self.issued

    def _step(self, twin: DurableTwin, steps: list[tuple[Command, bytes]]) -> None:
        batch = []
        for record, _ in steps[self.issued : self.issued + self._chance.choice((1, 1, 1, 3, 20))]:
            if record.kind >= FIRST_COLD_KIND or record.kind == CommandKind.PUBLISH:
                break
            batch.append(record)
        first = self.issued
        self.issued += len(batch) or 1
        if not batch and steps[first][0].kind == CommandKind.PUBLISH:
            twin.apply_raw(twin.publish_command())
            twin.publish()
            self.safe, self.published = self.issued, twin.journal.size
        elif batch:
            twin.apply_batch(command_records(batch))
        else:
            twin.apply_raw(*steps[first])
        if self.durability == "disk":
            self.safe = self.issued


def judge(run: Run, disk: FaultyDisk, *, legal: bool) -> str:
    """Open what is left: everything acknowledged is there, or it is refused; a legal crash is never refused."""
    try:
        twin = opened(disk, make=run.make)
    except (CorruptionError, DivergenceError):
        assert not legal, "what a crash may leave is opened"
        return "refused"
    try:
        seq = twin.command_seq
        assert run.safe <= seq <= max(run.issued, run.safe), (
            f"{seq} commands are there; {run.safe} were acknowledged of {run.issued}"
        )
        assert twin.state_hash() == run.script.states[seq], f"the state after command {seq} is another"
        assert twin.journal.size >= run.published
        assert not legal or twin.compared[1] == 0, "the salts of a state that was published are gone"
        twin.check()
    finally:
        twin.close()
    return "whole" if seq == run.issued else "cut"


__all__ = ["KEY", "SEGMENT", "STORE", "VENUE", "FaultyDisk", "PowerLost", "Run", "Script", "judge", "opened"]
