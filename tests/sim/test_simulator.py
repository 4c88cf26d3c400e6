"""Simulated worlds: that nothing is violated in any of them, and that the simulator would notice."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from msgspec.structs import replace
from planted import PLANTS, SEARCHED, Plant
from planted_clusters import CLUSTER_PLANTS

from homeport.sim import __main__ as command
from homeport.sim.clusters import draw_cluster, draw_herd
from homeport.sim.command import relevant
from homeport.sim.scenario import SECONDS, Scenario, draw
from homeport.sim.shorten import shortest
from homeport.sim.world import Outcome, play

SEEDS, CLUSTER_SEEDS = range(120), range(50)  # those of services are in test_services_played
PLAYS = 60  # to shorten a failure that CI found


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_violated(seed: int) -> None:
    outcome = judged(draw(seed))
    assert outcome.seconds >= SECONDS >= 600


@pytest.mark.parametrize("seed", CLUSTER_SEEDS)
def test_nothing_is_violated_in_a_cluster(seed: int) -> None:
    outcome = judged(draw_cluster(seed))
    assert outcome.seconds >= SECONDS >= 600


def test_two_hundred_agents_connect_at_once() -> None:
    outcome = judged(draw_herd(1, 200))
    assert outcome.tasks >= 10


def judged(scenario: Scenario) -> Outcome:
    """What a scenario led to; where that violates something, the test fails and tells the shortest story of it."""
    outcome = play(scenario)
    if outcome.violation is not None:
        story = "\n".join(relevant(shortest(outcome, scenario, PLAYS)))
        told = f"seed {scenario.seed}: {outcome.violation.invariant}: {outcome.violation.text}\n{story}"
        pytest.fail(told, pytrace=False)
    return outcome


def test_the_seeds_are_full_of_crashes() -> None:
    steps = [step.do for seed in SEEDS for step in draw(seed).steps]
    for fault in ("kill-server", "kill-agent", "kill-both", "reboot", "silence", "disk-full", "set-clock"):
        assert steps.count(fault) >= 30, fault
    assert steps.count("run") >= 1000
    assert {draw(seed).nodes for seed in SEEDS} == {1, 2, 3, 4, 5}


def test_the_seeds_are_full_of_what_containers_can_do() -> None:
    made = [step.more for seed in SEEDS for step in draw(seed).steps if step.do == "define"]
    containers = [container for members in made for container in members["containerDefinitions"]]
    needs = [need["condition"] for container in containers for need in container.get("dependsOn", ())]
    for condition in ("START", "COMPLETE", "SUCCESS", "HEALTHY"):
        assert needs.count(condition) >= 50, condition
    for member in ("healthCheck", "restartPolicy", "startTimeout", "stopTimeout", "mountPoints"):
        assert sum(member in container for container in containers) >= 100, member


def test_a_seed_has_one_history() -> None:
    """Also in another process, whose sets of strings have another order."""
    here = [play(draw(seed)).digest for seed in range(4)]
    assert [play(draw(seed), tell=True).digest for seed in range(2)] == here[:2]
    assert len(set(here)) == 4
    program = (
        "from homeport.sim.scenario import draw; from homeport.sim.world import play\n"
        "print(*(play(draw(seed)).digest for seed in range(4)))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    there = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert there.stdout.split() == here, there.stderr


@pytest.mark.parametrize("planted", [*PLANTS, *CLUSTER_PLANTS], ids=lambda planted: planted.name)
def test_a_planted_bug_is_found(planted: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.plant(monkeypatch)
    for seed in (planted.seed, *range(SEARCHED)):  # what isn't found at once any more is only found later
        violation = play(planted.draw(seed)).violation
        if violation is not None:
            assert violation.invariant in planted.found, f"seed {seed}: {violation}"
            return
    pytest.fail(f"{planted.name}: not found in {SEARCHED} seeds")


def test_a_failure_is_told_in_its_shortest_form(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = next(p for p in PLANTS if p.name == "answers before it is durable")
    planted.plant(monkeypatch)
    assert command.main(seeds=2, first=planted.seed, jobs=1, world="fargate") == 1
    told = capsys.readouterr().out
    assert "nothing acknowledged is lost" in told
    seed = int(told.partition("Seed ")[2].partition(" ")[0])
    assert f"--first {seed} --seeds 1" in told
    steps = [line for line in told.splitlines() if "  step: " in line]
    assert any("kill" in step or "disk-unsure" in step for step in steps)
    assert len(steps) <= 6 < len(draw(seed).steps)


def test_without_a_failure_it_tells_how_much_it_played(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(seeds=2, jobs=1, world="fargate") == 0
    assert "2 seeds" in capsys.readouterr().out


def test_leaving_a_step_out_is_a_scenario_too() -> None:
    outcomes: list[Outcome] = []
    scenario = draw(1)
    for left_out in range(0, len(scenario.steps), 20):
        steps = scenario.steps[:left_out] + scenario.steps[left_out + 20 :]
        outcomes.append(play(replace(scenario, steps=steps)))
    assert all(outcome.violation is None for outcome in outcomes)
