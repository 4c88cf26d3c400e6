"""Records of account settings."""

from __future__ import annotations

import msgspec

from homeport.store.tables import Table


class Setting(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a principal set for itself; the root user's settings are the account's defaults in that region."""

    principal: str  # ARN
    name: str
    value: str


SETTINGS: Table[Setting] = Table(
    "account-setting",
    Setting,
    id=lambda r: setting_id(r.principal, r.name),
    indexes={"principal": lambda r: (r.principal,)},
)


def setting_id(principal: str, name: str) -> str:
    return f"{principal}#{name}"
