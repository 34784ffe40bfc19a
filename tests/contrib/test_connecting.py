"""Connections for frameworks whose programs wait."""

from __future__ import annotations

from taskqueue.contrib.connecting import Connecting
from taskqueue.errors import FrameTooLarge
from tests.contrib.programs import FrameworkTestCase


class ConnectingTests(FrameworkTestCase):
    def test_one_that_says_too_much_leaves_the_others_alone(self) -> None:
        """Whatever waits at the same client goes on."""
        connecting = Connecting(self.address)
        self.addCleanup(connecting.close)
        client = connecting._current()
        with self.assertRaises(FrameTooLarge):
            connecting.run(lambda calls: calls.put_value(self.name, "k", bytes(64 * 2**20)))
        self.assertIs(connecting._current(), client)
        self.assertGreater(connecting.run(lambda calls: calls.ping()), 0)
