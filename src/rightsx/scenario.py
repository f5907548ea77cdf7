"""Markets as text: a short script of commands and what must come of them.

    # A first sale.
    merchant M
    accounts ann bob
    series S M coffee par=100 issue_price=80 authorised=1 000 expire=day(365) policy=forfeit
    deposit ann 30 000
    subscribe ann 300 S                       # buys of the primary sale
      = result paid=24 000
      = cash ann 6 000
    at day(1)                                 # the clock moves, what falls due happens
    sell ann 100 S @ 90 as o1
    buy bob 5 S @ 95
      = refused InsufficientCash

A line is a command, or begins with `=` and states what holds after the last one. A command must be
accepted unless the next line says `= refused CODE`. Digits may be grouped by spaces or underscores, so
two numbers never stand side by side with three digits in the second. `day(n)` is n days after
2026-01-01 UTC and takes `+1h` or `-1ns`; `#` begins a comment. The books are audited after every
command. A wrong line is an `InputFileError`, a wrong expectation a
`ScenarioError`; both name the file and the line.

The vocabulary is the tables `COMMANDS` and `EXPECTATIONS` at the end; `rightsx run --words` prints them.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rightsx import border, schedule
from rightsx.border import iso, span_ns, time_ns
from rightsx.errors import InputFileError, MisuseError, RightsxError
from rightsx.exchange import Exchange
from rightsx.protocol import DAY_NS, T0_NS, CancelReason, Event, EventKind, Limits, Refusal, code_name
from rightsx.results import Created, Result
from rightsx.wording import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_GROUPS: Final = re.compile(r"(?<![\w.:])(\d{1,3})((?:[ _]\d{3})+)(?![\w.])")
_MOMENT: Final = re.compile(r"(?:day\((-?\d+)\)|t0|(\d+))((?:[+-]\d+(?:ns|us|ms|[smhdw]))*)")
_SHIFT: Final = re.compile(r"([+-])(\d+(?:ns|us|ms|[smhdw]))")


class ScenarioError(RightsxError):
    """An expectation of a scenario does not hold; the message names file, line, what was expected and found."""


class Line(NamedTuple):
    """One line, taken apart: its first word, the other words, `key=value` options."""

    number: int
    verb: str
    words: list[str]
    options: dict[str, str]


def parse(text: str) -> Iterator[Line]:
    """Take a script apart, line by line; an expectation's verb begins with `=`."""
    for number, raw in enumerate(text.splitlines(), 1):
        body = raw.split("#", 1)[0].strip()
        body = _GROUPS.sub(lambda found: found[0].replace(" ", "").replace("_", ""), body)
        if not body:
            continue
        expects = body.startswith("=")
        verb, *tokens = body.lstrip("= ").split() or [""]
        words = [token for token in tokens if "=" not in token]
        pairs = [token.split("=", 1) for token in tokens if "=" in token]
        options = dict(pairs)
        if len(options) < len(pairs):
            options = {"twice": "yes"}  # no verb takes it, so that the line is refused with its usage
        yield Line(number, ("=" if expects else "") + verb, words, options)


class Scenario:
    """Runs one script on a fresh exchange. `on_event` is called with every event as a sentence."""

    def __init__(self, path: Path | str, *, engine: str = "compiled", on_event: Callable[[str], None] | None = None) -> None:
        """Read nothing yet; `run` does."""
        self.path = path
        self.engine = engine
        self.market = Exchange(engine=engine)  # type: ignore[arg-type]
        self.names: dict[str, int] = {}
        self.orders: list[str] = []
        self.time = T0_NS
        self.result: Any = None
        self.events: list[Event] = []
        self.trades: list[Event] = []
        self.commands = 0
        self.expectations = 0
        self._on_event = on_event

    def run(self, text: str | None = None) -> None:
        """Run the script; raises `InputFileError` or `ScenarioError` at the first line that is wrong."""
        lines = list(parse(self._read() if text is None else text))
        for place, line in enumerate(lines):
            following = lines[place + 1] if place + 1 < len(lines) else None
            try:
                if line.verb.startswith("="):
                    self._expect(line)
                else:
                    self._command(line, following)
            except MisuseError as error:
                raise InputFileError(self.path, line.number, str(error)) from error
            except ScenarioError as failure:
                raise ScenarioError(f"{self.path}:{line.number}: {failure}") from failure
            except RightsxError as error:
                if isinstance(error, InputFileError):
                    raise
                raise ScenarioError(f"{self.path}:{line.number}: {error}") from error

    def _read(self) -> str:
        try:
            return Path(self.path).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise InputFileError(self.path, 0, f"cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise InputFileError(self.path, 0, "is not a text in UTF-8") from error

    # ── lines ────────────────────────────────────────────────────────────────────────────────────

    def _command(self, line: Line, following: Line | None) -> None:
        function = COMMANDS.get(line.verb)
        if function is None:
            known = ", ".join(COMMANDS)
            raise InputFileError(self.path, line.number, f"no command is called {line.verb!r}; there are {known}")
        self.result = self._call(function, line)
        self.commands += 1
        if isinstance(self.result, (Result, Created)):
            self.events = list(self.result.events)
            self.trades = [event for event in self.events if event.kind == EventKind.FILL]
            if self._on_event:
                for event in self.events:
                    self._on_event(f"{iso(event.time_ns)}  {describe(event)}")
            self.market.check()
            refused = self.result.refused
            if refused and not (following and following.verb == "=refused"):
                raise ScenarioError(f"{line.verb} was refused: {refused}")

    def _expect(self, line: Line) -> None:
        function = EXPECTATIONS.get(line.verb[1:])
        if function is None:
            known = ", ".join(EXPECTATIONS)
            raise InputFileError(self.path, line.number, f"nothing is expected with {line.verb[1:]!r}; there are {known}")
        self._call(function, line)
        self.expectations += 1

    def _call(self, function: Callable[..., Any], line: Line) -> Any:
        try:
            inspect.signature(function).bind(self, *line.words, **line.options)
        except TypeError:
            raise InputFileError(self.path, line.number, f"expected: {usage(line.verb.lstrip('='), function)}") from None
        try:
            return function(self, *line.words, **line.options)
        except MisuseError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
            # A scenario reaches fields and arguments by name: a wrong name shows only here.
            raise InputFileError(
                self.path, line.number, f"{error}; expected: {usage(line.verb.lstrip('='), function)}"
            ) from error

    # ── values ───────────────────────────────────────────────────────────────────────────────────

    def id(self, word: str) -> int:
        """Give the number of a name, or a number as it is."""
        if word in self.names:
            return self.names[word]
        return self.number(word)

    def number(self, word: str) -> int:
        """Read an integer, a moment such as day(60)-1ns, or yes or no."""
        if word in ("yes", "no"):
            return int(word == "yes")
        if re.fullmatch(r"[+-]?\d[\d_]*", word):
            return int(word)
        return self.moment(word)

    def moment(self, word: str) -> int:
        """Read day(n), an ISO date, or ns, with shifts such as +1h or -1ns."""
        found = _MOMENT.fullmatch(word)
        if not found:
            try:
                return time_ns("time", word)
            except MisuseError:
                raise ValueError(f"{word!r} is neither a name, a number nor a time") from None
        base = T0_NS + int(found[1]) * DAY_NS if found[1] else int(found[2]) if found[2] else T0_NS
        for sign, span in _SHIFT.findall(found[3]):
            base += span_ns("shift", span) * (1 if sign == "+" else -1)
        return base

    def name(self, word: str, number: int) -> None:
        """Remember what a word stands for: one thing in a whole script, but for orders and `last`."""
        if number:
            self.names[word] = number

    def new_name(self, word: str) -> str:
        """Let a word pass that stands for nothing yet."""
        if word in self.names:
            raise ValueError(f"{word!r} stands for something already")
        return word

    def label(self, number: int) -> str:
        """Give the word that stands for an order's number."""
        return next((word for word in self.orders if self.names[word] == number), str(number))


def expect(holds: bool, expected: str, found: object) -> None:  # noqa: FBT001 - a claim reads as one
    """Fail unless it holds."""
    if not holds:
        raise ScenarioError(f"expected {expected}, found {found}")


def usage(verb: str, function: Callable[..., Any]) -> str:
    """Give the form of a command or expectation: the verb and its docstring, in one line."""
    return " ".join([verb, *(inspect.getdoc(function) or "").split()])


# ── commands ─────────────────────────────────────────────────────────────────────────────────────


def _market(run: Scenario, **rates: str) -> None:
    """[gift_fee=N] [reference_days=N] [orders=N] [accounts=N] [holdings=N] [series=N], as the first line."""
    given = {name: run.number(value) for name, value in rates.items()}
    limits = Limits()._replace(**{name: given.pop(name) for name in Limits._fields if name in given})
    if run.commands or not given.keys() <= {"gift_fee", "reference_days"}:
        raise ValueError("the market's rates stand on the first line")
    run.market = Exchange(engine=run.engine, limits=limits, **given)  # type: ignore[arg-type]


def _at(run: Scenario, when: str) -> Result:
    """TIME: move the clock"""
    run.time = run.moment(when)
    return run.market.advance(to=run.time)


def _merchant(run: Scenario, name: str) -> Created:
    """NAME"""
    made = run.market.register_merchant(run.new_name(name), time_ns=run.time)
    run.name(name, made)
    return made


def _accounts(run: Scenario, *names: str, **limits: str) -> Created | None:
    """NAME … [tier=N] [max_open=N] [max_notional=N]"""
    made = None
    for name in map(run.new_name, names):
        made = run.market.open_account(**{key: run.number(value) for key, value in limits.items()}, time_ns=run.time)
        run.name(name, made)
    return made


def _limits(run: Scenario, account: str, **limits: str) -> Result:
    """ACCOUNT [tier=N] [max_open=N] [max_notional=N]"""
    return run.market.set_account(
        account=run.id(account), **{key: run.number(value) for key, value in limits.items()}, time_ns=run.time
    )


def _tier(run: Scenario, number: str, cap: str) -> Result:
    """NUMBER CAP"""
    return run.market.set_tier(tier=run.number(number), amount=run.number(cap), time_ns=run.time)


def _store(run: Scenario, name: str, merchant: str, settles_to: str = "0") -> Created:
    """NAME MERCHANT [settles_to=ACCOUNT]"""
    made = run.market.register_store(name, merchant=run.id(merchant), settles_to=run.id(settles_to), time_ns=run.time)
    run.name(name, made)
    return made


def _terminal(run: Scenario, name: str, merchant: str) -> Created:
    """NAME MERCHANT"""
    made = run.market.register_terminal(name, merchant=run.id(merchant), time_ns=run.time)
    run.name(name, made)
    return made


def _channel(run: Scenario, name: str) -> Created:
    """NAME"""
    return run.market.register_channel(name, time_ns=run.time)


YES_NO: Final = {"yes": True, "no": False}
_SWITCHES: Final = ("resale", "gifts", "trial", "clawback")
_SPANS: Final = ("cooling_off", "hold")
_TIMES: Final = ("expire", "last_trade", "open_at")


def _series(run: Scenario, name: str, merchant: str, product: str, **terms: str) -> Created:
    """NAME MERCHANT PRODUCT par=N issue_price=N authorised=N expire=TIME policy=forfeit|principal
    [linear=N/1d] [geometric=9/10/10/1d] [steps=day(60):80,day(80):50] [stores=st1,st2] [caps=web:100]
    [TERM=VALUE …]
    """
    given: dict[str, Any] = {}
    for key, value in terms.items():
        if key in _SWITCHES:
            given[key] = border.word(key, value, YES_NO)
        elif key in _SPANS:
            given[key] = span_ns(key, value)
        elif key in _TIMES:
            given[key] = run.moment(value)
        elif key == "policy":
            given[key] = value
        elif key == "stores":
            given[key] = [run.id(store) for store in value.split(",")]
        elif key == "caps":
            given["channel_caps"] = {channel: run.number(cap) for channel, cap in (pair.split(":") for pair in value.split(","))}
        elif key in ("linear", "geometric", "steps"):
            given["schedule"] = _shape(run, key, value)
        else:
            given[key] = run.number(value)
    made = run.market.list_series(merchant=run.id(merchant), product=product, **given, time_ns=run.time)
    run.name(name, made)
    return made


def _shape(run: Scenario, kind: str, value: str) -> schedule.Shape:
    if kind == "linear":
        steps, every = value.split("/")
        return schedule.linear(steps=run.number(steps), every=every)
    if kind == "geometric":
        num, den, steps, every = value.split("/")
        return schedule.geometric(num=run.number(num), den=run.number(den), steps=run.number(steps), every=every)
    pairs = (pair.split(":") for pair in value.split(","))
    return schedule.stepwise([(run.moment(when), run.number(worth)) for when, worth in pairs])


def _deposit(run: Scenario, account: str, amount: str, ref: str = "0") -> Result:
    """ACCOUNT AMOUNT [ref=N]"""
    return run.market.deposit(account=run.id(account), amount=run.number(amount), ref=run.number(ref), time_ns=run.time)


def _withdraw(run: Scenario, account: str, amount: str, ref: str = "0") -> Result:
    """ACCOUNT AMOUNT [ref=N]"""
    return run.market.withdraw(account=run.id(account), amount=run.number(amount), ref=run.number(ref), time_ns=run.time)


def _subscribe(run: Scenario, account: str, qty: str, series: str, channel: str | None = None, ref: str = "0") -> Result:
    """ACCOUNT QTY SERIES [channel=NAME] [ref=N]"""
    return run.market.subscribe(
        series=run.id(series),
        account=run.id(account),
        qty=run.number(qty),
        channel=channel,
        ref=run.number(ref),
        time_ns=run.time,
    )


def _grant(run: Scenario, merchant: str, account: str, qty: str, series: str) -> Result:
    """MERCHANT ACCOUNT QTY SERIES"""
    return run.market.grant(
        series=run.id(series), merchant=run.id(merchant), account=run.id(account), qty=run.number(qty), time_ns=run.time
    )


def _give(run: Scenario, account: str, recipient: str, qty: str, series: str, ref: str = "0") -> Result:
    """GIVER RECIPIENT QTY SERIES [ref=N]"""
    return run.market.transfer(
        series=run.id(series),
        account=run.id(account),
        recipient=run.id(recipient),
        qty=run.number(qty),
        ref=run.number(ref),
        time_ns=run.time,
    )


def _redeem(run: Scenario, account: str, qty: str, series: str, at: str = "0", ref: str = "0") -> Result:
    """ACCOUNT QTY SERIES [at=STORE] [ref=N]"""
    return run.market.redeem(
        series=run.id(series),
        account=run.id(account),
        qty=run.number(qty),
        store=run.id(at) if at in run.names or at.isdigit() else at,
        ref=run.number(ref),
        time_ns=run.time,
    )


def _bill(run: Scenario, account: str, amount: str, merchant: str, product: str, at: str = "0", ref: str = "0") -> Result:
    """ACCOUNT AMOUNT MERCHANT PRODUCT [at=STORE] [ref=N]"""
    return run.market.redeem_bill(
        merchant=run.id(merchant),
        product=product,
        account=run.id(account),
        amount=run.number(amount),
        store=run.id(at) if at in run.names or at.isdigit() else at,
        ref=run.number(ref),
        time_ns=run.time,
    )


def _pay(
    run: Scenario, account: str, amount: str, merchant: str, product: str, max_price: str = "", at: str = "0", ref: str = "0"
) -> Result:
    """ACCOUNT AMOUNT MERCHANT PRODUCT [max_price=N] [at=STORE] [ref=N]"""
    return run.market.pay_bill(
        merchant=run.id(merchant),
        product=product,
        account=run.id(account),
        amount=run.number(amount),
        max_price=run.number(max_price) if max_price else None,
        store=run.id(at) if at in run.names or at.isdigit() else at,
        ref=run.number(ref),
        time_ns=run.time,
    )


def _buy_product(
    run: Scenario,
    account: str,
    qty: str,
    merchant: str,
    product: str,
    max_price: str = "",
    expires_from: str = "",
    all_or_nothing: str = "no",
    ref: str = "0",
) -> Result:
    """ACCOUNT QTY MERCHANT PRODUCT [max_price=N] [expires_from=TIME] [all_or_nothing=yes] [ref=N]"""
    return run.market.buy_product(
        merchant=run.id(merchant),
        product=product,
        account=run.id(account),
        qty=run.number(qty),
        max_price=run.number(max_price) if max_price else None,
        expires_from=run.number(expires_from) if expires_from else None,
        all_or_nothing=all_or_nothing == "yes",
        ref=run.number(ref),
        time_ns=run.time,
    )


def _roll(run: Scenario, account: str, qty: str, series: str, to: str, net_price: str, ref: str = "0") -> Result:
    """ACCOUNT QTY SERIES TO NET_PRICE [ref=N]"""
    return run.market.roll(
        account=run.id(account),
        series=run.id(series),
        to=run.id(to),
        qty=run.number(qty),
        net_price=run.number(net_price),
        ref=run.number(ref),
        time_ns=run.time,
    )


def _plan(
    run: Scenario,
    account: str,
    series: str,
    *,
    price: str,
    last: str = "",
    start: str = "",
    before: str = "",
    falls: str = "",
    keep: str = "0",
    ref: str = "0",
) -> Result:
    """ACCOUNT SERIES price=N [last=N] start=TIME|before=SPAN [falls=N] [keep=N] [ref=N]: `before` is so long before the expiry"""
    return run.market.plan_sale(
        series=run.id(series),
        account=run.id(account),
        price=run.number(price),
        last_price=run.number(last) if last else None,
        start=run.moment(start) if start else None,
        before_expiry=span_ns("before", before) if before else None,
        falls=run.number(falls) if falls else None,
        keep=run.number(keep),
        ref=run.number(ref),
        time_ns=run.time,
    )


def _end_plan(run: Scenario, account: str, series: str, ref: str = "0") -> Result:
    """ACCOUNT SERIES [ref=N]"""
    return run.market.end_plan(series=run.id(series), account=run.id(account), ref=run.number(ref), time_ns=run.time)


def _refund(run: Scenario, account: str, qty: str, series: str, ref: str = "0") -> Result:
    """ACCOUNT QTY SERIES [ref=N]"""
    return run.market.refund(
        series=run.id(series), account=run.id(account), qty=run.number(qty), ref=run.number(ref), time_ns=run.time
    )


def _lock(
    run: Scenario,
    account: str,
    qty: str,
    series: str,
    name: str = "",
    *,
    ttl: str,
    at: str = "",
    grace: str = "0ns",
    ref: str = "0",
) -> Result:
    """ACCOUNT QTY SERIES [NAME] ttl=SPAN at=TERMINAL,… [grace=SPAN] [ref=N]"""
    result = run.market.lock_voucher(
        series=run.id(series),
        account=run.id(account),
        qty=run.number(qty),
        ttl=span_ns("ttl", ttl),
        grace=span_ns("grace", grace),
        terminals=[run.id(terminal) for terminal in at.split(",") if terminal],
        ref=run.number(ref),
        time_ns=run.time,
    )
    run.name(name, result.voucher_id)
    return result


def _upload(run: Scenario, voucher: str, at: str, used: str, store: str = "0", by: str = "0", ref: str = "0") -> Result:
    """VOUCHER at=TERMINAL used=TIME [store=STORE] [by=ACCOUNT] [ref=N]"""
    return run.market.upload_voucher(
        voucher=run.id(voucher),
        terminal=run.id(at) if at in run.names or at.isdigit() else at,
        redeemed=run.moment(used),
        store=run.id(store),
        account=run.id(by),
        ref=run.number(ref),
        time_ns=run.time,
    )


_ORDER_WORDS: Final = ("post_only", "buyback", "gtc", "ioc", "fok", "rise", "fall", "cancel_maker", "cancel_both")


def _order(side: str) -> Callable[..., Any]:
    def function(run: Scenario, account: str, qty: str, series: str, *words: str, **options: str) -> Result:
        """ACCOUNT QTY SERIES @ PRICE|BPSbps|v-N|market [as NAME] [gtc|ioc|fok] [post_only] [buyback] [till=TIME]
        [show=N] [stop=PRICE] [rise|fall] [budget=N] [cancel_maker|cancel_both] [id=N] [ref=N]
        """
        rest = list(words)
        given: dict[str, Any] = {}
        if rest[:1] == ["@"] and len(rest) > 1:
            given |= _order_price(run, rest[1])
            rest = rest[2:]
        else:
            raise ValueError("a price is missing")
        label = ""
        if "as" in rest:
            place = rest.index("as")
            label, rest = rest[place + 1], rest[:place] + rest[place + 2 :]
        for word in rest:
            given |= _order_word(word)
        names = {"show": "display", "stop": "stop_price", "id": "order_id", "budget": "budget", "ref": "ref"}
        for key, value in options.items():
            if key == "till":
                given["deadline"] = run.moment(value)
            else:
                given[names[key]] = run.number(value)
        result = run.market.place(
            series=run.id(series), account=run.id(account), side=side, qty=run.number(qty), **given, time_ns=run.time
        )
        if label and result.order_id:
            run.orders.append(label)
        run.name(label or "last", result.order_id)
        run.name("last", result.order_id)
        return result

    return function


def _order_price(run: Scenario, word: str) -> dict[str, Any]:
    if word == "market":
        return {"price": None}
    if word.endswith("bps"):
        return {"peg": run.number(word.removesuffix("bps"))}
    return {"peg": -run.number(word.removeprefix("v-"))} if word.startswith("v-") else {"price": run.number(word)}


def _order_word(word: str) -> dict[str, Any]:
    if word not in _ORDER_WORDS:
        raise ValueError(f"{word!r} says nothing about an order")
    if word in ("post_only", "buyback"):
        return {word: True}
    if word in ("rise", "fall"):
        return {"trigger": word}
    return {"own_orders": word} if word.startswith("cancel") else {"time_in_force": word}


def _amend(run: Scenario, account: str, order: str, price: str | None = None, qty: str | None = None, ref: str = "0") -> Result:
    """ACCOUNT ORDER [price=N] [qty=N] [ref=N]"""
    run.name("last", run.id(order))
    return run.market.amend(
        account=run.id(account),
        order_id=run.id(order),
        price=None if price is None else run.number(price),
        qty=None if qty is None else run.number(qty),
        ref=run.number(ref),
        time_ns=run.time,
    )


def _cancel(run: Scenario, account: str, order: str, ref: str = "0") -> Result:
    """ACCOUNT ORDER [ref=N]"""
    return run.market.cancel(account=run.id(account), order_id=run.id(order), ref=run.number(ref), time_ns=run.time)


def _cancel_all(run: Scenario, account: str = "0", series: str = "0") -> Result:
    """[account=ACCOUNT] [series=SERIES]"""
    return run.market.cancel_all(account=run.id(account), series=run.id(series), time_ns=run.time)


def _cancel_after(run: Scenario, account: str, when: str) -> Result:
    """ACCOUNT TIME|0"""
    return run.market.cancel_after(account=run.id(account), at=run.number(when), time_ns=run.time)


def _chargeback(run: Scenario, account: str, amount: str, ref: str = "0") -> Result:
    """ACCOUNT AMOUNT [ref=N]"""
    return run.market.chargeback(account=run.id(account), amount=run.number(amount), ref=run.number(ref), time_ns=run.time)


def _import(run: Scenario, series: str, *rows: str, ref: str = "0", by: str | None = None) -> Result:
    """SERIES MEMBER:BALANCE … [ref=N] [by=MERCHANT]"""
    pairs = [(run.number(member), run.number(balance)) for member, balance in (row.split(":") for row in rows)]
    merchant = None if by is None else run.id(by)
    result = run.market.import_members(
        series=run.id(series), rows=pairs, merchant=merchant, ref=run.number(ref), time_ns=run.time
    )
    for row in result.rows:
        run.name(f"member{row.member}", row.account)
    return result


def _simple(verb: str, what: str) -> Callable[..., Any]:
    def function(run: Scenario, subject: str) -> Result:
        return getattr(run.market, verb)(**{what: run.id(subject)}, time_ns=run.time)  # type: ignore[no-any-return]

    function.__doc__ = what.upper()
    return function


def _kill(run: Scenario, state: str = "on") -> Result:
    """[on|off]"""
    return run.market.kill(on=border.word("kill", state, {"on": True, "off": False}), time_ns=run.time)


def _publish(run: Scenario, root: str) -> Result:
    """ROOT: 64 hexadecimal digits"""
    if not re.fullmatch("[0-9a-f]{64}", root):
        raise MisuseError(f"root was {root!r}; 64 hexadecimal digits are due")
    return run.market.publish_root(root=bytes.fromhex(root), time_ns=run.time)


# ── expectations ─────────────────────────────────────────────────────────────────────────────────


def _refused(run: Scenario, code: str) -> None:
    """CODE"""
    if code not in Refusal.__members__:
        raise ValueError(f"no refusal is called {code}")
    refused = run.result.refused
    expect(refused is not None and refused.code.name == code, f"refused {code}", refused or "accepted")


def _trade(run: Scenario, price: str, times: str, qty: str, *words: str, **numbers: str) -> None:
    """PRICE x QTY [with ORDER] [fee=N] [other_fee=N] [royalty=N]: the next trade of the last command"""
    expect(bool(run.trades), "one more trade", "none")
    event = run.trades.pop(0)
    found = f"{event.price} x {event.qty} with {run.label(event.other_order_id)}"
    expect((event.price, event.qty) == (run.number(price), run.number(qty)), f"{price} {times} {qty}", found)
    if words:
        expect(len(words) == 2 and run.id(words[1]) in (event.other_order_id, event.order_id), " ".join(words), found)  # noqa: PLR2004
    for key, value in numbers.items():
        _equal(key, getattr(event, {"royalty": "amount"}.get(key, key)), run.number(value))


def _no(run: Scenario, what: str, kind: str = "") -> None:
    """Trade | event KIND"""
    if what == "trade":
        expect(not run.trades, "no (more) trades", len(run.trades))
    else:
        found = [event for event in run.events if event.kind == EventKind[kind]]
        expect(not found, f"no {kind}", [describe(event) for event in found])


def _cancelled(run: Scenario, reason: str, order: str = "last") -> None:
    """REASON [ORDER]: the order was cancelled by the last command or move of the clock"""
    if reason not in CancelReason.__members__ and reason not in Refusal.__members__:
        raise ValueError(f"no reason is called {reason}")
    reasons = [code_name(e.code) for e in run.events if e.kind == EventKind.CANCELLED and e.order_id == run.id(order)]
    expect(reason in reasons, f"{order} cancelled {reason}", reasons or "not cancelled")


def _rests(run: Scenario, qty: str, order: str = "last") -> None:
    """QTY [ORDER]: open quantity, 0 if it is finished"""
    view = run.market.order(run.id(order))
    _equal("open quantity", view.open_qty if view else 0, run.number(qty))


def _result(run: Scenario, **numbers: str) -> None:
    """KEY=N …: what the last command answered"""
    for key, value in numbers.items():
        _equal(key, getattr(run.result, key), run.number(value))


def _cash(run: Scenario, account: str, free: str, locked: str | None = None) -> None:
    """ACCOUNT|platform FREE [locked=N]"""
    if account == "platform":
        _equal("cash of the platform", run.market.platform_cash, run.number(free))
        return
    view = run.market.account(run.id(account))
    _equal(f"cash of {account}", view.cash_free, run.number(free))
    if locked is not None:
        _equal(f"locked cash of {account}", view.cash_locked, run.number(locked))


def _units(run: Scenario, account: str, series: str, free: str, **parts: str) -> None:
    """ACCOUNT SERIES FREE [offered=N] [voucher=N] [cost=N]"""
    view = run.market.holding(run.id(account), run.id(series))
    _equal(f"free units of {account}", view.free_qty, run.number(free))
    for key, value in parts.items():
        wanted = None if value == "none" else run.number(value)
        _equal(key, getattr(view, key if key == "cost" else f"{key}_qty"), wanted)


def _series_is(run: Scenario, series: str, **numbers: str) -> None:
    """SERIES KEY=N …: anything that a series shows"""
    view = run.market.series(run.id(series))
    for key, value in numbers.items():
        found = getattr(view, key)
        _equal(key, found, value if isinstance(found, str) else run.number(value))


def _account_is(run: Scenario, account: str, **numbers: str) -> None:
    """ACCOUNT KEY=N …: anything that an account shows"""
    view = run.market.account(run.id(account))
    for key, value in numbers.items():
        _equal(key, int(getattr(view, key)), run.number(value))


def _order_is(run: Scenario, order: str, *words: str, **numbers: str) -> None:
    """ORDER gone | ORDER KEY=N …"""
    view = run.market.order(run.id(order))
    if words:
        expect(words == ("gone",) and view is None, f"{order} {' '.join(words)}", view)
        return
    expect(view is not None, f"{order} open", "gone")
    for key, value in numbers.items():
        _equal(key, getattr(view, key), run.number(value))


def _plan_is(run: Scenario, account: str, series: str, *words: str, **numbers: str) -> None:
    """ACCOUNT SERIES none | ACCOUNT SERIES KEY=N …: anything that a plan shows"""
    view = run.market.plan(account=run.id(account), series=run.id(series))
    if words:
        expect(words == ("none",) and view is None, " ".join(words), view)
        return
    expect(view is not None, f"a plan of {account}", "none")
    for key, value in numbers.items():
        _equal(key, getattr(view, key), None if value == "none" else run.number(value))


def _depth(run: Scenario, series: str, bids: str, slash: str, asks: str) -> None:
    """SERIES BIDS / ASKS: each as 88x10,86x5 best first, or none"""
    ladder = run.market.depth(run.id(series), levels=None)
    for side, wanted, levels in (("bids", bids, ladder.bids), ("asks", asks, ladder.asks)):
        found = ",".join(f"{level.price}x{level.qty}" for level in levels) or "none"
        expect(slash == "/" and found == wanted, f"{side} {wanted}", found)


def _queue(run: Scenario, series: str, side: str, *orders: str) -> None:
    """SERIES buy|sell ORDER …: the orders in the order in which they would trade"""
    found = [run.label(order.order_id) for order in run.market.queue(run.id(series), side)]
    expect(found == list(orders), " ".join(orders), " ".join(found))


def _auction(run: Scenario, series: str, *rows: str) -> None:
    """SERIES PRICE:VOLUME:SURPLUS …: the table of the call auction"""
    found = [f"{row.price}:{row.volume}:{row.surplus}" for row in run.market.auction(run.id(series))]
    expect(found == list(rows), " ".join(rows), " ".join(found))


def _cancels(run: Scenario, *orders: str) -> None:
    """ORDER …: exactly these orders were cancelled by the last command or move of the clock, in this order"""
    found = [run.label(event.order_id) for event in run.events if event.kind == EventKind.CANCELLED]
    expect(found == list(orders), " ".join(orders), " ".join(found) or "none")


def _events(run: Scenario, *kinds: str) -> None:
    """KIND …: exactly these events came of the last command or move of the clock, in this order"""
    found = [EventKind(event.kind).name for event in run.events]
    expect(found == list(kinds), " ".join(kinds), " ".join(found))


def _event(run: Scenario, kind: str, **numbers: str) -> None:
    """KIND [FIELD=N …]: such an event came of the last command or move of the clock"""
    if kind not in EventKind.__members__:
        raise ValueError(f"no event is called {kind}")
    wanted = {key: run.id(value) for key, value in numbers.items()}
    of_kind = [event for event in run.events if event.kind == EventKind[kind]]
    holds = any(all(getattr(event, key) == value for key, value in wanted.items()) for event in of_kind)
    expect(holds, f"{kind} {numbers}", [event._asdict() for event in of_kind] or "none of its kind")


def _claim(run: Scenario, account: str, series: str, amount: str) -> None:
    """ACCOUNT SERIES AMOUNT"""
    found = run.market.account(run.id(account)).claims.get(run.id(series), 0)
    _equal("claim", found, run.number(amount))


def _duplicate(run: Scenario) -> None:
    """: the last command was answered as a repeat"""
    expect(run.result.duplicate, "a repeat", "a new command")


def _next_due(run: Scenario, when: str) -> None:
    """TIME|none"""
    _equal("next due", run.market.next_due_ns, None if when == "none" else run.moment(when))


def _equal(what: str, found: object, wanted: object) -> None:
    shown = f"{found:,}" if isinstance(found, int) and not isinstance(found, bool) else found
    expect(found == wanted, f"{what} {wanted:,}" if isinstance(wanted, int) else f"{what} {wanted}", shown)


COMMANDS: Final[dict[str, Callable[..., Any]]] = {
    "market": _market,
    "at": _at,
    "merchant": _merchant,
    "accounts": _accounts,
    "limits": _limits,
    "tier": _tier,
    "store": _store,
    "terminal": _terminal,
    "channel": _channel,
    "series": _series,
    "deposit": _deposit,
    "withdraw": _withdraw,
    "subscribe": _subscribe,
    "grant": _grant,
    "give": _give,
    "redeem": _redeem,
    "bill": _bill,
    "pay": _pay,
    "buy_product": _buy_product,
    "roll": _roll,
    "plan": _plan,
    "end_plan": _end_plan,
    "refund": _refund,
    "lock": _lock,
    "upload": _upload,
    "buy": _order("buy"),
    "sell": _order("sell"),
    "amend": _amend,
    "cancel": _cancel,
    "cancel_all": _cancel_all,
    "cancel_after": _cancel_after,
    "import": _import,
    "chargeback": _chargeback,
    "default": _simple("default", "merchant"),
    "halt": _simple("halt", "series"),
    "resume": _simple("resume", "series"),
    "freeze": _simple("freeze", "account"),
    "unfreeze": _simple("unfreeze", "account"),
    "kill": _kill,
    "publish": _publish,
}
EXPECTATIONS: Final[dict[str, Callable[..., None]]] = {
    "refused": _refused,
    "trade": _trade,
    "no": _no,
    "cancelled": _cancelled,
    "rests": _rests,
    "result": _result,
    "cash": _cash,
    "units": _units,
    "series": _series_is,
    "account": _account_is,
    "order": _order_is,
    "plan": _plan_is,
    "depth": _depth,
    "queue": _queue,
    "auction": _auction,
    "event": _event,
    "events": _events,
    "cancels": _cancels,
    "claim": _claim,
    "duplicate": _duplicate,
    "next_due": _next_due,
}
