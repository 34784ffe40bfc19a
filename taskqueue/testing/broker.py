"""
A broker for the tests of an application, and a worker that does as it is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple

from taskqueue.app.application import App
from taskqueue.app.context import Context
from taskqueue.app.outcomes import Verdict
from taskqueue.app.performing import async_perform, perform
from taskqueue.client import Delivery, Outcome, Report, Submission
from taskqueue.client.answers import error_from, state_from
from taskqueue.client.handles import TaskHandle
from taskqueue.errors import AnswerTimedOut, UnknownTask
from taskqueue.testing.face import Face
from taskqueue.testing.link import InProcess
from taskqueue.testing.values import ValuesFace
from taskqueue.wire import Header, MessageType

#: How many tasks L{AppBroker.run} runs before it takes them for a chain without end.
MOST_TASKS = 10_000

#: How long tasks are held, seconds: time may be moved while one runs.
LEASE_S = 24 * 3600.0

_UNFINISHED = ("pending", "scheduled", "blocked", "in_progress", "failed")


class Ran(NamedTuple):
    """
    One run of a task.

    @ivar id: the task's.
    @ivar verdict: what came of it.
    @ivar state: where the task is now, such as C{"completed"} or C{"failed"}.
    """

    id: str
    type: str
    attempt: int
    verdict: Verdict
    state: str


class AppBroker(ValuesFace):
    """
    A broker in this process for one application: the real one, but that it keeps
    its tasks in memory, is asked without a network, and has a time of its own.

    @ivar progress: what tasks have said of their progress: (id, value), in order.
    @ivar logged: what they have logged: (id, message, fields).
    """

    def __init__(self, app: App, now: float | None = None) -> None:
        """
        @param now: what time it is at first, seconds since the epoch.
        """
        self.app = app
        self.progress: list[tuple[str, Any]] = []
        self.logged: list[tuple[str, str, dict[str, Any]]] = []
        self._link = InProcess(now)
        self._link.on_event = self._event
        self._running: dict[int, Context] = {}

    # --- time -----------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """What time it is for the broker, seconds since the epoch."""
        return self._link.now

    def advance(self, seconds: float) -> None:
        """Let time pass; nothing is run meanwhile."""
        self._link.advance(seconds)

    # --- submitting -----------------------------------------------------------------------

    def ask(self, kind: MessageType, **header: Any) -> Header:
        """
        Ask the broker for anything that the protocol has.

        @raises TaskQueueError: what it refuses it with.
        """
        return self._link.ask(kind, header)

    def submit(self, submission: Submission) -> TaskHandle:
        """
        What the application's submissions come to.

        @raises TaskQueueError: what the broker refuses it with.
        """
        encoded, codec = submission.encoded(self.app.codec)
        _, item = encoded.item()
        answer = self.ask(MessageType.SUBMIT_TASK, tasks=[item])
        for error in answer.get("errors") or ():
            raise error_from(error)
        existing = bool(answer.get("existing"))
        return TaskHandle(answer["tasks"][0], Face(self), codec, existing)

    def declare_periodics(self) -> None:
        """
        What a worker does when it starts: from now on, the broker fires what the
        application has declared as periodic, as time passes.

        @raises TaskQueueError: the broker refuses one.
        """
        items = [periodic.item() for periodic in self.app.periodics]
        answer = self.ask(MessageType.PUT_PERIODIC, periodics=items)
        for error in answer.get("errors") or ():
            raise error_from(error)

    # --- running --------------------------------------------------------------------------

    def step(self) -> Ran | None:
        """
        Run the next task here and now: whatever the broker would hand to a
        worker of the application.

        Coroutine functions run on an asyncio loop of their own; where there is a
        loop already, use L{step_async}.

        @return: what came of it; C{None} where no task is ready.
        """
        delivery = self._claim()
        if delivery is None:
            return None
        context = self._begin(delivery)
        performed = self._performed(delivery, context)
        if not isinstance(performed, Verdict):
            performed = _on_own_loop(delivery.type, performed)
        return self._end(delivery, performed)

    async def step_async(self) -> Ran | None:
        """The same on the event loop that runs this, Twisted's or asyncio's."""
        delivery = self._claim()
        if delivery is None:
            return None
        context = self._begin(delivery)
        performed = self._performed(delivery, context)
        if not isinstance(performed, Verdict):
            performed = await performed
        return self._end(delivery, performed)

    def _performed(
        self, delivery: Delivery, context: Context
    ) -> Verdict | Coroutine[Any, Any, Verdict]:
        definition = self.app.handlers.get(delivery.type)
        if definition is None:
            error = f"the application has no task {delivery.type!r}"
            return Verdict("failed", error=error, permanent=True)
        perform_it = async_perform if definition.in_loop else perform
        return perform_it(definition, delivery.payload, context)

    def run(self) -> list[Ran]:
        """
        Run tasks until none is ready, those that they submit included.

        @raises RuntimeError: there is no end to them.
        """
        return self._run_while(lambda: True)

    def run_all(self, within_s: float = 7 * 24 * 3600.0) -> list[Ran]:
        """
        Run tasks, and let time pass wherever the rest waits for it, until nothing
        is left that would run within so many seconds.

        @raises RuntimeError: there is no end to them.
        """
        until = self.now + within_s
        ran = self.run()
        while self._leap(until):
            ran += self.run()
        return ran

    def run_until_ended(self, task_id: str) -> None:
        """Run tasks, and let time pass, until this one has ended or nothing can happen."""
        while True:
            self._run_while(lambda: not self._has_ended(task_id))
            if self._has_ended(task_id) or not self._leap(None):
                return

    def _run_while(self, wanted: Callable[[], bool]) -> list[Ran]:
        ran: list[Ran] = []
        while wanted():
            one = self.step()
            if one is None:
                break
            ran.append(one)
            if len(ran) >= MOST_TASKS:
                raise RuntimeError(f"{MOST_TASKS} tasks have run: is there no end to them?")
        return ran

    def _leap(self, until: float | None) -> bool:
        """Let time pass until something waiting is looked at; whether there is such a thing."""
        next_at = self._link.next_at
        if next_at is None or (until is not None and next_at > until):
            return False
        # The broker looks a few times a second.
        self.advance(max(0.0, next_at - self.now) + 0.25)
        return True

    def _claim(self) -> Delivery | None:
        queues = [view["name"] for view in self.ask(MessageType.LIST_QUEUES)["queues"]]
        if not queues:
            return None
        answer = self.ask(MessageType.CLAIM_TASK, queues=queues, limit=1, wait_s=0, lease_s=LEASE_S)
        for item in answer["tasks"]:
            return Delivery.from_wire(item)
        return None

    def _begin(self, delivery: Delivery) -> Context:
        context = Context.of(delivery, _Sink(self))
        self._running[delivery.lease] = context
        return context

    def _end(self, delivery: Delivery, verdict: Verdict) -> Ran:
        self._running.pop(delivery.lease, None)
        state = self._report(delivery, verdict)
        return Ran(delivery.id, delivery.type, delivery.attempt, verdict, state)

    def _report(self, delivery: Delivery, verdict: Verdict) -> str:
        if verdict.status == "released":
            lease = {"task": delivery.id, "lease": delivery.lease, "delay_s": verdict.delay_s}
            answer = self.ask(MessageType.RELEASE_TASK, leases=[lease])
        else:
            report = Report(
                *delivery.holding,
                state_from(verdict.status),
                verdict.result,
                verdict.error,
                verdict.permanent,
                verdict.retry_in_s,
            )
            answer = self.ask(MessageType.TASK_RESULT, results=[report.item()])
        # Where the lease was lost meanwhile, the task is wherever it is.
        return str(answer["states"][0] or self.view(delivery.id)["state"])

    # --- what running tasks say and hear --------------------------------------------------

    def _event(self, event: Header) -> None:
        context = self._running.get(event.get("lease", 0))
        if context is None:
            return
        if event.get("event") == "cancel":
            context.cancelled = True
        elif event.get("event") == "lease_lost":
            context.lease_lost = True

    # --- looking --------------------------------------------------------------------------

    def view(self, task_id: str, history: bool = False) -> dict[str, Any]:
        """
        What the broker knows of a task, as the protocol says, with its result.

        @raises UnknownTask: nothing.
        """
        ids = [str(task_id)]  # a handle is a text, but not for everyone
        answer = self.ask(MessageType.QUERY_STATUS, tasks=ids, history=history, result=True)
        view: dict[str, Any] | None = answer["tasks"][0]
        if view is None:
            raise UnknownTask(f"there is no task {task_id}", task=task_id)
        return view

    def state(self, task_id: str) -> str:
        """Where a task is, such as C{"completed"}."""
        return str(self.view(task_id)["state"])

    def tasks(self, **search: Any) -> list[dict[str, Any]]:
        """
        The tasks that match, oldest first.

        @param search: see L{Search<taskqueue.client.Search>}.
        """
        found = self.ask(MessageType.LIST_TASKS, **{"order": "oldest", "limit": 1000, **search})
        tasks: list[dict[str, Any]] = found["tasks"]
        return tasks

    def outcome(self, task_id: str) -> Outcome:
        """
        How a task ended.

        @raises AnswerTimedOut: it has not.
        """
        view = self.view(task_id)
        if view["state"] in _UNFINISHED:
            raise AnswerTimedOut(
                f"task {task_id} is {view['state']}, and has not ended: run it first, with"
                " run(), or with run_all() where it waits for its time"
            )
        return Outcome.from_wire({"task": task_id, **view})

    def _has_ended(self, task_id: str) -> bool:
        return self.state(task_id) not in _UNFINISHED

    def close(self) -> None:
        """End the broker."""
        self._link.close()


def _on_own_loop(type: str, performed: Coroutine[Any, Any, Verdict]) -> Verdict:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(performed)
    performed.close()
    raise RuntimeError(f"{type} needs an event loop, and one is running: await step_async()")


class _Sink:
    """What running tasks say."""

    def __init__(self, broker: AppBroker) -> None:
        self._broker = broker

    def progress(self, context: Context, value: Any) -> None:
        self._broker.progress.append((context.id, value))
        report = {"task": context.id, "lease": context.lease, "progress": value}
        self._broker.ask(MessageType.REPORT_PROGRESS, reports=[report])

    def log(self, context: Context, message: str, fields: Mapping[str, Any]) -> None:
        self._broker.logged.append((context.id, message, dict(fields)))
