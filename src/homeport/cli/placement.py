"""``explain`` and ``interrupt``."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from homeport import config
from homeport.cli import control
from homeport.cli.inspect import Json
from homeport.cli.lifecycle import State
from homeport.cli.terminal import console, table


def explain(
    what: Annotated[
        str,
        Parameter(
            help="A task (its ARN, or the first characters of its id), a task definition, or a service (cluster/name)."
        ),
    ],
    *,
    cluster: Annotated[str | None, Parameter(help="Where a task definition would run (default: default).")] = None,
    launch_type: Annotated[
        Literal["EC2", "FARGATE", "EXTERNAL"] | None,
        Parameter(help="Of a task definition (default: the one that it requires, else EC2)."),
    ] = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Show, instance by instance, where a task (of a service its next one) fits and what refuses it."""
    asked = {"what": what, "cluster": cluster, "launch_type": launch_type}
    query: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    answer = control.ask(config.load(state), "/explain", **query)
    if as_json:
        print(json.dumps(answer, indent=2))
        return
    needs = answer["needs"]
    ports = "".join(f", {p} port {number}" for p in ("tcp", "udp") for number in needs[p])
    console().print(
        f"[bold]{answer['what']}[/] ({answer['launch_type']}) needs {needs['cpu']} units of CPU, "
        f"{needs['memory']} MiB{ports}"
    )
    table(("INSTANCE", "ANSWER", "CPU FREE", "MEMORY FREE", "ZONE", "TASKS"), [_row(i) for i in answer["instances"]])


def _row(instance: dict[str, Any]) -> tuple[str, ...]:
    said = instance["reason"] or "fits"
    return (
        instance["id"],
        f"runs here; another: {said}" if instance["here"] else said,
        f"{instance['cpu_free']} units",
        f"{instance['memory_free']} MiB",
        instance["zone"] or "any",
        str(instance["tasks"]),
    )


def interrupt(
    task: Annotated[str, Parameter(help="Id or ARN of a task on FARGATE_SPOT; the first characters are enough.")],
    *,
    state: State = None,
) -> None:
    """Take a Fargate Spot task's capacity back, as AWS does with a warning of two minutes."""
    answer = control.ask(config.load(state), "/interrupt", method="POST", task=task)
    print(f"{answer['task']} is interrupted and stops: {answer['reason']}")
