"""Services that wait for room, and rooms that have some. A room that has more than before is offered to those whose
tasks fit, one after the other, for as long as it has any: it wakes no more of them than it may serve. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple

from homeport.services.ecs.model.instance import Room
from homeport.store import Key

OFFERED = 50  # services that a room is offered to, at most, before those that came last get their turn by time


class Need(NamedTuple):
    """What a task asks for: CPU units and MiB. ``cluster`` is an ARN, "" for the Fargate pool. ``beside``: what other
    tasks an instance has decides, too, whether it will do."""

    cluster: str
    cpu: int
    memory: int
    beside: bool = False


def either(one: Need | None, other: Need | None) -> Need | None:
    """What a service waits for that lacks room for tasks of several sizes: for the least that helps one of them."""
    if one is None or other is None or one.cluster != other.cluster:
        return one or other
    return Need(one.cluster, min(one.cpu, other.cpu), min(one.memory, other.memory), one.beside or other.beside)


class Shortage:
    def __init__(self) -> None:
        self._lines: dict[str, dict[Key, Need]] = {}
        self._clusters: dict[Key, str] = {}
        self._offers: dict[Key, tuple[str, Iterator[Key]]] = {}  # by the room's key: its line, and who is next

    def __len__(self) -> int:
        return len(self._clusters)

    @property
    def offered(self) -> bool:
        """Whether a room is offered, as far as is known before asking."""
        return bool(self._offers)

    def set(self, service: Key, need: Need | None) -> None:
        """The service is short of room (or not, with None). It goes to the end of its line."""
        cluster = self._clusters.pop(service, None)
        if cluster is not None:
            del self._lines[cluster][service]
            if not self._lines[cluster]:
                del self._lines[cluster]
        if need is not None:
            self._clusters[service] = need.cluster
            self._lines.setdefault(need.cluster, {})[service] = need

    def offer(self, key: Key, room: Room, *, joined: bool = False) -> bool:
        """A room that has more in it than before, or (``joined``) another task, and then less. Whether anybody waits
        for such."""
        line = self._lines.get(room.cluster)
        fitting = [s for s, need in line.items() if _fits(need, room) and need.beside >= joined] if line else []
        if not fitting:
            return False
        asked = self._offers.get(key, ("", iter(())))[1] if joined else iter(())
        self._offers[key] = (room.cluster, chain(asked, fitting[:OFFERED]))
        return True

    def next(self, find: Callable[[Key], Room | None]) -> Key | None:
        """The next service to look at for a room that is offered; ``find`` tells what the room has by now."""
        while self._offers:
            key, (cluster, waiting) = next(iter(self._offers.items()))
            room = find(key)
            service = next(waiting, None)
            if room is None or service is None:
                del self._offers[key]
                continue
            need = self._lines.get(cluster, {}).get(service)
            if need is not None and _fits(need, room):
                return service
        return None


def _fits(need: Need, room: Room) -> bool:
    return need.cpu <= room.cpu_free and need.memory <= room.memory_free
