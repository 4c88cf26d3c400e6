"""Terraform's AWS provider, where this machine has both: a service that waits for its steady state, without drift."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PLUGINS = os.environ.get("HOMEPORT_TERRAFORM_PLUGINS", "")  # a mirror with hashicorp/aws; tests reach no registry
SECONDS = 300  # of one command: the provider alone takes a processor some seconds to start
NO_CHANGES, CHANGES = 0, 2  # exit codes of plan -detailed-exitcode
MIRROR = f'provider_installation {{\n  filesystem_mirror {{ path = "{PLUGINS}" }}\n}}\n'
SERVICE = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
variable "endpoint" {}
variable "subnet" {}
variable "group" {}
variable "desired" { default = 1 }
provider "aws" {
  region                  = "us-east-1"
  skip_metadata_api_check = true
  endpoints {
    ecs = var.endpoint
    ec2 = var.endpoint
    sts = var.endpoint
    iam = var.endpoint
  }
}
resource "aws_ecs_cluster" "demo" { name = "terraform" }
resource "aws_ecs_task_definition" "web" {
  family                   = "terraform"
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  cpu                      = 256
  memory                   = 512
  container_definitions = jsonencode([{
    name = "app", image = "homeport-test:latest", entryPoint = ["sleep"], command = ["3600"], stopTimeout = 2
  }])
}
resource "aws_ecs_service" "web" {
  name                    = "web"
  cluster                 = aws_ecs_cluster.demo.arn
  task_definition         = aws_ecs_task_definition.web.arn
  desired_count           = var.desired
  launch_type             = "FARGATE"
  propagate_tags          = "SERVICE"
  enable_ecs_managed_tags = true
  wait_for_steady_state   = true
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets          = [var.subnet]
    security_groups  = [var.group]
    assign_public_ip = true
  }
  tags = { team = "shop" }
}
"""
Terraform = Callable[..., int]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(5 * SECONDS),
    pytest.mark.skipif(
        shutil.which("terraform") is None or not PLUGINS,
        reason="needs terraform, and in HOMEPORT_TERRAFORM_PLUGINS a mirror of its AWS provider",
    ),
]


@pytest.fixture
def terraform(homeport: Any, tmp_path: Path) -> Terraform:
    """Runs a command; its exit code must be one of ``good``."""
    (tmp_path / "main.tf").write_text(SERVICE)
    (tmp_path / "rc").write_text(MIRROR)
    environment = {
        **os.environ,
        **homeport.environment,
        "CHECKPOINT_DISABLE": "1",
        "TF_CLI_CONFIG_FILE": str(tmp_path / "rc"),
        "TF_IN_AUTOMATION": "1",
        "TF_VAR_endpoint": homeport.endpoint,
        "TF_VAR_subnet": homeport.subnet,
        "TF_VAR_group": homeport.web_group,
    }

    def run(*argv: str, good: tuple[int, ...] = (0,)) -> int:
        done = subprocess.run(
            ["terraform", *argv, "-no-color"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode in good, done.stdout[-4000:] + done.stderr
        return done.returncode

    return run


@pytest.mark.feature("Terraform's AWS provider makes, changes and destroys a service, without drift")
def test_a_service_by_terraform(homeport: Any, terraform: Terraform) -> None:
    ecs = homeport.client("ecs")
    terraform("init")
    try:
        terraform("apply", "-auto-approve")
        service = ecs.describe_services(cluster="terraform", services=["web"], include=["TAGS"])["services"][0]
        assert (service["runningCount"], len(service["deployments"])) == (1, 1)
        assert service["tags"] == [{"key": "team", "value": "shop"}]
        assert terraform("plan", "-detailed-exitcode", good=(NO_CHANGES, CHANGES)) == NO_CHANGES
        terraform("apply", "-auto-approve", "-var", "desired=2")
        assert ecs.describe_services(cluster="terraform", services=["web"])["services"][0]["runningCount"] == 2
    finally:
        terraform("destroy", "-auto-approve")
    assert ecs.describe_clusters(clusters=["terraform"])["clusters"][0]["status"] == "INACTIVE"
