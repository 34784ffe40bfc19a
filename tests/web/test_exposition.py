"""
Tests of C{/metrics} as a page: its formats, and how it shares the reactor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.intake import Submission
from taskqueue.core.task import State
from taskqueue.web.exposition import MetricsPage, encoded
from tests.web.visitor import Place, Visit, read_answer

GET = b"GET /metrics HTTP/1.1\r\nHost: broker\r\n\r\n"


class Numbers(Collector):
    """Families with a number each, that are counted as they are asked for."""

    def __init__(self, count: int, broken_at: int | None = None) -> None:
        self.count = count
        self.broken_at = broken_at
        self.made = 0

    def collect(self) -> Iterator[Metric]:
        for number in range(self.count):
            if number == self.broken_at:
                raise ZeroDivisionError("a secret")
            self.made += 1
            yield GaugeMetricFamily(f"number_{number}", "A number.", value=number)


class FormatTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Place().started()
        self.place.submit(Submission("x"), Submission("x"))
        (delivery,) = self.place.claim()
        self.place.report(delivery, State.COMPLETED)

    def test_plain_text(self) -> None:
        for accept in ({}, {"Accept": "*/*"}, {"Accept": "text/html"}, {"Accept": "text/plain"}):
            answer = self.place.get("/metrics", **accept)
            kind = "text/plain; version=0.0.4; charset=utf-8"
            self.assertEqual((answer.status, answer.header("content-type")), (200, kind))
            self.assertIn(
                b'\ntaskqueue_tasks_submitted_total{queue="default",type="x"} 2.0\n', answer.body
            )
            self.assertNotIn(b"# EOF", answer.body)

    def test_openmetrics(self) -> None:
        accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
        answer = self.place.get("/metrics", Accept=accept)
        kind = (answer.header("content-type") or "").split(";")[0]
        self.assertEqual((answer.status, kind), (200, "application/openmetrics-text"))
        self.assertEqual(answer.body.count(b"# EOF"), 1)
        self.assertTrue(answer.body.endswith(b"\n# EOF\n"))
        families = {f.name: f for f in text_string_to_metric_families(answer.body.decode())}
        submitted = families["taskqueue_tasks_submitted"]
        self.assertEqual([sample.value for sample in submitted.samples], [2])
        self.assertEqual(families["taskqueue_task_wait_seconds"].unit, "seconds")
        self.assertEqual(families["taskqueue_received_bytes"].unit, "bytes")

    def test_odd_wishes(self) -> None:
        for accept in (
            "application/openmetrics-text; version=x.y; escaping=\xff",
            "application/openmetrics-text;version=99999999999999999999",
            "text/plain;version=1.0.0;escaping=values",
            ",;=,;;q=,,",
        ):
            self.assertEqual(self.place.get("/metrics", Accept=accept).status, 200, accept)

    def test_piece_by_piece_is_the_whole(self) -> None:
        registry = Numbers(5)
        for encode in (generate_latest, openmetrics.generate_latest):
            pieces: list[bytes] = []
            for _ in encoded(registry.collect(), encode, pieces):
                pass
            self.assertEqual(b"".join(pieces), encode(registry))


class Turns(Clock):
    """A reactor that turns one by one; a L{Clock} makes all turns of a moment at once."""

    def __init__(self) -> None:
        super().__init__()
        self.next: list[Callable[[], object]] = []

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: Any, **kw: Any
    ) -> Any:
        assert delay == 0
        self.next.append(lambda: callable(*args, **kw))

    def turn(self, count: int) -> None:
        for _ in range(count):
            calls, self.next = self.next, []
            for call in calls:
                call()


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Place().started()
        self.reactor = Turns()

    def page(self, numbers: Numbers) -> Visit:
        self.place.site.resource.putChild(b"metrics", MetricsPage(numbers, self.reactor))
        return Visit(self.place.site)

    def test_one_family_in_each_turn(self) -> None:
        numbers = Numbers(10)
        visit = self.page(numbers)
        visit.send(GET)
        made = []
        for _ in range(12):
            made.append(numbers.made)
            self.reactor.turn(1)
        self.assertEqual(made, [*range(11), 10])
        self.assertEqual(read_answer(visit.received())[0].status, 200)

    def test_the_client_hangs_up(self) -> None:
        numbers = Numbers(10)
        visit = self.page(numbers)
        visit.send(GET)
        self.reactor.turn(3)
        visit.hang_up()
        self.reactor.turn(20)
        self.assertEqual(numbers.made, 3)

    def test_two_clients_at_once(self) -> None:
        numbers = Numbers(10)
        visits = [self.page(numbers), Visit(self.place.site)]
        for visit in visits:
            visit.send(GET)
        self.reactor.turn(30)
        bodies = {read_answer(visit.received())[0].body for visit in visits}
        self.assertEqual(bodies, {generate_latest(numbers)})

    def test_a_family_that_cannot_be_made(self) -> None:
        visit = self.page(Numbers(10, broken_at=4))
        visit.send(GET)
        self.reactor.turn(30)
        answer, rest = read_answer(visit.received())
        self.assertEqual((answer.status, answer.json["code"], rest), (500, "INTERNAL_ERROR", b""))
        self.assertNotIn(b"secret", answer.body)
        self.assertEqual(answer.header("content-type"), "application/json")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
