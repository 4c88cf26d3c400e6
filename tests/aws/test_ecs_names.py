"""How callers say what they mean, for every operation that describes or lists: names, ids and ARNs, pages, includes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from support import shapes
from support.conformance import CLUSTER, EXPECTED, NOTHING, Account, Caller, problems

REGION = "ap-southeast-1"  # of this file alone
ELSEWHERE, STRANGER = "eu-west-1", "9" * 12
PAGED = [o for o in shapes.OPERATIONS if "nextToken" in shapes.input_shape(o).members]


@pytest.fixture(scope="module")
def account(homeport: Any) -> Iterator[Account]:
    caller = Caller(homeport.endpoint, homeport.access_key, homeport.secret_key, REGION)
    subnets = homeport.client("ec2", REGION).describe_subnets()["Subnets"]
    account = Account(caller, subnets[0]["SubnetId"])
    for member in ("a", "b"):
        account.register(f"family-{member}")
        caller.ok("CreateCluster", clusterName=f"other-{member}")
        caller.ok("PutAccountSetting", name="awsvpcTrunking" if member == "a" else "containerInsights", value="enabled")
    account.good("DeleteCapacityProvider")  # makes one
    yield account
    account.close()


class Described(NamedTuple):
    """What a Describe operation is asked: ``text`` names it short; an ARN is of ``kind`` and ends in ``resource``."""

    operation: str
    member: str
    answer: str
    arn: str
    text: str
    kind: str


def described(account: Account) -> dict[str, Described]:
    arn = account.call.arn
    short = lambda text: text.rpartition("/")[2]  # noqa: E731
    task, instance, definition = account.task, account.instance, account.definition
    found = [
        Described("DescribeClusters", "clusters", "clusterArn", arn(f"cluster/{CLUSTER}"), CLUSTER, "cluster"),
        Described("DescribeTasks", "tasks", "taskArn", task, short(task), "task"),
        Described(
            *("DescribeContainerInstances", "containerInstances", "containerInstanceArn"),
            *(instance, short(instance), "container-instance"),
        ),
        Described(
            *("DescribeCapacityProviders", "capacityProviders", "capacityProviderArn"),
            *(arn("capacity-provider/FARGATE"), "FARGATE", "capacity-provider"),
        ),
        Described(
            *("DescribeTaskDefinition", "taskDefinition", "taskDefinitionArn"),
            *(definition, short(definition), "task-definition"),
        ),
    ]
    return {d.operation: d for d in found}


DESCRIBED = ("DescribeClusters", "DescribeTasks", "DescribeContainerInstances", "DescribeCapacityProviders")
SCOPED = DESCRIBED[1:3]  # to a cluster


def ask(account: Account, what: Described, *texts: str) -> Any:
    body: dict[str, Any] = {what.member: list(texts)}
    if what.operation in SCOPED:
        body["cluster"] = CLUSTER
    answer = account.call(what.operation, body)
    assert not problems(what.operation, answer)
    return answer


@pytest.mark.parametrize("operation", DESCRIBED)
def test_short_names_and_arns_mean_the_same(account: Account, operation: str) -> None:
    what = described(account)[operation]
    if what.operation == "DescribeTasks" and what.text == NOTHING:
        pytest.skip("there is no node that takes tasks")
    answers = [ask(account, what, *texts).body[what.member] for texts in ((what.text,), (what.arn,))]
    assert [[found[what.answer] for found in answer] for answer in answers] == [[what.arn], [what.arn]]
    twice = ask(account, what, what.text, what.arn, what.text).body
    assert [found[what.answer] for found in twice[what.member]] == [what.arn]
    assert twice["failures"] == []


@pytest.mark.parametrize("operation", DESCRIBED)
def test_what_is_not_there_is_missing_by_its_whole_arn(account: Account, operation: str) -> None:
    what = described(account)[operation]
    scoped = what.kind in ("task", "container-instance")
    name = NOTHING if scoped else "none"
    nothing = account.call.arn(f"{what.kind}/{f'{CLUSTER}/' if scoped else ''}{name}")
    for text in (name, nothing):
        answer = ask(account, what, text)
        assert (answer.code, answer.body[what.member]) == ("OK", [])
        assert answer.body["failures"] == [{"arn": nothing, "reason": "MISSING"}]
    both = ask(account, what, name, what.arn).body
    assert (len(both["failures"]), len(both[what.member])) in ((1, 1), (2, 0))  # without a node there is no task


@pytest.mark.parametrize("operation", SCOPED)
def test_another_clusters_arn_is_missing(account: Account, operation: str) -> None:
    what = described(account)[operation]
    elsewhere = what.arn.replace(f"/{CLUSTER}/", "/other-a/")
    assert ask(account, what, elsewhere).body["failures"] == [{"arn": elsewhere, "reason": "MISSING"}]
    body = {"cluster": "other-a", what.member: [what.arn]}
    assert account.call.ok(operation, **body)["failures"] == [{"arn": what.arn, "reason": "MISSING"}]


@pytest.mark.parametrize("operation", [*DESCRIBED, "DescribeTaskDefinition", "DescribeServices"])
def test_arns_of_elsewhere_and_of_others(account: Account, operation: str) -> None:
    known = described(account)
    what = known.get(operation) or Described(operation, "services", "", account.call.arn("service/c/n"), "n", "service")
    many = shapes.input_shape(operation).members[what.member].type_name == "list"
    scoped = operation in SCOPED
    # ECS doesn't authorise DescribeTaskDefinition by resource: another's is one that can't be described.
    denied = "ClientException" if operation == "DescribeTaskDefinition" else "AccessDeniedException"
    for text, code in (
        (what.arn.replace(REGION, ELSEWHERE), "InvalidParameterException"),
        (what.arn.replace(f":{what.kind}/", ":nothing/"), "InvalidParameterException"),
        (what.arn.replace("123456789012", STRANGER), denied),
    ):
        body = {what.member: [text] if many else text, **({"cluster": CLUSTER} if scoped else {})}
        answer = account.call(operation, body)
        assert (answer.status, answer.code) == (400, code), (text, answer)


@pytest.mark.parametrize("operation", PAGED)
def test_tokens_and_page_sizes(account: Account, operation: str) -> None:
    body = account.good(operation)
    most = 10 if operation in ("ListAccountSettings", "DescribeCapacityProviders") else 100
    for token in ("made up", "", "AAAA", "é" * 9, account.call.ok("ListClusters", maxResults=1)["nextToken"]):
        answer = account.call(operation, {**body, "nextToken": token})
        assert not problems(operation, answer)
        if token == "":  # the same as none
            assert answer.code == EXPECTED.get(operation, "OK")
        elif operation != "ListClusters" or len(token) < 10:  # the last one is a token of ListClusters itself
            assert (answer.code, answer.message) == ("InvalidParameterException", "Invalid token"), token
    for size in (0, -1, most + 1, 2**31 - 1):
        answer = account.call(operation, {**body, "maxResults": size})
        assert (answer.status, answer.code) == (400, "InvalidParameterException"), size
    assert account.call(operation, {**body, "maxResults": most}).code == EXPECTED.get(operation, "OK")


LISTED: dict[str, tuple[str, dict[str, Any]]] = {  # operation: its list, and what makes it hold several
    "ListClusters": ("clusterArns", {}),
    "ListTaskDefinitions": ("taskDefinitionArns", {}),
    "ListTaskDefinitionFamilies": ("families", {}),
    "ListAccountSettings": ("settings", {}),
    "DescribeCapacityProviders": ("capacityProviders", {}),
}


@pytest.mark.parametrize("operation", LISTED)
def test_pages_hold_everything_once(account: Account, operation: str) -> None:
    member, body = LISTED[operation]
    whole = account.call.ok(operation, **body)
    assert len(whole[member]) > 1
    assert "nextToken" not in whole
    seen: list[Any] = []
    token: dict[str, Any] = {}
    while True:
        page = account.call.ok(operation, **body, maxResults=1, **token)
        seen += page[member]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
        other = account.call(operation, {**body, "maxResults": 2, **token})
        assert other.code == "OK"  # the size of a page may change on the way
    assert seen == whole[member]


@pytest.mark.parametrize(
    ("operation", "shown"),
    [
        ("DescribeClusters", lambda body: body["clusters"][0]["tags"]),
        ("DescribeTasks", lambda body: body["tasks"][0]["tags"]),
        ("DescribeContainerInstances", lambda body: body["containerInstances"][0]["tags"]),
        ("DescribeCapacityProviders", lambda body: body["capacityProviders"][0]["tags"]),
        ("DescribeTaskDefinition", lambda body: body["tags"]),
    ],
)
def test_tags_are_shown_when_asked_for(account: Account, operation: str, shown: Any) -> None:
    what = described(account)[operation]
    if what.text == NOTHING:
        pytest.skip("there is no node that takes tasks")
    if operation == "DescribeCapacityProviders":  # Fargate's are AWS's own
        what = what._replace(arn=account.call.arn("capacity-provider/spare-0"))
    tags = [{"key": "shown", "value": "yes"}]
    account.call.ok("TagResource", resourceArn=what.arn, tags=tags)
    many = operation != "DescribeTaskDefinition"
    body = {what.member: [what.arn] if many else what.arn}
    if operation in SCOPED:
        body["cluster"] = CLUSTER
    assert shown(account.call.ok(operation, **body, include=["TAGS"])) == tags
    assert shown(account.call.ok(operation, **body)) == []
    assert account.call.ok("ListTagsForResource", resourceArn=what.arn)["tags"] == tags
    account.call.ok("UntagResource", resourceArn=what.arn, tagKeys=["shown"])
    assert account.call.ok("ListTagsForResource", resourceArn=what.arn)["tags"] == []


REPEATED = [  # the same call again: the same answer, and nothing is made twice
    ("CreateCluster", lambda a: {"clusterName": "twice"}),
    ("CreateCapacityProvider", lambda a: a.good("CreateCapacityProvider")),
    ("RunTask", lambda a: {**a.launch(), "clientToken": "twice"}),
    ("TagResource", lambda a: {"resourceArn": a.definition, "tags": [{"key": "a", "value": "b"}]}),
    ("UntagResource", lambda a: {"resourceArn": a.definition, "tagKeys": ["a"]}),
    ("PutAccountSetting", lambda a: {"name": "containerInsights", "value": "enhanced"}),
    ("DeleteAccountSetting", lambda a: {"name": "containerInsights"}),
    ("UpdateClusterSettings", lambda a: a.good("UpdateClusterSettings")),
    ("PutClusterCapacityProviders", lambda a: a.good("PutClusterCapacityProviders")),
    ("PutAttributes", lambda a: a.good("PutAttributes")),
    ("DeleteAttributes", lambda a: a.good("DeleteAttributes")),
]


@pytest.mark.parametrize(("operation", "make"), REPEATED, ids=[operation for operation, _ in REPEATED])
def test_repeated_calls(account: Account, operation: str, make: Any) -> None:
    body = make(account)
    first, second = (_lasting(account.call.ok(operation, **body)) for _ in range(2))
    assert first == second


def _lasting(answer: dict[str, Any]) -> dict[str, Any]:
    """Without what goes on by itself: how far tasks have come, and how many of a cluster's are where."""
    if "tasks" in answer:
        return answer | {"tasks": [task["taskArn"] for task in answer["tasks"]]}
    if "cluster" in answer:
        return {"cluster": {k: v for k, v in answer["cluster"].items() if not k.endswith("TasksCount")}}
    return answer
