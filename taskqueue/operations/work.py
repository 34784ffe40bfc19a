"""
Operations of those who do the work: claims, results, leases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from taskqueue.access.permissions import Action
from taskqueue.core.delivery import Delivery, Outcome
from taskqueue.core.task import STATES_BY_WORD, State
from taskqueue.errors import BadRequest, PayloadTooLarge, TaskQueueError
from taskqueue.operations.answers import Pending, WhenStored
from taskqueue.operations.authorization import require_each
from taskqueue.operations.batches import Batch, read_with
from taskqueue.operations.caller import Caller
from taskqueue.operations.fields import (
    Form,
    boolean,
    integer,
    json_value,
    list_of,
    name_text,
    nullable,
    number,
    one_of,
    payload,
    raw_list,
    task_id,
    text,
    wrong,
)
from taskqueue.operations.ownership import of_own, report_own
from taskqueue.operations.tasks import PRIORITY
from taskqueue.operations.views import view_delivery, view_errors, view_states
from taskqueue.wire.typed import Message

Header = dict[str, Any]

#: How many queues, and how many types, a claim or a worker may name.
MOST_QUEUES = 100
MOST_TYPES = 1000

#: How long an error of a task may be, characters.
LONGEST_ERROR = 65_536

#: The checks of the queues and types that a claim or a worker names, and of a lease.
QUEUES = list_of(name_text, MOST_QUEUES, least=1)
TYPES = nullable(list_of(name_text, MOST_TYPES, least=1))
TOKEN = integer(1)

# --- claims --------------------------------------------------------------------

CLAIM = Form(
    {
        "queues": QUEUES,
        "types": TYPES,
        "limit": integer(1),
        "wait_s": number(),
        "lease_s": nullable(number()),
    }
)


class _WaitingClaim(Pending):
    """
    A claim that waits.

    @ivar found: what it was given before it had begun to wait, C{None} for nothing.
    """

    __slots__ = ("_caller", "_view", "found")

    def __init__(self, caller: Caller, view: Callable[[list[Delivery]], Message]) -> None:
        super().__init__()
        self._caller = caller
        self._view = view
        self.found: list[Delivery] | None = None

    def callback(self, result: list[Delivery]) -> None:
        if self.asker is None:
            self.found = result
            return
        self._caller.claims_waiting -= 1
        try:
            view = self._view(result)
        except Exception as error:
            super().errback(error)
        else:
            super().callback(view)

    def errback(self, fail: Failure | Exception) -> None:
        self._caller.claims_waiting -= 1
        super().errback(fail)


def claim(caller: Caller, values: Header) -> Message | Pending:
    """CLAIM_TASK."""
    return claim_tasks(caller, values, _view_claimed)


def claim_tasks(
    caller: Caller, values: Header, view: Callable[[list[Delivery]], Message]
) -> Message | Pending:
    """
    Claim for C{caller}.

    @param values: the fields of CLAIM_TASK that were given, checked.
    @param view: makes the answer of the deliveries.
    @raises BadRequest: a bound that the operator set is passed.
    @raises Forbidden: it may not claim from one of the queues.
    @raises UnknownWorker: the caller's worker was struck out.
    """
    broker = caller.service.config.broker
    limit = values.get("limit", 1)
    if limit > broker.max_batch_claim:
        raise wrong("limit", limit, f"at most {broker.max_batch_claim} (max_batch_claim)")
    wait_s = values.get("wait_s", broker.claim_wait_s)
    if wait_s > broker.claim_wait_max_s:
        raise wrong("wait_s", wait_s, f"at most {broker.claim_wait_max_s:g} (claim_wait_max_s)")
    worker = caller.worker
    queues = values.get("queues", ("default",) if worker is None else worker.info.queues)
    types = values.get("types", None if worker is None else worker.info.types)
    if caller.restricted is not None:
        require_each(caller, Action.CLAIM, queues)
    service = caller.service
    reply = _WaitingClaim(caller, view)
    found = service.take(
        service.new_claim(
            caller.holder,
            queues,
            types,
            limit,
            values.get("lease_s"),
            max_bytes=service.config.limits.max_frame_bytes // 2,
        ),
        wait_s,
        reply,
    )
    if found is None and reply.found is None:
        caller.claims_waiting += 1
        return reply
    return view(found or reply.found or [])


def _view_claimed(deliveries: list[Delivery]) -> Header:
    return {"tasks": [view_delivery(delivery) for delivery in deliveries]}


# --- results and leases -----------------------------------------------------------

_ENDS = {word: STATES_BY_WORD[word] for word in ("completed", "failed", "cancelled")}

RESULT = Form(
    {
        "task": task_id,
        "lease": TOKEN,
        "status": one_of(*_ENDS),
        "result": payload,
        "error": nullable(text(LONGEST_ERROR)),
        "permanent": boolean,
        "retry_in_s": nullable(number()),
    },
    required=("task", "lease", "status"),
)
RESULTS = Form({"results": raw_list}, required=("results",))


def report(caller: Caller, values: Header) -> WhenStored | Deferred[Message]:
    """TASK_RESULT."""
    config = caller.service.config
    most_bytes = config.limits.max_payload_bytes

    def build(item: Header) -> Outcome:
        ended = _ENDS[item["status"]]
        result = item.get("result", b"")
        if len(result) > most_bytes:
            raise PayloadTooLarge(
                f"the result has {len(result)} bytes, at most {most_bytes} (max_payload_bytes) "
                f"are accepted",
                limit=most_bytes,
            )
        if result and ended is not State.COMPLETED:
            raise BadRequest("only a completed task has a result; a failed one has an error")
        return Outcome(
            item["task"],
            item["lease"],
            ended,
            result,
            item.get("error"),
            item.get("permanent", False),
            item.get("retry_in_s"),
        )

    batch = Batch(
        values["results"],
        config.broker.max_batch_results,
        read_with(RESULT, build, "the result"),
        "results",
    )
    return report_outcomes(caller, batch.items, lambda found: view_states(batch.merge(found)))


def report_outcomes(
    caller: Caller,
    outcomes: Sequence[Outcome],
    view: Callable[[list[State | TaskQueueError]], Message],
) -> WhenStored | Deferred[Message]:
    """
    Hand in how deliveries ended.

    @param view: makes the answer of the states of their tasks.
    """
    if caller.restricted is not None:
        found = report_own(caller, outcomes)
        return found.addCallback(view) if isinstance(found, Deferred) else WhenStored(view(found))
    service = caller.service
    answers, unclear = service.report_now(outcomes)
    if not unclear:
        return WhenStored(view(answers))
    return service.explain_lost(unclear, outcomes, answers).addCallback(view)


EXTENSION = Form(
    {"task": task_id, "lease": TOKEN, "lease_s": nullable(number())}, required=("task", "lease")
)
RELEASE = Form(
    {
        "task": task_id,
        "lease": TOKEN,
        "delay_s": nullable(number()),
        "priority": nullable(PRIORITY),
    },
    required=("task", "lease"),
)
BURIAL = Form(
    {"task": task_id, "lease": TOKEN, "priority": nullable(PRIORITY)}, required=("task", "lease")
)
PROGRESS = Form(
    {"task": task_id, "lease": TOKEN, "progress": json_value(4096)},
    required=("task", "lease", "progress"),
)
LEASES = Form({"leases": raw_list}, required=("leases",))
REPORTS = Form({"reports": raw_list}, required=("reports",))


def _batch(
    caller: Caller, values: Header, field: str, form: Form, *keys: str
) -> Batch[tuple[Any, ...]]:
    return Batch(
        values[field],
        caller.service.config.broker.max_batch_results,
        read_with(form, lambda item: tuple(map(item.get, ("task", "lease", *keys))), "the item"),
        field,
    )


def extend(caller: Caller, values: Header) -> Deferred[Header]:
    """EXTEND_LEASE."""
    batch = _batch(caller, values, "leases", EXTENSION, "lease_s")
    answers = of_own(caller, batch.items, caller.service.extend)
    return answers.addCallback(lambda found: _view_values("lease_s", batch.merge(found)))


def release(caller: Caller, values: Header) -> Deferred[Header]:
    """RELEASE_TASK."""
    batch = _batch(caller, values, "leases", RELEASE, "delay_s", "priority")
    items = [(task, token, pause_s or 0.0, rank) for task, token, pause_s, rank in batch.items]
    answers = of_own(caller, items, caller.service.release)
    return answers.addCallback(lambda found: view_states(batch.merge(found)))


def bury(caller: Caller, values: Header) -> Deferred[Header]:
    """BURY_TASK."""
    batch = _batch(caller, values, "leases", BURIAL, "priority")
    answers = of_own(caller, batch.items, caller.service.bury)
    return answers.addCallback(lambda found: view_states(batch.merge(found)))


def report_progress(caller: Caller, values: Header) -> Deferred[Header]:
    """REPORT_PROGRESS."""
    batch = _batch(caller, values, "reports", PROGRESS, "progress")
    answers = of_own(caller, batch.items, caller.service.report_progress)
    return answers.addCallback(lambda found: _view_values("cancel", batch.merge(found)))


def _view_values(name: str, answers: list[Any]) -> Header:
    values = [None if isinstance(a, TaskQueueError) else a for a in answers]
    return {name: values, **view_errors(answers)}
