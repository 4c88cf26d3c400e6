"""The processes that ``up`` runs; anyone can run them by hand too."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Annotated
from urllib.parse import quote, urlsplit

from cyclopts import Parameter

from homeport import config
from homeport.cli import CommandError
from homeport.cli.lifecycle import S3_KEY, State


def _logging(level: str) -> None:
    from homeport import logs

    logs.configure(level)


def supervise(
    *,
    state: State = None,
    started_before: Annotated[bool, Parameter(help="Never give up: it has run before.", negative="")] = False,
) -> None:
    """Run and supervise the control plane and this machine's agent (what `up` starts in the background)."""
    from homeport.cli import supervisor
    from homeport.services.iam import keys

    settings = config.load(state)
    root = config.handed_secrets()
    _logging(settings.log_level)
    lock = supervisor.lock(settings)
    if lock is None:
        raise CommandError(f"Another supervisor already runs for {settings.state}.")
    try:
        node = keys.local_node_key(keys.Vault(keys.load_master(str(settings.master_key))))
        anew = asyncio.run(supervisor.supervise(settings, root, config.Secrets(*node), started_before=started_before))
    except (supervisor.CannotStart, keys.BadMasterKey, OSError) as error:
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


def agent(
    *,
    server: Annotated[str, Parameter(help="URL of the control plane.")],
    fargate: Annotated[bool, Parameter(help="Join the Fargate pool.", negative="")] = False,
    zone: Annotated[str | None, Parameter(help="Serve this availability zone only.")] = None,
    overcommit: Annotated[float | None, Parameter(help="Processor overcommitment (default 16).")] = None,
    state: State = None,
) -> None:
    """Run this machine's agent in the foreground, with the key in HOMEPORT_ACCESS_KEY and HOMEPORT_SECRET_KEY."""
    from homeport.agent import main

    settings = config.load(state)
    handed = config.handed_secrets()
    _logging(settings.log_level)
    if not fargate:
        raise CommandError("Only Fargate nodes are served yet: add --fargate.")
    if not handed.access_key or not handed.secret_key:
        raise CommandError("The agent needs its node's key in HOMEPORT_ACCESS_KEY and HOMEPORT_SECRET_KEY.")
    sys.exit(
        main.run(
            main.AgentSettings(
                state=settings.state,
                instance=settings.instance,
                endpoint=server,
                access_key=handed.access_key,
                secret_key=handed.secret_key,
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
        )
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
