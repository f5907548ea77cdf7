"""Order flow comes back from NumPy's files as it was, and nothing else comes out of them."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib

import numpy as np
import pytest

from backtesting import some_feed
from rightsx.cli import main
from rightsx.errors import InputFileError, MisuseError
from rightsx.loaders import load_flow, save_flow
from rightsx.protocol import COMMAND

FLOW = some_feed(2, 40, [3, 4])


@pytest.mark.parametrize("name", ["flow.npy", "flow.npz"])
@pytest.mark.parametrize("rows", [FLOW, FLOW[:0], FLOW[::2]])
def test_a_flow_comes_back_as_it_was(tmp_path, name, rows):
    save_flow(tmp_path / name, rows)
    read = load_flow(str(tmp_path / name))
    assert read.dtype == COMMAND
    assert read.tobytes() == rows.tobytes()
    assert read.flags.writeable


def test_numpy_and_we_read_each_others_files(tmp_path):
    save_flow(tmp_path / "flow.npy", FLOW)
    assert np.load(tmp_path / "flow.npy", allow_pickle=False).tobytes() == FLOW.tobytes()
    np.savez(tmp_path / "flow.npz", trades=np.zeros(3), commands=FLOW)
    assert load_flow(tmp_path / "flow.npz").tobytes() == FLOW.tobytes()


def test_what_simulate_writes_can_be_loaded(tmp_path, capsys):
    path = tmp_path / "market.npz"
    assert main(["simulate", "--days", "2", "--holders", "5", "--to", str(path)]) == 0
    with np.load(path) as told:
        assert load_flow(path).tobytes() == told["commands"].tobytes()
    assert capsys.readouterr().out


@pytest.mark.parametrize("name", ["flow.npy", "flow.npz"])
def test_progress_is_told_of_commands(tmp_path, monkeypatch, name):
    monkeypatch.setattr("rightsx.loaders.flow.ROWS_AT_ONCE", 32)
    heard = []
    flow = np.concatenate([FLOW, FLOW])[:80]
    save_flow(tmp_path / name, flow, progress=lambda *told: heard.append(told))
    assert heard == [(0, 80), (32, 80), (64, 80), (80, 80)]
    assert load_flow(tmp_path / name, progress=lambda *told: heard.append(told)).tobytes() == flow.tobytes()
    assert heard[4:] == heard[:4]
    with pytest.raises(MisuseError, match="progress was 'yes'"):
        load_flow(tmp_path / name, progress="yes")


@pytest.mark.parametrize("name", ["flow.npy", "flow.npz"])
def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(tmp_path, monkeypatch, name):
    """As on a full disk, or when Ctrl-C comes in the midst of it."""
    monkeypatch.setattr("rightsx.loaders.flow.ROWS_AT_ONCE", 32)
    save_flow(tmp_path / name, FLOW[:9])

    def stop(done, _total):
        if done:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        save_flow(tmp_path / name, FLOW, progress=stop)
    assert load_flow(tmp_path / name).tobytes() == FLOW[:9].tobytes()
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_flow_is_written_through_a_link_and_beside_files_of_others(tmp_path):
    (tmp_path / "flow.npy.part").write_bytes(b"somebody's")
    (tmp_path / "there").mkdir()
    (tmp_path / "flow.npy").symlink_to(tmp_path / "there" / "flow.npy")
    save_flow(tmp_path / "flow.npy", FLOW)
    assert (tmp_path / "flow.npy").is_symlink()
    assert load_flow(tmp_path / "there" / "flow.npy").tobytes() == FLOW.tobytes()
    assert (tmp_path / "flow.npy.part").read_bytes() == b"somebody's"
    (tmp_path / "there" / "flow.npy").chmod(0o600)
    save_flow(tmp_path / "flow.npy", FLOW[:3])
    assert (tmp_path / "there" / "flow.npy").stat().st_mode & 0o777 == 0o600
    (tmp_path / "plain").touch()
    save_flow(tmp_path / "new.npy", FLOW[:3])
    assert (tmp_path / "new.npy").stat().st_mode == (tmp_path / "plain").stat().st_mode


def packed(**arrays):
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def plain(array, **options):
    out = io.BytesIO()
    np.save(out, array, **options)
    return out.getvalue()


def headed(count):
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": COMMAND.descr, "fortran_order": False, "shape": (count,)})
    return out.getvalue() + FLOW.tobytes()


WRONG = {
    "an empty .npy": ("f.npy", b"", "a head of NumPy's was expected"),
    "an empty .npz": ("f.npz", b"", "a sound .npz file was expected"),
    "no .npy": ("f.npy", b"time_ns,kind\n1,2\n", "a head of NumPy's was expected"),
    "no member": ("f.npz", packed(trades=FLOW), "a member commands.npy was expected; trades.npy is there"),
    "floats": ("f.npy", plain(np.zeros(3)), "COMMAND\\[n\\] was expected, 1 dimensions of float64"),
    "other records": ("f.npz", packed(commands=np.zeros(3, [("a", "<i8")])), "1 dimensions of a were found"),
    "two dimensions": ("f.npy", plain(FLOW[:4].reshape(2, 2)), "2 dimensions"),
    "objects": ("f.npy", plain(np.array([{}], object), allow_pickle=True), "1 dimensions of object"),
    "cut": ("f.npy", plain(FLOW)[:-1], "41 commands of 80 bytes were expected, 3279 bytes were found"),
    "too long": ("f.npy", plain(FLOW) + b"\0", "41 commands of 80 bytes were expected, 3281 bytes were found"),
    "many rows": ("f.npy", headed(10**13), "10000000000000 commands of 80 bytes"),
    "cut .npz": ("f.npz", packed(commands=FLOW)[:-40], "a sound .npz file was expected"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_flow_is_refused_in_a_line(tmp_path, case):
    name, content, told = WRONG[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputFileError, match=told) as raised:
        load_flow(tmp_path / name)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / name))


def test_what_is_not_there_is_refused(tmp_path):
    for name in ("f.npy", "f.npz"):
        with pytest.raises(InputFileError, match="a readable file was expected: No such file"):
            load_flow(tmp_path / name)


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_a_bit_flipped_anywhere_is_refused_or_another_number(tmp_path, form):
    raw = bytearray(plain(FLOW) if form == "npy" else packed(commands=FLOW))
    chance, path = random.Random(8), tmp_path / f"f.{form}"
    for _ in range(600):
        at, bit = chance.randrange(len(raw) if form == "npz" else 200), 1 << chance.randrange(8)
        raw[at] ^= bit
        path.write_bytes(raw)
        raw[at] ^= bit
        try:
            read = load_flow(path)
        except InputFileError:
            continue
        assert read.dtype == COMMAND
        assert form == "npy" or read.tobytes() == FLOW.tobytes()


def archive(member, method):
    """Pack one member, and give the bytes and where the directory at their end begins."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as bundle:
        bundle.writestr("commands.npy", member)
    raw = bytearray(out.getvalue())
    return raw, raw.index(b"PK\x01\x02")


def bad_block():
    raw, _ = archive(plain(FLOW), zipfile.ZIP_DEFLATED)
    raw[30 + len("commands.npy")] = 0xFF  # of deflate: a kind of block that there is not
    return raw


def data_that_end_early():
    raw, at = archive(headed(100), zipfile.ZIP_STORED)
    size = len(headed(100)) + (100 - len(FLOW)) * COMMAND.itemsize
    raw[at + 20 : at + 28] = struct.pack("<2I", size, size)
    return raw


def unknown_packing():
    raw, at = archive(plain(FLOW), zipfile.ZIP_STORED)
    raw[at + 10] = 99
    return raw


def name_that_is_no_text():
    raw, at = archive(plain(FLOW), zipfile.ZIP_STORED)
    raw[at + 9] |= 8  # the names are UTF-8
    raw[at + 46] = 0xFF
    return raw


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (bad_block, zlib.error),
        (data_that_end_early, EOFError),
        (unknown_packing, NotImplementedError),
        (name_that_is_no_text, UnicodeDecodeError),
        (lambda: b"PK", zipfile.BadZipFile),
    ],
)
def test_whatever_zipfile_raises_is_one_error(tmp_path, make, cause):
    (tmp_path / "f.npz").write_bytes(make())
    with pytest.raises(InputFileError, match=r"a sound \.npz file was expected") as raised:
        load_flow(tmp_path / "f.npz")
    assert type(raised.value.__cause__) is cause


def test_a_wrong_call_is_misuse(tmp_path):
    for wrong in (np.zeros(3), FLOW.tolist(), FLOW.reshape(1, -1), np.zeros((), COMMAND)):
        with pytest.raises(MisuseError, match="COMMAND"):
            save_flow(tmp_path / "f.npy", wrong)
    for call in (load_flow, lambda path: save_flow(path, FLOW)):
        with pytest.raises(MisuseError, match=r"\.npy or \.npz is due"):
            call(tmp_path / "f.csv")
