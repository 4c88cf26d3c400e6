"""Links, addresses and routes over rtnetlink (see rtnetlink(7) and linux/if_link.h).

A general netlink library costs the agent 24 MiB and four times as long for the dozen messages that are needed here.
Every change succeeds where it is already so.
"""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import IPv4Network

from homeport.agent.network.channel import CREATE, EXCL, REPLACE, Channel, Request, attribute, attributes

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _NEWROUTE, _DELROUTE, _GETROUTE, _NEWNEIGH = 20, 24, 25, 26, 28

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 1, 3, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS, _NOPREFIXROUTE = 1, 2, 8, 0x200
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 5, 7, 15
_MAIN, _STATIC, _UNICAST, _BLACKHOLE, _UNIVERSE, _LINK, _ONLINK = 254, 4, 1, 6, 0, 253, 4
_NDA_DST, _NDA_LLADDR, _PERMANENT = 1, 2, 0x80
_UP = 1
_INET = socket.AF_INET
LOOPBACK = 1  # index of lo in every namespace


def veth(name: str, peer: str, peer_namespace: int, peer_mac: str | None = None) -> Request:
    """A pair: ``name`` in the socket's namespace, ``peer`` in that of the descriptor."""
    inner = _link() + _text(_IFLA_IFNAME, peer) + attribute(_IFLA_NET_NS_FD, struct.pack("=I", peer_namespace))
    if peer_mac:
        inner += attribute(_IFLA_ADDRESS, bytes.fromhex(peer_mac.replace(":", "")))
    data = attribute(_INFO_DATA, attribute(_VETH_PEER, inner))
    body = _link() + _text(_IFLA_IFNAME, name) + attribute(_IFLA_LINKINFO, _text(_INFO_KIND, "veth") + data)
    return Request(_NEWLINK, CREATE | EXCL, body)


def link_up(index: int) -> Request:
    return Request(_NEWLINK, 0, _link(index, _UP, _UP))


def address(index: int, ip: str, prefix: int = 32) -> Request:
    """An address without the route of its prefix."""
    packed = socket.inet_aton(ip)
    body = struct.pack("=BBBBI", _INET, prefix, 0, _UNIVERSE, index)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    body += attribute(_IFA_FLAGS, struct.pack("=I", _NOPREFIXROUTE))
    return Request(_NEWADDR, CREATE | REPLACE, body)


def route(cidr: str, index: int, via: str | None = None, source: str | None = None) -> Request:
    """A route out of a link, with ``via`` through a neighbour that needs no route of its own."""
    body = attribute(_RTA_OIF, struct.pack("=I", index))
    if via:
        body += attribute(_RTA_GATEWAY, socket.inet_aton(via))
    if source:
        body += attribute(_RTA_PREFSRC, socket.inet_aton(source))
    scope, flags = (_UNIVERSE, _ONLINK) if via else (_LINK, 0)
    return Request(_NEWROUTE, CREATE | REPLACE, _route(cidr, scope, _UNICAST, flags) + body)


def blackhole(cidr: str) -> Request:
    """What has no longer prefix is dropped."""
    return Request(_NEWROUTE, CREATE | REPLACE, _route(cidr, _UNIVERSE, _BLACKHOLE, 0))


def no_route(cidr: str, index: int) -> Request:
    """Removes the route of ``cidr`` out of that link; one out of another link stays."""
    body = _route(cidr, 255, 0, 0) + attribute(_RTA_OIF, struct.pack("=I", index))
    return Request(_DELROUTE, 0, body, (errno.ESRCH,))


def neighbour(index: int, ip: str, mac: str) -> Request:
    """A permanent neighbour, so that nobody else can answer for the address."""
    body = struct.pack("=BxxxIHBB", _INET, index, _PERMANENT, 0, 0)
    body += attribute(_NDA_DST, socket.inet_aton(ip))
    body += attribute(_NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))
    return Request(_NEWNEIGH, CREATE | REPLACE, body)


class Netlink(Channel):
    """Links, addresses and routes of the namespace that the opening thread is in."""

    def __init__(self) -> None:
        super().__init__(socket.NETLINK_ROUTE)

    def index(self, name: str) -> int | None:
        """Index of a link; None where there is no such link."""
        try:
            answer = self.ask(Request(_GETLINK, 0, _link() + _text(_IFLA_IFNAME, name)))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return None
        return int(struct.unpack_from("=BxHiII", answer)[2])

    def expect(self, name: str) -> int:
        """Index of a link that must be there."""
        found = self.index(name)
        if found is None:
            raise OSError(errno.ENODEV, f"no link {name}")
        return found

    def delete_link(self, name: str) -> None:
        """Deletes a link (and so its peer and both ends' routes). No error where it's gone."""
        self.run(Request(_DELLINK, 0, _link() + _text(_IFLA_IFNAME, name), (errno.ENODEV,)))

    def routes(self) -> list[str]:
        """Destinations of the main table's IPv4 routes as CIDRs; the default route as 0.0.0.0/0."""
        answers = self.dump(Request(_GETROUTE, 0, _route("0.0.0.0/0", 0, 0, 0)))
        return [cidr for cidr in map(_destination, answers) if cidr]


def _text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def _link(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, change)


def _route(cidr: str, scope: int, kind: int, flags: int) -> bytes:
    network = IPv4Network(cidr)
    head = struct.pack("=BBBBBBBBI", _INET, network.prefixlen, 0, 0, _MAIN, _STATIC, scope, kind, flags)
    return head + (attribute(_RTA_DST, network.network_address.packed) if network.prefixlen else b"")


def _destination(body: bytes) -> str | None:
    prefix, table = body[1], body[4]
    values: dict[int, bytes] = dict(attributes(body, 12))
    if _RTA_TABLE in values:
        (table,) = struct.unpack("=I", values[_RTA_TABLE])
    return f"{socket.inet_ntoa(values.get(_RTA_DST, bytes(4)))}/{prefix}" if table == _MAIN else None
