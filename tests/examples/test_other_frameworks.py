"""The examples of other frameworks run, with the workers of those."""

from __future__ import annotations

from tests.contrib.programs import FrameworkTestCase


class OtherFrameworksTests(FrameworkTestCase):
    def sums(self, module: str, *worker: str) -> None:
        """A program adds, while a worker runs."""
        self.program("-m", *worker)
        self.assertEqual(self.finished("-m", module).splitlines()[-1], "3")

    def test_taskiq(self) -> None:
        self.sums("examples.with_taskiq", "taskiq", "worker", "examples.with_taskiq:broker")

    def test_dramatiq(self) -> None:
        self.sums("examples.with_dramatiq", "dramatiq", "-p1", "-t1", "examples.with_dramatiq")

    def test_huey(self) -> None:
        self.sums("examples.with_huey", "huey.bin.huey_consumer", "examples.with_huey.huey")
