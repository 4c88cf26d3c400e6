"""The main job: the Fargate tutorial, unmodified, with the real aws CLI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.host
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.feature("The Fargate tutorial, unmodified, with the aws CLI")
def test_the_tutorial_runs_unmodified(homeport: Any, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        **homeport.environment,
        "ECS_CLUSTER_NAME": "tutorial",
        "AWS_PAGER": "",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", ROOT / "examples" / "fargate-tutorial.sh"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr + homeport.tails()
    assert "<h1>Hello, world!</h1>" in done.stdout
    assert '"stoppedReason": "Task stopped by user"' in done.stdout or '"desiredStatus": "STOPPED"' in done.stdout
    assert '"status": "INACTIVE"' in done.stdout
