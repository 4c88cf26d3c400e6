"""What a task is told: from a route, the task and looks at its containers to an answer. Pure.

Texts of refusals are those of Amazon's agent; a refusal's body is a JSON string.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import msgspec

from homeport.agent.metadata import routes, shapes
from homeport.agent.metadata.environment import endpoint_id
from homeport.agent.plan import Facts, TaskGoal
from homeport.agent.report import runtime_id
from homeport.agentapi import ContainerSpec

Statistics = Callable[[ContainerSpec], dict[str, Any] | None]  # Docker's statistics; None: nothing of it runs


class Answer(msgspec.Struct, frozen=True):
    """``body`` is to be shown as JSON."""

    status: int
    body: Any


def answer(
    route: routes.Route,
    goal: TaskGoal,
    facts: Facts,
    key: bytes,
    statistics: Statistics,
) -> Answer:
    """``goal`` and ``facts`` of the task that asks, ``key`` that of the node's endpoint ids. Everything but the task's
    protection."""
    match route:
        case routes.Protection():
            raise ValueError("protection is asked of the control plane")
        case routes.Fault(endpoint):
            return _no_fault(goal, endpoint, known=named(goal, key, endpoint) is not None)
        case routes.Credentials(version):
            return _no_credentials(version, route.id)
        case routes.Task(version, about, endpoint, tags):
            if endpoint is not None and named(goal, key, endpoint) is None:
                return _unknown(version, "task", about, f"unable to get task ARN from v3 endpoint ID: {endpoint}")
            if about == "metadata":
                return Answer(200, shapes.task(version, goal, facts, tags=tags))
            return Answer(200, {runtime_id(goal, c.name): statistics(c) for c in goal.spec.containers})
        case routes.Container(version, about, endpoint):
            spec = named(goal, key, endpoint)
            text = f"unable to get container ID from v3 endpoint ID: {endpoint}"
        case routes.Sibling(about, id):
            version = "v2"
            spec = next((c for c in goal.spec.containers if runtime_id(goal, c.name) == id), None)
            text = f"unable to find container '{id}' of the task"
    if spec is None:
        return _unknown(version, "container", about, text)
    if about == "metadata":
        return Answer(200, shapes.container(version, goal, facts, spec))
    found = statistics(spec)
    if found is None:
        text = f"unable to get container stats for {runtime_id(goal, spec.name)}: the container doesn't run"
        return _unknown(version, "container", about, text)
    return Answer(200, found)


def named(goal: TaskGoal, key: bytes, endpoint: str) -> ContainerSpec | None:
    """The task's container of that endpoint id; the id of any other task's is as good as none."""
    asked = endpoint.encode()
    return next(
        (
            c
            for c in goal.spec.containers
            if hmac.compare_digest(endpoint_id(key, goal.task_id, c.name).encode(), asked)
        ),
        None,
    )


def _unknown(version: routes.Version, what: str, about: routes.About, text: str) -> Answer:
    status = 404 if version == "v4" else 400
    return Answer(status, f"{version.upper()} {what} {about} handler: {text}")


def _no_credentials(version: str, id: str) -> Answer:
    """No task has a role's credentials yet."""
    request = f"Credentials{version.upper()}Request"
    code, text = ("InvalidIdInRequest", "Credentials not found") if id else ("NoIdInRequest", "No ID in the request")
    return Answer(400, {"code": code, "message": f"{request}: {text}", "HTTPErrorCode": 400})


def _no_fault(goal: TaskGoal, endpoint: str, *, known: bool) -> Answer:
    """No task may have faults injected yet: RunTask refuses definitions that ask for it."""
    if not known:
        return Answer(404, {"Error": f"unable to lookup container: {endpoint}"})
    return Answer(400, {"Error": f"enableFaultInjection is not enabled for task: {goal.arn}"})
