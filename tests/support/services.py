"""Services on a running Homeport, and its events as they are told."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from support.homeport import PROGRAM, Homeport
from support.tasks import until

CHECK = {"command": ["CMD-SHELL", "true"], "interval": 5, "timeout": 30, "retries": 3}
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}


class Services:
    """Fargate services of one container, in a cluster of their own."""

    def __init__(self, homeport: Any, cluster: str) -> None:
        self.homeport, self.cluster = homeport, cluster
        self.ecs = homeport.client("ecs")
        self.ecs.create_cluster(clusterName=cluster)

    def define(self, family: str, script: str = "exec sleep 1000", **container: Any) -> str:
        """The ARN of a definition whose tasks end at once when they are told to."""
        body = f"trap 'exit 0' TERM; {script.removeprefix('exec ')} & wait $!"
        app = {
            "name": "app",
            "image": "homeport-test:latest",
            "entryPoint": ["sh", "-c"],
            "command": [body],
            "stopTimeout": 2,
        }
        made = self.ecs.register_task_definition(
            family=family,
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            containerDefinitions=[{**app, "healthCheck": CHECK, **container}],
        )
        return str(made["taskDefinition"]["taskDefinitionArn"])

    def create(self, name: str, definition: str, desired: int, **more: Any) -> str:
        """The ARN of a new service."""
        network = {"subnets": [self.homeport.subnet], "securityGroups": [self.homeport.web_group]}
        made = self.ecs.create_service(
            cluster=self.cluster,
            serviceName=name,
            taskDefinition=definition,
            desiredCount=desired,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": network},
            **more,
        )
        return str(made["service"]["serviceArn"])

    def update(self, name: str, **more: Any) -> dict[str, Any]:
        answer = self.ecs.update_service(cluster=self.cluster, service=name, **more)
        service: dict[str, Any] = answer["service"]
        return service

    def describe(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ecs.describe_services(cluster=self.cluster, services=[name])["services"][0]
        return found

    def delete(self, *names: str) -> None:
        """Deletes services and waits until their tasks are gone."""
        for name in names:
            self.ecs.delete_service(cluster=self.cluster, service=name, force=True)
        for name in names:
            until(lambda name=name: self.describe(name)["status"], lambda status: status == "INACTIVE", 60)
        until(lambda: self.unfinished(*names), lambda found: not found, 60)

    def unfinished(self, *names: str) -> list[str]:
        """The ARNs of these services' tasks that aren't STOPPED."""
        listed = self.ecs.list_tasks
        arns = [a for d in ("RUNNING", "STOPPED") for a in listed(cluster=self.cluster, desiredStatus=d)["taskArns"]]
        found = self.ecs.describe_tasks(cluster=self.cluster, tasks=arns)["tasks"] if arns else []
        groups = [f"service:{name}" for name in names]
        return [t["taskArn"] for t in found if t["group"] in groups and t["lastStatus"] != "STOPPED"]


def past_events(homeport: Homeport, *flags: str) -> list[dict[str, Any]]:
    """What ``homeport events`` has of what happened."""
    return [json.loads(line) for line in homeport.command("events", "--json", *flags).stdout.splitlines()]


class Follower:
    """``homeport events -f --json``, as it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self._more = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def until(self, good: Callable[[list[dict[str, Any]]], bool], seconds: float = 40) -> list[dict[str, Any]]:
        """What it printed, once ``good``."""
        with self._more:
            assert self._more.wait_for(lambda: good(self.events), seconds), self.events[-3:]
            return list(self.events)

    def grows(self, before: int) -> None:
        """Waits until it has printed more than so many."""
        self.until(lambda events: len(events) > before)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.events.append(json.loads(line))
                self._more.notify_all()


@contextmanager
def following(homeport: Homeport, *flags: str) -> Iterator[Follower]:
    command = [*PROGRAM, "events", "-f", "--json", *flags, "--state", str(homeport.state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Follower(process)
        finally:
            process.kill()
