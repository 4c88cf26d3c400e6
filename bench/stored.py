"""A state folder with many stored tasks, written through the store itself, and a client for its control plane."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from bench import harness
from homeport import config
from homeport.core.ids import BitIds
from homeport.services.ecs.model.task import TASKS, Attachment, Container, NodeStatus, Task, TaskStatus
from homeport.store import Store, Tx
from homeport.store.sql import SqliteJournal
from homeport.system import SystemClock

KEY = ("bench", "bench-secret")
BATCH = 5_000  # tasks in one commit


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def client(port: int, key: tuple[str, str], service: str = "ecs") -> Any:
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=key[0],
        aws_secret_access_key=key[1],
        config=Config(retries={"total_max_attempts": 1}),
    )


def answers(ecs: Any) -> bool:
    try:
        ecs.list_clusters()
    except Exception:
        return False
    return True


@contextlib.contextmanager
def state(tasks: int) -> Iterator[tuple[Path, int, tuple[str, str]]]:
    """A state folder whose cluster ``bench`` has ``tasks`` stopped tasks; (folder, port, root key)."""
    with tempfile.TemporaryDirectory(prefix="homeport-stored-") as folder:
        port = free_port()
        settings = config.load_or_create(folder, port=port, public_pool="198.19.0.0/22")
        config.save(settings)
        _prepare(folder, port)
        asyncio.run(_write(settings, tasks))
        yield Path(folder), port, KEY


def _prepare(folder: str, port: int) -> None:
    """The cluster and the definition, through the API."""
    environment = {**os.environ, "HOMEPORT_ACCESS_KEY": KEY[0], "HOMEPORT_SECRET_KEY": KEY[1]}
    process = subprocess.Popen([sys.executable, "-m", "homeport", "server", "--state", folder], env=environment)
    try:
        ecs = client(port, KEY)
        harness.until(lambda: answers(ecs), 30)
        ecs.create_cluster(clusterName="bench")
        ecs.register_task_definition(
            family="stored",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            containerDefinitions=[{"name": "app", "image": harness.IMAGE}],
        )
    finally:
        process.terminate()
        process.wait()


async def _write(settings: config.Settings, count: int) -> None:
    from homeport.server import TABLES

    ids = BitIds(random.Random(1).getrandbits)
    store = Store(SqliteJournal(settings.database), TABLES, SystemClock())
    await store.open()
    for start in range(0, count, BATCH):
        batch = range(min(BATCH, count - start))
        await store.update(lambda tx, batch=batch: [_task(tx, settings, ids) for _ in batch], "bench")
    await store.close()


def _task(tx: Tx, settings: config.Settings, ids: BitIds) -> None:
    head = f"arn:aws:ecs:{settings.region}:{settings.account_id}"
    now = time.time()
    details = {
        "subnetId": ids.new("subnet"),
        "networkInterfaceId": ids.new("eni"),
        "macAddress": ids.new("mac"),
        "privateDnsName": "ip-172-31-0-10.ec2.internal",
        "privateIPv4Address": "172.31.0.10",
    }
    task = Task(
        id=ids.new("hex"),
        cluster_arn=f"{head}:cluster/bench",
        definition_arn=f"{head}:task-definition/stored:1",
        launch_type="FARGATE",
        group="family:stored",
        cpu=256,
        memory=512,
        created_at=now,
        containers=(Container(id=ids.new("uuid"), name="app", status="STOPPED", ran=True, exit_code=0),),
        attachments=(Attachment(id=ids.new("uuid"), status="DELETED", details=details),),
        last_status=TaskStatus.STOPPED,
        desired_status="STOPPED",
        node_status=NodeStatus.STOPPED,
        platform_version="1.4.0",
        overrides={"containerOverrides": [{"name": "app"}], "inferenceAcceleratorOverrides": []},
        started_at=now,
        stopped_at=now,
        stop_code="EssentialContainerExited",
        stopped_reason="Essential container in task exited",
        wake_at=now + 3600,
    )
    tx.put(TASKS, (settings.account_id, settings.region), task)


def load_into_docker(archive: Path) -> None:
    """The same root file system, from the same OCI archive (this Docker's ``load`` reads only its own format)."""
    with tarfile.open(archive) as tar:

        def blob(digest: str) -> bytes:
            member = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert member is not None
            return member.read()

        index = tar.extractfile("index.json")
        assert index is not None
        manifest = json.loads(blob(json.load(index)["manifests"][0]["digest"]))
        (layer,) = manifest["layers"]
        layers = blob(layer["digest"])
    done = subprocess.run(["docker", "import", "-", "homeport-test"], input=layers, capture_output=True)
    if done.returncode:
        raise SystemExit(f"docker import: {done.stderr.decode()}")
