"""
Where deliveries wait for the thread that consumes.
"""

from __future__ import annotations

import select
import threading

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.contrib.kombu.inbox import Inbox
from taskqueue.errors import ConnectionLost


class Waiting(SynchronousTestCase):
    def setUp(self) -> None:
        self.inbox: Inbox[int] = Inbox()
        self.addCleanup(self.inbox.close)

    def readable(self) -> bool:
        return bool(select.select([self.inbox], [], [], 0)[0])

    def test_is_readable_while_there_is_something(self) -> None:
        self.assertFalse(self.readable())
        self.inbox.put([1])
        self.inbox.put([2, 3])
        self.assertTrue(self.readable())
        self.assertEqual(self.inbox.take(), [1, 2, 3])
        self.assertFalse(self.readable())
        self.assertEqual(self.inbox.take(), [])

    def test_waits_no_longer_than_it_is_told(self) -> None:
        self.assertFalse(self.inbox.wait(0.0))
        self.assertFalse(self.inbox.wait(-1.0))
        self.inbox.put([1])
        self.assertTrue(self.inbox.wait(None))

    def test_an_error_comes_after_what_came_before_it(self) -> None:
        self.inbox.put([1])
        self.inbox.fail(ConnectionLost("gone"))
        self.assertEqual(self.inbox.take(), [1])
        self.assertTrue(self.readable())
        self.assertRaises(ConnectionLost, self.inbox.take)
        self.assertEqual(self.inbox.take(), [])

    def test_what_nobody_wants_any_more(self) -> None:
        self.inbox.put([1, 2, 3])
        self.inbox.put([4])
        self.assertEqual(self.inbox.withdraw(lambda number: number % 2 == 0), [2, 4])
        self.assertEqual(self.inbox.take(), [1, 3])

    def test_nothing_is_lost_between_two_threads(self) -> None:
        count, found = 20_000, []

        def fill() -> None:
            for number in range(count):
                self.inbox.put([number])

        filling = threading.Thread(target=fill)
        filling.start()
        while len(found) < count and self.inbox.wait(10.0):
            found += self.inbox.take()
        filling.join()
        self.assertEqual(found, list(range(count)))

    def test_can_be_closed_twice(self) -> None:
        self.inbox.close()
        self.inbox.close()
        self.inbox.put([1])
        self.assertEqual(self.inbox.fileno(), -1)
