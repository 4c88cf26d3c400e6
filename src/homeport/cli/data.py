"""``backup`` and ``restore``."""

from __future__ import annotations

from pathlib import Path

from homeport import config
from homeport.cli import CommandError, supervisor
from homeport.cli.lifecycle import State
from homeport.store import backup as copies
from homeport.store.errors import UnusableFile


def backup(file: Path, *, state: State = None) -> None:
    """Write a consistent copy of the state, also while Homeport runs."""
    settings = config.load(state)
    try:
        copies.backup(settings.database, file)
    except (OSError, UnusableFile) as error:
        raise CommandError(str(error)) from error
    print(f"{file} holds the state. Its secrets are sealed: keep {settings.master_key} with it, or they are lost.")


def restore(file: Path, *, state: State = None) -> None:
    """Put a backup in the place of the state (Homeport must be down)."""
    settings = config.load(state)
    if supervisor.running(settings):
        raise CommandError("Homeport runs. Stop it first: homeport down")
    try:
        copies.restore(file, settings.database)
    except (OSError, UnusableFile) as error:
        raise CommandError(str(error)) from error
    print(f"The state is that of {file}. Start it with: homeport up --detach")
