"""The client that waits, with a real broker."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from taskqueue import errors
from taskqueue.client import Client, Report, Search, TaskHandle
from taskqueue.client.blocking import BlockingClient, connect
from taskqueue.core.task import State
from tests.client.broker import BrokerCase, flow
from tests.process.children import environment


def in_thread(test: Callable[[Any], None]) -> Callable[[Any], Deferred[None]]:
    """A test that waits, in a thread, while the reactor runs the broker."""

    @wraps(test)
    def run(self: Any) -> Deferred[None]:
        return deferToThread(test, self)

    return run


class BlockingCase(BrokerCase):
    def waiting(self, **how: Any) -> BlockingClient:
        client = BlockingClient(self.address(), **how)
        self.addCleanup(deferToThread, client.close)
        return client


def complete(client: BlockingClient, count: int, result: bytes = b"") -> None:
    """Run so many tasks."""
    while count:
        deliveries = client.claim(limit=min(500, count), wait_s=5)
        client.report([Report(*d.holding, State.COMPLETED, result) for d in deliveries])
        count -= len(deliveries)


class Talking(BlockingCase):
    @in_thread
    def test_from_submit_to_result(self) -> None:
        with connect(self.address()) as client:
            self.assertTrue(client.connected)
            self.assertEqual(client.broker["version"], 1)
            task = client.submit("send_email", {"to": "a@example.org"}, queue="mail", run_in=0)
            self.assertIsInstance(task, TaskHandle)
            self.assertEqual(task.status()["state"], "pending")
            (delivery,) = client.claim(["mail"], wait_s=5)
            self.assertEqual(delivery.payload, b'{"to":"a@example.org"}')
            client.complete(delivery.holding, b"[1]")
            self.assertEqual(task.result(timeout=5), [1])
            self.assertEqual(client.result(task.id), b"[1]")
            self.assertEqual(client.handle(task.id).result(), [1])
        self.assertRaises(errors.ConnectionLost, client.ping)
        client.close()

    @in_thread
    def test_an_event_loop_awaits_what_was_begun(self) -> None:
        """So a program of both kinds needs one connection."""
        client = self.waiting()

        async def submit() -> list[str]:
            begun = [client.begin(lambda calls: calls.submit("t")) for _ in range(3)]
            return [await asyncio.wrap_future(future) for future in begun]

        submitted = asyncio.run(submit())
        self.assertEqual(len(client.claim(limit=5, wait_s=5)), len(submitted))

    @in_thread
    def test_what_goes_wrong_is_raised(self) -> None:
        client = self.waiting()
        task = client.submit("t")
        self.assertRaises(errors.AnswerTimedOut, task.result, timeout=0.05)
        self.assertEqual(task.cancel(), State.CANCELLED)
        self.assertRaises(errors.TaskFailed, task.result)
        self.assertRaises(errors.Conflict, task.retry)
        self.assertRaises(errors.BadRequest, client.submit, "t", object())
        self.assertRaises(errors.UnknownWorker, client.order_worker, "nobody", "quiet")

    @in_thread
    def test_many(self) -> None:
        client = self.waiting()
        told: list[Any] = []
        progress: list[Any] = []
        thread = threading.get_ident()

        def tasks():
            for number in range(2500):
                assert threading.get_ident() == thread
                yield {"type": "t", "payload": number}

        handles = client.submit_many(tasks(), told.append, on_progress=progress.append)
        self.assertEqual(len(set(handles)), 2500)
        self.assertEqual((len(progress), progress[-1]), (3, (2500, 0)))
        ended: list[Any] = []
        follower = threading.Thread(target=lambda: ended.extend(client.as_completed(handles, 15)))
        follower.start()
        complete(client, 2500)
        follower.join()
        self.assertEqual({outcome.task for outcome in ended}, set(handles))
        done = threading.Event()
        client.watch_queue("last", lambda outcome: done.set())
        client.submit("t", queue="last").cancel()
        self.assertTrue(done.wait(10))
        self.assertEqual(len(told), 2500)
        self.assertEqual(len(list(client.search(Search(queue="default", limit=1000)))), 2500)

    @in_thread
    def test_a_queue_that_is_full(self) -> None:
        client = self.waiting()
        client.set_queue("small", 1)
        small = {"type": "t", "queue": "small"}
        answers = client.submit_many([small] * 2, retry_for_s=0)
        self.assertIsInstance(answers[1], errors.QueueFull)
        answers[0].cancel()
        ended = list(client.as_completed(answers, timeout_s=5))
        self.assertIs(ended[0], answers[1])
        self.assertEqual(ended[1].state, State.CANCELLED)
        # With patience the queue's bound holds nobody up for good.
        worker = threading.Thread(target=self.work, args=[client, "small", 3])
        worker.start()
        answers = client.submit_many([small] * 3)
        worker.join()
        self.assertEqual([view["state"] for view in client.status(answers)], ["completed"] * 3)

    def work(self, client: BlockingClient, queue: str, count: int) -> None:
        for _ in range(count):
            (delivery,) = client.claim([queue], wait_s=10)
            client.complete(delivery.holding)

    @in_thread
    def test_unique_keys(self) -> None:
        client = self.waiting()
        first = client.submit("t", unique="mail:a", unique_for=3600)
        second = client.submit("t", unique="mail:a", unique_for=timedelta(hours=1))
        self.assertEqual((first, first.existing), (second, False))
        self.assertTrue(second.existing)
        told: list[Any] = []
        done = threading.Event()

        def ended(outcome: Any) -> None:
            told.append(outcome.task)
            done.set()

        (third,) = client.submit_many([{"type": "t", "unique": "mail:a"}], ended)
        self.assertEqual(third, first)
        first.cancel()
        self.assertTrue(done.wait(5))
        self.assertEqual(told, [first])
        self.assertNotEqual(client.submit("t", unique="mail:a"), first)

    @in_thread
    def test_not_all_have_ended(self) -> None:
        client = self.waiting()
        some, other = client.submit("t"), client.submit("t")
        some.cancel()
        found = client.as_completed([some, other], timeout_s=0.1)
        self.assertEqual(next(found).task, some)
        error = self.assertRaises(errors.AnswerTimedOut, next, found)
        self.assertIn("1 of 2 tasks", str(error))

    @in_thread
    def test_a_listener_may_use_the_client(self) -> None:
        client = self.waiting()
        seen: list[Any] = []
        done = threading.Event()

        def listener(outcome: Any) -> None:
            seen.append(client.status([outcome.task])[0]["state"])
            done.set()

        def bad(outcome: Any) -> None:
            raise ValueError("a listener that fails")

        client.watch_queue("q", bad)
        client.watch_queue("q", listener)
        client.submit("t", queue="q").cancel()
        self.assertTrue(done.wait(10))
        self.assertEqual(seen, ["cancelled"])

    def tearDown(self) -> None:
        self.flushLoggedErrors(ValueError)

    @in_thread
    def test_threads_share_it(self) -> None:
        client = self.waiting()
        ids: list[str] = []

        def submit() -> None:
            ids.extend(client.submit("t", [1]).id for _ in range(50))

        threads = [threading.Thread(target=submit) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(set(ids)), 400)
        self.assertEqual(client.stats()["connections"], 1)

    @in_thread
    def test_it_cannot_wait_for_itself(self) -> None:
        client = self.waiting()

        async def call(calls: Any) -> None:
            client.ping()

        error = self.assertRaises(errors.BadRequest, client.run, call)
        self.assertIn("its own event loop", str(error))


class Connecting(BlockingCase):
    @flow
    async def test_nobody_there(self) -> None:
        address = self.address()
        await self.broker.stopService()
        before = threading.active_count()
        error = await self.assertFailure(deferToThread(connect, address), errors.CannotConnect)
        self.assertIn(address, str(error))
        self.assertLessEqual(threading.active_count(), before + 1)  # the pool's own

    def test_what_is_no_address(self) -> None:
        self.assertRaises(errors.BadRequest, BlockingClient, "http://host")
        self.assertRaises(errors.BadRequest, BlockingClient, codec="pickle")

    def test_nothing_happens_before_the_first_call(self) -> None:
        before = threading.active_count()
        client = BlockingClient("tq://127.0.0.1:1")
        self.assertFalse(client.connected)
        client.close()
        self.assertEqual(threading.active_count(), before)

    @in_thread
    def test_a_broker_that_is_not_there_is_waited_for(self) -> None:
        with BlockingClient("tq://127.0.0.1:1", timeout_s=0.3) as client:
            error = self.assertRaises(errors.AnswerTimedOut, client.submit, "t")
            self.assertIn("no connection to the broker for 0.3 s: cannot connect", str(error))
            self.assertRaises(errors.AnswerTimedOut, client.submit_many, [{"type": "t"}])


class Processes(BlockingCase):
    def child(self, script: str) -> Deferred[str]:
        return deferToThread(
            lambda: subprocess.run(
                [sys.executable, "-c", script, self.address()],
                capture_output=True,
                check=False,
                env=environment(),
                text=True,
                timeout=15,
            )
        ).addCallback(lambda done: done.stdout + done.stderr)

    @flow
    async def test_no_reactor_is_installed(self) -> None:
        said = await self.child(
            "import sys\n"
            "from taskqueue.client.blocking import connect\n"
            "with connect(sys.argv[1]) as client:\n"
            "    task = client.submit('t', {'a': 1})\n"
            "    client.submit_many([{'type': 't'}])\n"
            "    task.cancel()\n"
            "unwanted = 'twisted.internet.', 'twisted.web'\n"
            "print([m for m in sys.modules if m.startswith(unwanted)])\n"
        )
        self.assertEqual(said, "[]\n")

    @flow
    async def test_who_forgets_to_close_ends_all_the_same(self) -> None:
        said = await self.child(
            "import sys\n"
            "from taskqueue.client.blocking import connect\n"
            "client = connect(sys.argv[1])\n"
            "client.watch_queue('q', print)\n"
            "client.submit('t')\n"
            "close = client.close\n"
            "client.close = lambda: (close(), print('closed'))\n"
            "print('done')\n"
        )
        self.assertEqual(said, "done\nclosed\n")

    @flow
    async def test_who_is_interrupted_waits_no_more(self) -> None:
        """The claim that was interrupted takes no task from those that follow."""
        said = await self.child(
            "import os, signal, sys, threading\n"
            "from taskqueue.client.blocking import connect\n"
            "client = connect(sys.argv[1])\n"
            "client.ping()\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it\n"
            "interrupt = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT])\n"
            "interrupt.start()\n"
            "try:\n"
            "    client.claim(wait_s=30)\n"
            "except KeyboardInterrupt:\n"
            "    client.submit('t')\n"
            "    print(len(client.claim(wait_s=5)))\n"
        )
        self.assertEqual(said, "1\n")

    @flow
    async def test_a_forked_process_has_a_connection_of_its_own(self) -> None:
        """
        The child of a fork submits and waits with what it inherited; neither that nor
        its end touches the parent's connection, on which an answer is waited for.
        """
        said = await self.child(
            "import os, sys, threading, warnings\n"
            "warnings.simplefilter('ignore', DeprecationWarning)\n"
            "from taskqueue.client.blocking import connect\n"
            "client = connect(sys.argv[1])\n"
            "task = client.submit('t', queue='mine')\n"
            "claimed = []\n"
            "waiter = threading.Thread(\n"
            "    target=lambda: claimed.extend(client.claim(['child'], wait_s=10)))\n"
            "waiter.start()\n"
            "client.ping()\n"
            "pid = os.fork()\n"
            "if not pid:\n"
            "    other = client.submit('t', [2], queue='child')\n"
            "    state = task.cancel()\n"
            "    ok = state.word == 'cancelled' and client.stats()['connections'] == 2\n"
            "    client.close()\n"
            "    os._exit(0 if ok else 1)\n"
            "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
            "waiter.join()\n"
            "print([d.payload for d in claimed], task.status()['state'])\n"
            "print(client.stats()['connections'])\n"
        )
        self.assertEqual(said, "0\n[b'[2]'] cancelled\n1\n")

    @flow
    async def test_a_forked_process_does_not_keep_its_parents_connection(self) -> None:
        """What the parent closes is closed, whatever the child has inherited."""
        said = await self.child(
            "import os, sys, warnings\n"
            "warnings.simplefilter('ignore', DeprecationWarning)\n"
            "from taskqueue.client.blocking import connect\n"
            "from tests.process.children import until\n"
            "client = connect(sys.argv[1])\n"
            "reader, writer = os.pipe()\n"
            "if not os.fork():\n"
            "    os.close(writer)\n"
            "    os.read(reader, 1)\n"
            "    os._exit(0)\n"
            "client.close()\n"
            "other = connect(sys.argv[1])\n"
            "until('it is closed', lambda: other.stats()['connections'] == 1, 5)\n"
            "print('closed')\n"
        )
        self.assertEqual(said, "closed\n")


class Faces(SynchronousTestCase):
    def test_all_that_can_be_asked_can_be_asked_here(self) -> None:
        names = {name for name in vars(Client) if not name.startswith("_")}
        self.assertEqual(names - {"ready"} - set(vars(BlockingClient)), set())
        self.assertIn("Submit one task", BlockingClient.submit.__doc__)

    def test_one_that_is_not_used_any_more_goes(self) -> None:
        from taskqueue.client import lifetimes

        client = BlockingClient()
        self.assertIn(client, lifetimes._here)
        before = len(lifetimes._here)
        del client
        gc.collect()
        self.assertLess(len(lifetimes._here), before)
