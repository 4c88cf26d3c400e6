"""What the command line asks of a running control plane, over a unix socket that only root can open.

``GET /status``, ``/task?task=``, ``/service?service=``, ``/environment``, ``/story?arn=``, ``/tokens``,
``/explain?what=&cluster=&launch_type=``; ``POST /stop-tasks?seconds=``, ``/reset?seconds=``, ``/interrupt?task=``,
``/tokens?cluster=&region=`` (a cluster's name, "" for the Fargate pool), ``/revoke-token?id=``.
JSON answers. ``GET /events`` and ``/follow-service?service=`` answer line by line: see ``streams``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from homeport import __version__, addresses, streams
from homeport.config import Settings, url
from homeport.core import jointoken
from homeport.core.errors import AwsError
from homeport.services import ec2, ecs, iam
from homeport.services.iam import keys
from homeport.store import Scope, Tx, View, Watch
from homeport.streams import Lines, Query, Refused

if TYPE_CHECKING:
    from homeport.server import ControlPlane

log = logging.getLogger("homeport.control")
STOP_REASON = "Homeport was shut down"
AWAY_SECONDS = 10.0  # that an agent which isn't connected has to come back and stop its tasks
HELD_SECONDS = 120.0  # that services start no tasks for after all were stopped, should Homeport go on


class ControlApp:
    """An ASGI application. Answers that go on end when ``stop`` is set."""

    def __init__(self, plane: ControlPlane, settings: Settings, stop: asyncio.Event) -> None:
        self.plane, self.settings, self._stop = plane, settings, stop
        self._held: asyncio.Task[None] | None = None  # while services start no tasks
        self._routes: dict[tuple[str, str], Callable[[Query], Awaitable[Any]]] = {
            ("GET", "/status"): self.status,
            ("GET", "/task"): self.task,
            ("GET", "/service"): self.service,
            ("GET", "/environment"): self.environment,
            ("GET", "/story"): self.story,
            ("GET", "/explain"): self.explain,
            ("POST", "/stop-tasks"): self.stop_tasks,
            ("POST", "/reset"): self.reset,
            ("POST", "/interrupt"): self.interrupt,
            ("GET", "/tokens"): self.tokens,
            ("POST", "/tokens"): self.create_token,
            ("POST", "/revoke-token"): self.revoke_token,
        }
        self._streams: dict[tuple[str, str], Callable[[ControlPlane, Query], Lines]] = {
            ("GET", "/events"): streams.events,
            ("GET", "/follow-service"): streams.service,
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        asked = (scope["method"], scope["path"])
        route, stream = self._routes.get(asked), self._streams.get(asked)
        query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
        status, answer = 200, None
        try:
            if stream is not None:
                await streams.flow(stream(self.plane, query), self._stop, receive, send)
                return
            if route is None:
                status, answer = 404, {"message": f"There is no {scope['method']} {scope['path']}."}
            else:
                answer = await route(query)
        except Refused as error:
            status, answer = 400, {"message": str(error)}
        except AwsError as error:
            status, answer = 400, {"message": error.message}
        except Exception:
            log.exception("control request failed", extra={"path": scope["path"]})
            status, answer = (
                500,
                {"message": f"The control plane failed; see {self.settings.path('logs', 'server.log')}."},
            )
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": msgspec.json.encode(answer)})

    async def status(self, _: Query) -> dict[str, Any]:
        view = self.plane.store.view()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "control_plane": {
                "version": __version__,
                "pid": os.getpid(),
                "endpoint": self.settings.endpoint,
                "account": self.settings.account_id,
                "state": self.settings.state,
                "store_version": self.plane.store.version,
                "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
                "resident_bytes": _resident(),
            },
            **ecs.status.status(view),
        }

    async def task(self, query: Query) -> dict[str, Any]:
        view = self.plane.store.view()
        return ecs.status.task_status(view, *_task(view, query), self.plane.gateway.metrics)

    async def service(self, query: Query) -> dict[str, Any] | None:
        """None where no service is named so."""
        view = self.plane.store.view()
        found = ecs.service_status.named(view, query.get("service", ""))
        return ecs.service_status.told(view, *found) if found else None

    async def explain(self, query: Query) -> dict[str, Any]:
        scope = Scope(self.settings.account_id, self.settings.region)
        what, cluster = query.get("what", ""), query.get("cluster")
        return ecs.explanation.explain(self.plane.store.view(), scope, what, cluster, query.get("launch_type"))

    async def interrupt(self, query: Query) -> dict[str, str]:
        def interrupt(tx: Tx) -> dict[str, str]:
            task = ecs.interruption.interrupt(tx, *_task(tx, query))
            return {"task": task.arn, "reason": str(task.stopped_reason)}

        return await self.plane.store.update(interrupt, "homeport interrupt")

    async def environment(self, _: Query) -> dict[str, str]:
        store, settings = self.plane.store, self.settings
        scope = (settings.account_id, settings.region)

        def read(tx: Tx) -> dict[str, str]:
            key = keys.root_key(tx, self.plane.vault, settings.account_id)
            if key is None:
                raise Refused(f"The account {settings.account_id} has no root key.")
            group = ec2.defaults.ensure_web_group(tx, scope, self.plane.ids, tx.now)
            return {
                "AWS_ENDPOINT_URL": settings.endpoint,
                "AWS_ACCESS_KEY_ID": key[0],
                "AWS_SECRET_ACCESS_KEY": key[1],
                "AWS_SESSION_TOKEN": "",  # one left over from real AWS would be refused
                "AWS_DEFAULT_REGION": settings.region,
                "ECS_SUBNETS": ec2.defaults.first_subnets(tx, scope)[0],
                "ECS_SECURITY_GROUP": group,
            }

        return await store.update(read, "homeport env")

    async def story(self, query: Query) -> list[dict[str, Any]]:
        arn = query.get("arn", "")
        found = ecs.locate(self.plane.store.view(), arn)
        if found is None:
            raise Refused(f"{arn!r} names nothing that has a story. Give the ARN of a task, service, cluster …")
        scope, kind, record = found
        return [
            {
                "version": c.version,
                "at": c.at,
                "cause": c.cause,
                "old": ecs.status.readable(kind, c.old),
                "new": ecs.status.readable(kind, c.new),
            }
            for c in await self.plane.store.story(scope, kind, record)
        ]

    async def stop_tasks(self, query: Query) -> dict[str, int]:
        """Stops every task and waits for it, ``seconds`` at the most, and for those on machines that aren't connected
        ten at the most; how many still run, and how many of them there. Services start no others for HELD_SECONDS: by
        then Homeport has ended, and they start them when it is there again."""
        if self._held is None:
            stack = contextlib.AsyncExitStack()
            await stack.enter_async_context(self.plane.service_loop.held())
            self._held = asyncio.create_task(self._let_go(stack), name="control: services are held")
        return await self._stop_all(query)

    async def _let_go(self, held: contextlib.AsyncExitStack) -> None:
        async with held:
            await self.plane.clock.sleep(HELD_SECONDS)
            self._held = None

    async def _stop_all(self, query: Query) -> dict[str, int]:
        store = self.plane.store
        seconds = float(query.get("seconds", "40"))
        patience = min(seconds, AWAY_SECONDS)
        async with store.watch(ecs.TASKS.kind, ecs.INSTANCES.kind) as watch:
            await store.update(lambda tx: ecs.stop_all(tx, STOP_REASON), "homeport down")
            await _until(watch, lambda: not ecs.unfinished(store.view()), patience)
            await _until(watch, lambda: not ecs.unfinished(store.view(), reached=True), seconds - patience)
        running = ecs.unfinished(store.view())
        return {"running": running, "away": running - ecs.unfinished(store.view(), reached=True)}

    async def reset(self, query: Query) -> dict[str, int]:
        """Stops every task, then forgets everything but keys, nodes and the public pool."""
        if not self.settings.ephemeral:
            raise Refused("Only a Homeport that was started with `up --ephemeral` can be reset.")

        def wipe(tx: Tx) -> None:
            ecs.forget_all(tx)
            ec2.forget_all(tx)
            ec2.defaults.ensure_web_group(tx, (self.settings.account_id, self.settings.region), self.plane.ids, tx.now)

        async with self.plane.service_loop.held():
            left = await self._stop_all(query)
            await self.plane.store.update(wipe, "homeport reset")
        return left

    async def tokens(self, _: Query) -> list[dict[str, Any]]:
        """The join tokens that are valid, without their secrets."""
        found = iam.tokens.valid(self.plane.store.view())
        return [
            {
                "id": t.id,
                "cluster": t.cluster,
                "region": t.region,
                "created_at": t.created_at,
                "expires_at": t.expires_at,
            }
            for t in found
        ]

    async def create_token(self, query: Query) -> dict[str, Any]:
        settings = self.settings
        name, region = query.get("cluster", ""), query.get("region", settings.region)
        try:
            server, pin = await asyncio.to_thread(_outside, settings)
        except OSError as error:
            raise Refused(str(error)) from error

        def create(tx: Tx) -> dict[str, Any]:
            cluster = ecs.clusters.find_active(tx, (settings.account_id, region), name).name if name else ""
            token, secret = iam.tokens.create(tx, secrets.randbits, settings.account_id, region, cluster)
            text = jointoken.JoinToken(token.id, secret, pin).text
            expires = {"id": token.id, "expires_at": token.expires_at}
            return {"token": text, "cluster": cluster, "region": region, "server": server, **expires}

        try:
            return await self.plane.store.update(create, "homeport token create")
        except iam.tokens.TooMany as error:
            raise Refused(str(error)) from error
        except AwsError as error:
            raise Refused(f"{name}: {error.message}") from error

    async def revoke_token(self, query: Query) -> None:
        """Of a join token, or of a node: then its keys."""
        id = query.get("id", "")

        def revoke(tx: Tx) -> bool:
            if iam.tokens.revoke(tx, id):
                return True
            joined = id != keys.LOCAL_NODE and bool(keys.node_keys(tx, self.plane.vault, id))
            if joined:
                keys.remove_node(tx, id)
            return joined

        if not await self.plane.store.update(revoke, "homeport token revoke"):
            raise Refused(f"There is no join token and no node {id!r}.")


async def _until(watch: Watch, done: Callable[[], bool], seconds: float) -> None:
    """Until it is, as the changes that are watched make it, or the time is over."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not done():
                await watch.changes()


def _task(view: View, query: Query) -> tuple[Scope, ecs.Task]:
    """The one task whose ARN is asked for, or whose id begins so."""
    found = ecs.status.found(view, text := query.get("task", ""))
    if len(found) != 1:
        raise Refused(f"{len(found) or 'No'} task{'s' * (len(found) > 1)} start{'s' * (not found)} with {text!r}.")
    return found[0]


def _outside(settings: Settings) -> tuple[str, str | None]:
    """The URL under which other machines reach the API, and the pin of its key where it speaks TLS. Raises OSError."""
    at = settings.listens[-1]
    host = next(iter(addresses.of_this_machine()), at.host) if settings.everywhere else at.host
    if not at.tls:
        return url("http", host, at.port), None
    from homeport.aws import certificates  # 2 MiB, which loopback does without

    return url("https", host, at.port), certificates.pin_of_file(settings.certificate)


def _resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
