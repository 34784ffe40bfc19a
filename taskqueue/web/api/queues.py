"""
Queues: looking, pausing, bounding, draining, purging.
"""

from __future__ import annotations

from heapq import nlargest
from typing import Any

from taskqueue.access.permissions import Action
from taskqueue.core.lanes import Lane, Queue
from taskqueue.core.overview import describe_queue
from taskqueue.core.task import STATE_WORDS
from taskqueue.errors import UnknownQueue
from taskqueue.operations import administration
from taskqueue.operations.authorization import require
from taskqueue.operations.fields import Form, boolean
from taskqueue.service import TaskQueueService
from taskqueue.service.history import distribution
from taskqueue.web.api.answers import Header, Reply, page_of
from taskqueue.web.api.endpoints import Body, Content, Endpoint
from taskqueue.web.api.visits import Visit
from taskqueue.wire import MessageType

#: How many types of a queue are told of.
MOST_TYPES = 1000


def _marked(view: Header) -> Header:
    """A queue as it is described, and whether it takes new tasks."""
    return {**view, "draining": view["max_depth"] == 0}


async def list_queues(visit: Visit) -> Reply:
    """List queues by name."""
    answer = await visit.ask(MessageType.LIST_QUEUES, visit.query)
    following = answer["next"]
    queues = [_marked(view) for view in answer["queues"]]
    return page_of("queues", queues, following, visit.next_page(following))


def known_queue(service: TaskQueueService, name: str) -> Queue:
    """
    A queue by its name.

    @raises UnknownQueue: there is none.
    """
    ledger = service.broker.ledger
    queue = ledger.queues.get(name)
    if queue is None and name in ledger.policy.queues:
        queue = ledger.queue(name)
    if queue is None:
        raise UnknownQueue(f"there is no queue {name!r}", queue=name)
    return queue


def _seen(visit: Visit) -> Queue:
    """
    The queue of the path.

    @raises Forbidden: it may not be read.
    @raises UnknownQueue: there is none.
    """
    name = visit.places["queue"]
    require(visit.visitor, Action.READ, name)
    return known_queue(visit.service, name)


async def get_queue(visit: Visit) -> Reply:
    """One queue, with what its types do."""
    visit.admit(MessageType.LIST_QUEUES)
    queue = _seen(visit)
    lanes = nlargest(MOST_TYPES, queue.lanes.values(), key=lambda lane: lane.size)
    return Reply(200, _view(visit, queue) | {"types": [_view_lane(lane) for lane in lanes]})


def _view(visit: Visit, queue: Queue) -> Header:
    return _marked(describe_queue(queue, visit.service.moments()))


def _view_lane(lane: Lane) -> Header:
    return {
        "name": lane.type,
        "ready": lane.size,
        "states": dict(zip(STATE_WORDS, lane.counts, strict=True)),
        "totals": lane.counters.as_dict(),
        "wait_s": distribution(lane.counters.wait),
        "run_s": distribution(lane.counters.processing),
    }


async def _change(visit: Visit, kind: MessageType, **fields: Any) -> Reply:
    """Carry out an operation on the queue, and show what it is then: so it must be readable."""
    name = visit.places["queue"]
    require(visit.visitor, Action.READ, name)
    await visit.ask(kind, {"queue": name, **fields})
    return Reply(200, _view(visit, known_queue(visit.service, name)))


async def bound_queue(visit: Visit) -> Reply:
    """Bound the waiting tasks of a queue."""
    return await _change(visit, MessageType.SET_QUEUE, **visit.body)


async def pause_queue(visit: Visit) -> Reply:
    """Give out no task of a queue, for a time or until it is resumed."""
    return await _change(visit, MessageType.PAUSE_QUEUE, **visit.body)


async def resume_queue(visit: Visit) -> Reply:
    """End a pause."""
    return await _change(visit, MessageType.RESUME_QUEUE)


async def drain_queue(visit: Visit) -> Reply:
    """Take no new tasks; those that there are are worked off."""
    return await _change(visit, MessageType.SET_QUEUE, max_depth=0)


async def purge_queue(visit: Visit) -> Reply:
    """Cancel what waits in a queue."""
    fields = dict(visit.body)
    name = visit.places["queue"]
    if fields.pop("dry_run", False):
        visit.admit(MessageType.PURGE_QUEUE, queue=name)
        return Reply(200, {"would_cancel": known_queue(visit.service, name).depth})
    return Reply(200, await visit.ask(MessageType.PURGE_QUEUE, {"queue": name, **fields}))


async def retry_queue(visit: Visit) -> Reply:
    """Let dead letters of a queue run again, those first that have been so longest."""
    header = {"queue": visit.places["queue"], **visit.body}
    return Reply(200, await visit.ask(MessageType.RETRY_QUEUE, header))


def _fields(form: Form, **more: Any) -> Form:
    """What a form takes beside the queue's name, which stands in the path."""
    fields = {name: check for name, check in form.fields.items() if name != "queue"}
    required = tuple(name for name in form.required if name != "queue")
    return Form({**fields, **more}, required)


_QUEUE = {200: Content("The queue as it is now.", "Queue")}

ENDPOINTS = (
    Endpoint(
        "GET",
        "/queues",
        "Queues",
        list_queues,
        "List queues",
        {200: Content("A page of queues.", "QueuePage", headers={"Link": "the next page"})},
        query=administration.LIST,
    ),
    Endpoint(
        "GET",
        "/queues/{queue}",
        "Queues",
        get_queue,
        "Get a queue",
        {200: Content("The queue.", "Queue")},
        refusals=(404,),
    ),
    Endpoint(
        "PATCH",
        "/queues/{queue}",
        "Queues",
        bound_queue,
        "Bound a queue",
        _QUEUE,
        body=Body(_fields(administration.BOUND), needed=True),
    ),
    Endpoint(
        "POST",
        "/queues/{queue}/pause",
        "Queues",
        pause_queue,
        "Pause a queue",
        _QUEUE,
        body=Body(_fields(administration.PAUSE)),
    ),
    Endpoint(
        "POST",
        "/queues/{queue}/resume",
        "Queues",
        resume_queue,
        "Resume a queue",
        _QUEUE,
        body=Body(Form({})),
        refusals=(404,),
    ),
    Endpoint(
        "POST",
        "/queues/{queue}/drain",
        "Queues",
        drain_queue,
        "Drain a queue",
        _QUEUE,
        body=Body(Form({})),
    ),
    Endpoint(
        "POST",
        "/queues/{queue}/purge",
        "Queues",
        purge_queue,
        "Cancel what waits in a queue",
        {200: Content("What was done, or would be.", "Purged")},
        body=Body(_fields(administration.PURGE, dry_run=boolean)),
        refusals=(404,),
    ),
    Endpoint(
        "POST",
        "/queues/{queue}/retry",
        "Queues",
        retry_queue,
        "Let dead letters of a queue run again",
        {200: Content("How many run again, and how many are left.", "RetriedQueue")},
        body=Body(_fields(administration.RETRY_QUEUE)),
        refusals=(404,),
    ),
)
