"""Fetching an image from a registry into containerd: manifests first, then all layers side by side, each unpacked as
soon as it and those below it are there."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from homeport.agent.drivers.containerd import manifests as m
from homeport.agent.drivers.containerd.client import AlreadyExists, Client
from homeport.agent.drivers.containerd.content import Blob, Content, DigestMismatch
from homeport.agent.drivers.containerd.references import Reference
from homeport.agent.drivers.containerd.registry import Registry, RegistryError
from homeport.agent.drivers.containerd.shared import Shared
from homeport.agent.drivers.containerd.unpack import unpack

_PARALLEL = 4  # layers at once, as containerd and Docker do (3)
_CHUNK = 256 << 10
_NESTING = 4  # indexes within indexes
_RETRIES = 1  # AWS's texts say how often: "has been retried 1 time(s)"


class PullError(Exception):
    """``str`` is what ECS shows after ``CannotPullContainerError: ``."""


@dataclass
class _Found:
    """What a reference names, and the documents on the way to its manifest (outermost first)."""

    target: m.Descriptor
    manifest: m.Manifest
    documents: list[tuple[m.Descriptor, bytes]]


class Pull:
    """One pull of one reference, under a lease of its own."""

    def __init__(
        self,
        client: Client,
        lease: str,
        reference: Reference,
        wanted: m.Platform,
        registry: Registry,
        layers: Shared[None],
        progress: Callable[[int, int, str], None],
    ) -> None:
        self._client, self._lease, self._reference, self._wanted = client, lease, reference, wanted
        self._registry, self._layers, self._progress = registry, layers, progress
        self._content = Content(client)
        self._pool = ThreadPoolExecutor(_PARALLEL, "pull")
        self._done = self._total = 0
        self._digest = ""

    async def run(self) -> m.Descriptor:
        """Fetches and unpacks; returns what the reference names. Raises PullError, CallError."""
        downloads: list[asyncio.Task[None]] = []
        try:
            found = await self._find()
            config = await self._config(found.manifest)
            layers = found.manifest.layers
            self._total = sum(layer.size for layer in layers)
            self._digest = found.target.digest
            self._progress(0, self._total, self._digest)
            downloads += [asyncio.create_task(self._layer(layer)) for layer in layers]
            chain = await unpack(self._client, self._lease, layers, config.rootfs.diff_ids, downloads)
            await self._content.label(found.manifest.config.digest, {m.REF_SNAPSHOT + "overlayfs": chain})
            for descriptor, data in reversed(found.documents):
                labels = document_labels(descriptor, data)
                await self._content.write(self._lease, descriptor.digest, data, labels)
        except (m.BadManifest, DigestMismatch) as e:
            raise PullError(str(e)) from None
        finally:
            for task in downloads:
                task.cancel()
            await asyncio.gather(*downloads, return_exceptions=True)
            self._pool.shutdown(wait=False, cancel_futures=True)
        return found.target

    async def _find(self) -> _Found:
        data, kind = await self._manifest(self._reference.target)
        kind = m.media_type_of(data, kind)
        target = m.Descriptor(digest=m.digest_of(data), size=len(data), media_type=kind)
        documents = [(target, data)]
        for _ in range(_NESTING):
            if not m.is_index(kind, data):
                return _Found(target, m.read_manifest(data), documents)
            entry = m.choose(m.read_index(data), self._wanted)
            data, kind = await self._manifest(entry.digest)
            kind = m.media_type_of(data, entry.media_type or kind)
            documents.append((m.Descriptor(digest=entry.digest, size=len(data), media_type=kind), data))
        raise m.BadManifest(f"more than {_NESTING} indexes within each other")

    async def _manifest(self, target: str) -> tuple[bytes, str]:
        loop = asyncio.get_running_loop()
        for attempt in range(_RETRIES + 1):
            try:
                return await loop.run_in_executor(self._pool, self._registry.manifest, target)
            except RegistryError as e:
                if attempt == _RETRIES:
                    text = f"pull image manifest has been retried {_RETRIES} time(s): failed to resolve ref"
                    raise PullError(f"{text} {self._reference}: {e}") from None
        raise AssertionError("unreachable")

    async def _config(self, manifest: m.Manifest) -> m.ImageConfig:
        digest = manifest.config.digest
        if manifest.config.size > m.MAX_MANIFEST:
            raise PullError(f"image config {digest} exceeds {m.MAX_MANIFEST} bytes")
        if not await self._content.has(digest):
            await self._fetch(manifest.config)
        await self._content.hold(digest, self._lease)
        config = m.read_config(await self._content.read(digest))
        m.check_platform(config, self._wanted)
        return config

    async def _layer(self, layer: m.Descriptor) -> None:
        await self._layers.run(layer.digest, lambda: self._fetch_missing(layer))
        await self._content.hold(layer.digest, self._lease)

    async def _fetch_missing(self, layer: m.Descriptor) -> None:
        if await self._content.has(layer.digest):
            self._advance(layer.size)
        else:
            await self._fetch(layer)

    def _advance(self, count: int) -> None:
        self._done += count
        if self._total:
            self._progress(min(self._done, self._total), self._total, self._digest)

    async def _fetch(self, layer: m.Descriptor) -> None:
        """A blob into the content store. One try more after a failure goes on where the first one ended."""
        with contextlib.closing(Blob(self._client, self._lease, layer.digest, layer.size)) as blob:
            for attempt in range(_RETRIES + 1):
                try:
                    await self._copy(layer, blob)
                    await blob.commit()
                    return
                except AlreadyExists:
                    return
                except DigestMismatch as e:
                    raise PullError(f"ref pull has been retried {attempt} time(s): failed to copy: {e}") from None
                except (RegistryError, OSError, http.client.HTTPException) as e:
                    if attempt == _RETRIES or not getattr(e, "again", True):
                        text = f"ref pull has been retried {attempt} time(s): failed to copy: {e}"
                        raise PullError(text) from None

    async def _copy(self, layer: m.Descriptor, blob: Blob) -> None:
        loop = asyncio.get_running_loop()
        response = await loop.run_in_executor(self._pool, self._registry.blob, layer.digest, blob.offset)
        with response:
            while data := await loop.run_in_executor(self._pool, response.read, _CHUNK):
                if blob.offset + len(data) > layer.size:
                    raise DigestMismatch(f"{layer.digest} is larger than the {layer.size} bytes of the manifest")
                await blob.append(data)
                self._advance(len(data))
        if blob.offset < layer.size:
            raise OSError(f"unexpected EOF: {blob.offset} of {layer.size} bytes of {layer.digest}")


def document_labels(descriptor: m.Descriptor, data: bytes) -> dict[str, str]:
    """The labels by which a manifest or index holds what it names."""
    if m.is_index(descriptor.media_type, data):
        return m.index_labels(m.read_index(data))
    return m.manifest_labels(m.read_manifest(data))
