from __future__ import annotations

from collections.abc import Iterator

import pytest
from front import Front


@pytest.fixture(scope="session")
def front() -> Iterator[Front]:
    with Front() as running:
        yield running
