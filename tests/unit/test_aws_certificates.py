"""The own certificate: what it says, when it is made anew, and that its key stays."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cryptography import x509

from homeport.aws import certificates
from homeport.aws.certificates import BadCertificate

NOW = time.time()


def names_of(path: Path) -> set[str]:
    found = x509.load_pem_x509_certificate(path.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


def test_it_is_made_once_with_a_private_key(tmp_path: Path) -> None:
    certificate, key = certificates.own(tmp_path, ["10.0.0.5", "node.example", "fe80::1"], NOW)
    assert names_of(certificate) == {"10.0.0.5", "node.example", "fe80::1"}
    assert key.stat().st_mode & 0o777 == 0o600
    before = certificate.read_bytes(), key.read_bytes()
    certificates.own(tmp_path, ["node.example"], NOW + 86400)
    assert (certificate.read_bytes(), key.read_bytes()) == before
    certificates.context(certificate, key)


def test_a_new_name_or_a_near_end_renews_it_with_the_pinned_key(tmp_path: Path) -> None:
    certificate, key = certificates.own(tmp_path, ["10.0.0.5"], NOW)
    pin, private, first = certificates.pin_of_file(certificate), key.read_bytes(), certificate.read_bytes()
    certificates.own(tmp_path, ["10.0.0.5", "10.0.0.6"], NOW)
    assert names_of(certificate) == {"10.0.0.5", "10.0.0.6"}
    second = certificate.read_bytes()
    certificates.own(tmp_path, ["10.0.0.5"], NOW + certificates.VALID.total_seconds() - 86400)
    third = certificate.read_bytes()
    assert len({first, second, third}) == 3
    assert (certificates.pin_of_file(certificate), key.read_bytes()) == (pin, private)


def test_a_damaged_certificate_is_made_anew_but_never_its_key(tmp_path: Path) -> None:
    certificate, key = certificates.own(tmp_path, ["10.0.0.5"], NOW)
    pin = certificates.pin_of_file(certificate)
    certificate.write_text("half")
    certificates.own(tmp_path, ["10.0.0.5"], NOW)
    assert certificates.pin_of_file(certificate) == pin
    key.write_text("half")
    with pytest.raises(BadCertificate, match=r"server\.key"):
        certificates.own(tmp_path, ["10.0.0.5"], NOW)
    assert key.read_text() == "half"


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    _, key = certificates.own(tmp_path, ["10.0.0.5"], NOW)
    key.chmod(0o640)
    with pytest.raises(BadCertificate, match="chmod 600"):
        certificates.own(tmp_path, ["10.0.0.5"], NOW)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    certificate, _ = certificates.own(tmp_path / "a", ["10.0.0.5"], NOW)
    _, key = certificates.own(tmp_path / "b", ["10.0.0.5"], NOW)
    with pytest.raises(BadCertificate, match="can't be used"):
        certificates.context(certificate, key)
