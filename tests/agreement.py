"""Agreement: long random runs of two engines, and what is done where they differ.

    case ─► run ─ differs ─► script of all commands ─► bisect ─► shrink ─► simplify ─► a file in tests/found
     ▲       │
     │       └─ agreed: how many commands, the digest of all answers
     └── a shape of flow, a seed, how many commands

A run is a function of its case, so that the commands up to a difference can be made again without the
engine that failed. From there everything happens in forked children that replay a part of the script: the
shortest prefix that differs, by bisection; then the fewest of its commands, by delta debugging; then the
plainest numbers in them. A command names what an earlier one has made (an order, a series, an account, a
voucher) by that command, so that the others may go. What is left is written as a scenario where words
can say it, else as JSON; `python tests/agreement.py FILE …` runs it again.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from book_flow import SHAPES, BookFlow
from market_shapes import MARKETS, flow_of
from retelling import Script, Step, found_text, read_found
from rightsx._jit import COMPILED
from rightsx.protocol import AT_ENGINE_CLOCK, Command, CommandKind as K, Term, commands_of
from rightsx.vocabulary import pack, payload_digest, unpack
from twins import (
    AUDIT_EVERY,
    CALL_S,
    WHOLE_EVERY,
    BookPair,
    BookTwins,
    Ending,
    MarketPair,
    MarketTwins,
    Outcome,
    Pair,
    Part,
    Twins,
    Watch,
    answer_bytes,
    done_here,
    in_child,
    is_cold,
    parts_of,
    rows_differ,
    warm,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FOUND: Final = Path(__file__).parent / "found"
TRIAL_S: Final = 1.5 if COMPILED else 15.0  # a call of the subject while a script is shrunk
SHAPE_NAMES: Final = (*MARKETS, *(f"book:{name}" for name in SHAPES))

# ── cases ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Case:
    """One run: a shape (`book:` before that of a bare book), a seed, about so many commands.

    `thorough` hands every command over singly and compares the rows that its answers name; otherwise whole
    batches go through `apply_batch`. Both see the same commands. `subject` is another engine than the compiled.
    """

    shape: str
    seed: int
    commands: int
    thorough: bool = False
    subject: Callable[[Any], Any] | None = None

    def twins(self) -> Twins:
        """Say which two engines are compared."""
        other = {"subject": self.subject} if self.subject else {}
        if not self.shape.startswith("book:"):
            market = MARKETS[self.shape]
            return MarketTwins(market.venue, market.event_rows, market.first_rows, **other)
        book = SHAPES[self.shape.removeprefix("book:")]
        first = 2 if book.report_rows else 0
        return BookTwins(book.books, book.ids, book.limit, book.report_rows, first, **other)

    def pieces(self, pair: Pair) -> Iterator[Part]:
        """Make the flow of this case for the judge of a pair."""
        if isinstance(pair, MarketPair):
            return flow_of(MARKETS[self.shape], self.seed, pair.judge._market).pieces(self.commands)
        return _book_pieces(self, pair)


def _book_pieces(case: Case, pair: BookPair) -> Iterator[np.ndarray]:
    shape = SHAPES[case.shape.removeprefix("book:")]
    flow = BookFlow(shape, case.seed)
    for start in range(0, case.commands, shape.batch):
        live = pair.judge._live.values()
        some = [*islice(live, 2_048), *reversed([*islice(reversed(live), 2_048)])]
        known = np.array([(order.id, order.account) for order in some], np.int64).reshape(-1, 2)
        yield flow.batch(min(shape.batch, case.commands - start), known)


# ── a run ────────────────────────────────────────────────────────────────────────────────────────


def run(case: Case, watch: Watch) -> Outcome:
    """Let both engines of a case answer its whole flow, up to the first difference."""
    pair = case.twins().open(watch)
    digest = hashlib.sha256()
    done = answers = whole = 0
    for part in parts_of(case.pieces(pair), singly=case.thorough):
        n = len(part) if isinstance(part, np.ndarray) else 1
        watch.handed = done + n
        judge, subject = pair.ask(part)
        at, said = rows_differ(judge, subject)
        if said:
            longer = judge if at < len(judge) else subject
            return Outcome(done + pair.command_of(done, longer[at]) + 1, answers, b"", "events", said, whole)
        digest.update(answer_bytes(judge))
        answers += len(judge)
        done += n
        if case.thorough:
            said = pair.named_differ(judge)
            if said:
                return Outcome(done, answers, b"", "rows", said, whole)
        if done // WHOLE_EVERY > (done - n) // WHOLE_EVERY:
            said = pair.whole_differs(audit=done // AUDIT_EVERY > whole // AUDIT_EVERY)
            if said:
                return Outcome(done, answers, b"", "state", said, whole)
            whole = done
    said = pair.whole_differs() or pair.queries_differ()
    return Outcome(done, answers, digest.digest(), "state" if said else "", said, whole)


def judge_alone(case: Case) -> Outcome:
    """Let the judge answer a case alone: what the commands are does not depend on the subject."""
    pair = replace(case, subject=_nobody).twins().open(Watch())
    digest = hashlib.sha256()
    done = answers = 0
    for command, payload in _commands(case, pair):
        told = pair.ask_judge((command, payload))
        digest.update(answer_bytes(told))
        done += 1
        answers += len(told)
    return Outcome(done, answers, digest.digest())


def compare(case: Case, call_s: float = CALL_S) -> Outcome:
    """Run a case in a child; hanging, dying and raising are outcomes."""
    watch = Watch(call_s)
    warm(case.twins())
    return outcome_of(in_child(lambda watch: run(case, watch), watch), watch)


def _nobody(_: Any) -> None:
    """Stand for a subject that is not asked."""


def _commands(case: Case, pair: Pair) -> Iterator[tuple[Command, bytes]]:
    for part in parts_of(case.pieces(pair), singly=True):
        assert not isinstance(part, np.ndarray)
        yield part


def script_of(case: Case, upto: int) -> Script:
    """Make the first `upto` commands of a case again, without its subject."""
    alone = replace(case, subject=_nobody)
    pair = alone.twins().open(Watch())
    steps: list[Step] = []
    for number, piece in enumerate(case.pieces(pair), 1):
        rows = [(command, b"") for command in commands_of(piece)] if isinstance(piece, np.ndarray) else [piece]
        for row in rows:
            pair.ask_judge(row)
        batch = number if isinstance(piece, np.ndarray) and not case.thorough else 0
        steps += [Step(len(steps) + k, command, payload, batch) for k, (command, payload) in enumerate(rows)]
        if len(steps) >= upto:
            break
    return Script(case.twins(), linked(alone.twins(), steps[:upto]), thorough=case.thorough)


# ── a script of commands that name each other ────────────────────────────────────────────────────

_SORTS: Final[dict[str, dict[int, str]]] = {
    "other_account": {K.TRANSFER: "account", K.GRANT: "account"},
    "order_id": {K.CANCEL: "order", K.AMEND: "order", K.UPLOAD_VOUCHER: "voucher"},
}


def linked(twins: Twins, steps: Sequence[Step]) -> list[Step]:
    """Let commands name what they name by the command that made it."""
    pair = twins.open(Watch())
    makers: dict[tuple[str, int], int] = {}
    told = []
    for step in steps:
        command = step.command
        named = [("series", "series"), ("account", "account")] if isinstance(pair, MarketPair) else []
        named += [(name, sorts[command.kind]) for name, sorts in _SORTS.items() if command.kind in sorts]
        names = {name: makers[sort, getattr(command, name)] for name, sort in named if (sort, getattr(command, name)) in makers}
        told.append(step._replace(names=tuple(sorted(names.items()))))
        made = pair.made(command, pair.ask_judge((command, step.payload)))
        if made:
            makers[made] = step.uid
    return told


NOBODYS: Final = {"series": 2**31, "account": 2**31, "other_account": 2**31, "order_id": 2**61}


class Replay:
    """A script that is handed over to a fresh pair."""

    def __init__(self, script: Script, watch: Watch) -> None:
        """Begin with empty twins."""
        self.pair = script.twins.open(watch)
        self._watch = watch
        self._made: dict[int, int] = {}

    def resolve(self, step: Step) -> Command:
        """Put the ids of this run into a command; what was not made is nobody's."""
        ids = {name: self._made.get(maker, NOBODYS[name]) for name, maker in step.names}
        return step.command._replace(**ids) if ids else step.command

    def ask_judge(self, step: Step) -> tuple[Command, np.ndarray]:
        """Hand a step to the judge and note what it made."""
        command = self.resolve(step)
        told = self.pair.ask_judge((command, step.payload))
        made = self.pair.made(command, told)
        if made:
            self._made[step.uid] = made[1]
        return command, told

    def ask(self, steps: list[Step]) -> tuple[np.ndarray, np.ndarray]:
        """Hand steps to both: one singly, several as one batch."""
        told = [self.ask_judge(step) for step in steps]
        judge = np.concatenate([answers for _, answers in told])
        if len(steps) > 1 or (steps[0].batch and not is_cold(steps[0].command)):
            return judge, self.pair.ask_subject_batch([command for command, _ in told])
        return judge, self.pair.ask_subject((told[0][0], steps[0].payload))


def replay(script: Script, watch: Watch) -> Outcome:
    """Hand a script over, up to the first difference; whole states are compared at its end."""
    play = Replay(script, watch)
    done = answers = 0
    for batch, group in groupby(script.steps, key=lambda step: (step.batch, 0 if step.batch else step.uid)):
        del batch
        steps = list(group)
        watch.handed = done + len(steps)
        judge, subject = play.ask(steps)
        _, said = rows_differ(judge, subject)
        done += len(steps)
        answers += len(judge)
        if said:
            return Outcome(done, answers, b"", "events", said)
        said = play.pair.named_differ(judge) if script.thorough else ""
        if said:
            return Outcome(done, answers, b"", "rows", said)
    said = play.pair.whole_differs() or play.pair.queries_differ()
    return Outcome(done, answers, b"", "state" if said else "", said)


def judge_script(script: Script, call_s: float = TRIAL_S) -> Outcome:
    """Replay a script in a child; hanging, dying and raising are outcomes."""
    watch = Watch(call_s)
    warm(script.twins)
    return outcome_of(in_child(lambda watch: replay(script, watch), watch), watch)


def outcome_of(ended: Ending, watch: Watch) -> Outcome:
    """Give the outcome of a piece of work that may not have come to its end."""
    return ended.value if not ended.how else Outcome(watch.handed, 0, b"", ended.how, ended.said)


# ── bisecting and shrinking ──────────────────────────────────────────────────────────────────────


@dataclass
class Search:
    """Looks for a smaller script that still differs; `seconds` bound each of its parts, `judge` replays one."""

    script: Script
    seconds: float
    judge: Callable[[Script], Outcome]
    last: Outcome = field(default_factory=lambda: Outcome(0, 0, b""))
    _end: float = 0.0

    def differs(self, steps: Sequence[Step]) -> bool:
        """Try these steps; keeps them if the twins still differ."""
        script = self.script._replace(steps=list(steps))
        outcome = self.judge(script)
        if outcome.what:
            self.script, self.last = script, outcome
        return bool(outcome.what)

    def has_time(self) -> bool:
        """Say whether this part may go on."""
        return time.monotonic() < self._end

    def begin(self) -> None:
        """Begin a part."""
        self._end = time.monotonic() + self.seconds

    def find(self) -> bool:
        """Find the smallest script that this search can; False if the script as it is does not differ."""
        steps = self.script.steps
        singly = [step._replace(batch=0) for step in steps]
        if not self.differs(singly) and not self.differs(steps):
            return False
        self.bisect()
        self.guess()
        self.shrink()
        self.simplify()
        self.shrink()
        return True

    def bisect(self) -> None:
        """Find the shortest prefix that differs; a difference, once there, is taken to stay."""
        self.begin()
        self.differs(self.script.steps[: self.last.commands])
        low, high = 0, len(self.script.steps)
        whole = self.script.steps
        while low + 1 < high and self.has_time():
            middle = (low + high) // 2
            if self.differs(whole[:middle]):
                high = min(middle, self.last.commands)
            else:
                low = middle
        self.differs(whole[:high])

    def guess(self) -> None:
        """Try what is mostly enough: what the last command names, and only what was accepted."""
        steps = self.script.steps
        by_uid = {step.uid: step for step in steps}
        wanted, todo = set(), [steps[-1].uid]
        while todo:
            uid = todo.pop()
            if uid not in wanted:
                wanted.add(uid)
                todo += [maker for _, maker in by_uid[uid].names if maker in by_uid]
        if self.differs([step for step in steps if step.uid in wanted]):
            return
        play = Replay(self.script._replace(twins=replace(self.script.twins, subject=_nobody)), Watch())
        accepted = []
        for step in steps:
            _, told = play.ask_judge(step)
            if "event_seq" not in (told.dtype.names or ()) or (told["event_seq"] >= 0).any():
                accepted.append(step)
        self.differs([*accepted, steps[-1]] if steps[-1] not in accepted else accepted)

    def shrink(self) -> None:
        """Leave out pieces, halves at first and single commands at last, while the rest still differs (delta debugging)."""
        self.begin()
        size = max(1, len(self.script.steps) // 2)
        while self.has_time():
            at, smaller = len(self.script.steps) - size, False
            while at > -size and self.has_time():
                steps = self.script.steps
                rest = [*steps[: max(0, at)], *steps[at + size :]]
                if rest and len(rest) < len(steps) and self.differs(rest):
                    smaller = True
                at -= size
            if size == 1 and not smaller:
                return
            size = max(1, size // 2) if not smaller or size > 1 else 1

    def simplify(self) -> None:
        """Give commands plainer numbers while the twins still differ."""
        self.begin()
        for place in range(len(self.script.steps) - 1, -1, -1):
            again = True
            while again and self.has_time():
                again = False
                steps = self.script.steps
                if place >= len(steps):
                    break
                for plainer in plainer_steps(steps[place]):
                    if self.differs([*steps[:place], plainer, *steps[place + 1 :]]):
                        again = True
                        break


def search(script: Script, what: str, seconds: float, call_s: float = TRIAL_S) -> tuple[Script, Outcome] | None:
    """Find a small script that differs, and its outcome; None if the script as it is does not differ.

    All trials are made in one child, unless that one hangs or dies, or what it finds needs what went before:
    then each is made in a child of its own.
    """
    warm(script.twins)

    def here(watch: Watch) -> list[Step]:
        looks = Search(script, seconds, lambda one: outcome_of(done_here(lambda watch: replay(one, watch), watch), watch))
        return looks.script.steps if looks.find() else []

    if what not in ("hangs", "dies"):
        ended = in_child(here, Watch(call_s))
        if ended.value:
            smaller = script._replace(steps=ended.value)
            outcome = judge_script(smaller, call_s)
            if outcome.what:
                return smaller, outcome
    looks = Search(script, seconds, lambda one: judge_script(one, call_s))
    return (looks.script, looks.last) if looks.find() else None


_PLAIN: Final[dict[str, tuple[int, ...]]] = {
    "time_ns": (AT_ENGINE_CLOCK,),
    "ref": (0,),
    "display": (0, 1),
    "stop_price": (0,),
    "other_account": (0,),
    "flags": (0,),
    "order_id": (0,),
    "deadline_ns": (0,),
    "time_in_force": (1,),
    "qty": (1, 10, 100, 1_000, 10_000),
    "price": (1, 10, 50, 100),
}


def plainer_steps(step: Step) -> Iterator[Step]:
    """List the ways in which one command could be plainer."""
    if step.batch:
        yield step._replace(batch=0)
    command, named = step.command, {name for name, _ in step.names}
    for name, values in _PLAIN.items():
        found = getattr(command, name)
        if name in named or (is_cold(command) and name != "time_ns"):
            continue
        for value in values:
            if found != value and (value == AT_ENGINE_CLOCK or abs(value) < abs(found)):
                yield step._replace(command=command._replace(**{name: value}))
    if command.kind in (K.LIST_SERIES, K.IMPORT_MEMBERS):
        yield from (_with_payload(step, payload) for payload in _plainer_payloads(unpack(command, step.payload)))


def _plainer_payloads(payload: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key, nothing in (("ref", 0), ("stores", []), ("channel_caps", {}), ("steps", [])):
        if payload.get(key):
            yield {**payload, key: nothing}
    for key in ("steps", "rows"):
        for place in range(len(payload.get(key, []))):
            yield {**payload, key: [*payload[key][:place], *payload[key][place + 1 :]]}
    for term in payload.get("terms", {}):
        if term not in (Term.PAR, Term.ISSUE_PRICE, Term.AUTHORISED, Term.EXPIRE_NS, Term.POLICY):
            yield {**payload, "terms": {key: value for key, value in payload["terms"].items() if key != term}}


def _with_payload(step: Step, payload: dict[str, Any]) -> Step:
    data = pack(payload)
    return step._replace(command=step.command._replace(qty=len(data), ref=payload_digest(data)), payload=data)


# ── what was found ───────────────────────────────────────────────────────────────────────────────


class Found(NamedTuple):
    """A difference: what it was, the smallest script that shows it (None: only the run does), and where it is written."""

    case: Case
    outcome: Outcome
    script: Script | None = None
    path: Path | None = None

    def __str__(self) -> str:
        """Say what was found and how to see it again."""
        case, outcome = self.case, self.outcome
        lines = [f"shape {case.shape}, seed {case.seed}, command {outcome.commands:,}: {outcome.what}: {outcome.said}"]
        if self.script is None:
            lines += ["  the commands alone, in a new process, do not show it: run the case again"]
            return "\n".join(
                [
                    *lines,
                    f"  again: python tests/simulate_forever.py --shape {case.shape} --seed {case.seed} --commands {case.commands}",
                ]
            )
        lines += [f"  {len(self.script.steps)} commands show it:"]
        lines += [f"    {step}" for step in self.script.steps[:40]]
        if self.path:
            lines += [f"  again: python tests/agreement.py {self.path}"]
        return "\n".join(lines)


def explain(
    case: Case, outcome: Outcome, *, seconds: float = 60.0, call_s: float = TRIAL_S, folder: Path | None = FOUND
) -> Found:
    """Bisect and shrink what a run has found, and write it down."""
    smaller = search(script_of(case, outcome.commands), outcome.what, seconds, call_s)
    if smaller is None:
        return Found(case, outcome)
    script, last = smaller
    last = last._replace(commands=outcome.commands)
    if folder is None:
        return Found(case, last, script)
    about = f"shape {case.shape}, seed {case.seed}, command {outcome.commands}: {last.what}: {last.said}"
    text, suffix = found_text(script, about, lambda script: bool(judge_script(script, call_s).what))
    folder.mkdir(exist_ok=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    path = folder / f"{case.shape.replace(':', '_')}_{case.seed}_{digest}.{suffix}"
    path.write_text(text)
    return Found(case, last, script, path)


def agree(case: Case, *, seconds: float = 60.0, folder: Path | None = FOUND) -> Outcome:
    """Run a case; where the twins differ, shrink it, write it down and raise `AssertionError` with all that is known."""
    outcome = compare(case)
    if outcome.what:
        raise AssertionError(str(explain(case, outcome, seconds=seconds, folder=folder)))
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Run found files again; 1 if any still differs."""
    parser = argparse.ArgumentParser(description="run found differences again")
    parser.add_argument("files", nargs="+", type=Path)
    bad = 0
    for path in parser.parse_args(arguments).files:
        outcome = judge_script(read_found(path))
        bad += bool(outcome.what)
        print(
            f"{path}: {outcome.what or 'agreed'} after {outcome.commands} commands{': ' + outcome.said if outcome.said else ''}"
        )
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
