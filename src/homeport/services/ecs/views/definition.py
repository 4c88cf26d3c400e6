"""Task definitions as AWS answers them."""

from __future__ import annotations

from typing import Any

from homeport.services.ecs.model.definition import TaskDefinition


def definition(record: TaskDefinition) -> dict[str, Any]:
    """A TaskDefinition of the API. (Its tags are a member of the answer beside it.)"""
    answer: dict[str, Any] = {
        **record.members,
        "taskDefinitionArn": record.arn,
        "family": record.family,
        "revision": record.revision,
        "status": record.status,
        "requiresAttributes": [{"name": name} for name in record.requires_attributes],
        "compatibilities": list(record.compatibilities),
        "registeredAt": record.registered_at,
        "registeredBy": record.registered_by,
    }
    if record.deregistered_at is not None:
        answer["deregisteredAt"] = record.deregistered_at
    if record.delete_requested_at is not None:
        answer["deleteRequestedAt"] = record.delete_requested_at
    return answer
