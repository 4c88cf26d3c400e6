"""Signals as images name them. Pure."""

from __future__ import annotations

import signal


def number(name: str) -> int:
    """``SIGTERM``, ``term``, ``15``, ``SIGRTMIN+3`` → number. What isn't known is SIGTERM, as an image can't be asked
    again."""
    text = name.strip().upper()
    if text.isdigit():
        return int(text) if 0 < int(text) <= signal.SIGRTMAX else int(signal.SIGTERM)
    text = text if text.startswith("SIG") else f"SIG{text}"
    base, plus, offset = text.partition("+")
    if base == "SIGRTMIN":
        return int(signal.SIGRTMIN) + (int(offset) if plus and offset.isdigit() else 0)
    known = signal.Signals.__members__.get(base)
    return int(known) if known is not None else int(signal.SIGTERM)
