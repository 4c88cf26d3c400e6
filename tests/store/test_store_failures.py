"""Durability before replies, group commit, and what happens when appends fail."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from store_records import HERE, NOTES, GatedJournal, Note, TestClock, delete, full, put, spin

from homeport.store import OutcomeUnknown, Store, StoreClosed, Tx, View
from homeport.store.errors import UnusableFile
from homeport.store.journal import Row
from homeport.store.memory import Fault, MemoryJournal


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 30))


@asynccontextmanager
async def gated(fatal: list[Exception] | None = None) -> AsyncIterator[tuple[Store, GatedJournal, TestClock]]:
    """A store with one durable note ``a``, whose next append waits at the gate."""
    journal, clock = GatedJournal(), TestClock()
    store = Store(journal, [NOTES], clock, fatal=None if fatal is None else fatal.append)
    await store.open()
    journal.gate.set()
    await store.update(put(Note("a")), "test")
    journal.gate.clear()
    journal.started.clear()
    yield store, journal, clock
    journal.gate.set()
    await store.close()


def ids(view: View) -> list[str]:
    return [r.id for r in view.all(NOTES, HERE)]


def step(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine that must not wait."""
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    return stop.value.value


def test_nothing_is_told_before_it_is_durable() -> None:
    async def main() -> None:
        async with gated() as (store, journal, _), store.watch() as watch:
            update = asyncio.create_task(store.update(put(Note("b")), "test"))
            await journal.started.wait()
            read = asyncio.create_task(store.read(ids))
            same = asyncio.create_task(store.update(put(Note("b")), "test"))  # no change, but it saw one

            def exists(tx: Tx) -> None:
                raise KeyError(len(tx.all(NOTES, HERE)))

            refused = asyncio.create_task(store.update(exists, "test"))
            changed = asyncio.create_task(watch.changes())
            await spin()
            assert not any(task.done() for task in (update, read, same, refused, changed))
            assert (store.version, store.durable) == (2, 1)
            assert ids(store.view()) == ["a", "b"]
            journal.gate.set()
            await asyncio.gather(update, same)
            assert await read == ["a", "b"]
            with pytest.raises(KeyError, match="2"):
                await refused
            assert [c.key.id for c in await changed] == ["b"]

    run(main())


def test_a_read_of_durable_state_does_not_even_yield() -> None:
    async def main() -> None:
        async with gated() as (store, _, _):
            assert step(store.read(ids)) == ["a"]

    run(main())


def test_concurrent_commits_share_an_append() -> None:
    async def main() -> None:
        async with gated() as (store, journal, _):
            first = asyncio.create_task(store.update(put(Note("b")), "test"))
            await journal.started.wait()
            rest = [asyncio.create_task(store.update(put(Note(f"c{n}")), "test")) for n in range(50)]
            await spin()
            journal.gate.set()
            await asyncio.gather(first, *rest)
            assert journal.appends == [[1], [2], list(range(3, 53))]
            assert store.counters.largest_append == 50

    run(main())


def test_a_failed_append_is_undone_newest_first_and_reads_go_on() -> None:
    async def main() -> None:
        async with gated() as (store, journal, _), store.watch() as watch:
            await_all = [
                asyncio.create_task(store.update(fn, "test"))
                for fn in (put(Note("a", "blue"), Note("b")), put(Note("a", "green")), delete("a"), put(Note("c")))
            ]
            await journal.started.wait()
            late = asyncio.create_task(store.update(put(Note("d", tags=("t",))), "test"))
            read = asyncio.create_task(store.read(ids))
            bad_read = asyncio.create_task(store.read(lambda view: view.all(NOTES, HERE)[1].id))
            await spin()
            assert ids(store.view()) == ["b", "c", "d"]
            journal.fail = full()
            journal.gate.set()
            results = await asyncio.gather(*await_all, late, return_exceptions=True)
            assert [type(r) for r in results] == [StoreClosed] * 5
            assert "disk is full" in str(results[0])
            assert await read == ["a"]
            with pytest.raises(IndexError):
                await bad_read
            assert step(store.read(ids)) == ["a"]
            view = store.view()
            assert view.all(NOTES, HERE) == [Note("a")] == view.find(NOTES, HERE, "colour", "red")
            assert view.find(NOTES, HERE, "tag", "t") == view.find(NOTES, HERE, "colour", "green") == []
            assert (store.version, store.durable, store.writable) == (1, 1, False)
            assert store.counters.append_failures == 1
            journal.fail = None
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(watch.changes(), 0.01)

    run(main())


def test_writes_stay_closed_until_a_probe_succeeds() -> None:
    async def main() -> None:
        async with gated() as (store, journal, clock):
            journal.fail = full()
            journal.gate.set()
            with pytest.raises(StoreClosed):
                await store.update(put(Note("b")), "test")
            with pytest.raises(StoreClosed):
                await store.update(put(Note("b")), "test")
            assert journal.probes == 0  # not so soon
            clock.time += 1
            failed = await asyncio.gather(
                *(store.update(put(Note("b")), "test") for _ in range(3)), return_exceptions=True
            )
            assert [type(r) for r in failed] == [StoreClosed] * 3
            assert journal.probes == 1
            journal.fail = None
            with pytest.raises(StoreClosed):
                await store.update(put(Note("b")), "test")
            clock.time += 1
            await asyncio.gather(*(store.update(put(Note(f"b{n}")), "test") for n in range(3)))
            assert journal.probes == 2
            assert store.writable
            assert await store.read(ids) == ["a", "b0", "b1", "b2"]
            assert store.durable == 4

    run(main())


def test_an_unknown_outcome_ends_the_process() -> None:
    async def main() -> None:
        fatal: list[Exception] = []
        async with gated(fatal) as (store, journal, clock):
            update = asyncio.create_task(store.update(put(Note("b")), "test"))
            await journal.started.wait()
            read = asyncio.create_task(store.read(ids))
            await spin()
            journal.fail = OutcomeUnknown("fsync")
            journal.gate.set()
            for task in (update, read):
                with pytest.raises(StoreClosed):
                    await task
            assert fatal == [journal.fail]
            journal.fail = None
            clock.time += 100
            with pytest.raises(StoreClosed):
                await store.update(put(Note("c")), "test")
            with pytest.raises(StoreClosed):
                store.view()

    run(main())


def test_a_cancelled_caller_does_not_take_its_commit_back() -> None:
    async def main() -> None:
        async with gated() as (store, journal, _), store.watch() as watch:
            gone = asyncio.create_task(store.update(put(Note("b")), "test"))
            await journal.started.wait()
            queued = asyncio.create_task(store.update(put(Note("c")), "test"))
            kept = asyncio.create_task(store.update(put(Note("d")), "test"))
            await spin()
            gone.cancel()
            queued.cancel()
            await spin()
            assert gone.cancelled()
            assert queued.cancelled()
            journal.gate.set()
            await kept
            assert [c.key.id for c in await watch.changes()] == ["b", "c", "d"]
            assert ids(store.view()) == ["a", "b", "c", "d"]

    run(main())


def test_the_memory_journal_fails_as_it_is_told() -> None:
    async def main() -> None:
        faults = [Fault(), Fault("refused"), Fault(delay=5), Fault("kept")]
        clock = TestClock()
        journal = MemoryJournal(clock, lambda commits: faults.pop(0))
        fatal: list[Exception] = []
        store = Store(journal, [NOTES], clock, fatal=fatal.append)
        await store.open()
        await store.update(put(Note("a")), "test")
        with pytest.raises(StoreClosed):
            await store.update(put(Note("b")), "test")
        clock.time += 1
        before = clock.time
        faults.insert(0, Fault())  # the probe
        await store.update(put(Note("c")), "test")
        assert clock.time == before + 5
        with pytest.raises(StoreClosed):
            await store.update(put(Note("d")), "test")
        assert len(fatal) == 1
        journal.fault = lambda commits: Fault("lost")
        again = Store(journal, [NOTES], clock)
        await again.open()
        assert ids(again.view()) == ["a", "c", "d"]
        with pytest.raises(StoreClosed):
            await again.update(put(Note("e")), "test")
        third = Store(journal, [NOTES], clock)
        await third.open()
        assert ids(third.view()) == ["a", "c", "d"]

    run(main())


def test_garbage_is_not_collected_while_the_journal_is_loaded() -> None:
    class Journal(MemoryJournal):
        collecting = True

        async def load(self, accept: Callable[[Row], Row | None]) -> int:
            self.collecting = gc.isenabled()
            if self.version:
                raise UnusableFile("damaged")
            return await super().load(accept)

    async def main() -> None:
        journal = Journal()
        await Store(journal, [NOTES], TestClock()).open()
        assert (journal.collecting, gc.isenabled()) == (False, True)
        journal.version = 1
        with pytest.raises(UnusableFile):
            await Store(journal, [NOTES], TestClock()).open()
        assert (journal.collecting, gc.isenabled()) == (False, True)

    run(main())
