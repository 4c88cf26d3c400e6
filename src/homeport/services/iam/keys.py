"""Access keys as the composition root uses them."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable

from homeport.aws.operations import Credential, Principal
from homeport.services.iam.model import ACCESS_KEYS, GLOBAL, AccessKey
from homeport.services.iam.vault import BadMasterKey, BadSeal, Vault, load_master
from homeport.store import Tx, View

__all__ = [
    "LOCAL_NODE",
    "BadMasterKey",
    "BadSeal",
    "Vault",
    "generate",
    "load_master",
    "local_node_key",
    "lookup",
    "new_key",
    "node_keys",
    "put_node",
    "put_root",
    "remove_node",
    "root_key",
]

LOCAL_NODE = "local"  # the id of the node on the control plane's own machine

_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def generate(bits: Callable[[int], int]) -> tuple[str, str]:
    """A fresh (access key id, secret) in AWS's forms: AKIA and 16 base32 characters; 40 base64 characters. ``bits(n)``
    gives n random bits."""
    number, key = bits(80), ""
    for shift in range(0, 80, 5):
        key += _BASE32[number >> shift & 31]
    number, secret = bits(240), ""
    for shift in range(0, 240, 6):
        secret += _BASE64[number >> shift & 63]
    return "AKIA" + key, secret


def new_key() -> tuple[str, str]:
    """A fresh (access key id, secret) from the system's randomness."""
    return generate(secrets.randbits)


def local_node_key(vault: Vault) -> tuple[str, str]:
    """(access key id, secret) of the node that ``homeport up`` runs beside the control plane. Derived from the master
    key, so that both processes know it without handing it over."""
    return generate(lambda bits: int.from_bytes(vault.derive(f"node/{LOCAL_NODE}/{bits}")) >> (256 - bits))


def put_root(tx: Tx, vault: Vault, account: str, access_key: str, secret: str, now: float) -> None:
    """Makes this the account's one root key; an earlier one is no longer valid. Raises ValueError where the id is
    already the key of a node or of another account."""
    existing = tx.get(ACCESS_KEYS, GLOBAL, access_key)
    if existing is not None and (existing.account != account or existing.node is not None):
        raise ValueError(f"access key {access_key} is in use already")
    for old in tx.find(ACCESS_KEYS, GLOBAL, "root", account):
        if old.id != access_key:
            tx.delete(ACCESS_KEYS, GLOBAL, old.id)
    if existing is None or not _opens_to(vault, existing, secret):
        sealed = vault.seal(secret, _context(access_key))
        key = AccessKey(id=access_key, account=account, sealed=sealed, user_id=account, created_at=now)
        tx.put(ACCESS_KEYS, GLOBAL, key)


def put_node(
    tx: Tx,
    vault: Vault,
    node: str,
    access_key: str,
    secret: str,
    now: float,
    *,
    account: str | None = None,
    cluster: str | None = None,
) -> None:
    """Adds a key of a node (it may have several while one is changed for another). ``account``: whose node it is; None
    for the account of the one root key there is. ``cluster``: as in ``AccessKey``. Raises ValueError where there isn't
    one root key, or the id is in use."""
    if account is None:
        roots = tx.find(ACCESS_KEYS, GLOBAL, "owner", "root")
        if len(roots) != 1:
            raise ValueError(f"a node's key needs an account: there are {len(roots)} root keys")
        account = roots[0].account
    existing = tx.get(ACCESS_KEYS, GLOBAL, access_key)
    if existing is not None and existing.node != node:
        raise ValueError(f"access key {access_key} is in use already")
    if existing is None or existing.account != account or not _opens_to(vault, existing, secret):
        key = AccessKey(
            id=access_key,
            account=account,
            sealed=vault.seal(secret, _context(access_key)),
            user_id=_user_id(account, node),
            created_at=now,
            node=node,
            cluster=cluster,
        )
        tx.put(ACCESS_KEYS, GLOBAL, key)


def remove_node(tx: Tx, node: str) -> None:
    """Makes all keys of a node invalid."""
    for key in tx.find(ACCESS_KEYS, GLOBAL, "node", node):
        tx.delete(ACCESS_KEYS, GLOBAL, key.id)


def lookup(view: View, vault: Vault, access_key: str) -> Credential | None:
    """Who signs with this key, and the secret to check it with; None for an unknown key. Cached by the record's
    identity: opening a seal isn't done on every request, and a changed or removed key takes effect at once."""
    record = view.get(ACCESS_KEYS, GLOBAL, access_key)
    if record is None:
        vault.opened.pop(access_key, None)
        return None
    cached = vault.opened.get(access_key)
    if cached is not None and cached[0] is record:
        return cached[1]
    principal = Principal(
        account=record.account,
        arn=record.arn,
        user_id=record.user_id,
        access_key_id=record.id,
        node=record.node,
        cluster=record.cluster,
    )
    credential = Credential(secret=vault.open(record.sealed, _context(record.id)), principal=principal)
    vault.opened[access_key] = (record, credential)
    return credential


def root_key(view: View, vault: Vault, account: str) -> tuple[str, str] | None:
    """(access key id, secret) of the account's root key, for ``homeport env``."""
    for key in view.find(ACCESS_KEYS, GLOBAL, "root", account):
        return key.id, vault.open(key.sealed, _context(key.id))
    return None


def node_keys(view: View, vault: Vault, node: str) -> list[tuple[str, str]]:
    """(access key id, secret) of each key of a node, for handing them to the node's own process."""
    found = view.find(ACCESS_KEYS, GLOBAL, "node", node)
    return [(key.id, vault.open(key.sealed, _context(key.id))) for key in found]


def _context(access_key: str) -> str:
    return f"access-key/{access_key}"


def _opens_to(vault: Vault, key: AccessKey, secret: str) -> bool:
    try:
        return vault.open(key.sealed, _context(key.id)) == secret
    except BadSeal:
        return False


def _user_id(account: str, node: str) -> str:
    """A node's unique id in IAM's form for users: AIDA and 17 base32 characters."""
    digest = hashlib.sha256(f"{account}/{node}".encode()).digest()
    return "AIDA" + base64.b32encode(digest).decode()[:17]
