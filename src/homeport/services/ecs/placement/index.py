"""What placement reads: the rooms of a cluster in the orders that it asks for, and where the tasks of a group are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, Protocol

from homeport.services.ecs import rooms
from homeport.services.ecs.expressions import Subject
from homeport.services.ecs.model.instance import INSTANCES, POOL, ROOMS, Lot, Room, Shape
from homeport.services.ecs.model.task import TASKS
from homeport.store import Ranked, Scope, View

Field = Literal["cpu", "memory"]


class Index(Protocol):
    """Open rooms only, but for ``everywhere``."""

    def lots(self, cluster: str) -> Collection[Lot]: ...

    def ranked(self, lot: Lot, field: Field) -> Mapping[Shape, Ranked[Room]]:
        """The rooms of each shape by what they have left of the field, then of the other."""
        ...

    def room(self, cluster: str, id: str) -> Room | None: ...

    def everywhere(self, cluster: str) -> Sequence[Room]:
        """Every room of the cluster, by id."""
        ...

    def subject(self, room: Room) -> Subject: ...

    def by_instance(self, cluster: str, group: str) -> Mapping[str, int]:
        """How many tasks of the group each instance has, by its id; those with none are left out."""
        ...

    def by_zone(self, cluster: str, group: str) -> Mapping[str | None, int]: ...


class StoreIndex:
    """An ``Index`` over the store's state. ``scope`` is the account and region of the cluster; the Fargate pool has its
    own. Not to be kept beyond the transaction."""

    def __init__(self, view: View, scope: Scope) -> None:
        self._view, self._own = view, scope

    def lots(self, cluster: str) -> Collection[Lot]:
        return self._view.counts(ROOMS, self._scope(cluster), "lots", cluster)

    def ranked(self, lot: Lot, field: Field) -> Mapping[Shape, Ranked[Room]]:
        return self._view.ranked(ROOMS, self._scope(lot.cluster), field, lot)

    def room(self, cluster: str, id: str) -> Room | None:
        return self._view.get(ROOMS, self._scope(cluster), id)

    def everywhere(self, cluster: str) -> Sequence[Room]:
        return self._view.find(ROOMS, self._scope(cluster), "cluster", cluster)

    def subject(self, room: Room) -> Subject:
        scope = self._scope(room.cluster)
        instance = self._view.get(INSTANCES, scope, room.id)
        assert instance is not None  # a room goes with its instance
        return rooms.subject(self._view, scope, instance)

    def by_instance(self, cluster: str, group: str) -> Mapping[str, int]:
        return self._view.counts(TASKS, self._own, "instances", (cluster, group))

    def by_zone(self, cluster: str, group: str) -> Mapping[str | None, int]:
        return self._view.counts(TASKS, self._own, "zones", (cluster, group))

    def _scope(self, cluster: str) -> Scope:
        return self._own if cluster else POOL
