"""Calls to containerd over gRPC on a unix socket: a table of methods and a thin client that names its errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty

from homeport.agent.drivers.containerd import containerd_pb2 as pb

Q = TypeVar("Q")
R = TypeVar("R")

CALL_SECONDS = 30.0  # time-out of a call that names none: the slowest, a task's Create, takes 0.1 s on an idle machine


@dataclass(frozen=True)
class Method(Generic[Q, R]):
    """A method of containerd's API; ``Q`` and ``R`` are its request and response messages."""

    path: str
    request: type[Q]
    response: type[R]

    @property
    def full(self) -> str:
        return f"/containerd.services.{self.path}"


VERSION = Method("version.v1.Version/Version", Empty, pb.VersionResponse)

CREATE_NAMESPACE = Method("namespaces.v1.Namespaces/Create", pb.CreateNamespaceRequest, Empty)

CREATE_LEASE = Method("leases.v1.Leases/Create", pb.CreateLeaseRequest, Empty)
DELETE_LEASE = Method("leases.v1.Leases/Delete", pb.DeleteLeaseRequest, Empty)
ADD_LEASE_RESOURCE = Method("leases.v1.Leases/AddResource", pb.AddLeaseResourceRequest, Empty)

CONTENT_INFO = Method("content.v1.Content/Info", pb.ContentInfoRequest, pb.ContentInfoResponse)
UPDATE_CONTENT = Method("content.v1.Content/Update", pb.UpdateContentRequest, pb.ContentInfoResponse)
LIST_CONTENT = Method("content.v1.Content/List", pb.ListContentRequest, pb.ListContentResponse)
READ_CONTENT = Method("content.v1.Content/Read", pb.ReadContentRequest, pb.ReadContentResponse)
WRITE_CONTENT = Method("content.v1.Content/Write", pb.WriteContentRequest, pb.WriteContentResponse)

GET_IMAGE = Method("images.v1.Images/Get", pb.GetImageRequest, pb.GetImageResponse)
LIST_IMAGES = Method("images.v1.Images/List", pb.ListImagesRequest, pb.ListImagesResponse)
CREATE_IMAGE = Method("images.v1.Images/Create", pb.ImageRequest, pb.GetImageResponse)
UPDATE_IMAGE = Method("images.v1.Images/Update", pb.UpdateImageRequest, pb.GetImageResponse)
DELETE_IMAGE = Method("images.v1.Images/Delete", pb.DeleteImageRequest, Empty)

APPLY = Method("diff.v1.Diff/Apply", pb.ApplyRequest, pb.ApplyResponse)

PREPARE_SNAPSHOT = Method("snapshots.v1.Snapshots/Prepare", pb.PrepareSnapshotRequest, pb.MountsResponse)
VIEW_SNAPSHOT = Method("snapshots.v1.Snapshots/View", pb.PrepareSnapshotRequest, pb.MountsResponse)
SNAPSHOT_MOUNTS = Method("snapshots.v1.Snapshots/Mounts", pb.SnapshotKey, pb.MountsResponse)
COMMIT_SNAPSHOT = Method("snapshots.v1.Snapshots/Commit", pb.CommitSnapshotRequest, Empty)
REMOVE_SNAPSHOT = Method("snapshots.v1.Snapshots/Remove", pb.SnapshotKey, Empty)
STAT_SNAPSHOT = Method("snapshots.v1.Snapshots/Stat", pb.SnapshotKey, pb.StatSnapshotResponse)
LIST_SNAPSHOTS = Method("snapshots.v1.Snapshots/List", pb.ListSnapshotsRequest, pb.ListSnapshotsResponse)

GET_CONTAINER = Method("containers.v1.Containers/Get", pb.ContainerId, pb.ContainerMessage)
LIST_CONTAINERS = Method("containers.v1.Containers/List", pb.ListContainersRequest, pb.ListContainersResponse)
CREATE_CONTAINER = Method("containers.v1.Containers/Create", pb.ContainerMessage, pb.ContainerMessage)
DELETE_CONTAINER = Method("containers.v1.Containers/Delete", pb.ContainerId, Empty)

CREATE_TASK = Method("tasks.v1.Tasks/Create", pb.CreateTaskRequest, pb.CreateTaskResponse)
START_TASK = Method("tasks.v1.Tasks/Start", pb.TaskRequest, pb.StartResponse)
GET_TASK = Method("tasks.v1.Tasks/Get", pb.TaskRequest, pb.GetTaskResponse)
LIST_TASKS = Method("tasks.v1.Tasks/List", pb.ListTasksRequest, pb.ListTasksResponse)
KILL_TASK = Method("tasks.v1.Tasks/Kill", pb.KillRequest, Empty)
EXEC = Method("tasks.v1.Tasks/Exec", pb.ExecRequest, Empty)
DELETE_PROCESS = Method("tasks.v1.Tasks/DeleteProcess", pb.TaskRequest, pb.DeleteTaskResponse)
WAIT_TASK = Method("tasks.v1.Tasks/Wait", pb.TaskRequest, pb.WaitResponse)
DELETE_TASK = Method("tasks.v1.Tasks/Delete", pb.TaskRequest, pb.DeleteTaskResponse)

PUBLISH = Method("events.v1.Events/Publish", pb.PublishRequest, Empty)
SUBSCRIBE = Method("events.v1.Events/Subscribe", pb.SubscribeRequest, pb.Envelope)


class CallError(Exception):
    """containerd answered with an error, or not at all. ``text`` is its own."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class NotFound(CallError):
    pass


class AlreadyExists(CallError):
    pass


class FailedPrecondition(CallError):
    pass


class Unavailable(CallError):
    """The connection to containerd or to a shim is not there or broke: the call may or may not have been carried
    out."""


class TimedOut(CallError):
    pass


_ERRORS: dict[grpc.StatusCode, type[CallError]] = {
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOut,
    grpc.StatusCode.CANCELLED: Unavailable,  # the server ended the call, as it does while it shuts down
}


# A shim has died, and containerd is about to notice: the next try finds the task gone.
_SHIM_LOST = "ttrpc: closed"


def named(code: grpc.StatusCode, details: str | None) -> CallError:
    """A call's status as one of the classes above."""
    text = details or code.name
    if _SHIM_LOST in text:
        return Unavailable(text)
    return _ERRORS.get(code, CallError)(text)


_OPTIONS = [
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_send_message_length", 16 << 20),
    # A containerd that was restarted answers again within a second: don't back off for minutes.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
]


class Duplex(Generic[Q, R]):
    """A call that is a conversation: one response to each request."""

    def __init__(self, call: Any, response: type[R]) -> None:
        self._call, self._response = call, response

    async def exchange(self, request: Q) -> R:
        """Raises CallError."""
        try:
            await self._call.write(request)
            response = await self._call.read()
        except grpc.aio.AioRpcError as e:
            raise named(e.code(), e.details()) from None
        except (grpc.aio.UsageError, asyncio.InvalidStateError):
            response = None  # the server has ended the call: its status says why
        if not isinstance(response, self._response):
            raise named(await self._call.code(), await self._call.details())
        return response

    def close(self) -> None:
        self._call.cancel()


class Client:
    """One connection to containerd, for one of its namespaces. Make it inside a running event loop."""

    def __init__(self, socket: str, namespace: str) -> None:
        self.socket, self.namespace = socket, namespace
        self._channel = grpc.aio.insecure_channel(f"unix://{socket}", options=_OPTIONS)
        self._calls: dict[str, Any] = {}

    async def close(self) -> None:
        await self._channel.close(grace=None)

    def _metadata(self, lease: str | None) -> tuple[tuple[str, str], ...]:
        own = (("containerd-namespace", self.namespace),)
        return (*own, ("containerd-lease", lease)) if lease else own

    def _call(self, method: Method[Any, Any], maker: Any) -> Any:
        found = self._calls.get(method.path)
        if found is None:
            found = self._calls[method.path] = maker(
                method.full,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
        return found

    async def call(
        self, method: Method[Q, R], request: Q, seconds: float = CALL_SECONDS, lease: str | None = None
    ) -> R:
        """One request, one response. Raises CallError, ``TimedOut`` after ``seconds``."""
        try:
            response: R = await self._call(method, self._channel.unary_unary)(
                request, timeout=seconds, metadata=self._metadata(lease)
            )
        except grpc.aio.AioRpcError as e:
            raise named(e.code(), e.details()) from None
        return response

    async def stream(self, method: Method[Q, R], request: Q, seconds: float | None = None) -> AsyncIterator[R]:
        """One request, many responses. Raises CallError, also when the connection breaks under way."""
        call = self._call(method, self._channel.unary_stream)(request, timeout=seconds, metadata=self._metadata(None))
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as e:
            raise named(e.code(), e.details()) from None
        finally:
            call.cancel()

    def duplex(self, method: Method[Q, R], lease: str | None = None) -> Duplex[Q, R]:
        """A stream in both directions. Close it."""
        return Duplex(self._call(method, self._channel.stream_stream)(metadata=self._metadata(lease)), method.response)

    async def answers(self, seconds: float = 2.0) -> bool:
        """Whether containerd is there."""
        try:
            await self.call(VERSION, Empty(), seconds)
        except CallError:
            return False
        return True
