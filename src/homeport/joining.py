"""``POST /join`` on the API's listeners: a machine shows a join token and gets a node's key.

The request is ``{"token": TEXT, "nonce": TEXT, "cluster": NAME}`` (no ``cluster``: whichever the token is for), the
answer ``{"node", "accessKeyId", "secretAccessKey", "account", "region", "cluster", "publicPool"}``, or 400, 403 or 429
with ``{"message"}``. AWS's clients ask for no such path.
"""

from __future__ import annotations

import logging
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec

from homeport.aws.asgi import Body, Disconnected, Receive, Scope, Send, answer, head_of
from homeport.aws.wire import Response
from homeport.config import Settings
from homeport.core import jointoken
from homeport.core.errors import AwsError
from homeport.services.ecs import clusters
from homeport.services.iam import tokens
from homeport.store import StoreClosed, Tx

if TYPE_CHECKING:
    from homeport.server import ControlPlane

log = logging.getLogger("homeport.joining")
PATH = "/join"
MOST = 4096  # bytes of a request
NONCE = (16, 128)  # characters
FAILURES = 20  # of one address …
FAILURE_SECONDS = 60.0  # … within this time, after which it is answered 429
ADDRESSES = 1024  # whose failures are remembered


class Wish(msgspec.Struct):
    token: str
    nonce: str
    cluster: str | None = None


class _Rejected(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Failures:
    """How often each address has failed lately."""

    def __init__(self) -> None:
        self._by_address: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def too_many(self, address: str, now: float) -> bool:
        since, count = self._by_address.get(address, (now, 0))
        return count >= FAILURES and now - since < FAILURE_SECONDS

    def note(self, address: str, now: float) -> None:
        since, count = self._by_address.pop(address, (now, 0))
        self._by_address[address] = (since, count + 1) if now - since < FAILURE_SECONDS else (now, 1)
        if len(self._by_address) > ADDRESSES:
            self._by_address.popitem(last=False)


class Joining:
    """An ASGI application in front of ``app``, which answers everything else."""

    def __init__(self, app: Any, plane: ControlPlane, settings: Settings) -> None:
        self._app, self._plane, self._settings = app, plane, settings
        self._failures = Failures()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        head = head_of(scope)
        body = Body(head, receive)
        try:
            status, content = 200, await self._join(head.peer, body)
        except Disconnected:
            return
        except _Rejected as error:
            status, content = error.status, {"message": str(error)}
        except AwsError as error:
            status, content = error.status, {"message": error.message}
        except Exception:
            log.exception("a join failed")
            status, content = 500, {"message": "Service Unavailable. Please try again later."}
        headers = {"content-type": "application/json", "cache-control": "no-store"}
        await answer(Response(status, headers, msgspec.json.encode(content)), send, body)

    async def _join(self, peer: str, body: Body) -> dict[str, str]:
        now = self._plane.clock.mono()
        if self._failures.too_many(peer, now):
            raise _Rejected(429, "Too many tokens that are not valid. Try again in a minute.")
        wish, token = _read(await body.read())
        try:
            return await self._plane.store.update(lambda tx: self._exchange(tx, token, wish), f"join from {peer}")
        except tokens.Refused as error:
            self._failures.note(peer, now)
            log.warning("a join token was refused", extra={"peer": peer, "token": token.id})
            raise _Rejected(403, str(error)) from error
        except StoreClosed as error:
            raise AwsError("ServerException", f"Homeport can't write its state: {error}", 503) from error

    def _exchange(self, tx: Tx, given: jointoken.JoinToken, wish: Wish) -> dict[str, str]:
        token = tokens.shown(tx, given.id, given.secret, wish.nonce)
        if wish.cluster is not None and wish.cluster != token.cluster:
            raise _Rejected(403, f"The token is for {token.cluster or 'the Fargate pool'}: make one for this cluster.")
        arn = ""
        if token.cluster:
            found = clusters.find(tx, (token.account, token.region), token.cluster)
            if found is None or found.status != "ACTIVE":
                raise _Rejected(403, f"The cluster {token.cluster} that the token is for was deleted.")
            arn = found.arn
        joined = tokens.redeem(tx, self._plane.vault, secrets.randbits, token, wish.nonce, arn)
        log.info("a node joined", extra={"node": joined.node, "cluster": arn or "the Fargate pool"})
        return {
            "node": joined.node,
            "accessKeyId": joined.access_key,
            "secretAccessKey": joined.secret,
            "account": token.account,
            "region": token.region,
            "cluster": token.cluster,
            "publicPool": self._settings.public_pool or "",
        }


def _read(raw: bytes) -> tuple[Wish, jointoken.JoinToken]:
    """Raises _Rejected."""
    try:
        wish = msgspec.json.decode(raw, type=Wish) if len(raw) <= MOST else None
    except (msgspec.DecodeError, UnicodeError):
        wish = None
    if wish is None or not NONCE[0] <= len(wish.nonce) <= NONCE[1] or not wish.nonce.isascii():
        raise _Rejected(400, 'Send {"token": …, "nonce": …}, the nonce of 16 to 128 characters.')
    token = jointoken.parse(wish.token)
    if token is None:
        raise _Rejected(400, "That is no join token: it begins with hp1. and has four parts.")
    return wish, token
