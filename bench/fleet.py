"""A control plane of its own whose cluster has container instances with RUNNING tasks.

Instances register through the API, with the account's key. Their tasks are written through the store, as they are once
an agent has reported them RUNNING: with an interface, an attachment, a container and what they take of their instance.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import cost, harness, stored
from homeport import config
from homeport.agent.config import AgentSettings, Host
from homeport.agent.http import HttpTransport
from homeport.agent.registration import registration
from homeport.core.ids import BitIds
from homeport.services.ec2.model import GROUPS, INTERFACES, SUBNETS, NetworkInterface
from homeport.services.ecs import rooms
from homeport.services.ecs.model.instance import ROOMS
from homeport.services.ecs.model.task import TASKS, Attachment, Container, NodeStatus, Task, TaskStatus
from homeport.store import Scope, Store, Tx
from homeport.store.sql import SqliteJournal
from homeport.system import SystemClock

REGION, CLUSTER = "us-east-1", "bench"
MACHINE = "bench"  # the id of a machine that all of them give
BATCH = 2_000  # tasks in one commit
REST_SECONDS, REST_USE = 1.0, 0.03  # a process that uses less than that of a core for so long has nothing left to do
_DIGEST = "sha256:" + "5e" * 32


class Plane:
    """The process, for as long as the context lasts. ``seconds``: from its start to its first answer."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.seconds = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Plane:
        access, secret = stored.KEY
        environment = {**os.environ, "HOMEPORT_ACCESS_KEY": access, "HOMEPORT_SECRET_KEY": secret}
        argv = [sys.executable, "-m", "homeport", "server", "--state", str(self.folder), "--port", str(self.port)]
        began = time.monotonic()
        self._process = subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL)
        ecs = stored.client(self.port, stored.KEY)
        harness.until(lambda: self._process.poll() is not None or stored.answers(ecs), 600, 0.05)  # type: ignore[union-attr]
        if self._process.poll() is not None:
            raise SystemExit(f"the control plane ended with exit code {self._process.returncode}")
        self.seconds = time.monotonic() - began
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def rest(self) -> None:
        """Waits until it has nothing left to do."""

        def resting() -> bool:
            before = cost.processor([self.pid])
            time.sleep(REST_SECONDS)
            return cost.processor([self.pid]) - before < REST_USE * REST_SECONDS

        harness.until(resting, 600)


class Fleet:
    """``instances``: their ARNs."""

    def __init__(self, folder: Path, port: int, settings: config.Settings) -> None:
        self.folder, self.port, self._settings = folder, port, settings
        self.instances: list[str] = []

    @property
    def database(self) -> Path:
        return Path(self._settings.database)

    def plane(self) -> Plane:
        return Plane(self.folder, self.port)

    def populate(self, count: int) -> dict[str, list[str]]:
        """Writes ``count`` RUNNING tasks in equal shares; each instance's ARN with those of its tasks. While the
        control plane isn't running."""
        return asyncio.run(self._write(count))

    async def _write(self, count: int) -> dict[str, list[str]]:
        from homeport.server import TABLES

        store = Store(SqliteJournal(self._settings.database), TABLES, SystemClock())
        await store.open()
        maker = _Maker(store, Scope(self._settings.account_id, REGION))
        share = count // len(self.instances)
        places = [arn for arn in self.instances for _ in range(share)]
        of: dict[str, list[str]] = {arn: [] for arn in self.instances}
        for start in range(0, len(places), BATCH):
            some = places[start : start + BATCH]
            made = await store.update(lambda tx, some=some: [maker.make(tx, arn) for arn in some], "bench")  # type: ignore[misc]
            for place, task in zip(some, made, strict=True):
                of[place].append(task)
        await store.close()
        return of


@contextlib.contextmanager
def fleet(instances: int) -> Iterator[Fleet]:
    """A state folder with so many registered container instances, whose agents are away."""
    with tempfile.TemporaryDirectory(prefix="homeport-fleet-") as name:
        folder, port = Path(name), stored.free_port()
        settings = config.load_or_create(name, port=port, public_pool="198.19.0.0/22")
        config.save(settings)
        made = Fleet(folder, port, settings)
        with made.plane():
            ecs = stored.client(port, stored.KEY)
            ecs.create_cluster(clusterName=CLUSTER)
            ecs.register_task_definition(
                family="stored",
                networkMode="awsvpc",
                cpu="256",
                memory="512",
                containerDefinitions=[{"name": "app", "image": harness.IMAGE}],
            )
            made.instances = asyncio.run(_register(port, instances))
        yield made


async def _register(port: int, count: int) -> list[str]:
    transport = HttpTransport(f"http://127.0.0.1:{port}", *stored.KEY, REGION, SystemClock(), "bench")
    settings = AgentSettings(
        state="", instance="", endpoint="", access_key="", secret_key="", region=REGION, cluster=CLUSTER
    )
    host = Host(cores=1024, memory=4 << 20, architecture="x86_64", boot_id="", agent_version="bench")

    async def register(number: int) -> str:
        answer = await transport.call(
            "RegisterContainerInstance", registration(settings, host, None, f"{number:036}", MACHINE)
        )
        return str(answer["containerInstance"]["containerInstanceArn"])

    try:
        return list(await asyncio.gather(*map(register, range(count))))
    finally:
        await transport.close()


class _Maker:
    """Makes tasks in the region's default VPC."""

    def __init__(self, store: Store, scope: Scope) -> None:
        view = store.view()
        self._scope = scope
        self._subnets = view.all(SUBNETS, scope)
        self._groups = tuple(group.id for group in view.all(GROUPS, scope) if group.name == "web")
        self._ids = BitIds(random.Random(1).getrandbits)
        self._made = 0

    def make(self, tx: Tx, instance: str) -> str:
        interface, attachment = self._interface(tx.now)
        task = self._task(instance, interface, attachment, tx.now)
        place = rooms.place_of(instance)
        room = tx.get(ROOMS, *place) if place else None
        assert room is not None
        rooms.charge(tx, room, task.taken)
        tx.put(INTERFACES, self._scope, interface)
        tx.put(TASKS, self._scope, task)
        return task.arn

    def _interface(self, now: float) -> tuple[NetworkInterface, str]:
        self._made += 1
        new, attachment = self._ids.new, self._ids.new("uuid")
        subnet = self._subnets[self._made % len(self._subnets)]
        address = f"10.{self._made >> 16}.{self._made >> 8 & 255}.{self._made & 255}"
        interface = NetworkInterface(
            id=new("eni"),
            vpc_id=subnet.vpc_id,
            subnet_id=subnet.id,
            availability_zone=subnet.availability_zone,
            mac=new("mac"),
            private_address=address,
            private_dns_name=f"ip-{address.replace('.', '-')}.ec2.internal",
            groups=self._groups,
            description=f"arn:aws:ecs:{REGION}:{self._scope.account}:attachment/{attachment}",
            status="in-use",
            created_at=now,
            attachment_id=new("eni-attach"),
            attached_at=now,
        )
        return interface, attachment

    def _task(self, instance: str, interface: NetworkInterface, attachment: str, now: float) -> Task:
        head = f"arn:aws:ecs:{REGION}:{self._scope.account}"
        id = self._ids.new("hex")
        container = Container(
            id=self._ids.new("uuid"),
            name="app",
            status="RUNNING",
            ran=True,
            runtime_id=f"{id}-{self._ids.new('number')}",
            image_digest=_DIGEST,
        )
        details = {
            "subnetId": interface.subnet_id,
            "networkInterfaceId": interface.id,
            "macAddress": interface.mac,
            "privateDnsName": interface.private_dns_name,
            "privateIPv4Address": interface.private_address,
        }
        return Task(
            id=id,
            cluster_arn=f"{head}:cluster/{CLUSTER}",
            definition_arn=f"{head}:task-definition/stored:1",
            launch_type="EC2",
            group="family:stored",
            cpu=256,
            memory=512,
            created_at=now,
            containers=(container,),
            attachments=(Attachment(id=attachment, status="ATTACHED", details=details),),
            last_status=TaskStatus.RUNNING,
            node_status=NodeStatus.RUNNING,
            instance=instance,
            charged=True,
            availability_zone=interface.availability_zone,
            overrides={"containerOverrides": [{"name": "app"}], "inferenceAcceleratorOverrides": []},
            image_digests={"app": _DIGEST},
            version=5,
            connected_at=now + 0.25,
            pull_started_at=now + 0.5,
            pull_stopped_at=now + 0.75,
            started_at=now + 1,
        )
