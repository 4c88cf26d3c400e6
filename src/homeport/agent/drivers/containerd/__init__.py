"""containerd as the container runtime, driven over its gRPC API.

``ContainerdDriver(instance(state))`` is the driver; ``ImageStore.connect(socket, namespace)`` serves the command line;
``ensure`` and ``stop_containerd`` start and stop our own containerd.
"""

from __future__ import annotations

from homeport.agent.drivers.containerd.archive import BadArchive
from homeport.agent.drivers.containerd.client import CallError
from homeport.agent.drivers.containerd.daemon import ensure, stop_containerd
from homeport.agent.drivers.containerd.driver import ContainerdDriver
from homeport.agent.drivers.containerd.images import ImageStore, ListedImage, PullBehavior
from homeport.agent.drivers.containerd.instance import Instance, instance
from homeport.agent.drivers.containerd.references import BadReference

__all__ = [
    "BadArchive",
    "BadReference",
    "CallError",
    "ContainerdDriver",
    "ImageStore",
    "Instance",
    "ListedImage",
    "PullBehavior",
    "ensure",
    "instance",
    "stop_containerd",
]
