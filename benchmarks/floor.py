"""
The machine's own floor: how long a sync of the disk takes, and a round trip over
the loopback to a process that only echoes.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.contest import Numbers
from benchmarks.peers.course import percentile
from benchmarks.servers import own_folder

#: What is written before each sync: a page of a file that is as long before as after,
#: as a log is that was allocated ahead.
PAGE = b"x" * 4096
PAGES = 256

#: Of a round trip.
MESSAGE = b"x" * 128

#: What echoes; no framework in between.
ECHO = """
import socket
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen()
print(listening.getsockname()[1], flush=True)
peer, _ = listening.accept()
peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
while data := peer.recv(65536):
    peer.sendall(data)
"""


def syncs(folder: Path, seconds: float) -> list[float]:
    """How long writing and syncing a page takes each time, seconds."""
    took = []
    with (folder / "pages").open("wb", buffering=0) as file:
        file.write(PAGE * PAGES)
        os.fsync(file.fileno())
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            os.pwrite(file.fileno(), PAGE, len(took) % PAGES * len(PAGE))
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return took


def round_trips(seconds: float) -> list[float]:
    """How long a message takes there and back each time, seconds."""
    took = []
    with subprocess.Popen([sys.executable, "-c", ECHO], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end = time.perf_counter() + seconds
            while (began := time.perf_counter()) < end:
                connection.sendall(MESSAGE)
                connection.recv(4096)
                took.append(time.perf_counter() - began)
    return took


def measure(seconds: float) -> Numbers:
    """Both, half of C{seconds} each; milliseconds."""
    with own_folder() as folder:
        measured = {"sync": syncs(folder, seconds / 2), "round_trip": round_trips(seconds / 2)}
    return {
        f"{name}_{label}_ms": 1000 * percentile(times, share)
        for name, times in measured.items()
        for label, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))
    }
