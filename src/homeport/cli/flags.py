"""The flags of ``up`` that become settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from homeport.cli import CommandError
from homeport.config import ConfigError, PullBehavior, Secrets


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Flags:
    """As they are given; None: as they were before, or by default."""

    port: Annotated[int | None, Parameter(help="Port of the API (default 4566).")] = None
    host: Annotated[
        str | None,
        Parameter(help="Address of the API for other machines, by TLS; 0.0.0.0 for all (default: none, 127.0.0.1)."),
    ] = None
    tls_port: Annotated[int | None, Parameter(help="Port of TLS there (default: one more than --port).")] = None
    tls_cert: Annotated[
        Path | None, Parameter(help="Certificate chain in PEM to use in place of an own certificate.")
    ] = None
    tls_key: Annotated[Path | None, Parameter(help="Its key in PEM; both or neither.")] = None
    insecure: Annotated[
        bool | None, Parameter(help="Plain HTTP on --host: whoever can listen reads and changes everything.")
    ] = None
    access_key: Annotated[str | None, Parameter(help="Access key id of the account's root key.")] = None
    secret_key: Annotated[str | None, Parameter(help="Its secret; both or neither.")] = None
    account_id: Annotated[str | None, Parameter(help="Account id (default 123456789012).")] = None
    region: Annotated[str | None, Parameter(help="Region that `homeport env` names (default us-east-1).")] = None
    public_pool: Annotated[
        str | None, Parameter(help="CIDR of public addresses (default: a free part of 198.18.0.0/15).")
    ] = None
    ephemeral: Annotated[bool | None, Parameter(help="For tests: allows `homeport reset`.", negative="")] = None
    containerd: Annotated[
        str | None, Parameter(help="Socket of a running containerd to use instead of an own one.")
    ] = None
    image_pull_behavior: Annotated[
        PullBehavior | None,
        Parameter(help="Whether an image that is here is asked of its registry anew (default once: it isn't)."),
    ] = None
    s3_endpoint: Annotated[
        str | None,
        Parameter(help="URL of an S3-compatible service with environment files (its key: HOMEPORT_S3_KEY)."),
    ] = None
    s3_folder: Annotated[
        Path | None, Parameter(help="Folder BUCKET/KEY of environment files (default: s3 in the state folder).")
    ] = None
    efs: Annotated[
        list[str] | None,
        Parameter(
            help="What stands for an EFS file system: ID=/FOLDER or ID=SERVER:/EXPORT (NFS).", negative="--no-efs"
        ),
    ] = None
    task_endpoints: Annotated[
        bool | None, Parameter(help="Point the AWS SDKs in tasks to this Homeport (default: yes).")
    ] = None

    def settings(self) -> dict[str, Any]:
        """The members of ``Settings`` that are given, else None. Raises CommandError."""
        given = asdict(self) | {name: _absolute(getattr(self, name)) for name in ("tls_cert", "tls_key", "s3_folder")}
        del given["access_key"], given["secret_key"]
        return given | {"efs": _efs(self.efs)}

    def root(self) -> Secrets:
        """The account's root key. Raises CommandError."""
        if bool(self.access_key) != bool(self.secret_key):
            raise CommandError("--access-key and --secret-key go together.")
        return Secrets(self.access_key, self.secret_key)


def _absolute(path: Path | None) -> str | None:
    return str(path.absolute()) if path else None


def _efs(given: list[str] | None) -> dict[str, str] | None:
    """Targets by file system; None leaves those of before. Raises ConfigError."""
    from homeport.agent import efs

    try:
        return None if given is None else efs.configured(given)
    except efs.BadTarget as error:
        raise ConfigError(f"--efs takes ID=/FOLDER or ID=SERVER:/EXPORT: {error}.") from error
