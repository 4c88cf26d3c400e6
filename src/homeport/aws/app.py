"""The AWS front: from an HTTP request to an operation and back. ``App._steps`` is the list of the steps."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from homeport.aws import models, refusals, sigv4, wire
from homeport.aws.asgi import Body, Closed, Disconnected, Head, Receive, Scope, Send, Socket, answer, head_of
from homeport.aws.authorize import refusal
from homeport.aws.metrics import RequestMetrics
from homeport.aws.models import OperationModel, ServiceModel
from homeport.aws.operations import Call, Credential, Operation, Params, Principal, Service
from homeport.aws.validate import Validator
from homeport.aws.wire import Dialect, Request, Response, Wire
from homeport.core.clock import Clock
from homeport.core.errors import AwsError
from homeport.core.ids import Ids
from homeport.core.paging import Tokens

MAX_REQUESTS = 512  # calls in progress; one more is throttled
log = logging.getLogger("homeport.aws")

Execute = Callable[[Operation, Call, Params], Awaitable[dict[str, Any] | None]]
WebsocketHandler = Callable[[Principal, str, dict[str, str], Socket], Awaitable[None]]
Probe = Callable[[], tuple[int, str, bytes]]


class _Served(NamedTuple):
    service: Service
    model: ServiceModel
    validator: Validator


class _Signed(NamedTuple):
    claim: sigv4.Claim
    credential: Credential


class _Seen:
    """What is known of a request so far, for its error, its metrics and its log line."""

    __slots__ = ("operation", "served", "wire")

    def __init__(self, wire: Wire) -> None:
        self.wire: Wire = wire
        self.served: _Served | None = None
        self.operation = "-"

    @property
    def model(self) -> ServiceModel | None:
        return self.served.model if self.served else None


class App:
    """An ASGI application.

    ``services`` by botocore's names. ``lookup`` answers the credential of an access key id, or None. ``execute`` runs
    an operation's handler in a store transaction and may raise AwsError. ``websocket`` serves signed upgrades to ecs.
    ``probes`` are unauthenticated GETs by path: status, content type and body.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        lookup: Callable[[str], Credential | None],
        execute: Execute,
        clock: Clock,
        ids: Ids,
        tokens: Tokens,
        websocket: WebsocketHandler | None = None,
        probes: Mapping[str, Probe] | None = None,
        metrics: RequestMetrics | None = None,
    ) -> None:
        self._served: dict[str, _Served] = {}
        for name, service in services.items():
            model = models.load(name, service.operations)
            self._served[model.signing_name] = _Served(service, model, Validator(model))
        self._targets = {s.model.target_prefix: n for n, s in self._served.items() if s.model.target_prefix}
        self._lookup, self._execute, self._websocket = lookup, execute, websocket
        self._clock, self._ids, self._tokens = clock, ids, tokens
        self._probes = probes or {}
        self.metrics = metrics or RequestMetrics()
        self._in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._upgrade(head_of(scope), Socket(receive, send))
        elif scope["type"] == "http":
            head = head_of(scope)
            if head.method in ("GET", "HEAD") and not _is_signed(head):
                await answer(self._probe(head), send)
            else:
                await self._request(head, receive, send)

    # --- requests ---

    async def _request(self, head: Head, receive: Receive, send: Send) -> None:
        begun = self._clock.mono()
        request_id = self._ids.new("uuid")
        claim = _claim(head)
        seen = _Seen(wire.choose(head.headers, claim.service if isinstance(claim, sigv4.Claim) else ""))
        body = Body(head, receive)
        code = "OK"
        self._in_progress += 1
        try:
            response = await self._steps(head, claim, body, request_id, seen)
        except Disconnected:
            return
        except AwsError as error:
            code = error.code
            response = self._error(seen, error, request_id)
        except Exception:
            log.exception(
                "request failed", extra={"request_id": request_id, "operation": seen.operation, "path": head.path}
            )
            fault = refusals.internal(seen.wire.dialect)
            code = fault.code
            response = self._error(seen, fault, request_id)
        finally:
            self._in_progress -= 1
        self.metrics.count(seen.model.name if seen.model else "-", seen.operation, code, self._clock.mono() - begun)
        await answer(response, send, body)

    async def _steps(
        self, head: Head, claim: sigv4.Claim | sigv4.SignatureError, body: Body, request_id: str, seen: _Seen
    ) -> Response:
        dialect = seen.wire.dialect
        if self._in_progress > MAX_REQUESTS:
            raise refusals.throttled(dialect)
        signed = self._identify(claim, dialect)
        seen.served = self._route(head, signed.claim, dialect)
        request = Request(head.method, head.path, head.query, head.headers, await body.read())
        _authenticate(head, request.body, signed, dialect)
        operation, shape = self._operation(seen, request)
        params = seen.wire.decode(shape, request)
        seen.served.validator.check(shape, params)
        call = self._call(head, signed, seen, request_id)
        _authorize(operation, call, params, head, dialect)
        if params.get("DryRun") is True and seen.wire is wire.EC2:
            raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
        output = await self._execute(operation, call, params)
        return seen.wire.encode(seen.served.model, shape, output or {}, request_id)

    def _identify(self, claim: sigv4.Claim | sigv4.SignatureError, dialect: Dialect) -> _Signed:
        """Who claims to have signed, from the head alone: a known key and a date that is near. Only for those is a body
        read."""
        if isinstance(claim, sigv4.SignatureError):
            raise refusals.bad_signature(dialect, claim)
        credential = self._lookup(claim.access_key)
        # Long-lived keys have no session token; AWS refuses them together with one.
        if credential is None or claim.token is not None:
            raise refusals.unknown_key(dialect)
        try:
            sigv4.check_date(claim, self._clock.wall())
        except sigv4.SignatureError as error:
            raise refusals.bad_signature(dialect, error) from error
        return _Signed(claim, credential)

    def _route(self, head: Head, claim: sigv4.Claim, dialect: Dialect) -> _Served:
        """By the credential scope; where the request also names a target, it has to agree."""
        prefix = head.headers.get("x-amz-target", "").rpartition(".")[0]
        target = self._targets.get(prefix)
        if target is not None and target != claim.service:
            raise refusals.wrong_scope(dialect, target)
        served = self._served.get(claim.service)
        if served is None:
            raise refusals.unknown_service(dialect, claim.service)
        return served

    def _operation(self, seen: _Seen, request: Request) -> tuple[Operation, OperationModel]:
        assert seen.served is not None
        model, name = seen.served.model, seen.wire.operation(request)
        if seen.wire.name not in model.protocols:
            raise refusals.wrong_protocol(seen.wire, model)
        if name in model.operation_names:
            seen.operation = name
        operation = seen.served.service.operations.get(name)
        prefix = request.headers.get("x-amz-target", "").rpartition(".")[0]
        if operation is None or (seen.wire is wire.JSON and prefix != model.target_prefix):
            raise refusals.unknown_operation(seen.wire, model, name)
        return operation, model.operations[name]

    def _call(self, head: Head, signed: _Signed, seen: _Seen, request_id: str) -> Call:
        assert seen.served is not None
        return Call(
            principal=signed.credential.principal,
            account=signed.credential.principal.account,
            region=signed.claim.region,
            service=seen.served.model.name,
            operation=seen.operation,
            request_id=request_id,
            now=self._clock.wall(),
            ids=self._ids,
            tokens=self._tokens,
            endpoint=f"{head.scheme}://{head.headers['host']}",
        )

    def _error(self, seen: _Seen, error: AwsError, request_id: str) -> Response:
        if error.code == "ServerException" and error.status >= 500:  # ECS's name of what other protocols call otherwise
            error = AwsError(seen.wire.dialect.internal, error.message, error.status)
        return seen.wire.encode_error(seen.model, error, request_id)

    def _probe(self, head: Head) -> Response:
        probe = self._probes.get(head.path)
        if probe is not None:
            status, content_type, body = probe()
        elif head.path == "/":
            status, content_type, body = 200, "text/plain", b"Homeport\n"
        else:
            status, content_type, body = 404, "text/plain", b"Not found\n"
        return Response(status, {"content-type": content_type}, body if head.method == "GET" else b"")

    # --- websockets ---

    async def _upgrade(self, head: Head, socket: Socket) -> None:
        request_id = self._ids.new("uuid")
        dialect = wire.JSON.dialect
        query = dict(parse_qsl(head.query, keep_blank_values=True))
        try:
            signed = self._identify(_claim(head), dialect)
            if signed.claim.service != "ecs":
                raise refusals.wrong_scope(dialect, "ecs")
            _authenticate(head, b"", signed, dialect)
            principal = signed.credential.principal
            action = "ecs:StartTelemetrySession" if "containerInstance" in query else "ecs:Poll"
            text = refusal(principal, action, ["*"], {"aws:RequestedRegion": signed.claim.region})
            if text is not None or self._websocket is None:
                raise AwsError("AccessDeniedException", text or "Homeport serves no websockets here.", 403)
            await self._websocket(principal, head.path, query, socket)
            await socket.close()
        except Closed:
            return
        except AwsError as error:
            await _end(socket, error)
        except Exception:
            log.exception("websocket failed", extra={"request_id": request_id, "path": head.path})
            await _end(socket, refusals.internal(dialect))


async def _end(socket: Socket, error: AwsError) -> None:
    """Before the upgrade the agent reads an error body, after it only a close code: 1011 makes it reconnect at once,
    1008 after a pause."""
    if socket.accepted:
        await socket.close(1011 if error.status >= 500 else 1008, error.code)
    else:
        await socket.refuse(error)


def _authenticate(head: Head, body: bytes, signed: _Signed, dialect: Dialect) -> None:
    try:
        sigv4.verify(signed.claim, signed.credential.secret, head.method, head.path, head.query, head.headers, body)
    except sigv4.SignatureError as error:
        raise refusals.bad_signature(dialect, error) from error


def _authorize(operation: Operation, call: Call, params: Params, head: Head, dialect: Dialect) -> None:
    resources = operation.resources(call, params) if operation.resources else ["*"]
    context = {
        "aws:PrincipalAccount": call.account,
        "aws:PrincipalArn": call.principal.arn,
        "aws:RequestedRegion": call.region,
        "aws:SourceIp": head.peer,
    }
    text = refusal(call.principal, f"{call.service}:{call.operation}", resources or ["*"], context)
    if text is not None:
        raise refusals.denied(dialect, text)


def _is_signed(head: Head) -> bool:
    return "authorization" in head.headers or "X-Amz-Signature=" in head.query


def _claim(head: Head) -> sigv4.Claim | sigv4.SignatureError:
    """The claim, or why there is none: its service is needed to choose how even that error is written."""
    try:
        return sigv4.read_claim(head.query, head.headers)
    except sigv4.SignatureError as error:
        return error
