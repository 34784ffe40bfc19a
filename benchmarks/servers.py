"""
Peers' servers: each starts on a free port, with its data in a folder that goes
when it stops.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.brokers import BrokerProcess
from benchmarks.contest import Unavailable
from benchmarks.install import ROOT, program

#: Where data goes: on the disk of the checkout, for everybody.
DATA = ROOT / "build" / "bench" / "data"

#: How long a server may take to start, seconds.
START_S = 60.0


class Server(NamedTuple):
    """A server that runs."""

    port: int
    pid: int


class Start(NamedTuple):
    """
    How a server is started.

    @ivar settings: those that decide what it promises, in its own words.
    """

    settings: str
    run: Callable[[], AbstractContextManager[Server]]


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder that goes when the block ends."""
    DATA.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=DATA))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def answers(port: int, said: bytes = b"", expected: bytes = b"") -> bool:
    """Whether the server there is ready: it answers C{said} with what begins as C{expected}."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.settimeout(1)
            if said:
                connection.sendall(said)
            return not expected or connection.recv(64).startswith(expected)
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def running(
    command: list[str], folder: Path, ready: Callable[[], bool], **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """
    A server for as long as the block runs; what it says goes to a file in C{folder}.

    @param ready: whether it can be spoken to.
    @param more: its environment, beside what is there.
    @raises Unavailable: if it is not installed, or does not start.
    """
    where = program(command[0])
    if where is None:
        raise Unavailable(f"{command[0]} is not installed")
    path = folder / "server.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [str(where), *command[1:]],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
            env={**os.environ, **more},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_S
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"{command[0]} did not start: {path.read_text()[-1000:]}")
            time.sleep(0.02)
        yield process
    finally:
        _stop(process)


@contextmanager
def _beanstalkd(sync: str | None) -> Iterator[Server]:
    with own_folder() as folder:
        port = free_port()
        settings = ["-b", str(folder), sync] if sync else []
        command = ["beanstalkd", "-l", "127.0.0.1", "-p", str(port), *settings]
        with running(command, folder, lambda: answers(port)) as process:
            yield Server(port, process.pid)


def beanstalkd(sync: str | None) -> Start:
    """
    beanstalkd.

    @param sync: how it syncs its log, as its option; None for no log.
    """
    return Start(f"-b FOLDER {sync}" if sync else "no log", partial(_beanstalkd, sync))


@contextmanager
def _in_its_place(sync: str | None) -> Iterator[Server]:
    with own_folder() as folder:
        port = free_port()
        settings = ["-b", str(folder / "data"), sync] if sync else []
        options = ["--beanstalkd", "-l", "127.0.0.1", "-p", str(port), *settings]
        twistd = str(Path(sys.executable).with_name("twistd"))
        command = [twistd, "--pidfile=", "-n", "taskqueue", *options]
        with running(command, folder, lambda: answers(port)) as process:
            yield Server(port, process.pid)


def in_beanstalkds_place(sync: str | None) -> Start:
    """
    taskqueue, started and spoken to as beanstalkd is.

    @param sync: as for L{beanstalkd}.
    """
    settings = f" -b FOLDER {sync}" if sync else ""
    return Start(f"--beanstalkd{settings}", partial(_in_its_place, sync))


@contextmanager
def _redis(settings: list[str]) -> Iterator[Server]:
    with own_folder() as folder:
        port = free_port()
        command = [
            "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder),
            *settings,
        ]  # fmt: skip
        with running(command, folder, lambda: answers(port, b"PING\r\n", b"+PONG")) as process:
            yield Server(port, process.pid)


def redis(sync: str | None) -> Start:
    """
    Redis, without snapshots.

    @param sync: C{appendfsync}; None for no file at all.
    """
    file = ["--appendonly", "yes", "--appendfsync", sync] if sync else ["--appendonly", "no"]
    settings = ["--save", "", *file]
    return Start(shlex.join(settings), partial(_redis, settings))


@contextmanager
def _gearmand() -> Iterator[Server]:
    with own_folder() as folder:
        port = free_port()
        command = [
            "gearmand", "--listen", "127.0.0.1", "--port", str(port), "--log-file", "stderr",
        ]  # fmt: skip
        with running(command, folder, lambda: answers(port)) as process:
            yield Server(port, process.pid)


GEARMAND = Start("no queue plug-in: everything is in memory", _gearmand)


@contextmanager
def _nats(settings: str) -> Iterator[Server]:
    with own_folder() as folder:
        port = free_port()
        configuration = folder / "nats.conf"
        configuration.write_text(settings.replace("FOLDER", f'"{folder}"'))
        command = ["nats-server", "-c", str(configuration), "-a", "127.0.0.1", "-p", str(port)]
        with running(command, folder, lambda: answers(port, b"", b"INFO ")) as process:
            yield Server(port, process.pid)


def nats() -> Start:
    """JetStream in files, each written message synced before it is acknowledged."""
    settings = "jetstream { store_dir: FOLDER, sync_interval: always }"
    return Start(settings, partial(_nats, settings))


@contextmanager
def _rabbitmq() -> Iterator[Server]:
    with own_folder() as folder:
        port, distribution, mapper = free_port(), free_port(), free_port()
        environment = {
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"race{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(folder),
            "RABBITMQ_LOG_BASE": str(folder),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        }
        try:
            with running(
                ["rabbitmq-server"], folder,
                lambda: answers(port, b"AMQP\0\0\x09\x01", b"\x01"), **environment,
            ) as process:  # fmt: skip
                yield Server(port, process.pid)
        finally:
            _end_port_mapper(environment)


def _end_port_mapper(environment: dict[str, str]) -> None:
    epmd = program("epmd")
    if epmd is not None:
        subprocess.run(
            [epmd, "-kill"], env={**os.environ, **environment}, check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


#: A node of its own, as it comes, with the port mapper that it starts.
RABBITMQ = Start("no plug-ins, default configuration", _rabbitmq)


@contextmanager
def _taskqueue(durability: str, *settings: str) -> Iterator[Server]:
    with (
        own_folder() as folder,
        BrokerProcess(durability, *settings, folder=str(folder)) as broker,
    ):
        yield Server(broker.port, broker.usage.pid)


def taskqueue(durability: str) -> Start:
    """
    taskqueue, with its store in SQLite and no HTTP.

    @param durability: as its setting names it.
    """
    return Start(f"broker.durability={durability} http.listen=", partial(_taskqueue, durability))


def taskqueue_in_memory() -> Start:
    """taskqueue, with its store in memory and no HTTP: there is no disk to wait for."""
    settings = "store.kind=memory"
    return Start(
        f"{settings} broker.durability=none http.listen=", partial(_taskqueue, "none", settings)
    )
