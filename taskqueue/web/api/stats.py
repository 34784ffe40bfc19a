"""
Numbers: now, by queue, type or tier, and in the last hours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import nlargest
from itertools import islice
from typing import NamedTuple

from taskqueue.access.permissions import Action
from taskqueue.core.counters import Counters
from taskqueue.core.failures import KEPT, Failure
from taskqueue.core.lanes import Lane, Queue
from taskqueue.core.overview import total_times
from taskqueue.core.task import STATE_WORDS, TIERS, WAITING
from taskqueue.operations.fields import Form, integer, number, one_of
from taskqueue.operations.visibility import readable
from taskqueue.service.history import distribution
from taskqueue.web.api import shapes
from taskqueue.web.api.answers import Header, Reply
from taskqueue.web.api.endpoints import Content, Endpoint
from taskqueue.web.api.visits import Visit
from taskqueue.wire import MessageType

_HOUR_S = 3600.0


async def get_stats(visit: Visit) -> Reply:
    """The whole broker in numbers."""
    service = visit.service
    answer = await visit.ask(MessageType.GET_STATS, {})
    now, ledger, history = service.moments(), service.broker.ledger, service.samples.history
    wait, processing = total_times(ledger)
    more = {
        "tiers": _tiers(ledger.queues.values()),
        "last_hour": history.since(_HOUR_S, now, answer["stats"]["totals"]),
        "wait_s": distribution(wait),
        "run_s": distribution(processing),
        "backlog": history.trend(now),
    }
    return Reply(200, answer["stats"] | more)


def _tiers(queues: Iterable[Queue]) -> dict[str, int]:
    every = list(queues)
    return {
        tier[0]: sum([queue.tiers[place] for queue in every]) for place, tier in enumerate(TIERS)
    }


# --- by queue, type or tier --------------------------------------------------------


class _Group(NamedTuple):
    """
    Lanes that are shown together.

    @ivar retired: what lanes of it that were given up had counted.
    """

    name: str
    lanes: list[Lane]
    retired: Counters | None = None

    @property
    def depth(self) -> int:
        """How many tasks wait in it."""
        return sum([lane.counts[state] for lane in self.lanes for state in WAITING])

    def view(self) -> Header:
        """In numbers."""
        total = Counters()
        for counters in (*(lane.counters for lane in self.lanes), self.retired):
            if counters is not None:
                total.add(counters)
        counts = [sum(column) for column in zip(*(lane.counts for lane in self.lanes), strict=True)]
        return {
            "name": self.name,
            "depth": self.depth,
            "states": dict(zip(STATE_WORDS, counts or [0] * len(STATE_WORDS), strict=True)),
            "totals": total.as_dict(),
            "wait_s": distribution(total.wait),
            "run_s": distribution(total.processing),
        }


def _by_queue(queues: Iterable[Queue]) -> Iterator[_Group]:
    for queue in queues:
        yield _Group(queue.name, list(queue.lanes.values()), queue.retired)


def _by_type(queues: Iterable[Queue]) -> Iterable[_Group]:
    found: dict[str, _Group] = {}
    for queue in queues:
        for lane in queue.lanes.values():
            found.setdefault(lane.type, _Group(lane.type, [])).lanes.append(lane)
    return found.values()


def _by_tier(visit: Visit, queues: Iterable[Queue]) -> list[Header]:
    """Waits are counted of all queues together: for who may read all of them."""
    rows: list[Header] = [{"name": name, "depth": n} for name, n in _tiers(queues).items()]
    permissions = visit.visitor.restricted
    if permissions is None or permissions.everywhere(Action.READ):
        for row, waits in zip(rows, visit.service.broker.ledger.tier_waits, strict=True):
            row["wait_s"] = distribution(waits)
    return rows


_GROUPINGS: dict[str, Callable[[Iterable[Queue]], Iterable[_Group]]] = {
    "queue": _by_queue,
    "type": _by_type,
}

BREAKDOWN = Form({"by": one_of(*_GROUPINGS, "tier"), "limit": integer(1, 1000)}, required=("by",))


async def break_down(visit: Visit) -> Reply:
    """The numbers by queue, type or tier, the deepest first."""
    by, limit = visit.query["by"], visit.query.get("limit", 100)
    visit.admit(MessageType.LIST_QUEUES)
    every = visit.service.broker.ledger.queues.values()
    queues = [queue for queue in every if readable(visit.visitor, queue.name)]
    if by == "tier":
        return Reply(200, {"by": by, "rows": _by_tier(visit, queues), "more": False})
    groups = list(_GROUPINGS[by](queues))
    deepest = nlargest(limit, groups, key=lambda group: group.depth)
    rows = [group.view() for group in deepest]
    return Reply(200, {"by": by, "rows": rows, "more": len(groups) > limit})


# --- what goes wrong just now -------------------------------------------------------

FAILURES = Form({"limit": integer(1, KEPT)})


async def list_failures(visit: Visit) -> Reply:
    """The newest deliveries that failed or were lost."""
    visit.admit(MessageType.LIST_TASKS)
    every = visit.service.broker.ledger.failures
    seen = (failure for failure in every if readable(visit.visitor, failure.queue))
    newest = islice(seen, visit.query.get("limit", 20))
    return Reply(200, {"failures": [_view(failure) for failure in newest]})


def _view(failure: Failure) -> Header:
    view = failure._asdict() | {"state": failure.state.word}
    if failure.worker is None:
        del view["worker"]
    return view


# --- in the last hours --------------------------------------------------------------

HISTORY = Form({"span_s": number(10.0, 86_400.0)})


async def get_history(visit: Visit) -> Reply:
    """Samples of the last hours."""
    service = visit.service
    visit.admit(MessageType.GET_STATS)
    span_s = visit.query.get("span_s", _HOUR_S)
    return Reply(200, service.samples.history.describe(span_s, service.moments()))


_SPREAD = shapes.component("Distribution")

_STATS = shapes.thing(
    {
        "name": shapes.TEXT,
        "uptime_s": shapes.NUMBER,
        "durability": shapes.TEXT,
        "healthy": shapes.TRUTH,
        **dict.fromkeys(
            (
                *("depth", "held_bytes", "in_progress", "waiting_claims", "workers", "periodics"),
                *("values", "values_bytes", "connections"),
            ),
            shapes.COUNT,
        ),
        "states": shapes.STATE_COUNTS,
        "totals": shapes.EVENT_COUNTS,
        "rates": shapes.EVENT_RATES,
        "unserved": shapes.listed(
            shapes.thing({"queue": shapes.TEXT, "type": shapes.TEXT, "ready": shapes.COUNT})
        ),
        "tiers": shapes.TIER_COUNTS,
        "last_hour": shapes.EVENT_COUNTS,
        "wait_s": _SPREAD,
        "run_s": _SPREAD,
        "backlog": shapes.thing(
            {
                "depth": shapes.COUNT,
                "arriving_per_s": shapes.NUMBER,
                "leaving_per_s": shapes.NUMBER,
                "empty_in_s": shapes.NUMBER_OR_NONE,
            }
        ),
    }
)

_ROW = shapes.thing(
    {"name": shapes.TEXT, "depth": shapes.COUNT},
    {
        "states": shapes.STATE_COUNTS,
        "totals": shapes.EVENT_COUNTS,
        "wait_s": _SPREAD,
        "run_s": _SPREAD,
    },
)

_FAILURE = shapes.thing(
    {
        "at": shapes.NUMBER,
        **dict.fromkeys(("task", "type", "queue", "error"), shapes.TEXT),
        "attempt": shapes.COUNT,
        "lost": shapes.TRUTH,
        "state": shapes.STATE,
    },
    {"worker": shapes.TEXT},
)

_SAMPLE = shapes.thing(
    {
        "at": shapes.NUMBER,
        "depth": shapes.COUNT,
        "tiers": shapes.TIER_COUNTS,
        "in_progress": shapes.COUNT,
        "workers": shapes.COUNT,
        "rates": shapes.EVENT_RATES,
        "wait_s": {"anyOf": [_SPREAD, {"type": "null"}]},
        "run_s": {"anyOf": [_SPREAD, {"type": "null"}]},
    }
)

ENDPOINTS = (
    Endpoint(
        "GET",
        "/stats",
        "Stats",
        get_stats,
        "The whole broker in numbers",
        {200: Content("The numbers.", _STATS)},
    ),
    Endpoint(
        "GET",
        "/stats/breakdown",
        "Stats",
        break_down,
        "Numbers by queue, type or tier",
        {
            200: Content(
                "A row for each, the deepest first.",
                shapes.thing(
                    {"by": shapes.TEXT, "rows": shapes.listed(_ROW), "more": shapes.TRUTH}
                ),
            )
        },
        query=BREAKDOWN,
    ),
    Endpoint(
        "GET",
        "/stats/failures",
        "Stats",
        list_failures,
        "What failed last",
        {
            200: Content(
                "The newest failures first.",
                shapes.thing({"failures": shapes.listed(_FAILURE)}),
            )
        },
        query=FAILURES,
    ),
    Endpoint(
        "GET",
        "/stats/history",
        "Stats",
        get_history,
        "Samples of the last hours",
        {
            200: Content(
                "The samples, oldest first.",
                shapes.thing({"step_s": shapes.NUMBER, "samples": shapes.listed(_SAMPLE)}),
            )
        },
        query=HISTORY,
    ),
)
