"""Clients of beanstalkd in JavaScript, and their own test suites, against this broker."""

from __future__ import annotations

from twisted.trial.unittest import SkipTest

from tests.foreign.beanstalkd_place import HERE, BeanstalkdProcessTestCase
from tools import foreign

#: Fails with any broker on newer versions of node: what it compares is another number there.
NODE_OWN = "emits the error event on failure"


class NodeTests(BeanstalkdProcessTestCase):
    def setUp(self) -> None:
        trouble = foreign.missing()
        if trouble is not None:
            raise SkipTest(trouble)
        super().setUp()

    def suite(self, *arguments: str) -> str:
        """Run a test file of the package fivebeans; what it said."""
        modules = foreign.folder() / "node_modules"
        mocha = str(modules / "mocha" / "bin" / "_mocha")
        status, said = self.node(mocha, *arguments, folder=modules / "fivebeans")
        self.assertEqual(status, 0, said)
        return said

    def test_fivebeans_own_tests_of_its_client(self) -> None:
        """All of them, as they are in the package."""
        said = self.suite("test/test-client.js")
        self.assertIn("29 passing", said)
        self.assertNotIn("failing", said)

    def test_fivebeans_own_tests_of_its_worker(self) -> None:
        said = self.suite("test/test-worker.js", "--grep", NODE_OWN, "--invert")
        self.assertNotIn("failing", said)

    def test_jackd_at_work(self) -> None:
        """Every command, and 200 jobs of which each is done once, by eight workers."""
        status, said = self.node(str(HERE / "jackd_work.js"))
        self.assertEqual(status, 0, said)
        self.assertIn("all done", said)
