"""Tasks in real child processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import psutil
from twisted.logger import globalLogPublisher

from taskqueue.errors import BadRequest
from taskqueue.worker.pipes import CONTROL_FD, Kind, encode
from tests.client.broker import flow
from tests.process.children import until
from tests.worker.executors.deliveries import ROOT, TASKS, ChildrenCase, delivery


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Running(ChildrenCase):
    @flow
    async def test_results_and_failures(self) -> None:
        pool = await self.start()
        verdict = await pool.run(delivery("add", 1, 2))
        self.assertEqual((verdict.status, verdict.result), ("completed", b"3"))
        verdict = await pool.run(delivery("fail"))
        self.assertEqual((verdict.status, verdict.permanent), ("failed", False))
        self.assertIn("ValueError: broken", verdict.error.splitlines()[0])
        self.assertIn("tasks.py", verdict.error)
        self.assertNotIn("child.py", verdict.error)
        verdict = await pool.run(delivery("add", 1))
        self.assertEqual((verdict.status, verdict.permanent), ("failed", True))
        verdict = await pool.run(delivery("snooze"))
        self.assertEqual((verdict.status, verdict.delay_s), ("released", 7.0))
        verdict = await pool.run(delivery("exit"))
        self.assertEqual(verdict.status, "failed")
        verdict = await pool.run(delivery("nothing"))
        self.assertIn("no task 'nothing'", verdict.error)
        self.assertEqual(len(pool.pids()), 1)

    @flow
    async def test_plain_handlers(self) -> None:
        pool = await self.start(tasks="tasks:HANDLERS")
        verdict = await pool.run(delivery("shout", payload=b"hi"))
        self.assertEqual(verdict.result, b"HI")

    @flow
    async def test_large_payloads_and_results(self) -> None:
        pool = await self.start(tasks="tasks:HANDLERS")
        verdict = await pool.run(delivery("shout", payload=b"x" * 5_000_000))
        self.assertEqual(verdict.result, b"X" * 5_000_000)

    @flow
    async def test_each_has_a_process_of_its_own(self) -> None:
        pool = await self.start(2)
        self.assertEqual(pool.capacity, 2)
        first, second = pool.run(delivery("pid")), pool.run(delivery("pid"))
        pids = {int((await first).result), int((await second).result)}
        self.assertEqual(pids, set(pool.pids()))
        self.assertNotIn(os.getpid(), pids)

    @flow
    async def test_what_a_task_says(self) -> None:
        logged: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        pool = await self.start()
        given = delivery("say", "aloud")
        await pool.run(given)
        self.assertEqual(self.notes.told, [(given.lease, {"done": 1})])
        (token, line, fields), (_, refused, _) = self.notes.lines
        self.assertEqual((token, line, fields["percent"]), (given.lease, "half way", 50))
        self.assertIn("could not be sent", refused)
        await self.until(lambda: any(event.get("text") == "aloud" for event in logged))
        event = next(event for event in logged if event.get("text") == "aloud")
        self.assertEqual((event["task"], event["pid"]), (given.id, pool.pids()[0]))
        await pool.shut_down(0)
        self.assertIn("no end", [event.get("text") for event in logged])


class Starting(ChildrenCase):
    @flow
    async def test_a_module_that_cannot_be_imported(self) -> None:
        for source, words in (
            ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
            ("raise SystemExit(1)", "SystemExit"),
            ("x = 1", "has no app"),
            ("import os; os._exit(7)", "exit status 7"),
        ):
            self.write(source)
            pool = self.make()
            error = await self.assertFailure(pool.start(), BadRequest)
            self.assertIn(words, str(error))
            await pool.shut_down(0)

    @flow
    async def test_a_pool_that_was_never_started_ends(self) -> None:
        await self.make().shut_down(0)

    @flow
    async def test_a_pool_ends_while_it_starts(self) -> None:
        pool = self.make(2)
        pool.start().addErrback(lambda _: None)
        await pool.shut_down(0)
        self.assertEqual(pool.pids(), [])


class Dying(ChildrenCase):
    @flow
    async def test_a_crash_costs_one_child_and_one_task(self) -> None:
        pool = await self.start(2)
        before = set(pool.pids())
        _, running, _ = await self.begun(pool, "patient")
        verdict = await pool.run(delivery("die", int(signal.SIGKILL)))
        self.assertEqual((verdict.status, verdict.permanent), ("failed", False))
        self.assertEqual(verdict.error, "the worker's child process died (signal 9)")
        self.assertFalse(running.called)
        await self.until(lambda: pool.capacity == 2)
        self.assertEqual(len(before & set(pool.pids())), 1)
        self.assertEqual((await pool.run(delivery("add", 1, 2))).result, b"3")
        self.assertGreater(self.notes.changes, 0)

    @flow
    async def test_a_child_that_leaves(self) -> None:
        pool = await self.start()
        verdict = await pool.run(delivery("leave"))
        self.assertEqual(verdict.error, "the worker's child process ended (exit status 3)")
        self.assertEqual(pool.capacity, 0)
        await self.until(lambda: pool.capacity)

    @flow
    async def test_what_comes_instead_is_tried_again_where_it_fails(self) -> None:
        pool = await self.start()
        self.write("import nowhere_to_be_found")
        await pool.run(delivery("leave"))
        await self.until(lambda: pool._failed_starts == 2)
        self.write(TASKS)
        pool._retry.reset(0)
        await self.until(lambda: pool.capacity)
        verdict = await pool.run(delivery("add", 1, 2))
        self.assertEqual(verdict.result, b"3", verdict)

    @flow
    async def test_orphans_end_by_themselves(self) -> None:
        pool = await self.start()
        await self.begun(pool, "stubborn")
        (child,) = pool._children
        child.transport.closeChildFD(5)
        await child.gone
        self.assertFalse(child.leaving)

    def test_orphans_of_a_worker_that_is_killed(self) -> None:
        script = (
            "import sys; from twisted.internet import reactor\n"
            "from taskqueue.worker.executors.processes import Processes\n"
            "pool = Processes('tasks:app', 2, reactor)\n"
            "pool.start().addCallback(lambda _: print(*pool.pids(), flush=True))\n"
            "reactor.run()\n"
        )
        worker = subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
        )
        self.addCleanup(worker.wait)
        self.addCleanup(worker.kill)
        with worker.stdout as said:
            pids = [int(word) for word in said.readline().split()]
        self.assertEqual([is_alive(pid) for pid in pids], [True, True])
        worker.kill()
        until("the children have ended", lambda: not any(map(is_alive, pids)), 10)


class Stopping(ChildrenCase):
    @flow
    async def test_a_time_out_raises_in_the_task(self) -> None:
        pool = await self.start()
        (pid,) = pool.pids()
        given, running, path = await self.begun(pool, "blocked")
        pool.stop_task(given.lease, "timeout")
        verdict = await running
        self.assertEqual(verdict.status, "failed")
        self.assertIn("TaskTimedOut", verdict.error.splitlines()[0])
        self.assertEqual(path.read_text(), "TaskTimedOut")
        self.assertEqual(pool.pids(), [pid])
        self.assertEqual((await pool.run(delivery("add", 1, 2))).result, b"3")

    @flow
    async def test_what_does_not_stop_is_killed(self) -> None:
        pool = await self.start(kill_grace_s=0.05)
        given, running, _ = await self.begun(pool, "stubborn")
        pool.stop_task(given.lease, "timeout")
        verdict = await running
        self.assertEqual(verdict.status, "failed")
        self.assertIn("its process was killed", verdict.error)
        await self.until(lambda: pool.capacity)

    @flow
    async def test_a_message_is_not_broken_off(self) -> None:
        """A time-out strikes a task that sends progress all the time."""
        pool = await self.start()
        (pid,) = pool.pids()
        for _ in range(10):
            path = self.folder / "chatty"
            path.unlink(missing_ok=True)
            given, running, _ = await self.begun(pool, "chatty")
            pool.stop_task(given.lease, "timeout")
            self.assertIn("TaskTimedOut", (await running).error)
        self.assertEqual(pool.pids(), [pid])

    @flow
    async def test_cancelled_it_may_see_that_by_itself(self) -> None:
        pool = await self.start()
        given, running, _ = await self.begun(pool, "patient")
        pool.stop_task(given.lease, "cancel")
        self.assertEqual((await running).status, "cancelled")

    @flow
    async def test_flags(self) -> None:
        pool = await self.start()
        for reason, flags in (("cancel", b"[true,false]"), ("lease_lost", b"[false,true]")):
            (self.folder / "flags").unlink(missing_ok=True)
            given, running, _ = await self.begun(pool, "flags")
            pool.stop_task(given.lease, reason)
            self.assertEqual((await running).result, flags)

    @flow
    async def test_cancelled_it_is_interrupted_later(self) -> None:
        pool = await self.start(cooperate_s=0.02)
        given, running, path = await self.begun(pool, "blocked")
        pool.stop_task(given.lease, "cancel")
        self.assertEqual((await running).status, "cancelled")
        self.assertEqual(path.read_text(), "TaskCancelled")

    @flow
    async def test_cancelled_it_is_killed_in_the_end(self) -> None:
        pool = await self.start(cooperate_s=0.02, kill_grace_s=0.02)
        given, running, _ = await self.begun(pool, "stubborn")
        pool.stop_task(given.lease, "cancel")
        self.assertEqual((await running).status, "cancelled")

    @flow
    async def test_the_task_after_it_is_left_alone(self) -> None:
        pool = await self.start(kill_grace_s=0.02)
        given, running, _ = await self.begun(pool, "blocked")
        pool.stop_task(given.lease, "timeout")
        await running
        (self.folder / "blocked").unlink()
        after, second, path = await self.begun(pool, "blocked")
        pool.stop_task(given.lease, "cancel")
        late = encode(Kind.STOP, given.lease, ["cancel", True])
        pool._children[0]._write(CONTROL_FD, late)
        pool.stop_task(after.lease, "timeout")
        await second
        self.assertEqual(path.read_text(), "TaskTimedOut")

    @flow
    async def test_children_heed_no_signals_that_are_for_the_worker(self) -> None:
        pool = await self.start()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTSTP, signal.SIGHUP):
            os.kill(pool.pids()[0], number)
        self.assertEqual((await pool.run(delivery("add", 1, 2))).result, b"3")

    @flow
    async def test_the_end(self) -> None:
        pool = await self.start(2)
        _, running, _ = await self.begun(pool, "stubborn")
        pids = pool.pids()
        await pool.shut_down(0.05)
        self.assertEqual((await running).status, "failed")
        self.assertEqual([is_alive(pid) for pid in pids], [False, False])


class Recycling(ChildrenCase):
    @flow
    async def test_after_some_tasks(self) -> None:
        pool = await self.start(recycle_after=2)
        pids = []
        for _ in range(5):
            pids.append(int((await pool.run(delivery("pid"))).result))
            self.assertEqual(pool.capacity, 1)
            if len(pids) in (2, 4):
                await self.until(lambda: pids[-1] not in pool.pids())
        self.assertEqual((pids[0], pids[2]), (pids[1], pids[3]))
        self.assertEqual(len(set(pids)), 3)

    @flow
    async def test_that_takes_too_much_memory(self) -> None:
        other = await self.start()
        usual_mb = psutil.Process(other.pids()[0]).memory_info().rss / 2**20
        pool = await self.start(recycle_mb=usual_mb + 40)
        first = pool.pids()
        await pool.run(delivery("add", 1, 2))
        self.assertEqual(pool.pids(), first)
        await pool.run(delivery("grow"))
        await pool.run(delivery("grow"))
        await self.until(lambda: pool.pids() != first and len(pool.pids()) == 1)
        self.assertEqual((await pool.run(delivery("add", 1, 2))).result, b"3")
