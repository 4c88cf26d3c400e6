"""What RunTask's ``overrides`` change, checked and merged. Pure.

Shapes are AWS's: an override is a TaskOverride, a container definition a ContainerDefinition, as JSON objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs.registration.container import greater_than_task
from homeport.services.ecs.registration.logs import environment_files
from homeport.services.ecs.registration.sizes import MIN_MEMORY, cpu_units, memory_mib, setting_error
from homeport.services.ecs.registration.task import ephemeral_storage

MAX_LENGTH = 8192  # characters of the overrides as JSON (ECS API reference, RunTask)
_REPLACED = ("command", "environmentFiles", "cpu", "memory", "memoryReservation")
_MEMBERS = ("environment", *_REPLACED)
_FARGATE = {"requiresCompatibilities": ["FARGATE"]}  # tasks of other launch types have no such storage


def check(overrides: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The overrides as they are kept and shown, empty members left out. Raises InvalidParameterException."""
    if len(msgspec.json.encode(overrides)) > MAX_LENGTH:
        raise invalid_parameter(f"Container Overrides length must be at most {MAX_LENGTH}")
    names = [str(c["name"]) for c in containers]
    kept = [_container(o, names) for o in overrides.get("containerOverrides") or ()]
    if len({o["name"] for o in kept}) < len(kept):
        raise invalid_parameter("Container Overrides can name a container only once.")
    if overrides.get("inferenceAcceleratorOverrides"):
        raise _unsupported("inferenceAcceleratorOverrides")
    checked: dict[str, Any] = {"containerOverrides": kept} if kept else {}
    for member, read in (("cpu", cpu_units), ("memory", memory_mib)):
        if overrides.get(member):
            value = read(overrides[member])
            if value is None:
                raise invalid_parameter(setting_error(member))
            checked[member] = str(value)
    if overrides.get("ephemeralStorage"):
        if error := ephemeral_storage({"ephemeralStorage": overrides["ephemeralStorage"], **_FARGATE}):
            raise invalid_parameter(error)
        checked["ephemeralStorage"] = overrides["ephemeralStorage"]
    checked |= {m: overrides[m] for m in ("taskRoleArn", "executionRoleArn") if overrides.get(m)}
    return checked


def shown(overrides: Mapping[str, Any], containers: Iterable[str]) -> dict[str, Any]:
    """The overrides as DescribeTasks answers them: every container of the task is named."""
    given = {o["name"]: o for o in overrides.get("containerOverrides", ())}
    rest = {m: v for m, v in overrides.items() if m != "containerOverrides"}
    named = [given.get(name, {"name": name}) for name in containers]
    return {"containerOverrides": named, "inferenceAcceleratorOverrides": [], **rest}


def size(overrides: Mapping[str, Any], cpu: int, memory: int) -> tuple[int, int]:
    """CPU units and MiB of the task with its overrides."""
    return int(overrides.get("cpu") or cpu), int(overrides.get("memory") or memory)


def storage(overrides: Mapping[str, Any], given: int) -> int:
    """GiB of ephemeral storage of the task with its overrides."""
    return int((overrides.get("ephemeralStorage") or {}).get("sizeInGiB") or given)


def merged(container: Mapping[str, Any], overrides: Mapping[str, Any]) -> Mapping[str, Any]:
    """A container definition with the task's overrides in it: the environment by name, everything else replaced."""
    override = next((o for o in overrides.get("containerOverrides", ()) if o["name"] == container["name"]), None)
    if override is None:
        return container
    environment = {e["name"]: e.get("value") or "" for e in container.get("environment") or ()}
    environment |= {e["name"]: e["value"] for e in override.get("environment") or ()}
    replaced = {m: override[m] for m in _REPLACED if m in override}
    return {**container, **replaced, "environment": [{"name": n, "value": v} for n, v in environment.items()]}


def misfit(containers: Iterable[Mapping[str, Any]], cpu: int, memory: int) -> str | None:
    """ECS's text where containers, overrides merged, don't fit a task of ``cpu`` units and ``memory`` MiB, or their
    own other settings; else None."""
    total = 0
    for container in containers:
        total += int(container.get("cpu") or 0)
        hard, soft = (int(container.get(member) or 0) for member in ("memory", "memoryReservation"))
        if hard and hard < soft:
            return (
                f"Invalid setting for container '{container['name']}'. 'memory' must be greater than or equal to "
                "'memoryReservation'."
            )
        if memory and max(hard, soft) > memory:
            return greater_than_task(container, "memory" if hard > memory else "memoryReservation")
    if cpu and total > cpu:
        return "The sum of all container cpu values can not exceed the value of the task cpu."
    return None


def reserved(containers: Iterable[Mapping[str, Any]], overrides: Mapping[str, Any]) -> tuple[int, int]:
    """What a task without sizes of its own reserves: the sums over its containers (behaviour of ECS on EC2)."""
    whole = [merged(c, overrides) for c in containers]
    memory = sum(int(c.get("memoryReservation") or c.get("memory") or 0) for c in whole)
    return sum(int(c.get("cpu") or 0) for c in whole), memory


def _unsupported(member: str) -> AwsError:
    return AwsError("UnsupportedFeatureException", f"Homeport does not support overriding '{member}' yet.")


def _container(override: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    name = override.get("name")
    if not name:
        raise invalid_parameter("Container Override must have a container name.")
    if name not in names:
        raise invalid_parameter(f"Override for container named {name} is not a container in the TaskDefinition.")
    if override.get("resourceRequirements"):
        raise _unsupported("resourceRequirements")
    if error := environment_files({}, dict(override)):
        raise invalid_parameter(error)
    if (override.get("cpu") or 0) < 0:
        raise invalid_parameter("Container Override cpu must not be negative.")
    for member in ("memory", "memoryReservation"):
        if (override.get(member) or MIN_MEMORY) < MIN_MEMORY:
            raise invalid_parameter(f"Container Override {member} must be at least {MIN_MEMORY} MiB.")
    kept: dict[str, Any] = {"name": name} | {m: override[m] for m in _MEMBERS if override.get(m) is not None}
    if "environment" in kept:
        pairs = [{"name": e.get("name") or "", "value": e.get("value") or ""} for e in kept["environment"]]
        if any(not e["name"] for e in pairs):
            raise invalid_parameter("Container Override environment variables must have a name.")
        kept["environment"] = pairs
    return kept
