"""Every operation of ecs, by its model: good requests, each constraint broken, unknown members, names of nothing, and
bodies that are no requests. Each answer is AWS's: its status, its error, its shape, and at once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from support import shapes
from support.conformance import (
    ACCOUNT,
    EXPECTED,
    NOTHING,
    PATIENCE,
    TARGET,
    UNBUILT,
    Account,
    Answer,
    Caller,
    problems,
)

REGION = "ap-southeast-2"  # of this file alone


@pytest.fixture(scope="module")
def account(homeport: Any) -> Iterator[Account]:
    caller = Caller(homeport.endpoint, homeport.access_key, homeport.secret_key, REGION)
    subnets = homeport.client("ec2", REGION).describe_subnets()["Subnets"]
    account = Account(caller, subnets[0]["SubnetId"])
    yield account
    account.close()


@pytest.fixture(scope="module", autouse=True)
def summary(request: pytest.FixtureRequest, account: Account) -> Iterator[None]:
    """The table of what was asked, printed where this file is run alone."""
    yield
    if any(item.path != request.path for item in request.session.items):
        return
    rows = [
        *sorted(account.call.counts.items()),
        ("all", sum(account.call.counts.values())),
        ("operations answered", f"{len(account.call.answered)} of {len(shapes.OPERATIONS)}"),
        ("slowest answer", f"{account.call.slowest * 1000:.0f} ms"),
    ]
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n", *(f"{what:<24}{seen:>12}" for what, seen in rows), sep="\n")


def test_the_27_that_are_not_built_are_those_of_daemons_express_services_and_gateways() -> None:
    unbuilt = [operation for some in UNBUILT.values() for operation in some]
    assert (len(unbuilt), len(shapes.OPERATIONS)) == (27, 88)
    assert set(unbuilt) == {o for o in shapes.OPERATIONS if "Daemon" in o or "Gateway" in o}
    for operation in unbuilt:
        declared = "UnsupportedFeatureException" in shapes.declared_errors(operation)
        assert (EXPECTED[operation] == "UnsupportedFeatureException") == declared


@pytest.mark.feature("All 88 operations of ECS answer as its model says: errors, shapes, limits")
@pytest.mark.parametrize("operation", shapes.OPERATIONS)
def test_a_good_request(account: Account, operation: str) -> None:
    """Twice: as it is, and with members that the model doesn't know, which change nothing."""
    for kind, spoil in (("good requests", None), ("unknown members", _with_unknown)):
        body = account.good(operation)
        answer = account.call(operation, spoil(body) if spoil else body)
        account.call.counts[kind] += 1
        assert not problems(operation, answer)
        assert answer.code == EXPECTED.get(operation, "OK"), answer
        assert answer.seconds < PATIENCE


def _with_unknown(value: Any) -> Any:
    """The same with a member in every structure that no structure has."""
    if isinstance(value, dict):
        return {"homeportNoSuchMember": {"a": [1, None]}} | {k: _with_unknown(v) for k, v in value.items()}
    return [_with_unknown(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("operation", shapes.OPERATIONS)
def test_each_constraint_broken(account: Account, operation: str) -> None:
    body = shapes.smallest(shapes.input_shape(operation), account.names)
    wrong = []
    for violation in shapes.violations(operation, body, account.names):
        answer = account.call(operation, violation.body)
        account.call.counts[f"broken: {violation.kind}"] += 1
        faults = problems(operation, answer)
        if violation.serialization:
            faults += [] if answer.code == "SerializationException" else [f"{answer.code}: {answer.message}"]
        elif answer.code not in ("InvalidParameterException", "ClientException"):
            faults.append(f"{answer.code}: {answer.message}")
        elif violation.text not in answer.message:
            faults.append(f"{violation.text!r} isn't in {answer.message!r}")
        wrong += [(violation.kind, shapes.dotted(violation.path), fault) for fault in faults]
    assert not wrong[:10]


# Members that name something, with the kind in its ARN.
_KINDS = {
    "cluster": "cluster",
    "clusterArn": "cluster",
    "clusters": "cluster",
    "service": "service",
    "serviceArn": "service",
    "serviceName": "service",
    "services": "service",
    "task": "task",
    "tasks": "task",
    "containerInstance": "container-instance",
    "containerInstances": "container-instance",
    "containerInstanceArn": "container-instance",
    "daemonArn": "daemon",
    "daemonTaskDefinition": "daemon-task-definition",
    "daemonTaskDefinitionArn": "daemon-task-definition",
    "gatewayRouteArn": "gateway-route",
    "taskDefinition": "task-definition",
    "taskDefinitions": "task-definition",
    "capacityProvider": "capacity-provider",
    "capacityProviders": "capacity-provider",
    "gateway": "gateway",
    "taskSet": "task-set",
    "taskSets": "task-set",
    "primaryTaskSet": "task-set",
    "resourceArn": "cluster",
    "serviceDeploymentArn": "service-deployment",
    "serviceDeploymentArns": "service-deployment",
    "serviceRevisionArns": "service-revision",
}
_IGNORED = {  # what agents say of themselves: the cluster is the one of their instance
    "DiscoverPollEndpoint": ("cluster", "containerInstance"),
    "SubmitAttachmentStateChanges": ("cluster",),
    "SubmitContainerStateChange": ("cluster",),
    "SubmitTaskStateChange": ("cluster",),
}


_NEW = {("CreateService", "serviceName")}  # names of what is made


def _named(operation: str) -> list[tuple[str, str]]:
    members = shapes.input_shape(operation).members
    return [(m, _KINDS[m]) for m in members if m in _KINDS and (operation, m) not in _NEW]


@pytest.mark.parametrize("operation", [o for o in shapes.OPERATIONS if _named(o)])
def test_names_of_nothing(account: Account, operation: str) -> None:
    """A name, an id, ARNs of this and another region and account, of another kind, and what is no name at all."""
    wrong = []
    shape = shapes.input_shape(operation)
    for member, kind in _named(operation):
        base = account.good(operation)
        for text, codes in _nothings(account, operation, member, kind).items():
            body = copy.deepcopy(base)
            body[member] = [text] if shape.members[member].type_name == "list" else text
            answer = account.call(operation, body)
            account.call.counts["names of nothing"] += 1
            faults = problems(operation, answer)
            if member not in _IGNORED.get(operation, ()) and not _says_there_is_none(operation, answer, codes):
                faults.append(f"{answer.code} {str(answer.body)[:200]}")
            wrong += [(member, text[:80], fault) for fault in faults]
    assert not wrong[:10]


def _nothings(account: Account, operation: str, member: str, kind: str) -> dict[str, set[str]]:
    """Names of nothing, each with the errors that it may be answered with (empty: any that the operation has)."""
    arn = account.call.arn
    ends = {"cluster": "none", "capacity-provider": "none", "gateway": "none", "task-definition": "none:7"}
    resource = f"{kind}/{ends.get(kind, f'none/{NOTHING}')}"
    missing: set[str] = set()
    if member == "cluster" and "ClusterNotFoundException" in shapes.declared_errors(operation):
        missing = {"ClusterNotFoundException"}
        if "CapacityProvider" in operation:  # some belong to a cluster, and those aren't built
            missing.add("InvalidParameterException")
    # Agents are told that they aren't known, so that they register anew.
    invalid = "ClientException" if member == "containerInstanceArn" else "InvalidParameterException"
    return {
        "none": missing,
        arn(resource): missing,
        arn(resource, region="eu-west-1"): {invalid},
        arn(resource, account="9" * 12): set(),
        arn("nothing/none"): {invalid},
        **{text: set() for text in ("arn:aws:s3:::none", "arn:", " ", "no/\N{BELL}", "a" * 5000, "/", ":", NOTHING)},
    }


def _says_there_is_none(operation: str, answer: Answer, codes: set[str]) -> bool:
    """Whether the answer is one of these errors or, where none is named, any error, a failure or an empty list."""
    if codes:
        return answer.code in codes
    return (
        answer.status != 200
        or bool(answer.body.get("failures"))
        or (operation.startswith("List") and not any(answer.body.values()))
    )


MALFORMED = [
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"1",
    b"{}{}",
    b'{"cluster":}',
    b'{"cluster":"a","cluster":"b"}',
    b'{"maxResults":NaN}',
    b'{"maxResults":-Infinity}',
    b'{"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    b'{"cluster":"\xff"}',
    b"\x00",
    b'{"a":1' + b"0" * 5_000 + b"}",
]


@pytest.mark.parametrize("operation", shapes.OPERATIONS)
def test_malformed_bodies(account: Account, operation: str) -> None:
    wrong = []
    for body in MALFORMED:
        answer = account.call(operation, body)
        account.call.counts["malformed bodies"] += 1
        if (answer.status, answer.code) != (400, "SerializationException"):
            wrong.append((body[:40], answer))
    assert not wrong
    empty = account.call(operation, b"")
    assert not problems(operation, empty)
    for target in (TARGET + operation + "x", TARGET + operation.lower(), operation, "Other." + operation, ""):
        answer = account.call(operation, {}, target)
        account.call.counts["wrong targets"] += 1
        assert (answer.status, answer.code) == (400, "UnknownOperationException"), target


@pytest.mark.parametrize("operation", shapes.OPERATIONS)
def test_every_member_given(account: Account, operation: str) -> None:
    """Whatever a member holds, the answer is one that the operation has."""
    account.prepare()  # others may have deleted what it is about
    body = shapes.smallest(shapes.input_shape(operation), account.names)
    wrong = []
    for odd in shapes.oddities(operation, body, account.names):
        answer = account.call(operation, odd)
        account.call.counts["odd values"] += 1
        wrong += [(odd, fault) for fault in problems(operation, answer)]
    assert not wrong[:10]


def test_all_operations_were_answered(account: Account) -> None:
    for operation in shapes.OPERATIONS:
        account.call(operation, {})
    assert account.call.answered == set(shapes.OPERATIONS)
    assert ACCOUNT in account.task
