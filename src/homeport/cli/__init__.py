"""The ``homeport`` command. Each command's module is imported when the command runs, so that start-up stays short."""

from __future__ import annotations

import sys
from typing import NoReturn

import cyclopts

from homeport import __version__
from homeport.cli.terminal import complain
from homeport.config import ConfigError

app = cyclopts.App(
    name="homeport",
    version=__version__,
    help="Amazon ECS on your own machines. `homeport up` starts it; the aws CLI and the SDKs talk to it.",
    help_flags=["--help", "-h"],
)
image = cyclopts.App(name="image", help="The container images of this machine.")
app.command(image)
token = cyclopts.App(name="token", help="What other machines join with.")
app.command(token)

for name, target in {
    "up": "homeport.cli.lifecycle:up",
    "down": "homeport.cli.lifecycle:down",
    "restart": "homeport.cli.lifecycle:restart",
    "reset": "homeport.cli.lifecycle:reset",
    "env": "homeport.cli.lifecycle:env",
    "server": "homeport.cli.processes:server",
    "agent": "homeport.cli.nodes:agent",
    "supervise": "homeport.cli.processes:supervise",
    "status": "homeport.cli.inspect:status",
    "logs": "homeport.cli.inspect:logs",
    "story": "homeport.cli.inspect:story",
    "events": "homeport.cli.events:events",
    "where": "homeport.cli.inspect:where",
    "explain": "homeport.cli.placement:explain",
    "interrupt": "homeport.cli.placement:interrupt",
    "sim": "homeport.cli.simulation:sim",
    "backup": "homeport.cli.data:backup",
    "restore": "homeport.cli.data:restore",
}.items():
    app.command(target, name=name)
for name, target in {
    "load": "homeport.cli.images:load",
    "ls": "homeport.cli.images:ls",
    "pull": "homeport.cli.images:pull",
    "rm": "homeport.cli.images:rm",
}.items():
    image.command(target, name=name)
for name, target in {
    "create": "homeport.cli.tokens:create",
    "list": "homeport.cli.tokens:ls",
    "revoke": "homeport.cli.tokens:revoke",
}.items():
    token.command(target, name=name)


class CommandError(Exception):
    """What the user must know; printed without a traceback, exit code 1."""


def main() -> NoReturn:
    """The console script. Exit codes: 0 done, 1 an error that is explained, 2 a wrong command line, 130 interrupted."""
    try:
        app(sys.argv[1:], result_action="return_value")
    except (CommandError, ConfigError) as error:
        complain(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:  # a disk that is full or read-only, a folder that is a file …: the system's own words
        complain(str(error))
        sys.exit(1)
    sys.exit(0)
