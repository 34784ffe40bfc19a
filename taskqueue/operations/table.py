"""
The dispatch table: every operation, by its message type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from twisted.internet.defer import Deferred

from taskqueue.access.permissions import Action
from taskqueue.operations import (
    administration,
    fates,
    lookups,
    periodics,
    tasks,
    values,
    work,
    workers,
)
from taskqueue.operations.answers import Header, Pending, WhenStored
from taskqueue.operations.auditing import audited
from taskqueue.operations.authorization import admit
from taskqueue.operations.caller import Caller
from taskqueue.operations.fields import Form
from taskqueue.operations.needs import NEEDS, Need, Where
from taskqueue.wire import MessageType
from taskqueue.wire.typed import Message

#: The fields of an answer; or what fires with them, or fails with one of L{taskqueue.errors}.
Answer = Message | WhenStored | Pending | Deferred[Header] | Deferred[Message]


class Operation(NamedTuple):
    """
    One thing that can be asked of the broker.

    @ivar form: the fields of the request, but for its C{id}.
    @ivar run: carries it out, and returns the answer.
    @ivar need: what whoever asks for it must be allowed; everything, where that is not said.
    """

    form: Form
    run: Callable[[Caller, Header], Answer]
    need: Need = Need(Action.ADMIN, Where.BROKER)


_FORMS: Mapping[MessageType, tuple[Form, Callable[[Caller, Header], Answer]]] = {
    MessageType.HELLO: (administration.HELLO, administration.hello),
    MessageType.PING: (administration.NOTHING, administration.ping),
    MessageType.SUBMIT_TASK: (tasks.SUBMIT, tasks.submit),
    MessageType.CLAIM_TASK: (work.CLAIM, work.claim),
    MessageType.TASK_RESULT: (work.RESULTS, work.report),
    MessageType.HEARTBEAT: (workers.HEARTBEAT, workers.heartbeat),
    MessageType.REGISTER_WORKER: (workers.REGISTER, workers.register),
    MessageType.DEREGISTER_WORKER: (workers.DEREGISTER, workers.deregister),
    MessageType.EXTEND_LEASE: (work.LEASES, work.extend),
    MessageType.RELEASE_TASK: (work.LEASES, work.release),
    MessageType.BURY_TASK: (work.LEASES, work.bury),
    MessageType.REPORT_PROGRESS: (work.REPORTS, work.report_progress),
    MessageType.QUERY_STATUS: (lookups.STATUS, lookups.status),
    MessageType.WATCH: (lookups.WATCH, lookups.watch),
    MessageType.UNWATCH: (lookups.WATCH, lookups.unwatch),
    MessageType.LIST_TASKS: (lookups.LIST, lookups.list_tasks),
    MessageType.GET_PAYLOAD: (lookups.PAYLOAD, lookups.get_payload),
    MessageType.CANCEL_TASK: (fates.CANCEL, fates.cancel),
    MessageType.RETRY_TASK: (fates.RETRY, fates.retry),
    MessageType.RUN_NOW: (fates.RUN_NOW, fates.run_now),
    MessageType.DELETE_TASK: (fates.DELETE, fates.delete),
    MessageType.GET_STATS: (administration.NOTHING, administration.stats),
    MessageType.LIST_QUEUES: (administration.LIST, administration.list_queues),
    MessageType.LIST_WORKERS: (administration.LIST, administration.list_workers),
    MessageType.ORDER_WORKER: (administration.ORDER, administration.order_worker),
    MessageType.PAUSE_QUEUE: (administration.PAUSE, administration.pause),
    MessageType.RESUME_QUEUE: (administration.QUEUE, administration.resume),
    MessageType.SET_QUEUE: (administration.BOUND, administration.bound),
    MessageType.PURGE_QUEUE: (administration.PURGE, administration.purge),
    MessageType.RETRY_QUEUE: (administration.RETRY_QUEUE, administration.retry_queue),
    MessageType.PUT_PERIODIC: (periodics.PUT, periodics.put),
    MessageType.DELETE_PERIODIC: (periodics.NAME, periodics.delete),
    MessageType.LIST_PERIODIC: (periodics.LIST, periodics.list_periodics),
    MessageType.PAUSE_PERIODIC: (periodics.PAUSE, periodics.pause),
    MessageType.TRIGGER_PERIODIC: (periodics.NAME, periodics.trigger),
    MessageType.PUT_VALUES: (values.PUT, values.put),
    MessageType.GET_VALUES: (values.GET, values.get),
    MessageType.TAKE_VALUE: (values.KEY, values.take),
    MessageType.DELETE_VALUES: (values.DELETE, values.delete),
    MessageType.INCREASE_VALUE: (values.INCREASE, values.increase),
    MessageType.LIST_VALUES: (values.LIST, values.list_values),
    MessageType.WAIT_VALUES: (values.WAIT, values.wait),
    MessageType.LIST_NAMESPACES: (values.NAMESPACES, values.list_namespaces),
    MessageType.BACKUP: (administration.BACKUP, administration.backup),
    MessageType.AUDIT: (administration.NOTHING, administration.audit),
}

OPERATIONS: Mapping[MessageType, Operation] = {
    kind: Operation(form, run, NEEDS[kind]) for kind, (form, run) in _FORMS.items()
}


def perform(caller: Caller, kind: MessageType, operation: Operation, header: Header) -> Answer:
    """
    Carry out an operation, as far as the caller may.

    @param header: the fields of the request.
    @raises BadRequest: a field cannot be what it is.
    @raises Forbidden: the caller may not ask for this.
    """
    need, given = operation.need, operation.form.parse(header)
    if need.audited or (need.audited_by_hand and caller.door == "http"):
        answer: Answer = audited(caller, kind, need, given, operation.run)
        return answer
    admit(caller, need, given)
    return operation.run(caller, given)
