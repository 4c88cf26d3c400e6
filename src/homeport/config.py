"""One frozen ``Settings`` from a file, the environment and flags. Nothing else reads ``os.environ``."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

DEFAULT_STATE = "/var/lib/homeport"
DEFAULT_ACCOUNT = "123456789012"
DEFAULT_REGION = "us-east-1"
DEFAULT_PORT = 4566
CONFIG_FILE = "config.json"
RUN = Path("/run/homeport")

PullBehavior = Literal["always", "once", "prefer-cached"]  # as ECS_IMAGE_PULL_BEHAVIOR of the ECS agent


LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Listens(NamedTuple):
    """An address and port of the API."""

    host: str
    port: int
    tls: bool


def url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


class ConfigError(Exception):
    """Settings that can't be used; the text says what to do."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that a Homeport is started with.

    ``instance`` (8 hex characters) is drawn once per state folder and tells apart what several Homeports own on one
    machine: namespaces, links, cgroups. ``public_pool`` is a CIDR of public addresses, None until one was chosen.

    Loopback always has plain HTTP on ``port``. With another ``host``, clients elsewhere are served there by TLS on
    ``tls_port`` (one more than ``port``, unless given), or, where that is wanted ``insecure``, by plain HTTP on
    ``port``.
    """

    state: str
    instance: str
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    tls_port: int | None = None
    tls_cert: str | None = None  # files in PEM; None: an own certificate in ``tls`` in the state
    tls_key: str | None = None
    insecure: bool = False
    account_id: str = DEFAULT_ACCOUNT
    region: str = DEFAULT_REGION
    public_pool: str | None = None
    ephemeral: bool = False
    containerd: str | None = None  # socket of a running containerd to use; None: an own one
    image_pull_behavior: PullBehavior = "once"
    s3_folder: str | None = None  # its folders stand for S3 buckets; None: ``s3`` in ``state``
    s3_endpoint: str | None = None  # URL of an S3-compatible service, in place of the folder
    efs: dict[str, str] = {}  # EFS file systems by their ids: a folder, or SERVER:/EXPORT of an NFS server
    s3_key: str | None = None  # ACCESS_KEY:SECRET for it, sealed with the master key
    overcommit_cpu: float = 16
    overcommit_memory: float = 2
    task_endpoints: bool = True  # tasks' SDKs are pointed to this Homeport by AWS_ENDPOINT_URL_<SERVICE>
    log_level: str = "INFO"

    def path(self, *parts: str) -> Path:
        return Path(self.state, *parts)

    @property
    def database(self) -> Path:
        return self.path("homeport.db")

    @property
    def master_key(self) -> Path:
        return self.path("master.key")

    @property
    def run_dir(self) -> Path:
        """For sockets and process ids: short, because a unix socket's path has at most 107 characters."""
        return RUN / self.instance

    @property
    def control_socket(self) -> Path:
        return self.run_dir / "control.sock"

    @property
    def local(self) -> bool:
        """Whether only this machine is served."""
        return self.host in LOOPBACK

    @property
    def everywhere(self) -> bool:
        return self.host in ("0.0.0.0", "::")  # noqa: S104 (compared, not bound)

    @property
    def listens(self) -> tuple[Listens, ...]:
        """Where the API is served, loopback first."""
        if self.local or (self.insecure and self.everywhere):
            return (Listens(self.host, self.port, tls=False),)
        outside = self.port if self.insecure else self.tls_port or self.port + 1
        return (Listens(LOOPBACK[0], self.port, tls=False), Listens(self.host, outside, tls=not self.insecure))

    @property
    def certificate(self) -> Path:
        """Of the listener with TLS."""
        return Path(self.tls_cert) if self.tls_cert else self.path("tls", "server.crt")

    @property
    def endpoint(self) -> str:
        """The API's base URL as clients on this machine reach it."""
        return url("http", self.host if self.local else LOOPBACK[0], self.port)


def state_folder(given: str | None) -> Path:
    """``--state``, else HOMEPORT_STATE, else /var/lib/homeport; absolute."""
    return Path(given or os.environ.get("HOMEPORT_STATE") or DEFAULT_STATE).absolute()


def load(state: str | None) -> Settings:
    """The settings that an earlier ``homeport up`` saved in the state folder. Raises ConfigError."""
    folder = state_folder(state)
    try:
        return msgspec.json.decode((folder / CONFIG_FILE).read_bytes(), type=Settings)
    except FileNotFoundError:
        raise ConfigError(
            f"No Homeport has been started in {folder}. Start one with: homeport up --state {folder}"
        ) from None
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{folder / CONFIG_FILE} can't be read: {error}") from error


def saved(state: str | None) -> Settings | None:
    """The saved settings, or None in a new state folder. Raises ConfigError where they can't be read."""
    return load(state) if (state_folder(state) / CONFIG_FILE).exists() else None


def load_or_create(state: str | None, **flags: Any) -> Settings:
    """Saved settings with ``flags`` that aren't None on top, or new ones; makes the state folder (0700)."""
    folder = state_folder(state)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    given = {name: value for name, value in flags.items() if value is not None}
    known = saved(str(folder))
    if known:
        settings = msgspec.structs.replace(known, **given)
    else:
        settings = Settings(state=str(folder), instance=secrets.token_hex(4), **given)
    if not (len(settings.account_id) == 12 and settings.account_id.isdigit()):
        raise ConfigError(f"--account-id takes 12 digits, not {settings.account_id!r}.")
    for option, number in (("--port", settings.port), *((("--tls-port", settings.listens[-1].port),))):
        if not 0 < number < 65536:
            raise ConfigError(f"{option} takes a number from 1 to 65535, not {number}.")
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise ConfigError("--tls-cert and --tls-key go together.")
    if settings.tls_port == settings.port:
        raise ConfigError("--tls-port and --port can't be the same: loopback has plain HTTP on --port.")
    parts = urlsplit(settings.s3_endpoint or "http://none")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("--s3-endpoint takes a URL like http://HOST:PORT.")
    if parts.username is not None:
        raise ConfigError("Others can read a command line: give the key as HOMEPORT_S3_KEY=ACCESS_KEY:SECRET instead.")
    return settings


@contextlib.contextmanager
def alone(state: str | None) -> Iterator[None]:
    """Makes the state folder (0700) and holds its lock: what starts or ends a Homeport there waits for others."""
    folder = state_folder(state)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def save(settings: Settings) -> None:
    """Writes the settings to the state folder, whole or not at all."""
    write_private(settings.path(CONFIG_FILE), msgspec.json.format(msgspec.json.encode(settings)) + b"\n")


def write_private(path: Path, data: bytes) -> None:
    """Replaces a 0600 file atomically and durably."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


class Secrets(msgspec.Struct, frozen=True):
    """What is handed to a process by its environment, so that it stands in no file and on no command line."""

    access_key: str | None = None
    secret_key: str | None = None


def handed_secrets() -> Secrets:
    """HOMEPORT_ACCESS_KEY and HOMEPORT_SECRET_KEY, which are removed from this process's environment."""
    return Secrets(os.environ.pop("HOMEPORT_ACCESS_KEY", None), os.environ.pop("HOMEPORT_SECRET_KEY", None))


def handed_s3_key() -> str | None:
    """HOMEPORT_S3_KEY (``ACCESS_KEY:SECRET``), which is removed from this process's environment. Raises ConfigError."""
    key = os.environ.pop("HOMEPORT_S3_KEY", None)
    if key is not None and not all(key.partition(":")):
        raise ConfigError("HOMEPORT_S3_KEY takes ACCESS_KEY:SECRET.")
    return key


def with_secrets(handed: Secrets) -> dict[str, str]:
    """The environment for a child process that takes ``handed``."""
    environment = dict(os.environ)
    if handed.access_key and handed.secret_key:
        environment |= {"HOMEPORT_ACCESS_KEY": handed.access_key, "HOMEPORT_SECRET_KEY": handed.secret_key}
    return environment
