"""Real SDK clients and raw sockets against a running front."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from front import ACCOUNT, KEY, NODE_KEY, NODE_SECRET, ROOT, SECRET, Front


def client(
    front: Front, service: str, key: str = KEY, secret: str = SECRET, region: str = "eu-west-1", **more: Any
) -> Any:
    config = Config(retries={"total_max_attempts": 1}, parameter_validation=False, read_timeout=10)
    return boto3.client(
        service,
        endpoint_url=front.url,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=config,
        **more,
    )


def refused(call: Any, **params: Any) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    answer = caught.value.response
    assert answer["ResponseMetadata"]["RequestId"]
    return answer["Error"]["Code"], answer["Error"]["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_json_service(front: Front) -> None:
    answer = client(front, "ecs").describe_tasks(cluster="c", tasks=["arn:x"])
    assert answer["tasks"][0]["taskArn"] == "arn:x"
    assert answer["tasks"][0]["createdAt"].timestamp() == 1700000000.125
    assert answer["ResponseMetadata"]["RequestId"]
    assert client(front, "ecs", region="ap-south-1").run_task(taskDefinition="t")["tasks"][0]["group"] == (
        f"ap-south-1:{ACCOUNT}"
    )


def test_ec2_and_query_services(front: Front) -> None:
    vpcs = client(front, "ec2").describe_vpcs(VpcIds=["vpc-1", "vpc-2"])["Vpcs"]
    assert [v["VpcId"] for v in vpcs] == ["vpc-1", "vpc-2"]
    assert vpcs[0]["IsDefault"] is True
    assert client(front, "ec2").describe_vpcs()["Vpcs"] == []
    identity = client(front, "sts").get_caller_identity()
    assert (identity["Account"], identity["Arn"]) == (ACCOUNT, ROOT.arn)


def test_the_endpoint_is_the_one_that_the_client_used(front: Front) -> None:
    assert client(front, "ecs").discover_poll_endpoint()["endpoint"] == front.url


def test_operation_errors(front: Front) -> None:
    code, message, status = refused(client(front, "ecs").run_task, taskDefinition="conflict")
    assert (code, message, status) == ("ConflictException", "Token reused", 400)
    code, message, status = refused(client(front, "ec2").delete_security_group, GroupId="sg-none")
    assert (code, status) == ("InvalidGroup.NotFound", 400)


def test_a_bug_is_a_server_fault_without_its_text(front: Front) -> None:
    code, message, status = refused(client(front, "ecs").run_task, taskDefinition="crash")
    assert (code, status) == ("ServerException", 500)
    assert "secret" not in message


def test_operations_that_are_not_served(front: Front) -> None:
    assert refused(client(front, "ecs").list_services)[0] == "UnknownOperationException"
    code, message, status = refused(client(front, "ec2").describe_instances)
    assert (code, status) == ("InvalidAction", 400)
    assert "DescribeInstances" in message
    assert refused(client(front, "sts").get_session_token)[0] == "InvalidAction"
    code, message, status = refused(client(front, "dynamodb").list_tables)
    assert (code, status) == ("UnknownOperationException", 404)
    assert "dynamodb" in message
    assert refused(client(front, "iam").list_users)[1] == "Homeport does not serve the service 'iam'."


def test_constraints(front: Front) -> None:
    code, message, _ = refused(client(front, "ecs").run_task)
    assert code == "InvalidParameterException"
    assert message == (
        "1 validation error detected: Value null at 'taskDefinition' failed to satisfy constraint: "
        "Member must not be null"
    )
    code, message, _ = refused(client(front, "ecs").run_task, taskDefinition="t", launchType="MOON")
    assert code == "InvalidParameterException"
    assert "Value 'MOON' at 'launchType' failed to satisfy constraint: Member must satisfy enum value set: [" in message
    code, message, _ = refused(client(front, "ecs").register_task_definition, family="f")
    assert code == "ClientException"


def test_a_node_key_does_only_what_agents_do(front: Front) -> None:
    ecs = client(front, "ecs", NODE_KEY, NODE_SECRET)
    assert ecs.discover_poll_endpoint()["endpoint"]
    code, message, status = refused(ecs.run_task, taskDefinition="t")
    assert (code, status) == ("AccessDeniedException", 400)
    assert message.endswith(
        "is not authorized to perform: ecs:RunTask on resource: * because no identity-based policy "
        "allows the ecs:RunTask action"
    )
    code, _, status = refused(client(front, "ec2", NODE_KEY, NODE_SECRET).describe_vpcs)
    assert (code, status) == ("UnauthorizedOperation", 403)
    assert client(front, "sts", NODE_KEY, NODE_SECRET).get_caller_identity()["UserId"] == "AROA:n1"


@pytest.mark.parametrize(
    ("service", "call", "unknown", "wrong"),
    [
        ("ecs", "describe_tasks", ("UnrecognizedClientException", 400), ("InvalidSignatureException", 400)),
        ("ec2", "describe_vpcs", ("AuthFailure", 401), ("SignatureDoesNotMatch", 403)),
        ("sts", "get_caller_identity", ("InvalidClientTokenId", 403), ("SignatureDoesNotMatch", 403)),
    ],
)
def test_bad_keys(front: Front, service: str, call: str, unknown: Any, wrong: Any) -> None:
    code, _, status = refused(getattr(client(front, service, key="AKIDNOBODY"), call))
    assert (code, status) == unknown
    code, _, status = refused(getattr(client(front, service, secret="wrong"), call))
    assert (code, status) == wrong
    with_token = client(front, service, aws_session_token="left over")
    assert refused(getattr(with_token, call))[0] == unknown[0]


def test_dry_run(front: Front) -> None:
    code, _, status = refused(client(front, "ec2").describe_vpcs, DryRun=True)
    assert (code, status) == ("DryRunOperation", 412)


def test_metrics_count_by_service_operation_and_code(front: Front) -> None:
    refused(client(front, "ecs").run_task, taskDefinition="conflict")
    text = front.app.metrics.render().decode()
    assert 'homeport_requests_total{service="ecs",operation="RunTask",code="ConflictException"}' in text
    assert 'homeport_request_seconds_count{service="ecs",operation="RunTask"}' in text
