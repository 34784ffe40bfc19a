"""
Brokers that are killed, or told to stop, under load, at any moment, again and
again: what they acknowledged stays true.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from random import Random
from typing import Any

from taskqueue.wire import Header
from tests.process.children import Child, ProcessTestCase, until
from tests.process.load import Actor, Book, Passerby, Producer, Worker
from tests.process.peer import Gone, Peer

#: Another seed makes other tasks and other moments; more kills take longer.
SEED = os.environ.get("TASKQUEUE_CRASH_SEED", "1")
KILLS = int(os.environ.get("TASKQUEUE_CRASH_KILLS", "20"))

#: Leases that nobody ends are over soon, so that the test is too.
SETTINGS = (
    "--set=broker.lease_s=2",
    "--set=workers.reconnect_grace_s=1",
    "--set=workers.stale_after_s=3",
    "--set=workers.heartbeat_s=1",
)
#: A broker that commits nowhere but in the reactor's thread.
EVERY_COMMIT_HERE = """
from taskqueue.service.committing import Committer
Committer._may_run_here = lambda self, batch: True
commit = Committer.commit
Committer.commit = lambda self, batch, alone: commit(self, batch, alone=True)
from twisted.scripts.twistd import run
run()
"""

LIVE = ["blocked", "scheduled", "pending", "failed", "in_progress"]


def what_is_wrong(book: Book, tasks: dict[str, Header]) -> Iterator[str]:
    """
    Where the broker, in the end, does not stand to what it said.

    @param tasks: those that it has, by id, with result and history.
    """
    yield from book.wrong
    yield from (f"{task} was accepted and is lost" for task in book.accepted - tasks.keys())
    yield from (f"{task} was never submitted" for task in tasks.keys() - book.payloads.keys())
    yield from _wrong_tokens(book)
    yield from _wrong_completions(book, tasks)
    for task in tasks.values():
        yield from _wrong_history(task)


def _wrong_tokens(book: Book) -> Iterator[str]:
    given = Counter(delivery.token for delivery in book.deliveries)
    yield from (f"token {token} was given out {n} times" for token, n in given.items() if n > 1)
    highest = 0
    for broker, deliveries in groupby(sorted(book.deliveries), key=lambda d: d.broker):
        tokens = [delivery.token for delivery in deliveries]
        if min(tokens) <= highest:
            yield f"broker {broker} gave out {min(tokens)}, one before it {highest}"
        highest = max(tokens)


def _wrong_completions(book: Book, tasks: dict[str, Header]) -> Iterator[str]:
    latest: dict[str, int] = {}
    for _, task, token in book.deliveries:
        latest[task] = max(token, latest.get(task, 0))
    for task, tokens in book.completed.items():
        if len(tokens) > 1:
            yield f"{task} was completed {len(tokens)} times, under {sorted(tokens)}"
        if latest[task] > max(tokens):
            yield f"{task} was completed under {max(tokens)} and then ran under {latest[task]}"
        if task in tasks and tasks[task].get("result") != book.told[task]:
            yield f"{task} was completed with {book.told[task]!r}, and has {tasks[task]}"
    for name, task in tasks.items():
        if task["state"] == "completed" and task["result"] not in book.results[name]:
            yield f"{name} has a result that no worker ever sent: {task['result']!r}"


def _wrong_history(task: Header) -> Iterator[str]:
    """Each delivery but the last ended with an event; the failed and the lost are counted."""
    events = Counter(event["event"] for event in task["history"])
    for event, count in (("failed", task["failures"]), ("lost", task["losses"])):
        if events[event] != count:
            yield f"{task['id']}: {count} {event}, but {events[event]} in its history"
    ended = events["failed"] + events["lost"] + events["released"]
    if task["state"] == "completed" and task["attempt"] != ended + 1:
        yield f"{task['id']}: attempt {task['attempt']} after {ended} that ended: {events}"


class Ends(ProcessTestCase):
    """
    One data directory, many broker processes, all but the last ended by a signal.

    @cvar number: of the signal.
    @cvar settings: what all brokers are started with.
    @cvar producer: what kind of producers there are.
    """

    number: int
    settings: tuple[str, ...] = SETTINGS
    producer: type[Producer] = Producer

    def setUp(self) -> None:
        super().setUp()
        self.random = Random(SEED)
        self.book = Book()
        self.brokers = 0
        self.port = 0
        self.stop_producing, self.stop_working = threading.Event(), threading.Event()
        self.addCleanup(self.stop_producing.set)
        self.addCleanup(self.stop_working.set)
        self.actors = [self._actor(self.producer, i, self.stop_producing) for i in range(3)]
        self.actors += [self._actor(Worker, i, self.stop_working) for i in range(2)]
        self.actors += [self._actor(Passerby, 0, self.stop_working)]

    def _actor(self, kind: type[Actor], number: int, stop: threading.Event) -> Actor:
        return kind(f"{kind.__name__} {number} {SEED}", self.book, self._connect, stop)

    def _connect(self) -> tuple[int, Peer]:
        number, port = self.brokers, self.port
        if not port:
            raise Gone("no broker is up")
        return number, Peer(port)

    def _open(self, child: Child) -> None:
        """Let producers and workers at this broker, as soon as it listens."""
        port = child.port()
        Peer(port).close()  # it listens before its reactor runs, which alone heeds SIGTERM
        self.brokers += 1
        self.port = port

    def _end_at_random(self, most_s: float, *, early: bool) -> int:
        """
        Start a broker and end it, within C{most_s}.

        @param early: that may be before it listens.
        @return: its exit status.
        """
        child = self.start(*self.settings)
        if not early:
            self._open(child)
        lived = child.lives_for(self.random.uniform(0.0, most_s))
        self.assertTrue(lived, f"seed {SEED}: the broker ended by itself:\n{child.log}")
        status = child.end(self.number)
        self.port = 0
        return status

    def _settle(self) -> None:
        """Bring up the last broker, and let everything that is left be done."""
        self._open(self.start(*self.settings))
        self.stop_producing.set()
        for actor in self.actors[:3]:
            actor.join(60)
        with Peer(self.port) as peer:
            try:
                until("all tasks are done", lambda: not peer.every_task(states=LIVE))
            except AssertionError as problem:  # why, the rest will say
                self.book.wrong.append(str(problem))
        self.stop_working.set()
        for actor in self.actors:
            actor.join(60)

    def _tasks(self, peer: Peer) -> dict[str, Header]:
        listed = [task["id"] for task in peer.every_task()]
        self.assertEqual(len(listed), len(set(listed)))
        known = sorted(self.book.accepted.union(listed))
        found: list[Header | None] = []
        for start in range(0, len(known), 500):
            found += peer.status(*known[start : start + 500], result=True, history=True)
        return {task["id"]: task for task in found if task is not None}

    def _recount(self, peer: Peer) -> None:
        """The numbers that are kept are those that a recount finds."""
        states = Counter(task["state"] for task in peer.every_task())
        stats = peer.stats()
        self.assertEqual({s: n for s, n in stats["states"].items() if n}, dict(states))
        self.assertEqual((stats["depth"], stats["in_progress"], stats["held_bytes"]), (0, 0, 0))

    def _check(self, least: int) -> None:
        """
        Compare what the broker has with what it said.

        @param least: so many tasks at least should have been completed for this to mean something.
        """
        self._settle()
        with Peer(self.port) as peer:
            wrong = list(what_is_wrong(self.book, self._tasks(peer)))
            self.assertEqual(wrong[:20], [], f"{len(wrong)} things are wrong; seed {SEED}")
            self._recount(peer)
        told = f"{len(self.book.accepted)} accepted, {len(self.book.told)} completed"
        self.assertGreater(len(self.book.told), least, told)


class Crash(Ends):
    """Killed."""

    number = signal.SIGKILL
    measured = False
    kills = KILLS

    def test_nothing_acknowledged_is_lost(self) -> None:
        for actor in self.actors:
            actor.start()
        for _ in range(self.kills):
            early = self.random.random() < 0.2
            self._end_at_random(0.6 if early else 1.5, early=early)
        self._check(10 * self.kills)
        self.assertGreater(self.book.repeated, 0)


class CrashHere(Crash):
    """Killed, where every commit runs in the reactor's thread."""

    kills = max(1, KILLS // 3)

    def start(self, *arguments: str, **how: Any) -> Child:
        return super().start(*arguments, script=EVERY_COMMIT_HERE, **how)


class OrderlyStop(Ends):
    """Told to stop."""

    number = signal.SIGTERM

    def test_nothing_acknowledged_is_lost(self) -> None:
        for actor in self.actors:
            actor.start()
        for _ in range(4):
            self.assertEqual(self._end_at_random(1.0, early=False), 0, f"seed {SEED}")
        self._check(40)
