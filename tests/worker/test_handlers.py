"""What the end of a handler means."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.client import Delivery
from taskqueue.core.task import State
from taskqueue.errors import BadRequest
from taskqueue.worker import PermanentFailure, Task, TaskCancelled, in_reactor
from taskqueue.worker.handlers import LONGEST_ERROR, checked, report_of, runs_in_reactor

DELIVERY = Delivery("id", "t", "q", 150, b"p", 1, 7, 30.0, 1.0, 0, 0, {"a": "b"})


def failure_of(function) -> Failure:
    try:
        function()
    except Exception:
        return Failure()
    raise AssertionError("it did not fail")


def boom() -> None:
    raise ValueError("broken " + "x" * 20_000)


class Reports(SynchronousTestCase):
    def setUp(self) -> None:
        self.task = Task(DELIVERY, lambda value: None)

    def report(self, ended):
        return report_of(DELIVERY, self.task, ended)

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
            report = self.report(returned)
            self.assertEqual((report.status, report.result), (State.COMPLETED, result))
            self.assertEqual((report.task, report.lease), ("id", 7))

    def test_what_cannot_be_a_result(self) -> None:
        report = self.report(object())
        self.assertEqual((report.status, report.permanent), (State.FAILED, True))
        self.assertIn("neither bytes nor text nor JSON", report.error)

    def test_an_exception(self) -> None:
        report = self.report(failure_of(lambda: 1 / 0))
        self.assertEqual((report.status, report.permanent), (State.FAILED, False))
        first, _, rest = report.error.partition("\n")
        self.assertEqual(first, "ZeroDivisionError: division by zero")
        self.assertIn("in <lambda>", rest)

    def test_a_long_one_is_cut_in_the_middle(self) -> None:
        error = self.report(failure_of(boom)).error
        self.assertLessEqual(len(error), LONGEST_ERROR)
        self.assertTrue(error.startswith("ValueError: broken"))
        self.assertTrue(error.endswith("x"))

    def test_a_permanent_one(self) -> None:
        def give_up() -> None:
            raise PermanentFailure("no such customer")

        report = self.report(failure_of(give_up))
        self.assertEqual((report.status, report.permanent), (State.FAILED, True))

    def test_a_cancelled_one(self) -> None:
        self.task.cancelled = True
        for error in (CancelledError(), failure_of(self.task.check).value):
            self.assertEqual(self.report(Failure(error)).status, State.CANCELLED)
        self.assertEqual(self.report(Failure(ValueError("x"))).status, State.FAILED)
        self.assertEqual(self.report(b"done all the same").status, State.COMPLETED)

    def test_to_cancel_oneself_is_a_failure(self) -> None:
        self.assertEqual(self.report(Failure(TaskCancelled("mine"))).status, State.FAILED)


class Tasks(SynchronousTestCase):
    def test_what_a_handler_sees(self) -> None:
        told: list = []
        task = Task(DELIVERY._replace(payload=b'{"a": 1}'), told.append)
        self.assertEqual((task.id, task.type, task.headers), ("id", "t", {"a": "b"}))
        self.assertEqual(task.json(), {"a": 1})
        task.progress(5)
        self.assertEqual(told, [5])
        task.check()
        task.cancelled = True
        self.assertRaises(TaskCancelled, task.check)

    def test_a_payload_that_is_no_json(self) -> None:
        self.assertRaises(BadRequest, Task(DELIVERY, print).json)


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
