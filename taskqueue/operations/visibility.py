"""
What a caller may see: tasks by their ids, queues, workers, and the filters of searches.

A task of a queue that a caller may not read is, for that caller, a task that does not exist:
the answer is the one for an id that nobody has, and it takes the same way through the broker,
a look into the store, so that it takes as long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from taskqueue.access.permissions import Action, Permissions
from taskqueue.core.changes import TaskRow
from taskqueue.core.control import unknown_task
from taskqueue.core.workers import Worker, unknown_worker
from taskqueue.errors import Conflict, TaskQueueError
from taskqueue.operations.authorization import action_of, forbidden, require
from taskqueue.operations.caller import Caller
from taskqueue.store.interface import Filter
from taskqueue.wire import MessageType

_T = TypeVar("_T")

#: An id that is asked for instead of those that are not to be found.  No task has it: the ids
#: that callers give are lowered.
NOBODY = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"


def may_know(permissions: Permissions, action: Action, queue: str) -> bool:
    """Whether somebody who wants to do something may know of the tasks of a queue."""
    return permissions.allows(action, queue) or permissions.allows(Action.READ, queue)


async def look_up(
    caller: Caller, action: Action, ids: Sequence[str]
) -> list[TaskRow | TaskQueueError]:
    """
    Tasks with which C{caller}, whose permissions are restricted, wants to do something.

    @return: each task as it durably stands; L{UnknownTask} where there is none that it may know
        of, L{Forbidden} where it may see the task only.
    @raises StoreUnavailable: as L{TaskCommands.status} does.
    """
    permissions = caller.restricted
    assert permissions is not None
    find = caller.service.broker.ledger.find

    def mask(task_id: str) -> str:
        task = find(task_id)
        known = task is None or may_know(permissions, action, task.queue)
        return task_id if known else NOBODY

    rows = await caller.service.status([mask(task_id) for task_id in ids])
    found: list[TaskRow | TaskQueueError] = []
    for task_id, row in zip(ids, rows, strict=True):
        if row is None or row.id != task_id or not may_know(permissions, action, row.queue):
            found.append(unknown_task(task_id))
        elif permissions.allows(action, row.queue):
            found.append(row)
        else:
            found.append(forbidden(caller, action, row.queue))
    return found


def rows_of(caller: Caller, ids: Sequence[str]) -> Deferred[list[TaskRow | None]]:
    """Fires with tasks as they durably stand; C{None} for those that the caller may not know of."""
    if caller.restricted is None:
        return caller.service.status(ids)
    found = Deferred.fromCoroutine(look_up(caller, Action.READ, ids))
    return found.addCallback(
        lambda rows: [row if isinstance(row, TaskRow) else None for row in rows]
    )


def watched(caller: Caller, ids: Sequence[str]) -> Deferred[list[TaskRow | None]]:
    """
    Let a caller watch tasks; see L{TaskCommands.watch}.

    @return: fires with each task, C{None} for one that it may not know of.
    """
    if caller.restricted is None:
        return caller.service.watch(caller, ids)
    return Deferred.fromCoroutine(_watched(caller, ids))


async def _watched(caller: Caller, ids: Sequence[str]) -> list[TaskRow | None]:
    rows = await rows_of(caller, ids)
    known = [task_id for task_id, row in zip(ids, rows, strict=True) if row is not None]
    current = iter(await caller.service.watch(caller, known))
    drop_if_gone(caller)
    return [None if row is None else next(current) for row in rows]


def drop_if_gone(caller: Caller) -> None:
    """A caller that left while something was looked up in the store watches nothing."""
    if not caller.open:
        caller.service.watches.drop(caller)


def each_allowed(
    caller: Caller,
    kind: MessageType,
    ids: Sequence[str],
    command: Callable[[Sequence[str]], Deferred[list[_T | TaskQueueError]]],
) -> Deferred[list[_T | TaskQueueError]]:
    """
    Carry out a command on tasks, as far as the caller may.

    @param command: gives an answer for each id that it is given.
    @return: fires with the answers, an error for each task that it may not touch.
    """
    if caller.restricted is None:
        return command(ids)
    return Deferred.fromCoroutine(_each_allowed(caller, action_of(kind), ids, command))


async def _each_allowed(
    caller: Caller,
    action: Action,
    ids: Sequence[str],
    command: Callable[[Sequence[str]], Deferred[list[_T | TaskQueueError]]],
) -> list[_T | TaskQueueError]:
    found = await look_up(caller, action, ids)
    answers = iter(await command([row.id for row in found if isinstance(row, TaskRow)]))
    told: list[_T | TaskQueueError] = []
    for row in found:
        answer = next(answers) if isinstance(row, TaskRow) else row
        if isinstance(answer, Conflict) and "holder" in answer.fields:
            answer = await _without_holder(caller, answer)
        told.append(answer)
    return told


async def _without_holder(caller: Caller, conflict: Conflict) -> Conflict:
    """Who holds a unique key is not for everybody to know."""
    [holder] = await look_up(caller, Action.READ, [conflict.fields["holder"]])
    if isinstance(holder, TaskRow):
        return conflict
    task = conflict.fields["task"]
    return Conflict(
        f"a task that you may not read holds the unique key of task {task} now: wait until that "
        f"one has ended",
        task=task,
    )


# --- lists ---------------------------------------------------------------------------


def readable(caller: Caller, queue: str) -> bool:
    """Whether the caller may know of a queue and what is in it."""
    permissions = caller.restricted
    return permissions is None or permissions.allows(Action.READ, queue)


def narrowed(caller: Caller, filter: Filter, kind: MessageType = MessageType.LIST_TASKS) -> Filter:
    """
    A filter that finds only what the caller may read, and do something with.

    @param kind: the operation that is to be carried out on what is found.
    @raises Forbidden: it names a queue where that is not allowed.
    """
    permissions = caller.restricted
    if permissions is None:
        return filter
    actions = (Action.READ, action_of(kind))
    if filter.queue is not None:
        for action in actions:
            require(caller, action, filter.queue)
        return filter
    if all(map(permissions.everywhere, actions)):
        return filter
    # The books know every queue that has a task, live or kept.
    queues = caller.service.broker.ledger.queues
    found = [queue for queue in queues if all(permissions.allows(a, queue) for a in actions)]
    return filter._replace(queues=frozenset(found))


def sees_worker(caller: Caller, worker: Worker) -> bool:
    """
    Whether the caller may know of a worker: it may read all of its queues, as its numbers are
    of all of them.
    """
    if caller.restricted is None:
        return True
    if not all(readable(caller, queue) for queue in worker.info.queues):
        return False
    return all(readable(caller, queue) for queue in queues_in_hand(worker))


def queues_in_hand(worker: Worker) -> set[str]:
    """The queues of the tasks that a worker holds: few, of perhaps very many tasks."""
    return {lease.task.lane.queue.name for lease in worker.leases.values()}


def seen_worker(caller: Caller, name: str) -> Worker:
    """
    @raises UnknownWorker: there is none, or none that the caller may know of.
    """
    workers = caller.service.broker.ledger.workers
    worker = workers.get(name)
    if not sees_worker(caller, worker):
        raise unknown_worker(name)
    return worker


def keep_readable(caller: Caller, views: list[dict[str, Any]], field: str) -> list[dict[str, Any]]:
    """Those of some views whose queue, which stands in C{field}, may be read."""
    if caller.restricted is None:
        return views
    return [view for view in views if readable(caller, view[field])]
