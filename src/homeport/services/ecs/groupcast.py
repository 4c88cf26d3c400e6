"""Which security groups one node must enforce, and what it has to be told about them. Pure but for its own memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from homeport.agentapi import Group
from homeport.services.ec2 import eni, groups
from homeport.services.ec2.model import INTERFACES, NetworkInterface
from homeport.services.ecs.model.task import Task
from homeport.store import Scope, View


class Vpc(NamedTuple):
    scope: Scope
    id: str
    cidr: str


class News(NamedTuple):
    """What a node must be told of one VPC."""

    vpc: Vpc
    complete: bool
    groups: tuple[Group, ...]
    removed: tuple[str, ...]


class _Interface(NamedTuple):
    vpc: Vpc
    groups: tuple[str, ...]


class Groupcast:
    """A node's interfaces, and the groups that it was sent on this connection. ``news`` reads, ``told`` remembers."""

    def __init__(self) -> None:
        self._interfaces: dict[str, _Interface] = {}
        self._members: dict[Vpc, Counter[str]] = {}  # how many of the interfaces are in each group
        self._vpcs: dict[str, Vpc] = {}
        self._sent: dict[Vpc, dict[str, Group]] = {}
        self._dirty: dict[Vpc, None] = {}
        self._pending: dict[Vpc, None] = {}  # asked about by ``news`` and not ``told`` yet

    def follow(self, view: View, scope: Scope, task: Task | None, interface_id: str | None) -> None:
        """Takes in that a task of the node has this interface (as it is now), or none any more."""
        interface = view.get(INTERFACES, scope, interface_id) if interface_id else None
        if interface_id is None:
            return
        known = self._interfaces.get(interface_id)
        if interface is None or task is None or task.interface_id != interface_id:
            if known is not None:
                del self._interfaces[interface_id]
                self._count(known.vpc, known.groups, ())
            return
        if known is not None and known.groups == interface.groups:
            return
        vpc = known.vpc if known else self._vpc(view, scope, interface)
        self._interfaces[interface_id] = _Interface(vpc, interface.groups)
        self._count(vpc, known.groups if known else (), interface.groups)

    def _count(self, vpc: Vpc, gone: tuple[str, ...], come: tuple[str, ...]) -> None:
        """One interface more or less in a group that has others is no news."""
        members = self._members.setdefault(vpc, Counter())
        before = set(members)
        members.subtract(gone)
        members.update(come)
        for id in {id for id in gone if not members[id]}:
            del members[id]
        if members.keys() != before:
            self._dirty[vpc] = None

    def _vpc(self, view: View, scope: Scope, interface: NetworkInterface) -> Vpc:
        """One object for all interfaces in it."""
        found = self._vpcs.get(interface.vpc_id)
        if found is None:
            found = Vpc(scope, interface.vpc_id, eni.spec_facts(view, scope, interface)["vpc_cidr"])
            self._vpcs[found.id] = found
        return found

    def touch(self, group_ids: Iterable[str]) -> bool:
        """These groups changed: whether that matters to the node."""
        changed = set(group_ids)
        hit = [vpc for vpc, sent in self._sent.items() if not changed.isdisjoint(sent)]
        hit += self._pending  # what is being told was read before this change
        self._dirty.update(dict.fromkeys(hit))
        return bool(hit)

    def repeat(self, vpc_id: str) -> None:
        """Everything of a VPC must be told again."""
        for vpc in [vpc for vpc in self._sent if vpc.id == vpc_id]:
            del self._sent[vpc]
            self._dirty[vpc] = None

    def news(self, view: View) -> list[News]:
        """What the node must be told now. Changes that come between this and ``told`` are for the next time."""
        self._pending |= self._dirty
        self._dirty.clear()
        return [news for vpc in self._pending if (news := self._news(view, vpc)) is not None]

    def told(self, all_news: Iterable[News]) -> None:
        """It has been."""
        for news in all_news:
            sent = {} if news.complete else self._sent.get(news.vpc, {})
            sent |= {group.group_id: group for group in news.groups}
            self._sent[news.vpc] = {id: group for id, group in sent.items() if id not in news.removed}
            if not self._sent[news.vpc]:
                del self._sent[news.vpc]
        self._pending.clear()

    def _news(self, view: View, vpc: Vpc) -> News | None:
        sent: Mapping[str, Group] = self._sent.get(vpc, {})
        direct = set(self._members.get(vpc, ()))
        wanted = direct.union(*(groups.peers(view, vpc.scope, id) for id in direct))
        enforced = (groups.enforced(view, vpc.scope, id) for id in sorted(wanted))
        now = {group.group_id: group for group in enforced if group is not None}
        changed = tuple(group for id, group in now.items() if sent.get(id) != group)
        removed = tuple(sorted(id for id in sent if id not in now))
        if not changed and not removed:
            return None
        return News(vpc, not sent, changed, removed)
