"""Records of IAM."""

from __future__ import annotations

import msgspec

from homeport.store import Scope, Table

GLOBAL = Scope("-", "-")  # an access key id names its account, so it is looked up before any account is known


class AccessKey(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """``node`` is the id of the node that owns the key, None for the account's root key."""

    id: str  # AKIA…
    account: str
    sealed: str  # the secret, sealed under the master key with the context ``access-key/<id>``
    user_id: str  # what GetCallerIdentity answers
    created_at: float
    node: str | None = None

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

TABLES = (ACCESS_KEYS,)
