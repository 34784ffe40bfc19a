"""Answers that would be too long for a message: cut into pages, or refused."""

from __future__ import annotations

from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.ledger import LONGEST_DETAIL
from taskqueue.wire import MAX_HEADER_BYTES, MessageType
from tests.operations.world import World


def ids(count: int) -> list[str]:
    """So many task ids."""
    return [str(UUID(int=n)) for n in range(1, count + 1)]


class LongAnswerTests(SynchronousTestCase):
    """What a session answers when there is too much to say."""

    def setUp(self) -> None:
        self.world = World()
        self.addCleanup(self.world.close)
        self.peer = self.world.connect()

    def fail_tasks(self, count: int, error: str) -> list[str]:
        tasks = [{"type": "t", "id": i, "max_retries": 0} for i in ids(count)]
        self.peer.ask(MessageType.SUBMIT_TASK, tasks=tasks)
        _, claimed = self.peer.ask(MessageType.CLAIM_TASK, limit=count, wait_s=0)
        results = [
            {"task": task["id"], "lease": task["lease"], "status": "failed", "error": error}
            for task in claimed["tasks"]
        ]
        for first in range(0, count, 50):
            part = results[first : first + 50]
            kind, answer = self.peer.ask(MessageType.TASK_RESULT, results=part)
            self.assertEqual((kind, answer.get("errors")), (MessageType.ACK, None))
        return ids(count)

    def test_refusedWithAdvice(self) -> None:
        asked = self.fail_tasks(100, "x" * 60_000)
        kind, answer = self.peer.ask(MessageType.QUERY_STATUS, tasks=asked)
        self.assertIs(kind, MessageType.NACK)
        self.assertEqual(answer["code"], "BAD_REQUEST")
        self.assertIn(f"may have {MAX_HEADER_BYTES}", answer["message"])
        self.assertIn("ask for fewer", answer["message"])
        kind, answer = self.peer.ask(MessageType.QUERY_STATUS, tasks=asked[:50])
        self.assertIs(kind, MessageType.ACK)
        self.assertEqual(len(answer["tasks"]), 50)

    def test_historyKeepsTheBeginningOfALongError(self) -> None:
        (task,) = self.fail_tasks(1, "y" * 60_000)
        _, answer = self.peer.ask(MessageType.QUERY_STATUS, tasks=[task], history=True)
        (view,) = answer["tasks"]
        self.assertEqual(view["error"], "y" * 60_000)
        details = [event["detail"] for event in view["history"] if event["event"] == "failed"]
        self.assertEqual(details, ["y" * (LONGEST_DETAIL - 1) + "…"])

    def test_queuesPageByPage(self) -> None:
        names = [f"q{n:02}" for n in range(7)]
        for name in names:
            self.peer.ask(MessageType.PAUSE_QUEUE, queue=name)
        found, after, pages = [], None, 0
        while True:
            _, answer = self.peer.ask(MessageType.LIST_QUEUES, limit=3, after=after)
            found += [queue["name"] for queue in answer["queues"]]
            after, pages = answer["next"], pages + 1
            if after is None:
                break
        self.assertEqual((found, pages), (names, 3))

    def test_workersPageByPage(self) -> None:
        for name in ("b", "a", "c"):
            self.world.connect().ask(MessageType.REGISTER_WORKER, worker=name, incarnation=1)
        _, first = self.peer.ask(MessageType.LIST_WORKERS, limit=2)
        _, second = self.peer.ask(MessageType.LIST_WORKERS, limit=2, after=first["next"])
        listed = [[worker["id"] for worker in page["workers"]] for page in (first, second)]
        self.assertEqual(listed, [["a", "b"], ["c"]])
        self.assertIsNone(second["next"])
