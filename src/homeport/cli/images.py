"""``image load``, ``image ls``, ``image rm``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from homeport import config
from homeport.agent.drivers import DriverError
from homeport.agent.drivers.containerd import ImageStore, image_store
from homeport.cli import CommandError
from homeport.cli.lifecycle import State
from homeport.cli.terminal import size, table

T = TypeVar("T")


def _with_store(state: str | None, work: Callable[[ImageStore], Awaitable[T]]) -> T:
    settings = config.load(state)

    async def run() -> T:
        async with image_store(settings.instance, settings.state, settings.containerd) as store:
            return await work(store)

    try:
        return asyncio.run(run())
    except DriverError as error:
        raise CommandError(error.text) from error


def load(file: Path, *, state: State = None) -> None:
    """Load the images of a docker-save or OCI archive."""
    if not file.is_file():
        raise CommandError(f"There is no file {file}.")
    if sys.stderr.isatty():
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        with Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), transient=True) as bars:
            bar = bars.add_task(f"Loading {file.name}", total=file.stat().st_size)
            names = _with_store(state, lambda s: s.load(file, lambda done: bars.update(bar, completed=done)))
    else:
        names = _with_store(state, lambda s: s.load(file, lambda done: None))
    for name in names:
        print(name)


def ls(*, state: State = None) -> None:
    """List the images of this machine."""
    images = _with_store(state, lambda s: s.images())
    table(("IMAGE", "DIGEST", "SIZE"), [(i.reference, i.digest, size(i.size)) for i in images])


def rm(name: str, *, state: State = None) -> None:
    """Remove an image."""
    if not _with_store(state, lambda s: s.remove(name)):
        raise CommandError(f"There is no image {name!r}. `homeport image ls` lists them.")
