"""containerd's record of a container."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from google.protobuf.any_pb2 import Any as AnyMessage

from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd.instance import Instance
from homeport.agent.drivers.containerd.unpack import SNAPSHOTTER

_RUNTIME = "io.containerd.runc.v2"
_SPEC_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
_OPTIONS_TYPE = "containerd.runc.v1.Options"
_MAX_LABEL = 4096  # bytes of a label's name and value: containerd's limit


def record(
    of: Instance, id: str, oci: Mapping[str, Any], labels: Mapping[str, str], image: str | None = None
) -> pb.Container:
    """``image``: the reference of the image whose snapshot, named as the container, is its root; None: its root is no
    snapshot. Labels that are too long are left out."""
    options = pb.RuncOptions(root=str(of.runc_root))
    kept = {name: text for name, text in labels.items() if len(f"{name}{text}".encode()) <= _MAX_LABEL}
    container = pb.Container(
        id=id,
        labels=kept,
        runtime=pb.Runtime(
            name=_RUNTIME, options=AnyMessage(type_url=_OPTIONS_TYPE, value=options.SerializeToString())
        ),
        spec=AnyMessage(type_url=_SPEC_TYPE, value=msgspec.json.encode(oci)),
    )
    if image is not None:
        container.image, container.snapshotter, container.snapshot_key = image, SNAPSHOTTER, id
    return container
