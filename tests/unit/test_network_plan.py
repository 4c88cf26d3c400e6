"""The nft table of a VPC's router, and the commands between two of them."""

from __future__ import annotations

import pytest

from homeport.agent.network.plan import (
    Vpc,
    commands,
    compile_vpc,
    with_groups,
    with_interface,
    without_interface,
)
from homeport.agentapi import Group, HomeportGroupsMessage, InterfaceSpec, Rule

ANY = ("0.0.0.0/0",)
TASK, OTHER = "11111111111111111111111111111111", "22222222222222222222222222222222"
WEB = Group(
    group_id="sg-web",
    ingress=(Rule(protocol="tcp", from_port=80, to_port=80, cidrs=ANY),),
    egress=(Rule(protocol="-1", cidrs=ANY),),
)
EMPTY = Vpc("vpc-1", "172.31.0.0/16")
ALL_WEB = "all_619027e50d0c6507"  # sha256 of "sg-web"


def interface(host: int, groups: tuple[str, ...] = ("sg-web",), public: str | None = None) -> InterfaceSpec:
    return InterfaceSpec(
        attachment_arn="arn:aws:ecs:us-east-1:123456789012:attachment/1",
        eni_id="eni-1",
        mac=f"0a:00:00:00:00:{host:02x}",
        vpc_id="vpc-1",
        vpc_cidr="172.31.0.0/16",
        subnet_id="subnet-1",
        subnet_cidr="172.31.0.0/20",
        private_address=f"172.31.0.{host}",
        gateway="172.31.0.1",
        private_dns_name=f"ip-172-31-0-{host}.ec2.internal",
        public_address=public,
        groups=groups,
    )


def change(old: Vpc, new: Vpc) -> list[str]:
    return commands(compile_vpc(old), compile_vpc(new))


def told(*groups: Group, complete: bool = False, removed: tuple[str, ...] = ()) -> HomeportGroupsMessage:
    return HomeportGroupsMessage(
        message_id="m",
        seq_num=1,
        vpc_id="vpc-1",
        vpc_cidr="172.31.0.0/16",
        complete=complete,
        groups=groups,
        removed=removed,
    )


def test_nothing_changed_is_no_command() -> None:
    vpc = with_interface(with_groups(EMPTY, told(WEB)), TASK, interface(5))
    assert change(vpc, vpc) == []


def test_the_first_commands_replace_whatever_is_there() -> None:
    lines = commands(None, compile_vpc(EMPTY))
    assert lines[:3] == ["add table ip homeport", "delete table ip homeport", "add table ip homeport"]
    assert "add chain ip homeport forward { type filter hook forward priority filter; policy drop; }" in lines


def test_a_group_is_a_set_and_two_chains() -> None:
    assert change(EMPTY, with_groups(EMPTY, told(WEB))) == [
        "add set ip homeport members_sg-web { type ipv4_addr; }",
        "add chain ip homeport in_sg-web",
        "add chain ip homeport out_sg-web",
        "add rule ip homeport in_sg-web tcp dport 80 accept",
        "add rule ip homeport out_sg-web goto arrive",
    ]


def test_the_first_interface_of_a_combination_brings_its_chains() -> None:
    known = with_groups(EMPTY, told(WEB))
    assert change(known, with_interface(known, TASK, interface(5, public="198.18.4.5"))) == [
        f"add chain ip homeport in_{ALL_WEB}",
        f"add chain ip homeport out_{ALL_WEB}",
        f"add rule ip homeport in_{ALL_WEB} jump in_sg-web",
        f"add rule ip homeport in_{ALL_WEB} drop",
        f"add rule ip homeport out_{ALL_WEB} jump out_sg-web",
        f"add rule ip homeport out_{ALL_WEB} drop",
        'add element ip homeport interfaces { "t-1111111111111" . 172.31.0.5 }',
        "add element ip homeport public { 198.18.4.5 : 172.31.0.5 }",
        "add element ip homeport private { 172.31.0.5 : 198.18.4.5 }",
        f"add element ip homeport ingress {{ 172.31.0.5 : goto in_{ALL_WEB} }}",
        f"add element ip homeport egress {{ 172.31.0.5 : goto out_{ALL_WEB} }}",
    ]


def test_another_interface_is_elements_only() -> None:
    one = with_interface(with_groups(EMPTY, told(WEB)), TASK, interface(5))
    assert change(one, with_interface(one, OTHER, interface(6))) == [
        'add element ip homeport interfaces { "t-2222222222222" . 172.31.0.6 }',
        f"add element ip homeport ingress {{ 172.31.0.6 : goto in_{ALL_WEB} }}",
        f"add element ip homeport egress {{ 172.31.0.6 : goto out_{ALL_WEB} }}",
    ]


def test_the_last_interface_of_a_combination_takes_its_chains() -> None:
    known = with_groups(EMPTY, told(WEB))
    one = with_interface(known, TASK, interface(5))
    assert without_interface(one, TASK) == known
    assert change(one, known) == [
        'delete element ip homeport interfaces { "t-1111111111111" . 172.31.0.5 }',
        "delete element ip homeport ingress { 172.31.0.5 }",
        "delete element ip homeport egress { 172.31.0.5 }",
        f"flush chain ip homeport in_{ALL_WEB}",
        f"flush chain ip homeport out_{ALL_WEB}",
        f"delete chain ip homeport in_{ALL_WEB}",
        f"delete chain ip homeport out_{ALL_WEB}",
    ]


def test_changed_rules_rewrite_one_chain() -> None:
    known = with_groups(EMPTY, told(WEB))
    narrowed = Group(
        group_id="sg-web",
        ingress=(Rule(protocol="tcp", from_port=80, to_port=80, cidrs=("10.0.0.0/8",)),),
        egress=WEB.egress,
    )
    assert change(known, with_groups(known, told(narrowed))) == [
        "flush chain ip homeport in_sg-web",
        "add rule ip homeport in_sg-web ip saddr 10.0.0.0/8 tcp dport 80 accept",
    ]


def test_changed_members_are_elements() -> None:
    before = with_groups(EMPTY, told(Group(group_id="sg-a", members=("172.31.0.5", "172.31.0.6"))))
    after = with_groups(before, told(Group(group_id="sg-a", members=("172.31.0.6", "172.31.0.7"))))
    assert change(before, after) == [
        "delete element ip homeport members_sg-a { 172.31.0.5 }",
        "add element ip homeport members_sg-a { 172.31.0.7 }",
    ]


def test_the_set_of_a_named_group_is_made_before_the_rule_even_if_the_group_is_unknown() -> None:
    group = Group(group_id="sg-a", ingress=(Rule(protocol="-1", groups=("sg-b",)),))
    lines = change(EMPTY, with_groups(EMPTY, told(group)))
    made = lines.index("add set ip homeport members_sg-b { type ipv4_addr; }")
    assert made < lines.index("add rule ip homeport in_sg-a ip saddr @members_sg-b accept")
    assert "add chain ip homeport in_sg-b" not in lines


def test_a_public_address_that_moves_is_deleted_and_added() -> None:
    before = with_interface(EMPTY, TASK, interface(5, public="198.18.4.5"))
    after = with_interface(EMPTY, TASK, interface(5, public="198.18.4.6"))
    assert change(before, after) == [
        "delete element ip homeport public { 198.18.4.5 }",
        "add element ip homeport public { 198.18.4.6 : 172.31.0.5 }",
        "delete element ip homeport private { 172.31.0.5 }",
        "add element ip homeport private { 172.31.0.5 : 198.18.4.6 }",
    ]


def test_an_interface_of_unknown_groups_is_denied_everything() -> None:
    ruleset = compile_vpc(with_interface(EMPTY, TASK, interface(5)))
    assert ruleset.chains["in_sg-web"].rules == ()
    assert ruleset.chains[f"in_{ALL_WEB}"].rules == ("jump in_sg-web", "drop")
    assert ruleset.sets["ingress"].values == {"172.31.0.5": f"goto in_{ALL_WEB}"}


def test_an_interface_without_groups_is_denied_everything() -> None:
    ruleset = compile_vpc(with_interface(EMPTY, TASK, interface(5, groups=())))
    (verdict,) = ruleset.sets["egress"].values.values()
    assert ruleset.chains[verdict.removeprefix("goto ")].rules == ("drop",)


def test_a_removed_group_that_an_interface_is_in_denies() -> None:
    known = with_interface(with_groups(EMPTY, told(WEB)), TASK, interface(5))
    assert change(known, with_groups(known, told(removed=("sg-web",)))) == [
        "flush chain ip homeport in_sg-web",
        "flush chain ip homeport out_sg-web",
    ]


def test_a_complete_message_drops_other_groups() -> None:
    known = with_groups(EMPTY, told(WEB))
    assert with_groups(known, told(Group(group_id="sg-a"), complete=True)).groups == {"sg-a": Group(group_id="sg-a")}
    assert with_groups(known, told(Group(group_id="sg-a"))).groups.keys() == {"sg-web", "sg-a"}


def test_chains_that_name_one_another_are_all_flushed_before_one_is_deleted() -> None:
    one = with_interface(EMPTY, TASK, interface(5))
    lines = change(one, EMPTY)
    last_flush = max(at for at, line in enumerate(lines) if line.startswith("flush"))
    first_delete = min(at for at, line in enumerate(lines) if line.startswith("delete chain"))
    assert last_flush < first_delete


@pytest.mark.parametrize(
    "vpc",
    [
        Vpc("vpc-1", "172.31.0.1/16"),
        with_interface(EMPTY, TASK, interface(5, groups=("sg;",))),
        with_interface(EMPTY, "no task\n", interface(5)),
        with_interface(EMPTY, TASK, interface(5, public="nowhere")),
        with_groups(EMPTY, told(Group(group_id="sg-a", members=("172.31.0",)))),
    ],
)
def test_what_can_not_be_is_refused(vpc: Vpc) -> None:
    with pytest.raises(ValueError):
        compile_vpc(vpc)
