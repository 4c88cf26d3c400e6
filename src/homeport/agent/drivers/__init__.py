"""What the runner asks of a container runtime. ``containerd`` is the real one; ``fake`` serves the simulator.

Every call may be repeated: creating what exists, stopping what is stopped and removing what is gone succeed. All calls
but ``pull`` and ``events`` end within their own time-outs. A failure is a ``DriverError`` whose ``name`` is ECS's
(``CannotPullContainerError``, ``CannotCreateContainerError``, ``CannotStartContainerError`` …).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Literal, Protocol

import msgspec

from homeport.agentapi import ContainerSpec, Volume


class DriverError(Exception):
    """``name`` as ECS names it; ``text`` what happened. ``str`` is ECS's ``<name>: <text>``, cut at 1024 characters."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}"[:1024])
        self.name, self.text = name, text


class Image(msgspec.Struct, frozen=True):
    """A resolved image. ``digest`` of its manifest, ``sha256:…``; ``volumes``: paths at which it wants a volume."""

    reference: str
    digest: str
    volumes: tuple[str, ...] = ()


class Mount(msgspec.Struct, frozen=True):
    """A volume at a path of a container. ``fill``: while the volume is empty, the container's image gives it what it
    has at that path, as Docker does (not for volumes that come from another container)."""

    volume: Volume
    container_path: str
    read_only: bool = False
    fill: bool = True


class ContainerPlan(msgspec.Struct, frozen=True):
    """All that ``create`` needs. ``id``: the runtime's id of the container, unique on a node, no double dashes."""

    id: str
    task_id: str  # 32 hex; names the task's cgroup and folder
    spec: ContainerSpec
    image: Image
    task_cpu: int = 0  # hard limits over the whole task, 0 for none; CPU units and MiB
    task_memory: int = 0
    ephemeral_storage: int = 0  # GiB over the whole task, 0 for no limit
    netns: str | None = None  # path of the network namespace; None: an own empty one
    network_mode: str = "awsvpc"  # "host": that is the machine's, whose name and files it has; "bridge": its own alone
    hostname: str = ""
    address: str | None = None  # the task's private address, for /etc/hosts
    labels: dict[str, str] = {}
    mounts: tuple[Mount, ...] = ()  # one per path
    pid_mode: str = ""  # "task": processes of all of the task's containers see each other; "host": all of the machine's
    ipc_mode: str = ""  # "task": all of its containers share what they send each other; "host"; "none": no /dev/shm


class Observed(msgspec.Struct, frozen=True):
    """What the runtime knows of a container.

    ``state``: ``created`` (not started yet), ``running``, ``stopped`` (``exit_code`` and ``finished_at`` known),
    ``lost`` (it was started, and the runtime lost it: exit code unknown). ``started_at``, ``finished_at``: epoch
    seconds. ``oom``: the kernel killed it for memory.
    """

    id: str
    state: Literal["created", "running", "stopped", "lost"]
    pid: int = 0
    exit_code: int | None = None
    started_at: float | None = None
    finished_at: float | None = None
    oom: bool = False
    labels: dict[str, str] = {}


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bytes of an image fetched so far, and in all where known; and the digest that its name stands for, once that is
    known."""

    image: str
    done: int
    total: int
    digest: str = ""


class Driver(Protocol):
    async def open(self) -> None:
        """Connects (starting the runtime if it's ours and not there)."""
        ...

    async def close(self) -> None: ...

    async def pull(self, reference: str, progress: Callable[[Progress], None]) -> Image:
        """The image, from the local store if it is there, else from its registry, unpacked and ready to use."""
        ...

    async def create(self, plan: ContainerPlan) -> None: ...

    async def start(self, id: str) -> Observed: ...

    async def restart(self, id: str) -> Observed:
        """Runs a container again that has ended, with the files that it left; the call may also be repeated where it
        was restarted before."""
        ...

    async def exec(self, id: str, name: str, command: Sequence[str], seconds: float) -> int | None:
        """Runs a command in a running container, as its user; its exit code. Its output goes nowhere. None: after
        ``seconds`` it was killed, children included. One run of a ``name`` at a time: what an earlier one left is
        ended."""
        ...

    async def kill(self, id: str, signal: int | None) -> None:
        """Sends ``signal``; None means the image's stop signal (default SIGTERM). No error if it doesn't run."""
        ...

    async def remove(self, id: str) -> None:
        """Removes the container (killing it if it runs), its snapshot and its cgroup; logs stay."""
        ...

    async def remove_task(self, task_id: str) -> None:
        """Removes what belongs to the task as a whole: its cgroup, its folder of generated files, its volumes."""
        ...

    async def observe(self, id: str) -> Observed | None:
        """None: no such container."""
        ...

    async def list(self) -> list[Observed]:
        """Every container of this agent, at start and after a reconnect."""
        ...

    def events(self) -> AsyncIterator[str]:
        """Ids of containers of which something changed. An empty string: the connection was lost and is back, look at
        everything again (the runtime doesn't replay events)."""
        ...
