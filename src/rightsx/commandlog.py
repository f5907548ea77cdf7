"""The command log: the one source of truth of a store, as frames in segments that are filled with zeros ahead.

    log/00000001   [SEGMENT][OPEN][BATCH][BATCH][COLD][BATCH]0000000000000…
                                                  └ header 104 B │ COMMAND[n], or one COMMAND and its payload │ end 8 B

A frame's header says where it stands, which frame it follows (by the checksum of that one's header), which store and which
opening wrote it, how many commands it holds and from which number, a size of the journal before it and the root at that
size, and up to where the log was on the disk when it was written. So a frame that was moved, doubled, left from another time
or taken from another store shows.

How a torn end is told from damage
- Segments are zeros before they are written, and a disk writes whole sectors of 512 bytes. So a write that a crash cut short
  left some of its sectors zero, and one that the system cut short left nothing but zeros behind it. Frames begin and end
  with bytes that are not zero, and no command is all zeros. So a frame that is wrong although no sector of it is zero, and its
  end is there, was written whole and changed later.
- What was acknowledged was synced, and every later frame says so. So a wrong frame is a torn end only if no frame after it
  was written once it had been synced, and each of those stands where it says and is whole, or torn itself: a crash loses
  sectors, it moves and changes none.
- A file shorter than its segment frame says was cut: its size was synced before it got its name.
Anything but a torn end is `CorruptionError` with the file and the byte. What no log can show by itself: that its end was
put back to zeros whole, or its last files removed. A checkpoint that somebody else holds shows that.

Costs: one write and one sync a commit; 112 bytes a frame, 80 a command. Sources: the frames and checks are those of
write-ahead logs in general; that cutting at the first bad record loses data: R. Alagappan and others, "Protocol-aware
recovery for consensus-based storage", FAST 2018.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from rightsx.disk import read_whole
from rightsx.errors import CorruptionError, StoreFailedError
from rightsx.protocol import RULES_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rightsx.disk import Disk, File

MAGIC: Final = b"RXLF"
HEADER_END: Final = b"head"
FRAME_END: Final = b"end!"
FRAME_VERSION: Final = 1
SECTOR: Final = 512
SEGMENT_BYTES: Final = 16 << 20
FILL_BYTES: Final = 1 << 20  # zeros written at a time
OFFSET_BITS: Final = 40  # a place in the log is segment × 2^40 + offset
COMMAND_BYTES: Final = 80
MOST_FRAME_BYTES: Final = 1 << 31
HEADER: Final = struct.Struct("<4sBBH II II II QQQQ 32s I4s".replace(" ", ""))
HEADER_BYTES: Final = HEADER.size
END_BYTES: Final = 8  # the header's checksum once more, and FRAME_END
_CHECKED: Final = HEADER_BYTES - 8  # of these bytes the header's checksum is taken

SEGMENT_BODY: Final = 40  # the size of the file and the digest of the store's header

assert HEADER_BYTES == 104  # noqa: PLR2004 - FORMATS.md


class FrameKind(IntEnum):
    """What a frame holds."""

    SEGMENT = 1  # the first of each file: the size of the file (8 bytes) and the store's header (32 bytes, its SHA-256)
    OPEN = 2  # a writer began
    BATCH = 3  # COMMAND[n] of hot kinds
    COLD = 4  # one COMMAND and its payload
    CLOSE = 5  # a writer ended as it should


class Frame(NamedTuple):
    """One frame: its header, in its order, and its body."""

    kind: int
    length: int
    commands: int
    epoch: int
    tag: int
    previous: int
    body_crc: int
    place: int
    durable: int
    first_seq: int
    journal_size: int
    root: bytes
    crc: int
    body: bytes


class End(NamedTuple):
    """Where a log goes on: the place after the last frame, and what the next frame must know of it."""

    place: int
    crc: int
    epoch: int
    next_seq: int
    torn: int  # bytes after the place that are left of a write that was cut short


def segment_path(folder: Path, number: int) -> Path:
    """Name the file of a segment, from 1."""
    return folder / f"{number:08d}"


def place_words(place: int) -> tuple[int, int]:
    """Split a place in the log into the segment and the offset."""
    return place >> OFFSET_BITS, place & (1 << OFFSET_BITS) - 1


def pack_frame(frame: Frame) -> tuple[bytes, int]:
    """Give a frame's bytes and the checksum of its header, working out lengths and checksums."""
    padding = -len(frame.body) % 8
    body = frame.body + bytes(padding) if padding else frame.body
    head = HEADER.pack(
        MAGIC,
        frame.kind,
        FRAME_VERSION,
        RULES_VERSION,
        frame_bytes(len(body)),
        frame.commands,
        frame.epoch,
        frame.tag,
        frame.previous,
        zlib.crc32(body),
        frame.place,
        frame.durable,
        frame.first_seq,
        frame.journal_size,
        frame.root,
        0,
        HEADER_END,
    )
    crc = zlib.crc32(head[:_CHECKED])
    mark = crc.to_bytes(4, "little")
    return b"".join((head[:_CHECKED], mark, HEADER_END, body, mark, FRAME_END)), crc


def frame_bytes(body_bytes: int) -> int:
    """Say how many bytes a frame has."""
    return HEADER_BYTES + body_bytes + -body_bytes % 8 + END_BYTES


def unpack_header(data: bytes, offset: int) -> tuple[Frame, int] | None:
    """Read a header that is right by itself, with its rules version; the body is left empty. None if it is not right."""
    head = data[offset : offset + HEADER_BYTES]
    if len(head) < HEADER_BYTES or head[:4] != MAGIC:
        return None
    _, kind, version, rules, *numbers, root, crc, end = HEADER.unpack(head)
    if zlib.crc32(head[:_CHECKED]) != crc or end != HEADER_END or version != FRAME_VERSION:
        return None
    if numbers[0] < frame_bytes(0) or numbers[0] % 8:
        return None
    return Frame._make((kind, *numbers, root, crc, b"")), rules


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


class LogReader:
    """Walks through a log frame by frame and judges its end.

    `tag` is the store's, `header` the SHA-256 of its header; `start` is where to begin, the end that an earlier walk
    had, and files before it are not looked at. After the walk `end` says where the log goes on. Raises
    `CorruptionError` for anything that no crash can have left, and under `strict` for a torn end, too.
    """

    def __init__(
        self, disk: Disk, folder: Path, *, tag: int, header: bytes, strict: bool = False, start: End | None = None
    ) -> None:
        """Read nothing yet."""
        self._disk = disk
        self._folder = folder
        self._tag = tag
        self._header = header
        self._strict = strict
        self.end = start or End(0, 0, 0, 1, 0)
        self.size_bytes = 0

    def segments(self) -> list[int]:
        """List the numbers of the files there are; what is not named as one is passed over."""
        return [int(name) for name in self._disk.names(self._folder) if name.isdigit() and len(name) == 8]  # noqa: PLR2004

    def __iter__(self) -> Iterator[Frame]:
        """Give all frames but those that begin segments in order, each checked."""
        begin, inside = place_words(self.end.place)
        numbers = [number for number in self.segments() if number >= begin]
        for due, number in enumerate(numbers, max(begin, 1)):
            path = segment_path(self._folder, number)
            if number != due:
                raise CorruptionError(f"segment {due} is missing before it", path)
            yield from self._walk(path, number, numbers[due - max(begin, 1) + 1 :], inside if number == begin else 0)
        if begin and not numbers:
            raise CorruptionError("the log ends before this segment, which a snapshot names", segment_path(self._folder, begin))

    def _walk(self, path: Path, number: int, later: list[int], start: int) -> Iterator[Frame]:
        data = read_whole(self._disk, path)
        self.size_bytes += len(data)
        offset = start
        if start:
            self._check_size(unpack_header(data, 0), data, path)
            if data[start - END_BYTES : start] != self.end.crc.to_bytes(4, "little") + FRAME_END:
                raise CorruptionError("the frame before a snapshot is not there", path, start - END_BYTES)
        while True:
            frame = self._frame(data, offset, path, number, later)
            if frame is None:
                break
            offset += frame.length
            if frame.kind != FrameKind.SEGMENT:
                yield frame
        if offset == 0:
            raise CorruptionError("a segment begins with no frame", path, 0)

    def _check_size(self, found: tuple[Frame, int] | None, data: bytes, path: Path) -> None:
        """Hold a file's size against what its first frame says, where that frame itself is not walked over."""
        body = data[HEADER_BYTES:][:SEGMENT_BODY]
        if found is None or zlib.crc32(body) != found[0].body_crc:
            raise CorruptionError("a frame was changed after it was written", path, 0)
        stated = int.from_bytes(body[:8], "little")
        if stated != len(data):
            raise CorruptionError(f"the segment has {len(data)} bytes; it was made with {stated}", path, min(stated, len(data)))

    def _frame(self, data: bytes, offset: int, path: Path, number: int, later: list[int]) -> Frame | None:
        """Read the frame at an offset; None where the segment ends, torn or not."""
        if not any(data[offset : offset + HEADER_BYTES]) and not np.frombuffer(data, np.uint8)[offset:].any():
            return None
        found = unpack_header(data, offset)
        frame = None if found is None else found[0]
        if frame is not None:
            body = _body(data, offset, frame)
            if body is not None:
                frame = frame._replace(body=body)
                assert found is not None
                self._follows(frame, found[1], offset, path, number, len(data))
                self.end = End(frame.place + frame.length, frame.crc, frame.epoch, frame.first_seq + frame.commands, 0)
                return frame
        self._judge_tail(data, offset, path, number, later, frame)
        return None

    def _follows(self, frame: Frame, rules: int, offset: int, path: Path, number: int, file_bytes: int) -> None:
        """Refuse a frame that is right by itself, and does not belong here."""
        end = self.end
        segment = frame.kind == FrameKind.SEGMENT
        claims = (
            (frame.kind in FrameKind._value2member_map_, f"a frame is of kind {frame.kind}"),
            (rules == RULES_VERSION, f"a frame is of rules version {rules}; this is {RULES_VERSION}"),
            (frame.tag == self._tag, "a frame is of another store"),
            (frame.place == (number << OFFSET_BITS) + offset, "a frame stands elsewhere than it says"),
            (frame.previous == end.crc, "a frame does not follow the one before it"),
            (segment == (offset == 0), "a segment's frame is the first of its file, and no other is"),
            (frame.epoch == end.epoch + (frame.kind == FrameKind.OPEN), f"a frame is of opening {frame.epoch} after {end.epoch}"),
            (frame.first_seq == end.next_seq, f"a frame begins with command {frame.first_seq}; {end.next_seq} is next"),
            (
                frame.kind != FrameKind.BATCH or len(frame.body) == COMMAND_BYTES * frame.commands,
                "a frame is not as long as its commands",
            ),
            (frame.kind != FrameKind.COLD or frame.commands == 1, "a frame of a cold command has one"),
        )
        for holds, claim in claims:
            if not holds:
                raise CorruptionError(claim, path, offset)
        if segment:
            if len(frame.body) != SEGMENT_BODY or frame.body[8:] != self._header:
                raise CorruptionError("the segment was begun under another header of the store", path, offset)
            stated = int.from_bytes(frame.body[:8], "little")
            if stated != file_bytes:
                raise CorruptionError(
                    f"the segment has {file_bytes} bytes; it was made with {stated}", path, min(stated, file_bytes)
                )

    def _judge_tail(self, data: bytes, offset: int, path: Path, number: int, later: list[int], head: Frame | None) -> None:
        """Let a torn end pass, and refuse damage."""
        place = (number << OFFSET_BITS) + offset
        if offset == 0 or not _looks_torn(data, offset, head):
            raise CorruptionError("a frame was changed after it was written", path, offset)
        if later:
            raise CorruptionError("a frame is cut short, and a later segment exists", path, offset)
        for at in _frames_after(data, offset + 8):
            found = unpack_header(data, at)
            assert found is not None
            after = found[0]
            if (after.tag, after.place) != (self._tag, (number << OFFSET_BITS) + at):
                raise CorruptionError(f"a frame is cut short, and the one at byte {at} was written elsewhere", path, offset)
            if _body(data, at, after) is None and not _looks_torn(data, at, after):
                raise CorruptionError(
                    f"a frame is cut short, and the one at byte {at} was changed after it was written", path, at
                )
            if after.durable > place:
                raise CorruptionError(
                    f"a frame is cut short, and the one at byte {at} was written after it was safe", path, offset
                )
        torn = len(data[offset:].rstrip(b"\0"))
        if self._strict:
            raise CorruptionError(f"the log ends in {torn} bytes of a write that was cut short", path, offset)
        self.end = self.end._replace(torn=torn)


def _body(data: bytes, offset: int, frame: Frame) -> bytes | None:
    """Give the body of the frame whose header stands at an offset, or None if it is not as it was written."""
    end = offset + frame.length
    body = data[offset + HEADER_BYTES : end - END_BYTES]
    whole = data[end - END_BYTES : end] == frame.crc.to_bytes(4, "little") + FRAME_END
    return body if whole and zlib.crc32(body) == frame.body_crc else None


def _looks_torn(data: bytes, offset: int, head: Frame | None) -> bool:
    """Say whether a wrong frame is one that was cut short: a sector that it should have written is zero, or all after a byte."""
    # Without a header the length is unknown: then a part of the header itself must be missing.
    end = offset + (HEADER_BYTES if head is None else head.length)
    if len(data[offset:].rstrip(b"\0")) < end - offset:
        return True
    return any(not any(data[start:stop]) for start, stop in _sectors(offset, min(end, len(data))))


def _sectors(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a range at the borders of sectors."""
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        yield start, stop
        start = stop


def _frames_after(data: bytes, offset: int) -> Iterator[int]:
    """Find headers that are right by themselves."""
    at = data.find(MAGIC, offset)
    while at >= 0:
        if at % 8 == 0 and unpack_header(data, at) is not None:
            yield at
        at = data.find(MAGIC, at + 1)


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


class LogWriter:
    """Appends frames to a log; one object a log at a time.

    After a write or a sync that failed it refuses everything: `StoreFailedError`.
    """

    def __init__(
        self, disk: Disk, folder: Path, end: End, *, tag: int, header: bytes, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Go on where a log ends; what is left of a torn write is put back to zeros first. The first frame must be OPEN."""
        self._disk = disk
        self._folder = folder
        self._tag = tag
        self._header = header
        self._segment_bytes = segment_bytes
        self._file: File | None = None
        self._file_bytes = 0
        self._end = end
        self._durable = end.place
        self.failed = False
        number, offset = place_words(end.place)
        if number:
            self._file = disk.open(segment_path(folder, number))
            self._file_bytes = self._file.size()
            if end.torn:
                self._file.write(offset, bytes(end.torn))
            # A process before may have been killed between a write and its sync; frames state what is safe.
            self._file.sync()
        self._end = end._replace(torn=0)

    @property
    def next_seq(self) -> int:
        """The number that the next command takes."""
        return self._end.next_seq

    @property
    def end(self) -> End:
        """Where the log goes on."""
        return self._end

    @property
    def durable_place(self) -> int:
        """The place up to which everything is safe."""
        return self._durable

    def append(self, kind: FrameKind, count: int, body: bytes, journal_size: int, root: bytes) -> None:
        """Write a frame; it is safe after `sync`."""
        if self.failed:
            raise StoreFailedError("a write to this store failed before; open it anew")
        if len(body) > MOST_FRAME_BYTES:
            raise StoreFailedError(f"a frame of {len(body)} bytes is larger than the format allows")
        try:
            length = frame_bytes(len(body))
            if place_words(self._end.place)[1] + length > self._file_bytes:
                self._begin_segment(length, journal_size, root)
            if kind == FrameKind.OPEN:
                self._end = self._end._replace(epoch=self._end.epoch + 1)
            self._write(kind, count, body, journal_size, root)
        except BaseException:
            self.failed = True
            raise

    def sync(self) -> None:
        """Make everything appended so far safe."""
        if self.failed:
            raise StoreFailedError("a write to this store failed before; open it anew")
        if self._file is not None and self._durable < self._end.place:
            try:
                self._file.sync()
            except OSError:
                self.failed = True
                raise
            self._durable = self._end.place

    def _write(self, kind: FrameKind, count: int, body: bytes, journal_size: int, root: bytes) -> None:
        assert self._file is not None
        end = self._end
        frame = Frame(
            kind, 0, count, end.epoch, self._tag, end.crc, 0, end.place, self._durable, end.next_seq, journal_size, root, 0, body
        )
        data, crc = pack_frame(frame)
        self._file.write(place_words(end.place)[1], data)
        self._end = End(end.place + len(data), crc, end.epoch, end.next_seq + count, 0)

    def _begin_segment(self, length: int, journal_size: int, root: bytes) -> None:
        """Make the next file, filled with zeros, and safe with its name before anything is written to it."""
        self.sync()
        number = place_words(self._end.place)[0] + 1
        path = segment_path(self._folder, number)
        aside = path.with_name(path.name + ".new")
        if self._disk.exists(aside):
            self._disk.remove(aside)
        size = max(self._segment_bytes, frame_bytes(SEGMENT_BODY) + length)
        size += -size % SECTOR
        file = self._disk.open(aside, create=True)
        try:
            for at in range(0, size, FILL_BYTES):
                file.write(at, bytes(min(FILL_BYTES, size - at)))
        except BaseException:
            file.close()
            raise
        if self._file is not None:
            self._file.close()
        self._file, self._file_bytes = file, size
        self._end = self._end._replace(place=number << OFFSET_BITS)
        self._write(FrameKind.SEGMENT, 0, size.to_bytes(8, "little") + self._header, journal_size, root)
        file.sync()
        self._disk.rename(aside, path)
        self._disk.sync_directory(self._folder)
        self._durable = self._end.place

    def close(self) -> None:
        """Close the file; what was not synced is not made safe."""
        self.failed = True
        if self._file is not None:
            self._file.close()
            self._file = None
