"""Ephemeral storage: which project id a task gets, which folders count, what is said where nothing can be enforced.
What the kernel enforces is tested where it can (tests/vm)."""

from __future__ import annotations

import logging
from itertools import islice
from pathlib import Path

import pytest

from homeport.agent.drivers import ContainerPlan, Image
from homeport.agent.drivers.containerd import instance
from homeport.agent.drivers.containerd.storage import Storage, candidates, layer
from homeport.agentapi import ContainerSpec

PLAN = ContainerPlan("c", "a" * 32, ContainerSpec("c", "i"), Image("i", "sha256:0"), ephemeral_storage=21)


def test_a_tasks_project_ids_are_its_own_and_always_the_same() -> None:
    first, second = (list(islice(candidates(task), 100)) for task in ("a" * 32, "b" * 32))
    assert first == list(islice(candidates("a" * 32), 100))
    assert len({*first, *second}) == 200
    assert all(1 << 30 <= project < 1 << 31 for project in first)


def test_what_a_container_writes_into_is_its_layer() -> None:
    options = ["index=off", "workdir=/s/7/work", "upperdir=/s/7/fs", "lowerdir=/s/2/fs:/s/1/fs"]
    assert sorted(layer(options)) == [Path("/s/7/fs"), Path("/s/7/work")]
    assert layer(["ro", "rbind"]) == ()


@pytest.mark.parametrize("external", [None, "/run/containerd/containerd.sock"])
def test_without_project_quotas_it_is_said_and_nothing_else_happens(
    tmp_path: Path, external: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    of = instance(tmp_path / "none", external)
    storage = Storage(of)
    with caplog.at_level(logging.INFO):
        storage.detect()
    assert not storage.enforced
    assert "is not enforced" in caplog.text
    storage.hold(PLAN)
    storage.release(PLAN.task_id)
    assert storage.used(PLAN.task_id) is None
    assert not of.state.exists()
