"""
What a worker says of its process.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
from collections.abc import Iterable
from typing import NamedTuple

import psutil

#: The shortest time over which a share of a processor means something, seconds.
SHORTEST_LOOK_S = 0.5


class Vitals(NamedTuple):
    """
    @ivar cpu_percent: since the last look, of one processor; C{None} at first.
    @ivar rss_bytes: memory in use.
    """

    cpu_percent: float | None
    rss_bytes: int


class Process:
    """This process and its children, as the operating system sees them."""

    def __init__(self) -> None:
        self._own = psutil.Process()
        self._own.cpu_percent(None)
        self._children: dict[int, psutil.Process] = {}
        self._looked_at = time.monotonic()
        self._cpu_percent: float | None = None

    def vitals(self, children: Iterable[int] = ()) -> Vitals:
        """
        What they take now.

        @param children: process ids.
        """
        processes = [self._own, *self._known(children)]
        now = time.monotonic()
        if now - self._looked_at >= SHORTEST_LOOK_S:
            self._looked_at = now
            self._cpu_percent = sum(_cpu_percent(process) for process in processes)
        return Vitals(self._cpu_percent, sum(map(_rss_bytes, processes)))

    def _known(self, pids: Iterable[int]) -> list[psutil.Process]:
        """Their processes; a share of a processor is measured since the look before."""
        before, self._children = self._children, {}
        for pid in pids:
            try:
                self._children[pid] = before.get(pid) or psutil.Process(pid)
            except psutil.Error:  # it has just ended
                continue
        return list(self._children.values())


def _cpu_percent(process: psutil.Process) -> float:
    try:
        return process.cpu_percent(None)
    except psutil.Error:
        return 0.0


def _rss_bytes(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def make_worker_id() -> str:
    """A name for a worker of this process: host, process id, and some random letters."""
    host = re.sub(r"[^A-Za-z0-9_\-.]", "-", socket.gethostname())[:80] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"
