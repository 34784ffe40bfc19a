"""
What the core takes for each task: processor time, calls of functions, memory.

One broker, without a store: tasks are submitted a hundred at a time, claimed and
completed fifty at a time, and what changed is drained after each command, as the
journal would.  Shown are the best of many rounds, in microseconds of processor time,
and the calls of functions (Python's and C's), which are the same on every machine;
then the bytes that a waiting task takes beside its payload, and how long it takes to
rebuild the core from the store's rows.

Run: C{python benchmarks/core_path.py [rounds] [waiting tasks]}
"""

from __future__ import annotations

import gc
import os
import platform
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from taskqueue.core.broker import Broker
from taskqueue.core.changes import Batch
from taskqueue.core.delivery import Outcome
from taskqueue.core.intake import Accepted, Submission
from taskqueue.core.leases import Holder
from taskqueue.core.moments import Now
from taskqueue.core.policy import Policy
from taskqueue.core.restore import Restoration
from taskqueue.core.task import State
from taskqueue.core.waiting import Claim
from taskqueue.ids import new_task_id, new_task_ids

SUBMITTED, CLAIMED = 100, 50
PAYLOAD_BYTES = 100
BATCHES = 20

#: Rounds before the first that counts: until ended tasks are forgotten as others end.
WARM_UP = 4
STEPS = ("submit", "submit own ids", "claim", "complete", "drain", "forget")


def new_broker() -> Broker:
    """A broker that may give out any number of tokens."""
    broker = Broker(
        Policy(depth_threshold=10**9, max_held_bytes=10**12),
        Random(1),
        new_task_id,
        new_ids=new_task_ids,
    )
    broker.ledger.tokens_reserved(10**12)
    broker.ledger.seen.complete = True
    return broker


class Subject:
    """A broker, and what its steps took."""

    def __init__(self, waiting: int, meter: Callable[[Callable[[], object]], float]) -> None:
        self.broker = new_broker()
        self.took = dict.fromkeys(STEPS, 0.0)
        self._meter = meter
        self._holder = Holder("benchmark")
        self._now = Now(time.time(), time.monotonic())
        for _ in range(0, waiting, SUBMITTED):
            self.broker.intake.submit(self._items(own_ids=False), self._now, {})
        self._drain()

    def _items(self, own_ids: bool) -> list[Submission]:
        payload = b"x" * PAYLOAD_BYTES
        ids = [new_task_id() if own_ids else None for _ in range(SUBMITTED)]
        return [Submission("type", payload[:-1] + b"y", id=task_id) for task_id in ids]

    def _step(self, name: str, command: Callable[[], object]) -> None:
        self.took[name] += self._meter(command)

    def _drain(self) -> Batch:
        ledger = self.broker.ledger
        batch, ended = ledger.changes.drain(ledger.next_seq)
        ledger.forget_stored(ended, prune=True)
        return batch

    def _settle(self) -> None:
        """What the journal does after a command, step by step."""
        ledger, drained = self.broker.ledger, []
        self._step("drain", lambda: drained.append(ledger.changes.drain(ledger.next_seq)))
        self._step("forget", lambda: ledger.forget_stored(drained[0][1], prune=True))

    def round(self) -> None:
        """As many tasks without an id of their own as with one, from submission to their end."""
        broker = self.broker
        for own_ids in (False, True) * BATCHES:
            self._now = now = Now(time.time(), time.monotonic())
            items = self._items(own_ids)
            name = "submit own ids" if own_ids else "submit"
            self._step(name, lambda i=items, n=now: self._submit(i, n))
            self._settle()
            for _ in range(SUBMITTED // CLAIMED):
                claim = Claim(self._holder, ("default",), None, CLAIMED, max_bytes=2**23)
                found: list[object] = []
                self._step(
                    "claim", lambda c=claim, f=found, n=now: f.extend(broker.desk.claim(c, n))
                )
                self._settle()
                done = [Outcome(d.id, d.lease, State.COMPLETED, b"done") for d in found]
                self._step("complete", lambda d=done, n=now: self._report(d, n))
                self._settle()

    def _submit(self, items: list[Submission], now: Now) -> None:
        intake = self.broker.intake
        intake.unknown_ids(items)
        assert all(isinstance(answer, Accepted) for answer in intake.submit(items, now, {}))

    def _report(self, outcomes: list[Outcome], now: Now) -> None:
        desk = self.broker.desk
        if hasattr(desk, "report_all"):
            desk.report_all(outcomes, now)
        else:
            for outcome in outcomes:
                desk.report(outcome, now)


def timed(command: Callable[[], object]) -> float:
    """Seconds of processor time."""
    began = time.process_time_ns()
    command()
    return (time.process_time_ns() - began) / 1e9


def counted(command: Callable[[], object]) -> float:
    """Calls of functions."""
    calls = 0

    def seen(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        if event in ("call", "c_call"):
            calls += 1

    sys.setprofile(seen)
    try:
        command()
    finally:
        sys.setprofile(None)
    return calls - 1  # the profile itself is taken off


def tasks_in(step: str) -> int:
    """How many tasks a step of a round had."""
    return SUBMITTED * BATCHES * (1 if step.startswith("submit") else 2)


def path(rounds: int, waiting: int) -> None:
    """Print the steps."""
    subject = Subject(waiting, timed)
    for _ in range(WARM_UP):
        subject.round()
    gc.collect()
    gc.freeze()
    best = dict.fromkeys(STEPS, float("inf"))
    for _ in range(rounds):
        subject.took = dict.fromkeys(STEPS, 0.0)
        subject.round()
        for step in STEPS:
            best[step] = min(best[step], subject.took[step])
    counter = Subject(0, counted)
    for _ in range(WARM_UP + 1):
        counter.took = dict.fromkeys(STEPS, 0.0)
        counter.round()
    print(f"{'step':>16} {'us a task':>10} {'calls a task':>13}")
    for step in STEPS:
        count = tasks_in(step)
        print(f"{step:>16} {best[step] / count * 1e6:>10.3f} {counter.took[step] / count:>13.2f}")
    both = {step: took / tasks_in(step) * 1e6 for step, took in best.items()}
    own = both.pop("submit own ids") - both["submit"]
    print(f"{'all':>16} {sum(both.values()):>10.3f} (with own ids {sum(both.values()) + own:.3f})")


def memory(waiting: int) -> None:
    """Print what a waiting task takes, and how long the core takes to be rebuilt."""
    gc.unfreeze()
    payloads = [b"%0*d" % (PAYLOAD_BYTES, number) for number in range(waiting)]
    now = Now(time.time(), time.monotonic())
    gc.collect()
    tracemalloc.start()
    broker = new_broker()
    for start in range(0, waiting, SUBMITTED):
        items = [Submission("type", payload) for payload in payloads[start : start + SUBMITTED]]
        broker.intake.submit(items, now, {})
        broker.ledger.changes.drain(broker.ledger.next_seq)
    del items
    gc.collect()
    print(
        f"{waiting:,} waiting tasks: {tracemalloc.get_traced_memory()[0] / waiting:.0f} bytes each"
    )
    tracemalloc.stop()
    from taskqueue.core.changes import row_of

    rows = [row_of(task) for task in broker.ledger.tasks.values()]
    del broker
    gc.collect()
    gc.freeze()
    gc.disable()
    again = new_broker()
    took = timed(lambda: Restoration(again.ledger, now).tasks(iter(rows)))
    gc.enable()
    print(f"rebuilt from rows: {took / waiting * 1e6:.2f} us of processor time each")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    waiting = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.2f}")
    print(f"Python {platform.python_version()}; best of {rounds} rounds\n")
    path(rounds, waiting)
    memory(waiting)


if __name__ == "__main__":
    main()
