"""
Room for names: queues and types come to be by being named, and so anybody could make as many
as there are names.
"""

from __future__ import annotations

from taskqueue.core.lanes import Lane, Queue
from taskqueue.core.ledger import Ledger
from taskqueue.errors import QueueFull

#: What somebody is told to wait who names one too many, seconds: as long as it may take until
#: those are given up that have no task any more.
RETRY_AFTER_S = 60.0


def queue_for(ledger: Ledger, name: str) -> Queue:
    """
    The queue with this name, made if need be.

    @raises QueueFull: it would be one too many.
    """
    queue = ledger.queues.get(name)
    if queue is not None:
        return queue
    bound = ledger.policy.max_queues
    if len(ledger.queues) >= bound and name not in ledger.policy.queues:
        raise QueueFull(
            f"the broker has {len(ledger.queues)} queues, its bound (limits.max_queues) is "
            f"{bound}, so queue {name!r} cannot be made: use fewer names, or wait until one "
            f"without tasks is given up",
            retry_after_s=RETRY_AFTER_S,
            queue=name,
        )
    return ledger.queue(name)


def lane_for(ledger: Ledger, queue: Queue, task_type: str) -> Lane:
    """
    The lane of a type in C{queue}, made if need be.

    @raises QueueFull: it would be one too many.
    """
    lane = queue.lanes.get(task_type)
    if lane is not None:
        return lane
    bound = ledger.policy.max_types
    if ledger.lanes_left is None:  # counted when that may have changed, not at each new type
        ledger.lanes_left = bound - sum(len(each.lanes) for each in ledger.queues.values())
    if ledger.lanes_left <= 0:
        raise QueueFull(
            f"the queues have {bound} types together, which is the bound (limits.max_types), so "
            f"queue {queue.name!r} cannot have type {task_type!r} too: use fewer names, or wait "
            f"until one without tasks is given up",
            retry_after_s=RETRY_AFTER_S,
            queue=queue.name,
        )
    ledger.lanes_left -= 1
    return queue.lane(task_type)
