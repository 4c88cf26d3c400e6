"""The authorise step and the request metrics."""

from __future__ import annotations

import pytest

from homeport.aws.authorize import NODE_ACTIONS, refusal
from homeport.aws.metrics import BUCKETS, RequestMetrics
from homeport.aws.operations import Principal

ROOT = Principal("1", "arn:aws:iam::1:root", "1", "K")
NODE = Principal("1", "arn:aws:sts::1:assumed-role/n/n", "n", "N", node="n")


@pytest.mark.parametrize("action", ["ecs:RunTask", "ec2:DescribeVpcs", "ecs:Poll"])
def test_root_may_do_all(action: str) -> None:
    assert refusal(ROOT, action, ["*"], {}) is None


def test_root_may_do_nothing_in_another_account() -> None:
    own, foreign = "arn:aws:ecs:us-east-1:1:task/a/b", "arn:aws:ecs:us-east-1:2:task/a/b"
    assert refusal(ROOT, "ecs:StopTask", [own, "b", "arn:aws:s3:::bucket"], {}) is None
    assert refusal(ROOT, "ecs:StopTask", [own, foreign], {}) == (
        f"User: arn:aws:iam::1:root is not authorized to perform: ecs:StopTask on resource: {foreign} "
        "because no resource-based policy allows the ecs:StopTask action"
    )


def test_a_node_may_do_what_agents_do() -> None:
    assert all(refusal(NODE, action, ["*"], {}) is None for action in NODE_ACTIONS)
    assert refusal(NODE, "ecs:StopTask", ["arn:t", "arn:u"], {}) == (
        "User: arn:aws:sts::1:assumed-role/n/n is not authorized to perform: ecs:StopTask on resource: arn:t "
        "because no identity-based policy allows the ecs:StopTask action"
    )


def test_metrics() -> None:
    metrics = RequestMetrics()
    for seconds in (0.0005, 0.003, 100.0):
        metrics.count("ecs", "RunTask", "OK", seconds)
    metrics.count("ecs", "RunTask", 'Odd"\n', 0.2)
    text = metrics.render().decode()
    assert 'homeport_requests_total{service="ecs",operation="RunTask",code="OK"} 3\n' in text
    assert 'code="Odd\\"\\n"} 1\n' in text
    assert 'le="0.001"} 1\n' in text
    assert 'le="0.005"} 2\n' in text
    assert f'le="{BUCKETS[-1]}"}} 3\n' in text
    assert 'le="+Inf"} 4\n' in text
    assert 'homeport_request_seconds_sum{service="ecs",operation="RunTask"} 100.203500\n' in text
    assert 'homeport_request_seconds_count{service="ecs",operation="RunTask"} 4\n' in text
