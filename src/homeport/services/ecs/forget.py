"""Back to an account in which nothing was ever made."""

from __future__ import annotations

from typing import Any

from homeport.services.ecs import rooms
from homeport.services.ecs.model.capacity_provider import PROVIDERS
from homeport.services.ecs.model.cluster import CLUSTERS
from homeport.services.ecs.model.definition import DEFINITIONS, FAMILIES
from homeport.services.ecs.model.deployment import DEPLOYMENTS, REVISIONS, SERVICE_DEPLOYMENTS
from homeport.services.ecs.model.service import EVENTS, SERVICES
from homeport.services.ecs.model.setting import SETTINGS
from homeport.services.ecs.model.task import TASKS, TOKENS
from homeport.services.ecs.model.task_set import TASK_SETS
from homeport.services.ecs.model.waiting import WAITING
from homeport.store import Table, Tx


def forget_all(tx: Tx) -> None:
    """Deletes the records of all accounts and regions but those of nodes. What tasks still took of a node is given
    back; the node stops them when its next manifest doesn't list them."""
    for _, task in tx.each(TASKS):
        if task.charged and task.instance:
            rooms.free(tx, task.instance, task.taken)
    tables: tuple[Table[Any], ...] = (
        *(CLUSTERS, DEFINITIONS, FAMILIES, TASKS, TOKENS, SETTINGS, PROVIDERS, WAITING),
        *(SERVICES, REVISIONS, DEPLOYMENTS, SERVICE_DEPLOYMENTS, TASK_SETS, EVENTS),
    )
    for table in tables:
        for scope, record in list(tx.each(table)):
            tx.delete(table, scope, table.id(record))
