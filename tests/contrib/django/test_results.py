"""The broker's view of a task as Django's result."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.test.utils import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.app.calls import BadCall
from taskqueue.client.codecs import JSON
from taskqueue.contrib.django.functions import ANY, PATH_HEADER, UnknownFunction
from taskqueue.contrib.django.results import RUN_AFTER_HEADER, moment, result_of
from taskqueue.core.task import STATES_BY_WORD
from tests.contrib.django.office.tasks import add
from tests.contrib.django.project import use

TASK = "01a20e1b-3936-7fa9-b3c1-16732b680f97"


def at(second: float) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def failed(attempt: int, worker: str, detail: str) -> dict[str, Any]:
    """The end of a delivery that began in second 10 x C{attempt}, and took one."""
    return {
        "at": 10.0 * attempt + 1,
        "event": "failed",
        "attempt": attempt,
        "worker": worker,
        "started_at": 10.0 * attempt,
        "detail": detail,
    }


class ResultTests(SynchronousTestCase):
    def setUp(self) -> None:
        use(self)

    def result(self, state: str, payload: bytes = b"", **view: Any) -> Any:
        known = {
            "id": TASK,
            "type": add.module_path,
            "queue": "default",
            "priority": 150,
            "state": state,
            "submitted_at": 1.0,
        }
        return result_of("default", {**known, **view}, payload)

    def test_every_state_has_a_status(self) -> None:
        statuses = {word: self.result(word).status for word in STATES_BY_WORD}
        self.assertEqual(
            {word: str(status) for word, status in statuses.items() if status != "READY"},
            {
                "in_progress": "RUNNING",
                "completed": "SUCCESSFUL",
                "dead_letter": "FAILED",
                "cancelled": "FAILED",
                "expired": "FAILED",
            },
        )
        self.assertTrue({"pending", "scheduled", "failed", "blocked"} <= statuses.keys())

    def test_one_that_waits(self) -> None:
        result = self.result(
            "pending", b'{"args":[1],"kwargs":{"b":2}}', priority=143, queue="mail"
        )
        self.assertEqual((result.id, result.args, result.kwargs), (TASK, [1], {"b": 2}))
        self.assertEqual(result.task, add.using(priority=-7, queue_name="mail"))
        self.assertEqual((result.enqueued_at, result.started_at), (at(1), None))
        self.assertEqual((result.attempts, result.errors, result.backend), (0, [], "default"))
        self.assertRaises(ValueError, lambda: result.return_value)

    def test_one_that_runs(self) -> None:
        result = self.result("in_progress", worker="w", claimed_at=5.0)
        self.assertEqual((result.started_at, result.last_attempted_at), (at(5), at(5)))
        self.assertEqual((result.worker_ids, result.finished_at), (["w"], None))

    def test_one_that_succeeded_in_the_end(self) -> None:
        lost = {"at": 25.0, "event": "lost", "attempt": 2, "worker": "v", "started_at": 20.0}
        result = self.result(
            "completed",
            worker="w",
            claimed_at=30.0,
            ended_at=31.0,
            result=b'{"a":[1,null]}',
            error="KeyError: 1\n\ntrace",
            history=[failed(1, "u", "KeyError: 1\n\ntrace"), lost],
        )
        self.assertEqual(result.return_value, {"a": [1, None]})
        self.assertEqual(result.worker_ids, ["u", "v", "w"])
        self.assertEqual(
            (result.started_at, result.last_attempted_at, result.finished_at),
            (at(10), at(30), at(31)),
        )
        (error,) = result.errors
        self.assertEqual((error.exception_class, error.traceback), (KeyError, "trace"))

    def test_nothing_is_a_result_too(self) -> None:
        self.assertIsNone(self.result("completed").return_value)
        self.assertIsNone(self.result("completed", result=b"null").return_value)

    def test_one_that_failed_for_good(self) -> None:
        """The history keeps the beginning of the newest error, which is whole in the view."""
        whole = f"KeyError: 2\n\n{'x' * 5000}"
        history = [failed(1, "u", "KeyError: 1\n\ntrace"), failed(2, "u", f"{whole[:3999]}…")]
        result = self.result("dead_letter", error=whole, history=history, worker="u")
        self.assertEqual([len(error.traceback) for error in result.errors], [5, 5000])
        self.assertEqual(result.worker_ids, ["u", "u"])
        waiting = self.result("failed", error=whole, history=history, worker="u")
        self.assertEqual((waiting.status, waiting.errors), ("READY", result.errors))

    def test_one_that_ended_without_an_exception(self) -> None:
        for state, words in (("cancelled", "cancelled"), ("expired", "expired")):
            (error,) = self.result(state).errors
            self.assertIn(words, error.traceback)
            self.assertTrue(issubclass(error.exception_class, Exception))
        (error,) = self.result("dead_letter", error="5 workers were lost over it").errors
        self.assertEqual(error.traceback, "5 workers were lost over it")

    def test_what_is_no_failure_of_its_own(self) -> None:
        """A worker that was lost over it, say: the task is to be tried again."""
        waiting = self.result("pending", error="the worker was lost")
        self.assertEqual((waiting.status, waiting.errors), ("READY", []))
        (error,) = self.result("dead_letter").errors
        self.assertEqual(error.traceback, "the task failed")

    def test_another_life(self) -> None:
        """A dead letter that somebody lets run again."""
        history = [failed(1, "u", "KeyError: 1\n\ntrace"), {"at": 50.0, "event": "revived"}]
        result = self.result("pending", history=history, error="KeyError: 1\n\ntrace")
        self.assertEqual((result.status, len(result.errors), result.attempts), ("READY", 1, 1))

    def test_run_after(self) -> None:
        """The broker says when a retry is due; this is what was asked for."""
        headers = {RUN_AFTER_HEADER: at(9).isoformat()}
        result = self.result("failed", headers=headers, run_at=1000.0)
        self.assertEqual(result.task.run_after, at(9))

    def test_what_others_wrote(self) -> None:
        """Headers and results are of whoever submits, and works."""
        for text in ("soon", "", "9999999-01-01"):
            result = self.result("pending", headers={RUN_AFTER_HEADER: text}, queue="mail")
            self.assertEqual((result.task.run_after, result.task.queue_name), (None, "mail"))
        self.assertEqual(self.result("completed", result=b"sent \xff").return_value, "sent \ufffd")

    @given(st.binary() | st.recursive(st.integers() | st.text(), st.lists).map(JSON.encode))
    @settings(derandomize=True, deadline=None)
    def test_anybodys_payload_will_do(self, payload: bytes) -> None:
        try:
            self.assertEqual(self.result("pending", payload).status, "READY")
        except BadCall:
            return

    def test_one_that_is_too_deep(self) -> None:
        for depth in (100, 900, 5000):
            payload = b'{"args":[%s%s],"kwargs":{}}' % (b"[" * depth, b"]" * depth)
            try:
                self.assertEqual(len(self.result("pending", payload).args), 1)
            except BadCall:
                self.assertGreater(depth, 100)

    def test_moments_are_as_the_settings_say(self) -> None:
        self.assertEqual(moment(9.5), at(9.5))
        with override_settings(USE_TZ=False):
            self.assertIsNone(moment(9.5).tzinfo)
            self.assertEqual(moment(9.5).timestamp(), 9.5)
        self.assertIsNone(moment(None))

    def test_a_queue_that_the_settings_name_no_more(self) -> None:
        self.assertEqual(self.result("pending", queue="gone").task, add)

    def test_what_is_no_task_of_the_project(self) -> None:
        for view in ({"type": "send_email"}, {"type": ANY}, {"type": "os.system"}):
            self.assertRaises(UnknownFunction, self.result, "pending", **view)
        self.assertRaises(BadCall, self.result, "pending", b"[1]")
        hidden = "tests.contrib.django.office.elsewhere.hidden"
        found = self.result("pending", type=ANY, headers={PATH_HEADER: hidden})
        self.assertEqual(found.task.module_path, hidden)
