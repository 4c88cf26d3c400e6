"""Identifiers in AWS's forms, made from a source of random bits that is handed in."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Literal, Protocol

Kind = Literal["uuid", "hex", "eni", "sg", "sgr", "subnet", "vpc", "eni-attach", "eipassoc", "mac", "number", "rollout"]


class Ids(Protocol):
    def new(self, kind: Kind) -> str:
        """A fresh id: ``uuid`` with dashes; ``hex`` 32 lower-case hex characters (tasks, container instances);
        ``eni``, ``sg``, ``sgr``, ``subnet``, ``vpc``, ``eni-attach``, ``eipassoc`` prefix and 17 hex characters;
        ``mac`` a locally administered unicast address starting 0a: (as EC2 gives); ``number`` 19 digits;
        ``rollout`` 21 of A-Z a-z 0-9 _ - (service deployments)."""
        ...


class BitIds:
    """``Ids`` from ``bits(n)`` → n random bits: ``secrets.randbits`` outside, a seeded generator in the simulator."""

    def __init__(self, bits: Callable[[int], int]) -> None:
        self._bits = bits

    def new(self, kind: Kind) -> str:
        match kind:
            case "uuid":
                h = f"{self._bits(128) & ~(0xF << 76) & ~(0x3 << 62) | 0x4 << 76 | 0x2 << 62:032x}"
                return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
            case "hex":
                return f"{self._bits(128):032x}"
            case "mac":
                h = f"{self._bits(40):010x}"
                return "0a:" + ":".join(h[i : i + 2] for i in range(0, 10, 2))
            case "number":
                return str(10**18 + self._bits(62) % (9 * 10**18))
            case "rollout":
                return base64.urlsafe_b64encode(self._bits(128).to_bytes(16)).decode()[:21]
        return f"{kind}-{self._bits(68):017x}"
