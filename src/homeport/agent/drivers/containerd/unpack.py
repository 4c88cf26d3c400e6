"""Layers become snapshots: each applied on the one below, named by its chain id."""

from __future__ import annotations

import asyncio
import re
import shutil
import uuid
from collections.abc import Sequence

from homeport.agent.drivers.containerd import client as c
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd.client import AlreadyExists, CallError, Client, NotFound
from homeport.agent.drivers.containerd.content import DigestMismatch
from homeport.agent.drivers.containerd.manifests import Descriptor, chain_ids

SNAPSHOTTER = "overlayfs"
_APPLY_SECONDS = 1800.0  # a layer of tens of gigabytes on a slow disk


HELD = {"containerd.io/gc.root": "homeport"}  # keeps a snapshot that neither a lease nor a container holds


_ORPHAN = re.compile(
    r"/snapshots/new-[0-9]+ (/.+/io\.containerd\.snapshotter\.v1\.overlayfs/snapshots/[0-9]+): file exists$"
)


async def prepare(
    client: Client,
    key: str,
    parent: str,
    *,
    labels: dict[str, str] | None = None,
    lease: str | None = None,
    method: c.Method[pb.PrepareSnapshotRequest, pb.MountsResponse] = c.PREPARE_SNAPSHOT,
) -> Sequence[pb.Mount]:
    """A new snapshot on top of ``parent``: how to mount it. Raises CallError.

    A containerd that was killed between making a snapshot's folder and recording it uses the folder's number again, and
    fails: the folder that stands in its way belongs to no snapshot.
    """
    request = pb.PrepareSnapshotRequest(snapshotter=SNAPSHOTTER, key=key, parent=parent, labels=labels or {})
    try:
        return (await client.call(method, request, lease=lease)).mounts
    except AlreadyExists:
        raise
    except CallError as e:
        in_the_way = _ORPHAN.search(e.text)
        if in_the_way is None:
            raise
    await asyncio.to_thread(shutil.rmtree, in_the_way[1], ignore_errors=True)
    return (await client.call(method, request, lease=lease)).mounts


async def has_snapshot(client: Client, name: str) -> bool:
    try:
        await client.call(c.STAT_SNAPSHOT, pb.SnapshotKey(snapshotter=SNAPSHOTTER, key=name))
    except NotFound:
        return False
    return True


async def unpack(
    client: Client,
    lease: str,
    layers: tuple[Descriptor, ...],
    diff_ids: tuple[str, ...],
    arrived: list[asyncio.Task[None]] | None = None,
) -> str:
    """Applies the layers that have no snapshot yet, bottom first, each as soon as it has ``arrived``.

    Returns the chain id of the whole image. Raises CallError; DigestMismatch where a layer's content is not what the
    image's config says; and what a download raised.
    """
    if len(layers) != len(diff_ids) or not layers:
        raise DigestMismatch(f"the image has {len(layers)} layers and {len(diff_ids)} diff ids")
    chain = chain_ids(diff_ids)
    for i, (layer, diff_id) in enumerate(zip(layers, diff_ids, strict=True)):
        if arrived:
            await arrived[i]
        if not await has_snapshot(client, chain[i]):
            await _apply(client, lease, layer, diff_id, chain[i - 1] if i else "", chain[i])
    return chain[-1]


async def _apply(client: Client, lease: str, layer: Descriptor, diff_id: str, parent: str, name: str) -> None:
    key = f"extract-{uuid.uuid4().hex} {name}"
    mounts = await prepare(client, key, parent, lease=lease)
    try:
        blob = pb.Descriptor(media_type=layer.media_type, digest=layer.digest, size=layer.size)
        request = pb.ApplyRequest(diff=blob, mounts=mounts)
        applied = await client.call(c.APPLY, request, _APPLY_SECONDS, lease=lease)
        if applied.applied.digest != diff_id:
            raise DigestMismatch(f"layer {layer.digest} unpacks to {applied.applied.digest}, not to {diff_id}")
        commit = pb.CommitSnapshotRequest(snapshotter=SNAPSHOTTER, name=name, key=key)
        await client.call(c.COMMIT_SNAPSHOT, commit, lease=lease)
    except AlreadyExists:
        await _discard(client, key)  # another pull of the same layer was faster
    except BaseException:
        await asyncio.shield(_discard(client, key))
        raise


async def _discard(client: Client, key: str) -> None:
    try:
        await client.call(c.REMOVE_SNAPSHOT, pb.SnapshotKey(snapshotter=SNAPSHOTTER, key=key))
    except CallError:
        return  # the lease's end lets the collector have it
