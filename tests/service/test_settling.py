"""The store catches up: when, how often, and what becomes of it where it cannot."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.service.duties import SETTLE_S
from taskqueue.service.settling import Settling
from tests.service.running import HeldRunner, ObedientStore, ServiceTestCase


class SettlingTestCase(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.store = ObedientStore()
        self.store.open()
        self.runner = HeldRunner()
        self.settling = Settling(self.store, self.runner, self.clock)
        self.heard = []
        globalLogPublisher.addObserver(self.heard.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.heard.append)

    def said(self):
        """The beginnings of what was logged since."""
        said = [event["log_format"].split(":")[0] for event in self.heard if event["log_format"]]
        self.heard.clear()
        return said


class CatchingUpTests(SettlingTestCase):
    def test_when_much_has_come_together(self):
        self.settling.offer()
        self.assertEqual(self.store.count("checkpoint"), 0)
        self.store.wants_checkpoint = True
        self.settling.offer()
        self.assertEqual(self.store.count("checkpoint"), 1)

    def test_not_while_it_does_already(self):
        self.runner.holding = True
        self.store.wants_checkpoint = True
        first = self.settling.catch_up()
        self.settling.offer()
        self.successResultOf(self.settling.catch_up())
        self.assertEqual(len(self.runner), 1)
        self.assertNoResult(first)
        self.runner.run_next()
        self.successResultOf(first)
        self.settling.offer()
        self.assertEqual(len(self.runner), 1)
        self.runner.let_go()

    def test_finishing_takes_in_what_came_meanwhile(self):
        self.runner.holding = True
        self.settling.catch_up()
        last = self.settling.finish()
        self.runner.run_next()
        self.assertNoResult(last)
        self.runner.run_next()
        self.successResultOf(last)
        self.assertEqual(self.store.count("checkpoint"), 2)

    def test_how_long_it_took(self):
        self.runner.holding = True
        self.settling.catch_up()
        self.clock.advance(0.75)
        self.runner.run_next()
        self.assertEqual(
            (sum(self.settling.seconds.counts), self.settling.seconds.total), (1, 0.75)
        )

    def test_nothing_else_of_the_kind_meanwhile(self):
        self.runner.holding = True
        self.settling.catch_up()
        swept = self.settling.exclusive(self.store.sweep, {}, 1)
        self.runner.run_next()
        self.assertNoResult(swept)
        self.runner.run_next()
        self.assertEqual(self.successResultOf(swept), {})


class FailingTests(SettlingTestCase):
    def test_told_once_until_it_works_again(self):
        self.store.fail("checkpoint")
        for _ in range(3):
            self.successResultOf(self.settling.catch_up())
        self.assertEqual(self.said(), ["the store cannot catch up, and commits stay in its log"])
        self.assertEqual(str(self.settling.error), "The disk is full.")
        self.store.work()
        self.settling.catch_up()
        self.settling.catch_up()
        self.assertIsNone(self.settling.error)
        self.assertEqual(self.said(), ["the store catches up again"])

    def test_not_pressed_while_it_fails(self):
        """Then each group would make it try."""
        self.store.fail("checkpoint")
        self.store.wants_checkpoint = True
        self.settling.offer()
        self.settling.offer()
        self.assertEqual(self.store.count("checkpoint"), 1)

    def test_a_fault_of_our_own(self):
        self.store.failing = {"checkpoint": ZeroDivisionError()}
        self.successResultOf(self.settling.catch_up())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.store.work()
        self.settling.catch_up()
        self.assertEqual(self.store.count("checkpoint"), 2)


class ServiceTests(ServiceTestCase):
    def test_from_time_to_time(self):
        before = self.store.count("checkpoint")
        self.clock.pump([SETTLE_S] * 3)
        self.assertEqual(self.store.count("checkpoint"), before + 3)

    def test_after_a_group_that_makes_it_much(self):
        self.store.wants_checkpoint = True
        before = self.store.count("checkpoint")
        self.submit()
        self.assertEqual(self.store.count("checkpoint"), before + 1)

    def test_at_the_end(self):
        self.submit()
        self.stop()
        self.assertEqual(self.store.called[-2:], ["checkpoint", "close"])
