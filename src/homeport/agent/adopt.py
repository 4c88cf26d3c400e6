"""What an agent that starts makes of what it finds. Pure.

State files say what was wanted and reported, the runtime says what runs, the network says which namespaces exist. What
runs is adopted, what ended meanwhile is reported with its exit code, what belongs to no task is removed.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from homeport.agent.drivers import Observed
from homeport.agent.plan import Container, fold
from homeport.agent.report import runtime_id
from homeport.agent.state import TaskRecord

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
    containers = {
        name: _container(c, there.get(runtime_id(goal, name)), record.acknowledged.containers.get(name), rebooted, now)
        for name, c in facts.containers.items()
    }
    attached = goal.task_id in spaces and facts.network == "attached"
    facts = msgspec.structs.replace(
        facts,
        containers=containers,
        network="attached" if attached else "none",
        netns=facts.netns if attached else None,
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
        c = msgspec.structs.replace(c, running_since=None, signalled=None, killed=None)
        if seen is not None and seen.state == "running":
            seen = msgspec.structs.replace(seen, state="lost")
    if c.state == "running" and (seen is None or seen.state == "created"):
        c = msgspec.structs.replace(c, state="lost")
    return msgspec.structs.replace(fold(c, seen, now), present=seen is not None)
