"""The test image with volumes of its own, as ``VOLUME`` in a Dockerfile makes them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any


def with_volumes(archive: Path, out: Path, name: str, *paths: str) -> Path:
    """Writes the OCI archive of an image ``name`` that asks for volumes at ``paths``, and is ``archive`` else."""
    with tarfile.open(archive) as tar:
        files = {m.name.removeprefix("./"): tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]

    def put(document: dict[str, Any], about: dict[str, Any]) -> None:
        data = json.dumps(document).encode()
        about["digest"], about["size"] = f"sha256:{hashlib.sha256(data).hexdigest()}", len(data)
        files[blob(about)] = data

    def blob(about: dict[str, Any]) -> str:
        return "blobs/" + about["digest"].replace(":", "/")

    index = json.loads(files["index.json"])
    about = index["manifests"][0]
    manifest = json.loads(files[blob(about)])
    config = json.loads(files[blob(manifest["config"])])
    config["config"]["Volumes"] = {path: {} for path in paths}
    put(config, manifest["config"])
    put(manifest, about)
    about["annotations"] = {"io.containerd.image.name": f"docker.io/library/{name}"}
    files["index.json"] = json.dumps(index).encode()
    files.pop("manifest.json", None)  # Docker's own description of the same
    with tarfile.open(out, "w") as tar:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out
