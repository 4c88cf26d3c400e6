"""A container as the driver shall make it: from what is wanted of its task and what its node has found. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from homeport.agent.drivers import ContainerPlan
from homeport.agent.metadata.shapes import labels
from homeport.agent.mounting import mounts
from homeport.agent.network import ContainerNetwork
from homeport.agent.plan import Facts, TaskGoal
from homeport.agent.report import runtime_id
from homeport.agentspec import ContainerSpec, ExtraHost


def container_plan(goal: TaskGoal, facts: Facts, name: str, given: Mapping[str, str] = {}) -> ContainerPlan:
    """All that the driver needs to make a container. ``given``: the node's variables and those of files."""
    spec = goal.container(name)
    image, interface = facts.containers[name].image, goal.spec.interface
    network = facts.networks.get(name, ContainerNetwork(""))
    assert image is not None
    environment = {
        "AWS_REGION": goal.spec.region,
        "AWS_DEFAULT_REGION": goal.spec.region,
        "AWS_EXECUTION_ENV": f"AWS_ECS_{goal.spec.launch_type}",
        **given,
        **spec.environment,
    }
    extra_hosts = (*spec.extra_hosts, *_linked(goal, facts, spec))
    return ContainerPlan(
        id=runtime_id(goal, name),
        task_id=goal.task_id,
        spec=msgspec.structs.replace(spec, environment=environment, extra_hosts=extra_hosts),
        image=image,
        task_cpu=goal.spec.cpu,
        task_memory=goal.spec.memory,
        ephemeral_storage=goal.spec.ephemeral_storage,
        netns=network.netns or facts.netns,
        network_mode=goal.spec.network_mode,
        hostname=interface.private_dns_name if interface else runtime_id(goal, name)[:12],
        address=interface.private_address if interface else network.address or None,
        labels=labels(goal, spec),
        mounts=mounts(goal.spec, name, {n: c.image for n, c in facts.containers.items() if c.image is not None}),
        pid_mode=goal.spec.pid_mode,
        ipc_mode=goal.spec.ipc_mode,
    )


def _linked(goal: TaskGoal, facts: Facts, spec: ContainerSpec) -> Iterator[ExtraHost]:
    """The containers that it links to, under its alias and their own names, as in Docker."""
    for link in spec.links:
        target, _, alias = link.partition(":")
        network = facts.networks.get(target)
        if network is not None and network.address:
            for name in dict.fromkeys((alias or target, target, runtime_id(goal, target)[:12])):
                yield ExtraHost(name, network.address)
