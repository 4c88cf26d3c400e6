"""The API's certificate: Homeport's own, or one that the user names.

The own one is signed by itself. Nodes pin its public key, so it keeps its key for ever and is made anew with it
whenever it lacks a name or nears its end.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import os
import ssl
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = datetime.timedelta(days=825)  # the most that Apple's systems take of a certificate that users trust
RENEW = datetime.timedelta(days=60)  # before its end
BACKDATED = datetime.timedelta(hours=1)  # nodes' clocks differ
CERTIFICATE, KEY = "server.crt", "server.key"


class BadCertificate(OSError):
    """A file with a certificate or key that can't be used; the text says why."""


def own(folder: Path, names: Sequence[str], now: float) -> tuple[Path, Path]:
    """Paths of the own certificate and its key (0600) in ``folder``, made or renewed where that is needed. ``names``:
    host names and addresses under which clients reach the API. Raises BadCertificate, OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate, key = folder / CERTIFICATE, folder / KEY
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    private = _key(key)
    if not _fits(certificate, private, names, moment):
        _write(certificate, _signed(private, names, moment).public_bytes(Encoding.PEM), 0o644)
    return certificate, key


def context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a listener speaks: TLS 1.2 and later, nothing renegotiated. Raises BadCertificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    made.set_alpn_protocols(["http/1.1"])
    try:
        # A key with a passphrase fails here: nobody is there to be asked.
        made.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ssl.SSLError, ValueError) as error:
        raise BadCertificate(f"{certificate} with the key {key} can't be used: {error}") from error
    return made


def pin_of_file(certificate: Path) -> str:
    """The pin of the first certificate in a PEM file. Raises BadCertificate."""
    with _explained(certificate):
        return pin(x509.load_pem_x509_certificate(certificate.read_bytes()))
    raise AssertionError


def pin(certificate: x509.Certificate) -> str:
    """SHA-256 of its public key (SubjectPublicKeyInfo in DER), base64url without padding: 43 characters."""
    public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(public).digest()).decode().rstrip("=")


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except BadCertificate:
        raise
    except (OSError, ValueError, TypeError) as error:
        raise BadCertificate(f"{path} can't be used: {error}") from error


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Raises BadCertificate: a key that nodes have pinned is never replaced silently."""
    if not path.exists():
        private = ec.generate_private_key(ec.SECP256R1())
        _write(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
        return private
    with _explained(path):
        if path.stat().st_mode & 0o077:
            raise BadCertificate(f"{path} may be read or written by others. chmod 600 it.")
        found = load_pem_private_key(path.read_bytes(), None)
        if not isinstance(found, ec.EllipticCurvePrivateKey):
            raise ValueError("not a key of an elliptic curve")
        return found
    raise AssertionError


def _fits(path: Path, private: ec.EllipticCurvePrivateKey, names: Sequence[str], now: datetime.datetime) -> bool:
    """Whether the certificate is there, whole, this key's, for all the names, and good for some time."""
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
        held = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    valid = found.not_valid_before_utc <= now < found.not_valid_after_utc - RENEW
    return valid and found.public_key() == private.public_key() and set(map(_general, names)) <= set(held)


def _signed(private: ec.EllipticCurvePrivateKey, names: Sequence[str], now: datetime.datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Homeport")])
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName(sorted(set(map(_general, names)), key=repr)), critical=False)
        # It is its own authority, for clients that are told to trust just this file.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
    )
    return builder.sign(private, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
