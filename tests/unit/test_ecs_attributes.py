"""PutAttributes, DeleteAttributes, ListAttributes."""

from __future__ import annotations

from typing import Any

import pytest
from ecs_world import ACCOUNT, REGION, World, play
from instance_world import record, registered, room, shown

INVALID = "InvalidParameterException"
TYPE = "container-instance"


async def put(world: World, target: str, **values: str) -> dict[str, Any]:
    sent = [{"name": name, "value": value, "targetId": target} for name, value in values.items()]
    return await world.call("PutAttributes", cluster="demo", attributes=sent)


async def listed(world: World, **params: Any) -> list[tuple[str, str, str | None]]:
    answer = await world.call("ListAttributes", cluster="demo", targetType=TYPE, **params)
    return [(a["targetId"], a["name"], a.get("value")) for a in answer["attributes"]]


def test_attributes_are_put_replaced_and_deleted() -> None:
    async def scene(world: World) -> None:
        arn = (await registered(world))["containerInstanceArn"]
        kind = room(world, arn)
        answer = await put(world, arn, stack="blue", rack="r 1:2@x/y\\z")
        assert answer["attributes"] == [
            {"name": "stack", "targetId": arn, "value": "blue"},
            {"name": "rack", "targetId": arn, "value": "r 1:2@x/y\\z"},
        ]
        short = [{"name": "stack", "targetId": arn.rpartition("/")[2], "targetType": TYPE}]
        answer = await world.call("PutAttributes", cluster="demo", attributes=short)
        assert answer["attributes"] == [{"name": "stack", "targetId": arn}]
        assert record(world, arn).custom == {"stack": "", "rack": "r 1:2@x/y\\z"}
        assert {"name": "stack"} in (await shown(world, arn))["attributes"]
        assert kind is not None
        after = room(world, arn)
        assert after is not None
        assert after.kind != kind.kind  # other instances with these attributes are its like now
        gone = [{"name": "rack", "targetId": arn}, {"name": "stack", "value": "other", "targetId": arn}]
        await world.call("DeleteAttributes", cluster="demo", attributes=[*gone, {"name": "never", "targetId": arn}])
        assert record(world, arn).custom == {"stack": ""}
        await world.call("DeleteAttributes", cluster="demo", attributes=[{"name": "stack", "targetId": arn}])
        assert room(world, arn) == kind
        version = world.store.version
        await world.call("DeleteAttributes", cluster="demo", attributes=[{"name": "stack", "targetId": arn}])
        assert world.store.version == version

    play(scene)


@pytest.mark.parametrize("operation", ["PutAttributes", "DeleteAttributes"])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"targetId": "0" * 32, "targetType": TYPE}, "TargetNotFoundException"),
        ({"targetId": f"arn:aws:ecs:{REGION}:{ACCOUNT}:container-instance/demo/{'0' * 32}"}, "TargetNotFoundException"),
        ({"targetId": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/demo/{'0' * 32}"}, INVALID),
        ({"targetId": "0" * 32}, INVALID),  # a short id needs its type
        ({"targetId": ""}, INVALID),
        ({"name": ""}, INVALID),
        ({"name": "x" * 129}, INVALID),
        ({"name": "a b"}, INVALID),
        ({"name": "é"}, INVALID),
        ({"name": "ecs.ami-id"}, INVALID),
        ({"name": "com.amazonaws.ecs.capability.task-eni"}, INVALID),
        ({"name": "homeport.network"}, INVALID),
    ],
)
def test_refused_attributes(operation: str, change: dict[str, str], code: str) -> None:
    async def scene(world: World) -> None:
        arn = (await registered(world))["containerInstanceArn"]
        good = {"name": "a", "targetId": arn}
        sent = [good, {**good, "name": "b", **change}]
        assert (await world.refused(operation, cluster="demo", attributes=sent))[0] == code

    play(scene)


@pytest.mark.parametrize("value", ["x" * 129, " x", "x ", "a,b", "é", "a\nb"])
def test_refused_values(value: str) -> None:
    async def scene(world: World) -> None:
        arn = (await registered(world))["containerInstanceArn"]
        sent = [{"name": "a", "targetId": arn, "value": value}]
        assert (await world.refused("PutAttributes", cluster="demo", attributes=sent))[0] == INVALID

    play(scene)


def test_ten_custom_attributes_and_ten_in_a_call() -> None:
    async def scene(world: World) -> None:
        one, two = [(await registered(world, attributes=[{"name": "own"}]))["containerInstanceArn"] for _ in range(2)]
        nine = {f"a{n}": "1" for n in range(9)}
        await put(world, one, **nine)
        await put(world, one, a0="2")  # one that is there already
        sent = [{"name": "more", "targetId": two}, {"name": "more", "targetId": one}]
        refused = await world.refused("PutAttributes", cluster="demo", attributes=sent)
        assert refused[0] == "AttributeLimitExceededException"
        assert record(world, two).custom == {"own": ""}
        for count in (0, 11):
            many = [{"name": f"b{n}", "targetId": two} for n in range(count)]
            for operation in ("PutAttributes", "DeleteAttributes"):
                assert (await world.refused(operation, cluster="demo", attributes=many))[0] == INVALID

    play(scene)


def test_nothing_is_put_on_what_was_deregistered() -> None:
    async def scene(world: World) -> None:
        arn = (await registered(world))["containerInstanceArn"]
        await world.call("DeregisterContainerInstance", cluster="demo", containerInstance=arn)
        sent = [{"name": "a", "targetId": arn}]
        assert (await world.refused("PutAttributes", cluster="demo", attributes=sent))[0] == "TargetNotFoundException"
        assert await listed(world) == []

    play(scene)


def test_lists_all_by_name_by_value_and_in_pages() -> None:
    async def scene(world: World) -> None:
        arns = sorted([(await registered(world))["containerInstanceArn"] for _ in range(3)])
        await put(world, arns[0], stack="blue", zebra="")
        await put(world, arns[2], stack="red")
        built_in = [(arn, "ecs.os-type", "linux") for arn in arns]
        assert await listed(world) == [
            built_in[0],
            (arns[0], "stack", "blue"),
            (arns[0], "zebra", None),
            built_in[1],
            built_in[2],
            (arns[2], "stack", "red"),
        ]
        assert await listed(world, attributeName="ecs.os-type") == built_in
        assert await listed(world, attributeName="stack", attributeValue="red") == [(arns[2], "stack", "red")]
        assert await listed(world, attributeName="stack", attributeValue="x") == []
        seen: list[Any] = []
        token: dict[str, str] = {}
        while True:
            page = await world.call("ListAttributes", cluster="demo", targetType=TYPE, maxResults=2, **token)
            seen += [(a["targetId"], a["name"]) for a in page["attributes"]]
            if "nextToken" not in page:
                break
            token = {"nextToken": page["nextToken"]}
        assert seen == [(target, name) for target, name, _ in await listed(world)]
        for bad in ({"attributeValue": "x"}, {"maxResults": 101}, {"nextToken": "x"}):
            assert (await world.refused("ListAttributes", cluster="demo", targetType=TYPE, **bad))[0] == INVALID

    play(scene)
