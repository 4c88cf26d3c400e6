from __future__ import annotations

from pathlib import Path

import pytest

from homeport import config


@pytest.mark.parametrize("url", ["minio", "minio:9000", "ftp://minio", "http://", "/var/s3"])
def test_an_s3_endpoint_is_a_url(tmp_path: Path, url: str) -> None:
    with pytest.raises(config.ConfigError, match="--s3-endpoint takes a URL"):
        config.load_or_create(str(tmp_path), s3_endpoint=url)
    assert config.saved(str(tmp_path)) is None


def test_a_key_on_the_command_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match="HOMEPORT_S3_KEY"):
        config.load_or_create(str(tmp_path), s3_endpoint="http://key:secret@127.0.0.1:9000")


@pytest.mark.parametrize("text", ["key", "key:", ":secret", ""])
def test_a_handed_key_has_two_parts(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HOMEPORT_S3_KEY", text)
    with pytest.raises(config.ConfigError, match="ACCESS_KEY:SECRET"):
        config.handed_s3_key()


def test_a_handed_key_leaves_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEPORT_S3_KEY", "key:se:cret")
    assert config.handed_s3_key() == "key:se:cret"
    assert config.handed_s3_key() is None


def test_settings_come_back_as_they_were_saved(tmp_path: Path) -> None:
    given = {"s3_endpoint": "http://127.0.0.1:9000", "image_pull_behavior": "always", "s3_folder": "/s3"}
    made = config.load_or_create(str(tmp_path), **given)
    config.save(made)
    assert config.load(str(tmp_path)) == made
    assert (tmp_path / "config.json").stat().st_mode & 0o777 == 0o600
    again = config.load_or_create(str(tmp_path), image_pull_behavior="once")
    assert (again.image_pull_behavior, again.s3_folder) == ("once", "/s3")
