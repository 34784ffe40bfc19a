"""
What a worker says of its process.
"""

from __future__ import annotations

import os
import secrets
import socket
from re import sub
from typing import NamedTuple

import psutil


class Vitals(NamedTuple):
    """
    @ivar cpu_percent: since the last look, of one processor.
    @ivar rss_bytes: memory in use.
    """

    cpu_percent: float
    rss_bytes: int


class Process:
    """This process, as the operating system sees it."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent(None)

    def vitals(self) -> Vitals:
        """What it takes now."""
        return Vitals(self._process.cpu_percent(None), self._process.memory_info().rss)


def make_worker_id() -> str:
    """A name for a worker of this process: host, process id, and some random letters."""
    host = sub(r"[^A-Za-z0-9_\-.]", "-", socket.gethostname())[:80] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"
