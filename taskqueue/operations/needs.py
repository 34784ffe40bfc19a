"""
What somebody must be allowed, to ask for an operation: the one table, for every door.

The native protocol and the REST API carry out the same operations, and each of them is
looked up here, by its message type.  What an action means, and who is allowed which one, says
L{taskqueue.access.permissions}.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

from taskqueue.access.permissions import Action
from taskqueue.wire import MessageType


class Where(Enum):
    """How the queues are found in which the action must be allowed."""

    #: It touches none, and the broker neither.
    NOWHERE = auto()
    #: It is about the broker as a whole: the action must be allowed in every queue.
    BROKER = auto()
    #: C{queue} names it.
    QUEUE = auto()
    #: C{queues} name them; where they are left out, those of the worker.
    QUEUES = auto()
    #: Each item names its own, and is refused by itself.
    ITEMS = auto()
    #: Each id is of a task of some queue; one that may not be seen is as good as unknown.
    TASKS = auto()
    #: Each lease is the holder's own, or is as good as lost.
    LEASES = auto()
    #: The worker's; one of somebody else cannot be touched.
    WORKER = auto()
    #: The periodic task's; one that may not be seen is as good as unknown.
    PERIODIC = auto()
    #: C{namespace} names that of the values.
    NAMESPACE = auto()
    #: What may not be seen is left out.
    SHOWN = auto()


class Need(NamedTuple):
    """
    What an operation needs.

    @ivar action: must be allowed; C{None}: whoever was let in may do it.
    @ivar where: in these queues.
    @ivar audited: it is an administrative action, which the audit log tells of.
    @ivar audited_by_hand: the audit log tells of it where it came over HTTP, as people ask; of
        programs, which do it all the time, it says nothing.
    """

    action: Action | None
    where: Where
    audited: bool = False
    audited_by_hand: bool = False


#: Whoever was let in may do this.
_ANYBODY = Need(None, Where.NOWHERE)

_LEASES = Need(Action.CLAIM, Where.LEASES)
_TASKS = Need(Action.READ, Where.TASKS)
_SHOWN = Need(Action.READ, Where.SHOWN)
_FATE = Need(Action.CANCEL, Where.TASKS, audited=True)
_QUEUE = Need(Action.CANCEL, Where.QUEUE, audited=True)
_BROKER = Need(Action.ADMIN, Where.BROKER, audited=True)
_VALUES = Need(Action.VALUES_READ, Where.NAMESPACE)
_WRITTEN = Need(Action.VALUES_WRITE, Where.NAMESPACE)
_REST = Need(Action.CANCEL, Where.PERIODIC, audited=True)

NEEDS: Mapping[MessageType, Need] = {
    MessageType.HELLO: _ANYBODY,
    MessageType.PING: _ANYBODY,
    MessageType.SUBMIT_TASK: Need(Action.SUBMIT, Where.ITEMS),
    MessageType.CLAIM_TASK: Need(Action.CLAIM, Where.QUEUES),
    MessageType.TASK_RESULT: _LEASES,
    MessageType.EXTEND_LEASE: _LEASES,
    MessageType.RELEASE_TASK: _LEASES,
    MessageType.BURY_TASK: _LEASES,
    MessageType.REPORT_PROGRESS: _LEASES,
    MessageType.REGISTER_WORKER: Need(Action.CLAIM, Where.QUEUES),
    MessageType.HEARTBEAT: Need(Action.CLAIM, Where.QUEUES),
    MessageType.DEREGISTER_WORKER: Need(Action.CLAIM, Where.WORKER),
    MessageType.QUERY_STATUS: _TASKS,
    MessageType.WATCH: _TASKS,
    MessageType.UNWATCH: _TASKS,
    MessageType.GET_PAYLOAD: _TASKS,
    MessageType.LIST_TASKS: _SHOWN,
    MessageType.LIST_QUEUES: _SHOWN,
    MessageType.LIST_WORKERS: _SHOWN,
    MessageType.LIST_PERIODIC: _SHOWN,
    MessageType.GET_STATS: Need(Action.READ, Where.BROKER),
    MessageType.CANCEL_TASK: _FATE,
    MessageType.RETRY_TASK: _FATE,
    MessageType.RUN_NOW: _FATE,
    MessageType.DELETE_TASK: _FATE,
    MessageType.PAUSE_QUEUE: _QUEUE,
    MessageType.RESUME_QUEUE: _QUEUE,
    MessageType.SET_QUEUE: _QUEUE,
    MessageType.PURGE_QUEUE: _QUEUE,
    MessageType.RETRY_QUEUE: _QUEUE,
    MessageType.PUT_PERIODIC: Need(Action.SUBMIT, Where.ITEMS, audited=True),
    MessageType.TRIGGER_PERIODIC: Need(Action.SUBMIT, Where.PERIODIC, audited=True),
    MessageType.PAUSE_PERIODIC: _REST,
    MessageType.DELETE_PERIODIC: _REST,
    MessageType.PUT_VALUES: Need(Action.VALUES_WRITE, Where.ITEMS),
    MessageType.GET_VALUES: _VALUES,
    MessageType.LIST_VALUES: _VALUES,
    MessageType.WAIT_VALUES: _VALUES,
    MessageType.TAKE_VALUE: _WRITTEN,
    MessageType.DELETE_VALUES: _WRITTEN._replace(audited_by_hand=True),
    MessageType.INCREASE_VALUE: _WRITTEN,
    MessageType.LIST_NAMESPACES: Need(Action.VALUES_READ, Where.SHOWN),
    MessageType.ORDER_WORKER: _BROKER,
    MessageType.BACKUP: _BROKER,
    MessageType.AUDIT: _BROKER,
}
