"""The compiled order book as an object: owns the tables that the kernels of `bare` work on, and feeds them.

    single command ─► ONE ─► own row ──► kernel ──► own 64 reports ─► bytes
    batch          ─► RUN ─► caller's ─► kernel ──► one new array ──► a slice of it
                                          │ FULL: a larger array   GROW: larger tables   then on

`CompiledBook` has the interface of `reference.bare.ReferenceBook` and gives the same reports and the
same `state_hash`. A kernel is never interrupted; between two calls of it Python may be (KeyboardInterrupt,
MemoryError). Then what was applied is applied: HEAD says how many commands are done and how many
reports are written, a command that was in the middle is finished first, and the exception says how
to get the reports (`take_unread`). Whatever moves tables raises HEAD's `held` before and lowers it after,
every step in between may be done twice, and the next call, whichever it is, begins by doing them again
(`settle`). A larger table is made and filled before the first of them is used.

Not for two threads at once: kernels release the GIL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from rightsx._jit import Tables, aligned_zeros, exact, exact_entry, kernel
from rightsx.book import Growth, book_tables, growth_due, growth_install
from rightsx.engine import bookread
from rightsx.engine.bare import (
    BARE_TABLES,
    BUSY,
    COMMANDS,
    DEPTH,
    DONE,
    ENTER,
    FULL,
    GROW,
    LEVELS,
    ONE,
    REPORTS,
    REPORTS_PER_STEP,
    RUN,
    bare_call,
)
from rightsx.engine.spare import Spare
from rightsx.protocol import COMMAND, REPORT, Command, Report, Side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WHAT: Final = "the order book"
FIRST_ORDERS: Final = 1_024
FIRST_NODES: Final = 64
FIRST_LEVELS: Final = 16
SCRATCH_REPORTS: Final = 64
BATCH: Final = 65_536  # commands per call of the kernel, which nothing can interrupt
NO_REPORTS: Final = np.zeros(0, REPORT)


_call: Any = kernel(bare_call)
_exact: Any = exact


def bare_entry(state: int, what: int, a: int, b: int, c: int, d: int, e: int, f: int, g: int) -> int:
    """Call the kernel with ints that Python gives; a single order of theirs has no stop price and no deadline.

    −1, and nothing is done, if a book or an account (b, c) of ONE does not fit a record: its bits would be cut off.
    """
    if _exact(what) == ONE and (_exact(b) | _exact(c)) >> 32 != 0:
        return -1
    number: int = _call(
        _exact(state), _exact(what), _exact(a), _exact(b), _exact(c), _exact(d), _exact(e), _exact(f), _exact(g), 0, 0
    )
    return number


class CompiledBook:
    """`count` order books behind one id space; `ids` is "caller" or "handles". Equal to `ReferenceBook`.

    `report_rows` makes room for so many reports, and for so many more whenever they are full, instead of
    twice the commands; `order_rows` (a power of two) and `node_rows` are the tables to begin with.
    """

    def __init__(
        self,
        count: int,
        ids: Literal["caller", "handles"],
        order_limit: int,
        *,
        report_rows: int | None = None,
        order_rows: int = FIRST_ORDERS,
        node_rows: int = FIRST_NODES,
    ) -> None:
        """Begin with empty books; compiles the kernels the first time ever."""
        assert report_rows is None or report_rows >= REPORTS_PER_STEP, "a command needs room to begin"
        tables = Tables(BARE_TABLES)
        book_tables(tables, sides=2 * count, order_rows=order_rows, node_rows=node_rows, handles=ids == "handles")
        head = tables.arrays[0][0]
        head["live_limit"] = order_limit
        self._open(tables, report_rows)

    def _open(self, tables: Tables, report_rows: int | None) -> None:
        """Stand on these tables, with rows for single commands."""
        self.one_code = ONE
        self.call: Callable[..., int] = exact_entry(bare_entry, 9, WHAT)
        self.state: Any = tables.state
        self._report_rows = report_rows
        # A bytearray, because a slice of one is the fastest copy that Python has.
        self.report_bytes = bytearray((report_rows or SCRATCH_REPORTS) * REPORT.itemsize)
        self._scratch = np.frombuffer(self.report_bytes, REPORT)
        self._command = aligned_zeros(1, COMMAND)
        self._spare = Spare(REPORT)
        self._tables = tables
        self._head = tables.arrays[0][0]
        self._growth: Growth | None = None
        self._rows, self._out = self._command, self._scratch
        self._unread = (0, NO_REPORTS)
        tables.grow(LEVELS, FIRST_LEVELS)
        self._release()

    def __getstate__(self) -> dict[str, Any]:
        """Give what a copy needs: the tables of the books."""
        self.settle()
        return {"arrays": [array.copy() for array in self._tables.arrays[:COMMANDS]], "rows": self._report_rows}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        """Stand on tables of one's own."""
        tables = Tables(BARE_TABLES)
        for index, array in enumerate(kept["arrays"]):
            tables.grow(index, len(array))
            tables.arrays[index][:] = array
        self._open(tables, kept["rows"])

    # ── commands ─────────────────────────────────────────────────────────────────────────────────

    def apply(self, command: Command, index: int = 0) -> list[Report]:
        """Apply one command and give its reports; a refused command changes nothing."""
        rows = np.frombuffer(self.apply_raw(command), REPORT).tolist()
        return [Report(*row)._replace(command_index=index) for row in rows]

    def apply_raw(self, command: Command) -> bytes:
        """Apply one command and give the bytes of its REPORTs."""
        self.settle()
        self._command[0] = tuple(command)
        self._head["command"] = self._head["report"] = 0
        self._rows, self._out = self._command, self._scratch
        return self._complete(1)[1]

    def apply_batch(self, commands: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Apply COMMAND[n] of the kinds PLACE, AMEND, CANCEL and give every REPORT, in `out` if they fit. O(n + reports)."""
        if not self.settle():
            self._unread = (0, NO_REPORTS)
        rows = np.ascontiguousarray(commands)
        if rows.ctypes.data % 8:
            rows = rows.copy()
        if out is None or len(out) < REPORTS_PER_STEP:
            # What is not written to is not paid for: untouched pages of an empty array take no memory.
            out = self._spare.take(self._report_rows or 2 * len(rows) + SCRATCH_REPORTS)[: self._report_rows]
        self._head["command"] = self._head["report"] = 0
        self._hold(rows, out)
        return self._complete(len(rows), batch=True)[0]

    def finish_one(self, ended: int, numbers: tuple[int, ...]) -> bytes:
        """Finish what a call of ONE with these seven numbers began, or could not begin: its reports."""
        if ended == BUSY:
            self.settle()
            ended = self.call(self.state, ONE, *numbers) & 3
            assert ended != BUSY, "a settled book is not busy"
        self._rows, self._out = self._command, self._scratch
        return self._complete(1)[1]

    def keep_single(self) -> None:
        """Keep what a call of ONE had done that an exception cut short after it."""
        if not self.settle() and self._head["command"] and not len(self._unread[1]):
            self._unread = (1, self._scratch[: int(self._head["report"])].copy())

    def take_unread(self) -> tuple[int, np.ndarray]:
        """Give what a call that an exception cut short had done, once: how many commands, and their reports."""
        self.settle()
        unread, self._unread = self._unread, (0, NO_REPORTS)
        return unread

    # ── running ──────────────────────────────────────────────────────────────────────────────────

    def _complete(self, count: int, *, batch: bool = False) -> tuple[np.ndarray, bytes]:
        """Run to command `count` and give all reports, those of a single one as bytes, or settle and let the exception pass."""
        try:
            self._run(count)
            reports = self._out[: int(self._head["report"])]
            raw = b"" if batch else reports.tobytes()
            if self._out is self._scratch:
                reports = reports.copy()
            before, self._unread = self._unread, (count, reports)
            self._release()
            self._unread = before  # The caller has them.
        except BaseException as error:
            self.settle()
            error.add_note(f"{self._unread[0]} of {count} commands were applied; take_unread() gives their reports")
            raise
        return reports, raw

    def _run(self, count: int) -> None:
        """Let the kernel go on to command `count`, in bounded steps, with more room where it asks for it."""
        head = self._head
        done = int(head["command"])
        while done < count:
            ended = self.call(self.state, RUN, min(count, done + BATCH), 0, 0, 0, 0, 0, 0) & 3
            if ended == FULL:
                more = np.empty(len(self._out) + (self._report_rows or len(self._out)), REPORT)
                more[: len(self._out)] = self._out
                self._hold(self._rows, more)
            elif ended == GROW:
                growth = growth_due(self._tables, self._enter_ids)
                head["held"] = 1
                self._growth = growth
                self._grow()
            else:
                assert ended == DONE, "the kernel was entered twice"
            done = int(head["command"])

    def _enter_ids(self, old: int, cells: int, new: int, shift: int) -> int:
        """Enter the ids of one table into a larger one."""
        return self.call(self.state, ENTER, old, cells, new, shift, 0, 0, 0)

    def _grow(self) -> None:
        """Use the larger tables."""
        assert self._growth is not None
        growth_install(self._tables, self._growth)
        self._growth = None
        self._hold(self._rows, self._out)

    def _hold(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Let the kernel read these commands and write to these reports."""
        self._rows, self._out = rows, out
        self._head["held"] = 1
        self._tables.put(COMMANDS, rows)
        self._tables.put(REPORTS, out)
        self._head["report_rows"] = len(out)

    def _release(self) -> None:
        """Let single commands have their own row and reports again."""
        tables = self._tables
        tables.put(COMMANDS, self._command)
        tables.put(REPORTS, self._scratch)
        self._head["report_rows"] = len(self._scratch)
        # Only now may what the kernel wrote to be forgotten.
        self._head["held"] = 0
        self._rows, self._out = self._command, self._scratch

    def settle(self) -> bool:
        """Bring a book that an exception left in the middle of a call to the end of the command that it was at.

        Gives False if there was nothing to do. May raise MemoryError, and then changes nothing that the next `settle`
        cannot finish. O(1) if nothing is to be done.
        """
        head = self._head
        if not head["held"]:
            if not head["resuming"]:
                return False
            self._rows, self._out = self._command, self._scratch
        if self._growth is not None:
            self._grow()
        self._hold(self._rows, self._out)
        if head["resuming"]:
            self._run(int(head["command"]) + 1)
        if head["command"]:
            self._unread = (int(head["command"]), self._out[: int(head["report"])].copy())
        self._release()
        return True

    # ── queries ──────────────────────────────────────────────────────────────────────────────────

    def depth(self, number: int, side: Side, most: int | None = None) -> list[tuple[int, int, int]]:
        """List (price, shown quantity, orders) of one side of a book, best first. O(orders shown)."""
        self.settle()
        if not 0 <= 2 * number < int(self._head["sides"]):
            return []
        at = 2 * int(number) + int(side) - 1
        while True:
            room = len(self._tables.arrays[LEVELS])
            asked = room if most is None else min(room, most)
            count = self.call(self.state, DEPTH, at, asked, 0, 0, 0, 0, 0)
            if count < room or asked == most:
                return [tuple(row) for row in self._tables.arrays[LEVELS][:count].tolist()]
            self._tables.grow(LEVELS, 2 * room)

    def orders(self, number: int, side: Side) -> Iterator[bookread.Resting]:
        """Walk the resting orders of one side in the order in which they would trade. O(orders)."""
        self.settle()
        if not 0 <= 2 * number < int(self._head["sides"]):
            return iter(())
        return bookread.orders_walk(self._tables, 2 * number + side - 1)

    def order(self, order_id: int) -> bookread.Resting | None:
        """Give a live order, or None. O(1)."""
        self.settle()
        slot = bookread.order_slot(self._tables, order_id)
        return bookread.order_read(self._tables, slot) if slot else None

    def check(self) -> None:
        """Assert every invariant of the tables. O(rows)."""
        self.settle()
        bookread.tables_check(self._tables)

    def state_hash(self) -> str:
        """Hash the canonical content: every queue in order, then ids. Equal to the reference's. O(orders)."""
        self.settle()
        return bookread.state_hash(self._tables)

    def memory_hash(self) -> str:
        """Hash the raw tables: equal for equal commands, compiled or not, in batches and buffers of any size. O(rows)."""
        self.settle()
        return bookread.memory_hash(self._tables)
