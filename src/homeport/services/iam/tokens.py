"""Join tokens: what a machine shows once to get a node's key of its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from homeport.services.iam import keys
from homeport.services.iam.model import GLOBAL, JOIN_TOKENS, JoinToken
from homeport.services.iam.vault import Vault
from homeport.store import Tx, View

VALID_SECONDS = 3600.0
MAX_TOKENS = 1000  # that are valid at once

Bits = Callable[[int], int]


class Refused(Exception):
    """The token is unknown, wrong, used or too old; which of these, nobody is told."""

    def __init__(self) -> None:
        super().__init__("The token is not valid: it is unknown, was used already, or is older than an hour.")


class TooMany(Exception):
    """So many tokens are valid already that no other is made."""


class Joined(NamedTuple):
    """A node and its key."""

    node: str
    access_key: str
    secret: str


def create(tx: Tx, bits: Bits, account: str, region: str, cluster: str) -> tuple[JoinToken, str]:
    """A new token and its secret, which is stored as a hash alone. ``bits(n)`` gives n random bits. ``cluster``: its
    name, "" for the Fargate pool. Forgets those that are too old. Raises TooMany."""
    for _, old in list(tx.each(JOIN_TOKENS)):
        if old.expires_at <= tx.now:
            tx.delete(JOIN_TOKENS, GLOBAL, old.id)
    if len(valid(tx)) >= MAX_TOKENS:
        raise TooMany(f"There are {MAX_TOKENS} join tokens already. Revoke some, or wait until they end.")
    secret = base64.urlsafe_b64encode(bits(128).to_bytes(16)).decode().rstrip("=")
    token = JoinToken(
        id=f"{bits(48):012x}",
        digest=_digest(secret),
        account=account,
        region=region,
        cluster=cluster,
        created_at=tx.now,
        expires_at=tx.now + VALID_SECONDS,
    )
    tx.put(JOIN_TOKENS, GLOBAL, token)
    return token, secret


def valid(view: View) -> list[JoinToken]:
    """Those that a machine could join with now, oldest first."""
    unused = (t for _, t in view.each(JOIN_TOKENS) if t.node is None and t.expires_at > view.now)
    return sorted(unused, key=lambda token: token.created_at)


def revoke(tx: Tx, id: str) -> bool:
    """Whether there was such a token. A node that joined with it keeps its key."""
    there = tx.get(JOIN_TOKENS, GLOBAL, id) is not None
    if there:
        tx.delete(JOIN_TOKENS, GLOBAL, id)
    return there


def shown(view: View, id: str, secret: str, nonce: str) -> JoinToken:
    """The token that a machine shows. ``nonce``: what that machine drew for this one join; with the same one it may ask
    again, since the answer to its first try may have been lost. Raises Refused."""
    token = view.get(JOIN_TOKENS, GLOBAL, id)
    right = hmac.compare_digest(_digest(secret), token.digest if token else _digest(""))
    if token is None or not right or token.expires_at <= view.now:
        raise Refused
    if token.nonce is not None and not hmac.compare_digest(token.nonce, _digest(nonce)):
        raise Refused
    return token


def redeem(tx: Tx, vault: Vault, bits: Bits, token: JoinToken, nonce: str, cluster_arn: str) -> Joined:
    """Uses up a token that was ``shown``. ``cluster_arn``: where the node's key may register ("": in the Fargate
    pool). Raises Refused where the node that it made is no more."""
    if token.node is not None:
        known = keys.node_keys(tx, vault, token.node)
        if not known:
            raise Refused
        return Joined(token.node, *known[0])
    joined = Joined(f"{bits(68):017x}", *keys.generate(bits))
    keys.put_node(tx, vault, *joined, tx.now, account=token.account, cluster=cluster_arn)
    tx.put(JOIN_TOKENS, GLOBAL, replace(token, node=joined.node, nonce=_digest(nonce)))
    return joined


def _digest(secret: str) -> str:
    """No slow hash: secrets have 128 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()
