"""One task as ``homeport status TASK`` shows it: its containers, and what they use of this machine at the moment.

An *answer* is what the control plane says of a task (``services.ecs.status.task_status``), with what its agent wrote
down of restarts, a *look* what the kernel says of its containers: ``Usage`` by container name, of those that run on
this machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from homeport.agent.drivers.usage import Usage
from homeport.cli import control
from homeport.cli.terminal import console, grid, size
from homeport.cli.terminal import table as print_table
from homeport.config import Settings

if TYPE_CHECKING:
    from rich.console import RenderableType

Answer = dict[str, Any]
Look = Mapping[str, Usage]

COLUMNS = ("CONTAINER", "STATUS", "HEALTH", "NEEDS", "EXIT", "RESTARTS", "VCPU", "MEMORY", "PIDS", "IMAGE")
INTERVAL = 1.0  # seconds between two looks
FIRST_INTERVAL = 0.25  # seconds between the two that a snapshot's rates come from
_UNITS = 1024  # CPU units of a vCPU
_MIB = 1 << 20


def ask(settings: Settings, text: str) -> Answer:
    """What there is to say of the task that ``text`` names. Raises CommandError."""
    answer: Answer = control.ask(settings, "/task", task=text)
    return {**answer, "restarts": restarts(settings, answer["task"]["taskArn"].rpartition("/")[2])}


def restarts(settings: Settings, task_id: str) -> dict[str, int]:
    """How often this machine's agent has restarted the containers that have a restart policy."""
    from homeport.agent.state import FileRecords, StateDamaged

    try:
        record = FileRecords(settings.path("agent")).find(task_id)
    except (OSError, StateDamaged):
        return {}
    policies = [c.name for c in record.goal.spec.containers if c.restart_policy] if record else []
    return {name: record.facts.containers[name].restarts for name in policies if record}


def looker(settings: Settings) -> Callable[[Answer], Look]:
    """Looks at the containers of a task that run on this machine."""
    from homeport.agent.drivers.containerd import instance, usage
    from homeport.agent.drivers.containerd.cgroups import Cgroups

    cgroups = Cgroups(instance(settings.state, settings.containerd).name)

    def look(answer: Answer) -> Look:
        task_id = answer["task"]["taskArn"].rpartition("/")[2]
        ids = {c["name"]: c.get("runtimeId") for c in answer["task"]["containers"]}
        seen = {name: usage.read(cgroups, task_id, id, time.time()) for name, id in ids.items() if id}
        return {name: found for name, found in seen.items() if found is not None}

    return look


def snapshot(settings: Settings, text: str) -> tuple[Answer, Look, Look]:
    """The task that ``text`` names, and two looks at it, a moment apart where it runs. Raises CommandError."""
    look, answer = looker(settings), ask(settings, text)
    before = now = look(answer)
    if now:
        time.sleep(FIRST_INTERVAL)
        now = look(answer)
    return answer, before, now


def show(settings: Settings, text: str) -> None:
    """Prints a snapshot."""
    answer, before, now = snapshot(settings, text)
    console().print(headline(answer), markup=False)
    print_table(COLUMNS, rows(answer, before, now))


def watch(settings: Settings, text: str) -> None:
    """Shows the task in the terminal until it is STOPPED. Raises CommandError where there is none such."""
    from rich.live import Live

    look, answer = looker(settings), ask(settings, text)
    arn, before, note = answer["task"]["taskArn"], look(answer), ""
    time.sleep(FIRST_INTERVAL)
    with Live(console=console(), auto_refresh=False) as live:
        while True:
            now = look(answer)
            live.update(_picture(answer, before, now, note), refresh=True)
            if answer["task"]["lastStatus"] == "STOPPED":
                return
            before = now
            time.sleep(INTERVAL)
            try:
                answer, note = ask(settings, arn), ""
            except control.Unreachable:  # it may be restarting; what runs runs on
                note = "The control plane doesn't answer; this is what it said last."


def _picture(answer: Answer, before: Look, now: Look, note: str) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    head, table = Text(headline(answer), style="bold"), grid(*telling(rows(answer, before, now)))
    return Group(head, table, Text(note, style="yellow")) if note else Group(head, table)


# --- pure -------------------------------------------------------------------------------------------------------------


def headline(answer: Answer) -> str:
    """Everything about the task as a whole, in a line."""
    task = answer["task"]
    status: str = task["lastStatus"]
    if task["desiredStatus"] != status and status != "STOPPED":
        status = f"{status} → {task['desiredStatus']}"
    private = next((i["privateIpv4Address"] for c in task["containers"] for i in c["networkInterfaces"]), None)
    addresses = ", ".join(filter(None, (private, answer["public_address"])))
    parts = [
        f"Task {task['taskArn'].rpartition('/')[2]}",
        task["taskDefinitionArn"].rpartition("/")[2],
        f"cluster {task['clusterArn'].rpartition('/')[2]}",
        f"{status} since {_clock(_since(task))}",
        f"health {task['healthStatus']}",
        addresses,
    ]
    reason = f"\n{task['stopCode']}: {task['stoppedReason']}" if task.get("stopCode") else ""
    return "  ".join(filter(None, parts)) + reason


def rows(answer: Answer, before: Look, now: Look) -> list[tuple[str, ...]]:
    """A row per container, in brackets if it isn't essential, and one for the task with its limits."""
    task = answer["task"]
    found = [_container(answer, container, before, now) for container in task["containers"]]
    if not now:
        return found
    cpu, memory = int(task["cpu"]) / _UNITS, int(task["memory"]) * _MIB
    vcpu = f"{sum(processors(before, now).values()):.2f}" + (f" of {cpu:g}" if cpu else "")
    used = _of(sum(u.memory.resident for u in now.values()), memory)
    processes = str(sum(u.processes for u in now.values()))
    return [*found, ("TASK", task["lastStatus"], task["healthStatus"], "", "", "", vcpu, used, processes, "")]


def telling(rows: list[tuple[str, ...]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The columns, and the rows, without what says nothing of any container, so that more of the rest fits. The images,
    whose names are long and never change, are for those who read line by line."""
    said = [any(row[n] not in ("", "UNKNOWN") for row in rows) for n in range(len(COLUMNS) - 1)]
    shown = [n for n, told in enumerate(said) if told]
    return tuple(COLUMNS[n] for n in shown), [tuple(row[n] for n in shown) for row in rows]


def figures(before: Look, now: Look) -> dict[str, dict[str, Any]]:
    """What containers use, for scripts: ``vcpu`` is a number of processors."""
    busy = processors(before, now)
    return {
        name: {
            "vcpu": round(busy.get(name, 0.0), 4),
            "cpu_nanoseconds": usage.cpu.total,
            "memory_bytes": usage.memory.resident,
            "memory_limit_bytes": usage.memory.limit,
            "processes": usage.processes,
        }
        for name, usage in now.items()
    }


def processors(before: Look, now: Look) -> dict[str, float]:
    """How many processors each container kept busy between two looks."""
    return dict(_rates(before, now))


def _rates(before: Look, now: Look) -> Iterator[tuple[str, float]]:
    for name, usage in now.items():
        earlier = before.get(name)
        if earlier is not None and usage.read_at > earlier.read_at:
            busy = (usage.cpu.total - earlier.cpu.total) / 1e9
            yield name, max(0.0, busy / (usage.read_at - earlier.read_at))


def _container(answer: Answer, container: dict[str, Any], before: Look, now: Look) -> tuple[str, ...]:
    name: str = container["name"]
    usage, busy = now.get(name), processors(before, now).get(name)
    status = container["lastStatus"] + (f": {container['reason']}" if container.get("reason") else "")
    limit = int(container.get("memory") or 0) * _MIB
    return (
        name if answer["essential"].get(name, True) else f"({name})",
        status,
        container["healthStatus"],
        ", ".join(answer["depends_on"].get(name, ())),
        str(container.get("exitCode", "")),
        str(answer["restarts"].get(name, "")),
        "" if busy is None else f"{busy:.2f}",
        "" if usage is None else _of(usage.memory.resident, limit),
        "" if usage is None else str(usage.processes),
        container.get("image") or "",
    )


def _of(used: int, limit: int) -> str:
    return f"{used / _MIB:.1f} of {limit / _MIB:g} MiB" if limit else size(used)


def _since(task: dict[str, Any]) -> float:
    times = ("stoppedAt", "stoppingAt", "startedAt", "createdAt")
    return float(next(task[name] for name in times if task.get(name) is not None))


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
