"""
A store in memory that makes room has what a store on disk has, but for what had to go.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from itertools import chain
from random import Random
from typing import Any

from taskqueue.config.sections import MIB
from taskqueue.core.audit import audit
from taskqueue.core.changes import Batch
from taskqueue.core.delivery import Delivery
from taskqueue.core.leases import Holder
from taskqueue.core.task import ENDED_STATES, State, Until
from taskqueue.core.value_desk import Put
from taskqueue.service.policies import PROCESS_BYTES
from taskqueue.store import Filter, MemoryStore, Page, kept
from taskqueue.store.kept import ROW_BYTES, Kept
from taskqueue.store.logged import LoggedStore
from taskqueue.store.sqlite import SQLiteStore
from tests.service.running import QUIET, WALL, ServiceTestCase
from tests.store.rows import batch

IDS = "abcdef"
STEPS = 150
SEEDS = range(12)

ALL = Page(limit=10_000, descending=False)


class TwinStore(MemoryStore):
    """
    Writes what it is told to another store as well, which is told what went to make room.

    @ivar twin: the other one.
    @ivar made_room: how many tasks went so.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.twin = LoggedStore(path)
        self.twin.open()
        self.made_room = 0

    def work(self) -> None:
        """It does already."""

    def commit(self, changes: Batch) -> None:
        super().commit(changes)
        self.twin.commit(changes)

    def sweep(self, before: Mapping[State, float], limit: int) -> Any:
        known = set(self._kept.rows)
        swept = super().sweep(before, limit)
        gone = sorted(known - set(self._kept.rows))
        self.made_room += len(gone)
        if gone:
            self.twin.commit(batch(removed=gone))
        return swept


def contents(store: Any) -> dict[str, Any]:
    """All that a store would tell."""
    rows = store.find(Filter(), ALL)
    recovery = store.recover()
    return {
        "rows": rows,
        "descending": store.find(Filter(), Page(limit=10_000, descending=True))[::-1],
        "records": store.numbered([row.seq for row in rows]),
        "by id": store.records(IDS),
        "history": {row.seq: store.history(row.seq) for row in rows},
        "payloads": store.payloads([row.seq for row in rows]),
        "dead": {queue: store.dead_letters(queue, 100) for queue in ("default", "other")},
        "two dead": store.dead_letters("default", 2),
        "ended": store.ended_ids(0, 1000),
        "windows": sorted(store.open_windows(0)),
        "values": sorted(store.key_values()),
        "live": list(recovery.tasks),
        "counts": {kind: count for kind, count in recovery.ended.items() if count},
        "next": recovery.next_seq,
    }


class RandomTests(ServiceTestCase):
    """Few tasks to which much happens, and room for three that have ended."""

    config = replace(
        QUIET,
        store=replace(QUIET.store, kind="memory"),
        retention=replace(QUIET.retention, sweep_batch=3),
        broker=replace(QUIET.broker, memory_limit=PROCESS_BYTES + 64 * MIB),
    )

    def setUp(self) -> None:
        self.patch(kept, "_SLACK_BYTES", 0)
        super().setUp()

    def make_store(self) -> TwinStore:
        return TwinStore(self.mktemp())

    def report_one(self, random: Random, held: list[Delivery]) -> None:
        one = held.pop(random.randrange(len(held)))
        state, fields = random.choice(
            [
                (State.COMPLETED, {"result": random.randbytes(3)}),
                (State.COMPLETED, {}),
                (State.FAILED, {"permanent": True, "error": "broken"}),
                (State.FAILED, {"error": "again"}),
            ]
        )
        self.reporting(one, state, **fields).addErrback(lambda failure: None)

    def submit_one(self, random: Random) -> Any:
        now = WALL + self.clock.seconds()
        fields: dict[str, Any] = {"payload": random.randbytes(random.randrange(900))}
        fields["queue"] = random.choice(["default", "default", "other"])
        kind = random.random()
        if kind < 0.2:
            until = random.choice(list(Until))
            fields |= {"unique": random.choice("xy"), "unique_until": until, "unique_for_s": 2.0}
        elif kind < 0.4:
            fields["depends_on"] = tuple(random.sample(IDS, 2))
        elif kind < 0.5:
            fields["expires_at"] = now + 1
        elif kind < 0.6:
            fields["headers"] = '{"h": 1}'
        return self.submitting(random.choice([*IDS, None]), **fields)

    def ask_one(self, random: Random) -> None:
        task_id, service = random.choice(IDS), self.service
        asked = random.choice(
            [
                *[lambda: self.submit_one(random)] * 4,
                lambda: service.retry([task_id]),
                lambda: service.delete([task_id]),
                lambda: service.cancel([task_id], running=True),
                lambda: service.status(IDS),
                lambda: service.put_values([Put("n", task_id, random.randbytes(4))]),
                lambda: service.take_value("n", task_id),
            ]
        )()
        if hasattr(asked, "addErrback"):
            asked.addErrback(lambda failure: None)

    def remember(self, ended: int) -> None:
        """Let the core know no more ended tasks than so many, once they are stored."""
        ledger = self.service.broker.ledger
        ledger.policy = replace(ledger.policy, recent_ended=ended)
        ledger.prune_ended()

    def live(self, random: Random) -> None:
        """Some random steps; at last all is stored, and there is room."""
        held: list[Delivery] = []
        for _ in range(STEPS):
            self.store.most_ended_bytes = 3 * ROW_BYTES
            step = random.random()
            if step < 0.25:
                asked = self.claiming(queues=("default", "other"))
                asked.addCallbacks(held.extend, lambda failure: None)
            elif step < 0.45 and held:
                self.report_one(random, held)
            elif step < 0.55:
                self.turn()
            elif step < 0.6:
                self.pass_time(random.choice([0.25, 1]))
            elif step < 0.62:
                self.remember(random.choice([0, 1, 1000]))
            else:
                self.ask_one(random)
        self.pass_time(3)
        self.assertEqual(audit(self.service.broker.ledger), [])

    def check_counts(self) -> None:
        """How many have ended, as the broker counts them and as they are stored."""
        states = self.service.stats()["states"]
        rows = self.store.find(Filter(), ALL)
        self.assertEqual(sum(states.values()), len(rows))
        for state in ENDED_STATES:
            stored = sum(row.state == state for row in rows)
            self.assertEqual(states[state.word], stored, state.word)

    def check_sums(self, what: Kept) -> None:
        """What it takes, as it was summed up and as it is."""
        again = Kept()
        rows = [what.rows[seq] for seq in sorted(what.rows)]
        again.insert(rows)
        again.update([what._updates[seq] for seq in sorted(what._updates)])
        for event in chain.from_iterable(what.history.values()):
            again.record(event)
        again._moment = what._moment
        again._close_windows()
        for name in ("text_bytes", "_event_bytes", "_spare_bytes", "memory_bytes"):
            self.assertEqual(getattr(what, name), getattr(again, name), name)
        self.assertEqual((what._spare, what._fixed), (again._spare, again._fixed))
        self.assertEqual(what.seqs, {row.id: row.seq for row in rows})
        self.assertLessEqual(what._spare_bytes, 3 * ROW_BYTES)

    def check_backup(self, told: dict[str, Any]) -> None:
        """A backup is a database that has the same, and nothing that is not right."""
        directory = self.mktemp()
        os.makedirs(directory)
        path = os.path.join(directory, "taskqueue.db")
        self.store.backup(path)
        with closing(sqlite3.connect(path)) as database:
            self.assertEqual([*database.execute("PRAGMA integrity_check")], [("ok",)])
        store = SQLiteStore(directory)
        store.open()
        self.addCleanup(store.close)
        self.assertEqual(contents(store), told)

    def test_both_have_the_same(self) -> None:
        made_room = 0
        for seed in SEEDS:
            self.holder = Holder("claimer")
            self.live(Random(seed))
            told = contents(self.store)
            for what, found in contents(self.store.twin).items():
                self.assertEqual(told[what], found, (seed, what))
            self.check_counts()
            self.check_sums(self.store._kept)
            self.check_backup(told)
            self.restart()
            self.check_counts()
            self.end()
            made_room += self.store.made_room
            self.store.twin.close()
            self.store = self.make_store()
            self.service = self.start()
        self.assertGreater(made_room, 3 * len(SEEDS))
