"""Fixtures of the tests that run real tasks."""

from __future__ import annotations

from typing import Any

import pytest

from support.tasks import Tasks


@pytest.fixture(scope="session")
def tasks(homeport: Any) -> Tasks:
    return Tasks(homeport)
