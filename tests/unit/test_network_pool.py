"""Choice of the public pool."""

from __future__ import annotations

import pytest

from homeport.agent.network.pool import free_slice, overlapping


@pytest.mark.parametrize(
    ("routes", "slice_"),
    [
        ([], "198.18.0.0/22"),
        (["0.0.0.0/0", "192.168.1.0/24"], "198.18.0.0/22"),
        (["198.18.0.0/22"], "198.18.4.0/22"),
        (["198.18.0.77/32", "198.18.8.0/21"], "198.18.4.0/22"),
        (["198.18.0.0/16"], "198.19.0.0/22"),
    ],
)
def test_first_slice_that_no_route_overlaps(routes: list[str], slice_: str) -> None:
    assert free_slice(routes) == slice_


def test_other_base_and_prefix() -> None:
    assert free_slice(["10.0.0.0/26"], base="10.0.0.0/24", prefix=26) == "10.0.0.64/26"


def test_no_slice_left() -> None:
    with pytest.raises(LookupError, match=r"no free /22 in 198\.18\.0\.0/15"):
        free_slice(["198.0.0.0/8"])


def test_overlapping_routes_of_an_explicit_pool() -> None:
    routes = ["0.0.0.0/0", "192.168.1.0/24", "10.0.0.0/8"]
    assert overlapping("192.168.1.240/28", routes) == ["192.168.1.0/24"]
    assert overlapping("198.18.0.0/22", routes) == []
