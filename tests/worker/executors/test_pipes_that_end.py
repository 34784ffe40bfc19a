"""Children whose pipes end before their deaths are heard of."""

from __future__ import annotations

import gc
from typing import Any

from twisted.internet.error import ProcessDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.app.outcomes import Verdict
from taskqueue.client import Delivery
from taskqueue.errors import BadRequest
from taskqueue.worker.executors import NOT_BEGUN
from taskqueue.worker.executors.child_process import ChildProcess
from taskqueue.worker.executors.processes import Processes
from taskqueue.worker.pipes import CONTROL_FD, REPLIES_FD, TASKS_FD, Decoder, Kind, encode
from tests.worker.executors.deliveries import delivery


class Pipe:
    """Into a child."""

    def __init__(self) -> None:
        self.got: list[int] = []

    def write(self, data: bytes) -> None:
        self.got += [m.token for m in Decoder().feed(data) if m.kind is Kind.RUN]


class Pipes:
    """
    A child process without one; as Twisted's, it has no pipe any more that has ended.
    """

    pid = 1

    def __init__(self, child: ChildProcess) -> None:
        self.child = child
        self.pipes = {fd: Pipe() for fd in (0, TASKS_FD, CONTROL_FD)}
        self.got = self.pipes[TASKS_FD].got

    def closeChildFD(self, fd: int) -> None:
        self.pipes.pop(fd, None)

    def lose(self, fd: int) -> None:
        del self.pipes[fd]
        self.child.childConnectionLost(fd)

    def say(self, kind: Kind, token: int = 0, header: Any = None) -> None:
        self.child.childDataReceived(REPLIES_FD, encode(kind, token, header))


class Spawning(Clock):
    """A reactor whose processes are none."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[Pipes] = []

    def spawnProcess(self, child: ChildProcess, *_: Any, **__: Any) -> None:
        self.spawned.append(Pipes(child))
        child.transport = self.spawned[-1]
        child.connectionMade()


class PipesThatEnd(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Spawning()
        self.pool = Processes("m:app", 2, self.clock)
        self.started = self.pool.start()
        self.one, self.other = self.clock.spawned
        self.ends: list[tuple[int, Verdict]] = []

    def ready(self, mean_s: float = 0.00001) -> None:
        for pipes in (self.one, self.other):
            pipes.say(Kind.READY, header=[])
            pipes.child._mean_s = mean_s
        self.successResultOf(self.started)

    def run_tasks(self, *given: Delivery) -> None:
        self.pool.run(given, lambda token, verdict: self.ends.append((token, verdict)))

    def test_it_is_sent_nothing_more(self) -> None:
        self.ready()
        self.run_tasks(delivery("add"))
        self.run_tasks(delivery("add"))
        self.one.lose(TASKS_FD)
        given = [delivery("add") for _ in range(4)]
        self.run_tasks(*given)
        tokens = [one.lease for one in given]
        self.assertEqual((len(self.one.got), self.other.got[1:]), (1, tokens))
        self.assertEqual(self.ends, [])

    def test_what_cannot_be_said_any_more_is_not(self) -> None:
        self.ready()
        running, behind = delivery("add"), delivery("add")
        self.run_tasks(running)
        self.one.child.run([behind], lambda token, verdict: self.ends.append((token, verdict)))
        self.one.lose(CONTROL_FD)
        self.pool.recall()
        self.pool.stop_task(running.lease, "timeout")
        self.one.child.processEnded(Failure(ProcessDone(0)))
        self.assertEqual(self.ends[0], (behind.lease, NOT_BEGUN))
        self.assertEqual([token for token, _ in self.ends], [behind.lease, running.lease])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_none_is_left(self) -> None:
        self.ready()
        self.one.lose(TASKS_FD)
        self.other.lose(TASKS_FD)
        self.assertEqual((self.pool.capacity, self.pool.ahead), (0, 0))
        given = delivery("add")
        self.run_tasks(given)
        self.assertEqual(self.ends, [(given.lease, Verdict("released"))])

    def test_all_end_at_their_start(self) -> None:
        for pipes in (self.one, self.other):
            pipes.child.processEnded(Failure(ProcessDone(0)))
        self.failureResultOf(self.started, BadRequest)
        del pipes, self.pool, self.clock, self.one, self.other
        gc.collect()  # whatever nobody took would be logged now
        self.assertEqual(self.flushLoggedErrors(BadRequest), [])
