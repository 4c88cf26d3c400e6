"""How an agent reaches its control plane: real HTTP and websockets, or the simulator's faulty network."""

from __future__ import annotations

from typing import Any, Protocol


class CallFailed(Exception):
    """An API call that was answered with an error (``code`` is AWS's) or not at all (``code`` None: try again)."""

    def __init__(self, code: str | None, text: str) -> None:
        super().__init__(f"{code}: {text}" if code else text)
        self.code, self.text = code, text

    @property
    def retry(self) -> bool:
        """No answer, a server fault or throttling: the same call may succeed later."""
        return self.code is None or self.code in ("ServerException", "ThrottlingException", "LimitExceededException")


class Closed(Exception):
    """The channel ended."""


class Channel(Protocol):
    async def send(self, frame: str) -> None:
        """Raises Closed."""
        ...

    async def receive(self) -> str:
        """The next text frame. Raises Closed."""
        ...

    async def close(self) -> None: ...


class Transport(Protocol):
    async def call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """An operation of the ecs service, signed with the node's key. Raises CallFailed."""
        ...

    async def connect(self, endpoint: str, query: dict[str, str]) -> Channel:
        """A signed websocket to ``<endpoint>/ws?<query>``. Raises CallFailed."""
        ...
