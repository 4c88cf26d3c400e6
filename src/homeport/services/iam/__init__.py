"""Access keys, sealed under the master key, and join tokens."""

from homeport.services.iam import tokens
from homeport.services.iam.model import TABLES

__all__ = ["TABLES", "tokens"]
