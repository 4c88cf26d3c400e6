"""Who may do what. A root key may do all in its account, a node's key only what an agent does.

That a node acts on its own instance and tasks alone is checked by the operations, inside their transactions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from homeport.aws.operations import Principal

NODE_ACTIONS = frozenset(
    (
        "ecs:DiscoverPollEndpoint",
        "ecs:ListTagsForResource",
        "ecs:Poll",
        "ecs:RegisterContainerInstance",
        "ecs:StartTelemetrySession",
        "ecs:SubmitAttachmentStateChanges",
        "ecs:SubmitContainerStateChange",
        "ecs:SubmitTaskStateChange",
        "ecs:UpdateContainerInstancesState",
        "sts:GetCallerIdentity",
    )
)


def refusal(principal: Principal, action: str, resources: Sequence[str], context: Mapping[str, str]) -> str | None:
    """AWS's text where the call is denied, None where it is allowed.

    ``action`` in IAM's form, ``ecs:RunTask``; ``resources`` are ARNs or ``*``; ``context`` has condition keys such as
    ``aws:RequestedRegion``, which no policy reads yet.
    """
    if principal.node is None or action in NODE_ACTIONS:
        return None
    return (
        f"User: {principal.arn} is not authorized to perform: {action} on resource: {resources[0]} "
        f"because no identity-based policy allows the {action} action"
    )
