"""``homeport agent``: this machine as a node of a Homeport elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from cyclopts import Parameter

from homeport import config
from homeport.agent import membership
from homeport.agent.membership import CannotJoin, Membership
from homeport.cli import CommandError, last_words, lifecycle, supervisor
from homeport.cli.lifecycle import State
from homeport.config import Secrets, Settings
from homeport.core import jointoken

READY_SECONDS = 60.0
RESERVED_NAMES = ("ecs.", "com.amazonaws.", "homeport.")  # of attributes


def agent(
    *,
    server: Annotated[str | None, Parameter(help="URL of the control plane (the first time).")] = None,
    cluster: Annotated[str | None, Parameter(help="Name of the cluster to join (the first time).")] = None,
    fargate: Annotated[bool, Parameter(help="Join the Fargate pool, in place of a cluster.", negative="")] = False,
    token: Annotated[
        str | None,
        Parameter(help="Join token of `homeport token create` (else HOMEPORT_TOKEN).", env_var="HOMEPORT_TOKEN"),
    ] = None,
    zone: Annotated[str | None, Parameter(help="Availability zone that this machine is in.")] = None,
    external: Annotated[bool | None, Parameter(help="Launch type EXTERNAL in place of EC2.")] = None,
    auto_scaling_group: Annotated[
        str | None, Parameter(help="Name of the Auto Scaling group that it belongs to (for capacity providers).")
    ] = None,
    attributes: Annotated[
        str | None, Parameter(help="Attributes of its own for placement: NAME=VALUE,NAME=VALUE…")
    ] = None,
    reserved_memory: Annotated[int | None, Parameter(help="MiB that tasks don't get (default 0).")] = None,
    cdi_spec_dir: Annotated[
        list[str] | None,
        Parameter(help="Folder of CDI files that describe its GPUs (default /etc/cdi, /var/run/cdi).", negative=""),
    ] = None,
    containerd: Annotated[
        str | None, Parameter(help="Socket of a running containerd to use instead of an own one.")
    ] = None,
    overcommit: Annotated[float | None, Parameter(help="Processor overcommitment of a Fargate node.")] = None,
    system_cas: Annotated[
        bool, Parameter(help="Trust the system's certificate authorities, not the token's pin.", negative="")
    ] = False,
    insecure: Annotated[
        bool, Parameter(help="Join by plain HTTP: whoever can listen gets the node's key.", negative="")
    ] = False,
    detach: Annotated[bool, Parameter(help="Return when the node is connected.", negative="")] = False,
    down: Annotated[bool, Parameter(help="End the node and remove what it started.", negative="")] = False,
    state: State = None,
) -> None:
    """Run this machine as a node: it joins with a token once, and is known by its own key from then on."""
    if down:
        lifecycle.down(state=state)
        return
    handed = config.handed_secrets()
    if handed.access_key and handed.secret_key:  # started by a supervisor
        from homeport.cli import processes

        sys.exit(processes.run_agent(config.load(state), handed, server, fargate, zone, overcommit))
    if reserved_memory is not None and reserved_memory < 0:
        raise CommandError(f"--reserved-memory takes MiB, not {reserved_memory}.")
    lifecycle.check_machine()
    with config.alone(state):
        settings = _settings(state, containerd=containerd, overcommit_cpu=overcommit)
        if pid := supervisor.running(settings):
            print(f"The node of {settings.state} runs already, as process {pid}.")
            return
        member = _member(settings, _Wish(server, cluster, fargate, token, system_cas, insecure))
        member = _with_options(
            member,
            zone=zone,
            external=external,
            auto_scaling_group=auto_scaling_group,
            attributes=_attributes(attributes),
            reserved_memory=reserved_memory,
            cdi_folders=tuple(map(os.path.abspath, cdi_spec_dir)) if cdi_spec_dir else None,
        )
        config.save(settings)
        membership.save(settings.state, member)
        if detach:
            _detach(settings, member)
            return
        lock = supervisor.lock(settings)  # held until this process ends; `down` finds the process by it
    if lock is None:
        raise CommandError(f"A node of {settings.state} runs already.")
    from homeport.cli import processes

    key = Secrets(member.access_key, member.secret_key)
    sys.exit(processes.run_agent(settings, key, None, False, None, None))


class _Wish(msgspec.Struct):
    server: str | None
    cluster: str | None
    fargate: bool
    token: str | None
    system_cas: bool
    insecure: bool


def _settings(state: str | None, **flags: Any) -> Settings:
    """Saved or new settings of a state folder that is no control plane's. Raises CommandError."""
    folder = config.state_folder(state)
    if (folder / "homeport.db").exists():
        raise CommandError(
            f"{folder} is the state of a control plane, which has a node already. Another one needs a folder of its "
            "own: --state DIR"
        )
    return config.load_or_create(state, **flags)


def _member(settings: Settings, wish: _Wish) -> Membership:
    """As whom this machine serves: whom it has joined as before, or joins as now. Raises CommandError."""
    try:
        known = membership.load(settings.state)
    except ValueError as error:
        raise CommandError(str(error)) from error
    token = jointoken.parse(wish.token) if wish.token else None
    if wish.token and token is None:
        raise CommandError("--token takes a token of `homeport token create`: it begins with hp1. and has four parts.")
    if known is not None and (token is None or token.id == known.token):
        _check_same(known, wish)
        return msgspec.structs.replace(known, server=wish.server or known.server)
    if token is None or wish.server is None or wish.fargate == (wish.cluster is not None):
        raise CommandError(
            f"This machine has not joined yet (in {settings.state}). Make a token with `homeport token create` where "
            "the control plane runs, and give --server URL, --cluster NAME (or --fargate) and --token TOKEN."
        )
    pin = _trust(wish.server, token.pin, wish)
    try:
        name = (wish.cluster or "").rpartition("/")[2]
        joined = membership.join(settings.state, wish.server.rstrip("/"), token, pin, name)
    except CannotJoin as error:
        raise CommandError(f"This machine can't join: {error}") from error
    print(f"Joined {wish.server} as node {joined.node}.")
    return joined


def _check_same(known: Membership, wish: _Wish) -> None:
    if wish.cluster is not None and wish.cluster.rpartition("/")[2] != known.cluster:
        raise CommandError(
            f"This machine has joined {known.cluster or 'the Fargate pool'}. For another cluster give a new --token."
        )


def _trust(server: str, pin: str | None, wish: _Wish) -> str | None:
    """What the server is known by. Raises CommandError for a connection that others could read."""
    parts = urlsplit(server)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CommandError("--server takes a URL like https://HOST:PORT.")
    if parts.scheme == "http":
        if parts.hostname not in config.LOOPBACK and not wish.insecure:
            raise CommandError("Over http:// others can read the node's key: use https://, or say --insecure.")
        return None
    return None if wish.system_cas else pin


def _with_options(member: Membership, **options: Any) -> Membership:
    """Options that weren't given are as they were."""
    return msgspec.structs.replace(member, **{name: value for name, value in options.items() if value is not None})


def _attributes(text: str | None) -> dict[str, str] | None:
    """Raises CommandError."""
    if text is None:
        return None
    found: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not name or name.startswith(RESERVED_NAMES):
            raise CommandError(f"--attributes takes NAME=VALUE,NAME=VALUE with names of one's own, not {part!r}.")
        found[name] = value
    return found


def _detach(settings: Settings, member: Membership) -> None:
    """Starts a supervisor and returns once the node is connected. Raises CommandError with the cause."""
    from homeport.agent.main import connected_file

    ready = connected_file(settings.path("agent"))
    ready.unlink(missing_ok=True)
    before = last_words.position(settings)
    process = lifecycle.detached(settings, Secrets())
    end = time.monotonic() + READY_SECONDS
    while not ready.exists():  # a file is no event; looked at each 20 ms
        if process.poll() is not None or time.monotonic() > end:
            _give_up(process)
            cause = last_words.since(settings, before) or "it could not reach the control plane"
            raise CommandError(f"The node didn't start: {cause}\nIts logs are in {settings.path('logs')}.")
        time.sleep(0.02)
    where = f"the cluster {member.cluster}" if member.cluster else "the Fargate pool"
    print(f"This machine serves {where} of {member.server}. It ends with: homeport down --state {settings.state}")


def _give_up(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()
