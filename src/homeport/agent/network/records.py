"""What the agent remembers of its network: one small JSON file for each VPC, each task with an interface, each task in
the bridge, and the bridge itself.

A record is written before the kernel is changed and removed after, so that whatever a crash leaves half-made has one.
Files outlive the process, not the machine's boot: namespaces are gone then, and so is the meaning of the files.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from homeport.agent.network.published import Endpoint
from homeport.agentapi import Group, InterfaceSpec

_Record = TypeVar("_Record")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class VpcRecord(msgspec.Struct, frozen=True):
    """``index`` numbers the VPC's router on this machine, from 1."""

    vpc_id: str
    cidr: str
    index: int
    groups: dict[str, Group] = {}


class BridgeRecord(msgspec.Struct, frozen=True):
    """``cidr``: the range of the bridge's containers."""

    cidr: str


class Records:
    """``directory`` is the agent's alone. Raises OSError where it can't be written; nothing is half-written then."""

    def __init__(self, directory: Path) -> None:
        self._root = directory
        self._vpcs, self._tasks, self._boot = directory / "vpcs", directory / "tasks", directory / "boot"
        self._bridged, self._bridge = directory / "bridged", directory / "bridge.json"

    def open(self) -> tuple[dict[str, VpcRecord], dict[str, InterfaceSpec]]:
        """Records by VPC id and by task id. Raises ValueError for a file that can't be read: it isn't touched."""
        boot = _BOOT_ID.read_text().strip()
        if not self._boot.exists() or self._boot.read_text() != boot:
            self.clear()
        for folder in (self._vpcs, self._tasks, self._bridged):
            folder.mkdir(parents=True, exist_ok=True)
        _write(self._boot, boot.encode())
        vpcs = {file.stem: _read(file, VpcRecord) for file in sorted(self._vpcs.glob("*.json"))}
        tasks = {file.stem: _read(file, InterfaceSpec) for file in sorted(self._tasks.glob("*.json"))}
        return vpcs, tasks

    def bridge(self) -> tuple[str, dict[str, dict[str, Endpoint]]] | None:
        """The bridge's range and its tasks by id, after ``open``; None where there is no bridge. Raises ValueError."""
        if not self._bridge.exists():
            return None
        files = sorted(self._bridged.glob("*.json"))
        return _read(self._bridge, BridgeRecord).cidr, {file.stem: _read(file, dict[str, Endpoint]) for file in files}

    def put_bridge(self, cidr: str) -> None:
        _write(self._bridge, msgspec.json.encode(BridgeRecord(cidr)))

    def put_bridged(self, task_id: str, endpoints: Mapping[str, Endpoint]) -> None:
        _write(self._bridged / f"{task_id}.json", msgspec.json.encode(endpoints))

    def drop_bridged(self, task_id: str) -> None:
        (self._bridged / f"{task_id}.json").unlink(missing_ok=True)

    def put_vpc(self, record: VpcRecord) -> None:
        _write(self._vpcs / f"{record.vpc_id}.json", msgspec.json.encode(record))

    def put_task(self, task_id: str, interface: InterfaceSpec) -> None:
        _write(self._tasks / f"{task_id}.json", msgspec.json.encode(interface))

    def drop_task(self, task_id: str) -> None:
        (self._tasks / f"{task_id}.json").unlink(missing_ok=True)

    def clear(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)


def _write(file: Path, data: bytes) -> None:
    """Replaces the file at once. Not flushed to disk: after a crash of the machine the records mean nothing."""
    fresh = file.with_suffix(".new")
    fresh.write_bytes(data)
    os.replace(fresh, file)


def _read(file: Path, kind: type[_Record]) -> _Record:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(f"damaged record {file.name}: {error}") from error
