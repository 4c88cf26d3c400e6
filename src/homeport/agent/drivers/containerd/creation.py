"""The creation of a container's task, also where an earlier one of the same container was cut off.

When nobody waits for a creation any more, as after the agent's death, containerd ends its shim and removes its bundle
folder by itself, in more than one place and by name: it may do so to the creation that comes next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from homeport.agent.drivers.containerd import client as c
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd.client import AlreadyExists, CallError, Client

_TRIES = 3
_SIGNS = ("failed to start shim", "failed to mount rootfs component", "/rootfs: no such file or directory")


def disturbed(error: CallError) -> bool:
    """Whether an earlier creation may have made this one fail, and not the container's own definition."""
    return isinstance(error, AlreadyExists) or any(sign in error.text for sign in _SIGNS)


async def create_task(
    client: Client, request: pb.CreateTaskRequest, end_task: Callable[[str], Awaitable[None]]
) -> None:
    """Creates it, again once what disturbed it has ended. Raises CallError."""
    for tries in range(1, _TRIES + 1):
        try:
            await client.call(c.CREATE_TASK, request)
            return
        except CallError as error:
            if tries == _TRIES or not disturbed(error):
                raise
        await end_task(request.container_id)
