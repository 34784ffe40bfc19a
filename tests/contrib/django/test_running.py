"""One delivery of a task, from what the broker brings to what it is told."""

from __future__ import annotations

import os
from typing import Any

from django.core.cache import caches
from django.db import connection
from django.dispatch import receiver
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.app.calls import encode_call
from taskqueue.app.outcomes import Verdict
from taskqueue.client.codecs import JSON
from taskqueue.contrib.django import framework
from taskqueue.contrib.django.backend import RETRIES_HEADER, Backend
from taskqueue.contrib.django.functions import ANY, PATH_HEADER
from taskqueue.contrib.django.running import BACKEND_VARIABLE, WORKER_VARIABLE, backend_of, run
from taskqueue.errors import AnswerTimedOut, BadRequest
from taskqueue.worker import Task
from taskqueue.worker.stopping import TaskTimedOut
from taskqueue.worker.work import works_of
from tests.contrib.django.office import elsewhere, tasks
from tests.contrib.django.project import listen, use
from tests.examples.running import Said

OUTCOMES = "taskqueue.app.outcomes"
CANCELLED = encode_call([f"{OUTCOMES}.TaskCancelled"], {}, JSON)


class RunCase(SynchronousTestCase):
    """
    @ivar finished: the results that C{task_finished} told of.
    """

    def setUp(self) -> None:
        use(self)
        self.patch(os, "environ", {**os.environ, WORKER_VARIABLE: "w"})
        tasks.done.clear()
        self.started = listen(self, "task_started")
        self.finished = listen(self, "task_finished")

    def delivery(self, type_: str, payload: bytes = b"", **described: Any) -> Task:
        given = {
            "id": "01a20e1b-3936-7fa9-b3c1-16732b680f97",
            "type": type_,
            "queue": "default",
            "priority": 150,
            "attempt": 1,
            "failures": 0,
            "losses": 0,
            "lease": 7,
            "headers": {},
            "submitted_at": 1.0,
        }
        return Task(Said(), {**given, **described}, payload)

    def verdict(self, task: Any, payload: bytes = b"", **described: Any) -> Verdict:
        """What a worker makes of a task."""
        return self.verdict_of(self.delivery(task.module_path, payload, **described))

    def verdict_of(self, delivery: Task) -> Verdict:
        work = works_of({delivery.type: run})[delivery.type]
        self.assertIs(work.in_loop, False)
        return work.perform(delivery.payload, delivery)

    def raised(self, path: str, *args: Any, **described: Any) -> Verdict:
        """What comes of a task that raises what is at C{path}."""
        return self.verdict(tasks.raises, encode_call([path, *args], {}, JSON), **described)


class SuccessTests(RunCase):
    def test_a_function(self) -> None:
        verdict = self.verdict(tasks.add, b'{"args":[1],"kwargs":{"b":2}}')
        self.assertEqual(verdict, Verdict("completed", b"3"))
        self.assertEqual(tasks.done, [(1, 2)])

    def test_what_signals_tell(self) -> None:
        self.verdict(tasks.add, b'{"args":[1],"kwargs":{}}')
        (started, status), (finished, _) = (*self.started, *self.finished)
        self.assertIs(started, finished)
        self.assertEqual(
            (status, finished.status, finished.return_value), ("RUNNING", "SUCCESSFUL", 1)
        )
        self.assertEqual(
            (finished.worker_ids, finished.args, finished.task), (["w"], [1], tasks.add)
        )
        self.assertLessEqual(finished.started_at, finished.finished_at)

    def test_a_context(self) -> None:
        payload = b'{"args":["a"],"kwargs":{"x":1}}'
        verdict = self.verdict(tasks.send, payload, queue="mail", priority=143)
        self.assertEqual(verdict.result, b'{"attempt":1,"lines":["a"],"more":{"x":1}}')
        (context,) = tasks.done
        self.assertEqual(context.task_result.task, tasks.send)
        self.assertEqual(context.task_result.id, "01a20e1b-3936-7fa9-b3c1-16732b680f97")

    def test_a_coroutine(self) -> None:
        self.assertEqual(self.verdict(tasks.wait), Verdict("completed", b'"waited"'))

    def test_one_that_no_worker_looks_for(self) -> None:
        headers = {PATH_HEADER: elsewhere.hidden.module_path}
        self.assertEqual(self.verdict_of(self.delivery(ANY, headers=headers)).result, b'"hidden"')

    def test_from_whoever_has_no_django(self) -> None:
        """Arguments by name, without the form that Django's calls have."""
        self.assertEqual(self.verdict(tasks.add, b'{"a":4}').result, b"4")


class FailureTests(RunCase):
    def test_an_exception(self) -> None:
        verdict = self.raised("builtins.ValueError", "bad")
        self.assertEqual((verdict.status, verdict.permanent), ("failed", False))
        summary, _, trace = (verdict.error or "").partition("\n\n")
        self.assertEqual(summary, "ValueError: bad")
        self.assertIn("office/tasks/__init__.py", trace)
        self.assertNotIn("running.py", trace)
        ((result, _),) = self.finished
        self.assertEqual((result.status, result.errors[0].exception_class), ("FAILED", ValueError))

    def test_what_ends_processes(self) -> None:
        verdict = self.raised("builtins.SystemExit", "3")
        self.assertEqual((verdict.error or "").splitlines()[0], "SystemExit: 3")
        self.assertRaises(KeyboardInterrupt, self.raised, "builtins.KeyboardInterrupt")
        self.assertEqual(len(self.finished), 1)

    def test_what_it_returned_is_none_of_json(self) -> None:
        verdict = self.verdict(tasks.returns_nothing_that_json_has)
        self.assertIn("Unsupported type", verdict.error)

    def test_one_that_is_tried_again_has_not_finished(self) -> None:
        headers = {RETRIES_HEADER: "2"}
        for failures in (0, 1):
            self.raised("builtins.ValueError", failures=failures, headers=headers)
        self.assertEqual(self.finished, [])
        self.raised("builtins.ValueError", failures=2, headers=headers)
        self.assertEqual(len(self.finished), 1)

    def test_headers_of_whoever_submits(self) -> None:
        for text in ("", "x", "-1", "9" * 5000, "٣"):
            self.assertEqual(
                self.raised("builtins.ValueError", headers={RETRIES_HEADER: text}).status, "failed"
            )
        self.assertEqual(len(self.finished), 5)

    def test_what_our_own_tasks_raise(self) -> None:
        """A task may say more than Django's know of."""
        headers = {RETRIES_HEADER: "1"}
        self.assertEqual(self.raised(f"{OUTCOMES}.Snooze", 5).delay_s, 5.0)
        self.assertEqual(self.raised(f"{OUTCOMES}.Retry", 5, headers=headers).retry_in_s, 5.0)
        self.assertEqual(self.finished, [])
        for path in ("Discard", "PermanentFailure"):
            verdict = self.raised(f"{OUTCOMES}.{path}", "no use", headers=headers)
            self.assertEqual((verdict.status, verdict.permanent), ("failed", True))
        self.assertEqual(len(self.finished), 2)

    def test_one_that_is_cancelled(self) -> None:
        delivery = self.delivery(tasks.raises.module_path, CANCELLED)
        delivery.cancelled = True
        self.assertEqual(self.verdict_of(delivery).status, "cancelled")
        self.assertEqual([status for _, status in self.finished], ["FAILED"])

    def test_one_that_is_not_ours_any_more(self) -> None:
        """Another worker has it: nothing may be said of it."""
        delivery = self.delivery(tasks.raises.module_path, CANCELLED)
        delivery.lease_lost = True
        self.verdict_of(delivery)
        delivery = self.delivery(tasks.add.module_path, b'{"a":1}')
        delivery.lease_lost = True
        self.verdict_of(delivery)
        self.assertEqual(self.finished, [])

    def test_a_time_out(self) -> None:
        self.assertTrue(issubclass(TaskTimedOut, TimeoutError))
        verdict = self.raised("taskqueue.worker.TaskTimedOut", "too long")
        self.assertEqual(
            (verdict.status, verdict.permanent, verdict.retry_in_s), ("failed", False, None)
        )
        self.assertEqual(len(self.finished), 1)

    def test_no_such_task(self) -> None:
        for delivery in (
            self.delivery("tests.contrib.django.office.tasks.gone"),
            self.delivery(ANY),
            self.delivery(tasks.add.module_path, b"[1]"),
        ):
            verdict = self.verdict_of(delivery)
            self.assertEqual((verdict.status, verdict.permanent), ("failed", True))
        self.assertEqual(self.started, [])


class SignalTests(RunCase):
    def test_a_receiver_that_fails_does_the_task_no_harm(self) -> None:
        for signal in (framework.signals.task_started, framework.signals.task_finished):

            @receiver(signal)
            def fail(**how: Any) -> None:
                raise RuntimeError

            self.addCleanup(signal.disconnect, fail)
        with self.assertLogs("django.dispatch", "ERROR"):
            verdict = self.verdict(tasks.add, b'{"args":[1],"kwargs":{}}')
        self.assertEqual(verdict, Verdict("completed", b"1"))

    def test_the_exception_is_at_hand(self) -> None:
        """Django's own receiver logs it, and others report it."""
        with self.assertLogs(framework.PACKAGE, "ERROR") as logs:
            self.raised("builtins.ValueError", "bad")
        self.assertIn("ValueError: bad", logs.output[0])


class AttemptTests(RunCase):
    def attempt(self, history: Any) -> Any:
        """The third attempt, of which the broker tells this."""

        def told(backend: Any, task_id: str) -> Any:
            if isinstance(history, Exception):
                raise history
            return history

        self.patch(Backend, "history", told)
        self.verdict(tasks.send, queue="mail", attempt=3, failures=2)
        return tasks.done[0]

    def test_what_became_of_the_others(self) -> None:
        failed = {"event": "failed", "detail": "KeyError: 1\n\ntrace", "worker": "u"}
        context = self.attempt(
            [
                {**failed, "attempt": 1, "started_at": 10.0},
                {**failed, "attempt": 2, "started_at": 20.0},
                {**failed, "attempt": 3, "started_at": 30.0},  # of a life before
            ]
        )
        result = context.task_result
        self.assertEqual((context.attempt, result.worker_ids), (3, ["u", "u", "w"]))
        self.assertEqual([error.exception_class for error in result.errors], [KeyError] * 2)
        self.assertEqual(result.started_at.timestamp(), 10.0)

    def test_what_nobody_tells_of(self) -> None:
        """The key may be one that must not read."""
        revived = {"event": "revived", "attempt": 2}
        failed = {"event": "failed", "attempt": 2, "started_at": 20.0, "worker": "u"}
        context = self.attempt([failed, revived])
        self.assertEqual(context.task_result.worker_ids, ["", "u", "w"])
        tasks.done.clear()
        self.assertEqual(self.attempt([]).attempt, 3)

    def test_the_broker_does_not_answer(self) -> None:
        with self.assertLogs("taskqueue", "WARNING"):
            context = self.attempt(AnswerTimedOut("no"))
        self.assertEqual(context.attempt, 3)


class ResourceTests(RunCase):
    def asked(self) -> list[Any]:
        """The connections to the database that tasks begin with; a file, as one in memory stays."""

        seen: list[Any] = []

        @receiver(framework.signals.task_started)
        def query(**how: Any) -> None:
            connection.ensure_connection()
            seen.append(connection.connection)

        self.addCleanup(framework.signals.task_started.disconnect, query)
        connection.close()
        before = dict(connection.settings_dict)
        connection.settings_dict["NAME"] = self.mktemp()
        self.addCleanup(connection.settings_dict.update, before)
        self.addCleanup(connection.close)
        return seen

    def test_connections_end_with_each_task(self) -> None:
        """As with each request: what is broken, or old, is not found by the next."""
        seen = self.asked()
        self.verdict(tasks.add, b'{"args":[1],"kwargs":{}}')
        self.assertEqual((len(seen), connection.connection), (1, None))

    def test_a_connection_that_has_become_old(self) -> None:
        """Where they are kept, as CONN_MAX_AGE has it: the database may have gone meanwhile."""
        seen = self.asked()
        connection.settings_dict["CONN_MAX_AGE"] = 60
        for _ in range(2):
            self.verdict(tasks.add, b'{"args":[1],"kwargs":{}}')
        self.assertIs(seen[0], seen[1])
        connection.close_at = 0
        self.verdict(tasks.add, b'{"args":[1],"kwargs":{}}')
        self.assertIsNot(seen[1], seen[2])

    def test_caches_are_closed(self) -> None:
        closed: list[Any] = []
        self.patch(type(caches["default"]), "close", lambda cache, **how: closed.append(cache))
        self.verdict(tasks.add, b'{"args":[1],"kwargs":{}}')
        self.assertTrue(closed)


class BackendOfTests(SynchronousTestCase):
    def test_the_default(self) -> None:
        use(self)
        self.assertEqual(backend_of({}).alias, "default")
        self.assertEqual(backend_of({BACKEND_VARIABLE: "default"}).alias, "default")

    def test_there_is_none(self) -> None:
        use(self)
        error = self.assertRaises(BadRequest, backend_of, {BACKEND_VARIABLE: "mail"})
        self.assertIn("TASKS has no backend 'mail'; there are 'default'", str(error))

    def test_it_is_another(self) -> None:
        use(self, BACKEND=f"{framework.PACKAGE}.backends.dummy.DummyBackend")
        error = self.assertRaises(BadRequest, backend_of, {})
        self.assertIn("dummy.DummyBackend, whose tasks this worker cannot run", str(error))
