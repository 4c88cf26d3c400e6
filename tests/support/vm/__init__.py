"""A Debian machine with a kernel of its own under QEMU's software emulation, driven over a virtio-serial port."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from pathlib import Path

BOOT_SECONDS = 240  # emulated, on a busy machine
MEMORY = 1536  # MiB


class Machine:
    """One machine. ``stop`` and ``start`` are a power cut: the disk stays as it was."""

    def __init__(self, cache: Path, work: Path, software: Path) -> None:
        self.cache, self.work, self.software = cache, work, software
        self.disk = work / "disk.qcow2"
        base = (cache / "base.qcow2").absolute()
        self._qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(base), str(self.disk))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        port = self.work / "cmd.sock"
        port.unlink(missing_ok=True)
        with (self.work / "qemu.log").open("ab") as log:
            self._process = subprocess.Popen(self._argv(port), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._socket = self._connect(port)
        self._socket.settimeout(BOOT_SECONDS)
        self._file = self._socket.makefile("rwb")
        assert json.loads(self._file.readline())["ready"]
        self.run(f"date -s @{int(time.time())}; mount -o ro /dev/vdb /opt/homeport")

    def run(self, command: str, timeout: float = 240, check: bool = True) -> str:
        """Output of a shell command (both streams)."""
        self._socket.settimeout(timeout + 30)
        self._file.write(json.dumps({"cmd": command, "timeout": timeout}).encode() + b"\n")
        self._file.flush()
        answer = json.loads(self._file.readline())
        assert not check or answer["rc"] == 0, f"{command!r} exited with {answer['rc']}:\n{answer['out']}"
        return str(answer["out"])

    def cut_power(self) -> None:
        """No process in it gets a chance to do anything."""
        if self._process:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._process.kill()
            self._process.wait()
            self._process = None

    def _argv(self, port: Path) -> list[str]:
        return [
            *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"),
            *("-smp", str(os.cpu_count() or 1), "-m", str(MEMORY), "-nodefaults", "-no-user-config"),
            *("-display", "none", "-no-reboot", "-kernel", str(self.cache / "vmlinuz")),
            *("-initrd", str(self.cache / "initrd.gz"), "-serial", f"file:{self.work / 'console.log'}"),
            *("-append", "console=ttyS0 quiet panic=-1 mitigations=off root=/dev/vda rw"),
            *("-drive", f"file={self.disk},format=qcow2,if=virtio,cache=writeback"),
            *("-drive", f"file={self.software},format=raw,if=virtio,readonly=on"),
            *("-device", "virtio-serial", "-chardev", f"socket,id=c,path={port},server=on,wait=off"),
            *("-device", "virtserialport,chardev=c,name=vm.cmd"),
            *("-object", "rng-random,id=r,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=r"),
        ]

    def _connect(self, path: Path) -> socket.socket:
        end = time.monotonic() + 30
        while True:
            try:
                made = socket.socket(socket.AF_UNIX)
                made.connect(str(path))
            except OSError:
                made.close()
                assert self._process is not None
                assert self._process.poll() is None, f"qemu ended; see {self.work}"
                assert time.monotonic() < end, "qemu made no socket"
                time.sleep(0.05)
            else:
                return made

    @staticmethod
    def _qemu_img(*argv: str) -> None:
        subprocess.run(["qemu-img", *argv], check=True)
