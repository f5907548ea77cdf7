"""Every scenario holds, every rule has one, and a scenario can fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rightsx.cli import main
from rightsx.errors import InputFileError
from rightsx.scenario import COMMANDS, EXPECTATIONS, Scenario, ScenarioError, parse, usage

FOLDER = Path(__file__).parent / "scenarios"
FILES = sorted(FOLDER.glob("*.txt"))
# What a scenario cannot say is said by a test: where.
ELSEWHERE = {47: "test_reports.py"}

START = "merchant M\naccounts ann bob\nseries S M coffee par=100 issue_price=80 authorised=1 000 expire=day(365) policy=forfeit\n"


@pytest.mark.parametrize("engine", ["compiled", "reference"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_scenario_holds(path, engine):
    scenario = Scenario(path, engine=engine)
    scenario.run()
    assert scenario.expectations > 0


def test_every_rule_has_a_scenario():
    named = set()
    for path in FILES:
        head = "\n".join(line for line in path.read_text().splitlines()[:12] if line.startswith("#"))
        for first, last in re.findall(r"R(\d+)(?: … R(\d+))?", head):
            named |= set(range(int(first), int(last or first) + 1))
    missing = set(range(1, 50)) - named - set(ELSEWHERE)
    assert not missing, f"rules without a scenario: {sorted(missing)}"


@pytest.mark.parametrize(
    "line",
    [
        "= cash ann 1",
        "= units ann S 1",
        "= series S units=1",
        "= account ann cash_free=1",
        "= depth S 1x1 / none",
        "= refused BadQuantity",
        "= trade 1 x 1",
        "= event FILL",
        "= cancelled USER",
        "= claim ann S 5",
        "= duplicate",
        "= next_due none",
        "= order last gone x",
        "= rests 1",
        "= queue S buy last",
        "= auction S 1:1:1",
        "= no event DEPOSITED",
        "= result command_seq=0",
        "= cash platform 1",
    ],
)
def test_a_false_expectation_fails_and_names_its_line(line):
    with pytest.raises(ScenarioError, match="scenario:5: expected"):
        Scenario("scenario").run(START.replace("accounts ann bob", "accounts ann bob last") + "deposit ann 500\n" + line)


def test_an_unexpected_refusal_fails():
    with pytest.raises(ScenarioError, match="scenario:4: withdraw was refused: InsufficientCash"):
        Scenario("scenario").run(START + "withdraw ann 1")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("steal ann 5", "no command is called 'steal'"),
        ("= wealth ann 5", "nothing is expected with 'wealth'"),
        ("deposit ann", "expected: deposit ACCOUNT AMOUNT"),
        ("deposit zoe 5", "'zoe' is neither a name, a number nor a time"),
        ("buy ann 5 S at 90", "a price is missing"),
        ("buy ann 5 S @ 90 quickly", "'quickly' says nothing about an order"),
        ("= refused TooBad", "no refusal is called TooBad"),
        ("= cancelled TIRED", "no reason is called TIRED"),
        ("= event PARTY", "no event is called PARTY"),
        ("at tomorrow", "neither a name, a number nor a time"),
        ("series T M tea par=1 issue_price=1 authorised=1 expire=day(9) policy=maybe", "policy was 'maybe'"),
    ],
)
def test_a_wrong_line_names_file_line_and_form(line, said):
    with pytest.raises(InputFileError, match=re.escape("scenario:4: ")) as caught:
        Scenario("scenario").run(START + line)
    assert said in str(caught.value)


def test_a_missing_or_binary_file_is_one_clear_line(tmp_path, capsys):
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, said in ((tmp_path / "none.txt", "No such file"), (binary, "not a text in UTF-8"), (tmp_path, "Is a directory")):
        assert main(["run", str(path)]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_grouped_digits_are_one_number():
    (line,) = parse("deposit ann 1 234 567 # and a comment")
    assert line.words == ["ann", "1234567"]
    (line,) = parse("series S authorised=1 000 par=10")
    assert line.options == {"authorised": "1000", "par": "10"}


def test_every_word_of_the_vocabulary_says_its_form():
    for table in (COMMANDS, EXPECTATIONS):
        for verb, function in table.items():
            assert len(usage(verb, function)) > len(verb) or verb == "kill", verb
