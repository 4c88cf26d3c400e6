"""A namespace of a task or of one of its containers, and the pair of links that joins it to a router."""

from __future__ import annotations

import os

from homeport.agent.network import netlink, netns
from homeport.agent.network.layout import TASK_LINK
from homeport.agent.network.netlink import LOOPBACK, Netlink

# As Docker has them; IPv6 stays off but for ::1, because subnets here have IPv4 alone.
_SYSCTLS = {
    "ipv4/ip_unprivileged_port_start": "0",
    "ipv4/ping_group_range": "0 2147483647",
    "ipv4/ip_forward": "0",
    "ipv6/conf/default/disable_ipv6": "1",
}


def wire(router: Netlink, link: str, name: str, address: str, prefix: int, gateway: str, mac: str) -> int:
    """Makes the namespace ``name`` with ``address`` on its interface and the way to it in the router's namespace, which
    must have the ``gateway``; returns the kernel's index of the router's end, ``link``. Nobody else can answer for the
    address. What is half-made after a failure is the caller's to remove."""
    namespace = netns.create(name)
    try:
        with netns.inside(namespace):
            netns.set_sysctls(_SYSCTLS)
            inner = Netlink()
        try:
            _join(router, link, namespace, mac)
            inside, outside = inner.expect(TASK_LINK), router.expect(link)
            inner.run(
                netlink.link_up(LOOPBACK),
                netlink.address(inside, address, prefix),
                netlink.link_up(inside),
                netlink.route(f"{gateway}/32", inside),
                netlink.route("0.0.0.0/0", inside, via=gateway),
            )
        finally:
            inner.close()
    finally:
        os.close(namespace)
    router.run(
        netlink.link_up(outside),
        netlink.route(f"{address}/32", outside),
        netlink.neighbour(outside, address, mac),
    )
    return outside


def _join(router: Netlink, link: str, namespace: int, mac: str) -> None:
    pair = netlink.veth(link, TASK_LINK, namespace, mac)
    try:
        router.run(pair)
    except FileExistsError:  # what an earlier namespace of the same name has left
        router.delete_link(link)
        router.run(pair)
