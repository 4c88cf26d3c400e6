"""Images of one containerd namespace: pull, load, list, remove. Used by the driver, and by the command line with
nothing but a socket and a namespace."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import IO, Literal

import msgspec
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from homeport.agent.drivers import DriverError, Image, Progress
from homeport.agent.drivers.containerd import archive, unpack
from homeport.agent.drivers.containerd import client as c
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd import manifests as m
from homeport.agent.drivers.containerd.archive import BadArchive
from homeport.agent.drivers.containerd.client import AlreadyExists, CallError, Client, NotFound
from homeport.agent.drivers.containerd.content import Content, DigestMismatch
from homeport.agent.drivers.containerd.pull import Pull, PullError, document_labels
from homeport.agent.drivers.containerd.references import BadReference, parse
from homeport.agent.drivers.containerd.registry import Registry
from homeport.agent.drivers.containerd.shared import Shared

_LEASE = timedelta(hours=24)  # what a crash in the middle of a pull leaves is collected after this


# When an image that is here is asked of its registry anew. ``once`` and ``prefer-cached`` (words of the ECS agent's
# ECS_IMAGE_PULL_BEHAVIOR) differ only in whether images are removed by themselves, which Homeport never does.
PullBehavior = Literal["always", "once", "prefer-cached"]


class ListedImage(msgspec.Struct, frozen=True):
    """``size``: bytes of its compressed layers, 0 where they can't be told. ``created_at``: epoch seconds at which
    it was pulled or loaded."""

    reference: str
    digest: str
    size: int
    created_at: float


def _ignore(_: Progress) -> None:
    return None


class ImageStore:
    """Images by reference. ``insecure``: registries to be spoken to over HTTP besides this machine's own."""

    def __init__(
        self,
        client: Client,
        insecure: frozenset[str] = frozenset(),
        platform: m.Platform | None = None,
        behavior: PullBehavior = "once",
    ) -> None:
        self._behavior = behavior
        self._client, self._insecure = client, insecure
        self._platform = platform or m.this_machine()
        self._content = Content(client)
        self._resolved: dict[str, m.Resolved] = {}
        self._pulls: Shared[Image] = Shared()
        self._layers: Shared[None] = Shared()
        self._watchers: dict[str, list[Callable[[Progress], None]]] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, socket: str, namespace: str, behavior: PullBehavior = "once") -> AsyncIterator[ImageStore]:
        """A store on a connection of its own."""
        client = Client(socket, namespace)
        try:
            yield cls(client, behavior=behavior)
        finally:
            await client.close()

    async def get(self, reference: str) -> Image | None:
        """The image, if it is here and ready to use. No network traffic. Raises BadReference."""
        name = str(parse(reference))
        try:
            record = (await self._client.call(c.GET_IMAGE, pb.GetImageRequest(name=name))).image
            resolved = await self.resolve(record.target.digest)
        except (NotFound, m.BadManifest):
            return None
        if not await unpack.has_snapshot(self._client, resolved.chain_id):
            return None
        return Image(reference, record.target.digest)

    async def _present(self, reference: str) -> Image | None:
        """As ``get``, and for ``name:tag@digest`` also what ``name:tag`` is here, if it is that: it was fetched by its
        tag, or loaded and is in no registry."""
        present = await self.get(reference)
        tagged, _, digest = reference.partition("@")
        if present is None and digest and (found := await self.get(tagged)) is not None and found.digest == digest:
            return Image(reference, digest)
        return present

    async def resolve(self, digest: str) -> m.Resolved:
        """What a manifest or index that is here means on this machine. Raises NotFound, BadManifest."""
        if digest not in self._resolved:
            manifest = await self._manifest_of(digest)
            config = m.read_config(await self._content.read(manifest.config.digest))
            if not config.rootfs.diff_ids:
                raise m.BadManifest(f"image {digest} has no layers")
            chain = m.chain_ids(config.rootfs.diff_ids)[-1]
            self._resolved[digest] = m.Resolved(digest, config.config or m.RunConfig(), chain)
        return self._resolved[digest]

    async def _manifest_of(self, digest: str) -> m.Manifest:
        data = await self._content.read(digest)
        for _ in range(4):
            if not m.is_index("", data):
                return m.read_manifest(data)
            data = await self._content.read(m.choose(m.read_index(data), self._platform).digest)
        raise m.BadManifest(f"too many indexes within each other below {digest}")

    async def pull(self, reference: str, progress: Callable[[Progress], None] = _ignore) -> Image:
        """The image, from here if it is here, else from its registry; ``always`` asks the registry what a tag names
        now, and fetches what is missing. Raises DriverError CannotPullContainerError."""
        try:
            parsed = parse(reference)
            fixed = parsed.digest or self._behavior != "always"
            if fixed and (present := await self._present(reference)) is not None:
                return present
            name = str(parsed)
            watchers = self._watchers.setdefault(name, [])
            watchers.append(progress)
            try:
                image = await self._pulls.run(name, lambda: self._pull(reference))
            finally:
                watchers.remove(progress)
                if not watchers:
                    self._watchers.pop(name, None)
        except (BadReference, PullError) as e:
            raise DriverError("CannotPullContainerError", str(e)) from None
        except c.Unavailable:
            raise
        except CallError as e:
            raise DriverError("CannotPullContainerError", e.text) from None
        return Image(reference, image.digest)

    async def _pull(self, reference: str) -> Image:
        parsed = parse(reference)
        name = str(parsed)

        def report(done: int, total: int, digest: str) -> None:
            for watcher in self._watchers.get(name, ()):
                watcher(Progress(reference, done, total, digest))

        registry = Registry(parsed, self._insecure)
        async with self._lease() as lease:
            work = Pull(self._client, lease, parsed, self._platform, registry, self._layers, report)
            target = await work.run()
            await self._record(name, target)
        return Image(reference, target.digest)

    async def load(self, file: IO[bytes], progress: Callable[[int], None] = lambda done: None) -> list[Image]:
        """Every image of an archive (docker-save or OCI, plain or compressed), ready to use afterwards. An image of
        the same name is replaced; one without a name is kept under its digest. ``progress`` is told bytes.

        Raises BadArchive, CallError.
        """
        async with self._lease() as lease:
            contents = await archive.read(self._client, lease, file, progress)
            loaded = []
            for found in archive.images(contents):
                try:
                    target = await self._adopt(lease, found)
                except (m.BadManifest, DigestMismatch, NotFound) as e:
                    raise BadArchive(f"damaged image archive: {e}") from None
                name = found.name or f"docker.io/library/image@{target.digest}"
                await self._record(name, target)
                loaded.append(Image(name, target.digest))
        return loaded

    async def _adopt(self, lease: str, found: archive.Found) -> m.Descriptor:
        """Stores the documents that lead to an image's manifest, and unpacks its layers."""
        digest, path = found.target.digest, []
        while True:
            data = found.documents.get(digest)
            if data is None:
                raise m.BadManifest(f"blob {digest} is missing")
            path.append((m.Descriptor(digest=digest, size=len(data), media_type=m.media_type_of(data, "")), data))
            if not m.is_index("", data) or len(path) > 4:
                break
            digest = m.choose(m.read_index(data), self._platform).digest
        manifest = m.read_manifest(data)
        config_data = found.documents.get(manifest.config.digest)
        if config_data is None:
            raise m.BadManifest(f"blob {manifest.config.digest} is missing")
        config = m.read_config(config_data)
        m.check_platform(config, self._platform)
        for layer in manifest.layers:
            await self._content.hold(layer.digest, lease)
        chain = await unpack.unpack(self._client, lease, manifest.layers, config.rootfs.diff_ids)
        labels = {m.REF_SNAPSHOT + unpack.SNAPSHOTTER: chain}
        await self._content.write(lease, manifest.config.digest, config_data, labels)
        for descriptor, document in reversed(path):
            await self._content.write(lease, descriptor.digest, document, document_labels(descriptor, document))
        return path[0][0]

    @contextlib.asynccontextmanager
    async def _lease(self) -> AsyncIterator[str]:
        """Keeps everything that is made under it from the collector."""
        name = f"homeport-{uuid.uuid4().hex}"
        expires = (datetime.now(UTC) + _LEASE).strftime("%Y-%m-%dT%H:%M:%SZ")
        request = pb.CreateLeaseRequest(id=name, labels={"containerd.io/gc.expire": expires})
        await self._client.call(c.CREATE_LEASE, request)
        failed = True
        try:
            yield name
            failed = False
        finally:
            # After a failure, what has been fetched is given back at once: the disk may be full of it.
            with contextlib.suppress(CallError):
                await self._client.call(c.DELETE_LEASE, pb.DeleteLeaseRequest(id=name, sync=failed))

    async def _record(self, name: str, target: m.Descriptor) -> None:
        descriptor = pb.Descriptor(media_type=target.media_type, digest=target.digest, size=target.size)
        record = pb.ImageRecord(name=name, target=descriptor)
        now = Timestamp()
        now.GetCurrentTime()
        record.created_at.CopyFrom(now)
        try:
            await self._client.call(c.CREATE_IMAGE, pb.ImageRequest(image=record))
        except AlreadyExists:
            mask = FieldMask(paths=["target"])
            await self._client.call(c.UPDATE_IMAGE, pb.UpdateImageRequest(image=record, update_mask=mask))

    async def images(self) -> list[ListedImage]:
        """All images, by reference."""
        records = (await self._client.call(c.LIST_IMAGES, pb.ListImagesRequest())).images
        found = []
        for record in sorted(records, key=lambda r: r.name):
            try:
                manifest = await self._manifest_of(record.target.digest)
                size = sum(layer.size for layer in manifest.layers)
            except (NotFound, m.BadManifest):
                size = 0
            found.append(ListedImage(record.name, record.target.digest, size, record.created_at.ToNanoseconds() / 1e9))
        return found

    async def remove_image(self, reference: str) -> bool:
        """Removes a name, and what no other name and no container needs. False if there was none. Raises
        BadReference."""
        try:
            await self._client.call(c.DELETE_IMAGE, pb.DeleteImageRequest(name=str(parse(reference)), sync=True))
        except NotFound:
            return False
        self._resolved.clear()
        return True
