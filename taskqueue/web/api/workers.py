"""
Workers: looking, and telling them to end.
"""

from __future__ import annotations

from itertools import islice

from taskqueue.core.leases import Lease
from taskqueue.operations import administration
from taskqueue.operations.fields import Form
from taskqueue.operations.views import view_worker
from taskqueue.operations.visibility import seen_worker
from taskqueue.web.api.answers import Header, Reply, page_of
from taskqueue.web.api.endpoints import Body, Content, Endpoint
from taskqueue.web.api.visits import Visit
from taskqueue.wire import MessageType

#: How many deliveries of a worker are told of.
MOST_DELIVERIES = 1000


async def list_workers(visit: Visit) -> Reply:
    """List workers by name."""
    answer = await visit.ask(MessageType.LIST_WORKERS, visit.query)
    following = answer["next"]
    return page_of("workers", answer["workers"], following, visit.next_page(following))


async def get_worker(visit: Visit) -> Reply:
    """One worker, with the tasks that it has in hand."""
    service = visit.service
    visit.admit(MessageType.LIST_WORKERS)
    worker = seen_worker(visit.visitor, visit.places["worker"])
    mono = service.moments().mono
    leases = islice(worker.leases.values(), MOST_DELIVERIES)
    return Reply(200, view_worker(worker) | {"tasks": [_view(lease, mono) for lease in leases]})


def _view(lease: Lease, mono: float) -> Header:
    task = lease.task
    return {
        "id": task.id,
        "type": task.type,
        "queue": task.queue,
        "priority": task.priority,
        "attempt": task.attempt,
        "claimed_at": task.claimed_at,
        "lease_left_s": max(lease.ends_at - mono, 0.0),
        "progress": lease.progress,
        "cancel_requested": task.cancel_requested,
    }


async def quiet_worker(visit: Visit) -> Reply:
    """Tell a worker to claim no more."""
    return await _order(visit, "quiet")


async def terminate_worker(visit: Visit) -> Reply:
    """Tell a worker to finish and stop."""
    return await _order(visit, "terminate")


async def _order(visit: Visit, order: str) -> Reply:
    name = visit.places["worker"]
    await visit.ask(MessageType.ORDER_WORKER, {"worker": name, "order": order})
    return Reply(202, view_worker(visit.service.broker.ledger.workers.get(name)))


_TOLD = {202: Content("It hears of it with its next heartbeat.", "Worker")}

ENDPOINTS = (
    Endpoint(
        "GET",
        "/workers",
        "Workers",
        list_workers,
        "List workers",
        {200: Content("A page of workers.", "WorkerPage", headers={"Link": "the next page"})},
        query=administration.LIST,
    ),
    Endpoint(
        "GET",
        "/workers/{worker}",
        "Workers",
        get_worker,
        "Get a worker",
        {200: Content("The worker.", "Worker")},
        refusals=(404,),
    ),
    Endpoint(
        "POST",
        "/workers/{worker}/quiet",
        "Workers",
        quiet_worker,
        "Tell a worker to claim no more",
        _TOLD,
        body=Body(Form({})),
        refusals=(404,),
    ),
    Endpoint(
        "POST",
        "/workers/{worker}/terminate",
        "Workers",
        terminate_worker,
        "Tell a worker to finish and stop",
        _TOLD,
        body=Body(Form({})),
        refusals=(404,),
    ),
)
