"""Version consistency: all tasks of a revision run the images that its first one was given. Pure.

As ECS, a deployment starts one task first: what its images' tags named there, all others run. Three attempts that tell
no digest are enough: the deployment goes on without, and fails where its circuit breaker is enabled. It also goes on
where the first task waits for an instance that a capacity provider would start, unless a container says
``versionConsistency`` enabled.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from homeport.services.ecs.model.deployment import Deployment, Revision
from homeport.services.ecs.model.task import Task
from homeport.services.ecs.scheduling.plan import Seen, Tagged

ATTEMPTS = 3  # that tell no digest are enough (ECS)
SILENT_SECONDS = 60.0  # after which a task that told none counts as such an attempt (inferred)


def resolved(seen: Seen) -> Seen:
    """With the digests that tasks have told filled in to those revisions that lack them."""
    changed: dict[str, Revision] = {}
    for deployment in seen.deployments:
        revision = seen.revisions.get(deployment.revision)
        if revision is not None:
            tasks = [t for t in seen.tasks if t.started_by == deployment.name]
            if (found := _filled(revision, tasks)) is not revision:
                changed[revision.id] = found
    return replace(seen, revisions={**seen.revisions, **changed}) if changed else seen


def allowed(seen: Seen, primary: Deployment, own: Sequence[Task], wanted: int, now: float) -> int:
    """How many of the wanted tasks needn't wait for digests. ``own``: those of the deployment that shall run."""
    if wanted <= 0 or not _unresolved(seen, primary):
        return wanted
    if any(t.instance is None for t in own) and not _tagged(seen, primary).insists:
        return wanted
    hoped = sum(not _silent(t, now) for t in own)
    if primary.failed_tasks + len(own) - hoped >= ATTEMPTS:
        return wanted
    return 0 if hoped else 1


def exhausted(seen: Seen, primary: Deployment) -> bool:
    """Whether so many tasks have ended without a digest that there are no further attempts."""
    return primary.failed_tasks >= ATTEMPTS and _unresolved(seen, primary)


def changes_at(seen: Seen, primary: Deployment, own: Sequence[Task], now: float) -> float | None:
    """When a task has been silent for too long (epoch seconds)."""
    if not _unresolved(seen, primary):
        return None
    placed = (t for t in own if t.instance is not None and not _silent(t, now))
    return min((t.created_at + SILENT_SECONDS for t in placed), default=None)


def _unresolved(seen: Seen, primary: Deployment) -> bool:
    """Whether tasks may still tell digests that are missing: one that runs has told all it ever will."""
    revision = seen.revisions.get(primary.revision)
    return not primary.ran and revision is not None and not _tagged(seen, primary).names <= revision.images.keys()


def _tagged(seen: Seen, primary: Deployment) -> Tagged:
    revision = seen.revisions.get(primary.revision)
    return seen.tagged.get(revision.configuration.definition_arn, Tagged()) if revision else Tagged()


def _silent(task: Task, now: float) -> bool:
    """A clock that was set back must not make others wait for it."""
    return task.instance is not None and not 0 <= now - task.created_at < SILENT_SECONDS


def _filled(revision: Revision, tasks: Sequence[Task]) -> Revision:
    """What is known stays. Of several tasks that tell, the first one counts."""
    if not tasks or len(revision.images) >= len(tasks[0].containers):
        return revision
    told: dict[str, str] = {}
    for task in sorted(tasks, key=lambda t: (t.created_at, t.id)):
        for container in task.containers:
            if container.image_digest is not None:
                told.setdefault(container.name, container.image_digest)
    images = {**told, **revision.images}
    return revision if images == revision.images else replace(revision, images=images)
