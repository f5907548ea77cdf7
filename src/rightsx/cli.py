"""Turns words into calls: `rightsx demo | replay | run | warmup`.

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
from rightsx.errors import AuditError, InputFileError, MisuseError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    demo.add_argument("--quiet", action="store_true", help="no progress bar")

    replay = commands.add_parser(
        "replay",
        help="drive an order book with a venue's real order flow",
        description="Replay a file of real order flow through the order book and say how far our trades agree with the "
        "venue's own. Files may be plain, .xz or .gz.",
        epilog="bitstamp: orders.csv or the raw log of ob-analytics. lobster: the message file; the orderbook file of "
        "the same name must stand beside it.",
    )
    replay.add_argument("file", type=Path, metavar="FILE")
    replay.add_argument("--format", required=True, choices=("bitstamp", "lobster"), help="who wrote the file")
    replay.add_argument("--quiet", action="store_true", help="no progress bar")

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

    warmup = commands.add_parser(
        "warmup",
        help="compile the kernels now, so that no first use waits for it",
        description="Compile every kernel, which takes a minute once, or load what is compiled, and say where it is kept. "
        "RIGHTSX_CACHE_DIR names another place than the user's cache.",
    )
    warmup.add_argument("--prune", action="store_true", help="remove what was compiled for other versions")
    return top


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
        command: Callable[[Any], int] = {"demo": _demo, "replay": _replay, "run": _run, "warmup": _warmup}[options.command]
        code = command(options)
        sys.stdout.flush()  # what cannot be written shows here, not when Python closes
    except (InputFileError, MisuseError) as error:
        print(f"rightsx: {error}", file=sys.stderr)
        return WRONG
    except AuditError as error:
        print(f"rightsx: the books do not add up: {error}", file=sys.stderr)
        return FAILS
    except KeyboardInterrupt:
        print("\nrightsx: interrupted", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        return _unwritten(error)
    return code


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
        )
    finally:
        bar.close()
    print(result)
    print(result.pace_text())
    try:
        page = write_demo_page(result, options.page)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(options.page)) from error
    print(f"\npictures: {page}")
    return HOLDS if result.conservation.holds else FAILS


def _replay(options: Any) -> int:
    from rightsx.replay import replay_file  # noqa: PLC0415

    bar = Bar("replay", shown=not options.quiet)
    try:
        result = replay_file(options.file, form=options.format, progress=bar.step)
    finally:
        bar.close()
    print(result)
    return HOLDS if result.agrees else FAILS


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


class Bar:
    """A progress bar on standard error: tqdm's where it is installed, else a line of percents.

    Nothing is drawn unless standard error is a terminal.
    """

    def __init__(self, title: str, *, shown: bool) -> None:
        """Draw nothing yet: what ends within its first step needs no bar."""
        self._title = title
        self._shown = shown and sys.stderr.isatty()
        self._bar: Any = None

    def step(self, done: int, total: int, label: str = "") -> None:
        """Show that `done` of `total` steps are done."""
        if not self._shown:
            return
        if self._bar is None:
            self._bar = _make_bar(self._title, total)
        self._bar.set_postfix_str(label, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.close()


class _PlainBar:
    """A line of percents, for where tqdm is not installed."""

    def __init__(self, title: str, total: int) -> None:
        self.n = 0
        self._title, self._total, self._label = title, total, ""

    def set_postfix_str(self, label: str, **_: bool) -> None:
        self._label = label

    def update(self, steps: int) -> None:
        self.n += steps
        percent = 100 * self.n // max(1, self._total)
        print(f"\r{self._title}: {percent:3d} % {self._label:<40.40}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        print(file=sys.stderr)


def _make_bar(title: str, total: int) -> Any:
    try:
        from tqdm import tqdm  # noqa: PLC0415
    except ImportError:
        return _PlainBar(title, total)
    return tqdm(total=total, desc=title, file=sys.stderr, dynamic_ncols=True, leave=False)


if __name__ == "__main__":
    sys.exit(main())
