"""One store: typed, indexed tables in memory, changed only in transactions, durable through a ``Journal``."""

from homeport.store.store import Change, Key, Scope, Store, StoreClosed, Tx, View, Watch
from homeport.store.tables import Table

__all__ = ["Change", "Key", "Scope", "Store", "StoreClosed", "Table", "Tx", "View", "Watch"]
