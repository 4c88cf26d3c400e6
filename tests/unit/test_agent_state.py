"""Records on a real disk."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from pathlib import Path

import msgspec
import pytest
from agent_world import CLUSTER, TASK, TASK_ID, container

from homeport.agent.drivers import Image, Progress
from homeport.agent.plan import Container, TaskGoal, initial
from homeport.agent.progress import PullProgress
from homeport.agent.report import Acknowledged
from homeport.agent.state import VERSION, FileRecords, Instance, StateDamaged, TaskRecord
from homeport.agentapi import TaskSpec
from homeport.sim.loop import SimClock, SimLoop, run


def record(exit_code: int = 0) -> TaskRecord:
    spec = TaskSpec("web", 1, "us-east-1", "us-east-1a", containers=(container("web", after=(("x", "SUCCESS"),)),))
    goal = TaskGoal(arn=TASK, cluster=CLUSTER, task_id=TASK_ID, spec=spec, stop=True)
    ended = Container(state="stopped", image=Image("web:1", "sha256:1"), exit_code=exit_code, oom=True)
    facts = initial(spec).with_container("web", ended)
    known = Acknowledged("RUNNING", {"web": "STOPPED"}, attached=True)
    return TaskRecord(version=VERSION, boot_id="b", goal=goal, facts=facts, acknowledged=known, finished_at=4.5)


def file_of(folder: Path) -> Path:
    return folder / "tasks" / f"{TASK_ID}.json"


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    records = FileRecords(tmp_path)
    assert records.load() == []
    assert records.find(TASK_ID) is None
    asyncio.run(records.save(record(1)))
    asyncio.run(records.save(record(2)))
    assert FileRecords(tmp_path).load() == [record(2)]
    assert records.find(TASK_ID) == record(2)
    asyncio.run(records.delete(TASK_ID))
    asyncio.run(records.delete(TASK_ID))
    assert records.load() == []


def test_what_a_task_wrote_goes_with_its_record(tmp_path: Path) -> None:
    records = FileRecords(tmp_path)
    asyncio.run(records.save(record()))
    output, other = (tmp_path / "logs" / id / "app" / "stdout" for id in (TASK_ID, "f" * 32))
    for path in (output, other):
        path.parent.mkdir(parents=True)
        path.write_text("said")
    asyncio.run(records.delete(TASK_ID))
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["f" * 32]
    assert records.load() == []


def test_nobody_else_may_read_them(tmp_path: Path) -> None:
    asyncio.run(FileRecords(tmp_path / "agent").save(record()))
    assert stat.S_IMODE(file_of(tmp_path / "agent").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "agent" / "tasks").stat().st_mode) == 0o700


def test_the_instance(tmp_path: Path) -> None:
    records = FileRecords(tmp_path)
    assert records.instance() == Instance(version=VERSION)
    asyncio.run(records.save_instance(Instance(version=VERSION, cluster="demo", arn="arn:1")))
    assert FileRecords(tmp_path).instance() == Instance(version=VERSION, cluster="demo", arn="arn:1")


@pytest.mark.parametrize("content", [b"", b"{", b'{"version":1}', b"\xff\xfe", b'{"version":"x"}'])
def test_a_damaged_file_stops_the_agent_and_stays(tmp_path: Path, content: bytes) -> None:
    records = FileRecords(tmp_path)
    file_of(tmp_path).write_bytes(content)
    with pytest.raises(StateDamaged, match=TASK_ID):
        records.load()
    assert file_of(tmp_path).read_bytes() == content


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    records = FileRecords(tmp_path)
    newer = msgspec.structs.replace(record(), version=VERSION + 1)
    file_of(tmp_path).write_bytes(msgspec.json.encode(newer))
    with pytest.raises(StateDamaged, match="newer version"):
        records.load()


def test_a_write_that_was_cut_short_leaves_the_old_record(tmp_path: Path) -> None:
    records = FileRecords(tmp_path)
    asyncio.run(records.save(record(1)))
    file_of(tmp_path).with_name(f"{TASK_ID}.json.tmp").write_bytes(b'{"versi')
    assert FileRecords(tmp_path).load() == [record(1)]
    assert [path.name for path in (tmp_path / "tasks").iterdir()] == [f"{TASK_ID}.json"]


def test_folders_beside_the_records_are_none(tmp_path: Path) -> None:
    records = FileRecords(tmp_path)
    (tmp_path / "tasks" / TASK_ID).mkdir()
    assert records.load() == []


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_leaves_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    records = FileRecords(tmp_path)
    asyncio.run(records.save(record(1)))

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space"):
        asyncio.run(records.save(record(2)))
    monkeypatch.undo()
    assert records.load() == [record(1)]


def test_progress_of_pulls(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    loop = SimLoop()
    progress = PullProgress(path, SimClock(loop))

    async def main() -> None:
        task = asyncio.create_task(progress.run())
        await asyncio.sleep(0)
        assert path.read_bytes() == b"[]"
        progress("here:1", None)  # an image that was here
        for done in (10, 20, 30):
            progress("web:1", Progress("web:1", done, 100))
            await asyncio.sleep(0.1)
        assert msgspec.json.decode(path.read_bytes()) == [{"image": "web:1", "done": 10, "total": 100}]
        await asyncio.sleep(0.3)
        assert msgspec.json.decode(path.read_bytes()) == [{"image": "web:1", "done": 30, "total": 100}]
        progress("web:1", None)
        await asyncio.sleep(1)
        assert path.read_bytes() == b"[]"
        path.unlink()
        path.with_suffix(".tmp").mkdir()  # can't be written: no harm
        progress("web:1", Progress("web:1", 1, 2))
        await asyncio.sleep(1)
        task.cancel()

    run(main(), loop)
