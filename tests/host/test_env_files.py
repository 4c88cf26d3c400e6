"""Environment files and RunTask's overrides, as a container's process sees them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from support.homeport import Homeport
from support.tasks import Tasks, until

pytestmark = pytest.mark.host


@pytest.fixture
def bucket(tasks: Tasks) -> Path:
    folder = Path(tasks.homeport.state) / "s3" / "settings"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "one.env").write_text('# said first\nFIRST=one\nBOTH=one\nOWN=one\nQUOTED="stays"\nEMPTY=\n')
    (folder / "two.env").write_text("SECOND=two words\r\nBOTH=two\nAWS_REGION=mars-north-1\n")
    return folder


def files(*names: str) -> list[dict[str, str]]:
    return [{"type": "s3", "value": f"arn:aws:s3:::settings/{name}.env"} for name in names]


def app(script: str, **members: Any) -> dict[str, Any]:
    return {"name": "app", "entryPoint": ["sh", "-c"], "command": [script], "stopTimeout": 2, **members}


def printed(tasks: Tasks, arn: str) -> list[str]:
    """Its lines, once there are any: its end can be told before they are there."""
    return str(until(lambda: tasks.homeport.command("logs", arn).stdout, bool)).splitlines()


@pytest.mark.feature("Environment files, from a folder that stands for S3")
def test_a_container_gets_the_variables_of_its_files(tasks: Tasks, bucket: Path) -> None:
    script = 'echo "$FIRST|$BOTH|$OWN|$QUOTED|$SECOND|$AWS_REGION|$AWS_DEFAULT_REGION|${EMPTY-unset}"'
    own = [{"name": "OWN", "value": "definition"}]
    arn = tasks.start([app(script, environment=own, environmentFiles=files("one", "two"))])
    assert tasks.wait(arn, "STOPPED")["containers"][0]["exitCode"] == 0
    assert printed(tasks, arn) == ['one|one|definition|"stays"|two words|mars-north-1|us-east-1|unset']


def test_files_of_an_s3_compatible_service(
    own_homeport: Callable[..., Homeport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEPORT_S3_KEY", "s3key:very/secret")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Bucket) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        homeport = own_homeport("--s3-endpoint", f"http://127.0.0.1:{server.server_address[1]}")
        assert "very" not in (homeport.state / "config.json").read_text(), "the key is sealed"
        tasks = Tasks(homeport)
        arn = tasks.start([app('echo "$FROM"', environmentFiles=files("one"))])
        assert tasks.wait(arn, "STOPPED")["containers"][0]["exitCode"] == 0
        assert printed(tasks, arn) == ["afar"]
        server.shutdown()


class _Bucket(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        signed = "Credential=s3key/" in self.headers.get("Authorization", "")
        self.send_response(200 if signed and self.path == "/settings/one.env" else 404)
        self.end_headers()
        self.wfile.write(b"FROM=afar\n")


def test_a_missing_file_ends_the_task(tasks: Tasks, bucket: Path) -> None:
    task = tasks.wait(tasks.start([app("exit 0", environmentFiles=files("one", "three"))]), "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("ResourceInitializationError: failed to download env files: ")
    assert "NoSuchKey: The specified key does not exist." in task["stoppedReason"]
    assert str(bucket / "three.env") in task["stoppedReason"]
    assert "exitCode" not in task["containers"][0]
    assert "startedAt" not in task


@pytest.mark.feature("RunTask overrides of containers and of the task")
def test_overrides_reach_the_containers(tasks: Tasks, bucket: Path) -> None:
    limit = "find /sys/fs/cgroup -name memory.limit_in_bytes -o -name memory.max"
    script = f'echo "$A|$B|$FIRST|$SECOND"; cat $({limit} | head -1)'
    environment = [{"name": "A", "value": "definition"}, {"name": "B", "value": "definition"}]
    idle = {"name": "side", "essential": False, "entryPoint": ["sh", "-c"], "command": ["exit 0"]}
    asked = {"environment": environment, "environmentFiles": files("one"), "memory": 64, "cpu": 10}
    after = [{"containerName": "side", "condition": "COMPLETE"}]
    arn = tasks.start(
        [app("exit 9", dependsOn=after, **asked), idle],
        overrides={
            "cpu": "512",
            "memory": "1024",
            "containerOverrides": [
                {
                    "name": "app",
                    "command": [script],
                    "environment": [{"name": "B", "value": "override"}],
                    "environmentFiles": files("two"),
                    "memory": 128,
                    "cpu": 20,
                }
            ],
        },
    )
    task = tasks.wait(arn, "STOPPED")
    containers = {c["name"]: c for c in task["containers"]}
    assert (containers["app"]["exitCode"], containers["side"]["exitCode"]) == (0, 0)
    assert (task["cpu"], task["memory"]) == ("512", "1024")
    assert (containers["app"]["memory"], containers["app"]["cpu"]) == ("128", "20")
    assert task["overrides"]["containerOverrides"][0]["environmentFiles"] == files("two")
    assert printed(tasks, arn)[:1] == ["app: definition|override||two words"]
    assert printed(tasks, arn)[1:2] == [f"app: {128 * 2**20}"]


def test_the_limits_of_the_whole_task_are_the_overridden_ones(tasks: Tasks) -> None:
    storage = {"sizeInGiB": 40}
    arn = tasks.start([app("sleep 60")], overrides={"cpu": "512", "memory": "1024", "ephemeralStorage": storage})
    task = tasks.wait(arn, "RUNNING")
    try:
        assert task["ephemeralStorage"] == task["overrides"]["ephemeralStorage"] == storage
        limits = _task_limits(arn.rpartition("/")[2])
        assert limits == (0.5, 1024 * 2**20)
    finally:
        tasks.stop(arn)


def _task_limits(task_id: str) -> tuple[float, int]:
    """Processors and bytes that the kernel allows the task."""
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        (group,) = root.glob(f"homeport-*/{task_id}")
        quota, period = (group / "cpu.max").read_text().split()
        return int(quota) / int(period), int((group / "memory.max").read_text())
    (cpu,), (memory,) = root.glob(f"cpu/homeport-*/{task_id}"), root.glob(f"memory/homeport-*/{task_id}")
    quota, period = ((cpu / f"cpu.cfs_{what}_us").read_text() for what in ("quota", "period"))
    return int(quota) / int(period), int((memory / "memory.limit_in_bytes").read_text())
