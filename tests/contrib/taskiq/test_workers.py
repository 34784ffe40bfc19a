"""
taskiq's own worker processes, as its command runs them.
"""

from __future__ import annotations

import os
import signal

from tests.contrib.programs import FrameworkTestCase, begin_broker
from tests.process.children import until
from tests.process.programs import Program

TASKS = """
import asyncio
import os
import threading

from taskiq import Context, TaskiqDepends
from taskiq.depends.progress_tracker import ProgressTracker

from taskqueue.contrib.taskiq import TaskqueueBroker, TaskqueueResultBackend

address = os.environ["TASKQUEUE_BROKER"]
broker = TaskqueueBroker(address, queue=os.environ["NAME"], lease_s=2).with_result_backend(
    TaskqueueResultBackend(address, namespace=os.environ["NAME"])
)


def say(*words):
    with open(os.environ["DONE"], "a") as done:
        done.write(" ".join(map(str, words)) + "\\n")


@broker.task("work")
async def work(n: int, pause_s: float = 0.0) -> int:
    say("begin", n, os.getpid())
    await asyncio.sleep(pause_s)
    say("end", n)
    return n


@broker.task("in_a_thread")
def in_a_thread(pause_s: float) -> None:
    threading.Event().wait(pause_s)


@broker.task("holding_up")
async def holding_up(pause_s: float) -> None:
    threading.Event().wait(pause_s)


@broker.task("fail")
async def fail() -> None:
    raise ValueError("no good")


@broker.task("at_once", ack_type="when_received")
async def at_once() -> None:
    say("begin")
    await asyncio.sleep(60)


@broker.task("by_hand", ack_type="manual")
async def by_hand(really: bool, context: Context = TaskiqDepends()) -> None:
    if really:
        await context.ack()
    say("end")


@broker.task("steps")
async def steps(progress: ProgressTracker[int] = TaskiqDepends()) -> None:
    await progress.set_progress("half", 1)
    say("half")
    await asyncio.sleep(60)
"""


class WorkerTests(FrameworkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.module("tasks", TASKS)

    def begin(self, processes: int = 1, *more: str) -> Program:
        program = self.program(
            *("-m", "taskiq", "worker", "tasks:broker", "--workers", str(processes)),
            *("--max-async-tasks", "2", "--log-level", "WARNING", *more),
        )
        until("all are registered", lambda: len(self.worker_pids()) == processes)
        return program

    def worker_pids(self) -> list[int]:
        return [w["pid"] for w in self.client.workers() if w["queues"] == [self.name]]

    def send(self, *lines: str) -> str:
        """Have a program send tasks; what it prints."""
        body = "\n".join(f"    {line}" for line in lines)
        return self.finished(
            "-c",
            "import asyncio\nfrom tasks import *\n"
            f"async def main():\n    await broker.startup()\n{body}\n    await broker.shutdown()\n"
            "asyncio.run(main())",
        )

    def test_runs_tasks(self) -> None:
        """In two processes, which leave when they are told to, without a loss."""
        worker = self.begin(2)
        printed = self.send(
            "sent = [await work.kiq(n) for n in range(20)]",
            "results = [await task.wait_result(0.01, timeout=20) for task in sent]",
            "print([result.return_value for result in results])",
        )
        self.assertIn(str(list(range(20))), printed)
        self.until_states(completed=20)
        worker.end()
        self.assertEqual(self.worker_pids(), [])

    def test_failure_is_a_result(self) -> None:
        self.begin()
        printed = self.send(
            "result = await (await fail.kiq()).wait_result(0.01, timeout=20)",
            "print(result.is_err, repr(result.error))",
        )
        self.assertIn("True ValueError('no good')", printed)
        self.until_states(completed=1)

    def test_delay_is_not_held_by_a_worker(self) -> None:
        self.begin()
        self.send(
            "await work.kicker().with_labels(delay=60).kiq(1)",
            "await work.kicker().with_labels(delay=0.3).kiq(2)",
        )
        self.until_done(1, "end 2")
        self.until_states(scheduled=1, completed=1)

    def test_long_tasks_are_delivered_once(self) -> None:
        """Their leases of two seconds are renewed for as long as the worker lives."""
        self.begin()
        self.send("await work.kiq(1, 3.5)", "await in_a_thread.kiq(3.5)")
        self.until_states(completed=2)
        self.assertEqual([(t["attempt"], t["losses"]) for t in self.tasks()], [(1, 0), (1, 0)])

    def test_task_that_holds_up_the_event_loop_is_delivered_once(self) -> None:
        """As one does that computes, or waits as if it were in a thread."""
        self.begin()
        self.send("await holding_up.kiq(3.5)")
        self.until_states(completed=1)
        self.assertEqual([(t["attempt"], t["losses"]) for t in self.tasks()], [(1, 0)])

    def test_waits_for_a_broker_that_is_away(self) -> None:
        first = begin_broker(self.folder, "tcp:0:interface=127.0.0.1")
        port = first.port()
        first.end(signal.SIGKILL)
        self.address = f"tq://127.0.0.1:{port}"
        worker = self.program("-m", "taskiq", "worker", "tasks:broker", "--workers", "1")
        until("it says so", lambda: f"no broker at {self.address} yet" in worker.log)
        broker = begin_broker(self.folder, f"tcp:{port}:interface=127.0.0.1")
        self.addCleanup(broker.reap)
        broker.port()
        self.assertIn("3", self.send("print(await (await work.kiq(3)).wait_result(timeout=20))"))

    def test_killed_worker_loses_nothing(self) -> None:
        """The other process gets what it had begun, and what it had fetched ahead."""
        self.begin(2, "--max-prefetch", "2")
        self.send("for n in range(12): await work.kiq(n, 0.3)")
        killed = int(self.until_done(1, "begin")[0].split()[2])
        os.kill(killed, signal.SIGKILL)
        self.until_done(12, "end")
        self.until_states(completed=12)
        ended = {line for line in self.lines() if line.startswith("end")}
        self.assertEqual(ended, {f"end {n}" for n in range(12)})
        self.assertGreater(sum(task["losses"] for task in self.tasks()), 0)

    def test_has_no_more_than_it_may(self) -> None:
        """As many as run at a time, and as many as may be fetched ahead."""
        self.begin(1, "--max-prefetch", "1")
        self.send("for n in range(6): await work.kiq(n, 60)")
        self.until_states(in_progress=3, pending=3)

    def test_acknowledged_when_received(self) -> None:
        self.begin()
        self.send("await at_once.kiq()")
        self.until_done(1, "begin")
        self.until_states(completed=1)

    def test_acknowledged_by_hand(self) -> None:
        """What never is, is the next worker's."""
        worker = self.begin()
        self.send("await by_hand.kiq(True)", "await by_hand.kiq(False)")
        self.until_done(2, "end")
        self.until_states(completed=1, in_progress=1)
        worker.end()
        self.until_states(completed=1, pending=1)

    def test_progress(self) -> None:
        self.begin()
        printed = self.send(
            "task = await steps.kiq()",
            "while not (progress := await task.get_progress()): await asyncio.sleep(0.01)",
            "print(progress.state, progress.meta)",
        )
        self.assertIn("half 1", printed)
