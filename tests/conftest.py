"""Homeports for tests, and the record of what the tests showed."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import signal
from collections.abc import Callable, Iterator
from itertools import chain, groupby, pairwise
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from support.homeport import Homeport

# Examples compete with containers for the processor: how long one takes says nothing. Where CI is set, Hypothesis draws
# the same ones each time: a change isn't refused for what it left alone; everybody else's runs go on searching.
hypothesis.settings.register_profile(
    "beside others",
    hypothesis.settings(),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("beside others")

# What runs in the background may have been started with SIGINT ignored; it is to take down what it made all the same.
signal.signal(signal.SIGINT, signal.default_int_handler)


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


def pytest_collection_finish(session: pytest.Session) -> None:
    """What thousands of tests are made of stays: the garbage collector needn't look at it again and again."""
    gc.collect()
    gc.freeze()


# --- several runs beside each other, each with the files that no other has begun ------------------------------------


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """As pytest's own, where HOMEPORT_TEST_ROWS names a folder in which files are claimed."""
    if not (claims := os.environ.get("HOMEPORT_TEST_ROWS")) or session.config.option.collectonly or session.testsfailed:
        return None
    for item, following in pairwise(chain(_claimed(session.items, Path(claims)), (None,))):
        assert item is not None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
    return True


def _claimed(items: list[pytest.Item], claims: Path) -> Iterator[pytest.Item]:
    for path, tests in groupby(items, lambda item: item.path):
        try:
            (claims / path.name).touch(exist_ok=False)
        except FileExistsError:
            continue
        yield from tests


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
