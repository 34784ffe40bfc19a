"""
Leases and workers belong to whoever claimed and registered: nobody else touches them.

Tokens are numbers that count up, and so can be guessed.  They fence off late workers; that a
lease is one's own is checked here, by who its holder is (L{Holder.owner}): the same key or
certificate, on whatever connection.  A caller that may do everything may also do this.

Owners are not stored.  After a restart, what was in progress belongs to nobody until its worker
has registered again; until then, whoever may claim in a task's queue may finish it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from taskqueue.access.identities import Identity
from taskqueue.access.permissions import Action, Permissions
from taskqueue.core.delivery import Outcome, lease_lost
from taskqueue.core.leases import Holder
from taskqueue.core.task import State
from taskqueue.core.workers import Worker, unknown_worker
from taskqueue.errors import TaskQueueError, WorkerExists
from taskqueue.operations.authorization import may, require_each
from taskqueue.operations.caller import Caller
from taskqueue.operations.visibility import NOBODY, queues_in_hand

_T = TypeVar("_T")


def owner_of(identity: Identity) -> str | None:
    """To whom the leases of somebody belong; C{None}: to nobody."""
    return None if identity.kind == "everyone" else f"{identity.kind} {identity.name}"


def owns(caller: Caller, permissions: Permissions, token: int, task_id: str) -> bool:
    """Whether a lease is the caller's own; one that is over is nobody's."""
    lease = caller.service.broker.ledger.leases.by_token.get(token)
    if lease is None or lease.task.id != task_id:
        return False
    owner = lease.holder.owner
    if owner is None:
        return permissions.allows(Action.CLAIM, lease.task.queue)
    return owner == owner_of(caller.identity)


class _Said:
    """
    What is said of some leases.  What is said of those that are not the caller's own is said of a
    task that nobody has instead: so it takes the same way, and as long.

    @ivar said: in order.
    """

    def __init__(self, said: Sequence[Any], own: Callable[[Any], bool]) -> None:
        """
        @param said: a task's id, a token and more, each.
        @param own: whether one of them is the caller's.
        """
        self.said: list[Any] = []
        self._refused: list[TaskQueueError | None] = []
        for one in said:
            if own(one):
                self.said.append(one)
                self._refused.append(None)
            else:
                masked = (NOBODY, *one[1:])
                self.said.append(Outcome(*masked) if isinstance(one, Outcome) else masked)
                self._refused.append(lease_lost(one[0], one[1]))

    def told(self, answers: Sequence[_T | TaskQueueError]) -> list[_T | TaskQueueError]:
        """The answers, of which those for other leases are that these are lost."""
        pairs = zip(answers, self._refused, strict=True)
        return [answer if error is None else error for answer, error in pairs]


def of_own(
    caller: Caller,
    said: Sequence[tuple[Any, ...]],
    command: Callable[[Sequence[Any]], Deferred[list[_T | TaskQueueError]]],
) -> Deferred[list[_T | TaskQueueError]]:
    """
    Carry out a command on the caller's own leases.

    @param said: a task's id, a token and more, each.
    @param command: gives an answer for each.
    @return: fires with the answers: L{LeaseLost} for each lease that is not its own.
    """
    permissions = caller.restricted
    if permissions is None:
        return command(said)
    own = _Said(said, lambda one: owns(caller, permissions, one[1], one[0]))
    return command(own.said).addCallback(own.told)


def report_own(
    caller: Caller, outcomes: Sequence[Outcome]
) -> list[State | TaskQueueError] | Deferred[list[State | TaskQueueError]]:
    """
    Hand in how deliveries ended, of a caller whose permissions are restricted.

    @return: each task's state, or L{LeaseLost} or L{Conflict}, to be told when all that has changed
        so far is stored; or, where the store must be asked, what fires with that.
    """
    if _all_own(caller, outcomes):
        answers, unclear = caller.service.report_now(outcomes)
        if not unclear:
            return answers
        return caller.service.explain_lost(unclear, outcomes, answers)
    own = _Said(outcomes, lambda outcome: _may_report(caller, outcome))
    answers, unclear = caller.service.report_now(own.said)
    if not unclear:
        return own.told(answers)
    later = Deferred.fromCoroutine(_explained(caller, unclear, own.said, answers))
    return later.addCallback(own.told)


def _all_own(caller: Caller, outcomes: Sequence[Outcome]) -> bool:
    """Whether all are of leases that the caller has claimed itself, as most are: it is quick."""
    by_token, owner = caller.service.broker.ledger.leases.by_token, owner_of(caller.identity)
    if owner is None:
        return False
    for outcome in outcomes:
        lease = by_token.get(outcome.lease)
        if lease is None or lease.holder.owner != owner or lease.task.id != outcome.task:
            return False
    return True


def _may_report(caller: Caller, outcome: Outcome) -> bool:
    """Whether it is of the caller's own lease; or, of one that is over, may be said again."""
    permissions, ledger = caller.restricted, caller.service.broker.ledger
    if permissions is None or outcome.lease in ledger.leases.by_token:
        return permissions is None or owns(caller, permissions, outcome.lease, outcome.task)
    task = ledger.find(outcome.task)
    return task is None or permissions.allows(Action.CLAIM, task.queue)


async def _explained(
    caller: Caller,
    unclear: list[str],
    outcomes: Sequence[Outcome],
    answers: list[State | TaskQueueError],
) -> list[State | TaskQueueError]:
    """How tasks ended that are in the store only, where the caller may claim them."""
    service = caller.service
    rows = await service.reader.records(unclear)
    unclear = [row.id for row in rows.values() if may(caller, Action.CLAIM, row.queue)]
    return await service.explain_lost(unclear, outcomes, answers)


# --- workers -------------------------------------------------------------------------


def check_registration(caller: Caller, name: str, queues: Sequence[str] | None) -> None:
    """
    Let a caller, whose permissions are restricted, speak for a worker.

    @param queues: from which it wants to claim; C{None} where it does not say.
    @raises Forbidden: it may not claim from one of them.
    @raises WorkerExists: the worker is somebody else's.
    """
    worker = caller.service.broker.ledger.workers.find(name)
    if worker is not None and not is_own_worker(caller, worker):
        raise WorkerExists(
            f"somebody else has registered worker {name!r}: take another worker id", worker=name
        )
    if queues is None:
        queues = ("default",) if worker is None or worker.recovered else ()
    require_each(caller, Action.CLAIM, queues)


def is_own_worker(caller: Caller, worker: Worker) -> bool:
    """Whether a worker is the caller's; one without an owner is, if all that it holds may be."""
    permissions = caller.restricted
    if permissions is None:
        return True
    if worker.owner is not None:
        return worker.owner == owner_of(caller.identity)
    queues = queues_in_hand(worker)
    if not worker.recovered:
        queues.update(worker.info.queues)
    return all(permissions.allows(Action.CLAIM, queue) for queue in queues)


def own_worker(caller: Caller, name: str) -> None:
    """
    @raises UnknownWorker: there is no such worker, or it is somebody else's.
    """
    worker = caller.service.broker.ledger.workers.find(name)
    if worker is not None and not is_own_worker(caller, worker):
        raise unknown_worker(name)


def take_over(caller: Caller, holder: Holder) -> None:
    """What C{holder} holds belongs to the caller from now on."""
    owner = owner_of(caller.identity)
    if owner is not None:
        holder.owner = owner
