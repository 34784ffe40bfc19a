"""
Who waits for which task to end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from twisted.logger import Logger

from taskqueue.client.answers import PASSING
from taskqueue.client.framework import Delayed
from taskqueue.client.messages import Outcome
from taskqueue.client.requests import Request
from taskqueue.client.session import Session
from taskqueue.errors import TaskQueueError, UnknownTask
from taskqueue.wire import Header, MessageType

#: Told how a task ended, or why that cannot be told.
Waiter = Callable[[Outcome | TaskQueueError], None]

#: Most ids that one WATCH names.
_BATCH = 1000

#: The pause before asking again, where the broker names none, seconds.
_PAUSE_S = 1.0


class Outcomes:
    """
    The tasks and queues that are watched, over one connection after another.

    A task is watched from the turn of the event loop after the first waiter
    came, together with all others of that turn.  One whose submission is not
    answered yet is watched by that submission: the broker may not know it.
    """

    _log = Logger()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiters: dict[str, list[Waiter]] = {}
        self._submitting: Counter[str] = Counter()
        self._unasked: list[str] = []
        self._refused: list[str] = []
        self._timer: Delayed | None = None
        self._not_watched: list[str] = []
        self._queues: dict[str, list[Callable[[Outcome], None]]] = {}
        self._closed: TaskQueueError | None = None

    def __len__(self) -> int:
        return len(self._waiters)

    # --- waiting ----------------------------------------------------------------------

    def wait(self, task_ids: Iterable[str], waiter: Waiter) -> None:
        """Tell C{waiter} about each of these tasks, once."""
        for task_id in task_ids:
            if self._closed is not None:
                self._session.framework.call_later(0, waiter, self._closed)
                continue
            waiters = self._waiters.setdefault(task_id, [])
            waiters.append(waiter)
            if len(waiters) == 1:
                self._ask_soon(task_id)

    def _ask_soon(self, task_id: str) -> None:
        if not self._unasked:
            self._session.framework.call_later(0, self._ask)
        self._unasked.append(task_id)

    def wait_with_submission(self, task_ids: Iterable[str], waiter: Waiter) -> None:
        """
        Tell C{waiter}; the submission that is about to be sent asks the broker.  What
        comes of it is to be told with L{submitted} or L{refused}.
        """
        for task_id in task_ids:
            self._waiters.setdefault(task_id, []).append(waiter)
            self._submitting[task_id] += 1

    def submitted(self, task_id: str) -> None:
        """The submission was accepted: from now on the broker knows the task."""
        self._answered_for(task_id)

    def refused(self, task_id: str, waiter: Waiter) -> None:
        """It was not, or gave another task, so C{waiter} has nothing to wait for here."""
        last = self._answered_for(task_id)
        self.leave(task_id, waiter)
        if last and task_id in self._waiters:
            self._ask_soon(task_id)  # others wait, for whom that submission was to ask

    def _answered_for(self, task_id: str) -> bool:
        """Note the answer to a submission; whether it was the last one under way."""
        under_way = self._submitting[task_id] - 1
        if under_way > 0:
            self._submitting[task_id] = under_way
        else:
            del self._submitting[task_id]
        return under_way == 0

    def leave(self, task_id: str, waiter: Waiter) -> None:
        """C{waiter} does not want to know any more."""
        waiters = self._waiters.get(task_id, [])
        if waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[task_id]
                self._not_watched.append(task_id)
                if len(self._not_watched) == 1:
                    self._session.framework.call_later(0, self._stop_watching)

    def watch_queue(self, queue: str, listener: Callable[[Outcome], None]) -> None:
        """Remember to tell C{listener} of every task that ends in C{queue}."""
        self._queues.setdefault(queue, []).append(listener)

    def close(self, error: TaskQueueError) -> None:
        """Tell everybody that waits, and will, that there is nothing more to come."""
        self._closed = error
        for task_id in list(self._waiters):
            self._tell(task_id, error)
        self._queues.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- asking -------------------------------------------------------------------------

    def _ask(self) -> None:
        asked, self._unasked = self._unasked, []
        if not self._session.greeted:
            return  # the next connection begins with asking for all
        wanted = [i for i in asked if i in self._waiters and i not in self._submitting]
        for header, ids in self._watches(wanted):
            self._session.send_now(MessageType.WATCH, header, self._answered(ids))

    def _ask_later(self, ids: Sequence[str], pause_s: float) -> None:
        self._refused += ids
        if self._timer is None:
            self._timer = self._session.framework.call_later(pause_s, self._ask_again)

    def _ask_again(self) -> None:
        self._timer = None
        self._unasked, self._refused = self._unasked + self._refused, []
        self._ask()

    def again(self) -> Iterator[Request]:
        """What to ask for first on a new connection."""
        self._unasked = []
        ids = [task_id for task_id in self._waiters if task_id not in self._submitting]
        for header, batch in self._watches(ids):
            yield self._session.make(MessageType.WATCH, header, self._answered(batch))
        if self._queues:
            queues = {"queues": list(self._queues)}
            yield self._session.make(MessageType.WATCH, queues, lambda answer: None)

    def _watches(self, ids: Sequence[str]) -> Iterator[tuple[Header, Sequence[str]]]:
        size = min(_BATCH, self._session.limits.max_batch_submit)
        for start in range(0, len(ids), size):
            batch = ids[start : start + size]
            yield {"tasks": batch}, batch

    def _answered(self, ids: Sequence[str]) -> Callable[[Header | Exception], None]:
        def answered(answer: Header | Exception) -> None:
            if isinstance(answer, PASSING):
                self._ask_later(ids, answer.retry_after_s or _PAUSE_S)
            elif isinstance(answer, TaskQueueError):
                for task_id in ids:
                    self._tell(task_id, answer)
            elif not isinstance(answer, Exception):
                for task_id in answer.get("unknown") or ():
                    if task_id in self._submitting:
                        continue  # this was asked before
                    self._tell(task_id, UnknownTask(f"there is no task {task_id}", task=task_id))

        return answered

    def _stop_watching(self) -> None:
        left, self._not_watched = self._not_watched, []
        ids = [task_id for task_id in left if task_id not in self._waiters]
        if self._session.greeted:
            for header, _ in self._watches(ids):
                self._session.send_now(MessageType.UNWATCH, header, lambda answer: None)

    # --- telling ------------------------------------------------------------------------

    def ended(self, outcome: Outcome) -> None:
        """The broker says how a task ended."""
        self._tell(outcome.task, outcome)
        for listener in list(self._queues.get(outcome.queue, ())):
            try:
                listener(outcome)
            except Exception:
                self._log.failure("A listener to queue {queue} failed", queue=outcome.queue)

    def _tell(self, task_id: str, outcome: Outcome | TaskQueueError) -> None:
        del self._submitting[task_id]
        for waiter in self._waiters.pop(task_id, ()):
            try:
                waiter(outcome)
            except Exception:
                self._log.failure("Who waited for task {task} failed", task=task_id)
