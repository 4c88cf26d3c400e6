"""Names and ARNs of ECS's resources: what they look like, and how callers may say which one they mean. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

from homeport.core import arn
from homeport.core.errors import invalid_parameter

_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_CLUSTER = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,254}")


def is_name(text: str) -> bool:
    """Whether ``text`` may name a family, a container, a volume or a service."""
    return _NAME.fullmatch(text) is not None


def is_cluster_name(text: str) -> bool:
    return _CLUSTER.fullmatch(text) is not None


@lru_cache(4096)
def local(scope: tuple[str, str], kind: str, text: str) -> str | None:
    """The name in ``text``, which is a name or an ARN of an ECS resource of this ``kind`` (``cluster``,
    ``task-definition`` …): what follows ``<kind>/``.

    None for an ARN of another account: there is nothing of that name here. Raises InvalidParameterException for an ARN
    of another kind or region.
    """
    if not text.startswith("arn:"):
        return text
    account, region = scope
    parsed = arn.parse(text)
    prefix = f"{kind}/"
    if parsed is None or parsed.service != "ecs" or not parsed.resource.startswith(prefix):
        raise invalid_parameter(f"Invalid identifier: {text} is not the ARN of a {kind.replace('-', ' ')}.")
    if parsed.region != region or parsed.partition != arn.partition(region):
        raise invalid_parameter("Invalid Region in ARN")
    return parsed.resource.removeprefix(prefix) if parsed.account == account else None


def check_arn(scope: tuple[str, str], kind: str, text: str) -> None:
    """Raises InvalidParameterException for what isn't the ARN of an ECS resource of this kind and region."""
    if arn.parse(text) is None:
        raise invalid_parameter(f"Invalid identifier: {text} is not the ARN of a {kind.replace('-', ' ')}.")
    local(scope, kind, text)
