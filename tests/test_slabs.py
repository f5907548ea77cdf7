"""Memory in slabs: whatever is put into it is read again until it is let go, wherever slabs begin."""

import random

import numpy as np
import pytest

from rightsx import slabs
from rightsx.protocol import EVENT
from rightsx.slabs import Slabs


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("row", [32, EVENT])
def test_rows_are_read_as_they_were_written_until_they_are_let_go(seed, row, monkeypatch):
    chance = random.Random(seed)
    monkeypatch.setattr(slabs, "HUGE_BYTES", 64 * 120)  # so that slabs are full, and used again
    held, first, end = Slabs(row), 0, 0
    model = {}
    for _ in range(300):
        count = chance.choice((0, 1, 2, 5, 17, 100))
        room = held.room(end, count, first=first)
        assert len(room) == count
        assert room.flags.c_contiguous
        room.view(np.uint8)[:] = chance.randrange(256)
        used = chance.randrange(count + 1)  # what is not used is given again
        for at in range(used):
            room[at : at + 1].view(np.uint8)[...] = chance.randrange(256)
            model[end + at] = room[at].tobytes()
        end += used
        if chance.random() < 0.3:
            first = chance.randrange(first, end + 1)
            held.let_go(first)
        assert held.read(first, end - first) == b"".join(model[number] for number in range(first, end))
        begin = chance.randrange(first, end + 1)
        there = list(held.arrays(begin, end))
        assert b"".join(rows.tobytes() for _, rows in there) == b"".join(model[number] for number in range(begin, end))
        at = begin
        for number, rows in there:
            assert number == at
            at += len(rows)


def test_a_room_that_no_slab_has_is_made_for_it():
    held = Slabs(32)
    assert len(held.room(0, 10**6, first=0)) == 10**6


def test_slabs_are_used_again():
    held, end, seen = Slabs(32), 0, {}
    for _ in range(400):
        slab = held.room(end, 10_000, first=max(end - 3, 0)).base
        seen[id(slab)] = slab
        end += 10_000
        held.let_go(end - 3)
    assert len(seen) < 20
