"""containerd's content store: blobs in, blobs out."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from homeport.agent.drivers.containerd import client as c
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd.client import AlreadyExists, Client, FailedPrecondition, NotFound


class DigestMismatch(Exception):
    """The bytes are not those that the digest names."""


class Blob:
    """One blob on its way into the store: ``append`` until all is there, then ``commit``; ``close`` in any case.

    ``digest`` None: the store computes it. The reference is our own, so that two writers of one digest don't meet: the
    second commit finds the blob there.
    """

    def __init__(self, client: Client, lease: str, digest: str | None, size: int = 0) -> None:
        self._client, self._digest, self._size = client, digest, size
        self._ref = f"{lease}-{digest or uuid.uuid4().hex}"
        self._call = client.duplex(c.WRITE_CONTENT, lease)
        self.offset = 0

    def _request(self, action: pb.WriteAction, **members: Any) -> pb.WriteContentRequest:
        return pb.WriteContentRequest(
            action=action, ref=self._ref, total=self._size, expected=self._digest or "", offset=self.offset, **members
        )

    async def append(self, data: bytes) -> None:
        """Raises CallError, also for a full disk."""
        response = await self._call.exchange(self._request(pb.WRITE, data=data))
        self.offset = response.offset

    async def commit(self, labels: dict[str, str] | None = None) -> str:
        """Makes the blob visible; returns its digest. Raises DigestMismatch."""
        try:
            response = await self._call.exchange(self._request(pb.COMMIT, labels=labels or {}))
        except AlreadyExists:
            return self._digest or ""
        except FailedPrecondition as e:
            raise DigestMismatch(e.text) from None
        return response.digest

    def close(self) -> None:
        self._call.close()


class Content:
    """Blobs by digest."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def has(self, digest: str) -> bool:
        try:
            await self._client.call(c.CONTENT_INFO, pb.ContentInfoRequest(digest=digest))
        except NotFound:
            return False
        return True

    async def hold(self, digest: str, lease: str) -> None:
        """Keeps a blob that is there from the collector, while the lease lasts."""
        resource = pb.LeaseResource(id=digest, type="content")
        await self._client.call(c.ADD_LEASE_RESOURCE, pb.AddLeaseResourceRequest(id=lease, resource=resource))

    async def read(self, digest: str) -> bytes:
        """A whole small blob. Raises NotFound."""
        return b"".join([piece async for piece in self.stream(digest)])

    async def stream(self, digest: str) -> AsyncIterator[bytes]:
        async for response in self._client.stream(c.READ_CONTENT, pb.ReadContentRequest(digest=digest)):
            yield response.data

    async def write(self, lease: str, digest: str, data: bytes, labels: dict[str, str]) -> None:
        """Stores a small blob, or gives the one that is there the labels."""
        blob = Blob(self._client, lease, digest, len(data))
        try:
            await blob.append(data)
            await blob.commit(labels)
        except AlreadyExists:
            await self.label(digest, labels)
        finally:
            blob.close()

    async def label(self, digest: str, labels: dict[str, str]) -> None:
        """Sets some labels of a blob."""
        if labels:
            info = pb.ContentInfo(digest=digest, labels=labels)
            mask = FieldMask(paths=[f"labels.{name}" for name in labels])
            await self._client.call(c.UPDATE_CONTENT, pb.UpdateContentRequest(info=info, update_mask=mask))
