"""
What the processes are told that tests start.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from tests.process.children import ROOT, environment


class EnvironmentTests(SynchronousTestCase):
    def setUp(self) -> None:
        theirs = {"COVERAGE_PROCESS_CONFIG": "c", "TASKQUEUE_BROKER": "b", "HOME": "h"}
        self.patch(os, "environ", theirs)

    def test_the_broker_of_whoever_runs_the_tests_is_not_theirs(self) -> None:
        expected = {"COVERAGE_PROCESS_CONFIG": "c", "HOME": "h", "PYTHONPATH": str(ROOT)}
        self.assertEqual(environment(), expected)

    def test_what_is_not_measured(self) -> None:
        expected = {"HOME": "here", "PYTHONPATH": str(ROOT)}
        self.assertEqual(environment(measured=False, HOME="here"), expected)
