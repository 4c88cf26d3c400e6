"""Slots of services: each is a name, and says what a service of it is, where its tasks run, and what they may be.

Drawn are parameters of CreateService, UpdateService, CreateTaskSet and RegisterTaskDefinition.
"""

from __future__ import annotations

from random import Random
from typing import Any, Literal, NamedTuple

from homeport.sim.images import BAD, CRASH, FINE

BAD_SHARE = 0.35


class Slot(NamedTuple):
    """``capacity`` is a launch type or capacity provider, ``kind`` a scheduling strategy, or EXTERNAL: a service with
    task sets."""

    capacity: Literal["FARGATE", "EC2", "spare"]
    mode: Literal["awsvpc", "bridge", "host"] = "awsvpc"
    kind: Literal["REPLICA", "DAEMON", "EXTERNAL"] = "REPLICA"


SLOTS = (
    Slot("FARGATE"),
    Slot("FARGATE"),
    Slot("EC2", "bridge"),
    Slot("FARGATE"),
    Slot("EC2", "awsvpc"),
    Slot("EC2", "host"),
    Slot("spare", "bridge"),
    Slot("EC2", "bridge", "DAEMON"),
    Slot("EC2", "awsvpc", "DAEMON"),
    Slot("FARGATE", kind="EXTERNAL"),
    Slot("EC2", "bridge", "EXTERNAL"),
)
_BOUNDS = ((200, 100), (200, 100), (200, 100), (150, 50), (100, 0), (100, 50), (200, 50), (150, 100))
_DAEMON_LEAST = (0, 0, 34, 50)
_STACK = {"type": "memberOf", "expression": "attribute:stack exists"}
_CONSTRAINTS: tuple[list[dict[str, str]], ...] = ([], [], [{"type": "distinctInstance"}], [_STACK])
_STRATEGIES: tuple[list[dict[str, str]], ...] = (
    [],
    [{"type": "binpack", "field": "memory"}],
    [{"type": "spread", "field": "attribute:ecs.availability-zone"}, {"type": "binpack", "field": "cpu"}],
    [{"type": "spread", "field": "instanceId"}],
    [{"type": "random"}],
)


def family(slot: int) -> str:
    """The name of its services, and the family of their definitions."""
    return f"s{slot}"


def draw_service(random: Random, slot: int) -> dict[str, Any]:
    """Of CreateService, but for its definition and where it runs."""
    members: dict[str, Any] = {
        **draw_placement(random, slot),
        "deploymentConfiguration": draw_configuration(random, slot),
        "clientToken": draw_token(random),
    }
    match SLOTS[slot].kind:
        case "DAEMON":
            members["schedulingStrategy"] = "DAEMON"
        case "EXTERNAL":
            members |= {"deploymentController": {"type": "EXTERNAL"}, "desiredCount": draw_count(random)}
        case _:
            members["desiredCount"] = draw_count(random)
    if random.random() < 0.3:
        members |= {"propagateTags": "SERVICE", "enableECSManagedTags": True, "tags": [{"key": "team", "value": "a"}]}
    return members


def draw_token(random: Random) -> str:
    return f"{random.getrandbits(64):016x}"


def draw_count(random: Random) -> int:
    return random.choice((0, 1, 1, 2, 2, 2, 3, 4))


def draw_configuration(random: Random, slot: int) -> dict[str, Any]:
    """A deploymentConfiguration."""
    bounds = draw_bounds(random, slot)
    if SLOTS[slot].kind == "EXTERNAL":
        return bounds
    return {**bounds, "deploymentCircuitBreaker": draw_breaker(random), **_early(random, bounds)}


def draw_bounds(random: Random, slot: int) -> dict[str, int]:
    most, least = random.choice(_BOUNDS)
    if SLOTS[slot].kind == "DAEMON":
        most, least = 100, random.choice(_DAEMON_LEAST)
    return {"maximumPercent": most, "minimumHealthyPercent": least}


def draw_breaker(random: Random) -> dict[str, Any]:
    breaker: dict[str, Any] = {"enable": random.random() < 0.6, "rollback": random.random() < 0.6}
    if breaker["enable"] and random.random() < 0.3:
        kind = random.choice(("COUNT", "BOUNDED_PERCENT", "UNBOUNDED_PERCENT"))
        value = random.choice((1, 2, 4)) if kind == "COUNT" else random.choice((25, 100))
        breaker |= {"thresholdConfiguration": {"type": kind, "value": value}}
        breaker |= {"resetOnHealthyTask": random.random() < 0.5}
    return breaker


def _early(random: Random, bounds: dict[str, int]) -> dict[str, Any]:
    """Early success criteria, of some."""
    if random.random() >= 0.3:
        return {}
    percent = max(bounds["minimumHealthyPercent"], random.choice((25, 50, 75, 100)))
    cleanup = random.choice(("BLOCKING", "DEFERRED"))
    early = {"enable": True, "healthyPercent": percent, "sourceServiceRevisionCleanup": cleanup}
    return {"earlySuccessCriteria": early, "bakeTimeInMinutes": random.choice((0, 1, 3))}


def draw_placement(random: Random, slot: int) -> dict[str, Any]:
    where = SLOTS[slot]
    if where.capacity == "FARGATE":
        return {}
    constraints = random.choice(_CONSTRAINTS)
    if where.kind == "DAEMON":
        return {"placementConstraints": constraints}
    return {"placementConstraints": constraints, "placementStrategy": random.choice(_STRATEGIES)}


def draw_served_definition(random: Random, slot: int, bad: float = BAD_SHARE / 2, image: str = "") -> dict[str, Any]:
    """Parameters of RegisterTaskDefinition for a service: mostly of something that works. ``bad``: the share of what
    doesn't; or ``image``."""
    where, image = SLOTS[slot], image or random.choice(BAD if random.random() < bad else FINE)
    container: dict[str, Any] = {"name": "app", "image": f"{image}:1", "essential": True}
    if image in ("sick", "sours") or random.random() < 0.4:
        check = {"command": ["CMD", "/check"], "interval": random.choice((10, 30, 30)), "timeout": 2}
        container["healthCheck"] = {**check, "retries": random.choice((1, 2, 3)), **_start_period(random)}
    if random.random() < 0.6:
        container["stopTimeout"] = random.choice((2, 10))
    if random.random() < 0.15:
        container["versionConsistency"] = "disabled"
    containers = [container]
    if image == CRASH:  # ECS starts it again as soon as it has ended: something takes its time first
        container["dependsOn"] = [{"containerName": "init", "condition": "SUCCESS"}]
        containers.append({"name": "init", "image": "job:1", "essential": False})
    if random.random() < 0.15:
        containers.append({"name": "side", "image": random.choice(("web:1", "job:1")), "essential": False})
    cpu, memory = random.choice((("256", "512"), ("256", "512"), ("512", "1024")))
    members = {"family": family(slot), "networkMode": where.mode, "cpu": cpu, "memory": memory}
    if where.capacity == "FARGATE":
        return {**members, "requiresCompatibilities": ["FARGATE"], "containerDefinitions": containers}
    if where.mode == "host":
        container["portMappings"] = [{"containerPort": 8080, "hostPort": 8080}]
    elif where.mode == "bridge" and random.random() < 0.5:
        container["portMappings"] = [{"containerPort": 80, "hostPort": 0}]
    return {**members, "requiresCompatibilities": ["EC2"], "containerDefinitions": containers}


def _start_period(random: Random) -> dict[str, int]:
    seconds = random.choice((0, 0, 30))
    return {"startPeriod": seconds} if seconds else {}
