"""Keeps the nft table of a router's namespace as it is wanted, by the difference to what is there."""

from __future__ import annotations

from homeport.agent.network import netns
from homeport.agent.network.nft import Nft, NftError, NftLost
from homeport.agent.network.plan import Ruleset, commands


class Enforcer:
    """``namespace``: a descriptor, which stays the caller's. Not for two threads at once."""

    def __init__(self, namespace: int) -> None:
        self._namespace = namespace
        self._enforced: Ruleset | None = None  # what the kernel has, as far as it is known
        self._nft: Nft | None = None

    def close(self) -> None:
        """Leaves the table as it is."""
        if self._nft:
            self._nft.close()

    def enforce(self, wanted: Ruleset) -> None:
        """Makes the kernel's table that of ``wanted``; on failure it stays as it was. Raises NftError, NftLost."""
        try:
            self._run(commands(self._enforced, wanted))
        except (NftError, NftLost):
            if self._enforced is None:
                raise
            # Somebody changed the table, or the child died with the transaction done or not: say it all again.
            self._enforced = None
            self._run(commands(None, wanted))
        self._enforced = wanted

    def _run(self, lines: list[str]) -> None:
        if self._nft is None:
            with netns.inside(self._namespace):
                self._nft = Nft()
        try:
            self._nft.run(lines)
        except NftLost:
            self._nft = None
            raise
