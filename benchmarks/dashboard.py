"""
What an open dashboard costs the broker: its processor time while tasks go through, with
and without somebody who looks at the overview.

C{python -m benchmarks.dashboard} starts a broker, has tasks go through it one by one, and
opens and closes overviews in turns, so that whatever else disturbs the machine
disturbs both alike.  An overview is its requests, at its pace.  One costs less than
what a machine's processor time differs by from one moment to the next, so several are
open at a time, and the difference is divided by their number.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection

from rich.console import Console
from rich.table import Table

from benchmarks.brokers import BrokerProcess
from benchmarks.rest import http_port

#: What the overview asks for when it is opened.
OPENED = ("/stats", "/stats/history?span_s=3600", "/workers?limit=100")

#: What it asks for then, and how often, seconds.  (Failures are asked for only where there
#: are new ones; here there always are.)
ASKED = {
    "/stats": 2.0,
    "/stats/history?span_s=30": 10.0,
    "/workers?limit=100": 10.0,
    "/stats/failures?limit=6": 10.0,
}

#: How long the load runs before anything is measured, seconds.
WARM_S = 15.0


class Overview(threading.Thread):
    """
    An open overview, until it is closed.

    @ivar requests: how many it made.
    @ivar size_bytes: what their answers came to.
    """

    def __init__(self, port: int, late_s: float) -> None:
        """
        @param late_s: how much later than others it is opened.
        """
        super().__init__(daemon=True)
        self._late_s = late_s
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)
        self._closed = threading.Event()
        self.requests = self.size_bytes = 0

    def run(self) -> None:
        self._closed.wait(self._late_s)
        for path in OPENED:
            self.ask(path)
        now = time.monotonic()
        due = {path: now + every_s for path, every_s in ASKED.items()}
        while not self._closed.wait(max(0.0, min(due.values()) - time.monotonic())):
            path = min(due, key=due.__getitem__)
            self.ask(path)
            due[path] += ASKED[path]

    def ask(self, path: str) -> None:
        """Ask for something, and read the answer."""
        self._connection.request("GET", f"/api/v1{path}")
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {body[:300]!r}")
        self.requests += 1
        self.size_bytes += len(body)

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()
        self.join()
        self._connection.close()


def each(broker: BrokerProcess, times: int) -> dict[str, float]:
    """The processor time that a request takes, milliseconds, by its path."""
    overview = Overview(http_port(broker), 0)
    found = {}
    for path in {*ASKED, *OPENED}:
        before_s = broker.cpu_s()
        for _ in range(times):
            overview.ask(path)
        found[path] = 1000 * (broker.cpu_s() - before_s) / times
    return found


def share(broker: BrokerProcess, seconds: float) -> float:
    """How much of a core a broker takes, percent."""
    began, before_s = time.perf_counter(), broker.cpu_s()
    time.sleep(seconds)  # the load is in another process
    return 100 * (broker.cpu_s() - before_s) / (time.perf_counter() - began)


def in_turns(
    broker: BrokerProcess, rounds: int, seconds: float, count: int
) -> list[tuple[float, float]]:
    """The share of a core without and with C{count} overviews, in each of several rounds."""
    port = http_port(broker)
    found = []
    for number in range(rounds):
        shares = {}
        for is_open in (False, True) if number % 2 == 0 else (True, False):
            overviews = [Overview(port, 2 * n / count) for n in range(count if is_open else 0)]
            for overview in overviews:
                overview.start()
            shares[is_open] = share(broker, seconds)
            for overview in overviews:
                overview.close()
        found.append((shares[False], shares[True]))
    return found


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=1000.0, help="tasks a second")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each half of a round")
    parser.add_argument("--overviews", type=int, default=100, help="open at a time")
    parser.add_argument("--durability", default="fsync")
    given = parser.parse_args()
    load_s = WARM_S + 2 * given.rounds * given.seconds + 5
    arguments = json.dumps({"rate": given.rate, "seconds": load_s})
    settings = ("http.listen=tcp:0:interface=127.0.0.1", "limits.max_requests_per_s=0")
    with BrokerProcess(given.durability, *settings) as broker:
        command = [sys.executable, "-m", "benchmarks.load", "latency", str(broker.port), arguments]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as load:
            time.sleep(WARM_S)
            found = in_turns(broker, given.rounds, given.seconds, given.overviews)
            load.terminate()
        costs = each(broker, 200)
    show(found, given.overviews)
    show_costs(costs)


def show(found: list[tuple[float, float]], count: int) -> None:
    """Print the rounds, and the middle of each column."""
    title = f"Share of a core, percent: {count} overviews"
    table = Table("", "without", "with", "difference", "of one", title=title)
    rows = [(without, looked_at, looked_at - without) for without, looked_at in found]
    for number, row in enumerate(rows, start=1):
        table.add_row(str(number), *(f"{cell:.1f}" for cell in row), f"{row[2] / count:.2f}")
    middles = [statistics.median(column) for column in zip(*rows, strict=True)]
    table.add_section()
    table.add_row("median", *(f"{cell:.1f}" for cell in middles), f"{middles[2] / count:.2f}")
    Console().print(table)


def show_costs(costs: dict[str, float]) -> None:
    """Print what each request takes, and what that comes to."""
    table = Table("request", "ms", "each", "share of a core, percent", title="The requests")
    for path, every_s in ASKED.items():
        table.add_row(
            path, f"{costs[path]:.2f}", f"{every_s:.0f} s", f"{costs[path] / every_s / 10:.3f}"
        )
    together = sum([costs[path] / every_s / 10 for path, every_s in ASKED.items()])
    table.add_section()
    table.add_row("together", "", "", f"{together:.3f}")
    table.add_row("opening it", f"{sum([costs[path] for path in OPENED]):.2f}", "", "")
    Console().print(table)


if __name__ == "__main__":
    main()
