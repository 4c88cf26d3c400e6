"""Following the store: what happened, from the change log, and then what happens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterator, Sequence

from homeport.store.keys import Change
from homeport.store.store import Past, Store

BEHIND = 10_000  # changes that a slow reader may be behind before it reads them from the log instead
AT_ONCE = 50  # changes of several versions that are handed on in one go: a few milliseconds of a reader's work


async def follow(
    store: Store, kinds: Collection[str], after: int, *, since: float = 0.0, behind: int = BEHIND
) -> AsyncGenerator[Past, None]:
    """Every durable change of these kinds after the version ``after``, once, in the order of commits: those of the log
    (from the time ``since`` on), then, for ever, those that are made. Close it to leave."""
    while True:
        async with store.watch(*kinds, most=behind) as watch:
            known = store.durable  # everything later comes through the watch
            while after < known:
                page = await store.logged(after, kinds, since=since)
                for part in _parts(page):
                    after = part.version
                    yield part
            while not watch.missed:
                changes = tuple(change for change in await watch.changes() if change.version > after)
                if changes:
                    for part in _parts(Past(changes, changes[-1].version, 0)):
                        after = part.version
                        yield part


async def past(store: Store, kinds: Collection[str], after: int, *, since: float = 0.0) -> AsyncGenerator[Past, None]:
    """The same up to what is durable when it begins."""
    known = store.durable
    while after < known:
        page = await store.logged(after, kinds, since=since)
        for part in _parts(page):
            after = part.version
            yield part


def _parts(page: Past) -> Iterator[Past]:
    """The page in parts of whole versions, the last of which goes up to its end."""
    start = 0
    for stop in _ends(page.changes):
        yield Past(page.changes[start:stop], page.changes[stop - 1].version, page.oldest)
        start = stop
    yield Past(page.changes[start:], page.version, page.oldest)


def _ends(changes: Sequence[Change]) -> Iterator[int]:
    """The places behind the last change of a version at which a part is full."""
    start = 0
    for place, change in enumerate(changes[1:], 1):
        if place - start >= AT_ONCE and change.version != changes[place - 1].version:
            yield place
            start = place
