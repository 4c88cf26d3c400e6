"""Under which addresses other machines can reach this one."""

from __future__ import annotations

import json
import subprocess
from ipaddress import ip_address, ip_network
from typing import Any

# Not for other machines: Homeport's public addresses of tasks, and what links give themselves.
_OWN = [ip_network(cidr) for cidr in ("198.18.0.0/15", "169.254.0.0/16")]
MOST = 64  # addresses


def of_this_machine() -> list[str]:
    """Its global addresses, those of the default route's interface first. Raises OSError."""
    shown = _ip("address", "show", "scope", "global")
    routes = {route.get("dev") for route in _ip("route", "show", "default")}
    links = sorted(shown, key=lambda link: link.get("ifname") not in routes)
    found = [address["local"] for link in links for address in link.get("addr_info", ()) if "local" in address]
    return [text for text in dict.fromkeys(found) if not _own(text)][:MOST]


def _own(text: str) -> bool:
    address = ip_address(text)
    return any(address in own for own in _OWN)


def _ip(*argv: str) -> list[dict[str, Any]]:
    try:
        done = subprocess.run(["ip", "-json", *argv], check=True, capture_output=True, timeout=10)
    except subprocess.SubprocessError as error:
        raise OSError(f"this machine's addresses can't be read: {error}") from error
    return [entry for entry in json.loads(done.stdout or b"[]") if entry]
