"""How the broker waits: for a moment it looks, where that pays, and then it sleeps."""

import select
import socket

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.polling import LOOK_S, MOST_AHEAD, SHORT_S, SHORT_WAITS, BusyPoller, poll_busily

EVENT = [(17, 1)]
A_LOOK_S = LOOK_S / 10


class Epoll:
    """
    An C{epoll} of which it is known when something happens.

    @ivar next_in_s: in how many seconds that is.
    @ivar asked: with which time-outs it was asked.
    """

    def __init__(self):
        self.now = 0.0
        self.next_in_s = 1.0
        self.asked = []
        self.register = self.unregister = self.modify = self.fileno = self.close = None

    def timer(self):
        return self.now

    def poll(self, timeout, most):
        self.asked.append(timeout)
        taken_s = A_LOOK_S if timeout == 0 else self.next_in_s
        if 0 < timeout < taken_s:
            taken_s = timeout
        self.now += taken_s
        self.next_in_s -= taken_s
        return EVENT[:most] if self.next_in_s <= 1e-9 else []


class PollerTests(SynchronousTestCase):
    def setUp(self):
        self.epoll = Epoll()
        self.at_work = False
        self.poller = BusyPoller(self.epoll, lambda: self.at_work, self.epoll.timer)

    def wait(self, seconds, timeout=-1):
        """
        Wait for what happens in so many seconds.

        @return: the time-outs that the system was asked with.
        """
        self.epoll.next_in_s = seconds
        self.epoll.asked = []
        self.assertEqual(self.poller.poll(timeout, 4), EVENT)
        return self.epoll.asked

    def learn(self, waits=SHORT_WAITS):
        for _ in range(waits):
            self.assertEqual(self.wait(SHORT_S * 0.9), [-1])

    def test_sleeps_at_first(self):
        self.assertEqual(self.wait(3.0), [-1])
        self.assertEqual(self.wait(3.0, 5.0), [5.0])

    def test_looks_after_several_short_waits(self):
        self.learn()
        self.assertEqual(self.wait(2.5 * A_LOOK_S), [0, 0, 0])
        self.assertEqual(self.wait(0.5 * A_LOOK_S, 7.0), [0])
        self.assertEqual((self.poller.found, self.poller.in_vain), (2, 0))

    def test_a_long_wait_among_them_begins_anew(self):
        self.learn(SHORT_WAITS - 1)
        self.wait(2 * SHORT_S)
        self.learn()
        self.assertEqual(self.wait(0.5 * A_LOOK_S), [0])

    def test_sleeps_when_it_has_looked_long_enough(self):
        self.learn()
        asked = self.wait(3.0)
        self.assertEqual(asked[-1], -1)
        self.assertEqual(set(asked[:-1]), {0})
        self.assertLessEqual(len(asked) - 1, 11)
        self.assertEqual((self.poller.found, self.poller.in_vain), (0, 1))

    def test_one_look_in_vain_and_it_sleeps_until_it_has_learned_anew(self):
        self.learn()
        self.wait(3.0)
        self.learn()
        self.assertEqual(self.wait(0.5 * A_LOOK_S), [0])

    def test_looks_that_find_something_pay_for_those_in_vain(self):
        self.learn()
        for _ in range(10 * SHORT_WAITS):
            self.assertEqual(self.wait(0.5 * A_LOOK_S), [0])
        for _ in range(MOST_AHEAD):
            self.assertEqual(self.wait(3.0)[0], 0)
        self.assertEqual(self.wait(3.0), [-1])
        self.assertEqual(self.poller.in_vain, MOST_AHEAD)

    def test_a_long_sleep_takes_all_that_was_earned(self):
        self.learn()
        for _ in range(SHORT_WAITS - 1):
            self.wait(0.5 * A_LOOK_S)
        self.wait(3.0)
        self.assertEqual(self.wait(3.0), [-1])
        self.learn()
        self.assertEqual(self.wait(0.5 * A_LOOK_S), [0])

    def test_a_time_out_is_no_longer_for_it(self):
        self.learn()
        self.epoll.next_in_s = 9.0
        began = self.epoll.now
        self.assertEqual(self.poller.poll(0.5, 4), [])
        self.assertAlmostEqual(self.epoll.now - began, 0.5, delta=2 * A_LOOK_S)

    def test_what_shall_not_wait_does_not(self):
        self.learn()
        for timeout in (0, LOOK_S / 2):
            self.epoll.asked = []
            self.epoll.next_in_s = 9.0
            self.assertEqual(self.poller.poll(timeout, 4), [])
            self.assertEqual(self.epoll.asked, [timeout])
        self.assertEqual(self.wait(0.5 * A_LOOK_S), [0])  # and nothing was learned from that

    def test_does_not_look_while_a_thread_is_at_work(self):
        self.learn()
        self.at_work = True
        self.assertEqual(self.wait(0.5 * A_LOOK_S), [-1])
        self.at_work = False
        self.assertEqual(self.wait(0.5 * A_LOOK_S), [0])

    def test_no_more_events_than_are_wanted(self):
        self.learn()
        self.epoll.next_in_s = 0.0
        self.assertEqual(self.poller.poll(-1, 0), [])


class ReactorTests(SynchronousTestCase):
    def test_a_reactor_of_epoll_goes_on_as_before(self):
        reactor = EPollReactor()
        self.addCleanup(reactor.removeAll)
        self.assertTrue(poll_busily(reactor, lambda: False))
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        seen = []

        class Reader:
            fileno = staticmethod(ours.fileno)

            def logPrefix(self):
                return "test"

            def doRead(self):
                seen.append(ours.recv(10))

            def connectionLost(self, reason):
                seen.append(reason)

        reader = Reader()
        reactor.addReader(reader)
        for number in range(SHORT_WAITS + 3):
            theirs.send(b"%d" % number)
            reactor.doIteration(5.0)
        self.assertEqual(seen, [b"%d" % number for number in range(SHORT_WAITS + 3)])
        reactor.removeReader(reader)
        theirs.send(b"unheard")
        reactor.doIteration(0.001)
        self.assertEqual(len(seen), SHORT_WAITS + 3)

    def test_others_stay_as_they_are(self):
        reactor = SelectReactor()
        self.addCleanup(reactor.removeAll)
        self.assertFalse(poll_busily(reactor, lambda: False))
        self.assertFalse(poll_busily(object(), lambda: False))

    def test_a_system_without_epoll(self):
        self.patch(select, "epoll", None)
        self.assertFalse(poll_busily(EPollReactor.__new__(EPollReactor), lambda: False))
