"""
Put, reserve, delete: durable, relaxed and in memory, beside the brokers that
people would pick instead.

Every round starts a server of its own.  The load is one process that speaks each
protocol with bytes that were made before: two connections submit, ten work, and a
bounded number of tasks is unfinished at a time.  What suits a peer, of the styles
and batch sizes that its protocol has, is tried out before the rounds.
"""

from __future__ import annotations

import json
import subprocess
from functools import partial
from typing import Any

from benchmarks import servers
from benchmarks.contest import Contestant, Numbers, Race, Variant
from benchmarks.floor import syncs
from benchmarks.install import ROOT, peers_python
from benchmarks.peers.course import percentile

_COLUMNS = ("server_cores", "generator_cores", "server_us")

DURABLE = Race(
    "durable",
    "Durable end to end: each acknowledged when it is on the disk",
    "tasks_per_s",
    "tasks/s",
    columns=(*_COLUMNS, "sync_ms"),
)
RELAXED = Race(
    "relaxed",
    "Relaxed: the last moments may be lost with the machine",
    "tasks_per_s",
    "tasks/s",
    columns=_COLUMNS,
)
MEMORY = Race("memory", "In memory", "tasks_per_s", "tasks/s", columns=_COLUMNS)

RACES = (DURABLE, RELAXED, MEMORY)

#: The styles, which are compared each with its like.
BATCHES, SINGLES, ALONE = (
    "pipelined, batches",
    "pipelined, one task a request",
    "one request at a time, one connection",
)

#: Before it counts, seconds.
WARM_UP_S = 0.7

#: For a look at the disk before, seconds.
SYNC_S = 0.2

#: How many requests of a producer are under way.
WINDOWS = (2, 4)


def generate(server: servers.Server, peer: str, load: str, **options: Any) -> Numbers:
    """
    Put load on a server.

    @raises subprocess.CalledProcessError: if the generator fails; it says why.
    """
    told = {"peer": peer, "load": load, "port": server.port, "pid": server.pid, **options}
    done = subprocess.run(
        [str(peers_python()), "-m", "benchmarks.peers.drive", json.dumps(told)],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    numbers: Numbers = json.loads(done.stdout)
    return numbers


def backlog(batch: int, window: int) -> int:
    """So many unfinished tasks keep everyone busy, and are soon done."""
    return 2 * batch * (2 * window + 10)


def sync_ms() -> float:
    """
    How long the disk takes just now; it is not always as quick, and in which rounds it
    was slower decides who looks slow.
    """
    with servers.own_folder() as folder:
        return 1000 * percentile(syncs(folder, SYNC_S), 0.5)


def closed(start: servers.Start, peer: str, variant: Variant, seconds: float) -> Numbers:
    """A round of batches, or of single tasks."""
    bound = backlog(variant["batch"], variant["window"])
    disk = sync_ms()
    with start.run() as server:
        numbers = generate(
            server, peer, "closed",
            seconds=seconds, warm_up_s=WARM_UP_S, backlog=bound, **variant,
        )  # fmt: skip
    return {**numbers, "sync_ms": disk}


def alone(start: servers.Start, peer: str, variant: Variant, seconds: float) -> Numbers:
    """A round of one request at a time."""
    disk = sync_ms()
    with start.run() as server:
        numbers = generate(server, peer, "one", seconds=seconds, warm_up_s=WARM_UP_S, **variant)
    return {**numbers, "sync_ms": disk}


def variants(batches: tuple[int, ...], **styles: tuple[str, ...]) -> tuple[Variant, ...]:
    """
    Every batch size with every window, and with every value of C{styles}, of which
    there is one at most.
    """
    sizes = [{"batch": batch, "window": window} for batch in batches for window in WINDOWS]
    for name, values in styles.items():
        sizes = [{**size, name: value} for size in sizes for value in values]
    return tuple(sizes)


def entrants(
    race: Race,
    name: str,
    promise: str,
    start: servers.Start,
    peer: str,
    batches: tuple[int, ...],
    **styles: tuple[str, ...],
) -> list[Contestant]:
    """A peer in its three styles."""
    many, single = partial(closed, start, peer), partial(alone, start, peer)
    own = {key: value for key, (value, *_) in styles.items() if key == "kind"}
    singles = tuple({"batch": 1, "window": 50, **style} for style in variants_of(styles))
    return [
        Contestant(race.key, name, style, promise, measure, tried, start.settings)
        for style, measure, tried in (
            (BATCHES, many, variants(batches, **styles)),
            (SINGLES, many, singles),
            (ALONE, single, (own,)),
        )
    ]


def variants_of(styles: dict[str, tuple[str, ...]]) -> list[Variant]:
    """One variant for every value, or an empty one."""
    found = [{name: value} for name, values in styles.items() for value in values]
    return found or [{}]


ON_DISK = "each answer is on the disk"
MOMENTS = "synced ten times a second or so"
NOTHING = "nothing outlives the process"

OWN_BATCHES = (50, 100, 200)
LINES = (10, 50, 100)


def _redis(race: Race, name: str, promise: str, sync: str | None) -> list[Contestant]:
    start = servers.redis(sync)
    whole = "script; a batch is acknowledged as a whole"
    return [
        *entrants(race, name, promise, start, "redis", (50, 100, 200), style=("list", "stream")),
        Contestant(
            race.key, f"{name}, batches as one", BATCHES, f"{promise}; {whole}",
            partial(closed, start, "redis"), variants((100, 200), style=("script",)),
            start.settings,
        ),
        Contestant(
            race.key, f"{name}, redis-py", ALONE, promise,
            partial(alone, start, "redis"), ({"client": "redis-py"},), start.settings,
        ),
    ]  # fmt: skip


def durable() -> list[Contestant]:
    """Who takes part in the durable race."""
    unsynced_acks = "confirms are synced or the task is done; the end of a task is not confirmed"
    return [
        *entrants(DURABLE, "taskqueue fsync", ON_DISK, servers.taskqueue("fsync"),
                  "taskqueue", OWN_BATCHES),
        *entrants(DURABLE, "beanstalkd -f0", ON_DISK, servers.beanstalkd("-f0"),
                  "beanstalkd", LINES),
        *entrants(DURABLE, "taskqueue as beanstalkd -f0", ON_DISK,
                  servers.in_beanstalkds_place("-f0"), "beanstalkd", LINES),
        *_redis(DURABLE, "Redis always", ON_DISK, "always"),
        *entrants(DURABLE, "RabbitMQ classic queue", unsynced_acks, servers.RABBITMQ,
                  "rabbitmq", OWN_BATCHES, kind=("classic",)),
        *entrants(DURABLE, "RabbitMQ quorum queue", unsynced_acks, servers.RABBITMQ,
                  "rabbitmq", OWN_BATCHES, kind=("quorum",)),
        *entrants(DURABLE, "NATS JetStream always", ON_DISK, servers.nats(), "nats",
                  LINES, style=("messages", "atomic")),
    ]  # fmt: skip


def relaxed() -> list[Contestant]:
    """Who takes part in the relaxed race."""
    return [
        *entrants(RELAXED, "taskqueue interval", "synced every 100 ms",
                  servers.taskqueue("interval"), "taskqueue", OWN_BATCHES),
        *entrants(RELAXED, "beanstalkd -f50", "synced every 50 ms",
                  servers.beanstalkd("-f50"), "beanstalkd", LINES),
        *_redis(RELAXED, "Redis everysec", "synced every second", "everysec"),
    ]  # fmt: skip


def memory() -> list[Contestant]:
    """Who takes part in the race in memory."""
    return [
        *entrants(MEMORY, "taskqueue none", "written, never synced",
                  servers.taskqueue("none"), "taskqueue", OWN_BATCHES),
        *entrants(MEMORY, "taskqueue memory", NOTHING,
                  servers.taskqueue_in_memory(), "taskqueue", OWN_BATCHES),
        *entrants(MEMORY, "beanstalkd", NOTHING, servers.beanstalkd(None),
                  "beanstalkd", LINES),
        *entrants(MEMORY, "taskqueue as beanstalkd", NOTHING,
                  servers.in_beanstalkds_place(None), "beanstalkd", LINES),
        *_redis(MEMORY, "Redis", NOTHING, None),
        *entrants(MEMORY, "gearmand", f"{NOTHING}; the end of a task is not answered",
                  servers.GEARMAND, "gearmand", LINES),
    ]  # fmt: skip


def contestants(quick: bool) -> list[Contestant]:
    """Everyone; a quick race has fewer variants only."""
    return [*durable(), *relaxed(), *memory()]
