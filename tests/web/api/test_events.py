"""
Tests of events as a stream: what is written, to whom, and what becomes of slow readers.
"""

from __future__ import annotations

import json
from typing import Any

from taskqueue.service.events import MOST_LISTENERS
from taskqueue.web.api import events
from tests.web.api.asking import TURNS, ApiTestCase
from tests.web.visitor import Visit


def told(visit: Visit) -> list[dict[str, Any]]:
    """What a reader was told: the fields of each event."""
    data = visit.received()
    if data.startswith(b"HTTP/1.1"):
        data = data.partition(b"\r\n\r\n")[2]
    text = b"".join(_chunks(data)).decode()
    found: list[dict[str, Any]] = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append({**fields, "data": json.loads(fields["data"])})
    return found


def _chunks(data: bytes) -> list[bytes]:
    """The body of an answer in chunks."""
    found: list[bytes] = []
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        found.append(rest[:length])
        data = rest[length + 2 :]
    return found


class StreamTests(ApiTestCase):
    def listen(self, query: str = "", **headers: str) -> Visit:
        visit = self.desk.begin("GET", f"/events?{query}", **headers)
        self.addCleanup(self.hang_up, visit)
        return visit

    def hang_up(self, visit: Visit) -> None:
        if visit.transport.connected:
            visit.hang_up()

    def test_what_it_looks_like(self) -> None:
        visit = self.listen("kind=task")
        head, _, body = visit.received().partition(b"\r\n\r\n")
        self.assertIn(b"200 OK", head)
        self.assertIn(b"text/event-stream; charset=utf-8", head)
        self.assertIn(b"no-store", head)
        self.assertEqual(_chunks(body), [b"retry: 2000\n\n"])
        task = self.submit()
        [event] = told(visit)
        self.assertEqual((event["event"], event["data"]["id"]), ("task", task))
        epoch, _, number = event["id"].partition("-")
        self.assertEqual((epoch, number), (self.desk.service.events.epoch, "1"))

    def test_filters(self) -> None:
        visit = self.listen("kind=task,queue&queue=a,b&type=job")
        told(visit)
        for queue in "abc":
            self.submit(queue=queue)
        self.submit(queue="a", type="other")
        self.assertEqual([event["data"]["queue"] for event in told(visit)], ["a", "b"])
        self.post("/queues/a/pause")
        self.post("/queues/c/pause")
        self.assertEqual([event["data"]["name"] for event in told(visit)], ["a"])

    def test_everything(self) -> None:
        visit = self.listen()
        told(visit)
        self.pass_time(1)
        self.assertEqual([event["event"] for event in told(visit)], ["stats"])

    def test_wrong_filters(self) -> None:
        for query, field in (
            ("kind=bad", "kind[0]"),
            ("queue=a%20b", "queue[0]"),
            ("task=7", "task[0]"),
            ("what=x", "what"),
        ):
            self.assertEqual(self.refused("GET", f"/events?{query}")["field"], field)

    def test_coming_back(self) -> None:
        visit = self.listen("kind=task")
        self.submit()
        last = told(visit)[-1]["id"]
        visit.hang_up()
        self.assertEqual(len(self.desk.service.events), 0)
        missed = self.submit()
        again = self.listen("kind=task", last_event_id=last)
        [event] = told(again)
        self.assertEqual(event["data"]["id"], missed)
        self.assertEqual(len(told(self.listen(f"kind=task&last_event_id={last}"))), 1)

    def test_coming_back_too_late(self) -> None:
        for last in ("00000000-7", "nonsense", "-", "1-²"):
            visit = self.listen("kind=task", last_event_id=last.encode().decode("latin-1"))
            [event] = told(visit)
            self.assertEqual((event["event"], event["data"]), ("reset", {}))

    def test_something_is_said_now_and_then(self) -> None:
        visit = self.listen("kind=task")
        told(visit)
        self.pass_time(events.BEAT_S)
        self.assertEqual(_chunks(visit.received()), [b":\n\n"])
        self.desk.clock.pump([1] * 120)
        self.assertTrue(visit.transport.connected)

    def test_a_reader_that_waits_a_little(self) -> None:
        visit = self.listen("kind=task")
        told(visit)
        visit.transport.producer.pauseProducing()
        task = self.submit()
        self.pass_time(events.BEAT_S)
        self.assertEqual(visit.received(), b"")
        visit.transport.producer.resumeProducing()
        self.assertEqual([event["data"]["id"] for event in told(visit)], [task])

    def test_a_reader_that_reads_no_more(self) -> None:
        self.patch(events, "MOST_BEHIND_BYTES", 1000)
        visit = self.listen("kind=task")
        told(visit)
        visit.transport.producer.pauseProducing()
        for _ in range(10):
            self.submit()
        self.assertFalse(visit.transport.connected)
        self.assertEqual(len(self.desk.service.events), 0)
        self.assertEqual(self.desk.service.traffic.refused["SLOW_READER"], 1)

    def test_hangs_up(self) -> None:
        visit = self.listen()
        visit.hang_up()
        self.assertEqual(len(self.desk.service.events), 0)
        self.submit()
        self.pass_time(events.BEAT_S)

    def test_too_many(self) -> None:
        for _ in range(MOST_LISTENERS):
            self.listen("kind=worker")
        answer = self.desk.ask("GET", "/events")
        self.assertEqual((answer.status, answer.json["code"]), (503, "TOO_MANY_STREAMS"))
        self.assertEqual(answer.header("retry-after"), "10")

    def test_head(self) -> None:
        answer = self.desk.ask("HEAD", "/events")
        self.assertEqual((answer.status, answer.header("content-type")), (200, events.MEDIA))
        self.assertEqual(len(self.desk.service.events), 0)

    def test_the_broker_stops(self) -> None:
        visit = self.listen("kind=task")
        told(visit)
        self.stop()
        self.assertTrue(visit.received().endswith(b"0\r\n\r\n"))
        self.desk.turns(TURNS)

    def test_how_many_there_are(self) -> None:
        self.listen()
        self.assertEqual(self.get("/broker")["streams"], 1)
