"""The node's network: namespaces, links, routes and security groups as the control plane wants them.

Everything happens on one thread of its own, one call after another: network namespaces belong to threads, and a call
takes a few milliseconds. How the parts are laid out is said in ``layout``.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TypeVar

from homeport.agent.network import ContainerNetwork, NetworkError, forwarding, hub, layout, netns, pool, published
from homeport.agent.network.bridge import Bridge
from homeport.agent.network.conntrack import Conntrack
from homeport.agent.network.hub import Hub
from homeport.agent.network.netlink import Netlink
from homeport.agent.network.nft import NftError, NftLost
from homeport.agent.network.plan import Vpc, with_groups
from homeport.agent.network.published import Endpoint
from homeport.agent.network.records import Records, VpcRecord
from homeport.agent.network.router import Router
from homeport.agentapi import HomeportGroupsMessage, InterfaceSpec, PortMapping

_Result = TypeVar("_Result")
_FAILURES = (OSError, ValueError, NftError, NftLost, subprocess.SubprocessError)
Listening = Callable[[str, socket.socket], None]
KEEP_SECONDS = 10.0  # a look costs 5 ms; firewalls and Docker are started anew rarely


class NodeNetwork:
    """``Network`` on this machine's kernel.

    ``instance``: 8 hex digits, the agent's own on the machine. ``pool``: CIDR of the public addresses that this agent
    serves (its first and last address are the agent's). ``state_dir``: the agent's; a folder ``network`` is made in it.
    ``root``: path of the network namespace that is the host's, None for the process's own. ``keep_seconds``: how soon
    the host's part is back after others undid it. ``listening`` is given each VPC's id (for the bridge, BRIDGED) and a
    socket that listens on the metadata address there; on the network's thread.
    """

    def __init__(
        self,
        instance: str,
        pool: str,
        state_dir: Path,
        root: str | None = None,
        keep_seconds: float = KEEP_SECONDS,
        listening: Listening | None = None,
    ) -> None:
        self._names, self._pool = layout.names(instance), layout.pool(pool)
        self._keep_seconds = keep_seconds
        self._state_dir, self._root, self._listening = state_dir, root, listening
        self._thread: ThreadPoolExecutor | None = None
        self._sweeper = ThreadPoolExecutor(1, "conntrack")
        self._node: _Node | None = None
        self._watch: asyncio.Task[None] | None = None

    async def open(self) -> None:
        if self._node is None:
            node = _Node(self._names, self._pool, _records(self._state_dir), self._listening)
            try:
                await self._call(node.open)
            except NetworkError:
                await self._call(node.close)
                raise
            self._node = node
            self._watch = asyncio.create_task(self._keep(node))

    async def close(self) -> None:
        await self._leave()
        self._end_thread()

    async def attach(self, task_id: str, interface: InterfaceSpec) -> str:
        return await self._call(self._opened().attach, task_id, interface)

    async def join(
        self, task_id: str, mode: str, ports: Mapping[str, tuple[PortMapping, ...]]
    ) -> dict[str, ContainerNetwork]:
        return await self._call(self._opened().join if mode == "bridge" else self._opened().share, task_id, ports)

    async def detach(self, task_id: str) -> None:
        conntrack = await self._call(self._opened().detach, task_id)
        if conntrack:
            await self._sweep(conntrack.sweep)

    async def attached(self) -> list[str]:
        return await self._call(self._opened().attached)

    async def groups(self, message: HomeportGroupsMessage) -> None:
        await self._call(self._opened().set_groups, message)

    async def destroy(self) -> None:
        await self._leave()
        await self._call(_destroy, self._names, _records(self._state_dir))
        self._end_thread()

    async def _leave(self) -> None:
        node, self._node = self._node, None
        if self._watch:
            self._watch.cancel()
        if node:
            await self._sweep(lambda: None)  # after those that are under way
            await self._call(node.close)

    def _end_thread(self) -> None:
        if self._thread:
            self._thread.shutdown(wait=False)
        self._thread = None

    def _opened(self) -> _Node:
        if self._node is None:
            raise NetworkError("the network isn't open")
        return self._node

    async def _call(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        if self._thread is None:
            self._thread = _thread(self._root)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        except _FAILURES as error:
            raise NetworkError(str(error)) from error

    async def _sweep(self, function: Callable[[], None]) -> None:
        """On the second thread, one after another, so that attach needn't wait."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._sweeper, function)
        except OSError as error:
            raise NetworkError(str(error)) from error

    async def _keep(self, node: _Node) -> None:
        while True:
            await asyncio.sleep(self._keep_seconds)
            with suppress(NetworkError):  # the next turn tries again
                await self._call(node.keep)


def destroy_all(instance: str, state_dir: Path, root: str | None = None) -> None:
    """Removes everything of an agent from the machine, whether it runs, was killed half-way, or never was here."""
    with _thread(root) as thread:
        try:
            thread.submit(_destroy, layout.names(instance), _records(state_dir)).result()
        except _FAILURES as error:
            raise NetworkError(str(error)) from error


def host_routes(root: str | None = None) -> list[str]:
    """Destinations of the host's IPv4 routes as CIDRs, for ``pool.free_slice`` and ``pool.overlapping``."""
    with _thread(root) as thread:
        return thread.submit(_routes).result()


class _Node:
    """The state behind ``NodeNetwork``, for its thread alone. Raises the errors of ``_FAILURES``."""

    def __init__(
        self, names: layout.Names, pool: layout.Pool, records: Records, listening: Listening | None = None
    ) -> None:
        self._names, self._pool, self._records, self._listening = names, pool, records, listening
        self._hub: Hub | None = None
        self._routers: dict[str, Router] = {}  # by VPC id
        self._tasks: dict[str, InterfaceSpec] = {}
        self._bridge: Bridge | None = None

    def open(self) -> None:
        """Makes the hub, and finds what an agent before this one has left: complete interfaces are kept, others end."""
        vpcs, tasks = self._records.open()
        bridge = self._records.bridge()
        self._hub = Hub(self._names, self._pool, published.host_ports(bridge[1]) if bridge else None)
        self._hub.build()
        for record in vpcs.values():
            kept = {key: value for key, value in tasks.items() if value.vpc_id == record.vpc_id}
            self._add_router(record, kept)
        self._tasks = tasks
        there = {task for name in netns.named(self._names.prefix) if (task := self._names.task_of(name))}
        for task_id, interface in list(tasks.items()):
            home = self._routers.get(interface.vpc_id)
            if task_id not in there or home is None or not home.complete(task_id):
                self.detach(task_id)
        for task_id in there - tasks.keys():
            netns.remove(self._names.task(task_id))
        for router in self._routers.values():
            router.conntrack.sweep()
        if bridge:
            self._open_bridge(self._add_bridge(*bridge))

    def _open_bridge(self, bridge: Bridge) -> None:
        """Ends what isn't complete, and what no record tells of."""
        for task_id in [task_id for task_id in bridge.tasks if not bridge.complete(task_id)]:
            self.detach(task_id)
        kept = {endpoint.index for endpoints in bridge.tasks.values() for endpoint in endpoints.values()}
        for name in netns.named(self._names.prefix):
            index = self._names.container_of(name)
            if index is not None and index not in kept:
                netns.remove(name)
        bridge.conntrack.sweep()

    def keep(self) -> None:
        if self._hub:
            self._hub.keep()

    def close(self) -> None:
        for router in self._routers.values():
            router.close()
        self._routers.clear()
        if self._bridge:
            self._bridge.close()
        self._bridge = None
        if self._hub:
            self._hub.close()
        self._hub = None

    def attach(self, task_id: str, interface: InterfaceSpec) -> str:
        _check(task_id, interface, self._pool)
        router = self._router(interface.vpc_id, interface.vpc_cidr)
        known = self._tasks.get(task_id)
        self._records.put_task(task_id, interface)
        self._tasks[task_id] = interface
        if known is not None:
            router.regroup(task_id, interface)
            return layout.path(self._names.task(task_id))
        try:
            return router.attach(task_id, interface)
        except BaseException:
            self.detach(task_id)
            raise

    def share(self, task_id: str, ports: Mapping[str, tuple[PortMapping, ...]]) -> dict[str, ContainerNetwork]:
        """Networks of containers in the machine's own namespace, which gets a name for the task."""
        path = netns.keep(self._names.shared(layout.checked_name(task_id)))
        return {name: ContainerNetwork(path, bindings=published.host_bindings(ports[name])) for name in ports}

    def join(self, task_id: str, ports: Mapping[str, tuple[PortMapping, ...]]) -> dict[str, ContainerNetwork]:
        """Networks of containers in the bridge, which is made for the first."""
        layout.checked_name(task_id)
        bridge = self._bridge
        if bridge is None:
            cidr = _bridge_range()
            self._records.put_bridge(cidr)
            bridge = self._add_bridge(cidr, {})
        if task_id not in bridge.tasks:
            endpoints = bridge.plan(ports)
            try:
                self._records.put_bridged(task_id, endpoints)
                bridge.attach(task_id, endpoints)
            except BaseException:
                bridge.detach(task_id, endpoints)
                self._records.drop_bridged(task_id)
                raise
        return bridge.networks(bridge.tasks[task_id])

    def detach(self, task_id: str) -> Conntrack | None:
        """Returns where the task's tracked connections are, to be swept."""
        layout.checked_name(task_id)
        if self._bridge and task_id in self._bridge.tasks:
            self._bridge.detach(task_id, self._bridge.tasks[task_id])
            self._records.drop_bridged(task_id)
            return self._bridge.conntrack
        interface = self._tasks.get(task_id)
        router = self._routers.get(interface.vpc_id) if interface else None
        if interface and router:
            router.detach(task_id, interface)
        netns.remove(self._names.task(task_id))
        netns.remove(self._names.shared(task_id))
        self._records.drop_task(task_id)
        self._tasks.pop(task_id, None)
        return router.conntrack if router else None

    def attached(self) -> list[str]:
        shared = filter(None, map(self._names.shared_of, netns.named(self._names.prefix)))
        return sorted([*self._tasks, *(self._bridge.tasks if self._bridge else ()), *shared])

    def set_groups(self, message: HomeportGroupsMessage) -> None:
        router = self._router(message.vpc_id, message.vpc_cidr)
        groups = with_groups(router.vpc, message).groups
        router.set_groups(groups)
        self._records.put_vpc(VpcRecord(message.vpc_id, router.vpc.cidr, router.index, groups))

    def _router(self, vpc_id: str, cidr: str) -> Router:
        if vpc_id not in self._routers:
            taken = {router.index for router in self._routers.values()}
            index = next(number for number in range(1, layout.MAX_ROUTERS + 1) if number not in taken)
            record = VpcRecord(layout.checked_name(vpc_id), layout.checked_cidr(cidr), index)
            self._records.put_vpc(record)
            self._add_router(record, {})
        return self._routers[vpc_id]

    def _add_bridge(self, cidr: str, tasks: dict[str, dict[str, Endpoint]]) -> Bridge:
        assert self._hub is not None
        bridge = Bridge(self._names, self._hub, cidr, tasks)
        try:
            bridge.build()
            if self._listening:
                self._listening(layout.BRIDGED, bridge.listen())
        except BaseException:
            bridge.close()
            raise
        self._bridge = bridge
        return bridge

    def _add_router(self, record: VpcRecord, interfaces: dict[str, InterfaceSpec]) -> None:
        assert self._hub is not None
        vpc = Vpc(record.vpc_id, record.cidr, record.groups, interfaces)
        router = Router(self._names, self._hub, record.index, vpc)
        try:
            router.build()
            if self._listening:
                self._listening(record.vpc_id, router.listen())
        except BaseException:
            router.close()
            raise
        self._routers[record.vpc_id] = router


def _check(task_id: str, interface: InterfaceSpec, pool: layout.Pool) -> None:
    """Raises ValueError for what can't be an interface of this node."""
    layout.checked_name(task_id)
    subnet = IPv4Network(interface.subnet_cidr)
    for address in (interface.private_address, interface.gateway):
        if IPv4Address(address) not in subnet:
            raise ValueError(f"{address} is not in {subnet}")
    public = interface.public_address
    if public and (IPv4Address(public) not in IPv4Network(pool.cidr) or public in (pool.host, pool.hub)):
        raise ValueError(f"{public} is not for tasks in {pool.cidr}")


def _destroy(names: layout.Names, records: Records) -> None:
    """For a thread that is at home in the root namespace."""
    hub.remove(names)
    for namespace in netns.named(names.prefix):
        netns.remove(namespace)
    if not forwarding.homeports():
        forwarding.forward_back()
    records.clear()


def _routes() -> list[str]:
    root = Netlink()
    try:
        return root.routes()
    finally:
        root.close()


def _bridge_range() -> str:
    """Raises ValueError where the machine's routes leave none."""
    try:
        return pool.free_slice(_routes(), layout.BRIDGE_BASE, layout.BRIDGE_PREFIX)
    except LookupError as error:
        raise ValueError(f"{error} for containers in the bridge") from None


def _records(state_dir: Path) -> Records:
    return Records(state_dir / "network")


def _thread(root: str | None) -> ThreadPoolExecutor:
    """A thread that is at home in the namespace ``root``."""

    def settle() -> None:
        if root:
            with open(root) as namespace:
                netns.enter(namespace.fileno())

    return ThreadPoolExecutor(1, "network", settle)
