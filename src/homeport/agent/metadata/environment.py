"""The variables that tell a container where its metadata and the API are. Pure."""

from __future__ import annotations

import hashlib
import hmac

from homeport.agent.network.layout import METADATA_ADDRESS
from homeport.agent.plan import TaskGoal

BASE = f"http://{METADATA_ADDRESS}"
SERVICES = ("ECS", "EC2", "STS")  # services of the API, as AWS's SDKs spell them in AWS_ENDPOINT_URL_<SERVICE>
KEY_BYTES = 32


def endpoint_id(key: bytes, task_id: str, container: str) -> str:
    """The id of a container in metadata paths: 32 hex characters that only the holder of ``key`` can find. The same
    after the agent's death, so that what a container was told stays true."""
    return hmac.new(key, f"{task_id}/{container}".encode(), hashlib.sha256).hexdigest()[:32]


def in_machine(goal: TaskGoal) -> bool:
    """Whether the task's network is that of its machine."""
    return goal.spec.interface is None and goal.spec.network_mode == "host"


def variables(
    goal: TaskGoal, container: str, key: bytes, api: bool = True, machine: str | None = None
) -> dict[str, str]:
    """What is added to the container's environment where its definition says nothing else. ``api``: SDKs in it shall
    reach this control plane. ``machine``: URL of the endpoint for tasks in the machine's own network, which leads to no
    API; None where there is none. A task without any network gets nothing."""
    if in_machine(goal):
        return _own(machine, endpoint_id(key, goal.task_id, container)) if machine else {}
    if goal.spec.interface is None and goal.spec.network_mode != "bridge":
        return {}
    own = _own(BASE, endpoint_id(key, goal.task_id, container))
    return own | ({f"AWS_ENDPOINT_URL_{service}": BASE for service in SERVICES} if api else {})


def _own(base: str, id: str) -> dict[str, str]:
    return {
        "ECS_CONTAINER_METADATA_URI": f"{base}/v3/{id}",
        "ECS_CONTAINER_METADATA_URI_V4": f"{base}/v4/{id}",
        "ECS_AGENT_URI": f"{base}/api/{id}",
    }
