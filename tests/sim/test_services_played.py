"""Worlds of services: that nothing is violated in any of them, and that the simulator would notice."""

from __future__ import annotations

from typing import Any

import pytest
from planted import SEARCHED, Plant
from planted_services import SERVICE_PLANTS
from test_simulator import judged

from homeport.sim.command import draw_mix
from homeport.sim.rollouts import DEPLOYMENTS, FAULTS, HOUR, draw_services
from homeport.sim.scenario import Step
from homeport.sim.slots import SLOTS
from homeport.sim.world import play

SEEDS = range(30)
DRAWN = range(80)
WORK = frozenset(
    ("create-service", "deploy", "update-service", "delete-service", "retire", "stop-deployment", "stop-of-service")
) | {"create-task-set", "scale-task-set", "primary-task-set", "delete-task-set", "push"}
CALLS = WORK | {"protect", "services", "define", "run", "stop", "drain", "activate", "put-attribute", "deregister"}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.feature("Services, deployments and their faults in the simulator: homeport sim")
def test_nothing_is_violated_among_services(seed: int) -> None:
    outcome = judged(draw_services(seed))
    assert outcome.seconds >= HOUR


@pytest.mark.parametrize("planted", SERVICE_PLANTS, ids=lambda planted: planted.name)
def test_a_bug_planted_in_services_is_found(planted: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.plant(monkeypatch)
    for seed in (planted.seed, *range(SEARCHED)):  # what isn't found at once any more is only found later
        violation = play(planted.draw(seed)).violation
        if violation is not None:
            assert violation.invariant in planted.found, f"seed {seed}: {violation}"
            return
    pytest.fail(f"{planted.name}: not found in {SEARCHED} seeds")


def test_there_are_enough_plants() -> None:
    assert len({planted.name for planted in SERVICE_PLANTS}) >= 40


def test_a_seed_is_an_hour_of_deployments_and_faults() -> None:
    for seed in DRAWN:
        scenario = draw_services(seed)
        steps = [step.do for step in scenario.steps]
        assert scenario.seconds >= 3600
        assert sum(do in ("create-service", "deploy") for do in steps) >= DEPLOYMENTS >= 20
        assert sum(do not in CALLS for do in steps) >= FAULTS >= 10
        assert {machine.kind for machine in scenario.hardware} == {"FARGATE", "EC2"}


def test_the_seeds_are_full_of_what_can_happen_to_services() -> None:
    steps = [step for seed in DRAWN for step in draw_services(seed).steps]
    for do in WORK:
        assert sum(step.do == do for step in steps) >= 50, do
    images = [_image(step) for step in steps if step.do == "deploy"]
    for image in ("crash", "soon", "sick", "sours", "missing", "noentry"):
        assert images.count(image) >= 20, image
    breakers = [b for step in steps if (b := _breaker(step)) is not None]
    assert sum(b["enable"] and b["rollback"] for b in breakers) >= 50
    assert sum(b["enable"] and not b["rollback"] for b in breakers) >= 50
    assert sum("earlySuccessCriteria" in _configuration(step) for step in steps) >= 100


def test_the_seeds_have_services_of_all_kinds() -> None:
    made = [{SLOTS[s.more["slot"]].kind for s in draw_services(n).steps if s.do == "create-service"} for n in DRAWN]
    assert all("REPLICA" in kinds for kinds in made)
    for kind in ("DAEMON", "EXTERNAL"):
        assert sum(kind in kinds for kinds in made) >= len(DRAWN) / 3


def test_the_mix_has_all_worlds() -> None:
    drawn = [draw_mix(seed) for seed in range(20)]
    assert sum(scenario.seconds == HOUR for scenario in drawn) == 16
    assert {bool(scenario.hardware) for scenario in drawn if scenario.seconds < HOUR} == {True, False}


def _image(step: Step) -> str:
    image: str = step.more["definition"]["containerDefinitions"][0]["image"]
    return image.partition(":")[0]


def _configuration(step: Step) -> dict[str, Any]:
    return (step.more.get("members") or {}).get("deploymentConfiguration") or {}


def _breaker(step: Step) -> dict[str, bool] | None:
    return _configuration(step).get("deploymentCircuitBreaker")
