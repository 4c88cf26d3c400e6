"""What happens in a simulated world, as data: drawn from a seed, played by ``world``, made shorter by ``shorten``.

A step says what is done and to what, never by name of something that an earlier step made, so that any subset of the
steps is a scenario too.
"""

from __future__ import annotations

from random import Random
from typing import Any, Literal

import msgspec

from homeport.sim.definitions import draw_definition

SECONDS = 600.0  # simulated, at the least, before everything is put right again

Workload = Literal[
    "define",
    "run",
    "stop",
    "describe",
    "list",
    "allow",
    "deny",
    "delete-cluster",
    "create-cluster",
    "place",
    "start",
    "drain",
    "activate",
    "deregister",
    "put-attribute",
    "instances",
    "create-service",
    "deploy",
    "update-service",
    "delete-service",
    "retire",
    "stop-deployment",
    "stop-of-service",
    "protect",
    "services",
    "create-task-set",
    "scale-task-set",
    "primary-task-set",
    "delete-task-set",
    "push",
]
Fault = Literal[
    "kill-server",
    "kill-agent",
    "kill-both",
    "restart-runtime",
    "stop-runtime",
    "reboot",
    "disk-full",
    "disk-unsure",
    "node-disk-full",
    "set-clock",
    "cut",
    "silence",
    "reset",
    "herd",
    "resize",
    "mischief",
]

Kind = Literal["EC2", "EXTERNAL", "FARGATE"]  # of machine


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """At ``at`` seconds. ``node`` is a number (-1: the control plane's machine), ``pick`` chooses one of what there is
    (0 ≤ pick < 1), ``seconds`` how long it lasts or how far a clock is set, ``touch`` and ``after`` at which of its
    next effects a process is killed, ``more`` parameters of a call."""

    at: float
    do: Workload | Fault
    node: int = 0
    pick: float = 0.0
    seconds: float = 0.0
    touch: int = 0
    after: bool = False
    more: dict[str, Any] = {}


class Hardware(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a machine is, and what its operator has told its agent: ``memory`` in MiB, ``ports`` that the machine keeps
    for itself, ``interfaces`` that tasks can have there (0: no limit), ``group`` the Auto Scaling group."""

    kind: Kind
    cores: int
    memory: int
    zone: str = "us-east-1a"
    attributes: dict[str, str] = {}
    ports: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()
    interfaces: int = 0
    group: str = ""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """``cores``, ``memory`` (MiB) and ``overcommit`` (of cores) of each node, where ``hardware`` doesn't say it for
    each alone; ``loss`` as in ``Net``; ``retry_most`` as in AgentSettings; ``public_pool`` a CIDR; ``prefix`` the
    length of the subnets'. ``an_hour``: it goes on until stopped tasks are forgotten. ``rest``: seconds in which the
    world must come to rest once it is left alone; ``publish`` as in AgentSettings."""

    seed: int
    seconds: float
    nodes: int
    cores: int
    memory: int
    overcommit: float
    loss: float
    retry_most: float
    public_pool: str
    prefix: int
    an_hour: bool
    steps: tuple[Step, ...]
    hardware: tuple[Hardware, ...] = ()
    rest: float = 900.0  # nodes retry for minutes
    publish: float = 20.0


CLUSTERS = ("default", "demo")
FAMILIES = 6
GROUPS = 3

_WORK: dict[Workload, float] = {
    "define": 5,
    "run": 32,
    "stop": 24,
    "describe": 18,
    "list": 3,
    "allow": 5,
    "deny": 5,
    "delete-cluster": 2,
    "create-cluster": 2,
}
_FAULTS: dict[Fault, float] = {
    "kill-server": 8,
    "kill-agent": 8,
    "kill-both": 3,
    "restart-runtime": 2,
    "stop-runtime": 2,
    "reboot": 3,
    "disk-full": 2,
    "disk-unsure": 2,
    "node-disk-full": 2,
    "set-clock": 2,
    "cut": 4,
    "silence": 2,
    "reset": 3,
}


def chance(seed: int, what: str) -> Random:
    """Each part of a world has its own, so that leaving a step out changes no more than it must."""
    return Random(f"{seed} {what}")  # noqa: S311 (nothing secret)


def draw(seed: int) -> Scenario:
    random = chance(seed, "scenario")
    nodes = random.randint(1, 5)
    calls, faults = random.randint(35, 70), random.choice((0, 6, 12, 18, 24))
    work = [_work(random) for _ in range(calls)] + [_fault(random, nodes) for _ in range(faults)]
    first = [draw_fargate_definition(random, at=0.5 + family / 10, family=family) for family in range(FAMILIES)]
    return Scenario(
        seed=seed,
        seconds=SECONDS,
        nodes=nodes,
        cores=random.choice((1, 2, 4)),
        memory=random.choice((2048, 4096)),
        overcommit=random.choice((1.5, 16.0)),
        loss=random.choice((0.0, 0.01, 0.05)),
        retry_most=random.choice((1.0, 120.0)),
        public_pool=random.choice(("198.18.0.0/28", "198.18.0.0/27")),
        prefix=28,
        an_hour=random.random() < 0.05,
        steps=tuple(sorted([*first, *work], key=lambda step: step.at)),
    )


def _work(random: Random) -> Step:
    do = random.choices(list(_WORK), list(_WORK.values()))[0]
    at = draw_moment(random)
    match do:
        case "define":
            return draw_fargate_definition(random, at, random.randrange(FAMILIES))
        case "run":
            return Step(at=at, do=do, more=draw_run(random))
        case "allow" | "deny":
            return Step(at=at, do=do, more=_rule(random))
        case "delete-cluster" | "create-cluster":
            return Step(at=at, do=do, more={"cluster": CLUSTERS[1]})
        case _:
            return Step(at=at, do=do, pick=random.random())


def _fault(random: Random, nodes: int) -> Step:
    do = random.choices(list(_FAULTS), list(_FAULTS.values()))[0]
    step = Step(at=draw_moment(random), do=do, node=random.randrange(nodes))
    touch, after = random.choice((0, 0, *range(1, 12))), random.random() < 0.5
    match do:
        case "kill-server" | "kill-agent" | "kill-both":
            away = random.choice((0.2, 1.0, 1.0, 5.0, 40.0))
            return msgspec.structs.replace(step, touch=touch, after=after, seconds=away)
        case "reboot":
            return msgspec.structs.replace(step, seconds=random.choice((5.0, 30.0, 90.0)))
        case "silence":
            return msgspec.structs.replace(step, seconds=random.choice((70.0, 130.0, 130.0, 700.0)))
        case "set-clock":
            jump = random.choice((-3600.0, -30.0, 5.0, 90.0, 4000.0))
            return msgspec.structs.replace(step, node=random.randrange(-1, nodes), seconds=jump)
        case "disk-unsure":
            return msgspec.structs.replace(step, after=after)
        case _:
            return msgspec.structs.replace(step, seconds=random.choice((1.0, 6.0, 20.0, 45.0)))


def draw_moment(random: Random, seconds: float = SECONDS) -> float:
    """Things come in bursts: half of all happens within a few seconds of a full minute."""
    if random.random() < 0.5:
        return 60.0 * random.randrange(0, int(seconds // 60)) + 2.0 + random.expovariate(1.0)
    return random.uniform(2.0, seconds - 10.0)


def draw_fargate_definition(random: Random, at: float, family: int) -> Step:
    return Step(at=at, do="define", more=draw_definition(random, family))


def draw_run(random: Random) -> dict[str, Any]:
    return {
        "cluster": random.choice(CLUSTERS),
        "family": random.randrange(FAMILIES),
        "count": random.choice((1, 1, 1, 2, 3, 5, 10)),
        "public": random.random() < 0.6,
        "groups": sorted(random.sample(range(GROUPS), random.randint(0, 2))),
        "token": f"{random.getrandbits(64):016x}",
    }


def _rule(random: Random) -> dict[str, Any]:
    """A rule of one of the groups, with a range or another group as its peer."""
    peer = random.choice((None, *range(GROUPS)))
    return {"group": random.randrange(GROUPS), "port": random.choice((80, 443, 8080)), "peer": peer}
