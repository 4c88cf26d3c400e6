"""Records of task sets: what a service with the EXTERNAL deployment controller runs."""

from __future__ import annotations

from typing import Literal

import msgspec

from homeport.services.ecs.model.deployment import Configuration
from homeport.services.ecs.model.service import Throttle, part_arn
from homeport.store.tables import Table

TaskSetStatus = Literal["PRIMARY", "ACTIVE", "DRAINING"]
StabilityStatus = Literal["STEADY_STATE", "STABILIZING"]


class TaskSet(msgspec.Struct, frozen=True, kw_only=True):
    """A task set; its tasks' ``startedBy`` is ``ecs-svc/<id>``. ``scale`` is percent of the service's desiredCount.
    ``computed`` (how many tasks that is, as was last told), ``stability`` and ``throttle`` are the scheduler's.
    ``digest``: over CreateTaskSet's parameters, for its ``token``."""

    id: str  # 19 digits
    service: str  # the id of a service's record
    number: int
    configuration: Configuration
    created_at: float
    updated_at: float
    status: TaskSetStatus = "ACTIVE"
    scale: float = 100.0
    computed: int = 0
    stability: StabilityStatus = "STABILIZING"
    stability_at: float = 0.0
    external_id: str | None = None
    started_by: str | None = None  # as AWS answers it: only CodeDeploy's sets have one
    tags: dict[str, str] = {}
    token: str | None = None
    digest: str = ""
    throttle: Throttle = Throttle()

    @property
    def name(self) -> str:
        """As ``taskSets[].id`` and ``startedBy`` have it."""
        return f"ecs-svc/{self.id}"

    def arn(self, service_arn: str) -> str:
        return part_arn(service_arn, "task-set", self.name)


TASK_SETS: Table[TaskSet] = Table(
    "task-set",
    TaskSet,
    id=lambda r: r.id,
    indexes={"service": lambda r: (r.service,), "definition": lambda r: (r.configuration.definition_arn,)},
)
