"""Pagination tokens that only this server can have made.

A token holds the last key that was returned and a MAC over it, the operation and the filters, so a token of another
call or another account is refused instead of leaking or skipping anything.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
_MAC = 16  # bytes of the truncated HMAC-SHA256


class BadToken(ValueError):
    """The token was not made by this server for this call; the service says which AWS error that is."""


class Tokens:
    def __init__(self, key: bytes) -> None:
        self._key = key

    def encode(self, context: str, last: str) -> str:
        return base64.urlsafe_b64encode(self._mac(context, last.encode()) + last.encode()).decode()

    def decode(self, context: str, token: str) -> str:
        try:
            raw = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
            mac, last = raw[:_MAC], raw[_MAC:].decode()
        except (ValueError, UnicodeError) as error:
            raise BadToken(token) from error
        if not hmac.compare_digest(mac, self._mac(context, last.encode())):
            raise BadToken(token)
        return last

    def _mac(self, context: str, last: bytes) -> bytes:
        return hmac.new(self._key, context.encode() + b"\0" + last, hashlib.sha256).digest()[:_MAC]


def page(
    items: Iterable[T],
    key: Callable[[T], str],
    limit: int,
    token: str | None,
    tokens: Tokens,
    context: str,
    *,
    descending: bool = False,
) -> tuple[list[T], str | None]:
    """One page of ``items`` (sorted by ``key``, or the other way round) after ``token``, and the next token or None at
    the end.

    ``context`` names account, region, operation and every filter. Raises BadToken.
    """
    after = tokens.decode(context, token) if token else None
    rest = (i for i in items if after is None or (key(i) < after if descending else key(i) > after))
    chunk = list(islice(rest, limit + 1))
    if len(chunk) <= limit:
        return chunk, None
    return chunk[:limit], tokens.encode(context, key(chunk[limit - 1]))
