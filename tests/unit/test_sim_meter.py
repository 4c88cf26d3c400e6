"""What is said of how many tasks were healthy."""

from __future__ import annotations

from msgspec.structs import replace

from homeport.services.ecs.model.task import Container, Task, TaskStatus
from homeport.sim import meter
from homeport.sim.meter import Meter, Sample

STEPS = [Sample(0, 0, 4, 4), Sample(10, 3, 4, 4), Sample(20, 4, 4, 4), Sample(50, 2, 4, 4), Sample(60, 4, 4, 4)]


def test_counts_from_when_all_were_healthy_first() -> None:
    judged = meter.judged(STEPS, None)
    assert meter.ready(STEPS) == 2
    assert meter.lowest(judged) == Sample(50, 2, 4, 4)
    assert meter.below(judged, 100.0) == [(50, 60)]


def test_counts_from_the_first_event_where_that_is_earlier() -> None:
    judged = meter.judged(STEPS, 15.0)
    assert meter.lowest(judged) == Sample(50, 2, 4, 4)
    assert meter.below(judged, 100.0) == [(15.0, 20), (50, 60)]


def test_nothing_counts_where_they_never_were_and_nothing_happened() -> None:
    judged = meter.judged(STEPS[:2], None)
    assert (meter.lowest(judged), meter.below(judged, 100.0)) == (None, [])


def test_what_lasts_lasts_to_the_end_and_a_moment_is_no_time() -> None:
    steps = [Sample(0, 4, 4, 4), Sample(5, 3, 4, 4), Sample(5, 4, 4, 4), Sample(9, 3, 4, 4), Sample(11, 2, 4, 4)]
    assert meter.below(steps, 20.0) == [(9, 20.0)]
    assert meter.lowest(steps) == Sample(11, 2, 4, 4)


# --- tasks ------------------------------------------------------------------------------------------------------------


def running(at: float, health: str = "UNKNOWN") -> Task:
    return Task(
        id="t",
        cluster_arn="c",
        definition_arn="d",
        launch_type="EC2",
        group="service:s",
        cpu=1,
        memory=1,
        created_at=0.0,
        containers=(Container(id="c", name="app", health=health),),  # type: ignore[arg-type]
        last_status=TaskStatus.RUNNING,
        started_at=at,
    )


def measured() -> Meter:
    made = Meter()
    made.ask(1, {"minimumHealthyPercent": 100})
    made.mark(0.0)
    return made


def test_a_task_without_a_check_is_healthy_40_s_after_it_runs_though_nothing_is_committed_then() -> None:
    made = measured()
    made.see(running(5.0), (), 5.0, there=True)
    made.mark(5.0)
    made.advance(100.0)
    assert made.samples == [Sample(0.0, 0, 1, 1), Sample(45.0, 1, 1, 1)]
    made.see(replace(running(5.0), tags={"a": "b"}), (), 100.0, there=True)
    made.mark(100.0)
    assert len(made.samples) == 2  # it stays healthy


def test_a_task_that_ends_before_that_never_is() -> None:
    made = measured()
    made.see(running(5.0), (), 5.0, there=True)
    made.see(replace(running(5.0), desired_status="STOPPED"), (), 30.0, there=True)
    made.advance(100.0)
    assert made.healthy == 0


def test_a_task_with_a_check_is_healthy_when_that_says_so_and_its_machine_is_there() -> None:
    made = measured()
    made.see(running(5.0), ("app",), 50.0, there=True)
    assert made.healthy == 0
    made.see(running(5.0, "HEALTHY"), ("app",), 50.0, there=True)
    assert made.healthy == 1
    made.see(running(5.0, "HEALTHY"), ("app",), 50.0, there=False)
    assert (made.healthy, made.running) == (0, 1)
