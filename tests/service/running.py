"""
A running service in a world whose clocks stand still until a test moves them,
with a store that does as it is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, execute, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from taskqueue.config import Config, HttpConfig, ListenConfig, StoreConfig
from taskqueue.core.audit import audit
from taskqueue.core.changes import Batch, TaskRow
from taskqueue.core.delivery import Delivery, Outcome
from taskqueue.core.intake import Accepted, Submission
from taskqueue.core.leases import Holder
from taskqueue.core.moments import Now
from taskqueue.core.task import State
from taskqueue.core.workers import Registration
from taskqueue.errors import StoreFailed, TaskQueueError
from taskqueue.ids import new_task_id
from taskqueue.service import TaskQueueService
from taskqueue.service import service as service_module
from taskqueue.store.interface import IStore
from taskqueue.store.memory import MemoryStore

#: The wall clock when the tests begin; the monotonic one begins at 0.
WALL = 1_800_000_000.0

#: Long enough for a group to be written; a sum of many is exact.
TURN_S = 1 / 128

#: A broker that keeps its tasks in memory and listens nowhere.
QUIET = Config(
    store=StoreConfig(kind="memory"),
    listen=ListenConfig(framed=()),
    http=HttpConfig(listen=()),
)


@implementer(IStore)
class ObedientStore:
    """
    A store (in memory, unless told otherwise) that fails where it is told to,
    and whose calls run in the caller's thread.

    @ivar failing: names of the methods that fail now, with what they raise.
    @ivar called: names of the methods called, in order.
    @ivar batches: what was stored.
    """

    inline = True
    wants_checkpoint = False
    most_ended_bytes: int | None = None
    wants_sweep = False
    memory_bytes = 0

    def __init__(self, inner: Any = None) -> None:
        self.inner = MemoryStore() if inner is None else inner
        self.failing: dict[str, Exception] = {}
        self.called: list[str] = []
        self.batches: list[Batch] = []

    def fail(self, *methods: str) -> None:
        """Let these methods fail from now on."""
        self.failing = dict.fromkeys(methods, StoreFailed("The disk is full."))

    def work(self) -> None:
        """Let everything work again."""
        self.failing = {}

    def count(self, method: str) -> int:
        """How often a method was called."""
        return self.called.count(method)

    def __getattr__(self, method: str) -> Any:
        """Every method of the store, done as told."""
        return partial(self._do, method)

    def _do(self, method: str, *args: Any) -> Any:
        self.called.append(method)
        if method in self.failing:
            raise self.failing[method]
        if method == "commit":
            self.batches.append(args[0])
        return getattr(self.inner, method)(*args)


class HeldRunner:
    """
    Runs calls only when a test says so, one after another, as a thread would.

    @ivar holding: whether calls wait for L{run_next}.
    @ivar stopped: whether it was told to stop.
    """

    def __init__(self) -> None:
        self.holding = False
        self.stopped = False
        self._calls: deque[tuple[Deferred[Any], Callable[[], Any]]] = deque()

    def __len__(self) -> int:
        return len(self._calls)

    def run(self, function, *args, **kwargs):
        if self.stopped:
            return fail(StoreFailed("stopped"))
        if not self.holding and not self._calls:
            return execute(function, *args, **kwargs)
        waiting: Deferred[Any] = Deferred()
        self._calls.append((waiting, lambda: function(*args, **kwargs)))
        return waiting

    def run_next(self) -> None:
        """Run the call that has waited longest."""
        waiting, call = self._calls.popleft()
        execute(call).chainDeferred(waiting)

    def let_go(self) -> None:
        """Hold nothing any more."""
        self.holding = False
        while self._calls:
            self.run_next()

    def stop(self, within_s: float = 0.0) -> bool:
        self.stopped = True
        return not self._calls


class Listening:
    """
    A listener that keeps what it is told.

    @ivar told: the ids of the tasks whose outcomes it heard, in order.
    @ivar rows: the rows it heard.
    @ivar notices: (kind, task id) of the notices.
    """

    def __init__(self) -> None:
        self.told: list[str] = []
        self.rows: list[TaskRow] = []
        self.notices: list[tuple[str, str]] = []

    def outcomes(self, rows):
        self.rows += rows
        self.told += [row.id for row in rows]

    def notice(self, notice):
        self.notices.append((notice.kind, notice.task_id))


class ServiceTestCase(SynchronousTestCase):
    """
    A test of a running service.  When it is over, the service is stopped, and
    its books must be right, and no call may be left for later.

    @ivar service: the service, running.
    @ivar writer: where the store's commits run.
    @ivar reading: where its look-ups run.
    @ivar settler: where it catches up.
    """

    config = QUIET

    def setUp(self):
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.jumped_s = 0.0
        self.store = self.make_store()
        self.patch(service_module, "make_runner", self.make_runner)
        self.runners: list[HeldRunner] = []
        self.service = self.start()
        self.holder = Holder("claimer")
        self.addCleanup(self.end)

    def make_store(self) -> ObedientStore:
        return ObedientStore()

    def make_runner(self, inline, reactor, name):
        self.runners.append(HeldRunner())
        return self.runners[-1]

    def moments(self) -> Now:
        return Now(WALL + self.clock.seconds() + self.jumped_s, self.clock.seconds())

    def start(self, config: Config | None = None) -> TaskQueueService:
        """A service on the test's store, started."""
        service = TaskQueueService(
            config or self.config, self.clock, store=self.store, moments=self.moments
        )
        service.startService()
        self.settler, self.writer, self.reading = self.runners[-3:]
        return service

    def restart(self, config: Config | None = None) -> None:
        """Stop the service; start another on what it stored."""
        self.stop()
        self.service = self.start(config)

    def crash(self) -> None:
        """
        The service is gone with all that was not stored; another starts on
        what was.
        """
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()
        self.store.close()
        self.service = self.start()

    def stop(self) -> None:
        """Stop the service; it must come to an end."""
        self.assertEqual(audit(self.service.broker.ledger), [])
        stopped = self.service.stopService()
        self.successResultOf(stopped)

    def end(self) -> None:
        self.store.work()
        if self.service.running:
            for runner in self.runners[-3:]:
                runner.let_go()
            self.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def turn(self, seconds: float = TURN_S) -> None:
        """One turn of the reactor, after some time: a group is written, if there is one."""
        self.clock.advance(seconds)

    def pass_time(self, seconds: float) -> None:
        """Time passes in steps that let every timer run when it should."""
        self.clock.pump([0.25] * round(seconds / 0.25))

    def adapt(self, section: str, **values: Any) -> Config:
        """The test's configuration with other values in one section."""
        return replace(self.config, **{section: replace(getattr(self.config, section), **values)})

    # --- what tests do all the time ----------------------------------------------

    def result_of(self, answer: Deferred[Any]) -> Any:
        """What an answer fires with, by the next turn at the latest."""
        self.turn()
        return self.successResultOf(answer)

    def error_of(self, answer: Deferred[Any], error: type[TaskQueueError]) -> TaskQueueError:
        """The error that an answer fails with, by the next turn at the latest."""
        self.turn()
        return self.failureResultOf(answer, error).value

    def submitting(self, *ids: str, task_type: str = "job", **fields: Any) -> Deferred[Any]:
        """Submit tasks with these ids; the answer may be still to come."""
        return self.service.submit([Submission(task_type, id=i, **fields) for i in ids])

    def submit(self, task_id: str | None = None, task_type: str = "job", **fields: Any) -> str:
        """Submit one task, which must be accepted; return its id."""
        task_id = task_id or new_task_id()
        [answer] = self.result_of(self.submitting(task_id, task_type=task_type, **fields))
        self.assertIsInstance(answer, Accepted, answer)
        return task_id

    def claiming(self, limit: int = 1, wait_s: float = 0.0, **fields: Any) -> Deferred[Any]:
        """Claim for the test's holder, unless told otherwise."""
        holder = fields.pop("holder", self.holder)
        return self.service.claim(holder, limit=limit, wait_s=wait_s, **fields)

    def claim(self, limit: int = 1, **fields: Any) -> list[Delivery]:
        return self.successResultOf(self.claiming(limit, **fields))

    def take(self, **fields: Any) -> Delivery:
        """Claim one task, which must be there."""
        [delivery] = self.claim(**fields)
        return delivery

    def reporting(
        self, delivery: Delivery, status: State = State.COMPLETED, **fields: Any
    ) -> Deferred[Any]:
        return self.service.report([Outcome(delivery.id, delivery.lease, status, **fields)])

    def report(
        self, delivery: Delivery, status: State = State.COMPLETED, **fields: Any
    ) -> State | TaskQueueError:
        [answer] = self.result_of(self.reporting(delivery, status, **fields))
        return answer

    def complete(self, task_id: str | None = None, result: bytes = b"", **fields: Any) -> str:
        """Submit, claim and complete a task."""
        task_id = self.submit(task_id, **fields)
        delivery = self.take(queues=(fields.get("queue", "default"),))
        self.assertEqual(delivery.id, task_id)
        self.assertEqual(self.report(delivery, result=result), State.COMPLETED)
        return task_id

    def kill(self, task_id: str | None = None, error: str = "broken") -> str:
        """Submit a task and let it end as a dead letter."""
        task_id = self.submit(task_id)
        state = self.report(self.take(), State.FAILED, error=error, permanent=True)
        self.assertEqual(state, State.DEAD_LETTER)
        return task_id

    def status(self, task_id: str) -> TaskRow | None:
        [row] = self.result_of(self.service.status([task_id]))
        return row

    def state(self, task_id: str) -> State:
        row = self.status(task_id)
        self.assertIsNotNone(row)
        return State(row.state)

    def register(self, name: str = "w", incarnation: int = 1, link: Any = None, **fields: Any):
        return self.result_of(
            self.service.register(Registration(name, incarnation, **fields), link)
        )

    def forget_ended(self) -> None:
        """Let the core know ended tasks no more: they are in the store only."""
        self.turn()
        ledger = self.service.broker.ledger
        policy = ledger.policy
        ledger.policy = replace(policy, recent_ended=0)
        ledger.prune_ended()
        ledger.policy = policy
        self.assertEqual(len(ledger.ended), 0)
