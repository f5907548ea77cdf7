"""The golden store: what was once written is opened by every version, and written the same way again."""

from __future__ import annotations

import shutil

import pytest

pytest.importorskip("cryptography", reason="signatures need the extra `proofs`")

from make_golden import GOLDEN, KEY, make

from rightsx import Exchange
from rightsx.inspection import read_receipt, verify_store

pytestmark = pytest.mark.unaudited
STATE = "881cef90a6fb3cd60b7ed6233f881176f918e57ab29b6b6f13a7c18e942e8ac7"
ROOT = "9ba5d4233c099adf46afddb562994af94a9072a37c7ca23f7c9c25ae6f349450"


@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_the_golden_store_holds_and_is_the_market_it_was(engine):
    report = verify_store(GOLDEN, key=KEY.verifier, engine=engine)
    assert report.holds
    assert (report.commands, report.events, report.published) == (35, 87, 86)
    assert (report.state_hash, report.root.hex()) == (STATE, ROOT)
    for number in range(0, report.published, 7):
        read_receipt(GOLDEN, number).check(KEY.verifier)


@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_the_golden_store_is_made_again_byte_for_byte(tmp_path, engine):
    make(tmp_path / "store", engine)
    names = {path.relative_to(GOLDEN): path for path in GOLDEN.rglob("*") if path.is_file()}
    made = {path.relative_to(tmp_path / "store"): path for path in (tmp_path / "store").rglob("*") if path.is_file()}
    assert {name for name in made if name.name != "lock"} == set(names)
    for name, path in names.items():
        assert made[name].read_bytes() == path.read_bytes(), name


def test_the_golden_store_goes_on(tmp_path):
    path = shutil.copytree(GOLDEN, tmp_path / "store")
    with Exchange.open(path, signer=KEY, engine="reference") as market:
        assert market.state_hash() == STATE
        assert market.deposit(account=2, amount=1)
        market.publish()
    assert verify_store(path, key=KEY.verifier, engine="reference").commands == 36
