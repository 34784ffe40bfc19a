"""
huey's own consumer, as its command runs it.
"""

from __future__ import annotations

import os
import signal

from taskqueue.contrib.huey import TaskqueueHuey
from tests.contrib.programs import FrameworkTestCase
from tests.process.children import until
from tests.process.programs import Program

TASKS = """
import os
import threading

from huey import crontab

from taskqueue.contrib.huey import TaskqueueHuey

huey = TaskqueueHuey(
    os.environ["NAME"], address=os.environ["TASKQUEUE_BROKER"], lease_s=2, read_timeout=0.2
)


def say(*words):
    with open(os.environ["DONE"], "a") as done:
        done.write(" ".join(map(str, words)) + "\\n")


@huey.task()
def work(n, pause_s=0.0):
    say("begin", n, os.getpid())
    threading.Event().wait(pause_s)
    say("end", n)
    return n


@huey.task(retries=1)
def fail():
    say("fail")
    raise ValueError("no good")


@huey.task(retries=1, retry_delay=1)
def fail_later():
    say("fail")
    raise ValueError("no good")


@huey.task()
@huey.lock_task("only one")
def alone():
    say("alone")
    return True


@huey.task(retries=0)
def unwritable():
    say("unwritable")
    return threading.Lock()
"""


class ConsumerTests(FrameworkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.module("tasks", TASKS)

    def begin(self, *more: str) -> Program:
        program = self.program(
            *("-m", "huey.bin.huey_consumer", "tasks.huey", "--quiet", *more),
        )
        until("it is registered", self.worker_pids)
        return program

    def worker_pids(self) -> list[int]:
        return [w["pid"] for w in self.client.workers() if w["queues"] == [self.name]]

    def send(self, *lines: str) -> str:
        """Have a program enqueue tasks; what it prints."""
        return self.finished("-c", "\n".join(["from tasks import *", *lines]))

    def test_runs_tasks(self) -> None:
        """And is told to stop without a loss."""
        consumer = self.begin("-w", "2")
        printed = self.send(
            "results = [work(n) for n in range(20)]",
            "print([result.get(blocking=True, timeout=20) for result in results])",
        )
        self.assertIn(str(list(range(20))), printed)
        self.until_states(completed=20)
        self.assertEqual({task["type"] for task in self.tasks()}, {"tasks.work"})
        consumer.end(signal.SIGINT)
        self.assertEqual(sum(task["losses"] for task in self.tasks()), 0)

    def test_processes(self) -> None:
        """They are forked, and each is a worker of its own."""
        self.begin("-w", "2", "-k", "process")
        until("both are registered", lambda: len(self.worker_pids()) == 2)
        self.send("for n in range(8): work(n, 0.1)")
        self.until_states(completed=8)
        self.assertEqual(len({line.split()[2] for line in self.lines() if "begin" in line}), 2)

    def test_killed_process_loses_nothing(self) -> None:
        """What it was at is another one's, when the broker has given up on it."""
        self.begin("-w", "2", "-k", "process")
        until("both are registered", lambda: len(self.worker_pids()) == 2)
        self.send("for n in range(8): work(n, 0.5)")
        killed = int(self.until_done(1, "begin")[0].split()[2])
        os.kill(killed, signal.SIGKILL)
        self.until_done(8, "end")
        self.until_states(completed=8)
        ended = {line for line in self.lines() if line.startswith("end")}
        self.assertEqual(ended, {f"end {n}" for n in range(8)})
        self.assertEqual(sum(task["losses"] for task in self.tasks()), 1)

    def test_killed_consumer_loses_nothing(self) -> None:
        consumer = self.begin("-w", "1")
        self.send("work(1, 60)")
        self.until_done(1, "begin")
        consumer.kill()
        self.until_states(pending=1)

    def test_interrupted_task_is_given_back(self) -> None:
        """A consumer that is told to stop at once spends nothing."""
        for kind in ("thread", "process"):
            consumer = self.begin("-w", "1", "-k", kind)
            self.send("work(1, 60)")
            self.until_states(in_progress=1)
            consumer.end(signal.SIGTERM)
            self.until_states(pending=1)
            (task,) = self.tasks(self.name, "pending")
            self.assertEqual(task["losses"], 0, kind)
            self.client.cancel([task["id"]])
            self.client.delete([task["id"]])

    def test_long_task_is_delivered_once(self) -> None:
        """Its lease of two seconds is renewed for as long as the worker lives."""
        self.begin("-w", "1")
        self.send("work(1, 3.5)")
        self.until_states(completed=1)
        (task,) = self.tasks()
        self.assertEqual((task["attempt"], task["losses"]), (1, 0))

    def test_retries_are_hueys(self) -> None:
        """Each is a task of its own, at once or after a while at the broker."""
        self.begin()
        self.send("fail()", "fail_later()")
        self.until_states(completed=4)
        self.assertEqual(self.lines(), ["fail"] * 4)

    def test_delay_is_not_held_by_a_worker(self) -> None:
        self.begin()
        self.send("work.schedule(args=(1,), delay=60)", "work.schedule(args=(2,), delay=1)")
        self.until_done(1, "end 2")
        self.until_states(scheduled=1, completed=1)

    def test_priority_of_what_is_delayed(self) -> None:
        self.send("work.schedule(args=(1,), delay=60, priority=7)")
        (task,) = self.tasks()
        self.assertEqual(task["priority"], 157)

    def test_revoked_is_not_run(self) -> None:
        self.send("result = work(1)", "result.revoke()", "work(2)")
        self.begin()
        self.until_states(completed=2)
        self.assertEqual([line for line in self.lines() if "end" in line], ["end 2"])

    def test_locks(self) -> None:
        self.begin()
        printed = self.send(
            "from huey.exceptions import TaskException",
            "with huey.lock_task('only one'):",
            "    try: alone()(blocking=True, timeout=20)",
            "    except TaskException as error: print(error)",
        )
        self.assertIn("unable to acquire lock only one", printed)
        self.assertEqual(self.lines(), [])
        self.send("print(alone()(blocking=True, timeout=20))")
        self.assertEqual(self.lines(), ["alone"])

    def test_result_that_cannot_be_written(self) -> None:
        """It is a dead letter that says why, and is not begun again and again."""
        self.begin()
        self.send("unwritable()")
        self.until_states(dead_letter=1)
        (task,) = self.tasks()
        self.assertIn("cannot pickle", task["error"].splitlines()[0])
        self.assertEqual(self.lines(), ["unwritable"])

    def test_unknown_task_is_a_dead_letter(self) -> None:
        """Where huey's own storages would have lost it."""
        self.begin()
        other = TaskqueueHuey(self.name, address=self.address)
        self.addCleanup(other.storage.close)
        other.task(name="unknown")(lambda: None)()
        self.until_states(dead_letter=1)
        (task,) = self.tasks()
        self.assertIn("unknown", task["error"])

    def test_immediate(self) -> None:
        """Nothing is asked of a broker, which need not be there."""
        immediate = TaskqueueHuey(self.name, address="tq://127.0.0.1:1", immediate=True)
        task = immediate.task()(lambda n: n + 1)
        self.assertEqual(task(1).get(), 2)
