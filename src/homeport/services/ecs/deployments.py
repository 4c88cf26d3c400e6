"""Beginning a deployment: its revision, its records, and what they take the place of; and forgetting old ones."""

from __future__ import annotations

from msgspec.structs import replace

from homeport.core.ids import Ids
from homeport.services.ecs.model.deployment import (
    DEPLOYMENTS,
    FINISHED,
    KEPT,
    KEPT_SECONDS,
    REVISIONS,
    SERVICE_DEPLOYMENTS,
    Configuration,
    Deployment,
    Revision,
    ServiceDeployment,
)
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.scheduling import messages
from homeport.store import Key, Scope, Tx, View

SUPERSEDED = "Service deployment stopped because a newer service deployment was started."  # (inferred)


def begin(tx: Tx, scope: Scope, service: Service, configuration: Configuration, ids: Ids) -> Deployment:
    """Makes a revision of the configuration and a PRIMARY deployment of it; what was PRIMARY is ACTIVE from now on, and
    a service deployment that isn't over is asked to stop. The caller stores the service."""
    now, number = tx.now, tx.version
    revision = Revision(id=ids.new("number"), service=service.id, configuration=configuration, created_at=now)
    shown = sorted(tx.find(DEPLOYMENTS, scope, "shown", service.id), key=lambda d: -d.number)
    for older in shown:
        if older.role == "PRIMARY":
            tx.put(DEPLOYMENTS, scope, replace(older, role="ACTIVE", met_at=None, updated_at=now))
    for unfinished in tx.find(SERVICE_DEPLOYMENTS, scope, "open", service.id):
        stopping = replace(unfinished, status="STOP_REQUESTED", status_reason=SUPERSEDED, updated_at=now)
        tx.put(SERVICE_DEPLOYMENTS, scope, stopping)
    made = Deployment(
        id=ids.new("number"),
        service=service.id,
        revision=revision.id,
        number=number,
        created_at=now,
        updated_at=now,
    )
    made = replace(made, rollout_reason=messages.in_progress(made.name))
    service_deployment = ServiceDeployment(
        id=ids.new("rollout"),
        service=service.id,
        number=number,
        deployment=made.id,
        target=revision.id,
        sources=tuple(dict.fromkeys(d.revision for d in shown)),
        created_at=now,
        updated_at=now,
        configuration=service.deployment_configuration,
    )
    tx.put(REVISIONS, scope, revision)
    tx.put(DEPLOYMENTS, scope, made)
    tx.put(SERVICE_DEPLOYMENTS, scope, service_deployment)
    trim(tx, scope, service.id)
    return made


def candidate(view: View, scope: Scope, service_id: str) -> Deployment | None:
    """The deployment that a rollback returns to: the newest that is COMPLETED, but for the PRIMARY one."""
    ranked = view.ranked(DEPLOYMENTS, scope, "good", service_id).get("good", ())
    newest = (ranked[place] for place in range(len(ranked) - 1, -1, -1))
    return next((d for d in newest if d.role != "PRIMARY"), None)


def trim(tx: Tx, scope: Scope, service_id: str) -> None:
    """Forgets the oldest of what is over, where a service has more than are kept."""
    deployments = tx.find(DEPLOYMENTS, scope, "service", service_id)
    if len(deployments) > KEPT:
        kept = candidate(tx, scope, service_id)
        over = [d for d in deployments if d.role == "INACTIVE" and d != kept]
        for deployment in sorted(over, key=lambda d: d.number)[: len(deployments) - KEPT]:
            _remove(tx, scope, deployment)
    made = tx.find(SERVICE_DEPLOYMENTS, scope, "service", service_id)
    if len(made) > KEPT:
        finished = [d for d in made if d.status in FINISHED]
        for old in sorted(finished, key=lambda d: d.number)[: len(made) - KEPT]:
            tx.delete(SERVICE_DEPLOYMENTS, scope, old.id)
    revisions = tx.find(REVISIONS, scope, "service", service_id)
    if len(revisions) > KEPT:
        used = {d.revision for d in tx.find(DEPLOYMENTS, scope, "service", service_id)}
        unused = [r for r in revisions if r.id not in used]
        for revision in sorted(unused, key=lambda r: r.created_at)[: len(revisions) - KEPT]:
            tx.delete(REVISIONS, scope, revision.id)


def forget(tx: Tx, key: Key) -> None:
    """Deletes an INACTIVE deployment whose ``wake_at`` has come, with its revision. One that a rollback may return to
    stays for as long again."""
    deployment = tx.get(DEPLOYMENTS, key.scope, key.id)
    if deployment is None or deployment.role != "INACTIVE":
        return
    if candidate(tx, key.scope, deployment.service) == deployment:
        tx.put(DEPLOYMENTS, key.scope, replace(deployment, wake_at=tx.now + KEPT_SECONDS))
    else:
        _remove(tx, key.scope, deployment)


def forget_service_deployment(tx: Tx, key: Key) -> None:
    """Deletes a service deployment that is over, and whose ``wake_at`` has come."""
    found = tx.get(SERVICE_DEPLOYMENTS, key.scope, key.id)
    if found is not None and found.status in FINISHED:
        tx.delete(SERVICE_DEPLOYMENTS, key.scope, key.id)


def _remove(tx: Tx, scope: Scope, deployment: Deployment) -> None:
    tx.delete(DEPLOYMENTS, scope, deployment.id)
    tx.delete(REVISIONS, scope, deployment.revision)
