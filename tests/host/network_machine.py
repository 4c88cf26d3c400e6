"""A machine made of network namespaces to run a node's network on, and places from which to try it.

``host`` stands for the machine's root namespace (10.9.0.1), ``lan`` for another machine (10.9.0.2) that knows the way
to the public pool through it.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

from homeport.agent.network import netns
from homeport.agentapi import Group, HomeportGroupsMessage, InterfaceSpec, Rule

HOST, LAN = "10.9.0.1", "10.9.0.2"
BLOCKED = 0.4  # seconds after which a connection that gets no answer counts as dropped
PATIENCE = 15.0  # seconds for one that shall get an answer
EVERYTHING = Rule(protocol="-1", cidrs=("0.0.0.0/0",))

_Result = TypeVar("_Result")
_numbers = itertools.count()


class Place:
    """A network namespace with a thread in it. Servers answer each connection with its client's address."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._sockets: list[socket.socket] = []
        self._thread = ThreadPoolExecutor(1, initializer=self._enter)

    def _enter(self) -> None:
        descriptor = netns.handle(self.name)
        netns.enter(descriptor)
        os.close(descriptor)

    def run(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        return self._thread.submit(function, *arguments).result()

    def serve(self, port: int, address: str = "0.0.0.0") -> None:
        listener = self.run(socket.create_server, (address, port))
        self._sockets.append(listener)
        threading.Thread(target=_answer, args=(listener,), daemon=True).start()

    def call(self, address: str, port: int, source: str = "") -> str | None:
        """The client's address as the server saw it; None if nothing answered in time or the network said no."""
        return self.run(_call, address, port, source, BLOCKED)

    def reach(self, address: str, port: int, source: str = "") -> str | None:
        """The same of somebody who shall be answered, however long a loaded machine takes."""
        return self.run(_call, address, port, source, PATIENCE)

    def close(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts: it holds the namespace too
            each.close()
        self._thread.shutdown()


class Machine:
    """``instances``: those whose namespaces it shows; others' tests may run beside."""

    def __init__(self, *instances: str) -> None:
        self.instances = instances
        self.mark = f"hpt{os.getpid():x}x{next(_numbers)}"
        self.host_name, self.lan_name = f"{self.mark}-host", f"{self.mark}-lan"
        self.root = f"/run/netns/{self.host_name}"
        self._places: dict[str, Place] = {}
        for line in self._script():
            ip(line)

    def _script(self) -> Iterator[str]:
        for name in (self.host_name, self.lan_name):
            yield f"netns add {name}"
            yield f"-n {name} link set lo up"
        yield f"-n {self.host_name} link add wan type veth peer name eth0 netns {self.lan_name}"
        for name, link, address in ((self.host_name, "wan", HOST), (self.lan_name, "eth0", LAN)):
            yield f"-n {name} addr add {address}/24 dev {link}"
            # No link-local address: its routes come when the kernel has made sure of it, a second or two later.
            yield f"-n {name} link set {link} addrgenmode none up"
        yield f"-n {self.host_name} route add default via {LAN}"
        yield f"-n {self.lan_name} route add 198.18.0.0/15 via {HOST}"

    @property
    def host(self) -> Place:
        return self.place(self.host_name)

    @property
    def lan(self) -> Place:
        return self.place(self.lan_name)

    def place(self, name: str) -> Place:
        """The place of a namespace, by name or path."""
        name = os.path.basename(name)
        if name not in self._places:
            self._places[name] = Place(name)
        return self._places[name]

    def forget(self, name: str) -> None:
        """Leaves a namespace, so that it can vanish."""
        self._places.pop(os.path.basename(name)).close()

    def shows(self) -> dict[str, str]:
        """All that an agent may change in the host's namespace."""
        inside = f"ip netns exec {self.host_name} "
        commands = {
            "links": f"ip -n {self.host_name} -br link",
            "addresses": f"ip -n {self.host_name} -br addr",
            "routes": f"ip -n {self.host_name} route show table all",
            "rules": f"ip -n {self.host_name} rule",
            "nft": f"{inside} nft list ruleset",
            "sysctl": f"{inside} cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/all/rp_filter",
        }
        shown = {key: _run(command) for key, command in commands.items()}
        return shown | {"names": " ".join(name for of in self.instances for name in netns.named(f"hp-{of}"))}

    def close(self) -> None:
        for each in self._places.values():
            each.close()
        for name in (self.host_name, self.lan_name):
            with suppress(subprocess.CalledProcessError):
                ip(f"netns del {name}")


@contextmanager
def machine(*instances: str) -> Iterator[Machine]:
    made = Machine(*instances)
    try:
        yield made
    finally:
        made.close()


def ip(arguments: str) -> str:
    return _run(f"ip {arguments}")


def nft(namespace: str, command: str) -> str:
    return subprocess.run(
        ["ip", "netns", "exec", namespace, "nft", command], check=True, capture_output=True, text=True
    ).stdout


def task_id(number: int) -> str:
    return f"{number:02x}" * 16


def interface(
    number: int,
    *groups: str,
    public: bool = True,
    vpc: str = "vpc-1",
    cidr: str = "172.31.0.0/16",
    pool: str = "198.18.4",
) -> InterfaceSpec:
    """The interface of task ``number``: the last number of its addresses too."""
    net = cidr.rsplit(".", 1)[0]
    return InterfaceSpec(
        attachment_arn="arn:aws:ecs:us-east-1:123456789012:attachment/1",
        eni_id="eni-1",
        mac=f"0a:00:00:00:00:{number:02x}",
        vpc_id=vpc,
        vpc_cidr=cidr,
        subnet_id="subnet-1",
        subnet_cidr=f"{net}.0/20",
        private_address=f"{net}.{number}",
        gateway=f"{net}.1",
        private_dns_name=f"ip-{number}.ec2.internal",
        public_address=f"{pool}.{number}" if public else None,
        groups=groups,
    )


def group(name: str, *ingress: Rule, egress: tuple[Rule, ...] = (EVERYTHING,), members: tuple[str, ...] = ()) -> Group:
    return Group(group_id=name, ingress=ingress, egress=egress, members=members)


def tcp(port: int, *cidrs: str, groups: tuple[str, ...] = ()) -> Rule:
    return Rule(protocol="tcp", from_port=port, to_port=port, cidrs=cidrs, groups=groups)


def told(
    *groups: Group, vpc: str = "vpc-1", cidr: str = "172.31.0.0/16", complete: bool = False
) -> HomeportGroupsMessage:
    return HomeportGroupsMessage(
        message_id="m", seq_num=next(_numbers), vpc_id=vpc, vpc_cidr=cidr, complete=complete, groups=groups
    )


def _answer(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, peer = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(peer[0].encode())


def _call(address: str, port: int, source: str, seconds: float) -> str | None:
    with socket.socket() as client:
        client.settimeout(seconds)
        try:
            client.bind((source, 0))
            client.connect((address, port))
            client.settimeout(PATIENCE)  # let through: the rest is only the server's thread getting its turn
            return client.recv(64).decode()
        except (TimeoutError, OSError):
            return None


def _run(command: str) -> str:
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout
