"""Which state change events are wanted. Pure."""

from __future__ import annotations

import msgspec

from homeport.core import arn
from homeport.services.ecs.model.instance import Instance
from homeport.services.ecs.model.task import Task


class Filter(msgspec.Struct, frozen=True):
    """Empty members ask for nothing. ``cluster_name`` and ``service_name`` are names, ``task_start`` is how a task's id
    begins."""

    cluster_name: str = ""
    service_name: str = ""
    task_start: str = ""

    def task(self, task: Task) -> bool:
        named = task.group == f"service:{self.service_name}" if self.service_name else True
        return named and self._cluster(task.cluster_arn.rpartition("/")[2]) and task.id.startswith(self.task_start)

    def service(self, id: str) -> bool:
        """``id``: that of a service's record, ``cluster/name``."""
        cluster, _, name = id.partition("/")
        return not self.task_start and self.service_name in ("", name) and self._cluster(cluster)

    def instance(self, instance: Instance) -> bool:
        alone = not self.task_start and not self.service_name
        return alone and self._cluster(instance.cluster_arn.rpartition("/")[2])

    def _cluster(self, name: str) -> bool:
        return self.cluster_name in ("", name)


EVERYTHING = Filter()


def parsed(cluster: str = "", service: str = "", task: str = "") -> Filter:
    """From what people write: names or ARNs; a service may be ``cluster/name``, a task the beginning of its id."""
    named = _resource(cluster)
    parts = _resource(service).split("/")
    if len(parts) > 1:
        named = named or parts[-2]
    return Filter(named, parts[-1], _resource(task).rpartition("/")[2])


def _resource(text: str) -> str:
    """What follows the kind in an ARN; other texts as they are."""
    found = arn.parse(text)
    return found.resource.partition("/")[2] if found else text
