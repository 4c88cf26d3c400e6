"""Where one Homeport keeps its containerd: names and paths, all told by the state directory. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

RUN = Path("/run")


@dataclass(frozen=True)
class Instance:
    """One Homeport's containerd. ``state``: its state directory, absolute. ``external``: the socket of a containerd
    that others run (``--containerd``); None: our own.

    Two containerds with the same namespace and container id stop each other's containers (shim sockets and runc's
    state share machine-wide folders), so the namespace, which also names the cgroup and the folder in /run, comes from
    the state directory's path.
    """

    state: Path
    external: Path | None = None

    @property
    def name(self) -> str:
        """``homeport-<8 hex>``: the containerd namespace and the top cgroup."""
        return "homeport-" + hashlib.sha256(str(self.state).encode()).hexdigest()[:8]

    @property
    def run(self) -> Path:
        """Sockets, runc's state and containerd's: short, since a socket's path may have 107 bytes, and gone after a
        reboot, as all of it must be."""
        return RUN / self.name

    @property
    def nfs(self) -> Path:
        """Where file systems of other machines are mounted: beside ``run``, which is removed with all that is in it."""
        return RUN / f"{self.name}-nfs"

    @property
    def socket(self) -> Path:
        return self.external or self.run / "containerd.sock"

    @property
    def runc_root(self) -> Path:
        return self.run / "runc"

    @property
    def folder(self) -> Path:
        """Our own containerd's folder: images and snapshots in ``root``, config, log and pid."""
        return self.state / "containerd"

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    @property
    def log(self) -> Path:
        return self.folder / "containerd.log"

    @property
    def pid_file(self) -> Path:
        return self.run / "containerd.pid"

    @property
    def tasks(self) -> Path:
        """The folders of all tasks that this node has."""
        return self.state / "agent" / "tasks"

    def task(self, task_id: str) -> Path:
        """The folder of a task's generated files and marks."""
        return self.tasks / task_id

    def volumes(self, task_id: str) -> Path:
        """The folder of the volumes that are a task's own."""
        return self.state / "agent" / "volumes" / task_id


def instance(state: str | Path, external: str | Path | None = None) -> Instance:
    """The instance of a state directory, whatever way its path was written."""
    return Instance(Path(state).resolve(), Path(external) if external else None)


_DISABLED = (
    "io.containerd.grpc.v1.cri",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.monitor.v1.cgroups",  # we read OOM counters and statistics from the cgroups themselves
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.native",
    "io.containerd.snapshotter.v1.zfs",
)


def config_text(of: Instance, privileged: bool) -> str:
    """containerd's config file. ``privileged``: the process may lower its OOM score (CAP_SYS_RESOURCE).

    What a removed container wrote is deleted within a second or so: by default containerd waits for 100 changes. It
    gives up a shim that doesn't answer in time, with its container, which on a loaded machine takes more than its five
    and two seconds."""
    disabled = "\n".join(f'  "{name}",' for name in _DISABLED)
    score = "oom_score = -999\n" if privileged else ""
    return f"""version = 2
root = "{of.folder / "root"}"
state = "{of.run / "state"}"
{score}disabled_plugins = [
{disabled}
]

[grpc]
  address = "{of.socket}"

[ttrpc]
  address = "{of.run / "containerd.sock.ttrpc"}"

[debug]
  level = "warn"

[plugins."io.containerd.gc.v1.scheduler"]
  deletion_threshold = 1
  schedule_delay = "1s"

[timeouts]
  "io.containerd.timeout.shim.load" = "60s"
  "io.containerd.timeout.task.state" = "10s"
"""
