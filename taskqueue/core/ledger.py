"""
The ledger: every task in memory, and the books about them.

Every move of a task from one state to another goes through here, so that
lanes, schedules, gauges and the changes to be stored always agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, takewhile
from operator import attrgetter

from taskqueue.core.books import LONGEST_DETAIL, TOKEN_BLOCK, Books, Notice
from taskqueue.core.lanes import Lane
from taskqueue.core.moments import Now
from taskqueue.core.paging import page_out
from taskqueue.core.task import FIRST_ENDED, NO_EXTRAS, State, Task

__all__ = ["LONGEST_DETAIL", "TOKEN_BLOCK", "Ledger", "Notice"]

#: Ended tasks are forgotten when so large a part of them is too many, as a power of two: what is
#: looked for at the front of a dictionary is found behind all that has gone from there.
_PRUNE_SHIFT = 4

_IS_SETTLED = attrgetter("is_settled")


class Ledger(Books):
    """
    The state of the broker: the books, and how tasks end.
    """

    def reprioritize(self, task: Task, priority: int | None) -> None:
        """
        Give a task in progress another priority, C{None} for the one it has; its place in line
        stays.
        """
        if priority is None or priority == task.priority:
            return
        task.priority = priority
        if task.stored:
            self.changes.enter_again(task)  # as a whole: updates carry no priority

    # --- ends -------------------------------------------------------------------

    def finish(
        self,
        task: Task,
        state: State,
        now: Now,
        error: str | None = None,
        *,
        taken: bool = False,
    ) -> None:
        """
        End a task, and whatever ends or starts with it: dependents become
        ready, or go to the dead letters, theirs too.  (A list, not recursion:
        chains may be long.)

        @param taken: it is pending, and was taken out of its lane.
        """
        self._end(task, state, now, error, taken=taken)
        if len(self.dependencies):
            self._settle(task, state, now)

    def complete(self, lane: Lane, tasks: Sequence[Task], now: Now) -> None:
        """
        End tasks of one lane, in progress until now, as completed, and let what
        waited for them begin.
        """
        count, wall = len(tasks), now.wall
        lane.counts[State.IN_PROGRESS] -= count
        lane.counts[State.COMPLETED] += count
        live, ended = self.tasks, self.ended
        held_bytes = 0
        for task in tasks:
            task.state = State.COMPLETED
            task.past.ended_at = wall
            del live[task.id]
            ended[task.id] = task
            if task.extras is NO_EXTRAS and type(task.body) is bytes:
                held_bytes += len(task.body)
                continue
            self._let_go(task)
            if task.extras is not NO_EXTRAS:
                self._forget_extras(task)
        self.held_bytes -= held_bytes
        self.changes.touch_all(tasks)
        self.changes.ended += tasks
        if len(self.dependencies):
            for task in tasks:
                self._settle(task, State.COMPLETED, now)

    def _settle(self, task: Task, state: State, now: Now) -> None:
        """What follows for those that depend on a task from its end."""
        ends = [(task, state)]
        while ends:
            task, state = ends.pop()
            for dependent in self.dependencies.dependents(task.id):
                if state is State.COMPLETED or dependent.options.on_dependency_failure == "run":
                    if self.dependencies.settle(dependent, task.id):
                        self.wait_or_run(dependent, now)
                else:
                    self.dependencies.discard(dependent)
                    reason = f"dependency {task.id} ended as {state.word}"
                    self.record(dependent, now, "dependency_failed", reason)
                    self._end(dependent, State.DEAD_LETTER, now, reason)
                    ends.append((dependent, State.DEAD_LETTER))

    def _end(
        self, task: Task, state: State, now: Now, error: str | None, *, taken: bool = False
    ) -> None:
        was = State.IN_PROGRESS if taken else task.state
        self.move(task, state)
        self._leave(task, was)
        task.ended_at = now.wall
        if error is not None:
            task.past.error = error
        counters = task.lane.counters
        if state is State.DEAD_LETTER:
            counters.dead += 1
        elif state is State.CANCELLED:
            counters.cancelled += 1
        elif state is State.EXPIRED:
            counters.expired += 1
        del self.tasks[task.id]
        self.ended[task.id] = task
        self._let_go(task)
        self.changes.ended.append(task)
        if task.extras is not NO_EXTRAS:
            self._forget_extras(task)

    def _forget_extras(self, task: Task) -> None:
        """A task has ended: it expires no more, and may leave its key to others."""
        self.expiring.discard(task)
        if task.extras.unique is not None:
            self.keys.task_ended(task)

    def _leave(self, task: Task, was: State) -> None:
        """Take a task that has ended out of wherever its last state had put it."""
        if was is State.PENDING:
            task.lane.discard(task)
        elif was is State.SCHEDULED or was is State.FAILED:
            self.delayed.discard(task)
        elif was is State.BLOCKED:
            self.dependencies.discard(task)

    def forget_stored(self, ended: list[Task], *, prune: bool) -> None:
        """
        All that was drained is stored, the ends of these tasks too: drop their
        bytes, and, where C{prune} allows it, the oldest of them beyond what is
        remembered; and the payloads that need not be in memory.
        """
        for task in ended:
            if task.state >= FIRST_ENDED:
                task.body = task.past.result = None
        stored = self.changes.take_stored()
        if self.policy.memory_bytes is not None:
            self.count_unstored()
            page_out(self, stored)
        recent = self.policy.recent_ended
        if prune and len(self.ended) > recent + (recent >> _PRUNE_SHIFT):
            self.prune_ended()

    def prune_ended(self) -> None:
        """Forget the oldest ended tasks beyond what is remembered, if their end is stored."""
        excess = len(self.ended) - self.policy.recent_ended
        if excess <= 0:
            return
        ended = self.ended
        oldest = list(islice(ended.values(), excess))
        ids = [task.id for task in oldest if task.body is None]
        if len(ids) < len(oldest):
            ids = [task.id for task in takewhile(_IS_SETTLED, oldest)]
        for task_id in ids:
            del ended[task_id]
        self.seen.add(ids)

    def forget(self, seq: int) -> None:
        """The ended task with this C{seq} is to be removed from the store."""
        self.changes.remove(seq)
        self.forgotten[seq] = None
        if len(self.forgotten) > self.policy.recent_ended:
            self.forgotten.popitem(last=False)
