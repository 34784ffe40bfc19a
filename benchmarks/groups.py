"""
Groups of changes as the broker commits them, without the broker around its core.
"""

from __future__ import annotations

import time
from random import Random

from taskqueue.core.broker import Broker
from taskqueue.core.changes import Batch
from taskqueue.core.delivery import Delivery, Outcome
from taskqueue.core.intake import Submission
from taskqueue.core.leases import Holder
from taskqueue.core.moments import Now
from taskqueue.core.policy import Policy
from taskqueue.core.task import State
from taskqueue.core.waiting import Claim
from taskqueue.ids import new_task_id, new_task_ids

PAYLOAD = b"x" * 100


class Groups:
    """
    What the broker would commit: in each group C{size} new tasks, as many that were
    new in the group before and are claimed, and as many that are completed.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._broker = Broker(
            Policy(depth_threshold=10**9, max_held_bytes=10**12),
            Random(1),
            new_task_id,
            new_ids=new_task_ids,
        )
        self._broker.ledger.tokens_reserved(10**12)
        self._broker.ledger.seen.complete = True
        self._holder = Holder("benchmark")
        self._held: list[Delivery] = []

    def take(self, count: int) -> list[Batch]:
        """The next C{count} groups."""
        return [self._group() for _ in range(count)]

    def _group(self) -> Batch:
        broker, ledger = self._broker, self._broker.ledger
        now = Now(time.time(), time.monotonic())
        done = [Outcome(d.id, d.lease, State.COMPLETED, b"done") for d in self._held]
        claim = Claim(self._holder, ("default",), None, self._size, max_bytes=2**30)
        self._held = broker.desk.claim(claim, now)
        for outcome in done:
            broker.desk.report(outcome, now)
        broker.intake.submit([Submission("noop", PAYLOAD) for _ in range(self._size)], now, {})
        batch, ended = ledger.changes.drain(ledger.next_seq)
        ledger.forget_stored(ended, prune=True)
        return batch
