"""Sealed secrets and derived keys, all under one master key that lies outside the database."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from homeport.aws.operations import Credential
from homeport.services.iam.model import AccessKey

MASTER_BYTES = 32
_NONCE_BYTES = 12  # what AES-GCM is made for (NIST SP 800-38D); random ones are safe for 2^32 seals under one key
_FORMAT = "1."  # of a sealed secret: this, then base64 of nonce, ciphertext and tag


class BadSeal(ValueError):
    """Not sealed under this master key for this context, or damaged."""


class BadMasterKey(Exception):
    """The master key file can't be used; the text says why and what to do."""


class Vault:
    """Seals and opens secrets, and derives keys, with the master key (AES-256-GCM; HKDF-SHA256 for every key, so that
    the master key itself encrypts nothing)."""

    def __init__(self, master: bytes, random: Callable[[int], bytes] = os.urandom) -> None:
        if len(master) != MASTER_BYTES:
            raise BadMasterKey(f"The master key has {len(master)} bytes, not {MASTER_BYTES}.")
        self._master, self._random = master, random
        self._cipher = AESGCM(self.derive("seal"))
        self.opened: dict[str, tuple[AccessKey, Credential]] = {}  # by access key id; see ``keys.lookup``

    def seal(self, clear: str, context: str) -> str:
        """``clear`` encrypted; opens only with the same ``context`` (what and whose secret it is)."""
        nonce = self._random(_NONCE_BYTES)
        return (
            _FORMAT + base64.b64encode(nonce + self._cipher.encrypt(nonce, clear.encode(), context.encode())).decode()
        )

    def open(self, sealed: str, context: str) -> str:
        """Raises BadSeal."""
        try:
            if not sealed.startswith(_FORMAT):
                raise BadSeal("unknown format")
            raw = base64.b64decode(sealed[len(_FORMAT) :], validate=True)
            return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], context.encode()).decode()
        except (binascii.Error, ValueError, InvalidTag) as error:
            raise BadSeal(f"the secret of {context} can't be opened with this master key") from error

    def derive(self, purpose: str) -> bytes:
        """32 bytes for MACs (pagination cursors …), always the same for the same purpose."""
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"homeport/" + purpose.encode()).derive(self._master)


def load_master(path: str, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """Reads the 0600 master key file (64 hex digits), making it at first start (atomically, fsynced). Raises
    BadMasterKey for one that others may read or that is damaged."""
    if not os.path.lexists(path):
        _create(Path(path), random(MASTER_BYTES))
    content = _read_private(path)
    try:
        master = bytes.fromhex(content.decode())
    except ValueError:
        master = b""
    if len(master) != MASTER_BYTES:
        raise BadMasterKey(
            f"{path} is damaged: it should hold {2 * MASTER_BYTES} hex digits. Restore it from a backup."
        )
    return master


def _read_private(path: str) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a named pipe must not stop the start
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise BadMasterKey(f"{path} can't be read: {error.strerror}.") from error
    with open(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise BadMasterKey(f"{path} is not a regular file.")
        if mode & 0o077:
            raise BadMasterKey(f"{path} may be read or written by others (mode {mode & 0o777:04o}). chmod 600 it.")
        return file.read(4096)


def _create(path: Path, master: bytes) -> None:
    """Whole or not at all; where another process makes it at the same moment, the first one's stays."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)  # of a process with the same id that died here
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(master.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    finally:
        draft.unlink(missing_ok=True)
