"""Evening out the tasks of a service over availability zones. Pure.

Once a service is steady and one zone has two tasks more than another, tasks are started in the emptiest zones, as many
as the upper bound leaves room for. When they are healthy, as many are stopped in the fullest. Until then they are
hidden from the rest of the scheduler, which would take them for too many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set

import msgspec
from msgspec.structs import replace

from homeport.services.ecs.lifecycle import must_stop
from homeport.services.ecs.model.deployment import Deployment
from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.services.ecs.scheduling import bounds, census, health, messages, throttle
from homeport.services.ecs.scheduling.census import Count
from homeport.services.ecs.scheduling.plan import MOST_MOVES, Seen, Start, Stop, Told


class Hidden(msgspec.Struct, frozen=True, kw_only=True):
    """``seen`` without ``extra``, the tasks that were started beyond the desired count and aren't given up, or can't
    be ended yet. ``stops`` are such that were given up, and wait for room in a zone where nobody needs them."""

    seen: Seen
    extra: tuple[Task, ...] = ()
    stops: tuple[Stop, ...] = ()
    events: tuple[Told, ...] = ()
    changes_at: float | None = None  # when time alone may make an extra task healthy, or end it (epoch seconds)


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """What is next. ``seen`` has what the service remembers of it."""

    seen: Seen
    starts: tuple[Start, ...] = ()
    stops: tuple[Stop, ...] = ()
    events: tuple[Told, ...] = ()


def hide(seen: Seen, now: float) -> Hidden:
    """Gives up what can't go on: another deployment has begun, or rebalancing was switched off."""
    service, primary = seen.service, seen.primary
    if service.unbalanced_at is None and not service.extra:
        return Hidden(seen=seen)
    if service.unbalanced_at is None:
        return _left(seen, now)
    wanted = service.rebalancing and primary is not None and primary.rollout == "COMPLETED"
    live = [t for t in seen.tasks if t.id in service.extra and not must_stop(t)]
    ids = {t.id for t in live}
    if not wanted or any(not _promises(seen, t, primary, now) for t in live) or _in_the_way(seen, ids, now):
        return _given_up(seen, now)
    service = replace(service, extra=tuple(id for id in service.extra if id in ids))
    left = tuple(t for t in seen.tasks if t.id not in ids)
    times = [health.changes_at(t, census.checks(seen, t), service.grace, now) for t in live]
    return Hidden(
        seen=replace(seen, service=service, tasks=left),
        extra=tuple(live),
        changes_at=min((t for t in times if t is not None), default=None),
    )


def fit(seen: Seen, starts: tuple[Start, ...], counted: Count, extra: Sequence[Task]) -> tuple[Start, ...]:
    """Other starts as far as the upper bound has room for them beside the extra tasks."""
    room = bounds.upper(seen.service.desired, seen.service.deployment_configuration) - counted.occupied - len(extra)
    if not extra or sum(start.count for start in starts) <= room:
        return starts
    return tuple(replace(start, count=min(start.count, room)) for start in starts[:1] if room > 0)


def shift(seen: Seen, counted: Count, extra: Sequence[Task], now: float) -> Shift:
    """The next step of a service that is steady but for its ``extra`` tasks."""
    primary = seen.primary
    if primary is None or primary.rollout != "COMPLETED" or not seen.service.rebalancing or len(seen.zones) < 2:
        return Shift(seen=seen)
    if extra:
        well = all(health.healthy(t, census.checks(seen, t), now) for t in extra)
        return _finished(seen, counted, extra, now) if well else Shift(seen=seen)
    tasks = _by_zone(seen, counted.own)
    counts = {zone: len(there) for zone, there in tasks.items()}
    if _even(counts):
        return _balanced(seen, counts)
    return _begun(seen, primary, counted, tasks, now)


def _promises(seen: Seen, task: Task, primary: Deployment | None, now: float) -> bool:
    """Whether an extra task may yet become what it was started for."""
    if primary is None or task.started_by != primary.name or task.instance in seen.draining:
        return False
    return not health.unhealthy(task, census.checks(seen, task), seen.service.grace, now)


def _in_the_way(seen: Seen, extra: Set[str], now: float) -> bool:
    """Whether the upper bound has no room beside extra tasks for what shall replace unhealthy ones."""
    there = [t for t in seen.tasks if t.last_status < TaskStatus.STOPPED]
    if not extra or len(there) < bounds.upper(seen.service.desired, seen.service.deployment_configuration):
        return False
    kept = (t for t in there if t.id not in extra and not must_stop(t))
    return any(health.unhealthy(t, census.checks(seen, t), seen.service.grace, now) for t in kept)


def _given_up(seen: Seen, now: float) -> Hidden:
    name = seen.service.name
    told = Told(message=messages.rebalancing_stopped(name), name="SERVICE_REBALANCING_STOPPED", level="ERROR")
    left = _left(replace(seen, service=replace(seen.service, unbalanced_at=None)), now)
    return replace(left, events=(told,))


def _left(seen: Seen, now: float) -> Hidden:
    """After it was given up, extra tasks are as any others, but for those that wait for an instance in their zone: each
    would keep another from starting elsewhere. They are ended when nothing protects them, and forgotten when they are
    known to stop."""
    waiting = [t for t in seen.tasks if t.id in seen.service.extra and _waits(seen, t)]
    kept = tuple(t for t in waiting if t.protected(now))
    ended = {t.id for t in waiting} - {t.id for t in kept}
    others = (t for t in seen.tasks if t not in kept)
    return Hidden(
        seen=replace(
            seen,
            service=replace(seen.service, extra=tuple(t.id for t in waiting)),
            tasks=tuple(replace(t, desired_status="STOPPED") if t.id in ended else t for t in others),
        ),
        extra=kept,
        stops=tuple(Stop(t.id, messages.scaling(t.started_by or "")) for t in waiting if t.id in ended),
        changes_at=min((t.protected_until for t in kept if t.protected_until is not None), default=None),
    )


def _waits(seen: Seen, task: Task) -> bool:
    """Tasks of older deployments go anyway."""
    primary = seen.primary
    waits = task.instance is None and task.last_status == TaskStatus.PROVISIONING and not must_stop(task)
    return waits and primary is not None and primary.rollout == "COMPLETED" and task.started_by == primary.name


def _balanced(seen: Seen, counts: Mapping[str, int]) -> Shift:
    service = seen.service
    if service.unbalanced_at is None:
        return Shift(seen=seen)
    told = Told(message=messages.balanced(service.name, counts), name="SERVICE_REBALANCING_COMPLETED")
    return Shift(seen=replace(seen, service=replace(service, unbalanced_at=None)), events=(told,))


def _begun(seen: Seen, primary: Deployment, counted: Count, tasks: Mapping[str, list[Task]], now: float) -> Shift:
    service = seen.service
    room = bounds.upper(service.desired, service.deployment_configuration) - counted.occupied
    counts = {zone: len(there) for zone, there in tasks.items()}
    movable = {zone: sum(not t.protected(now) for t in there) for zone, there in tasks.items()}
    wanted = _wanted(counts, movable, throttle.allowed(service.throttle, min(room, MOST_MOVES), now))
    if not wanted:
        return Shift(seen=seen)
    events: tuple[Told, ...] = ()
    if service.unbalanced_at is None:
        text = messages.unbalanced(service.name, counts)
        events = (Told(message=text, name="SERVICE_REBALANCING_STARTED"),)
        seen = replace(seen, service=replace(service, unbalanced_at=now))
    starts = tuple(Start(primary.id, count, zone=zone) for zone, count in wanted.items())
    return Shift(seen=seen, starts=starts, events=events)


def _finished(seen: Seen, counted: Count, extra: Sequence[Task], now: float) -> Shift:
    """As many as were started go, from the fullest zones; where tasks there are protected, from the next; and where
    there is nothing else, those that were started themselves."""
    extras = {t.id for t in extra}
    tasks = _by_zone(seen, (*counted.own, *extra))
    counts = {zone: len(there) for zone, there in tasks.items()}
    free = {
        zone: sorted(t.id for t in there if t.id not in extras and not t.protected(now))
        for zone, there in tasks.items()
    }
    reason = messages.scaling(seen.primary.name if seen.primary else "")
    stops: list[Stop] = []
    while len(stops) < len(extra) and any(free.values()):
        zone = max((z for z in free if free[z]), key=lambda z: counts[z])
        stops.append(Stop(free[zone].pop(), reason, "rebalancing"))
        counts[zone] -= 1
    own = sorted(t.id for t in extra if not t.protected(now))  # the others are scaled in when they may be
    stops += [Stop(id, reason) for id in own[: len(extra) - len(stops)]]
    return Shift(seen=replace(seen, service=replace(seen.service, extra=())), stops=tuple(stops))


def _by_zone(seen: Seen, tasks: Iterable[Task]) -> dict[str, list[Task]]:
    found: dict[str, list[Task]] = {zone: [] for zone in seen.zones}
    for task in tasks:
        if task.availability_zone in found and task.last_status < TaskStatus.STOPPED:
            found[task.availability_zone].append(task)
    return found


def _even(counts: Mapping[str, int]) -> bool:
    return max(counts.values()) - min(counts.values()) <= 1


def _wanted(before: Mapping[str, int], movable: Mapping[str, int], most: int) -> Counter[str]:
    """How many tasks each zone lacks, ``most`` in all; a zone can give no more than are ``movable`` there."""
    counts, left, wanted = dict(before), dict(movable), Counter[str]()
    while wanted.total() < most and not _even(counts):
        givers = [zone for zone in counts if left[zone] > 0]
        if not givers:
            break
        full, empty = max(givers, key=lambda z: counts[z]), min(counts, key=lambda z: counts[z])
        if counts[full] - counts[empty] <= 1:
            break
        counts[full], counts[empty], left[full] = counts[full] - 1, counts[empty] + 1, left[full] - 1
        wanted[empty] += 1
    return wanted
