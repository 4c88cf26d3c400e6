"""Any history of groups and interfaces, told change by change, ends in the table that the last state has from scratch.

``Table`` understands just the commands that the plan emits, and refuses what nft would refuse: naming what isn't there,
deleting what is named, adding what is there with another value.
"""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.agent.network.plan import (
    Ruleset,
    Vpc,
    commands,
    compile_vpc,
    with_groups,
    with_interface,
    without_interface,
)
from homeport.agentapi import Group, HomeportGroupsMessage, InterfaceSpec, Rule

_COMMAND = re.compile(r"(add|delete|flush) (table|set|map|chain|rule|element) ip homeport ?(\S*) ?(.*)")
_REFERENCE = re.compile(r"(?:jump|goto) (\S+)|@(\S+)")


class Table:
    """nft's side."""

    def __init__(self) -> None:
        self.sets: dict[str, tuple[str, dict[str, str]]] = {}
        self.chains: dict[str, tuple[str, list[str]]] = {}

    def run(self, lines: list[str]) -> None:
        for line in lines:
            match = _COMMAND.fullmatch(line)
            assert match, line
            verb, kind, name, rest = match.groups()
            getattr(self, f"{verb}_{'set' if kind == 'map' else kind}")(name, rest)

    def add_table(self, name: str, rest: str) -> None:
        pass

    def delete_table(self, name: str, rest: str) -> None:
        self.sets, self.chains = {}, {}

    def add_set(self, name: str, rest: str) -> None:
        assert name not in self.sets
        self.sets[name] = (rest.removeprefix("{ type ").removesuffix("; }"), {})

    def delete_set(self, name: str, rest: str) -> None:
        assert name not in self._references()
        del self.sets[name]

    def add_chain(self, name: str, rest: str) -> None:
        assert name not in self.chains
        self.chains[name] = (rest.removeprefix("{ ").removesuffix(" }"), [])

    def flush_chain(self, name: str, rest: str) -> None:
        self.chains[name][1].clear()

    def delete_chain(self, name: str, rest: str) -> None:
        assert name not in self._references()
        assert not self.chains[name][1]
        del self.chains[name]

    def add_rule(self, name: str, rest: str) -> None:
        self._known(rest)
        self.chains[name][1].append(rest)

    def add_element(self, name: str, rest: str) -> None:
        for element in rest.removeprefix("{ ").removesuffix(" }").split(", "):
            key, _, value = element.partition(" : ")
            self._known(value)
            assert key not in self.sets[name][1]
            self.sets[name][1][key] = value

    def delete_element(self, name: str, rest: str) -> None:
        for key in rest.removeprefix("{ ").removesuffix(" }").split(", "):
            del self.sets[name][1][key]

    def _known(self, text: str) -> None:
        assert set(_named(text)) <= self.sets.keys() | self.chains.keys(), text

    def _references(self) -> set[str]:
        rules = [rule for _, chain in self.chains.values() for rule in chain]
        verdicts = [value for _, elements in self.sets.values() for value in elements.values()]
        return {name for text in rules + verdicts for name in _named(text)}

    def state(self) -> tuple[object, object]:
        return self.sets, {name: (base, tuple(rules)) for name, (base, rules) in self.chains.items()}


def _named(text: str) -> list[str]:
    return [first or second for first, second in _REFERENCE.findall(text)]


def state_of(ruleset: Ruleset) -> tuple[object, object]:
    sets = {name: (elements.type, dict(elements.values)) for name, elements in ruleset.sets.items()}
    return sets, {name: (chain.base, chain.rules) for name, chain in ruleset.chains.items()}


GROUPS = st.sampled_from([f"sg-{letter}" for letter in "abcd"])
HOSTS = st.integers(2, 9)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    low = draw(st.integers(0, 5))
    return Rule(
        protocol=draw(st.sampled_from(["tcp", "udp", "icmp", "-1", "50"])),
        from_port=low,
        to_port=draw(st.integers(low, 6)),
        cidrs=tuple(draw(st.lists(st.sampled_from(["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "::/0"]), max_size=3))),
        groups=tuple(draw(st.lists(GROUPS, max_size=2, unique=True))),
    )


@st.composite
def groups(draw: st.DrawFn) -> Group:
    return Group(
        group_id=draw(GROUPS),
        ingress=tuple(draw(st.lists(rules(), max_size=2))),
        egress=tuple(draw(st.lists(rules(), max_size=2))),
        members=tuple(f"172.31.0.{host}" for host in draw(st.lists(HOSTS, max_size=3, unique=True))),
    )


@st.composite
def messages(draw: st.DrawFn) -> HomeportGroupsMessage:
    return HomeportGroupsMessage(
        message_id="m",
        seq_num=1,
        vpc_id="vpc-1",
        vpc_cidr="172.31.0.0/16",
        complete=draw(st.booleans()),
        groups=tuple(draw(st.lists(groups(), max_size=3))),
        removed=tuple(draw(st.lists(GROUPS, max_size=2))),
    )


@st.composite
def interfaces(draw: st.DrawFn) -> InterfaceSpec:
    host = draw(HOSTS)
    return InterfaceSpec(
        attachment_arn="arn",
        eni_id="eni-1",
        mac="0a:00:00:00:00:01",
        vpc_id="vpc-1",
        vpc_cidr="172.31.0.0/16",
        subnet_id="subnet-1",
        subnet_cidr="172.31.0.0/20",
        private_address=f"172.31.0.{host}",
        gateway="172.31.0.1",
        private_dns_name="ip",
        public_address=draw(st.sampled_from([None, f"198.18.4.{host}"])),
        groups=tuple(draw(st.lists(GROUPS, max_size=3, unique=True))),
    )


TASKS = st.sampled_from([f"{number}" * 32 for number in range(5)])
STEPS = st.lists(st.one_of(messages(), st.tuples(TASKS, interfaces()), TASKS), max_size=12)


def after(vpc: Vpc, step: HomeportGroupsMessage | tuple[str, InterfaceSpec] | str) -> Vpc:
    match step:
        case HomeportGroupsMessage():
            return with_groups(vpc, step)
        case str():
            return without_interface(vpc, step)
    return with_interface(vpc, *step)


@settings(max_examples=150)
@given(STEPS)
def test_change_by_change_ends_where_from_scratch_does(
    steps: list[HomeportGroupsMessage | tuple[str, InterfaceSpec] | str],
) -> None:
    vpc = Vpc("vpc-1", "172.31.0.0/16")
    table = Table()
    table.run(commands(None, compile_vpc(vpc)))
    for step in steps:
        following = after(vpc, step)
        table.run(commands(compile_vpc(vpc), compile_vpc(following)))
        vpc = following
        assert table.state() == state_of(compile_vpc(vpc))
    scratch = Table()
    scratch.run(commands(None, compile_vpc(vpc)))
    assert scratch.state() == table.state()


@settings(max_examples=50)
@given(STEPS)
def test_every_interface_has_a_verdict_that_ends_in_drop_both_ways(
    steps: list[HomeportGroupsMessage | tuple[str, InterfaceSpec] | str],
) -> None:
    vpc = Vpc("vpc-1", "172.31.0.0/16")
    for step in steps:
        vpc = after(vpc, step)
    ruleset = compile_vpc(vpc)
    for interface in vpc.interfaces.values():
        for way in ("ingress", "egress"):
            verdict = ruleset.sets[way].values[interface.private_address]
            assert ruleset.chains[verdict.removeprefix("goto ")].rules[-1] == "drop"
