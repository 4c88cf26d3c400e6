"""Whatever is created, deleted and released in whatever order: no address is in use twice or given while it is held,
only a full subnet or pool refuses, and all of it can be used again once everything is released."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from homeport.core.errors import AwsError
from homeport.core.ids import BitIds
from homeport.services.ec2 import defaults, eni, pool
from homeport.services.ec2.addresses import Range, choose, private_range, public_range
from homeport.services.ec2.model import HOLDS, INTERFACES, POOL, SUBNETS, TABLES, NetworkInterface, Subnet
from homeport.store import Scope, Tx
from homeport.store.rows import Rows

T = TypeVar("T")
SCOPES = (Scope("123456789012", "us-east-1"), Scope("210987654321", "eu-west-1"))
SUBNET_CIDR, POOL_CIDR = "172.31.200.0/29", "198.18.7.0/30"  # 3 and 2 addresses: often full


def subnet_of(scope: Scope) -> str:
    return f"subnet-{scope.region}"


@given(
    first=st.integers(0, 50),
    size=st.integers(0, 40),
    last=st.integers(-5, 100),
    taken=st.sets(st.integers(0, 100)),
)
def test_choose_finds_a_free_address_where_there_is_one(first: int, size: int, last: int, taken: set[int]) -> None:
    usable = Range(first, first + size - 1)
    free = set(range(usable.first, usable.last + 1)) - taken
    chosen = choose(usable, last, taken.__contains__)
    assert (chosen in free) if free else (chosen is None)


@given(st.sets(st.integers(0, 30)), st.integers(0, 30))
def test_choose_comes_to_every_free_address_before_it_repeats_one(taken: set[int], last: int) -> None:
    usable = Range(0, 30)
    free = set(range(31)) - taken
    seen = []
    for _ in free:
        last = choose(usable, last, taken.__contains__) or 0
        seen.append(last)
    assert sorted(seen) == sorted(free)


class Addresses(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.tables = {table.kind: Rows(table) for table in TABLES}
        self.ids = BitIds(random.Random(3).getrandbits)
        self.version = 0
        self.live: list[tuple[Scope, NetworkInterface]] = []
        self.held: list[tuple[int, Scope, NetworkInterface]] = []
        self.commit(lambda tx: pool.configure(tx, POOL_CIDR))
        for scope in SCOPES:
            self.commit(lambda tx, scope=scope: self._subnet(tx, scope))

    def commit(self, fn: Callable[[Tx], T]) -> T:
        tx = Tx(self.tables, self.version + 1, 0.0, "test")
        try:
            result = fn(tx)
        except AwsError:
            tx.undo()
            raise
        self.version += bool(tx.end())
        return result

    def _subnet(self, tx: Tx, scope: Scope) -> None:
        vpc = defaults.ensure_default(tx, scope, self.ids, 0.0)
        subnet = Subnet(
            id=subnet_of(scope),
            vpc_id=vpc.id,
            cidr=SUBNET_CIDR,
            availability_zone="a",
            zone_id="a",
            default_for_az=False,
            map_public_ip=False,
            created_at=0.0,
        )
        tx.put(SUBNETS, scope, subnet)

    def _of(self, scope: Scope) -> list[str]:
        """Private addresses of a scope that nobody may be given."""
        return [e.private_address for s, e in self.live if s == scope] + [
            e.private_address for _, s, e in self.held if s == scope
        ]

    def _public(self) -> list[str]:
        everything = [e for _, e in self.live] + [e for _, _, e in self.held]
        return [e.public_address for e in everything if e.public_address]

    @rule(scope=st.sampled_from(SCOPES), public=st.booleans())
    def create(self, scope: Scope, public: bool) -> None:
        private_left = private_range(SUBNET_CIDR).size - len(self._of(scope))
        public_left = public_range(POOL_CIDR).size - len(self._public())

        def make(tx: Tx) -> NetworkInterface:
            return eni.create(
                tx, scope, subnet_id=subnet_of(scope), groups=(), public=public, description="", ids=self.ids, now=0.0
            )

        if not private_left or (public and not public_left):
            with pytest.raises(AwsError) as caught:
                self.commit(make)
            full = "InsufficientFreeAddressesInSubnet" if not private_left else "InsufficientAddressCapacity"
            assert caught.value.code == full
            return
        made = self.commit(make)
        assert made.private_address not in self._of(scope)
        assert made.public_address is None or made.public_address not in self._public()
        self.live.append((scope, made))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        scope, interface = self.live.pop(data.draw(st.integers(0, len(self.live) - 1)))
        self.commit(lambda tx: eni.delete(tx, scope, interface.id, 0.0))
        self.held.append((self.version, scope, interface))

    @rule(back=st.integers(0, 10))
    def release(self, back: int) -> None:
        acknowledged = self.version - back
        self.commit(lambda tx: eni.release(tx, acknowledged))
        self.held = [h for h in self.held if h[0] > acknowledged]

    @rule()
    def empty_and_fill_again(self) -> None:
        for scope, interface in self.live:
            self.commit(lambda tx, scope=scope, id=interface.id: eni.delete(tx, scope, id, 0.0))
        self.live, self.held = [], []
        self.commit(lambda tx: eni.release(tx, self.version))
        for scope in SCOPES:
            for _ in range(private_range(SUBNET_CIDR).size):
                self.create(scope, public=False)
            assert len(self._of(scope)) == private_range(SUBNET_CIDR).size

    @invariant()
    def the_records_say_the_same(self) -> None:
        tx = Tx(self.tables, self.version + 1, 0.0, "look")
        assert {e.id for _, e in tx.each(INTERFACES)} == {e.id for _, e in self.live}
        assert {h.eni_id for h in tx.all(HOLDS, POOL)} == {e.id for _, _, e in self.held}
        tx.end()


Addresses.TestCase.settings = settings(max_examples=40, stateful_step_count=40)
TestAddresses = Addresses.TestCase
