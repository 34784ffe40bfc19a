"""
PostgreSQL for a round, and workers of other frameworks.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.contest import Unavailable
from benchmarks.install import ROOT, program
from benchmarks.servers import START_S, Server, Start, free_port, own_folder

#: How long a process may take to end, seconds.
END_S = 30.0


@contextmanager
def running(
    command: list[str],
    log: Path,
    *,
    user: str | None = None,
    end_with: signal.Signals = signal.SIGTERM,
    **more: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """
    A process for as long as the block runs; what it says goes to a file.

    @param user: who runs it.
    @param more: of its environment.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=said, cwd=ROOT, env=environment, user=user
        )
    try:
        yield process
    finally:
        process.send_signal(end_with)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _own(folder: Path) -> str | None:
    """
    Who is to run PostgreSQL, which refuses to be run by root: then it is the user
    whom its package makes, and the folder is theirs.
    """
    if os.geteuid() != 0:
        return None
    try:
        shutil.chown(folder, "postgres")
    except LookupError:
        raise Unavailable("PostgreSQL is not run by root, and there is no user postgres") from None
    return "postgres"


@contextmanager
def _postgresql(commit: str) -> Iterator[Server]:
    server = program("postgres")
    if server is None:
        raise Unavailable("postgres is not installed")
    programs = server.resolve().parent
    with own_folder() as folder:
        port, data = free_port(), folder / "database"
        folder.chmod(0o711)
        data.mkdir()
        user = _own(data)
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8"],
            check=True, capture_output=True, user=user, cwd="/",
        )  # fmt: skip
        command = [
            *(str(server), "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", ""),
            *("-c", f"synchronous_commit={commit}", "-c", "shared_buffers=256MB"),
        ]
        log = folder / "postgresql.log"
        with running(command, log, user=user, end_with=signal.SIGINT) as process:
            _until_ready(programs / "pg_isready", port, process, log)
            yield Server(port, process.pid)


def _until_ready(asking: Path, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    command = [asking, "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]
    deadline = time.monotonic() + START_S
    while subprocess.run(command, check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            raise Unavailable(f"PostgreSQL did not start: {log.read_text()[-1000:]}")
        time.sleep(0.02)


def postgresql(commit: str) -> Start:
    """
    PostgreSQL, with an empty database.

    @param commit: its C{synchronous_commit}: C{"on"} or C{"off"}.
    """
    return Start(f"synchronous_commit={commit} shared_buffers=256MB", partial(_postgresql, commit))
