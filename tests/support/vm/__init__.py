"""A Debian machine with a kernel of its own under QEMU's software emulation, driven over a virtio-serial port."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = int(os.environ.get("HOMEPORT_VM_PATIENCE") or 1)  # times as long as usual is waited
BOOT_SECONDS = 240  # emulated, on a busy machine
MEMORY = 1536  # MiB
# What costs an emulated machine most: mitigations, reading a clock that is a device, waiting for RCU's grace periods.
QUICK = "mitigations=off tsc=reliable clocksource=tsc no5lvl rcupdate.rcu_expedited=1"
API = 4566  # the port in the machine that `Machine.port` on this one leads to
HOST = "127.0.0.2"  # the address of this machine's loopback, one that Homeport speaks TLS on, …
OUTSIDE = "10.0.2.100:4567"  # … that the machine reaches here at `Machine.outside`, and nothing else of this one
RELAY = Path(__file__).with_name("relay.py")


def say(text: str) -> None:
    """A line of progress: an emulated machine is slow, and its tests run uncaptured."""
    print(f"  vm: {text}", file=sys.stderr, flush=True)


class Machine:
    """One machine. ``cut_power`` and ``start`` are a power cut: the disk stays as it was.

    ``disks``: read-only file systems, mounted in the machine where they are keyed. ``port``: the port on this machine's
    loopback that leads to Homeport's API in the machine, which reaches nothing outside but ``outside``, the port at
    HOST that it sees as OUTSIDE.
    """

    def __init__(self, cache: Path, work: Path, disks: dict[str, Path]) -> None:
        self.cache, self.work, self.disks = cache, work, disks
        self.disk = work / "disk.qcow2"
        base = (cache / "base.qcow2").absolute()
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(base), str(self.disk)]
        subprocess.run(create, check=True)
        self.port, self.outside = _free("127.0.0.1"), _free(HOST)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Boots; returns when it takes commands. Raises AssertionError with its last words where it doesn't."""
        began = time.monotonic()
        path = self.work / "cmd.sock"
        path.unlink(missing_ok=True)
        with (self.work / "qemu.log").open("ab") as log:
            self._process = subprocess.Popen(self._argv(path), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._socket = self._connect(path)
        self._file = self._socket.makefile("rwb")
        assert self._answer(BOOT_SECONDS)["ready"]
        self.run(_set_up(self.disks))
        say(f"booted in {time.monotonic() - began:.0f} s")

    def run(self, command: str, seconds: float = 120, check: bool = True) -> str:
        """Output (both streams) of a shell command. Raises AssertionError where it fails or takes longer (``PATIENCE``
        times)."""
        self._file.write(json.dumps({"cmd": command, "timeout": seconds * PATIENCE}).encode() + b"\n")
        self._file.flush()
        answer = self._answer(seconds + 30)
        assert not check or answer["rc"] == 0, f"{command!r} exited with {answer['rc']}:\n{answer['out']}"
        return str(answer["out"])

    def cut_power(self) -> None:
        """No process in it gets a chance to do anything."""
        if self._process:
            with contextlib.suppress(OSError):
                self._file.close()
                self._socket.close()
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answer(self, seconds: float) -> dict[str, object]:
        self._socket.settimeout(seconds * PATIENCE)
        try:
            line = self._file.readline()
        except TimeoutError:
            line = b""
        assert line, f"the machine doesn't answer; its console:\n{self._console()}"
        answer: dict[str, object] = json.loads(line)
        return answer

    def _console(self) -> str:
        with contextlib.suppress(OSError):
            return (self.work / "console.log").read_text(errors="replace")[-3000:]
        return ""

    def _argv(self, path: Path) -> list[str]:
        argv = [
            # A machine must not outlive the tests, however they end.
            *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"),
            *("-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "Nehalem"),
            *("-smp", str(min(os.cpu_count() or 1, 4)), "-m", str(MEMORY), "-nodefaults", "-no-user-config"),
            *("-display", "none", "-no-reboot", "-kernel", str(self.cache / "vmlinuz")),
            *("-initrd", str(self.cache / "initrd.gz"), "-serial", f"file:{self.work / 'console.log'}"),
            *("-append", f"console=ttyS0 quiet panic=-1 root=/dev/vda rw net.ifnames=0 {QUICK}"),
            *("-drive", f"file={self.disk},format=qcow2,if=virtio,cache=writeback"),
            *("-device", "virtio-serial", "-chardev", f"socket,id=c,path={path},server=on,wait=off"),
            *("-device", "virtserialport,chardev=c,name=vm.cmd"),
            *("-object", "rng-random,id=r,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=r"),
            *("-netdev", self._network()),
            *("-device", "virtio-net-pci,netdev=n,romfile="),
        ]
        for disk in self.disks.values():
            argv += ["-drive", f"file={disk},format=raw,if=virtio,readonly=on"]
        return argv

    def _network(self) -> str:
        relay = shlex.join([sys.executable, "-I", "-S", str(RELAY), HOST, str(self.outside)])
        ports = f"hostfwd=tcp:127.0.0.1:{self.port}-:{API},guestfwd=tcp:{OUTSIDE}-cmd:{relay}"
        return f"user,id=n,restrict=on,{ports}"

    def _connect(self, path: Path) -> socket.socket:
        end = time.monotonic() + 30
        while True:
            made = socket.socket(socket.AF_UNIX)
            try:
                made.connect(str(path))
            except OSError:
                made.close()
                assert self._process is not None
                assert self._process.poll() is None, f"qemu ended: {(self.work / 'qemu.log').read_text()}"
                assert time.monotonic() < end, "qemu made no socket"
                time.sleep(0.05)
            else:
                return made


def _free(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
    return port


def _set_up(disks: dict[str, Path]) -> str:
    """The clock, the disks, the network: an address of QEMU's, and the API on loopback let in from there alone."""
    mounts = [
        f"mkdir -p {folder}; mount -o ro /dev/vd{letter} {folder}"
        for letter, folder in zip("bcdef", disks, strict=False)
    ]
    return "\n".join(
        [
            f"set -e; date -s @{int(time.time())} >/dev/null",
            *mounts,
            "ip link set eth0 up; ip address add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2",
            "sysctl -q net.ipv4.conf.eth0.route_localnet=1",
            f"nft 'table ip machine {{ chain api {{ type nat hook prerouting priority -100;"
            f" iifname eth0 tcp dport {API} dnat to 127.0.0.1:{API}; }}; }}'",
        ]
    )
