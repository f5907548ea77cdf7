"""The golden stores: what was once written is opened by every version, and written the same way again."""

from __future__ import annotations

import shutil

import pytest

pytest.importorskip("cryptography", reason="signatures need the extra `proofs`")

from make_golden import KEY, golden, make

from rightsx import Exchange
from rightsx.inspection import read_receipt, verify_store
from rightsx.storage import FORMAT

pytestmark = pytest.mark.unaudited
# What a store of each format says of itself: commands, events, published events, states, the market's state, the journal's root.
FACTS = {
    1: (
        (35, 87, 86, (0, 0)),
        "881cef90a6fb3cd60b7ed6233f881176f918e57ab29b6b6f13a7c18e942e8ac7",
        "9ba5d4233c099adf46afddb562994af94a9072a37c7ca23f7c9c25ae6f349450",
    ),
    2: (
        (37, 89, 88, (2, 0)),
        "e6b1f784ae8b159675b97f88efe8d9d95006839974ec6985aae0d621235cb4a3",
        "cef4d77f6a752db67878eceaff446c9c58fb77f4cc930a32ec7367fb1ec4d672",
    ),
}
both = pytest.mark.parametrize("engine", ["compiled", "reference"])
every = pytest.mark.parametrize("number", FACTS)


def test_there_is_a_golden_store_of_every_format():
    assert max(FACTS) == FORMAT


@both
@every
def test_a_golden_store_holds_and_is_the_market_it_was(engine, number):
    report = verify_store(golden(number), key=KEY.verifier, engine=engine)
    assert report.holds
    counts, state, root = FACTS[number]
    assert (report.commands, report.events, report.published, report.states) == counts
    assert (report.state_hash, report.root.hex()) == (state, root)
    for event in range(0, report.published, 7):
        read_receipt(golden(number), event).check(KEY.verifier)


@both
@every
def test_a_golden_store_is_made_again_byte_for_byte(tmp_path, engine, number):
    make(tmp_path / "store", engine, number)
    names = {path.relative_to(golden(number)): path for path in golden(number).rglob("*") if path.is_file()}
    made = {path.relative_to(tmp_path / "store"): path for path in (tmp_path / "store").rglob("*") if path.is_file()}
    assert {name for name in made if name.name != "lock"} == set(names)
    for name, path in names.items():
        assert made[name].read_bytes() == path.read_bytes(), name


@every
def test_a_golden_store_goes_on(tmp_path, number):
    path = shutil.copytree(golden(number), tmp_path / "store")
    with Exchange.open(path, signer=KEY, engine="reference") as market:
        assert market.state_hash() == FACTS[number][1]
        assert market.deposit(account=2, amount=1)
        market.publish()
    report = verify_store(path, key=KEY.verifier, engine="reference")
    assert report.commands == FACTS[number][0][0] + (1 if number == 1 else 2)
