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
from taskqueue.worker.executors import NOT_BEGUN
from taskqueue.worker.executors.processes import Processes
from taskqueue.worker.pipes import CONTROL_FD, TASKS_FD, Kind, encode
from tests.client.broker import flow
from tests.process.children import until
from tests.worker.executors.deliveries import ROOT, TASKS, ChildrenCase, delivery, fate_of


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Running(ChildrenCase):
    @flow
    async def test_results_and_failures(self) -> None:
        pool = await self.start()
        verdict = await fate_of(pool, delivery("add", 1, 2))
        self.assertEqual((verdict.status, verdict.result), ("completed", b"3"))
        verdict = await fate_of(pool, delivery("fail"))
        self.assertEqual((verdict.status, verdict.permanent), ("failed", False))
        self.assertIn("ValueError: broken", verdict.error.splitlines()[0])
        self.assertIn("tasks.py", verdict.error)
        self.assertNotIn("child.py", verdict.error)
        verdict = await fate_of(pool, delivery("add", 1))
        self.assertEqual((verdict.status, verdict.permanent), ("failed", True))
        verdict = await fate_of(pool, delivery("snooze"))
        self.assertEqual((verdict.status, verdict.delay_s), ("released", 7.0))
        verdict = await fate_of(pool, delivery("exit"))
        self.assertEqual(verdict.status, "failed")
        verdict = await fate_of(pool, delivery("nothing"))
        self.assertIn("no task 'nothing'", verdict.error)
        self.assertEqual(len(pool.pids()), 1)

    @flow
    async def test_plain_handlers(self) -> None:
        pool = await self.start(tasks="tasks:HANDLERS")
        verdict = await fate_of(pool, delivery("shout", payload=b"hi"))
        self.assertEqual(verdict.result, b"HI")

    @flow
    async def test_large_payloads_and_results(self) -> None:
        pool = await self.start(tasks="tasks:HANDLERS")
        verdict = await fate_of(pool, delivery("shout", payload=b"x" * 5_000_000))
        self.assertEqual(verdict.result, b"X" * 5_000_000)

    @flow
    async def test_each_has_a_process_of_its_own(self) -> None:
        pool = await self.start(2)
        self.assertEqual(pool.capacity, 2)
        first, second = fate_of(pool, delivery("pid")), fate_of(pool, delivery("pid"))
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
        await fate_of(pool, given)
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


class Ahead(ChildrenCase):
    """Tiny tasks are in the child before it is their turn."""

    async def quick(self, concurrency: int = 1, **how: Any) -> Processes:
        """A pool whose tasks have been quick so far."""
        pool = await self.start(concurrency, **how)
        for child in pool._children:
            child._mean_s = 0.00005
        return pool

    async def behind_a_slow_one(self, pool: Processes) -> tuple[Any, Any, list[Any], list[int]]:
        """A task that does not end, three that wait behind it, and what came of them by then."""
        given, running, _ = await self.begun(pool, "blocked")
        came: list[int] = []
        waiting = [delivery("add", 1, n) for n in range(3)]
        fates = [fate_of(pool, one) for one in waiting]
        for one, fate in zip(waiting, fates, strict=True):
            fate.addCallback(lambda verdict, token: (came.append(token), verdict)[1], one.lease)
        return given, running, fates, came

    @flow
    async def test_none_before_some_were_quick(self) -> None:
        pool = await self.start()
        self.assertEqual(pool.ahead, 0)
        running = fate_of(pool, delivery("add", 1, 2))
        self.assertEqual(pool.ahead, 0)
        await running
        for _ in range(64):
            running = fate_of(pool, delivery("add", 1, 2))
            await running
        fate_of(pool, delivery("add", 1, 2))
        self.assertGreater(pool.ahead, 2)

    @flow
    async def test_each_begins_when_the_one_before_has_ended(self) -> None:
        pool = await self.quick()
        given = [delivery("add", 1, n) for n in range(12)]
        fates = [fate_of(pool, one) for one in given]
        self.assertEqual(
            [(await fate).result for fate in fates], [b"%d" % (n + 1) for n in range(12)]
        )
        self.assertEqual(self.notes.begun, [one.lease for one in given[1:]])
        self.assertGreater(self.notes.changes, 0)
        self.assertEqual(pool._look is not None, True)

    @flow
    async def test_to_the_child_that_has_least(self) -> None:
        pool = await self.quick(2)
        for _ in range(2):
            await self.begun(pool, "patient")
            (self.folder / "patient").unlink()
        for _ in range(4):
            fate_of(pool, delivery("add", 1, 2))
        self.assertEqual([child.ahead for child in pool._children], [2, 2])

    @flow
    async def test_more_when_half_of_it_has_ended(self) -> None:
        pool = await self.quick()
        await self.begun(pool, "patient")
        self.assertEqual(pool.ahead, 40)
        for _ in range(20):
            fate_of(pool, delivery("add", 1, 2))
        self.assertEqual(pool.ahead, 20)
        fate_of(pool, delivery("add", 1, 2))
        self.assertEqual(pool.ahead, 0)

    @flow
    async def test_recalled(self) -> None:
        pool = await self.quick()
        given, running, fates, came = await self.behind_a_slow_one(pool)
        pids = pool.pids()
        fates.append(fate_of(pool, delivery("leave")))
        pool.recall()
        self.assertEqual(pool.ahead, 0)
        for fate in fates:
            self.assertIs(await fate, NOT_BEGUN)
        self.assertEqual(came, sorted(came, reverse=True))
        self.assertFalse(running.called)
        pool.stop_task(given.lease, "timeout")
        await running
        self.assertEqual((await fate_of(pool, delivery("add", 1, 2))).result, b"3")
        self.assertEqual(pool.pids(), pids)  # the child has passed by the one that ends it

    @flow
    async def test_behind_one_that_takes_long_they_are_recalled(self) -> None:
        pool = await self.quick()
        _, running, fates, _ = await self.behind_a_slow_one(pool)
        for fate in fates:
            self.assertIs(await fate, NOT_BEGUN)
        self.assertFalse(running.called)

    @flow
    async def test_a_recall_that_comes_too_late(self) -> None:
        """The child has begun what the worker still takes for waiting."""
        pool = await self.quick()
        fates = [fate_of(pool, delivery("add", 1, n)) for n in range(30)]
        pool.recall()
        verdicts = [await fate for fate in fates]
        kept = [verdict for verdict in verdicts if verdict is not NOT_BEGUN]
        self.assertEqual([v.result for v in kept], [b"%d" % (n + 1) for n in range(len(kept))])
        self.assertEqual(verdicts[len(kept) :], [NOT_BEGUN] * (30 - len(kept)))
        self.assertEqual((await fate_of(pool, delivery("add", 1, 2))).result, b"3")

    @flow
    async def test_recalled_while_the_child_reads_nothing(self) -> None:
        """It may pass by what the worker takes for running, or run it; nothing is lost."""
        pool = await self.quick()
        (pid,) = pool.pids()
        for _ in range(20):
            os.kill(pid, signal.SIGSTOP)
            fates = [fate_of(pool, delivery("add", 1, 2)) for _ in range(3)]
            pool.recall()
            os.kill(pid, signal.SIGCONT)
            verdicts = [await fate for fate in fates]
            self.assertTrue(all(v is NOT_BEGUN or v.result == b"3" for v in verdicts))
            self.assertEqual((pool.ahead, pool._children[0].idle), (0, True))

    @flow
    async def test_a_task_is_sent_in_the_turn_in_which_it_is_run(self) -> None:
        pool = await self.start()
        writer = pool._children[0].transport.pipes[TASKS_FD]
        fate = fate_of(pool, delivery("add", 1, 2))
        self.assertFalse(writer._tempDataBuffer or writer.dataBuffer)
        self.assertEqual((await fate).result, b"3")

    @flow
    async def test_more_than_a_pipe_holds(self) -> None:
        """What it does not take is kept, and what comes after that is not sent before."""
        pool = await self.quick(tasks="tasks:HANDLERS")
        pool._look_at_all = lambda: None  # type: ignore[method-assign]  # none is recalled
        (pid,) = pool.pids()
        os.kill(pid, signal.SIGSTOP)
        texts = [b"%02d" % n * 5000 for n in range(20)]
        fates = [fate_of(pool, delivery("shout", payload=text)) for text in texts]
        os.kill(pid, signal.SIGCONT)
        self.assertEqual([(await fate).result for fate in fates], texts)

    @flow
    async def test_a_crash_costs_only_the_task_that_ran(self) -> None:
        pool = await self.quick()
        first = fate_of(pool, delivery("add", 1, 2))
        killer = fate_of(pool, delivery("die", int(signal.SIGKILL)))
        fates = [fate_of(pool, delivery("add", 1, n)) for n in range(3)]
        self.assertEqual((await first).result, b"3")
        self.assertEqual((await killer).error, "the worker's child process died (signal 9)")
        for fate in fates:
            self.assertIs(await fate, NOT_BEGUN)

    @flow
    async def test_one_that_prints_is_given_one_at_a_time(self) -> None:
        pool = await self.quick()
        await fate_of(pool, delivery("say", "aloud"))
        await self.until(lambda: pool._children[0]._aloud)
        fate_of(pool, delivery("add", 1, 2))
        self.assertEqual(pool.ahead, 0)

    @flow
    async def test_no_more_than_it_may_run(self) -> None:
        pool = await self.quick(recycle_after=3)
        fates = [fate_of(pool, delivery("pid"))]
        self.assertEqual(pool.ahead, 2)
        fates += [fate_of(pool, delivery("pid")) for _ in range(2)]
        self.assertEqual(pool.ahead, 0)
        self.assertEqual(len({(await fate).result for fate in fates}), 1)


class Dying(ChildrenCase):
    @flow
    async def test_what_no_child_can_take_is_given_back(self) -> None:
        pool = await self.start()
        running = fate_of(pool, delivery("leave"))
        behind = fate_of(pool, delivery("add", 1, 2))  # no room for it, and yet not lost
        self.assertIn("exit status 3", (await running).error or "")
        self.assertIs(await behind, NOT_BEGUN)
        self.assertEqual((await fate_of(pool, delivery("add", 1, 2))).status, "released")

    @flow
    async def test_a_crash_costs_one_child_and_one_task(self) -> None:
        pool = await self.start(2)
        before = set(pool.pids())
        _, running, _ = await self.begun(pool, "patient")
        verdict = await fate_of(pool, delivery("die", int(signal.SIGKILL)))
        self.assertEqual((verdict.status, verdict.permanent), ("failed", False))
        self.assertEqual(verdict.error, "the worker's child process died (signal 9)")
        self.assertFalse(running.called)
        await self.until(lambda: pool.capacity == 2)
        self.assertEqual(len(before & set(pool.pids())), 1)
        self.assertEqual((await fate_of(pool, delivery("add", 1, 2))).result, b"3")
        self.assertGreater(self.notes.changes, 0)

    @flow
    async def test_a_child_that_leaves(self) -> None:
        pool = await self.start()
        verdict = await fate_of(pool, delivery("leave"))
        self.assertEqual(verdict.error, "the worker's child process ended (exit status 3)")
        self.assertEqual(pool.capacity, 0)
        await self.until(lambda: pool.capacity)

    @flow
    async def test_what_comes_instead_is_tried_again_where_it_fails(self) -> None:
        pool = await self.start()
        self.write("import nowhere_to_be_found")
        await fate_of(pool, delivery("leave"))
        await self.until(lambda: pool._failed_starts == 2)
        self.write(TASKS)
        pool._retry.reset(0)
        await self.until(lambda: pool.capacity)
        verdict = await fate_of(pool, delivery("add", 1, 2))
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
        self.assertEqual((await fate_of(pool, delivery("add", 1, 2))).result, b"3")

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
        self.assertEqual((await fate_of(pool, delivery("add", 1, 2))).result, b"3")

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
            pids.append(int((await fate_of(pool, delivery("pid"))).result))
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
        await fate_of(pool, delivery("add", 1, 2))
        self.assertEqual(pool.pids(), first)
        await fate_of(pool, delivery("grow"))
        await fate_of(pool, delivery("grow"))
        await self.until(lambda: pool.pids() != first and len(pool.pids()) == 1)
        self.assertEqual((await fate_of(pool, delivery("add", 1, 2))).result, b"3")
