"""Rules for port mappings. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from homeport.services.ecs.registration.members import Members, Rule, containers, each, items, mode

MAX_RANGES = 100  # port ranges of one container
PORTS = range(1, 65535 + 1)

_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")
_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]{0,63}")
_IN_USE = "container port is used multiple times in task"


def span(mapping: Members) -> range | None:
    """The container's ports in a mapping; None where its containerPortRange can't be read."""
    if "containerPortRange" not in mapping:
        port = mapping.get("containerPort") or 0
        return range(port, port + 1)
    match = _RANGE.fullmatch(mapping["containerPortRange"])
    first, last = (int(match[1]), int(match[2])) if match else (1, 0)
    return range(first, last + 1) if first <= last and first in PORTS and last in PORTS else None


def well_formed(definition: Members, container: Members) -> str | None:
    mappings = items(container, "portMappings")
    if sum("containerPortRange" in mapping for mapping in mappings) > MAX_RANGES:
        return f"Container '{container['name']}' cannot have more than {MAX_RANGES} port ranges."
    for mapping in mappings:
        if "containerPortRange" in mapping:
            if mapping.get("containerPort") or mapping.get("hostPort"):
                return "cannot specify both single port and port range"
            if span(mapping) is None:
                return "Invalid 'containerPortRange' setting"
        elif (mapping.get("containerPort") or 0) not in PORTS:
            return f"Invalid setting for container '{container['name']}'. 'containerPort' must be between 1 and 65535."
        elif (mapping.get("hostPort") or 0) not in range(65535 + 1):
            return f"Invalid setting for container '{container['name']}'. 'hostPort' must be between 0 and 65535."
    return None


def fits_network_mode(definition: Members, container: Members) -> str | None:
    mappings, network = items(container, "portMappings"), mode(definition)
    if mappings and network == "none":
        return "Port mappings are not supported when networkMode=none."
    if network == "host" and any("containerPortRange" in mapping for mapping in mappings):
        return "Port ranges are not supported when networkMode=host."
    if network in ("awsvpc", "host") and any(
        m.get("hostPort") not in (None, 0, m.get("containerPort")) for m in mappings
    ):
        return f"When networkMode={network}, the host ports and container ports in port mappings must match."
    return None


def one_protocol(definition: Members, container: Members) -> str | None:
    """A container's port is exposed for one protocol, and no range overlaps another mapping."""
    mappings = items(container, "portMappings")
    for at, mapping in enumerate(mappings):
        for other in mappings[:at]:
            ranged = "containerPortRange" in mapping or "containerPortRange" in other
            if _overlap(mapping, other) and (ranged or _protocol(mapping) != _protocol(other)):
                return _IN_USE
    return None


def shared_ports(definition: Members) -> str | None:
    """All containers of an awsvpc task, and all of a host, share one set of ports."""
    mappings = list(_all(definition))
    if mode(definition) in ("awsvpc", "host"):
        taken: dict[str, set[int]] = {}
        for mapping in mappings:
            ports, used = span(mapping) or range(0), taken.setdefault(_protocol(mapping), set())
            if not used.isdisjoint(ports):
                return _IN_USE
            used.update(ports)
        return None
    fixed = [(mapping["hostPort"], _protocol(mapping)) for mapping in mappings if mapping.get("hostPort")]
    return "host port is used multiple times in task" if len(fixed) != len(set(fixed)) else None


def port_names(definition: Members) -> str | None:
    seen: set[str] = set()
    for name in (mapping["name"] for mapping in _all(definition) if "name" in mapping):
        if not _NAME.fullmatch(name):
            return "port mapping name contains invalid characters"
        if name in seen:
            return "port mapping name is already used"
        seen.add(name)
    return None


def _all(definition: Members) -> Iterator[Members]:
    return (mapping for container in containers(definition) for mapping in items(container, "portMappings"))


def _protocol(mapping: Members) -> str:
    return str(mapping.get("protocol") or "tcp")


def _overlap(one: Members, other: Members) -> bool:
    a, b = span(one), span(other)
    return a is not None and b is not None and max(a.start, b.start) < min(a.stop, b.stop)


RULES: tuple[Rule, ...] = (each(well_formed), each(fits_network_mode), each(one_protocol), shared_ports, port_names)
