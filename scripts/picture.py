"""Draws a terminal's output as an SVG: `COMMAND | python scripts/picture.py TITLE FILE`. Colours (ANSI) are kept."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text


def main() -> None:
    title, target = sys.argv[1:]
    text = sys.stdin.read().replace("\r", "")
    console = Console(record=True, width=118, file=open("/dev/null", "w"))  # noqa: SIM115 (as long as the process)
    console.print(Text.from_ansi(text))
    console.save_svg(target, title=title)


if __name__ == "__main__":
    main()
