"""Attributes of container instances: those that it registers, and the custom ones that anybody may put. Pure.

Limits are those of the API reference's ``Attribute``: names of 1 to 128 letters, digits and ``- _ / \\ .``, values of
up to 128 with ``@ :`` and spaces besides, but for a space at either end; ten custom attributes on one instance.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs.model.instance import Instance

MAX_CUSTOM = 10  # custom attributes of an instance
MAX_REGISTERED = 200  # attributes of one registration; Amazon's agent sends about fifty
MAX_TEXT = 255  # characters of the name or value of a built-in one
_SYSTEM = ("ecs.", "com.amazonaws.", "homeport.")  # how built-in attributes begin: only agents tell them
_NAME = re.compile(r"[A-Za-z0-9_./\\-]{1,128}")
_VALUE = re.compile(r"(?! )[A-Za-z0-9_.@/\\: -]{0,128}(?<! )")


def is_custom(name: str) -> bool:
    return not name.startswith(_SYSTEM)


def custom(name: str, value: str) -> tuple[str, str]:
    """A custom attribute that somebody wants to put, checked. Raises InvalidParameterException."""
    check_name(name)
    if value and not _VALUE.fullmatch(value):
        raise invalid_parameter(
            "Attribute values must be at most 128 characters long, may contain letters, numbers, hyphens, underscores, "
            "periods, at signs, slashes, back slashes, colons and spaces, and can't begin or end with a space."
        )
    return name, value


def check_name(name: str) -> None:
    """Raises InvalidParameterException for what can't be the name of a custom attribute."""
    if not is_custom(name):
        raise invalid_parameter(f"The attribute {name[:MAX_TEXT]} is built in and can't be changed.")
    if not _NAME.fullmatch(name):
        raise invalid_parameter(
            "Attribute names must be 1 to 128 characters long and may contain letters, numbers, hyphens, underscores, "
            "slashes, back slashes and periods."
        )


def put(before: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """The custom attributes with ``new`` among them. Raises AttributeLimitExceededException."""
    after = {**before, **new}
    if len(after) > MAX_CUSTOM:
        raise AwsError(
            "AttributeLimitExceededException",
            f"You can apply up to {MAX_CUSTOM} custom attributes for each resource.",
        )
    return after


def registered(sent: Sequence[Mapping[str, Any]]) -> tuple[tuple[dict[str, Any], ...], dict[str, str]]:
    """What a registration brings: the built-in attributes as they were sent, and the custom ones. Raises
    InvalidParameterException."""
    if len(sent) > MAX_REGISTERED:
        raise invalid_parameter(f"A container instance can register at most {MAX_REGISTERED} attributes.")
    if any(not a["name"] or max(len(a["name"]), len(a.get("value") or "")) > MAX_TEXT for a in sent):
        raise invalid_parameter(f"Attribute names and values must be at most {MAX_TEXT} characters long.")
    own = dict(custom(a["name"], a.get("value") or "") for a in sent if is_custom(a["name"]))
    if len(own) > MAX_CUSTOM:
        raise invalid_parameter(f"A container instance can register at most {MAX_CUSTOM} custom attributes.")
    return tuple(dict(a) for a in sent if not is_custom(a["name"])), own


def shown(instance: Instance, name: str | None = None) -> list[dict[str, Any]]:
    """The attributes of an instance as AWS shows them; with a ``name`` only that one. Agents look for those that they
    sent and stop for good where one is missing."""
    if name is not None and is_custom(name):
        return [_custom(name, instance.custom[name])] if name in instance.custom else []
    if name is not None:
        return [a for a in instance.attributes if a["name"] == name]
    return [*instance.attributes, *(_custom(*item) for item in instance.custom.items())]


def _custom(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": value} if value else {"name": name}
