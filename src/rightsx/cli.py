"""Turns words into calls: `rightsx demo`, `replay`, `backtest`, `simulate`, `run`, `verify`, `log`, and so on.

Each command imports what it needs when it runs, so that `--help` is instant. Results go to standard
output, progress and errors to standard error, and the exit code says how it went:

    0  done, and everything holds      2  a wrong word, argument or file: one clear line
    1  something does not hold       130  interrupted
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rightsx import __version__
from rightsx.errors import AuditError, CorruptionError, DivergenceError, InputFileError, MisuseError, ProofError, StoreLockedError
from rightsx.progress import Bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HOLDS: Final = 0
FAILS: Final = 1
WRONG: Final = 2
INTERRUPTED: Final = 130
WIDTH: Final = 79
MOST_DIGITS: Final = 18


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(
        prog="rightsx",
        description="A matching engine and settlement core for time-limited discounted consumption rights.",
        epilog="`rightsx COMMAND --help` says more about each.",
    )
    top.add_argument("--version", action="version", version=f"rightsx {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    demo = commands.add_parser(
        "demo",
        help="run a seeded market from listing to expiry and draw it",
        description="Run a market of made-up merchants and holders from listing to expiry: presale, resale, decay, "
        "redemption, refunds, one merchant's default. Prints a table and an audit, writes a page of pictures. "
        "The same arguments give the same market, to the last unit.",
    )
    demo.add_argument("--days", type=_whole, default=90, metavar="N", help="length of the market (default 90)")
    demo.add_argument("--series", type=_whole, default=50, metavar="N", help="series listed (default 50)")
    demo.add_argument("--holders", type=_whole, default=2_000, metavar="N", help="people (default 2000)")
    demo.add_argument("--seed", type=int, default=1, metavar="N", help="another seed, another market (default 1)")
    demo.add_argument(
        "--page", type=Path, default=Path("demo.html"), metavar="FILE", help="where the pictures go (default demo.html)"
    )
    demo.add_argument("--store", type=Path, metavar="DIR", help="keep the market there (default: a folder that is removed again)")
    demo.add_argument("--quiet", action="store_true", help="no progress bar")

    _add_quant_commands(commands)

    run = commands.add_parser(
        "run",
        help="run a market written as text and check what it expects",
        description="Run a scenario: a text of commands and of what must come of them. The books are audited "
        "after every command.",
        epilog="`rightsx run --words` prints the vocabulary of such files.",
    )
    run.add_argument("files", type=Path, nargs="*", metavar="FILE")
    run.add_argument("--events", action="store_true", help="tell every event in a sentence")
    run.add_argument("--words", action="store_true", help="print the vocabulary and stop")

    _add_store_commands(commands)

    warmup = commands.add_parser(
        "warmup",
        help="compile the kernels now, so that no first use waits for it",
        description="Compile every kernel, which takes a minute once, or load what is compiled, and say where it is kept. "
        "RIGHTSX_CACHE_DIR names another place than the user's cache.",
    )
    warmup.add_argument("--prune", action="store_true", help="remove what was compiled for other versions")
    return top


def _add_quant_commands(commands: Any) -> None:
    """Describe what replays real order flow, and what tries strategies and listings."""
    replay = commands.add_parser(
        "replay",
        help="drive an order book with a venue's real order flow",
        description="Replay a file of real order flow through the order book and say how far our trades agree with the "
        "venue's own. Files may be plain, .xz or .gz.",
        epilog="bitstamp: orders.csv or the raw log of ob-analytics. lobster: the message file; the orderbook file of "
        "the same name must stand beside it. itch: a day of TotalView-ITCH 5.0. databento: DBN with MBO records.",
    )
    replay.add_argument("file", type=Path, metavar="FILE")
    _add_venue_options(replay, required=True)
    replay.add_argument("--html", type=Path, metavar="FILE", help="write a page of pictures (extra plot)")
    replay.add_argument("--quiet", action="store_true", help="no progress bar")

    _add_backtest(commands)

    simulate = commands.add_parser(
        "simulate",
        help="make up a market of rights from agents",
        description="Play a seeded market from presale to expiry: holders who use, hoard and give up, newcomers, makers. "
        "Says what the merchant got, and how much of the face was used, rescued by resale, decayed, or lost.",
    )
    simulate.add_argument("--days", type=_whole, default=60, metavar="N", help="from listing to expiry (default 60)")
    simulate.add_argument("--par", type=_whole, default=10_000, metavar="N", help="face of a unit, minor units (default 10000)")
    simulate.add_argument("--issue-price", type=_whole, default=7_000, metavar="N", help="what it is sold for (default 7000)")
    simulate.add_argument("--steps", type=_whole, default=0, metavar="N", help="decay steps over the last half (default 0)")
    simulate.add_argument("--holders", type=_whole, default=300, metavar="N", help="people in the presale (default 300)")
    simulate.add_argument(
        "--hazard", type=float, default=12.0, metavar="X", help="how often a year a unit is needed (default 12)"
    )
    simulate.add_argument("--seed", type=int, default=1, metavar="N", help="another seed, another market (default 1)")
    simulate.add_argument("--to", type=Path, metavar="FILE.npz", help="write commands, events and trades for NumPy")
    simulate.add_argument("--html", type=Path, metavar="FILE", help="write a page of pictures (extra plot)")
    simulate.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_backtest(commands: Any) -> None:
    """Describe what lets a strategy trade."""
    backtest = commands.add_parser(
        "backtest",
        help="run a strategy against real order flow",
        description="Let the orders of a venue's file through a market while a strategy trades against them, and say how many "
        "of the venue's own executions happened again. STRATEGY is a file and a name in it: a function step(view, memory, "
        "orders), or a class made of rightsx.backtest.Strategy. A step's memory is the file's MEMORY, or eight zeros. The "
        "series is number 1.",
        epilog="examples: rightsx backtest 2015-05-01.log.xz --strategy quotes.py:step --latency 20ms --html report.html; "
        "rightsx backtest 01302019.NASDAQ_ITCH50.gz --format itch --stock MSFT --strategy quotes.py:step",
    )
    backtest.add_argument("file", type=Path, metavar="FILE")
    _add_venue_options(backtest, default="bitstamp")
    backtest.add_argument("--strategy", required=True, metavar="FILE.py:NAME")
    backtest.add_argument("--latency", default="0s", metavar="SPAN", help="how late orders arrive, as 20ms or 1s (default 0s)")
    backtest.add_argument("--every", default="1s", metavar="SPAN", help="interval of a class's on_market (default 1s)")
    backtest.add_argument("--cash", type=_whole, default=10**12, metavar="N", help="minor units the strategy has (default 10^12)")
    backtest.add_argument("--units", type=_whole, default=100_000, metavar="N", help="units it has (default 100000)")
    backtest.add_argument("--taker-bps", type=_whole, default=0, metavar="N", help="the taker's fee (default 0)")
    backtest.add_argument("--maker-bps", type=_whole, default=0, metavar="N", help="the maker's fee (default 0)")
    backtest.add_argument(
        "--qty-unit", type=_whole, metavar="N", help="shares, lots, 1e-8 BTC that are a unit (default 1, of bitstamp 10000)"
    )
    backtest.add_argument(
        "--price-unit", type=_whole, metavar="N", help="how much of the file's price is 1 (default: what divides all of them)"
    )
    backtest.add_argument("--html", type=Path, metavar="FILE", help="write a page of pictures (extra plot)")
    backtest.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_venue_options(command: argparse.ArgumentParser, **given: Any) -> None:
    """Describe how a venue's file is read."""
    default = f" (default {given['default']})" if "default" in given else ""
    formats = ("bitstamp", "databento", "itch", "lobster")
    command.add_argument("--format", choices=formats, help=f"who wrote the file{default}", **given)
    command.add_argument("--stock", default="AAPL", metavar="SYM", help="the stock to read out of a file of itch (default AAPL)")
    command.add_argument(
        "--errors", choices=("raise", "skip"), default="raise", help="what to do about wrong rows (default raise)"
    )


def _add_store_commands(commands: Any) -> None:
    """Describe what is about markets that are kept in a folder."""
    verify = commands.add_parser(
        "verify",
        help="check a kept market to the last byte, a receipt, or a proof of solvency",
        description="Read a whole store, apply its log to an empty market and hold every frame, root, tile, record, balance "
        "and signature against what follows. Writes nothing; a writer may be at work. "
        "`rightsx verify receipt FILE` and `rightsx verify solvency FILE` check what `prove` and `solvency` wrote.",
    )
    verify.add_argument("what", nargs="+", metavar="STORE", help="a store, or the word receipt or solvency and a file")
    verify.add_argument("--key", metavar="KEY", help="the market's public key: the line itself, or a file that holds it")
    verify.add_argument("--quiet", action="store_true", help="no progress bar")

    log = commands.add_parser(
        "log",
        help="show the commands of a kept market",
        description="Show the commands in a store's log, a line each: number, time, kind, and what it asks.",
    )
    log.add_argument("store", type=Path, metavar="STORE")
    log.add_argument("--from", dest="first", type=_whole, default=1, metavar="N", help="the first command shown (default 1)")
    log.add_argument("--to", dest="last", type=_whole, metavar="N", help="the last one (default: the last there is)")
    log.add_argument(
        "--kind", action="append", default=[], metavar="KIND", help="commands of this kind alone, as place; may be repeated"
    )
    log.add_argument("--account", type=_whole, metavar="N", help="commands that name this account alone")

    prove = commands.add_parser(
        "prove",
        help="draw up the receipt of an event",
        description="Write the receipt of an event of a store's journal: the record, its proof, and the signed checkpoint.",
    )
    prove.add_argument("store", type=Path, metavar="STORE")
    prove.add_argument("event", type=_whole, metavar="SEQ", help="the event's number in the journal, from 0")
    prove.add_argument("--to", type=Path, metavar="FILE", help="where it goes (default: standard output)")

    solvency = commands.add_parser(
        "solvency",
        help="show and prove what a kept market owes, and to whom",
        description="Replay a store up to its last signed checkpoint and show what every series owed then, and the escrow "
        "behind it. With --to, write the proof of it, which `rightsx verify solvency` checks.",
    )
    solvency.add_argument("store", type=Path, metavar="STORE")
    solvency.add_argument("--series", type=_whole, action="append", metavar="N", help="this series alone; may be repeated")
    solvency.add_argument("--merchant", type=_whole, metavar="N", help="the series of this merchant alone")
    solvency.add_argument(
        "--account",
        type=_whole,
        action="append",
        default=[],
        metavar="N",
        help="and what this account holds there; may be repeated",
    )
    solvency.add_argument("--to", type=Path, metavar="FILE", help="where the proof goes (default: nowhere)")
    solvency.add_argument("--quiet", action="store_true", help="no progress bar")

    _add_rescue_commands(commands)


def _add_rescue_commands(commands: Any) -> None:
    """Describe what opens a damaged market, and what signs one."""
    recover = commands.add_parser(
        "recover",
        help="open a store after a crash, or save what verifies of a damaged one",
        description="strict: open it, and refuse even a torn end. tail: open it, and cut a torn end (as any opening does). "
        "salvage: make a new store of the commands up to the damage; the old one is only read.",
    )
    recover.add_argument("store", type=Path, metavar="STORE")
    recover.add_argument("--mode", choices=("strict", "tail", "salvage"), default="tail", help="(default tail)")
    recover.add_argument("--to", type=Path, metavar="DIR", help="where salvage puts the new store")
    recover.add_argument("--quiet", action="store_true", help="no progress bar")

    keygen = commands.add_parser(
        "keygen",
        help="make a key that signs a market's checkpoints",
        description="Make a signing key. The secret goes to FILE, which nobody else can read; the public key is printed.",
    )
    keygen.add_argument("name", metavar="NAME", help="whose key it is, and the origin of the journal, as market.example/coffee")
    keygen.add_argument(
        "--to", type=Path, required=True, metavar="FILE", help="where the secret goes; a file that is not there yet"
    )


def _whole(text: str) -> int:
    """Read a whole number; what is too small or too large, the market says."""
    if not text.isascii() or not text.isdigit() or len(text) > MOST_DIGITS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without our dashes still gets the numbers
    try:
        options = parser().parse_args(arguments)
        code = _chosen(options.command)(options)
        sys.stdout.flush()  # what cannot be written shows here, not when Python closes
    except (InputFileError, MisuseError, StoreLockedError) as error:
        print(f"rightsx: {error}", file=sys.stderr)
        return WRONG
    except (CorruptionError, DivergenceError, ProofError) as error:
        print(f"rightsx: {error}", file=sys.stderr)
        return FAILS
    except AuditError as error:
        print(f"rightsx: the books do not add up: {error}", file=sys.stderr)
        return FAILS
    except KeyboardInterrupt:
        print("\nrightsx: interrupted", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        return _unwritten(error)
    return code


def _chosen(command: str) -> Callable[[Any], int]:
    """Give what runs a command."""
    return {
        "demo": _demo,
        "replay": _replay,
        "backtest": _backtest,
        "simulate": _simulate,
        "run": _run,
        "verify": _verify,
        "log": _log,
        "prove": _prove,
        "solvency": _solvency,
        "recover": _recover,
        "keygen": _keygen,
        "warmup": _warmup,
    }[command]


def _unwritten(error: OSError) -> int:
    """Say what could not be read or written; a reader that has heard enough is no error."""
    if error.filename is None:
        # Standard output is lost; Python would complain once more when it closes.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return HOLDS
    print(f"rightsx: {error.filename or 'standard output'}: {error.strerror}", file=sys.stderr)
    return WRONG


def _demo(options: Any) -> int:
    from rightsx.demo.page import write_demo_page  # noqa: PLC0415
    from rightsx.demo.run import run_demo  # noqa: PLC0415 - `--help` stays instant
    from rightsx.exchange import Exchange  # noqa: PLC0415

    Exchange()  # compiles now, if that is still to be done: it is not to be timed
    if options.store is not None and options.store.exists():
        raise MisuseError(f"{options.store} exists; a demo begins with a store of its own")

    with options.page.open("a"):
        pass  # A page that cannot be written is better known before the market runs than after it.
    bar = Bar("market", shown=not options.quiet)
    try:
        result = run_demo(
            days=options.days,
            series=options.series,
            holders=options.holders,
            seed=options.seed,
            progress=bar.step,
            clock=time.perf_counter_ns,
            store=options.store,
        )
    finally:
        bar.close()
    print(result)
    print(result.pace_text())
    if result.kept is not None:
        print(f"\nkept on disk and verified: {result.kept.commands:,} commands, {result.kept.events:,} events, the same state")
    if options.store is not None:
        print(f"store: {options.store}; `rightsx verify {options.store}` does it again")
    try:
        page = write_demo_page(result, options.page)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(options.page)) from error
    print(f"\npictures: {page}")
    return HOLDS if result.conservation.holds else FAILS


def _replay(options: Any) -> int:
    from rightsx.loaders import load_file  # noqa: PLC0415
    from rightsx.replay import replay_feed, venue_flow  # noqa: PLC0415

    shown = not options.quiet
    with _page(options.html):
        feed = load_file(options.file, form=options.format, stock=options.stock, errors=options.errors, progress=shown)
        result = replay_feed(feed, progress=shown)
        print(result)
        if options.html is not None:
            from rightsx.backtest import backtest  # noqa: PLC0415
            from rightsx.pages import write_replay  # noqa: PLC0415

            flow = venue_flow(feed, progress=shown)
            alone = backtest(flow.market(), flow.commands, progress=shown)
            write_replay(result, alone, options.html, title=f"{options.file.name} against our queue", command=_command())
            print(f"\npictures: {options.html}")
    return HOLDS if result.agrees else FAILS


def _backtest(options: Any) -> int:
    import numpy as np  # noqa: PLC0415

    from rightsx.backtest import Strategy, backtest  # noqa: PLC0415
    from rightsx.loaders import load_file  # noqa: PLC0415
    from rightsx.replay import venue_flow  # noqa: PLC0415

    made, names = _strategy(options.strategy)
    feed = load_file(options.file, form=options.format, stock=options.stock, errors=options.errors, progress=not options.quiet)
    flow = venue_flow(feed, qty_unit=options.qty_unit, price_unit=options.price_unit, progress=not options.quiet)
    market = flow.market(maker_bps=options.maker_bps, taker_bps=options.taker_bps)
    account = int(market.open_account())
    for verb, given in (
        ("deposit", {"amount": options.cash + options.units}),
        ("subscribe", {"series": 1, "qty": options.units}),
    ):
        if any(given.values()) and (verb == "deposit" or options.units):
            getattr(market, verb)(account=account, **given)
    memory = None if isinstance(made, Strategy) else names.get("MEMORY", np.zeros(8, np.int64))
    with _page(options.html):
        result = backtest(
            market, flow.commands, made, account=account, memory=memory, latency=options.latency, every=options.every,
            progress=not options.quiet,
        )  # fmt: skip
        print(result)
        units = f"a price of 1 is {flow.price_unit:,} of the file's, a unit {flow.qty_unit:,}"
        print(f"\n{flow.agreement(result.data.trades)}; {units}")
        if options.html is not None:
            from rightsx.pages import write_backtest  # noqa: PLC0415

            title = f"{options.strategy} on {options.file.name}"
            write_backtest(result, options.html, title=title, command=_command())
            print(f"\npictures: {options.html}")
    return HOLDS


def _simulate(options: Any) -> int:
    import numpy as np  # noqa: PLC0415

    from rightsx.simulate import Crowd, Listing, simulate  # noqa: PLC0415
    from rightsx.views import text_table  # noqa: PLC0415

    listing = Listing(par=options.par, issue_price=options.issue_price, days=options.days, steps=options.steps)
    with _page(options.html):
        crowd = Crowd(holders=options.holders, hazard=options.hazard)
        found = simulate(listing, crowd, seed=options.seed, progress=not options.quiet)
        rows = [
            (name.replace("_", " "), f"{value:,}" if isinstance(value, int) else f"{value:.1%}")
            for name, value in found.sums.items()
        ]
        print(text_table(("simulation", ""), rows))
        if options.to is not None:
            np.savez_compressed(options.to, commands=found.commands, events=found.events, trades=found.data.trades)
            print(f"\ncommands, events, trades: {options.to}")
        if options.html is not None:
            from rightsx.pages import write_simulation  # noqa: PLC0415

            write_simulation(found, options.html, command=_command())
            print(f"\npictures: {options.html}")
    return HOLDS


@contextlib.contextmanager
def _page(path: Path | None) -> Iterator[None]:
    """See that a page can be written and drawn before the work that it is to show; work that fails leaves no empty one."""
    if path is None:
        yield
        return
    from rightsx.plot import check_drawing  # noqa: PLC0415

    check_drawing()
    is_new = not path.exists()
    with path.open("a"):
        pass
    try:
        yield
    except BaseException:
        if is_new:
            path.unlink(missing_ok=True)
        raise


def _command() -> str:
    """Give the words that this was called with."""
    return " ".join(["rightsx", *sys.argv[1:]])


def _strategy(words: str) -> tuple[Any, dict[str, Any]]:
    """Load what a strategy's file calls by a name, and all of its names."""
    import runpy  # noqa: PLC0415

    from rightsx.backtest import Strategy  # noqa: PLC0415

    file, colon, name = words.rpartition(":")
    if not colon or not name:
        raise MisuseError(f"--strategy was {words!r}; a file and a name in it are due, as quotes.py:step")
    if not Path(file).is_file():
        raise MisuseError(f"--strategy names {file}; there is no such file")
    names = runpy.run_path(file)
    if name not in names:
        raise MisuseError(f"{file} has no {name!r}")
    made = names[name]
    if isinstance(made, type) and issubclass(made, Strategy):
        return made(), names
    if not callable(made):
        raise MisuseError(f"{name} in {file} is a {type(made).__name__}; a function or a Strategy is due")
    return made, names


def _run(options: Any) -> int:
    from rightsx.scenario import COMMANDS, EXPECTATIONS, Scenario, ScenarioError, usage  # noqa: PLC0415

    if options.words:
        for title, table, mark in (("commands", COMMANDS, ""), ("expectations, after a command", EXPECTATIONS, "= ")):
            print(f"{title}:")
            for verb, function in table.items():
                print(textwrap.fill(mark + usage(verb, function), WIDTH, initial_indent="  ", subsequent_indent="      "))
        return HOLDS
    if not options.files:
        raise MisuseError("run needs a FILE; `rightsx run --words` prints the vocabulary of such files")
    failures = 0
    for path in options.files:
        scenario = Scenario(path, on_event=print if options.events else None)
        try:
            scenario.run()
        except ScenarioError as failure:
            print(f"rightsx: {failure}", file=sys.stderr)
            failures += 1
        else:
            print(f"{path}: {scenario.commands} commands, {scenario.expectations} expectations hold, the books add up")
    return FAILS if failures else HOLDS


def _warmup(options: Any) -> int:
    from rightsx.warmup import prune, warm_up  # noqa: PLC0415

    if options.prune:
        count = prune()
        print(f"removed the compiled code of {count} other version{'s' * (count != 1)}", file=sys.stderr)
    print(warm_up())
    return HOLDS


# ── kept markets ─────────────────────────────────────────────────────────────────────────────────


def _verify(options: Any) -> int:
    from rightsx.inspection import verify_store  # noqa: PLC0415

    key = _key(options.key) if options.key else None
    proofs = {"receipt": _verify_receipt, "solvency": _verify_solvency}
    if options.what[0] in proofs and len(options.what) == 2:  # noqa: PLR2004 - the word and the file
        if key is None:
            raise MisuseError(f"a {options.what[0]} is checked against the market's key: --key KEY")
        return proofs[options.what[0]](Path(options.what[1]), key)
    if len(options.what) != 1:
        raise MisuseError("verify takes one STORE, or the word receipt or solvency and a FILE")
    bar = Bar("verify", shown=not options.quiet)
    try:
        report = verify_store(options.what[0], key=key, progress=bar.step)
    finally:
        bar.close()
    print(report)
    return HOLDS if report.holds else FAILS


def _verify_receipt(path: Path, key: Any) -> int:
    from rightsx.border import iso  # noqa: PLC0415
    from rightsx.protocol import EVENT_LENGTH, events_in  # noqa: PLC0415
    from rightsx.receipt import parse_receipt  # noqa: PLC0415
    from rightsx.wording import describe  # noqa: PLC0415

    receipt = parse_receipt(path.read_bytes())
    checkpoint = receipt.check(key)
    (event,) = events_in(EVENT_LENGTH.to_bytes(2, "little") + receipt.leaf)
    print(f"{path}: event {receipt.event_seq} of {checkpoint.origin} is proved, in a journal of {checkpoint.size:,} events")
    print(f"{iso(event.time_ns)}: {describe(event)}")
    return HOLDS


def _verify_solvency(path: Path, key: Any) -> int:
    from rightsx.solvency import parse_solvency  # noqa: PLC0415

    print(parse_solvency(path.read_bytes()).check(key))
    print(f"\n{path}: everything holds")
    return HOLDS


def _key(text: str) -> Any:
    from rightsx.note import parse_verifier_key  # noqa: PLC0415

    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = Path(text).read_text(encoding="utf-8")
    try:
        return parse_verifier_key(text)
    except ProofError as error:
        raise MisuseError(f"--key is neither a key nor a file with one: {error}") from None


def _log(options: Any) -> int:
    from rightsx.inspection import log_lines  # noqa: PLC0415
    from rightsx.protocol import CommandKind  # noqa: PLC0415

    names = {kind.name.lower(): int(kind) for kind in CommandKind}
    wanted = [name.lower().replace(" ", "_").replace("-", "_") for name in options.kind]
    for name in wanted:
        if name not in names:
            raise MisuseError(f"--kind was {name!r}; one of {', '.join(names)} is due")
    kinds = frozenset(names[name] for name in wanted)
    for line in log_lines(options.store, first=options.first, last=options.last, kinds=kinds, account=options.account):
        print(line)
    return HOLDS


def _prove(options: Any) -> int:
    from rightsx.inspection import read_receipt  # noqa: PLC0415

    data = bytes(read_receipt(options.store, options.event))
    if options.to is None:
        sys.stdout.write(data.decode())
    else:
        options.to.write_bytes(data)
        print(f"{options.to}: the receipt of event {options.event}")
    return HOLDS


def _solvency(options: Any) -> int:
    from rightsx.inspection import log_bytes, read_solvency  # noqa: PLC0415

    bar, total = Bar("solvency", shown=not options.quiet), log_bytes(options.store)
    try:
        proof = read_solvency(
            options.store,
            series=options.series,
            merchant=options.merchant,
            accounts=options.account,
            progress=lambda _, read: bar.step(min(read, total), total),
        )
    finally:
        bar.close()
    print(proof.shown())
    if options.to is not None:
        options.to.write_bytes(bytes(proof))
        print(f"\n{options.to}: the proof; `rightsx verify solvency {options.to} --key KEY` checks it")
    return HOLDS


def _recover(options: Any) -> int:
    from rightsx.exchange import Exchange  # noqa: PLC0415
    from rightsx.inspection import log_bytes, salvage  # noqa: PLC0415

    bar = Bar("recover", shown=not options.quiet)
    total = log_bytes(options.store)

    def tell(_: int, read: int) -> None:
        bar.step(min(read, total), total)

    try:
        if options.mode == "salvage":
            if options.to is None:
                raise MisuseError("salvage needs --to DIR, where the new store goes")
            saved = salvage(options.store, options.to, progress=tell)
            print(saved)
            return FAILS if saved.damage else HOLDS
        if not (options.store / "store.json").exists():
            raise MisuseError(f"{options.store} is no store; there is no store.json")
        with Exchange.open(options.store, mode=options.mode, keep_events=False, progress=tell) as market:
            market.check()
            print(f"{options.store}: {market.command_seq:,} commands, {market.journal.size:,} events, the books add up")
    finally:
        bar.close()
    return HOLDS


def _keygen(options: Any) -> int:
    import secrets  # noqa: PLC0415

    from rightsx.note import KEY_BYTES, make_signing_key  # noqa: PLC0415

    key = make_signing_key(options.name, secrets.token_bytes(KEY_BYTES))
    public = str(key.verifier)
    with contextlib.closing(_Secret(options.to)) as file:
        file.write(key.secret + "\n")
    print(public)
    print(f"rightsx: the secret key is in {options.to}; the line above is for everybody", file=sys.stderr)
    return HOLDS


class _Secret:
    """A new file that nobody else can read."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def write(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def close(self) -> None:
        os.close(self._descriptor)


if __name__ == "__main__":
    sys.exit(main())
