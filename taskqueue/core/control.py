"""
Control: what people and producers do to tasks, queues and workers from outside.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import Any

from taskqueue.core.changes import QueueRow, TaskRow, row_of
from taskqueue.core.desk import Desk
from taskqueue.core.lanes import Queue
from taskqueue.core.ledger import Ledger, Notice
from taskqueue.core.moments import Now
from taskqueue.core.restore import task_from, unfinished
from taskqueue.core.results import BURIED
from taskqueue.core.room import queue_for
from taskqueue.core.task import FIRST_ENDED, State, Task
from taskqueue.core.unique import holds
from taskqueue.core.workers import Registration, Worker, check_succession
from taskqueue.errors import BadRequest, Conflict, UnknownQueue, UnknownTask

#: The error of a dead letter that never failed.
KILLED = "somebody took it out of its queue"


class Control:
    """The desk for everything but submitting and claiming."""

    def __init__(self, ledger: Ledger, desk: Desk) -> None:
        self._ledger = ledger
        self._desk = desk

    # --- tasks ------------------------------------------------------------------

    def cancel(self, task_id: str, running: bool, now: Now) -> State:
        """
        Cancel a task that waits; one in progress only where C{running} says
        so: its worker is told, and it is cancelled when the worker yields or
        loses the lease.

        @return: the task's state thereafter.
        @raises UnknownTask: there is none in memory (it may be in the store).
        @raises Conflict: it has ended, or is in progress.
        """
        ledger = self._ledger
        task = ledger.find(task_id)
        if task is None:
            raise unknown_task(task_id)
        if task.state >= FIRST_ENDED:
            raise ended_already(task_id, task.state)
        if task.state is not State.IN_PROGRESS:
            ledger.finish(task, State.CANCELLED, now)
        elif not running:
            raise Conflict(
                f"task {task_id} is in progress: ask for it with running=true, and its worker "
                f"will be told",
                task=task_id,
                state=task.state.word,
            )
        elif not task.cancel_requested:
            task.cancel_requested = True
            ledger.record(task, now, "cancel_requested", None)
            ledger.changes.touch(task)
            if task.lease is not None:
                holder = task.lease.holder
                holder.to_cancel[task.token] = task.lease
                ledger.notices.append(
                    Notice(holder, "cancel", task.id, task.token, "cancel requested")
                )
        return task.state

    def _waiting(self, task_id: str, what: str) -> Task:
        """
        A task that waits, and to which something is to be done.

        @raises UnknownTask: there is none in memory (it may be in the store).
        @raises Conflict: it has ended, or is in progress.
        """
        task = self._ledger.find(task_id)
        if task is None:
            raise unknown_task(task_id)
        if task.state >= FIRST_ENDED:
            raise ended_already(task_id, task.state)
        if task.state is State.IN_PROGRESS:
            raise Conflict(
                f"task {task_id} is in progress: only one that waits can be {what}",
                task=task_id,
                state=task.state.word,
            )
        return task

    def kill(self, task_id: str, now: Now) -> State:
        """
        Make a task that waits a dead letter: nobody runs it unless somebody says so.

        @return: the task's state thereafter.
        @raises UnknownTask: as L{run_now}.
        @raises Conflict: the same.
        """
        task = self._waiting(task_id, "made a dead letter")
        self._ledger.record(task, now, "killed", None)
        self._ledger.finish(task, State.DEAD_LETTER, now, task.error or KILLED)
        return task.state

    def run_now(self, task_id: str, now: Now) -> State:
        """
        Let a task run at once that is scheduled or waits for its retry; it keeps its place.

        @return: the task's state thereafter.
        @raises UnknownTask: there is none in memory (it may be in the store).
        @raises Conflict: it has ended, is in progress, or waits for other tasks.
        """
        ledger, task = self._ledger, self._waiting(task_id, "run at once")
        if task.state is State.BLOCKED:
            raise Conflict(
                f"task {task_id} is blocked: it waits for other tasks, and not for a moment",
                task=task_id,
                state=task.state.word,
            )
        if task.state is not State.PENDING:
            ledger.record(task, now, "run_now", None)
            ledger.delayed.discard(task)
            task.run_at = now.wall
            ledger.move(task, State.PENDING)
            ledger.make_ready(task)
        return task.state

    def revive(
        self, row: TaskRow, now: Now, max_retries: int | None = None, *, why: str | None = None
    ) -> State:
        """
        Let a dead letter run again, with fresh retries and losses.

        @param row: the task as the store has it, with its payload.
        @param max_retries: how many retries it gets now, C{None} for as before.
        @param why: for its history; C{None} where somebody asked for just this.
        @return: the task's state thereafter.
        @raises Conflict: it is not a dead letter (any more), or another task
            holds its unique key.
        @raises UnknownTask: it was deleted meanwhile.
        """
        ledger = self._ledger
        row = self._newest(row)
        if row.state != State.DEAD_LETTER:
            raise _in_wrong_state(row, "only dead letters can be revived")
        self._check_key(row, now)
        ledger.ended.pop(row.id, None)
        task = task_from(row, ledger)
        task.lane.counts[State.DEAD_LETTER] -= 1
        task.failures = task.losses = 0
        task.cancel_requested = False
        task.ended_at = task.run_at = task.expires_at = None
        if task.error == BURIED:
            task.error = None  # it has not failed
        if max_retries is not None:
            task.options = task.options._replace(max_retries=max_retries)
        task.stored = False  # as a whole: updates carry neither options nor expiry
        task.lane.counters.revived += 1
        missing = unfinished(task, ledger)
        ledger.know(task, State.BLOCKED if missing else State.PENDING)
        ledger.changes.enter_again(task)
        if task.unique is not None and holds(task, now.wall):
            ledger.keys.take(task)
        if missing:
            ledger.block(task, missing)
        else:
            ledger.make_ready(task)
        ledger.record(task, now, "revived", why)
        return task.state

    def _check_key(self, row: TaskRow, now: Now) -> None:
        """
        @raises Conflict: another task holds the unique key of C{row}.
        """
        if row.unique is None:
            return
        holder = self._ledger.keys.holder(row.unique.key, now.wall)
        if holder is not None and holder.seq != row.seq:
            raise Conflict(
                f"task {row.id} has the unique key {row.unique.key!r}, which task {holder.id} "
                f"holds now: cancel that one, or wait until it has ended",
                task=row.id,
                holder=holder.id,
            )

    def delete(self, row: TaskRow) -> None:
        """
        Forget an ended task entirely; a unique key that it still holds is free.

        @raises Conflict: it has not ended.
        @raises UnknownTask: it was deleted already.
        """
        ledger = self._ledger
        row = self._newest(row)
        if row.state < FIRST_ENDED:
            raise _in_wrong_state(row, "only ended tasks can be deleted")
        ledger.ended.pop(row.id, None)
        lane = ledger.queue(row.queue).lane(row.type)
        lane.counts[row.state] -= 1
        if row.unique is not None:
            ledger.keys.release(row.unique.key, row.seq)
        ledger.forget(row.seq)

    def _newest(self, row: TaskRow) -> TaskRow:
        """
        The task that C{row} tells of as it stands now: what was read from the
        store may be older than what is in memory.
        """
        ledger = self._ledger
        known = ledger.find(row.id)
        if row.seq in ledger.forgotten or (known is not None and known.seq != row.seq):
            raise unknown_task(row.id)
        return row if known is None else row_of(known)._replace(payload=row.payload)

    # --- queues -----------------------------------------------------------------

    def known_queue(self, name: str) -> Queue:
        """
        A queue that there is.

        @raises UnknownQueue: there is none of this name.
        """
        queue = self._ledger.queues.get(name)
        if queue is None and name in self._ledger.policy.queues:
            queue = self._ledger.queue(name)
        if queue is None:
            raise UnknownQueue(f"there is no queue {name!r}", queue=name)
        return queue

    def pause(self, name: str, now: Now, for_s: float | None = None) -> None:
        """
        Give out no task of a queue (made if need be), for a time or until it is resumed.

        @raises QueueFull: it would be one too many.
        """
        queue = queue_for(self._ledger, name)
        queue.paused = True
        queue.resume_at = None if for_s is None else now.wall + for_s
        self._note(queue)

    def resume(self, name: str) -> None:
        """
        End a pause.

        @raises UnknownQueue: there is no such queue.
        """
        queue = self.known_queue(name)
        queue.paused = False
        queue.resume_at = None
        self._note(queue)
        for lane in queue.busy.values():
            self._ledger.touched[lane] = None

    def bound(self, name: str, max_depth: int | None) -> None:
        """
        Bound a queue's waiting tasks: 0 drains it, C{None} restores the configured bound.

        @raises QueueFull: the queue would be one too many.
        """
        queue = queue_for(self._ledger, name)
        queue.max_depth = max_depth
        self._note(queue)

    def _note(self, queue: Queue) -> None:
        self._ledger.changes.set_queue(
            QueueRow(queue.name, queue.paused, queue.resume_at, queue.max_depth)
        )

    def purge(self, name: str, limit: int, now: Now) -> tuple[int, int]:
        """
        Cancel up to C{limit} waiting tasks of a queue.

        @return: how many were cancelled, and how many waiting ones are left.
        @raises UnknownQueue: there is no such queue.
        """
        queue = self.known_queue(name)
        ledger = self._ledger
        waiting = chain.from_iterable(queue.lanes.values())
        doomed: list[Task] = list(islice(waiting, limit))
        if len(doomed) < limit and queue.depth > len(doomed):
            others = (
                task
                for task in ledger.tasks.values()
                if task.lane.queue is queue
                and task.state in (State.SCHEDULED, State.FAILED, State.BLOCKED)
            )
            doomed.extend(islice(others, limit - len(doomed)))
        count = 0
        for task in doomed:
            if task.state < FIRST_ENDED:  # not ended meanwhile, by an earlier one's end
                ledger.finish(task, State.CANCELLED, now)
                count += 1
        return count, queue.depth

    # --- workers ----------------------------------------------------------------

    def register(self, info: Registration, now: Now, link: Any = None) -> Worker:
        """
        Enter a worker into the registry; the same process may come back, and a
        new incarnation replaces an old one, whose leases end.

        @param link: how the service reaches it.
        @raises StaleIncarnation: a newer incarnation is registered.
        @raises WorkerExists: this incarnation is connected elsewhere.
        @raises BadRequest: there are too many workers.
        """
        workers = self._ledger.workers
        known = workers.find(info.id)
        if known is not None and check_succession(known, info, link):
            self.strike(known, "replaced by a new incarnation", now)
            known = None
        if known is None:
            known = Worker(info, now, link)
            workers.add(known)
        known.info = info
        known.link = link
        known.recovered = False
        self._beat(known, now)
        return known

    def heartbeat(
        self,
        info: Registration,
        now: Now,
        link: Any = None,
        *,
        cpu_percent: float | None = None,
        rss_bytes: int | None = None,
        in_hand: int | None = None,
    ) -> Worker:
        """
        A worker lives: all its leases run anew.  An unknown one is registered.

        @raises StaleIncarnation: a newer incarnation is registered.
        @raises WorkerExists: this incarnation is connected elsewhere.
        @raises BadRequest: there are too many workers.
        """
        worker = self._ledger.workers.find(info.id)
        if worker is None or worker.recovered or worker.incarnation != info.incarnation:
            worker = self.register(info, now, link)
        elif worker.link is not link:
            check_succession(worker, info, link)
            worker.link = link
        worker.cpu_percent = cpu_percent
        worker.rss_bytes = rss_bytes
        worker.in_hand = in_hand
        self._beat(worker, now)
        return worker

    def _beat(self, worker: Worker, now: Now) -> None:
        worker.beat(now)
        worker.away_since = None

    def strike(self, worker: Worker, reason: str, now: Now) -> None:
        """Strike a worker out of the registry; its leases end, as losses."""
        self.retire(worker)
        self._desk.lose_all(worker, reason, now)

    def retire(self, worker: Worker) -> None:
        """Strike a worker out of the registry; its leases run on until they end by themselves."""
        self._ledger.workers.remove(worker)
        self._ledger.withdraw_claims(worker)

    def order(self, worker_id: str, order: str) -> None:
        """
        Tell a worker to be quiet (claim no more) or to terminate; there is no
        way back but a new incarnation.

        @raises UnknownWorker: there is none with this id.
        @raises BadRequest: it was told to terminate already.
        """
        worker = self._ledger.workers.get(worker_id)
        if worker.order == "terminate" and order == "quiet":
            raise BadRequest(f"worker {worker_id!r} was told to terminate already")
        worker.order = order
        self._ledger.withdraw_claims(worker)


def ended_already(task_id: str, state: State) -> Conflict:
    """The error for a task that has ended, where only a live one would do."""
    return Conflict(f"task {task_id} has ended: it is {state.word}", task=task_id, state=state.word)


def unknown_task(task_id: str) -> UnknownTask:
    """The error for an id that no task has."""
    return UnknownTask(f"there is no task {task_id}", task=task_id)


def _in_wrong_state(row: TaskRow, rule: str) -> Conflict:
    word = State(row.state).word
    return Conflict(f"task {row.id} is {word}: {rule}", task=row.id, state=word)
