"""
The metrics keep the rules of Prometheus: by promtool, where it is installed, and by
rules of our own, which are the same where they overlap.

https://prometheus.io/docs/practices/naming/ and promtool's C{check metrics}.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import CollectorRegistry
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from taskqueue.web.metrics import BrokerCollector
from tests.web.scene import full_scene
from tests.web.visitor import Place

#: What a name must not have as a word: abbreviations, and multiples of base units.
BAD_WORDS = frozenset(
    {
        *("s", "sec", "secs", "ms", "us", "ns", "milliseconds", "microseconds", "nanoseconds"),
        *("minutes", "hours", "days", "weeks"),
        *("kb", "mb", "gb", "kib", "mib", "gib", "kilobytes", "megabytes", "gigabytes", "bits"),
        *("percent", "pct", "count", "number", "gauge", "counter", "histogram", "summary"),
    }
)

#: Kinds of labels, none of which a peer can make up without bound.
LABELS = frozenset(
    {
        *("queue", "type", "state", "tier", "periodic", "timer"),
        *("endpoint", "frontend", "operation", "code", "version", "python", "twisted"),
    }
)


def problems(family: Metric) -> Iterator[str]:
    """What is wrong with one family."""
    name, kind = family.name, family.type
    words = name.split("_")
    if re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", name) is None or "__" in name:
        yield "is not in snake case"
    if words[0] != "taskqueue":
        yield "does not begin with the application's name"
    if bad := BAD_WORDS & set(words):
        yield f"has {min(bad)!r} in its name"
    if not family.documentation.endswith("."):
        yield "has no sentence for a help text"
    if words[-1] in ("total", "bucket", "sum", "info"):
        yield f"ends in _{words[-1]}, which is added by the kind"
    if kind not in ("counter", "gauge", "histogram", "info"):
        yield f"is a {kind}"
    for unit in ("seconds", "bytes"):
        if unit in words and (words[-1] != unit or family.unit != unit):
            yield f"has the unit {unit}, but not at its end"
    if "timestamp" in words and not name.endswith("_timestamp_seconds"):
        yield "is a moment, but not in seconds"
    for sample in family.samples:
        if not sample.labels.keys() <= LABELS | {"le"}:
            yield f"has the labels {sorted(sample.labels)}"
            break


class LintTests(SynchronousTestCase):
    def test_our_own_rules(self) -> None:
        found = [
            f"{family.name} {problem}"
            for family in BrokerCollector(full_scene().service).collect()
            for problem in problems(family)
        ]
        self.assertEqual(found, [])

    def test_no_family_twice(self) -> None:
        names = [family.name for family in BrokerCollector(full_scene().service).collect()]
        self.assertEqual(len(names), len(set(names)))

    def test_promtool_has_nothing_to_say(self) -> None:
        promtool = shutil.which("promtool")
        if promtool is None:
            raise SkipTest("promtool is not installed")
        text = full_scene().get("/metrics").body
        own = b"".join(
            line for line in text.splitlines(keepends=True) if b"taskqueue_" in line[:40]
        )
        found = subprocess.run(
            [promtool, "check", "metrics"], input=own, capture_output=True, check=False
        )
        self.assertEqual((found.stdout + found.stderr, found.returncode), (b"", 0))


class RulesCanFailTests(SynchronousTestCase):
    """Each rule sees what it is there for."""

    def test_each(self) -> None:
        for family, words in (
            (GaugeMetricFamily("taskqueue_Depth", "X."), "snake case"),
            (GaugeMetricFamily("depth", "X."), "application"),
            (GaugeMetricFamily("taskqueue_wait_ms", "X."), "'ms'"),
            (GaugeMetricFamily("taskqueue_depth", "No sentence"), "help"),
            (GaugeMetricFamily("taskqueue_depth_total", "X."), "_total"),
            (GaugeMetricFamily("taskqueue_seconds_waited", "X."), "unit"),
            (GaugeMetricFamily("taskqueue_wait_seconds", "X."), "unit"),
            (GaugeMetricFamily("taskqueue_start_timestamp", "X."), "moment"),
            (Metric("taskqueue_x", "X.", "stateset"), "is a stateset"),
            (CounterMetricFamily("taskqueue_x", "X.", labels=("task",)), "labels"),
        ):
            if words == "labels":
                family.add_metric(["id"], 1)
            self.assertIn(words, " ".join(problems(family)))

    def test_a_registry_can_be_made(self) -> None:
        """What the client library itself refuses would not come so far."""
        registry = CollectorRegistry()
        registry.register(BrokerCollector(Place().service))
