"""A cancellation that must not be lost."""

from __future__ import annotations

import asyncio


def honour() -> None:
    """Raises CancelledError where the current task was asked to end.

    Call it after ``except*`` around a task group whose error is expected: before Python 3.13 a group whose child fails
    in the moment in which its own task is cancelled raises only the child's error, and the task would run on for ever.
    The group's body must be waiting for something meanwhile: Python 3.11 counts a child's failure after the end of the
    body as a cancellation.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
