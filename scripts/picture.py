"""Draws a terminal's output as an SVG: `COMMAND | python scripts/picture.py TITLE FILE`. Colours (ANSI) are kept."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text


def main() -> None:
    title, target = sys.argv[1:]
    text = sys.stdin.read().replace("\r", "")
    console = Console(record=True, width=118, file=open("/dev/null", "w"))  # noqa: SIM115 (as long as the process)
    console.print(Text.from_ansi(text))
    svg = console.export_svg(title=title)
    # No font from elsewhere: a reader's own monospace one will do.
    Path(target).write_text(re.sub(r"@font-face\s*{.*?}\s*", "", svg, flags=re.DOTALL))


if __name__ == "__main__":
    main()
