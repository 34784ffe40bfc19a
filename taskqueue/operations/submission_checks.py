"""
Submissions of callers whose permissions are restricted: into which queues, and what they may
name.

A submission can name tasks that are there already: by its own id, by those that it depends on,
and by a unique key.  None of the three may tell of tasks that the caller may not know.  That an
id or a key is taken cannot be hidden from who wants to take it; by whom is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted.internet.defer import Deferred

from taskqueue.access.permissions import Action, Permissions
from taskqueue.core.submission import Accepted, Submission, unknown_dependency
from taskqueue.errors import Conflict, TaskQueueError, UnknownDependency
from taskqueue.operations.authorization import forbidden, require_each
from taskqueue.operations.caller import Caller
from taskqueue.operations.visibility import may_know

#: What became of each item.
Answers = list[Accepted | TaskQueueError]


class Checked:
    """
    The items of a request, of which those are refused that the caller may not submit.

    @ivar items: the others, in order.
    """

    def __init__(
        self, caller: Caller, items: Sequence[Submission], places: dict[str, str | None]
    ) -> None:
        """
        @param places: the queues of tasks that are in the store only, by id; C{None} for an id
            that it does not have.
        """
        permissions = caller.restricted
        assert permissions is not None
        self._caller = caller
        self._permissions: Permissions = permissions
        self._places = places
        self._refused = [self._error_of(item) for item in items]
        pairs = list(zip(items, self._refused, strict=True))
        batch = {item.id for item, error in pairs if error is None}
        for place, (item, error) in enumerate(pairs):
            if error is None and item.depends_on:
                self._refused[place] = self._error_of_dependencies(item, batch)
        pairs = list(zip(items, self._refused, strict=True))
        self.items = [item for item, error in pairs if error is None]

    def _error_of(self, item: Submission) -> TaskQueueError | None:
        """Why an item is refused whatever it depends on, C{None} where it is not."""
        if not self._permissions.allows(Action.SUBMIT, item.queue):
            return forbidden(self._caller, Action.SUBMIT, item.queue)
        if item.id is not None and not self._may_meet(item.id):
            return _taken("id", item.id)
        if item.unique is not None:
            holder = holder_of(self._caller, item.unique)
            if holder is not None and not self._may_meet(holder):
                return _taken("unique key", item.unique)
        return None

    def _error_of_dependencies(
        self, item: Submission, batch: set[str | None]
    ) -> UnknownDependency | None:
        """
        @param batch: the ids of what the caller submits in the same request.
        """
        for dependency in item.depends_on:
            if dependency not in batch and not self._may_read(dependency):
                return unknown_dependency(dependency)
        return None

    def _queue_of(self, task_id: str) -> str | None:
        task = self._caller.service.broker.ledger.find(task_id)
        return self._places.get(task_id) if task is None else task.queue

    def _may_meet(self, task_id: str) -> bool:
        """Whether the answer may be the task that has this id."""
        queue = self._queue_of(task_id)
        return queue is None or may_know(self._permissions, Action.SUBMIT, queue)

    def _may_read(self, task_id: str) -> bool:
        queue = self._queue_of(task_id)
        return queue is None or self._permissions.allows(Action.READ, queue)

    def told(self, answers: Iterable[Accepted | TaskQueueError]) -> Answers:
        """The answers for all items, from those for L{items}."""
        rest = iter(answers)
        told: Answers = []
        for error in self._refused:
            answer = next(rest) if error is None else error
            # Somebody else may have taken an id or a key in the meantime.
            if isinstance(answer, Accepted) and answer.existing and not self._may_meet(answer.id):
                answer = _taken("id or unique key", answer.id, told=False)
            told.append(answer)
        return told


def _taken(what: str, value: str, *, told: bool = True) -> Conflict:
    shown = f" {value!r}" if told else ""
    return Conflict(f"the {what}{shown} is taken by a task that you may not read: take another one")


def holder_of(caller: Caller, key: str) -> str | None:
    """The id of the task that holds a unique key."""
    service = caller.service
    holder = service.broker.ledger.keys.holder(key, service.moments().wall)
    return None if holder is None else holder.id


def check_watching(caller: Caller, items: Sequence[Submission]) -> None:
    """
    Who is told how tasks end must be allowed to read them.

    @raises Forbidden: it is not.
    """
    require_each(caller, Action.READ, {item.queue for item in items})


def unplaced(caller: Caller, items: Sequence[Submission]) -> list[str]:
    """The ids, named by items, of tasks that may be in the store only."""
    ledger = caller.service.broker.ledger
    named = caller.service.broker.intake.unknown_ids(items)
    keys = {item.unique for item in items if item.unique is not None}
    holders = {holder_of(caller, key) for key in keys}
    return named + [one for one in holders if one is not None and ledger.find(one) is None]


async def placed(caller: Caller, ids: Sequence[str]) -> dict[str, str | None]:
    """The queues of tasks that are in the store."""
    rows = await caller.service.reader.records(ids)
    return {task_id: row.queue for task_id, row in rows.items()}


def are_plain(caller: Caller, items: Sequence[Submission]) -> bool:
    """
    Whether nothing can be wrong with these items, as far as the ids that they choose are not in
    the store only: most are such, so this is quick.
    """
    permissions, ledger = caller.restricted, caller.service.broker.ledger
    assert permissions is not None
    if not all(permissions.allows(Action.SUBMIT, queue) for queue in {i.queue for i in items}):
        return False
    live, ended = ledger.tasks, ledger.ended
    for item in items:
        if item.depends_on or item.unique is not None or item.id in live or item.id in ended:
            return False
    return True


def checked(caller: Caller, items: Sequence[Submission]) -> Checked | Deferred[Checked]:
    """The items of a request, checked; at once, where nothing must be looked up in the store."""
    missing = unplaced(caller, items)
    if not missing:
        return Checked(caller, items, {})
    found = Deferred.fromCoroutine(placed(caller, missing))
    return found.addCallback(lambda places: Checked(caller, items, places))
