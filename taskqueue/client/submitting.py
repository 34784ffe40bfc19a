"""
Calls that submit tasks.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Unpack

from taskqueue.client.answers import PASSING, error_from
from taskqueue.client.calls import Calls
from taskqueue.client.codecs import Codec
from taskqueue.client.framework import pause
from taskqueue.client.handles import TaskHandle
from taskqueue.client.messages import Outcome, Submission, SubmitOptions
from taskqueue.errors import (
    AnswerTimedOut,
    ConnectionLost,
    QueueFull,
    TaskQueueError,
    UnknownDependency,
)
from taskqueue.wire import Header, MessageType

#: Chunks of one L{SubmitCalls.submit_many} that are under way at a time.
WINDOW = 4

#: What one chunk may take of the longest frame.
_SHARE = 0.5

#: How long L{SubmitCalls.submit_many} goes on with tasks that are refused for now.
RETRY_FOR_S = 60.0

#: The pause before such a task is submitted again, seconds.
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 5.0

#: What passes, though it may take long, or has taken long already.
_SLOWLY_PASSING = (*PASSING, QueueFull, AnswerTimedOut, ConnectionLost)

Answer = TaskHandle | TaskQueueError
Tasks = Iterable[Submission | Mapping[str, Any]]
OnOutcome = Callable[[Outcome | TaskQueueError], None]


class Item(NamedTuple):
    """
    A task on its way to the broker.

    @ivar header: what SUBMIT_TASK says of it.
    @ivar codec: reads its result.
    @ivar chosen: its id was chosen by who submits it.
    """

    id: str
    header: Header
    codec: Codec
    chosen: bool


class Progress(NamedTuple):
    """How many of the tasks were accepted, and how many refused for good, so far."""

    accepted: int
    refused: int


class Patience:
    """
    Which refusals are not the last word.

    @param for_s: how long a chunk of tasks is tried, seconds.
    @param passing: the errors that are worth it.
    """

    def __init__(self, for_s: float, passing: tuple[type[TaskQueueError], ...]) -> None:
        self.for_s = for_s
        self._passing = passing
        self._late: set[str] = set()

    def worth_it(self, item: Item, answer: Answer) -> bool:
        """Whether to submit this task again."""
        again = isinstance(answer, self._passing) or (
            # What it depends on was itself refused at first.
            isinstance(answer, UnknownDependency)
            and not self._late.isdisjoint(item.header.get("depends_on") or ())
        )
        if again:
            self._late.add(item.id)
        elif isinstance(answer, TaskQueueError):
            self._late.discard(item.id)
        return again


class SubmitCalls(Calls):
    """Calls that submit tasks."""

    async def submit(
        self,
        type: str,
        payload: Any = None,
        *,
        codec: str | Codec | None = None,
        retry_for_s: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> TaskHandle:
        """
        Submit one task; when this is answered, the broker will not lose it.

        @param type: the name of the handler that can run it.
        @param payload: bytes, or a value for the codec; C{None} is nothing.
        @param codec: instead of the client's; reads the result as well.
        @param retry_for_s: how long to go on where it is refused for now.  C{None}:
            for the client's time-out where the broker is the reason, and not at
            all where the queue is full.
        @param options: see L{Submission}.
        @return: the task's id, and more; see L{TaskHandle}.
        @raises QueueFull: try again after C{retry_after_s}.
        @raises BadRequest: the payload or an option cannot be sent.
        """
        given = {"type": type, "payload": payload, "codec": codec, **options}
        patience = self.patience(retry_for_s)
        (answer,) = await self.submit_chunk([self.item(given)], None, patience)
        if isinstance(answer, TaskQueueError):
            raise answer
        return answer

    async def submit_many(
        self,
        tasks: Tasks,
        on_outcome: OnOutcome | None = None,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        retry_for_s: float | None = RETRY_FOR_S,
    ) -> list[Answer]:
        """
        Submit many tasks, in as few requests as the broker allows.

        @param tasks: any length; read as fast as the broker takes them.
        @param on_outcome: told how each accepted task ended.
        @param on_progress: told after each request that was answered.
        @param retry_for_s: how long to go on with tasks that are refused because
            their queue is full or the broker is not available; as L{submit} where
            C{None}.
        @return: for each its id, or why it was not accepted.
        @raises BadRequest: one of them cannot be sent; those before it were.
        """
        await self.reached()
        spawn = self._session.framework.spawn
        patience = self.patience(retry_for_s)
        under_way: deque[Any] = deque()
        answers: list[Answer] = []
        refused = 0

        async def next_answered() -> None:
            nonlocal refused
            more = await under_way.popleft()
            answers.extend(more)
            refused += sum(isinstance(answer, TaskQueueError) for answer in more)
            if on_progress is not None:
                on_progress(Progress(len(answers) - refused, refused))

        for chunk in self.chunks(tasks):
            if len(under_way) == WINDOW:
                await next_answered()
            under_way.append(spawn(self.submit_chunk(chunk, on_outcome, patience)))
        while under_way:
            await next_answered()
        return answers

    def item(self, task: Submission | Mapping[str, Any]) -> Item:
        """
        A task as it is sent.

        @raises BadRequest: it cannot be.
        """
        submission, codec = Submission.of(task).encoded(self._codec)
        return Item(*submission.item(), codec, submission.id is not None)

    def chunks(self, tasks: Tasks) -> Iterator[list[Item]]:
        """
        Tasks in as many lists as it takes requests to submit them.

        @raises BadRequest: one of them cannot be sent.
        """
        chunk: list[Item] = []
        size = 0
        for task in tasks:
            limits = self._session.limits
            item = self.item(task)
            more = _size(item.header)
            if chunk and (
                len(chunk) >= limits.max_batch_submit
                or size + more > limits.max_frame_bytes * _SHARE
            ):
                yield chunk
                chunk, size = [], 0
            chunk.append(item)
            size += more
        if chunk:
            yield chunk

    # --- refused for now ------------------------------------------------------------------

    def patience(self, retry_for_s: float | None) -> Patience:
        """Which refusals L{submit} and L{submit_many} take for how long."""
        if retry_for_s is None:
            return Patience(self._session.timeout_s, PASSING)
        return Patience(retry_for_s, _SLOWLY_PASSING)

    async def submit_chunk(
        self, items: Sequence[Item], on_outcome: OnOutcome | None, patience: Patience
    ) -> list[Answer]:
        """
        Submit tasks that make one request.

        @param patience: one for all that are submitted together.
        @return: for each its id, or why it was not accepted.
        """
        until = self._session.framework.seconds() + patience.for_s
        answers = await self._submit(items, on_outcome)
        framework = self._session.framework
        while self._session.failure is None:
            again = [i for i, item in enumerate(items) if patience.worth_it(item, answers[i])]
            left_s = until - framework.seconds()
            if not again or left_s <= 0:
                break
            wanted_s = max(getattr(answers[i], "retry_after_s", None) or 0.0 for i in again)
            await pause(framework, min(left_s, _pause_s(wanted_s)))
            newer = await self._submit([items[i] for i in again], on_outcome)
            for i, answer in zip(again, newer, strict=True):
                answers[i] = answer
        return answers

    # --- once -----------------------------------------------------------------------------

    async def _submit(self, items: Sequence[Item], on_outcome: OnOutcome | None) -> list[Answer]:
        if on_outcome is None:
            return await self._submitted(items, {})
        ids = [item.id for item in items]
        self._outcomes.wait_with_submission(ids, on_outcome)
        try:
            answers = await self._submitted(items, {"watch": True})
        except BaseException:
            for task_id in ids:
                self._outcomes.refused(task_id, on_outcome)
            raise
        for task_id, answer in zip(ids, answers, strict=True):
            if answer == task_id:
                self._outcomes.submitted(task_id)
                continue
            self._outcomes.refused(task_id, on_outcome)
            if isinstance(answer, TaskHandle):
                self._outcomes.wait([str(answer)], on_outcome)
        return answers

    async def _submitted(self, items: Sequence[Item], how: Header) -> list[Answer]:
        header = {"tasks": [item.header for item in items], **how}
        try:
            # The ids are chosen here, so that sending it twice submits it once.
            answer = await self._ask(MessageType.SUBMIT_TASK, header, repeatable=True)
        except TaskQueueError as error:
            return [error] * len(items)
        errors = {error["item"]: error_from(error) for error in answer.get("errors") or ()}
        existing = frozenset(answer.get("existing") or ())
        return [
            errors.get(i) or self._handle(item, answer["tasks"][i], i in existing)
            for i, item in enumerate(items)
        ]

    def _handle(self, item: Item, task_id: str, existing: bool) -> TaskHandle:
        # A task with an id that was made up here is an old one only to a broker
        # that is told of it again.
        known = task_id != item.id or (existing and item.chosen)
        return TaskHandle(task_id, self._face, item.codec, known)


def _pause_s(wanted_s: float) -> float:
    # Those who were refused together must not come back together.
    bounded_s = min(max(wanted_s, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
    return bounded_s * random.uniform(1.0, 1.5)


def _size(header: Header) -> int:
    """About how many bytes a task takes on the wire."""
    headers = header.get("headers") or {}
    extra = sum(len(name) + len(value) + 6 for name, value in headers.items())
    return len(header.get("payload", b"")) + 256 + extra + 40 * len(header.get("depends_on", ()))
