"""
Producers and workers that outlive their broker, and a book of all that they were
told: what the broker must then still know.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from random import Random
from typing import NamedTuple
from uuid import UUID

from taskqueue.wire import Header, MessageType
from tests.process.peer import Gone, Peer, Refused

QUEUES = ("default", "other")
TYPES = ("count", "send")

#: Longest batch of submissions and claims.
MOST = 20

#: Options under which a task ends by being completed only, whatever happens.
PERSISTENT = {
    "max_retries": 1000,
    "max_lost": 1000,
    "retry_delay_s": 0.05,
    "retry_max_delay_s": 0.05,
}


#: Refusals after which an actor simply connects again; a worker that did not
#: claim for long was evicted.
PASSING = ("SHUTTING_DOWN", "STORE_UNAVAILABLE", "UNKNOWN_WORKER")


class Delivered(NamedTuple):
    """A task in a worker's hands; C{broker} counts the broker processes so far."""

    broker: int
    task: str
    token: int


class Book:
    """
    What the broker said, in the order in which it was heard; shared by threads.

    @ivar payloads: of every task that was ever submitted, accepted or not.
    @ivar accepted: tasks whose submission was acknowledged.
    @ivar deliveries: whatever a worker was handed.
    @ivar completed: by task, the tokens under which its completion was acknowledged.
    @ivar results: by task, every result that was ever sent.
    @ivar told: by task, the result whose acceptance was acknowledged.
    @ivar repeated: how many requests were said again after a lost connection.
    @ivar wrong: answers that are wrong by themselves.
    """

    def __init__(self) -> None:
        self.payloads: dict[str, bytes] = {}
        self.accepted: set[str] = set()
        self.deliveries: list[Delivered] = []
        self.completed: defaultdict[str, set[int]] = defaultdict(set)
        self.results: defaultdict[str, set[bytes]] = defaultdict(set)
        self.told: dict[str, bytes] = {}
        self.repeated = 0
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *problem: object) -> None:
        self._lock.release()


class Actor(threading.Thread):
    """
    Does something again and again over one connection after another.

    @param connect: gives the number of the broker and a new connection to it;
        raises L{Gone}.
    """

    def __init__(
        self, seed: str, book: Book, connect: Callable[[], tuple[int, Peer]], stop: threading.Event
    ) -> None:
        super().__init__(name=seed, daemon=True)
        self.random = Random(seed)
        self.book = book
        self.broker = 0
        self._connect = connect
        self._stop_asked = stop
        self._pause = threading.Event()

    def run(self) -> None:
        try:
            while not self._stop_asked.is_set():
                self._meet()
        except Exception as problem:
            with self.book:
                self.book.wrong.append(f"{self.name}: {problem!r}")

    def _meet(self) -> None:
        try:
            self.broker, peer = self._connect()
        except Gone:
            self._pause.wait(0.02)
            return
        with peer:
            try:
                self.greet(peer)
                while not self._stop_asked.is_set():
                    self.act(peer)
            except Gone:
                pass
            except Refused as refusal:
                if refusal.code not in PASSING:
                    raise
                self._pause.wait(0.02)

    def greet(self, peer: Peer) -> None:
        """What comes first on each connection."""

    def act(self, peer: Peer) -> None:
        """One turn."""
        raise NotImplementedError


class Producer(Actor):
    """Submits batches under ids of its own, and again whatever it got no answer to."""

    _unanswered: tuple[Header, ...] = ()

    def act(self, peer: Peer) -> None:
        again = bool(self._unanswered)
        if not again:
            self._unanswered = tuple(self._task() for _ in range(self.random.randint(1, MOST)))
        ids = [task["id"] for task in self._unanswered]
        told = peer.submit(*self._unanswered)
        with self.book:
            self.book.repeated += again
            if told != ids:
                self.book.wrong.append(f"{ids} were submitted, {told} accepted")
            self.book.accepted.update(ids)
        if self.random.random() < 0.1:
            self._submit_again(peer, ids)
        self._unanswered = ()

    def _submit_again(self, peer: Peer, ids: list[str]) -> None:
        """Tasks that were accepted are known, and nothing happens to them."""
        answer = peer.ask(MessageType.SUBMIT_TASK, tasks=[dict(t) for t in self._unanswered])
        if answer["tasks"] != ids or answer.get("existing") != list(range(len(ids))):
            with self.book:
                self.book.wrong.append(f"submitted again, {ids} gave {answer}")

    def _task(self) -> Header:
        draw = self.random
        task_id = str(UUID(int=draw.getrandbits(128), version=4))
        payload = draw.randbytes(draw.choice((0, 10, 1000, 20_000)))
        with self.book:
            self.book.payloads[task_id] = payload
            known = list(self.book.accepted) if draw.random() < 0.02 else ()
        task: Header = {"id": task_id, "payload": payload, "priority": draw.randint(0, 255)}
        task |= {"queue": draw.choice(QUEUES), "type": draw.choice(TYPES), **PERSISTENT}
        if draw.random() < 0.1:
            task["run_in_s"] = draw.uniform(0.0, 0.5)
        if known:
            task["depends_on"] = [draw.choice(known)]
        return task


class Worker(Actor):
    """
    Claims tasks and completes most of them; some it fails, gives back, or keeps.
    What it got no answer to it says again on its next connection.

    @ivar registered: whether it is known to the broker by name, so that its
        leases outlive its connection.
    """

    registered = True
    _unanswered: tuple[Header, ...] = ()

    def greet(self, peer: Peer) -> None:
        if self.registered:
            peer.ask(
                MessageType.REGISTER_WORKER,
                worker=self.name.replace(" ", "-"),
                incarnation=1,
                queues=list(QUEUES),
            )
        if self._unanswered and self.random.random() < 0.8:
            with self.book:
                self.book.repeated += 1
            self._report(peer)
        self._unanswered = ()

    def act(self, peer: Peer) -> None:
        # Two at a time: with more than one request under way, a lost answer has company.
        limit = self.random.randint(1, MOST)
        asked = [
            peer.send(MessageType.CLAIM_TASK, queues=list(QUEUES), limit=limit, wait_s=0.1)
            for _ in range(2)
        ]
        tasks = [task for request in asked for task in self._claimed(peer.answer(request))]
        if not tasks:
            return
        split = self.random.random()
        if split < 0.03:
            return  # it is never heard of these again: their leases run out
        if split < 0.06:
            leases = [{"task": task["id"], "lease": task["lease"]} for task in tasks]
            peer.ask(MessageType.RELEASE_TASK, leases=leases)
            return
        self._unanswered = tuple(self._outcome(task) for task in tasks)
        self._report(peer)

    def _claimed(self, answer: Header) -> list[Header]:
        tasks: list[Header] = answer["tasks"]
        with self.book:
            for task in tasks:
                self.book.deliveries.append(Delivered(self.broker, task["id"], task["lease"]))
                if self.book.payloads[task["id"]] != task["payload"]:
                    self.book.wrong.append(f"{task['id']} has not the payload it was given")
        return tasks

    def _outcome(self, task: Header) -> Header:
        said: Header = {"task": task["id"], "lease": task["lease"]}
        if self.random.random() < 0.05:
            return said | {"status": "failed", "error": "on purpose"}
        result = f"{task['id']} {task['lease']} ".encode() * self.random.choice((1, 1, 50))
        with self.book:
            self.book.results[task["id"]].add(result)
        return said | {"status": "completed", "result": result}

    def _report(self, peer: Peer) -> None:
        answer = peer.ask(MessageType.TASK_RESULT, results=[dict(r) for r in self._unanswered])
        with self.book:
            for report, state in zip(self._unanswered, answer["states"], strict=True):
                if report["status"] == "completed" and state == "completed":
                    self.book.completed[report["task"]].add(report["lease"])
                    self.book.told[report["task"]] = report["result"]
            for error in answer.get("errors", ()):
                if error["code"] != "LEASE_LOST":
                    self.book.wrong.append(f"a report was answered {error}")
        self._unanswered = ()


class Passerby(Worker):
    """A worker that the broker does not know: its leases end with its connection."""

    registered = False
