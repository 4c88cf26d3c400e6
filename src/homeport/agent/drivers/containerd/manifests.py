"""Image manifests, indexes and configs (OCI and Docker schema 2) as data. Pure.

Members that are absent or null are the same; unknown ones are ignored.
"""

from __future__ import annotations

import hashlib
import platform as machine
from dataclasses import dataclass
from typing import Any

import msgspec

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

ACCEPT = ", ".join((OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST))
MAX_MANIFEST = 8 << 20  # bytes of a manifest, index or config; registries refuse manifests above 4 MiB

REF_CONFIG = "containerd.io/gc.ref.content.config"
REF_LAYER = "containerd.io/gc.ref.content.l."
REF_MANIFEST = "containerd.io/gc.ref.content.m."
REF_SNAPSHOT = "containerd.io/gc.ref.snapshot."


class BadManifest(ValueError):
    """A manifest, index or config that can't be used."""


class Platform(msgspec.Struct, frozen=True):
    os: str = ""
    architecture: str = ""
    variant: str | None = None

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """A blob: ``size`` in bytes."""

    digest: str
    size: int = 0
    media_type: str = ""
    platform: Platform | None = None
    annotations: dict[str, str] | None = None


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    config: Descriptor
    layers: tuple[Descriptor, ...] = ()
    media_type: str = ""


class Index(msgspec.Struct, frozen=True, rename="camel"):
    manifests: tuple[Descriptor, ...] = ()
    media_type: str = ""


class RunConfig(msgspec.Struct, frozen=True, rename="pascal"):
    """How an image wants to be run."""

    env: tuple[str, ...] | None = None
    user: str | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    working_dir: str | None = None
    stop_signal: str | None = None
    volumes: dict[str, Any] | None = None  # by path


class RootFs(msgspec.Struct, frozen=True):
    diff_ids: tuple[str, ...] = ()


class ImageConfig(msgspec.Struct, frozen=True):
    rootfs: RootFs = RootFs()
    config: RunConfig | None = None
    architecture: str = ""
    os: str = ""


@dataclass(frozen=True)
class Resolved:
    """An image for this machine: everything that a container needs to know of it."""

    digest: str  # of what the reference names: an index or a manifest
    config: RunConfig
    chain_id: str  # the snapshot of all its layers


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def this_machine() -> Platform:
    """The platform whose images run here, in the words of image indexes."""
    name = machine.machine()
    known = {"x86_64": ("amd64", None), "aarch64": ("arm64", "v8"), "armv7l": ("arm", "v7")}
    architecture, variant = known.get(name, (name, None))
    return Platform("linux", architecture, variant)


def is_index(media_type: str, data: bytes) -> bool:
    """Whether a document lists manifests. Where its type isn't given, its members tell."""
    if media_type in (OCI_INDEX, DOCKER_LIST):
        return True
    if media_type in (OCI_MANIFEST, DOCKER_MANIFEST):
        return False
    return "manifests" in _members(data)


def media_type_of(data: bytes, given: str) -> str:
    """The document's type: what it says itself, what the registry said, or what its members tell."""
    own = _members(data).get("mediaType")
    if isinstance(own, str) and own:
        return own
    if given in (OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST):
        return given
    return OCI_INDEX if is_index("", data) else OCI_MANIFEST


def _members(data: bytes) -> dict[str, Any]:
    try:
        members = msgspec.json.decode(data)
    except msgspec.DecodeError as e:
        raise BadManifest(f"malformed manifest: {e}") from None
    if not isinstance(members, dict):
        raise BadManifest("malformed manifest: not an object")
    return members


def read_index(data: bytes) -> Index:
    """Raises BadManifest."""
    try:
        return msgspec.json.decode(data, type=Index)
    except msgspec.DecodeError as e:
        raise BadManifest(f"malformed index: {e}") from None


def read_manifest(data: bytes) -> Manifest:
    """Raises BadManifest."""
    try:
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as e:
        raise BadManifest(f"malformed manifest: {e}") from None


def read_config(data: bytes) -> ImageConfig:
    """Raises BadManifest."""
    try:
        return msgspec.json.decode(data, type=ImageConfig)
    except msgspec.DecodeError as e:
        raise BadManifest(f"malformed image config: {e}") from None


def _fits(has: Platform | None, wanted: Platform) -> bool:
    if has is None:
        return True
    if (has.os, has.architecture) != (wanted.os, wanted.architecture):
        return False
    return not has.variant or not wanted.variant or has.variant == wanted.variant


def _no_platform(wanted: Platform) -> BadManifest:
    name = f"{wanted.os}/{wanted.architecture}"
    return BadManifest(f"image Manifest does not contain descriptor matching platform '{name}'")


def choose(index: Index, wanted: Platform) -> Descriptor:
    """The entry for a platform: an exact one first, else one that names no platform (it may be a nested index).

    Attestations, which say unknown/unknown, are never chosen. Raises BadManifest with AWS's text.
    """
    fitting = [m for m in index.manifests if _fits(m.platform, wanted)]
    fitting.sort(key=lambda m: m.platform is None)
    if not fitting:
        raise _no_platform(wanted)
    return fitting[0]


def check_platform(config: ImageConfig, wanted: Platform) -> None:
    """Raises BadManifest where a single image is for another machine."""
    if config.architecture and (config.os or "linux", config.architecture) != (wanted.os, wanted.architecture):
        raise _no_platform(wanted)


def chain_ids(diff_ids: tuple[str, ...]) -> list[str]:
    """The snapshot names of the layers, bottom first, as the OCI image specification defines chain ids."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(digest_of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain


def manifest_labels(manifest: Manifest) -> dict[str, str]:
    """Labels that keep what a manifest names from containerd's collector."""
    layers = {f"{REF_LAYER}{i}": layer.digest for i, layer in enumerate(manifest.layers)}
    return {REF_CONFIG: manifest.config.digest, **layers}


def index_labels(index: Index) -> dict[str, str]:
    return {f"{REF_MANIFEST}{i}": m.digest for i, m in enumerate(index.manifests)}
