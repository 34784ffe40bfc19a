"""
dramatiq's own worker processes, as its command runs them.
"""

from __future__ import annotations

import signal
from os import kill

from tests.contrib.programs import FrameworkTestCase
from tests.process.children import until
from tests.process.programs import Program

ACTORS = """
import os
import threading

import dramatiq

from dramatiq.middleware import GroupCallbacks
from dramatiq.results import Results

from taskqueue.contrib.dramatiq import (
    TaskqueueBroker,
    TaskqueueRateLimiterBackend,
    TaskqueueResultBackend,
)

broker = TaskqueueBroker(os.environ["TASKQUEUE_BROKER"], lease_s=2)
here = {"connecting": broker.connecting}
broker.add_middleware(Results(backend=TaskqueueResultBackend(**here)))
broker.add_middleware(GroupCallbacks(TaskqueueRateLimiterBackend(**here)))
dramatiq.set_broker(broker)


def say(*words):
    with open(os.environ["DONE"], "a") as done:
        done.write(" ".join(map(str, words)) + "\\n")


@dramatiq.actor(queue_name=os.environ["NAME"])
def work(n, pause_s=0.0):
    say("begin", n, os.getpid())
    threading.Event().wait(pause_s)
    say("end", n)


@dramatiq.actor(queue_name=os.environ["NAME"], max_retries=1, min_backoff=20, max_backoff=50)
def fail():
    say("fail")
    raise ValueError("no good")


@dramatiq.actor(queue_name=os.environ["NAME"], store_results=True)
def add(a, b):
    return a + b
"""


class WorkerTests(FrameworkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.module("actors", ACTORS)

    def begin(self, processes: int = 1, threads: int = 2) -> Program:
        return self.program(
            *("-m", "dramatiq", "--processes", str(processes), "--threads", str(threads)),
            *("--skip-logging", "actors"),
        )

    def send(self, *calls: str) -> None:
        """Have a program send messages, which knows the actors."""
        self.finished("-c", "\n".join(["from actors import *", *calls]))

    def worker_pids(self) -> list[int]:
        return [w["pid"] for w in self.client.workers() if w["queues"] == [self.name]]

    def test_runs_messages(self) -> None:
        """In two processes, which leave when they are told to, without a loss."""
        worker = self.begin(processes=2)
        until("both are registered", lambda: len(self.worker_pids()) == 2)
        self.send("for n in range(20): work.send(n)")
        self.until_states(completed=20)
        self.assertEqual(
            sorted(line for line in self.lines() if line.startswith("end")),
            sorted(f"end {n}" for n in range(20)),
        )
        worker.end()
        self.assertEqual(self.worker_pids(), [])

    def test_delay_is_not_held_by_a_worker(self) -> None:
        self.begin()
        self.send("work.send_with_options(args=(1,), delay=60_000)", "work.send(2)")
        self.until_done(1, "end 2")
        self.until_states(scheduled=1, completed=1)
        self.client.cancel([task["id"] for task in self.tasks()])

    def test_delay_ends(self) -> None:
        self.begin()
        self.send("work.send_with_options(args=(1,), delay=300)")
        self.until_states(completed=1)

    def test_retries_are_dramatiqs(self) -> None:
        """Each is a task; what fails for good is a dead letter that says why."""
        self.begin()
        self.send("fail.send()")
        self.until_states(completed=1, dead_letter=1)
        self.assertEqual(self.lines(), ["fail", "fail"])
        (task,) = self.tasks(self.name, "dead_letter")
        self.assertTrue(task["error"].startswith("ValueError: no good\nTraceback"), task["error"])
        self.assertEqual(task["type"], "fail")

    def test_pipelines_and_groups(self) -> None:
        """With their results, and what a group calls when all of it has ended."""
        self.begin()
        printed = self.finished(
            "-c",
            "from actors import *\n"
            "line = add.message(1, 2) | add.message(4)\n"
            "print(line.run().get_result(block=True, timeout=20_000))\n"
            "sums = dramatiq.group(add.message(n, n) for n in range(3))\n"
            "sums.add_completion_callback(work.message(7))\n"
            "print(list(sums.run().get_results(block=True, timeout=20_000)))\n",
        )
        self.assertEqual(printed.splitlines()[-2:], ["7", "[0, 2, 4]"])
        self.until_done(1, "end 7")

    def test_unknown_actor_is_a_dead_letter(self) -> None:
        self.begin()
        self.send("broker.enqueue(dramatiq.Message(work.queue_name, 'unknown', (), {}, {}))")
        self.until_states(dead_letter=1)
        (task,) = self.tasks()
        self.assertEqual(task["type"], "unknown")
        self.assertIn("unknown", task["error"])

    def test_long_message_is_delivered_once(self) -> None:
        """Its lease of two seconds is renewed for as long as the worker lives."""
        self.begin()
        self.send("work.send(1, 3.5)")
        self.until_states(completed=1)
        self.assertEqual([line.split()[0] for line in self.lines()], ["begin", "end"])
        (task,) = self.tasks()
        self.assertEqual((task["attempt"], task["losses"]), (1, 0))

    def test_killed_worker_loses_nothing(self) -> None:
        """
        Others get what it had begun, and what it had fetched ahead.  (A command of dramatiq's
        ends where one of its processes does; so there are two.)
        """
        workers = [self.begin(), self.begin()]
        until("both are registered", lambda: len(self.worker_pids()) == 2)
        self.send("for n in range(12): work.send(n, 0.3)")
        killed = int(self.until_done(1, "begin")[0].split()[2])
        kill(killed, signal.SIGKILL)
        self.until_done(12, "end", workers[-1])
        self.until_states(completed=12)
        ended = {line for line in self.lines() if line.startswith("end")}
        self.assertEqual(ended, {f"end {n}" for n in range(12)})
        self.assertGreater(sum(task["losses"] for task in self.tasks()), 0)

    def test_stopped_worker_gives_back_what_it_fetched_ahead(self) -> None:
        worker = self.begin(threads=1)
        self.send("for n in range(3): work.send(n, 0.5)")
        self.until_done(1, "begin 0")
        worker.end()
        self.assertIn("end 0", self.lines())
        states = self.states()
        self.assertEqual(set(states), {"completed", "pending"})
        self.assertEqual([task["losses"] for task in self.tasks()], [0, 0, 0])
