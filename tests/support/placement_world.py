"""Clusters of any size for tests of placement: real tables, no journal."""

from __future__ import annotations

import random
from typing import Any

from homeport.agentapi import FARGATE_ATTRIBUTE, NETWORK_ATTRIBUTE, SPEC_ATTRIBUTE
from homeport.services.ecs import placement, rooms
from homeport.services.ecs.model.instance import INSTANCES, POOL, ROOMS, Instance, Room, Taken
from homeport.services.ecs.model.task import TASKS, Task, TaskStatus
from homeport.services.ecs.placement import Constraint, Demand, Placement, Refusals, Strategy
from homeport.store import Scope, Tx
from homeport.store.rows import Rows

SCOPE = Scope("123456789012", "us-east-1")
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/demo"
ARNS = "arn:aws:ecs:us-east-1:123456789012:container-instance/demo/"
NETWORKED = {NETWORK_ATTRIBUTE: "1", SPEC_ATTRIBUTE: "1"}
RESERVED = ("22", "51678")


def demand(**more: Any) -> Demand:
    return Demand(**{"cpu": 256, "memory": 512, "region": "us-east-1", "cluster": CLUSTER, "networked": False} | more)


def member_of(expression: str) -> Constraint:
    return Constraint("memberOf", expression)


DISTINCT = Constraint("distinctInstance")


def chain(*steps: str) -> tuple[Strategy, ...]:
    """``spread attribute:x``, ``binpack cpu``, ``random``."""
    return tuple(Strategy(*step.split()) for step in steps)  # type: ignore[arg-type]


class PlacementWorld:
    """A cluster, ``CLUSTER``, and the Fargate pool. ``seed``: of what is picked at random."""

    def __init__(self, seed: int = 0) -> None:
        self.tx = Tx({table.kind: Rows[Any](table) for table in (INSTANCES, ROOMS, TASKS)}, 1, 0.0, "test")
        self.index = placement.StoreIndex(self.tx, SCOPE)
        self.chance = random.Random(seed)
        self.tasks: list[Task] = []
        self.taken: dict[str, Taken] = {}  # by task

    def add(
        self,
        id: str,
        *,
        cpu: int = 4096,
        memory: int = 8192,
        zone: str | None = None,
        fargate: bool = False,
        connected: bool = True,
        gpus: tuple[str, ...] = (),
        provider: str | None = None,
        attributes: dict[str, str] | None = None,
        custom: dict[str, str] | None = None,
        **more: Any,
    ) -> Room:
        named = NETWORKED | (attributes or {}) | ({"ecs.availability-zone": zone} if zone else {})
        named |= {FARGATE_ATTRIBUTE: "true"} if fargate else {}
        instance = Instance(
            id=id,
            arn=rooms.fargate_arn(SCOPE, id) if fargate else ARNS + id,
            cluster_arn="" if fargate else CLUSTER,
            node="n",
            launch_type="FARGATE" if fargate else "EXTERNAL" if rooms.EXTERNAL_ATTRIBUTE in named else "EC2",
            registered_at=0.0,
            connections=1,
            silent_since=None if connected else 0.0,
            attributes=tuple({"name": name, "value": value} for name, value in named.items()),
            custom=custom or {},
            resources=(
                {"name": "CPU", "integerValue": cpu},
                {"name": "MEMORY", "integerValue": memory},
                {"name": "PORTS", "stringSetValue": list(RESERVED)},
                {"name": "GPU", "stringSetValue": list(gpus)},
            ),
            **more,
        )
        scope = POOL if fargate else SCOPE
        before = Room(id=id, arn=instance.arn, cpu=0, memory=0, provider=provider)
        room = rooms.of(self.tx, scope, instance, before)
        self.tx.put(INSTANCES, scope, instance)
        self.tx.put(ROOMS, scope, room)
        return room

    def room(self, id: str) -> Room:
        found = self.tx.get(ROOMS, SCOPE, id) or self.tx.get(ROOMS, POOL, id)
        assert found is not None
        return found

    def place(self, wanted: Demand) -> Placement | Refusals:
        return placement.place(wanted, self.index, self.chance.randrange)

    def start(self, wanted: Demand) -> str | None:
        """Places a task and charges what it takes; the id of its instance, None where all refuse."""
        found = self.place(wanted)
        if isinstance(found, Refusals):
            return None
        self.put(wanted, found)
        return found.room.id

    def put(self, wanted: Demand, found: Placement) -> Task:
        task = Task(
            id=f"{len(self.taken):032x}",
            cluster_arn=wanted.cluster or CLUSTER,
            definition_arn="arn:aws:ecs:us-east-1:123456789012:task-definition/web:1",
            launch_type="EC2" if wanted.cluster else "FARGATE",
            group=wanted.group,
            cpu=wanted.cpu,
            memory=wanted.memory,
            created_at=0.0,
            containers=(),
            last_status=TaskStatus.RUNNING,
            instance=found.room.arn,
            charged=True,
            tcp=wanted.tcp,
            udp=wanted.udp,
            gpus=found.gpus,
            availability_zone=found.zone,
        )
        self.taken[task.id] = task.taken._replace(interfaces=int(wanted.networked))
        rooms.charge(self.tx, found.room, self.taken[task.id])
        self.tx.put(TASKS, SCOPE, task)
        self.tasks.append(task)
        return task

    def starts(self, wanted: Demand, *ids: str) -> None:
        """Places tasks on these instances, whatever placement thinks."""
        for id in ids:
            room = self.room(id)
            self.put(wanted, Placement(room, room.zone, room.gpus[: wanted.gpus]))

    def stop(self, task: Task) -> None:
        """Ends a task and gives back what it took."""
        rooms.free(self.tx, task.instance or "", self.taken[task.id])
        self.tx.delete(TASKS, SCOPE, task.id)
        self.tasks.remove(task)
