"""
What the documents say of the log is true: every field is there, and no other is.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from string import Formatter
from typing import Any

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.intake import Submission
from taskqueue.core.workers import Registration
from taskqueue.errors import StoreFailed
from taskqueue.logs import OWN_FIELDS, LogSettings
from tests.web.visitor import Place

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")

#: The rooms of the broker, whose log this is.
ROOMS = ("access", "application", "config", "frontends", "operations", "process", "service")
ROOMS += ("reloading", "store", "tap", "web")

LEVELS = frozenset({"debug", "info", "warn", "error", "critical", "failure"})


def documented() -> tuple[list[str], list[str]]:
    """The fields of the two tables: what every line has, and what is the event's own."""
    section = TEXT[TEXT.index("## The log") :]
    common, own = section.split("Then come the event's own")
    rows = re.compile(r"^\| `(\w+)` \| (\w+) \| .+ \|$", re.MULTILINE)
    return [n for n, _ in rows.findall(common)], [n for n, _ in rows.findall(own)]


def log_calls() -> Iterator[ast.Call]:
    """Every call that logs something, in the broker's rooms."""
    for room in ROOMS:
        path = ROOT / "taskqueue" / room
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]:
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in LEVELS
                    and ast.unparse(node.func.value).endswith("_log")
                ):
                    yield node


def fields_of(call: ast.Call) -> set[str]:
    """The fields that a call gives, or that stand in its sentence."""
    given = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
    text = call.args[0] if call.args else None
    if isinstance(text, ast.Constant) and isinstance(text.value, str):
        given |= {name for _, name, _, _ in Formatter().parse(text.value) if name}
    return given


class FieldTests(SynchronousTestCase):
    def test_every_field_is_documented_and_no_other_is(self) -> None:
        found: set[str] = set()
        for call in log_calls():
            found |= fields_of(call)
        _, own = documented()
        self.assertEqual(set(own), found)
        self.assertEqual(own, sorted(own))

    def test_the_common_fields(self) -> None:
        common, own = documented()
        self.assertEqual(set(common), OWN_FIELDS)
        self.assertEqual(set(common) & set(own), set())

    def test_sentences_are_constants(self) -> None:
        """Otherwise neither a log system nor these tests could tell events apart."""
        for call in log_calls():
            self.assertIsInstance(call.args[0], ast.Constant, ast.unparse(call))


class LineTests(SynchronousTestCase):
    """Lines of a broker to which one thing after another happens."""

    def setUp(self) -> None:
        self.out = StringIO()
        observer = LogSettings("debug", "json").observer(self.out)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def lines(self) -> list[dict[str, Any]]:
        """Those of the broker."""
        found = [json.loads(line) for line in self.out.getvalue().splitlines()]
        return [line for line in found if line["namespace"].startswith("taskqueue")]

    def live(self) -> None:
        """Something of much: a start, trouble of several kinds, an end."""
        place = Place().started()
        service = place.service
        service.register(Registration("w", 1))
        place.submit(Submission("job"), Submission("mail", queue="other"))
        for _ in range(40):
            place.clock.advance(1)
            service.register(Registration("w", 1))
        place.get("/health")
        place.ledger.depth += 1
        service.auditor.audit()
        place.ledger.depth -= 1
        place.clock.pump([1] * 60)
        store = service.store

        def fail(*args: Any) -> None:
            raise StoreFailed("no space left on device")

        commit, store.commit = store.commit, fail
        store.sweep = fail
        place.submit(Submission("job"))
        place.clock.pump([1] * 70)
        store.commit = commit
        place.clock.pump([1] * 10)
        service.stopService()
        place.turns()
        self.flushLoggedErrors()

    def test_what_lines_have(self) -> None:
        self.live()
        common, own = documented()
        lines = self.lines()
        for line in lines:
            names = list(line)
            there = [name for name in common if name in line]
            self.assertEqual(names[: len(there)], there, line)
            self.assertEqual(set(names) - set(common) - set(own), set(), line)
            self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
            self.assertIn(f"`{line['level']}`", TEXT)
        seen = {name for line in lines for name in line}
        expected = {"tasks", "leases", "seconds", "worker", "slots", "reason", "found", "error"}
        expected |= {"differences", "queue", "type", "count", "timer", "method", "path", "status"}
        expected |= {"failure", "traceback"}
        self.assertEqual(expected - seen, set())

    def test_values_are_what_the_table_says(self) -> None:
        self.live()
        kinds: dict[str, type | tuple[type, ...]] = {
            "text": str,
            "integer": int,
            "number": (int, float),
            "any": object,
        }
        row = re.compile(r"^\| `(\w+)` \| (text|integer|number|any) \|", re.MULTILINE)
        table = dict(row.findall(TEXT[TEXT.index("## The log") :]))
        for line in self.lines():
            for name, value in line.items():
                self.assertIsInstance(value, kinds[table[name]], f"{name} of {line}")
