"""``homeport token``: what other machines join with."""

from __future__ import annotations

import json
import time
from typing import Annotated

from cyclopts import Parameter

from homeport import config
from homeport.cli import CommandError, control
from homeport.cli.lifecycle import State
from homeport.cli.terminal import table


def create(
    *,
    cluster: Annotated[str | None, Parameter(help="Name of the cluster that the machine joins.")] = None,
    fargate: Annotated[bool, Parameter(help="For the Fargate pool, in place of a cluster.", negative="")] = False,
    region: Annotated[str | None, Parameter(help="Region of the cluster (default: the one of `homeport env`).")] = None,
    as_json: Annotated[bool, Parameter(name="--json", help="Print JSON.", negative="")] = False,
    state: State = None,
) -> None:
    """Make a token that one machine can join with, within an hour."""
    if fargate == (cluster is not None):
        raise CommandError("Name the cluster with --cluster NAME, or say --fargate.")
    settings = config.load(state)
    made = control.ask(settings, "/tokens", method="POST", cluster=cluster or "", region=region or settings.region)
    if as_json:
        print(json.dumps(made))
        return
    where = "--fargate" if fargate else f"--cluster {made['cluster']}"
    if settings.local:
        print("This Homeport listens on loopback only. Other machines reach it after `homeport up --host 0.0.0.0`.")
    insecure = " --insecure" if made["server"].startswith("http:") and not settings.local else ""
    print("Run this on the machine that joins, as root, within an hour:")
    print(f"  homeport agent --server {made['server']} {where} --token {made['token']}{insecure}")


def ls(*, state: State = None) -> None:
    """The tokens that are valid."""
    found = control.ask(config.load(state), "/tokens")
    rows = [
        [t["id"], t["cluster"] or "(Fargate)", t["region"], f"{max(0, t['expires_at'] - time.time()) / 60:.0f} min"]
        for t in found
    ]
    table(["token", "cluster", "region", "valid for"], rows)


def revoke(
    id: Annotated[str, Parameter(help="The token or its id; or a node's id: its key is invalid then.")],
    *,
    state: State = None,
) -> None:
    """Make a token invalid (a node that has joined with it stays), or a node's key."""
    from homeport.core import jointoken

    token = jointoken.parse(id)
    control.ask(config.load(state), "/revoke-token", method="POST", id=token.id if token else id)
    print("It is no longer valid.")
