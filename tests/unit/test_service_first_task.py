"""The first task of a deployment says which images all of it runs: what others wait for, and how long at most."""

from __future__ import annotations

from typing import Any

import pytest
import scheduling_world
from msgspec.structs import replace
from scheduling_world import DEFINITION, NOW, deployment, ended, seen, service, stopping, task
from service_world import Conduct, ServiceWorld, play

from homeport.services.ecs.model.deployment import Configuration, Revision
from homeport.services.ecs.model.task import Container, Task
from homeport.services.ecs.scheduling import consistency, messages
from homeport.services.ecs.scheduling.plan import Plan, Seen, Tagged
from homeport.services.ecs.scheduling.reconcile import reconcile

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def begun(*tasks: Task, desired: int = 10, breaker: dict[str, Any] | None = None, **fields: Any) -> Seen:
    """A deployment whose one container has a tag."""
    configuration = Configuration(definition_arn=DEFINITION, launch_type="FARGATE")
    images = fields.pop("images", {})
    revision = Revision(id="2", service="demo/web", configuration=configuration, created_at=NOW, images=images)
    made = service(desired)
    if breaker is not None:
        settings = {**made.deployment_configuration, "deploymentCircuitBreaker": breaker}
        made = replace(made, deployment_configuration=settings)
    tagged = {DEFINITION: Tagged(fields.pop("tagged", frozenset({"app"})), fields.pop("insists", False))}
    return seen(
        made, tasks, revisions={"2": revision}, tagged=tagged, deployments=(deployment(created_at=NOW, **fields),)
    )


def pending(id: str, **fields: Any) -> Task:
    return scheduling_world.pending(id, **{"instance": scheduling_world.instance("node"), **fields})


def started(plan: Plan) -> int:
    return sum(start.count for start in plan.starts)


def telling(one: Task, digest: str = ONE) -> Task:
    return replace(one, containers=(replace(one.containers[0], image_digest=digest),))


@pytest.mark.feature("The first task of a deployment resolves its images' tags; the others wait for their digests")
def test_one_task_starts_first_and_the_others_as_soon_as_it_told_its_digest() -> None:
    plan = reconcile(begun(), NOW)
    assert [(start.count, start.first) for start in plan.starts] == [(1, True)]
    waiting = reconcile(begun(pending("a")), NOW)
    assert started(waiting) == 0
    assert waiting.wake_at == NOW - 5 + consistency.SILENT_SECONDS
    told = reconcile(begun(telling(pending("a"))), NOW)
    assert [(start.count, start.first) for start in told.starts] == [(9, False)]
    assert told.revisions[0].images == {"app": ONE}


def test_what_has_nothing_to_resolve_starts_at_once() -> None:
    for known in (begun(tagged=frozenset()), begun(images={"app": ONE}), begun(ran=True)):
        assert [(start.count, start.first) for start in reconcile(known, NOW).starts] == [(10, False)]
    (alone,) = reconcile(begun(desired=1), NOW).starts
    assert (alone.count, alone.first) == (1, False), "nobody waits for it"


def test_all_of_its_tagged_images_are_waited_for() -> None:
    both = (Container(id="1", name="app", image_digest=ONE), Container(id="2", name="side"))
    names = frozenset({"app", "side"})
    assert started(reconcile(begun(pending("a", containers=both), tagged=names), NOW)) == 0
    both = (both[0], replace(both[1], image_digest=TWO))
    assert started(reconcile(begun(pending("a", containers=both), tagged=names), NOW)) == 9


def test_a_task_that_runs_and_tells_no_digest_is_not_waited_for() -> None:
    assert started(reconcile(begun(task("a", created_at=NOW - 5, started_at=NOW - 1)), NOW)) == 9


@pytest.mark.feature("After three attempts that establish no digest a deployment goes on without one, as in ECS")
@pytest.mark.parametrize(("failed", "starts"), [(0, 1), (1, 1), (2, 1), (3, 10)])
def test_attempts_that_fail_are_replaced_one_by_one_and_then_all_start(failed: int, starts: int) -> None:
    assert started(reconcile(begun(failed_tasks=failed, failures=failed), NOW)) == starts


def test_a_task_that_is_silent_for_long_counts_as_an_attempt_that_failed() -> None:
    old = NOW - consistency.SILENT_SECONDS
    silent = [pending(name, created_at=old) for name in "abc"]
    assert started(reconcile(begun(*silent[:1]), NOW)) == 1
    assert started(reconcile(begun(*silent[:1], pending("new")), NOW)) == 0
    assert started(reconcile(begun(*silent[:2], failed_tasks=1), NOW)) == 8
    assert started(reconcile(begun(*silent), NOW)) == 7
    ahead = pending("ahead", created_at=NOW + 3600)  # the clock was set back
    assert started(reconcile(begun(ahead), NOW)) == 1


def test_one_that_is_being_stopped_is_replaced() -> None:
    assert started(reconcile(begun(stopping("a", stop_code="UserInitiated", started_at=None)), NOW)) == 1


@pytest.mark.feature("A service that waits for instances of a capacity provider asks for all of them, as in ECS")
def test_only_a_container_that_insists_waits_for_a_task_without_an_instance() -> None:
    waiting = pending("a", instance=None, created_at=NOW - 3600)
    assert started(reconcile(begun(waiting), NOW)) == 9
    insists = reconcile(begun(waiting, insists=True), NOW)
    assert started(insists) == 0
    assert insists.wake_at is None


@pytest.mark.feature("The circuit breaker fails a deployment whose images' digests three attempts can't establish")
def test_the_circuit_breaker_trips_when_no_digest_can_be_had() -> None:
    breaker = {"enable": True, "rollback": False, "thresholdConfiguration": {"type": "COUNT", "value": 8}}
    third = begun(ended("c"), failed_tasks=2, failures=2, breaker=breaker)
    plan = reconcile(third, NOW)
    assert plan.deployments[0].rollout == "FAILED"
    assert messages.failed("web", "ecs-svc/2") in [event.message for event in plan.events]
    assert plan.starts == ()
    told = reconcile(begun(telling(ended("c")), failed_tasks=2, failures=2, breaker=breaker), NOW)
    assert told.deployments[0].rollout == "IN_PROGRESS", "its digest is known: the threshold counts"
    other = reconcile(begun(ended("c"), failed_tasks=2, failures=2, tagged=frozenset(), breaker=breaker), NOW)
    assert other.deployments[0].rollout == "IN_PROGRESS"


# --- from the store to the nodes --------------------------------------------------------------------------------------


async def create(world: ServiceWorld, desired: int, **members: Any) -> None:
    await world.call("CreateService", **world.task_params(serviceName="web", desiredCount=desired, **members))


def digests(world: ServiceWorld) -> set[str]:
    return {t.image_digests.get("app", t.containers[0].image_digest or "") for t in world.tasks("web")}


def test_a_tag_that_moves_while_a_deployment_starts_divides_it_not() -> None:
    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = Conduct(starts=2.0, digest=ONE)
        await create(world, 10)
        await world.until(lambda: bool(world.tasks("web")))
        await world.clock.sleep(1.0)
        assert len(world.tasks("web")) == 1
        await world.until(lambda: len(world.tasks("web")) == 10, 5)
        world.conduct["web"] = Conduct(starts=2.0, digest=TWO)
        await world.steady("web")
        assert digests(world) == {ONE}
        assert sum(bool(t.image_digests) for t in world.tasks("web")) == 9

    play(scene)


@pytest.mark.feature("Tasks of a service wait only until their first one's images are resolved, not until it runs")
def test_others_start_while_the_first_still_fetches_its_images() -> None:
    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = Conduct(starts=50.0, resolves=0.5, digest=ONE)
        await create(world, 10)
        await world.until(lambda: len(world.tasks("web")) == 10, 1.0)
        assert [t.first for t in world.tasks("web")].count(True) == 1
        assert world.running("web") == 0
        await world.until(lambda: world.running("web") == 10, 51.0)
        assert digests(world) == {ONE}

    play(scene)


def test_images_that_cannot_be_had_hold_up_nobody_for_ever() -> None:
    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = Conduct(fails="CannotPullContainerError: no such image", digest=None)
        await create(world, 4)
        await world.until(lambda: len(world.tasks("web", all=True)) >= 3, 10)
        await world.until(lambda: len(world.tasks("web")) == 4, 30)
        assert len(world.tasks("web", all=True)) == 3 + 4

    play(scene)


def test_a_definition_of_digests_and_of_images_that_may_differ_starts_all_at_once() -> None:
    async def scene(world: ServiceWorld) -> None:
        fixed = {"name": "app", "image": "httpd@" + ONE}
        loose = {"name": "side", "image": "httpd:2.4", "versionConsistency": "disabled", "essential": False}
        await world.define("web", fixed, loose)
        world.conduct["web"] = Conduct(starts=60.0)
        await create(world, 10)
        await world.until(lambda: len(world.tasks("web")) == 10, 5)

    play(scene)
