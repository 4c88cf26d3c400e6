"""Pulls under way, written to a small file that ``homeport status`` reads."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import msgspec

from homeport.agent.drivers import Progress
from homeport.core.clock import Clock

log = logging.getLogger("homeport.agent.progress")
PAUSE = 0.5  # seconds between two writes


class PullProgress:
    """A JSON list of ``{"image", "done", "total"}`` (bytes; total 0: unknown), written at most twice a second."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._clock = path, clock
        self._pulls: dict[str, Progress] = {}
        self._changed = asyncio.Event()

    def __call__(self, image: str, progress: Progress | None) -> None:
        """A step of a pull, or (None) its end. An image that is already here has no steps, and writes nothing."""
        if progress is not None:
            self._pulls[image] = progress
        elif self._pulls.pop(image, None) is None:
            return
        self._changed.set()

    async def run(self) -> None:
        """For ever."""
        self._write()
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._write()
            await self._clock.sleep(PAUSE)

    def _write(self) -> None:
        """Whole or not at all, but not durably: it is out of date after a crash anyway."""
        temporary = self._path.with_suffix(".tmp")
        try:
            temporary.write_bytes(msgspec.json.encode(list(self._pulls.values())))
            os.replace(temporary, self._path)
        except OSError as error:
            log.debug("can't write the progress of pulls", extra={"error": str(error)})
