"""
Run me: C{trial examples.app_tests.test_with_trial}
"""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from examples.app_tests.shop import app, price, reserve, stock
from taskqueue.errors import TaskFailed
from taskqueue.testing import app_broker, immediate


class ShopTests(SynchronousTestCase):
    def setUp(self):
        stock.update(apple=3)

    def test_the_function_itself(self):
        with app_broker(app) as broker:
            self.assertEqual(reserve("apple"), 2)
            self.assertEqual([task["type"] for task in broker.tasks()], ["give_back"])

    def test_step_by_step(self):
        with app_broker(app) as broker:
            task = reserve.submit("apple", count=2)
            self.assertEqual(stock["apple"], 3)  # nothing has run yet
            broker.step()
            self.assertEqual(task.result(), 1)
            broker.advance(901)
            broker.run()
            self.assertEqual(stock["apple"], 3)

    def test_it_waits_for_more(self):
        with app_broker(app) as broker:
            task = reserve.submit("apple", count=5)
            self.assertEqual(broker.step().state, "failed")
            stock["apple"] = 10
            broker.advance(3601)
            broker.step()
            self.assertEqual(task.result(), 5)

    def test_at_once(self):
        with immediate(app):
            self.assertEqual(reserve.submit("apple").result(), 2)
            with self.assertRaises(TaskFailed):
                reserve.submit("pear").result()


class EventLoopTests(TestCase):
    def test_on_the_reactor(self):
        async def steps():
            with app_broker(app) as broker:
                task = price.submit("apple")
                await broker.step_async()
                self.assertEqual(task.result(), 0.5)

        return Deferred.fromCoroutine(steps())
