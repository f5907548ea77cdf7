"""The command line: words become calls, errors one clear line, exit codes what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rightsx import __version__, cli, progress
from rightsx._jit import cache_directory
from rightsx.cli import main
from rightsx.exchange import Exchange

SCENARIO = Path(__file__).parent / "scenarios" / "S1_first_card.txt"


def run(*words, **options):
    return subprocess.run([sys.executable, "-m", "rightsx", *words], capture_output=True, text=True, check=False, **options)


def test_the_version_is_said():
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"rightsx {__version__}\n")


@pytest.mark.parametrize("words", [["--help"], ["demo", "--help"], ["replay", "--help"], ["run", "--help"]])
def test_help_fits_a_terminal_and_tells_what_there_is(words):
    done = run(*words, env={"COLUMNS": "80", "PATH": ""})
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
        (["demo", "--days", "0"], "days was 0; 10 to 1,000 is allowed"),
        (["demo", "--series", "many"], "'many' is not a whole number"),
        (["replay", "x.csv"], "--format"),
        (["replay", "x.csv", "--format", "excel"], "invalid choice: 'excel'"),
    ],
)
def test_wrong_words_exit_with_2_and_say_what_is_due(words, said):
    done = run(*words)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_scenario_that_holds_exits_with_0(capsys):
    assert main(["run", str(SCENARIO)]) == 0
    assert "expectations hold, the books add up" in capsys.readouterr().out


def test_events_can_be_told_in_sentences(capsys):
    assert main(["run", "--events", str(SCENARIO)]) == 0
    told = capsys.readouterr().out
    assert "account 2 subscribes 300 of series 1 at 80 for 24000" in told
    assert "refused: AuthorisedExceeded (qty was 551; 550 is allowed)" in told


def test_a_scenario_that_fails_exits_with_1_and_the_others_still_run(tmp_path, capsys):
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("accounts ann\n= cash ann 5\n")
    assert main(["run", str(wrong), str(SCENARIO)]) == 1
    told = capsys.readouterr()
    assert told.err == f"rightsx: {wrong}:2: expected cash of ann 5, found 0\n"
    assert "S1_first_card" in told.out


def test_the_vocabulary_can_be_printed(capsys):
    assert main(["run", "--words"]) == 0
    told = capsys.readouterr().out
    assert "  deposit ACCOUNT AMOUNT [ref=N]" in told
    assert "  = refused CODE" in told


def test_run_without_a_file_says_where_to_read_more(capsys):
    assert main(["run"]) == 2
    assert "--words" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["bitstamp", "lobster"])
def test_a_bad_feed_is_one_line_and_exit_2(tmp_path, capsys, form):
    bad = tmp_path / "bad_message_1.csv"
    bad.write_text("what,is,this\n")
    for path in (bad, tmp_path / "none.csv"):
        assert main(["replay", str(path), "--format", form]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"rightsx: {path}")
        assert error.count("\n") == 1


def test_an_interrupt_exits_with_130(monkeypatch, capsys):
    def interrupted(_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    assert main(["run", str(SCENARIO)]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.unaudited
def test_a_demo_draws_its_page(tmp_path, capsys):
    page = tmp_path / "out.html"
    assert main(["demo", "--days", "12", "--series", "4", "--holders", "20", "--page", str(page), "--quiet"]) == 0
    assert str(page) in capsys.readouterr().out
    assert page.read_text().startswith("<!")


def test_a_reader_that_has_heard_enough_is_no_error():
    words = f"{sys.executable} -m rightsx run --words | head -1"
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("commands:\n", "")


def test_a_full_standard_output_is_one_line_and_exit_2():
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "rightsx", "run", str(SCENARIO)]
        # The kernels are compiled by now, or the line that says so would stand on standard error, too.
        Exchange()
        env = {name: value for name, value in os.environ.items() if name.startswith(("NUMBA_", "PYTHONPATH"))}
        env |= {"PATH": "", "RIGHTSX_CACHE_DIR": str(cache_directory().parent)}
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=env)
    assert (done.returncode, done.stderr) == (2, "rightsx: standard output: No space left on device\n")


def test_a_demo_without_a_folder_to_draw_in_says_so_before_it_runs(tmp_path, capsys):
    assert main(["demo", "--page", str(tmp_path / "none" / "out.html")]) == 2
    assert capsys.readouterr().err == f"rightsx: {tmp_path / 'none' / 'out.html'}: No such file or directory\n"
    assert main(["demo", "--page", str(tmp_path)]) == 2
    assert "Is a directory" in capsys.readouterr().err


def test_a_terminal_that_knows_only_ascii_gets_its_numbers():
    done = run("run", "--words", env={"PYTHONIOENCODING": "ascii", "PATH": ""})
    assert (done.returncode, done.stderr) == (0, "")
    assert "accounts NAME ?" in done.stdout


@pytest.mark.unaudited
def test_a_full_disk_is_one_line_and_exit_2(capsys):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    assert main(["demo", "--days", "12", "--series", "4", "--holders", "20", "--page", "/dev/full", "--quiet"]) == 2
    assert capsys.readouterr().err == "rightsx: /dev/full: No space left on device\n"


class Terminal:
    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize("with_tqdm", [True, False])
def test_progress_is_drawn_on_a_terminal_with_or_without_tqdm(monkeypatch, with_tqdm):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    if not with_tqdm:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    bar = progress.Bar("market", shown=True)
    for done in range(0, 101, 50):
        bar.step(done, 100, "day 3")
    bar.close()
    assert "market" in terminal.text
    assert with_tqdm or "50 %" in terminal.text


def test_progress_is_silent_where_nobody_looks(monkeypatch):
    terminal = Terminal()
    terminal.isatty = lambda: False
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = progress.Bar("market", shown=True)
    bar.step(1, 2)
    bar.close()
    assert terminal.text == ""


def test_warmup_says_what_is_ready_and_where_it_is_kept(tmp_path, monkeypatch, capsys):
    assert main(["warmup"]) == 0
    told = capsys.readouterr().out
    whats = (
        "the order book",
        "plain orders of the exchange",
        "the whole exchange",
        "the timing wheel",
        "the hashing",
        "the market data",
    )
    assert all(what in told for what in whats)
    monkeypatch.setenv("RIGHTSX_CACHE_DIR", str(tmp_path))
    for name in ("0" * 20, "a" * 20, "notes"):
        (tmp_path / name / "deep").mkdir(parents=True)
    assert main(["warmup"]) == 0
    assert "beside it is the code of 2 other versions" in capsys.readouterr().out
    assert main(["warmup", "--prune"]) == 0
    told = capsys.readouterr()
    assert "of 2 other versions" in told.err
    assert "beside it" not in told.out
    assert [path.name for path in tmp_path.iterdir()] == ["notes"], "what is not ours stays"
