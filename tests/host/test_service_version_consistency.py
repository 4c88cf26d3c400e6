"""Version consistency: which image the tasks of a deployment run when its tag moves between them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest
from containerd_registry import Content, layer_of, serving

from homeport.agent.drivers.containerd import manifests
from support.homeport import Homeport, archive
from support.services import Services
from support.tasks import until

pytestmark = pytest.mark.host


def running(services: Services, *before: str) -> dict[str, Any]:
    """The one RUNNING task of the service, another than those before."""

    def find() -> list[dict[str, Any]]:
        arns = services.ecs.list_tasks(cluster=services.cluster)["taskArns"]
        tasks = services.ecs.describe_tasks(cluster=services.cluster, tasks=arns)["tasks"] if arns else []
        return [t for t in tasks if t["lastStatus"] == "RUNNING" and t["taskArn"] not in before]

    return until(find, lambda found: len(found) == 1, 60)[0]


def digests(task: dict[str, Any]) -> dict[str, str]:
    return {c["name"]: c["imageDigest"] for c in task["containers"]}


def deployed(services: Services) -> dict[str, Any]:
    """The service revision of the newest service deployment, once that is SUCCESSFUL."""
    listed = services.ecs.list_service_deployments
    found = until(
        lambda: listed(cluster=services.cluster, service="shop")["serviceDeployments"][0],
        lambda made: made["status"] == "SUCCESSFUL",
        90,
    )
    arn = found["targetServiceRevisionArn"]
    revision: dict[str, Any] = services.ecs.describe_service_revisions(serviceRevisionArns=[arn])["serviceRevisions"][0]
    return revision


@pytest.mark.feature("Version consistency: all tasks of a deployment run the image of its first one")
def test_a_tag_that_moves_under_a_service(own_homeport: Callable[..., Homeport]) -> None:
    content = Content()
    layer = layer_of(archive("test"))
    architecture = manifests.this_machine().architecture
    first, second = (
        content.image([(gzip.compress(layer, 1, mtime=0), layer, "+gzip")], architecture, Env=["PATH=/bin", f"V={n}"])
        for n in (1, 2)
    )
    services = Services(own_homeport("--image-pull-behavior", "always", image=None), "consistency")
    with serving(content) as registry:
        image = f"{registry.address}/app:1"
        content.tags["app:1"] = first["digest"]
        sleep = {"image": image, "entryPoint": ["sh", "-c"], "stopTimeout": 2}
        end = ["trap 'exit 0' TERM; sleep 1000 & wait $!"]
        check = {"command": ["CMD-SHELL", "true"], "interval": 5, "timeout": 30, "retries": 3}
        made = services.ecs.register_task_definition(
            family="consistency",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            containerDefinitions=[
                {**sleep, "name": "app", "command": end, "healthCheck": check},
                {**sleep, "name": "loose", "command": end, "versionConsistency": "disabled"},
            ],
        )
        services.create("shop", made["taskDefinition"]["taskDefinitionArn"], 1)
        shown = {c["containerName"]: c for c in deployed(services)["containerImages"]}
        assert shown["app"] == {"containerName": "app", "image": image, "imageDigest": first["digest"]}
        assert shown["loose"] == {"containerName": "loose", "image": image}
        task = running(services)
        assert digests(task) == {"app": first["digest"], "loose": first["digest"]}

        content.tags["app:1"] = second["digest"]
        services.ecs.stop_task(cluster=services.cluster, task=task["taskArn"])
        again = running(services, task["taskArn"])
        assert digests(again) == {"app": first["digest"], "loose": second["digest"]}

        services.update("shop", forceNewDeployment=True)
        forced = deployed(services)
        assert forced["containerImages"][0]["imageDigest"] == second["digest"]
        last = running(services, task["taskArn"], again["taskArn"])
        assert digests(last) == {"app": second["digest"], "loose": second["digest"]}
        services.delete("shop")
