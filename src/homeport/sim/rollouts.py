"""Scenarios of services: an hour of deployments, good ones and bad, on machines of all kinds that come and go.

Each service has a slot; its definitions are revisions of a family of its own, and it is made again after it was
deleted.
"""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from homeport.sim.clusters import KEPT_PORTS, PROVIDERS, ZONES
from homeport.sim.images import CHURNING, CRASH, MOVING
from homeport.sim.scenario import (
    CLUSTERS,
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
from homeport.sim.slots import (
    BAD_SHARE,
    SLOTS,
    draw_bounds,
    draw_breaker,
    draw_configuration,
    draw_count,
    draw_placement,
    draw_served_definition,
    draw_service,
    draw_token,
)

HOUR = 3600.0
REST = 3600.0  # seconds: the pause between two starts that fail grows to 27 minutes
DEPLOYMENTS = 20  # of a scenario, at least: services that are made, and revisions that they are updated to
GIVEN_UP = 3  # of them in a row, the last of which is bad
FAULTS = 10  # at least
_WORK: dict[Workload, float] = {
    "update-service": 26,
    "stop-of-service": 14,
    "protect": 7,
    "services": 12,
    "drain": 7,
    "activate": 9,
    "push": 8,
    "retire": 4,
    "delete-service": 4,
    "create-service": 8,
    "stop-deployment": 4,
    "scale-task-set": 4,
    "primary-task-set": 1,
    "delete-task-set": 3,
    "put-attribute": 2,
    "deregister": 2,
    "run": 4,
    "stop": 3,
}
_FAULTS: dict[Fault, float] = {
    "kill-server": 8,
    "kill-agent": 6,
    "kill-both": 3,
    "restart-runtime": 1,
    "stop-runtime": 1,
    "reboot": 5,
    "disk-full": 2,
    "disk-unsure": 2,
    "node-disk-full": 1,
    "set-clock": 2,
    "cut": 4,
    "silence": 6,
    "reset": 2,
    "herd": 2,
    "resize": 2,
    "mischief": 2,
}


def draw_services(seed: int) -> Scenario:
    random = chance(seed, "services scenario")
    hardware = _machines(random)
    slots = _slots(random)
    deployed = [slot for slot in slots if SLOTS[slot].kind != "EXTERNAL"]
    steps = [_create(random, random.choice((3.0, 3.0, random.uniform(3.0, 600.0))), slot) for slot in slots]
    steps += _given_up(random, deployed[0])
    for _ in range(DEPLOYMENTS - len(deployed) - GIVEN_UP):
        steps += _deployed(random, random.choice(deployed))
    for slot in slots:
        if SLOTS[slot].kind == "EXTERNAL":
            steps += [step for _ in range(random.randint(3, 6)) for step in _shifted(random, slot)]
    for _ in range(random.randint(1, 3)):
        steps += _scaled_in(random, random.choice(slots))
    steps += [_work(random, slots, len(hardware)) for _ in range(random.randint(30, 50))]
    steps.append(draw_fargate_definition(random, 1.0, 0))
    steps += [_fault(random, steps, len(hardware)) for _ in range(random.choice((FAULTS, FAULTS, 16, 24)))]
    return Scenario(
        seed=seed,
        seconds=HOUR,
        nodes=len(hardware),
        cores=0,
        memory=0,
        overcommit=random.choice((1.5, 16.0)),
        loss=random.choice((0.0, 0.01, 0.03)),
        retry_most=random.choice((1.0, 120.0)),
        public_pool="198.18.0.0/26",
        prefix=random.choice((26, 26, 26, 28)),
        an_hour=random.random() < 0.05,
        steps=tuple(sorted(steps, key=lambda step: step.at)),
        hardware=hardware,
        rest=REST,
        publish=300.0,
    )


def _slots(random: Random) -> list[int]:
    of_kind = {kind: [n for n, slot in enumerate(SLOTS) if slot.kind == kind] for kind in ("DAEMON", "EXTERNAL")}
    slots = random.sample([n for n, slot in enumerate(SLOTS) if slot.kind == "REPLICA"], random.randint(2, 4))
    for kind, share in (("DAEMON", 0.6), ("EXTERNAL", 0.5)):
        if random.random() < share:
            slots.append(random.choice(of_kind[kind]))
    return slots


def _machines(random: Random) -> tuple[Hardware, ...]:
    fargate, ec2 = random.choice((1, 2, 2)), random.randint(2, 4)
    return tuple(_hardware(random, "FARGATE" if number < fargate else "EC2") for number in range(fargate + ec2))


def _hardware(random: Random, kind: Kind) -> Hardware:
    return Hardware(
        kind=kind,
        cores=random.choice((1, 2, 4)) if kind == "EC2" else random.choice((2, 4)),
        memory=random.choice((2048, 4096)) if kind == "EC2" else random.choice((4096, 8192)),
        zone=random.choice(ZONES),
        attributes={"stack": "prod"} if random.random() < 0.7 else {},
        ports=KEPT_PORTS,
        group=random.choice(("", *PROVIDERS.values())) if kind == "EC2" else "",
    )


# --- services ---------------------------------------------------------------------------------------------------------


def _create(random: Random, at: float, slot: int) -> Step:
    """``definition``: parameters of RegisterTaskDefinition, ``members``: further ones of CreateService."""
    more = {"slot": slot, **_as(draw_service(random, slot))}
    if SLOTS[slot].kind != "EXTERNAL":
        more["definition"] = draw_served_definition(random, slot)
    return Step(at=at, do="create-service", more=more)


def _deployed(random: Random, slot: int) -> list[Step]:
    """A new revision of a service's definition, and the service updated to it; sometimes twice in a second. What ends
    again and again, as often as it is started, is soon followed by something that works."""
    at = draw_moment(random, HOUR - 400.0)
    steps = [_deploy(random, at, slot)]
    if random.random() < 0.15:
        steps.append(_deploy(random, at + random.uniform(0.05, 1.0), slot))
    if random.random() < 0.1:
        steps = [_deploy(random, at, slot, image=CRASH), _deploy(random, at + random.uniform(3.0, 20.0), slot, bad=0.0)]
    elif random.random() < 0.9 and any(_image(step) in CHURNING for step in steps):
        steps.append(_deploy(random, at + random.uniform(60.0, 300.0), slot, bad=0.0))
    return steps


def _given_up(random: Random, slot: int) -> list[Step]:
    """Deployments that work, one after the other, and one that doesn't, so that there is something to return to."""
    at = draw_moment(random, HOUR - 900.0)
    steps = []
    for _ in range(GIVEN_UP - 1):
        steps.append(_deploy(random, at, slot, bad=0.0))
        at += random.uniform(120.0, 240.0)
    breaker = {"enable": True, "rollback": True, "thresholdConfiguration": {"type": "COUNT", "value": 1}}
    last = _deploy(random, at, slot, image="missing")
    last.more["members"]["deploymentConfiguration"] = {"deploymentCircuitBreaker": breaker}
    return [*steps, last]


def _image(step: Step) -> str:
    image: str = step.more["definition"]["containerDefinitions"][0]["image"]
    return image.partition(":")[0]


def _deploy(random: Random, at: float, slot: int, bad: float = BAD_SHARE, image: str = "") -> Step:
    members: dict[str, Any] = {}
    if random.random() < 0.2 and SLOTS[slot].kind == "REPLICA":
        members["desiredCount"] = draw_count(random)
    if random.random() < 0.3:
        members["deploymentConfiguration"] = draw_configuration(random, slot)
    definition = draw_served_definition(random, slot, bad, image)
    return Step(at=at, do="deploy", more={"slot": slot, "definition": definition, **_as(members)})


def _update(random: Random, at: float, slot: int) -> Step:
    """What starts no deployment; or one of the same definition, by force."""
    members: dict[str, Any]
    kind = SLOTS[slot].kind
    match random.randrange(8):
        case 0 | 1 | 2 | 3 if kind != "DAEMON":
            members = {"desiredCount": draw_count(random)}
        case 0 | 4:
            members = {"deploymentConfiguration": draw_bounds(random, slot)}
        case 1 | 5 if kind != "EXTERNAL":
            members = {"deploymentConfiguration": {"deploymentCircuitBreaker": draw_breaker(random)}}
        case 2 | 5 | 6:
            members = draw_placement(random, slot)
        case _:
            members = {"forceNewDeployment": True} if kind != "EXTERNAL" else {"desiredCount": draw_count(random)}
    return Step(at=at, do="update-service", more={"slot": slot, **_as(members)})


def _shifted(random: Random, slot: int) -> list[Step]:
    """A task set that takes over from an older one, or is given up, as a controller of one's own would do it. ``pick``
    is by age: 0 the oldest."""
    at, whole = draw_moment(random, HOUR - 600.0), random.random() < 0.3
    members: dict[str, Any] = {"scale": {"value": 100.0 if whole else _scale(random), "unit": "PERCENT"}}
    members |= {"clientToken": draw_token(random)}
    if random.random() < 0.3:
        members["externalId"] = f"release {random.randrange(100)}"
    definition = draw_served_definition(random, slot)
    more = {"slot": slot, "definition": definition, **_as(members)}
    steps, last = [Step(at=at, do="create-task-set", more=more)], 1.0 - 1e-9
    does: tuple[tuple[float, Workload], ...] = (
        (last, "scale-task-set"),
        (last, "primary-task-set"),
        (0.0, "scale-task-set"),
        (0.0, "delete-task-set"),
    )
    for pick, do in does:
        at += random.choice((0.2, 5.0, 60.0, 120.0)) * random.random()
        scale = 0.0 if pick == 0.0 else random.choice((100.0, _scale(random)))
        if random.random() < 0.7:
            steps.append(_of_set(do, at, slot, pick, scale, force=random.random() < 0.7))
    return steps


def _of_set(do: Workload, at: float, slot: int, pick: float, scale: float, *, force: bool) -> Step:
    more = {"slot": slot, "scale": scale} if do == "scale-task-set" else {"slot": slot}
    return Step(at=at, do=do, pick=pick, after=force and do == "delete-task-set", more=more)


def _scale(random: Random) -> float:
    return random.choice((0.0, 1.1, 10.0, 25.0, 33.3, 50.0, 66.7, 100.0))


def _scaled_in(random: Random, slot: int) -> list[Step]:
    """Many tasks, of which few are left a while later; sometimes some of them are protected then."""
    if SLOTS[slot].kind == "DAEMON":
        return []
    at = draw_moment(random, HOUR - 300.0)
    steps = [Step(at=at, do="update-service", more={"slot": slot, **_as({"desiredCount": random.choice((3, 4, 5))})})]
    at += random.uniform(50.0, 150.0)
    if random.random() < 0.6:
        more = {"slot": slot, "minutes": random.choice((1, 5)), "share": random.choice((0.5, 1.0))}
        steps.append(Step(at=at, do="protect", pick=random.random(), more=more))
    at += random.uniform(0.5, 30.0)
    return [
        *steps,
        Step(at=at, do="update-service", more={"slot": slot, **_as({"desiredCount": random.choice((0, 1, 2))})}),
    ]


def _as(members: dict[str, Any]) -> dict[str, Any]:
    return {"members": members}


# --- what else happens ------------------------------------------------------------------------------------------------


def _work(random: Random, slots: list[int], nodes: int) -> Step:
    do = random.choices(list(_WORK), list(_WORK.values()))[0]
    at, slot = draw_moment(random, HOUR), random.choice(slots)
    if do.endswith("task-set"):
        slot = next((slot for slot in slots if SLOTS[slot].kind == "EXTERNAL"), slot)
        do = do if SLOTS[slot].kind == "EXTERNAL" else "update-service"
    step = Step(at=at, do=do, node=random.randrange(nodes), pick=random.random())
    match do:
        case "create-service":
            return _create(random, at, slot)
        case "update-service":
            return _update(random, at, slot)
        case "protect":
            minutes = random.choice((1, 5, 20, 0))
            return msgspec.structs.replace(step, more={"slot": slot, "minutes": minutes, "share": 0.0})
        case "push":
            return msgspec.structs.replace(step, after=random.random() < 0.5, more={"image": random.choice(MOVING)})
        case "scale-task-set" | "primary-task-set" | "delete-task-set":
            return _of_set(do, at, slot, step.pick, _scale(random), force=random.random() < 0.7)
        case "delete-service" | "retire" | "stop-deployment" | "stop-of-service" | "services":
            return msgspec.structs.replace(step, more={"slot": slot}, after=random.random() < 0.7)
        case "deregister":
            return msgspec.structs.replace(step, after=random.random() < 0.5)
        case "put-attribute":
            return msgspec.structs.replace(step, more={"name": "stack", "value": random.choice(("prod", None))})
        case "run":
            return Step(at=at, do="run", more={**draw_run(random), "cluster": CLUSTERS[0], "family": 0, "count": 1})
        case _:
            return step


def _fault(random: Random, steps: list[Step], nodes: int) -> Step:
    """Half of them in the first minute of a deployment."""
    do = random.choices(list(_FAULTS), list(_FAULTS.values()))[0]
    begun = [step.at for step in steps if step.do in ("deploy", "create-service")]
    amid = random.choice(begun) + random.choice((0.0, 0.5, 5.0, 60.0)) * random.random()
    at = amid if random.random() < 0.5 else draw_moment(random, HOUR)
    step = Step(at=at, do=do, node=random.randrange(nodes), pick=random.random())
    touch, after = random.choice((0, 0, *range(1, 15))), random.random() < 0.5
    match do:
        case "kill-server" | "kill-agent" | "kill-both":
            away = random.choice((0.2, 1.0, 1.0, 5.0, 40.0))
            return msgspec.structs.replace(step, touch=touch, after=after, seconds=away)
        case "reboot":
            return msgspec.structs.replace(step, seconds=random.choice((5.0, 30.0, 90.0, 400.0)))
        case "silence":
            return msgspec.structs.replace(step, seconds=random.choice((70.0, 130.0, 400.0)))
        case "set-clock":
            jump = random.choice((-600.0, -30.0, 5.0, 90.0, 4000.0))
            return msgspec.structs.replace(step, node=random.randrange(-1, nodes), seconds=jump)
        case "resize":
            return msgspec.structs.replace(step, more={"share": random.choice((0.5, 1.0)), "ports": []})
        case "mischief":
            kind = random.choice(("replay", "meddle", "snoop", "nonsense", "babble"))
            return msgspec.structs.replace(step, seconds=20.0, more={"kind": kind, "victim": random.randrange(nodes)})
        case "disk-unsure":
            return msgspec.structs.replace(step, after=after)
        case _:
            return msgspec.structs.replace(step, seconds=random.choice((1.0, 6.0, 20.0, 45.0)))
