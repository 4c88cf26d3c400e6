"""Image references, read the way Docker reads them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

HUB = "docker.io"
_HUB_ENDPOINT = "registry-1.docker.io"  # where Docker Hub's API answers; the name in references is docker.io

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])"
_NAME = re.compile(rf"(?P<domain>{_DOMAIN}(?::[0-9]+)?)/(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class BadReference(ValueError):
    """Not a reference: ``str`` says why, in Docker's words."""


@dataclass(frozen=True)
class Reference:
    """``domain/path`` with a tag, a digest or both; a digest wins."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.domain}/{self.path}{tag}{digest}"

    @property
    def endpoint(self) -> str:
        """Host and port of the registry."""
        return _HUB_ENDPOINT if self.domain == HUB else self.domain

    @property
    def target(self) -> str:
        """What a registry is asked for: the digest, else the tag."""
        return self.digest or self.tag


def parse(text: str) -> Reference:
    """``httpd:2.4`` → ``docker.io/library/httpd:2.4``; no tag and no digest → ``latest``. Raises BadReference."""
    name, _, digest = text.partition("@")
    if "@" in text and not _DIGEST.fullmatch(digest):
        raise BadReference(f'failed to parse reference "{text}": invalid reference format')
    slash = name.rfind("/")
    colon = name.rfind(":")
    name, tag = (name[:colon], name[colon + 1 :]) if colon > slash else (name, "")
    if not name or (colon > slash and not _TAG.fullmatch(tag)):
        raise BadReference(f'failed to parse reference "{text}": invalid reference format')
    first, _, rest = name.partition("/")
    if not rest or not ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        first, rest = HUB, name
    if first == "index.docker.io":
        first = HUB
    if first == HUB and "/" not in rest:
        rest = f"library/{rest}"
    if rest != rest.lower():
        raise BadReference(
            f'failed to parse reference "{text}": invalid reference format: repository name ({rest}) must be lowercase'
        )
    if not _NAME.fullmatch(f"{first}/{rest}"):
        raise BadReference(f'failed to parse reference "{text}": invalid reference format')
    return Reference(first, rest, tag or ("" if digest else "latest"), digest)


def plain_http(endpoint: str, insecure: frozenset[str] = frozenset()) -> bool:
    """Whether a registry is spoken to over HTTP: this machine's own, and those named as insecure (``host`` or
    ``host:port``)."""
    host = endpoint.rsplit(":", 1)[0] if re.search(r":[0-9]+$", endpoint) else endpoint
    local = host in ("localhost", "[::1]") or re.fullmatch(r"127(\.[0-9]{1,3}){3}", host) is not None
    return local or endpoint in insecure or host in insecure
