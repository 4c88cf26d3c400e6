"""One store: typed, indexed tables in memory, changed only in transactions, durable through a ``Journal``."""

from homeport.store.errors import (
    AppendFailed,
    DamagedFile,
    Fenced,
    NewerFile,
    OutcomeUnknown,
    StoreClosed,
    Unstorable,
    UnusableFile,
)
from homeport.store.follow import follow, past
from homeport.store.journal import Journal
from homeport.store.keys import Change, Key, Scope
from homeport.store.rows import Ranked
from homeport.store.store import Past, Store
from homeport.store.tables import Table
from homeport.store.view import Tx, View
from homeport.store.watch import Watch

__all__ = [
    "AppendFailed",
    "Change",
    "DamagedFile",
    "Fenced",
    "Journal",
    "Key",
    "NewerFile",
    "OutcomeUnknown",
    "Past",
    "Ranked",
    "Scope",
    "Store",
    "StoreClosed",
    "Table",
    "Tx",
    "Unstorable",
    "UnusableFile",
    "View",
    "Watch",
    "follow",
    "past",
]
