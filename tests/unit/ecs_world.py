"""A control plane's ECS on virtual time: real store, task loop and gateway; agents on sockets in the same process."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import botocore.session
from botocore.validate import ParamValidator

from homeport.agentapi import (
    AckRequest,
    HeartbeatAckRequest,
    HeartbeatMessage,
    HomeportGroupsMessage,
    Message,
    PayloadMessage,
    PayloadTask,
    TaskManifestMessage,
    decode,
    encode,
)
from homeport.aws.operations import Call, Principal
from homeport.core.errors import AwsError
from homeport.core.ids import BitIds
from homeport.core.paging import Tokens
from homeport.services import ec2, ecs, iam
from homeport.services.ec2.model import SUBNETS
from homeport.services.ecs.model.instance import INSTANCES, POOL, ROOMS
from homeport.services.ecs.model.task import TASKS, Task
from homeport.sim.loop import SimClock, SimLoop, run
from homeport.store import Scope, Store
from homeport.store.memory import Fault, MemoryJournal

ACCOUNT, REGION = "123456789012", "us-east-1"
SCOPE = Scope(ACCOUNT, REGION)
ROOT = Principal(account=ACCOUNT, arn=f"arn:aws:iam::{ACCOUNT}:root", user_id=ACCOUNT, access_key_id="AKIAROOT")
MODEL = botocore.session.get_session().get_service_model("ecs")
_ACKNOWLEDGED = (PayloadMessage, HomeportGroupsMessage, TaskManifestMessage)
TABLES = (*ecs.TABLES, *ec2.model.TABLES, *iam.TABLES)


def node(name: str) -> Principal:
    arn = f"arn:aws:iam::{ACCOUNT}:homeport-node/{name}"
    return Principal(account=ACCOUNT, arn=arn, user_id=name, access_key_id=f"AKIA{name}", node=name)


class HungUp(Exception):
    """A fake socket's end."""


class FakeSocket:
    """The server's end of a websocket whose other end is the test."""

    def __init__(self) -> None:
        self.to_agent: asyncio.Queue[str | None] = asyncio.Queue()
        self.to_server: asyncio.Queue[str | None] = asyncio.Queue()
        self.closed = False

    async def send(self, text: str) -> None:
        if self.closed:
            raise HungUp
        self.to_agent.put_nowait(text)

    async def receive(self) -> str:
        text = None if self.closed else await self.to_server.get()
        if text is None:
            raise HungUp
        return text

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = True
        self.to_agent.put_nowait(None)
        self.to_server.put_nowait(None)


class Agent:
    """An agent that answers as it is told to: by default it acknowledges everything and reports nothing by itself."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.principal = world, node(name)
        self.arn = ""
        self.socket = FakeSocket()
        self.heard: list[Message] = []
        self.mute: set[type[Message]] = set()  # what is not acknowledged
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []

    async def register(self, *, cpu: int = 16384, memory: int = 16384, **attributes: str) -> dict[str, Any]:
        values = {"homeport.fargate": "true", "homeport.network": "1", "homeport.spec": "1", **attributes}
        answer = await self.world.call(
            "RegisterContainerInstance",
            self.principal,
            totalResources=[
                {"name": "CPU", "type": "INTEGER", "integerValue": cpu},
                {"name": "MEMORY", "type": "INTEGER", "integerValue": memory},
            ],
            attributes=[{"name": n, "value": v} for n, v in values.items()],
            **({"containerInstanceArn": self.arn} if self.arn else {}),
        )
        self.arn = answer["containerInstance"]["containerInstanceArn"]
        return answer["containerInstance"]

    async def connect(self) -> None:
        """Opens a websocket; ended only by ``hang_up`` or by the server."""
        self.socket = socket = FakeSocket()
        session = self.world.gateway.session(self.principal, {"containerInstanceArn": self.arn}, socket)
        self._tasks = [asyncio.create_task(session), asyncio.create_task(self._listen(socket))]
        await self.hears(TaskManifestMessage)

    async def hang_up(self) -> None:
        await self.socket.close()
        await asyncio.wait(self._tasks)

    async def say(self, message: Message) -> None:
        self.socket.to_server.put_nowait(encode(message))

    async def hears(self, kind: type[Message], after: int = 0) -> Any:
        """The first message of this kind that is or comes in, the first ``after`` messages left out."""
        while True:
            self._news.clear()
            found = next((m for m in self.heard[after:] if isinstance(m, kind)), None)
            if found is not None:
                return found
            await asyncio.wait_for(self._news.wait(), 600)

    def payload(self) -> list[PayloadTask]:
        """Every task that it was sent, in order."""
        return [task for m in self.heard if isinstance(m, PayloadMessage) for task in m.tasks]

    async def sent(self, arn: str, desired: str, times: int = 1) -> PayloadTask:
        """Waits until a task was sent with this desired status so many times."""
        while True:
            self._news.clear()
            found = [t for t in self.payload() if (t.arn, t.desired_status) == (arn, desired)]
            if len(found) >= times:
                return found[-1]
            await asyncio.wait_for(self._news.wait(), 600)

    async def report(self, task: str, status: str, *containers: dict[str, Any], **more: Any) -> None:
        told = [{"containerName": "app", **c} for c in containers] or [{"containerName": "app", "status": status}]
        await self.world.call(
            "SubmitTaskStateChange",
            self.principal,
            cluster="demo",
            task=task,
            status=status,
            containers=told,
            **more,
        )

    async def _listen(self, socket: FakeSocket) -> None:
        while (frame := await socket.to_agent.get()) is not None:
            message = decode(frame)
            assert message is not None
            self.heard.append(message)
            if isinstance(message, HeartbeatMessage):
                if HeartbeatMessage not in self.mute:
                    await self.say(HeartbeatAckRequest(message_id=message.message_id))
            elif isinstance(message, _ACKNOWLEDGED) and type(message) not in self.mute:
                await self.ack(message.message_id)
            self._news.set()

    async def ack(self, message_id: str) -> None:
        await self.say(AckRequest(cluster="demo", container_instance=self.arn, message_id=message_id))


class World:
    def __init__(self, loop: SimLoop, journal: MemoryJournal, kept: int) -> None:
        self.clock, self.journal = SimClock(loop), journal
        self.store = Store(journal, TABLES, self.clock)
        self.ids, self.tokens = BitIds(random.Random(7).getrandbits), Tokens(b"key")
        self.gateway = ecs.Gateway(self.store, self.clock, self.ids)
        self.loop = ecs.TaskLoop(self.store, self.clock, self.ids, kept=kept)
        self._running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.store.open()
        self._running = [asyncio.create_task(self.gateway.run()), asyncio.create_task(self.loop.run())]
        await asyncio.sleep(0.01)

    async def crash(self) -> None:
        """Everything in memory ends as it stands."""
        for task in self._running:
            task.cancel()
        await asyncio.wait(self._running)
        self._running = []

    async def call(self, name: str, principal: Principal = ROOT, /, **params: Any) -> dict[str, Any]:
        """An operation, its input and output checked against the model."""
        model, operation = MODEL.operation_model(name), ecs.SERVICE.operations[name]
        hidden = {"clientToken"} - model.input_shape.members.keys()  # Amazon's agent sends it all the same
        _fits({name: value for name, value in params.items() if name not in hidden}, model.input_shape)
        call = Call(
            principal=principal,
            account=ACCOUNT,
            region=REGION,
            service="ecs",
            operation=name,
            request_id="1",
            now=self.clock.wall(),
            ids=self.ids,
            tokens=self.tokens,
            endpoint="http://127.0.0.1:4566",
        )
        if operation.write:
            answer = await self.store.update(lambda tx: operation.handler(tx, call, params), name)
        else:
            answer = await self.store.read(lambda view: operation.handler(view, call, params))
        _fits(answer or {}, model.output_shape)
        return answer or {}

    async def refused(self, name: str, principal: Principal = ROOT, /, **params: Any) -> tuple[str, str]:
        """(code, message) of the error that the call is answered with; it changes nothing."""
        version = self.store.version
        try:
            answer = await self.call(name, principal, **params)
        except AwsError as error:
            assert self.store.version == version
            return error.code, error.message
        raise AssertionError(f"{name} was answered with {answer}")

    async def prepare(self) -> None:
        """A cluster, a task definition and the default VPC."""
        await self.call("CreateCluster", clusterName="demo")
        await self.define("web")
        await self.store.update(lambda tx: ec2.defaults.ensure_default(tx, SCOPE, self.ids, tx.now), "test")
        await self.store.update(lambda tx: ec2.pool.configure(tx, "198.18.0.0/24"), "test")

    async def define(self, family: str, *containers: dict[str, Any], **members: Any) -> str:
        made = await self.call(
            "RegisterTaskDefinition",
            **{
                "family": family,
                "networkMode": "awsvpc",
                "requiresCompatibilities": ["FARGATE"],
                "cpu": "256",
                "memory": "512",
                "containerDefinitions": list(containers) or [{"name": "app", "image": "httpd:2.4"}],
                **members,
            },
        )
        return str(made["taskDefinition"]["taskDefinitionArn"])

    def subnets(self) -> list[str]:
        return [s.id for s in self.store.view().all(SUBNETS, SCOPE)]

    def network(self, *groups: str, public: bool = False) -> dict[str, Any]:
        wanted: dict[str, Any] = {"subnets": self.subnets()[:1], "securityGroups": list(groups)}
        return {"awsvpcConfiguration": wanted | {"assignPublicIp": "ENABLED" if public else "DISABLED"}}

    async def run_task(self, **params: Any) -> dict[str, Any]:
        return await self.call("RunTask", **self.task_params(**params))

    def task_params(self, **params: Any) -> dict[str, Any]:
        defaults = {"cluster": "demo", "taskDefinition": "web", "networkConfiguration": self.network()}
        return {**defaults, "launchType": "FARGATE", **params}

    async def describe(self, arn: str) -> dict[str, Any]:
        return (await self.call("DescribeTasks", cluster="demo", tasks=[arn], include=["TAGS"]))["tasks"][0]

    async def becomes(self, arn: str, status: str) -> dict[str, Any]:
        """The task once its lastStatus is this one."""
        async with self.store.watch(TASKS.kind) as watch:
            while True:
                task = await self.describe(arn)
                if task["lastStatus"] == status:
                    return task
                await asyncio.wait_for(watch.changes(), 4000)

    def task(self, arn: str) -> Task:
        found = self.store.view().get(TASKS, SCOPE, arn.rpartition("/")[2])
        assert found is not None
        return found

    async def statuses(self, arn: str) -> list[str]:
        """Every lastStatus that the change log knows, in order, each once."""
        story = await self.store.story(SCOPE, TASKS.kind, arn.rpartition("/")[2])
        names = [_NAMES[c.new["last_status"]] if "last_status" in c.new else "PROVISIONING" for c in story if c.new]
        return list(dict.fromkeys(names))

    def room(self, arn: str) -> Any:
        return self.store.view().get(ROOMS, POOL, arn.rpartition("/")[2])

    def instance(self, arn: str) -> Any:
        return self.store.view().get(INSTANCES, POOL, arn.rpartition("/")[2])


_NAMES = {
    1: "PROVISIONING",
    2: "PENDING",
    3: "ACTIVATING",
    4: "RUNNING",
    5: "DEACTIVATING",
    6: "STOPPING",
    7: "DEPROVISIONING",
    8: "STOPPED",
}


def play(
    scene: Callable[[World], Awaitable[None]],
    journal: MemoryJournal | None = None,
    kept: int = 1000,
    delay: float = 0.0,
) -> None:
    """Runs a scene on a world of its own, prepared unless it is handed a journal. ``delay``: seconds of an append."""
    loop = SimLoop()

    async def main() -> None:
        slow = MemoryJournal(SimClock(loop), lambda commits: Fault(delay=delay))
        world = World(loop, journal or slow, kept)
        await world.start()
        if journal is None:
            await world.prepare()
        await scene(world)
        ended = [task for task in world._running if task.done() and not task.cancelled()]
        assert not ended, [task.exception() for task in ended]

    run(main(), loop)


def _fits(value: Any, shape: Any) -> None:
    report = ParamValidator().validate(value, shape)
    assert not report.has_errors(), report.generate_report()
    _known(value, shape, shape.name)


def _known(value: Any, shape: Any, path: str) -> None:
    """Every member is one of the model's."""
    if shape.type_name == "structure":
        for name, member in value.items():
            if name == "clientToken" and name not in shape.members:
                continue
            assert name in shape.members, f"{path} has no member {name}"
            _known(member, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for item in value:
            _known(item, shape.member, f"{path}[]")
