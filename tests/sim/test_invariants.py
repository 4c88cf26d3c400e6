"""The invariants, on records that violate them and on records that don't."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from homeport.agent.drivers import Observed
from homeport.agentapi import Group, InterfaceSpec, Rule
from homeport.services.ec2.model import NetworkInterface
from homeport.services.ecs.model.instance import Room
from homeport.services.ecs.model.task import Attachment, Container, NodeStatus, Task, TaskStatus
from homeport.sim import invariants as law

ID = "0" * 31 + "1"
TASK = Task(
    id=ID,
    cluster_arn="arn:aws:ecs:us-east-1:123456789012:cluster/demo",
    definition_arn="arn:aws:ecs:us-east-1:123456789012:task-definition/web:1",
    launch_type="FARGATE",
    group="family:web",
    cpu=256,
    memory=512,
    created_at=0.0,
    containers=(Container(id="1", name="app"),),
    instance="arn:node",
    last_status=TaskStatus.RUNNING,
    node_status=NodeStatus.RUNNING,
)
OVER = replace(TASK.containers[0], status="STOPPED", exit_code=0, ran=True)
INTERFACE = NetworkInterface(
    id="eni-1",
    vpc_id="vpc-1",
    subnet_id="subnet-1",
    availability_zone="us-east-1a",
    mac="0a:00:00:00:00:01",
    private_address="172.31.0.4",
    private_dns_name="",
    groups=("sg-1",),
    description="",
    status="pending",
    created_at=0.0,
    public_address="198.18.0.1",
)


def changed(**changes: Any) -> Task:
    return replace(TASK, **changes)


@pytest.mark.parametrize(
    "new",
    [
        changed(last_status=TaskStatus.PENDING),
        changed(node_status=NodeStatus.HANDED),
        changed(containers=(replace(OVER, status="PENDING"),)),
    ],
)
def test_statuses_only_go_forward(new: Task) -> None:
    old = changed(containers=(replace(OVER, status="RUNNING"),))
    assert law.statuses_only_go_forward(old, replace(old, containers=new.containers, **_statuses(new)))
    assert law.statuses_only_go_forward(TASK, changed(last_status=TaskStatus.STOPPED, containers=(OVER,))) is None


def _statuses(task: Task) -> dict[str, Any]:
    return {"last_status": task.last_status, "node_status": task.node_status}


def test_a_stop_is_for_good() -> None:
    stopping = changed(desired_status="STOPPED", stop_code="UserInitiated", stopped_reason="why not")
    assert law.a_stop_is_for_good(stopping, TASK)
    assert law.a_stop_is_for_good(stopping, replace(stopping, stop_code="EssentialContainerExited"))
    assert law.a_stop_is_for_good(stopping, replace(stopping, last_status=TaskStatus.STOPPED)) is None


def test_a_task_stays_where_it_was_placed() -> None:
    assert law.a_task_stays_where_it_was_placed(TASK, changed(instance="arn:other"))
    assert law.a_task_stays_where_it_was_placed(changed(instance=None), TASK) is None


def test_an_exit_code_is_told_once() -> None:
    over = changed(containers=(OVER,))
    assert law.an_exit_code_is_told_once(over, changed(containers=(replace(OVER, exit_code=1),)))
    assert law.an_exit_code_is_told_once(TASK, over) is None


def test_a_stopped_task_is_kept_for_an_hour() -> None:
    stopped = changed(last_status=TaskStatus.STOPPED, stopped_at=100.0)
    assert law.a_stopped_task_is_kept_for_an_hour(TASK, 9e9)
    assert law.a_stopped_task_is_kept_for_an_hour(stopped, 3699.0)
    assert law.a_stopped_task_is_kept_for_an_hour(stopped, 3700.0) is None


def test_what_runs_is_neither_stopped_nor_said_to_have_run_before() -> None:
    stopped, running = changed(last_status=TaskStatus.STOPPED), {f"{ID}-0"}
    assert law.nothing_is_stopped_that_runs(stopped, running)
    assert law.nothing_is_stopped_that_runs(changed(containers=(OVER,)), running)
    assert law.nothing_is_stopped_that_runs(replace(stopped, lost=True), running) is None
    assert law.nothing_is_stopped_that_runs(TASK, running) is None
    assert law.what_is_running_was_started(changed(containers=(OVER,)), set())
    assert law.what_is_running_was_started(changed(containers=(OVER,)), running) is None


def test_exit_codes_are_true_and_told() -> None:
    seven = {f"{ID}-0": Observed(id=f"{ID}-0", state="stopped", exit_code=7)}
    over = changed(containers=(OVER,), last_status=TaskStatus.STOPPED)
    assert law.exit_codes_are_true(over, seven)
    assert law.exit_codes_are_true(over, {})
    assert law.exit_codes_are_true(changed(containers=(replace(OVER, exit_code=7),)), seven) is None
    assert law.every_end_is_told(changed(containers=(replace(OVER, exit_code=None),)), seven)
    assert law.every_end_is_told(changed(containers=(replace(OVER, exit_code=7),)), seven) is None


def test_a_room_is_the_sum_of_its_tasks_and_no_more_than_it_has() -> None:
    room = Room(id="1", arn="arn:node", cpu=256, memory=1024, cpu_used=256, memory_used=512, tasks=1)
    assert law.a_room_is_the_sum_of_its_tasks(room, [TASK]) is None
    assert law.a_room_is_the_sum_of_its_tasks(room, [])
    assert law.a_room_is_never_overdrawn(room) is None
    assert law.a_room_is_never_overdrawn(replace(room, cpu_used=512))
    assert law.a_room_is_never_overdrawn(replace(room, memory_used=-1))


def test_no_address_is_given_twice() -> None:
    other = replace(INTERFACE, id="eni-2", private_address="172.31.0.5")
    assert law.no_address_is_given_twice(other, [INTERFACE, other])
    assert law.no_address_is_given_twice(replace(other, public_address=None), [INTERFACE]) is None
    assert law.no_address_is_given_twice(replace(INTERFACE, id="eni-3", public_address=None), [INTERFACE])


def spec(address: str) -> InterfaceSpec:
    return InterfaceSpec(
        attachment_arn="",
        eni_id="eni-0",
        mac="",
        vpc_id="vpc-1",
        vpc_cidr="",
        subnet_id="",
        subnet_cidr="",
        private_address=address,
        gateway="",
        private_dns_name="",
        groups=("sg-2",),
    )


def test_no_address_is_reused_before_it_is_free() -> None:
    lets_in = Group(group_id="sg-2", ingress=(Rule(protocol="-1", groups=("sg-1",)),))
    groups = {"sg-1": Group(group_id="sg-1", members=("172.31.0.4",)), "sg-2": lets_in}

    def judged(interfaces: dict[str, InterfaceSpec], heard: float = 0.0) -> str | None:
        return law.no_address_is_reused_before_it_is_free(INTERFACE, [law.Node("n", heard, groups, interfaces)], 600.0)

    assert judged({"t": spec("172.31.0.9")})
    assert judged({"t": spec("172.31.0.4")})
    assert judged({}) is None
    assert judged({"t": spec("172.31.0.9")}, heard=601.0) is None


def test_a_task_runs_on_one_node() -> None:
    assert law.a_task_runs_on_one_node(f"{ID}-1", "a", {"a": set(), "b": {f"{ID}-0"}})
    assert law.a_task_runs_on_one_node(f"{ID}-1", "a", {"a": {f"{ID}-0"}, "b": set()}) is None


def test_nothing_acknowledged_is_lost_and_answers_only_go_forward() -> None:
    assert law.nothing_acknowledged_is_lost("arn", None, stopped=False)
    assert law.nothing_acknowledged_is_lost("arn", TASK, stopped=True)
    assert law.nothing_acknowledged_is_lost("arn", TASK, stopped=False) is None
    assert law.answers_only_go_forward("arn", TaskStatus.RUNNING, TaskStatus.PENDING)
    assert law.answers_only_go_forward("arn", TaskStatus.RUNNING, TaskStatus.RUNNING) is None


def test_everything_comes_to_rest() -> None:
    attached = (Attachment(id="1", status="ATTACHED"),)
    running = changed(containers=(replace(OVER, status="RUNNING", exit_code=None),), attachments=attached)
    here = {f"{ID}-0"}
    assert law.everything_comes_to_rest(running, here, here) is None
    assert law.everything_comes_to_rest(running, here, set())
    assert law.everything_comes_to_rest(replace(running, attachments=()), here, here)
    assert law.everything_comes_to_rest(changed(desired_status="STOPPED"), here, here)
    assert law.everything_comes_to_rest(changed(last_status=TaskStatus.PENDING), here, here)
    silent = changed(last_status=TaskStatus.STOPPED)
    assert law.everything_comes_to_rest(silent, set(), set())
    over = replace(silent, node_status=NodeStatus.STOPPED)
    assert law.everything_comes_to_rest(over, set(), set()) is None
    assert law.everything_comes_to_rest(over, here, set())
    assert law.everything_comes_to_rest(replace(over, attachments=attached), set(), set())


def test_health_is_shown_as_its_node_knows_it() -> None:
    running = changed(containers=(Container(id="1", name="app", status="RUNNING", health="HEALTHY"),))
    assert law.health_is_shown(running, {(ID, "app"): ("HEALTHY", 5.0)}) is None
    assert law.health_is_shown(running, {(ID, "app"): ("UNHEALTHY", 5.0)})
    assert law.health_is_shown(running, {})


CALM = law.Causes(asked=False, ended=(), rebooted=False, heard=1.0)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("UserInitiated", CALM._replace(asked=True)),
        ("EssentialContainerExited", CALM._replace(ended=(f"{ID}-0",))),
        ("TerminationNotice", CALM._replace(rebooted=True)),
        ("InfrastructureHealth", CALM._replace(heard=60.0)),
    ],
)
def test_a_stop_has_its_cause(code: str, cause: law.Causes) -> None:
    assert law.a_stop_has_its_cause(changed(stop_code=code), CALM, 60.0)
    assert law.a_stop_has_its_cause(changed(stop_code=code), cause, 60.0) is None


def test_every_node_enforces_the_rules() -> None:
    rule = Rule(protocol="-1", groups=("sg-2",))
    own, peer = Group(group_id="sg-1", ingress=(rule,)), Group(group_id="sg-2", members=("172.31.0.4",))
    has = {"sg-1": own, "sg-2": peer}
    assert law.every_node_enforces_the_rules("n", has, [own], [peer]) is None
    assert law.every_node_enforces_the_rules("n", has, [replace(own, members=("172.31.0.5",))], [peer]) is None
    assert law.every_node_enforces_the_rules("n", has, [replace(own, ingress=())], [peer])
    assert law.every_node_enforces_the_rules("n", has, [own], [replace(peer, members=())])
    assert law.every_node_enforces_the_rules("n", {"sg-1": own}, [own], [peer])


def test_names() -> None:
    assert law.name_of(law.nothing_is_left) == "nothing is left"
    assert law.nothing_is_left("containers", ["b", "a"]) == "containers: ['a', 'b']"
