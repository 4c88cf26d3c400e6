"""What must hold of containers on their machines. As in ``invariants``: pure functions that return what is wrong, or
None, and whose name is the invariant's. Each is checked at the moment that something is about to happen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from homeport.agent.drivers import Observed
from homeport.agent.report import OUT_OF_MEMORY, VANISHED
from homeport.agentapi import Dependency, RestartPolicy
from homeport.services.ecs.model.task import Container
from homeport.sim.lives import Life, Run, healths, restarts_after

UNDER_WAY = 0.5  # seconds that a call to a runtime takes at most, so that what it was decided on may be so old
HEALTH_SECONDS = 2.0  # from a change of health on a node until callers see it, where nothing is in the way
DEPENDENCY = "TaskDependencyError"


# --- starts -----------------------------------------------------------------------------------------------------------


def a_container_starts_once(life: Life) -> str | None:
    """Again it starts only by its restart policy."""
    return f"{life.plan.id} is started again" if life.runs else None


def a_restart_is_within_its_policy(life: Life) -> str | None:
    policy, run = life.plan.spec.restart_policy, life.last
    if policy is None:
        return f"{life.plan.id} has no restart policy and is restarted"
    if run is None or run.ended is None or run.end is None:
        return f"{life.plan.id} is restarted without having ended"
    if run.steady and not restarts_after(policy, run):
        return f"{life.plan.id} is restarted after {run.ended - run.began:.2f} s and exit code {run.end.exit_code}"
    return None


def a_container_starts_when_its_conditions_hold(life: Life, others: Mapping[str, Life], now: float) -> str | None:
    """``others``: those of its task, by name, that were ever made."""
    for need in life.plan.spec.depends_on:
        if not _holds(need, others.get(need.container_name), now):
            return f"{life.name} starts, and {need.container_name} isn't {need.condition}"
    return None


def _holds(need: Dependency, other: Life | None, now: float) -> bool:
    run = other.last if other else None
    if other is None or run is None:
        return False
    match need.condition:
        case "START":
            return True
        case "COMPLETE":
            return run.ended is not None
        case "SUCCESS":
            return run.end is not None and run.end.exit_code == 0
    check = other.plan.spec.health_check
    if check is None or (run.ended is not None and run.ended < now - UNDER_WAY):
        return False
    earlier = [one for one in run.checks if one.at < now - UNDER_WAY]
    return "HEALTHY" in healths(check, run.checks) | healths(check, earlier)


# --- stops ------------------------------------------------------------------------------------------------------------


def nothing_starts_in_a_task_that_stops(life: Life, others: Iterable[Life], now: float) -> str | None:
    for other in others:
        if other.signalled and not other.forgettable and other.signalled[0] < now - UNDER_WAY:
            return f"{life.name} starts {now - other.signalled[0]:.2f} s after {other.name} was told to stop"
    return None


def dependents_stop_first(life: Life, others: Iterable[Life]) -> str | None:
    """``life`` is about to get a signal."""
    for other in others:
        if other.running and any(need.container_name == life.name for need in other.plan.spec.depends_on):
            return f"{life.name} gets a signal while {other.name}, which depends on it, runs"
    return None


def sigkill_waits_for_the_stop_timeout(life: Life, now: float, latest: float) -> str | None:
    """``latest``: seconds by which it may be late."""
    timeout = life.plan.spec.stop_timeout
    if not life.signalled:
        return f"{life.name} gets SIGKILL, and no stop signal before"
    waited = now - life.signalled[0]
    if waited < timeout - 0.01:
        return f"{life.name} gets SIGKILL {waited:.2f} s after its stop signal, its stopTimeout is {timeout}"
    waited = now - life.signalled[-1]
    return f"{life.name} gets SIGKILL only after {waited:.2f} s" if waited > timeout + latest else None


def nothing_that_runs_is_removed(life: Life) -> str | None:
    return f"{life.plan.id} is removed while it runs" if life.running else None


# --- volumes ----------------------------------------------------------------------------------------------------------


def a_volume_is_made_once(task_id: str, volume: str, made: Collection[str]) -> str | None:
    """``made``: those of the task that were ever made."""
    return f"the volume {volume} of {task_id} was lost, and is made again" if volume in made else None


def a_volume_lasts_as_long_as_its_task(task_id: str, containers: Collection[str]) -> str | None:
    """All volumes of the task are about to go. ``containers``: those that the runtime has."""
    left = sorted(id for id in containers if id.rpartition("-")[0] == task_id)
    return f"the volumes of {task_id} go, and it has {left}" if left else None


def no_volume_outlives_its_task(task_id: str, volumes: Mapping[str, Collection[str]]) -> str | None:
    """The agent is about to note that nothing of the task is left. ``volumes``: by task."""
    return (
        f"{task_id} is finished, and its volumes {sorted(volumes[task_id])} are there" if task_id in volumes else None
    )


# --- what is told -----------------------------------------------------------------------------------------------------


def health_is_what_the_checks_say(life: Life, told: str, restarts: int, now: float) -> str | None:
    """``told``: what the agent holds for its health, after so many restarts."""
    check = life.plan.spec.health_check
    possible = {"UNKNOWN"}
    if check is not None and restarts < len(life.runs):
        run = life.runs[restarts]
        earlier = [one for one in run.checks if one.at < now - UNDER_WAY]
        possible = healths(check, run.checks) | healths(check, earlier)
    return None if told in possible else f"{life.plan.id} is taken for {told}, its checks say {sorted(possible)}"


def health_is_seen_in_time(name: str, node: str, shown: str) -> str | None:
    """``node``: what it has known for HEALTH_SECONDS."""
    return f"{name} has been {node} for {HEALTH_SECONDS:g} s and is shown {shown}" if node != shown else None


def a_tasks_health_is_that_of_its_containers(shown: str, essential: Collection[str]) -> str | None:
    """``essential``: the health of those; UNKNOWN is also that of one without a check."""
    if ("UNHEALTHY" in essential) != (shown == "UNHEALTHY") or (shown == "HEALTHY" and "HEALTHY" not in essential):
        return f"a task is {shown}, and its essential containers are {sorted(essential)}"
    return None


def restarts_are_counted(life: Life, counted: int, now: float) -> str | None:
    real = max(0, len(life.runs) - 1)
    recent = bool(life.runs) and now - life.runs[-1].began < UNDER_WAY
    if counted == real or (recent and counted == real - 1):
        return None
    return f"{life.plan.id} was restarted {real} times, its agent has counted {counted}"


def an_end_before_a_restart_is_not_told(container: Container, life: Life) -> str | None:
    """The container is said to have ended, and nothing else ends its task."""
    run, policy = life.last, life.plan.spec.restart_policy
    if run is None or container.exit_code is None or container.reason is not None or not run.steady:
        return None
    return f"{container.name} is over, and its policy restarts it" if restarts_after(_barely(policy), run) else None


def _barely(policy: RestartPolicy | None) -> RestartPolicy | None:
    """The policy without what a rounding of times could decide."""
    return RestartPolicy(policy.ignored_exit_codes, policy.period + 1) if policy else None


def reasons_are_true(
    container: Container, end: Observed | None, refusals: Collection[str], troubled: bool
) -> str | None:
    """Of a container that is said to be over. ``refusals``: texts with which runtimes refuse images; ``troubled``: the
    machine's was out of order, some time."""
    reason = container.reason
    if reason is None:
        hidden = end is not None and container.exit_code is not None and end.oom
        return f"{container.name} was killed for memory, and nobody is told" if hidden else None
    if reason == OUT_OF_MEMORY:
        true = end is not None and end.oom
    elif reason == VANISHED:
        true = end is not None and end.state == "lost"
    elif reason.startswith("Cannot"):
        true = reason.partition(": ")[2] in refusals
    else:
        true = reason.startswith(DEPENDENCY) or (troubled and reason.startswith("DockerTimeoutError"))
    return None if true else f"{container.name} is said to be over by {reason!r}, and ended as {end}"


def a_dependency_is_given_up_with_a_cause(
    needs: Collection[tuple[Dependency, int]], others: Mapping[str, Life], failed: Collection[str], now: float
) -> str | None:
    """A container has ended since one that it needs can't become what it needs. ``needs``: with the ``startTimeout`` of
    each; ``failed``: names of those that never started and never will."""
    for need, timeout in needs:
        life = others.get(need.container_name)
        run = life.last if life else None
        if need.container_name in failed or (run is not None and _hopeless(need, timeout, run, now)):
            return None
    names = ", ".join(f"{need.container_name} {need.condition}" for need, _ in needs)
    return f"its dependencies ({names}) are given up without a cause"


def _hopeless(need: Dependency, timeout: int, run: Run, now: float) -> bool:
    if need.condition == "START":
        return False
    if timeout and (run.ended or now) - run.began >= timeout:
        return True
    if need.condition == "SUCCESS":
        return run.end is not None and run.end.exit_code != 0
    return need.condition == "HEALTHY" and run.ended is not None
