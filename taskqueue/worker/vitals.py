"""
What a worker says of its process.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
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
    """This process, as the operating system sees it."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent(None)
        self._looked_at = time.monotonic()
        self._cpu_percent: float | None = None

    def vitals(self) -> Vitals:
        """What it takes now."""
        now = time.monotonic()
        if now - self._looked_at >= SHORTEST_LOOK_S:
            self._looked_at = now
            self._cpu_percent = self._process.cpu_percent(None)
        return Vitals(self._cpu_percent, self._process.memory_info().rss)


def make_worker_id() -> str:
    """A name for a worker of this process: host, process id, and some random letters."""
    host = re.sub(r"[^A-Za-z0-9_\-.]", "-", socket.gethostname())[:80] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"
