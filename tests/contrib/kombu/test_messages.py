"""
Messages of kombu as tasks of the broker, and back.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from kombu.transport.virtual import Message
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.client.messages import Delivery, Submission
from taskqueue.contrib.kombu.messages import (
    ID_HEADER,
    OTHER_TYPE,
    UNLIMITED,
    Limits,
    encode_body,
    eta_of,
    message_of,
    submission,
)

NOW = 1_700_000_000.0


class Decoding:
    """What a message asks its channel for."""

    def decode_body(self, body: str, encoding: str | None) -> Any:
        from taskqueue.contrib.kombu.channel import Channel

        return Channel.decode_body(self, body, encoding)

    @property
    def codecs(self) -> Any:
        from taskqueue.contrib.kombu.channel import Channel

        return Channel.codecs


def message(body: Any = "[]", encoding: str = "utf-8", **more: Any) -> dict[str, Any]:
    made = {
        "body": body,
        "content-type": "application/json",
        "content-encoding": encoding,
        "headers": more.pop("headers", {}),
        "properties": {"priority": 0, "delivery_info": {}, **more},
    }
    encode_body(made)
    return made


def task_of(limits: Limits = UNLIMITED, **more: Any) -> Submission:
    return submission(message(**more), "mail", limits, NOW)


def at(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()


def delivered(task: Submission, attempt: int = 1, **other: Any) -> Delivery:
    given = {
        "id": "01893b2e-7f3a-7c5e-9b0d-3f1e2a4c6d80",
        "type": task.type,
        "queue": task.queue,
        "priority": task.priority,
        "payload": task.payload,
        "attempt": attempt,
        "lease": 7,
        "lease_s": 30.0,
        "submitted_at": NOW,
        "failures": 0,
        "losses": 0,
        "headers": {},
    }
    return Delivery(**{**given, **other})


class Submitting(SynchronousTestCase):
    def test_is_of_the_type_of_celerys_task(self) -> None:
        """So REST, the command line and the dashboard show what it is."""
        task = task_of(headers={"task": "proj.tasks.add", "id": "abc"})
        self.assertEqual((task.type, task.queue), ("proj.tasks.add", "mail"))
        self.assertEqual(task.headers, {ID_HEADER: "abc"})

    def test_is_another_message(self) -> None:
        task = task_of()
        self.assertEqual((task.type, task.headers), (OTHER_TYPE, None))

    def test_never_has_celerys_id(self) -> None:
        """A retry is a message with the same one, and must not be taken for a repetition."""
        headers = {"task": "add", "id": "01893b2e-7f3a-7c5e-9b0d-3f1e2a4c6d80"}
        self.assertNotEqual(task_of(headers=headers).id, headers["id"])

    def test_a_priority(self) -> None:
        self.assertEqual(task_of(priority=3).priority, 180)

    def test_waits_at_the_broker_until_its_eta(self) -> None:
        self.assertEqual(task_of(headers={"eta": at(NOW + 60)}).run_at, NOW + 60)

    def test_an_eta_that_is_over_is_none(self) -> None:
        self.assertIsNone(task_of(headers={"eta": at(NOW - 1)}).run_at)

    def test_an_eta_without_a_zone_is_left_to_the_worker(self) -> None:
        naive = datetime.fromtimestamp(NOW + 60, UTC).replace(tzinfo=None).isoformat()
        for eta in (naive, "soon", None, 5):
            self.assertIsNone(eta_of({"eta": eta}), eta)

    def test_an_eta_elsewhere(self) -> None:
        eta = (datetime.fromtimestamp(NOW + 60, UTC) + timedelta(hours=2)).isoformat()
        self.assertEqual(eta_of({"eta": eta.replace("+00:00", "+02:00")}), NOW + 60)

    def test_expires(self) -> None:
        self.assertEqual(task_of(expiration="2500").expires_at, NOW + 2.5)
        self.assertIsNone(task_of().expires_at)
        self.assertGreater(task_of(expiration="0").expires_at or 0, NOW)

    def test_expires_with_its_queue(self) -> None:
        self.assertEqual(task_of(Limits(5.0)).expires_at, NOW + 5)
        self.assertEqual(task_of(Limits(50.0, 9.0)).expires_at, NOW + 9)
        self.assertEqual(task_of(Limits(50.0), expiration="2000").expires_at, NOW + 2)

    def test_would_be_gone_before_it_is_due(self) -> None:
        """It is handed out as it would be elsewhere, and its consumer holds it."""
        task = task_of(headers={"eta": at(NOW + 60)}, expiration="2000")
        self.assertEqual((task.run_at, task.expires_at), (None, NOW + 2))

    def test_an_expiration_that_is_none(self) -> None:
        error = self.assertRaises(ValueError, task_of, expiration="soon")
        self.assertIn("'soon'", str(error))


class Coming(SynchronousTestCase):
    def back(self, **more: Any) -> Message:
        channel = Decoding()
        return Message(message_of(delivered(task_of(**more))), channel=channel)

    def test_bodies_come_as_they_went(self) -> None:
        for body, encoding in (
            ("[1, 2]", "utf-8"),
            ("[“é”]".encode(), "utf-8"),
            (b"\x80\x05", "binary"),
            (b"\xff\xfe says utf-8, and is not", "utf-8"),
        ):
            found = self.back(body=body, encoding=encoding)
            raw = found.body.encode() if isinstance(found.body, str) else found.body
            self.assertEqual(raw, body.encode() if isinstance(body, str) else body)
            self.assertEqual(found.content_encoding, encoding)

    def test_headers_come_with_their_types(self) -> None:
        moment = datetime.fromtimestamp(NOW, UTC)
        found = self.back(headers={"at": moment, "n": 1, "deep": {"x": [None, True]}})
        self.assertEqual(found.headers, {"at": moment, "n": 1, "deep": {"x": [None, True]}})

    def test_its_tag_is_the_token(self) -> None:
        self.assertEqual(self.back().delivery_tag, 7)

    def test_says_whether_it_was_delivered_before(self) -> None:
        again = message_of(delivered(task_of(), attempt=2))
        self.assertTrue(again["properties"]["delivery_info"]["redelivered"])
        self.assertFalse(self.back().delivery_info["redelivered"])


class Foreign(SynchronousTestCase):
    def test_a_task_of_another_client_calls_a_task_of_celerys(self) -> None:
        task = Submission("proj.add", b"[[1, 2], {}, {}]", "mail")
        found = message_of(delivered(task, priority=190, headers={"traceparent": "00-x"}))
        self.assertEqual(found["headers"]["task"], "proj.add")
        self.assertEqual(found["headers"]["id"], "01893b2e-7f3a-7c5e-9b0d-3f1e2a4c6d80")
        self.assertEqual(found["headers"]["traceparent"], "00-x")
        self.assertEqual(found["body"], "[[1, 2], {}, {}]")
        self.assertEqual(found["content-type"], "application/json")
        self.assertEqual(found["properties"]["priority"], 4)

    def test_bytes(self) -> None:
        found = message_of(delivered(Submission("x", b"\xff\x00", "mail")))
        self.assertEqual(found["content-type"], "application/data")
        self.assertEqual(Message(found, channel=Decoding()).body, b"\xff\x00")

    def test_json_that_is_no_message(self) -> None:
        found = message_of(delivered(Submission("x", b'{"body": 1}', "mail")))
        self.assertEqual(found["body"], '{"body": 1}')
