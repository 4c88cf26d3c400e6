"""A client of the registry HTTP API, version 2. Synchronous: it runs in a pull's own threads.

Texts of errors are those that AWS shows, which are containerd's.
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message

from homeport.agent.drivers.containerd import manifests as m
from homeport.agent.drivers.containerd.references import Reference, plain_http

_SECONDS = 30.0  # without a byte
_TOKEN_BYTES = 1 << 20
_AGENT = "homeport"


class RegistryError(Exception):
    """A registry didn't give what was asked for. ``again``: another try may succeed."""

    def __init__(self, text: str, again: bool = False) -> None:
        super().__init__(text)
        self.again = again


class _Refused(Exception):
    def __init__(self, status: int, reason: str, headers: Message) -> None:
        super().__init__(f"{status} {reason}")
        self.status, self.headers = status, headers


class Registry:
    """One repository of a registry: manifests and blobs, with the anonymous bearer token that it may ask for."""

    def __init__(self, reference: Reference, insecure: frozenset[str] = frozenset()) -> None:
        self._reference = reference
        scheme = "http" if plain_http(reference.endpoint, insecure) else "https"
        self._base = f"{scheme}://{reference.endpoint}/v2/{reference.path}"
        self._token = ""

    def manifest(self, target: str) -> tuple[bytes, str]:
        """A manifest or index by tag or digest: its bytes and the type that the registry gave it. Raises
        RegistryError."""
        url = f"{self._base}/manifests/{target}"
        try:
            with self._get(url, {"Accept": m.ACCEPT}) as response:
                data = response.read(m.MAX_MANIFEST + 1)
        except _Refused as e:
            raise self._refused(e) from None
        except (OSError, http.client.HTTPException) as e:
            raise RegistryError(f'failed to do request: Get "{url}": {_cause(e, url)}', again=True) from None
        if len(data) > m.MAX_MANIFEST:
            raise RegistryError(f"manifest of {target} exceeds {m.MAX_MANIFEST} bytes")
        if target.startswith("sha256:") and m.digest_of(data) != target:
            raise RegistryError(f"failed size validation: manifest has digest {m.digest_of(data)}, expected {target}")
        return data, (response.headers.get("Content-Type") or "").partition(";")[0].strip()

    def blob(self, digest: str, offset: int = 0) -> http.client.HTTPResponse:
        """A blob as a stream, from ``offset`` on. Raises RegistryError."""
        url = f"{self._base}/blobs/{digest}"
        try:
            response = self._get(url, {"Range": f"bytes={offset}-"} if offset else {})
            if offset and response.status != http.HTTPStatus.PARTIAL_CONTENT:
                _skip(response, offset)
        except _Refused as e:
            again = e.status >= 500 or e.status == 429
            text = f"httpReadSeeker: failed open: unexpected status code {url}: {e}"
            raise RegistryError(text, again) from None
        except (OSError, http.client.HTTPException) as e:
            text = f'httpReadSeeker: failed open: failed to do request: Get "{url}": {_cause(e, url)}'
            raise RegistryError(text, again=True) from None
        return response

    def _refused(self, e: _Refused) -> RegistryError:
        if e.status == 404:
            return RegistryError(f"{self._reference}: not found")
        if e.status == 401:
            why = (
                "server message: insufficient_scope: authorization failed"
                if self._token
                else "authorization failed: no basic auth credentials"
            )
            return RegistryError(f"pull access denied, repository does not exist or may require authorization: {why}")
        return RegistryError(f"unexpected status: {e}", again=e.status >= 500 or e.status == 429)

    def _get(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        try:
            return self._open(url, headers, self._token)
        except _Refused as e:
            if e.status != 401 or not self._renew(e.headers.get_all("WWW-Authenticate") or []):
                raise
        return self._open(url, headers, self._token)

    def _open(self, url: str, headers: dict[str, str], token: str = "") -> http.client.HTTPResponse:
        request = urllib.request.Request(url, headers={"User-Agent": _AGENT, **headers})  # noqa: S310 scheme is ours
        if token:
            # "Unredirected": the host that a blob is redirected to must not see the token.
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        try:
            response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_SECONDS)  # noqa: S310
        except urllib.error.HTTPError as e:
            with e:
                raise _Refused(e.code, e.reason, e.headers) from None
        return response

    def _renew(self, challenges: list[str]) -> bool:
        """Gets a token as a challenge asks; False where none asks for one that can be had without credentials."""
        for challenge in challenges:
            scheme, _, rest = challenge.partition(" ")
            members = dict(re.findall(r'(\w+)="([^"]*)"', rest))
            realm = members.get("realm", "")
            if scheme.lower() != "bearer" or not realm.startswith(("https://", "http://")):
                continue
            scope = members.get("scope") or f"repository:{self._reference.path}:pull"
            query = {"service": members.get("service", ""), "scope": scope}
            url = realm + ("&" if "?" in realm else "?") + urllib.parse.urlencode(query)
            try:
                with self._open(url, {}) as response:
                    answer = json.loads(response.read(_TOKEN_BYTES))
                self._token = str(answer.get("token") or answer.get("access_token") or "")
            except (_Refused, ValueError, AttributeError):
                return False
            except (OSError, http.client.HTTPException) as e:
                text = f'failed to authorize: failed to fetch anonymous token: Get "{url}": {_cause(e, url)}'
                raise RegistryError(text, again=True) from None
            return bool(self._token)
        return False


def _skip(response: http.client.HTTPResponse, count: int) -> None:
    """Reads over what is there already, for a registry that doesn't serve ranges."""
    while count:
        data = response.read(min(count, 1 << 20))
        if not data:
            raise OSError("unexpected EOF")
        count -= len(data)


def _cause(e: Exception, url: str) -> str:
    """A failed connection in Go's words, as containerd and so AWS show it."""
    cause = e.reason if isinstance(e, urllib.error.URLError) and isinstance(e.reason, Exception) else e
    host = urllib.parse.urlsplit(url).netloc
    if isinstance(cause, ConnectionRefusedError):
        return f"dial tcp {host}: connect: connection refused"
    if isinstance(cause, TimeoutError):
        return f"dial tcp {host}: i/o timeout"
    if type(cause).__name__ == "gaierror":
        return f"dial tcp: lookup {host.partition(':')[0]}: no such host"
    if isinstance(cause, OSError) and cause.strerror:
        return f"dial tcp {host}: connect: {cause.strerror.lower()}"
    return str(cause) or type(cause).__name__
