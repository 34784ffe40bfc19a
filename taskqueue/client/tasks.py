"""
Calls on tasks: submit them, follow them, change their fate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Unpack

from taskqueue.client.answers import only, per_item, state_from
from taskqueue.client.calls import Calls, given
from taskqueue.client.framework import Delayed
from taskqueue.client.messages import Outcome, Search, Submission, SubmitOptions, TaskList
from taskqueue.core.task import State
from taskqueue.errors import AnswerTimedOut, TaskQueueError, UnknownTask
from taskqueue.wire import Header, MessageType

#: Chunks of one L{TaskCalls.submit_many} that are under way at a time.
WINDOW = 4

#: What one chunk may take of the longest frame.
_SHARE = 0.5

Item = tuple[str, Header]


class TaskCalls(Calls):
    """Calls on tasks."""

    # --- submitting ---------------------------------------------------------------------

    async def submit(
        self, type: str, payload: bytes = b"", **options: Unpack[SubmitOptions]
    ) -> str:
        """
        Submit one task; when this is answered, the broker will not lose it.

        @param type: the name of the handler that can run it.
        @param options: see L{Submission}.
        @return: the task's id.
        @raises QueueFull: try again after C{retry_after_s}.
        """
        return only(await self._submit([Submission(type, payload, **options).item()], None))

    async def submit_many(
        self,
        tasks: Iterable[Submission | Mapping[str, Any]],
        on_outcome: Callable[[Outcome | TaskQueueError], None] | None = None,
    ) -> list[str | TaskQueueError]:
        """
        Submit many tasks, in as few requests as the broker allows.

        @param tasks: any length; read as fast as the broker takes them.
        @param on_outcome: told how each accepted task ended.
        @return: for each its id, or why it was not accepted.
        @raises BadRequest: one of them cannot be sent; those before it were.
        """
        await self._session.ready()
        spawn = self._session.framework.spawn
        under_way: deque[Any] = deque()
        answers: list[str | TaskQueueError] = []
        for chunk in self._chunks(tasks):
            if len(under_way) == WINDOW:
                answers += await under_way.popleft()
            under_way.append(spawn(self._submit_chunk(chunk, on_outcome)))
        for future in under_way:
            answers += await future
        return answers

    def _chunks(self, tasks: Iterable[Submission | Mapping[str, Any]]) -> Iterator[list[Item]]:
        limits = self._session.limits
        most_bytes = limits.max_frame_bytes * _SHARE
        chunk: list[Item] = []
        size = 0
        for task in tasks:
            submission = Submission.of(task)
            more = submission.size()
            if chunk and (len(chunk) >= limits.max_batch_submit or size + more > most_bytes):
                yield chunk
                chunk, size = [], 0
            chunk.append(submission.item())
            size += more
        if chunk:
            yield chunk

    async def _submit_chunk(
        self, items: Sequence[Item], on_outcome: Callable[[Outcome | TaskQueueError], None] | None
    ) -> list[str | TaskQueueError]:
        try:
            return await self._submit(items, on_outcome)
        except TaskQueueError as error:
            return [error] * len(items)

    async def _submit(
        self, items: Sequence[Item], on_outcome: Callable[[Outcome | TaskQueueError], None] | None
    ) -> list[str | TaskQueueError]:
        header: Header = {"tasks": [item for _, item in items]}
        if on_outcome is None:
            return await self._submitted(header)
        ids = [task_id for task_id, _ in items]
        self._outcomes.wait_with_submission(ids, on_outcome)
        header["watch"] = True
        try:
            answers = await self._submitted(header)
        except BaseException:
            for task_id in ids:
                self._outcomes.leave(task_id, on_outcome)
            raise
        for task_id, answer in zip(ids, answers, strict=True):
            if isinstance(answer, TaskQueueError):
                self._outcomes.leave(task_id, on_outcome)
            else:
                self._outcomes.submitted(task_id)
        return answers

    async def _submitted(self, header: Header) -> list[str | TaskQueueError]:
        # The ids are chosen here, so that sending it twice submits it once.
        answer = await self._ask(MessageType.SUBMIT_TASK, header, repeatable=True)
        return per_item(answer, "tasks", str)

    # --- results ------------------------------------------------------------------------

    async def result(self, task: str, timeout_s: float | None = None) -> bytes:
        """
        Wait for a task to end.

        @param timeout_s: how long; C{None}: for ever.
        @return: what its handler returned.
        @raises TaskFailed: it ended without a result.
        @raises AnswerTimedOut: it has not ended in time.
        @raises UnknownTask: the broker has no such task.
        """
        return (await self.outcome(task, timeout_s)).value()

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

        if self._session.failure is not None:
            raise self._session.failure
        self._outcomes.wait([task], tell)
        if timeout_s is not None:
            timer = framework.call_later(timeout_s, too_late)
        outcome: Outcome = await future
        return outcome

    async def as_completed(
        self, tasks: Iterable[str], callback: Callable[[Outcome | TaskQueueError], None]
    ) -> None:
        """
        Call C{callback} as each of these tasks ends, in the order in which they do.

        @return: when all have ended.
        """
        left = set(tasks)
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

    async def delete(self, tasks: Sequence[str]) -> list[TaskQueueError | None]:
        """
        Have ended tasks forgotten entirely.

        @return: C{None} for each, or L{Conflict} or L{UnknownTask}.
        """
        answer = await self._ask(MessageType.DELETE_TASK, {"tasks": list(tasks)})
        return per_item({**answer, "tasks": [None] * len(tasks)}, "tasks", lambda _: None)
