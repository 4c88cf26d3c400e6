"""The processes that ``up`` runs; anyone can run them by hand too."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlsplit

import msgspec
from cyclopts import Parameter

from homeport import config
from homeport.cli import CommandError
from homeport.cli.lifecycle import S3_KEY, State

if TYPE_CHECKING:
    from homeport.agent.config import AgentSettings
    from homeport.agent.membership import Membership


def _logging(level: str) -> None:
    from homeport import logs

    logs.configure(level)


def supervise(
    *,
    state: State = None,
    started_before: Annotated[bool, Parameter(help="Never give up: it has run before.", negative="")] = False,
) -> None:
    """Run and supervise the control plane and this machine's agent (what `up` starts in the background)."""
    from homeport.agent import membership
    from homeport.cli import supervisor
    from homeport.services.iam import keys

    settings = config.load(state)
    root = config.handed_secrets()
    _logging(settings.log_level)
    lock = supervisor.lock(settings)
    if lock is None:
        raise CommandError(f"Another supervisor already runs for {settings.state}.")
    try:
        joined = membership.load(settings.state)
        if joined is not None:
            children = [supervisor.node(settings, config.Secrets(joined.access_key, joined.secret_key))]
        else:
            own = keys.local_node_key(keys.Vault(keys.load_master(str(settings.master_key))))
            children = supervisor.children(settings, root, config.Secrets(*own))
        anew = asyncio.run(supervisor.supervise(children, started_before=started_before))
    except (supervisor.CannotStart, keys.BadMasterKey, OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    if anew:
        logging.getLogger("homeport.supervisor").info("running the program anew")
        argv = [sys.executable, "-m", "homeport", "supervise", "--state", settings.state, "--started-before"]
        os.execv(sys.executable, argv)  # noqa: S606


def server(
    *,
    state: State = None,
    port: Annotated[int | None, Parameter(help="Port of the API.")] = None,
    host: Annotated[str | None, Parameter(help="Address of the API.")] = None,
) -> None:
    """Run the control plane in the foreground."""
    from homeport import server as control_plane

    settings = config.load_or_create(state, port=port, host=host)
    handed = config.handed_secrets()
    _logging(settings.log_level)
    sys.exit(control_plane.run(settings, handed))


def run_agent(
    settings: config.Settings,
    key: config.Secrets,
    server: str | None,
    fargate: bool,
    zone: str | None,
    overcommit: float | None,
) -> int:
    """This machine's agent in the foreground; its exit code. ``server`` and the like are those of a control plane's own
    node; one that has joined elsewhere has them in its state folder."""
    from homeport.agent import main, membership

    if not key.access_key or not key.secret_key:
        raise CommandError("The agent needs its node's key in HOMEPORT_ACCESS_KEY and HOMEPORT_SECRET_KEY.")
    joined = membership.load(settings.state)
    if joined is None and server is None:
        raise CommandError("The agent needs the control plane's URL: --server URL.")
    logs = settings.path("logs")
    logs.mkdir(mode=0o700, exist_ok=True)
    _logging(settings.log_level)
    told = main.AgentSettings(
        state=settings.state,
        instance=settings.instance,
        endpoint=server or "",
        access_key=key.access_key,
        secret_key=key.secret_key,
        region=settings.region,
        fargate=fargate,
        zone=zone,
        overcommit_cpu=overcommit or settings.overcommit_cpu,
        overcommit_memory=settings.overcommit_memory,
        public_pool=settings.public_pool or "",
        containerd=settings.containerd,
        s3_folder=settings.s3_folder,
        s3_endpoint=_s3_url(settings),
        efs=settings.efs,
        pull_behavior=settings.image_pull_behavior,
        task_endpoints=settings.task_endpoints,
    )
    return main.run(told if joined is None else _as_joined(told, joined))


def _as_joined(told: AgentSettings, joined: Membership) -> AgentSettings:
    return msgspec.structs.replace(
        told,
        endpoint=joined.server,
        pin=joined.pin,
        region=joined.region,
        cluster=joined.cluster or told.cluster,
        fargate=not joined.cluster,
        public_pool=joined.public_pool,
        zone=joined.zone,
        external=joined.external,
        auto_scaling_group=joined.auto_scaling_group,
        attributes=joined.attributes,
        reserved_memory=joined.reserved_memory,
        cdi_folders=joined.cdi_folders,
    )


def _s3_url(settings: config.Settings) -> str | None:
    """The endpoint with its key opened, as it is kept in this process's memory only."""
    if settings.s3_endpoint is None or settings.s3_key is None:
        return settings.s3_endpoint
    from homeport.services.iam import keys

    key = keys.Vault(keys.load_master(str(settings.master_key))).open(settings.s3_key, S3_KEY)
    access_key, _, secret = key.partition(":")
    parts = urlsplit(settings.s3_endpoint)
    user = f"{quote(access_key, safe='')}:{quote(secret, safe='')}"
    return parts._replace(netloc=f"{user}@{parts.netloc}").geturl()
