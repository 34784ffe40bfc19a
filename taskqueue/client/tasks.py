"""
Calls on tasks: submit them, follow them, change their fate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from taskqueue.client.answers import only, per_item, state_from
from taskqueue.client.calls import given
from taskqueue.client.codecs import BYTES, Codec, codec_of
from taskqueue.client.framework import Delayed
from taskqueue.client.handles import TaskHandle
from taskqueue.client.messages import Outcome, Search, TaskList
from taskqueue.client.submitting import SubmitCalls
from taskqueue.core.task import State
from taskqueue.errors import AnswerTimedOut, BadRequest, TaskQueueError, UnknownTask
from taskqueue.wire import MessageType


class TaskCalls(SubmitCalls):
    """Calls on tasks."""

    # --- results ------------------------------------------------------------------------

    def handle(self, task: str, codec: str | Codec | None = None) -> TaskHandle:
        """
        A handle for a task of which only the id is known.

        @param codec: for its result; C{None}: the client's.
        """
        return TaskHandle(task, self._face, self._codec if codec is None else codec_of(codec), True)

    async def result(
        self, task: str, timeout_s: float | None = None, codec: str | Codec | None = None
    ) -> Any:
        """
        Wait for a task to end.

        @param timeout_s: how long; C{None}: for ever.
        @param codec: reads the result.
        @return: what its handler returned, as bytes unless a codec is given.
        @raises TaskFailed: it ended without a result.
        @raises AnswerTimedOut: it has not ended in time.
        @raises UnknownTask: the broker has no such task.
        @raises BadRequest: the result is not of that codec.
        """
        wanted = BYTES if codec is None else codec_of(codec)
        result = (await self.outcome(task, timeout_s)).value()
        try:
            return wanted.decode(result)
        except BadRequest as error:
            raise BadRequest(
                f"The result of task {task} cannot be read as {wanted.name}: {error}"
                ' Ask for it with codec="bytes".'
            ) from None

    async def outcome(self, task: str, timeout_s: float | None = None) -> Outcome:
        """
        Wait for a task to end, as L{result} does.

        @return: how it ended, however that was.
        """
        framework = self._session.framework
        future = framework.create_future(lambda _: self._outcomes.leave(task, tell))
        timer: Delayed | None = None

        def tell(outcome: Outcome | TaskQueueError) -> None:
            if timer is not None:
                timer.cancel()
            if isinstance(outcome, TaskQueueError):
                framework.reject(future, outcome)
            else:
                framework.resolve(future, outcome)

        def too_late() -> None:
            self._outcomes.leave(task, tell)
            framework.reject(future, AnswerTimedOut(f"task {task} did not end in {timeout_s:g} s"))

        self.must_be_open()
        self._outcomes.wait([task], tell)
        if timeout_s is not None:
            timer = framework.call_later(timeout_s, too_late)
        outcome: Outcome = await future
        return outcome

    async def as_completed(
        self,
        tasks: Iterable[str | TaskQueueError],
        callback: Callable[[Outcome | TaskQueueError], None],
    ) -> None:
        """
        Call C{callback} as each of these tasks ends, in the order in which they do.

        @param tasks: ids, or what L{submit_many} answered: refusals are told first.
        @return: when all have ended.
        """
        self.must_be_open()
        answers = set(tasks)
        left = {str(task) for task in answers if isinstance(task, str)}
        for answer in answers:
            if isinstance(answer, TaskQueueError):
                callback(answer)
        if not left:
            return
        framework = self._session.framework

        def give_up(_: Any) -> None:
            for task in left:
                self._outcomes.leave(task, waiters[task])

        future = framework.create_future(give_up)

        def waiter_for(task: str) -> Callable[[Outcome | TaskQueueError], None]:
            def tell(outcome: Outcome | TaskQueueError) -> None:
                left.discard(task)
                try:
                    callback(outcome)
                finally:
                    if not left:
                        framework.resolve(future, None)

            return tell

        waiters = {task: waiter_for(task) for task in left}
        for task, waiter in list(waiters.items()):
            self._outcomes.wait([task], waiter)
        await future

    async def watch_queue(self, queue: str, listener: Callable[[Outcome], None]) -> None:
        """Call C{listener} with the outcome of every task of C{queue} that ends from now on."""
        await self._ask(MessageType.WATCH, {"queues": [queue]}, repeatable=True)
        self._outcomes.watch_queue(queue, listener)

    # --- one task, for its handle ---------------------------------------------------------

    async def view(self, task: str, history: bool = False) -> dict[str, Any] | None:
        """Where one task is in its life, as L{status} says."""
        (view,) = await self.status([task], history)
        return view

    async def cancel_one(self, task: str, running: bool = False) -> State:
        """Cancel one task, as L{cancel} does; what stands in the list there is raised here."""
        return only(await self.cancel([task], running))

    async def retry_one(self, task: str, max_retries: int | None = None) -> State:
        """Let one task run again, as L{retry} does."""
        return only(await self.retry([task], max_retries))

    async def delete_one(self, task: str) -> None:
        """Have one task forgotten, as L{delete} does."""
        only(await self.delete([task]))

    # --- looking ------------------------------------------------------------------------

    async def status(
        self, tasks: Sequence[str], history: bool = False, result: bool = False
    ) -> list[dict[str, Any] | None]:
        """
        Where tasks are in their lives.

        @param history: with what happened to each.
        @param result: with the result of each completed one, as bytes.
        @return: for each what the broker knows of it (C{"state"} and others, as
            the protocol says), C{None} for an unknown one.
        """
        header = {"tasks": list(tasks)} | given(history=history or None, result=result or None)
        answer = await self._ask(MessageType.QUERY_STATUS, header, repeatable=True)
        views: list[dict[str, Any] | None] = answer["tasks"]
        return views

    async def list_tasks(self, search: Search | None = None) -> TaskList:
        """One page of the tasks that match C{search}."""
        header = (search or Search()).header()
        answer = await self._ask(MessageType.LIST_TASKS, header, repeatable=True)
        return TaskList(answer["tasks"], answer.get("next"))

    async def payload(self, task: str) -> bytes:
        """
        What a task was submitted with.

        @raises UnknownTask: the broker has no such task.
        """
        answer = await self._ask(MessageType.GET_PAYLOAD, {"task": task}, repeatable=True)
        if not answer["tasks"]:
            raise UnknownTask(f"there is no task {task}", task=task)
        payload: bytes = answer["tasks"][0].get("payload") or b""
        return payload

    # --- changing -----------------------------------------------------------------------

    async def cancel(
        self, tasks: Sequence[str], running: bool = False
    ) -> list[State | TaskQueueError]:
        """
        Cancel tasks that wait.

        @param running: ask for those in progress too; their workers are told.
        @return: for each the state it is in now, or L{Conflict} or L{UnknownTask}.
        """
        header = {"tasks": list(tasks)} | given(running=running or None)
        return per_item(await self._ask(MessageType.CANCEL_TASK, header), "states", state_from)

    async def retry(
        self, tasks: Sequence[str], max_retries: int | None = None
    ) -> list[State | TaskQueueError]:
        """
        Let dead letters run again.

        @return: for each the state it is in now, or L{Conflict} or L{UnknownTask}.
        """
        header = {"tasks": list(tasks)} | given(max_retries=max_retries)
        return per_item(await self._ask(MessageType.RETRY_TASK, header), "states", state_from)

    async def run_now(self, tasks: Sequence[str]) -> list[State | TaskQueueError]:
        """
        Make tasks ready that wait for their time or for a retry.

        @return: for each the state it is in now, or L{Conflict} or L{UnknownTask}.
        """
        answer = await self._ask(MessageType.RUN_NOW, {"tasks": list(tasks)})
        return per_item(answer, "states", state_from)

    async def delete(self, tasks: Sequence[str]) -> list[TaskQueueError | None]:
        """
        Have ended tasks forgotten entirely.

        @return: C{None} for each, or L{Conflict} or L{UnknownTask}.
        """
        answer = await self._ask(MessageType.DELETE_TASK, {"tasks": list(tasks)})
        return per_item({**answer, "tasks": [None] * len(tasks)}, "tasks", lambda _: None)
