"""Scripts of commands, written down so that they can be read, kept and run again.

    Script ─┬─► a scenario, where its words can say every command    (rightsx run, tests/agreement.py)
            └─► JSON: fields that are not zero, payloads, who named whom      (tests/agreement.py)

A scenario moves its clock by commands of its own and gives names to what it makes, so it is not the same
bytes; it is kept if, read back by listening to what it asks of an exchange, it still shows the difference.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import rightsx.reference.twin
from rightsx.errors import InputFileError
from rightsx.protocol import (
    AT_ENGINE_CLOCK,
    DAY_NS,
    T0_NS,
    TIME_END,
    AmendFlag,
    Command,
    CommandKind as K,
    Event,
    EventKind,
    Limits,
    OrderFlag,
    Policy,
    Refusal,
    Side,
    Term,
    TimeInForce,
    Venue,
)
from rightsx.reference.twin import ReferenceExchange
from rightsx.scenario import Scenario, ScenarioError
from rightsx.vocabulary import COMMANDS, root_in, unpack
from twins import BookTwins, MarketTwins, Twins

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class Step(NamedTuple):
    """One command of a script. `names` says which fields name what the step of that number makes.

    Neighbours of one `batch` number are handed over as one array; 0 is singly.
    """

    uid: int
    command: Command
    payload: bytes = b""
    batch: int = 0
    names: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        """Say what the command is, without the fields that say nothing."""
        told = _step_json(self)
        if self.payload:
            told["payload"] = unpack(self.command, self.payload)
            del told["qty"], told["ref"]
        return f"{self.uid}: {told}"


class Script(NamedTuple):
    """Commands, and the twins that are to answer them; `thorough` compares rows after each."""

    twins: Twins
    steps: list[Step]
    thorough: bool = False


def found_text(script: Script, about: str, differs: Callable[[Script], bool]) -> tuple[str, str]:
    """Write a script down: its text, and the suffix that says how: "txt" is a scenario, "json" the rest."""
    if isinstance(script.twins, MarketTwins):
        try:
            text = scenario_text(script, about)
            if differs(scenario_script(text, script.twins)._replace(thorough=script.thorough)):
                return text, "txt"
        except (UnspeakableError, ScenarioError, InputFileError):
            pass  # Words do not reach there.
    return json_text(script, about), "json"


def read_found(path: Path) -> Script:
    """Read a script that `found_text` has written."""
    text = path.read_text()
    if path.suffix == ".json":
        return json_script(text)
    sizes = {name: int(size) for name, size in re.findall(r"^# (event_rows|first_rows|thorough)=(\d+)$", text, re.MULTILINE)}
    twins = MarketTwins(event_rows=sizes.get("event_rows", 0), first_rows=sizes.get("first_rows", 0))
    return scenario_script(text, twins)._replace(thorough=bool(sizes.get("thorough", 0)))


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────


def _step_json(step: Step) -> dict[str, Any]:
    usual = Command._field_defaults
    fields = {name: value for name, value in step.command._asdict().items() if value != usual[name] and name != "kind"}
    told: dict[str, Any] = {"kind": K(step.command.kind).name, **fields}
    if step.payload:
        told["payload"] = step.payload.hex()
    if step.batch:
        told["batch"] = step.batch
    if step.names:
        told["names"] = dict(step.names)
    return told


def json_text(script: Script, about: str) -> str:
    """Write a script as JSON, a command a line."""
    twins = script.twins
    if isinstance(twins, MarketTwins):
        sizes = {
            "market": [*twins.venue[:2], *twins.venue.limits],
            "event_rows": twins.event_rows,
            "first_rows": twins.first_rows,
        }
    else:
        sizes = {name: getattr(twins, name) for name in ("books", "ids", "limit", "report_rows", "first_rows")}
    head = {"about": about, "twins": sizes, "thorough": script.thorough}
    lines = ",\n".join(f"  {json.dumps({'uid': step.uid, **_step_json(step)}, ensure_ascii=False)}" for step in script.steps)
    return json.dumps(head, ensure_ascii=False)[:-1] + ', "commands": [\n' + lines + "\n]}\n"


def json_script(text: str) -> Script:
    """Read a script from JSON."""
    told = json.loads(text)
    sizes = told["twins"]
    market = sizes.pop("market", None)
    twins = MarketTwins(Venue(market[0], market[1], Limits(*market[2:])), **sizes) if market else BookTwins(**sizes)
    steps = []
    for row in told["commands"]:
        uid, payload, batch = row.pop("uid"), bytes.fromhex(row.pop("payload", "")), row.pop("batch", 0)
        names = tuple(row.pop("names", {}).items())
        steps.append(Step(uid, Command(**{**row, "kind": int(K[row["kind"]])}), payload, batch, names))
    return Script(twins, steps, thorough=told["thorough"])


# ── a scenario, listened to ──────────────────────────────────────────────────────────────────────


def scenario_script(text: str, twins: MarketTwins) -> Script:
    """Give the commands that a scenario asks of an exchange, in its venue."""
    heard: list[Step] = []
    venues: list[Venue] = []

    class Listener(ReferenceExchange):
        """A reference exchange that notes what it is asked."""

        def __init__(self, venue: Venue) -> None:
            super().__init__(venue)
            heard.clear()
            venues.append(venue)

        def apply(self, command: Command, payload: bytes = b"") -> list[Event]:
            heard.append(Step(len(heard), command, payload))
            return super().apply(command, payload)

    usual, rightsx.reference.twin.ReferenceExchange = rightsx.reference.twin.ReferenceExchange, Listener  # type: ignore[misc]
    try:
        Scenario("found", engine="reference").run(text)
    finally:
        rightsx.reference.twin.ReferenceExchange = usual  # type: ignore[misc]
    return Script(MarketTwins(venues[-1], twins.event_rows, twins.first_rows, twins.subject), heard)


# ── a scenario, written ──────────────────────────────────────────────────────────────────────────


class UnspeakableError(Exception):
    """The words of a scenario do not reach this command."""


def moment(ns: int) -> str:
    """Write a time as a scenario does: day(n) and ns from there."""
    days, rest = divmod(ns - T0_NS, DAY_NS)
    return f"day({days})" + (f"+{rest}ns" if rest else "")


def scenario_text(script: Script, about: str) -> str:
    """Write a script as a scenario, or raise `UnspeakableError`."""
    assert isinstance(script.twins, MarketTwins)
    teller = Teller(script.twins.venue)
    for step in script.steps:
        teller.tell(step)
    venue, rates = script.twins.venue, []
    rates += [f"gift_fee={venue.gift_fee}"] if venue.gift_fee else []
    rates += [f"reference_days={venue.reference_days}"] if venue.reference_days != Venue().reference_days else []
    rates += [f"{name}={value}" for name, value in venue.limits._asdict().items() if value != getattr(Limits(), name)]
    head = [f"# {line}" for line in about.splitlines()]
    head += [f"# {name}={size}" for name in ("event_rows", "first_rows") if (size := getattr(script.twins, name))]
    head += [f"# thorough={int(script.thorough)}"]
    head += [f"market {' '.join(rates)}"] if rates else []
    return "\n".join([*head, *teller.lines]) + "\n"


class Teller:
    """Writes one command after another in the words of a scenario."""

    def __init__(self, venue: Venue) -> None:
        self.lines: list[str] = []
        self._judge = ReferenceExchange(venue)
        self._clock = T0_NS
        self._made: dict[int, int] = {}
        self._called: dict[tuple[str, int], str] = {}
        self._members: dict[str, int] = {}

    def tell(self, step: Step) -> None:
        if any(maker not in self._made for _, maker in step.names):
            raise UnspeakableError
        command = step.command._replace(**{name: self._made[maker] for name, maker in step.names})
        self._step_clock(command)
        words = self._words(command, step.payload)
        events = self._judge.apply(command, step.payload)
        made = self._note(step, events)
        if words:
            self.lines.append(words.replace("NEW", made))
        refused = [event for event in events if event.kind == EventKind.REFUSED]
        if refused:
            self.lines.append(f"  = refused {Refusal(refused[0].code).name}")

    def _step_clock(self, command: Command) -> None:
        """Move the scenario's clock; a command without a time happens at the engine's."""
        clock = self._judge.clock_ns if command.time_ns == AT_ENGINE_CLOCK else command.time_ns
        if command.kind == K.ADVANCE or clock != self._clock:
            if not clock and not self._judge.clock_ns:
                return  # A scenario begins on day 0.
            if not self._clock <= clock < TIME_END:
                raise UnspeakableError
            self._clock = clock
            self.lines.append(f"at {moment(clock)}")

    def _note(self, step: Step, events: Sequence[Event]) -> str:
        """Remember what the command made, and give its name; a name that is not needed is one all the same."""
        sorts = {
            EventKind.ACCEPTED: ("order", "o", "order_id"),
            EventKind.LISTED: ("series", "S", "series"),
            EventKind.ACCOUNT_OPENED: ("account", "a", "account"),
            EventKind.MERCHANT_REGISTERED: ("account", "m", "account"),
            EventKind.VOUCHER_LOCKED: ("voucher", "v", "order_id"),
            EventKind.STORE_REGISTERED: ("store", "st", "extra"),
            EventKind.TERMINAL_REGISTERED: ("terminal", "t", "extra"),
        }
        planned = {event.order_id for event in events if event.kind == EventKind.PLAN_STEPPED}
        for event in events:
            if event.kind == EventKind.ACCEPTED and event.order_id in planned:
                continue  # Nobody but the plan placed it.
            if event.kind == EventKind.IMPORTED:
                self._called["account", event.account] = name = f"member{event.order_id}"
                self._members[name] = event.account
            elif event.kind in sorts and step.command.kind != K.IMPORT_MEMBERS:
                sort, letter, field = sorts[EventKind(event.kind)]
                number = getattr(event, field)
                self._made[step.uid] = number
                merchant = event.account if sort == "terminal" else 0
                self._called[sort, number if not merchant else merchant << 32 | number] = name = f"{letter}{step.uid}"
                return name
        return f"x{step.uid}"

    def _name(self, sort: str, number: int) -> str:
        name = self._called.get((sort, number))
        # Two numbers side by side might be read as one, so only what stands alone may be a number. Members of two
        # merchants may have one number: the name is that of the last one.
        if sort in ("account", "series") and (name is None or self._members.get(name, number) != number):
            raise UnspeakableError
        return name or str(number)

    def _words(self, command: Command, payload: bytes) -> str:
        kind = K(command.kind)
        meant = {"kind", "time_ns", *(argument.field for argument in COMMANDS[kind])}
        if any(getattr(command, name) for name in Command._fields if name not in meant):
            raise UnspeakableError
        return _VERBS[kind](self, command, unpack(command, payload) if payload else {})

    def _account(self, number: int) -> str:
        return self._name("account", number)


def _ref(ref: int) -> str:
    return f" ref={ref}" if ref else ""


def _no_ref(ref: int) -> str:
    if ref:
        raise UnspeakableError
    return ""


def _limits(command: Command) -> str:
    pairs = (("tier", command.other_account), ("max_open", command.qty), ("max_notional", command.price))
    return "".join(f" {name}={value}" for name, value in pairs if value) + _no_ref(command.ref)


def _order(teller: Teller, command: Command, _: Any) -> str:
    flags, tif = command.flags, command.time_in_force
    if command.side not in Side._value2member_map_ or tif not in TimeInForce._value2member_map_ or command.qty <= 0:
        raise UnspeakableError
    is_market = flags & OrderFlag.MARKET
    if (is_market and command.price) or (flags & OrderFlag.PEG and (is_market or not command.price)):
        raise UnspeakableError
    words = [
        "buy" if command.side == Side.BUY else "sell",
        teller._account(command.account),
        str(command.qty),
        teller._name("series", command.series),
        "@",
        _price_word(command),
        "as NEW",
    ]
    words += {TimeInForce.IOC: ["ioc"], TimeInForce.FOK: ["fok"]}.get(TimeInForce(tif), [])
    named = (("post_only", 1), ("buyback", 2), ("cancel_maker", 8), ("cancel_both", 16), ("rise", 32), ("fall", 64))
    words += [word for word, bit in named if flags & bit]
    if tif == TimeInForce.GTD:
        words.append(f"till={moment(command.deadline_ns)}")
    elif command.deadline_ns:
        if tif != TimeInForce.FOK:
            raise UnspeakableError
        words.append(f"budget={command.deadline_ns}")
    given = (("show", command.display), ("stop", command.stop_price), ("id", command.order_id), ("ref", command.ref))
    words += [f"{name}={value}" for name, value in given if value]
    return " ".join(words)


def _price_word(command: Command) -> str:
    if command.flags & OrderFlag.MARKET:
        return "market"
    if command.flags & OrderFlag.PEG:
        return f"{command.price}bps" if command.price > 0 else f"v-{-command.price}"
    return str(command.price)


def _amend(teller: Teller, command: Command, _: Any) -> str:
    if command.flags not in (1, 2, 3):
        raise UnspeakableError
    price = f" price={command.price}" if command.flags & AmendFlag.PRICE else ""
    qty = f" qty={command.qty}" if command.flags & AmendFlag.QTY else ""
    return f"amend {teller._account(command.account)} {teller._name('order', command.order_id)}{price}{qty}{_ref(command.ref)}"


def _listing(teller: Teller, command: Command, payload: dict[str, Any]) -> str:
    terms = {Term(int(term)): value for term, value in payload["terms"].items()}
    words = [f"series NEW {teller._account(command.account)} {payload['product']}"]
    if payload["ref"] or not {Term.PAR, Term.ISSUE_PRICE, Term.AUTHORISED, Term.EXPIRE_NS, Term.POLICY} <= set(terms):
        raise UnspeakableError
    terms = {Term.RESALE: 1, Term.GIFTS: 1, Term.CLAWBACK: 1} | terms
    for term, value in terms.items():
        name = term.name.lower()
        if term in (Term.EXPIRE_NS, Term.LAST_TRADE_NS):
            words.append(f"{name.removesuffix('_ns')}={moment(value)}")
        elif term == Term.OPEN_NS:
            words += [f"open_at={moment(value)}"] if value else []
        elif term in (Term.COOLING_OFF_NS, Term.HOLD_NS):
            words.append(f"{name.removesuffix('_ns')}={value}ns")
        elif term in (Term.RESALE, Term.GIFTS, Term.TRIAL, Term.CLAWBACK):
            if value not in (0, 1):
                raise UnspeakableError
            words.append(f"{name}={'yes' if value else 'no'}")
        elif term == Term.POLICY:
            if value not in Policy._value2member_map_:
                raise UnspeakableError
            words.append(f"policy={Policy(value).name.lower()}")
        else:
            words.append(f"{name}={value}")
    steps = ",".join(f"{moment(ns)}:{value}" for ns, value in payload["steps"])
    words += [f"steps={steps}"] if steps else []
    words += [f"stores={','.join(teller._name('store', one) for one in payload['stores'])}"] if payload["stores"] else []
    caps = ",".join(f"{teller._judge.channels()[int(one) - 1]}:{cap}" for one, cap in payload["channel_caps"].items())
    return " ".join(words + ([f"caps={caps}"] if caps else []))


def _store_word(teller: Teller, store: int) -> str:
    return f" at={teller._name('store', store)}" if store else ""


def _holder(verb: str) -> Callable[[Teller, Command, Any], str]:
    def words(teller: Teller, command: Command, _: Any) -> str:
        told = f"{verb} {teller._account(command.account)} {command.qty} {teller._name('series', command.series)}"
        if verb == "redeem":
            told += _store_word(teller, command.other_account)
        if verb == "subscribe" and command.other_account:
            names = teller._judge.channels()
            if not 0 < command.other_account <= len(names):
                raise UnspeakableError
            told += f" channel={names[command.other_account - 1]}"
        return told + _ref(command.ref)

    return words


def _grant(teller: Teller, command: Command, _: Any) -> str:
    merchant, account = teller._account(command.account), teller._account(command.other_account)
    return f"grant {merchant} {account} {command.qty} {teller._name('series', command.series)}{_no_ref(command.ref)}"


def _give(teller: Teller, command: Command, _: Any) -> str:
    giver, recipient = teller._account(command.account), teller._account(command.other_account)
    return f"give {giver} {recipient} {command.qty} {teller._name('series', command.series)}{_ref(command.ref)}"


def _bill(teller: Teller, command: Command, _: Any) -> str:
    products = teller._judge.products()
    if not 0 < command.order_id <= len(products):
        raise UnspeakableError
    product = products[command.order_id - 1]
    told = f"bill {teller._account(command.account)} {command.qty} {teller._account(product.merchant)} {product.name}"
    return told + _store_word(teller, command.other_account) + _ref(command.ref)


def _product_words(teller: Teller, command: Command) -> str:
    products = teller._judge.products()
    if not 0 < command.order_id <= len(products) or command.price < 0:
        raise UnspeakableError
    product = products[command.order_id - 1]
    most = f" max_price={command.price}" if command.price else ""
    return f"{teller._account(command.account)} {command.qty} {teller._account(product.merchant)} {product.name}{most}"


def _pay(teller: Teller, command: Command, _: Any) -> str:
    return f"pay {_product_words(teller, command)}{_store_word(teller, command.other_account)}{_ref(command.ref)}"


def _buy_product(teller: Teller, command: Command, _: Any) -> str:
    if command.time_in_force not in (TimeInForce.IOC, TimeInForce.FOK):
        raise UnspeakableError
    since = f" expires_from={command.deadline_ns}" if command.deadline_ns else ""
    whole = " all_or_nothing=yes" if command.time_in_force == TimeInForce.FOK else ""
    return f"buy_product {_product_words(teller, command)}{since}{whole}{_ref(command.ref)}"


def _roll(teller: Teller, command: Command, _: Any) -> str:
    names = f"{teller._name('series', command.series)} {teller._name('series', command.other_account)}"
    return f"roll {teller._account(command.account)} {command.qty} {names} {command.price}{_ref(command.ref)}"


def _plan(teller: Teller, command: Command, _: Any) -> str:
    named = f"{teller._account(command.account)} {teller._name('series', command.series)}"
    if not command.deadline_ns:
        if command.price or command.stop_price or command.qty or command.display:
            raise UnspeakableError
        return f"end_plan {named}{_ref(command.ref)}"
    prices = f"price={command.price} last={command.stop_price} start={moment(command.deadline_ns)}"
    return f"plan {named} {prices} falls={command.display} keep={command.qty}{_ref(command.ref)}"


def _lock(teller: Teller, command: Command, _: Any) -> str:
    series = teller._judge.series(command.series)
    bits = [bit for bit in range(64) if command.stop_price >> bit & 1]
    if series is None or not bits:
        raise UnspeakableError
    at = ",".join(teller._name("terminal", series.merchant << 32 | bit + 1) for bit in bits)
    grace = f" grace={command.display}ns" if command.display else ""
    told = f"lock {teller._account(command.account)} {command.qty} {teller._name('series', command.series)} NEW"
    return f"{told} ttl={command.deadline_ns}ns at={at}{grace}{_ref(command.ref)}"


def _upload(teller: Teller, command: Command, _: Any) -> str:
    store = f" store={teller._name('store', command.other_account)}" if command.other_account else ""
    by = f" by={teller._account(command.account)}" if command.account else ""
    told = f"upload {teller._name('voucher', command.order_id)} at={command.display} used={moment(command.deadline_ns)}"
    return told + store + by + _ref(command.ref)


def _cancel_all(teller: Teller, command: Command, _: Any) -> str:
    account = f" account={teller._account(command.account)}" if command.account else ""
    series = f" series={teller._name('series', command.series)}" if command.series else ""
    return f"cancel_all{account}{series}{_no_ref(command.ref)}"


def _cancel_after(teller: Teller, command: Command, _: Any) -> str:
    when = moment(command.deadline_ns) if command.deadline_ns else "0"
    return f"cancel_after {teller._account(command.account)} {when}{_no_ref(command.ref)}"


def _cash(verb: str) -> Callable[[Teller, Command, Any], str]:
    return lambda teller, command, _: f"{verb} {teller._account(command.account)} {command.qty}{_ref(command.ref)}"


def _on_account(verb: str) -> Callable[[Teller, Command, Any], str]:
    return lambda teller, command, _: f"{verb} {teller._account(command.account)}{_no_ref(command.ref)}"


def _on_series(verb: str) -> Callable[[Teller, Command, Any], str]:
    return lambda teller, command, _: f"{verb} {teller._name('series', command.series)}{_no_ref(command.ref)}"


def _register(teller: Teller, command: Command, payload: dict[str, Any]) -> str:
    _no_ref(payload["ref"])
    if command.kind == K.REGISTER_MERCHANT:
        return "merchant NEW"
    if command.kind == K.REGISTER_CHANNEL:
        return f"channel {payload['name']}"
    verb = "store" if command.kind == K.REGISTER_STORE else "terminal"
    pays = f" settles_to={teller._account(payload['settles_to'])}" if payload.get("settles_to") else ""
    return f"{verb} NEW {teller._account(command.account)}{pays}"


def _import(teller: Teller, command: Command, payload: dict[str, Any]) -> str:
    rows = " ".join(f"{member}:{balance}" for member, balance in payload["rows"])
    by = f" by={teller._account(command.account)}"
    return f"import {teller._name('series', command.series)} {rows}{_ref(payload['ref'])}{by}"


def _cancel(teller: Teller, command: Command, _: Any) -> str:
    return f"cancel {teller._account(command.account)} {teller._name('order', command.order_id)}{_ref(command.ref)}"


_VERBS: Final[dict[K, Callable[[Teller, Command, Any], str]]] = {
    K.PLACE: _order,
    K.CANCEL: _cancel,
    K.AMEND: _amend,
    K.CANCEL_ALL: _cancel_all,
    K.CANCEL_AFTER: _cancel_after,
    K.SUBSCRIBE: _holder("subscribe"),
    K.GRANT: _grant,
    K.TRANSFER: _give,
    K.REDEEM: _holder("redeem"),
    K.REDEEM_BILL: _bill,
    K.PAY_BILL: _pay,
    K.BUY_PRODUCT: _buy_product,
    K.ROLL: _roll,
    K.PLAN_SALE: _plan,
    K.REFUND: _holder("refund"),
    K.LOCK_VOUCHER: _lock,
    K.UPLOAD_VOUCHER: _upload,
    K.HALT: _on_series("halt"),
    K.RESUME: _on_series("resume"),
    K.FREEZE: _on_account("freeze"),
    K.UNFREEZE: _on_account("unfreeze"),
    K.KILL: lambda _teller, command, _payload: f"kill on{_no_ref(command.ref)}",
    K.UNKILL: lambda _teller, command, _payload: f"kill off{_no_ref(command.ref)}",
    K.DEFAULT: _on_account("default"),
    K.CHARGEBACK: _cash("chargeback"),
    K.DEPOSIT: _cash("deposit"),
    K.WITHDRAW: _cash("withdraw"),
    K.ADVANCE: lambda _teller, command, _payload: _no_ref(command.ref),
    K.OPEN_ACCOUNT: lambda _teller, command, _payload: f"accounts NEW{_limits(command)}",
    K.SET_ACCOUNT: lambda teller, command, _payload: f"limits {teller._account(command.account)}{_limits(command)}",
    K.SET_TIER: lambda _teller, command, _payload: f"tier {command.other_account} {command.qty}{_no_ref(command.ref)}",
    K.PUBLISH: lambda _teller, command, _payload: f"publish {root_in(command).hex()}{_no_ref(command.ref)}",
    K.REGISTER_MERCHANT: _register,
    K.REGISTER_STORE: _register,
    K.REGISTER_TERMINAL: _register,
    K.REGISTER_CHANNEL: _register,
    K.LIST_SERIES: _listing,
    K.IMPORT_MEMBERS: _import,
}
