"""Names and addresses of an agent's network on its machine. Pure.

::

    root namespace            hub                        router of a VPC             task
    hp-<instance> ──────── root │ r<n> ───────────── up │ t-<task> ─────────── eth0
    first address of the pool   last address of the pool  169.254.64.<n>              private address

The hub stands for AWS's internet and NAT gateways: it knows public addresses only. A router knows one VPC: its tasks'
private addresses and its security groups. The first and the last address of the public pool are the agent's own.

Containers of tasks in the network mode ``bridge`` are behind a namespace like a router's, the bridge, which publishes
their ports::

    root namespace            hub                        bridge                      container
    hp-<instance> ──────── root │ r<last> ────────── up │ c<index> ─────────────── eth0
    ports of all addresses    last address of the pool  169.254.127.254             its private address
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network

import msgspec

NAMESPACES = "/run/netns"  # where iproute2 keeps named namespaces
HUB_ROOT_LINK = "root"  # in the hub, to the root namespace
UPLINK = "up"  # in a router, to the hub
TASK_LINK = "eth0"
METADATA_ADDRESS, METADATA_PORT = "169.254.170.2", 80  # the ECS metadata endpoint
TABLE = "homeport"  # nft table of the hub and of the routers
ROUTER_ADDRESSES = IPv4Network("169.254.64.0/18")  # link addresses of the routers; clear of 169.254.169.0/24 and .170.2
MAX_ROUTERS = ROUTER_ADDRESSES.num_addresses - 3
BRIDGE = MAX_ROUTERS + 1  # the bridge's place among the routers
PROTOCOLS = ("tcp", "udp")  # whose ports are published
BRIDGED = "bridge"  # what stands for a VPC's id where containers in the bridge are meant
BRIDGE_BASE, BRIDGE_PREFIX = "172.16.0.0/12", 20  # its range is the first of these that no route of the machine has
MAX_CONTAINERS = 2 ** (32 - BRIDGE_PREFIX) - 3  # in the bridge: all but its gateway and the ends of the range

_CHECKED = 8192  # texts remembered as checked: a node's whole state is compiled at each change
_INSTANCE = re.compile(r"[0-9a-f]{8}")
_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")


class Names(msgspec.Struct, frozen=True):
    """What is called how. ``instance``: 8 hex digits that tell one Homeport's agent from another on the machine."""

    instance: str

    @property
    def prefix(self) -> str:
        """Every namespace of the agent starts so."""
        return f"hp-{self.instance}-"

    @property
    def root_link(self) -> str:
        return f"hp-{self.instance}"

    @property
    def root_table(self) -> str:
        return f"homeport_{self.instance}"

    @property
    def hub(self) -> str:
        return f"{self.prefix}hub"

    def router(self, vpc_id: str) -> str:
        return f"{self.prefix}r-{vpc_id}"

    def task(self, task_id: str) -> str:
        return f"{self.prefix}t-{task_id}"

    @property
    def bridge(self) -> str:
        return f"{self.prefix}bridge"

    def shared(self, task_id: str) -> str:
        """A name for the machine's own namespace, while the task runs in it."""
        return f"{self.prefix}h-{task_id}"

    def shared_of(self, namespace: str) -> str | None:
        """The task that runs in the machine's namespace by this name; None for other names."""
        return self._after("h", namespace)

    def container(self, index: int) -> str:
        """The namespace of a container in the bridge."""
        return f"{self.prefix}c-{index}"

    def container_of(self, namespace: str) -> int | None:
        """The index of the container whose namespace this is; None if it's no container's of this agent."""
        index = self._after("c", namespace)
        return int(index) if index and index.isdecimal() else None

    def task_of(self, namespace: str) -> str | None:
        """The task whose namespace this is; None if it's no task's of this agent."""
        return self._after("t", namespace)

    def _after(self, kind: str, namespace: str) -> str | None:
        start = f"{self.prefix}{kind}-"
        return namespace[len(start) :] if namespace.startswith(start) else None


class Pool(msgspec.Struct, frozen=True):
    """The public pool. ``host`` is the root link's address (the host's own connections to tasks come from it), ``hub``
    the address that tasks without a public one are seen with (a NAT gateway's)."""

    cidr: str
    host: str
    hub: str


def names(instance: str) -> Names:
    """Raises ValueError unless ``instance`` is 8 lower-case hex digits."""
    if not _INSTANCE.fullmatch(instance):
        raise ValueError(f"not an instance of 8 hex digits: {instance!r}")
    return Names(instance)


def is_root_link(name: str) -> bool:
    """Whether a link of the root namespace is some agent's."""
    return name.startswith("hp-") and _INSTANCE.fullmatch(name[3:]) is not None


def pool(cidr: str) -> Pool:
    """Raises ValueError unless ``cidr`` is a network of at least 8 addresses (/29)."""
    network = IPv4Network(cidr)
    if network.prefixlen > 29:
        raise ValueError(f"a public pool needs at least a /29: {cidr}")
    return Pool(str(network), str(network.network_address), str(network.broadcast_address))


def path(namespace: str) -> str:
    """Path of a named namespace."""
    return f"{NAMESPACES}/{namespace}"


def task_link(task_id: str) -> str:
    """The router's end of a task's interface, within the kernel's 15 characters."""
    return f"t-{task_id[:13]}"


def hub_link(index: int) -> str:
    """The hub's end of the link to router ``index``."""
    return f"r{index}"


def container_link(index: int) -> str:
    """The bridge's end of a container's interface."""
    return f"c{index}"


def bridge_gateway(cidr: str) -> str:
    """The bridge's own address in its range."""
    return str(IPv4Network(cidr).network_address + 1)


def container_address(cidr: str, index: int) -> str:
    """The address of container ``index`` (1 … MAX_CONTAINERS) in the bridge's range."""
    if not 1 <= index <= MAX_CONTAINERS:
        raise ValueError(f"no container {index} in {cidr}")
    return str(IPv4Network(cidr).network_address + 1 + index)


def container_mac(address: str) -> str:
    """The hardware address that goes with a private one; locally administered."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in IPv4Address(address).packed)


def router_address(index: int) -> str:
    """Link address of router ``index`` (1 … BRIDGE)."""
    if not 1 <= index <= BRIDGE:
        raise ValueError(f"no router address {index}")
    return str(ROUTER_ADDRESSES.network_address + index)


@lru_cache(_CHECKED)
def checked_name(text: str) -> str:
    """An id that may be part of file, namespace and nft names. Raises ValueError for any other text."""
    if not _NAME.fullmatch(text):
        raise ValueError(f"not an id: {text!r}")
    return text


@lru_cache(_CHECKED)
def checked_address(text: str) -> str:
    """Raises ValueError (AddressValueError) unless a dotted quad."""
    return str(IPv4Address(text))


def checked_cidr(text: str) -> str:
    """Raises ValueError unless an IPv4 network without host bits."""
    return str(IPv4Network(text))
