"""Expressions for memberOf constraints, each with what it means in plain Python: a second opinion. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple


class Seen(NamedTuple):
    """A container instance as an expression sees it. ``surely`` are groups of tasks that run there, ``maybe`` also
    those that may: they have just come, or are about to go."""

    attributes: Mapping[str, str]
    ec2_instance_id: str
    connected: bool
    surely: frozenset[str]
    maybe: frozenset[str]


ZONE = "ecs.availability-zone"
RULES: dict[str, Callable[[Seen], bool]] = {
    "attribute:stack == prod": lambda s: s.attributes.get("stack") == "prod",
    "attribute:stack != prod": lambda s: s.attributes.get("stack") != "prod",
    "attribute:stack in [prod, test]": lambda s: s.attributes.get("stack") in ("prod", "test"),
    "attribute:stack =~ t.*": lambda s: s.attributes.get("stack", "").startswith("t"),
    "attribute:ssd exists": lambda s: "ssd" in s.attributes,
    "attribute:ssd !exists": lambda s: "ssd" not in s.attributes,
    f"attribute:{ZONE} == us-east-1a": lambda s: s.attributes.get(ZONE) == "us-east-1a",
    f"not(attribute:{ZONE} == us-east-1b) and attribute:stack exists": lambda s: (
        s.attributes.get(ZONE) != "us-east-1b" and "stack" in s.attributes
    ),
    f"attribute:ssd exists or attribute:{ZONE} in [us-east-1b]": lambda s: (
        "ssd" in s.attributes or s.attributes.get(ZONE) == "us-east-1b"
    ),
    "task:group == pets": lambda s: "pets" in s.maybe,
    "not(task:group == pets)": lambda s: "pets" not in s.surely,
    "agentConnected == true and ec2InstanceId =~ i-.*": lambda s: s.connected and s.ec2_instance_id.startswith("i-"),
}
SERVED_RULES: dict[str, Callable[[Seen], bool]] = {  # that only services are drawn with
    "attribute:stack exists": lambda s: "stack" in s.attributes,
}
