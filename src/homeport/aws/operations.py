"""What a service gives the front: its operations. What the front gives an operation: the ``Call``.

An operation is a synchronous function ``handler(tx, call, params) -> output``. ``tx`` is a store transaction (a view
for ``write=False``), ``params`` the validated input with the model's member names, ``output`` a dict with the model's
member names, or None. Timestamps are floats (seconds since the epoch) both ways. It raises ``AwsError``; then nothing
that it did is kept. It never awaits: what must happen outside the store is done by loops that watch the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from homeport.core.ids import Ids
from homeport.core.paging import Tokens


class Principal(msgspec.Struct, frozen=True):
    """Who signed the request. ``node`` is the id of the node that owns the key, None for the account's root key;
    ``cluster`` the ARN of the only cluster that it may register in, "" for the Fargate pool, None for any."""

    account: str
    arn: str
    user_id: str
    access_key_id: str
    node: str | None = None
    cluster: str | None = None


class Credential(msgspec.Struct, frozen=True):
    """What ``lookup(access_key_id)`` answers for a known key."""

    secret: str
    principal: Principal


class Call(msgspec.Struct, frozen=True):
    """One authenticated request. ``account`` and ``region`` scope every record that it reads or writes."""

    principal: Principal
    account: str
    region: str
    service: str
    operation: str
    request_id: str
    now: float
    ids: Ids
    tokens: Tokens
    endpoint: str  # base URL under which the client reached the API, "http://127.0.0.1:4566"

    @property
    def scope(self) -> tuple[str, str]:
        return (self.account, self.region)


Params = dict[str, Any]
Handler = Callable[[Any, Call, Params], dict[str, Any] | None]


class Operation(NamedTuple):
    handler: Handler
    write: bool = True
    resources: Callable[[Call, Params], list[str]] | None = None  # ARNs for the authorise step; None means "*"


class Service(NamedTuple):
    """``name`` is botocore's name of the service: ``ecs``, ``ec2``, ``sts``."""

    name: str
    operations: Mapping[str, Operation]
