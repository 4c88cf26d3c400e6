"""Writes notes until it is killed; prints a line for each that was acknowledged. Run by test_store_crash.py."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys

from store_records import HERE, NOTES, Note

from homeport.store import Store, Tx
from homeport.store.sql import SqliteJournal
from homeport.system import SystemClock


async def write(store: Store, writer: int) -> None:
    for n in itertools.count():
        value = f"{n:06}"

        def fn(tx: Tx, value: str = value) -> None:
            tx.put(NOTES, HERE, Note(f"{writer}-last", value))
            tx.put(NOTES, HERE, Note(f"{writer}-twin", value, more={"pad": {"x": "y" * 2000}}))

        await store.update(fn, "crash")
        os.write(1, f"{writer} {value}\n".encode())


async def main() -> None:
    store = Store(SqliteJournal(sys.argv[1], log_rows=1000), [NOTES], SystemClock())
    await store.open()
    await asyncio.gather(*(write(store, writer) for writer in range(5)))


asyncio.run(main())
