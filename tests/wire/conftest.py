from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from front import Front  # noqa: E402


@pytest.fixture(scope="session")
def front() -> Iterator[Front]:
    with Front() as running:
        yield running
