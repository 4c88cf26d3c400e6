"""How an agent's process ends: with which exit code, and without touching what it must not."""

from __future__ import annotations

import asyncio
import fcntl
import logging
from pathlib import Path

import pytest
from agent_world import Control

from homeport.agent import main
from homeport.agent.config import AgentSettings
from homeport.agent.drivers import DriverError
from homeport.agent.drivers.fake import Behaviour, FakeDriver, FakeRuntime
from homeport.agent.link import Refused
from homeport.agent.network.fake import FakeFabric, FakeNetwork
from homeport.agent.state import FileRecords, StateDamaged
from homeport.core.ids import BitIds
from homeport.sim.loop import SimClock, SimLoop, run


def settings(folder: Path) -> AgentSettings:
    return AgentSettings(
        state=str(folder), instance="7e57ab1e", endpoint="http://127.0.0.1:9", access_key="A", secret_key="hush"
    )


def serve(folder: Path, driver_fails: bool = False) -> FakeRuntime:
    loop = SimLoop()
    clock = SimClock(loop)
    runtime = FakeRuntime(lambda image: Behaviour(), clock.wall)

    class Driver(FakeDriver):
        async def open(self) -> None:
            if driver_fails:
                raise DriverError("ContainerRuntimeError", "containerd is not installed")
            await super().open()

    agent = main.serve(
        settings(folder),
        Driver(runtime),
        FakeNetwork(FakeFabric()),
        Control(runtime),
        clock,
        BitIds(lambda bits: 1),
        asyncio.Event(),
        records=FileRecords(folder / "agent"),
        host=main.this_host(),
    )
    run(agent, loop)
    return runtime


def test_a_second_agent_on_the_same_folder_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "agent").mkdir()
    with (tmp_path / "agent" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert main.run(settings(tmp_path)) == main.EXIT_FAILED
    assert "another agent works in" in caplog.text


def test_a_damaged_state_stops_the_agent_before_it_touches_a_container(tmp_path: Path) -> None:
    FileRecords(tmp_path / "agent")
    (tmp_path / "agent" / "tasks" / "x.json").write_text("{")
    with pytest.raises(BaseExceptionGroup) as caught:
        serve(tmp_path)
    assert caught.group_contains(StateDamaged, match=r"x\.json can't be read")
    assert main._explain(caught.value) == main.EXIT_TERMINAL


def test_a_runtime_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="containerd is not installed"):
        serve(tmp_path, driver_fails=True)


def test_expected_failures_are_logged_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    nested = BaseExceptionGroup("", [BaseExceptionGroup("", [Refused("not you")]), ZeroDivisionError("bug")])
    with caplog.at_level(logging.ERROR):
        assert main._explain(nested) == main.EXIT_FAILED
    bug, refused = caplog.records
    assert bug.exc_info is not None
    assert refused.exc_info is None
    assert refused.getMessage() == "the agent can't run: not you"


def test_what_this_machine_is() -> None:
    host = main.this_host()
    assert host.cores >= 1
    assert host.memory > 100
    assert host.architecture in ("x86_64", "arm64")
    assert len(host.boot_id) == 36


def test_settings_do_not_print_their_secret(tmp_path: Path) -> None:
    assert "hush" not in repr(settings(tmp_path))
    assert settings(tmp_path).folder == tmp_path / "agent"
