"""Reading the change log by versions, and following the store: nothing is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from store_records import HERE, NOTES, OTHERS, THERE, Note, Opened, Other, TestClock, delete, put

from homeport.store import Past, Store, Table, change_log, follow, past
from homeport.store.sql import TRIM_EVERY, SqliteJournal

NOTE, OTHER = NOTES.kind, OTHERS.kind


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


def versions(part: Past) -> list[tuple[int, str]]:
    return [(change.version, change.key.id) for change in part.changes]


async def _some(store: Store) -> None:
    await store.update(put(Note("a"), Note("b")), "made")
    await store.update(lambda tx: tx.put(OTHERS, HERE, Other("o")), "made")
    await store.update(put(Note("a", "blue"), scope=THERE), "made")
    await store.update(put(Note("b", "green"), Note("c")), "painted")
    await store.update(delete("a"), "burnt")


def test_changes_come_by_version_and_kind_with_their_records(opened: Opened) -> None:
    async def main() -> None:
        async with opened() as store:
            await _some(store)
        async with opened() as store:
            whole = await store.logged(0, [NOTE, OTHER])
            assert versions(whole) == [(1, "a"), (1, "b"), (2, "o"), (3, "a"), (4, "b"), (4, "c"), (5, "a")]
            assert (whole.version, whole.oldest) == (5, 1)
            assert versions(await store.logged(3, [NOTE])) == [(4, "b"), (4, "c"), (5, "a")]
            assert versions(await store.logged(0, [OTHER])) == [(2, "o")]
            assert versions(await store.logged(5, [NOTE, OTHER])) == []
            made, painted, burnt = whole.changes[0], whole.changes[4], whole.changes[6]
            assert (made.old, made.new, made.cause, made.at) == (None, Note("a"), "made", TestClock().wall())
            assert (painted.old, painted.new) == (Note("b"), Note("b", "green"))
            assert (burnt.old, burnt.new, burnt.key.scope) == (Note("a"), None, HERE)
            assert whole.changes[3].key.scope == THERE

    run(main())


def test_pages_hold_whole_versions(opened: Opened) -> None:
    async def main() -> None:
        async with opened() as store:
            await _some(store)
            seen, after = [], 0
            while after < store.durable:
                page = await store.logged(after, [NOTE], limit=1)
                assert page.version > after
                seen.append(versions(page))
                after = page.version
            assert seen == [[(1, "a"), (1, "b")], [(3, "a")], [(4, "b"), (4, "c")], [(5, "a")]]

    run(main())


def test_what_is_older_than_asked_for_is_passed_over(opened: Opened) -> None:
    async def main() -> None:
        async with opened() as store:
            await store.update(put(Note("a")), "early")
            store._clock.time += 60  # type: ignore[attr-defined]
            await store.update(put(Note("b")), "late")
            page = await store.logged(0, [NOTE], since=store._clock.wall())
            assert (versions(page), page.version) == ([(2, "b")], 2)

    run(main())


def test_an_empty_log(opened: Opened) -> None:
    async def main() -> None:
        async with opened() as store:
            assert await store.logged(0, [NOTE]) == Past((), 0, 0)
            assert [part async for part in past(store, [NOTE], 0)] == []

    run(main())


def test_what_an_older_program_wrote_otherwise_is_left_out(tmp_path: Path) -> None:
    import msgspec

    class Painted(msgspec.Struct, frozen=True):
        id: str
        colour: int

    painted: Table[Painted] = Table(
        "note", Painted, id=lambda r: r.id, schema=2, upgrades={1: lambda b: b | {"colour": len(b["colour"])}}
    )

    async def main() -> None:
        store = Store(SqliteJournal(tmp_path / "state.db"), [NOTES], TestClock())
        await store.open()
        await store.update(put(Note("a")), "test")
        await store.close()
        newer = Store(SqliteJournal(tmp_path / "state.db"), [painted], TestClock())
        await newer.open()
        await newer.update(lambda tx: tx.put(painted, HERE, Painted("b", 1)), "test")
        assert versions(await newer.logged(0, [NOTE])) == [(2, "b")]
        await newer.close()

    run(main())


def test_a_long_log_is_read_in_parts_from_any_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_log, "ROWS_LOOKED_AT", 7)

    async def main() -> None:
        store = Store(SqliteJournal(tmp_path / "state.db"), [NOTES, OTHERS], TestClock())
        await store.open()
        expected = []
        for n in range(1, 41):
            notes = [Note(f"{n:02}-{i}") for i in range(n % 4)]
            others = [Other(f"{n}-{i}") for i in range(1 + n % 3)]

            def write(tx: Any, notes: list[Note] = notes, others: list[Other] = others) -> None:
                for other in others:
                    tx.put(OTHERS, HERE, other)
                for note in notes:
                    tx.put(NOTES, HERE, note)

            await store.update(write, "test")
            expected += [(n, note.id) for note in notes]
        for start in range(42):
            found = []
            async for part in past(store, [NOTE], start):
                assert len({version for version, _ in versions(part)}) <= 7
                found += versions(part)
            assert found == [entry for entry in expected if entry[0] > start], start
        await store.close()

    run(main())


def test_a_trimmed_log_tells_where_it_begins(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store(SqliteJournal(tmp_path / "state.db", log_rows=10), [NOTES, OTHERS], TestClock())
        await store.open()
        for n in range(TRIM_EVERY + 3):
            await store.update(put(Note(str(n))), "test")
        page = await store.logged(2, [NOTE])
        assert page.oldest > 3
        assert page.changes[0].version == page.oldest
        assert page.version == store.durable
        await store.close()

    run(main())


@pytest.mark.parametrize("behind", [10_000, 3])
def test_a_follower_sees_everything_once_in_order(opened: Opened, behind: int) -> None:
    async def main() -> None:
        async with opened() as store:
            for n in range(250):
                await store.update(put(Note(f"old-{n}")), "test")

            async def write() -> None:
                for n in range(250):
                    await store.update(put(Note(f"new-{n}"), Note(f"twin-{n}")), "test")
                    if n % 7 == 0:
                        await asyncio.sleep(0.001)

            seen: list[tuple[int, str]] = []
            writer = asyncio.create_task(write())
            async with aclosing(follow(store, [NOTE], 100, behind=behind)) as parts:
                async for part in parts:
                    seen += versions(part)
                    assert part.version == max([part.version, *(version for version, _ in versions(part))])
                    if len(seen) % 5 == 0:
                        await asyncio.sleep(0.002)  # a reader that falls behind
                    if len(seen) >= 650:
                        break
            await writer
            expected = [(n + 1, f"old-{n}") for n in range(100, 250)]
            expected += [(n + 251, f"{name}-{n}") for n in range(250) for name in ("new", "twin")]
            assert seen == expected
            assert store._watches == []

    run(main())


def test_many_changes_are_handed_on_in_parts_of_whole_versions(opened: Opened) -> None:
    async def main() -> None:
        async with opened() as store:
            for n in range(40):
                await store.update(put(*(Note(f"{n:02}-{i}") for i in range(10))), "test")
            await store.update(lambda tx: tx.put(OTHERS, HERE, Other("o")), "test")
            parts = [part async for part in past(store, [NOTE], 0)]
            assert [len(part.changes) for part in parts] == [50] * 8
            assert [part.version for part in parts] == [5, 10, 15, 20, 25, 30, 35, 41]

    run(main())


def test_a_follower_that_waits_is_woken(opened: Opened) -> None:
    async def main() -> None:
        async with opened() as store:
            parts = follow(store, [OTHER], 0)
            waiting: asyncio.Future[Past] = asyncio.ensure_future(anext(parts))
            await asyncio.sleep(0.01)
            await store.update(put(Note("a")), "test")
            await asyncio.sleep(0.01)
            assert not waiting.done(), "a change of another kind"
            await store.update(lambda tx: tx.put(OTHERS, HERE, Other("o")), "test")
            assert versions(await waiting) == [(2, "o")]
            await parts.aclose()

    run(main())
