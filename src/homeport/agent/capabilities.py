"""What a container instance with this agent can do, in the names that task definitions require. Pure.

Amazon's agent registers the same names; those that are missing here (secrets, FireLens, EBS, Windows) are what nodes
can't do.
"""

from __future__ import annotations

_DOCKER = "com.amazonaws.ecs.capability."
_ECS = "ecs.capability."
_APIS = range(17, 44 + 1)  # minor versions of the Docker remote API whose features there are

_OF_DOCKER = (
    "docker-plugin.local",
    "ecr-auth",
    "logging-driver.awslogs",
    "logging-driver.json-file",
    "privileged-container",
    "task-iam-role",
    "task-iam-role-network-host",
)
_OF_ECS = (
    "container-health-check",
    "container-ordering",
    "container-restart-policy",
    "efs",
    "env-files.s3",
    "execution-role-awslogs",
    "execution-role-ecr-pull",
    "increased-task-cpu-limit",
    "network.container-port-range",
    "pid-ipc-namespace-sharing",
    "task-cpu-mem-limit",
    "task-eni",
)

CAPABILITIES = (
    *(f"{_DOCKER}docker-remote-api.1.{minor}" for minor in _APIS),
    *(_DOCKER + name for name in _OF_DOCKER),
    *(_ECS + name for name in _OF_ECS),
)
