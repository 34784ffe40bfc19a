"""How many connections there may be, and what it costs to know."""

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.config import LimitsConfig
from taskqueue.errors import TooManyConnections
from taskqueue.frontends.admission import Admission


class NotWalked(Counter):
    """A counter in which one may look up, but through which nobody may walk."""

    def __iter__(self):
        raise AssertionError("somebody walks through all of it")

    values = items = total = __iter__


class AdmissionTests(SynchronousTestCase):
    def setUp(self):
        self.admission = Admission()

    def admit(self, host, most=10, most_per_peer=10):
        self.admission.admit(
            host, LimitsConfig(max_connections=most, max_connections_per_peer=most_per_peer)
        )

    def test_of_all_together_and_of_each_peer(self):
        for host in "aab":
            self.admit(host)
        self.assertEqual(self.admission.count, 3)
        error = self.assertRaises(TooManyConnections, self.admit, "c", most=3)
        self.assertIn("the broker has 3 connections", str(error))
        error = self.assertRaises(TooManyConnections, self.admit, "a", most_per_peer=2)
        self.assertIn("2 connections from a", str(error))
        self.assertEqual(self.admission.count, 3)
        for host in "aba":
            self.admission.leave(host)
        self.assertEqual((self.admission.count, dict(self.admission._peers)), (0, {}))

    def test_costs_the_same_with_many_peers(self):
        self.admission._peers = NotWalked()
        for number in range(5):
            self.admit(f"10.0.0.{number}")
        self.admission.leave("10.0.0.1")
        self.assertEqual(self.admission.count, 4)
