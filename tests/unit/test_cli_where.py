"""``homeport where``: the file and line of every operation that is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeport.cli import CommandError
from homeport.cli.inspect import where
from homeport.server import SERVICES

SERVED = [(service.name, name) for service in SERVICES.values() for name in service.operations]


@pytest.mark.parametrize(("service", "operation"), SERVED)
def test_every_operation_has_its_place(service: str, operation: str, capsys: pytest.CaptureFixture[str]) -> None:
    where(operation)
    (found,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{service}:{operation}\t")]
    file, _, line = found.partition("\t")[2].rpartition(":")
    code = Path(file).read_text().splitlines()[int(line) - 1]
    spelled = "".join("_" + c.lower() if c.isupper() else c for c in operation).lstrip("_")
    assert code.startswith(f"def {spelled}("), "an operation is a function of its name"


def test_an_operation_that_is_not_served() -> None:
    with pytest.raises(CommandError):
        where("NoSuchOperation")
