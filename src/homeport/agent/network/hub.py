"""The hub namespace and its link to the root namespace: what internet gateway and NAT gateway are to AWS's VPCs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress

from homeport.agent.network import forwarding, netlink, netns, nft
from homeport.agent.network.layout import (
    BRIDGE,
    HUB_ROOT_LINK,
    PROTOCOLS,
    ROUTER_ADDRESSES,
    TABLE,
    UPLINK,
    Names,
    Pool,
    hub_link,
    router_address,
)
from homeport.agent.network.netlink import Netlink

PublishedPorts = Mapping[str, Sequence[range]]  # by protocol, tcp and udp

# A namespace takes the host's own values over; these must not depend on them. ip_forward resets others: it is first.
FORWARDING_SYSCTLS = {
    "ipv4/ip_forward": "1",
    **{
        f"ipv4/conf/{which}/{key}": value
        for which in ("all", "default")
        for key, value in {"rp_filter": "0", "send_redirects": "0", "accept_redirects": "0", "arp_ignore": "0"}.items()
    },
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
}


class Hub:
    """For the one thread that works on namespaces; that thread is at home in the root namespace."""

    def __init__(self, names: Names, pool: Pool, ports: PublishedPorts | None = None) -> None:
        """``ports``: that the bridge publishes already; None: there is no bridge."""
        self._names, self._pool, self._ports = names, pool, ports
        self._links: dict[int, int] = {}  # kernel's index of the link to each router
        self.namespace = netns.adopt(names.hub)
        with netns.inside(self.namespace):
            self._netlink = Netlink()

    def close(self) -> None:
        self._netlink.close()
        os.close(self.namespace)

    def build(self) -> None:
        """Makes or completes the hub, its link and the root namespace's part. May be repeated."""
        with netns.inside(self.namespace):
            netns.set_sysctls(FORWARDING_SYSCTLS)
        root = Netlink()
        try:
            self._link(root)
        finally:
            root.close()
        with netns.inside(self.namespace):
            nft.run_once(hub_script(self._pool, bridged=self._ports is not None))
        nft.run_once(root_script(self._names, self._pool, self._ports or {}))
        forwarding.forward_on()
        forwarding.admit(self._names)

    def publish_ports(self, ports: PublishedPorts) -> None:
        """Leads these ports of the machine to the bridge, and no others."""
        first, self._ports = self._ports is None, ports
        if first:
            with netns.inside(self.namespace):
                nft.run_once(hub_script(self._pool, bridged=True))
        try:
            nft.run_once(ports_script(self._names, ports))
        except nft.NftError:  # somebody flushed the table: ``keep`` was still to see it
            nft.run_once(root_script(self._names, self._pool, ports))

    def keep(self) -> None:
        """Puts back what others on the machine have undone since: a firewall that flushed all nft tables as it started,
        a Docker that closed FORWARD."""
        try:
            nft.run_once(f"list table ip {self._names.root_table}")
        except nft.NftError:
            nft.run_once(root_script(self._names, self._pool, self._ports or {}))
        forwarding.forward_on()
        forwarding.admit(self._names)

    def _link(self, root: Netlink) -> None:
        name, pool = self._names.root_link, self._pool
        if root.index(name) is not None and pool.cidr not in root.routes():
            root.delete_link(name)  # of another pool than this one
        if root.index(name) is None:
            root.run(netlink.veth(name, HUB_ROOT_LINK, self.namespace))
        # What the machine sends to a published port of its 127.0.0.1 leaves and returns by this link; ``guard`` lets
        # nothing else in that is for it.
        netns.set_sysctls({f"ipv6/conf/{name}/disable_ipv6": "1", f"ipv4/conf/{name}/route_localnet": "1"})
        outer, inner = root.expect(name), self._netlink.expect(HUB_ROOT_LINK)
        self._netlink.run(
            netlink.link_up(1),
            netlink.address(inner, pool.hub),
            netlink.link_up(inner),
        )
        root.run(
            netlink.address(outer, pool.host),
            netlink.link_up(outer),
            netlink.route(pool.cidr, outer, via=pool.hub, source=pool.host),
        )
        self._netlink.run(
            netlink.route(f"{pool.host}/32", inner),
            netlink.route("0.0.0.0/0", inner, via=pool.host),
            netlink.blackhole(pool.cidr),
        )

    def connect(self, router: int, router_netlink: Netlink, index: int, vpc_cidr: str | None = None) -> None:
        """Links a router (its namespace, its socket) to the hub; the VPC's range ends here. May be repeated."""
        if self._netlink.index(hub_link(index)) is None:
            router_netlink.delete_link(UPLINK)
            self._netlink.run(netlink.veth(hub_link(index), UPLINK, router))
        outer, inner = self._netlink.expect(hub_link(index)), router_netlink.expect(UPLINK)
        self._links[index] = outer
        own = router_address(index)
        router_netlink.run(netlink.address(inner, own), netlink.link_up(inner))
        ends = (netlink.blackhole(vpc_cidr),) if vpc_cidr else ()
        self._netlink.run(netlink.link_up(outer), netlink.route(f"{own}/32", outer), *ends)
        router_netlink.run(netlink.route("0.0.0.0/0", inner, via=self._pool.hub))

    def publish(self, address: str, index: int) -> None:
        """Leads a public address to router ``index``."""
        self._netlink.run(netlink.route(f"{address}/32", self._links[index], via=router_address(index)))

    def withdraw(self, address: str, index: int) -> None:
        """No error where it isn't led there."""
        self._netlink.run(netlink.no_route(f"{address}/32", self._links[index]))


def hub_script(pool: Pool, bridged: bool = False) -> str:
    """The hub's table: routers' own addresses leave as the pool's last one, and nobody talks to the hub itself. What
    the root namespace sends to that address is for the bridge."""
    inward = f'iifname "{HUB_ROOT_LINK}" ip daddr {pool.hub} dnat to {router_address(BRIDGE)}' if bridged else ""
    return f"""
add table ip {TABLE}
delete table ip {TABLE}
table ip {TABLE} {{
  chain inward {{
    type nat hook prerouting priority dstnat; policy accept;
    {inward}
  }}
  chain outward {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {ROUTER_ADDRESSES} snat to {pool.hub}
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    ct state established,related accept
  }}
}}
"""


def root_script(names: Names, pool: Pool, ports: PublishedPorts) -> str:
    """The agent's own table in the root namespace. ``guard`` comes before any port of the host is published elsewhere
    (Docker's DNAT): a task reaches none of the host's own addresses but at ``ports`` that are published here, while the
    host's connections to tasks go on."""
    link = names.root_link
    sets = "".join(f"  set {name}_ports {{ type inet_service; flags interval; auto-merge; }}\n" for name in PROTOCOLS)
    lead = "\n    ".join(f"fib daddr type local {name} dport @{name}_ports dnat to {pool.hub}" for name in PROTOCOLS)
    admit = "\n    ".join(f"fib daddr type local {name} dport @{name}_ports accept" for name in PROTOCOLS)
    return f"""
add table ip {names.root_table}
delete table ip {names.root_table}
table ip {names.root_table} {{
{sets}
  chain guard {{
    type filter hook prerouting priority mangle; policy accept;
    iifname != "{link}" accept
    ip saddr != {pool.cidr} drop
    ct state established,related accept
    ip daddr 127.0.0.0/8 drop
    {admit}
    fib daddr type {{ local, broadcast, multicast }} drop
  }}
  chain inward {{
    type nat hook prerouting priority dstnat; policy accept;
    {lead}
  }}
  chain own {{
    type nat hook output priority -100; policy accept;
    {lead}
  }}
  chain outward {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {pool.cidr} oifname != "{link}" masquerade
    oifname "{link}" ip saddr 127.0.0.0/8 snat to {pool.host}
    iifname "{link}" oifname "{link}" ct status dnat masquerade
  }}
}}
{ports_script(names, ports)}
"""


def ports_script(names: Names, ports: PublishedPorts) -> str:
    """Changes which ports of the machine are published. The rules stay: to make their chains anew takes the kernel many
    times as long."""
    lines = []
    for protocol in PROTOCOLS:
        name, ranges = f"ip {names.root_table} {protocol}_ports", ports.get(protocol, ())
        lines.append(f"flush set {name}")
        if ranges:
            lines.append(f"add element {name} {{ {', '.join(f'{r.start}-{r.stop - 1}' for r in ranges)} }}")
    return "\n".join(lines)


def remove(names: Names) -> None:
    """Removes the hub and all of the agent's in the root namespace. For a thread that is at home there."""
    root = Netlink()
    try:
        root.delete_link(names.root_link)
    finally:
        root.close()
    netns.remove(names.hub)
    with suppress(FileNotFoundError):  # no nft on the machine: no table either
        nft.run_once(f"add table ip {names.root_table}\ndelete table ip {names.root_table}\n")
    forwarding.withdraw(names)
