"""The text of a join token: ``hp1.<id>.<secret>.<pin>``. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_TEXT = re.compile(r"hp1\.([0-9a-f]{12})\.([0-9A-Za-z_-]{22})\.([0-9A-Za-z_-]{43})?")


class JoinToken(NamedTuple):
    """``id``: 12 hex digits, no secret. ``secret``: 22 characters of base64url (128 bits). ``pin``: of the server's
    public key (``aws.certificates.pin``), None where the server speaks no TLS."""

    id: str
    secret: str
    pin: str | None

    @property
    def text(self) -> str:
        return f"hp1.{self.id}.{self.secret}.{self.pin or ''}"


def parse(text: str) -> JoinToken | None:
    """None for what is no token."""
    found = _TEXT.fullmatch(text)
    return JoinToken(found[1], found[2], found[3]) if found else None
