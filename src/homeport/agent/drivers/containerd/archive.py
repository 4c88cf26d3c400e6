"""Image archives: what ``docker save`` and OCI tools write, read in one pass, whatever the order inside.

Blobs go straight into the content store; only JSON documents are held in memory, so that a file of any size, or a
pipe, can be loaded in bounded memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import posixpath
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

import msgspec

from homeport.agent.drivers.containerd import manifests as m
from homeport.agent.drivers.containerd.client import AlreadyExists, Client
from homeport.agent.drivers.containerd.content import Blob
from homeport.agent.drivers.containerd.references import BadReference, parse

_CHUNK = 1 << 20
_IMAGE_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"


class BadArchive(ValueError):
    """Not an image archive, or a damaged one."""


class _DockerEntry(msgspec.Struct, rename="pascal"):
    config: str
    layers: tuple[str, ...]
    repo_tags: tuple[str, ...] | None = None


@dataclass
class Contents:
    """What an archive held. ``documents``: small JSON files by path; ``blobs``: digest and size of the others, which
    are in the content store now; ``links``: path → path."""

    documents: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, m.Descriptor] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def follow(self, path: str) -> str:
        for _ in range(16):
            if path not in self.links:
                break
            path = self.links[path]
        return path


async def read(client: Client, lease: str, file: IO[bytes], progress: Callable[[int], None]) -> Contents:
    """Takes in a whole archive, plain or gzip-compressed (any compression that tarfile knows). ``progress`` is told the
    bytes of blobs taken in so far. Raises BadArchive, CallError."""
    contents = Contents()
    done = 0
    try:
        with await asyncio.to_thread(tarfile.open, fileobj=file, mode="r|*") as tar:
            while (member := await asyncio.to_thread(tar.next)) is not None:
                path = posixpath.normpath(member.name).lstrip("/")
                if member.issym():
                    contents.links[path] = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))
                elif member.islnk():
                    contents.links[path] = posixpath.normpath(member.linkname)
                elif member.isfile():
                    data = tar.extractfile(member)
                    if data is not None:
                        await _take(client, lease, contents, path, member.size, data)
                        done += member.size
                        progress(done)
    except (tarfile.TarError, EOFError, OSError) as e:
        raise BadArchive(f"not an image archive: {e}") from None
    return contents


async def _take(client: Client, lease: str, contents: Contents, path: str, size: int, data: IO[bytes]) -> None:
    first = await asyncio.to_thread(data.read, _CHUNK)
    if size <= m.MAX_MANIFEST and first[:1] in (b"{", b"["):
        contents.documents[path] = first + await asyncio.to_thread(data.read)
        return
    if posixpath.basename(path) in ("VERSION", "repositories"):
        return
    in_layout = path.startswith("blobs/sha256/")
    expected = "sha256:" + posixpath.basename(path) if in_layout else None
    digest = await _stream(client, lease, expected, size, first, data)
    contents.blobs[path] = m.Descriptor(digest=digest, size=size)


async def _stream(client: Client, lease: str, expected: str | None, size: int, first: bytes, data: IO[bytes]) -> str:
    computed = hashlib.sha256()
    with contextlib.closing(Blob(client, lease, expected, size)) as blob:
        present = False
        chunk = first
        while chunk:
            computed.update(chunk)
            if not present:
                try:
                    await blob.append(chunk)
                except AlreadyExists:
                    present = True
            chunk = await asyncio.to_thread(data.read, _CHUNK)
        digest = "sha256:" + computed.hexdigest()
        if expected is not None and digest != expected:
            raise BadArchive(f"blob {expected} has the digest {digest}")
        if not present and size:
            await blob.commit()
    return digest


@dataclass(frozen=True)
class Found:
    """An image of the archive. ``name``: its normalised reference, None if it has none. ``documents``: manifests,
    indexes and configs to be stored, by digest."""

    name: str | None
    target: m.Descriptor
    documents: dict[str, bytes]


def images(contents: Contents) -> list[Found]:
    """The images of an archive: by its OCI index where there is one, else by Docker's manifest.json. Pure.

    Raises BadArchive.
    """
    try:
        if "index.json" in contents.documents and "oci-layout" in contents.documents:
            found = list(_oci(contents))
        elif "manifest.json" in contents.documents:
            found = list(_docker(contents))
        else:
            raise BadArchive("not an image archive: it has neither an OCI layout nor a manifest.json")
    except (msgspec.DecodeError, m.BadManifest, BadReference) as e:
        raise BadArchive(f"damaged image archive: {e}") from None
    if not found:
        raise BadArchive("the archive holds no image")
    return found


def _oci(contents: Contents) -> Iterator[Found]:
    documents = {
        "sha256:" + posixpath.basename(path): data
        for path, data in contents.documents.items()
        if path.startswith("blobs/sha256/")
    }
    for digest, data in documents.items():
        if m.digest_of(data) != digest:
            raise BadArchive(f"blob {digest} has the digest {m.digest_of(data)}")
    tags = _repo_tags(contents)
    for entry in m.read_index(contents.documents["index.json"]).manifests:
        if entry.digest not in documents:
            raise BadArchive(f"blob {entry.digest} is missing")
        names = _names(entry, tags)
        for name in names or [None]:
            yield Found(name, entry, documents)


def _names(entry: m.Descriptor, tags: list[str]) -> list[str | None]:
    """An entry's names: its annotations' full name; or, where only a tag is given, those of manifest.json that end
    with it."""
    notes = entry.annotations or {}
    if name := notes.get(_IMAGE_NAME):
        return [str(parse(name))]
    ref = notes.get(_REF_NAME, "")
    if "/" in ref or ":" in ref:
        return [str(parse(ref))]
    return [tag for tag in tags if not ref or tag.endswith(f":{ref}")]


def _repo_tags(contents: Contents) -> list[str]:
    if "manifest.json" not in contents.documents:
        return []
    entries = msgspec.json.decode(contents.documents["manifest.json"], type=list[_DockerEntry])
    return [str(parse(tag)) for entry in entries for tag in entry.repo_tags or ()]


def _docker(contents: Contents) -> Iterator[Found]:
    for entry in msgspec.json.decode(contents.documents["manifest.json"], type=list[_DockerEntry]):
        config = contents.documents.get(contents.follow(posixpath.normpath(entry.config)))
        if config is None:
            raise BadArchive(f"{entry.config} is missing")
        layers = []
        for path in entry.layers:
            blob = contents.blobs.get(contents.follow(posixpath.normpath(path)))
            if blob is None:
                raise BadArchive(f"{path} is missing")
            # For this type containerd looks at the bytes to tell a compressed layer from a plain one.
            layers.append({"mediaType": m.DOCKER_LAYER, "digest": blob.digest, "size": blob.size})
        manifest = msgspec.json.encode(
            {
                "schemaVersion": 2,
                "mediaType": m.DOCKER_MANIFEST,
                "config": {"mediaType": m.DOCKER_CONFIG, "digest": m.digest_of(config), "size": len(config)},
                "layers": layers,
            }
        )
        target = m.Descriptor(digest=m.digest_of(manifest), size=len(manifest), media_type=m.DOCKER_MANIFEST)
        documents = {target.digest: manifest, m.digest_of(config): config}
        names: list[str | None] = [str(parse(tag)) for tag in entry.repo_tags or ()]
        for name in names or [None]:
            yield Found(name, target, documents)
