"""Task definitions of the simulator, drawn: containers that wait for others, are checked, restarted, share a volume."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from homeport.sim.images import ENDING, GOOD, IMAGES, SHORT

SIZES = (("256", "512"), ("256", "512"), ("512", "1024"), ("512", "3072"), ("1024", "2048"))

PLACED_SIZES = (("128", "256"), ("256", "512"), ("512", "1024"), ("1024", "512"), ("", "384"))
MODES = ("awsvpc", "bridge", "bridge", "host", "none", "bridge")  # network mode by family
HOST_PORTS = (8080, 8081, 8082)  # few, so that they are fought for

Container = dict[str, Any]  # a container definition of AWS


def draw_definition(random: Random, family: int) -> dict[str, Any]:
    """Parameters of RegisterTaskDefinition."""
    cpu, memory = random.choice(SIZES)
    containers = [_dressed(container, random) for container in _containers(random)]
    members: dict[str, Any] = {"family": f"f{family}", "cpu": cpu, "memory": memory}
    if random.random() < 0.4:
        members["volumes"] = [{"name": "data"}]
        mount = {"sourceVolume": "data", "containerPath": "/data"}
        containers = [{**container, "mountPoints": [mount]} for container in containers]
    return {**members, "containerDefinitions": containers}


def draw_placed_definition(random: Random, family: int, rules: Sequence[str]) -> dict[str, Any]:
    """Parameters of RegisterTaskDefinition, for container instances. ``rules``: expressions for memberOf."""
    members, mode = draw_definition(random, family), network_mode(family)
    cpu, memory = random.choice(PLACED_SIZES)
    app, *others = members["containerDefinitions"]
    if mode in ("bridge", "host"):
        app = {**app, "portMappings": _ports(random, mode)}
    if random.random() < 0.2:
        members["placementConstraints"] = [{"type": "memberOf", "expression": random.choice(rules)}]
    types = ["EC2"] if mode == "awsvpc" else ["EC2", "EXTERNAL"]
    members |= {"networkMode": mode, "requiresCompatibilities": types, "memory": memory}
    members = members | {"cpu": cpu} if cpu else {k: v for k, v in members.items() if k != "cpu"}
    return {**members, "containerDefinitions": [app, *others]}


def network_mode(family: int) -> str:
    """That of all revisions of a family for container instances."""
    return MODES[family % len(MODES)]


def _ports(random: Random, mode: str) -> list[dict[str, Any]]:
    mappings: list[dict[str, Any]] = []
    for host in random.sample(HOST_PORTS, random.choice((1, 1, 2))):
        protocol = random.choice(("tcp", "tcp", "udp"))
        dynamic = mode == "bridge" and random.random() < 0.3
        container = host if mode == "host" else 80 + len(mappings)
        mappings.append({"containerPort": container, "hostPort": 0 if dynamic else host, "protocol": protocol})
    return mappings


def described(members: dict[str, Any]) -> str:
    """In a few words."""
    told = ", ".join(_described(container) for container in members["containerDefinitions"])
    told += "".join(f" where {c['expression']}" for c in members.get("placementConstraints", ()))
    return f"{told}; a volume" if members.get("volumes") else told


def _containers(random: Random) -> list[Container]:
    app = _container("app", random.choice(GOOD), random)
    match random.randrange(14):
        case 0 | 1 | 2:
            return [app]
        case 3:
            return [_container("app", random.choice(list(IMAGES)), random)]
        case 4:
            return [app, _container("side", random.choice(SHORT), random, essential=False)]
        case 5:
            return [app, _container("log", random.choice(list(IMAGES)), random, essential=random.random() < 0.5)]
        case 6 | 7:
            init = _container("init", random.choice(SHORT), random, essential=False)
            return [_after(app, init=random.choice(("COMPLETE", "SUCCESS"))), init]
        case 8 | 9:
            proxy = _after(_container("proxy", "web", random), db="START")
            init = _container("init", "init", random, essential=False)
            return [
                _after(app, proxy="START", init="COMPLETE"),
                proxy,
                _container("db", random.choice(GOOD), random),
                init,
            ]
        case 10 | 11:
            db = _container("db", random.choice(GOOD), random, essential=random.random() < 0.7)
            db = _restarted(db, random) if random.random() < 0.2 else db
            return [_after(app, db="HEALTHY"), _hurried(_checked(db, random), random)]
        case 12:
            init = _container("init", random.choice(ENDING), random, essential=False)
            init = _hurried(_restarted(init, random) if random.random() < 0.4 else init, random)
            return [_after(app, init=random.choice(("COMPLETE", "SUCCESS"))), init]
        case _:
            return [_restarted(_container("app", random.choice(ENDING), random), random)]


def _dressed(container: Container, random: Random) -> Container:
    if random.random() < 0.25 and "healthCheck" not in container:
        container = _checked(container, random)
    if random.random() < 0.2 and not {"restartPolicy", "startTimeout"} & container.keys():
        container = _restarted(container, random)
    return container


def _after(container: Container, **needs: str) -> Container:
    return {**container, "dependsOn": [{"containerName": n, "condition": c} for n, c in needs.items()]}


def _container(name: str, image: str, random: Random, *, essential: bool = True) -> Container:
    timeout = random.choice((None, 2, 10))
    made = {"name": name, "image": f"{image}:1", "essential": essential}
    return {**made, "stopTimeout": timeout} if timeout is not None else made


def _checked(container: Container, random: Random) -> Container:
    check: dict[str, Any] = {"command": ["CMD", "/check"], "interval": random.choice((5, 10, 20)), "timeout": 2}
    return {**container, "healthCheck": {**check, "retries": random.choice((1, 2, 3)), **_start_period(random)}}


def _start_period(random: Random) -> dict[str, int]:
    seconds = random.choice((0, 0, 12, 40))
    return {"startPeriod": seconds} if seconds else {}


def _restarted(container: Container, random: Random) -> Container:
    policy = {"enabled": True, "restartAttemptPeriod": random.choice((60, 60, 80, 120))}
    ignored = random.choice(([], [], [0], [9]))
    return {**container, "restartPolicy": {**policy, "ignoredExitCodes": ignored} if ignored else policy}


def _hurried(container: Container, random: Random) -> Container:
    """What waits for it doesn't wait for ever: it may never become healthy, or be restarted again and again, each time
    before its time-out."""
    return {**container, "startTimeout": random.choice((20, 60) if "restartPolicy" in container else (20, 60, 110))}


def _described(container: Container) -> str:
    told = f"{container['name']}={container['image'].partition(':')[0]}"
    told += "" if container["essential"] else " (not essential)"
    told += " checked" if "healthCheck" in container else ""
    told += "".join(f" :{m['hostPort']}/{m['protocol']}" for m in container.get("portMappings", ()))
    if policy := container.get("restartPolicy"):
        told += f" restarted after {policy['restartAttemptPeriod']} s"
    return told + "".join(f" after {d['containerName']} {d['condition']}" for d in container.get("dependsOn", ()))
