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
    return context


class _Pinned(ssl.SSLObject):
    """Ends a handshake with another server, before anything is sent to it. The handshake itself has proved that the
    server has the certificate's private key."""

    pin = ""

    def do_handshake(self) -> None:
        super().do_handshake()
        certificate = self.getpeercert(binary_form=True)
        found = _pin_of(certificate) if certificate else ""
        if not hmac.compare_digest(found, self.pin):
            raise ssl.SSLCertVerificationError("the server's key is not the one that the join token names")


def _pin_of(certificate: bytes) -> str:
    from cryptography import x509  # some MiB, which an agent beside its control plane does without

    from homeport.aws.certificates import pin

    return pin(x509.load_der_x509_certificate(certificate))
