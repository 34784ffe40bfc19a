"""What the end of a handler means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.app.context import DESCRIBED, Context
from taskqueue.app.outcomes import Discard, Retry, Snooze, Verdict
from taskqueue.app.verdicts import LONGEST_ERROR
from taskqueue.client import Delivery
from taskqueue.errors import BadRequest
from taskqueue.worker import PermanentFailure, Task, TaskCancelled, in_reactor
from taskqueue.worker.handlers import checked, runs_in_reactor
from taskqueue.worker.work import HandlerWork

DELIVERY = Delivery("id", "t", "q", 150, b"p", 1, 7, 30.0, 1.0, 0, 0, {"a": "b"})


class Kept:
    """A sink."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def progress(self, context: Context, value: Any) -> None:
        self.told.append(value)

    def log(self, context: Context, message: str, fields: Mapping[str, Any]) -> None:
        self.told.append((message, fields))


def make_task(payload: bytes = b"p") -> Task:
    return Task(Kept(), {name: getattr(DELIVERY, name) for name in DESCRIBED}, payload)


def raising(error: BaseException) -> Callable[[Task], None]:
    def handler(task: Task) -> None:
        raise error

    return handler


def boom(task: Task) -> None:
    raise ValueError("broken " + "x" * 20_000)


class Verdicts(SynchronousTestCase):
    def setUp(self) -> None:
        self.task = make_task()

    def verdict(self, handler: Callable[[Task], Any]) -> Verdict:
        return HandlerWork(handler).perform(b"p", self.task)

    def test_results(self) -> None:
        for returned, result in (
            (None, b""),
            (b"raw", b"raw"),
            (bytearray(b"raw"), b"raw"),
            ("Öl", "Öl".encode()),
            ({"a": [1]}, b'{"a":[1]}'),
            (3, b"3"),
            ([], b"[]"),
        ):
            verdict = self.verdict(lambda task, returned=returned: returned)
            self.assertEqual(verdict, Verdict("completed", result))

    def test_what_cannot_be_a_result(self) -> None:
        verdict = self.verdict(lambda task: object())
        self.assertEqual((verdict.status, verdict.permanent), ("failed", True))
        self.assertIn("neither bytes nor text nor JSON", verdict.error or "")

    def test_what_only_the_reactor_could_wait_for(self) -> None:
        verdict = self.verdict(lambda task: Deferred())
        self.assertEqual((verdict.status, verdict.permanent), ("failed", True))
        self.assertIn("in_reactor", verdict.error or "")

    def test_an_exception(self) -> None:
        verdict = self.verdict(lambda task: 1 / 0)
        self.assertEqual((verdict.status, verdict.permanent), ("failed", False))
        first, _, rest = (verdict.error or "").partition("\n")
        self.assertEqual(first, "ZeroDivisionError: division by zero")
        self.assertIn("in <lambda>", rest)
        self.assertNotIn("work.py", rest)

    def test_a_long_one_is_cut_in_the_middle(self) -> None:
        error = self.verdict(boom).error or ""
        self.assertLessEqual(len(error), LONGEST_ERROR)
        self.assertTrue(error.startswith("ValueError: broken"))
        self.assertIn("in boom", error[-500:])

    def test_what_a_handler_may_raise(self) -> None:
        for error, expected in (
            (Snooze(3), Verdict("released", delay_s=3.0)),
            (Retry(4, "busy"), Verdict("failed", error="busy", retry_in_s=4)),
            (Discard("old"), Verdict("failed", error="discarded: old", permanent=True)),
        ):
            self.assertEqual(self.verdict(raising(error)), expected)
        verdict = self.verdict(raising(PermanentFailure("no such customer")))
        self.assertEqual((verdict.status, verdict.permanent), ("failed", True))
        verdict = self.verdict(raising(SystemExit(1)))
        self.assertEqual((verdict.status, verdict.permanent), ("failed", False))

    def test_a_cancelled_one(self) -> None:
        self.task.cancelled = True
        self.assertEqual(self.verdict(lambda task: task.check()).status, "cancelled")
        self.assertEqual(self.verdict(raising(CancelledError())).status, "cancelled")
        self.assertEqual(self.verdict(raising(ValueError("x"))).status, "failed")
        self.assertEqual(self.verdict(lambda task: b"all the same").status, "completed")

    def test_to_cancel_oneself_is_a_failure(self) -> None:
        self.assertEqual(self.verdict(raising(TaskCancelled("mine"))).status, "failed")

    def test_time_outs_stand_in_a_header(self) -> None:
        work = HandlerWork(boom)
        self.assertEqual(work.timeout_for({"timeout_s": "2.5"}), 2.5)
        self.assertIsNone(work.timeout_for({"timeout_s": "soon"}))
        self.assertIsNone(work.timeout_for({}))


class Tasks(SynchronousTestCase):
    def test_what_a_handler_sees(self) -> None:
        task = make_task(b'{"a": 1}')
        self.assertEqual((task.id, task.type, task.headers), ("id", "t", {"a": "b"}))
        self.assertEqual(task.json(), {"a": 1})
        task.progress(5)
        task.log("here", step=1)
        self.assertEqual(task._sink.told, [5, ("here", {"step": 1})])
        task.check()
        task.cancelled = True
        self.assertRaises(TaskCancelled, task.check)

    def test_a_payload_that_is_no_json(self) -> None:
        self.assertRaises(BadRequest, make_task().json)


class Handlers(SynchronousTestCase):
    def test_where_they_run(self) -> None:
        async def coroutine(task: Task) -> None:
            """Awaits."""

        class Called:
            async def __call__(self, task: Task) -> None:
                """Awaits."""

        def plain(task: Task) -> None:
            """Blocks."""

        self.assertTrue(runs_in_reactor(coroutine))
        self.assertTrue(runs_in_reactor(Called()))
        self.assertTrue(runs_in_reactor(partial(coroutine)))
        self.assertFalse(runs_in_reactor(plain))
        self.assertTrue(runs_in_reactor(in_reactor(plain)))

    def test_what_are_no_handlers(self) -> None:
        for handlers in ({}, None, [print], {"t": 3}, {3: print}):
            self.assertRaises(BadRequest, checked, handlers)
        self.assertEqual(checked({"t": print}), {"t": print})
