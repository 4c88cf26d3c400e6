"""What every journal gives through the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from store_records import HERE, NOTES, OTHERS, THERE, Note, Opened, Other, TestClock, delete, put

from homeport.store import Fenced, Journal, Key, Store, StoreClosed, Table, Tx, Unstorable, View
from homeport.store.memory import MemoryJournal


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 30))


def test_what_was_put_is_there_after_a_restart(opened: Opened) -> None:
    async def main() -> None:
        deep = Note("b", "blue", ("x", "y"), {"k": {"ü": "\0\n\U0001f40b"}})
        async with opened() as store:
            await store.update(put(Note("a"), deep), "test")
            await store.update(put(Note("a", "green"), scope=THERE), "test")
            await store.update(delete("a"), "test")
        async with opened() as store:
            view = store.view()
            assert store.version == store.durable == 3
            assert view.all(NOTES, HERE) == [deep]
            assert view.find(NOTES, HERE, "tag", "y") == [deep]
            assert view.find(NOTES, HERE, "colour", "red") == []
            assert list(view.each(NOTES)) == [(THERE, Note("a", "green")), (HERE, deep)]
            await store.update(put(Note("c")), "test")
            assert store.durable == 4

    run(main())


def test_an_exception_undoes_everything(opened: Opened) -> None:
    async def main() -> None:
        async with opened() as store:
            await store.update(put(Note("a"), Note("b", tags=("t",))), "test")

            def bad(tx: Tx) -> None:
                tx.put(NOTES, HERE, Note("a", "blue"))
                tx.put(NOTES, HERE, Note("a", "green"))
                tx.delete(NOTES, HERE, "b")
                tx.put(NOTES, THERE, Note("c"))
                tx.put(OTHERS, HERE, Other("o"))
                assert [r.id for r in tx.all(NOTES, HERE)] == ["a"]
                raise ValueError("no")

            with pytest.raises(ValueError, match="no"):
                await store.update(bad, "test")
            view = store.view()
            assert list(view.each(NOTES)) == [(HERE, Note("a")), (HERE, Note("b", tags=("t",)))]
            assert view.find(NOTES, HERE, "colour", "red") == [Note("a"), Note("b", tags=("t",))]
            assert view.count(NOTES, HERE, "tag", "t") == 1
            assert view.find_global(NOTES, "colour", "green") == []
            assert view.all(OTHERS, HERE) == []
            assert store.version == 1

    run(main())


def test_reads_of_a_transaction_see_its_own_writes(opened: Opened) -> None:
    async def main() -> None:
        async with opened() as store:
            await store.update(put(Note("a", "red"), Note("c", "red")), "test")

            def fn(tx: Tx) -> None:
                tx.put(NOTES, HERE, Note("b", "red"))
                tx.put(NOTES, HERE, Note("c", "blue"))
                assert [r.id for r in tx.find(NOTES, HERE, "colour", "red")] == ["a", "b"]
                tx.delete(NOTES, HERE, "a")
                assert tx.get(NOTES, HERE, "a") is None
                assert tx.count(NOTES, HERE, "colour", "red") == 1
                assert [r.id for r in tx.all(NOTES, HERE)] == ["b", "c"]
                assert [r.id for _, r in tx.find_global(NOTES, "colour", "blue")] == ["c"]

            await store.update(fn, "test")

    run(main())


def test_lists_are_sorted_and_scopes_are_apart(opened: Opened) -> None:
    async def main() -> None:
        async with opened() as store:
            await store.update(put(Note("c"), Note("a"), Note("b")), "test")
            await store.update(put(Note("b", "red"), Note("0"), scope=THERE), "test")
            view = store.view()
            assert [r.id for r in view.all(NOTES, HERE)] == ["a", "b", "c"]
            assert [r.id for r in view.find(NOTES, THERE, "colour", "red")] == ["0", "b"]
            assert [(s, r.id) for s, r in view.find_global(NOTES, "colour", "red")] == [
                (THERE, "0"),
                (HERE, "a"),
                (THERE, "b"),
                (HERE, "b"),
                (HERE, "c"),
            ]
            assert view.all(NOTES, ("123456789012", "ap-south-1")) == []

    run(main())


def test_an_equal_put_is_no_change(opened: Opened) -> None:
    async def main() -> None:
        async with opened() as store, store.watch() as watch:
            await store.update(put(Note("a", more={"k": {"x": "y"}})), "test")
            await store.update(put(Note("a", more={"k": {"x": "y"}})), "test")
            await store.update(
                lambda tx: (put(Note("a", "blue"))(tx), put(Note("a", more={"k": {"x": "y"}}))(tx)), "test"
            )
            await store.update(lambda tx: (put(Note("z"))(tx), delete("z")(tx)), "test")
            await store.update(delete("missing"), "test")
            assert store.version == 1
            assert len(await watch.changes()) == 1
            assert len(await store.story(HERE, "note", "a")) == 1
            assert await store.story(HERE, "note", "z") == []

    run(main())


def test_watches_get_old_and_new_in_commit_order(opened: Opened) -> None:
    async def main() -> None:
        async with (
            opened() as store,
            store.watch("note") as notes,
            store.watch("other") as others,
            store.watch() as all,
        ):
            await store.update(put(Note("a"), Note("b")), "first")
            await store.update(put(Note("a", "blue")), "second")
            await store.update(lambda tx: tx.put(OTHERS, HERE, Other("o")), "third")
            await store.update(delete("b"), "fourth")
            changes = await notes.changes()
            assert [(c.key.id, c.old, c.new, c.version, c.cause) for c in changes] == [
                ("a", None, Note("a"), 1, "first"),
                ("b", None, Note("b"), 1, "first"),
                ("a", Note("a"), Note("a", "blue"), 2, "second"),
                ("b", Note("b"), None, 4, "fourth"),
            ]
            assert {c.at for c in changes} == {1_000_000.0}
            assert list(await others.dirty()) == [Key(*HERE, "other", "o")]
            assert [key.id for key in await all.dirty()] == ["a", "b", "o"]
            waiting = asyncio.create_task(notes.changes())
            await store.update(lambda tx: tx.put(OTHERS, HERE, Other("p")), "test")
            assert not waiting.done()
            await store.update(put(Note("c")), "test")
            assert [c.key.id for c in await waiting] == ["c"]

    run(main())


def test_a_closed_watch_gets_nothing_and_a_cancelled_reader_loses_nothing(opened: Opened) -> None:
    async def main() -> None:
        async with opened() as store:
            watch, gone = store.watch("note"), store.watch("note")
            gone.close()
            reader = asyncio.create_task(watch.changes())
            await asyncio.sleep(0)
            reader.cancel()
            await store.update(put(Note("a")), "test")
            assert list(await watch.dirty()) == [Key(*HERE, "note", "a")]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(gone.changes(), 0.01)

    run(main())


def test_the_story_of_a_record(opened: Opened) -> None:
    async def main() -> None:
        async with opened() as store:
            await store.update(put(Note("a"), Note("b")), "made")
            await store.update(put(Note("a", "blue")), "painted")
            await store.update(delete("a"), "burnt")
        async with opened() as store:
            story = await store.story(HERE, "note", "a")
            assert [(c.version, c.cause, c.old and c.old["colour"], c.new and c.new["colour"]) for c in story] == [
                (1, "made", None, "red"),
                (2, "painted", "red", "blue"),
                (3, "burnt", "blue", None),
            ]
            assert story[0].key == Key(*HERE, "note", "a")
            assert await store.story(THERE, "note", "a") == []

    run(main())


def test_a_story_tells_members_that_are_not_stored() -> None:
    class Short(msgspec.Struct, frozen=True, omit_defaults=True):
        id: str
        colour: str = "red"
        tags: tuple[str, ...] = ()

    shorts: Table[Short] = Table("note", Short, id=lambda r: r.id)
    journal = MemoryJournal()

    async def main() -> None:
        store = Store(journal, [shorts], TestClock())
        await store.open()
        await store.update(lambda tx: tx.put(shorts, HERE, Short("a")), "made")
        await store.update(lambda tx: tx.put(shorts, HERE, Short("a", "blue")), "painted")
        story = await store.story(HERE, "note", "a")
        assert [change.new for change in story] == [
            {"id": "a", "colour": "red", "tags": []},
            {"id": "a", "colour": "blue", "tags": []},
        ]
        assert journal.rows[Key(*HERE, "note", "a")][1] == b'{"id":"a","colour":"blue"}'
        await store.close()

    run(main())


def test_a_record_that_could_not_be_read_back_is_refused(opened: Opened) -> None:
    async def main() -> None:
        async with opened() as store:
            for bad in (Note("a", colour=5), Note("a", tags=(b"x", 1)), Note("\ud800")):  # type: ignore[arg-type]
                with pytest.raises(Unstorable):
                    await store.update(put(Note("fine"), bad), "test")
            with pytest.raises(TypeError, match="holds Note, not Other"):
                await store.update(lambda tx: tx.put(NOTES, HERE, Other("o")), "test")  # type: ignore[arg-type,misc]
            assert store.version == 0
            assert store.view().all(NOTES, HERE) == []
            await store.update(put(Note("a")), "test")

    run(main())


def test_misuse_is_told(opened: Opened) -> None:
    async def main() -> None:
        async with opened() as store:
            kept: list[Tx] = []
            await store.update(kept.append, "test")
            with pytest.raises(RuntimeError, match="has ended"):
                kept[0].put(NOTES, HERE, Note("a"))
            with pytest.raises(LookupError, match="no index 'size'"):
                await store.read(lambda view: view.find(NOTES, HERE, "size", 1))
            with pytest.raises(LookupError, match="no global index 'tag'"):
                await store.read(lambda view: view.find_global(NOTES, "tag", 1))

    run(main())


def test_many_updates_at_once_are_all_applied(opened: Opened) -> None:
    async def main() -> None:
        async with opened() as store:

            def add(tx: Tx) -> int:
                n = tx.count(NOTES, HERE, "colour", "red")
                tx.put(NOTES, HERE, Note(f"{n:04}"))
                return tx.version

            versions = await asyncio.gather(*(store.update(add, "test") for _ in range(200)))
            assert versions == list(range(1, 201))
            assert store.counters.commits == store.counters.changes == 200
            assert store.counters.appends <= 3
        async with opened() as store:
            assert [r.id for r in store.view().all(NOTES, HERE)] == [f"{n:04}" for n in range(200)]

    run(main())


def test_the_second_writer_fences_the_first(reopen: Callable[[], Journal]) -> None:
    async def main() -> None:
        fatal: list[Exception] = []
        first = Store(reopen(), [NOTES], TestClock(), fatal=fatal.append)
        second = Store(reopen(), [NOTES], TestClock())
        await first.open()
        await second.open()
        await second.update(put(Note("x")), "test")
        with pytest.raises(StoreClosed):
            await first.update(put(Note("y")), "test")
        assert isinstance(fatal[0], Fenced)
        with pytest.raises(StoreClosed):
            await first.read(lambda view: view.all(NOTES, HERE))
        await first.close()
        await second.update(put(Note("z")), "test")
        assert [r.id for r in second.view().all(NOTES, HERE)] == ["x", "z"]
        await second.close()

    run(main())


def test_a_closed_store_refuses_writes_and_what_was_staged_is_kept(reopen: Callable[[], Journal]) -> None:
    async def main() -> None:
        store = Store(reopen(), [NOTES], TestClock())
        with pytest.raises(StoreClosed):
            await store.update(put(Note("early")), "test")
        await store.open()
        staged = asyncio.create_task(store.update(put(Note("a")), "test"))
        await asyncio.sleep(0)
        await store.close()
        await staged
        with pytest.raises(StoreClosed):
            await store.update(put(Note("late")), "test")
        again = Store(reopen(), [NOTES], TestClock())
        await again.open()
        assert again.view().all(NOTES, HERE) == [Note("a")]
        await again.close()

    run(main())


def test_the_observer_sees_every_commit(reopen: Callable[[], Journal]) -> None:
    async def main() -> None:
        seen: list[tuple[int, int, list[str]]] = []

        def observe(view: View, changes: Any) -> None:
            seen.append((view.version, len(view.all(NOTES, HERE)), [c.key.id for c in changes]))

        store = Store(reopen(), [NOTES], TestClock(), observe=observe)
        await store.open()
        await asyncio.gather(store.update(put(Note("a")), "test"), store.update(put(Note("b")), "test"))
        assert seen == [(1, 1, ["a"]), (2, 2, ["b"])]
        await store.close()

    run(main())
