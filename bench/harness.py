"""A Homeport and a Docker on one machine, started through their public tools, and clocks that both share.

"Process alive" is the moment at which the task's own first process made a file in its file system: the same program,
image and clock on both sides.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

IMAGE = "homeport-test:latest"
ALIVE = ["sh", "-c", ": > /tmp/alive; exec sleep 600"]
STATE = os.environ["HOMEPORT_STATE"]
ROOT = Path(__file__).resolve().parent.parent


def run(*argv: str | Path, check: bool = True) -> str:
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True)
    if check and done.returncode:
        raise SystemExit(f"{shlex.join(map(str, argv))} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def homeport(*argv: str) -> str:
    return run(sys.executable, "-m", "homeport", *argv, "--state", STATE)


def archive(image: str) -> Path:
    """The archive of a test image."""
    return Path(run(ROOT / "scripts" / "image", image).strip())


class Cloud:
    """boto3 clients and the ids that RunTask needs."""

    def __init__(self) -> None:
        lines = homeport("env").splitlines()
        self.environment = dict(shlex.split(line.removeprefix("export "))[0].split("=", 1) for line in lines)
        self.ecs = self.client("ecs")
        self.ecs.create_cluster(clusterName="bench")
        self.register("alive", [{"name": "app"}])

    def register(self, family: str, containers: list[dict[str, Any]], cpu: int = 256, memory: int = 512) -> None:
        """A definition whose containers run ``ALIVE`` unless they say otherwise. A process 1 without a handler doesn't
        hear SIGTERM: two seconds instead of thirty for each stop."""
        usual = {"image": IMAGE, "entryPoint": ALIVE[:2], "command": ALIVE[2:], "stopTimeout": 2}
        self.ecs.register_task_definition(
            family=family,
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu=str(cpu),
            memory=str(memory),
            containerDefinitions=[usual | container for container in containers],
        )

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=self.environment["AWS_DEFAULT_REGION"],
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=32),
        )

    def start(self, count: int = 1, family: str = "alive") -> list[str]:
        """RunTask as the tutorial calls it: awsvpc, a public address, a security group."""
        answer = self.ecs.run_task(
            cluster="bench",
            taskDefinition=family,
            launchType="FARGATE",
            count=count,
            networkConfiguration=self._network(),
        )
        if answer["failures"]:
            raise SystemExit(f"RunTask failed: {answer['failures']}")
        return [task["taskArn"] for task in answer["tasks"]]

    def service(self, name: str, family: str, count: int) -> None:
        """CreateService on Fargate, with the defaults of ECS."""
        self.ecs.create_service(
            cluster="bench",
            serviceName=name,
            taskDefinition=family,
            launchType="FARGATE",
            desiredCount=count,
            networkConfiguration=self._network(),
        )

    def tasks(self, service: str, desired: str = "RUNNING") -> list[str]:
        """The ARNs of a service's tasks."""
        found: list[str] = self.ecs.list_tasks(cluster="bench", serviceName=service, desiredStatus=desired)["taskArns"]
        return found

    def end(self, service: str) -> None:
        """Deletes a service, and waits until nothing of it is left."""
        arns = self.tasks(service)
        self.ecs.delete_service(cluster="bench", service=service, force=True)
        until(lambda: all(s == "STOPPED" for s in self.statuses(arns)), 60)

    def describe(self, arns: list[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for i in range(0, len(arns), 100):
            found += self.ecs.describe_tasks(cluster="bench", tasks=arns[i : i + 100])["tasks"]
        return found

    def statuses(self, arns: list[str]) -> list[str]:
        return [task["lastStatus"] for task in self.describe(arns)]

    def _network(self) -> dict[str, Any]:
        network = {
            "subnets": [self.environment["ECS_SUBNETS"]],
            "securityGroups": [self.environment["ECS_SECURITY_GROUP"]],
            "assignPublicIp": "ENABLED",
        }
        return {"awsvpcConfiguration": network}

    def stop(self, arns: Iterable[str]) -> None:
        arns = list(arns)
        for arn in arns:
            self.ecs.stop_task(cluster="bench", task=arn)
        until(lambda: all(s == "STOPPED" for s in self.statuses(arns)), 60)


def until(condition: Callable[[], bool], seconds: float, pause: float = 0.005) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("a benchmark waited too long")
        time.sleep(pause)


def alive_at(task: str) -> float:
    """The moment at which the task's process made its file (epoch seconds)."""
    return made_at(lambda: in_cgroup(task.rpartition("/")[2]))


def processes(command: str) -> list[int]:
    """Processes of this Homeport that run ``homeport COMMAND``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            argv = path.read_bytes().decode(errors="replace").split("\0")
            if command in argv and STATE in argv:
                found.append(int(path.parent.name))
    return found


def in_cgroup(name: str) -> list[int]:
    """Processes in a cgroup that has ``name`` in its path (for a moment also runc's)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if name in (entry / "cgroup").read_text():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def made_at(processes: Callable[[], list[int]]) -> float:
    seen: list[float] = []

    def look() -> bool:
        for pid in processes():
            with contextlib.suppress(OSError):
                seen.append(Path(f"/proc/{pid}/root/tmp/alive").stat().st_mtime)
        return bool(seen)

    until(
        look, 30, 0.02
    )  # seldom: the file says when it was made, and looking takes processor time from what is measured
    return seen[0]


def docker_start() -> str:
    limits = ("--cpus", "0.25", "--memory", "512m")
    return run("docker", "run", "-d", *limits, "--entrypoint", "sh", "homeport-test", *ALIVE[1:]).strip()


def docker_alive_at(container: str) -> float:
    """``container``: its id or name."""
    return made_at(lambda: [int(run("docker", "inspect", "--format", "{{.State.Pid}}", container))])


def docker_remove(containers: Iterable[str]) -> None:
    run("docker", "rm", "-f", *containers)


def pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size)


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def machine() -> str:
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "?",
    )
    return f"{os.cpu_count()} cores ({model}), Linux {platform.release()}, Python {platform.python_version()}"
