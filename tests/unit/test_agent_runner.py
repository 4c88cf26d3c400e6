"""The loops that run tasks: what is run, in which order, and what is reported."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from agent_world import CLUSTER, INTERFACE, TASK, TASK_ID, World, container, payload

from homeport.agent.drivers import DriverError
from homeport.agent.drivers.fake import Behaviour
from homeport.agent.network import NetworkError
from homeport.agent.transport import CallFailed
from homeport.agentapi import ManifestTask, PayloadTask, TaskSpec


async def run_to_the_end(w: World, task: PayloadTask) -> None:
    node = await w.start()
    await node.accept(task)
    await w.control.until_stopped()
    await w.idle(node)
    w.nothing_left()


def told(w: World, name: str) -> list[str]:
    """The statuses of a container, in the order in which they were reported."""
    reported = [c for r in w.control.reports for c in r.get("containers", ()) if c["containerName"] == name]
    return [c["status"] for c in reported]


def order(w: World, *events: str) -> list[tuple[str, str]]:
    """The runtime's history of these events, containers by their number."""
    return [(event, id.rpartition("-")[2]) for event, id in w.runtime.history if event in events]


def test_a_task_runs_and_stops() -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web")))
        assert TASK_ID in w.records.tasks  # durable when it is acknowledged
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        running = w.control.reports[-1]
        assert running["containers"][0]["status"] == "RUNNING"
        assert running["containers"][0]["imageDigest"].startswith("sha256:")
        assert running["containers"][0]["runtimeId"] == f"{TASK_ID}-0"
        assert running["pullStoppedAt"] > running["pullStartedAt"]
        await node.accept(payload(stop=True))
        await w.control.until_stopped()
        assert w.control.containers["web"]["exitCode"] == 143
        assert "executionStoppedAt" in w.control.reports[-1]
        await asyncio.sleep(1)
        w.nothing_left()

    w = World()
    w.run(story)
    assert [a for r in w.control.reports for a in r.get("attachments", ())] == [
        {"attachmentArn": INTERFACE.attachment_arn, "status": "ATTACHED"}
    ]


def test_an_image_that_is_here_needs_one_report_until_running() -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await FakePull(w).pull("web:1")
        began = w.clock.mono()
        await node.accept(payload(container("web")))
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        assert len(w.control.reports) == 1
        assert w.control.reports[0]["attachments"]
        assert w.clock.mono() - began < 0.1 + 0.01  # create and start take 0.09, network and pull beside each other

    World().run(story)


class FakePull:
    """Puts an image on the machine beforehand."""

    def __init__(self, w: World) -> None:
        from homeport.agent.drivers.fake import FakeDriver

        self._driver = FakeDriver(w.runtime)

    async def pull(self, reference: str) -> None:
        await self._driver.pull(reference, lambda progress: None)


def test_a_process_that_ends_at_once_was_running() -> None:
    w = World(web=Behaviour(runs=0.0, exit_code=3))
    w.run(lambda w: run_to_the_end(w, payload(container("web"))))
    assert told(w, "web") == ["RUNNING", "STOPPED"]
    assert w.control.containers["web"]["exitCode"] == 3
    task = [r["status"] for r in w.control.reports]
    assert task[-1] == "STOPPED"
    assert "RUNNING" in task
    assert "reason" not in w.control.reports[-1]


@pytest.mark.parametrize(
    ("behaviour", "name", "ran"),
    [
        (Behaviour(pull_error="no such image"), "CannotPullContainerError: no such image", False),
        (Behaviour(create_error="unable to find user nobody1"), "CannotCreateContainerError: unable to find", False),
        (Behaviour(start_error='exec: "nope": not found'), 'CannotStartContainerError: exec: "nope"', False),
        (Behaviour(runs=1, ends="oom"), "OutOfMemoryError: Container killed due to memory usage", True),
        (Behaviour(runs=1, ends="lost"), "ContainerVanishedError", True),
    ],
)
def test_why_a_container_failed(behaviour: Behaviour, name: str, ran: bool) -> None:
    w = World(web=behaviour)
    w.run(lambda w: run_to_the_end(w, payload(container("web"), container("side", essential=False))))
    web = w.control.containers["web"]
    assert web["reason"].startswith(name)
    assert told(w, "web") == (["RUNNING", "STOPPED"] if ran else ["STOPPED"])
    assert web.get("exitCode") == (137 if behaviour.ends == "oom" else None)
    assert w.control.containers["side"]["status"] == "STOPPED"


def test_a_network_that_cannot_be_made_fails_the_task() -> None:
    def fault(call: str, id: str) -> None:
        if call == "attach":
            raise NetworkError("no space in the nft set")

    w = World()
    w.fault = fault
    w.run(lambda w: run_to_the_end(w, payload(container("web"))))
    assert w.control.reports[-1]["reason"] == "ContainerNetworkingError: no space in the nft set"
    assert w.control.containers["web"] == {"containerName": "web", "status": "STOPPED"} | (
        {"imageDigest": w.runtime.images["web:1"].digest} if "web:1" in w.runtime.images else {}
    )


def test_an_essential_end_stops_the_others_and_a_non_essential_one_does_not() -> None:
    w = World(job=Behaviour(runs=5.0), web=Behaviour(runs=60.0, exit_code=1))
    w.run(lambda w: run_to_the_end(w, payload(container("job", essential=False), container("web"), container("side"))))
    assert order(w, "exit", "signal") == [("exit", "0"), ("exit", "1"), ("signal", "2"), ("exit", "2")]
    job = next(r for r in w.control.reports for c in r.get("containers", ()) if c["containerName"] == "job")
    assert job["status"] in ("PENDING", "RUNNING")
    assert w.control.containers["side"]["exitCode"] == 143


@pytest.mark.parametrize("side", [Behaviour(create_error="no such user"), Behaviour(pull_error="denied")])
def test_a_task_runs_without_a_non_essential_container_that_failed_to_start(side: Behaviour) -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web"), container("side", essential=False)))
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        assert w.control.containers["side"]["status"] == "STOPPED"
        assert w.control.containers["web"]["status"] == "RUNNING"

    World(side=side).run(story)


def test_a_task_whose_essential_container_failed_to_start_was_never_running() -> None:
    async def story(w: World) -> None:
        await run_to_the_end(w, payload(container("web"), container("side", essential=False)))

    w = World(web=Behaviour(create_error="no such user"))
    w.run(story)
    assert "RUNNING" not in [r["status"] for r in w.control.reports]


def test_a_task_of_which_all_ended_stops() -> None:
    w = World(a=Behaviour(runs=1.0), b=Behaviour(runs=2.0, exit_code=9))
    w.run(lambda w: run_to_the_end(w, payload(container("a", essential=False), container("b", essential=False))))
    assert w.control.containers["b"]["exitCode"] == 9


def test_a_process_that_ignores_the_stop_signal_is_killed_after_its_timeout() -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web", stop_timeout=7)))
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        began = w.clock.mono()
        await node.accept(payload(stop=True))
        await w.control.until_stopped()
        assert 7.0 <= w.clock.mono() - began < 7.2

    w = World(web=Behaviour(stops=None))
    w.run(story)
    assert w.control.containers["web"]["exitCode"] == 137
    assert order(w, "signal", "kill") == [("signal", "0"), ("kill", "0")]


def test_containers_start_in_order_and_stop_in_reverse() -> None:
    async def story(w: World) -> None:
        node = await w.start()
        spec = (
            container("app", after=(("db", "START"), ("init", "SUCCESS"))),
            container("db", after=(("init", "COMPLETE"),)),
            container("init", essential=False),
        )
        await node.accept(payload(*spec))
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        await node.accept(payload(stop=True))
        await w.control.until_stopped()

    w = World(init=Behaviour(runs=3.0))
    w.run(story)
    assert order(w, "start", "exit", "signal") == [
        ("start", "2"),
        ("exit", "2"),
        ("start", "1"),
        ("start", "0"),
        ("signal", "0"),
        ("exit", "0"),
        ("signal", "1"),
        ("exit", "1"),
    ]


@pytest.mark.parametrize(
    ("after", "init", "start_timeout"),
    [
        ("SUCCESS", Behaviour(runs=1.0, exit_code=1), 0),
        ("SUCCESS", Behaviour(runs=1.0, ends="lost"), 0),
        ("COMPLETE", Behaviour(), 20),
        ("START", Behaviour(start_error="no such file"), 0),
    ],
)
def test_a_dependency_that_is_not_met_fails_the_task(after: str, init: Behaviour, start_timeout: int) -> None:
    w = World(init=init)
    first = container("init", essential=False, start_timeout=start_timeout)
    w.run(lambda w: run_to_the_end(w, payload(container("app", after=(("init", after),)), first)))
    reason = f"TaskDependencyError: Task dependencies cannot be resolved, taskArn: {TASK}"
    assert w.control.reports[-1]["reason"] == reason
    assert w.control.containers["app"]["reason"] == reason
    assert ("start", "0") not in order(w, "start")
    assert w.clock.mono() < 60


def test_a_stop_during_a_pull_gives_it_up() -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web")))
        await w.control.until(lambda: bool(w.control.reports))  # the interface, while the pull goes on
        assert w.control.reports[0]["status"] == "PENDING"
        await node.accept(payload(stop=True))
        await w.control.until_stopped()
        assert w.clock.mono() < 1

    w = World(web=Behaviour(pull_seconds=3000))
    w.run(story)
    assert w.control.containers["web"] == {"containerName": "web", "status": "STOPPED"}


def test_a_process_left_by_a_start_that_failed_is_removed_before_it_is_reported() -> None:
    def fault(call: str, id: str) -> None:
        if call == "start":
            w.runtime.start(w.runtime.containers[id])
            raise DriverError("CannotStartContainerError", "timed out")

    w = World()
    w.fault = fault
    w.run(lambda w: run_to_the_end(w, payload(container("web"))))
    assert w.control.containers["web"]["reason"] == "CannotStartContainerError: timed out"


def test_what_must_succeed_is_tried_again() -> None:
    failures = dict.fromkeys(("kill", "remove", "remove_task", "detach", "observe"), 3)

    def fault(call: str, id: str) -> None:
        if failures.get(call):
            failures[call] -= 1
            raise NetworkError("busy") if call == "detach" else DriverError("CannotStopContainerError", "busy")

    w = World(web=Behaviour(runs=10.0))
    w.fault = fault
    w.run(lambda w: run_to_the_end(w, payload(container("web"), container("side"))))
    assert not any(failures.values())


def test_an_unexpected_failure_is_a_reason_too() -> None:
    def fault(call: str, id: str) -> None:
        if call == "create":
            raise ZeroDivisionError("bug")

    w = World()
    w.fault = fault
    w.run(lambda w: run_to_the_end(w, payload(container("web"))))
    assert w.control.containers["web"]["reason"] == "CannotCreateContainerError: ZeroDivisionError('bug')"


def test_reports_wait_for_the_control_plane_and_go_out_when_it_is_back() -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web")))
        await asyncio.sleep(600)  # the retries are far apart by now
        assert not w.control.reports
        w.control.refuse = lambda params: None
        node.kick()
        began = w.clock.mono()
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        assert w.clock.mono() - began < 0.1

    w = World()
    w.control.refuse = lambda params: CallFailed(None, "connection refused")
    w.run(story)


def test_a_report_that_is_refused_for_good_is_not_repeated() -> None:
    calls: list[dict[str, Any]] = []

    def refuse(params: dict[str, Any]) -> CallFailed:
        calls.append(params)
        return CallFailed("InvalidParameterException", "The referenced task was not found.")

    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web")))
        await asyncio.sleep(600)
        await node.accept(payload(stop=True))
        await asyncio.sleep(600)
        assert node.busy() == 0
        w.nothing_left()

    w = World()
    w.control.refuse = refuse
    w.run(story)
    assert len(calls) < 8


def test_nothing_is_made_while_the_disk_is_full_but_stopping_works() -> None:
    full = True
    w = World()
    save = w.records.save

    async def failing(record: Any) -> None:
        if full:
            raise OSError(28, "No space left on device")
        await save(record)

    w.records.save = failing  # type: ignore[method-assign]

    async def story(w: World) -> None:
        nonlocal full
        node = await w.start()
        accepted = asyncio.ensure_future(node.accept(payload(container("web"))))
        await asyncio.sleep(60)
        assert not accepted.done()
        assert not w.runtime.containers
        full = False
        await accepted
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        full = True
        asyncio.ensure_future(node.accept(payload(stop=True)))  # noqa: RUF006
        await asyncio.sleep(60)
        assert not w.runtime.running()
        assert w.control.status[TASK] == "RUNNING"  # its exit code is on no disk yet
        full = False
        await w.control.until_stopped()

    w.run(story)
    assert w.control.containers["web"]["exitCode"] == 143


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (payload(stop=True), "TaskStateError: Agent could not progress task's state to stopped"),
        (PayloadTask(arn=TASK, task_cluster_arn=CLUSTER, desired_status="RUNNING"), "UnrecognizedTaskError"),
        (payload(network=False), "UnrecognizedTaskError"),
        (payload(container("a", after=(("b", "START"),)), container("b", after=(("a", "START"),))), "TaskDependency"),
        (payload(container("a", after=(("c", "START"),))), "TaskDependencyError"),
        (payload(container("a"), container("a")), "UnrecognizedTaskError"),
        (payload(container("a", after=(("b", "HEALTHY"),)), container("b")), "TaskDependencyError"),
    ],
)
def test_what_cannot_be_run_is_reported_stopped(task: PayloadTask, reason: str) -> None:
    w = World()
    w.run(lambda w: run_to_the_end(w, task))
    assert w.control.reports[-1]["reason"].startswith(reason)


def test_a_payload_that_comes_again_changes_nothing_and_a_late_one_starts_nothing() -> None:
    async def story(w: World) -> None:
        node = await w.start()
        task = payload(container("web"))
        await asyncio.gather(node.accept(task), node.accept(task))
        await w.control.until_stopped()
        await asyncio.sleep(1)
        reports = len(w.control.reports)
        await node.accept(task)
        await asyncio.sleep(5)
        assert w.control.reports[reports:][-1]["status"] == "STOPPED"  # told again, not run again
        assert w.control.containers["web"]["exitCode"] == 4
        assert len(order(w, "start")) == 1
        await asyncio.sleep(3500)
        assert w.records.tasks
        await asyncio.sleep(200)
        assert not w.records.tasks  # forgotten

    World(web=Behaviour(runs=1.0, exit_code=4)).run(story)


def test_what_a_manifest_lacks() -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web")))
        listed = ManifestTask(task_arn=TASK, task_cluster_arn=CLUSTER, desired_status="RUNNING")
        stopped = ManifestTask(task_arn=TASK, task_cluster_arn=CLUSTER, desired_status="STOPPED")
        assert node.unlisted([listed]) == ()
        assert node.unlisted([]) == (stopped,)
        assert node.unlisted([stopped]) == (stopped,)
        node.stop([TASK, "arn:aws:ecs:us-east-1:123456789012:task/demo/unknown"])
        assert node.unlisted([]) == ()
        await w.control.until_stopped()
        await asyncio.sleep(1)
        before = len(w.control.reports)
        assert node.unlisted([listed]) == ()  # the control plane missed the end of it
        await asyncio.sleep(1)
        assert w.control.reports[before:][-1]["status"] == "STOPPED"

    World().run(story)


def test_a_runner_that_fails_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from homeport.agent import runner

    calls = 0

    def sometimes(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise RuntimeError("bug")
        return advance(*arguments)

    advance = runner.advance
    monkeypatch.setattr(runner, "advance", sometimes)
    w = World(web=Behaviour(runs=20.0))
    w.run(lambda w: run_to_the_end(w, payload(container("web"))))
    assert w.control.containers["web"]["exitCode"] == 0


def test_the_plan_of_a_container() -> None:
    w = World(web=Behaviour(runs=1.0))
    plans: list[Any] = []

    def fault(call: str, id: str) -> None:
        if call == "start":
            plans.append(w.runtime.containers[id].plan)

    w.fault = fault
    spec = container("web", environment={"AWS_REGION": "eu-west-1", "A": "1"}, labels={"own": "1"})
    w.run(lambda w: run_to_the_end(w, payload(spec)))
    (plan,) = plans
    assert plan.spec.environment == {
        "AWS_REGION": "eu-west-1",  # a task's own wins
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
        "A": "1",
    }
    assert plan.netns == f"/run/netns/{TASK_ID}"
    assert (plan.hostname, plan.address) == (INTERFACE.private_dns_name, INTERFACE.private_address)
    assert plan.labels["com.amazonaws.ecs.task-arn"] == TASK
    assert plan.labels["own"] == "1"


def test_a_task_without_an_interface_needs_none() -> None:
    w = World(web=Behaviour(runs=1.0))
    w.run(lambda w: run_to_the_end(w, payload(container("web"), network=False)))
    assert all("attachments" not in r for r in w.control.reports)


def test_a_spec_goes_over_the_wire_unchanged() -> None:
    import msgspec

    task = payload(container("web", after=(), command=("a", "b")))
    assert msgspec.json.decode(msgspec.json.encode(task), type=PayloadTask) == task
    assert isinstance(task.spec, TaskSpec)


def test_an_environment_file_that_can_not_be_had_ends_the_task() -> None:
    w = World()
    files = ("arn:aws:s3:::bucket/../x.env",)
    w.run(lambda w: run_to_the_end(w, payload(container("web", environment_files=files), container("side", False))))
    reason = w.control.reports[-1]["reason"]
    assert reason.startswith("ResourceInitializationError: failed to download env files: ")
    assert "exitCode" not in w.control.containers["web"]
    assert ("start", "0") not in order(w, "start")


def test_a_pinned_image_is_pulled_by_its_digest() -> None:
    digest = "sha256:" + "a" * 64
    asked = []

    async def story(w: World) -> None:
        w.fault = lambda call, id: asked.append(id) if call == "pull" else None
        own = container("own", image_digest=digest)
        fixed = msgspec.structs.replace(own, name="fixed", image=f"fixed@sha256:{'b' * 64}")
        await run_to_the_end(w, payload(own, fixed, container("free")))

    World(own=Behaviour(runs=1), fixed=Behaviour(runs=1), free=Behaviour(runs=1)).run(story)
    assert sorted(asked) == [f"fixed@sha256:{'b' * 64}", "free:1", f"own:1@{digest}"]


def test_the_digest_of_an_image_that_others_wait_for_is_told_while_it_is_fetched_and_kept() -> None:
    w = World(web=Behaviour(pull_seconds=20.0))

    async def story(w: World) -> None:
        node = await w.start()
        first = payload(container("web"))
        assert first.spec is not None
        await node.accept(msgspec.structs.replace(first, spec=msgspec.structs.replace(first.spec, first=True)))
        began = w.clock.mono()
        await w.control.until(lambda: "imageDigest" in w.control.containers.get("web", {}))
        assert w.clock.mono() - began < 1.0
        assert w.control.containers["web"]["status"] == "PENDING"
        told = w.control.containers["web"]["imageDigest"]
        asked: list[str] = []
        w.fault = lambda call, id: asked.append(id) if call == "pull" else None
        await w.kill()
        await w.start()
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        assert asked == [f"web:1@{told}"], "what was told is run, whatever the tag names by now"
        assert w.control.containers["web"]["imageDigest"] == told

    w.run(story)
