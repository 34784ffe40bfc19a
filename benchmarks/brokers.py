"""
A broker process to put load on, and what it costs the machine.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import psutil

_PORT = re.compile(r"taskqueue \(framed\) on .*port=(\d+)")

#: How long a broker may take to start, seconds.
START_S = 60.0


class BrokerProcess:
    """
    C{twistd -n taskqueue} on a free port, with its data in a folder of its own.

    @ivar port: where it speaks frames.
    """

    def __init__(
        self,
        durability: str = "fsync",
        *settings: str,
        folder: str | None = None,
        listen: str = "tcp:0:interface=127.0.0.1",
    ) -> None:
        """
        @param settings: C{section.key=value} each.
        @param folder: kept at the end, where given.
        """
        self._temporary = None if folder else tempfile.mkdtemp(prefix="taskqueue-bench-")
        self.folder = Path(folder or str(self._temporary))
        self._log = self.folder / "broker.log"
        self._arguments = [
            str(Path(sys.executable).with_name("twistd")),
            "--pidfile=",
            "-n",
            "taskqueue",
            f"--listen={listen}",
            f"--data-dir={self.folder / 'data'}",
            f"--durability={durability}",
            "--set=http.listen=",
            "--set=broker.queue_depth_threshold=20000000",
            "--set=broker.max_held_bytes=16GiB",
            *(f"--set={setting}" for setting in settings),
        ]
        self.port = 0

    def __enter__(self) -> BrokerProcess:
        started = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._arguments, stdout=log, stderr=log, cwd=self.folder
            )
        self.usage = psutil.Process(self._process.pid)
        while not self.port:
            found = _PORT.search(self._log.read_text())
            if found is not None:
                self.port = int(found[1])
            elif self._process.poll() is not None or time.perf_counter() - started > START_S:
                raise RuntimeError(f"the broker did not start:\n{self._log.read_text()}")
            else:
                time.sleep(0.01)
        self.start_s = time.perf_counter() - started
        return self

    def cpu_s(self) -> float:
        """Seconds of processor time that it has used."""
        times = self.usage.cpu_times()
        return times.user + times.system

    def rss_bytes(self) -> int:
        """Its resident memory."""
        return int(self.usage.memory_info().rss)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
