"""The real clock and the real randomness; the only module of the control plane and the agent that imports them."""

from __future__ import annotations

import asyncio
import secrets
import time

from homeport.core.ids import BitIds


class SystemClock:
    wall = staticmethod(time.time)
    mono = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def system_ids() -> BitIds:
    return BitIds(secrets.randbits)
