"""One look at a service: what happened, what its deployments are by now, what is to be started and stopped. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from msgspec.structs import replace

from homeport.services.ecs.model.deployment import Deployment
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.model.task import TaskStatus
from homeport.services.ecs.scheduling import (
    consistency,
    daemon,
    down,
    messages,
    rebalance,
    replica,
    rollout,
    task_sets,
    throttle,
)
from homeport.services.ecs.scheduling.plan import Plan, Seen, Told

T = TypeVar("T")

STEADY_AGAIN = 6 * 3600.0  # seconds after which a steady state is told again (inferred)
STUCK_AGAIN = 6 * 3600.0  # seconds in which a message about the same trouble isn't repeated


def reconcile(seen: Seen, now: float) -> Plan:
    """What to do about the service now."""
    ended = tuple(t.id for t in seen.tasks if t.last_status == TaskStatus.STOPPED)
    if seen.service.status != "ACTIVE":
        return down.plan(seen, ended)
    if seen.service.controller == "EXTERNAL":
        return _external(seen, ended, now)
    return _deployed(seen, ended, now)


def _deployed(seen: Seen, ended: tuple[str, ...], now: float) -> Plan:
    before, recounted = seen, daemon.counted(seen)
    hidden = rebalance.hide(recounted.seen, now)
    seen = hidden.seen
    rolled = rollout.note(seen, now)
    owner = _owner(rolled.seen)
    seen = _throttled(rolled.seen, owner, now)
    counted = replica.count(seen, owner, now)
    advanced = rollout.advance(seen, counted, now)
    seen, primary = advanced.seen, advanced.seen.primary
    if _owner(seen) != owner:  # it has been rolled back
        seen = _throttled(seen, _owner(seen), now)
        counted = replica.count(seen, _owner(seen), now)
    moves = _moves(seen, primary, counted, now) if primary else replica.Moves()
    moves = replace(moves, starts=rebalance.fit(seen, moves.starts, counted, hidden.extra))
    first_at = consistency.changes_at(seen, primary, counted.own, now) if primary else None
    shift = rebalance.Shift(seen=seen)
    if rollout.is_done(seen, counted) and not moves.starts and not moves.stops:
        shift = rebalance.shift(seen, counted, hidden.extra, now)
    service, told = _told(shift.seen, counted, replace(moves, stops=(*moves.stops, *shift.stops)), now)
    return Plan(
        service=service,
        deployments=_changed(before.deployments, seen.deployments),
        revisions=_changed(before.revisions.values(), seen.revisions.values()),
        service_deployments=_changed(before.service_deployments, seen.service_deployments),
        starts=(*moves.starts, *shift.starts),
        stops=(*hidden.stops, *moves.stops, *shift.stops),
        events=(
            *recounted.events,
            *hidden.events,
            *rolled.events,
            *advanced.events,
            *daemon.violated(seen, moves.stops),
            *told,
            *shift.events,
        ),
        noted=ended,
        wake_at=_wake_at(seen, now, counted.changes_at, hidden.changes_at, first_at),
    )


def _moves(seen: Seen, primary: Deployment, counted: replica.Count, now: float) -> replica.Moves:
    decide = daemon.moves if seen.service.scheduling == "DAEMON" else replica.moves
    return decide(seen, primary, counted, now)


def _owner(seen: Seen) -> str:
    return seen.primary.name if seen.primary else down.NOBODY


def _throttled(seen: Seen, owner: str, now: float) -> Seen:
    """With what the ends of tasks mean for further starts."""
    own = [t for t in seen.tasks if t.started_by == owner]
    noted = throttle.noted(seen.service.throttle, owner, own, now)
    if noted == seen.service.throttle:
        return seen
    return replace(seen, service=replace(seen.service, throttle=noted))


def _external(seen: Seen, ended: tuple[str, ...], now: float) -> Plan:
    """A service with task sets has no deployments of its own."""
    brought = task_sets.bring(seen, now)
    service, told = _steady(seen.service, brought.steady, now)
    return Plan(
        service=service,
        task_sets=brought.task_sets,
        gone=brought.gone,
        starts=brought.starts,
        stops=brought.stops,
        events=(*brought.events, *told),
        noted=ended,
        wake_at=_wake_at(seen, now, brought.wake_at),
    )


def _told(seen: Seen, counted: replica.Count, moves: replica.Moves, now: float) -> tuple[Service, tuple[Told, ...]]:
    steady = rollout.is_done(seen, counted) and not moves.starts and not moves.stops
    service, told = _steady(seen.service, steady, now)
    if throttle.impaired(service.throttle):
        service = replace(service, throttle=replace(service.throttle, told=True))
        told.append(Told(message=messages.impaired(service.name), name="SERVICE_TASK_START_IMPAIRED", level="WARN"))
    if moves.stuck:
        told.append(Told(message=messages.no_room_to_move(service.name), again=STUCK_AGAIN))
    if moves.guarded and seen.primary:
        text = messages.protected(service.name, seen.primary.name, moves.guarded)
        told.append(Told(message=text, again=STUCK_AGAIN))
    return service, tuple(told)


def _steady(service: Service, steady: bool, now: float) -> tuple[Service, list[Told]]:
    if not steady:
        return replace(service, steady_at=None), []
    if service.steady_at is not None and now < service.steady_at + STEADY_AGAIN:
        return service, []
    told = Told(message=messages.steady(service.name), name="SERVICE_STEADY_STATE")
    return replace(service, steady_at=now, told={}), [told]


def _changed(before: Iterable[T], after: Iterable[T]) -> tuple[T, ...]:
    known = list(before)
    return tuple(record for record in after if record not in known)


def _wake_at(seen: Seen, now: float, *more: float | None) -> float | None:
    times = [t.protected_until for t in seen.tasks if t.protected(now)]
    times += [seen.service.steady_at + STEADY_AGAIN] if seen.service.steady_at is not None else []
    return min(
        (
            t
            for t in (*times, rollout.wakes_at(seen), throttle.opens_at(seen.service.throttle, now), *more)
            if t is not None
        ),
        default=None,
    )
