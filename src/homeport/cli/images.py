"""``image load``, ``image ls``, ``image rm``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from homeport import config
from homeport.agent.drivers import DriverError, Image, Progress
from homeport.agent.drivers.containerd import (
    BadArchive,
    BadReference,
    CallError,
    ImageStore,
    PullBehavior,
    ensure,
    instance,
)
from homeport.cli import CommandError
from homeport.cli.lifecycle import State
from homeport.cli.terminal import size, table

T = TypeVar("T")


def _with_store(state: str | None, work: Callable[[ImageStore], Awaitable[T]], behavior: PullBehavior = "once") -> T:
    settings = config.load(state)

    async def run() -> T:
        of = instance(settings.state, settings.containerd)
        await ensure(of)
        async with ImageStore.connect(str(of.socket), of.name, behavior) as store:
            return await work(store)

    try:
        return asyncio.run(run())
    except (DriverError, CallError) as error:
        raise CommandError(error.text) from error
    except (BadArchive, BadReference) as error:
        raise CommandError(str(error)) from error


def load(file: Path, *, state: State = None) -> None:
    """Load the images of a docker-save or OCI archive."""
    if not file.is_file():
        raise CommandError(f"There is no file {file}.")
    if sys.stderr.isatty():
        from rich.progress import BarColumn, DownloadColumn, TextColumn
        from rich.progress import Progress as Bars

        with Bars(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), transient=True) as bars:
            bar = bars.add_task(f"Loading {file.name}", total=file.stat().st_size)
            images = _load(state, file, lambda done: bars.update(bar, completed=done))
    else:
        images = _load(state, file, lambda done: None)
    for image in images:
        print(f"{image.reference}\t{image.digest}")


def _load(state: str | None, file: Path, progress: Callable[[int], None]) -> list[Image]:
    with file.open("rb") as archive:
        return _with_store(state, lambda store: store.load(archive, progress))


def pull(name: str, *, state: State = None) -> None:
    """Pull an image from its registry; of one that is here already only what has changed."""
    if sys.stderr.isatty():
        from rich.progress import BarColumn, DownloadColumn, TextColumn
        from rich.progress import Progress as Bars

        with Bars(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), transient=True) as bars:
            bar = bars.add_task(f"Pulling {name}", total=None)

            def show(seen: Progress) -> None:
                bars.update(bar, completed=seen.done, total=seen.total or None)

            image = _with_store(state, lambda store: store.pull(name, show), "always")
    else:
        image = _with_store(state, lambda store: store.pull(name), "always")
    print(f"{image.reference}\t{image.digest}")


def ls(*, state: State = None) -> None:
    """List the images of this machine."""
    images = _with_store(state, lambda s: s.images())
    table(("IMAGE", "DIGEST", "SIZE"), [(i.reference, i.digest, size(i.size)) for i in images])


def rm(name: str, *, state: State = None) -> None:
    """Remove an image."""
    if not _with_store(state, lambda s: s.remove_image(name)):
        raise CommandError(f"There is no image {name!r}. `homeport image ls` lists them.")
