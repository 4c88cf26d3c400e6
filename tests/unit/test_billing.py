"""What is billed for tasks and machines."""

from __future__ import annotations

import pytest

from homeport.cost import billing
from homeport.cost.billing import FARGATE, Usage

NOW = 1_700_000_000.0  # a clock's numbers are so large that differences have errors


@pytest.mark.parametrize(
    ("lasted", "billed"),
    [(0.0, 60), (0.1, 60), (59.9, 60), (60.0, 60), (60.001, 61), (61.0, 61), (3599.5, 3600), (0.3 - 0.2 + 99.9, 100)],
)
def test_seconds_are_rounded_up_and_a_minute_at_least(lasted: float, billed: int) -> None:
    assert billing.seconds(NOW + 0.7, NOW + 0.7 + lasted) == billed


def test_a_quarter_of_a_processor_and_half_a_gigabyte_for_an_hour() -> None:
    usage = billing.of_task(256, 512, NOW, NOW + 3600.0)
    assert usage == Usage(seconds=3600, vcpu_seconds=900.0, gb_seconds=1800.0)
    assert billing.price(usage, FARGATE) == pytest.approx(0.0123425)  # 0.25 × 0.04048 + 0.5 × 0.004445


def test_usages_add_up_task_by_task() -> None:
    short = billing.of_task(1024, 2048, NOW, NOW + 1.0)
    assert short + short + Usage() == Usage(seconds=120, vcpu_seconds=120.0, gb_seconds=240.0)
