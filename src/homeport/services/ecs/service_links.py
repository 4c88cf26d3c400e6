"""What services may be linked to: load balancers' targets and Service Connect, checked against their tasks. Pure.

None of it is built yet; a request that ECS would refuse is refused with its error all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from homeport.core.errors import invalid_parameter
from homeport.services.ecs import definitions
from homeport.services.ecs.model.definition import TaskDefinition

MAX_TARGET_GROUPS = 5  # of a service: a quota
_DNS_NAME = re.compile(r"[a-z0-9_.][a-z0-9_.-]{0,126}")  # of a client alias

Given = Mapping[str, Any]


def check_targets(balancers: Iterable[Given], definition: TaskDefinition, runs_on: str) -> None:
    """Load balancers name a container and one of its ports. Raises InvalidParameterException."""
    containers: dict[str, dict[str, Any]] = {c["name"]: c for c in definitions.containers(definition)}
    groups = 0
    for balancer in balancers:
        if balancer.get("loadBalancerName") and balancer.get("targetGroupArn"):
            raise invalid_parameter("loadBalancerName and targetGroupArn cannot both be specified")
        if balancer.get("loadBalancerName") and runs_on == "FARGATE":
            raise invalid_parameter("Classic Load Balancers are not supported with Fargate.")
        name, port = balancer.get("containerName"), balancer.get("containerPort")
        container = containers.get(name or "")
        if container is None:
            raise invalid_parameter(f"The container {name} does not exist in the task definition.")
        if port not in [p.get("containerPort") for p in container.get("portMappings") or ()]:
            raise invalid_parameter(f"The container {name} did not have a container port {port} defined.")
        groups += bool(balancer.get("targetGroupArn"))
    if groups > MAX_TARGET_GROUPS:
        raise invalid_parameter(f"A service can have at most {MAX_TARGET_GROUPS} target groups.")


def check_connect(connect: Given, definition: TaskDefinition, default_namespace: str | None) -> None:
    """``default_namespace``: the cluster's. Raises InvalidParameterException."""
    if not connect.get("enabled"):
        return
    if not connect.get("namespace") and not default_namespace:
        raise invalid_parameter("Namespace is missing")
    mappings = (m for c in definitions.containers(definition) for m in c.get("portMappings") or ())
    ports = {m["name"] for m in mappings if m.get("name")}
    for service in connect.get("services") or ():
        name, aliases = service["portName"], service.get("clientAliases") or ()
        if name not in ports:
            raise invalid_parameter(
                f"portName({name}) does not refer to any named PortMapping in the container definitions"
            )
        if len(aliases) > 1:
            raise invalid_parameter(f"{len(aliases)} clientAliases exceeds the max limit of 1")
        if any(a.get("dnsName") and not _DNS_NAME.fullmatch(a["dnsName"]) for a in aliases):
            raise invalid_parameter("The DNS name that you provided is invalid")
