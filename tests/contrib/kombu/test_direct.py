"""
The client without a thread, over a real broker.
"""

from __future__ import annotations

import threading
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.contrib.kombu.direct import DirectClient, can_be_direct
from taskqueue.contrib.kombu.topology import MOST_REMEMBERED, Queue, Topology
from taskqueue.contrib.kombu.waiting import WaitingFramework
from taskqueue.errors import BadRequest, ConnectionLost, UnknownQueue
from tests.contrib.programs import FrameworkTestCase


class Interruption(Exception):
    """As a signal's handler raises one anywhere."""


class Asking(FrameworkTestCase):
    timeout = 30

    def setUp(self) -> None:
        super().setUp()
        self.direct = DirectClient(self.address, {})
        self.addCleanup(self.direct.close)

    def test_answers_and_errors(self) -> None:
        self.assertGreater(self.direct.run(lambda calls: calls.ping()), 0)
        self.assertRaises(UnknownQueue, self.direct.run, lambda calls: calls.purge(self.name))
        self.assertRaises(BadRequest, self.direct.run, lambda calls: calls.submit("no name"))
        self.assertGreater(self.direct.run(lambda calls: calls.ping()), 0)

    def test_threads_take_turns(self) -> None:
        def submit() -> None:
            for _ in range(50):
                self.direct.run(lambda calls: calls.submit("t", b"", queue=self.name))

        threads = [threading.Thread(target=submit) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.states(), {"pending": 200})

    def test_interrupted_in_the_middle_of_a_request(self) -> None:
        """What is asked next is not taken for the rest of it."""
        self.direct.run(lambda calls: calls.ping())
        connected: Any = self.direct._connected

        def half(data: bytes) -> None:
            connected._socket.sendall(data[: len(data) // 2])
            raise Interruption

        connected.write = half
        self.assertRaises(
            Interruption,
            self.direct.run,
            lambda calls: calls.submit("t", b"x" * 100, queue=self.name),
        )
        self.direct.run(lambda calls: calls.submit("t", b"", queue=self.name))
        self.assertEqual(self.states(), {"pending": 1})

    def test_closed(self) -> None:
        self.direct.close()
        self.direct.close()
        self.assertRaises(ConnectionLost, self.direct.run, lambda calls: calls.ping())

    def test_not_with_tls(self) -> None:
        self.assertEqual(
            [can_be_direct(address) for address in ("tq://a", "unix:/a", "tqs://a")],
            [True, True, False],
        )


class Remembering(FrameworkTestCase):
    def test_no_more_queues_than_are_used(self) -> None:
        """Each reply may go to another one."""
        topology = Topology(self.client.run, self.name)
        for number in range(MOST_REMEMBERED + 10):
            topology._remember(str(number), Queue(str(number)), 1e18)
        self.assertEqual(len(topology._queues), MOST_REMEMBERED)
        self.assertNotIn("0", topology._queues)


class Timers(SynchronousTestCase):
    def test_fire_in_their_order_unless_cancelled(self) -> None:
        framework, fired = WaitingFramework(), []
        framework.call_later(0.0, fired.append, "first")
        framework.call_later(-1.0, fired.append, "before it")
        framework.call_later(0.0, fired.append, "cancelled").cancel()
        later = framework.call_later(100.0, fired.append, "later")
        framework.fire()
        self.assertEqual(fired, ["before it", "first"])
        self.assertLess(99.0, framework.next_s(200.0))
        later.cancel()
        self.assertEqual(framework.next_s(200.0), 200.0)
