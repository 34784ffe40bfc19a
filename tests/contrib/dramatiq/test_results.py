"""
Results of dramatiq's actors at the broker.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import dramatiq
from dramatiq.errors import ConnectionFailed
from dramatiq.results import ResultFailure, ResultMissing, Results, ResultTimeout

from taskqueue.contrib.dramatiq import TaskqueueBroker, TaskqueueResultBackend
from taskqueue.errors import BadRequest
from tests.contrib.programs import FrameworkTestCase
from tests.process.children import until


class ResultTests(FrameworkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.dramatiq = TaskqueueBroker(self.address)
        self.addCleanup(self.dramatiq.close)
        self.backend = TaskqueueResultBackend(connecting=self.dramatiq.connecting)
        self.dramatiq.add_middleware(Results(backend=self.backend))

    def message(self) -> dramatiq.Message[Any]:
        return dramatiq.Message(self.name, "work", (), {}, {})

    def test_result(self) -> None:
        """It can be read as often as one likes, and by people who know where."""
        message = self.message()
        self.backend.store_result(message, {"a": [1]}, 60_000)
        for _ in range(2):
            self.assertEqual(message.get_result(backend=self.backend), {"a": [1]})
            self.assertEqual(message.get_result(backend=self.backend, block=True), {"a": [1]})
        key = self.backend.build_message_key(message)
        value = self.client.get_value("dramatiq-results", key)
        assert value is not None and value.expires_at is not None
        self.assertTrue(50 < value.expires_at - time.time() <= 60)

    def test_failure(self) -> None:
        message = self.message()
        self.backend.store_exception(message, ValueError("no good"), 60_000)
        error = self.assertRaises(ResultFailure, message.get_result, backend=self.backend)
        self.assertEqual(error.orig_exc_type, "ValueError")
        self.assertEqual(error.orig_exc_msg, "no good")

    def test_missing(self) -> None:
        get_result = self.message().get_result
        self.assertRaises(ResultMissing, get_result, backend=self.backend)
        began = time.monotonic()
        self.assertRaises(ResultTimeout, get_result, backend=self.backend, block=True, timeout=100)
        self.assertLess(time.monotonic() - began, 5)

    def test_expired(self) -> None:
        message = self.message()
        self.backend.store_result(message, 1, 500)
        self.assertEqual(message.get_result(backend=self.backend), 1)
        key = self.backend.build_message_key(message)
        until("it is gone", lambda: self.client.get_value("dramatiq-results", key) is None)
        self.assertRaises(ResultMissing, message.get_result, backend=self.backend)

    def test_waiting_for_it(self) -> None:
        """Who waits is told, and does not look again and again."""
        message = self.message()
        asked: list[Any] = []
        connecting, found = self.dramatiq.connecting, threading.Event()
        run = connecting.run
        self.patch(connecting, "run", lambda call: (asked.append(call), run(call))[1])

        def wait() -> None:
            asked.append(message.get_result(backend=self.backend, block=True))
            found.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        other = TaskqueueResultBackend(self.address)
        other.store_result(message, "done", 60_000)
        self.assertTrue(found.wait(10))
        waiting.join()
        self.assertEqual(asked[1:], ["done"])

    def test_worker_stores_it(self) -> None:
        """With a worker of dramatiq's, in threads of this process."""

        @dramatiq.actor(
            broker=self.dramatiq, queue_name=self.name, store_results=True, max_retries=0
        )
        def divide(a: int, b: int) -> float:
            return a / b

        worker = dramatiq.Worker(self.dramatiq, worker_timeout=100, worker_threads=1)
        worker.start()
        self.addCleanup(worker.stop)
        self.assertEqual(divide.send(3, 2).get_result(backend=self.backend, block=True), 1.5)
        with self.assertLogs("dramatiq", "WARNING"):
            failing = divide.send(3, 0)
            get_result = failing.get_result
            self.assertRaises(ResultFailure, get_result, backend=self.backend, block=True)

    def test_where_it_cannot_be(self) -> None:
        self.assertRaises(BadRequest, TaskqueueResultBackend, namespace="no spaces")
        away = TaskqueueResultBackend("tq://127.0.0.1:1")
        self.assertRaises(ConnectionFailed, self.message().get_result, backend=away)
