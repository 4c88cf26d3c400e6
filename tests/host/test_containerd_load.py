"""Loading image archives: OCI ones, and what docker save writes, old and new."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import threading
from pathlib import Path
from typing import IO

import pytest
from containerd_bed import Bed, with_bed
from containerd_registry import digest, layer_of

from homeport.agent.drivers import ContainerPlan, Image
from homeport.agent.drivers.containerd import BadArchive, ImageStore
from homeport.agent.drivers.containerd import client as c
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd.client import Client
from homeport.agent.drivers.containerd.manifests import this_machine
from homeport.agentapi import ContainerSpec
from support.homeport import archive

pytestmark = pytest.mark.host


def tar_of(members: dict[str, bytes | str]) -> bytes:
    """A tar with files (bytes) and links (str), in the order given."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(data, str):
                info.type, info.linkname = tarfile.SYMTYPE, data
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def docker_save(layer: bytes, tags: list[str]) -> bytes:
    """As Docker before 25 writes it: the layers first, one of them as a link to another, manifest.json at the end."""
    config = json.dumps(
        {
            "architecture": this_machine().architecture,
            "os": "linux",
            "config": {"Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo saved"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer), digest(layer)]},
        }
    ).encode()
    name = digest(config)[7:] + ".json"
    manifest = [{"Config": name, "RepoTags": tags, "Layers": ["aa/layer.tar", "bb/layer.tar"]}]
    return tar_of(
        {
            "aa/VERSION": b"1.0",
            "aa/layer.tar": layer,
            "bb/layer.tar": "../aa/layer.tar",
            name: config,
            "manifest.json": json.dumps(manifest).encode(),
            "repositories": b"{}",
        }
    )


async def blobs(bed: Bed) -> int:
    client = Client(str(bed.instance.socket), bed.instance.name)
    found = [info async for page in client.stream(c.LIST_CONTENT, pb.ListContentRequest()) for info in page.info]
    await client.close()
    return len(found)


async def says(bed: Bed, image: Image) -> str:
    spec = ContainerSpec(name="loaded", image=image.reference)
    plan = ContainerPlan(id="loaded", task_id="e" * 32, spec=spec, image=image)
    await bed.driver.create(plan)
    await bed.driver.start(plan.id)
    await bed.stopped(plan.id)
    await bed.driver.remove(plan.id)  # waits for its last words
    out = bed.output(plan)[0]
    out_path = bed.instance.state / "agent" / "logs" / plan.task_id / "loaded" / "stdout"
    os.truncate(out_path, 0)
    return out


def test_docker_save_archives(tmp_path: Path) -> None:
    layer = layer_of(archive("test"))

    async def scenario(bed: Bed) -> None:
        saved = docker_save(layer, ["saved:1", "example.com:5000/team/saved:2"])
        images = await bed.driver.images.load(io.BytesIO(saved))
        assert [image.reference for image in images] == ["docker.io/library/saved:1", "example.com:5000/team/saved:2"]
        assert await bed.driver.pull("saved:1", lambda _: None) == Image("saved:1", images[0].digest)
        assert await says(bed, images[0]) == "saved\n"
        # Once more, compressed and through a pipe, by another process's means: the command line has only a socket.
        compressed = gzip.compress(saved, 1)
        reader, writer = os.pipe()

        def feed() -> None:
            with os.fdopen(writer, "wb") as end:
                end.write(compressed)

        threading.Thread(target=feed).start()
        async with ImageStore.connect(str(bed.instance.socket), bed.instance.name) as store:
            with os.fdopen(reader, "rb") as file:
                assert await store.load(file) == images
        (nameless,) = await bed.driver.images.load(io.BytesIO(docker_save(layer, [])))
        assert nameless.digest == images[0].digest
        assert nameless.reference.endswith(f"@{images[0].digest}")

    with_bed(tmp_path, scenario)


def test_an_oci_archive_replaces_the_image_of_its_name(tmp_path: Path) -> None:
    def retold(text: str) -> bytes:
        """The test image's archive with another command."""
        with tarfile.open(archive("test")) as tar:
            files = {m.name: f.read() for m in tar if (f := tar.extractfile(m)) is not None}
        index = json.loads(files["index.json"])
        old = index["manifests"][0]["digest"][7:]
        manifest = json.loads(files.pop(f"blobs/sha256/{old}"))
        config = json.loads(files.pop(f"blobs/sha256/{manifest['config']['digest'][7:]}"))
        config["config"]["Cmd"] = [text]
        for owner, value in ((manifest["config"], config), (index["manifests"][0], manifest)):
            data = json.dumps(value).encode()
            owner.update(digest=digest(data), size=len(data))
            files[f"blobs/sha256/{digest(data)[7:]}"] = data
        files["index.json"] = json.dumps(index).encode()
        return tar_of(dict(files))

    async def scenario(bed: Bed) -> None:
        (image,) = await bed.driver.images.load(io.BytesIO(retold("echo retold")))
        assert image.reference == "docker.io/library/homeport-test:latest"
        assert image.digest != bed.image.digest
        assert await bed.driver.pull("homeport-test", lambda _: None) == Image("homeport-test", image.digest)
        assert await says(bed, image) == "retold\n"

    with_bed(tmp_path, scenario)


def test_damaged_archives_change_nothing(tmp_path: Path) -> None:
    layer = layer_of(archive("test"))
    whole = archive("test").read_bytes()
    broken = bytearray(whole)
    broken[len(broken) // 2] ^= 1

    async def scenario(bed: Bed) -> None:
        before = await bed.driver.images.images()

        async def refused(file: IO[bytes], text: str) -> None:
            with pytest.raises(BadArchive, match=text):
                await bed.driver.images.load(file)

        await refused(io.BytesIO(b"no tar at all" * 100), "not an image archive")
        await refused(io.BytesIO(b""), "not an image archive")
        await refused(io.BytesIO(tar_of({"hello": b"world"})), "neither an OCI layout nor a manifest.json")
        await refused(io.BytesIO(whole[: len(whole) // 2]), "not an image archive")
        await refused(io.BytesIO(bytes(broken)), "digest")
        saved = docker_save(layer, ["x:1"])
        lie = saved.replace(digest(layer)[7:].encode(), b"0" * 64)
        await refused(io.BytesIO(lie), "damaged image archive: layer .* unpacks to")
        await refused(io.BytesIO(tar_of({"manifest.json": b'[{"Config": "c", "Layers": []}]'})), "c is missing")
        await refused(io.BytesIO(tar_of({"manifest.json": b'[{"Config"'})), "damaged image archive")
        assert await bed.driver.images.images() == before

    with_bed(tmp_path, scenario)


def test_removed_images_give_their_space_back_unless_a_container_needs_them(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        running = await bed.start("echo ready; sleep 1000")
        await bed.wrote(running, "ready")
        assert await bed.driver.images.remove_image("homeport-test")
        assert await blobs(bed) == 0
        assert await bed.driver.images.images() == []
        observed = await bed.driver.observe(running.id)
        assert observed is not None
        assert observed.state == "running"
        with archive("test").open("rb") as file:
            await bed.driver.images.load(file)
        assert (await bed.run("exit 2"))[0].exit_code == 2

    with_bed(tmp_path, scenario)
