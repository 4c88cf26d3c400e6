"""What a Homeport has on its machine, counted: to see that nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from support.homeport import Homeport

PROC = Path("/proc")


def census(homeport: Homeport) -> dict[str, list[str]]:
    """Everything of this Homeport that a task's life makes and must take away, by kind. Not its images, logs, state
    database, and what the agent remembers of finished tasks."""
    agent = instance(homeport)
    runtime = namespace(homeport)
    forwarding = output("iptables", "-S") if shutil.which("iptables") else ""
    found = {
        "processes": processes(homeport),
        "shims": commands("containerd-shim", runtime),
        "mounts": [line.split()[1] for line in lines("/proc/self/mounts") if runtime in line or agent in line],
        "namespaces": sorted(p.name for p in Path("/run/netns").glob(f"hp-{agent}-*")),
        "links": [p.name for p in Path("/sys/class/net").glob(f"*{agent}*")],
        "routes": [line for line in output("ip", "-4", "route", "show", "table", "all").splitlines() if agent in line],
        "cgroups": cgroups(runtime),
        "tables": [line for line in output("nft", "list", "tables").splitlines() if agent in line],
        "iptables": [line for line in forwarding.splitlines() if agent in line],
        "run": [str(p) for p in (Path("/run/homeport") / agent, Path("/run") / runtime) if p.exists()],
    }
    for name in found["namespaces"]:
        if not name.startswith((f"hp-{agent}-t-", f"hp-{agent}-c-", f"hp-{agent}-h-")):  # tasks' and containers'
            found |= inside(name, agent)
    if found["run"]:
        found |= {
            "containers": ctr(homeport, "containers", "ls", "-q"),
            "tasks": ctr(homeport, "tasks", "ls", "-q"),
            "snapshots": sorted(line.split()[0] for line in ctr(homeport, "snapshots", "ls")[1:]),
            "leases": ctr(homeport, "leases", "ls", "-q"),
            "bundles": files(Path("/run") / runtime / "state", 2),
            "runc": files(Path("/run") / runtime / "runc", 2),
        }
    return found


def inside(name: str, agent: str) -> dict[str, list[str]]:
    """Links, addresses, routes and nft elements in a network namespace. Its name stands without the instance's."""
    short = name.removeprefix(f"hp-{agent}-")
    where = ("ip", "-n", name)
    tables = json.loads(output("ip", "netns", "exec", name, "nft", "-j", "list", "ruleset"))["nftables"]
    elements = []
    for entry in tables:
        (kind, value), *_ = entry.items()
        if kind in ("set", "map"):
            elements += [f"{value['name']} {json.dumps(element)}" for element in value.get("elem", [])]
        elif kind != "metainfo":
            elements.append(f"{kind} {value.get('chain', '')} {value.get('name', '')}")
    return {
        f"{short} links": [line.split()[0].partition("@")[0] for line in output(*where, "-br", "link").splitlines()],
        f"{short} addresses": [a for line in output(*where, "-br", "addr").splitlines() for a in line.split()[2:]],
        f"{short} routes": output(*where, "-4", "route", "show", "table", "all").splitlines(),
        f"{short} nft": sorted(elements),
    }


def instance(homeport: Homeport) -> str:
    return str(json.loads((homeport.state / "config.json").read_text())["instance"])


def namespace(homeport: Homeport) -> str:
    """The containerd namespace, which also names cgroups and a run folder."""
    from homeport.agent.drivers.containerd import instance as of

    return of(homeport.state).name


def processes(homeport: Homeport) -> list[str]:
    """What runs for this state folder, as ``server``, ``agent``, ``supervise``, ``containerd``."""
    found = []
    for argv in command_lines():
        if any(str(homeport.state) in word for word in argv) and Path(argv[0]).name != "setpriv":
            found.append(argv[3] if "homeport" in argv else Path(argv[0]).name)
    return sorted(found)


def commands(name: str, word: str) -> list[str]:
    return sorted(" ".join(argv) for argv in command_lines() if name in argv[0] and word in argv)


def command_lines() -> list[list[str]]:
    found = []
    for path in PROC.glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text(errors="replace").rstrip("\0").split("\0"))
        except OSError:
            continue
    return found


def process(homeport: Homeport, command: str) -> int:
    """The id of the one process that runs ``homeport COMMAND``, or containerd, of this state folder."""
    for path in PROC.glob("[0-9]*/cmdline"):
        try:
            argv = path.read_text(errors="replace").rstrip("\0").split("\0")
        except OSError:
            continue
        ours = any(str(homeport.state) in word for word in argv)
        if ours and Path(argv[0]).name != "setpriv" and (command in argv or Path(argv[0]).name == command):
            return int(path.parent.name)
    raise AssertionError(f"no {command} runs")


def descriptors(pid: int) -> int:
    return len(list((PROC / str(pid) / "fd").iterdir()))


def resident(pid: int) -> int:
    """MiB."""
    status: dict[str, Any] = dict(
        line.split(":\t", 1) for line in lines(PROC / str(pid) / "status") if line.startswith("VmRSS")
    )
    return int(status["VmRSS"].split()[0]) // 1024


def ctr(homeport: Homeport, *argv: str) -> list[str]:
    runtime = namespace(homeport)
    return output("ctr", "-a", f"/run/{runtime}/containerd.sock", "-n", runtime, *argv).splitlines()


def cgroups(name: str) -> list[str]:
    """All cgroups of that name and below, in whatever hierarchy."""
    everywhere = (folder for folder, _, _ in os.walk("/sys/fs/cgroup"))
    return sorted(folder for folder in everywhere if f"/{name}" in folder)


def files(folder: Path, depth: int) -> list[str]:
    return sorted(str(p.relative_to(folder)) for n in range(1, depth + 2) for p in folder.glob("/".join("*" * n)))


def lines(path: Path | str) -> list[str]:
    return Path(path).read_text().splitlines()


def output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout
