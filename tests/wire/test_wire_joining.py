"""``POST /join``, and the key that it gives, over real sockets and a whole control plane without a node."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from front import Front
from raw import Answer

from homeport.agent import membership
from homeport.agent.membership import CannotJoin
from homeport.aws import certificates
from homeport.config import Secrets, Settings
from homeport.control import ControlApp, Refused
from homeport.core import jointoken
from homeport.joining import FAILURES, Joining
from homeport.server import TABLES, ControlPlane, seed
from homeport.services.iam import keys
from homeport.store import Store
from homeport.store.memory import MemoryJournal
from homeport.system import SystemClock, system_ids

NONCE = "n" * 32


class Plane:
    """A control plane behind TLS: ``ask`` its control socket's app, ``root`` is a client with the root key."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(state=str(folder), instance="0" * 8, public_pool="198.18.9.0/28", host="127.0.0.2")
        clock, ids, vault = SystemClock(), system_ids(), keys.Vault(b"m" * 32)
        self.store = Store(MemoryJournal(), TABLES, clock)
        self.plane = ControlPlane(self.store, vault, clock, ids)
        self.control = ControlApp(self.plane, self.settings, asyncio.Event())
        files = certificates.own(self.settings.certificate.parent, ["127.0.0.1"], time.time())
        app = Joining(self.plane.app, self.plane, self.settings)
        self.front = Front(app, certificates.context(*files))
        self.authority = str(files[0])
        self.key = ("", "")

    def run(self, make: Callable[[], Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(make(), self.front._loop).result(20)

    def __enter__(self) -> Plane:
        self.front.__enter__()

        async def begin() -> None:
            await self.store.open()
            await self.store.update(
                lambda tx: seed(tx, self.settings, Secrets(), self.plane.vault, self.plane.ids), "start"
            )
            view = self.store.view()
            self.key = keys.root_key(view, self.plane.vault, self.settings.account_id) or self.key

        self.run(begin)
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.store.close)
        self.front.__exit__()

    def token(self, cluster: str = "demo") -> jointoken.JoinToken:
        made = self.run(lambda: self.control.create_token({"cluster": cluster}))
        token = jointoken.parse(made["token"])
        assert token is not None
        return token

    def client(self, key: tuple[str, str] | None = None, service: str = "ecs") -> Any:
        access_key, secret = key or self.key
        return boto3.client(
            service,
            "us-east-1",
            endpoint_url=self.front.url,
            verify=self.authority,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret,
        )


@pytest.fixture
def plane(tmp_path: Path) -> Any:
    with Plane(tmp_path / "plane") as running:
        running.client().create_cluster(clusterName="demo")
        yield running


def join(plane: Plane, token: jointoken.JoinToken, state: Path, cluster: str = "demo") -> membership.Membership:
    state.mkdir(exist_ok=True)
    return membership.join(str(state), plane.front.url, token, token.pin, cluster)


def code(call: Callable[..., Any], **params: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**params)
    return str(caught.value.response["Error"]["Code"])


def test_a_machine_gets_a_key_that_is_good_for_its_node_alone(plane: Plane, tmp_path: Path) -> None:
    joined = join(plane, plane.token(), tmp_path / "n1")
    assert (joined.cluster, joined.region, joined.public_pool) == ("demo", "us-east-1", "198.18.9.0/28")
    assert membership.load(str(tmp_path / "n1")) == joined
    assert membership.file_of(str(tmp_path / "n1")).stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "n1" / "join.json").exists()
    mine = plane.client((joined.access_key, joined.secret_key))
    assert code(mine.list_tasks, cluster="demo") == "AccessDeniedException"
    assert code(mine.run_task, cluster="demo", taskDefinition="x") == "AccessDeniedException"
    assert code(mine.deregister_container_instance, containerInstance="x") == "AccessDeniedException"
    assert mine.discover_poll_endpoint()["endpoint"] == plane.front.url + "/"
    plane.client().create_cluster(clusterName="other")
    resources = [{"name": name, "type": "INTEGER", "integerValue": 1024} for name in ("CPU", "MEMORY")]
    register = mine.register_container_instance
    assert code(register, cluster="other", totalResources=resources) == "AccessDeniedException"
    arn = register(cluster="demo", totalResources=resources)["containerInstance"]["containerInstanceArn"]
    assert plane.client().list_container_instances(cluster="demo")["containerInstanceArns"] == [arn]


def test_a_token_is_for_one_machine_and_one_cluster(plane: Plane, tmp_path: Path) -> None:
    token = plane.token()
    with pytest.raises(CannotJoin, match="The token is for demo"):
        join(plane, token, tmp_path / "n1", "other")
    join(plane, token, tmp_path / "n1")
    with pytest.raises(CannotJoin, match="not valid"):
        join(plane, token, tmp_path / "n2")
    assert membership.load(str(tmp_path / "n2")) is None


def test_a_revoked_node_is_unknown_at_once(plane: Plane, tmp_path: Path) -> None:
    joined = join(plane, plane.token(), tmp_path / "n1")
    mine = plane.client((joined.access_key, joined.secret_key))
    mine.discover_poll_endpoint()
    plane.run(lambda: plane.control.revoke_token({"id": joined.node}))
    assert code(mine.discover_poll_endpoint) == "UnrecognizedClientException"
    for unknown in (joined.node, keys.LOCAL_NODE, ""):
        with pytest.raises(Refused, match="no node"):
            plane.run(lambda id=unknown: plane.control.revoke_token({"id": id}))


def test_a_lost_answer_costs_no_token(plane: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = plane.token()

    def lost(*_: Any) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(membership, "save", lost)
        with pytest.raises(OSError, match="power cut"):
            join(plane, token, tmp_path / "n1")
    assert join(plane, token, tmp_path / "n1").token == token.id


def test_a_server_with_another_key_is_told_nothing(plane: Plane, tmp_path: Path) -> None:
    token = plane.token()
    wrong = token._replace(pin="A" * 43)
    with pytest.raises(CannotJoin, match="not the one that the join token names"):
        join(plane, wrong, tmp_path / "n1")
    join(plane, token, tmp_path / "n1")  # it wasn't spent


def test_deleted_clusters_have_no_tokens(plane: Plane, tmp_path: Path) -> None:
    token = plane.token()
    plane.client().delete_cluster(cluster="demo")
    with pytest.raises(CannotJoin, match="was deleted"):
        join(plane, token, tmp_path / "n1")
    with pytest.raises(Refused, match="demo: Cluster not found"):
        plane.token()


def test_guessing_is_slow_and_stops_nobody_else(plane: Plane, tmp_path: Path) -> None:
    token = plane.token()

    def ask(body: bytes) -> Answer:
        return tls_http(plane, body)

    guess = json.dumps({"token": token._replace(secret="A" * 22).text, "nonce": NONCE}).encode()
    assert [ask(guess).status for _ in range(FAILURES)] == [403] * FAILURES
    assert ask(guess).status == 429


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"token":1}',
        b'{"token":"hp1.x","nonce":"nnnnnnnnnnnnnnnn"}',
        b"\xff" * 100,
        b"{}" + b" " * 5000,
    ],
)
def test_nonsense_is_refused(plane: Plane, body: bytes) -> None:
    answer = tls_http(plane, body)
    assert answer.status == 400
    assert "message" in json.loads(answer.body)


def test_a_short_nonce_is_refused(plane: Plane) -> None:
    for nonce in ("short", "n" * 200, "é" * 32):
        body = json.dumps({"token": plane.token().text, "nonce": nonce}).encode()
        assert tls_http(plane, body).status == 400


def test_only_posts_join(plane: Plane) -> None:
    assert tls_http(plane, b"", "GET").status == 404


def tls_http(plane: Plane, body: bytes, method: str = "POST") -> Answer:
    import http.client
    import ssl

    context = ssl.create_default_context(cafile=plane.authority)
    connection = http.client.HTTPSConnection("127.0.0.1", plane.front.port, timeout=15, context=context)
    try:
        connection.request(method, "/join", body)
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read(), False)
    finally:
        connection.close()
