"""Random transactions against a plain dict: state, indexes, changes and what a restart finds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.store import Change, Ranked, Scope, Store, StoreClosed, Table, Tx, View
from homeport.store.journal import Commit
from homeport.store.memory import Fault, MemoryJournal


class Thing(msgspec.Struct, frozen=True, gc=False):
    id: str
    colour: int
    tags: tuple[int, ...]


THINGS: Table[Thing] = Table(
    "thing",
    Thing,
    id=lambda r: r.id,
    indexes={"colour": lambda r: (r.colour,), "tag": lambda r: r.tags},
    global_indexes={"tag": lambda r: r.tags},
    ordered={"size": lambda r: [(r.colour, r.id in "ab", len(r.tags))]},
    counts={"tags": lambda r: [(r.colour, tag) for tag in r.tags]},
)
SCOPES = (Scope("1", "us-east-1"), Scope("1", "eu-west-1"), Scope("2", "us-east-1"))
Model = dict[tuple[Scope, str], Thing]

small = st.integers(0, 2)
things = st.builds(Thing, st.sampled_from("abcde"), small, st.lists(small, max_size=3).map(tuple))
put = st.tuples(st.sampled_from(SCOPES), things)
delete = st.tuples(st.sampled_from(SCOPES), st.sampled_from("abcde"))
writes = st.lists(put | delete, max_size=6)
ending = st.sampled_from(["commit", "commit", "commit", "raise", "refuse", "restart"])


class Abort(Exception):
    pass


class FrozenClock:
    def wall(self) -> float:
        return 0.0

    def mono(self) -> float:
        self.ticks = getattr(self, "ticks", 0.0) + 10.0  # a probe is always due
        return self.ticks

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def apply(model: Model, batch: Sequence[tuple[Scope, Thing | str]]) -> None:
    for scope, what in batch:
        if isinstance(what, str):
            model.pop((scope, what), None)
        else:
            model[scope, what.id] = what


def check_ranked(ranked: Ranked[Thing] | None, expected: list[tuple[int, str, Thing]]) -> None:
    if ranked is None:
        assert not expected
        return
    assert list(ranked) == [ranked[at] for at in range(len(ranked))] == [r for _, _, r in expected]
    for start in range(4):
        large = [(size, id) for size, id, _ in expected if size >= start]
        assert list(ranked.entries(ranked.span(start))) == large
        assert list(ranked.entries(reversed(ranked.span(start)))) == large[::-1]
        assert list(ranked.entries(ranked.span(start, start + 1))) == [
            (size, id) for size, id in large if size == start
        ]


def check(view: View, model: Model) -> None:
    assert list(view.each(THINGS)) == [(scope, model[scope, id]) for scope, id in sorted(model)]
    for scope in SCOPES:
        here = [model[key] for key in sorted(model) if key[0] == scope]
        assert view.all(THINGS, scope) == here
        for value in range(4):
            assert view.find(THINGS, scope, "colour", value) == [r for r in here if r.colour == value]
            tagged = [r for r in here if value in r.tags]
            assert view.find(THINGS, scope, "tag", value) == tagged
            assert view.count(THINGS, scope, "tag", value) == len(tagged)
            for early in (True, False):
                by_size = sorted((len(r.tags), r.id, r) for r in here if r.colour == value and (r.id in "ab") == early)
                check_ranked(view.ranked(THINGS, scope, "size", value).get(early), by_size)
            counted = Counter(tag for r in here if r.colour == value for tag in set(r.tags))
            assert view.counts(THINGS, scope, "tags", value) == counted
    for value in range(4):
        everywhere = sorted((id, scope) for (scope, id), r in model.items() if value in r.tags)
        assert view.find_global(THINGS, "tag", value) == [(scope, model[scope, id]) for id, scope in everywhere]


def replay(model: Model, changes: Sequence[Change]) -> None:
    """Follows the watch: each change must start from what the last one left."""
    for change in changes:
        key = (change.key.scope, change.key.id)
        assert model.get(key) == change.old != change.new
        if change.new is None:
            del model[key]
        else:
            model[key] = change.new


@settings(max_examples=200)
@given(st.lists(st.tuples(writes, ending), max_size=15))
def test_the_store_is_a_dict(steps: list[tuple[list[tuple[Scope, Thing | str]], str]]) -> None:
    async def main() -> None:
        refuse = False

        def fault(commits: Sequence[Commit]) -> Fault:
            return Fault("refused" if refuse and commits else "lands")

        journal, model, followed = MemoryJournal(fault=fault), Model(), Model()
        store = Store(journal, [THINGS], FrozenClock())
        await store.open()
        watch = store.watch("thing")
        for batch, how in steps:
            after = dict(model)
            apply(after, batch)

            def fn(
                tx: Tx, batch: Sequence[tuple[Scope, Thing | str]] = batch, after: Model = after, how: str = how
            ) -> None:
                for scope, what in batch:
                    if isinstance(what, str):
                        tx.delete(THINGS, scope, what)
                    else:
                        tx.put(THINGS, scope, what)
                check(tx, after)
                if how == "raise":
                    raise Abort

            refuse = how == "refuse"
            before = store.version
            try:
                await store.update(fn, "test")
                model = after
            except Abort:
                assert how == "raise"
            except StoreClosed:
                assert refuse
            check(store.view(), model)
            if store.version > before:
                assert store.version == before + 1
                replay(followed, await watch.changes())
            assert followed == model
            if how == "restart":
                await store.close()
                store = Store(journal, [THINGS], FrozenClock())
                await store.open()
                watch = store.watch("thing")
                check(store.view(), model)
        await store.close()

    asyncio.run(main())


@settings(max_examples=100)
@given(st.lists(writes, min_size=1, max_size=12), st.integers(0, 11), st.booleans())
def test_a_crash_keeps_exactly_what_was_acknowledged_or_in_flight(
    batches: list[list[tuple[Scope, Thing | str]]], crash: int, kept: bool
) -> None:
    """Commits one after another; the append number ``crash`` ends with an unknown outcome."""

    async def main() -> None:
        appends = 0

        def fault(commits: Sequence[Commit]) -> Fault:
            nonlocal appends
            appends += 1
            return Fault("lands" if appends <= crash else "kept" if kept else "lost")

        journal, model = MemoryJournal(fault=fault), Model()
        fatal: list[Exception] = []
        store = Store(journal, [THINGS], FrozenClock(), fatal=fatal.append)
        await store.open()
        for batch in batches:
            after = dict(model)
            apply(after, batch)
            try:
                await store.update(
                    lambda tx, batch=batch: [  # type: ignore[misc]
                        tx.delete(THINGS, s, w) if isinstance(w, str) else tx.put(THINGS, s, w) for s, w in batch
                    ],
                    "test",
                )
            except StoreClosed:
                assert fatal
                model = after if kept else model
                break
            model = after
        await store.close()
        again = Store(journal, [THINGS], FrozenClock())
        await again.open()
        check(again.view(), model)
        await again.close()

    asyncio.run(main())
