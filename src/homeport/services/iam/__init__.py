"""Access keys, sealed under the master key."""

from homeport.services.iam.model import TABLES

__all__ = ["TABLES"]
