"""
A broker whose API is asked, without a network.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.config import HttpConfig, LimitsConfig
from taskqueue.core.intake import Submission
from taskqueue.core.task import State
from taskqueue.core.workers import Registration
from tests.web.visitor import Answer, Place, Visit, read_answer

ROOT = "/api/v1"

#: Turns of the reactor after which everything is answered that need not wait.
TURNS = 20

#: What is no body at all.
NOTHING = object()


def head_of(method: str, path: str, **headers: str) -> str:
    """The beginning of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: broker"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""])


class Desk(Place):
    """A broker at second 1000, and its API."""

    def begin(self, method: str, path: str, body: Any = NOTHING, **headers: str) -> Visit:
        """
        Ask for something.

        @param path: below the API's root.
        @param body: a JSON-able value, or bytes.
        """
        data = b""
        if body is not NOTHING:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers = {"content_type": "application/json", **headers}
            headers["content_length"] = str(len(data))
        visit = Visit(self.site)
        visit.send(head_of(method, ROOT + path, **headers).encode("latin-1") + data)
        return visit

    def ask(self, method: str, path: str, body: Any = NOTHING, **headers: str) -> Answer:
        """The answer to a request, which must come without time going by."""
        visit = self.begin(method, path, body, **headers)
        self.turns(TURNS)
        data = visit.received()
        assert data, f"no answer to {method} {path}"
        answer, rest = read_answer(data, has_body=method != "HEAD")
        assert rest == b"", rest
        visit.hang_up()
        return answer


class ApiTestCase(SynchronousTestCase):
    """
    A test of the API.

    @ivar desk: the broker, running.
    """

    http: HttpConfig | None = None
    limits: LimitsConfig | None = None

    def setUp(self) -> None:
        self.desk = Desk(self.http, self.limits).started()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        if self.desk.service.running:
            stopped = self.desk.service.stopService()
            self.desk.turns(TURNS)
            self.successResultOf(stopped)

    # --- asking -----------------------------------------------------------------------

    def ask(
        self, method: str, path: str, body: Any = NOTHING, status: int = 200, **headers: str
    ) -> Any:
        """The JSON of an answer, which must have this status."""
        answer = self.desk.ask(method, path, body, **headers)
        self.assertEqual(answer.status, status, answer.body)
        return answer.json if answer.body else None

    def get(self, path: str, status: int = 200) -> Any:
        return self.ask("GET", path, status=status)

    def post(self, path: str, body: Any = NOTHING, status: int = 200) -> Any:
        return self.ask("POST", path, body, status)

    def refused(
        self,
        method: str,
        path: str,
        body: Any = NOTHING,
        status: int = 422,
        code: str = "BAD_REQUEST",
        **headers: str,
    ) -> dict[str, Any]:
        """The problem that a request is, which must be this one."""
        answer = self.desk.ask(method, path, body, **headers)
        self.assertEqual((answer.status, answer.json["code"]), (status, code), answer.body)
        self.assertEqual(answer.header("content-type"), "application/problem+json")
        problem: dict[str, Any] = answer.json
        self.assertEqual(problem["status"], status)
        self.assertEqual(problem["type"].rpartition(":")[2], code.lower().replace("_", "-"))
        self.assertTrue(problem["title"] and problem["detail"])
        self.assertNotIn("message", problem)
        return problem

    # --- what there is ------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        self.desk.clock.advance(seconds)
        self.desk.turns(TURNS)

    def submit(self, **fields: Any) -> str:
        """Submit a task over HTTP, which must be new; return its id."""
        task = self.post("/tasks", {"type": "job", **fields}, 201)
        return str(task["id"])

    def end(self, state: State = State.COMPLETED, queue: str = "default", **more: Any) -> str:
        """Let the next task of a queue end; return its id."""
        [delivery] = self.desk.claim(queue)
        self.desk.report(delivery, state, **more)
        return delivery.id

    def kill(self, error: str = "broken", **fields: Any) -> str:
        """A dead letter."""
        task = self.submit(**fields)
        queue = fields.get("queue", "default")
        self.assertEqual(self.end(State.FAILED, queue, error=error, permanent=True), task)
        return task

    def register(self, name: str = "w1", **fields: Any) -> Any:
        registered = self.desk.service.register(Registration(name, 1, **fields), None)
        self.desk.turns(TURNS)
        return self.successResultOf(registered)


__all__ = ["NOTHING", "ROOT", "TURNS", "ApiTestCase", "Desk", "Submission", "head_of"]
