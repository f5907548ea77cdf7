"""Commands that are awaited: one sync for all who wait, safe under cancellation, from one thread."""

from __future__ import annotations

import asyncio
import errno
import inspect
import threading

import pytest

from crashes import STORE, FaultyDisk
from rightsx import Exchange, MisuseError, RefusedError, StoreFailedError, kept, storage
from rightsx.disk import RealDisk

pytestmark = pytest.mark.unaudited


@pytest.fixture
def disk(monkeypatch):
    """Have markets open their stores on a disk in memory."""
    disk = FaultyDisk()
    usual = storage.open_twin
    monkeypatch.setattr(storage, "open_twin", lambda path, make, **given: usual(path, make, disk=disk, **given))
    return disk


def opened(**options):
    return Exchange.open(STORE, engine="reference", **options)


def syncs(disk):
    return sum(name == "sync" for name, _ in disk.log)


def test_whoever_waits_together_shares_a_sync(disk):
    async def main():
        with opened() as market:
            before = syncs(disk)
            ann = await market.open_account_durable()
            one = syncs(disk) - before
            many = await asyncio.gather(*(market.deposit_durable(account=ann, amount=1) for _ in range(100)))
            assert (one, syncs(disk) - before) == (1, 2)
            assert [result.command_seq for result in many] == list(range(2, 102))
            assert market.account(ann).cash_free == 100

    asyncio.run(main())


def test_what_was_awaited_survives_a_crash_and_what_was_not_may_not(disk):
    async def main():
        market = opened()
        await market.open_account_durable()
        waiting = asyncio.ensure_future(market.deposit_durable(account=1, amount=5))
        await asyncio.sleep(0)
        crashed = disk._of({path: inode.after_crash(Losing()) for path, inode in disk.safe_names.items()})
        await waiting
        return crashed, disk.copy()

    class Losing:
        def randrange(self, _):
            return 1

    crashed, after = asyncio.run(main())
    for state, commands in ((crashed, 1), (after, 2)):
        disk.files = state.files
        with opened() as market:
            assert market.command_seq == commands


@pytest.mark.usefixtures("disk")
def test_a_cancelled_caller_has_not_taken_its_command_back():
    async def main():
        with opened() as market:
            await market.open_account_durable()
            calls = [asyncio.ensure_future(market.deposit_durable(account=1, amount=1)) for _ in range(3)]
            await asyncio.sleep(0)
            calls[0].cancel()
            done = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(done[0], asyncio.CancelledError)
            assert all(done[1:])
            assert market.account(1).cash_free == 3

    asyncio.run(main())


def test_a_refusal_or_a_wrong_call_is_told_at_once(disk):
    async def main():
        with opened() as market:
            assert (await market.deposit_durable(account=9, amount=1)).refused
            with pytest.raises(MisuseError, match="amount"):
                await market.deposit_durable(account=9, amount=1.5)
            assert market.command_seq == 1
        with opened(raise_on_refusal=True) as market:
            with pytest.raises(RefusedError):
                await market.deposit_durable(account=9, amount=1)
            assert market.command_seq == 2
        assert disk.calls

    asyncio.run(main())


def test_a_sync_that_fails_is_told_to_all_who_wait(disk):
    async def main():
        market = opened()
        await market.open_account_durable()
        calls = [asyncio.ensure_future(market.deposit_durable(account=1, amount=1)) for _ in range(3)]
        await asyncio.sleep(0)
        disk.error, disk.fail_at = errno.EIO, disk.calls + 1
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, OSError)
        with pytest.raises(StoreFailedError):
            await market.deposit_durable(account=1, amount=1)
        market.close()

    asyncio.run(main())


@pytest.mark.usefixtures("disk")
def test_every_verb_has_a_durable_form_and_nothing_else_has():
    async def main():
        with opened() as market:
            verbs = {name for name in dir(Exchange) if not name.startswith("_") and kept.is_verb(Exchange, name)}
            assert {"place", "amend", "cancel", "redeem", "list_series", "advance", "apply_batch"} <= verbs
            assert len(verbs) > 30
            for name in verbs:
                assert inspect.iscoroutinefunction(getattr(market, name + "_durable").func)
            for name in ("depth_durable", "_durable", "series_durable", "deposits"):
                with pytest.raises(AttributeError):
                    getattr(market, name)
            await market.advance_durable(to=5)
            assert market.clock_ns == 5

    asyncio.run(main())
    with pytest.raises(MisuseError, match="in memory"):
        asyncio.run(Exchange(engine="reference").advance_durable(to=5))


def test_another_thread_is_refused_before_it_touches_anything(tmp_path):
    with Exchange.open(tmp_path / "store", engine="reference") as market:
        market.open_account()
        errors = []

        def other():
            for call in (lambda: market.deposit(account=1, amount=1), lambda: market.apply_batch(market_rows())):
                try:
                    call()
                except MisuseError as error:
                    errors.append(str(error))

        def market_rows():
            from rightsx.protocol import command_records  # noqa: PLC0415

            return command_records([])

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert [error[:40] for error in errors] == ["a kept market takes commands from the th"] * 2
        assert market.deposit(account=1, amount=1).command_seq == 2
    assert RealDisk().exists(tmp_path / "store" / "store.json")


# ── publishing by itself ─────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("disk")
def test_a_server_publishes_by_itself_whenever_something_happened():
    async def main():
        with opened() as market:
            sizes = []
            async with market.publishing(every=0.01):
                ann = await market.open_account_durable()
                for _ in range(3):
                    await market.deposit_durable(account=ann, amount=1)
                    before = market.journal.size
                    for _ in range(4_000):
                        if market.journal.promised is not None and market.journal.promised.size > before:
                            break
                        await asyncio.sleep(0.005)
                    sizes.append(market.journal.promised.size)
                await asyncio.sleep(0.05)
                assert market.journal.promised.size == sizes[-1], "nothing happened since"
                market.deposit(account=ann, amount=1)
            assert market.journal.promised.size == market.journal.size == sizes[-1] + 2
            return sizes

    assert sorted(set(sizes := asyncio.run(main()))) == sizes


@pytest.mark.usefixtures("disk")
def test_a_publication_that_fails_ends_the_block_with_what_it_raised(monkeypatch):
    async def main():
        with opened() as market:
            market.open_account()
            monkeypatch.setattr(market, "publish", fails)
            async with market.publishing(every=0.01):
                await asyncio.sleep(30)

    def fails():
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        asyncio.run(main())


@pytest.mark.usefixtures("disk")
def test_a_block_that_is_left_by_an_error_or_cancelled_publishes_no_more():
    async def failing(market):
        async with market.publishing():
            market.open_account()
            raise ZeroDivisionError

    async def main():
        with opened() as market:
            with pytest.raises(ZeroDivisionError):
                await failing(market)
            assert market.journal.promised is None
            async with asyncio.timeout(0.02):
                async with market.publishing():
                    await asyncio.sleep(30)

    with pytest.raises(TimeoutError):
        asyncio.run(main())


@pytest.mark.parametrize("every", [0, -1, True, "1", float("inf"), float("nan")])
@pytest.mark.usefixtures("disk")
def test_publishing_takes_seconds(every):
    async def main():
        with opened() as market:
            async with market.publishing(every=every):
                pass

    with pytest.raises(MisuseError, match="seconds above 0"):
        asyncio.run(main())


def test_a_market_in_memory_publishes_nothing():
    async def main():
        async with Exchange(engine="reference").publishing():
            pass

    with pytest.raises(MisuseError, match="in memory"):
        asyncio.run(main())
