"""Tasks of container instances whose containers are in the bridge or in the machine's own network."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from agent_world import CLUSTER, TASK, TASK_ID, World, container, payload

from homeport.agent.adopt import adopt
from homeport.agent.drivers import ContainerPlan
from homeport.agent.drivers.fake import Behaviour
from homeport.agent.network import ContainerNetwork
from homeport.agent.network.layout import BRIDGED
from homeport.agent.plan import Container, Facts, TaskGoal
from homeport.agent.state import TaskRecord
from homeport.agentapi import ContainerSpec, NetworkBinding, PayloadTask, PortMapping, TaskSpec
from homeport.agentspec import ExtraHost

OTHER_ID = "f" * 32
WEB = (PortMapping(container_port=80),)
FIXED = (PortMapping(container_port=80, host_port=8080),)


def task(*containers: ContainerSpec, mode: str = "bridge", id: str = TASK_ID) -> PayloadTask:
    arn = TASK.replace(TASK_ID, id)
    sent = payload(*containers, arn=arn, network=False)
    assert sent.spec is not None
    return msgspec.structs.replace(sent, spec=msgspec.structs.replace(sent.spec, network_mode=mode, launch_type="EC2"))


def plans(w: World) -> dict[str, ContainerPlan]:
    """The plan of every container that is started, as it is."""
    found: dict[str, ContainerPlan] = {}

    def fault(call: str, id: str) -> None:
        if call == "start":
            plan = w.runtime.containers[id].plan
            found[plan.spec.name] = plan

    w.fault = fault
    return found


def bindings(w: World, name: str) -> Any:
    return w.control.containers[name].get("networkBindings", ())


async def run_to_the_end(w: World, *tasks: PayloadTask) -> None:
    node = await w.start()
    for each in tasks:
        await node.accept(each)
    await w.control.until(lambda: all(w.control.status.get(t.arn) == "STOPPED" for t in tasks))
    await w.idle(node)
    assert w.fabric.bridged == {"node": {}}


def test_containers_have_networks_of_their_own_and_their_ports_are_told() -> None:
    w = World(web=Behaviour(runs=5.0), db=Behaviour(runs=9.0))
    started = plans(w)
    web = container("web", ports=WEB, links=("db:store",), after=(("db", "START"),))
    w.run(lambda w: run_to_the_end(w, task(web, container("db", essential=False))))
    assert started["web"].netns != started["db"].netns
    assert started["web"].address != started["db"].address
    address = started["db"].address or ""
    names = ("store", "db", f"{TASK_ID}-1"[:12])
    assert started["web"].spec.extra_hosts == tuple(ExtraHost(name, address) for name in names)
    assert list(started) == ["db", "web"]
    bound = {"bindIP": "0.0.0.0", "protocol": "tcp", "containerPort": 80, "hostPort": 32768}
    assert tuple(bindings(w, "web")) == (bound,)
    assert started["web"].spec.environment["AWS_EXECUTION_ENV"] == "AWS_ECS_EC2"


def test_who_asks_for_metadata_is_told_by_the_address_in_the_bridge() -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(task(container("web", ports=WEB)))
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        (network,) = w.fabric.bridged["node"][TASK_ID].values()
        assert node.at(BRIDGED, network.address) is node.task(TASK_ID)
        assert node.at("vpc-1", network.address) is None
        assert node.at(BRIDGED, "172.16.15.1") is None

    World(web=Behaviour(runs=50.0)).run(story)


def test_a_port_that_is_taken_fails_its_container() -> None:
    w = World(web=Behaviour(runs=50.0), late=Behaviour(runs=50.0))

    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(task(container("web", ports=FIXED)))
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        late = task(container("late", ports=FIXED), id=OTHER_ID)
        await node.accept(late)
        await w.control.until(lambda: w.control.status.get(late.arn) == "STOPPED")
        assert w.control.containers["late"]["reason"].startswith("CannotStartContainerError: ")
        assert "8080" in w.control.containers["late"]["reason"]
        assert w.control.status[TASK] == "RUNNING"
        assert list(w.fabric.bridged["node"]) == [TASK_ID]

    # Only the late one: a task is told to be over once nothing of it runs, while the other does.
    w.control.take = _noted(w)  # type: ignore[method-assign]
    w.run(story)


def _noted(w: World) -> Any:
    def take(params: dict[str, Any]) -> None:
        w.control.reports.append(params)
        w.control.status[params["task"]] = params["status"]
        for c in params.get("containers", ()):
            w.control.containers.setdefault(c["containerName"], {}).update(c)
        w.control.changed.set()

    return take


@pytest.mark.parametrize("calls", range(1, 9))
def test_ports_are_told_whenever_the_agent_dies(calls: int) -> None:
    """Killed before its n-th effect; the next agent tells the ports that the containers really have."""
    w = World(web=Behaviour(runs=50.0))
    seen = 0

    def fault(call: str, id: str) -> None:
        nonlocal seen
        seen += 1
        if seen == calls and w.agent is not None:
            w.agent.cancel()

    async def story(w: World) -> None:
        w.fault = fault
        node = await w.start()
        await node.accept(task(container("web", ports=WEB)))
        while w.agent and not w.agent.done() and w.control.status.get(TASK) != "RUNNING":  # noqa: ASYNC110 (time is virtual)
            await asyncio.sleep(0.001)
        await w.kill()
        w.fault = lambda call, id: None
        await w.start()
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        (network,) = w.fabric.bridged["node"][TASK_ID].values()
        assert [b["hostPort"] for b in bindings(w, "web")] == [b.host_port for b in network.bindings] == [32768]

    w.run(story)


def test_in_the_machines_network_the_ports_are_the_containers() -> None:
    w = World(web=Behaviour(runs=5.0))
    started = plans(w)
    w.fabric.bridged["node"] = {}
    w.run(lambda w: run_to_the_end(w, task(container("web", ports=FIXED[:1]), mode="host")))
    assert (started["web"].network_mode, started["web"].address) == ("host", None)
    assert [(b["containerPort"], b["hostPort"]) for b in bindings(w, "web")] == [(80, 80)]


def test_without_any_network_there_is_nothing_to_make() -> None:
    w = World(web=Behaviour(runs=5.0))
    started = plans(w)
    w.fabric.bridged["node"] = {}
    w.run(lambda w: run_to_the_end(w, task(container("web"), mode="none")))
    assert started["web"].netns is None
    alone = World(web=Behaviour(runs=5.0))
    started = plans(alone)
    alone.run(lambda w: run_to_the_end(w, task(container("web", disable_networking=True))))
    assert started["web"].netns is None


@pytest.mark.parametrize(
    ("mode", "spaces", "boot", "kept"),
    [
        ("bridge", [TASK_ID], "boot-1", True),
        ("bridge", [], "boot-1", False),
        ("bridge", [], "boot-2", False),
        ("host", [TASK_ID], "boot-1", True),
        ("host", [], "boot-2", False),
    ],
)
def test_what_an_agent_makes_of_the_networks_that_it_finds(mode: str, spaces: list[str], boot: str, kept: bool) -> None:
    spec = TaskSpec("web", 1, "us-east-1", "us-east-1a", containers=(container("web", ports=WEB),), network_mode=mode)
    networks = {"web": ContainerNetwork("/n", bindings=(NetworkBinding("0.0.0.0", "tcp", 80, 32768),))}
    saved = TaskRecord(
        version=1,
        boot_id="boot-1",
        goal=TaskGoal(arn=TASK, cluster=CLUSTER, task_id=TASK_ID, spec=spec),
        facts=Facts(containers={"web": Container()}, network="attached", networks=networks),
    )
    (found,) = adopt([msgspec.json.decode(msgspec.json.encode(saved), type=TaskRecord)], [], spaces, boot, 100.0).tasks
    assert found.facts.networks == (networks if kept else {})
    assert found.facts.network == ("attached" if kept else "none")
