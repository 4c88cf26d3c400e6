"""How a client knows the API over TLS: by a pinned public key, or by the system's authorities."""

from __future__ import annotations

import hmac
import ssl


def client_context(pin: str | None) -> ssl.SSLContext:
    """For one server. ``pin``: of its public key (``certificates.pin``), whatever its certificate's names and dates;
    None: its certificate is verified for its name with the system's authorities."""
    if pin is None:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the pin says all; see _Pinned
    context.sslobject_class = type("Pinned", (_Pinned,), {"pin": pin})
    context.sslsocket_class = type("PinnedSocket", (_PinnedSocket,), {"pin": pin})
    return context


class _Pinned(ssl.SSLObject):
    """Ends a handshake with another server, before anything is sent to it. The handshake itself has proved that the
    server has the certificate's private key."""

    pin = ""

    def do_handshake(self) -> None:
        super().do_handshake()
        _compare(self.getpeercert(binary_form=True), self.pin)


class _PinnedSocket(ssl.SSLSocket):
    """The same over a blocking socket."""

    pin = ""

    def do_handshake(self, block: bool = False) -> None:
        super().do_handshake(block)
        _compare(self.getpeercert(binary_form=True), self.pin)


def _compare(certificate: bytes | None, pin: str) -> None:
    if not hmac.compare_digest(_pin_of(certificate) if certificate else "", pin):
        raise ssl.SSLCertVerificationError("the server's key is not the one that the join token names")


def _pin_of(certificate: bytes) -> str:
    from cryptography import x509  # some MiB, which an agent beside its control plane does without

    from homeport.aws.certificates import pin

    return pin(x509.load_der_x509_certificate(certificate))
