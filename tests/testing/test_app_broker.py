"""
A broker in the test's own process, whose time the test moves.
"""

from __future__ import annotations

import asyncio
import gc

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.app.application import App
from taskqueue.app.outcomes import Retry, Snooze
from taskqueue.client import Value
from taskqueue.errors import (
    AnswerTimedOut,
    BadRequest,
    Conflict,
    QueueFull,
    TaskFailed,
    UnknownTask,
)
from taskqueue.testing import app_broker, immediate
from taskqueue.testing import broker as broker_module
from taskqueue.wire import MessageType

NOW = 1_800_000_000.0


class AppCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.app = App()
        self.calls: list[object] = []

        @self.app.task
        def add(a, b=1):
            self.calls.append((a, b))
            return a + b

        @self.app.task(max_retries=2, retry_delay=10, retry_jitter=0)
        def fails(ctx, times):
            self.calls.append(ctx.attempt)
            if ctx.attempt <= times:
                raise ValueError(f"attempt {ctx.attempt}")
            return "at last"

        self.add, self.fails = add, fails


class SteppingTests(AppCase):
    def setUp(self) -> None:
        super().setUp()
        entered = app_broker(self.app, now=NOW)
        self.broker = entered.__enter__()
        self.addCleanup(lambda: entered.__exit__(None, None, None))

    def test_nothing_runs_before_it_is_told_to(self) -> None:
        handle = self.add.submit(2, b=3)
        self.assertEqual(self.calls, [])
        self.assertEqual(handle.status()["state"], "pending")
        with self.assertRaisesRegex(AnswerTimedOut, "is pending, and has not ended: run it"):
            handle.result()
        ran = self.broker.step()
        self.assertEqual(
            (ran.id, ran.type, ran.attempt, ran.state), (handle, "add", 1, "completed")
        )
        self.assertEqual(handle.result(timeout=5), 5)
        self.assertEqual(self.calls, [(2, 3)])
        self.assertIsNone(self.broker.step())

    def test_order_is_the_brokers(self) -> None:
        low = self.add.options(priority=1).submit(1)
        high = self.add.options(priority=255).submit(2)
        self.assertEqual([ran.id for ran in self.broker.run()], [high, low])

    def test_time_is_the_tests(self) -> None:
        self.assertEqual(self.broker.now, NOW)
        later = self.add.options(run_in=3600).submit(1)
        self.broker.advance(3590)
        self.assertEqual(self.broker.run(), [])
        self.assertEqual(self.broker.state(later), "scheduled")
        self.broker.advance(11)
        self.assertEqual([ran.id for ran in self.broker.run()], [later])

    def test_retries(self) -> None:
        handle = self.fails.submit(1)
        self.assertEqual([ran.state for ran in self.broker.run()], ["failed"])
        self.broker.advance(9)
        self.assertEqual(self.broker.run(), [])
        self.broker.advance(1.2)
        self.assertEqual([ran.state for ran in self.broker.run()], ["completed"])
        self.assertEqual(handle.result(), "at last")

    def test_a_dead_letter(self) -> None:
        handle = self.fails.submit(9)
        ran = self.broker.run_all()
        self.assertEqual([one.state for one in ran], ["failed", "failed", "dead_letter"])
        self.assertLess(abs(self.broker.now - NOW - 30), 2)
        with self.assertRaisesRegex(TaskFailed, "ValueError: attempt 3"):
            handle.result()
        handle.retry(max_retries=0)
        self.assertEqual([one.attempt for one in self.broker.run()], [4])

    def test_all_within_a_while(self) -> None:
        self.add.options(run_in=50).submit(1)
        self.add.options(run_in=500).submit(2)
        self.assertEqual(len(self.broker.run_all(within_s=100)), 1)
        self.assertEqual(len(self.broker.run_all()), 1)

    def test_chains_and_tasks_that_submit_tasks(self) -> None:
        first = self.add.submit(1)
        self.add.options(depends_on=[first.id]).submit(2)
        self.app.task("parent")(lambda: self.add.submit(3).id).submit()
        self.broker.run()
        self.assertEqual(self.calls, [(1, 1), (2, 1), (3, 1)])

    def test_no_end(self) -> None:
        self.patch(broker_module, "MOST_TASKS", 5)

        @self.app.task
        def again():
            again.submit()

        again.submit()
        self.assertRaises(RuntimeError, self.broker.run)

    def test_snooze_and_retry_as_asked(self) -> None:
        def undecided(ctx):
            if ctx.attempt == 1:
                raise Snooze(100)
            if ctx.attempt == 2:
                raise Retry(200, "busy")
            return ctx.failures

        handle = self.app.task("undecided", max_retries=1)(undecided).submit()
        self.assertEqual(self.broker.step().state, "scheduled")
        self.broker.advance(101)
        self.assertEqual(self.broker.step().state, "failed")
        self.broker.advance(199)
        self.assertIsNone(self.broker.step())
        self.broker.advance(2)
        self.broker.step()
        self.assertEqual(handle.result(), 1)

    def test_progress_log_and_cancel(self) -> None:
        @self.app.task
        def long(ctx):
            ctx.log("begins", step=1)
            ctx.progress({"done": 1})
            handle.cancel(running=True)
            ctx.check()

        handle = long.submit()
        self.assertEqual(self.broker.step().state, "cancelled")
        self.assertEqual(self.broker.progress, [(handle, {"done": 1})])
        self.assertEqual(self.broker.logged, [(handle, "begins", {"step": 1})])

    def test_coroutines(self) -> None:
        @self.app.task
        async def later():
            await asyncio.sleep(0)
            return await succeed("done")

        handle = later.submit()
        self.broker.step()
        self.assertEqual(handle.result(), "done")

    def test_on_the_loop_of_the_test(self) -> None:
        waited: Deferred[str] = Deferred()

        @self.app.task
        async def later():
            return await waited

        handle = later.submit()
        self.add.options(priority=1).submit(1)
        running = Deferred.fromCoroutine(self.broker.step_async())
        self.assertNoResult(running)
        waited.callback("done")
        self.assertEqual(self.successResultOf(running).state, "completed")
        self.assertEqual(handle.result(), "done")
        plain = Deferred.fromCoroutine(self.broker.step_async())
        self.assertEqual(self.successResultOf(plain).type, "add")
        none = Deferred.fromCoroutine(self.broker.step_async())
        self.assertIsNone(self.successResultOf(none))

    def test_within_a_running_loop(self) -> None:
        @self.app.task
        async def later():
            return 1

        later.submit()

        async def elsewhere():
            self.broker.step()

        with self.assertRaisesRegex(RuntimeError, r"await step_async\(\)"):
            asyncio.run(elsewhere())
        gc.collect()
        unawaited = [w for w in self.flushWarnings() if "never awaited" in w["message"]]
        self.assertEqual(unawaited, [])

    def test_a_task_that_the_application_has_not(self) -> None:
        handle = self.add.submit(1)
        self.app.handlers.clear()
        self.assertEqual(self.broker.step().state, "dead_letter")
        self.assertIn("no task 'add'", self.broker.view(handle)["error"])

    def test_looking_and_changing(self) -> None:
        one, two = self.add.submit(1), self.add.submit(2)
        self.assertEqual(one.payload(), b'{"args":[1],"kwargs":{}}')
        one.cancel()
        self.assertEqual(one.outcome().state.word, "cancelled")
        self.assertRaises(Conflict, one.cancel)
        self.assertRaises(Conflict, two.delete)
        one.delete()
        self.assertRaises(UnknownTask, self.broker.view, one)
        self.assertEqual([task["id"] for task in self.broker.tasks(states=["pending"])], [two])
        three = self.fails.submit(1)
        self.broker.run()
        [event] = three.status(history=True)["history"]
        self.assertEqual((event["event"], event["attempt"]), ("failed", 1))

    def test_the_broker_refuses(self) -> None:
        self.broker.ask(MessageType.SET_QUEUE, queue="default", max_depth=1)
        self.add.submit(1)
        self.assertRaises(QueueFull, self.add.submit, 2)
        self.assertRaises(BadRequest, self.add.options(priority=999).submit, 2)

    def test_unique(self) -> None:
        task = self.add.options(unique="n{a}")
        first = task.submit(1)
        again = task.submit(1)
        self.assertEqual((again, again.existing), (first, True))
        self.assertFalse(task.submit(2).existing)


class PeriodicTests(AppCase):
    def test_as_time_passes(self) -> None:
        self.app.periodic(7, every_s=60)(self.add)
        self.app.periodic(8, cron="0 * * * *", tz="Asia/Kolkata", name="hourly")(self.add)
        with app_broker(self.app, now=NOW) as broker:  # at 8 h 00 min UTC
            broker.advance(3600)
            self.assertEqual(broker.run(), [])
            broker.declare_periodics()
            broker.advance(125)
            self.assertEqual([ran.type for ran in broker.run()], ["add", "add"])
            broker.advance(3600 - 125)
            broker.run()
            self.assertEqual(self.calls, [(7, 1)] * 30 + [(8, 1)] + [(7, 1)] * 30)

    def test_the_broker_refuses_one(self) -> None:
        self.app.periodic(7, cron="61 * * * *")(self.add)
        with app_broker(self.app) as broker, self.assertRaisesRegex(BadRequest, "61"):
            broker.declare_periodics()


class ImmediateTests(AppCase):
    def test_a_result_at_once(self) -> None:
        with immediate(self.app):
            handle = self.add.submit(1, 2)
            self.assertEqual(self.calls, [(1, 2)])
            self.assertEqual(handle.result(), 3)
            self.assertEqual(self.add.options(run_in=1e6).submit(1).result(), 2)

    def test_retries_take_no_time(self) -> None:
        with immediate(self.app):
            self.assertEqual(self.fails.submit(2).result(), "at last")
            self.assertEqual(self.calls, [1, 2, 3])
            with self.assertRaisesRegex(TaskFailed, "attempt 3"):
                self.fails.submit(3).result()

    def test_within_a_task(self) -> None:
        @self.app.task
        def double(n):
            return self.add.options(run_in=60).submit(n, n).result()

        with immediate(self.app):
            self.assertEqual(double.submit(4).result(), 8)

    def test_what_cannot_run_does_not_hang(self) -> None:
        with immediate(self.app) as broker:
            broker.ask(MessageType.PAUSE_QUEUE, queue="default")
            handle = self.add.submit(1)
            self.assertEqual(handle.status()["state"], "pending")

    def test_afterwards_the_application_is_as_before(self) -> None:
        before = self.app.sender = lambda submission: "sent"
        for mode in (immediate, app_broker):
            with self.assertRaises(KeyError), mode(self.app):
                self.assertIsNot(self.app.sender, before)
                raise KeyError
            self.assertIs(self.app.sender, before)


class ValueTests(AppCase):
    def test_the_calls_of_a_client(self) -> None:
        with app_broker(self.app, now=NOW) as broker:
            version = broker.put_value("n", "k", b"v", expires_s=60)
            assert version is not None
            self.assertEqual(broker.get_value("n", "k"), Value(b"v", version, NOW + 60))
            self.assertIsNone(broker.put_value("n", "k", b"", only_if="absent"))
            self.assertEqual(broker.increase_value("n", "count", 3), 3)
            self.assertRaises(Conflict, broker.increase_value, "n", "k")
            self.assertEqual(broker.wait_values("n", {"k": version}, 30), {})
            self.assertGreaterEqual(broker.now, NOW + 30)
            self.assertEqual(set(broker.wait_values("n", {"k": 0}, 30)), {"k"})
            broker.advance(30)
            self.assertEqual(broker.get_values("n", ["k", "count"]).keys(), {"count"})
            self.assertEqual(len(broker.put_values("n", {"a": b"", "b": b""})), 2)
            self.assertEqual([key for key, _ in broker.list_values("n")], ["a", "b", "count"])
            self.assertEqual(broker.value_namespaces(), {"n": 3})
            taken = broker.take_value("n", "a")
            self.assertEqual(taken and taken.value, b"")
            self.assertEqual(broker.delete_values("n", ["a", "b"]), 1)
