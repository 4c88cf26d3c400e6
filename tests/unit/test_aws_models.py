"""Models are read from botocore's files without botocore, and only what is wanted of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from homeport.aws import models


def test_only_wanted_shapes_are_linked() -> None:
    model = models.load("ecs", ["DescribeTasks"])
    assert set(model.operations) == {"DescribeTasks"}
    assert {"RunTask", "CreateService"} <= model.operation_names
    assert (model.signing_name, model.protocols, model.json_version) == ("ecs", ("json",), "1.1")
    assert model.target_prefix == "AmazonEC2ContainerServiceV20141113"
    assert "ClusterNotFoundException" in model.errors
    assert "ConflictException" not in model.errors  # an error of RunTask


def test_shapes_are_shared_and_may_be_recursive() -> None:
    model = models.load("dynamodb", ["PutItem"])
    item = model.operations["PutItem"].input
    assert item is not None
    value = item.shape.members["Item"].shape.value
    assert value is not None
    inner = value.shape.members["M"].shape.value
    assert inner is not None
    assert inner.shape is value.shape


def test_names_on_the_wire_come_with_each_use() -> None:
    model = models.load("ec2", ["DescribeVpcs"])
    params = model.operations["DescribeVpcs"].input
    assert params is not None
    assert params.shape.members["VpcIds"].location_name == "VpcId"
    assert params.shape.members["DryRun"].location_name == "dryRun"


def test_signing_names_and_newest_versions() -> None:
    assert models.load("cloudwatch", []).signing_name == "monitoring"
    assert models.load("elbv2", []).signing_name == "elasticloadbalancing"
    assert models.load("ec2", []).api_version == "2016-11-15"


def test_what_is_not_there() -> None:
    with pytest.raises(models.ModelNotFound):
        models.load("nosuchservice")
    with pytest.raises(KeyError):
        models.load("sts", ["RunTask"])


def test_the_front_imports_no_botocore() -> None:
    code = (
        "import sys, homeport.aws.app, homeport.aws.serve, homeport.aws.models as m; m.load('sts');"
        "print([n for n in ('botocore', 'urllib3', 'boto3') if n in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_signer_needs_only_the_standard_library() -> None:
    code = "import sys, homeport.aws.sigv4; print([n for n in ('msgspec', 'cbor2', 'uvicorn') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
