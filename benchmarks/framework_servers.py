"""
The servers that other frameworks keep their tasks in, and the environment they run in.

Each round has a server of its own, on a free port, with its files in a folder that
goes when the round ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "build" / "peers"
PINNED = ROOT / "requirements" / "peers.txt"

#: How long a server may take to start, seconds.
START_S = 20.0

#: Where Debian and Ubuntu have what a PostgreSQL server needs.
_POSTGRESQL = Path("/usr/lib/postgresql")

NO_REDIS = (
    "redis-server is not installed: Celery, dramatiq, RQ and Huey are measured with it."
    " On Debian and Ubuntu: apt-get install redis-server"
)
NO_POSTGRESQL = (
    "PostgreSQL's server is not installed: Procrastinate is measured with it."
    " On Debian and Ubuntu: apt-get install postgresql"
)


def peers_python() -> Path:
    """The interpreter of the peers' environment, which is made where it is not up to date."""
    stamp = PEERS / "installed.txt"
    python = PEERS / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != PINNED.read_text():
        venv.create(PEERS, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "-r", str(PINNED)], check=True, cwd=ROOT
        )
        stamp.write_text(PINNED.read_text())
    return python


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder that goes when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="taskqueue-frameworks-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(
    command: list[str],
    folder: Path,
    name: str,
    *,
    user: str | None = None,
    end_with: signal.Signals = signal.SIGTERM,
    **more: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """
    A process for as long as the block runs; what it says goes to a file in C{folder}.

    @param user: who runs it.
    @param more: of its environment.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=ROOT, env=environment, user=user
        )
    try:
        yield process
    finally:
        process.send_signal(end_with)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_ready(name: str, folder: Path, process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_S
    while not _answers(name, port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{name} did not start:\n{(folder / f'{name}.log').read_text()}")
        time.sleep(0.01)


def _answers(name: str, port: int) -> bool:
    """Whether the server there is ready."""
    if name == "postgresql":
        asked = subprocess.run(
            [
                shutil.which("pg_isready") or "pg_isready",
                "-q",
                "-h",
                "127.0.0.1",
                "-p",
                str(port),
                "-U",
                "postgres",
            ],
            check=False,
        )
        return asked.returncode == 0
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


@contextmanager
def redis(folder: Path, sync: str) -> Iterator[str]:
    """
    A Redis of its own; its address, without a database.

    @param sync: when it syncs its file: C{"everysec"} or C{"always"}.
    """
    if shutil.which("redis-server") is None:
        raise SystemExit(NO_REDIS)
    port = free_port()
    command = [
        "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder),
        "--save", "", "--appendonly", "yes", "--appendfsync", sync,
    ]  # fmt: skip
    with running(command, folder, "redis") as process:
        _until_ready("redis", folder, process, port)
        yield f"redis://127.0.0.1:{port}"


def postgresql_programs() -> Path:
    """
    The folder of initdb and postgres, of the newest version that is there.

    @raises SystemExit: there is none.
    """
    found = sorted(_POSTGRESQL.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    initdb = found[-1] if found else shutil.which("initdb")
    if initdb is None:
        raise SystemExit(NO_POSTGRESQL)
    return Path(initdb).resolve().parent


@contextmanager
def postgresql(folder: Path, commit: str) -> Iterator[str]:
    """
    A PostgreSQL of its own, with an empty database; its address.

    It refuses to be run by root: then it belongs to the user C{postgres}, whom its
    package makes.

    @param commit: its C{synchronous_commit}: C{"on"} or C{"off"}.
    """
    programs, port, data = postgresql_programs(), free_port(), folder / "database"
    user = "postgres" if os.geteuid() == 0 else None
    data.mkdir()
    if user is not None:
        folder.chmod(0o711)
        shutil.chown(data, user)
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8"],
        check=True,
        capture_output=True,
        user=user,
        cwd="/",
    )
    command = [
        str(programs / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", "",
        "-c", f"synchronous_commit={commit}", "-c", "shared_buffers=256MB",
    ]  # fmt: skip
    with running(command, folder, "postgresql", user=user, end_with=signal.SIGINT) as process:
        _until_ready("postgresql", folder, process, port)
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
