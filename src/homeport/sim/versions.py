"""What must hold of images' versions in services: version consistency. As in ``serving``: pure functions that return
what is wrong, or None, and whose name is the invariant's."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from homeport.services.ecs.model.task import Task

Containers = Iterable[dict[str, Any]]


def resolved(containers: Containers) -> frozenset[str]:
    """Names of those containers of a definition whose tags are resolved once for all tasks of a deployment."""
    return frozenset(
        c["name"] for c in containers if c.get("versionConsistency") != "disabled" and "@" not in c["image"]
    )


def tasks_of_a_deployment_run_one_version(task: Task, before: Iterable[Task], names: Collection[str]) -> str | None:
    """``task`` was just made; ``before``: others of its deployment; ``names``: containers that are resolved."""
    before = list(before)
    for name in sorted(names):
        told = {c.image_digest for t in before for c in t.containers if c.name == name and c.image_digest}
        fixed = {t.image_digests[name] for t in before if name in t.image_digests}
        own = task.image_digests.get(name)
        if own is None and told:
            return f"{task.id} runs whatever the tag of {name} names, and others run {sorted(told)}"
        if own is not None and fixed - {own}:
            return f"{task.id} runs {own} as {name}, others of its deployment {sorted(fixed)}"
    return None


def only_what_is_consistent_is_resolved(task: Task, names: Collection[str]) -> str | None:
    """``names`` as above."""
    others = sorted(task.image_digests.keys() - set(names))
    return f"{task.id} runs one version of {others}, which may be any" if others else None


def a_container_runs_its_version(task: Task) -> str | None:
    """What its containers are said to run is what was resolved for them."""
    for container in task.containers:
        fixed = task.image_digests.get(container.name)
        if fixed is not None and container.image_digest not in (None, fixed):
            return f"{container.name} runs {container.image_digest}, and its deployment {fixed}"
    return None
