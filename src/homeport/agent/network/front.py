"""A namespace between tasks and the hub: a VPC's router, or the bridge."""

from __future__ import annotations

import os
import socket

from homeport.agent.network import netlink, netns
from homeport.agent.network.conntrack import Conntrack
from homeport.agent.network.enforcer import Enforcer
from homeport.agent.network.hub import FORWARDING_SYSCTLS, Hub
from homeport.agent.network.layout import METADATA_ADDRESS, METADATA_PORT, Names
from homeport.agent.network.netlink import LOOPBACK, Netlink


class Front:
    """For the one thread that works on namespaces; that thread is at home in the root namespace."""

    def __init__(self, names: Names, hub: Hub, namespace: str) -> None:
        self._names, self._hub = names, hub
        self._namespace = netns.adopt(namespace)
        self._enforcer = Enforcer(self._namespace)
        with netns.inside(self._namespace):
            self._netlink = Netlink()
            self.conntrack = Conntrack()

    def close(self) -> None:
        """Leaves the namespace as it is."""
        self._enforcer.close()
        self._netlink.close()
        self.conntrack.close()
        os.close(self._namespace)

    def listen(self) -> socket.socket:
        """A socket that listens on the metadata address, where the tasks behind this front reach it."""
        return netns.listen(self._namespace, METADATA_ADDRESS, METADATA_PORT)

    def _prepare(self, cidr: str, *addresses: str) -> None:
        """Lets the namespace forward, and have the metadata address and these; what nobody has of ``cidr`` leads
        nowhere."""
        with netns.inside(self._namespace):
            netns.set_sysctls(FORWARDING_SYSCTLS)
        own = (METADATA_ADDRESS, *addresses)
        self._netlink.run(
            netlink.link_up(LOOPBACK),
            *(netlink.address(LOOPBACK, address) for address in own),
            netlink.blackhole(cidr),
        )
