"""Who a container runs as: ``user``, ``uid``, ``user:group`` … looked up in the image's own files. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_MAX_ID = (1 << 31) - 1


class BadUser(ValueError):
    """``str`` is Docker's text."""


@dataclass(frozen=True)
class Accounts:
    """The texts of an image's /etc/passwd and /etc/group; empty where it has none."""

    passwd: str = ""
    group: str = ""


@dataclass(frozen=True)
class User:
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()  # additional ones, sorted


def _rows(text: str, least: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) >= least and not line.startswith("#"):
            yield fields


def _id(text: str, what: str) -> int | None:
    """A numeric id; None if it isn't a number."""
    if not text.isascii() or not text.isdigit():
        return None
    if int(text) > _MAX_ID:
        raise BadUser(f"{what} {text} is out of range: uids and gids must be in range 0-{_MAX_ID}")
    return int(text)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def resolve(text: str | None, accounts: Accounts) -> User:
    """The user that ``text`` means: "" is root; a numeric id need not be in the files. Raises BadUser.

    With a group given, no additional groups are looked up, as in Docker.
    """
    name, _, group = (text or "").partition(":")
    number = _id(name or "0", "uid")
    uid, gid, login = number or 0, 0, ""
    for row in _rows(accounts.passwd, 4):
        if row[0] == name or (number is not None and _number(row[2]) == number and row[2].isdigit()):
            login, uid, gid = row[0], _number(row[2]), _number(row[3])
            break
    else:
        if number is None:
            raise BadUser(f"unable to find user {name}: no matching entries in passwd file")
    if group:
        return User(uid, _group(group, accounts), ())
    members = (row for row in _rows(accounts.group, 4) if login and login in row[3].split(","))
    return User(uid, gid, tuple(sorted({_number(row[2]) for row in members} - {gid})))


def _group(name: str, accounts: Accounts) -> int:
    number = _id(name, "gid")
    for row in _rows(accounts.group, 3):
        if row[0] == name:
            return _number(row[2])
    if number is None:
        raise BadUser(f"unable to find group {name}: no matching entries in group file")
    return number
