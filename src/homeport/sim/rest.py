"""What must hold once a world was left alone for long enough: all is as it should be, and nothing is left over."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from homeport.agentapi import Group
from homeport.services.ec2 import groups
from homeport.services.ec2.model import HOLDS, INTERFACES, POOL
from homeport.services.ecs.model.task import TaskStatus
from homeport.sim import invariants, placing, service_rest, serving
from homeport.sim.audit import Auditor
from homeport.sim.control import SCOPE
from homeport.sim.ledger import waits
from homeport.sim.service_rest import Rest
from homeport.store import View


class Wrong(NamedTuple):
    invariant: str
    text: str


NOBODY = Wrong("everything comes to rest", "there is no control plane")


def unsettled(view: View, auditor: Auditor) -> Wrong | None:
    """What isn't as it should be, as long as something isn't."""
    auditor.catch_up(view)
    rest = Rest(view, auditor.services, auditor.ledger)
    found = _tasks(auditor, rest) or _waiting(view, auditor) or _rules(view, auditor) or _strangers(auditor, rest)
    if found is None and (wrong := rest.wrong()) is not None:
        found = Wrong(*wrong)
    return found


def left(view: View, auditor: Auditor) -> Wrong | None:
    """The same after every task was stopped: nothing of them may be left, neither in the store nor on nodes."""
    machines, rooms = auditor.machines.values(), auditor.ledger.rooms.values()
    return unsettled(view, auditor) or _first(
        ("services", service_rest.left(auditor.services)),
        ("tasks that run", [t.id for t in auditor.tasks.values() if t.last_status < TaskStatus.STOPPED]),
        ("interfaces", [interface.id for _, interface in view.each(INTERFACES)]),
        ("held addresses", [hold.id for hold in view.all(HOLDS, POOL)]),
        ("rooms that are taken", [r.arn for r in rooms if r.cpu_used or r.memory_used or r.tasks]),
        ("containers", [id for machine in machines for id in machine.runtime.containers]),
        ("folders", [id for machine in machines for id in machine.runtime.task_folders]),
        ("volumes", [id for machine in machines for id in machine.runtime.volumes]),
    )


def _tasks(auditor: Auditor, rest: Rest) -> Wrong | None:
    running = auditor.running()
    for task in auditor.tasks.values():
        machine = auditor.machine_of(task)
        if (machine is not None and machine.name in auditor.doubted) or waits(task) or rest.excuses(task):
            continue
        on_its_node = machine.runtime.running() if machine else ()
        orphan = task.instance in auditor.given_up
        found = invariants.everything_comes_to_rest(task, running, on_its_node, orphan=orphan)
        if found is not None:
            return Wrong(invariants.name_of(invariants.everything_comes_to_rest), found)
        if task.last_status == TaskStatus.RUNNING:
            found = invariants.health_is_shown(task, auditor.containers.health)
            if found is not None:
                return Wrong(invariants.name_of(invariants.health_is_shown), found)
        if task.last_status == TaskStatus.STOPPED and not task.lost:
            found = invariants.every_end_is_told(task, auditor.ends(task))
            if found is not None:
                return Wrong(invariants.name_of(invariants.every_end_is_told), found)
    return None


def _waiting(view: View, auditor: Auditor) -> Wrong | None:
    for task in auditor.tasks.values():
        if waits(task) and not serving.is_served(task):
            found = placing.nothing_waits_for_an_empty_instance(task, auditor.ledger.empty_for(view, task))
            if found is not None:
                return Wrong(invariants.name_of(placing.nothing_waits_for_an_empty_instance), found)
    return None


def _rules(view: View, auditor: Auditor) -> Wrong | None:
    def known(ids: set[str]) -> list[Group]:
        return [group for id in sorted(ids) if (group := groups.enforced(view, SCOPE, id)) is not None]

    for node in auditor.nodes():
        direct = {id for interface in node.interfaces.values() for id in interface.groups}
        peers = {peer for id in direct for peer in groups.peers(view, SCOPE, id)}
        found = invariants.every_node_enforces_the_rules(node.name, node.groups, known(direct), known(peers))
        if found is not None:
            return Wrong(invariants.name_of(invariants.every_node_enforces_the_rules), found)
    return None


def _strangers(auditor: Auditor, rest: Rest) -> Wrong | None:
    """What nodes hold for tasks that are over."""
    live = {t.id for t in auditor.tasks.values() if t.last_status < TaskStatus.STOPPED or rest.excuses(t)}
    containers = [id for machine in auditor.machines.values() for id in machine.runtime.containers]
    return _first(
        ("containers", [id for id in containers if id.rpartition("-")[0] not in live]),
        ("volumes", [id for machine in auditor.machines.values() for id in machine.runtime.volumes if id not in live]),
        ("interfaces on nodes", [id for node in auditor.nodes() for id in node.interfaces if id not in live]),
    )


def _first(*kinds: tuple[str, Collection[str]]) -> Wrong | None:
    for kind, found in kinds:
        text = invariants.nothing_is_left(kind, found)
        if text is not None:
            return Wrong(invariants.name_of(invariants.nothing_is_left), text)
    return None
