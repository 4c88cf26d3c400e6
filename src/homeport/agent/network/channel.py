"""A netlink socket: messages of a header and a body, bodies of attributes (see netlink(7)).

Failures are OSErrors, with the kernel's own words where it gives any.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

REPLACE, EXCL, CREATE = 0x100, 0x200, 0x400  # flags of a request that makes something
NESTED = 0x8000  # flag of an attribute's kind

_REQUEST, _ACK, _DUMP = 1, 4, 0x300
_ERROR, _DONE = 2, 3
_ACK_TLVS, _CAPPED = 0x200, 0x100
_SOL_NETLINK, _EXT_ACK = 270, 11
_TIMEOUT = 10.0  # seconds
_BUFFER = 1 << 18  # bytes; the kernel fills at most 32 KiB at once


class Request(NamedTuple):
    """``ignore``: errnos that mean that it is already so."""

    kind: int
    flags: int
    body: bytes
    ignore: tuple[int, ...] = ()


class Channel:
    """A socket in the namespace that the opening thread is in; it stays there wherever the thread goes."""

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._socket.settimeout(_TIMEOUT)
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
            data += _message(request, _ACK, self._sequence)
        self._socket.send(data)
        first: OSError | None = None
        while waiting:
            for kind, flags, sequence, body in _messages(self._socket.recv(_BUFFER)):
                if kind != _ERROR or sequence not in waiting:
                    continue
                failure = _failure(flags, body)
                if failure and failure.errno not in waiting[sequence].ignore:
                    first = first or failure
                del waiting[sequence]
        if first:
            raise first

    def ask(self, request: Request) -> bytes:
        """The body of the one answer."""
        self._sequence += 1
        self._socket.send(_message(request, 0, self._sequence))
        while True:
            for kind, flags, sequence, body in _messages(self._socket.recv(_BUFFER)):
                if sequence != self._sequence:
                    continue
                if kind == _ERROR and (failure := _failure(flags, body)):
                    raise failure
                return body

    def dump(self, request: Request) -> list[bytes]:
        """The bodies of all answers."""
        self._sequence += 1
        self._socket.send(_message(request, _DUMP, self._sequence))
        found: list[bytes] = []
        while True:
            for kind, flags, sequence, body in _messages(self._socket.recv(_BUFFER)):
                if sequence != self._sequence:
                    continue
                if kind == _DONE:
                    return found
                if kind == _ERROR and (failure := _failure(flags, body)):
                    raise failure
                found.append(body)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """(kind, value) of each attribute from ``at`` on."""
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += max(length + 3 & ~3, 4)


def _message(request: Request, flags: int, sequence: int) -> bytes:
    body = request.body
    head = struct.pack("=IHHII", 16 + len(body), request.kind, _REQUEST | request.flags | flags, sequence, 0)
    return head + body + bytes(-len(body) % 4)


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(type, flags, sequence, body) of each message in a datagram."""
    at = 0
    while at + 16 <= len(data):
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data, at)
        yield kind, flags, sequence, data[at + 16 : at + length]
        at += max(length + 3 & ~3, 16)


def _failure(flags: int, body: bytes) -> OSError | None:
    """What an error message says; None for an acknowledgement."""
    code, length = struct.unpack_from("=iI", body)
    if not code:
        return None
    text = os.strerror(-code)
    if flags & _ACK_TLVS:
        start = 20 if flags & _CAPPED else 4 + (length + 3 & ~3)
        words = [value for kind, value in attributes(body, start) if kind == 1]
        text = ": ".join([text, *(word.rstrip(b"\0").decode(errors="replace") for word in words)])
    return OSError(-code, text)
