"""
The dashboard of C{etc/grafana-dashboard.json} can be imported, and shows what there is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.web.metrics import make_registry
from tests.web.expressions import known_metrics, unknown
from tests.web.scene import full_scene

PATH = Path(__file__).resolve().parents[2] / "etc" / "grafana-dashboard.json"

#: How many columns a dashboard has.
COLUMNS = 24


class DashboardTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.dashboard = json.loads(PATH.read_text(encoding="utf-8"))
        self.panels: list[dict[str, Any]] = self.dashboard["panels"]
        self.known = known_metrics(make_registry(full_scene().service))

    def expressions(self) -> Iterator[tuple[str, str, str]]:
        """Where each stands, it, and its legend."""
        for panel in self.panels:
            for target in panel.get("targets", ()):
                yield panel["title"], target["expr"], target["legendFormat"]
        for note in self.dashboard["annotations"]["list"]:
            yield note["name"], note["expr"], note["titleFormat"]

    def test_it_can_be_imported(self) -> None:
        """What Grafana asks for, and no number of its own that would clash."""
        for name in ("title", "uid", "schemaVersion", "panels", "templating", "time"):
            self.assertIn(name, self.dashboard)
        self.assertNotIn("id", self.dashboard)
        numbers = [panel["id"] for panel in self.panels]
        self.assertEqual(len(numbers), len(set(numbers)))

    def test_expressions_are_about_what_there_is(self) -> None:
        problems = [
            f"{where}: {problem}"
            for where, expression, _ in self.expressions()
            for problem in unknown(expression, self.known)
        ]
        self.assertEqual(problems, [])

    def test_legends_name_labels_of_the_expression(self) -> None:
        for where, expression, legend in self.expressions():
            labels = set(re.findall(r"\{\{(\w+)\}\}", legend))
            if "sum by" in expression or "sum(" in expression:
                grouped = {
                    label.strip()
                    for group in re.findall(r"by \(([^)]*)\)", expression)
                    for label in group.split(",")
                }
                self.assertLessEqual(labels, grouped, where)

    def test_variables(self) -> None:
        variables = {each["name"]: each for each in self.dashboard["templating"]["list"]}
        for name, each in variables.items():
            if each["type"] == "query":
                metric, label = re.fullmatch(
                    r"label_values\((\w+)(?:\{[^}]*\})?, (\w+)\)", each["query"]["query"]
                ).groups()
                self.assertIn(metric, self.known, name)
                self.assertIn(label, self.known[metric].keys() | {"instance"}, name)
        used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(self.panels)))
        self.assertEqual(used, set(variables))

    def test_every_panel_has_a_place_of_its_own(self) -> None:
        taken: set[tuple[int, int]] = set()
        for panel in self.panels:
            at = panel["gridPos"]
            cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
            self.assertFalse(cells & taken, panel["title"])
            self.assertLessEqual(at["x"] + at["w"], COLUMNS)
            taken |= cells

    def test_every_metric_of_note_is_shown(self) -> None:
        """Whoever adds a metric of the broker thinks about whether it is to be seen."""
        shown = " ".join(expression for _, expression, _ in self.expressions())
        families = {name for name in self.known if name.startswith("taskqueue_")}
        unseen = {
            re.sub(r"_(bucket|sum|count)$", "", name)
            for name in families
            if re.sub(r"_(bucket|sum|count)$", "", name) not in shown
        }
        self.assertEqual(
            unseen,
            {
                "taskqueue_audit_last_run_timestamp_seconds",
                "taskqueue_audits_total",
                "taskqueue_build_info",
                "taskqueue_connections_accepted_total",
                "taskqueue_periodic_last_run_timestamp_seconds",
                "taskqueue_periodic_paused",
                "taskqueue_periodic_tasks",
                *(
                    f"taskqueue_tasks_{event}_total"
                    for event in ("cancelled", "expired", "released", "retried", "revived")
                ),
            },
        )
