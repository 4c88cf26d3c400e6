"""Links, addresses and routes over rtnetlink (see rtnetlink(7) and linux/if_link.h).

A general netlink library costs the agent 24 MiB and four times as long for the dozen messages that are needed here.
Every change succeeds where it is already so. Failures are OSErrors with the kernel's own words where it gives any.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import NamedTuple

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _NEWROUTE, _DELROUTE, _GETROUTE, _NEWNEIGH = 20, 24, 25, 26, 28
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP, _REPLACE, _EXCL, _CREATE = 1, 4, 0x300, 0x100, 0x200, 0x400
_ACK_TLVS, _CAPPED = 0x200, 0x100
_SOL_NETLINK, _EXT_ACK = 270, 11

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 1, 3, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS, _NOPREFIXROUTE = 1, 2, 8, 0x200
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 5, 7, 15
_MAIN, _STATIC, _UNICAST, _BLACKHOLE, _UNIVERSE, _LINK, _ONLINK = 254, 4, 1, 6, 0, 253, 4
_NDA_DST, _NDA_LLADDR, _PERMANENT = 1, 2, 0x80
_UP = 1
_INET = socket.AF_INET


class Request(NamedTuple):
    """``ignore``: errnos that mean that it is already so."""

    kind: int
    flags: int
    body: bytes
    ignore: tuple[int, ...] = ()


def veth(name: str, peer: str, peer_namespace: int, peer_mac: str | None = None) -> Request:
    """A pair: ``name`` in the socket's namespace, ``peer`` in that of the descriptor."""
    inner = _link() + _text(_IFLA_IFNAME, peer) + _attribute(_IFLA_NET_NS_FD, struct.pack("=I", peer_namespace))
    if peer_mac:
        inner += _attribute(_IFLA_ADDRESS, bytes.fromhex(peer_mac.replace(":", "")))
    data = _attribute(_INFO_DATA, _attribute(_VETH_PEER, inner))
    body = _link() + _text(_IFLA_IFNAME, name) + _attribute(_IFLA_LINKINFO, _text(_INFO_KIND, "veth") + data)
    return Request(_NEWLINK, _CREATE | _EXCL, body)


def link_up(index: int) -> Request:
    return Request(_NEWLINK, 0, _link(index, _UP, _UP))


def address(index: int, ip: str, prefix: int = 32) -> Request:
    """An address without the route of its prefix."""
    packed = socket.inet_aton(ip)
    body = struct.pack("=BBBBI", _INET, prefix, 0, _UNIVERSE, index)
    body += _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)
    body += _attribute(_IFA_FLAGS, struct.pack("=I", _NOPREFIXROUTE))
    return Request(_NEWADDR, _CREATE | _REPLACE, body)


def route(cidr: str, index: int, via: str | None = None, source: str | None = None) -> Request:
    """A route out of a link, with ``via`` through a neighbour that needs no route of its own."""
    body = _attribute(_RTA_OIF, struct.pack("=I", index))
    if via:
        body += _attribute(_RTA_GATEWAY, socket.inet_aton(via))
    if source:
        body += _attribute(_RTA_PREFSRC, socket.inet_aton(source))
    scope, flags = (_UNIVERSE, _ONLINK) if via else (_LINK, 0)
    return Request(_NEWROUTE, _CREATE | _REPLACE, _route(cidr, scope, _UNICAST, flags) + body)


def blackhole(cidr: str) -> Request:
    """What has no longer prefix is dropped."""
    return Request(_NEWROUTE, _CREATE | _REPLACE, _route(cidr, _UNIVERSE, _BLACKHOLE, 0))


def no_route(cidr: str, index: int) -> Request:
    """Removes the route of ``cidr`` out of that link; one out of another link stays."""
    body = _route(cidr, 255, 0, 0) + _attribute(_RTA_OIF, struct.pack("=I", index))
    return Request(_DELROUTE, 0, body, (errno.ESRCH,))


def neighbour(index: int, ip: str, mac: str) -> Request:
    """A permanent neighbour, so that nobody else can answer for the address."""
    body = struct.pack("=BxxxIHBB", _INET, index, _PERMANENT, 0, 0)
    body += _attribute(_NDA_DST, socket.inet_aton(ip))
    body += _attribute(_NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))
    return Request(_NEWNEIGH, _CREATE | _REPLACE, body)


class Netlink:
    """A socket in the namespace that the opening thread is in; it stays there wherever the thread goes."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._socket.settimeout(10)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def run(self, *requests: Request) -> None:
        """Sends all requests at once; they are carried out in order. Raises the first failure when all are answered."""
        waiting: dict[int, Request] = {}
        data = b""
        for request in requests:
            self._sequence += 1
            waiting[self._sequence] = request
            data += _message(request.kind, _REQUEST | _ACK | request.flags, self._sequence, request.body)
        self._socket.send(data)
        failure: OSError | None = None
        while waiting:
            for kind, flags, sequence, body in _messages(self._socket.recv(65536)):
                if kind != _ERROR or sequence not in waiting:
                    continue
                error = _error(flags, body)
                if error and error.errno not in waiting[sequence].ignore:
                    failure = failure or error
                del waiting[sequence]
        if failure:
            raise failure

    def index(self, name: str) -> int | None:
        """Index of a link; None where there is no such link."""
        self._sequence += 1
        body = _link() + _text(_IFLA_IFNAME, name)
        self._socket.send(_message(_GETLINK, _REQUEST, self._sequence, body))
        for kind, flags, sequence, answer in _messages(self._socket.recv(65536)):
            if sequence != self._sequence:
                continue
            if kind == _NEWLINK:
                return int(struct.unpack_from("=BxHiII", answer)[2])
            error = _error(flags, answer)
            if error and error.errno != errno.ENODEV:
                raise error
        return None

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
        self._sequence += 1
        self._socket.send(_message(_GETROUTE, _REQUEST | _DUMP, self._sequence, _route("0.0.0.0/0", 0, 0, 0)))
        found: list[str] = []
        while True:
            for kind, flags, _, body in _messages(self._socket.recv(1 << 20)):
                if kind == _DONE:
                    return found
                if kind == _ERROR and (error := _error(flags, body)):
                    raise error
                if kind == _NEWROUTE and (cidr := _destination(body)):
                    found.append(cidr)


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    message = struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body
    return message + bytes(-len(message) % 4)


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(type, flags, sequence, body) of each message in a datagram."""
    at = 0
    while at + 16 <= len(data):
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data, at)
        yield kind, flags, sequence, data[at + 16 : at + length]
        at += max(length + 3 & ~3, 16)


def _attributes(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += max(length + 3 & ~3, 4)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _link(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, change)


def _route(cidr: str, scope: int, kind: int, flags: int) -> bytes:
    network = IPv4Network(cidr)
    head = struct.pack("=BBBBBBBBI", _INET, network.prefixlen, 0, 0, _MAIN, _STATIC, scope, kind, flags)
    return head + (_attribute(_RTA_DST, network.network_address.packed) if network.prefixlen else b"")


def _destination(body: bytes) -> str | None:
    prefix, table = body[1], body[4]
    values: dict[int, bytes] = dict(_attributes(body, 12))
    if _RTA_TABLE in values:
        (table,) = struct.unpack("=I", values[_RTA_TABLE])
    return f"{socket.inet_ntoa(values.get(_RTA_DST, bytes(4)))}/{prefix}" if table == _MAIN else None


def _error(flags: int, body: bytes) -> OSError | None:
    """What a NLMSG_ERROR says; None for an acknowledgement."""
    code, length = struct.unpack_from("=iI", body)
    if not code:
        return None
    text = os.strerror(-code)
    if flags & _ACK_TLVS:
        start = 20 if flags & _CAPPED else 4 + (length + 3 & ~3)
        words = [value for kind, value in _attributes(body, start) if kind == 1]
        text = ": ".join([text, *(word.rstrip(b"\0").decode(errors="replace") for word in words)])
    return OSError(-code, text)
