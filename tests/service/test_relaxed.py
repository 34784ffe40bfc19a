"""
What a broker told while nothing waited for the store is what another finds there.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from taskqueue.core.audit import audit
from taskqueue.core.delivery import Delivery
from taskqueue.core.leases import Holder
from taskqueue.core.task import State
from taskqueue.store.logged import LoggedStore
from tests.service.running import QUIET, ObedientStore, ServiceTestCase

IDS = "abcd"
STEPS = 60
SEEDS = range(25)


class RandomTests(ServiceTestCase):
    """Few tasks to which much happens, and a store that fails at times."""

    config = replace(QUIET, store=replace(QUIET.store, durability="none"))

    def make_store(self) -> ObedientStore:
        return ObedientStore(LoggedStore(self.mktemp()))

    def claim_one(self, held: list[Delivery]) -> None:
        self.claiming().addCallbacks(held.extend, lambda failure: None)

    def report_one(self, random: Random, held: list[Delivery]) -> None:
        one = held.pop(random.randrange(len(held)))
        priority = random.choice([0, 5, -1])
        random.choice(
            [
                lambda: self.reporting(one, result=b"r"),
                lambda: self.reporting(one, State.FAILED, permanent=True),
                lambda: self.service.bury([(one.id, one.lease, priority)]),
                lambda: self.service.release([(one.id, one.lease, 0.0, priority)]),
            ]
        )().addErrback(lambda failure: None)

    def ask_one(self, random: Random) -> None:
        task_id, service = random.choice(IDS), self.service
        random.choice(
            [
                lambda: self.submitting(task_id, payload=random.randbytes(2)),
                lambda: service.retry([task_id]),
                lambda: service.delete([task_id]),
                lambda: service.cancel([task_id], running=True),
                lambda: service.kick("default", 2),
                lambda: service.kick_task(task_id),
            ]
        )().addErrback(lambda failure: None)

    def live(self, random: Random) -> None:
        """Some random steps; at last all is stored."""
        held: list[Delivery] = []
        for _ in range(STEPS):
            step = random.random()
            if step < 0.2:
                self.claim_one(held)
            elif step < 0.4 and held:
                self.report_one(random, held)
            elif step < 0.46:
                self.turn()
            elif step < 0.5:
                self.store.fail("commit")
            elif step < 0.54:
                self.store.work()
                self.pass_time(1)
            else:
                self.ask_one(random)
        self.store.work()
        self.pass_time(3)
        self.assertEqual(audit(self.service.broker.ledger), [])

    def look(self) -> list[Any]:
        rows = self.result_of(self.service.status(IDS))
        found: list[Any] = []
        for row in rows:
            payload = None if row is None else self.result_of(self.service.payload(row.id))
            found.append(row and (row.id, row.seq, row.state, row.priority, row.result, payload))
        return found

    def test_another_finds_the_same(self) -> None:
        for seed in SEEDS:
            self.holder = Holder("claimer")
            self.live(Random(seed))
            told = self.look()
            self.restart()
            self.assertEqual(self.look(), told, seed)
            self.end()
            self.store = self.make_store()
            self.service = self.start()
