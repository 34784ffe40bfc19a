"""What a task costs in counted numbers does not grow unnoticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.counters import Sends, calls_per_task, sends_per_request
from benchmarks.quick import LIMITS, RENEW, SLACK, excesses, renewed

ROOT = Path(__file__).resolve().parent.parent.parent


class Guard(SynchronousTestCase):
    def test_no_counter_is_over_its_limit(self) -> None:
        """In a process of its own, where nothing else is loaded or watches."""
        environment = {name: value for name, value in os.environ.items() if "COV" not in name}
        counted = subprocess.run(
            [sys.executable, "-m", "benchmarks.quick", "--counters"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(counted.returncode, 0, counted.stdout + counted.stderr)

    def test_what_is_over(self) -> None:
        limits = {"calls": 10.0, "syncs": 1.0}
        self.assertEqual(excesses({"calls": 10.0, "syncs": 0.5}, limits), [])
        (excess,) = excesses({"calls": 10.1, "syncs": 1.0}, limits)
        self.assertEqual(str(excess), "calls: 10.10, more than 10.00")
        (excess,) = excesses({"new": 3.0}, limits)
        self.assertEqual(str(excess), "new: 3.00, and there is no limit for it")

    def test_renewed_with_some_slack(self) -> None:
        found = {"calls": 20.0}
        self.assertEqual(renewed(found), {"calls": 20.0 * SLACK})
        self.assertEqual(excesses(found, renewed(found)), [])
        self.assertIn("--renew", RENEW)

    def test_the_limits_are_of_what_is_counted(self) -> None:
        limits = json.loads(LIMITS.read_text())
        counted = {**calls_per_task(), **sends_per_request()}
        self.assertEqual(counted.keys() - limits.keys(), set())


class Counting(SynchronousTestCase):
    def test_a_batch_costs_less_than_as_many_requests(self) -> None:
        counted = calls_per_task()
        for name in ("submit", "claim", "result"):
            alone, many = (
                counted[f"function calls a task: {name}, batches of {batch}"] for batch in (1, 50)
            )
            self.assertGreater(alone, 3 * many, name)
            self.assertGreater(many, 3)

    def test_twice_the_same(self) -> None:
        first, second = calls_per_task(), calls_per_task()
        for name, count in first.items():
            self.assertLess(abs(count - second[name]), 0.02 * count, name)

    def test_sends(self) -> None:
        counted = sends_per_request()
        self.assertEqual(counted["sends an answer: one request at a time"], 1.0)
        self.assertLess(counted["sends an answer: 50 requests together"], 0.1)

    def test_sends_are_counted_no_longer_than_wanted(self) -> None:
        import socket

        before = socket.socket.send
        with Sends():
            self.assertIsNot(socket.socket.send, before)
        self.assertIs(socket.socket.send, before)
