"""The Flask application, with and without a broker."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from examples.flask_view import web
from examples.flask_view.tasks import app, send_email
from tests.examples.running import ExampleTestCase, context
from tests.process.children import until

LETTER = {"to": "a@example.org", "subject": "Hello"}


class Visitor:
    """Asks the application without a server, as another process would."""

    def visitor(self, case: Any, broker: str) -> Any:
        case.patch(os, "environ", {**os.environ, "TASKQUEUE_BROKER": broker})
        web.client.cache_clear()
        case.addCleanup(self.close)
        return web.web.test_client()

    def close(self) -> None:
        """Close the application's client, where it has one."""
        if web.client.cache_info().currsize:
            web.client().close()
        web.client.cache_clear()


class LetterTests(SynchronousTestCase):
    def test_the_view_submits_what_the_worker_has(self) -> None:
        """The view names the task; the worker's signature must fit."""
        send_email.submission(**LETTER)
        self.assertEqual((send_email.type, app.queue), ("send_email", "mail"))

    def test_a_letter_is_written_once(self) -> None:
        from examples.flask_view import tasks

        folder = os.path.abspath(self.mktemp())
        self.patch(tasks, "OUTBOX", tasks.Path(folder))
        for _ in range(2):
            letter = send_email(context(), **LETTER)
        self.assertEqual(os.listdir(folder), [os.path.basename(letter)])


class WithoutBrokerTests(SynchronousTestCase, Visitor):
    def test_what_is_wrong_is_said_without_a_broker(self) -> None:
        asking = self.visitor(self, "tq://127.0.0.1:1")
        for wrong in ({}, {"to": "a"}, [1], {**LETTER, "cc": "b"}):
            self.assertEqual(asking.post("/letters", json=wrong).status_code, 400)

    def test_no_broker(self) -> None:
        asking = self.visitor(self, "tq://127.0.0.1:1")
        answer = asking.post("/letters", json=LETTER)
        self.assertEqual(answer.status_code, 503)
        self.assertIn("Retry-After", answer.headers)


class ExampleTests(ExampleTestCase, Visitor):
    def test_a_letter(self) -> None:
        self.begin("examples.flask_view.tasks:app", "mail")
        asking = self.visitor(self, self.variables["TASKQUEUE_BROKER"])
        answer = asking.post("/letters", json=LETTER)
        self.assertEqual(answer.status_code, 202)
        where = answer.headers["Location"]
        again = asking.post("/letters", json={**LETTER, "subject": "Another"})
        self.assertNotEqual(again.json["id"], answer.json["id"])

        def sent() -> bool:
            return bool(asking.get(where).json["state"] == "completed")

        until("the letter is sent", sent)
        letter = (self.folder / "outbox" / f"{answer.json['id']}.txt").read_text()
        self.assertEqual(letter, "To: a@example.org\nSubject: Hello\n")
        unknown = "/letters/00000000-0000-4000-8000-000000000000"
        self.assertEqual(asking.get(unknown).status_code, 404)
        self.assertEqual(asking.get("/letters/nonsense").status_code, 404)

    def test_a_button_pressed_twice(self) -> None:
        self.begin("examples.flask_view.tasks:app", "elsewhere")
        asking = self.visitor(self, self.variables["TASKQUEUE_BROKER"])
        ids = {asking.post("/letters", json=LETTER).json["id"] for _ in range(3)}
        self.assertEqual(len(ids), 1)
