"""The client of the control plane's local socket (root only, mode 0600): what the command line asks and orders."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

from homeport.cli import CommandError
from homeport.config import Settings


class Unreachable(CommandError):
    """No control plane answers on the socket."""


_LAST = b'"end"\n'  # the last line of an answer that goes on: without it, whoever gave it has died


def _unreachable(settings: Settings, error: Exception) -> Unreachable:
    return Unreachable(
        f"Homeport isn't running in {settings.state} ({error}). Start it with: homeport up --state {settings.state}"
    )


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(settings: Settings, path: str, *, method: str = "GET", timeout: float = 30, **query: str) -> Any:
    """The JSON answer of the control plane. Raises Unreachable, or CommandError with the server's own text."""
    connection = _UnixConnection(str(settings.control_socket), timeout)
    try:
        connection.request(method, f"{path}?{urlencode(query)}" if query else path)
        response = connection.getresponse()
        body = response.read()
    except OSError as error:
        raise _unreachable(settings, error) from error
    finally:
        connection.close()
    answer = json.loads(body)
    if response.status != 200:
        raise CommandError(str(answer.get("message", body)))
    return answer


def follow(
    settings: Settings,
    path: str,
    query: dict[str, str],
    until: float | None = None,
    decode: Callable[[bytes], Any] = json.loads,
) -> Iterator[Any]:
    """The lines of an answer that goes on, decoded, as they come, until it ends. Raises Unreachable, also where the
    control plane dies in the middle of it, or CommandError with the server's own text; TimeoutError at ``until``
    (monotonic seconds)."""
    connection = _UnixConnection(str(settings.control_socket), None)
    try:
        connection.request("GET", f"{path}?{urlencode(query)}")
        heard = connection.sock
        heard.settimeout(_left(until))
        response = connection.getresponse()
        if response.status != 200:
            raise CommandError(str(json.loads(response.read())["message"]))
        while (line := response.readline()).endswith(b"\n"):
            if line == _LAST:
                return
            yield decode(line)
            heard.settimeout(_left(until))
        raise http.client.IncompleteRead(line)
    except TimeoutError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(settings, error) from error
    finally:
        connection.close()


def _left(until: float | None) -> float | None:
    """Seconds for a socket to wait, which takes zero for something else."""
    return None if until is None else max(1e-3, until - time.monotonic())


class NotReady(CommandError):
    """Nothing that answers came up."""


def await_ready(settings: Settings, alive: Callable[[], bool], seconds: float = 60) -> dict[str, Any]:
    """Waits until the API answers and this machine's node is connected. ``alive()`` says whether it's worth waiting.
    Raises NotReady.

    Polls the socket each 20 ms: there is no event before the socket exists.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            answer: dict[str, Any] = ask(settings, "/status", timeout=5)
            if any(node["connected"] for node in answer["nodes"]):
                return answer
        except CommandError:
            pass
        if not alive():
            raise NotReady("it ended while it started")
        time.sleep(0.02)
    raise NotReady(f"it wasn't ready within {seconds:.0f} s")
