"""Operations of ECS's that Homeport doesn't build: how they check what they are given, and refuse it.

Every request that ECS would refuse is refused with its error; what is left is refused because the feature isn't there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from homeport.aws.operations import Call, Params
from homeport.core.errors import AwsError, client_error, invalid_parameter
from homeport.services.ecs import clusters, names, pages
from homeport.store import View

MAX_DESCRIBED = 20  # ARNs of one Describe call
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}", re.ASCII)


def refuse(feature: str, *, declared: bool = True) -> NoReturn:
    """Raises UnsupportedFeatureException; ClientException where the model doesn't declare that for the operation
    (``declared``)."""
    text = f"Homeport does not support {feature}."
    raise AwsError("UnsupportedFeatureException", text) if declared else client_error(text)


def check_cluster(view: View, call: Call, text: str | None) -> None:
    clusters.find_active(view, call.scope, text)


def check_name(what: str, text: str | None) -> None:
    """Letters, digits, ``_`` and ``-``, 1 to 255 of them."""
    if text is not None and not names.is_name(text):
        raise invalid_parameter(f"{what} must be 1 to 255 letters, digits, underscores and hyphens.")


def check_arns(call: Call, kind: str, *texts: str | None) -> None:
    """Raises InvalidParameterException for what isn't the ARN of an ECS resource of this kind and region."""
    for text in texts:
        if text is not None:
            names.check_arn(call.scope, kind, text)


def check_name_or_arn(call: Call, kind: str, text: str | None) -> None:
    if text is None:
        return
    if text.startswith("arn:"):
        check_arns(call, kind, text)
    else:
        check_name(f"The name of a {kind.replace('-', ' ')}", text)


def check_roles(*texts: str | None) -> None:
    for text in texts:
        if text is not None and not _ROLE.fullmatch(text):
            raise invalid_parameter(f"Invalid role ARN: {text}")


def check_some(what: str, items: Sequence[str], most: int = MAX_DESCRIBED) -> None:
    if not 1 <= len(items) <= most:
        raise invalid_parameter(f"{what} must have 1 to {most} items.")


def check_page(call: Call, params: Params) -> None:
    """Raises InvalidParameterException for a maxResults or a nextToken that can't be."""
    none: list[str] = []
    pages.listed(call, params, "", none, key=str, answer=str)
