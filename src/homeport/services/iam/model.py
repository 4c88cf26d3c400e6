"""Records of IAM."""

from __future__ import annotations

import msgspec

from homeport.store import Scope, Table

GLOBAL = Scope("-", "-")  # an access key id names its account, so it is looked up before any account is known


class AccessKey(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """``node`` is the id of the node that owns the key, None for the account's root key. ``cluster``: the ARN of the
    only cluster that the node may register in, "" for the Fargate pool, None where nothing restricts it."""

    id: str  # AKIA…
    account: str
    sealed: str  # the secret, sealed under the master key with the context ``access-key/<id>``
    user_id: str  # what GetCallerIdentity answers
    created_at: float
    node: str | None = None
    cluster: str | None = None

    @property
    def arn(self) -> str:
        name = "root" if self.node is None else f"user/homeport/node/{self.node}"
        return f"arn:aws:iam::{self.account}:{name}"


ACCESS_KEYS: Table[AccessKey] = Table(
    "access-key",
    AccessKey,
    id=lambda r: r.id,
    indexes={
        "root": lambda r: (r.account,) if r.node is None else (),
        "owner": lambda r: ("root" if r.node is None else "node",),
        "node": lambda r: (r.node,) if r.node is not None else (),
    },
)


class JoinToken(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """``digest`` and ``nonce`` are SHA-256 in hex: of the token's secret, and of what the machine that used it drew for
    its join. ``node``: the one that it made, None until then. ``cluster``: a name, "" for the Fargate pool."""

    id: str
    digest: str
    account: str
    region: str
    cluster: str
    created_at: float
    expires_at: float
    node: str | None = None
    nonce: str | None = None


JOIN_TOKENS: Table[JoinToken] = Table("join-token", JoinToken, id=lambda r: r.id)

TABLES = (ACCESS_KEYS, JOIN_TOKENS)
