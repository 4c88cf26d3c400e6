"""The files that every container of a task gets: resolv.conf, hosts, hostname. Texts are pure."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from homeport.agent.drivers.containerd.mounts import Files

_RESOLV = Path("/etc/resolv.conf")
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


def resolv_conf(host: str, upstream: str) -> str:
    """The container's resolv.conf from the host's and from systemd-resolved's: first one with a server to reach, and
    its search list and options."""
    for text in (host, upstream):
        servers = reachable_servers(text)
        if servers:
            others = [line for line in text.splitlines() if line.split()[:1] in (["search"], ["options"], ["domain"])]
            return "\n".join([*(f"nameserver {s}" for s in servers), *others]) + "\n"
    return "".join(f"nameserver {s}\n" for s in _PUBLIC)


def hosts(hostname: str, address: str | None) -> str:
    lines = [
        "127.0.0.1 localhost",
        "::1 localhost ip6-localhost ip6-loopback",
        "fe00::0 ip6-localnet",
        "ff00::0 ip6-mcastprefix",
        "ff02::1 ip6-allnodes",
        "ff02::2 ip6-allrouters",
        f"{address or '127.0.1.1'} {hostname}",
    ]
    return "\n".join(lines) + "\n"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def write(folder: Path, hostname: str, address: str | None) -> Files:
    """The task's files below ``folder``. Those that are there stay: containers have them mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(*(str(folder / name) for name in ("resolv.conf", "hosts", "hostname")))
    if not os.path.exists(files.hostname):
        Path(files.resolv_conf).write_text(resolv_conf(_text(_RESOLV), _text(_UPSTREAM)))
        Path(files.hosts).write_text(hosts(hostname, address))
        Path(files.hostname).write_text(f"{hostname}\n")
    return files
