"""EC2's operations on a real store with a journal in memory, called as the front calls them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import botocore.session

from homeport.aws.operations import Call, Principal
from homeport.core.errors import AwsError
from homeport.core.ids import BitIds
from homeport.core.paging import Tokens
from homeport.services import ec2, sts
from homeport.services.ec2 import defaults, eni, pool
from homeport.services.ec2.model import NetworkInterface
from homeport.services.iam import model as iam_model
from homeport.store import Scope, Store, Tx
from homeport.store.memory import MemoryJournal

T = TypeVar("T")
ACCOUNT = "123456789012"
HOME = Scope(ACCOUNT, "us-east-1")
POOL_CIDR = "198.18.7.0/28"  # 14 addresses


@cache
def model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


def check_shape(value: Any, shape: Any, path: str) -> None:
    """That AWS's model has every member of an answer, with its type: the front would leave others out in silence."""
    match shape.type_name:
        case "structure":
            assert isinstance(value, dict), path
            for name, member in value.items():
                assert name in shape.members, f"{path}.{name} is not in the model"
                check_shape(member, shape.members[name], f"{path}.{name}")
        case "list":
            assert isinstance(value, list), path
            for item in value:
                check_shape(item, shape.member, f"{path}[]")
        case "string":
            assert isinstance(value, str), path
            assert not shape.enum or value in shape.enum, f"{path}: {value}"
        case scalar:
            assert type(value) is {"boolean": bool, "integer": int, "timestamp": float}[scalar], path


class StillClock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def wall(self) -> float:
        return self.now

    def mono(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class World:
    """``with World() as world``: a store of its own, with the public pool configured."""

    def __enter__(self) -> World:
        self.ids = BitIds(random.Random(7).getrandbits)
        self.clock = StillClock()
        self._runner = asyncio.Runner()
        tables = (*ec2.TABLES, *iam_model.TABLES)
        self.store = Store(MemoryJournal(), tables, self.clock)
        self._runner.run(self.store.open())
        self.update(lambda tx: pool.configure(tx, POOL_CIDR))
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self.store.close())
        self._runner.close()

    def update(self, fn: Callable[[Tx], T]) -> T:
        async def run() -> T:
            return await self.store.update(fn, "test")

        return self._runner.run(run())

    def call(self, operation: str, region: str = HOME.region, account: str = ACCOUNT, **params: Any) -> dict[str, Any]:
        principal = Principal(account=account, arn=f"arn:aws:iam::{account}:root", user_id=account, access_key_id="k")
        service = sts.SERVICE if operation in sts.SERVICE.operations else ec2.SERVICE
        call = Call(
            principal=principal,
            account=account,
            region=region,
            service=service.name,
            operation=operation,
            request_id="r",
            now=self.clock.now,
            ids=self.ids,
            tokens=Tokens(b"k" * 32),
            endpoint="http://127.0.0.1:4566",
        )
        handler = service.operations[operation].handler
        answer = self.update(lambda tx: handler(tx, call, params)) or {}
        check_shape(answer, model(service.name).operation_model(operation).output_shape, operation)
        return answer

    def refused(self, operation: str, **params: Any) -> tuple[str, str]:
        """(code, text) of the error that a call must give; nothing may have changed."""
        before = self.store.version
        try:
            answer = self.call(operation, **params)
        except AwsError as error:
            assert self.store.version == before, "a refused call changed something"
            return error.code, error.message
        raise AssertionError(f"{operation} was not refused: {answer}")

    def code(self, operation: str, **params: Any) -> str:
        return self.refused(operation, **params)[0]

    # --- what tests need again and again ---

    def subnets(self, scope: Scope = HOME) -> list[str]:
        self.update(lambda tx: defaults.ensure_default(tx, scope, self.ids, tx.now))
        return self.update(lambda tx: defaults.first_subnets(tx, scope))

    def group(self, name: str) -> str:
        id: str = self.call("CreateSecurityGroup", GroupName=name, Description=name)["GroupId"]
        return id

    def interface(self, subnet: str, *groups: str, public: bool = False, scope: Scope = HOME) -> NetworkInterface:
        return self.update(
            lambda tx: eni.create(
                tx,
                scope,
                subnet_id=subnet,
                groups=groups,
                public=public,
                description=f"arn:aws:ecs:{scope.region}:{scope.account}:attachment/1",
                ids=self.ids,
                now=tx.now,
            )
        )
