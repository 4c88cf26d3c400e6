"""The control plane's composition root: builds store, services and loops, and owns the task group.

Everything long-lived is a named task here. The first that fails ends the process: the supervisor starts it anew, and it
reloads what is durable.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from homeport import addresses
from homeport.aws import serve
from homeport.aws.app import App
from homeport.aws.metrics import RequestMetrics
from homeport.aws.operations import Call, Operation, Params, Principal, Service
from homeport.config import LOOPBACK, Secrets, Settings
from homeport.control import ControlApp
from homeport.core.clock import Clock
from homeport.core.errors import AwsError
from homeport.core.ids import Ids
from homeport.core.paging import Tokens
from homeport.joining import Joining
from homeport.monitor import LoopMonitor
from homeport.services import ec2, ecs, iam, sts
from homeport.services.iam import keys
from homeport.store import Store, StoreClosed, Tx
from homeport.store.errors import Fenced, OutcomeUnknown, UnusableFile
from homeport.store.sql import SqliteJournal
from homeport.system import SystemClock, system_ids

log = logging.getLogger("homeport.server")
# New objects after which the youngest are looked at for garbage, such looks until older ones are, those until all are.
# Garbage in cycles is rare here and much lives long: the connections of 2,000 agents are 600,000 objects. At Python's
# own 700, 10, 10 all of them were visited, a third of a second each time, when 200 agents came back at once.
COLLECT = (5_000, 10, 50)
TABLES = (*ecs.TABLES, *ec2.TABLES, *iam.TABLES)
SERVICES: Mapping[str, Service] = {s.name: s for s in (ecs.SERVICE, ec2.SERVICE, sts.SERVICE)}


class ControlPlane:
    """The control plane without its HTTP server: what ``serve`` and the simulator run alike."""

    def __init__(self, store: Store, vault: keys.Vault, clock: Clock, ids: Ids) -> None:
        self.store, self.vault, self.clock, self.ids = store, vault, clock, ids
        self.metrics, self.monitor = RequestMetrics(), LoopMonitor(clock)
        self.gateway = ecs.Gateway(store, clock, ids)
        self.task_loop = ecs.TaskLoop(store, clock, ids)
        self.service_loop = ecs.ServiceLoop(store, clock, ids)

    @cached_property
    def app(self) -> App:
        """The AWS front. Made when it is first asked for: it reads the service models, which only HTTP needs."""
        return App(
            services=SERVICES,
            lookup=lambda access_key: keys.lookup(self.store.view(), self.vault, access_key),
            execute=self.execute,
            clock=self.clock,
            ids=self.ids,
            tokens=Tokens(self.vault.derive("pagination")),
            websocket=self._websocket,
            probes={"/healthz": self._health, "/metrics": self._metrics},
            metrics=self.metrics,
        )

    async def execute(self, operation: Operation, call: Call, params: Params) -> dict[str, Any] | None:
        """Runs an operation in one transaction; its answer waits until what it read and wrote is durable."""
        try:
            if not operation.write:
                return await self.store.read(lambda view: operation.handler(view, call, params))
            cause = f"{call.service}:{call.operation} by {call.principal.arn} ({call.request_id})"
            return await self.store.update(lambda tx: operation.handler(tx, call, params), cause)
        except StoreClosed as error:
            raise AwsError("ServerException", f"Homeport can't write its state: {error}", 500) from error

    async def start_loops(self, group: asyncio.TaskGroup) -> None:
        group.create_task(self.gateway.run(), name="agent gateway")
        group.create_task(self.task_loop.run(), name="task loop")
        group.create_task(self.service_loop.run(), name="service loop")
        group.create_task(self.monitor.run(), name="loop monitor")

    async def _websocket(self, principal: Principal, path: str, query: Mapping[str, str], socket: Any) -> None:
        await self.gateway.session(principal, query, socket)

    def _health(self) -> tuple[int, str, bytes]:
        if not self.store.writable:
            return 503, "application/json", b'{"status":"writes are closed"}\n'
        return 200, "application/json", b'{"status":"ok"}\n'

    def _metrics(self) -> tuple[int, str, bytes]:
        return (
            200,
            "text/plain; version=0.0.4",
            self.metrics.render() + self.monitor.render() + store_metrics(self.store),
        )


def store_metrics(store: Store) -> bytes:
    """The store's counters in Prometheus's text format."""
    rows = [
        ("homeport_store_version", "gauge", store.version),
        ("homeport_store_durable_version", "gauge", store.durable),
        ("homeport_store_writable", "gauge", int(store.writable)),
        *((f"homeport_store_{n}", "counter", v) for n, v in msgspec.structs.asdict(store.counters).items()),
    ]
    return "".join(f"# TYPE {name} {kind}\n{name} {value}\n" for name, kind, value in rows).encode()


def seed(tx: Tx, settings: Settings, handed: Secrets, vault: keys.Vault, ids: Ids) -> None:
    """What a fresh Homeport has: a root key, the local node's key, the public pool, the home region's default VPC and
    its group ``web``. Changes nothing where it is there already; a handed root key replaces the stored one."""
    if handed.access_key and handed.secret_key:
        keys.put_root(tx, vault, settings.account_id, handed.access_key, handed.secret_key, tx.now)
    elif keys.root_key(tx, vault, settings.account_id) is None:
        keys.put_root(tx, vault, settings.account_id, *keys.new_key(), tx.now)
    keys.put_node(tx, vault, keys.LOCAL_NODE, *keys.local_node_key(vault), tx.now, account=settings.account_id)
    if settings.public_pool:
        ec2.pool.configure(tx, settings.public_pool)
    ec2.defaults.ensure_web_group(tx, home(settings), ids, tx.now)


def home(settings: Settings) -> tuple[str, str]:
    return (settings.account_id, settings.region)


async def serve_all(settings: Settings, handed: Secrets) -> None:
    """Opens the store and serves until SIGTERM or SIGINT."""
    clock, ids = SystemClock(), system_ids()
    # First: a port that is taken must not cost a state folder.
    bound = [(serve.bind(at.host, at.port), at.tls) for at in settings.listens]
    settings.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    vault = keys.Vault(keys.load_master(str(settings.master_key)))
    tls = server_tls(settings, clock.wall()) if any(secured for _, secured in bound) else None
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    fatal: asyncio.Future[Exception] = loop.create_future()
    store = Store(SqliteJournal(settings.database), TABLES, clock, fatal=fatal.set_result)
    await store.open()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await store.update(lambda tx: seed(tx, settings, handed, vault, ids), "start")
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT)
        plane = ControlPlane(store, vault, clock, ids)
        api = Joining(plane.app, plane, settings)
        listeners = [
            *(serve.Listener(sock, api, tls if secured else None) for sock, secured in bound),
            serve.Listener(serve.bind_unix(str(settings.control_socket)), ControlApp(plane, settings, stop)),
        ]
        async with asyncio.TaskGroup() as group:
            await plane.start_loops(group)
            group.create_task(_until(fatal), name="journal watch")
            await serve.serve(listeners, stop)
            log.info("stopping")
            raise _Stopped
    except* _Stopped:
        pass
    finally:
        await store.close()


def server_tls(settings: Settings, now: float) -> ssl.SSLContext:
    """What the listener for other machines speaks. Raises OSError."""
    from homeport.aws import certificates  # 2 MiB and 40 ms, which loopback does without

    if settings.tls_cert and settings.tls_key:
        return certificates.context(Path(settings.tls_cert), Path(settings.tls_key))
    hosts = addresses.of_this_machine() if settings.everywhere else [settings.host]
    names = [*hosts, *LOOPBACK, socket.gethostname()]
    return certificates.context(*certificates.own(settings.certificate.parent, names, now))


class _Stopped(Exception):
    """Ends the task group in good order."""


async def _until(fatal: asyncio.Future[Exception]) -> None:
    """A journal whose state is unknown ends the process: only a reload tells what is durable."""
    raise await fatal


def run(settings: Settings, handed: Secrets) -> int:
    """The process. Exit codes: 0 stopped, 1 failed (the supervisor tries again)."""
    import uvloop

    # The journal's thread must get its turn beside a busy loop: at Python's 5 ms it waited for seconds (measured).
    sys.setswitchinterval(0.0005)
    failed = False
    try:
        uvloop.run(serve_all(settings, handed))
    except* (OSError, UnusableFile, Fenced, OutcomeUnknown, StoreClosed, keys.BadMasterKey, keys.BadSeal) as errors:
        failed = True
        for error in _leaves(errors):
            log.critical("the control plane ends: %s", error)
    return int(failed)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
