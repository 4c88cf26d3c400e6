#!/usr/bin/python3
"""Runs in the test machine: a JSON line ``{"cmd", "timeout"}`` in, a JSON line ``{"rc", "out"}`` out, over virtio."""

import json
import subprocess
import time


def run(job):
    try:
        done = subprocess.run(
            ["/bin/bash", "-c", job["cmd"]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=job["timeout"],
        )
    except subprocess.TimeoutExpired as error:
        return {"rc": 124, "out": (error.stdout or b"").decode(errors="replace")}
    return {"rc": done.returncode, "out": done.stdout.decode(errors="replace")}


def opened():
    """The port, however long the machine takes to find it; open as long as it runs."""
    while True:
        try:
            return open("/dev/virtio-ports/vm.cmd", "r+b", buffering=0)
        except FileNotFoundError:
            time.sleep(0.2)


def main():
    port = opened()
    port.write(b'{"ready":true}\n')
    pending = b""
    while True:
        chunk = port.read(65536)
        if not chunk:  # the host's side is closed: a read returns at once
            time.sleep(0.1)
            continue
        pending += chunk
        while b"\n" in pending:
            line, pending = pending.split(b"\n", 1)
            answer = json.dumps(run(json.loads(line))).encode() + b"\n"
            while answer:
                answer = answer[port.write(answer) :]


main()
