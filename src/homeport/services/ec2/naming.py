"""What names, descriptions, tags and ids may look like. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from homeport.services.ec2.errors import bad_value

MAX_TAGS = 50  # of a resource
_TEXT = re.compile(r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]+")
_HEX = re.compile(r"[0-9a-f]{8}|[0-9a-f]{17}")  # ids of before 2016 are shorter


def check_group_name(name: str) -> None:
    """Raises InvalidParameterValue."""
    if not name:
        raise bad_value("Value () for parameter groupName is invalid. The value cannot be empty")
    if name.lower() == "default":
        raise bad_value(f"Cannot use reserved security group name: {name}")
    if name.lower().startswith("sg-"):
        raise bad_value(
            f"Value ({name}) for parameter GroupName is invalid. Group names may not be in the format sg-*."
        )
    if len(name) > 255 or _TEXT.fullmatch(name) is None:
        raise bad_value(
            f"Value ({name[:255]}) for parameter GroupName is invalid. Valid names are strings less than 256 "
            "characters from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"
        )


def check_group_description(text: str) -> None:
    """Raises InvalidParameterValue."""
    if not text:
        raise bad_value("Value () for parameter groupDescription is invalid. The value cannot be empty")
    if len(text) > 255 or _TEXT.fullmatch(text) is None:
        raise bad_value(
            "Invalid security group description. Valid descriptions are strings less than 256 characters from the "
            "following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"
        )


def check_ids(ids: Iterable[str], prefix: str, malformed: str) -> None:
    """Raises the error ``malformed`` (a code) for an id that isn't ``prefix`` and 8 or 17 hex digits."""
    for id in ids:
        if not id.startswith(prefix):
            raise bad_value(f'Invalid id: "{id}" (expecting "{prefix}...")', malformed)
        if _HEX.fullmatch(id, len(prefix)) is None:
            raise bad_value(f'Invalid id: "{id}"', malformed)


def tags_of(specifications: Sequence[Mapping[str, Any]], resource_type: str) -> dict[str, str]:
    """The tags that TagSpecifications give to a new ``resource_type`` (``security-group``). Raises AwsError."""
    tags: dict[str, str] = {}
    for specification in specifications:
        given = specification.get("ResourceType")
        if given != resource_type:
            raise bad_value(f"'{given}' is not a valid taggable resource type for this operation.")
        for tag in specification.get("Tags") or ():
            key, value = tag.get("Key") or "", tag.get("Value") or ""
            if not key:
                raise bad_value("Tag key cannot be null or empty")
            if key.lower().startswith("aws:"):
                raise bad_value(
                    f"Value ( {key} ) for parameter key is invalid. Tag keys starting with 'aws:' are reserved"
                )
            if key in tags:
                raise bad_value(f"Duplicate tag key '{key}' specified.")
            if len(key) > 128:
                raise bad_value("Tag key exceeds the maximum length of 128 characters")
            if len(value) > 256:
                raise bad_value("Tag value exceeds the maximum length of 256 characters")
            tags[key] = value
    if len(tags) > MAX_TAGS:
        raise bad_value(f"The maximum number of Tags for a resource has been reached: {MAX_TAGS}", "TagLimitExceeded")
    return tags
