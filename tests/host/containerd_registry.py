"""A small read-only registry on loopback, serving images over real HTTP, with faults on demand."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
TOKEN = "a-token"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class Content:
    """Blobs by digest, tags by ``repository:tag``."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def blob(self, data: bytes, kind: str) -> dict[str, Any]:
        key = digest(data)
        self.blobs[key], self.kinds[key] = data, kind
        return {"mediaType": kind, "digest": key, "size": len(data)}

    def document(self, value: object, kind: str) -> dict[str, Any]:
        return self.blob(json.dumps(value).encode(), kind)

    def image(
        self, layers: list[tuple[bytes, bytes, str]], architecture: str = "amd64", **config: Any
    ) -> dict[str, Any]:
        """``layers``: (blob, plain tar, suffix of the media type). Returns the manifest's descriptor."""
        document = {
            "architecture": architecture,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [digest(plain) for _, plain, _ in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.document(document, CONFIG),
            "layers": [self.blob(data, LAYER + suffix) for data, _, suffix in layers],
        }
        return self.document(manifest, MANIFEST)

    def index(self, manifests: list[dict[str, Any]]) -> dict[str, Any]:
        return self.document({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, INDEX)


def layer_of(archive: Path) -> bytes:
    """The plain tar of the one layer of an OCI archive of ``images/build``."""
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member)
            data = file.read() if file else b""
            if data[:2] == b"\x1f\x8b":
                return gzip.decompress(data)
    raise AssertionError("no layer")


@dataclass
class Registry:
    """``requests``: paths asked for. ``cut``: the first so many responses of each blob end
    in the middle. ``wants_token``: 401 without
    one. ``private``: 401 with one, too.
    ``broken``: digests that are served with a byte changed. ``ranges``: whether ranges are served."""

    content: Content = field(default_factory=Content)
    requests: list[str] = field(default_factory=list)
    cut: int = 0
    wants_token: bool = False
    private: bool = False
    broken: set[str] = field(default_factory=set)
    ranges: bool = True
    given: Counter[str] = field(default_factory=Counter)
    address: str = ""

    def blob_requests(self) -> list[str]:
        return [path.rpartition("/")[2] for path in self.requests if "/blobs/" in path]


def _handler(registry: Registry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            return

        def _answer(self, status: int, data: bytes, kind: str = "application/json", **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            registry.requests.append(self.path)
            if self.path.startswith("/token?"):
                self._answer(200, json.dumps({"token": TOKEN}).encode())
                return
            allowed = not registry.private and self.headers.get("Authorization") == f"Bearer {TOKEN}"
            if registry.wants_token and not allowed:
                challenge = f'Bearer realm="http://{registry.address}/token",service="r",scope="repository:x:pull"'
                self._answer(401, b"{}", WWW_Authenticate=challenge)
                return
            name, _, rest = self.path.removeprefix("/v2/").partition("/manifests/")
            if rest:
                key = rest if rest.startswith("sha256:") else registry.content.tags.get(f"{name}:{rest}", "")
                if key not in registry.content.blobs:
                    self._answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
                    return
                self._answer(200, registry.content.blobs[key], registry.content.kinds[key])
                return
            self._blob(self.path.rpartition("/blobs/")[2])

        def _blob(self, key: str) -> None:
            data = registry.content.blobs.get(key)
            if data is None:
                self._answer(404, b"{}")
                return
            if key in registry.broken:
                data = bytes([data[0] ^ 1]) + data[1:]
            status, offset = 200, 0
            given = self.headers.get("Range")
            if given and registry.ranges:
                status, offset = 206, int(given.removeprefix("bytes=").rstrip("-"))
            data = data[offset:]
            registry.given[key] += 1
            if registry.given[key] <= registry.cut:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
                return
            self._answer(status, data, "application/octet-stream")

    return Handler


@contextmanager
def serving(content: Content) -> Iterator[Registry]:
    registry = Registry(content)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(registry)) as server:
        registry.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()
