"""Services on virtual time: real store, task loop, gateway and service loop; nodes that run tasks as they are told to.

``play(scene)`` gives a scene a ``ServiceWorld`` with the cluster ``demo``, the definition ``web`` and one node of the
Fargate pool. Nodes behave as their ``conduct`` says for the task's definition: ``world.conduct["web"] = Conduct(...)``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec
from ecs_world import ACCOUNT, REGION, SCOPE, TABLES, Agent, World
from launch_world import CAPABILITIES

from homeport.agentapi import ContainerHealth, PayloadMessage, PayloadTask, TaskHealth
from homeport.aws.operations import Call
from homeport.services import ecs
from homeport.services.ecs import clusters, definitions, deployments, services, telemetry
from homeport.services.ecs.model.deployment import (
    SERVICE_DEPLOYMENTS,
    Configuration,
    Deployment,
    ServiceDeployment,
)
from homeport.services.ecs.model.service import SERVICES, Service
from homeport.services.ecs.model.task import TASKS, Task, TaskStatus
from homeport.services.ecs.model.waiting import Network
from homeport.sim.loop import SimClock, SimLoop, run
from homeport.store import Store, Tx
from homeport.store.memory import Fault, MemoryJournal

CLUSTER = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/demo"


class Conduct(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a task on a node. Seconds: from its payload to RUNNING, from there to HEALTHY, to UNHEALTHY and
    to its exit (None: never), and from the wish to stop it to its end. ``fails``: why it never starts, if it doesn't.
    ``digest``: of its image, as the node found it; a pinned one comes first. ``resolves``: seconds after which it tells
    that of a task that others wait for (None: only when it runs).
    """

    starts: float = 1.0
    healthy: float | None = None
    unhealthy: float | None = None
    exits: float | None = None
    exit_code: int = 1
    stops: float = 0.5
    fails: str | None = None
    digest: str | None = None
    resolves: float | None = None


class Node(Agent):
    """A node that runs what it is sent."""

    world: ServiceWorld

    def __init__(self, world: ServiceWorld, name: str) -> None:
        super().__init__(world, name)
        self.running: dict[str, asyncio.Task[None]] = {}  # by the task's ARN
        self.dead = False

    async def ack(self, message_id: str) -> None:
        message = self.heard[-1]
        await super().ack(message_id)
        if isinstance(message, PayloadMessage):
            for task in message.tasks:
                self._take(task)

    def kill(self, task_arn: str) -> None:
        """The task's container is killed at once."""
        self._end(task_arn, 0.0, exit_code=137)

    async def die(self) -> None:
        """The machine is gone: nothing of it is heard any more."""
        self.dead = True
        for running in self.running.values():
            running.cancel()
        self.running.clear()
        await self.hang_up()

    def _take(self, task: PayloadTask) -> None:
        if task.desired_status == "STOPPED":
            self._end(task.arn, self._conduct(task.arn).stops, exit_code=0)
        elif task.arn not in self.running:
            self._begin(task.arn, self._run(task.arn, self._conduct(task.arn)))

    def _end(self, arn: str, seconds: float, exit_code: int) -> None:
        before = self.running.pop(arn, None)
        if before is not None:
            before.cancel()
        self._begin(arn, self._stop(arn, seconds, exit_code))

    def _begin(self, arn: str, work: Coroutine[Any, Any, None]) -> None:
        self.running[arn] = began = asyncio.create_task(work)
        began.add_done_callback(self._over)

    def _over(self, ended: asyncio.Task[None]) -> None:
        """What goes wrong on a node is an error of the test."""
        if not ended.cancelled() and (error := ended.exception()) is not None:
            self.world.wrong.append(error)

    def _conduct(self, task_arn: str) -> Conduct:
        definition = self.world.task(task_arn).definition_arn.rpartition("/")[2]
        conduct = self.world.conduct
        return conduct.get(definition) or conduct.get(definition.partition(":")[0]) or Conduct()

    async def _run(self, arn: str, conduct: Conduct) -> None:
        if conduct.resolves is not None and self.world.task(arn).first:
            await asyncio.sleep(conduct.resolves)
            await self._told(arn, "PENDING", imageDigest=conduct.digest)
            await asyncio.sleep(conduct.starts - conduct.resolves)
        else:
            await asyncio.sleep(conduct.starts)
        if conduct.fails is not None:
            await self._told(arn, "STOPPED", reason=conduct.fails)
            self.running.pop(arn, None)
            return
        digest = next(iter(self.world.task(arn).image_digests.values()), conduct.digest)
        await self._told(arn, "RUNNING", **({"imageDigest": digest} if digest else {}))
        at = 0.0
        steps = [(conduct.healthy, "HEALTHY"), (conduct.unhealthy, "UNHEALTHY"), (conduct.exits, "")]
        for seconds, step in sorted((s, what) for s, what in steps if s is not None):
            await asyncio.sleep(seconds - at)
            at = seconds
            if step:
                await self._healthy(arn, step)
            else:
                await self._told(arn, "STOPPED", exitCode=conduct.exit_code)
                self.running.pop(arn, None)
                return

    async def _stop(self, arn: str, seconds: float, exit_code: int) -> None:
        await asyncio.sleep(seconds)
        await self._told(arn, "STOPPED", exitCode=exit_code)
        self.running.pop(arn, None)

    async def _told(self, arn: str, status: str, **container: Any) -> None:
        names = [c.name for c in self.world.task(arn).containers]
        told = [{"containerName": name, "status": status, **container} for name in names]
        await self.world.submit(self, arn, status, told)

    async def _healthy(self, arn: str, status: str) -> None:
        names = [c.name for c in self.world.task(arn).containers]
        health = tuple(ContainerHealth(container_name=name, health_status=status) for name in names)
        told = (TaskHealth(task_arn=arn, containers=health),)
        await self.world.store.update(lambda tx: telemetry.fold(tx, self.arn, told), "health")


class ServiceWorld(World):
    def __init__(self, loop: SimLoop, journal: MemoryJournal, kept: int) -> None:
        super().__init__(loop, journal, kept)
        self.services = ecs.ServiceLoop(self.store, self.clock, self.ids)
        self.conduct: dict[str, Conduct] = {}  # by family, or family:revision
        self.nodes: list[Node] = []
        self.wrong: list[BaseException] = []  # what went wrong on nodes

    async def start(self) -> None:
        await super().start()
        self._running.append(asyncio.create_task(self.services.run()))
        await asyncio.sleep(0.01)

    async def restart(self) -> None:
        """The control plane dies as it stands, and begins anew on its journal; nodes run on, and connect again."""
        await self.crash()
        alive = [node for node in self.nodes if not node.dead]
        for node in alive:
            await node.hang_up()
        self.store = Store(self.journal, TABLES, self.clock)
        self.gateway = ecs.Gateway(self.store, self.clock, self.ids)
        self.loop = ecs.TaskLoop(self.store, self.clock, self.ids)
        self.services = ecs.ServiceLoop(self.store, self.clock, self.ids)
        await self.start()
        for node in alive:
            node.heard.clear()
            await node.connect()

    async def node(self, name: str = "pool", **sizes: int) -> Node:
        """A node of the Fargate pool, connected. ``sizes``: ``cpu`` in units, ``memory`` in MiB."""
        made = Node(self, name)
        await made.register(**{"cpu": 65536, "memory": 131072, **sizes})
        await made.connect()
        self.nodes.append(made)
        return made

    async def instance(self, name: str, *, cpu: int = 4096, memory: int = 8192, **attributes: str) -> Node:
        """A container instance of ``demo``, connected. ``group=…``: its Auto Scaling group, ``zone=…``: its zone."""
        made = Node(self, name)
        values = {"homeport.network": "1", "homeport.spec": "1", **dict.fromkeys(CAPABILITIES, "")}
        for given, attribute in (("group", "homeport.auto-scaling-group"), ("zone", "ecs.availability-zone")):
            if given in attributes:
                values[attribute] = attributes.pop(given)
        answer = await self.call(
            "RegisterContainerInstance",
            made.principal,
            cluster="demo",
            totalResources=[
                {"name": "CPU", "type": "INTEGER", "integerValue": cpu},
                {"name": "MEMORY", "type": "INTEGER", "integerValue": memory},
                {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22"]},
            ],
            attributes=[{"name": n, "value": v} for n, v in {**values, **attributes}.items()],
        )
        made.arn = answer["containerInstance"]["containerInstanceArn"]
        await made.connect()
        self.nodes.append(made)
        return made

    async def submit(self, node: Node, arn: str, status: str, containers: Sequence[dict[str, Any]]) -> None:
        """SubmitTaskStateChange, unchecked: there are many of them."""
        params = {"cluster": "demo", "task": arn, "status": status, "containers": list(containers)}
        call = Call(
            principal=node.principal,
            account=ACCOUNT,
            region=REGION,
            service="ecs",
            operation="SubmitTaskStateChange",
            request_id="1",
            now=self.clock.wall(),
            ids=self.ids,
            tokens=self.tokens,
            endpoint="http://127.0.0.1:4566",
        )
        handler = ecs.SERVICE.operations["SubmitTaskStateChange"].handler
        await self.store.update(lambda tx: handler(tx, call, params), "report")

    async def raw_service(self, name: str, desired: int, definition: str = "web", **fields: Any) -> None:
        """A service's records without CreateService. ``fields`` are the record's; ``configuration`` of its
        configuration."""

        def make(tx: Tx) -> None:
            cluster = clusters.find_active(tx, SCOPE, "demo")
            configuration = self._configuration(tx, definition, fields.pop("configuration", {}))
            service = Service(
                cluster=cluster.name,
                cluster_arn=cluster.arn,
                cluster_generation=cluster.generation,
                name=name,
                created_at=tx.now,
                created_by="arn:aws:iam::123456789012:root",
                configuration=configuration,
                desired=desired,
                **fields,
            )
            tx.put(SERVICES, SCOPE, service)
            deployments.begin(tx, SCOPE, service, configuration, self.ids)

        await self.store.update(make, "test")

    async def raw_update(self, name: str, definition: str | None = None, **fields: Any) -> None:
        """The same for UpdateService; with a ``definition`` a new deployment begins."""

        def change(tx: Tx) -> None:
            service = msgspec.structs.replace(self.service(name), **fields)
            if definition is not None:
                configuration = self._configuration(tx, definition, {})
                service = msgspec.structs.replace(service, configuration=configuration)
                deployments.begin(tx, SCOPE, service, configuration, self.ids)
            tx.put(SERVICES, SCOPE, service)

        await self.store.update(change, "test")

    def _configuration(self, tx: Tx, definition: str, more: dict[str, Any]) -> Configuration:
        found = definitions.find(tx, SCOPE, definition)
        assert found is not None
        fargate = "FARGATE" in (found.members.get("requiresCompatibilities") or ())
        awsvpc = definitions.network_mode(found) == "awsvpc"
        network = self.network()
        defaults: dict[str, Any] = {
            "definition_arn": found.arn,
            "launch_type": "FARGATE" if fargate else "EC2",
            "platform_version": "LATEST" if fargate else None,
            "network": Network(tuple(network["awsvpcConfiguration"]["subnets"]), ()) if awsvpc else None,
            "network_configuration": network if awsvpc else None,
        }
        return Configuration(**{**defaults, **more})

    # --- what there is --------------------------------------------------------------------------------------------

    def service(self, name: str) -> Service:
        found = self.store.view().get(SERVICES, SCOPE, f"demo/{name}")
        assert found is not None
        return found

    def tasks(self, name: str, *, all: bool = False) -> list[Task]:
        """Those that shall run; with ``all`` every one that the store knows."""
        found = self.store.view().find(TASKS, SCOPE, "cluster", CLUSTER)
        of = [t for t in found if t.group == f"service:{name}"]
        return of if all else [t for t in of if t.desired_status == "RUNNING"]

    def running(self, name: str) -> int:
        return sum(t.last_status == TaskStatus.RUNNING for t in self.tasks(name))

    def deployments(self, name: str) -> list[Deployment]:
        """Those that are shown, the newest first."""
        return services.deployments(self.store.view(), SCOPE, self.service(name))

    def rollouts(self, name: str) -> list[ServiceDeployment]:
        """All service deployments, the newest first."""
        found = self.store.view().find(SERVICE_DEPLOYMENTS, SCOPE, "service", f"demo/{name}")
        return sorted(found, key=lambda d: -d.number)

    def events(self, name: str) -> list[str]:
        """The messages of its events, the oldest first."""
        found = list(services.events(self.store.view(), SCOPE, self.service(name)))
        return [event.message for event in reversed(found) if event.message]

    async def until(self, true: Callable[[], Any], seconds: float = 3600.0) -> None:
        """Waits for something to be so, which changes with the store; for so long at most."""
        async with self.store.watch() as watch, asyncio.timeout(seconds):
            while not true():
                await watch.changes()

    async def steady(self, *names: str, seconds: float = 3600.0) -> None:
        """Waits until these services have told their steady state."""
        await self.until(lambda: all(self.service(name).steady_at is not None for name in names), seconds)


Scene = Callable[[ServiceWorld], Awaitable[None]]


def play(
    scene: Scene, journal: MemoryJournal | None = None, *, kept: int = 1000, delay: float = 0.0, pool: bool = True
) -> None:
    """Runs a scene on a world of its own, prepared unless it is handed a journal. ``delay``: seconds of an append;
    ``pool``: with a node of the Fargate pool (``world.nodes[0]``)."""
    loop = SimLoop()

    async def main() -> None:
        slow = MemoryJournal(SimClock(loop), lambda commits: Fault(delay=delay))
        world = ServiceWorld(loop, journal or slow, kept)
        await world.start()
        if journal is None:
            await world.prepare()
            if pool:
                await world.node()
        await scene(world)
        ended = [task for task in world._running if task.done() and not task.cancelled()]
        assert not ended, [task.exception() for task in ended]
        assert not world.wrong, world.wrong

    run(main(), loop)
