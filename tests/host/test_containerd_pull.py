"""Pulling from a registry over real HTTP, and what goes wrong with it."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import shutil
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest
from containerd_bed import Bed, with_bed
from containerd_registry import MANIFEST, Content, layer_of, serving

from homeport.agent.drivers import ContainerPlan, DriverError, Image, Progress
from homeport.agent.drivers.containerd import manifests
from homeport.agentapi import ContainerSpec
from support.homeport import archive

pytestmark = pytest.mark.host

ARCHITECTURE = manifests.this_machine().architecture


def small_layer(name: str, text: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


def build(tmp_path: Path) -> Content:
    """``app:1``: an index with a nested index, an attestation, and an image of three kinds of layers."""
    content = Content()
    base = layer_of(archive("test"))
    extra, third = small_layer("extra", "second layer\n"), small_layer("third", "third layer\n")
    layers = [(gzip.compress(base, 1, mtime=0), base, "+gzip"), (extra, extra, "")]
    if shutil.which("zstd"):
        layers.append((zstd(third), third, "+zstd"))
    image = content.image(layers, ARCHITECTURE, Entrypoint=["/bin/sh", "-c"], Env=["PATH=/bin", "A=1"])
    image["platform"] = {"os": "linux", "architecture": ARCHITECTURE}
    other = content.image([(extra, extra, "")], "mips")
    other["platform"] = {"os": "linux", "architecture": "mips"}
    nested = content.index([other, image])
    attestation = content.document({"schemaVersion": 2}, MANIFEST)
    attestation["platform"] = {"os": "unknown", "architecture": "unknown"}
    content.tags["app:1"] = content.index([attestation, other, nested])["digest"]
    content.tags["plain:1"] = image["digest"]
    content.tags["foreign:1"] = content.index([attestation, other])["digest"]
    content.tags["single-foreign:1"] = other["digest"]
    return content


async def run(bed: Bed, image: Image, script: str) -> tuple[int | None, str]:
    spec = ContainerSpec(name="pulled", image=image.reference, command=(script,))
    plan = ContainerPlan(id="pulled", task_id="d" * 32, spec=spec, image=image)
    await bed.driver.create(plan)
    await bed.driver.start(plan.id)
    observed = await bed.stopped(plan.id)
    await bed.driver.remove(plan.id)  # waits for its last words
    return observed.exit_code, bed.output(plan)[0]


def test_pull_by_tag_and_digest_with_a_token(tmp_path: Path) -> None:
    content = build(tmp_path)

    async def scenario(bed: Bed) -> None:
        with serving(content) as registry:
            registry.wants_token = True
            seen: list[Progress] = []
            reference = f"{registry.address}/app:1"
            image = await bed.driver.pull(reference, seen.append)
            assert image == Image(reference, content.tags["app:1"])
            assert seen[-1].done == seen[-1].total > 0
            assert [p.done for p in seen] == sorted(p.done for p in seen)
            third = " /third" if shutil.which("zstd") else ""
            code, out = await run(bed, image, f"cat /extra{third}; echo $A")
            assert code == 0
            assert out.startswith("second layer\n")
            assert out.endswith("1\n")
            # What is here is used as it is, without a word to the registry.
            registry.requests.clear()
            assert await bed.driver.pull(reference, seen.append) == image
            assert registry.requests == []
            # A pinned tag is what it was, wherever the tag goes; and what came by its tag isn't fetched for its digest.
            pinned = f"{reference}@{content.tags['app:1']}"
            assert await bed.driver.pull(pinned, seen.append) == Image(pinned, content.tags["app:1"])
            assert registry.requests == []
            moved = f"{reference}@{content.tags['plain:1']}"
            assert (await bed.driver.pull(moved, seen.append)).digest == content.tags["plain:1"]
            assert await bed.driver.pull(reference, seen.append) == image
            by_digest = f"{registry.address}/plain@{content.tags['plain:1']}"
            assert (await bed.driver.pull(by_digest, seen.append)).digest == content.tags["plain:1"]
            assert registry.blob_requests() == []  # all its blobs were here
            names = {listed.reference for listed in await bed.driver.images.images()}
            assert {reference, by_digest} <= names
            assert await bed.driver.images.remove_image(reference)
            assert not await bed.driver.images.remove_image(reference)
            assert await bed.driver.images.get(reference) is None
            assert (await run(bed, Image(by_digest, content.tags["plain:1"]), "exit 4"))[0] == 4

    with_bed(tmp_path, scenario)


def test_one_download_serves_many_pulls(tmp_path: Path) -> None:
    content = build(tmp_path)

    async def scenario(bed: Bed) -> None:
        with serving(content) as registry:
            reference = f"{registry.address}/app:1"
            other = f"{registry.address}/plain:1"
            pulls = [bed.driver.pull(r, lambda _: None) for r in (reference, reference, other, reference)]
            images = await asyncio.gather(*pulls)
            assert len({image.digest for image in images}) == 2
            layers = [key for key in registry.blob_requests() if content.kinds[key].startswith(manifests.OCI_LAYER)]
            assert len(layers) == len(set(layers)) >= 2

    with_bed(tmp_path, scenario)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on_where_it_ended(tmp_path: Path, ranges: bool) -> None:
    content = build(tmp_path)

    async def scenario(bed: Bed) -> None:
        with serving(content) as registry:
            registry.ranges = ranges
            reference = f"{registry.address}/plain:1"
            registry.cut = 1
            image = await bed.driver.pull(reference, lambda _: None)
            assert (await run(bed, image, "exit 0"))[0] == 0
            await bed.driver.images.remove_image(reference)
            registry.cut = 1000
            with pytest.raises(DriverError, match=r"ref pull has been retried 1 time\(s\): failed to copy: ") as e:
                await bed.driver.pull(reference, lambda _: None)
            assert e.value.name == "CannotPullContainerError"

    with_bed(tmp_path, scenario)


def test_what_can_go_wrong_has_awss_texts(tmp_path: Path) -> None:
    content = build(tmp_path)

    async def scenario(bed: Bed) -> None:
        async def failure(reference: str) -> str:
            with pytest.raises(DriverError) as e:
                await bed.driver.pull(reference, lambda _: None)
            assert e.value.name == "CannotPullContainerError"
            return str(e.value)

        with serving(content) as registry:
            at = registry.address
            prefix = "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref"
            assert await failure(f"{at}/nope:latest") == f"{prefix} {at}/nope:latest: {at}/nope:latest: not found"
            for name in ("foreign:1", "single-foreign:1"):
                text = f"image Manifest does not contain descriptor matching platform 'linux/{ARCHITECTURE}'"
                assert await failure(f"{at}/{name}") == f"CannotPullContainerError: {text}"
            wrong = "sha256:" + "0" * 64
            assert await failure(f"{at}/app@{wrong}") == f"{prefix} {at}/app@{wrong}: {at}/app@{wrong}: not found"
            assert "invalid reference format" in await failure("Upper")
            layers = [key for key, kind in content.kinds.items() if kind.startswith(manifests.OCI_LAYER)]
            registry.broken = set(layers)
            text = await failure(f"{at}/plain:1")
            assert "failed to copy" in text
            assert "unexpected commit digest" in text
            registry.broken = set()
            document = content.blobs[content.tags["plain:1"]]
            content.blobs[content.tags["plain:1"]] = document + b" "
            pinned = f"{at}/plain@{content.tags['plain:1']}"
            assert "manifest has digest" in await failure(pinned)
            content.blobs[content.tags["plain:1"]] = document
            lost = dict(content.blobs)
            for key in layers:
                del content.blobs[key]
            assert "404 Not Found" in await failure(f"{at}/plain:1")
            content.blobs.update(lost)
            await bed.driver.pull(f"{at}/plain:1", lambda _: None)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        text = await failure(f"127.0.0.1:{port}/app:1")
        assert f'failed to do request: Get "http://127.0.0.1:{port}/v2/app/manifests/1"' in text
        assert text.endswith(f"dial tcp 127.0.0.1:{port}: connect: connection refused")

    with_bed(tmp_path, scenario)


def test_a_private_repository(tmp_path: Path) -> None:
    content = build(tmp_path)

    async def scenario(bed: Bed) -> None:
        with serving(content) as registry:
            registry.wants_token = registry.private = True
            reference = f"{registry.address}/app:1"
            with pytest.raises(DriverError) as e:
                await bed.driver.pull(reference, lambda _: None)
            assert str(e.value) == (
                "CannotPullContainerError: pull image manifest has been retried 1 time(s): "
                f"failed to resolve ref {reference}: pull access denied, repository does not exist or may require "
                "authorization: server message: insufficient_scope: authorization failed"
            )
            registry.address = "127.0.0.1:1"  # where nobody gives tokens
            with pytest.raises(DriverError, match=r"failed to fetch anonymous token: .* connection refused"):
                await bed.driver.pull(reference, lambda _: None)

    with_bed(tmp_path, scenario)


def test_a_full_disk(tmp_path: Path) -> None:
    content = build(tmp_path)
    big = small_layer("big", os.urandom(24 << 20).hex())
    content.tags["big:1"] = content.image([(big, big, "")], ARCHITECTURE, Cmd=["x"])["digest"]
    state = tmp_path / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", state], check=True)

    async def scenario(bed: Bed) -> None:
        with serving(content) as registry:
            with pytest.raises(DriverError, match="no space left on device") as e:
                await bed.driver.pull(f"{registry.address}/big:1", lambda _: None)
            assert e.value.name == "CannotPullContainerError"
            # What had been fetched is given back, and others can go on.
            image = await bed.driver.pull(f"{registry.address}/plain:1", lambda _: None)
            assert (await run(bed, image, "exit 0"))[0] == 0

    try:
        with_bed(tmp_path, scenario)
    finally:
        subprocess.run(["umount", "-l", state], check=True)
