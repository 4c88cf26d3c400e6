"""Many services on simulated nodes: what bringing them up costs the control plane, and what they cost once they are
steady."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from bench import cost, harness, stored
from bench.agents import ask
from bench.fleet import CLUSTER, Fleet, Plane, fleet

SERVICES, TASKS, NODES = 1_000, 10, 500
MOST_SECONDS = 900.0  # for all to be steady
HEALTHY_SECONDS = 40.0  # a task without a check counts as healthy so long after it has begun to run
WATCHED = 60.0  # seconds: three heartbeats of each node
CALLS_AT_ONCE = 4


@dataclass(frozen=True)
class Many:
    """``rise``: seconds of processor time of the control plane from the first CreateService until all are steady, and
    ``seconds`` that took. ``empty`` and ``idle``: processor time in % of one core with connected nodes alone, and with
    the steady services."""

    services: int
    rise: float
    seconds: float
    empty: float
    idle: float
    memory: float

    @property
    def beyond(self) -> float:
        return self.idle - self.empty


def measure(services: int = SERVICES, nodes: int = NODES) -> Many:
    """About five minutes."""
    with fleet(nodes) as made:
        file = made.folder / "nodes.json"
        file.write_text(json.dumps({arn: [] for arn in made.instances}))
        with made.plane() as plane:
            plane.rest()
            argv = [sys.executable, "-m", "bench.workers", str(made.port), str(file)]
            load = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            try:
                ask(load, "connect")
                plane.rest()
                return _watch(made, plane, load, services)
            finally:
                load.kill()
                load.wait()


def _watch(made: Fleet, plane: Plane, load: subprocess.Popen[str], services: int) -> Many:
    ecs = stored.client(made.port, stored.KEY)
    empty = _idle(plane)
    before = cost.memory([plane.pid])
    began, used = time.monotonic(), cost.processor([plane.pid])
    _create(made, ecs, services)
    harness.until(lambda: ask(load, "count").get("running", 0) == services * TASKS, MOST_SECONDS, 1)
    time.sleep(HEALTHY_SECONDS)
    for start in range(0, services, 10):
        names = [_name(i) for i in range(start, min(start + 10, services))]
        harness.until(lambda names=names: _steady(ecs, names), MOST_SECONDS, 1)  # type: ignore[misc]
    ended, used = time.monotonic(), cost.processor([plane.pid]) - used
    plane.rest()
    return Many(services, used, ended - began, empty, _idle(plane), cost.memory([plane.pid]) - before)


def _idle(plane: Plane) -> float:
    """% of one core."""
    began, used = time.monotonic(), cost.processor([plane.pid])
    time.sleep(WATCHED)
    return (cost.processor([plane.pid]) - used) / (time.monotonic() - began) * 100


def _create(made: Fleet, ecs: Any, services: int) -> None:
    ec2 = stored.client(made.port, stored.KEY, "ec2")
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
    found = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["web"]}])["SecurityGroups"]
    network = {"awsvpcConfiguration": {"subnets": subnets, "securityGroups": [group["GroupId"] for group in found]}}

    def create(number: int) -> None:
        ecs.create_service(
            cluster=CLUSTER,
            serviceName=_name(number),
            taskDefinition="stored",
            launchType="EC2",
            desiredCount=TASKS,
            networkConfiguration=network,
        )

    with harness.pool(CALLS_AT_ONCE) as pool:
        list(pool.map(create, range(services)))


def _name(number: int) -> str:
    return f"s{number:04}"


def _steady(ecs: Any, names: list[str]) -> bool:
    found = ecs.describe_services(cluster=CLUSTER, services=names)["services"]
    return len(found) == len(names) and all(
        s["runningCount"] == s["desiredCount"] and [d["rolloutState"] for d in s["deployments"]] == ["COMPLETED"]
        for s in found
    )
