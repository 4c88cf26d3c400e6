"""The machine's ports that containers are published on, kept from everybody else on it."""

from __future__ import annotations

import socket

from homeport.agent.network import netns
from homeport.agent.network.layout import PROTOCOLS
from homeport.agent.network.published import Forward

_RANGE = "ipv4/ip_local_port_range"
_FALLBACK = range(49153, 65535 + 1)  # Amazon's agent's, where the kernel doesn't say
_KINDS = dict(zip(PROTOCOLS, (socket.SOCK_STREAM, socket.SOCK_DGRAM), strict=True))


class PortTaken(Exception):
    """``str`` says which, in Docker's words."""


class HostPorts:
    """Each port is held by a socket that is bound to it at all addresses and never used: so nobody else gets it, not
    even another agent, and it is free again when this process ends, however it does.

    For the one thread that is at home in the machine's namespace.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[str, int], socket.socket] = {}
        self._last = 0  # port chosen last: freed ones rest until all others had their turn

    def close(self) -> None:
        for held in self._held.values():
            held.close()
        self._held.clear()

    def take(self, wanted: Forward) -> Forward:
        """The forward with its host ports, chosen where it names none, and held. Raises PortTaken, OSError."""
        if wanted.host_port:
            if not self._hold(wanted):
                taken = f"Bind for 0.0.0.0:{wanted.host_port} failed: port is already allocated"
                raise PortTaken(f"driver failed programming external connectivity: {taken}")
            return wanted
        dynamic = _dynamic()
        for start in _round(dynamic, self._last, wanted.count):
            found = Forward(wanted.protocol, start, wanted.container_port, wanted.count, wanted.ranged)
            if self._hold(found):
                self._last = start + wanted.count - 1
                return found
        limits = f"{dynamic.start}-{dynamic.stop - 1}"
        raise PortTaken(f"{wanted.count} contiguous host ports ({wanted.protocol}) are unavailable in {limits}")

    def keep(self, forward: Forward) -> None:
        """Holds what an agent before this one has given. What somebody else has got meanwhile stays published."""
        for port in forward.host_ports:
            self._bind(forward.protocol, port)

    def give_back(self, forward: Forward) -> None:
        """No error where it isn't held."""
        for port in forward.host_ports:
            held = self._held.pop((forward.protocol, port), None)
            if held is not None:
                held.close()

    def _hold(self, forward: Forward) -> bool:
        """All of its ports or none."""
        if any((forward.protocol, port) in self._held for port in forward.host_ports):
            return False
        for port in forward.host_ports:
            if not self._bind(forward.protocol, port):
                self.give_back(Forward(forward.protocol, forward.host_port, 0, port - forward.host_port))
                return False
        return True

    def _bind(self, protocol: str, port: int) -> bool:
        if (protocol, port) in self._held:
            return True
        holder = socket.socket(socket.AF_INET, _KINDS[protocol])
        try:
            holder.bind(("", port))
        except OSError:
            holder.close()
            return False
        self._held[protocol, port] = holder
        return True


def _dynamic() -> range:
    """Ports that may be given where a container names none: those that the kernel gives to clients."""
    try:
        first, last = map(int, netns.sysctl(_RANGE).split())
    except (OSError, ValueError):
        return _FALLBACK
    return range(first, last + 1)


def _round(dynamic: range, last: int, count: int) -> list[int]:
    """Where ``count`` adjacent ports may start: first those after the ``last`` that was given."""
    starts = range(dynamic.start, dynamic.stop - count + 1)
    after = max(starts.start, min(last + 1, starts.stop))
    return [*range(after, starts.stop), *range(starts.start, min(after, starts.stop))]
