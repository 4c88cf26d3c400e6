"""Back to an account in which nothing was ever made."""

from __future__ import annotations

from typing import Any

from homeport.services.ec2 import eni
from homeport.services.ec2.model import GROUPS, INTERFACES, SUBNET_CURSORS, SUBNETS, VPCS
from homeport.store import Table, Tx


def forget_all(tx: Tx) -> None:
    """Deletes the records of all accounts and regions. The pool stays, and the addresses of interfaces that there still
    were are held back as those of any deleted interface."""
    for scope, interface in list(tx.each(INTERFACES)):
        eni.delete(tx, scope, interface.id, tx.now)
    tables: tuple[Table[Any], ...] = (VPCS, SUBNETS, SUBNET_CURSORS, GROUPS)
    for table in tables:
        for scope, record in list(tx.each(table)):
            tx.delete(table, scope, table.id(record))
