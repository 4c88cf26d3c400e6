"""Scenario files that make no sense: where, what, and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeport.sim import asking
from homeport.sim.asking import BadScenario, parse, read
from homeport.sim.questions import Deploy, Fail

FINE = """seed = 7
[fargate]
zones = ["us-east-1a"]
[[machines]]
name = "web"
count = 2
cpu = 4
memory = 8192
[[services]]
name = "shop"
count = 2
cpu = 256
memory = 512
[[events]]
at = 5
do = "deploy"
service = "shop"
"""
EVENT = FINE + "[[events]]\nat = 9\n"
SERVICE = FINE + '[[services]]\nname = "b"\ncount = 1\ncpu = 256\nmemory = 512\n'


def test_what_makes_sense_is_read() -> None:
    question = parse(EVENT + 'do = "fail"\ninstance = "web-2"')
    assert question.events == (Deploy(at=5.0, service="shop"), Fail(at=9.0, instance="web-2"))
    assert (question.seed, question.services[0].runs_on, question.services[0].mode) == (7, "EC2", "bridge")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "services is missing"),
        ("x", "Expected '=' after a key in a key/value pair (at end of document)"),
        ("a = " + "[" * 5000, "it is nested too deeply"),
        (
            FINE + "colour = 3",
            "line 18, events[0].colour: there is no such member; there are do, at, service, cpu, memory,",
        ),
        (FINE + "crashes = 'x'", "line 18, events[0].crashes: expected a number, got a string"),
        (FINE.replace("cpu = 256", "cpu = true"), "line 12, services[0].cpu: expected an integer, got true or false"),
        (
            FINE + "[[events]]\nat = -4\ndo = 'fail'\nzone = 'us-east-1a'",
            "line 19, events[1].at: expected a number >= 0",
        ),
        (FINE + "[[events]]\nat = nan\ndo = 'fail'\nzone = 'us-east-1a'", "line 19, events[1].at: expected a number"),
        (FINE + "[[events]]\nat = inf\ndo = 'fail'\nzone = 'us-east-1a'", "line 19, events[1].at: expected a number"),
        (EVENT, "line 18, events[1]: do is missing: one of deploy, scale, fail, lose, return, drain,"),
        (EVENT + "do = 'explode'", "line 20, events[1].do: invalid value 'explode': it is one of deploy, scale, fail,"),
        (EVENT + "do = 'deploy'\nservice = 'x'", "line 21, events[1].service: there is no service 'x'; there are shop"),
        (EVENT + "do = 'scale'\nservice = 'shop'", "line 18, events[1]: count is missing"),
        (EVENT + "do = 'fail'", "line 18, events[1]: it takes one of instance, machines and zone"),
        (EVENT + "do = 'lose'\nzone = 'a'\nmachines = 'web'", "line 18, events[1]: it takes one of instance, machines"),
        (EVENT + "do = 'drain'\nzone = 'x'", "line 21, events[1].zone: there is no zone 'x'; there are us-east-1a"),
        (EVENT + "do = 'return'\ninstance = 'web-3'", "there is no instance 'web-3'; there are web-1, web-2"),
        (EVENT + "do = 'interrupt'", "line 18, events[1]: no service runs on FARGATE_SPOT"),
        (SERVICE + "launch_type = 'LAMBDA'", "invalid enum value 'LAMBDA': it is one of EC2, EXTERNAL, FARGATE"),
        (SERVICE + "breaker = { enable = 1 }", "line 23, services[1].breaker.enable: expected true or false, got an"),
        (
            SERVICE + "[services.breaker]\nenabled = true",
            "line 24, services[1].breaker.enabled: there is no such member",
        ),
        (SERVICE + "capacity = [{ capacityProvider = 'x' }]", "there is no capacity provider x; there are FARGATE, "),
        (SERVICE + "launch_type = 'FARGATE'\nport = 80", "line 24, services[1].port: tasks on Fargate have no port"),
        (SERVICE.replace('"b"', '"shop"'), "line 10, services[0].name: several services are named shop"),
        (SERVICE.replace('"b"', '"\\u001b[1m"'), "line 19, services[1].name: expected a string matching regex"),
        (
            FINE.replace("us-east-1a", "eu-west-1a"),
            "line 3, fargate.zones: Fargate has no zone eu-west-1a here; it has",
        ),
        (FINE.replace("count = 2\ncpu = 4", "count = 9999\ncpu = 4"), "line 6, machines[0].count: expected an integer"),
        (
            SERVICE.replace('"web"', '"web"\nzones = ["rack-1"]') + "network = 'awsvpc'",
            "line 24, services[1].network: no machine is in a zone with subnets for awsvpc: us-east-1a, ",
        ),
        (FINE + "[prices]\nvcpu = -1", "line 19, prices.vcpu: expected a number >= 0.0"),
        (FINE + "[price]\nvcpu = 1", "line 18, price: there is no such member; there are machines, services, events,"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, why: str) -> None:
    with pytest.raises(BadScenario) as error:
        parse(text)
    assert why in str(error.value)


def test_fargate_needs_room() -> None:
    text = SERVICE.replace('[fargate]\nzones = ["us-east-1a"]\n', "") + "launch_type = 'FARGATE'"
    with pytest.raises(BadScenario, match="nothing has room for Fargate"):
        parse(text)


def test_lines_may_end_and_files_begin_as_on_windows(tmp_path: Path) -> None:
    file = tmp_path / "windows.toml"
    file.write_bytes(b"\xef\xbb\xbf" + FINE.replace("\n", "\r\n").encode())
    assert read(file) == parse(FINE)
    file.write_bytes(FINE.replace("\n", "\r\n").encode() + b"colour = 3")
    with pytest.raises(BadScenario, match="line 18, events"):
        read(file)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (bytes(range(256)), "is no text in UTF-8"),
        (b"#" * (asking.MOST_BYTES + 1), "has more than 1,000,000 bytes"),
        (b"\x00", "Invalid statement"),
    ],
)
def test_what_is_no_scenario_file_is_refused(data: bytes, why: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(data)
    with pytest.raises(BadScenario, match=why):
        read(file)
    with pytest.raises(BadScenario, match="No such file"):
        read(tmp_path / "nowhere.toml")
    with pytest.raises(BadScenario, match="Is a directory"):
        read(tmp_path)
