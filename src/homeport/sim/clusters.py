"""Scenarios of clusters with container instances: who may run where, what it needs there, and who misbehaves."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from homeport.sim.definitions import draw_placed_definition
from homeport.sim.rules import RULES
from homeport.sim.scenario import (
    CLUSTERS,
    FAMILIES,
    GROUPS,
    SECONDS,
    Fault,
    Hardware,
    Kind,
    Scenario,
    Step,
    Workload,
    chance,
    draw_fargate_definition,
    draw_moment,
    draw_run,
)

KINDS: tuple[Kind, ...] = ("EC2", "EXTERNAL", "FARGATE")
PLACED = 6  # families that run on container instances: from FAMILIES on
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
KEPT_PORTS = (22, 2375, 2376, 51678, 51679)
PROVIDERS = {"spare": "asg-spare", "main": "asg-main"}  # capacity provider → its Auto Scaling group
MISCHIEF = ("replay", "meddle", "snoop", "nonsense", "babble", "clone")
STRATEGIES: tuple[list[dict[str, str]], ...] = (
    [],
    [{"type": "random"}],
    [{"type": "binpack", "field": "memory"}],
    [{"type": "binpack", "field": "cpu"}],
    [{"type": "spread", "field": "instanceId"}],
    [{"type": "spread", "field": "attribute:ecs.availability-zone"}, {"type": "binpack", "field": "memory"}],
    [{"type": "spread", "field": "attribute:stack"}, {"type": "spread", "field": "host"}],
)

_WORK: dict[Workload, float] = {
    "define": 5,
    "run": 4,
    "place": 34,
    "start": 6,
    "stop": 24,
    "describe": 8,
    "list": 2,
    "drain": 4,
    "activate": 5,
    "deregister": 2,
    "put-attribute": 4,
    "instances": 4,
}
_FAULTS: dict[Fault, float] = {
    "kill-server": 6,
    "kill-agent": 6,
    "kill-both": 2,
    "restart-runtime": 1,
    "stop-runtime": 1,
    "reboot": 3,
    "disk-full": 1,
    "disk-unsure": 2,
    "node-disk-full": 1,
    "set-clock": 1,
    "cut": 3,
    "silence": 4,
    "reset": 2,
    "herd": 3,
    "resize": 4,
    "mischief": 10,
}


def draw_cluster(seed: int) -> Scenario:
    random = chance(seed, "cluster scenario")
    hardware = tuple(_hardware(random, number) for number in range(random.randint(2, 6)))
    calls, faults = random.randint(60, 110), random.choice((0, 6, 12, 18, 24))
    external = any(machine.kind == "EXTERNAL" for machine in hardware)
    steps = [_work(random, len(hardware), external=external) for _ in range(calls)]
    steps += [_fault(random, len(hardware)) for _ in range(faults)]
    first = [_define(random, 0.5 + number / 10, FAMILIES + number) for number in range(PLACED)]
    first += [_define(random, 1.2 + number / 10, number) for number in range(2)]
    return Scenario(
        seed=seed,
        seconds=SECONDS,
        nodes=len(hardware),
        cores=0,
        memory=0,
        overcommit=random.choice((1.5, 16.0)),
        loss=random.choice((0.0, 0.01, 0.05)),
        retry_most=random.choice((1.0, 120.0)),
        public_pool="198.18.0.0/27",
        prefix=28,
        an_hour=random.random() < 0.05,
        steps=tuple(sorted([*first, *steps], key=lambda step: step.at)),
        hardware=hardware,
    )


def draw_herd(seed: int, nodes: int) -> Scenario:
    """Many small machines with a few tasks, that all connect again at once, twice."""
    random = chance(seed, "herd")
    steps = [_define(random, 0.5 + number / 10, FAMILIES + number) for number in range(PLACED)]
    steps += [Step(at=3.0 + number, do="place", more=_place(random, external=True)) for number in range(20)]
    steps += [Step(at=30.0, do="herd"), Step(at=45.0, do="kill-server", seconds=3.0)]
    hardware = tuple(_hardware(random, number) for number in range(nodes))
    return msgspec.structs.replace(
        draw_cluster(seed), seconds=70.0, nodes=nodes, an_hour=False, steps=tuple(steps), hardware=hardware
    )


def _hardware(random: Random, number: int) -> Hardware:
    kind = random.choices(KINDS, (8, 2, 1))[0] if number else KINDS[0]
    attributes = {"stack": random.choice(("prod", "test"))} if random.random() < 0.7 else {}
    attributes |= {"ssd": ""} if random.random() < 0.4 else {}
    return Hardware(
        kind=kind,
        cores=random.choice((1, 2, 4)),
        memory=random.choice((2048, 4096)),
        zone=random.choice(ZONES),
        attributes=attributes,
        ports=KEPT_PORTS,
        gpus=tuple(f"gpu-{number}-{card}" for card in range(random.choice((0, 0, 2)))) if kind == "EC2" else (),
        interfaces=random.choice((0, 2)),
        group=random.choice(("", *PROVIDERS.values())) if kind == "EC2" else "",
    )


def _work(random: Random, nodes: int, *, external: bool) -> Step:
    do = random.choices(list(_WORK), list(_WORK.values()))[0]
    at, step = draw_moment(random), Step(at=0.0, do=do, node=random.randrange(nodes), pick=random.random())
    match do:
        case "define":
            return _define(random, at, random.choice((0, 1, *range(FAMILIES, FAMILIES + PLACED))))
        case "run":
            return Step(at=at, do=do, more={**draw_run(random), "family": random.randrange(2)})
        case "place":
            return Step(at=at, do=do, more=_place(random, external=external))
        case "start":
            return msgspec.structs.replace(step, at=at, more=_start(random))
        case "deregister":
            return msgspec.structs.replace(step, at=at, after=random.random() < 0.6)
        case "put-attribute":
            more = {"name": random.choice(("stack", "ssd")), "value": random.choice(("prod", "test", "", None))}
            return msgspec.structs.replace(step, at=at, more=more)
        case _:
            return msgspec.structs.replace(step, at=at)


def _define(random: Random, at: float, family: int) -> Step:
    if family < FAMILIES:
        return draw_fargate_definition(random, at, family)
    return Step(at=at, do="define", more=draw_placed_definition(random, family, tuple(RULES)))


def _place(random: Random, *, external: bool) -> dict[str, Any]:
    """A RunTask for container instances. ``external``: some of them are."""
    provider = random.choice(tuple(PROVIDERS)) if random.random() < 0.25 else ""
    constraints: list[dict[str, str]] = []
    if random.random() < 0.25:
        constraints.append({"type": "distinctInstance"})
    if random.random() < 0.3:
        constraints.append({"type": "memberOf", "expression": random.choice(tuple(RULES))})
    return {
        "cluster": CLUSTERS[0],
        "family": FAMILIES + random.randrange(PLACED),
        "count": random.choice((1, 1, 1, 2, 3, 6)),
        "launchType": "" if provider else random.choice(("EC2", "EC2", "EC2", "EXTERNAL" if external else "EC2")),
        "provider": provider,
        "constraints": constraints,
        "strategy": random.choice(STRATEGIES),
        "group": random.choice(("", "", "pets")),
        "groups": sorted(random.sample(range(GROUPS), random.randint(0, 2))),
        "token": f"{random.getrandbits(64):016x}",
    }


def _start(random: Random) -> dict[str, Any]:
    drawn = _place(random, external=False)
    return {member: drawn[member] for member in ("cluster", "family", "group", "groups", "token")}


def _fault(random: Random, nodes: int) -> Step:
    do = random.choices(list(_FAULTS), list(_FAULTS.values()))[0]
    step = Step(at=draw_moment(random), do=do, node=random.randrange(nodes), pick=random.random())
    touch, after = random.choice((0, 0, *range(1, 12))), random.random() < 0.5
    match do:
        case "kill-server" | "kill-agent" | "kill-both":
            away = random.choice((0.2, 1.0, 1.0, 5.0, 40.0))
            return msgspec.structs.replace(step, touch=touch, after=after, seconds=away)
        case "silence":
            return msgspec.structs.replace(step, seconds=random.choice((70.0, 130.0, 400.0)))
        case "set-clock":
            jump = random.choice((-3600.0, -30.0, 5.0, 90.0))
            return msgspec.structs.replace(step, node=random.randrange(-1, nodes), seconds=jump)
        case "resize":
            kept = random.choice(((), (8080,), (8080, 8081)))
            return msgspec.structs.replace(step, more={"share": random.choice((0.25, 0.5, 1.0)), "ports": list(kept)})
        case "mischief":
            kind = random.choices(MISCHIEF, (4, 4, 4, 3, 3, 2))[0]
            return msgspec.structs.replace(step, seconds=20.0, more={"kind": kind, "victim": random.randrange(nodes)})
        case "disk-unsure":
            return msgspec.structs.replace(step, after=after)
        case _:
            return msgspec.structs.replace(step, seconds=random.choice((1.0, 6.0, 20.0, 45.0)))
