"""
Operations of workers as such: registering, heartbeats, leaving.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from taskqueue.core.workers import Registration, Worker
from taskqueue.errors import BadRequest
from taskqueue.operations.caller import Caller
from taskqueue.operations.fields import (
    LARGEST_INTEGER,
    Form,
    integer,
    list_of,
    name_text,
    nullable,
    number,
    text,
)
from taskqueue.operations.ownership import check_registration, own_worker, take_over
from taskqueue.operations.work import QUEUES, TOKEN, TYPES

Header = dict[str, Any]

_WORKER = {
    "worker": name_text,
    "incarnation": integer(1),
    "queues": QUEUES,
    "types": TYPES,
    "capacity": integer(1, 1_000_000),
    "host": nullable(text(255)),
    "pid": nullable(integer()),
}
REGISTER = Form(_WORKER, required=("worker", "incarnation"))
HEARTBEAT = Form(
    {
        **_WORKER,
        "cpu_percent": nullable(number(0.0, 1e6)),
        "rss_bytes": nullable(integer(0, LARGEST_INTEGER)),
        "in_hand": nullable(integer(0, 1_000_000)),
        "leases": list_of(TOKEN, 100_000),
    },
    required=("worker", "incarnation"),
)
DEREGISTER = Form({"worker": name_text})


def _registration(values: Header) -> Registration:
    types = values.get("types")
    return Registration(
        values["worker"],
        values["incarnation"],
        values.get("queues", ("default",)),
        None if types is None else frozenset(types),
        values.get("capacity", 1),
        values.get("host"),
        values.get("pid"),
    )


def register(caller: Caller, values: Header) -> Deferred[Header]:
    """REGISTER_WORKER."""
    _check(caller, values)

    def answer(worker: Worker) -> Header:
        take_over(caller, worker)
        caller.become(worker)
        workers = caller.service.config.workers
        return {
            "worker": worker.name,
            "incarnation": worker.incarnation,
            "heartbeat_s": workers.heartbeat_s,
            "stale_after_s": workers.stale_after_s,
            "leases": [
                {"task": lease.task.id, "lease": token} for token, lease in worker.leases.items()
            ],
        }

    return caller.service.register(_registration(values), caller).addCallback(answer)


def heartbeat(caller: Caller, values: Header) -> Deferred[Header]:
    """HEARTBEAT."""
    _check(caller, values)

    def answer(worker: Worker) -> Header:
        take_over(caller, worker)
        caller.become(worker)
        held = worker.leases
        return {
            "leases": len(held),
            "lost": [token for token in values.get("leases", ()) if token not in held],
            "cancel": [
                {"task": lease.task.id, "lease": token} for token, lease in worker.to_cancel.items()
            ],
            "order": worker.order,
        }

    beat = caller.service.heartbeat(
        _registration(values),
        caller,
        cpu_percent=values.get("cpu_percent"),
        rss_bytes=values.get("rss_bytes"),
        in_hand=values.get("in_hand"),
    )
    return beat.addCallback(answer)


def _check(caller: Caller, values: Header) -> None:
    """
    One connection speaks for one worker, and for no one else's.

    @raises Forbidden: it may not claim from one of the worker's queues.
    @raises WorkerExists: the worker is somebody else's.
    """
    worker = caller.worker
    if worker is not None and worker.name != values["worker"]:
        raise BadRequest(
            f"this connection is worker {worker.name!r}: use another one for "
            f"{values['worker']!r}, or deregister first",
            field="worker",
        )
    if caller.restricted is not None:
        check_registration(caller, values["worker"], values.get("queues"))


def deregister(caller: Caller, values: Header) -> Deferred[Header]:
    """DEREGISTER_WORKER."""
    own = caller.worker
    worker_id = values.get("worker")
    if worker_id is None:
        if own is None:
            raise BadRequest("no worker is registered on this connection: name one", field="worker")
        worker_id = own.name
    if caller.restricted is not None:
        own_worker(caller, worker_id)

    def answer(ended: int) -> Header:
        if own is not None and own.name == worker_id:
            caller.become(None)
        return {"leases": ended}

    return caller.service.deregister(worker_id).addCallback(answer)
