"""What-if questions: what is played, and what is reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from homeport import cli
from homeport.cli import CommandError, simulation
from homeport.sim.asking import BadScenario, read
from homeport.sim.questions import (
    Activate,
    Breaker,
    Capacity,
    Deploy,
    Deregister,
    Drain,
    Fail,
    Happens,
    Interrupt,
    Lose,
    Machines,
    Pool,
    Prices,
    Question,
    Return,
    Runs,
    Scale,
)
from homeport.sim.report import Report
from homeport.sim.speed import measure
from homeport.sim.whatif import answer

EXAMPLE = Path(__file__).parents[2] / "examples" / "what-if.toml"
WEB = Runs(name="web", count=4, cpu=1024, memory=512, starts=3.0, stops=1.0)
QUESTION = Question(
    machines=(Machines(name="m", count=4, cpu=2, memory=4096, zones=("us-east-1a", "us-east-1b")),),
    services=(WEB,),
    seconds=300.0,
)
CHECKED = replace(WEB, healthy=10.0)
ON_FARGATE = Question(
    fargate=Pool(zones=("us-east-1a", "us-east-1b")),
    services=(Runs(name="api", count=4, cpu=256, memory=512, healthy=10.0, launch_type="FARGATE"),),
    seconds=600.0,
)
ON_SPOT = replace(
    ON_FARGATE,
    services=(
        replace(
            ON_FARGATE.services[0],
            launch_type=None,
            capacity=(Capacity(provider="FARGATE", base=1), Capacity(provider="FARGATE_SPOT", weight=1)),
        ),
    ),
)


def asked(question: Question, *events: Happens) -> Report:
    return answer(replace(question, events=events))


def lines(report: Report) -> str:
    return "\n".join(line.what for line in report.timeline)


@pytest.mark.feature("What-if questions of a cluster, answered from a scenario file: homeport sim FILE")
def test_the_example_tells_what_happens_and_what_it_costs(capsys: pytest.CaptureFixture[str]) -> None:
    simulation.sim(EXAMPLE)
    told = capsys.readouterr().out
    assert "terminated: all in us-east-1a" in told
    report = answer(read(EXAMPLE))
    shop, api = report.services
    start, slow, interrupted, failing, zone, scaled = report.phases
    assert start.services[0].places == {"us-east-1a": 4, "us-east-1b": 4, "us-east-1c": 4}
    assert slow.services[0].lowest == 12  # 100 % stay healthy
    assert interrupted.services[1].lowest == 2
    assert failing.services[1].lowest == 4
    assert zone.services[0].places == {"us-east-1b": 6, "us-east-1c": 6}
    assert (scaled.services[0].running, scaled.services[0].desired, scaled.services[0].steady) == (16, 20, None)
    assert scaled.cpu == 1.0
    assert [rollout.end for rollout in shop.rollouts] == ["COMPLETED", "COMPLETED"]
    assert [rollout.end for rollout in api.rollouts] == ["COMPLETED", "ROLLED_BACK"]
    assert shop.lowest is not None
    assert shop.lowest.healthy == 8
    assert shop.lowest.at == pytest.approx(1800.0, abs=1)
    assert shop.unplaced is not None
    assert (shop.unplaced.most, shop.unplaced.now) == (4, True)
    assert "insufficient CPU" in shop.unplaced.reasons[0]
    assert report.unpriced == ("FARGATE_SPOT",)


@pytest.mark.feature("The same scenario gives the same report, byte for byte")
def test_the_same_scenario_gives_the_same_report_in_any_process() -> None:
    def told(seed: str) -> bytes:
        command = [sys.executable, "-m", "homeport", "sim", str(EXAMPLE), "--json"]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        return subprocess.run(command, env=environment, capture_output=True, check=True, timeout=120).stdout

    first = told("1")
    assert first == told("2")
    assert json.loads(first)["seconds"] == 3300.0


def test_a_task_without_a_check_makes_a_service_steady_40_s_after_it_runs() -> None:
    report = answer(QUESTION)
    (start,) = report.phases
    steady, ready = start.services[0].steady, report.services[0].ready
    assert steady is not None
    assert ready is not None
    assert 43.0 <= ready <= steady <= 50.0
    assert (start.cpu, start.memory) == (0.5, 0.125)


# --- deployments ------------------------------------------------------------------------------------------------------


def test_a_deployment_that_never_starts_takes_nothing_away() -> None:
    report = asked(QUESTION, Deploy(at=100.0, service="web", broken=True))
    assert report.phases[1].services[0].steady is None
    assert report.phases[1].services[0].lowest == 4
    assert report.services[0].rollouts[1].end == "IN_PROGRESS"
    assert report.services[0].rollouts[1].seconds is None
    assert report.services[0].rollouts[1].failed_tasks >= 3
    assert report.services[0].below_minimum == 0.0


@pytest.mark.feature(
    "What if a deployment crashes or gets unhealthy: circuit breaker and rollback in homeport sim FILE"
)
@pytest.mark.parametrize("how", [{"broken": True}, {"unhealthy": 5.0}])
def test_a_deployment_that_fails_is_rolled_back(how: dict[str, float]) -> None:
    runs = replace(CHECKED, breaker=Breaker(enable=True, rollback=True))
    report = asked(replace(QUESTION, services=(runs,)), Deploy(at=100.0, service="web", **how))  # type: ignore[arg-type]
    first, second = report.services[0].rollouts
    assert (first.end, second.end, second.revision) == ("COMPLETED", "ROLLED_BACK", "web:2")
    assert second.failed_tasks == sum(second.reasons.values()) >= 3
    assert list(second.reasons) == [
        "Task failed to start" if "broken" in how else "Task failed container health checks"
    ]
    assert second.seconds is not None
    assert 0 < second.seconds < 200
    assert "rolling back to web:1" in lines(report)
    assert report.services[0].healthy == 4


def test_without_a_rollback_it_has_failed() -> None:
    runs = replace(WEB, breaker=Breaker(enable=True))
    report = asked(replace(QUESTION, services=(runs,)), Deploy(at=100.0, service="web", broken=True))
    assert report.services[0].rollouts[1].end == "FAILED"


def test_tasks_that_crash_after_they_ran_dont_open_the_circuit_breaker() -> None:
    runs = replace(WEB, breaker=Breaker(enable=True, rollback=True))
    report = asked(replace(QUESTION, services=(runs,)), Deploy(at=100.0, service="web", crashes=5.0))
    assert report.services[0].rollouts[1].end == "IN_PROGRESS"
    assert report.services[0].rollouts[1].failed_tasks > 20


def test_a_deployment_takes_as_long_as_its_tasks_need_to_be_healthy() -> None:
    question = replace(QUESTION, services=(CHECKED,), seconds=600.0)
    fast = asked(question, Deploy(at=100.0, service="web")).services[0].rollouts[1].seconds
    slow = asked(question, Deploy(at=100.0, service="web", starts=60.0, healthy=90.0)).services[0].rollouts[1].seconds
    assert fast is not None
    assert slow is not None
    assert fast < 60.0 < 150.0 <= slow


def test_a_deployment_of_bigger_tasks_waits_where_they_have_no_room() -> None:
    report = asked(QUESTION, Deploy(at=100.0, service="web", memory=3800))
    (web,) = report.services
    assert (web.rollouts[1].end, web.running) == ("IN_PROGRESS", 4)
    assert web.unplaced is not None
    assert "insufficient memory" in web.unplaced.reasons[0]
    assert web.below_minimum == 0.0


def test_a_deployment_that_another_follows_is_superseded() -> None:
    report = asked(QUESTION, Deploy(at=100.0, service="web", broken=True), Deploy(at=150.0, service="web"))
    assert [rollout.end for rollout in report.services[0].rollouts] == ["COMPLETED", "SUPERSEDED", "COMPLETED"]


# --- machines ---------------------------------------------------------------------------------------------------------


@pytest.mark.feature("What if machines are lost, return, drain or leave: homeport sim FILE")
def test_ecs_goes_on_counting_the_tasks_of_a_machine_that_is_lost_and_the_report_does_not() -> None:
    report = asked(QUESTION, Lose(at=100.0, instance="m-1"), Return(at=200.0, instance="m-1"))
    _, lost, back = report.phases
    assert (lost.services[0].running, lost.services[0].steady, lost.services[0].lowest) == (4, 0.0, 3)
    assert back.services[0].running == 4
    (web,) = report.services
    assert web.lowest is not None
    assert (web.lowest.healthy, web.lowest.at) == (3, 100.0)
    assert 140.0 <= web.below_minimum <= 200.0  # until its task, started anew, runs for 40 s
    assert lines(report).count("as many healthy tasks as it needs again") == 1  # not while it boots
    assert web.healthy == 4


def test_a_machine_that_is_terminated_is_left_at_once_and_another_takes_its_place() -> None:
    report = asked(QUESTION, Fail(at=100.0, machines="m"), Return(at=150.0, machines="m"))
    _, gone, back = report.phases
    assert gone.services[0].running == 0
    assert (back.services[0].running, back.services[0].places) == (4, {"us-east-1a": 2, "us-east-1b": 2})
    unplaced = report.services[0].unplaced
    assert unplaced is not None
    assert (unplaced.most, unplaced.now) == (4, False)
    assert "no container instance met all of its requirements" in unplaced.reasons[0]
    assert report.machines[0].seconds == 4 * (100 + 300)


def test_a_machine_that_drains_is_empty_before_fewer_tasks_are_healthy() -> None:
    report = asked(QUESTION, Drain(at=100.0, instance="m-2"), Activate(at=250.0, instance="m-2"))
    assert "m-2 is drained: no task is left" in lines(report)
    assert report.services[0].below_minimum == 0.0
    drained = next(line.at for line in report.timeline if "drained" in line.what)
    assert 140.0 < drained < 150.0


def test_a_machine_is_only_deregistered_by_force_while_tasks_run_there() -> None:
    report = asked(QUESTION, Deregister(at=100.0, instance="m-1", force=False), Deregister(at=150.0, instance="m-1"))
    _, refused, forced = report.phases
    assert "ECS refuses that: Found running tasks on the instance." in lines(report)
    assert refused.services[0].lowest == 4
    assert forced.services[0].lowest == 3
    assert forced.services[0].running == 4


def test_what_can_happen_to_no_machine_is_told() -> None:
    report = asked(QUESTION, Return(at=10.0, instance="m-1"))
    assert "there is no machine that this can happen to" in lines(report)


def test_tasks_of_a_port_are_on_machines_of_their_own() -> None:
    report = answer(replace(QUESTION, services=(replace(WEB, port=8080, count=5),)))
    (start,) = report.phases
    assert (start.services[0].running, start.services[0].most_on_one) == (4, 1)
    unplaced = report.services[0].unplaced
    assert unplaced is not None
    assert (unplaced.most, unplaced.now) == (1, True)
    assert "is already using a port" in unplaced.reasons[0]
    assert report.services[0].ready is None
    assert report.services[0].lowest is None


def test_network_interfaces_of_machines_run_out() -> None:
    machines = replace(QUESTION.machines[0], count=1, interfaces=2)
    runs = replace(WEB, count=3, cpu=128, network="awsvpc")
    report = answer(replace(QUESTION, machines=(machines,), services=(runs,)))
    unplaced = report.services[0].unplaced
    assert report.services[0].running == 2
    assert unplaced is not None
    assert "RESOURCE:ENI" in unplaced.reasons[0]


def test_a_strategy_over_capacity_providers_is_kept() -> None:
    machines = tuple(
        Machines(name=name, count=2, cpu=4, memory=8192, provider=name, price=price)
        for name, price in (("steady", 0.2), ("cheap", 0.05))
    )
    capacity = (Capacity(provider="steady", base=2, weight=1), Capacity(provider="cheap", weight=3))
    runs = replace(WEB, count=6, cpu=256, capacity=capacity)
    report = answer(replace(QUESTION, machines=machines, services=(runs,)))
    used = {used.on: used.task_seconds for used in report.services[0].used}
    assert used["steady"] == pytest.approx(used["cheap"], rel=0.02)  # 2 + 1, and 3
    assert report.usd == pytest.approx(2 * 300 * (0.2 + 0.05) / 3600, abs=1e-6)
    assert report.unpriced == ()


# --- Fargate ----------------------------------------------------------------------------------------------------------


@pytest.mark.feature("What Fargate would bill for a scenario: homeport sim FILE")
def test_fargate_is_billed_by_the_second_from_the_download_of_the_image_on() -> None:
    (api,) = answer(ON_FARGATE).services
    (used,) = api.used
    assert used.on == "FARGATE"
    # Four tasks, one of which may be started before the others, from their start to the end of the play.
    assert 4 * 580 <= used.task_seconds <= 4 * 600
    assert (used.vcpu_seconds, used.gb_seconds) == (used.task_seconds * 0.25, used.task_seconds * 0.5)
    assert used.usd == pytest.approx(used.task_seconds * (0.25 * 0.04048 + 0.5 * 0.004445) / 3600, abs=1e-6)


def test_a_task_of_a_few_seconds_is_billed_for_a_minute() -> None:
    question = replace(ON_FARGATE, services=(replace(ON_FARGATE.services[0], count=0),), seconds=300.0)
    (api,) = asked(question, Scale(at=10.0, service="api", count=1), Scale(at=30.0, service="api", count=0)).services
    assert api.used[0].task_seconds == 60


@pytest.mark.feature("What if Fargate Spot is interrupted: homeport sim FILE")
def test_an_interruption_takes_the_tasks_on_spot_and_no_others() -> None:
    report = asked(ON_SPOT, Interrupt(at=100.0))
    (api,) = report.services
    assert api.lowest is not None
    assert (api.lowest.healthy, api.lowest.at) == (1, 100.0)
    assert api.healthy == 4
    assert [(used.on, used.usd is None) for used in api.used] == [("FARGATE", False), ("FARGATE_SPOT", True)]
    assert report.unpriced == ("FARGATE_SPOT",)


def test_so_many_as_are_said_are_interrupted() -> None:
    report = asked(ON_SPOT, Interrupt(at=100.0, service="api", count=2))
    assert report.phases[1].services[0].lowest == 2


def test_spot_costs_what_is_said() -> None:
    report = answer(replace(ON_SPOT, prices=Prices(spot_vcpu=0.01, spot_gb=0.001)))
    fargate, spot = report.services[0].used
    assert spot.usd == pytest.approx(spot.task_seconds * (0.25 * 0.01 + 0.5 * 0.001) / 3600, abs=1e-6)
    assert fargate.usd is not None
    assert spot.usd is not None
    assert report.usd == pytest.approx(fargate.usd + spot.usd, abs=1e-6)


def test_fargates_tasks_in_a_zone_that_fails_are_given_up_after_a_minute_and_replaced() -> None:
    report = asked(ON_FARGATE, Fail(at=100.0, zone="us-east-1a"))
    (api,) = report.services
    assert api.lowest is not None
    assert (api.lowest.healthy, api.lowest.at) == (2, 100.0)
    assert 60.0 <= api.below_minimum <= 90.0
    assert report.phases[1].services[0].places == {"us-east-1b": 4}


def test_a_zone_of_fargate_that_is_back_is_used_again() -> None:
    report = asked(ON_FARGATE, Lose(at=100.0, zone="us-east-1a"), Return(at=300.0, zone="us-east-1a"))
    assert report.phases[2].services[0].places == {"us-east-1a": 2, "us-east-1b": 2}
    assert report.services[0].healthy == 4


@pytest.mark.feature("A service beyond what its cluster holds, and why its tasks fail: homeport sim FILE")
def test_a_service_that_is_bigger_than_the_cluster_ends_with_what_has_room() -> None:
    runs = replace(WEB, count=100)
    report = asked(replace(QUESTION, services=(runs,)), Deploy(at=100.0, service="web"), Fail(at=200.0, instance="m-1"))
    (web,) = report.services
    assert (web.running, web.desired, web.ready) == (6, 100, None)
    assert web.lowest is not None
    assert web.lowest.healthy <= 6
    assert web.unplaced is not None
    assert (web.unplaced.most, web.unplaced.now) == (94, True)


def test_nodes_of_ones_own_have_room_for_as_much_as_they_advertise() -> None:
    machines = (Machines(name="node", count=1, cpu=1, memory=1024, kind="FARGATE", overcommit=2.0),)
    runs = replace(ON_FARGATE.services[0], count=5)
    report = answer(replace(ON_FARGATE, fargate=None, machines=machines, services=(runs,)))
    unplaced = report.services[0].unplaced
    assert report.services[0].running == 4  # of 512 MiB each in two times 1024
    assert unplaced is not None
    assert "Capacity is unavailable" in unplaced.reasons[0]


# --- what is wrong ----------------------------------------------------------------------------------------------------


def test_what_ecs_refuses_is_told() -> None:
    with pytest.raises(BadScenario, match="ECS refuses the service web: Both maximumPercent"):
        answer(replace(QUESTION, services=(replace(WEB, maximum=100),)))
    with pytest.raises(BadScenario, match="ECS refuses the service api: No Fargate"):
        answer(replace(ON_FARGATE, services=(replace(ON_FARGATE.services[0], memory=500),)))


def test_a_machine_that_cannot_register_is_refused() -> None:
    machines = replace(QUESTION.machines[0], attributes={"a b": "c"})
    with pytest.raises(BadScenario, match="ECS refuses the machine m-1: Attribute names must be"):
        answer(replace(QUESTION, machines=(machines,)))


def test_the_command_tells_what_is_wrong_without_a_traceback(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("machines = 3")
    with pytest.raises(CommandError, match="line 1, machines: expected an array, got an integer"):
        simulation.sim(file)
    with pytest.raises(CommandError, match="--json is for a scenario file"):
        simulation.sim(as_json=True)


def test_the_command_is_known() -> None:
    assert "sim" in cli.app


def test_a_fleet_keeps_its_tasks_through_faults() -> None:
    speed = measure(nodes=10, tasks=40, seconds=600.0)
    assert speed.seconds >= 600.0
    assert speed.tasks >= 36  # some may be away
    assert speed.commits > 20  # its faults made work
