"""Any sequence of deployments, with tasks that run, heal, fail and end in any order: the bounds are kept, there is one
PRIMARY deployment, a rollback ends where it was last well, and a service with good tasks gets all that it wants."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from homeport.services.ecs.model.deployment import FINISHED, Deployment, ServiceDeployment
from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.services.ecs.scheduling import bounds, breaker
from support.rollouts import ROLLING, RolloutWorld

ORDER = {
    "PENDING": 0,
    "IN_PROGRESS": 1,
    "ROLLBACK_REQUESTED": 2,
    "ROLLBACK_IN_PROGRESS": 3,
    "STOP_REQUESTED": 4,
    **dict.fromkeys(FINISHED, 5),
}
BAD = (7, 8, 9)  # definitions whose tasks never start

percents = st.sampled_from(((0, 100), (50, 100), (50, 150), (100, 200), (75, 125), (100, 150), (0, 200)))
thresholds = st.sampled_from(
    (
        None,
        {"type": "COUNT", "value": 1},
        {"type": "COUNT", "value": 4},
        {"type": "UNBOUNDED_PERCENT", "value": 30},
        {"type": "BOUNDED_PERCENT", "value": 50},
    )
)


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    least, most = draw(percents)
    whole: dict[str, Any] = {**ROLLING, "minimumHealthyPercent": least, "maximumPercent": most}
    if draw(st.booleans()):
        threshold = draw(thresholds)
        whole["deploymentCircuitBreaker"] = {
            "enable": True,
            "rollback": draw(st.booleans()),
            "resetOnHealthyTask": draw(st.booleans()),
            **({"thresholdConfiguration": threshold} if threshold else {}),
        }
    if draw(st.integers(0, 3)) == 0:
        whole["earlySuccessCriteria"] = {
            "enable": True,
            "healthyPercent": draw(st.integers(least, 100)),
            "sourceServiceRevisionCleanup": draw(st.sampled_from(("BLOCKING", "DEFERRED"))),
        }
        whole["bakeTimeInMinutes"] = draw(st.integers(0, 3))
    return whole


class Deployments(RuleBasedStateMachine):
    """One service; ``pick`` chooses among what there is."""

    world: RolloutWorld

    @initialize(desired=st.integers(0, 6), configuration=configurations(), good=st.booleans())
    def begin(self, desired: int, configuration: dict[str, Any], good: bool) -> None:
        self.world = RolloutWorld(desired, **configuration)
        self.before: dict[str, ServiceDeployment] = {}
        self.counted: set[str] = set()
        if good:
            self.world.settle()

    # --- what is asked for ------------------------------------------------------------------------------------------

    @rule(number=st.sampled_from((1, 2, 3, *BAD)))
    def update(self, number: int) -> None:
        self.world.update(number)

    @rule(desired=st.integers(0, 6))
    def scale(self, desired: int) -> None:
        self.world.update(desired=desired)

    @rule(configuration=configurations())
    def configure(self, configuration: dict[str, Any]) -> None:
        self.world.update(deployment_configuration=configuration)

    @rule()
    def stop(self) -> None:
        if any(d.status in ("PENDING", "IN_PROGRESS") for d in self.world.rollouts()):
            self.world.stop()

    # --- what tasks do ----------------------------------------------------------------------------------------------

    @rule(pick=st.integers(0), seconds=st.sampled_from((0.0, 1.0, 50.0)))
    def one(self, pick: int, seconds: float) -> None:
        """A task goes on with what it does."""
        if tasks := self.world.tasks():
            self.go_on(tasks[pick % len(tasks)])
        self.world.now += seconds

    @rule()
    def everything(self) -> None:
        for task in self.world.tasks():
            self.go_on(task)
        self.world.now += 60.0

    def go_on(self, task: Task) -> None:
        if task.desired_status == "STOPPED":
            self.world.end(task)
        elif task.last_status < TaskStatus.RUNNING:
            number = int(task.definition_arn.rpartition(":")[2])
            if number in BAD:
                self.world.end(task)
            else:
                self.world.run(task)
        else:
            self.world.heal(task)

    @rule(pick=st.integers(0))
    def sicken(self, pick: int) -> None:
        if running := [t for t in self.world.tasks() if t.last_status == TaskStatus.RUNNING]:
            self.world.heal(running[pick % len(running)], "UNHEALTHY")

    @rule(pick=st.integers(0))
    def die(self, pick: int) -> None:
        if tasks := self.world.tasks():
            self.world.end(tasks[pick % len(tasks)])

    @rule(times=st.integers(1, 3))
    def look(self, times: int) -> None:
        for _ in range(times):
            self.checked_look()

    # --- what must hold ---------------------------------------------------------------------------------------------

    def checked_look(self) -> None:
        world = self.world
        healthy = sum(_healthy(t) for t in world.tasks())
        occupied = len(world.tasks())
        failing = [d for d in world.deployments() if d.role == "PRIMARY" and d.rollout == "FAILED"]
        plan = world.look()
        service = world.service
        if not world.primary.returned:
            assert plan.wake_at is None or plan.wake_at > world.now, "it doesn't look again and again"
        lower = bounds.lower(service.desired, service.deployment_configuration)
        upper = bounds.upper(service.desired, service.deployment_configuration)
        left = sum(_healthy(t) for t in world.tasks())
        assert left >= min(healthy, lower), "never below the lower bound, but for what ends by itself"
        if plan.starts:
            assert len(world.tasks()) <= upper, "never above the upper bound"
            assert world.primary.rollout != "FAILED", "a deployment that failed starts nothing"
        assert len(world.tasks()) <= max(upper, occupied)
        assert not {"PENDING", "STOP_REQUESTED", "ROLLBACK_REQUESTED"} & {d.status for d in world.rollouts()}
        if failing and world.primary.id == failing[0].id:
            assert world.primary.rollout == "FAILED", "what failed stays so"

    @invariant()
    def states(self) -> None:
        world = self.world
        assert world.primary, "there is exactly one PRIMARY deployment"
        shown = [d for d in world.deployments() if d.role != "INACTIVE"]
        assert world.primary in shown
        for deployment in world.deployments():
            assert deployment.good is (deployment.rollout == "COMPLETED")
        going = [d for d in world.rollouts() if d.status not in (*FINISHED, "STOP_REQUESTED")]
        assert len(going) <= 1
        for made in world.rollouts():
            known = self.before.get(made.id, made)
            assert ORDER[made.status] >= ORDER[known.status], "a service deployment only goes forward"
            assert known.status not in FINISHED or made == known, "one that is over doesn't change"
            assert (made.finished_at is not None) is (made.status in FINISHED)
            self.before[made.id] = made
        assert (world.primary.rollout == "IN_PROGRESS") is bool(going), "one of them carries out the other"
        revision = world.revision(world.primary)
        assert world.service.configuration == revision.configuration, "the service is what its PRIMARY deployment is"

    def teardown(self) -> None:
        """Left alone, with good tasks doing well, it comes to rest: where it wanted to be, or where it was well."""
        world = self.world
        if not hasattr(self, "world"):
            return
        target = world.primary
        candidate = world.seen().good
        for _ in range(3):
            world.settle(*BAD)
        self.states()
        self.at_rest(target, candidate)

    def at_rest(self, target: Deployment, candidate: Deployment | None) -> None:
        world = self.world
        end = world.primary
        wanted = (
            int(world.service.configuration.definition_arn.rpartition(":")[2]) if world.service.configuration else 0
        )
        if end.rollout == "COMPLETED":
            if wanted not in BAD:
                assert len(world.tasks()) == world.service.desired
                assert all(_healthy(t) and t.started_by == end.name for t in world.tasks())
        elif end.rollout == "IN_PROGRESS":
            stuck = world.service.desired and bounds.upper(
                world.service.desired, world.service.deployment_configuration
            ) <= bounds.lower(world.service.desired, world.service.deployment_configuration)
            assert wanted in BAD or stuck, "what can be done is done"
        if end.id != target.id:
            assert candidate is not None
            assert end.id == candidate.id, "a rollback ends where it was last well"


def _healthy(task: Task) -> bool:
    wanted = task.desired_status == "RUNNING" and task.last_status == TaskStatus.RUNNING
    return wanted and task.containers[0].health == "HEALTHY"


TestDeployments = Deployments.TestCase
TestDeployments.settings = settings(max_examples=100, stateful_step_count=30)


@given(
    type=st.sampled_from(("BOUNDED_PERCENT", "UNBOUNDED_PERCENT", "COUNT")),
    value=st.integers(1, 100),
    desired=st.integers(0, 5000),
)
def test_more_tasks_never_mean_fewer_failures(type: Any, value: int, desired: int) -> None:
    settings = breaker.Breaker(enabled=True, type=type, value=value)
    assert settings.threshold(desired) <= settings.threshold(desired + 1)
    assert not settings.trips(0, desired)
    assert settings.trips(max(1, settings.threshold(desired)), desired)
