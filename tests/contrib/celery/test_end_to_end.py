"""
A real application of Celery's, with real workers: nothing here stands for anything.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from celery import chain, chord, group
from celery.exceptions import ChordError, TaskRevokedError
from celery.exceptions import TimeoutError as ResultTimedOut
from celery.result import AsyncResult
from kombu import Queue

from tests.contrib.celery.proj import make
from tests.contrib.programs import FrameworkTestCase, begin_broker
from tests.process.children import ROOT, until
from tests.process.programs import Program

#: How long a result may take, seconds.
PATIENCE_S = 20.0


def url_of(address: str) -> str:
    return address.replace("tq://", "taskqueue://")


class CeleryTestCase(FrameworkTestCase):
    """Has an application to call tasks with, in this process."""

    timeout = 90

    def setUp(self) -> None:
        super().setUp()
        self.app = self.application(self.name)

    def application(self, queue: str, address: str | None = None) -> Any:
        app = make(url_of(address or self.address), queue)
        self.addCleanup(app.close)
        return app

    def call(self, task: str, *args: Any, **options: Any) -> AsyncResult:
        return self.app.tasks[f"proj.{task}"].apply_async(args, **options)

    def s(self, task: str, *args: Any) -> Any:
        return self.app.tasks[f"proj.{task}"].s(*args)

    def get(self, result: Any) -> Any:
        return result.get(timeout=PATIENCE_S)

    def worker(self, *arguments: str, **variables: str) -> Program:
        program = self.program(
            *("-m", "celery", "-A", "tests.contrib.celery.proj", "worker", "-l", "INFO"),
            *("-n", f"{self.name}@test", *arguments),
            PYTHONPATH=str(ROOT),
            **variables,
        )
        until("a worker is ready", lambda: "ready." in program.log or self.ended(program))
        return program

    def ended(self, program: Program) -> bool:
        if program.process.poll() is not None:
            raise AssertionError(f"the worker ended:\n{program.log}")
        return False


class ResultsAsMessages(CeleryTestCase):
    """Celery's own backend of replies, over the transport."""

    def test_rpc(self) -> None:
        self.app = make(url_of(self.address), self.name, "rpc://")
        self.addCleanup(self.app.close)
        self.worker("-c", "1", BACKEND="rpc://")
        result = self.call("add", 1, 2)
        self.assertEqual((self.get(result), result.state), (3, "SUCCESS"))
        self.assertRaises(KeyError, self.get, self.call("fails"))
        calls = group(self.s("add", n, n) for n in range(5))
        self.assertEqual(self.get(calls.apply_async()), [0, 2, 4, 6, 8])
        kept = [queue["name"] for queue in self.client.queues()]
        self.assertIn(self.app.thread_oid, kept)


class SharedWorker(CeleryTestCase):
    """A worker for all tests that harm none; it ends with this process."""

    def runTest(self) -> None:
        """It is no test by itself."""

    @classmethod
    @cache
    def one(cls) -> SharedWorker:
        """The same for all."""
        import atexit

        shared = cls()
        shared.setUp()
        shared.begun = shared.worker("-c", "2", "-B", "-s", str(shared.folder / "beat"))
        atexit.register(shared.doCleanups)
        return shared

    begun: Program


class Sharing(CeleryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.shared = SharedWorker.one()
        self.app = self.application(self.shared.name)
        self.done = self.shared.done
        self.worker_name = f"{self.shared.name}@test"

    def inspect(self, **how: Any) -> Any:
        return self.app.control.inspect(timeout=PATIENCE_S, limit=1, **how)


class Canvas(Sharing):
    def test_a_result(self) -> None:
        self.assertEqual(self.get(self.call("add", 1, 2)), 3)

    def test_an_exception(self) -> None:
        error = self.assertRaises(KeyError, self.get, self.call("fails"))
        self.assertEqual(error.args, ("of the test",))

    def test_chain(self) -> None:
        self.assertEqual(self.get(chain(self.s("add", 1, 2), self.s("add", 3))()), 6)

    def test_group(self) -> None:
        calls = group(self.s("add", n, n) for n in range(20))
        self.assertEqual(self.get(calls.apply_async()), [2 * n for n in range(20)])

    def test_chord(self) -> None:
        calls = chord((self.s("add", n, n) for n in range(20)), self.s("total"))
        self.assertEqual(self.get(calls()), sum(2 * n for n in range(20)))

    def test_chord_whose_header_fails(self) -> None:
        result = chord([self.s("add", 1, 1), self.s("fails")], self.s("total"))()
        self.assertRaises(KeyError, self.get, result)
        self.assertRaises(ChordError, self.get, self.app.AsyncResult(result.id))

    def test_group_of_chains_within_a_chord(self) -> None:
        header = [chain(self.s("add", n, 1), self.s("add", 1)) for n in range(3)]
        self.assertEqual(self.get(chord(header, self.s("total"))()), 2 + 3 + 4)

    def test_retry(self) -> None:
        """Each try is a message with the same id, and none is taken for another."""
        self.assertEqual(self.get(self.call("flaky", 2)), 2)

    def test_forgets_a_result(self) -> None:
        result = self.call("add", 1, 2)
        self.get(result)
        result.forget()
        self.assertEqual(self.app.AsyncResult(result.id).state, "PENDING")

    def test_waits_no_longer_than_it_is_told(self) -> None:
        result = self.app.AsyncResult("of-nothing")
        before = time.monotonic()
        self.assertRaises(ResultTimedOut, result.get, timeout=0.2)
        self.assertLess(time.monotonic() - before, 0.9)

    def test_is_woken_when_the_result_is_there(self) -> None:
        """And does not ask again and again: it came at once in every case."""
        took = []
        for _ in range(5):
            result = self.call("add", 1, 1)
            before = time.monotonic()
            self.get(result)
            took.append(time.monotonic() - before)
        self.assertLess(min(took), 0.2)

    def test_a_task_that_another_client_submits(self) -> None:
        task = self.client.submit(
            "proj.told", [["native"], {}, {}], queue=self.shared.name, codec="json"
        )
        self.assertIn("end native", self.until_done(1, "end native"))
        self.assertEqual(self.get(self.app.AsyncResult(str(task))), "native")


class Time(Sharing):
    def test_an_eta_is_kept_at_the_broker(self) -> None:
        before = time.time()
        result = self.call("told", "later", countdown=1.5)
        (waiting,) = [
            task
            for task in self.tasks(self.shared.name, "scheduled")
            if task["headers"].get("celery-id") == result.id
        ]
        self.assertEqual(waiting["type"], "proj.told")
        self.assertNotIn(result.id, str(self.inspect().scheduled()))
        self.assertNotIn(result.id, str(self.inspect().reserved()))
        self.get(result)
        self.assertGreaterEqual(time.time() - before, 1.5)

    def test_an_eta_in_the_past_is_run_at_once(self) -> None:
        self.assertEqual(self.get(self.call("add", 1, 1, countdown=-10)), 2)

    def test_an_eta_of_an_hour_is_not_delivered_past_the_visibility(self) -> None:
        """Which is 2 s here: what a worker held so long would have come again."""
        result = self.call("told", "in-an-hour", countdown=3600)
        self.assertRaises(ResultTimedOut, result.get, timeout=3)
        (task,) = [
            task
            for task in self.tasks(self.shared.name, "scheduled")
            if task["headers"].get("celery-id") == result.id
        ]
        self.assertEqual((task["attempt"], task["losses"]), (0, 0))
        self.client.cancel([task["id"]])

    def test_runs_longer_than_the_visibility(self) -> None:
        """The worker lives, so its leases do."""
        self.get(self.call("told", "long", 4.0))
        begun = [line for line in self.lines() if line.startswith("begin long")]
        self.assertEqual(len(begun), 1)

    def test_beat(self) -> None:
        self.until_done(2, "end tick")

    def test_rate_limit(self) -> None:
        moments = [self.get(result) for result in [self.call("limited") for _ in range(5)]]
        self.assertGreater(max(moments) - min(moments), 0.7)


class Control(Sharing):
    def test_ping_and_inspect(self) -> None:
        self.assertEqual(self.inspect().ping(), {self.worker_name: {"ok": "pong"}})
        (registered,) = self.inspect().registered().values()
        self.assertIn("proj.add", str(registered))
        (stats,) = self.inspect().stats().values()
        self.assertEqual(stats["broker"]["transport"], "taskqueue")
        (queues,) = self.inspect().active_queues().values()
        self.assertEqual([queue["name"] for queue in queues], [self.shared.name])

    def test_what_the_command_says(self) -> None:
        """From a process of its own, as people ask."""
        said = self.finished(
            *("-m", "celery", "-A", "tests.contrib.celery.proj", "status", "--timeout", "5"),
            PYTHONPATH=str(ROOT),
        )
        self.assertIn(f"{self.worker_name}: OK", said)

    def test_revokes_what_waits(self) -> None:
        result = self.call("told", "never", countdown=1.0)
        self.app.control.revoke(result.id, reply=True, timeout=PATIENCE_S, limit=1)
        self.assertRaises(TaskRevokedError, self.get, result)
        self.assertNotIn("begin never", "\n".join(self.lines()))

    def test_terminates_what_runs(self) -> None:
        result = self.call("slow", "terminated")
        self.until_done(1, "slow terminated")
        result.revoke(terminate=True, signal="SIGKILL")
        self.assertRaises(TaskRevokedError, self.get, result)

    def test_consumes_from_another_queue(self) -> None:
        control = self.app.control
        how = {"reply": True, "timeout": PATIENCE_S, "limit": 1}
        result = self.call("add", 2, 3, queue=Queue(self.name, routing_key=self.name))
        control.add_consumer(self.name, **how)
        self.assertEqual(self.get(result), 5)
        control.cancel_consumer(self.name, **how)
        result = self.call("add", 2, 3, queue=Queue(self.name, routing_key=self.name))
        self.assertRaises(ResultTimedOut, result.get, timeout=0.5)

    def test_events(self) -> None:
        seen: list[dict[str, Any]] = []
        wanted = {"task-sent", "task-received", "task-started", "task-succeeded"}
        with self.app.connection_for_read() as own:
            receiver = self.app.events.Receiver(own, handlers={"*": seen.append})
            with receiver.consumer_context(wakeup=False) as (connection, _, _):
                result = self.call("add", 1, 1)
                self.get(result)

                def told() -> bool:
                    with contextlib.suppress(TimeoutError):
                        connection.drain_events(timeout=0.1)
                    return wanted <= {one["type"] for one in seen if one.get("uuid") == result.id}

                until("all events of a task are seen", told)


class Order(CeleryTestCase):
    def test_priorities(self) -> None:
        for priority in (0, 9, 3, 6, 9):
            self.call("told", f"p{priority}", priority=priority)
        self.worker("-c", "1", PREFETCH="1")
        lines = self.until_done(5, "end p")
        ended = [line.split()[1] for line in lines if line.startswith("end p")]
        self.assertEqual(ended, ["p9", "p9", "p6", "p3", "p0"])


class Killed(CeleryTestCase):
    """With C{acks_late}, as it is written of in the how-to: nothing is lost."""

    def test_a_child(self) -> None:
        self.worker("-c", "1", LATE="1")
        result = self.call("dies", "child")
        first = self.until_done(1, "dies child")[0].split()
        os.kill(int(first[2]), signal.SIGKILL)
        self.assertEqual(self.get(result), "child")
        runs = [line.split()[3] for line in self.lines() if line.startswith("dies")]
        self.assertEqual(runs, ["False", "True"])

    def test_the_whole_worker(self) -> None:
        worker = self.worker("-c", "2", LATE="1")
        dying = self.call("dies", "whole")
        results = [self.call("told", f"n{number}", 0.05) for number in range(20)]
        self.until_done(3, "begin n", worker)
        worker.kill()
        self.worker("-c", "2", LATE="1")
        self.assertEqual([self.get(one) for one in results], [f"n{n}" for n in range(20)])
        self.assertEqual(self.get(dying), "whole")
        self.until_states(completed=21)

    def test_a_worker_that_is_told_to_stop(self) -> None:
        """What it has begun it ends; what it has not is another's at once, and no loss."""
        worker = self.worker("-c", "1", LATE="1")
        results = [self.call("told", f"n{number}", 0.3) for number in range(4)]
        self.until_done(1, "begin n0", worker)
        worker.end()
        self.until_states(completed=1, pending=3)
        self.assertEqual({task["losses"] for task in self.tasks()}, {0})
        self.worker("-c", "1", LATE="1")
        self.assertEqual([self.get(one) for one in results], ["n0", "n1", "n2", "n3"])


class Restarted(CeleryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.address, self.port = "", 0
        self.broker_folder = Path(tempfile.mkdtemp(prefix="taskqueue-test-"))
        self.addCleanup(shutil.rmtree, self.broker_folder, ignore_errors=True)
        self.begin()
        self.app = self.application(self.name)

    def begin(self) -> None:
        listen = f"tcp:{self.port}:interface=127.0.0.1"
        self.broker = begin_broker(
            self.broker_folder, listen, "--set", "workers.reconnect_grace_s=10"
        )
        self.addCleanup(self.broker.reap)
        self.port = self.broker.port()
        self.address = f"tq://127.0.0.1:{self.port}"

    def test_a_broker_that_is_killed_under_a_running_worker(self) -> None:
        worker = self.worker("-c", "1", LATE="1")
        before = self.get(self.call("told", "before"))
        running = self.call("slow", "across")
        waiting = self.call("told", "after", countdown=1)
        self.until_done(1, "slow across", worker)
        self.broker.end(signal.SIGKILL)
        self.begin()
        (self.folder / "across").touch()
        self.assertIsNone(self.get(running))
        self.assertEqual(self.get(waiting), "after")
        self.assertEqual(before, "before")
        # What ran meanwhile ran once: its worker came back in time.
        self.assertEqual(sum(line == "slow across" for line in self.lines()), 1)
        self.assertIn(self.name, str(self.app.control.inspect(timeout=5, limit=1).ping()))
        self.until_states(completed=3)
