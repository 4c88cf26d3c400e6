"""What an agent that starts makes of what it finds. Pure.

State files say what was wanted and reported, the runtime says what runs, the network says which namespaces exist. What
runs is adopted, what ended meanwhile is reported with its exit code, what belongs to no task is removed.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from homeport.agent.drivers import Observed
from homeport.agent.health import resumed
from homeport.agent.plan import Container, check_due, fold, restarted, settled
from homeport.agent.report import runtime_id
from homeport.agent.state import TaskRecord
from homeport.agentapi import ContainerSpec

REBOOTED = "The host of the task was restarted"


class Adoption(msgspec.Struct, frozen=True):
    """``tasks`` go on; ``finished`` (task id → epoch seconds) are only remembered; ``containers`` (runtime ids),
    ``folders`` (task ids) and ``namespaces`` (task ids) belong to no task and are removed."""

    tasks: tuple[TaskRecord, ...]
    finished: dict[str, float]
    containers: tuple[str, ...]
    folders: tuple[str, ...]
    namespaces: tuple[str, ...]


def adopt(
    records: Iterable[TaskRecord], observed: Iterable[Observed], attached: Iterable[str], boot_id: str, now: float
) -> Adoption:
    """``now``: monotonic seconds."""
    there, spaces = {o.id: o for o in observed}, set(attached)
    tasks: list[TaskRecord] = []
    finished: dict[str, float] = {}
    known: set[str] = set()
    for record in records:
        if record.finished_at is not None:
            finished[record.goal.task_id] = record.finished_at
            continue
        known |= {runtime_id(record.goal, name) for name in record.facts.containers}
        tasks.append(_found(record, there, spaces, boot_id, now))
    ids = {record.goal.task_id for record in tasks}
    strangers = sorted(there.keys() - known)
    return Adoption(
        tasks=tuple(tasks),
        finished=dict(sorted(finished.items(), key=lambda item: item[1])),
        containers=tuple(strangers),
        folders=tuple(sorted({task_of(id) for id in strangers} - ids)),
        namespaces=tuple(sorted(spaces - ids)),
    )


def task_of(id: str) -> str:
    """The task id in a container's runtime id."""
    return id.rpartition("-")[0]


def _found(record: TaskRecord, there: dict[str, Observed], spaces: set[str], boot_id: str, now: float) -> TaskRecord:
    goal, facts = record.goal, record.facts
    rebooted = record.boot_id != boot_id
    for name, c in record.facts.containers.items():
        seen, reported = there.get(runtime_id(goal, name)), record.acknowledged.containers.get(name)
        found = _checked(_container(c, seen, reported, rebooted, now), goal.container(name), now)
        facts = facts.with_container(name, found if rebooted else settled(goal, facts, name, found))
    attached = goal.task_id in spaces and facts.network == "attached"
    facts = msgspec.structs.replace(
        facts,
        network="attached" if attached else "none",
        netns=facts.netns if attached else None,
        networks=facts.networks if attached else {},
        failure=facts.failure or (REBOOTED if rebooted else None),
        cleaned=False,
    )
    return msgspec.structs.replace(record, facts=facts, boot_id=boot_id)


def _container(c: Container, seen: Observed | None, reported: str | None, rebooted: bool, now: float) -> Container:
    if not c.over and reported is not None and not c.started:
        c = msgspec.structs.replace(c, state="running")  # reported RUNNING after the record was last written
    if c.state == "created":
        c = msgspec.structs.replace(c, state="none")  # whether it is still there, the runtime says
    if rebooted:
        c = msgspec.structs.replace(c, running_since=None, signalled=None, killed=None, check_due=None)
        if seen is not None and seen.state == "running":
            seen = msgspec.structs.replace(seen, state="lost")
    if c.state == "exited":
        return _restarted(c, seen, now)
    if c.state == "running" and (seen is None or seen.state == "created"):
        c = msgspec.structs.replace(c, state="lost")
    return msgspec.structs.replace(fold(c, seen, now), present=seen is not None)


def _restarted(c: Container, seen: Observed | None, now: float) -> Container:
    """One that was to be restarted: whether that was done, the runtime says."""
    if seen is None:
        return msgspec.structs.replace(c, state="stopped", present=False)
    since = seen.started_at is not None and c.finished_at is not None and seen.started_at > c.finished_at
    if seen.state == "running" or (since and seen.state != "created"):
        return fold(restarted(c, seen, now), seen, now)
    return c


def _checked(c: Container, spec: ContainerSpec, now: float) -> Container:
    due = check_due(spec, c)
    if due is None or spec.health_check is None:
        return c
    return msgspec.structs.replace(c, check_due=resumed(spec.health_check, due, now))
