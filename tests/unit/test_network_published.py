"""Ports of containers in the bridge, and what the bridge enforces."""

from __future__ import annotations

import msgspec
import pytest

from homeport.agent.network import layout
from homeport.agent.network.hub import hub_script, ports_script, root_script
from homeport.agent.network.plan import commands
from homeport.agent.network.published import (
    Endpoint,
    Forward,
    asked,
    binding,
    compile_bridge,
    free_indices,
    host_bindings,
    host_ports,
)
from homeport.agentapi import PortMapping

CIDR = "172.16.0.0/20"
WEB = Endpoint(1, "172.16.0.2", (Forward("tcp", 8080, 80), Forward("udp", 40000, 5000, 3, ranged=True)))
DB = Endpoint(2, "172.16.0.3")
OTHER = Endpoint(3, "172.16.0.4", (Forward("tcp", 32768, 80),))
TASKS = {"one": {"web": WEB, "db": DB}, "two": {"web": OTHER}}


def test_what_a_mapping_asks_for() -> None:
    assert asked(PortMapping(container_port=80)) == Forward("tcp", 0, 80)
    assert asked(PortMapping(container_port=80, host_port=8080, protocol="udp")) == Forward("udp", 8080, 80)
    assert asked(PortMapping(container_port_range="5000-5002")) == Forward("tcp", 0, 5000, 3, ranged=True)


@pytest.mark.parametrize(
    "mapping",
    [
        PortMapping(),
        PortMapping(container_port=70000),
        PortMapping(container_port=80, host_port=70000),
        PortMapping(container_port=80, protocol="sctp"),
        PortMapping(container_port_range="9-5"),
        PortMapping(container_port_range="many"),
    ],
)
def test_what_is_no_port(mapping: PortMapping) -> None:
    with pytest.raises(ValueError):
        asked(mapping)


def test_bindings_are_aws_s() -> None:
    one, several = (msgspec.to_builtins(binding(forward)) for forward in WEB.forwards)
    assert one == {"bindIP": "0.0.0.0", "protocol": "tcp", "containerPort": 80, "hostPort": 8080}
    ranges = {"containerPortRange": "5000-5002", "hostPortRange": "40000-40002"}
    assert several == {"bindIP": "0.0.0.0", "protocol": "udp", **ranges}
    (own,) = host_bindings((PortMapping(container_port=80, host_port=80),))
    assert (own.container_port, own.host_port) == (80, 80)


def test_the_lowest_free_indices_are_given() -> None:
    assert free_indices({}, 2) == [1, 2]
    assert free_indices({"one": {"db": DB}}, 3) == [1, 3, 4]
    full = {"all": {str(i): Endpoint(i, "") for i in range(1, layout.MAX_CONTAINERS + 1)}}
    assert free_indices(full, 0) == []
    with pytest.raises(ValueError):
        free_indices(full, 1)


def test_addresses_are_the_range_s() -> None:
    assert layout.container_address(CIDR, 1) == "172.16.0.2"
    assert layout.container_address(CIDR, layout.MAX_CONTAINERS) == "172.16.15.254"
    for index in (0, layout.MAX_CONTAINERS + 1):
        with pytest.raises(ValueError):
            layout.container_address(CIDR, index)
    names = layout.names("7e570009")
    assert names.container_of(names.container(12)) == 12
    for other in (names.bridge, names.hub, names.task("c-1"), layout.names("7e570008").container(1)):
        assert names.container_of(other) is None


def test_only_published_ports_lead_inward_and_only_siblings_meet() -> None:
    table = compile_bridge(CIDR, TASKS)
    assert table.sets["tcp_ports"].values == {"8080": "172.16.0.2 . 80", "32768": "172.16.0.4 . 80"}
    assert table.sets["udp_ports"].values == {str(40000 + i): f"172.16.0.2 . {5000 + i}" for i in range(3)}
    assert set(table.sets["siblings"].values) == {"172.16.0.2 . 172.16.0.3", "172.16.0.3 . 172.16.0.2"}
    assert set(table.sets["containers"].values) == {f'"c{i}" . 172.16.0.{i + 1}' for i in (1, 2, 3)}


def test_a_task_more_changes_elements_alone() -> None:
    before, after = (compile_bridge(CIDR, tasks) for tasks in ({"one": TASKS["one"]}, TASKS))
    assert all("element" in line for line in commands(before, after))


def test_the_machine_leads_published_ports_and_no_others_to_the_hub() -> None:
    names, pool = layout.names("7e570009"), layout.pool("198.18.4.0/22")
    script = root_script(names, pool, host_ports(TASKS))
    assert "add element ip homeport_7e570009 tcp_ports { 8080-8080, 32768-32768 }" in script
    assert "add element ip homeport_7e570009 udp_ports { 40000-40002 }" in script
    assert script.endswith(ports_script(names, host_ports(TASKS)) + "\n")
    assert script.count("dnat to 198.18.7.255") == 4  # both protocols, from outside and from the machine itself
    assert "add element" not in root_script(names, pool, {})
    assert "dnat" not in hub_script(pool)
    assert "dnat to 169.254.127.254" in hub_script(pool, bridged=True)
