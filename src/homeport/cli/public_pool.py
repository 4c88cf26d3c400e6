"""Which public addresses a Homeport has: none that this machine's routes or another Homeport's claim cover.

A claim is a file in the run folder, from `up` until `down`: routes alone would let two that start at once choose the
same addresses.
"""

from __future__ import annotations

import fcntl
from ipaddress import IPv4Network

import msgspec

from homeport.agent.network import layout, pool
from homeport.agent.network.apply import host_routes
from homeport.config import RUN, ConfigError, Settings

CLAIM = "public-pool"


def claimed(settings: Settings, *, asked: bool) -> Settings:
    """The settings with a pool that is claimed: the one they name, or a free slice. Raises ConfigError. ``asked``: the
    user named it just now; one that was chosen for them earlier may be exchanged."""
    RUN.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (RUN / "public-pools.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        claims = {file.parent.name: file.read_text().strip() for file in RUN.glob(f"*/{CLAIM}")}
        own = claims.pop(settings.instance, None)
        settings = msgspec.structs.replace(settings, public_pool=_choose(settings.public_pool, own, claims, asked))
        settings.run_dir.mkdir(mode=0o700, exist_ok=True)
        (settings.run_dir / CLAIM).write_text(f"{settings.public_pool}\n")
    return settings


def _choose(wanted: str | None, own: str | None, claims: dict[str, str], asked: bool) -> str:
    """``own``: what this Homeport has claimed already, and has a route for. ``claims``: of others."""
    if wanted is not None and wanted == own:
        return wanted
    taken = [route for route in host_routes() if route != own] + list(claims.values())
    try:
        if wanted is not None:
            layout.pool(wanted)
            overlaps = pool.overlapping(wanted, taken)
            if not overlaps:
                return wanted
            if asked or not _by_default(wanted):
                raise ConfigError(f"--public-pool {wanted} overlaps {overlaps[0]}, which this machine uses already.")
        return pool.free_slice(taken)
    except (LookupError, ValueError) as error:
        raise ConfigError(f"No public pool: {error}. Name one with --public-pool CIDR.") from error


def _by_default(cidr: str) -> bool:
    """Whether it looks as if nobody had asked for just this one: it may be another one then."""
    network = IPv4Network(cidr)
    return network.prefixlen == pool.DEFAULT_PREFIX and network.subnet_of(IPv4Network(pool.DEFAULT_BASE))
