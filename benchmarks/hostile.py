"""
What is left of a broker while it is attacked: legitimate throughput as a share of that
without the attack, and how much memory the broker takes at most.

Rounds with and without the attack alternate; the share is that of each pair, and its
median is what counts.  Attacker, load and broker share the machine: what the attacker takes
of it by itself is missing too, so a share here is a lower bound.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks.brokers import BrokerProcess
from benchmarks.secure import put_load
from benchmarks.servers import free_port
from taskqueue.wire import MessageType, encode

LOOPBACK = "127.0.0.1"
MIB = 2**20

#: Of the throughput without an attack, so much should be left.
GOAL = 0.5

#: How long an attack is under way before anything is measured, seconds.
UNDER_WAY_S = 1.0

HELLO = encode(MessageType.HELLO, {"versions": [1]})
_BODY = b"POST /api/v1/tasks HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\n"


class Ports(NamedTuple):
    """Where the broker listens."""

    framed: int
    lines: int
    http: int


def _connect(port: int, *said: bytes) -> socket.socket:
    connection = socket.create_connection((LOOPBACK, port), timeout=5)
    for data in said:
        connection.sendall(data)
    return connection


def _keep_saying(doors: list[tuple[int, bytes]], again: bytes, crowd: int, pause_s: float) -> None:
    """
    Of each door C{crowd} connections, which say C{again} again and again, and never read; who is
    sent away comes back.
    """
    held: list[tuple[tuple[int, bytes], socket.socket | None]]
    held = [(door, None) for door in doors for _ in range(crowd)]
    pause = threading.Event()
    while True:
        for place, (door, connection) in enumerate(held):
            try:
                if connection is None:
                    connection = _connect(*door)
                connection.setblocking(False)
                connection.send(again)
            except BlockingIOError:
                pass
            except OSError:
                if connection is not None:
                    connection.close()
                connection = None
            held[place] = (door, connection)
        pause.wait(pause_s)


def slow(ports: Ports) -> None:
    """Bytes dribbled at each door: 600 connections, 10 bytes a second each."""
    doors = [(ports.framed, HELLO + b"\0\0\x10"), (ports.lines, b"["), (ports.http, b"GET /")]
    _keep_saying(doors, b"1", 200, 0.1)


def connections(ports: Ports) -> None:
    """As many connections as there may be and more, each of which says HELLO and stays."""
    held = []
    while True:
        with suppress(OSError):
            held.append(_connect(ports.framed, HELLO))
        if len(held) > 900:
            held.pop(0).close()


def _keep_beginning(ports: Ports, pause_s: float) -> None:
    doors = [
        (ports.framed, HELLO + (10 * MIB).to_bytes(4, "big") + b"\x02"),
        (ports.http, _BODY + b"Content-Length: %d\r\n\r\n" % (10 * MIB)),
    ]
    _keep_saying(doors, b" " * MIB, 20, pause_s)


def halves(ports: Ports) -> None:
    """Frames and bodies of 10 MiB that are never finished, at the speed of a gigabit network."""
    _keep_beginning(ports, 0.33)


def halves_local(ports: Ports) -> None:
    """The same as fast as one machine can send to itself, up to 800 MiB a second."""
    _keep_beginning(ports, 0.05)


def payloads(ports: Ports) -> None:
    """Whole tasks of 10 MiB, one after another, far more than fit."""
    task = {"type": "t", "queue": "storm", "payload": bytes(10 * MIB)}
    request = encode(MessageType.SUBMIT_TASK, {"id": 1, "tasks": [task]})
    connection = _connect(ports.framed, HELLO)
    connection.settimeout(60)
    while True:
        connection.sendall(request)
        connection.recv(65536)


def bombs(ports: Ports) -> None:
    """JSON with a hundred thousand levels, and with a number of a million digits."""
    connection = _connect(ports.lines)
    connection.settimeout(60)
    while True:
        for bomb in (b"[" * 100_000, b'{"op":"ping","id":' + b"9" * 1_000_000 + b"}"):
            connection.sendall(bomb + b"\n")
            connection.recv(65536)


def requests(ports: Ports) -> None:
    """Requests over HTTP as fast as they are answered, most with 429."""
    connection = _connect(ports.http)
    connection.settimeout(60)
    while True:
        connection.sendall(b"GET /api/v1/tasks?limit=1000 HTTP/1.1\r\nHost: b\r\n\r\n")
        connection.recv(4 * MIB)


def unread(ports: Ports) -> None:
    """Pages of tasks that are asked for over frames and HTTP, and never read."""
    page = encode(MessageType.LIST_TASKS, {"limit": 1000})
    get = b"GET /api/v1/tasks?limit=1000 HTTP/1.1\r\nHost: b\r\n\r\n"
    doors = [(ports.framed, HELLO + page), (ports.http, get * 20)]
    _keep_saying(doors, b"", 20, 0.1)


ATTACKS: dict[str, Callable[[Ports], None]] = {
    each.__name__: each
    for each in (slow, connections, halves, halves_local, payloads, bombs, requests, unread)
}


def peak_bytes(pid: int) -> int:
    """How much memory a process has taken at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


@contextmanager
def attacked(name: str, ports: Ports) -> Iterator[None]:
    """For as long as the block runs, somebody attacks."""
    command = [sys.executable, "-m", "benchmarks.hostile", "--attack", name]
    attacker = subprocess.Popen([*command, *map(str, ports)], stderr=subprocess.DEVNULL)
    try:
        time.sleep(UNDER_WAY_S)
        yield
        if attacker.poll() is not None:
            raise RuntimeError(f"the attack {name!r} ended by itself")
    finally:
        attacker.kill()
        attacker.wait()


def measure(name: str, rounds: int, count: int, durability: str) -> tuple[float, float, int, int]:
    """
    One attack, on a broker of its own.

    @return: tasks a second without it, the share that is left, and the broker's memory before
        and at its peak, bytes.
    """
    lines, web = free_port(), free_port()
    settings = (
        f"listen.lines=tcp:{lines}:interface={LOOPBACK}",
        f"http.listen=tcp:{web}:interface={LOOPBACK}",
        "broker.max_held_bytes=64MiB",
        "limits.max_buffered_bytes=64MiB",
    )
    with BrokerProcess(durability, *settings) as broker:
        ports = Ports(broker.port, lines, web)
        put_load(broker, 50, count // 4)
        before, pairs = peak_bytes(broker.usage.pid), []
        for _ in range(rounds):
            calm = put_load(broker, 50, count)["tasks_per_s"]
            with attacked(name, ports):
                pairs.append((calm, put_load(broker, 50, count)["tasks_per_s"]))
        share = statistics.median(left / calm for calm, left in pairs)
        calm = statistics.median(calm for calm, _ in pairs)
        return calm, share, before, peak_bytes(broker.usage.pid)


def main() -> int:
    """Measure; the status says whether the goal is reached under every attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=40_000, help="tasks of each round")
    parser.add_argument("--durability", default="fsync")
    parser.add_argument("--only", choices=ATTACKS, action="append")
    parser.add_argument("--attack", choices=ATTACKS, help=argparse.SUPPRESS)
    parser.add_argument("ports", type=int, nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack:
        ATTACKS[options.attack](Ports(*options.ports))
    reached = True
    print("| attack | tasks/s without | share left | memory before | at most |")
    print("| --- | --- | --- | --- | --- |")
    for name in options.only or ATTACKS:
        calm, share, before, peak = measure(name, options.rounds, options.count, options.durability)
        reached = reached and share >= GOAL
        memory = f"{before / MIB:.0f} MiB | {peak / MIB:.0f} MiB"
        print(f"| {name} | {calm:,.0f} | {share:.0%} | {memory} |", flush=True)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
