"""Starting tasks of services: on which capacity provider, in which place, and what is told where that can't be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import Any

import msgspec
from msgspec.structs import replace

from homeport.core.errors import AwsError
from homeport.core.ids import Ids
from homeport.services.ecs import capacity, clusters, definitions, launch, service_launch, services
from homeport.services.ecs.launch import Launch
from homeport.services.ecs.model.capacity_provider import PROVIDERS
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.definition import TaskDefinition
from homeport.services.ecs.model.deployment import DEPLOYMENTS, REVISIONS, Configuration
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.model.task import Task
from homeport.services.ecs.model.task_set import TASK_SETS
from homeport.services.ecs.placement import Constraint, Demand
from homeport.services.ecs.scheduling import messages, refusals, throttle
from homeport.services.ecs.scheduling.plan import Start, Told
from homeport.services.ecs.shortage import Need
from homeport.store import Scope, Tx, View

EXPLAINED = 500  # instances that are asked why they refuse, at most: a few milliseconds
EXPLAIN_AGAIN = 900.0  # seconds after which a service that is still short of room is told why anew
AGAIN = 6 * 3600.0  # seconds in which the same trouble isn't told a second time (ECS)
TROUBLE = "start: "  # how the topics of what is told here begin
_EXPLAINED_AT = TROUBLE + "explained"


class Begun(msgspec.Struct, frozen=True):
    """``need``: what a task asks for that found no room."""

    service: Service
    told: list[Told]
    made: int = 0
    need: Need | None = None


class _Owner(msgspec.Struct, frozen=True):
    """What tasks are started for, a deployment or a task set: their ``startedBy``, what they are, the service (and task
    set) as events name it, and the digests of their images as far as they are known, by container."""

    name: str
    configuration: Configuration
    told: str
    images: dict[str, str] = {}


def begin(tx: Tx, scope: Scope, service: Service, start: Start, most: int, ids: Ids) -> Begun:
    """Starts what is wanted, ``most`` tasks at most. A capacity provider without room doesn't hold up others."""
    owner = _owner(tx, scope, service, start.owner)
    cluster = clusters.newest(tx, scope, service.cluster)
    definition = definitions.of_task(tx, scope, owner.configuration.definition_arn) if owner else None
    if owner is None or cluster is None or definition is None:
        text = messages.could_not_launch(service.name, start.count, owner.name if owner else start.owner)
        return Begun(service, [Told(message=text, again=AGAIN, topic=TROUBLE + text)])
    wishes = _Wishes(service, cluster, definition, owner, start)
    made: list[Task] = []
    full: list[Launch] = []
    try:
        providers = _providers(tx, scope, service, owner, min(start.count, most))
        for provider, instance in zip(providers, start.instances or repeat(None), strict=False):
            wish = wishes.of(provider)
            if instance is None and any(wish is refused for refused in full):
                continue
            task = _attempt(tx, scope, wishes, provider, instance, ids)
            if task is None:
                full.append(wish)
            else:
                made.append(task)
    except AwsError as error:
        return _failed(tx, service, owner, made, start, error)
    return _begun(tx, scope, service, owner, made, start, full)


class _Wishes:
    """The wish for a task on each capacity provider, and what it needs of an instance, made once for one look."""

    def __init__(
        self, service: Service, cluster: Cluster, definition: TaskDefinition, owner: _Owner, start: Start
    ) -> None:
        self._service, self._cluster, self._definition = service, cluster, definition
        self._owner, self._start = owner, start
        self._made: dict[str | None, Launch] = {}
        self._demands: dict[str | None, Demand] = {}

    def of(self, provider: str | None) -> Launch:
        if provider not in self._made:
            wish = service_launch.wish(
                self._cluster,
                self._service,
                self._definition,
                self._owner.configuration,
                started_by=self._owner.name,
                provider=provider,
                images=self._owner.images,
            )
            wish = replace(wish, first=True) if self._start.first else wish
            self._made[provider] = _in_zone(wish, self._start.zone) if self._start.zone else wish
        return self._made[provider]

    def demand(self, view: View, scope: Scope, provider: str | None) -> Demand:
        """What it needs of an instance."""
        if provider not in self._demands:
            self._demands[provider] = launch.demanded(view, scope, self.of(provider))
        return self._demands[provider]


def _in_zone(wish: Launch, zone: str) -> Launch:
    if wish.fargate:
        return replace(wish, zone=zone)
    constraint = Constraint("memberOf", f"attribute:ecs.availability-zone == {zone}")
    return replace(wish, zone=zone, constraints=(*wish.constraints, constraint))


def _attempt(
    tx: Tx, scope: Scope, wishes: _Wishes, provider: str | None, instance: str | None, ids: Ids
) -> Task | None:
    wish = wishes.of(provider)
    if instance is None:
        return launch.attempt(tx, scope, wish, wishes.demand(tx, scope, provider), ids, tx.now)
    made = launch.start_on(tx, scope, wish, instance.rpartition("/")[2], ids, tx.now)
    return made if isinstance(made, Task) else None


def _begun(
    tx: Tx, scope: Scope, service: Service, owner: _Owner, made: list[Task], start: Start, full: list[Launch]
) -> Begun:
    told = _started(owner, made, start)
    if start.zone:
        service = replace(service, extra=(*service.extra, *(t.id for t in made)))
    if not full:
        told_before = {topic: at for topic, at in service.told.items() if not topic.startswith(TROUBLE)}
        service = replace(service, short=False, told=told_before) if service.short or service.told else service
        return Begun(service, told, len(made))
    explained = service.told.get(_EXPLAINED_AT)
    if not service.short or explained is None or not 0 <= tx.now - explained < EXPLAIN_AGAIN:
        told.append(_zone_full(service, full[0], start.zone) if start.zone else _why(tx, scope, service, full[0]))
        service = replace(service, told={**service.told, _EXPLAINED_AT: tx.now})
    beside = any("task:group" in c.expression for c in full[0].constraints)
    need = Need("" if full[0].fargate else full[0].cluster.arn, full[0].cpu, full[0].memory, beside)
    return Begun(replace(service, short=True), told, len(made), need)


def _started(owner: _Owner, made: list[Task], start: Start) -> list[Told]:
    if not made:
        return []
    if start.zone:
        detail = {"taskArns": [t.arn for t in made]}
        return [
            Told(
                message=messages.started_in(owner.told, start.zone, [t.id for t in made]),
                name="TASKS_STARTED",
                detail=detail,
            )
        ]
    return [Told(message=messages.started(owner.told, [t.id for t in made], min(start.replaces, len(made))))]


def _failed(tx: Tx, service: Service, owner: _Owner, made: list[Task], start: Start, error: AwsError) -> Begun:
    """What can't be launched as it is configured is tried again less and less often."""
    text = messages.launch_failed(service.name, error.message)
    trouble = Told(
        message=text,
        name="SERVICE_TASK_CONFIGURATION_FAILURE",
        level="ERROR",
        reason=error.message,
        again=AGAIN,
        topic=TROUBLE + text,
    )
    extra = (*service.extra, *(t.id for t in made)) if start.zone else service.extra
    service = replace(service, throttle=throttle.refused(service.throttle, tx.now), extra=extra)
    return Begun(service, [*_started(owner, made, start), trouble], len(made))


def _why(view: View, scope: Scope, service: Service, wish: Launch) -> Told:
    if wish.fargate:
        refusal = refusals.FARGATE
    else:
        explained = launch.explained(view, scope, wish, EXPLAINED)
        provider = view.get(PROVIDERS, scope, wish.capacity_provider) if wish.capacity_provider else None
        waits = provider is not None and provider.scales
        refusal = refusals.nearest(explained, provider=provider is not None, waits=waits)
    return Told(
        message=messages.unplaced(service.name, refusal.text),
        name="SERVICE_TASK_PLACEMENT_FAILURE",
        level="ERROR",
        reason=refusal.reason,
        again=AGAIN,
        topic=TROUBLE + refusal.reason,
    )


def _zone_full(service: Service, wish: Launch, zone: str) -> Told:
    """What is told when a zone has no room for a task that would even out the service's."""
    return Told(
        message=messages.not_placed_in(service.name, zone, instances=not wish.fargate),
        name="SERVICE_TASK_PLACEMENT_FAILURE",
        level="ERROR",
        reason=refusals.FARGATE.reason if wish.fargate else "",
        again=AGAIN,
        topic=f"{TROUBLE}{zone}",
    )


def _owner(view: View, scope: Scope, service: Service, id: str) -> _Owner | None:
    task_set = view.get(TASK_SETS, scope, id)
    if task_set is not None:
        return _Owner(task_set.name, task_set.configuration, messages.of_set(service.name, task_set.name))
    deployment = view.get(DEPLOYMENTS, scope, id)
    revision = view.get(REVISIONS, scope, deployment.revision) if deployment else None
    if deployment is None or revision is None:
        return None
    return _Owner(deployment.name, revision.configuration, service.name, revision.images)


def _providers(view: View, scope: Scope, service: Service, owner: _Owner, count: int) -> Iterator[str | None]:
    """The capacity provider of each of the next tasks, so that all together keep to the strategy."""
    strategy: tuple[Mapping[str, Any], ...] = owner.configuration.capacity_strategy
    if not strategy:
        yield from [None] * count
        return
    live = (t for t in services.tasks(view, scope, service) if _lives(t, owner))
    there = Counter(t.capacity_provider for t in live if t.capacity_provider)
    yield from capacity.more(strategy, there, count)


def _lives(task: Task, owner: _Owner) -> bool:
    return task.started_by == owner.name and task.desired_status == "RUNNING"
