"""Options of Docker's volume driver ``local``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from homeport.agent.drivers import DriverError
from homeport.agent.drivers.containerd.local_volumes import Local, read
from homeport.agentapi import Volume


@pytest.mark.parametrize(
    ("options", "means"),
    [
        ({}, None),
        ({"type": "", "o": ""}, None),
        ({"type": "tmpfs", "device": "tmpfs"}, Local(None)),
        (
            {"type": "tmpfs", "device": "x", "o": "size=9m,uid=7,nosuid,noexec,noexec,rw"},
            Local(None, flags=0xA, data="size=9m,uid=7"),
        ),
        ({"type": "none", "device": "/srv", "o": "bind"}, Local(Path("/srv"))),
        ({"device": "/srv", "o": "ro,rbind"}, Local(Path("/srv"), read_only=True)),
    ],
)
def test_options(options: dict[str, str], means: Local | None) -> None:
    assert read(Volume("v", driver="local", driver_opts=options)) == means


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"type": "nfs", "device": ":/", "o": "addr=1.1.1.1"}, "not 'nfs'"),
        ({"type": "none", "device": "/srv", "o": "ro"}, "not 'none'"),
        ({"device": "srv", "o": "bind"}, "no absolute path"),
        ({"type": "tmpfs"}, "missing device"),
        ({"type": "tmpfs", "device": "x", "Size": "1"}, "invalid option: 'Size'"),
    ],
)
def test_what_is_refused(options: dict[str, str], text: str) -> None:
    with pytest.raises(DriverError, match=text) as raised:
        read(Volume("v", driver_opts=options))
    assert raised.value.name == "CannotCreateVolumeError"


@pytest.mark.parametrize("members", [{"driver": "rexray"}, {"kind": "host", "path": "/x"}, {"kind": "efs"}])
def test_other_volumes_are_none_of_its(members: dict[str, Any]) -> None:
    assert read(Volume("v", driver_opts={"type": "nfs"}, **members)) is None
