"""Security groups as the agent gateway sees them. (Contract.)"""

from __future__ import annotations

from homeport.agentapi import Group
from homeport.store import Scope, View


def enforced(view: View, scope: Scope, group_id: str) -> Group | None:
    """The group as nodes enforce it; ``members`` filled only if some rule of the VPC names the group as a peer. None:
    there is no such group. Its rules' peers must be sent to the node too (``peers``)."""
    raise NotImplementedError


def peers(view: View, scope: Scope, group_id: str) -> set[str]:
    """Ids of the groups that this group's rules name."""
    raise NotImplementedError
