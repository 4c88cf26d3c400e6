"""Which image a container runs: ``imageDigest``, and what the pull behaviours make of a tag that moves."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest
from containerd_registry import Content, layer_of, serving

from homeport.agent.drivers.containerd import manifests
from support.homeport import Homeport, archive
from support.tasks import Tasks

pytestmark = pytest.mark.host


def ended(tasks: Tasks, image: str) -> dict[str, Any]:
    """The container of a task of this image, once it has ended."""
    container: dict[str, Any] = tasks.wait(tasks.run("exit 0", image=image), "STOPPED")["containers"][0]
    return container


@pytest.mark.feature("imageDigest of every container, also of loaded images")
def test_a_loaded_image_has_the_digest_that_is_listed(tasks: Tasks) -> None:
    listed = dict(line.split("\t")[:2] for line in tasks.homeport.command("image", "ls").stdout.splitlines())
    container = ended(tasks, "homeport-test:latest")
    assert container["imageDigest"] == listed["docker.io/library/homeport-test:latest"]
    assert container["image"] == "homeport-test:latest"


@pytest.mark.feature("Image pull behaviours always, once and prefer-cached")
@pytest.mark.parametrize("behavior", ["always", "once"])
def test_a_tag_that_moves(own_homeport: Callable[..., Homeport], behavior: str) -> None:
    content = Content()
    layer = layer_of(archive("test"))
    architecture = manifests.this_machine().architecture
    first, second = (
        content.image([(gzip.compress(layer, 1, mtime=0), layer, "+gzip")], architecture, Env=["PATH=/bin", f"V={n}"])
        for n in (1, 2)
    )
    tasks = Tasks(own_homeport("--image-pull-behavior", behavior, image=None))
    with serving(content) as registry:
        image = f"{registry.address}/app:1"
        content.tags["app:1"] = first["digest"]
        assert ended(tasks, image)["imageDigest"] == first["digest"]
        content.tags["app:1"] = second["digest"]
        moved = second if behavior == "always" else first
        assert ended(tasks, image)["imageDigest"] == moved["digest"]
        assert len(set(registry.blob_requests())) == len(registry.blob_requests()), "what is here isn't fetched again"
        asked = len(registry.requests)
        fixed = f"{registry.address}/app@{first['digest']}"
        assert [ended(tasks, fixed)["imageDigest"] for _ in range(2)] == [first["digest"]] * 2
        assert len([r for r in registry.requests[asked:] if "/manifests/" in r]) <= 1
    gone = ended(tasks, image)
    if behavior == "always":
        assert gone["reason"].startswith("CannotPullContainerError: ")
    else:
        assert gone["imageDigest"] == first["digest"]
        assert tasks.homeport.command("image", "pull", image, check=False).returncode == 1, "it asks anew"
