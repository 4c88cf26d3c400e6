"""Tasks on a running Homeport, as its users start and watch them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

WEB = "mkdir -p /tmp/www; echo page > /tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www"  # busybox's web server


class Tasks:
    """Starts tasks on a Homeport and waits for what the API says of them."""

    def __init__(self, homeport: Any) -> None:
        self.homeport = homeport
        self.ecs, self.ec2 = homeport.client("ecs"), homeport.client("ec2")
        self.ecs.create_cluster(clusterName="tests")

    def run(self, script: str, *, groups: list[str] | None = None, public: bool = True, **container: Any) -> str:
        """RunTask of one container with ``sh -c SCRIPT``; its ARN."""
        # A shell or server that is process 1 doesn't hear SIGTERM; nobody waits 30 s for that here.
        shell = {"name": "app", "entryPoint": ["sh", "-c"], "command": [script], "stopTimeout": 2}
        return self.start([shell | container], groups, public)

    def start(
        self,
        containers: list[dict[str, Any]],
        groups: list[str] | None = None,
        public: bool = True,
        overrides: dict[str, Any] | None = None,
        **definition: Any,
    ) -> str:
        registered = self.ecs.register_task_definition(
            family="tests",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            containerDefinitions=[{"image": "homeport-test:latest", **c} for c in containers],
            **({"cpu": "256", "memory": "512"} | definition),
        )["taskDefinition"]["taskDefinitionArn"]
        answer = self.ecs.run_task(
            cluster="tests",
            taskDefinition=registered,
            launchType="FARGATE",
            overrides=overrides or {},
            tags=[{"key": "suite", "value": "host"}],
            networkConfiguration={
                "awsvpcConfiguration": {
                    "subnets": [self.homeport.subnet],
                    "securityGroups": groups or [self.homeport.web_group],
                    "assignPublicIp": "ENABLED" if public else "DISABLED",
                }
            },
        )
        assert answer["failures"] == []
        return str(answer["tasks"][0]["taskArn"])

    def describe(self, arn: str) -> dict[str, Any]:
        found = self.ecs.describe_tasks(cluster="tests", tasks=[arn])
        assert found["failures"] == []
        task: dict[str, Any] = found["tasks"][0]
        return task

    def wait(self, arn: str, status: str, seconds: float = 60) -> dict[str, Any]:
        """The task once ``lastStatus`` is ``status``; as the SDKs' waiters, by asking."""
        task = until(lambda: self.describe(arn), lambda t: t["lastStatus"] in (status, "STOPPED"), seconds)
        assert task["lastStatus"] == status, task
        return task

    def stop(self, arn: str, reason: str = "test") -> dict[str, Any]:
        self.ecs.stop_task(cluster="tests", task=arn, reason=reason)
        return self.wait(arn, "STOPPED", 60)

    def address(self, task: dict[str, Any]) -> tuple[str, str]:
        """(private, public) address of a task."""
        details = {d["name"]: d["value"] for d in task["attachments"][0]["details"]}
        interface = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[details["networkInterfaceId"]])
        found = interface["NetworkInterfaces"][0]
        return found["PrivateIpAddress"], found.get("Association", {}).get("PublicIp", "")


def until(look: Callable[[], Any], good: Callable[[Any], bool], seconds: float = 60) -> Any:
    """What ``look`` sees once it is ``good``. Only for what has no event to wait for: an API that is polled, less often
    after a second: each look costs client and server a processor's time, which other tests could use."""
    began = time.monotonic()
    while not good(seen := look()):
        waited = time.monotonic() - began
        assert waited < seconds, f"waited {seconds} s, last seen: {seen}"
        time.sleep(0.02 if waited < 1 else 0.05)
    return seen
