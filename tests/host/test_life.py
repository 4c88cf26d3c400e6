"""A task's life as the API tells it, against what really happened."""

from __future__ import annotations

from typing import Any

import pytest

from support.tasks import WEB, Tasks, until

pytestmark = pytest.mark.host


def only(task: dict[str, Any]) -> dict[str, Any]:
    (container,) = task["containers"]
    found: dict[str, Any] = container
    return found


def said(tasks: Tasks, arn: str, last: str) -> str:
    """What it has printed, once that ends so: its end can be told before its last words are there."""
    return str(until(lambda: tasks.homeport.command("logs", arn, check=False).stdout, lambda s: s.endswith(last)))


@pytest.mark.feature("Exit codes, stop codes and reasons as ECS gives them")
def test_an_essential_exit_stops_the_task(tasks: Tasks) -> None:
    task = tasks.wait(tasks.run("exit 3"), "STOPPED")
    assert only(task)["exitCode"] == 3
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["stoppedReason"] == "Essential container in task exited"
    times = [task[name] for name in ("createdAt", "startedAt", "executionStoppedAt", "stoppingAt", "stoppedAt")]
    assert times == sorted(times), "a process that started has been RUNNING, however briefly"


def test_sigterm_is_heard(tasks: Tasks) -> None:
    arn = tasks.run("trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done", stopTimeout=30)
    said(tasks, arn, "ready\n")
    task = tasks.stop(arn, "enough")
    assert only(task)["exitCode"] == 9
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "enough")


def test_sigkill_follows_the_stop_timeout(tasks: Tasks) -> None:
    arn = tasks.run("trap '' TERM; while :; do sleep 0.05; done", stopTimeout=2)
    tasks.wait(arn, "RUNNING")
    task = tasks.stop(arn)
    assert only(task)["exitCode"] == 137
    assert 1.5 <= (task["stoppedAt"] - task["stoppingAt"]).total_seconds() <= 20


def test_an_unknown_image(tasks: Tasks) -> None:
    task = tasks.wait(tasks.run("true", image="127.0.0.1:1/nothing:here"), "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert only(task)["reason"].startswith("CannotPullContainerError: ")
    assert "exitCode" not in only(task)
    assert "startedAt" not in task


@pytest.mark.parametrize(
    ("container", "text"),
    [
        ({"user": "nobody-has-this-name"}, "nobody-has-this-name"),
        ({"entryPoint": ["/no/such/program"]}, "/no/such/program"),
    ],
)
def test_what_cannot_start_says_why(tasks: Tasks, container: dict[str, Any], text: str) -> None:
    task = tasks.wait(tasks.run("true", **container), "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert text in only(task)["reason"]
    assert only(task)["reason"].startswith(("CannotStartContainerError: ", "CannotCreateContainerError: "))


@pytest.mark.feature("Memory limits, with out-of-memory kills named")
def test_out_of_memory_is_named(tasks: Tasks) -> None:
    hungry = "exec dd if=/dev/zero of=/dev/null bs=600M count=1"
    task = tasks.wait(tasks.run(hungry), "STOPPED", 60)
    assert only(task)["reason"] == "OutOfMemoryError: Container killed due to memory usage"
    assert only(task)["exitCode"] == 137


def test_a_task_has_its_interface_everywhere(tasks: Tasks) -> None:
    arn = tasks.run(WEB)
    task = tasks.wait(arn, "RUNNING")
    (attachment,) = task["attachments"]
    details = {d["name"]: d["value"] for d in attachment["details"]}
    assert attachment["status"] == "ATTACHED"
    assert set(details) >= {"subnetId", "networkInterfaceId", "macAddress", "privateDnsName", "privateIPv4Address"}
    private, public = tasks.address(task)
    assert only(task)["networkInterfaces"][0]["privateIpv4Address"] == private == details["privateIPv4Address"]
    assert public
    stopped = tasks.stop(arn)
    assert stopped["attachments"][0]["status"] == "DELETED"
    gone = tasks.ec2.describe_network_interfaces(Filters=[{"Name": "private-ip-address", "Values": [private]}])
    assert gone["NetworkInterfaces"] == []


def test_what_a_container_writes_can_be_read(tasks: Tasks) -> None:
    arn = tasks.run("echo to-stdout; echo to-stderr >&2; exit 0")
    tasks.wait(arn, "STOPPED")
    assert said(tasks, arn, "to-stdout\n") == "to-stdout\n"
    until(lambda: tasks.homeport.command("logs", arn).stderr, lambda text: text == "to-stderr\n")


def test_the_definition_and_its_overrides_reach_the_process(tasks: Tasks) -> None:
    script = "echo $GREETING; pwd; id -u; echo $HOSTNAME; echo end; exit 0"
    container = {"environment": [{"name": "GREETING", "value": "hello"}], "workingDirectory": "/tmp", "user": "1234"}
    arn = tasks.run(script, **container)
    tasks.wait(arn, "STOPPED")
    assert said(tasks, arn, "end\n").split()[:3] == ["hello", "/tmp", "1234"]


def test_the_story_names_every_cause(tasks: Tasks) -> None:
    arn = tasks.run("exit 0")
    tasks.wait(arn, "STOPPED")
    last = 'last_status: "DEPROVISIONING" → "STOPPED"'
    story = until(lambda: tasks.homeport.command("story", arn).stdout, lambda text: last in text)
    assert "ecs:RunTask by arn:aws:iam::123456789012:root" in story
    assert "ecs:SubmitTaskStateChange" in story
