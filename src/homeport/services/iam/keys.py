"""Access keys as the composition root uses them. (Contract.)"""

from __future__ import annotations

from homeport.aws.operations import Credential
from homeport.store import Tx, View


class Vault:
    """Seals and opens secrets, and derives keys, with the master key (AES-256-GCM; HKDF for derived keys)."""

    def __init__(self, master: bytes) -> None: ...
    def seal(self, clear: str, context: str) -> str: ...
    def open(self, sealed: str, context: str) -> str: ...
    def derive(self, purpose: str) -> bytes:
        """32 bytes for MACs (pagination cursors …)."""
        ...


def load_master(path: str) -> bytes:
    """Reads the 0600 master key file, making it at first start (atomically, fsynced). Refuses one that others may read."""
    raise NotImplementedError


def put_root(tx: Tx, vault: Vault, account: str, access_key: str, secret: str, now: float) -> None: ...
def put_node(tx: Tx, vault: Vault, node: str, access_key: str, secret: str, now: float) -> None: ...
def lookup(view: View, vault: Vault, access_key: str) -> Credential | None:
    """Cached: opening a seal isn't done on every request."""
    ...


def root_key(view: View, vault: Vault, account: str) -> tuple[str, str] | None:
    """(access key id, secret) of the account's root key, for ``homeport env``."""
    ...
