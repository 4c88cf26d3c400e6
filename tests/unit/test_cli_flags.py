"""The flags of ``homeport up``: what of them becomes a setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cyclopts import App
from cyclopts.exceptions import CycloptsError

from homeport.cli import CommandError, lifecycle
from homeport.cli.flags import Flags
from homeport.config import ConfigError, Settings


def parsed(*words: str) -> tuple[Flags, dict[str, Any]]:
    """The flags, and the other arguments of ``up``."""
    app = App(result_action="return_value")
    app.default(lifecycle.up)
    _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    given = dict(bound.arguments)
    return given.pop("flags", Flags()), given


def test_what_is_not_given_leaves_settings_as_they_are() -> None:
    flags, others = parsed("--state", "x", "--detach")
    assert others == {"state": "x", "detach": True}
    assert set(flags.settings().values()) == {None}
    assert set(flags.settings()) <= set(Settings.__struct_fields__)


def test_flags_become_settings_and_paths_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = "--port 80 --no-insecure --tls-cert c.pem --s3-folder s3 --image-pull-behavior always --efs fs-12345678=/x"
    flags, _ = parsed(*words.split(), "--access-key", "a", "--secret-key", "b")
    assert {name: value for name, value in flags.settings().items() if value is not None} == {
        "port": 80,
        "insecure": False,
        "tls_cert": str(tmp_path / "c.pem"),
        "s3_folder": str(tmp_path / "s3"),
        "image_pull_behavior": "always",
        "efs": {"fs-12345678": "/x"},
    }
    root = flags.root()
    assert (root.access_key, root.secret_key) == ("a", "b")
    assert parsed("--no-efs")[0].settings()["efs"] == {}


def test_what_can_not_be_given() -> None:
    with pytest.raises(CommandError, match="go together"):
        parsed("--access-key", "a")[0].root()
    with pytest.raises(ConfigError, match="--efs takes"):
        parsed("--efs", "nothing")[0].settings()
    for words in (["8080"], ["--port", "x"], ["--image-pull-behavior", "never"], ["--flags", "x"]):
        with pytest.raises(CycloptsError):
            parsed(*words)
