"""Names and addresses of an agent's network."""

from __future__ import annotations

import pytest

from homeport.agent.network import layout

TASK = "0123456789abcdef0123456789abcdef"


def test_names_of_an_instance() -> None:
    names = layout.names("0a1b2c3d")
    assert names.root_link == "hp-0a1b2c3d"
    assert names.hub == "hp-0a1b2c3d-hub"
    assert names.router("vpc-1") == "hp-0a1b2c3d-r-vpc-1"
    assert names.task(TASK) == f"hp-0a1b2c3d-t-{TASK}"
    assert names.root_table == "homeport_0a1b2c3d"


def test_the_task_of_a_namespace() -> None:
    names = layout.names("0a1b2c3d")
    assert names.task_of(names.task(TASK)) == TASK
    assert names.task_of(names.hub) is None
    assert names.task_of(layout.names("0a1b2c3e").task(TASK)) is None


@pytest.mark.parametrize("instance", ["", "0a1b2c3", "0A1B2C3D", "0a1b2c3d/", "../../etc"])
def test_what_is_no_instance_is_refused(instance: str) -> None:
    with pytest.raises(ValueError):
        layout.names(instance)


@pytest.mark.parametrize(
    "link", [layout.names("0a1b2c3d").root_link, layout.task_link(TASK), layout.hub_link(layout.MAX_ROUTERS)]
)
def test_links_fit_into_the_kernels_15_characters(link: str) -> None:
    assert len(link) <= 15


def test_root_links_are_told_from_others() -> None:
    assert layout.is_root_link("hp-0a1b2c3d")
    assert not layout.is_root_link("hp-lan")
    assert not layout.is_root_link("eth0")


def test_first_and_last_address_of_the_pool_are_the_agents() -> None:
    assert layout.pool("198.18.4.0/22") == layout.Pool("198.18.4.0/22", "198.18.4.0", "198.18.7.255")


@pytest.mark.parametrize("cidr", ["198.18.4.0/30", "198.18.4.1/22", "::/64", "pool"])
def test_what_is_no_pool_is_refused(cidr: str) -> None:
    with pytest.raises(ValueError):
        layout.pool(cidr)


def test_router_addresses_never_meet_the_metadata_address() -> None:
    assert layout.router_address(1) == "169.254.64.1"
    assert layout.router_address(layout.MAX_ROUTERS) == "169.254.127.253"
    assert layout.router_address(layout.BRIDGE) == "169.254.127.254"
    for index in (0, layout.BRIDGE + 1):
        with pytest.raises(ValueError):
            layout.router_address(index)
