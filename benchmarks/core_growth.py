"""
Does the cost of a command grow with the number of waiting tasks or of lanes?

One broker for each number of tasks and lanes holds that many ready tasks.  In each
round, every broker in turn is timed for a few hundred submissions, cancellations,
claims (of any type and of two types) and completions, each its own command; a round
leaves as many tasks as it found.  Printed are the medians over the rounds, in
microseconds per operation; there is no store, and the collector of garbage does not
look at what was there before the first round.  (Of 1,000 tasks in 10,000 lanes, a
claim of two types finds none as a rule.)

Run: C{python benchmarks/core_growth.py [rounds] [most tasks]}
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random

from twisted import __version__ as twisted_version

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from taskqueue.core.broker import Broker
from taskqueue.core.delivery import Delivery, Outcome
from taskqueue.core.intake import Submission
from taskqueue.core.leases import Holder
from taskqueue.core.moments import Now
from taskqueue.core.policy import Policy
from taskqueue.core.task import State
from taskqueue.core.waiting import Claim

TASKS = (1_000, 100_000, 1_000_000)
LANES = (1, 10_000)
BATCH = 300
COLUMNS = ("submit", "claim any", "claim 2 types", "complete", "cancel")


class Subject:
    """A broker with so many ready tasks in so many lanes."""

    def __init__(self, tasks: int, lanes: int) -> None:
        self.tasks, self.lanes = tasks, lanes
        self._ids = count()
        self._random = Random(1)
        self.broker = Broker(
            Policy(depth_threshold=10**9), Random(1), lambda: f"n{next(self._ids)}"
        )
        self.broker.ledger.tokens_reserved(10**12)
        self._holder = Holder("benchmark")
        self._now = Now(time.time(), time.monotonic())
        for start in range(0, tasks, 1000):
            items = self._items(min(1000, tasks - start), start)
            self.broker.intake.submit(items, self._now, {})
        self._settle()

    def _type(self, number: int) -> str:
        return f"type-{number % self.lanes}"

    def _items(self, number: int, start: int = 0) -> list[Submission]:
        """Tasks of one type after another, of any priority."""
        some = self._random.randrange
        return [
            Submission(self._type(start + n), b"x" * 32, priority=some(256)) for n in range(number)
        ]

    def _settle(self) -> None:
        """What the service does after commands: serve, store, forget."""
        ledger = self.broker.ledger
        self.broker.desk.serve(self._now)
        _, ended = ledger.changes.drain(ledger.next_seq)
        ledger.forget_stored(ended, prune=True)

    def _claims(self, types: list[frozenset[str] | None]) -> list[Delivery]:
        """One claim for a task of each of these sets of types."""
        claims = [Claim(self._holder, ("default",), wanted, 1) for wanted in types]
        return [d for claim in claims for d in self.broker.desk.claim(claim, self._now)]

    def _timed(self, command: Callable[[], object]) -> float:
        began = time.perf_counter()
        command()
        took = time.perf_counter() - began
        self._settle()
        return took

    def round(self) -> dict[str, float]:
        """Seconds for C{BATCH} operations of each kind."""
        self._now = now = Now(time.time(), time.monotonic())
        broker, took = self.broker, {}
        start = self._random.randrange(self.lanes)
        ids = [f"b{next(self._ids)}" for _ in range(BATCH)]
        items = [
            [item._replace(id=task_id)]
            for item, task_id in zip(self._items(BATCH, start), ids, strict=True)
        ]
        pairs = [
            frozenset({self._type(start + n), self._type(start + n + 1)}) for n in range(BATCH)
        ]
        took["submit"] = self._timed(
            lambda: [broker.intake.submit(item, now, {}) for item in items]
        )
        took["cancel"] = self._timed(
            lambda: [broker.control.cancel(task_id, False, now) for task_id in ids]
        )
        deliveries: list[Delivery] = []
        took["claim any"] = self._timed(lambda: deliveries.extend(self._claims([None] * BATCH)))
        took["claim 2 types"] = self._timed(lambda: deliveries.extend(self._claims([*pairs])))
        outcomes = [Outcome(d.id, d.lease, State.COMPLETED) for d in deliveries]
        seconds = self._timed(lambda: [broker.desk.report(outcome, now) for outcome in outcomes])
        took["complete"] = seconds * BATCH / len(outcomes)
        self._refill()
        return took

    def _refill(self) -> None:
        """Back to the number of tasks that the row names."""
        missing = self.tasks - self.broker.ledger.depth
        start = self._random.randrange(self.lanes)
        self.broker.intake.submit(self._items(missing, start), self._now, {})
        self._settle()


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    most = int(sys.argv[2]) if len(sys.argv) > 2 else TASKS[-1]
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.2f}")
    print(f"Python {platform.python_version()}, Twisted {twisted_version}")
    print(f"microseconds per operation, medians of {rounds} interleaved rounds of {BATCH}\n")
    subjects = [Subject(tasks, lanes) for tasks in TASKS if tasks <= most for lanes in LANES]
    gc.collect()
    gc.freeze()
    took: dict[tuple[Subject, str], list[float]] = {}
    for _ in range(rounds):
        for subject in subjects:
            for column, seconds in subject.round().items():
                took.setdefault((subject, column), []).append(seconds / BATCH * 1e6)
    print(f"{'tasks':>9} {'lanes':>7}" + "".join(f"{column:>15}" for column in COLUMNS))
    for subject in subjects:
        cells = [statistics.median(took[subject, column]) for column in COLUMNS]
        print(
            f"{subject.tasks:>9,} {subject.lanes:>7,}" + "".join(f"{cell:>15.2f}" for cell in cells)
        )


if __name__ == "__main__":
    main()
