"""``status``, ``logs``, ``story``, ``where``."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from homeport import config
from homeport.cli import CommandError, control, service_status, task_status
from homeport.cli.lifecycle import State
from homeport.cli.terminal import console, size, table
from homeport.config import Settings

Json = Annotated[bool, Parameter(name="--json", help="For scripts.", negative="")]


def status(
    what: Annotated[
        str | None,
        Parameter(
            help="A service (name, cluster/name or ARN) to watch until it is steady or fails, or a task (id or ARN, "
            "the first characters are enough) to watch until it stops."
        ),
    ] = None,
    *,
    wait: Annotated[
        bool, Parameter(help="Wait for a service, outside a terminal too: exit code 1 where it fails.", negative="")
    ] = False,
    timeout: Annotated[
        float | None,
        Parameter(
            help="Seconds to wait for a service at most (with --wait). Default: no limit.", validator=Number(gt=0)
        ),
    ] = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Show the control plane, the nodes with their capacity, the services and the tasks; or one service with its
    deployments, newest events and failing tasks; or one task with its containers (those in brackets aren't essential)
    and what they use of this machine."""
    if timeout is not None and not (what and wait):
        raise CommandError("--timeout is how long --wait waits: homeport status SERVICE --wait --timeout SECONDS")
    settings = config.load(state)
    if what is not None:
        service = None if ":task/" in what else service_status.find(settings, what)
        if service is not None:
            sys.exit(service_status.run(settings, service, wait=wait, as_json=as_json, timeout=timeout))
        if ":service/" in what or wait:
            raise CommandError(f"There is no service {what!r}.")
        _task_status(settings, what, as_json)
        return
    answer = control.ask(settings, "/status")
    answer["pulls"] = _pulls(settings)
    if as_json:
        print(json.dumps(answer, indent=2))
        return
    plane = answer["control_plane"]
    console().print(
        f"[bold]Homeport {plane['version']}[/] on {plane['endpoint']}, account {plane['account']}, "
        f"state {plane['state']}, {size(plane['resident_bytes'])} resident"
    )
    table(("NODE", "CONNECTED", "CPU USED", "MEMORY USED", "OVERCOMMIT", "TASKS"), [_node(n) for n in answer["nodes"]])
    if answer["pulls"]:
        table(("PULLING", "DONE"), [(p["image"], _share(p)) for p in answer["pulls"]])
    if answer["services"]:
        table(
            ("SERVICE", "CLUSTER", "STATUS", "DEFINITION", "DESIRED", "RUNNING", "PENDING", "ROLLOUT"),
            [_service(s) for s in answer["services"]],
        )
    table(
        ("TASK", "CLUSTER", "STATUS", "DEFINITION", "ADDRESS", "PUBLIC", "SINCE"), [_task(t) for t in answer["tasks"]]
    )


def _task_status(settings: Settings, task: str, as_json: bool) -> None:
    if as_json:
        answer, before, now = task_status.snapshot(settings, task)
        print(json.dumps({**answer, "usage": task_status.figures(before, now)}, indent=2))
    elif sys.stdout.isatty():
        task_status.watch(settings, task)
    else:
        task_status.show(settings, task)


def _node(node: dict[str, Any]) -> tuple[str, ...]:
    used, capacity, over = node["used"], node["capacity"], node["overcommit"]
    return (
        node["id"],
        "yes" if node["connected"] else "no",
        f"{used['cpu']} of {capacity['cpu']} units",
        f"{used['memory']} of {capacity['memory']} MiB",
        f"cores × {over['cpu']:g}, memory × {over['memory']:g}" if over else "none",
        str(node["tasks"]),
    )


def _service(service: dict[str, Any]) -> tuple[str, ...]:
    counts = (str(service[name]) for name in ("desired", "running", "pending"))
    head = (service["name"], service["cluster"], service["status"], service["definition"] or "")
    return (*head, *counts, service["rollout"] or "")


def _task(task: dict[str, Any]) -> tuple[str, ...]:
    status = task["last_status"]
    if task.get("stopped_reason"):
        status = f"{status}: {task['stopped_reason']}"
    since = time.strftime("%H:%M:%S", time.localtime(task["since"])) if task.get("since") else ""
    address, public = task.get("address") or "", task.get("public_address") or ""
    return (task["id"], task["cluster"], status, task["definition"], address, public, since)


def _pulls(settings: Settings) -> list[dict[str, Any]]:
    """Image pulls under way on this machine, as its agent writes them down."""
    try:
        pulls: list[dict[str, Any]] = json.loads(settings.path("agent", "progress.json").read_bytes())
    except (OSError, ValueError):
        return []
    return pulls


def _share(pull: dict[str, Any]) -> str:
    done, total = pull["done"], pull["total"]
    return f"{size(done)} of {size(total)} ({100 * done // total} %)" if total else size(done)


def logs(
    task: Annotated[str, Parameter(help="Task id or ARN; the first characters are enough.")],
    container: Annotated[str | None, Parameter(help="Container name (default: all of the task's).")] = None,
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], help="Wait for more.", negative="")] = False,
    state: State = None,
) -> None:
    """Print what a task's containers wrote (standard error in red)."""
    from homeport.agent.drivers.containerd import logs as files

    settings = config.load(state)
    folder = _task_folder(settings, task.rpartition("/")[2])
    names = sorted(p.name for p in folder.iterdir())
    if container and container not in names:
        raise CommandError(f"The task has no container {container!r}; it has: {', '.join(names)}.")
    wanted = [container] if container else names
    paths = {
        (name, stream): path
        for name in wanted
        for stream, path in files.paths(settings.path(), folder.name, name).items()
    }
    ended = _ended(settings, folder.name) if follow else lambda: True
    for (name, stream), data in files.follow(paths, ended):
        _print_log(data, f"{name}: " if len(wanted) > 1 else "", stream)


def _print_log(data: bytes, head: str, stream: str) -> None:
    text = data.decode(errors="replace")
    if head:
        text = "".join(head + line for line in text.splitlines(keepends=True))
    target = sys.stdout if stream == "stdout" else sys.stderr
    target.write(f"\x1b[31m{text}\x1b[0m" if stream == "stderr" and target.isatty() else text)
    target.flush()


def _ended(settings: Settings, task: str) -> Callable[[], bool]:
    """Whether the task has stopped, so that nothing more will be written; asks once a second at the most."""
    asked, answer = 0.0, False

    def ended() -> bool:
        nonlocal asked, answer
        if time.monotonic() - asked > 1:
            asked = time.monotonic()
            tasks = control.ask(settings, "/status")["tasks"]
            answer = all(t["id"] != task or t["last_status"] == "STOPPED" for t in tasks)
        return answer

    return ended


def _task_folder(settings: Settings, start: str) -> Path:
    root = settings.path("agent", "logs")
    found = sorted(root.glob(f"{start}*")) if start and start.isalnum() else []
    if len(found) != 1:
        which = f"{len(found)} tasks with logs on this machine start" if found else "No task with logs here starts"
        raise CommandError(f"{which} with {start!r}.")
    return found[0]


def story(arn: str, *, state: State = None, as_json: Json = False) -> None:
    """Print every change of a record with its cause."""
    changes = control.ask(config.load(state), "/story", arn=arn)
    if as_json:
        print(json.dumps(changes, indent=2))
        return
    for change in changes:
        moment = time.strftime("%H:%M:%S", time.localtime(change["at"])) + f".{int(change['at'] % 1 * 1000):03d}"
        console().print(f"[bold]{moment}[/] [cyan]{change['cause']}[/]")
        for name, old, new in _differences(change["old"] or {}, change["new"] or {}):
            print(f"    {name}: {_brief(old)} → {_brief(new)}" if change["old"] else f"    {name}: {_brief(new)}")
        if change["new"] is None:
            print("    deleted")


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(n, old.get(n), new.get(n)) for n in [*new, *(set(old) - set(new))] if old.get(n) != new.get(n)]


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:197]}..."


def where(operation: str) -> None:
    """Print the file and line of an operation: `homeport where RunTask`."""
    services = importlib.import_module("homeport.server").SERVICES
    found = False
    for service in services.values():
        served = service.operations.get(operation)
        if served:
            code = inspect.unwrap(served.handler)
            print(f"{service.name}:{operation}\t{inspect.getsourcefile(code)}:{inspect.getsourcelines(code)[1]}")
            found = True
    if not found:
        raise CommandError(f"Homeport serves no operation {operation!r}.")
