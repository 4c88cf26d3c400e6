"""Changes of records as EventBridge's events: tasks, container instances, service actions and deployments. Pure.

An event is what EventBridge would deliver: the same change gives the same event, with the same ``id``, however often it
is read. What its detail needs besides the record that changed is taken from the view: a task's definition (it never
changes), an instance's counts of tasks, its room where only the instance changed, and the instance where only its room
did. For changes that are long past these are as they are now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from typing import Any

from homeport.core import arn
from homeport.services.ecs.model.deployment import DEPLOYMENTS, Deployment
from homeport.services.ecs.model.instance import INSTANCES, ROOMS, Instance, Room
from homeport.services.ecs.model.service import EVENTS, ServiceEvent
from homeport.services.ecs.model.task import INTERFACE, TASKS, Task
from homeport.services.ecs.state_filter import EVERYTHING, Filter
from homeport.services.ecs.views.instance import shown_with
from homeport.services.ecs.views.task import task_view
from homeport.store import Change, Key, Scope, View

Event = dict[str, Any]

KINDS = (TASKS.kind, INSTANCES.kind, ROOMS.kind, EVENTS.kind, DEPLOYMENTS.kind)  # of the records that make events
TASK = "ECS Task State Change"
INSTANCE = "ECS Container Instance State Change"
ACTION = "ECS Service Action"
DEPLOYMENT = "ECS Deployment State Change"

_TIMES = (  # members of details that are times: numbers in AWS's objects
    "createdAt",
    "updatedAt",
    "registeredAt",
    "connectivityAt",
    "pullStartedAt",
    "pullStoppedAt",
    "startedAt",
    "executionStoppedAt",
    "stoppingAt",
    "stoppedAt",
)
_ROLLOUTS = {
    "IN_PROGRESS": ("INFO", "SERVICE_DEPLOYMENT_IN_PROGRESS"),
    "COMPLETED": ("INFO", "SERVICE_DEPLOYMENT_COMPLETED"),
    "FAILED": ("ERROR", "SERVICE_DEPLOYMENT_FAILED"),
}


def events(view: View, changes: Iterable[Change], wanted: Filter = EVERYTHING) -> list[Event]:
    """The events of some changes, which come in the order of their versions."""
    return [
        event for _, commit in groupby(changes, lambda c: c.version) for event in _of_commit(view, list(commit), wanted)
    ]


def _of_commit(view: View, changes: list[Change], wanted: Filter) -> Iterator[Event]:
    for change in changes:
        if change.new is None:  # what is forgotten has no state
            continue
        if change.key.kind == TASKS.kind:
            yield from _task(view, change, wanted)
        elif change.key.kind == EVENTS.kind:
            yield from _action(change, wanted)
        elif change.key.kind == DEPLOYMENTS.kind:
            yield from _deployment(change, wanted)
    yield from _instances(view, changes, wanted)


def _task(view: View, change: Change, wanted: Filter) -> Iterator[Event]:
    old: Task | None = change.old
    task: Task = change.new
    if (old is None or old.version != task.version) and wanted.task(task):
        detail = task_view(view, change.key.scope, task)
        detail["attachments"] = [_attachment(a) for a in detail["attachments"]]
        yield _event(change, TASK, task.arn, {**detail, "updatedAt": change.at})


def _attachment(shown: Mapping[str, Any]) -> dict[str, Any]:
    return {**shown, "type": "eni" if shown["type"] == INTERFACE else shown["type"]}


def _action(change: Change, wanted: Filter) -> Iterator[Event]:
    """Of what a service tells, that which has an event's name."""
    told: ServiceEvent = change.new
    if change.old is None and told.name and wanted.service(told.service):
        detail = {
            "eventType": told.level,
            "eventName": told.name,
            "clusterArn": _arn(change.key.scope, f"cluster/{told.service.partition('/')[0]}"),
            "createdAt": told.at,
            **({"reason": told.reason} if told.reason else {}),
            **told.detail,
        }
        yield _event(change, ACTION, _arn(change.key.scope, f"service/{told.service}"), detail)


def _deployment(change: Change, wanted: Filter) -> Iterator[Event]:
    old: Deployment | None = change.old
    new: Deployment = change.new
    moved = old is None or (old.rollout, old.rollout_reason) != (new.rollout, new.rollout_reason)
    if moved and wanted.service(new.service):
        level, name = _ROLLOUTS[new.rollout]
        detail = {
            "eventType": level,
            "eventName": name,
            "deploymentId": new.name,
            "updatedAt": change.at,
            "reason": new.rollout_reason,
        }
        yield _event(change, DEPLOYMENT, _arn(change.key.scope, f"service/{new.service}"), detail)


def _instances(view: View, changes: list[Change], wanted: Filter) -> Iterator[Event]:
    """One for each container instance that a commit changed, itself or what it has left. Fargate's nodes, which callers
    never see, have none. ``version`` in the detail is the store's, which grows with both."""
    touched: dict[tuple[Scope, str], Change] = {}
    for change in changes:
        matters = _instance_matters if change.key.kind == INSTANCES.kind else _room_matters
        if change.key.kind in (INSTANCES.kind, ROOMS.kind) and matters(change.old, change.new):
            touched.setdefault((change.key.scope, change.key.id), change)
    here = {change.key: change.new for change in changes}
    for (scope, id), change in touched.items():
        instance: Instance | None = here.get(Key(*scope, INSTANCES.kind, id)) or view.get(INSTANCES, scope, id)
        if instance is None or instance.fargate or not wanted.instance(instance):
            continue
        known = Key(*scope, ROOMS.kind, id)
        room: Room | None = here[known] if known in here else view.get(ROOMS, scope, id)
        detail = shown_with(view, instance, room)
        detail |= {"clusterArn": instance.cluster_arn, "updatedAt": change.at, "version": change.version}
        yield _event(change, INSTANCE, instance.arn, detail, INSTANCES.kind)


def _instance_matters(old: Instance | None, new: Instance | None) -> bool:
    """Whether something changed that callers see, but for the times at which its parts' health was told."""
    if old is None or new is None:
        return new is not None
    return old.version != new.version or any(
        getattr(old, name) != getattr(new, name)
        for name in ("status", "connected", "agent_update", "version_info", "attributes", "custom", "resources")
    )


def _room_matters(old: Room | None, new: Room | None) -> bool:
    """Whether there is more or less left, or another number of tasks."""
    if old is None or new is None:
        return False  # registered or deregistered: the instance changes too
    return any(
        getattr(old, name) != getattr(new, name)
        for name in ("cpu_used", "memory_used", "tasks", "tcp", "udp", "gpus", "interfaces_used")
    )


def _event(change: Change, what: str, resource: str, detail: dict[str, Any], kind: str | None = None) -> Event:
    key = change.key
    return {
        "version": "0",
        "id": _id(f"{key.account}/{key.region}/{kind or key.kind}/{key.id}/{change.version}"),
        "detail-type": what,
        "source": "aws.ecs",
        "account": key.account,
        "time": f"{_second(_micros(change.at) // 1_000_000)}Z",
        "region": key.region,
        "resources": [resource],
        "detail": _with_moments(detail),
    }


def _id(what: str) -> str:
    """A UUID's shape, always the same for the same change."""
    digest = hashlib.sha256(what.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"


def _with_moments(detail: dict[str, Any]) -> dict[str, Any]:
    """The detail with its times as EventBridge has them."""
    for name in _TIMES:
        if (at := detail.get(name)) is not None:
            second, rest = divmod(_micros(at), 1_000_000)
            detail[name] = f"{_second(second)}.{rest // 1000:03d}Z"
    return detail


def _micros(at: float) -> int:
    return round(at * 1e6)


@lru_cache(1024)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _arn(scope: Scope, resource: str) -> str:
    return arn.arn("ecs", scope.region, scope.account, resource)
