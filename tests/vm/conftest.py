"""The one machine that all these tests share: each boot takes an emulated processor long."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.vm import Machine
from support.vm.homeport import FOLDER, PACKAGES
from support.vm.node import Guest

CACHE, SOFTWARE = os.environ.get("HOMEPORT_VM_CACHE"), os.environ.get("HOMEPORT_VM_SOFTWARE")


@pytest.fixture(scope="session")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """Nothing of Homeport runs in it."""
    if not SOFTWARE:
        pytest.skip("needs a virtual machine: make test-vm")
    disks = {PACKAGES: Path(CACHE or "", "packages.ext4"), FOLDER: Path(SOFTWARE)}
    machine = Machine(Path(CACHE or ""), tmp_path_factory.mktemp("vm"), disks)
    try:
        machine.start()
        yield Guest(machine)
    finally:
        machine.cut_power()


@pytest.fixture(scope="session")
def guest(booted: Guest) -> Guest:
    """With a Homeport that runs, and the images of the tests."""
    booted.up()
    for image in ("test", "httpd"):
        booted.homeport.load(image)
    return booted
