"""Workers of a real broker, in one process."""

from __future__ import annotations

import threading
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from taskqueue import errors
from taskqueue.core.task import State
from taskqueue.worker import PermanentFailure, Task, Worker, in_reactor
from taskqueue.worker.heartbeats import Heartbeats
from tests.client.broker import BrokerCase, flow


class WorkerCase(BrokerCase):
    async def work(self, handlers: dict[str, Any], **options: Any) -> Worker:
        """Start a worker; returns when it is registered."""
        worker = Worker(handlers, self.client(), reactor, **options)
        worker.finished.addErrback(lambda _: None)
        worker.startService()
        self.addCleanup(worker.stopService)
        await self.until(lambda: self.find(worker) is not None)
        return worker

    def find(self, worker: Worker) -> Any:
        """The worker as the broker knows it."""
        for known in self.broker.broker.ledger.workers:
            if known.name == worker.worker_id:
                return known
        return None

    async def failure(self, client: Any, task: str) -> errors.TaskFailed:
        try:
            await client.result(task)
        except errors.TaskFailed as error:
            return error
        raise AssertionError("it has a result")


class Running(WorkerCase):
    @flow
    async def test_threads_coroutines_and_deferreds(self) -> None:
        threads: dict[str, threading.Thread] = {}

        def plain(task: Task) -> str:
            threads["plain"] = threading.current_thread()
            return task.payload.decode().upper()

        async def coroutine(task: Task) -> dict[str, str]:
            threads["coroutine"] = threading.current_thread()
            return {"got": task.payload.decode()}

        @in_reactor
        def deferred(task: Task) -> Deferred[bytes]:
            threads["deferred"] = threading.current_thread()
            later: Deferred[bytes] = Deferred()
            reactor.callLater(0.01, later.callback, b"later")
            return later

        client = await self.connect()
        await self.work({"plain": plain, "coroutine": coroutine, "deferred": deferred})
        results = [
            await client.result(await client.submit(kind, b"hi"))
            for kind in ("plain", "coroutine", "deferred")
        ]
        self.assertEqual(results, [b"HI", b'{"got":"hi"}', b"later"])
        main = threading.main_thread()
        self.assertIsNot(threads["plain"], main)
        self.assertEqual([threads["coroutine"], threads["deferred"]], [main, main])

    @flow
    async def test_failures(self) -> None:
        def bad(task: Task) -> None:
            raise ValueError(task.payload.decode())

        def hopeless(task: Task) -> None:
            raise PermanentFailure("never")

        def misplaced(task: Task) -> Deferred[None]:
            return Deferred()

        client = await self.connect()
        await self.work({"bad": bad, "hopeless": hopeless, "misplaced": misplaced})
        error = await self.failure(client, await client.submit("bad", b"why", max_retries=0))
        self.assertIn("ValueError: why", str(error))
        self.assertIn("in bad", error.fields["error"])
        self.assertNotIn("threadpool", error.fields["error"])
        error = await self.failure(client, await client.submit("hopeless", max_retries=9))
        self.assertEqual(error.fields["state"], State.DEAD_LETTER)
        error = await self.failure(client, await client.submit("misplaced"))
        self.assertIn("in_reactor", str(error))

    @flow
    async def test_one_slot_and_many_quick_tasks(self) -> None:
        """Results wait for an answer while no task is running: that must not be the end."""

        async def quick(task: Task) -> bytes:
            return task.payload

        client = await self.connect()
        await self.work({"quick": quick}, concurrency=1)
        ended: list[Any] = []
        await client.submit_many(({"type": "quick"} for _ in range(50)), ended.append)
        await self.until(lambda: len(ended) == 50)
        self.assertEqual({outcome.state for outcome in ended}, {State.COMPLETED})

    @flow
    async def test_many_quick_tasks_are_claimed_ahead(self) -> None:
        client = await self.connect()
        limits: list[int] = []

        async def quick(task: Task) -> None:
            pass

        worker = await self.work({"quick": quick}, concurrency=1)
        claim = worker.client.claim

        def claimed(*args: Any, limit: int, **how: Any) -> Deferred[Any]:
            limits.append(limit)
            return claim(*args, limit=limit, **how)

        self.patch(worker.client, "claim", claimed)
        ended: list[Any] = []
        await client.submit_many(({"type": "quick"} for _ in range(200)), ended.append)
        await self.until(lambda: len(ended) == 200)
        self.assertEqual(max(limits[:10]), 1)
        self.assertGreater(max(limits), 5)

    @flow
    async def test_results_that_are_not_taken_do_not_pile_up(self) -> None:
        ran: list[str] = []

        async def quick(task: Task) -> None:
            ran.append(task.id)

        client = await self.connect()
        worker = await self.work({"quick": quick}, concurrency=1)
        worker.most_unreported = 1
        unanswered: list[Deferred[Any]] = []

        def report(reports: Any) -> Deferred[Any]:
            unanswered.append(Deferred())
            return unanswered[-1]

        patched = self.patch(worker.client, "report", report)
        await client.submit_many({"type": "quick"} for _ in range(10))
        await self.until(lambda: len(ran) == 2)
        for _ in range(20):
            await client.ping()
        self.assertEqual((len(ran), len(worker._reporter)), (2, 2))
        patched.restore()
        for answer in unanswered:
            answer.errback(errors.ShuttingDown(retry_after_s=0.01))
        await self.until(lambda: len(ran) == 10)

    @flow
    async def test_no_more_at_a_time_than_it_may(self) -> None:
        running: list[Deferred[None]] = []

        async def hold(task: Task) -> None:
            running.append(Deferred())
            await running[-1]

        client = await self.connect()
        worker = await self.work({"hold": hold}, concurrency=2)
        await client.submit_many({"type": "hold"} for _ in range(3))
        await self.until(lambda: len(running) == 2)
        await client.ping()
        self.assertEqual((len(running), worker.in_hand), (2, 2))
        running[0].callback(None)
        await self.until(lambda: len(running) == 3)
        running[1].callback(None)
        running[2].callback(None)

    @flow
    async def test_only_what_it_has_handlers_for_and_from_its_queues(self) -> None:
        async def mine(task: Task) -> None:
            """Does nothing."""

        client = await self.connect()
        await self.work({"mine": mine}, queues=["a"])
        other = await client.submit("other", queue="a")
        elsewhere = await client.submit("mine", queue="b")
        await client.result(await client.submit("mine", queue="a"))
        views = await client.status([other, elsewhere])
        self.assertEqual([view["state"] for view in views], ["pending", "pending"])

    @flow
    async def test_progress(self) -> None:
        go_on: Deferred[None] = Deferred()

        async def slow(task: Task) -> None:
            task.progress({"percent": 50})
            await go_on

        client = await self.connect()
        await self.work({"slow": slow})
        task = await client.submit("slow")
        await self.until(lambda: self.broker.progress(task) is not None)
        self.assertEqual(self.broker.progress(task), {"percent": 50})
        go_on.callback(None)
        await client.result(task)


class Stopping(WorkerCase):
    @flow
    async def test_cancelling_what_runs(self) -> None:
        started: list[str] = []

        async def endless(task: Task) -> None:
            started.append(task.id)
            await Deferred()

        def thread(task: Task) -> None:
            started.append(task.id)
            stop = threading.Event()
            while not stop.wait(0.01):
                task.check()

        client = await self.connect()
        await self.work({"endless": endless, "thread": thread}, concurrency=2)
        tasks = [await client.submit(kind) for kind in ("endless", "thread")]
        await self.until(lambda: len(started) == 2)
        await client.cancel(tasks, running=True)
        for task in tasks:
            error = await self.failure(client, task)
            self.assertEqual(error.fields["state"], State.CANCELLED)

    @flow
    async def test_what_runs_may_finish(self) -> None:
        running: list[Deferred[bytes]] = []

        async def hold(task: Task) -> bytes:
            running.append(Deferred())
            return await running[-1]

        client = await self.connect()
        worker = await self.work({"hold": hold})
        task = await client.submit("hold")
        waiting = await client.submit("hold")
        await self.until(lambda: running)
        stopped = worker.stopService()
        self.assertFalse(stopped.called)
        running[0].callback(b"done")
        await stopped
        self.assertEqual(await client.result(task), b"done")
        self.assertIsNone(self.find(worker))
        (view,) = await client.status([waiting])
        self.assertEqual((view["state"], view["attempt"]), ("pending", 0))
        self.assertTrue(worker.finished.called)

    @flow
    async def test_what_does_not_finish_is_given_back(self) -> None:
        running: list[str] = []

        async def endless(task: Task) -> None:
            running.append(task.id)
            await Deferred()

        client = await self.connect()
        worker = await self.work({"endless": endless}, stop_timeout_s=0.05)
        task = await client.submit("endless")
        await self.until(lambda: running)
        await worker.stopService()
        (view,) = await client.status([task])
        self.assertEqual((view["state"], view["losses"], view["failures"]), ("pending", 0, 0))

    @flow
    async def test_a_thread_that_never_ends_keeps_nobody(self) -> None:
        release = threading.Event()
        self.addCleanup(release.set)
        running: list[str] = []

        def stuck(task: Task) -> None:
            running.append(task.id)
            release.wait()

        client = await self.connect()
        worker = await self.work({"stuck": stuck}, stop_timeout_s=0.05)
        await client.submit("stuck")
        await self.until(lambda: running)
        await worker.stopService()

    @flow
    async def test_orders(self) -> None:
        async def nothing(task: Task) -> None:
            """Does nothing."""

        client = await self.connect()
        worker = await self.work({"nothing": nothing})
        await client.order_worker(worker.worker_id, "quiet")
        await worker._beat()
        task = await client.submit("nothing")
        self.assertEqual((await client.status([task]))[0]["state"], "pending")
        self.assertTrue(worker.running)
        await client.order_worker(worker.worker_id, "terminate")
        await worker._beat()
        await worker.finished
        self.assertIsNone(self.find(worker))

    @flow
    async def test_without_a_broker(self) -> None:
        worker = Worker({"t": print}, self.client("tq://127.0.0.1:1"), reactor)
        worker.startService()
        await worker.stopService()
        self.assertTrue(worker.finished.called)


class Mishaps(WorkerCase):
    @flow
    async def test_the_connection_breaks_while_a_task_runs(self) -> None:
        running: list[Deferred[bytes]] = []

        async def hold(task: Task) -> bytes:
            running.append(Deferred())
            return await running[-1]

        client = await self.connect()
        worker = await self.work({"hold": hold})
        task = await client.submit("hold")
        await self.until(lambda: running)
        worker.client._link._factory.newest.abort()
        await self.until(lambda: not worker.client.connected)
        await self.until(lambda: worker.client.connected)
        running[0].callback(b"done")
        self.assertEqual(await client.result(task), b"done")
        (view,) = await client.status([task])
        self.assertEqual((view["attempt"], view["losses"]), (1, 0))

    @flow
    async def test_deliveries_that_never_arrived_are_given_back(self) -> None:
        client = await self.connect()
        worker = await self.work({"t": print}, queues=["another"])
        await client.submit("t")
        holder = self.find(worker)
        (delivery,) = await self.broker.claim(holder, ["default"])
        worker._registered(
            {"heartbeat_s": 15.0, "leases": [{"task": delivery.id, "lease": delivery.lease}]}
        )
        await self.until(lambda: not holder.leases)
        (view,) = await client.status([delivery.id])
        self.assertEqual((view["state"], view["losses"]), ("pending", 0))

    @flow
    async def test_deliveries_to_a_claim_that_was_withdrawn_are_given_back(self) -> None:
        client = await self.connect()
        worker = await self.work({"t": print})
        await self.until(lambda: len(self.broker.broker.ledger.claims))
        worker.be_quiet()
        task = await client.submit("t")
        await self.until(lambda: not self.find(worker).leases)
        (view,) = await client.status([task])
        self.assertEqual((view["state"], view["attempt"], view["losses"]), ("pending", 1, 0))

    @flow
    async def test_a_lost_lease_ends_the_work_and_nothing_is_reported(self) -> None:
        cancelled: list[Task] = []

        async def hold(task: Task) -> None:
            try:
                await Deferred()
            finally:
                cancelled.append(task)

        client = await self.connect()
        worker = await self.work({"hold": hold})
        task = await client.submit("hold")
        await self.until(lambda: worker.in_hand)
        (token,) = worker._jobs.tokens()
        worker.be_quiet()
        await client.release([(task, token)])
        await worker._beat()
        self.assertTrue(cancelled[0].lease_lost)
        self.assertEqual((worker.in_hand, len(worker._reporter)), (0, 0))

    @flow
    async def test_struck_out_it_registers_anew(self) -> None:
        ran: list[str] = []

        async def mine(task: Task) -> None:
            ran.append(task.id)

        client = await self.connect()
        worker = await self.work({"mine": mine}, queues=["a"])
        worker._heartbeats.stop()  # the next one would register it too
        await self.broker.deregister(worker.worker_id)
        other = await client.submit("other", queue="default")
        await client.submit("mine", queue="a")
        await self.until(lambda: ran)
        (view,) = await client.status([other])
        self.assertEqual((view["state"], view["attempt"]), ("pending", 0))
        self.assertEqual(self.find(worker).info.queues, ("a",))

    @flow
    async def test_a_newer_start_of_the_same_worker(self) -> None:
        await self.work({"t": print}, worker_id="w", incarnation=2)
        late = Worker({"t": print}, self.client(), reactor, worker_id="w", incarnation=1)
        late.startService()
        await self.assertFailure(late.finished, errors.StaleIncarnation)

    def test_what_is_no_worker(self) -> None:
        nan, inf = float("nan"), float("inf")
        for handlers, options, words in (
            ({}, {}, "a worker needs tasks"),
            ({"t": print}, {"concurrency": 0}, "concurrency is 0, expected a whole number"),
            ({"t": print}, {"concurrency": -1}, "concurrency is -1"),
            ({"t": print}, {"concurrency": 1.5}, "concurrency is 1.5"),
            ({"t": print}, {"concurrency": 10_001}, "from 1 to 10000"),
            ({"t": print}, {"prefetch": -1}, "prefetch is -1"),
            ({"t": print}, {"stop_timeout_s": -1}, "stop_timeout_s is -1, expected seconds"),
            ({"t": print}, {"stop_timeout_s": nan}, "stop_timeout_s is nan"),
            ({"t": print}, {"stop_timeout_s": inf}, "stop_timeout_s is inf"),
            ({"t": print}, {"queues": []}, "at least one queue"),
        ):
            client = self.client()
            refused = self.assertRaises(
                errors.BadRequest, Worker, handlers, client, reactor, **options
            )
            self.assertIn(words, str(refused))


class Beating(WorkerCase):
    def setUp(self) -> None:
        self.clock, self.beats = Clock(), 0
        self.lease_s: float | None = None
        self.answer: Deferred[None] | None = None
        self.heartbeats = Heartbeats(self.beat, lambda: self.lease_s, self.clock)

    async def beat_once(self) -> None:
        self.beats += 1
        if self.answer is not None:
            await self.answer

    def beat(self) -> Any:
        return self.beat_once()

    def test_at_once_and_at_the_interval(self) -> None:
        self.heartbeats.start(15)
        self.clock.advance(0)
        self.assertEqual(self.beats, 1)
        self.clock.pump([5, 5, 4.9])
        self.assertEqual(self.beats, 1)
        self.clock.advance(0.2)
        self.assertEqual(self.beats, 2)
        self.heartbeats.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_faster_for_a_short_lease(self) -> None:
        self.heartbeats.start(15)
        self.clock.advance(0)
        self.lease_s = 3
        self.heartbeats.hurry()
        self.clock.pump([1, 1, 1])
        self.assertEqual(self.beats, 4)

    def test_one_at_a_time(self) -> None:
        self.answer = Deferred()
        self.heartbeats.start(1)
        self.clock.pump([0, 1, 1, 1])
        self.assertEqual(self.beats, 1)
        self.answer.callback(None)
        self.clock.advance(1)
        self.assertEqual(self.beats, 2)

    def test_a_failure_is_not_the_end(self) -> None:
        self.answer = Deferred()
        self.heartbeats.start(1)
        self.clock.advance(0)
        self.answer.errback(ValueError("unexpected"))
        self.answer = None
        self.clock.advance(1)
        self.assertEqual(self.beats, 2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
