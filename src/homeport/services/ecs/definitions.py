"""Finding task definitions and reading them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from homeport.core import arn
from homeport.core.errors import client_error, invalid_parameter
from homeport.services.ecs import names
from homeport.services.ecs.model.definition import DEFINITIONS, FAMILIES, MAX_REVISIONS, TaskDefinition, definition_id
from homeport.services.ecs.registration import support
from homeport.services.ecs.registration.sizes import fargate_size_error
from homeport.store import View

__all__ = [
    "arn_of",
    "containers",
    "ephemeral_storage",
    "fargate_size_error",
    "find",
    "lookup",
    "network_mode",
    "of_task",
    "require_active",
    "task_cpu",
    "task_memory",
    "unsupported",
]

_REVISION = re.compile(r"[0-9]{1,10}")


def arn_of(scope: tuple[str, str], name: str) -> str:
    """The ARN of ``family:revision`` (or of all revisions: ``family:*``)."""
    account, region = scope
    return arn.arn("ecs", region, account, f"task-definition/{name}")


def lookup(view: View, scope: tuple[str, str], text: str) -> TaskDefinition | None:
    """The task definition that ``text`` names: ``family`` (its newest ACTIVE revision), ``family:revision`` or an ARN;
    None also for one that is DELETED. Raises InvalidParameterException for what can't be a name of one."""
    record = of_task(view, scope, text)
    return record if record is not None and record.status != "DELETED" else None


def of_task(view: View, scope: tuple[str, str], text: str) -> TaskDefinition | None:
    """As ``lookup``, and for stopped tasks also one that is DELETED by now."""
    named = _named(*scope, text)
    if named is None:
        return None
    family, revision = named
    if revision is None:
        known = view.get(FAMILIES, scope, family)
        if known is None or known.newest_active is None:
            return None
        revision = known.newest_active
    return view.get(DEFINITIONS, scope, definition_id(family, revision))


def find(view: View, scope: tuple[str, str], text: str) -> TaskDefinition:
    """``lookup`` that raises ClientException where there is none."""
    definition = lookup(view, scope, text)
    if definition is None:
        raise client_error("TaskDefinition not found.")
    return definition


def require_active(definition: TaskDefinition) -> None:
    """New tasks and services need an ACTIVE one. Raises ClientException."""
    if definition.status != "ACTIVE":
        raise client_error("TaskDefinition is inactive")


def containers(definition: TaskDefinition) -> list[dict[str, Any]]:
    """Its container definitions, with AWS's member names."""
    found: list[dict[str, Any]] = definition.members["containerDefinitions"]
    return found


def network_mode(definition: TaskDefinition) -> str:
    """``awsvpc``, ``bridge``, ``host`` or ``none``; ``bridge`` where none was given."""
    return str(definition.members.get("networkMode") or "bridge")


def task_cpu(definition: TaskDefinition) -> int:
    """CPU units (1024 = one vCPU) of the whole task, 0 where none are given."""
    return int(definition.members.get("cpu") or 0)


def task_memory(definition: TaskDefinition) -> int:
    """MiB of the whole task, 0 where none are given."""
    return int(definition.members.get("memory") or 0)


def ephemeral_storage(definition: TaskDefinition) -> int:
    """GiB that the definition asks for, 0 where it asks for none."""
    return int((definition.members.get("ephemeralStorage") or {}).get("sizeInGiB") or 0)


def unsupported(definition: TaskDefinition, architecture: str = "X86_64", launch_type: str = "FARGATE") -> str | None:
    """The text of RunTask's UnsupportedFeatureException where the definition asks for what nodes of this
    ``architecture`` (X86_64 or ARM64) can't do yet for tasks of the ``launch_type``, else None."""
    return support.unsupported(definition.members, architecture, launch_type)


@lru_cache(4096)  # every look at a service, every start and every payload asks for few definitions
def _named(account: str, region: str, text: str) -> tuple[str, int | None] | None:
    """The family and revision (None: the newest) that ``text`` means; None for an ARN of another account."""
    name = names.local((account, region), "task-definition", text)
    if name is None:
        return None
    family, colon, number = name.partition(":")
    return family, _revision(number) if colon else None


def _revision(number: str) -> int:
    if not _REVISION.fullmatch(number) or not 1 <= int(number) <= MAX_REVISIONS:
        raise invalid_parameter(f"Invalid revision number. Number: {number}")
    return int(number)
