"""
Declaring tasks, and what is submitted for them.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

import taskqueue
from taskqueue.app.application import App
from taskqueue.app.options import TIMEOUT_HEADER
from taskqueue.app.periodics import register
from taskqueue.client import Submission
from taskqueue.client.codecs import BYTES, JSON
from taskqueue.errors import BadRequest
from tests.app.running import Sent

pickled_app = App()


@pickled_app.task
def pickled(a: int) -> int:
    return a + 1


class DeclaringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.app = App("tq://broker:1", queue="house")

    def test_a_task_is_still_the_function(self) -> None:
        @self.app.task(queue="mail", timeout=30)
        def add(a: int, b: int = 2) -> int:
            """Adds."""
            return a + b

        self.assertEqual(add(1), 3)
        self.assertEqual((add.type, add.__name__, add.__doc__), ("add", "add", "Adds."))
        self.assertEqual(add.timeout_s, 30)
        self.assertIs(self.app.handlers["add"], add)
        self.assertEqual(repr(add), "<task add>")

    def test_with_and_without_parentheses(self) -> None:
        @self.app.task
        def one():
            return 1

        @self.app.task("numbers.two")
        def two():
            return 2

        self.assertEqual(sorted(self.app.handlers), ["numbers.two", "one"])
        self.assertEqual((one(), two()), (1, 2))

    def test_it_can_be_pickled_as_the_function_could(self) -> None:
        self.assertIs(pickle.loads(pickle.dumps(pickled)), pickled)

    def test_names(self) -> None:
        with self.assertRaisesRegex(BadRequest, "'a b' is no name for a task"):
            self.app.task("a b")(lambda: 1)
        with self.assertRaisesRegex(BadRequest, "'<lambda>' is no name"):
            self.app.task(lambda: 1)

    def test_one_name_for_two_functions(self) -> None:
        self.app.task("x")(pickled.function)
        self.app.task("x")(pickled.function)
        with self.assertRaisesRegex(BadRequest, r"two tasks named x: .*pickled and .*<lambda>"):
            self.app.task("x")(lambda: 1)

    def test_options_that_there_are_none_of(self) -> None:
        with self.assertRaisesRegex(BadRequest, "no option 'color'.* there are .*queue"):
            self.app.task("x", color="red")(lambda: 1)
        with self.assertRaisesRegex(BadRequest, "run_in of x is said with options"):
            self.app.task("x", run_in=3)(lambda: 1)
        with self.assertRaisesRegex(BadRequest, "timeout is 0, expected seconds"):
            self.app.task("x", timeout=0)(lambda: 1)
        with self.assertRaisesRegex(BadRequest, "a raw task is called with one value"):
            self.app.task("x", raw=True)(lambda: 1)
        with self.assertRaisesRegex(BadRequest, "no codec 'pickle'"):
            self.app.task("x", codec="pickle")(lambda: 1)
        with self.assertRaisesRegex(BadRequest, "x cannot be a task: .*write a function around it"):
            self.app.task("x")(dict)
        self.assertEqual(self.app.handlers, {})

    def test_where_the_broker_is(self) -> None:
        self.assertEqual(self.app.address, "tq://broker:1")
        self.patch(os, "environ", {})
        self.assertEqual(App().address, "tq://127.0.0.1:7780")
        self.patch(os, "environ", {"TASKQUEUE_BROKER": "tq://elsewhere:2"})
        self.assertEqual(App().address, "tq://elsewhere:2")


class SubmittingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.app = App("tq://broker:1", queue="house")
        self.sent = Sent(self.app)

        @self.app.task(priority=9, max_retries=2, retry_delay=4, headers={"a": "1"})
        def mail(ctx, to, subject="none"):
            return None

        self.mail = mail

    def test_a_call(self) -> None:
        self.assertEqual(self.mail.submit("a@b", subject="hi"), "handle 1")
        last = self.sent.last
        self.assertEqual(json.loads(last.payload), {"args": ["a@b"], "kwargs": {"subject": "hi"}})
        expected = Submission(
            *("mail", last.payload, "house", 9),
            max_retries=2,
            retry_delay_s=4,
            headers={"a": "1"},
            codec=JSON,
        )
        self.assertEqual(last, expected)

    def test_options_of_one_call(self) -> None:
        other = self.mail.options(run_in=60, queue="slow", priority=None, headers={"b": "2"})
        other.submit("x")
        last = self.sent.last
        self.assertEqual((last.queue, last.run_in_s, last.priority), ("slow", 60, 150))
        self.assertEqual(last.headers, {"a": "1", "b": "2"})
        self.mail.submit("x")
        self.assertEqual((self.sent.last.run_in_s, self.sent.last.priority), (None, 9))

    def test_arguments_are_checked_before_anything_is_sent(self) -> None:
        for args, kwargs in (((), {}), (("a", "b", "c"), {}), (("a",), {"cc": 1})):
            with self.assertRaisesRegex(TypeError, r"mail\(to, subject='none'\): "):
                self.mail.submit(*args, **kwargs)
        with self.assertRaisesRegex(BadRequest, "cannot be written as JSON"):
            self.mail.submit(object())
        self.assertEqual(self.sent.submissions, [])

    def test_durations(self) -> None:
        self.mail.options(run_in=timedelta(hours=1), timeout=timedelta(seconds=2)).submit("x")
        self.assertEqual(self.sent.last.run_in_s, 3600)
        self.assertEqual(self.sent.last.headers[TIMEOUT_HEADER], "2")

    def test_moments(self) -> None:
        when = datetime(2027, 1, 1, tzinfo=UTC)
        self.mail.options(run_at=when).submit("x")
        self.assertEqual(self.sent.last.run_at, when.timestamp())
        with self.assertRaisesRegex(BadRequest, "without a time zone"):
            self.mail.options(run_at=datetime(2027, 1, 1)).submit("x")  # noqa: DTZ001

    def test_a_time_out_of_its_own(self) -> None:
        self.mail.options(timeout=2.5).submit("x")
        headers = self.sent.last.headers
        self.assertEqual(headers, {TIMEOUT_HEADER: "2.5", "a": "1"})
        self.assertEqual(self.mail.timeout_for(headers), 2.5)
        self.assertIsNone(self.mail.timeout_for({}))
        self.assertIsNone(self.mail.timeout_for({TIMEOUT_HEADER: "soon"}))

    def test_the_time_out_that_is_declared_does_not_travel(self) -> None:
        task = self.app.task("slow", timeout=9)(lambda: 1)
        task.options(run_in=1).submit()
        self.assertIsNone(self.sent.last.headers)
        task.options(timeout=None).submit()
        self.assertIsNone(self.sent.last.headers)
        self.assertEqual(task.timeout_for({}), 9)

    def test_raw(self) -> None:
        task = self.app.task("image", raw=True)(lambda data: data)
        task.submit(b"\xff")
        self.assertEqual(self.sent.last.payload, b"\xff")
        task.submit(data=bytearray(b"x"))
        self.assertEqual(self.sent.last.payload, b"x")
        with self.assertRaisesRegex(TypeError, "takes its payload as bytes"):
            task.submit("text")

    def test_how_results_are_written(self) -> None:
        for how, codec in (
            ({}, JSON),
            ({"raw": True}, BYTES),
            ({"raw": True, "result_codec": "json"}, JSON),
            ({"result_codec": "bytes"}, BYTES),
        ):
            self.app.handlers.clear()
            self.app.task("picture", **how)(lambda data: data).submit(b"x" if how.get("raw") else 1)
            self.assertIs(self.sent.last.codec, codec)

    def test_unique_keys(self) -> None:
        def key(wanted, *args, **kwargs):
            self.mail.options(unique=wanted, unique_for=60).submit(*args, **kwargs)
            return self.sent.last.unique

        self.assertEqual(key("mail:{to}:{subject}", "a"), "mail:a:none")
        self.assertEqual(key(lambda to, subject="": to.upper(), "a"), "A")
        self.assertEqual(key(True, "a"), key(True, "a"))
        self.assertNotEqual(key(True, "a"), key(True, "b"))
        self.assertIsNone(key(False, "a"))
        self.assertEqual(self.sent.last.unique_for_s, 60)
        with self.assertRaisesRegex(BadRequest, r"'mail:\{cc\}' of mail does not fit"):
            key("mail:{cc}", "a")

    def test_with_another_client(self) -> None:
        class Client:
            def submit(self, type, payload, **options):
                return type, payload, options

        told = self.mail.options(id="x").submit_async(Client(), "a")
        options = {
            "queue": "house",
            "priority": 9,
            "id": "x",
            "max_retries": 2,
            "retry_delay_s": 4,
            "headers": {"a": "1"},
            "codec": JSON,
        }
        self.assertEqual(told, ("mail", b'{"args":["a"],"kwargs":{}}', options))

    def test_middleware_around(self) -> None:
        class Marks:
            def __init__(self, name):
                self.name = name

            def around_submit(self, submission, call):
                marks = submission.headers.get("marks", "") + self.name
                headers = {**submission.headers, "marks": marks}
                return call(replace(submission, headers=headers)) + self.name

        self.app.middleware += [Marks("1"), object(), Marks("2")]
        self.assertEqual(self.mail.submit("x"), "handle 121")
        self.assertEqual(self.sent.last.headers, {"a": "1", "marks": "12"})


class PeriodicTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.app = App()

    def test_above_a_task(self) -> None:
        @self.app.periodic("north", cron="*/5 * * * *", tz="Europe/Paris", overlap=False)
        @self.app.task(queue="reports", max_retries=1)
        def report(ctx, region):
            return region

        (periodic,) = self.app.periodics
        self.assertEqual(periodic.name, "report")
        self.assertEqual(periodic.submission.queue, "reports")
        self.assertEqual(json.loads(periodic.submission.payload)["args"], ["north"])
        item = {
            "name": "report",
            "type": "report",
            "payload": b'{"args":["north"],"kwargs":{}}',
            "queue": "reports",
            "priority": 150,
            "max_retries": 1,
            "cron": "*/5 * * * *",
            "tz": "Europe/Paris",
            "catch_up": "skip",
            "overlap": False,
        }
        self.assertEqual(periodic.item(), item)
        self.assertIs(self.app.handlers["report"], report)

    def test_above_a_function(self) -> None:
        @self.app.periodic(every_s=30, name="pulse")
        def beat():
            return None

        self.assertIs(self.app.handlers["beat"], beat)
        self.assertEqual(self.app.periodics[0].name, "pulse")
        self.assertEqual(self.app.periodics[0].item()["every_s"], 30)

    def test_two_schedules_of_one_task(self) -> None:
        task = self.app.task("t")(lambda n=0: n)
        self.app.periodic(1, every_s=1)(task)
        self.app.periodic(2, every_s=2, name="second")(task)
        self.assertEqual([one.name for one in self.app.periodics], ["t", "second"])
        self.app.periodic(3, every_s=3)(task)
        self.assertEqual([one.every_s for one in self.app.periodics], [2, 3])

    def test_what_is_no_schedule(self) -> None:
        task = self.app.task("t")(lambda: 1)
        for words, how in (
            ("needs cron or every_s, and not both", {}),
            ("needs cron or every_s, and not both", {"cron": "* * * * *", "every_s": 1}),
            ("expected five fields", {"cron": "* * *"}),
            ("every_s is 0.5, expected 1 or more", {"every_s": 0.5}),
            ("catch_up is 'some'", {"every_s": 1, "catch_up": "some"}),
            ("no time zone 'Mars/Base'", {"every_s": 1, "tz": "Mars/Base"}),
        ):
            with self.assertRaisesRegex(BadRequest, words):
                self.app.periodic(**how)(task)
        self.assertRaises(TypeError, self.app.periodic(1, every_s=1), task)
        with self.assertRaisesRegex(BadRequest, "its task has run_in_s, unique, which"):
            self.app.periodic(every_s=1)(task.options(run_in=3, unique="x"))
        self.assertEqual(self.app.periodics, [])

    def test_registering(self) -> None:
        self.app.periodic(every_s=60)(self.app.task("t")(lambda: 1))
        put: list[dict[str, Any]] = []

        class Client:
            def put_periodic(self, **item):
                put.append(item)
                return succeed(None)

        self.successResultOf(Deferred.fromCoroutine(register(self.app.periodics, Client())))
        self.assertEqual(put, [self.app.periodics[0].item()])


class PackageTests(SynchronousTestCase):
    def run_python(self, script: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=20
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.strip()

    def test_importing_the_package_imports_nothing_else(self) -> None:
        script = "import sys, taskqueue; print([m for m in sys.modules if 'twisted' in m or"
        script += " m.startswith('taskqueue.')])"
        self.assertEqual(self.run_python(script), "[]")

    def test_an_application_brings_no_reactor(self) -> None:
        script = "import sys, taskqueue; taskqueue.App; taskqueue.Retry; print([m for m in"
        script += " sys.modules if m == 'twisted.internet.reactor' or 'twisted.web' in m])"
        self.assertEqual(self.run_python(script), "[]")

    def test_a_fork_while_a_client_is_made(self) -> None:
        """The lock that a thread of the parent holds is not held in the child."""
        script = (
            "import os, taskqueue; app = taskqueue.App(); app._lock.acquire(); pid = os.fork()\n"
        )
        script += "if pid == 0: app.close(); os._exit(7)\n"
        script += "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
        self.assertEqual(self.run_python(script), "7")

    def test_names(self) -> None:
        for name in set(taskqueue.__all__) - {"connect"}:
            self.assertIsNotNone(getattr(taskqueue, name))
        self.assertIn("App", dir(taskqueue))
        self.assertRaises(AttributeError, getattr, taskqueue, "Ap")
