"""The files that every container gets: resolv.conf, hosts, hostname. Texts are pure.

All containers of a task share theirs, but those whose definition says something of them, and those in the bridge. In
the machine's network they are copies of the machine's own, made for the container.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from homeport.agent.drivers import ContainerPlan
from homeport.agent.drivers.containerd.mounts import Files
from homeport.agent.drivers.containerd.spec import shares_network
from homeport.agentspec import ExtraHost

_RESOLV, _HOSTS = Path("/etc/resolv.conf"), Path("/etc/hosts")
_UPSTREAM = Path("/run/systemd/resolve/resolv.conf")  # the servers behind systemd-resolved's stub on 127.0.0.53
_PUBLIC = ("8.8.8.8", "8.8.4.4")  # Docker's choice where the host names no server that a container could reach


def reachable_servers(text: str) -> list[str]:
    """Name servers of a resolv.conf that a container can reach: not those on the host's loopback, nor link-local
    ones, whose interface only the host has."""
    servers = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[0] == "nameserver":
            try:
                address = ipaddress.ip_address(fields[1])
            except ValueError:
                continue
            if not address.is_loopback and not address.is_link_local:
                servers.append(str(address))
    return servers


def resolv_conf(host: str, upstream: str, servers: Sequence[str] = (), domains: Sequence[str] = ()) -> str:
    """The container's resolv.conf from the host's and from systemd-resolved's: first one with a server to reach, and
    its search list and options. ``servers`` and ``domains`` take the place of the host's; the domain ``.`` is none."""
    text = next((text for text in (host, upstream) if reachable_servers(text)), "")
    kept = (["options"],) if domains else (["search"], ["options"], ["domain"])
    lines = [f"nameserver {s}" for s in servers or reachable_servers(text) or _PUBLIC]
    lines += [line for line in text.splitlines() if line.split()[:1] in kept]
    if domains and list(domains) != ["."]:
        lines.append("search " + " ".join(domains))
    return "\n".join(lines) + "\n"


def hosts(hostname: str, address: str | None, extra: Sequence[ExtraHost] = ()) -> str:
    lines = [
        "127.0.0.1 localhost",
        "::1 localhost ip6-localhost ip6-loopback",
        "fe00::0 ip6-localnet",
        "ff00::0 ip6-mcastprefix",
        "ff02::1 ip6-allnodes",
        "ff02::2 ip6-allrouters",
        f"{address or '127.0.1.1'} {hostname}",
        *(f"{host.ip_address} {host.hostname}" for host in extra),
    ]
    return "\n".join(lines) + "\n"


def shared_hosts(machine: str, extra: Sequence[ExtraHost] = ()) -> str:
    """The machine's own file with the container's additions."""
    lines = [*machine.splitlines(), *(f"{host.ip_address} {host.hostname}" for host in extra)]
    return "\n".join(lines) + "\n"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def hostname(plan: ContainerPlan) -> str:
    """What the container takes itself for."""
    own = socket.gethostname() if shares_network(plan) else ""
    return plan.spec.hostname or own or plan.hostname or plan.task_id[:12]


def write(task: Path, hostname: str, plan: ContainerPlan) -> Files:
    """A container's files, in the folder of its task. Those that are there stay: containers have them mounted."""
    spec, machine = plan.spec, shares_network(plan)
    told = spec.hostname or spec.extra_hosts or spec.dns_servers or spec.dns_search_domains
    own = bool(told) or plan.network_mode in ("bridge", "host")
    folder = task / "own" / spec.name if own else task / "files"
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(*(str(folder / name) for name in ("resolv.conf", "hosts", "hostname")))
    if not os.path.exists(files.hostname):
        dns = resolv_conf(_text(_RESOLV), _text(_UPSTREAM), spec.dns_servers, spec.dns_search_domains)
        if machine and not (spec.dns_servers or spec.dns_search_domains):
            dns = _text(_RESOLV)
        Path(files.resolv_conf).write_text(dns)
        known = hosts(hostname, plan.address, spec.extra_hosts)
        Path(files.hosts).write_text(shared_hosts(_text(_HOSTS), spec.extra_hosts) if machine else known)
        Path(files.hostname).write_text(f"{hostname}\n")
    return files
