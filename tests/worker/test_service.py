"""What a worker is made of, and what it says of its processes."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.app.application import App
from taskqueue.client import Client
from taskqueue.errors import BadRequest
from taskqueue.worker import Worker, WorkerService
from taskqueue.worker.executors.processes import Processes
from taskqueue.worker.executors.threads import Threads
from taskqueue.worker.vitals import Process
from taskqueue.worker.work import load_tasks, works_of

app = App()
NAMED = f"{__name__}:app"


@app.task(timeout=3)
def plain() -> None:
    """Does nothing."""


@app.task
async def coroutine() -> None:
    """Does nothing."""


class Making(SynchronousTestCase):
    def make(self, tasks: object = NAMED, **how: object) -> WorkerService:
        return WorkerService(tasks, "tq://127.0.0.1:1", Clock(), **how)

    def test_processes_are_the_default(self) -> None:
        worker = self.make(concurrency=3, queues=["a"], prefetch=2, stop_timeout_s=4)
        self.assertIsInstance(worker._jobs._pool, Processes)
        self.assertEqual(worker.types, ["coroutine", "plain"])
        self.assertEqual((worker.concurrency, worker.queues), (3, ["a"]))
        self.assertEqual((worker.prefetch, worker.stop_timeout_s), (2, 4))

    def test_threads_take_the_application_itself(self) -> None:
        worker = self.make(app, executor="threads")
        self.assertIsInstance(worker._jobs._pool, Threads)

    def test_a_client_of_ones_own(self) -> None:
        client = Client("tq://127.0.0.1:1", Clock())
        self.assertIs(WorkerService(NAMED, client, Clock()).client, client)

    def test_only_the_executors_that_are_needed(self) -> None:
        worker = self.make({"plain": plain}, executor="threads")
        self.assertEqual(worker._jobs.executors, [worker._jobs._pool])
        worker = self.make({"coroutine": coroutine}, executor="threads")
        self.assertEqual(worker._jobs.executors, [worker._jobs._loop])

    def test_what_cannot_be(self) -> None:
        for tasks, how in (
            (app, {}),
            (NAMED, {"executor": "fibers"}),
            (NAMED, {"executor": "threads", "recycle_after": 3}),
            (NAMED, {"prefetch": -1}),
            (NAMED, {"recycle_after": 0}),
            (NAMED, {"recycle_mb": 0}),
            (NAMED, {"recycle_mb": float("nan")}),
            (NAMED, {"recycle_mb": float("inf")}),
            (App(), {"executor": "threads"}),
            ("nowhere_to_be_found:app", {}),
        ):
            self.assertRaises(BadRequest, self.make, tasks, **how)

    def test_names_of_tasks(self) -> None:
        self.assertIs(load_tasks(NAMED), app)
        for named, words in (
            ("app", "write MODULE:NAME"),
            (f"{__name__}:nothing", "has no nothing"),
            ("nowhere_to_be_found:app", "No module named"),
        ):
            self.assertIn(words, str(self.assertRaises(BadRequest, load_tasks, named)))

    def test_time_outs(self) -> None:
        work = works_of(app)["plain"]
        self.assertEqual(work.timeout_for({}), 3)
        self.assertEqual(work.timeout_for({"timeout_s": "0.5"}), 0.5)


class Vitals(SynchronousTestCase):
    def test_children_count(self) -> None:
        child = subprocess.Popen(
            [sys.executable, "-c", "print(flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.addCleanup(child.communicate)
        assert child.stdout is not None
        child.stdout.readline()  # it is Python by now, not a copy that has yet to become it
        process = Process()
        alone = process.vitals().rss_bytes
        self.assertGreater(process.vitals([child.pid]).rss_bytes, alone + 100_000)
        self.assertEqual(list(process._children), [child.pid])

    def test_a_child_that_is_gone(self) -> None:
        child = subprocess.Popen([sys.executable, "-c", ""])
        child.wait()
        process = Process()
        self.assertGreater(process.vitals([child.pid, os.getpid()]).rss_bytes, 0)
        self.assertNotIn(child.pid, process._children)


class Defaults(SynchronousTestCase):
    def test_a_minute_to_stop(self) -> None:
        worker = Worker({"t": print}, Client("tq://127.0.0.1:1", Clock()), Clock())
        self.assertEqual(worker.stop_timeout_s, 60)
