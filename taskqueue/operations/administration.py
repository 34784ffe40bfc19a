"""
Operations for operators, and the small talk of a connection.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from twisted.internet.defer import Deferred

from taskqueue import __version__
from taskqueue.access.identities import Identity
from taskqueue.core.workers import ORDERS
from taskqueue.errors import UnsupportedVersion
from taskqueue.operations.caller import Caller
from taskqueue.operations.fields import (
    LONGEST_QUEUE,
    Form,
    any_queue,
    file_name,
    integer,
    list_of,
    name_text,
    nullable,
    number,
    one_of,
    secret,
    text,
)
from taskqueue.operations.views import view_worker
from taskqueue.operations.visibility import readable, sees_worker

Header = dict[str, Any]

#: The versions of the protocol that are spoken here.
VERSIONS = (1,)

#: What a client may rely on beyond the version.
FEATURES = (
    "batch",
    "watch",
    "dependencies",
    "progress",
    "workers",
    "administration",
    "unique",
    "periodic",
    "values",
)

NOTHING = Form({})

HELLO = Form(
    {
        "versions": list_of(integer(), 100, least=1),
        "client": text(200),
        "key": nullable(secret),
    }
)


def hello(caller: Caller, values: Header) -> Header:
    """HELLO."""
    offered = values.get("versions", VERSIONS)
    common = [version for version in VERSIONS if version in offered]
    if not common:
        raise UnsupportedVersion(
            f"this broker speaks version {', '.join(map(str, VERSIONS))} of the protocol, the "
            f"client offers {', '.join(map(str, offered))}",
            versions=list(VERSIONS),
        )
    identity = caller.authenticate(values.get("key"))
    caller.introduce(values.get("client", ""))
    config = caller.service.config
    limits, broker, workers = config.limits, config.broker, config.workers
    view = {
        "version": max(common),
        "server": f"taskqueue/{__version__}",
        "name": broker.name,
        "durability": config.store.durability,
        "features": list(FEATURES),
        "heartbeat_s": workers.heartbeat_s,
        "stale_after_s": workers.stale_after_s,
        "time": caller.service.moments().wall,
        "limits": {
            "max_frame_bytes": limits.max_frame_bytes,
            "max_payload_bytes": limits.max_payload_bytes,
            "max_batch_submit": broker.max_batch_submit,
            "max_batch_claim": broker.max_batch_claim,
            "max_batch_results": broker.max_batch_results,
            "max_inflight_requests": limits.max_inflight_requests,
            "idle_timeout_s": limits.idle_timeout_s,
            "claim_wait_max_s": broker.claim_wait_max_s,
            "lease_min_s": broker.lease_min_s,
            "lease_max_s": broker.lease_max_s,
        },
    }
    if identity.kind != "everyone":
        view["identity"] = view_identity(identity)
    return view


def view_identity(identity: Identity) -> Header:
    """Who somebody is, and what they may do, for themselves."""
    return {
        "name": identity.name,
        "kind": identity.kind,
        "role": identity.role,
        "permissions": identity.permissions.words(),
        "expires_at": identity.expires_at,
    }


def ping(caller: Caller, values: Header) -> Header:
    """PING."""
    return {"time": caller.service.moments().wall}


def stats(caller: Caller, values: Header) -> Header:
    """GET_STATS."""
    return {"stats": caller.service.stats()}


#: How many queues or workers one answer lists at most.
MOST_LISTED = 1000

LIST = Form({"limit": integer(1, MOST_LISTED), "after": nullable(text(LONGEST_QUEUE))})


def list_queues(caller: Caller, values: Header) -> Header:
    """LIST_QUEUES."""
    limit = values.get("limit", MOST_LISTED)
    after = values.get("after") or ""
    if caller.restricted is None:
        queues = caller.service.queues(after, limit)
    else:
        queues = caller.service.queues(after, limit, lambda name: readable(caller, name))
    return {"queues": queues, "next": queues[-1]["name"] if len(queues) == limit else None}


def list_workers(caller: Caller, values: Header) -> Header:
    """LIST_WORKERS."""
    limit, after = values.get("limit", MOST_LISTED), values.get("after") or ""
    workers = sorted(
        (
            worker
            for worker in caller.service.broker.ledger.workers
            if worker.name > after and sees_worker(caller, worker)
        ),
        key=attrgetter("name"),
    )[:limit]
    return {
        "workers": [view_worker(worker) for worker in workers],
        "next": workers[-1].name if len(workers) == limit else None,
    }


ORDER = Form({"worker": name_text, "order": one_of(*ORDERS)}, required=("worker", "order"))


def order_worker(caller: Caller, values: Header) -> Deferred[Header]:
    """ORDER_WORKER."""
    return caller.service.order_worker(values["worker"], values["order"]).addCallback(_nothing)


# --- queues --------------------------------------------------------------------

QUEUE = Form({"queue": any_queue}, required=("queue",))
PAUSE = Form({"queue": any_queue, "for_s": nullable(number())}, required=("queue",))
BOUND = Form(
    {"queue": any_queue, "max_depth": nullable(integer(0, 10**9))}, required=("queue", "max_depth")
)
PURGE = Form({"queue": any_queue, "limit": integer(1, 100_000)}, required=("queue",))


def pause(caller: Caller, values: Header) -> Deferred[Header]:
    """PAUSE_QUEUE."""
    return caller.service.pause(values["queue"], values.get("for_s")).addCallback(_nothing)


def resume(caller: Caller, values: Header) -> Deferred[Header]:
    """RESUME_QUEUE."""
    return caller.service.resume(values["queue"]).addCallback(_nothing)


def bound(caller: Caller, values: Header) -> Deferred[Header]:
    """SET_QUEUE."""
    return caller.service.bound(values["queue"], values["max_depth"]).addCallback(_nothing)


def purge(caller: Caller, values: Header) -> Deferred[Header]:
    """PURGE_QUEUE."""
    counts = caller.service.purge(values["queue"], values.get("limit", 10_000))
    return counts.addCallback(lambda found: {"cancelled": found[0], "left": found[1]})


RETRY_QUEUE = Form({"queue": any_queue, "limit": integer(1, 100_000)}, required=("queue",))


def retry_queue(caller: Caller, values: Header) -> Deferred[Header]:
    """RETRY_QUEUE."""
    counts = caller.service.retry_queue(values["queue"], values.get("limit", 10_000))
    return counts.addCallback(lambda found: {"retried": found[0], "left": found[1]})


BACKUP = Form({"name": file_name}, required=("name",))


def backup(caller: Caller, values: Header) -> Deferred[Header]:
    """BACKUP."""
    made = caller.service.backup(values["name"])
    return made.addCallback(lambda found: {"path": found[0], "bytes": found[1]})


def audit(caller: Caller, values: Header) -> Deferred[Header]:
    """AUDIT."""
    found = caller.service.auditor.audit()
    return found.addCallback(lambda findings: dict(findings._asdict()))


def _nothing(_: object) -> Header:
    return {}
