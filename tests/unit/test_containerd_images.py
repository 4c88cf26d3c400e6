"""References, manifests and archives as data."""

from __future__ import annotations

import hashlib
import json

import pytest

from homeport.agent.drivers.containerd import archive, manifests
from homeport.agent.drivers.containerd.references import BadReference, parse, plain_http

DIGEST = "sha256:" + "a" * 64
FULL, TAG = "io.containerd.image.name", "org.opencontainers.image.ref.name"
AMD64 = manifests.Platform("linux", "amd64")


@pytest.mark.parametrize(
    ("text", "name", "endpoint", "target"),
    [
        ("httpd", "docker.io/library/httpd:latest", "registry-1.docker.io", "latest"),
        ("httpd:2.4", "docker.io/library/httpd:2.4", "registry-1.docker.io", "2.4"),
        ("me/app:1", "docker.io/me/app:1", "registry-1.docker.io", "1"),
        ("docker.io/httpd", "docker.io/library/httpd:latest", "registry-1.docker.io", "latest"),
        ("index.docker.io/me/app", "docker.io/me/app:latest", "registry-1.docker.io", "latest"),
        ("localhost/app", "localhost/app:latest", "localhost", "latest"),
        ("localhost:5000/a/b:x", "localhost:5000/a/b:x", "localhost:5000", "x"),
        ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000", "latest"),
        ("public.ecr.aws/docker/library/httpd:2.4",) * 2 + ("public.ecr.aws", "2.4"),
        (f"httpd@{DIGEST}", f"docker.io/library/httpd@{DIGEST}", "registry-1.docker.io", DIGEST),
        (f"r.example/a:1@{DIGEST}", f"r.example/a:1@{DIGEST}", "r.example", DIGEST),
        ("a__b/c-d.e--f", "docker.io/a__b/c-d.e--f:latest", "registry-1.docker.io", "latest"),
    ],
)
def test_references(text: str, name: str, endpoint: str, target: str) -> None:
    reference = parse(text)
    assert (str(reference), reference.endpoint, reference.target) == (name, endpoint, target)
    assert parse(name) == reference


@pytest.mark.parametrize(
    "text",
    ["", ":1", "a:", "a b", "Httpd", "a//b", "a@sha256:1", "a@", "-a", "a:" + "t" * 129, "http://a/b", "a/b/", "a/-b"],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(BadReference, match="invalid reference format"):
        parse(text)


@pytest.mark.parametrize(
    ("endpoint", "insecure", "expected"),
    [
        ("localhost:5000", frozenset(), True),
        ("localhost", frozenset(), True),
        ("127.0.0.1:5000", frozenset(), True),
        ("127.8.8.8", frozenset(), True),
        ("[::1]:5000", frozenset(), True),
        ("127.0.0.1.example.com", frozenset(), False),
        ("localhost.example.com", frozenset(), False),
        ("10.0.0.1:5000", frozenset(), False),
        ("10.0.0.1:5000", frozenset({"10.0.0.1"}), True),
        ("10.0.0.1:5000", frozenset({"10.0.0.1:5000"}), True),
        ("10.0.0.1:5001", frozenset({"10.0.0.1:5000"}), False),
    ],
)
def test_plain_http(endpoint: str, insecure: frozenset[str], expected: bool) -> None:
    assert plain_http(endpoint, insecure) is expected


def entry(
    digest: str, os: str | None = None, architecture: str = "", variant: str | None = None
) -> manifests.Descriptor:
    platform = manifests.Platform(os, architecture, variant) if os else None
    return manifests.Descriptor(digest=digest, platform=platform)


def test_choosing_a_platform() -> None:
    arm = manifests.Platform("linux", "arm64", "v8")
    entries = (
        entry("att", "unknown", "unknown"),
        entry("win", "windows", "amd64"),
        entry("v7", "linux", "arm64", "v7"),
        entry("arm", "linux", "arm64"),
        entry("amd", "linux", "amd64"),
        entry("any"),
    )
    index = manifests.Index(entries)
    assert manifests.choose(index, AMD64).digest == "amd"
    assert manifests.choose(index, arm).digest == "arm"
    assert manifests.choose(manifests.Index((entries[0], entries[-1])), AMD64).digest == "any"
    text = "image Manifest does not contain descriptor matching platform 'linux/amd64'"
    with pytest.raises(manifests.BadManifest, match=text):
        manifests.choose(manifests.Index(entries[:4]), AMD64)
    with pytest.raises(manifests.BadManifest, match=text):
        manifests.check_platform(manifests.ImageConfig(architecture="arm64", os="linux"), AMD64)
    manifests.check_platform(manifests.ImageConfig(architecture="amd64"), AMD64)


def test_chain_ids() -> None:
    a, b = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    second = "sha256:" + hashlib.sha256(f"{a} {b}".encode()).hexdigest()
    assert manifests.chain_ids((a, b)) == [a, second]
    assert manifests.chain_ids(()) == []


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"7", b"\xff", b'{"config": 3}', b'{"layers": []}'])
def test_malformed_manifests(data: bytes) -> None:
    with pytest.raises(manifests.BadManifest):
        manifests.read_manifest(data)


def test_kinds_of_documents() -> None:
    assert manifests.media_type_of(b'{"manifests": []}', "") == manifests.OCI_INDEX
    assert manifests.media_type_of(b'{"config": {}}', "text/plain") == manifests.OCI_MANIFEST
    assert manifests.media_type_of(b"{}", manifests.DOCKER_LIST) == manifests.DOCKER_LIST
    own = json.dumps({"mediaType": manifests.DOCKER_MANIFEST}).encode()
    assert manifests.media_type_of(own, manifests.OCI_INDEX) == manifests.DOCKER_MANIFEST


def test_configs_with_nulls() -> None:
    config = manifests.read_config(
        b'{"config": {"Env": null, "Cmd": ["a"], "Labels": {"x": "y"}}, "rootfs": {"type": "layers"}}'
    )
    assert config.config == manifests.RunConfig(cmd=("a",))
    assert manifests.read_config(b'{"config": null}').config is None


def test_labels_hold_what_a_manifest_names() -> None:
    manifest = manifests.Manifest(entry("c"), (entry("l0"), entry("l1")))
    assert manifests.manifest_labels(manifest) == {
        "containerd.io/gc.ref.content.config": "c",
        "containerd.io/gc.ref.content.l.0": "l0",
        "containerd.io/gc.ref.content.l.1": "l1",
    }
    assert manifests.index_labels(manifests.Index((entry("m"),))) == {"containerd.io/gc.ref.content.m.0": "m"}


def oci(annotations: dict[str, str], tags: list[str] | None = None) -> archive.Contents:
    manifest = b'{"config": {"digest": "c"}, "layers": []}'
    digest = manifests.digest_of(manifest)
    index = {"manifests": [{"digest": digest, "annotations": annotations}]}
    documents = {
        "oci-layout": b"{}",
        "index.json": json.dumps(index).encode(),
        f"blobs/sha256/{digest[7:]}": manifest,
    }
    if tags is not None:
        documents["manifest.json"] = json.dumps([{"Config": "c", "Layers": [], "RepoTags": tags}]).encode()
    return archive.Contents(documents=documents)


@pytest.mark.parametrize(
    ("annotations", "tags", "expected"),
    [
        ({FULL: "docker.io/library/a:1", TAG: "1"}, None, ["docker.io/library/a:1"]),
        ({TAG: "r.example/b:2"}, None, ["r.example/b:2"]),
        ({TAG: "2"}, ["b:2", "c:3"], ["docker.io/library/b:2"]),
        ({}, ["b:2"], ["docker.io/library/b:2"]),
        ({TAG: "2"}, None, [None]),
    ],
)
def test_names_in_oci_archives(annotations: dict[str, str], tags: list[str] | None, expected: list[str | None]) -> None:
    assert [found.name for found in archive.images(oci(annotations, tags))] == expected


def test_blobs_that_lie_or_lack() -> None:
    contents = oci({})
    contents.documents["blobs/sha256/" + "0" * 64] = b"{}"
    with pytest.raises(archive.BadArchive, match="has the digest"):
        archive.images(contents)
    contents = oci({})
    path = next(p for p in contents.documents if p.startswith("blobs/"))
    del contents.documents[path]
    with pytest.raises(archive.BadArchive, match="is missing"):
        archive.images(contents)


def test_links_that_go_round_end() -> None:
    assert archive.Contents(links={"a": "b", "b": "a"}).follow("a") in ("a", "b")
