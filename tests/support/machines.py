"""Several machines on one: network namespaces on a common switch, each with an address of its own.

They share the kernel, the file system and /run; networks, ports, addresses and routes are apart, and so are the
Homeports in them by their state folders.
"""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from support.homeport import Homeport, archive

NETWORK = "10.77.0"


class Machine:
    """``address``: under which the others reach it."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self.prefix = ("nsenter", f"--net=/run/netns/{name}", "--")

    def homeport(self, state: Path) -> Homeport:
        """A control plane, or a node, that is commanded there."""
        return Homeport(state, self.prefix)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread's new sockets, and the processes that it starts, are there meanwhile."""
        from homeport.agent.network import netns

        with Path(f"/run/netns/{self.name}").open() as namespace, netns.inside(namespace.fileno()):
            yield


def join(plane: Homeport, node: Homeport, cluster: str, *flags: str) -> None:
    """Makes a machine one of the cluster, with the test image."""
    made: dict[str, Any] = json.loads(plane.command("token", "create", "--cluster", cluster, "--json").stdout)
    argv = ("--server", made["server"], "--cluster", cluster, "--token", made["token"], *flags)
    node.command("agent", "--detach", *argv)
    node.load("test")


class Joined(NamedTuple):
    """``ecs``: a client of the control plane, which is on another machine than the ``node``, whose is ``machine``."""

    control: Homeport
    node: Homeport
    machine: Machine
    ecs: Any


@contextmanager
def joined(folder: Path, *flags: str) -> Iterator[Joined]:
    """A cluster ``tests`` of one machine, which joined with these ``flags``. The calling thread is on the control
    plane's meanwhile."""
    with machines(2) as (first, second):
        control, node = first.homeport(folder / "control"), second.homeport(folder / "node")
        try:
            control.up("--host", first.address)
            with first.entered():
                ecs = control.client("ecs")
                ecs.create_cluster(clusterName="tests")
                join(control, node, "tests", *flags)
                yield Joined(control, node, second, ecs)
        finally:
            node.down()
            control.down()


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """That many, and nothing of them afterwards."""
    archive("test")  # built here: in a machine Debian's packages can't be fetched
    run = f"hpm-{secrets.token_hex(3)}"
    with ExitStack() as stack:
        switch = _namespace(stack, f"{run}-switch")
        _ip("-n", switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", switch, "link", "set", "br0", "up")
        made = []
        for number in range(1, count + 1):
            name, port, address = _namespace(stack, f"{run}-{number}"), f"port{number}", f"{NETWORK}.{number}"
            _ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("-n", switch, "link", "set", port, "master", "br0", "up")
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                _ip("-n", name, "link", "set", link, "up")
            made.append(Machine(name, address))
        yield made


def _namespace(stack: ExitStack, name: str) -> str:
    _ip("netns", "add", name)
    stack.callback(_ip, "netns", "delete", name)
    return name


def _ip(*argv: str) -> None:
    subprocess.run(["ip", *argv], check=True, capture_output=True, timeout=30)
