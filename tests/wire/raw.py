"""HTTP by hand, for what no client library would send."""

from __future__ import annotations

import socket
from typing import NamedTuple


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool  # the server ended the connection after it


def http(port: int, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> Answer:
    """One request as given, with content-length unless the headers have a length of their own."""
    with connect(port) as sock:
        sock.sendall(head(method, target, headers, body) + body)
        return read_answer(sock)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=15)


def head(method: str, target: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in headers.items()]]
    if not {"content-length", "transfer-encoding"} & set(headers):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def read_answer(sock: socket.socket) -> Answer:
    """The answer of the one request on this connection; ``closed`` by its connection header."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(sock)
    text, _, body = data.partition(b"\r\n\r\n")
    first, *lines = text.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += _more(sock)
    return Answer(int(first.split()[1]), headers, body, headers.get("connection") == "close")


def _more(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise ConnectionError("closed before the answer was complete")
    return data
