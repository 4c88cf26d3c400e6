"""Forgetting a task's tracked connections (ctnetlink, see linux/netfilter/nfnetlink_conntrack.h).

What is tracked passes the security groups and keeps its translation: whoever bears the addresses next must not inherit
it. Kernels before 6.9 can't delete by address, so entries are looked for and deleted one by one.
"""

from __future__ import annotations

import errno
import socket
import struct

from homeport.agent.network.channel import NESTED, Channel, Request, attribute, attributes

_NETFILTER = 12
_GET, _DELETE = 0x101, 0x102
_ORIGINAL, _REPLY, _ID = 1, 2, 12
_TUPLE_IP, _SOURCE = 1, 1
_HEAD = struct.pack("=BBH", socket.AF_INET, 0, 0)


class Conntrack(Channel):
    """Tracked connections of the namespace that the opening thread is in.

    Looking through them takes 15 ms however few there are (the kernel's table is one for all namespaces), so ``sweep``
    is for a thread of its own and does all addresses that ``leave`` has named by then in one go.
    """

    def __init__(self) -> None:
        super().__init__(_NETFILTER)
        self._leaving: set[bytes] = set()

    def leave(self, address: str) -> None:
        """Names a private address whose connections the next ``sweep`` ends. For any thread."""
        self._leaving.add(socket.inet_aton(address))

    def sweep(self) -> None:
        """Ends the tracking of connections from and to the addresses, before and behind any translation."""
        leaving = self._leaving
        self._leaving = set()
        if not leaving:
            return
        entries = (dict(attributes(entry, len(_HEAD))) for entry in self.dump(Request(_GET, 0, _HEAD)))
        found = [
            entry for entry in entries if not leaving.isdisjoint((_source(entry[_ORIGINAL]), _source(entry[_REPLY])))
        ]
        for at in range(0, len(found), 64):
            self.run(*map(_deletion, found[at : at + 64]))


def _source(way: bytes) -> bytes:
    """Source address of one direction: who made the connection, or who really answered it."""
    return dict(attributes(dict(attributes(way, 0))[_TUPLE_IP], 0))[_SOURCE]


def _deletion(entry: dict[int, bytes]) -> Request:
    body = _HEAD + attribute(_ORIGINAL | NESTED, entry[_ORIGINAL]) + attribute(_ID, entry[_ID])
    return Request(_DELETE, 0, body, (errno.ENOENT,))
