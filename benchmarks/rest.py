"""
The REST API beside a million stored tasks: how long lists and searches take, and what
becomes of them, and of the broker's throughput, while tasks go through.

C{python -m benchmarks.rest} makes a store, starts a broker on it, and prints tables;
C{--folder} keeps the store for the next time.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.brokers import BrokerProcess
from benchmarks.load import percentile
from taskqueue.core.changes import Batch, TaskRow, empty_batch
from taskqueue.core.task import DEFAULT_OPTIONS, State
from taskqueue.ids import new_task_ids
from taskqueue.store.sqlite import SQLiteStore

#: The first submission of the store that is made, and how far the last is behind it.
BEGAN = 1_700_000_000.0
SPAN_S = 86_400.0 * 30

#: How many tasks are written at a time.
CHUNK = 10_000

#: Of a thousand tasks, how many are in which state.
MIXTURE = (
    (State.COMPLETED, 940),
    (State.DEAD_LETTER, 30),
    (State.CANCELLED, 20),
    (State.PENDING, 10),
)

#: What is asked for, by what people would call it.
SEARCHES = {
    "newest": "limit=50",
    "a page in the middle": "limit=50&after={middle}",
    "pending": "limit=50&state=pending",
    "completed": "limit=50&state=completed",
    "dead letters": "limit=50&state=dead_letter",
    "cancelled": "limit=50&state=cancelled",
    "expired: none": "limit=50&state=expired",
    "a small queue": "limit=50&queue=small",
    "a queue that is not there": "limit=50&queue=none",
    "a rare type": "limit=50&type=rare",
    "a rare type that completed": "limit=50&type=rare&state=completed",
    "a small queue's dead letters": "limit=50&queue=small&state=dead_letter",
    "a worker of ten": "limit=50&worker=w7",
    "a worker that did little": "limit=50&worker=rare",
    "a priority that few have": "limit=50&priority_from=250",
    "submitted in one hour": "limit=50&submitted_from={hour}&submitted_to={hour_end}",
    "ended in one hour": "limit=50&ended_from={hour}&ended_to={hour_end}",
    "text in few errors": "limit=50&error_contains=needle",
    "text in no error": "limit=50&error_contains=nowhere",
    "text in few dead letters' errors": "limit=50&state=dead_letter&error_contains=needle",
}

_PORT = re.compile(r"HTTP on .*port=(\d+)")


def rows(count: int) -> Iterator[TaskRow]:
    """Tasks of the last thirty days, the same ones each time."""
    chance = random.Random(1)
    states = [state for state, share in MIXTURE for _ in range(share)]
    for start in range(0, count, CHUNK):
        for offset, task in enumerate(new_task_ids(min(CHUNK, count - start))):
            yield _row(start + offset + 1, task, chance.choice(states), count, chance)


def _row(seq: int, task: str, state: State, count: int, chance: random.Random) -> TaskRow:
    submitted_at = BEGAN + SPAN_S * seq / count
    ended = state >= State.COMPLETED
    dead = state is State.DEAD_LETTER
    rare = chance.random() < 0.0001
    error = f"TimeoutError: no answer after {chance.randrange(60)} s\n" + "  at line\n" * 20
    return TaskRow(
        seq=seq,
        id=task,
        queue="small" if rare else f"q{seq % 10}",
        type="rare" if chance.random() < 0.0001 else f"t{seq % 20}",
        priority=250 if rare else 150,
        submitted_at=submitted_at,
        expires_at=None,
        options=DEFAULT_OPTIONS,
        headers=None,
        depends_on=(),
        unique=None,
        payload=b"x" * 100,
        state=int(state),
        run_at=None,
        attempt=1 if ended else 0,
        failures=int(dead),
        losses=0,
        token=seq if ended else 0,
        worker=("rare" if rare else f"w{seq % 10}") if ended else None,
        incarnation=0,
        lease_s=None,
        claimed_at=submitted_at + 1 if ended else None,
        ended_at=submitted_at + 2 if ended else None,
        cancel_requested=False,
        error=f"{error}{' needle' if rare else ''}" if dead else None,
        result=b"done" if state is State.COMPLETED else None,
    )


def make_store(folder: Path, count: int) -> None:
    """A store with C{count} tasks, in the folder C{data}."""
    store = SQLiteStore(str(folder / "data"), False, "none")
    store.open()
    store.recover()
    chunk: list[TaskRow] = []
    for row in rows(count):
        chunk.append(row)
        if len(chunk) == CHUNK:
            store.commit(_batch(chunk))
            chunk = []
    store.commit(_batch(chunk))
    store.close()


def _batch(chunk: list[TaskRow]) -> Batch:
    last = chunk[-1].seq if chunk else 0
    return empty_batch(last + 1)._replace(inserts=chunk, token_ceiling=2**40)


class Api:
    """One connection to the REST API."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, path: str) -> tuple[float, Any]:
        """How long an answer took, seconds, and what it was."""
        began = time.perf_counter()
        self._connection.request("GET", f"/api/v1{path}")
        answer = self._connection.getresponse()
        body = answer.read()
        took_s = time.perf_counter() - began
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {body[:300]!r}")
        return took_s, json.loads(body)


def http_port(broker: BrokerProcess) -> int:
    """Where a broker speaks HTTP."""
    while True:
        found = _PORT.search((broker.folder / "broker.log").read_text())
        if found is not None:
            return int(found[1])
        time.sleep(0.01)


def search(api: Api, count: int, rounds: int) -> list[tuple[str, int, float, float]]:
    """For each search: how many tasks it found, and the median and the longest time, ms."""
    hour = BEGAN + SPAN_S / 2
    places = {"middle": count // 2, "hour": hour, "hour_end": hour + 3600}
    found = []
    for title, query in SEARCHES.items():
        path = f"/tasks?{query.format(**places)}"
        answers = [api.get(path) for _ in range(rounds)]
        times = [1000 * took_s for took_s, _ in answers]
        tasks = len(answers[0][1]["tasks"])
        found.append((title, tasks, statistics.median(times), max(times)))
    return found


# --- under load --------------------------------------------------------------------

#: What a dashboard and a few scripts ask for, again and again.
ASKED = (
    "/tasks?limit=50",
    "/tasks?state=dead_letter&limit=50",
    "/queues",
    "/stats",
    "/stats/breakdown?by=type",
    "/workers",
    "/dead-letters?limit=20",
    "/broker",
)


class Asking(threading.Thread):
    """
    Asks for one thing after another, so many a second, until it is told to stop.

    @ivar times: how long each took, seconds.
    """

    def __init__(self, port: int, per_s: float) -> None:
        super().__init__(daemon=True)
        self._api = Api(port)
        self._pause_s = 1 / per_s
        self._stop_asking = threading.Event()
        self.times: list[float] = []

    def run(self) -> None:
        number = 0
        while not self._stop_asking.wait(self._pause_s):
            self.times.append(self._api.get(ASKED[number % len(ASKED)])[0])
            number += 1

    def end(self) -> list[float]:
        """Stop; return the times."""
        self._stop_asking.set()
        self.join()
        return self.times


def load(broker: BrokerProcess, scenario: str, **arguments: Any) -> dict[str, float]:
    """Put load on a broker; return the numbers."""
    command = [sys.executable, "-m", "benchmarks.load", scenario, str(broker.port)]
    finished = subprocess.run(
        [*command, json.dumps(arguments)], check=True, capture_output=True, text=True
    )
    numbers: dict[str, float] = json.loads(finished.stdout)
    return numbers


def under_load(
    broker: BrokerProcess, rate: float, seconds: float, per_s: float
) -> dict[str, float]:
    """Answer times while C{rate} tasks a second go through."""
    asking = Asking(http_port(broker), per_s)
    asking.start()
    numbers = load(broker, "latency", rate=rate, seconds=seconds)
    times = asking.end()
    numbers["rest_p50_ms"] = 1000 * percentile(times, 0.5)
    numbers["rest_p99_ms"] = 1000 * percentile(times, 0.99)
    numbers["rest_requests"] = float(len(times))
    return numbers


def throughput(broker: BrokerProcess, per_s: float, count: int, rounds: int) -> dict[str, float]:
    """End to end, without and with somebody who asks; the best of several rounds each."""
    best = {"without": 0.0, "with": 0.0}
    for _ in range(rounds):
        for name in best:
            asking = Asking(http_port(broker), per_s)
            if name == "with":
                asking.start()
            numbers = load(broker, "end_to_end", batch=50, count=count)
            if name == "with":
                asking.end()
            best[name] = max(best[name], numbers["tasks_per_s"])
    return best


def main() -> None:
    """Make a store, ask, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rate", type=float, default=2000.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--per-s", type=float, default=20.0, help="requests a second under load")
    parser.add_argument("--count", type=int, default=30_000, help="tasks of a throughput round")
    parser.add_argument("--folder", help="where the store is, or is made and kept")
    parser.add_argument("--only", choices=("search", "load", "throughput"))
    given = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="taskqueue-rest-") as temporary:
        folder = Path(given.folder or temporary)
        if not (folder / "data").exists():
            folder.mkdir(parents=True, exist_ok=True)
            make_store(folder, given.tasks)
        settings = (
            "http.listen=tcp:0:interface=127.0.0.1",
            "retention.sweep_interval_s=86400",
            "limits.max_requests_per_s=0",
        )
        with BrokerProcess("fsync", *settings, folder=str(folder)) as broker:
            _run(broker, given, console)


def _run(broker: BrokerProcess, given: argparse.Namespace, console: Console) -> None:
    if given.only in (None, "search"):
        table = Table("search", "found", "median ms", "longest ms", title="Lists and searches")
        for title, tasks, median, longest in search(
            Api(http_port(broker)), given.tasks, given.rounds
        ):
            table.add_row(title, str(tasks), f"{median:.1f}", f"{longest:.1f}")
        console.print(table)
    if given.only in (None, "load"):
        console.print(under_load(broker, given.rate, given.seconds, given.per_s))
    if given.only in (None, "throughput"):
        console.print(throughput(broker, given.per_s, given.count, 3))


if __name__ == "__main__":
    main()
