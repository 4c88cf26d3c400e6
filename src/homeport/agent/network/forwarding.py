"""The few things of the root namespace that an agent shares with others: IP forwarding and iptables' FORWARD chain.

Docker sets FORWARD to DROP, and an accept in a table of our own doesn't override that. All functions work in the
calling thread's namespace and may be repeated.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from homeport.agent.network import netns
from homeport.agent.network.layout import Names, is_root_link

_FORWARD = "ipv4/ip_forward"
_REMEMBERED = Path("/run/homeport")  # shared by all Homeports of the machine


def forward_on() -> None:
    """Turns IP forwarding on and remembers that it was off."""
    if netns.sysctl(_FORWARD) == "0":
        _REMEMBERED.mkdir(mode=0o755, exist_ok=True)
        _memory().touch()
        netns.set_sysctls({_FORWARD: "1"})


def forward_back() -> None:
    """Turns IP forwarding off if a Homeport turned it on, unless Docker (which found it on) needs it by now. Only for
    the last Homeport on the machine."""
    if not _memory().exists():
        return
    if not _has_chain("DOCKER-USER"):
        netns.set_sysctls({_FORWARD: "0"})
    _memory().unlink(missing_ok=True)


def homeports() -> list[str]:
    """Root links of the agents on this machine."""
    devices = (
        line.partition(":")[0].strip() for line in Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
    )
    return [name for name in devices if is_root_link(name)]


def admit(names: Names) -> None:
    """Lets the agent's packets through a FORWARD chain that drops: in DOCKER-USER, which is made for such rules, else
    in FORWARD itself. Nothing is done where the host has no iptables or its chain lets packets through."""
    chain = _dropping_chain()
    for rule in _rules(names) if chain else ():
        if not _iptables("-C", chain, *rule):
            _iptables("-I", chain, *rule)


def withdraw(names: Names) -> None:
    """Removes what ``admit`` inserted, wherever it is."""
    for chain in ("DOCKER-USER", "FORWARD"):
        for rule in _rules(names):
            while _iptables("-D", chain, *rule):
                pass


def _rules(names: Names) -> tuple[tuple[str, ...], ...]:
    tag = ("-m", "comment", "--comment", names.root_table, "-j", "ACCEPT")
    return (("-i", names.root_link, *tag), ("-o", names.root_link, *tag))


def _dropping_chain() -> str:
    if _has_chain("DOCKER-USER"):
        return "DOCKER-USER"
    return "FORWARD" if "-P FORWARD DROP" in _list("FORWARD") else ""


def _has_chain(name: str) -> bool:
    return bool(_list(name))


def _list(chain: str) -> str:
    return _run("-S", chain).stdout if shutil.which("iptables") else ""


def _iptables(*arguments: str) -> bool:
    return shutil.which("iptables") is not None and _run(*arguments).returncode == 0


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["iptables", "-w", "5", *arguments], capture_output=True, text=True, timeout=20, check=False)


def _memory() -> Path:
    """One file for each network namespace that is somebody's root."""
    return _REMEMBERED / f"ip_forward-{os.stat('/proc/thread-self/ns/net').st_ino}"
