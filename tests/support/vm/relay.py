"""One connection out of a test machine: QEMU starts this for each, with the guest's side as standard input and output.

Usage: relay.py ADDRESS PORT, on this machine's loopback. Where nobody listens there, the guest's connection ends.
"""

import os
import socket
import sys
import threading


def copy(source: int, target: int) -> None:
    while data := os.read(source, 65536):
        while data:
            data = data[os.write(target, data) :]


def outward(there: socket.socket) -> None:
    try:
        copy(0, there.fileno())
        there.shutdown(socket.SHUT_WR)
    except OSError:
        os._exit(1)


def main() -> None:
    there = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    threading.Thread(target=outward, args=(there,), daemon=True).start()
    copy(there.fileno(), 1)
    os._exit(0)  # the other direction has nobody left to talk to


main()
