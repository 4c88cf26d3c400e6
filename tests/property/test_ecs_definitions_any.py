"""Whatever fits the model is answered: registered and given back whole, or refused with a text."""

from __future__ import annotations

from typing import Any

import botocore.session
from botocore.validate import ParamValidator
from hypothesis import event, given, settings
from hypothesis import strategies as st

from homeport.core.errors import AwsError
from homeport.services.ecs import spec
from homeport.services.ecs.registration.compatibility import compatibilities, required_attributes
from homeport.services.ecs.registration.members import without_nulls
from homeport.services.ecs.registration.register import prepared
from homeport.services.ecs.registration.support import unsupported

MODEL = botocore.session.get_session().get_service_model("ecs")
REGISTER = MODEL.operation_model("RegisterTaskDefinition").input_shape
CONTAINER = REGISTER.members["containerDefinitions"].member
FARGATE = {"networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512"}
KEPT = MODEL.shape_for("TaskDefinition")

WORDS = st.sampled_from(["", "a", "b", "a:b", "/", "c-1", "256", "512", "1 vCPU", "1-3", "awslogs", "ALL", "é", "arn:"])
NUMBERS = st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, 1, 2, 80, 64, 300])


def values(shape: Any) -> st.SearchStrategy[Any]:
    """Values of a shape of the model, drawn so that names often meet."""
    match shape.type_name:
        case "structure":
            members = {name: values(of) for name, of in shape.members.items()}
            required = {name: members.pop(name) for name in shape.required_members}
            return st.fixed_dictionaries(required, optional=members)
        case "list":
            return st.lists(values(shape.member), max_size=3)
        case "map":
            return st.dictionaries(WORDS, values(shape.value), max_size=2)
        case "boolean":
            return st.booleans()
        case "integer":
            return NUMBERS
    return st.sampled_from(shape.enum) if shape.enum else WORDS


def some_of(shape: Any, most: int) -> st.SearchStrategy[dict[str, Any]]:
    """A structure with at most so many of its members."""
    names = st.sets(st.sampled_from(sorted(shape.members)), max_size=most)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({n: values(shape.members[n]) for n in sorted(chosen)}))


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """A sound definition of one to three containers with a few members set to anything."""
    containers = [
        {"name": name, "image": "i", "memory": 64, **draw(some_of(CONTAINER, 2))}
        for name in draw(st.sampled_from([["a"], ["a", "b"], ["a", "b", "c-1"]]))
    ]
    base = draw(st.sampled_from([{}, {"networkMode": "awsvpc"}, FARGATE]))
    members = {"family": "f", **base, "containerDefinitions": containers, **draw(some_of(REGISTER, 2))}
    members.pop("tags", None)
    return members


def holds(answer: Any, given: Any) -> bool:
    """Whether everything that was given is there again, in its place and order; a port 0 may have become another."""
    if isinstance(given, dict):
        return all(n in answer and (holds(answer[n], v) or (n == "hostPort" and v == 0)) for n, v in given.items())
    if isinstance(given, list):
        return len(answer) == len(given) and all(map(holds, answer, given))
    return bool(answer == given)


def outcome(members: dict[str, Any]) -> dict[str, Any] | str:
    """What is kept, or the text that refuses it. Any exception but AwsError fails the test."""
    try:
        return prepared(members)
    except AwsError as refusal:
        return refusal.message


@settings(max_examples=500)
@given(definitions())
def test_every_definition_is_kept_or_refused(members: dict[str, Any]) -> None:
    kept = outcome(members)
    event("refused" if isinstance(kept, str) else "kept")
    if isinstance(kept, str):
        assert kept
        return
    answer = {**kept, "requiresAttributes": [{"name": name} for name in required_attributes(kept)]}
    report = ParamValidator().validate({**answer, "compatibilities": list(compatibilities(kept))}, KEPT)
    assert not report.has_errors(), report.generate_report()
    assert holds(kept, without_nulls({n: v for n, v in members.items() if n not in ("cpu", "memory")}))
    for container in kept["containerDefinitions"]:
        spec.container_spec(container)  # whatever is kept can be told to a node, if RunTask lets it
    for volume in kept["volumes"]:
        spec.volume_spec(volume)
    assert prepared(kept) == kept  # what is registered can be registered again, and nothing changes
    assert "EC2" in compatibilities(kept)
    assert unsupported(kept) is None or "Homeport does not support" in str(unsupported(kept))
    assert without_nulls(kept) == kept
