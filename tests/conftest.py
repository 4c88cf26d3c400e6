"""Homeports for tests, and the record of what the tests showed."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.homeport import Homeport


@pytest.fixture(scope="session")
def homeport(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homeport]:
    """A whole Homeport, shared by all tests that leave nothing behind that could disturb others."""
    instance = Homeport(tmp_path_factory.mktemp("homeport"))
    instance.up()
    try:
        for image in ("test", "httpd"):
            instance.load(image)
        yield instance
    finally:
        instance.down()


@pytest.fixture
def own_homeport(tmp_path: Path) -> Iterator[Callable[..., Homeport]]:
    """Makes a Homeport for this test alone: for crashes, restarts, resets."""
    made: list[Homeport] = []

    def make(*flags: str, image: str | None = "test") -> Homeport:
        instance = Homeport(tmp_path / f"state{len(made)}")
        made.append(instance)
        instance.up(*flags)
        if image:
            instance.load(image)
        return instance

    yield make
    for instance in made:
        instance.down()


# --- which features the tests showed, for the README's table ------------------------------------------------------

_features: dict[str, list[str]] = {}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "feature(text): what a user can do, if the test passes (the README's table)")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.when == "call":
        for mark in item.iter_markers("feature"):
            _features.setdefault(mark.args[0], []).append(report.outcome)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Adds to the file what this run showed: several runs beside each other may be parts of one."""
    if target := os.environ.get("HOMEPORT_FEATURES"):
        with Path(target).open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            known: dict[str, list[str]] = json.loads(file.read() or "{}")
            for feature, outcomes in _features.items():
                known.setdefault(feature, []).extend(outcomes)
            file.truncate(0)
            file.write(json.dumps(known, indent=2, ensure_ascii=False))
