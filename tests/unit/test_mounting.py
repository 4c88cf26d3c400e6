"""What a container sees where: its own mount points and those of the containers it names."""

from __future__ import annotations

import pytest

from homeport.agent.drivers import Image, Mount
from homeport.agent.mounting import mounts
from homeport.agentapi import ContainerSpec, MountPoint, TaskSpec, Tmpfs, Volume, VolumeFrom

ONE, TWO = Volume("one"), Volume("two", "host", "/srv")


def by_path(found: tuple[Mount, ...]) -> dict[str, Mount]:
    return {mount.container_path: mount for mount in found}


def container(name: str, *points: MountPoint, of: tuple[VolumeFrom, ...] = ()) -> ContainerSpec:
    return ContainerSpec(name=name, image="x", mount_points=points, volumes_from=of)


def task(*containers: ContainerSpec) -> TaskSpec:
    return TaskSpec("f", 1, "r", "z", containers=containers, volumes=(ONE, TWO))


def test_own_mount_points() -> None:
    spec = task(container("a", MountPoint("one", "/x"), MountPoint("two", "/y", True), MountPoint("none", "/z")))
    assert mounts(spec, "a") == (Mount(ONE, "/x"), Mount(TWO, "/y", True))


@pytest.mark.parametrize(("theirs", "mine", "read_only"), [(0, 0, False), (0, 1, True), (1, 0, True), (1, 1, True)])
def test_those_of_another_container_are_read_only_if_either_says_so(theirs: int, mine: int, read_only: bool) -> None:
    spec = task(
        container("a", MountPoint("one", "/x", bool(theirs))), container("b", of=(VolumeFrom("a", bool(mine)),))
    )
    assert mounts(spec, "b") == (Mount(ONE, "/x", read_only, fill=False),)


def test_own_ones_win_and_others_come_through_containers_between() -> None:
    spec = task(
        container("a", MountPoint("one", "/x"), MountPoint("one", "/y")),
        container("b", of=(VolumeFrom("a", True),)),
        container("c", MountPoint("two", "/x/"), of=(VolumeFrom("b"),)),
    )
    assert by_path(mounts(spec, "c")) == {"/x/": Mount(TWO, "/x/"), "/y": Mount(ONE, "/y", True, fill=False)}


def test_circles_and_unknown_containers_end() -> None:
    spec = task(
        container("a", MountPoint("one", "/x"), of=(VolumeFrom("b"), VolumeFrom("gone"))),
        container("b", MountPoint("two", "/y"), of=(VolumeFrom("a"),)),
    )
    assert by_path(mounts(spec, "a")) == {"/x": Mount(ONE, "/x"), "/y": Mount(TWO, "/y", fill=False)}


def test_an_image_gets_its_volumes_where_nothing_else_is() -> None:
    image = Image("x", "sha256:1", ("/x/", "y", "/z", "/t", "/", "/.w"))
    spec = task(
        ContainerSpec(
            name="a", image="x", mount_points=(MountPoint("one", "/x"),), tmpfs=(Tmpfs("/t/", 1),), volumes_from=()
        ),
        container("b", MountPoint("two", "/y"), of=(VolumeFrom("a", True),)),
    )
    own = by_path(mounts(spec, "a", {"a": image}))
    assert own.keys() == {"/x", "/y", "/z", "/.w"}
    names = {mount.volume.name for mount in own.values()}
    assert len(names) == 4
    assert all(name == "one" or name.startswith("image.") for name in names)
    theirs = by_path(mounts(spec, "b", {"a": image, "b": Image("x", "sha256:1", ("/z", "/q"))}))
    assert theirs["/z"] == Mount(own["/z"].volume, "/z", True, fill=False)
    assert theirs["/y"] == Mount(TWO, "/y")
    assert theirs["/q"].fill
    assert theirs["/q"].volume not in [mount.volume for mount in own.values()]
    assert mounts(spec, "a", {"a": image}) == mounts(spec, "a", {"a": image, "b": image})
