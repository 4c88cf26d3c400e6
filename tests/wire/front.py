"""A front with a toy service behind it, on a loopback port in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import threading
from typing import Any

import uvloop

from homeport.aws.app import App
from homeport.aws.asgi import Socket
from homeport.aws.operations import Call, Credential, Operation, Params, Principal, Service
from homeport.aws.serve import Listener, bind, serve
from homeport.core.errors import AwsError
from homeport.core.ids import BitIds
from homeport.core.paging import Tokens
from homeport.system import SystemClock

ACCOUNT = "123456789012"
KEY, SECRET = "AKIDROOT", "root-secret/+key"
NODE_KEY, NODE_SECRET = "AKIDNODE", "node-secret"

ROOT = Principal(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT, KEY)
NODE = Principal(ACCOUNT, f"arn:aws:sts::{ACCOUNT}:assumed-role/node/n1", "AROA:n1", NODE_KEY, node="n1")
CREDENTIALS = {KEY: Credential(SECRET, ROOT), NODE_KEY: Credential(NODE_SECRET, NODE)}


def describe_tasks(tx: Any, call: Call, params: Params) -> dict[str, Any]:
    task = {"taskArn": params["tasks"][0], "lastStatus": "RUNNING", "createdAt": 1700000000.125, "version": 3}
    return {"tasks": [task], "failures": []}


def run_task(tx: Any, call: Call, params: Params) -> dict[str, Any]:
    if params["taskDefinition"] == "conflict":
        raise AwsError("ConflictException", "Token reused", resourceIds=["arn:1"])
    if params["taskDefinition"] == "crash":
        raise RuntimeError("a bug with a secret in its text")
    return {"tasks": [{"group": f"{call.region}:{call.account}"}], "failures": []}


def describe_vpcs(tx: Any, call: Call, params: Params) -> dict[str, Any]:
    return {"Vpcs": [{"VpcId": v, "CidrBlock": "172.31.0.0/16", "IsDefault": True} for v in params.get("VpcIds", [])]}


def delete_group(tx: Any, call: Call, params: Params) -> None:
    if params.get("GroupId") == "sg-none":
        raise AwsError("InvalidGroup.NotFound", "The security group 'sg-none' does not exist")


def caller_identity(tx: Any, call: Call, params: Params) -> dict[str, Any]:
    return {"Account": call.account, "Arn": call.principal.arn, "UserId": call.principal.user_id}


SERVICES = {
    "ecs": Service(
        "ecs",
        {
            "DescribeTasks": Operation(describe_tasks, write=False),
            "RunTask": Operation(run_task),
            "RegisterTaskDefinition": Operation(lambda tx, call, params: {}),
            "DiscoverPollEndpoint": Operation(lambda tx, call, params: {"endpoint": call.endpoint}),
        },
    ),
    "ec2": Service("ec2", {"DescribeVpcs": Operation(describe_vpcs), "DeleteSecurityGroup": Operation(delete_group)}),
    "sts": Service("sts", {"GetCallerIdentity": Operation(caller_identity)}),
}


async def execute(operation: Operation, call: Call, params: Params) -> dict[str, Any] | None:
    return operation.handler(None, call, params)


async def echo(principal: Principal, path: str, query: dict[str, str], socket: Socket) -> None:
    if query.get("containerInstanceArn") == "other":
        raise AwsError("InvalidInstanceException", "not yours")
    while True:
        text = await socket.receive()
        if text == "close":
            await socket.close(4000, "as told")
            return
        await socket.send(f"{principal.node or 'root'}:{path}:{text}")


def make_app(clock: Any = None) -> App:
    rnd = random.Random(1)
    return App(
        SERVICES,
        CREDENTIALS.get,
        execute,
        clock or SystemClock(),
        BitIds(rnd.getrandbits),
        Tokens(b"k" * 32),
        websocket=echo,
        probes={"/healthz": lambda: (200, "text/plain", b"ok\n")},
    )


class Front:
    """A running front; ``url`` is its base."""

    def __init__(self, app: Any = None, tls: ssl.SSLContext | None = None) -> None:
        self.app, self.tls = app or make_app(), tls
        self.sock = bind("127.0.0.1", 0)
        self.port: int = self.sock.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await serve([Listener(self.sock, self.app, self.tls)], self._stop, self._up.set)

    def __enter__(self) -> Front:
        self._thread.start()
        assert self._up.wait(10)
        return self

    def stop(self) -> None:
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._stop.set)

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self.stop()
        self._thread.join(15)
        assert not self._thread.is_alive()
