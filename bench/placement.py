"""How fast tasks are placed, and what more instances cost: decisions alone, and through the store with its journal in
memory. ``python -m bench.placement`` needs nothing but Homeport itself. All times are of one core's CPU: nothing here
waits for anything."""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from homeport.agentapi import NETWORK_ATTRIBUTE, SPEC_ATTRIBUTE
from homeport.services.ecs import TABLES, placement, rooms
from homeport.services.ecs.model.instance import INSTANCES, ROOMS, Instance
from homeport.services.ecs.model.task import TASKS, Container, Task, TaskStatus
from homeport.services.ecs.placement import Constraint, Demand, Placement, Strategy
from homeport.store import Scope, Store, Tx
from homeport.store.memory import MemoryJournal
from homeport.system import SystemClock

SCOPE = Scope("123456789012", "us-east-1")
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/bench"
ARN = "arn:aws:ecs:us-east-1:123456789012:{}/bench/{}"
DEFINITIONS = 200
FEW, MANY = 100, 10_000  # instances
ROUNDS = 10
STRATEGY = (Strategy("spread", "attribute:ecs.availability-zone"), Strategy("binpack", "memory"))
SIZES = ((128, 256), (256, 512), (256, 1024), (300, 700), (512, 1024), (1024, 2048))  # CPU units, MiB
TYPES = {"m5.xlarge": (4096, 15_800), "m5.2xlarge": (8192, 31_900), "c5.2xlarge": (8192, 15_500)}
TASKS_PER_INSTANCE = 8  # that run at once: a bit more than half of the room is taken


@dataclass(frozen=True)
class Measured:
    """``alone``: decisions per second; ``stored``: the same through the store. ``few_us`` and ``many_us``:
    microseconds that a decision takes with ``FEW`` and with all instances."""

    instances: int
    tasks: int
    alone: float
    stored: float
    few_us: float
    many_us: float

    @property
    def growth(self) -> float:
        return self.many_us / self.few_us


def definitions() -> list[Demand]:
    """Half ask for more than room: an attribute, an instance of their own, or a host port, in turns."""
    made = []
    for i in range(DEFINITIONS):
        cpu, memory = SIZES[i % len(SIZES)]
        more: dict[str, Any] = {}
        if i % 6 == 1:
            more["constraints"] = (Constraint("memberOf", f"attribute:stack == {'ab'[i // 6 % 2]}"),)
        elif i % 6 == 3:
            more["constraints"] = (Constraint("distinctInstance"),)
        elif i % 6 == 5:
            more["tcp"] = (8000 + i,)
        made.append(
            Demand(
                cpu=cpu,
                memory=memory,
                region=SCOPE.region,
                networked=False,
                cluster=CLUSTER,
                group=f"service:s{i}",
                strategy=STRATEGY,
                **more,
            )
        )
    return made


def _register_all(tx: Tx, instances: int) -> None:
    for i in range(instances):
        _register(tx, i)


def _register(tx: Tx, i: int) -> None:
    kind = list(TYPES)[i % len(TYPES)]
    cpu, memory = TYPES[kind]
    attributes = {
        "ecs.availability-zone": f"us-east-1{'abc'[i // len(TYPES) % 3]}",
        "ecs.instance-type": kind,
        "stack": "ab"[i // 9 % 2],
        NETWORK_ATTRIBUTE: "1",
        SPEC_ATTRIBUTE: "1",
    }
    instance = Instance(
        id=f"{i:032x}",
        arn=ARN.format("container-instance", f"{i:032x}"),
        cluster_arn=CLUSTER,
        node=f"n{i}",
        registered_at=0.0,
        connections=1,
        attributes=tuple({"name": name, "value": value} for name, value in attributes.items()),
        resources=(
            {"name": "CPU", "integerValue": cpu},
            {"name": "MEMORY", "integerValue": memory},
            {"name": "PORTS", "stringSetValue": ["22", "2375", "2376", "51678", "51679"]},
        ),
    )
    tx.put(INSTANCES, SCOPE, instance)
    tx.put(ROOMS, SCOPE, rooms.of(tx, SCOPE, instance, None))


class Bench:
    """A cluster that fills, and then has tasks come and go at random, so that it stays as full."""

    def __init__(self, store: Store, instances: int) -> None:
        self.store, self.full = store, instances * TASKS_PER_INSTANCE
        self.chance = random.Random(instances)
        self.demands = definitions()
        self.running: list[str] = []
        self.deciding = self.starting = 0.0  # seconds of CPU: decisions alone, and with what the store does
        self.refused = 0

    async def turns(self, count: int) -> None:
        """One transaction for each task that starts, and one for each that ends."""
        for _ in range(count):
            began = time.process_time()
            await self.store.update(self._start, "bench")
            self.starting += time.process_time() - began
            if len(self.running) > self.full:
                await self.store.update(self._stop, "bench")

    def _start(self, tx: Tx) -> None:
        demand = self.demands[self.chance.randrange(DEFINITIONS)]
        began = time.process_time()
        placed = placement.place(demand, placement.StoreIndex(tx, SCOPE), self.chance.randrange)
        self.deciding += time.process_time() - began
        if not isinstance(placed, Placement):
            self.refused += 1
            return
        task = Task(
            id=f"{self.chance.getrandbits(128):032x}",
            cluster_arn=CLUSTER,
            definition_arn=ARN.format("task-definition", f"{demand.group.removeprefix('service:')}:1"),
            launch_type="EC2",
            group=demand.group,
            cpu=demand.cpu,
            memory=demand.memory,
            created_at=tx.now,
            containers=(Container(id=f"{self.chance.getrandbits(128):032x}", name="app", essential=True),),
            last_status=TaskStatus.PENDING,
            instance=placed.room.arn,
            charged=True,
            tcp=demand.tcp,
            availability_zone=placed.zone,
        )
        rooms.charge(tx, placed.room, task.taken)
        tx.put(TASKS, SCOPE, task)
        self.running.append(task.id)

    def _stop(self, tx: Tx) -> None:
        at = self.chance.randrange(len(self.running))
        self.running[at], self.running[-1] = self.running[-1], self.running[at]
        task = tx.get(TASKS, SCOPE, self.running.pop())
        assert task is not None
        rooms.free(tx, task.instance or "", task.taken)
        tx.delete(TASKS, SCOPE, task.id)


async def decisions(instances: int, tasks: int) -> tuple[float, float]:
    """Microseconds of a decision; decisions per second with all that the store does for them. Raises AssertionError
    where a task found no place: that would be another figure."""
    store = Store(MemoryJournal(), TABLES, SystemClock())
    await store.open()
    try:
        await store.update(lambda tx: _register_all(tx, instances), "bench")
        bench = Bench(store, instances)
        gc.collect()
        gc.freeze()
        await bench.turns(tasks)
        assert not bench.refused, f"{bench.refused} tasks found no place"
        return bench.deciding / tasks * 1e6, tasks / bench.starting
    finally:
        await store.close()
        gc.unfreeze()


def measure(instances: int, tasks: int) -> Measured:
    """As many tasks for each instance where there are few of them."""
    share = max(1, tasks * FEW // instances)
    few = [asyncio.run(decisions(FEW, share))[0] for _ in range(ROUNDS + 1)][1:]  # the first fills caches
    many, stored = asyncio.run(decisions(instances, tasks))
    return Measured(instances, tasks, 1e6 / many, stored, median(few), many)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=MANY)
    parser.add_argument("--tasks", type=int, default=100_000, help="that are placed, one after the other")
    options = parser.parse_args()
    print(measure(options.instances, options.tasks))


if __name__ == "__main__":
    main()
