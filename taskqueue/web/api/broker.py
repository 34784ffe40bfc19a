"""
The broker itself: what it is, what it runs with, how it fares.
"""

from __future__ import annotations

import platform
from dataclasses import asdict

from taskqueue import __version__
from taskqueue.errors import StoreError
from taskqueue.service import TaskQueueService
from taskqueue.service.history import distribution
from taskqueue.web.api import shapes
from taskqueue.web.api.answers import Header, Reply
from taskqueue.web.api.endpoints import Content, Endpoint
from taskqueue.web.api.visits import Visit
from taskqueue.wire import MessageType
from twisted import __version__ as twisted_version


async def get_broker(visit: Visit) -> Reply:
    """What the broker is, what it runs with, how it fares."""
    service = visit.service
    visit.admit(MessageType.GET_STATS)
    trouble = service.journal.trouble
    view = {
        "name": service.config.broker.name,
        "version": __version__,
        "python": platform.python_version(),
        "twisted": twisted_version,
        "started_at": service.started_at,
        "uptime_s": service.moments().wall - service.started_at,
        "healthy": trouble is None,
        "trouble": trouble,
        "store": _view_store(service),
        "timers": [
            {"name": str(timer.name), "failures": timer.failures, "failing": timer.failing}
            for timer in service.timers
        ],
        "limits": _view_limits(service),
        "streams": len(service.events),
        "config": asdict(service.config),
    }
    return Reply(200, view | _view_traffic(service))


def _view_store(service: TaskQueueService) -> Header:
    config, journal = service.config.store, service.journal
    return {
        "kind": config.kind,
        "path": None if service.store.inline else config.path,
        "durability": config.durability,
        "size_bytes": _size_of(service),
        "commits": journal.commits,
        "commit_s": distribution(journal.seconds),
        "commit_rows": distribution(journal.rows),
    }


def _size_of(service: TaskQueueService) -> int | None:
    """C{None} where it is not known: on a sick disk, the other numbers are needed most."""
    try:
        return service.store.size()
    except (OSError, StoreError):
        return None


def _view_traffic(service: TaskQueueService) -> Header:
    traffic = service.traffic
    return {
        "connections": {"open": dict(+traffic.open), "accepted": dict(traffic.accepted)},
        "refusals": {"connections": dict(traffic.refused), "requests": dict(traffic.nacks)},
        "requests": dict(traffic.requests),
    }


def _view_limits(service: TaskQueueService) -> Header:
    """What is bounded, and how much of it is in use."""
    ledger, limits = service.broker.ledger, service.config.limits
    policy = ledger.policy
    used = (
        ("waiting_tasks", ledger.depth, policy.depth_threshold),
        ("held_bytes", ledger.held_bytes, policy.max_held_bytes),
        ("values", ledger.values.count, policy.max_values),
        ("values_bytes", ledger.values.size_bytes, policy.max_values_bytes),
        ("connections", service.traffic.open.total(), limits.max_connections),
        ("workers", len(ledger.workers), policy.max_workers),
    )
    return {name: {"used": now, "most": most} for name, now, most in used}


_COUNTS = shapes.by_name(shapes.COUNT)

_BROKER = shapes.thing(
    {
        **dict.fromkeys(("name", "version", "python", "twisted"), shapes.TEXT),
        "started_at": shapes.NUMBER,
        "uptime_s": shapes.NUMBER,
        "healthy": shapes.TRUTH,
        "trouble": shapes.TEXT_OR_NONE,
        "store": shapes.thing(
            {
                "kind": shapes.TEXT,
                "path": shapes.TEXT_OR_NONE,
                "durability": shapes.TEXT,
                "size_bytes": shapes.COUNT_OR_NONE,
                "commits": shapes.COUNT,
                "commit_s": shapes.component("Distribution"),
                "commit_rows": shapes.component("Distribution"),
            }
        ),
        "timers": shapes.listed(
            shapes.thing({"name": shapes.TEXT, "failures": shapes.COUNT, "failing": shapes.TRUTH})
        ),
        "limits": shapes.by_name(shapes.thing({"used": shapes.COUNT, "most": shapes.COUNT})),
        "streams": shapes.COUNT,
        "config": {"type": "object"},
        "connections": shapes.thing({"open": _COUNTS, "accepted": _COUNTS}),
        "refusals": shapes.thing({"connections": _COUNTS, "requests": _COUNTS}),
        "requests": _COUNTS,
    }
)

ENDPOINTS = (
    Endpoint(
        "GET",
        "/broker",
        "Broker",
        get_broker,
        "What the broker is, and how it fares",
        {200: Content("All about it.", _BROKER)},
    ),
)
