"""
The dispatch table: every operation, by its message type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from twisted.internet.defer import Deferred

from taskqueue.operations import administration, periodics, tasks, work
from taskqueue.operations.answers import Header, Pending, WhenStored
from taskqueue.operations.caller import Caller
from taskqueue.operations.fields import Form
from taskqueue.wire import MessageType
from taskqueue.wire.typed import Message

#: The fields of an answer; or what fires with them, or fails with one of L{taskqueue.errors}.
Answer = Message | WhenStored | Pending | Deferred[Header] | Deferred[Message]


class Operation(NamedTuple):
    """
    One thing that can be asked of the broker.

    @ivar form: the fields of the request, but for its C{id}.
    @ivar run: carries it out, and returns the answer.
    """

    form: Form
    run: Callable[[Caller, Header], Answer]


OPERATIONS: Mapping[MessageType, Operation] = {
    MessageType.HELLO: Operation(administration.HELLO, administration.hello),
    MessageType.PING: Operation(administration.NOTHING, administration.ping),
    MessageType.SUBMIT_TASK: Operation(tasks.SUBMIT, tasks.submit),
    MessageType.CLAIM_TASK: Operation(work.CLAIM, work.claim),
    MessageType.TASK_RESULT: Operation(work.RESULTS, work.report),
    MessageType.HEARTBEAT: Operation(work.HEARTBEAT, work.heartbeat),
    MessageType.REGISTER_WORKER: Operation(work.REGISTER, work.register),
    MessageType.DEREGISTER_WORKER: Operation(work.DEREGISTER, work.deregister),
    MessageType.EXTEND_LEASE: Operation(work.LEASES, work.extend),
    MessageType.RELEASE_TASK: Operation(work.LEASES, work.release),
    MessageType.REPORT_PROGRESS: Operation(work.REPORTS, work.report_progress),
    MessageType.QUERY_STATUS: Operation(tasks.STATUS, tasks.status),
    MessageType.WATCH: Operation(tasks.WATCH, tasks.watch),
    MessageType.UNWATCH: Operation(tasks.WATCH, tasks.unwatch),
    MessageType.LIST_TASKS: Operation(tasks.LIST, tasks.list_tasks),
    MessageType.GET_PAYLOAD: Operation(tasks.PAYLOAD, tasks.get_payload),
    MessageType.CANCEL_TASK: Operation(tasks.CANCEL, tasks.cancel),
    MessageType.RETRY_TASK: Operation(tasks.RETRY, tasks.retry),
    MessageType.DELETE_TASK: Operation(tasks.IDS, tasks.delete),
    MessageType.GET_STATS: Operation(administration.NOTHING, administration.stats),
    MessageType.LIST_QUEUES: Operation(administration.LIST, administration.list_queues),
    MessageType.LIST_WORKERS: Operation(administration.LIST, administration.list_workers),
    MessageType.ORDER_WORKER: Operation(administration.ORDER, administration.order_worker),
    MessageType.PAUSE_QUEUE: Operation(administration.PAUSE, administration.pause),
    MessageType.RESUME_QUEUE: Operation(administration.QUEUE, administration.resume),
    MessageType.SET_QUEUE: Operation(administration.BOUND, administration.bound),
    MessageType.PURGE_QUEUE: Operation(administration.PURGE, administration.purge),
    MessageType.PUT_PERIODIC: Operation(periodics.PUT, periodics.put),
    MessageType.DELETE_PERIODIC: Operation(periodics.NAME, periodics.delete),
    MessageType.LIST_PERIODIC: Operation(periodics.LIST, periodics.list_periodics),
    MessageType.PAUSE_PERIODIC: Operation(periodics.PAUSE, periodics.pause),
    MessageType.TRIGGER_PERIODIC: Operation(periodics.NAME, periodics.trigger),
    MessageType.BACKUP: Operation(administration.BACKUP, administration.backup),
    MessageType.AUDIT: Operation(administration.NOTHING, administration.audit),
}
