"""
Exemplars are true: a task that fell into the bucket, and its trace.
"""

from __future__ import annotations

import json

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.intake import Submission
from taskqueue.core.task import State
from tests.web.visitor import Place

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def traced(trace: str = TRACE, span: str = SPAN) -> str:
    return json.dumps({"traceparent": f"00-{trace}-{span}-01", "a": "b"})


class ExemplarTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Place().started()

    def run_one(self, headers: str | None, wait_s: float, run_s: float, **how) -> None:
        self.place.submit(Submission("mail", headers=headers))
        self.place.clock.advance(wait_s)
        [delivery] = self.place.claim()
        self.place.clock.advance(run_s)
        self.place.report(delivery, how.get("status", State.COMPLETED))

    def exemplars(self, name: str) -> dict[str, tuple[dict[str, str], float, float]]:
        """By the bound of the bucket."""
        answer = self.place.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
        families = {f.name: f for f in text_string_to_metric_families(answer.body.decode())}
        return {
            sample.labels["le"]: (
                sample.exemplar.labels,
                sample.exemplar.value,
                float(sample.exemplar.timestamp),
            )
            for sample in families[f"taskqueue_task_{name}_seconds"].samples
            if sample.exemplar is not None
        }

    def test_where_they_belong(self) -> None:
        self.run_one(traced(), 7.0, 0.25)
        labels = {"trace_id": TRACE, "span_id": SPAN}
        self.assertEqual(self.exemplars("wait"), {"10.0": (labels, 7.0, 1007.0)})
        self.assertEqual(self.exemplars("processing"), {"0.25": (labels, 0.25, 1007.25)})

    def test_the_newest_of_each_bucket(self) -> None:
        for number, wait_s in enumerate((7.0, 8.0, 3.0)):
            self.run_one(traced(span=f"{number:016x}"), wait_s, 0.0)
        found = {le: labels["span_id"][-1] for le, (labels, _, _) in self.exemplars("wait").items()}
        self.assertEqual(found, {"10.0": "1", "5.0": "2"})

    def test_none(self) -> None:
        for headers in (
            None,
            '{"a": "traceparent"}',
            '{"traceparent": "00-xyz"}',
            json.dumps({"traceparent": f"00-{'z' * 32}-{SPAN}-01"}),
            '["traceparent"]',
            "traceparent",
        ):
            self.run_one(headers, 1.0, 1.0)
        self.run_one(traced(), 1.0, 1.0, status=State.FAILED)
        self.assertEqual(self.exemplars("wait"), {})

    def test_the_plain_format_has_none(self) -> None:
        self.run_one(traced(), 1.0, 1.0)
        self.assertNotIn(TRACE.encode(), self.place.get("/metrics").body)
