"""Clusters as AWS answers them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from homeport.services.ecs import clusters, tags
from homeport.services.ecs.model.capacity_provider import PROVIDERS
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.views import capacity_provider
from homeport.store import View

_LAUNCH_TYPES = ("EC2", "Fargate", "External")


def cluster(view: View, scope: tuple[str, str], record: Cluster, include: Collection[str] = ()) -> dict[str, Any]:
    """A Cluster of the API. What ``include`` (members of ClusterField) doesn't name is left empty or out."""
    counts = clusters.counts(view, scope, record.arn)
    answer: dict[str, Any] = {
        "clusterArn": record.arn,
        "clusterName": record.name,
        "status": record.status,
        "registeredContainerInstancesCount": counts.instances,
        "runningTasksCount": counts.running,
        "pendingTasksCount": counts.pending,
        "activeServicesCount": counts.services,
        "statistics": _statistics(view, scope, record) if "STATISTICS" in include else [],
        "tags": tags.view(record.tags) if "TAGS" in include else [],
        "settings": _settings(record) if "SETTINGS" in include else [],
        "capacityProviders": list(record.capacity_providers),
        "defaultCapacityProviderStrategy": [dict(item) for item in record.default_strategy],
    }
    if "CONFIGURATIONS" in include and record.configuration is not None:
        answer["configuration"] = record.configuration
    if "ATTACHMENTS" in include:
        # Attachments belong to Auto Scaling capacity providers; FARGATE and FARGATE_SPOT have none.
        records = [view.get(PROVIDERS, scope, name) for name in record.capacity_providers]
        answer["attachments"] = [a for r in records if r is not None for a in capacity_provider.attachments(r)]
        if answer["attachments"]:
            answer["attachmentsStatus"] = "UPDATE_COMPLETE"
    if record.service_connect_defaults is not None:
        answer["serviceConnectDefaults"] = record.service_connect_defaults
    return answer


def _settings(record: Cluster) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in record.settings.items()]


def _statistics(view: View, scope: tuple[str, str], record: Cluster) -> list[dict[str, str]]:
    running, pending = clusters.launch_types(view, scope, record.arn)
    active = clusters.service_launch_types(view, scope, record.arn, "ACTIVE")
    draining = clusters.service_launch_types(view, scope, record.arn, "DRAINING")
    numbers = {
        **{f"running{kind}TasksCount": running[kind.upper()] for kind in _LAUNCH_TYPES},
        **{f"pending{kind}TasksCount": pending[kind.upper()] for kind in _LAUNCH_TYPES},
        **{f"active{kind}ServiceCount": active[kind.upper()] for kind in _LAUNCH_TYPES},
        **{f"draining{kind}ServiceCount": draining[kind.upper()] for kind in _LAUNCH_TYPES},
    }
    return [{"name": name, "value": str(number)} for name, number in numbers.items()]
