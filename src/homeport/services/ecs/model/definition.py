"""Records of task definitions and their families."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from homeport.store.tables import Table

DefinitionStatus = Literal["ACTIVE", "INACTIVE", "DELETE_IN_PROGRESS", "DELETED"]

MAX_REVISIONS = 1_000_000  # revisions that a family may ever have, deregistered ones included
DELETING_SECONDS = 5.0  # how long DELETE_IN_PROGRESS is shown at least, so that who asks can see it (ECS: minutes)


class TaskDefinition(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One revision of a task definition.

    ``members`` is what was registered, a JSON object with AWS's member names (containerDefinitions, networkMode …), its
    defaults filled in and its sizes normalised; read it through ``homeport.services.ecs.definitions``, never change it.
    ``requires_attributes`` are attribute names. Times are epoch seconds. A DELETED one is there for nothing but the
    descriptions of tasks that stopped; ``wake_at`` is when the task loop looks whether a deletion can be ended.
    """

    family: str
    revision: int
    arn: str
    status: DefinitionStatus
    members: dict[str, Any]
    requires_attributes: tuple[str, ...]
    compatibilities: tuple[str, ...]
    registered_at: float
    registered_by: str
    deregistered_at: float | None = None
    delete_requested_at: float | None = None
    wake_at: float | None = None
    tags: dict[str, str] = {}


class Family(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a family remembers of its revisions. It outlives them, so that no revision number is ever given twice.

    ``newest_active`` is the revision that the bare family name stands for; ``active`` and ``inactive`` are numbers of
    revisions in that status, ``inactive`` with those that are DELETE_IN_PROGRESS.
    """

    name: str
    highest_revision: int
    newest_active: int | None
    active: int = 0
    inactive: int = 0


def definition_id(family: str, revision: int) -> str:
    """The record's id. ``#`` sorts before every character of a family name and the revision has a fixed width, so ids
    sort as ListTaskDefinitions does: by family, then by revision."""
    return f"{family}#{revision:07d}"


DEFINITIONS: Table[TaskDefinition] = Table(
    "task-definition",
    TaskDefinition,
    id=lambda r: definition_id(r.family, r.revision),
    indexes={
        "status": lambda r: (r.status,),
        "family_status": lambda r: ((r.family, r.status),),
    },
)

FAMILIES: Table[Family] = Table("task-definition-family", Family, id=lambda r: r.name)
