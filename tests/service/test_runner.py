"""Where a store's blocking calls run, and what happens to them at the end."""

import threading

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.errors import ShuttingDown
from taskqueue.service.runner import InlineRunner, ThreadRunner, make_runner


class FromThreads(Clock):
    """A clock that also takes calls from threads; L{wait} makes them."""

    def __init__(self):
        super().__init__()
        self._called = []
        self._any = threading.Condition()

    def callFromThread(self, function, *args, **kwargs):
        with self._any:
            self._called.append(lambda: function(*args, **kwargs))
            self._any.notify()

    def wait(self):
        """Make the calls that threads have asked for, at least one."""
        with self._any:
            self._any.wait_for(lambda: self._called, timeout=10)
            called, self._called = self._called, []
        for call in called:
            call()


class InlineTests(SynchronousTestCase):
    def test_runs_at_once(self):
        runner = make_runner(True, Clock(), "test")
        self.assertIsInstance(runner, InlineRunner)
        self.assertEqual(self.successResultOf(runner.run(divmod, 7, 2)), (3, 1))
        self.failureResultOf(runner.run(divmod, 7, 0), ZeroDivisionError)
        self.assertFalse(runner.at_work)
        self.assertTrue(runner.stop(0.0))


class ThreadTests(SynchronousTestCase):
    def setUp(self):
        self.reactor = FromThreads()
        self.runner = make_runner(False, self.reactor, "test")
        self.assertIsInstance(self.runner, ThreadRunner)
        self.addCleanup(self.runner.stop, 10.0)

    def test_at_work_until_all_is_done(self):
        self.assertFalse(self.runner.at_work)
        first, second = threading.Event(), threading.Event()
        answers = [self.runner.run(each.wait, 10.0) for each in (first, second)]
        for event, answer in zip((first, second), answers, strict=True):
            self.assertTrue(self.runner.at_work)
            event.set()
            while not answer.called:
                self.reactor.wait()
        self.assertTrue(self.runner.stop(10.0))
        self.assertFalse(self.runner.at_work)

    def test_one_thread_of_its_own_in_order(self):
        seen = []
        answers = [
            self.runner.run(lambda i=i: seen.append((i, threading.current_thread())))
            for i in range(20)
        ]
        while not all(answer.called for answer in answers):
            self.reactor.wait()
        self.assertEqual([i for i, _ in seen], list(range(20)))
        [thread] = {thread for _, thread in seen}
        self.assertIsNot(thread, threading.current_thread())
        self.assertIn("test", thread.name)

    def test_failure(self):
        answer = self.runner.run(divmod, 7, 0)
        self.reactor.wait()
        self.failureResultOf(answer, ZeroDivisionError)

    def test_stop_waits_for_the_call_that_runs(self):
        begin, ended = threading.Event(), []
        self.runner.run(lambda: (begin.wait(10), ended.append(True)))
        threading.Timer(0.05, begin.set).start()
        self.assertTrue(self.runner.stop(10.0))
        self.assertEqual(ended, [True])

    def test_stop_does_not_wait_for_ever(self):
        """A call that hangs is given up, and its thread does not keep the process alive."""
        begin = threading.Event()
        self.addCleanup(begin.set)
        threads = []
        started = threading.Event()
        self.runner.run(
            lambda: (threads.append(threading.current_thread()), started.set(), begin.wait(10))
        )
        self.assertTrue(started.wait(10))
        self.assertFalse(self.runner.stop(0.01))
        self.assertTrue(threads[0].daemon)

    def test_after_stop_calls_are_refused(self):
        self.runner.stop(10.0)
        self.failureResultOf(self.runner.run(divmod, 7, 2), ShuttingDown)
