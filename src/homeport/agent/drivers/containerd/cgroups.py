"""A task's cgroup: which files get which values (pure), and the thin writes.

Every container lives in ``/<instance>/<task>/<container>``, outside every systemd unit, so that neither an agent that
is stopped nor a manager that is reloaded touches it. runc makes and limits the container's own group; the task's
group above it is ours.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

PERIOD = 100_000  # microseconds: the kernel's default CFS period, which ECS uses too
PIDS = 4096  # processes and threads of a task
_UNITS = 1024  # CPU units of a vCPU
_MIB = 1 << 20

ROOT = Path("/sys/fs/cgroup")
RUNTIME = "runtime"  # the group of containerd and its shims, beside those of the tasks


@dataclass(frozen=True)
class Write:
    """A value for a file of the task's group. ``controller`` names the v1 hierarchy, "" on v2. ``optional``: kernels
    without the file exist."""

    controller: str
    file: str
    value: str
    optional: bool = False


def quota(cpu: int) -> int:
    """Microseconds per period for ``cpu`` units; the kernel refuses less than 1000."""
    return max(1000, cpu * PERIOD // _UNITS)


def weight(shares: int) -> int:
    """v2's cpu.weight (1 to 10000) for v1's shares (2 to 262144), as runc converts them."""
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142


def limits(unified: bool, cpu: int, memory: int) -> list[Write]:
    """What to write before a container of the task is made. ``cpu`` in units, ``memory`` in MiB, 0 for no limit."""
    shares = min(max(cpu, 2), 262144)
    size = str(memory * _MIB)
    if unified:
        writes = [Write("", "pids.max", str(PIDS), True)]
        if cpu:
            writes.append(Write("", "cpu.weight", str(weight(shares))))
        if memory:
            writes += [Write("", "memory.max", size), Write("", "memory.swap.max", "0", True)]
        return writes
    writes = [Write("pids", "pids.max", str(PIDS), True)]
    if cpu:
        writes.append(Write("cpu", "cpu.shares", str(shares)))
    if memory:
        writes += [
            Write("memory", "memory.use_hierarchy", "1", True),
            Write("memory", "memory.limit_in_bytes", size),
            Write("memory", "memory.memsw.limit_in_bytes", size, True),
        ]
    return writes


def throttle(unified: bool, cpu: int) -> list[Write]:
    """What to write once a container has started: a tight quota would slow down runc's own start as well."""
    if not cpu:
        return []
    if unified:
        return [Write("", "cpu.max", f"{quota(cpu)} {PERIOD}")]
    return [
        Write("cpu", "cpu.cfs_period_us", str(PERIOD)),
        Write("cpu", "cpu.cfs_quota_us", str(quota(cpu))),
    ]


def oom_kills(text: str) -> int:
    """The ``oom_kill`` counter of memory.oom_control (v1) or memory.events (v2)."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.isdigit():
            return int(value)
    return 0


def _write(path: Path, value: str) -> None:
    # A buffered write would report the kernel's refusal only when the file is closed.
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


class Cgroups:
    """The cgroups of one instance. ``root``: where the hierarchies are mounted."""

    def __init__(self, instance: str, root: Path = ROOT) -> None:
        self.instance, self.root = instance, root
        self.unified = (root / "cgroup.controllers").exists()

    def path(self, task_id: str, container: str) -> str:
        """``cgroupsPath`` of a container's spec."""
        return f"/{self.instance}/{task_id}/{container}"

    def _hierarchies(self) -> list[Path]:
        """Every mounted hierarchy, each once (``cpu`` and ``cpu,cpuacct`` may be two names of one)."""
        if self.unified:
            return [self.root]
        with contextlib.suppress(OSError):
            return sorted(p for p in self.root.iterdir() if p.is_dir() and not p.is_symlink())
        return []

    def _group(self, write: Write, task_id: str) -> Path:
        return self.root / write.controller / self.instance / task_id

    def _apply(self, writes: list[Write], task_id: str) -> None:
        for write in writes:
            group = self._group(write, task_id)
            file = group / write.file
            if write.optional and not file.exists():
                continue
            _write(file, write.value)

    def prepare(self, task_id: str, cpu: int, memory: int) -> None:
        """Makes the task's group with all limits but the CPU quota. May be repeated."""
        writes = limits(self.unified, cpu, memory)
        if self.unified:
            self._enable(self.root, self.root / self.instance)
        for controller in {write.controller for write in writes} | ({""} if self.unified else {"cpu", "memory"}):
            (self.root / controller / self.instance / task_id).mkdir(parents=True, exist_ok=True)
        if self.unified:
            self._enable(self.root / self.instance / task_id)
        self._apply(writes, task_id)

    def _enable(self, *groups: Path) -> None:
        """v2: a group has a controller's files only if its parent enables that controller, level by level."""
        for group in groups:
            group.mkdir(exist_ok=True)
            has = set((group / "cgroup.controllers").read_text().split())
            on = set((group / "cgroup.subtree_control").read_text().split())
            missing = {"cpu", "memory", "pids"} & (has - on)
            if missing:
                _write(group / "cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(missing)))

    def throttle(self, task_id: str, cpu: int) -> None:
        """Sets the task's CPU quota."""
        self._apply(throttle(self.unified, cpu), task_id)

    def kills(self, task_id: str, container: str) -> int:
        """How many processes of the container the kernel killed for memory; 0 where its group isn't there."""
        base = self.root if self.unified else self.root / "memory"
        file = "memory.events" if self.unified else "memory.oom_control"
        try:
            return oom_kills((base / self.instance / task_id / container / file).read_text())
        except OSError:
            return 0

    def swap_accounting(self) -> bool:
        """Whether a container's swap can be limited (v1 kernels may lack it; on v2 runc copes)."""
        return self.unified or (self.root / "memory" / "memory.memsw.limit_in_bytes").exists()

    def remove_task(self, task_id: str) -> None:
        """Removes the task's group and what is left below it. Processes in it keep it there."""
        for hierarchy in self._hierarchies():
            _remove_tree(hierarchy / self.instance / task_id)

    def tasks(self) -> set[str]:
        """Ids of tasks that have a group."""
        found: set[str] = set()
        for hierarchy in self._hierarchies():
            top = hierarchy / self.instance
            if top.is_dir():
                found |= {p.name for p in top.iterdir() if p.is_dir()}
        return found - {RUNTIME}

    def runtime_homes(self) -> list[str]:
        """Files into which containerd's pid is to be written; the groups exist afterwards."""
        homes = []
        for hierarchy in self._hierarchies():
            group = hierarchy / self.instance / RUNTIME
            try:
                group.mkdir(parents=True, exist_ok=True)
                self._inherit_cpuset(hierarchy, group)
            except OSError:
                continue
            homes.append(str(group / "cgroup.procs"))
        return homes

    def _inherit_cpuset(self, hierarchy: Path, group: Path) -> None:
        """v1: a new cpuset is empty, and no process may enter it."""
        for below in (group.parent, group):
            for name in ("cpuset.cpus", "cpuset.mems"):
                file = below / name
                if not self.unified and hierarchy.name == "cpuset" and file.exists() and not file.read_text().strip():
                    _write(file, (below.parent / name).read_text().strip())

    def remove_all(self) -> None:
        """Removes the instance's groups, as far as no process is in them."""
        for hierarchy in self._hierarchies():
            _remove_tree(hierarchy / self.instance)


def _remove_tree(top: Path) -> None:
    for folder, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
