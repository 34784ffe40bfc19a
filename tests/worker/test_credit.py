"""How many tasks a worker claims ahead."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.worker.credit import MOST, Credit


class Ahead(SynchronousTestCase):
    def test_as_many_as_are_over_soon(self) -> None:
        credit = Credit(None)
        for slots, mean_s, expected in (
            (2, None, 0),
            (2, 1.0, 0),
            (2, 0.050, 0),
            (2, 0.010, 4),
            (10, 0.010, 20),
            (2, 0.001, 40),
            (2, 0.00001, MOST),
            (2, 0.0, MOST),
            (0, 0.001, 0),
        ):
            self.assertEqual(credit.ahead(slots, mean_s), expected, (slots, mean_s))

    def test_a_number_that_was_said(self) -> None:
        self.assertEqual([Credit(7).ahead(2, mean_s) for mean_s in (None, 1.0, 0.0)], [7, 7, 7])
        self.assertEqual(Credit(0).ahead(2, 0.0), 0)
