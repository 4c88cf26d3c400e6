"""The example of a service: deployed, updated and deleted with the real aws CLI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.host
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(300)
@pytest.mark.feature("A service on Fargate, deployed, updated and deleted with the aws CLI and its waiters")
def test_the_service_example_runs_unmodified(homeport: Any, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        **homeport.environment,
        "ECS_CLUSTER_NAME": "service-example",
        "AWS_PAGER": "",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", ROOT / "examples" / "fargate-service.sh"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr + homeport.tails()
    pages = [line for line in done.stdout.splitlines() if line.startswith("<h1>")]
    assert pages == ["<h1>first revision</h1>"] * 2 + ["<h1>second revision</h1>"] * 2
    assert done.stdout.count("(service web) has reached a steady state.") >= 1
    assert done.stdout.count("SUCCESSFUL") == 2
    assert done.stdout.splitlines()[-1] == "INACTIVE"
