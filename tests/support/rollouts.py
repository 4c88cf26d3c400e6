"""A service on plain records for tests of deployments: real tables, real decisions, tasks that do as they are told.

Nothing runs by itself: ``look`` lets the scheduler decide once and carries out the plan; tests move tasks and time.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
from msgspec.structs import replace

from homeport.core.ids import BitIds
from homeport.services.ecs import deployments, services
from homeport.services.ecs.model.deployment import (
    DEPLOYMENTS,
    REVISIONS,
    SERVICE_DEPLOYMENTS,
    Configuration,
    Deployment,
    Revision,
    ServiceDeployment,
)
from homeport.services.ecs.model.service import SERVICES, Service
from homeport.services.ecs.model.task import TASKS, Container, Task, TaskStatus
from homeport.services.ecs.scheduling.plan import Plan, Seen
from homeport.services.ecs.scheduling.reconcile import reconcile
from homeport.store import Scope, Tx
from homeport.store.rows import Rows

SCOPE = Scope("123456789012", "us-east-1")
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/demo"
ROLLING = {"maximumPercent": 200, "minimumHealthyPercent": 100}
TABLES = (SERVICES, DEPLOYMENTS, REVISIONS, SERVICE_DEPLOYMENTS, TASKS)


def definition(number: int) -> str:
    return f"arn:aws:ecs:us-east-1:123456789012:task-definition/web:{number}"


def breaker(*, rollback: bool = True, **more: Any) -> dict[str, Any]:
    """A deployment configuration with a circuit breaker."""
    return {**ROLLING, "deploymentCircuitBreaker": {"enable": True, "rollback": rollback, **more}}


def task(id: str = "t", deployment: str = "ecs-svc/1", **more: Any) -> Task:
    """A task of a service; RUNNING for an hour unless ``more`` says otherwise."""
    fields: dict[str, Any] = {
        "id": id,
        "cluster_arn": CLUSTER,
        "definition_arn": definition(1),
        "launch_type": "FARGATE",
        "group": "service:web",
        "cpu": 256,
        "memory": 512,
        "created_at": 0.0,
        "containers": (Container(id="c", name="app"),),
        "last_status": TaskStatus.RUNNING,
        "started_at": 0.0,
        "started_by": deployment,
    }
    return Task(**{**fields, **more})


class RolloutWorld:
    """A service ``web`` and its first deployment, of ``definition(1)``. ``checked``: its container has a health check,
    so that tasks are healthy when they are told to be; else it takes 40 s."""

    def __init__(self, desired: int = 2, *, checked: bool = True, **configuration: Any) -> None:
        self.now, self.version = 1000.0, 1
        self.checked = checked
        self.ids = BitIds(random.Random(5).getrandbits)
        self._tables: dict[str, Rows[Any]] = {table.kind: Rows[Any](table) for table in TABLES}
        self.plans: list[Plan] = []
        self.made = 0
        first = Configuration(definition_arn=definition(1), launch_type="FARGATE")
        service = Service(
            cluster="demo",
            cluster_arn=CLUSTER,
            cluster_generation=1,
            name="web",
            created_at=0.0,
            created_by="root",
            configuration=first,
            desired=desired,
            deployment_configuration=configuration or ROLLING,
        )
        self.tx().put(SERVICES, SCOPE, service)
        deployments.begin(self.tx(), SCOPE, service, first, self.ids)

    # --- what is asked for ------------------------------------------------------------------------------------------

    def tx(self) -> Tx:
        """A transaction of its own, that can't fail."""
        self.version += 1
        return Tx(self._tables, self.version, self.now, "test")

    def update(self, number: int | None = None, **fields: Any) -> None:
        """UpdateService: with a definition's ``number``, or the same one again, a deployment begins."""
        service = replace(self.service, **fields)
        if number is not None:
            configuration = Configuration(definition_arn=definition(number), launch_type="FARGATE")
            service = replace(service, configuration=configuration)
            deployments.begin(self.tx(), SCOPE, service, configuration, self.ids)
        self.tx().put(SERVICES, SCOPE, service)

    def stop(self) -> None:
        """StopServiceDeployment."""
        (going,) = [d for d in self.tx().find(SERVICE_DEPLOYMENTS, SCOPE, "open", self.service.id) if _may_stop(d)]
        self.tx().put(SERVICE_DEPLOYMENTS, SCOPE, replace(going, status="ROLLBACK_REQUESTED"))

    # --- what the scheduler does ------------------------------------------------------------------------------------

    def seen(self) -> Seen:
        view, service = self.tx(), self.service
        shown = services.deployments(view, SCOPE, service)
        good = deployments.candidate(view, SCOPE, service.id)
        tasks = tuple(services.tasks(view, SCOPE, service))
        return Seen(
            service=service,
            deployments=tuple(shown),
            good=good,
            revisions={r.id: r for r in view.find(REVISIONS, SCOPE, "service", service.id)},
            service_deployments=tuple(view.find(SERVICE_DEPLOYMENTS, SCOPE, "open", service.id)),
            tasks=tasks,
            checked={t.definition_arn: frozenset({"app"}) for t in tasks} if self.checked else {},
        )

    def look(self) -> Plan:
        """One look; what it starts is PENDING, what it stops shall stop."""
        seen = self.seen()
        plan = reconcile(seen, self.now)
        tx = self.tx()
        for deployment in plan.deployments:
            tx.put(DEPLOYMENTS, SCOPE, deployment)
        for revision in plan.revisions:
            tx.put(REVISIONS, SCOPE, revision)
        for going in plan.service_deployments:
            tx.put(SERVICE_DEPLOYMENTS, SCOPE, going)
        for id in plan.noted:
            tx.put(TASKS, SCOPE, replace(self.task(id), noted=True))
        for start in plan.starts:
            for _ in range(start.count):
                self._start(tx, start.owner)
        for stop in plan.stops:
            wanted = {"desired_status": "STOPPED", "stop_code": "ServiceSchedulerInitiated"}
            tx.put(TASKS, SCOPE, replace(self.task(stop.task), **wanted, stopped_reason=stop.reason))
        tx.put(SERVICES, SCOPE, plan.service)
        self.plans.append(plan)
        return plan

    def _start(self, tx: Tx, owner: str) -> None:
        deployment = tx.get(DEPLOYMENTS, SCOPE, owner)
        assert deployment is not None
        revision = tx.get(REVISIONS, SCOPE, deployment.revision)
        assert revision is not None
        self.made += 1
        made = task(
            f"{self.made:04d}",
            deployment.name,
            definition_arn=revision.configuration.definition_arn,
            created_at=self.now,
            started_at=None,
            last_status=TaskStatus.PENDING,
            image_digests=revision.images,
        )
        tx.put(TASKS, SCOPE, made)

    # --- what tasks do ----------------------------------------------------------------------------------------------

    def put(self, task: Task, **fields: Any) -> None:
        self.tx().put(TASKS, SCOPE, replace(task, **fields))

    def run(self, task: Task, digest: str | None = None) -> None:
        container = replace(task.containers[0], status="RUNNING", image_digest=digest)
        self.put(task, last_status=TaskStatus.RUNNING, started_at=self.now, containers=(container,))

    def heal(self, task: Task, health: str = "HEALTHY") -> None:
        container = replace(task.containers[0], health=health)
        self.put(task, containers=(container,))

    def end(self, task: Task) -> None:
        """It is over: as it shall be, or by itself."""
        reasons = ("TaskFailedToStart", "no") if task.started_at is None else ("EssentialContainerExited", "over")
        code, reason = (task.stop_code, task.stopped_reason) if task.stop_code else reasons
        ended = {"last_status": TaskStatus.STOPPED, "desired_status": "STOPPED", "stopped_at": self.now}
        self.put(task, **ended, stop_code=code, stopped_reason=reason)

    def settle(self, *bad: int, rounds: int = 60) -> None:
        """Looks until nothing changes any more: tasks run and get healthy, but those of ``bad`` definitions, which fail
        to start."""
        for _ in range(rounds):
            before = self.state()
            self.look()
            for task in self.tasks():
                if task.desired_status == "STOPPED":
                    self.end(task)
                elif task.last_status < TaskStatus.RUNNING:
                    if int(task.definition_arn.rpartition(":")[2]) in bad:
                        self.end(task)
                    else:
                        self.run(task)
                elif task.containers[0].health != "HEALTHY":
                    self.heal(task)
            self.now += 60.0
            if self.state() == before:
                return

    # --- what there is ----------------------------------------------------------------------------------------------

    @property
    def service(self) -> Service:
        found = self._tables[SERVICES.kind].get(SCOPE, "demo/web")
        assert found is not None
        record: Service = found
        return record

    def task(self, id: str) -> Task:
        found: Task | None = self._tables[TASKS.kind].get(SCOPE, id)
        assert found is not None
        return found

    def tasks(self, deployment: Deployment | None = None) -> list[Task]:
        """Those that aren't over, of one deployment or of all."""
        found: list[Task] = [t for t in self._tables[TASKS.kind].all(SCOPE) if t.last_status < TaskStatus.STOPPED]
        return [t for t in found if deployment is None or t.started_by == deployment.name]

    def deployments(self) -> list[Deployment]:
        """All, the oldest first."""
        found: list[Deployment] = self._tables[DEPLOYMENTS.kind].all(SCOPE)
        return sorted(found, key=lambda d: d.number)

    @property
    def primary(self) -> Deployment:
        (found,) = [d for d in self.deployments() if d.role == "PRIMARY"]
        return found

    def rollouts(self) -> list[ServiceDeployment]:
        """All service deployments, the oldest first."""
        found: list[ServiceDeployment] = self._tables[SERVICE_DEPLOYMENTS.kind].all(SCOPE)
        return sorted(found, key=lambda d: d.number)

    def revision(self, deployment: Deployment) -> Revision:
        found: Revision | None = self._tables[REVISIONS.kind].get(SCOPE, deployment.revision)
        assert found is not None
        return found

    def told(self) -> list[str]:
        return [event.message for plan in self.plans for event in plan.events]

    def state(self) -> bytes:
        """All records but the clock's doing."""
        records = [self._tables[table.kind].all(SCOPE) for table in TABLES]
        return msgspec.json.encode(records)


def _may_stop(going: ServiceDeployment) -> bool:
    return going.status in ("PENDING", "IN_PROGRESS")
