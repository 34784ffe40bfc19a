"""
How long a task takes from the moment it is due until its producer has the answer,
and until a waiting worker has the task: an open loop, at fixed rates.

Every time counts from the moment the task was due, not from when the generator got
round to sending it.  One connection submits, ten wait for one task each.
"""

from __future__ import annotations

from functools import partial

from benchmarks import floor, servers
from benchmarks.contest import Contestant, Numbers, Race, Variant
from benchmarks.throughput import NOTHING, ON_DISK, generate

RATES = (100, 1_000, 5_000)

_LABELS = ("p50", "p99", "p999")

RACE = Race(
    "latency",
    "Latency of an open loop",
    "claimed_p99_ms",
    "ms p99 to claimed",
    higher_is_better=False,
    note="The floor is a sync of the disk and a round trip, the times of both added up.",
    columns=(
        *(f"ack_{label}_ms" for label in _LABELS),
        *(f"claimed_{label}_ms" for label in _LABELS),
        "done_per_s",
        "server_cores",
    ),
)

RACES = (RACE,)

FLOOR = "the machine's floor"

#: The floor is steady: it needs no more, seconds.
FLOOR_S = 2.0


def measure(
    start: servers.Start, peer: str, rate: float, variant: Variant, seconds: float
) -> Numbers:
    """One round at C{rate} tasks a second."""
    with start.run() as server:
        return generate(server, peer, "open", rate=rate, seconds=seconds, **variant)


def measure_floor(variant: Variant, seconds: float) -> Numbers:
    """The floor, under the names of what it is compared with."""
    numbers = floor.measure(min(seconds, FLOOR_S))
    both = {
        f"{what}_{label}_ms": numbers[f"sync_{label}_ms"] + numbers[f"round_trip_{label}_ms"]
        for what in ("ack", "claimed")
        for label in _LABELS
    }
    return {**numbers, **both}


def contestants(quick: bool) -> list[Contestant]:
    """Everyone at every rate; a quick race has fewer variants only."""
    queues = tuple({"style": style} for style in ("list", "stream"))
    peers: tuple[tuple[str, str, servers.Start, str, tuple[Variant, ...]], ...] = (
        ("taskqueue fsync", ON_DISK, servers.taskqueue("fsync"), "taskqueue", ({},)),
        ("taskqueue none", NOTHING, servers.taskqueue("none"), "taskqueue", ({},)),
        ("beanstalkd -f0", ON_DISK, servers.beanstalkd("-f0"), "beanstalkd", ({},)),
        ("beanstalkd", NOTHING, servers.beanstalkd(None), "beanstalkd", ({},)),
        ("Redis always", ON_DISK, servers.redis("always"), "redis", queues),
        ("Redis", NOTHING, servers.redis(None), "redis", queues),
    )
    rows = []
    for rate in RATES:
        style = f"{rate:,} tasks/s"
        rows += [
            Contestant(
                RACE.key,
                name,
                style,
                promise,
                partial(measure, start, peer, rate),
                tried,
                start.settings,
            )
            for name, promise, start, peer, tried in peers
        ]
        rows.append(Contestant(RACE.key, FLOOR, style, ON_DISK, measure_floor))
    return rows
