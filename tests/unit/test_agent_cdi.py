"""GPUs as files of the Container Device Interface describe them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from homeport.agent import cdi
from homeport.agent.cdi import DeviceNode, Edits, Hook, Mount, NoDevice

UNIQUE = """
cdiVersion: "0.5.0"
kind: nvidia.com/gpu
devices:
  - name: "0"
    containerEdits: {deviceNodes: [{path: /dev/nvidia0}]}
  - name: GPU-aaaa
    containerEdits: {deviceNodes: [{path: /dev/nvidia0}]}
  - name: GPU-bbbb
    containerEdits: {deviceNodes: [{path: /dev/nvidia1, fileMode: 432, permissions: rw}]}
  - name: all
    containerEdits: {deviceNodes: [{path: /dev/nvidia0}, {path: /dev/nvidia1}]}
containerEdits:
  env: [NVIDIA_VISIBLE_DEVICES=void]
  deviceNodes: [{path: /dev/nvidiactl}]
  mounts: [{hostPath: /usr/lib/libcuda.so.1, containerPath: /usr/lib/libcuda.so.1, options: [ro, nosuid]}]
  hooks: [{hookName: createContainer, path: /usr/bin/nvidia-ctk, args: [nvidia-ctk, hook], timeout: 9}]
  additionalGids: [44]
"""


def spec(kind: str, *names: str, **edits: Any) -> dict[str, Any]:
    devices = [{"name": name, "containerEdits": {"env": [f"GPU={name}"]}} for name in names]
    return {"cdiVersion": "0.6.0", "kind": kind, "devices": devices, "containerEdits": edits}


def put(folder: Path, name: str, content: Any) -> tuple[str, ...]:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return (str(folder),)


def test_gpus_go_by_the_names_that_no_other_has(tmp_path: Path) -> None:
    specs = cdi.read(put(tmp_path, "nvidia.yaml", UNIQUE))
    assert cdi.gpus(specs) == ("GPU-aaaa", "GPU-bbbb")
    numbered = cdi.read(put(tmp_path / "other", "amd.json", spec("amd.com/gpu", "1", "0", "all")))
    assert cdi.gpus(numbered) == ("0", "1")


def test_what_a_container_is_given(tmp_path: Path) -> None:
    """What all of a vendor's devices need comes once, however many there are."""
    found = cdi.edits(cdi.read(put(tmp_path, "nvidia.yml", UNIQUE)), ("GPU-aaaa", "GPU-bbbb"))
    assert found == Edits(
        env=("NVIDIA_VISIBLE_DEVICES=void", "NVIDIA_VISIBLE_DEVICES=GPU-aaaa,GPU-bbbb"),
        device_nodes=(
            DeviceNode("/dev/nvidiactl"),
            DeviceNode("/dev/nvidia0"),
            DeviceNode("/dev/nvidia1", permissions="rw", file_mode=0o660),
        ),
        mounts=(Mount("/usr/lib/libcuda.so.1", "/usr/lib/libcuda.so.1", ("ro", "nosuid")),),
        hooks=(Hook("createContainer", "/usr/bin/nvidia-ctk", ("nvidia-ctk", "hook"), timeout=9),),
        additional_gids=(44,),
    )
    assert cdi.edits((), ()) == Edits()


def test_what_the_last_folder_says_counts(tmp_path: Path) -> None:
    first = put(tmp_path / "a", "x.json", spec("v.com/gpu", "0", "1", env=["OF=a"]))
    last = put(tmp_path / "b", "x.json", spec("v.com/gpu", "1", env=["OF=b"]))
    specs = cdi.read((*first, *last))
    assert cdi.gpus(specs) == ("0", "1")
    assert cdi.edits(specs, ("1",)).env == ("OF=b", "GPU=1", "NVIDIA_VISIBLE_DEVICES=1")


@pytest.mark.parametrize("content", ["{", "[]", '{"kind": 1, "devices": []}', '{"kind": "v.com/gpu"}', "\x00"])
def test_files_that_make_no_sense_are_left_out(tmp_path: Path, content: str) -> None:
    put(tmp_path, "a.json", content)
    put(tmp_path, "a.yaml", content)
    put(tmp_path, "notes.txt", "no file of CDI")
    folders = put(tmp_path, "b.json", spec("v.com/gpu", "0"))
    assert cdi.gpus(cdi.read(("/nowhere", *folders))) == ("0",)


def test_other_devices_are_no_gpus(tmp_path: Path) -> None:
    assert cdi.gpus(cdi.read(put(tmp_path, "net.json", spec("v.com/net", "eth7")))) == ()


@pytest.mark.parametrize(
    ("edits", "ids", "text"),
    [
        ({}, ("0", "9"), "unresolvable CDI devices 9"),
        ({"intelRdt": {"closID": "x"}}, ("0",), "the CDI devices 0 need intelRdt"),
        ({"netDevices": [{"hostInterfaceName": "eth7"}]}, ("0",), "the CDI devices 0 need intelRdt"),
    ],
)
def test_what_can_not_be_given_is_refused(tmp_path: Path, edits: Any, ids: tuple[str, ...], text: str) -> None:
    specs = cdi.read(put(tmp_path, "x.json", spec("v.com/gpu", "0", **edits)))
    with pytest.raises(NoDevice, match=text):
        cdi.edits(specs, ids)
