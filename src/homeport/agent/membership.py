"""What a machine keeps of having joined: the server, its key, and how it was told to serve.

``<state>/node.json``, mode 0600. The token is exchanged once; after that the node is known by its own key.
"""

from __future__ import annotations

import http.client
import json
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from homeport.agent import cdi
from homeport.agent.state import write_durably
from homeport.aws.trust import client_context
from homeport.core.jointoken import JoinToken

VERSION = 1
JOIN_SECONDS = 30.0
MAX_ANSWER = 64 * 1024  # bytes


class CannotJoin(Exception):
    """The text says why. ``final``: another try with the same token fails too."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """``cluster``: a name, "" in the Fargate pool. ``pin``: of the server's public key; None where it speaks no TLS, or
    where the system's authorities vouch for it. ``token``: id of the token that it joined with. The rest are the
    options of ``AgentSettings``."""

    version: int = VERSION
    server: str
    pin: str | None
    token: str
    node: str
    account: str
    region: str
    cluster: str
    access_key: str
    secret_key: str
    public_pool: str
    zone: str | None = None
    external: bool = False
    auto_scaling_group: str | None = None
    attributes: dict[str, str] = {}
    reserved_memory: int = 0
    cdi_folders: tuple[str, ...] = cdi.FOLDERS

    def __repr__(self) -> str:
        return f"Membership(server={self.server!r}, node={self.node!r}, cluster={self.cluster!r})"


def file_of(state: str) -> Path:
    return Path(state, "node.json")


def load(state: str) -> Membership | None:
    """None where this state folder's machine hasn't joined. Raises ValueError for a file that can't be used."""
    path = file_of(state)
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Membership)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeError) as error:
        raise ValueError(f"{path} can't be read: {error}") from error
    if found.version > VERSION:
        raise ValueError(f"{path} was written by a newer version of Homeport.")
    return found


def save(state: str, membership: Membership) -> None:
    """Raises OSError."""
    write_durably(file_of(state), msgspec.json.format(msgspec.json.encode(membership)) + b"\n")


def join(state: str, server: str, token: JoinToken, pin: str | None, cluster: str) -> Membership:
    """Exchanges the token, which must be for that cluster ("": the Fargate pool), for a key, and saves it. Where an
    answer was lost, the same token joins again from the same state folder. Raises CannotJoin, OSError."""
    answer = _ask(server, pin, {"token": token.text, "nonce": _nonce(state, token), "cluster": cluster})
    try:
        membership = Membership(
            server=server,
            pin=pin,
            token=token.id,
            node=answer["node"],
            account=answer["account"],
            region=answer["region"],
            cluster=answer["cluster"],
            access_key=answer["accessKeyId"],
            secret_key=answer["secretAccessKey"],
            public_pool=answer["publicPool"],
        )
    except KeyError as error:
        raise CannotJoin(f"{server} is no Homeport of this version: its answer lacks {error}", final=True) from error
    save(state, membership)
    _nonce_file(state).unlink(missing_ok=True)
    return membership


def _nonce_file(state: str) -> Path:
    return Path(state, "join.json")


def _nonce(state: str, token: JoinToken) -> str:
    """Drawn once for a token, and durable before it is sent."""
    path = _nonce_file(state)
    try:
        known = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        known = {}
    if known.get("token") != token.id:
        known = {"token": token.id, "nonce": secrets.token_hex(32)}
        write_durably(path, json.dumps(known).encode())
    return str(known["nonce"])


def _ask(server: str, pin: str | None, wish: dict[str, str]) -> dict[str, Any]:
    connection = _connection(server, pin)
    try:
        connection.request("POST", "/join", json.dumps(wish), {"content-type": "application/json"})
        response = connection.getresponse()
        raw = response.read(MAX_ANSWER)
        answer = json.loads(raw)
    except (OSError, http.client.HTTPException) as error:
        raise CannotJoin(f"{server} can't be asked: {error or type(error).__name__}") from error
    except ValueError as error:
        raise CannotJoin(f"{server} answers what no Homeport answers.") from error
    finally:
        connection.close()
    if response.status != 200 or not isinstance(answer, dict):
        text = answer.get("message") if isinstance(answer, dict) else None
        raise CannotJoin(str(text or f"{server} answers with status {response.status}."), final=response.status == 403)
    return answer


def _connection(server: str, pin: str | None) -> http.client.HTTPConnection:
    parts = urlsplit(server)
    host = parts.hostname or ""
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, parts.port, timeout=JOIN_SECONDS, context=client_context(pin))
    return http.client.HTTPConnection(host, parts.port, timeout=JOIN_SECONDS)
