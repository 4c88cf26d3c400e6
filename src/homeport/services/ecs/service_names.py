"""How callers name services and what belongs to them, and the answers where there is none of that name. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs import names
from homeport.services.ecs.model.cluster import Cluster


def not_found() -> AwsError:
    return AwsError("ServiceNotFoundException", "Service not found.")


def check(scope: tuple[str, str], text: str) -> None:
    """Raises InvalidParameterException for what can't be the name or ARN of a service of this region."""
    name = names.local(scope, "service", text)
    if name is not None and not names.is_name(name.rpartition("/")[2]):
        raise invalid_parameter("Invalid service name")


def arn_of(cluster: Cluster, text: str) -> str:
    """The ARN that a caller's name or ARN of a service stands for."""
    return text if text.startswith("arn:") else f"{cluster.arn.replace(':cluster/', ':service/', 1)}/{text}"


def missing(arns: Sequence[str]) -> list[dict[str, str]]:
    """A failure for each, as Describe operations answer what isn't there."""
    return [{"arn": text, "reason": "MISSING"} for text in arns]
