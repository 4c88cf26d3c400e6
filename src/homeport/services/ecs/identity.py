"""The identity document of an EC2 instance, as far as it is of use here. Pure.

EC2 signs it with a key of AWS's own region. Nothing here can check that signature: the document is what a machine says
of itself, and grants nothing. Who may register is decided by the access key alone; the document's account and region
are AWS's, not Homeport's, and are not looked at.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from homeport.core.errors import AwsError, client_error

MAX_DOCUMENT = 16 * 1024  # characters; EC2's have about 500
MAX_VALUE = 255  # characters of one of its members
_INSTANCE_ID = re.compile(r"i-[0-9a-f]{8}(?:[0-9a-f]{9})?")
_ATTRIBUTES = {  # the attributes that ECS makes of its members
    "availabilityZone": "ecs.availability-zone",
    "instanceType": "ecs.instance-type",
    "imageId": "ecs.ami-id",
    "architecture": "ecs.cpu-architecture",
}


class Identity(NamedTuple):
    """``instance_id`` is EC2's (``i-…``); ``attributes`` the built-in ones that the document tells."""

    instance_id: str | None = None
    attributes: tuple[tuple[str, str], ...] = ()


def read(document: str | None) -> Identity:
    """Outside EC2 agents send none, or an empty one. Raises ClientException for one that makes no sense."""
    if not document:
        return Identity()
    if len(document) > MAX_DOCUMENT:
        raise _unreadable()
    try:
        told: Any = msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _unreadable() from error
    if not isinstance(told, dict):
        raise _unreadable()
    instance_id = told.get("instanceId")
    if not isinstance(instance_id, str) or not _INSTANCE_ID.fullmatch(instance_id):
        raise _unreadable()
    values = {member: told[member] for member in _ATTRIBUTES if told.get(member)}
    if any(not isinstance(value, str) or len(value) > MAX_VALUE for value in values.values()):
        raise _unreadable()
    return Identity(instance_id, tuple((_ATTRIBUTES[member], value) for member, value in values.items()))


def _unreadable() -> AwsError:
    return client_error("The instance identity document is not valid.")
