"""ECS's operations on a real store, without the front: what the front would check is checked by botocore instead."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from homeport.aws.operations import Call, Operation, Principal
from homeport.core.errors import AwsError
from homeport.core.ids import BitIds
from homeport.core.paging import Tokens
from homeport.services import ec2, ecs
from homeport.store import Scope, Store
from homeport.store.memory import MemoryJournal

ACCOUNT = "123456789012"
MODEL = botocore.session.get_session().get_service_model("ecs")
OPERATIONS: Mapping[str, Operation] = ecs.SERVICE.operations


class ManualClock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def wall(self) -> float:
        return self.now

    def mono(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Ecs:
    """``ecs("CreateCluster", clusterName="a")`` calls an operation; its answer must fit the model's output shape."""

    def __init__(self, runner: asyncio.Runner, journal: MemoryJournal | None = None) -> None:
        self.clock, self.journal, self._runner = ManualClock(), journal or MemoryJournal(), runner
        self.store = Store(self.journal, (*ecs.TABLES, *ec2.model.TABLES), self.clock)
        self._ids, self._tokens = BitIds(random.Random(1).getrandbits), Tokens(b"key")
        runner.run(self.store.open())

    def __call__(
        self, name: str, /, *, region: str = "us-east-1", account: str = ACCOUNT, **params: Any
    ) -> dict[str, Any]:
        model, operation = MODEL.operation_model(name), OPERATIONS[name]
        _fits(params, model.input_shape)
        arn = f"arn:aws:iam::{account}:root"
        call = Call(
            principal=Principal(account=account, arn=arn, user_id=account, access_key_id="AKIA"),
            account=account,
            region=region,
            service="ecs",
            operation=name,
            request_id="1",
            now=self.clock.now,
            ids=self._ids,
            tokens=self._tokens,
            endpoint="http://127.0.0.1:4566",
        )
        if operation.resources:
            assert all(isinstance(resource, str) for resource in operation.resources(call, params))
        run = lambda tx: operation.handler(tx, call, params)  # noqa: E731
        answer = self._runner.run(self.store.update(run, name) if operation.write else self.store.read(run))
        _fits(answer, model.output_shape)
        return answer or {}

    def put(self, table: Any, record: Any, region: str = "us-east-1") -> None:
        scope = Scope(ACCOUNT, region)
        self._runner.run(self.store.update(lambda tx: tx.put(table, scope, record), "test"))

    def delete(self, table: Any, id: str, region: str = "us-east-1") -> None:
        scope = Scope(ACCOUNT, region)
        self._runner.run(self.store.update(lambda tx: tx.delete(table, scope, id), "test"))

    def restarted(self) -> Ecs:
        """A new store on the same journal."""
        self._runner.run(self.store.close())
        return Ecs(self._runner, self.journal)

    @contextmanager
    def refused(self, code: str, message: str | None = None) -> Iterator[None]:
        """The call in the block is answered with this error, and changes nothing."""
        version = self.store.version
        with pytest.raises(AwsError) as caught:
            yield
        assert caught.value.code == code
        assert message is None or caught.value.message == message
        assert self.store.version == version


@contextmanager
def running() -> Iterator[Ecs]:
    with asyncio.Runner() as runner:
        ecs = Ecs(runner)
        yield ecs
        runner.run(ecs.store.close())


def _fits(value: Any, shape: Any) -> None:
    report = ParamValidator().validate(value, shape)
    assert not report.has_errors(), report.generate_report()
