"""A control socket that gives answers as tests write them, torn ones too."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from homeport.config import Settings

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
END = b'6\r\n"end"\n\r\n0\r\n\r\n'


def chunk(text: str) -> bytes:
    return f"{len(text):x}\r\n{text}\r\n".encode()


@contextmanager
def serving(folder: Path, *answers: bytes, held: bool = False) -> Iterator[tuple[Settings, list[str]]]:
    """A control socket that gives these answers, one a connection, and what was asked. ``held``: connections stay open
    until the client closes them."""
    settings = Settings(state=str(folder), instance="0" * 8)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    Path(settings.control_socket).unlink(missing_ok=True)
    asked: list[str] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(settings.control_socket))
        server.listen()

        def serve() -> None:
            for answer in answers:
                connection, _ = server.accept()
                with connection:
                    asked.append(connection.recv(4096).decode().split()[1])
                    connection.sendall(answer)
                    if held:
                        connection.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield settings, asked
        thread.join(10)
