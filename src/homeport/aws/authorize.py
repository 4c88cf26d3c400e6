"""Who may do what. A root key may do all in its account and nothing in another's, a node's key only what an agent does.

That a node acts on its own instance and tasks alone is checked by the operations, inside their transactions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from homeport.aws.operations import Principal
from homeport.core import arn

NODE_ACTIONS = frozenset(
    (
        "ecs:DiscoverPollEndpoint",
        "ecs:GetTaskProtection",
        "ecs:Poll",
        "ecs:RegisterContainerInstance",
        "ecs:StartTelemetrySession",
        "ecs:SubmitAttachmentStateChanges",
        "ecs:SubmitContainerStateChange",
        "ecs:SubmitTaskStateChange",
        "ecs:UpdateContainerInstancesState",
        "ecs:UpdateTaskProtection",
        "sts:GetCallerIdentity",
    )
)


def refusal(principal: Principal, action: str, resources: Sequence[str], context: Mapping[str, str]) -> str | None:
    """AWS's text where the call is denied, None where it is allowed.

    ``action`` in IAM's form, ``ecs:RunTask``; ``resources`` are ARNs or ``*``; ``context`` has condition keys such as
    ``aws:RequestedRegion``, which no policy reads yet.
    """
    denied = f"User: {principal.arn} is not authorized to perform: {action} on resource:"
    if principal.node is None:
        foreign = next((text for text in resources if _account(text) not in ("", principal.account)), None)
        return foreign and f"{denied} {foreign} because no resource-based policy allows the {action} action"
    if action in NODE_ACTIONS:
        return None
    return f"{denied} {resources[0]} because no identity-based policy allows the {action} action"


def _account(resource: str) -> str:
    """The account in an ARN, "" for other texts and for ARNs that have none."""
    parsed = arn.parse(resource)
    return parsed.account if parsed is not None else ""
