"""Tables and colour in a terminal, plain text when piped."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def console() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def complain(text: str) -> None:
    """An error, to standard error."""
    _tell("error", text)


def warn(text: str) -> None:
    """What must not be overlooked, to standard error."""
    _tell("WARNING", text)


def _tell(word: str, text: str) -> None:
    colour = sys.stderr.isatty()
    print(f"{chr(27)}[1;31m{word}:{chr(27)}[0m {text}" if colour else f"{word}: {text}", file=sys.stderr)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; tab-separated lines without a header where nobody looks."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    console().print(grid(columns, rows))


def grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table for a terminal; what looks like markup in it is text."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def size(count: float) -> str:
    """Bytes as people read them: 12.3 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
