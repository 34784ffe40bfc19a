"""
Tests of L{benchmarks.wire_path}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.wire_path import REQUESTS, calls, costs


class CostsTests(SynchronousTestCase):
    """L{costs}."""

    def test_callsAreExact(self) -> None:
        costs(3, 1, wire_alone=False)  # what is made once is made
        first, second = (costs(3, 1, wire_alone=False) for _ in range(2))
        self.assertEqual(tuple(first), REQUESTS)
        for name in REQUESTS:
            self.assertTrue(first[name].cpu_us > 0, name)
            self.assertEqual(first[name].calls, second[name].calls, name)

    def test_withoutTheServiceThereIsLessToDo(self) -> None:
        whole, wire = (costs(3, 1, wire_alone=alone) for alone in (False, True))
        for name in REQUESTS:
            self.assertTrue(0 < wire[name].calls < whole[name].calls, name)


class Litter:
    """What only the garbage collector finds, and what calls a function when it does."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        pass


class CallsTests(SynchronousTestCase):
    """L{calls}."""

    def test_whatOthersLeftIsNotCounted(self) -> None:
        def command() -> None:
            self.made = [[number] for number in range(10_000)]  # enough for a collection

        clean = calls(command)
        for _ in range(100):
            Litter()
        self.assertEqual(calls(command), clean)
