from __future__ import annotations

from pathlib import Path

import pytest

from homeport import config


@pytest.mark.parametrize("url", ["minio", "minio:9000", "ftp://minio", "http://", "/var/s3"])
def test_an_s3_endpoint_is_a_url(tmp_path: Path, url: str) -> None:
    with pytest.raises(config.ConfigError, match="--s3-endpoint takes a URL"):
        config.load_or_create(str(tmp_path), s3_endpoint=url)
    assert config.saved(str(tmp_path)) is None


def test_settings_come_back_as_they_were_saved(tmp_path: Path) -> None:
    given = {"s3_endpoint": "http://key:secret@127.0.0.1:9000", "image_pull_behavior": "always", "s3_folder": "/s3"}
    made = config.load_or_create(str(tmp_path), **given)
    config.save(made)
    assert config.load(str(tmp_path)) == made
    assert (tmp_path / "config.json").stat().st_mode & 0o777 == 0o600, "it may hold a key"
    again = config.load_or_create(str(tmp_path), image_pull_behavior="once")
    assert (again.image_pull_behavior, again.s3_folder) == ("once", "/s3")
