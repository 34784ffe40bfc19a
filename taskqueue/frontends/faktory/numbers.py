"""
INFO: the server in numbers.
"""

from __future__ import annotations

import resource
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from taskqueue import __version__
from taskqueue.core.lanes import Queue
from taskqueue.core.overview import total_counts, total_states
from taskqueue.core.task import State
from taskqueue.frontends.faktory import resp
from taskqueue.frontends.faktory.arguments import Command
from taskqueue.frontends.faktory.jobs import timestamp
from taskqueue.operations.authorization import admit
from taskqueue.operations.needs import NEEDS
from taskqueue.wire import MessageType

if TYPE_CHECKING:
    from taskqueue.frontends.faktory.session import FaktorySession

#: The version of Faktory's server whose commands are understood: clients ask for it.
FAKTORY_VERSION = "1.10.0"

#: Its sets, and the states of the tasks in them.
SETS = {
    "scheduled": State.SCHEDULED,
    "retries": State.FAILED,
    "dead": State.DEAD_LETTER,
    "working": State.IN_PROGRESS,
}

#: The kilobytes of C{ru_maxrss} are bytes on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


async def info(session: FaktorySession, command: Command) -> bytes:
    """INFO: a JSON object, with the fields that Faktory's server gives."""
    admit(session, NEEDS[MessageType.GET_STATS], {})
    return resp.bulk_json(_state(session))


def _state(session: FaktorySession) -> dict[str, Any]:
    service, door = session.service, session.knows
    wall = service.moments().wall
    return {
        "now": timestamp(wall),
        "server_utc_time": datetime.fromtimestamp(wall, UTC).strftime("%H:%M:%S UTC"),
        "faktory": _data(session),
        "server": {
            "description": f"taskqueue {__version__}",
            "faktory_version": FAKTORY_VERSION,
            "uptime": int(max(0.0, wall - service.started_at)),
            "connections": service.traffic.open["faktory"],
            "command_count": door.commands,
            "used_memory_mb": _memory_mb(),
        },
    }


def _data(session: FaktorySession) -> dict[str, Any]:
    ledger, removed = session.service.broker.ledger, session.knows.removed
    queues = {name: ready(queue) for name, queue in ledger.queues.items() if name not in removed}
    counts, states = total_counts(ledger), total_states(ledger)
    sets = {name: states[state.word] for name, state in SETS.items()}
    failures = counts["failed"] + counts["lost"]
    return {
        "queues": queues,
        "sets": sets,
        "tasks": _tasks(sets, len(session.processes)),
        "total_failures": failures,
        "total_processed": counts["completed"] + failures,
        "total_enqueued": sum(queues.values()),
        "total_queues": len(queues),
    }


def _tasks(sets: dict[str, int], processes: int) -> dict[str, dict[str, int]]:
    """
    What Faktory's server does now and then.  Here nothing goes through its sets again and again:
    only their sizes say anything.
    """
    idle = {"enqueued": 0, "cycles": 0, "wall_time_sec": 0}
    scanned = {"Scheduled": "scheduled", "Retries": "retries", "Dead": "dead"}
    return {
        **{name: {**idle, "size": sets[of]} for name, of in scanned.items()},
        "Busy": {"size": sets["working"], "reaped": 0},
        "Workers": {"size": processes, "reaped": 0},
    }


def ready(queue: Queue) -> int:
    """How many jobs of a queue can be fetched now."""
    return sum(lane.size for lane in queue.busy.values())


def _memory_mb() -> int:
    """The most memory that the process has had, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT // (1024 * 1024)
