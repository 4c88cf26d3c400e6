from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.services.ecs.registration.sizes import FARGATE, cpu_units, fargate_size_error, memory_mib

PAIRS = [(cpu, memory) for cpu, memories in FARGATE.items() for memory in memories]


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("256", 256),
        (" 256 ", 256),
        ("1 vCPU", 1024),
        ("1vcpu", 1024),
        ("2 VCPUs", 2048),
        (".25 vCPU", 256),
        ("0.125 vCPU", 128),
        ("1. vCPU", 1024),
        ("0.3 vCPU", None),  # not a whole unit
        ("1.5", None),
        ("-1", None),
        ("", None),
        ("vCPU", None),
        (". vCPU", None),
        ("1 GB", None),
        ("1e3", None),
        ("٣", None),
        ("9" * 400, None),
    ],
)
def test_cpu(text: str, units: int | None) -> None:
    assert cpu_units(text) == units


@pytest.mark.parametrize(
    ("text", "mib"),
    [("512", 512), ("1 GB", 1024), (".5GB", 512), ("0.5 gb", 512), ("30 GB", 30720), ("1 MB", None), ("1 vCPU", None)],
)
def test_memory(text: str, mib: int | None) -> None:
    assert memory_mib(text) == mib


@given(st.integers(0, 10**5), st.integers(0, 127), st.sampled_from(["", " ", "  "]))
def test_units_gigabytes_and_vcpus_say_the_same(whole: int, parts: int, gap: str) -> None:
    amount = whole * 1024 + parts * 8
    fraction = f"{parts / 128:.7f}".removeprefix("0")  # a 128th has seven decimals
    written = f"{whole or ''}{fraction}"
    assert cpu_units(f"{written}{gap}vCPU") == cpu_units(str(amount)) == amount
    assert memory_mib(f"{written}{gap}GB") == memory_mib(str(amount)) == amount


@given(st.text(max_size=12))
def test_anything_else_is_none_and_never_an_exception(text: str) -> None:
    for read in (cpu_units, memory_mib):
        amount = read(text)
        assert amount is None or amount >= 0


@pytest.mark.parametrize(("cpu", "memory"), PAIRS)
def test_fargates_table(cpu: int, memory: int) -> None:
    assert fargate_size_error(cpu, memory) is None
    assert (fargate_size_error(cpu, memory, windows=True) is None) == (1024 <= cpu <= 4096)


@given(st.integers(1, 20000), st.integers(1, 130000))
def test_no_other_size_is_fargates(cpu: int, memory: int) -> None:
    refused = fargate_size_error(cpu, memory)
    assert (refused is None) == ((cpu, memory) in PAIRS)
    assert refused is None or refused.startswith("No Fargate configuration exists for given values")


def test_the_table_is_amazons() -> None:
    """Counts and ends of the rows of the guide's table, written down apart from the code."""
    ends = {cpu: (row[0], row[-1], len(row)) for cpu, row in FARGATE.items()}
    assert ends == {
        256: (512, 2048, 3),
        512: (1024, 4096, 4),
        1024: (2048, 8192, 7),
        2048: (4096, 16384, 13),
        4096: (8192, 30720, 23),
        8192: (16384, 61440, 12),
        16384: (32768, 122880, 12),
    }
