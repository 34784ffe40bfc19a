"""
Submission: what is let in, and what waits for what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taskqueue.core.dependencies import order_batch
from taskqueue.core.lanes import Queue
from taskqueue.core.ledger import Ledger
from taskqueue.core.moments import Now
from taskqueue.core.room import lane_for, queue_for
from taskqueue.core.submission import (
    Accepted,
    Submission,
    check_options,
    check_submission,
    chosen_id,
    cycle,
    unknown_dependency,
)
from taskqueue.core.task import DEFAULT_OPTIONS, FIRST_ENDED, State, Task, Unique
from taskqueue.errors import QueueFull, TaskQueueError
from taskqueue.ids import NUMBERED, NUMBERED_HEAD, numbered_id, numbered_ids

__all__ = ["RETRY_AFTER_S", "Accepted", "Intake", "Submission"]

#: What a producer is told to wait when a queue is full, seconds.
RETRY_AFTER_S = 1.0

_new_answer = tuple.__new__  # without a call of a Python function


class Intake:
    """The desk at which tasks are submitted."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def unknown_ids(self, items: Sequence[Submission]) -> list[str]:
        """
        The ids named by C{items} that are not in memory, but may be in the
        store: whoever submits looks them up there first, and hands L{submit}
        what was found.
        """
        unknown: dict[str, None] = {}
        for item in items:
            own_id = item.id
            if own_id is not None and own_id != NUMBERED and self._may_be_stored(own_id):
                unknown[own_id] = None
            for dependency in item.depends_on:
                if self._may_be_stored(dependency):
                    unknown[dependency] = None
        return list(unknown)

    def _may_be_stored(self, task_id: str) -> bool:
        ledger = self._ledger
        return ledger.seen.may_have(task_id) and ledger.find(task_id) is None

    def submit(
        self,
        items: Sequence[Submission],
        now: Now,
        stored: Mapping[str, State],
        *,
        any_lease: bool = False,
    ) -> list[Accepted | TaskQueueError]:
        """
        Submit a batch; each item is accepted or refused by itself.

        @param stored: the states of tasks that are in the store only, as far
            as C{items} name them.
        @param any_lease: whether leases may be of any length: for doors whose protocol has
            bounds of its own.
        @return: for each item, in order, what became of it: L{Accepted}, or
            an L{UnknownDependency}, L{DependencyCycle}, L{QueueFull} or
            L{BadRequest}.
        """
        plain = self._submit_plain(items, now, stored, any_lease)
        if plain is not None:
            return plain
        answers: list[Accepted | TaskQueueError | None] = [None] * len(items)
        order: Sequence[int] = range(len(items))
        edges = {i: item.depends_on for i, item in enumerate(items) if item.depends_on}
        if edges:
            order, cyclic = order_batch([chosen_id(item) for item in items], edges)
            for position in cyclic:
                answers[position] = cycle(items[position])
        instead: dict[str, str] = {}
        for position in order:
            item = items[position]
            if instead and item.depends_on:
                depends_on = dict.fromkeys(instead.get(d, d) for d in item.depends_on)
                item = item._replace(depends_on=tuple(depends_on))
            try:
                answer = answers[position] = self._submit(item, now, stored, any_lease)
            except TaskQueueError as error:
                answers[position] = error.alone()
                continue
            own_id = chosen_id(item)
            if own_id is not None and answer.id != own_id:
                # Who depends on the task that was not made depends on the one there is.
                instead[own_id] = answer.id
                stored = {**stored, answer.id: answer.state}
        return answers  # type: ignore[return-value]  # every position was filled

    def _submit_plain(
        self, items: Sequence[Submission], now: Now, stored: Mapping[str, State], any_lease: bool
    ) -> list[Accepted | TaskQueueError] | None:
        """
        Submit a batch of new tasks that differ in their payloads, headers and
        priorities only, and can run at once: all in one go.

        @return: what L{submit} does; C{None}, and nothing is done, where this is
            no such batch, or not all of it can be accepted.
        """
        if not items:
            return None
        plain = self._plain_ids(items, stored)
        if plain is None:
            return None
        ids, size = plain
        ledger, first = self._ledger, items[0]
        try:
            queue = queue_for(ledger, first.queue)
            if first.options is not DEFAULT_OPTIONS and not any_lease:
                check_options(first.options, ledger.policy)
            self.check_room(queue, size, len(items))
            lane = lane_for(ledger, queue, first.type)
        except TaskQueueError:
            return None
        seq, options, wall = ledger.next_seq, first.options, now.wall
        tasks: list[Task] = []
        for task_id, item in zip(ids, items, strict=True):
            task = Task(task_id, seq, lane, item.priority, item.payload, wall, options)
            if item.headers is not None:
                task.headers = item.headers
            tasks.append(task)
            seq += 1
        ledger.next_seq = seq
        lane.counters.submitted += len(tasks)
        ledger.enter_ready(tasks)
        return [_new_answer(Accepted, (task_id, State.PENDING, False)) for task_id in ids]

    def _plain_ids(
        self, items: Sequence[Submission], stored: Mapping[str, State]
    ) -> tuple[Sequence[str], int] | None:
        """
        The ids of the tasks, and how long their payloads are together; or C{None} where
        L{_submit_plain} is not for these items.
        """
        ledger, size, ids = self._ledger, 0, []
        tasks, ended = ledger.tasks, ledger.ended
        lane = items[0].type, items[0].queue, items[0].options
        for kind, body, queue, _, own_id, run_at, expires_at, options, _, on, key, _, _ in items:
            if own_id is not None:
                if own_id in tasks or own_id in ended or own_id in stored:
                    return None
                ids.append(own_id)
            if not (run_at is None and expires_at is None and key is None) or on:
                return None
            if (kind, queue, options) != lane:
                return None
            size += len(body)
        if not ids:
            return ledger.new_ids(len(items)), size
        if ids[0] == NUMBERED:
            if ids != [NUMBERED] * len(items):
                return None
            return numbered_ids(ledger.next_seq, len(items)), size
        right = len(set(ids)) == len(items) and NUMBERED_HEAD not in "".join(ids)
        return (ids, size) if right else None

    def _submit(
        self, item: Submission, now: Now, stored: Mapping[str, State], any_lease: bool
    ) -> Accepted:
        known = self._known(item, now, stored)
        if known is not None:
            return known
        check_submission(item, now)
        if not any_lease:
            check_options(item.options, self._ledger.policy)
        missing, failed = self._dependencies(item, stored)
        task = self._make(item, now)
        task.lane.counters.submitted += 1
        self._place(task, missing, failed, now)
        return Accepted(task.id, task.state)

    def _known(self, item: Submission, now: Now, stored: Mapping[str, State]) -> Accepted | None:
        """The task that the broker has under the id, or else the key, of C{item}."""
        ledger, own_id = self._ledger, chosen_id(item)
        if own_id is not None:
            task = ledger.find(own_id)
            if task is not None:
                return Accepted(task.id, task.state, True)
            if own_id in stored:
                return Accepted(own_id, stored[own_id], True)
        if item.unique is None:
            return None
        holder = ledger.keys.holder(item.unique, now.wall)
        if holder is None:
            return None
        task = ledger.find(holder.id)
        return Accepted(holder.id, holder.state if task is None else task.state, True)

    def _make(self, item: Submission, now: Now) -> Task:
        """
        The task, with a place in line and its key, not placed yet.

        @raises QueueFull: a bound would be passed.
        """
        ledger = self._ledger
        queue = queue_for(ledger, item.queue)
        self.check_room(queue, len(item.payload))
        task = Task(
            numbered_id(ledger.next_seq) if item.id == NUMBERED else item.id or ledger.new_id(),
            ledger.next_seq,
            lane_for(ledger, queue, item.type),
            item.priority,
            item.payload,
            now.wall,
            item.options,
        )
        ledger.next_seq += 1
        if item.run_at is not None:
            task.run_at = item.run_at
        if item.expires_at is not None:
            task.expires_at = item.expires_at
        if item.headers is not None:
            task.headers = item.headers
        if item.depends_on:
            task.depends_on = item.depends_on
        if item.unique is not None:
            for_s = item.unique_for_s
            ends_at = None if for_s is None else now.wall + for_s
            task.unique = Unique(item.unique, item.unique_until, ends_at)
            ledger.keys.take(task)
        return task

    def _place(self, task: Task, missing: set[str], failed: str | None, now: Now) -> None:
        ledger = self._ledger
        if failed is not None or missing:
            ledger.enter(task, State.BLOCKED)
            ledger.block(task, missing)
            if failed is not None:
                ledger.record(task, now, "dependency_failed", failed)
                ledger.finish(task, State.DEAD_LETTER, now, failed)
        elif task.run_at is not None and task.run_at > now.wall:
            ledger.enter(task, State.SCHEDULED)
            ledger.delay(task, task.run_at)
        else:
            ledger.enter(task, State.PENDING)
            ledger.make_ready(task)

    def _dependencies(
        self, item: Submission, stored: Mapping[str, State]
    ) -> tuple[set[str], str | None]:
        """
        What of C{item}'s dependencies is still to come.

        @return: the ids it must wait for, and why it can never run (or C{None}).
        """
        missing: set[str] = set()
        failed: str | None = None
        for dependency in item.depends_on:
            task = self._ledger.find(dependency)
            state = stored.get(dependency) if task is None else task.state
            if state is None:
                raise unknown_dependency(dependency)
            if state < FIRST_ENDED:
                missing.add(dependency)
            elif state is not State.COMPLETED and item.options.on_dependency_failure != "run":
                failed = f"dependency {dependency} ended as {state.word}"
        return missing, failed

    def check_room(self, queue: Queue, size: int, count: int = 1) -> None:
        """
        @param size: payload bytes of C{count} tasks.
        @raises QueueFull: a bound would be passed.
        """
        ledger, policy = self._ledger, self._ledger.policy
        bound = queue.bound
        if bound is not None and queue.depth + count > bound:
            raise QueueFull(
                f"queue {queue.name!r} has {queue.depth} waiting tasks, its bound is {bound}",
                retry_after_s=RETRY_AFTER_S,
                queue=queue.name,
            )
        if ledger.depth + count > policy.depth_threshold:
            raise QueueFull(
                f"the broker has {ledger.depth} waiting tasks, its bound "
                f"(queue_depth_threshold) is {policy.depth_threshold}",
                retry_after_s=RETRY_AFTER_S,
            )
        if policy.memory_bytes is not None:
            ledger.check_memory(policy.memory_bytes, size, count)
        if ledger.held_bytes + size > policy.max_held_bytes:
            raise QueueFull(
                f"the broker holds {ledger.held_bytes} payload bytes, its bound "
                f"(max_held_bytes) is {policy.max_held_bytes}",
                retry_after_s=RETRY_AFTER_S,
            )
