"""
stats, stats-tube, stats-job: YAML as beanstalkd 1.12 prints it, with all of its fields.

Numbers of commands, connections and tubes are counted at this door, and begin anew with each start
of the broker, as beanstalkd's do; numbers of jobs are the broker's.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable, Mapping, Sequence

from twisted.internet.defer import Deferred

from taskqueue.access.permissions import Action
from taskqueue.core.lanes import Queue
from taskqueue.core.overview import total_submitted
from taskqueue.core.rows import CLAIMED_BY_ID, LEASE_EXPIRED, HistoryRow, TaskRow
from taskqueue.core.task import State
from taskqueue.frontends.beanstalkd.commands import Command
from taskqueue.frontends.beanstalkd.mapping import STATE_NAMES, pri_of, priority_of
from taskqueue.frontends.beanstalkd.replies import NOT_FOUND, chunk
from taskqueue.frontends.beanstalkd.session import Session
from taskqueue.frontends.beanstalkd.tubes import Tube
from taskqueue.operations.authorization import require

#: Jobs that are more urgent than this are counted apart.
URGENT_BELOW = 1024

#: The same as the priority of a task.
URGENT_ABOVE = priority_of(URGENT_BELOW)

#: What C{version} says: whose protocol this is.  Programs look at it for what they may use.
VERSION = "1.12"

#: A pause without an end is the longest that can be told.
ENDLESS_S = 2**32 - 1

#: The commands that statistics tell the number of, in their order.
COUNTED = (
    "put", "peek", "peek-ready", "peek-delayed", "peek-buried", "reserve", "reserve-with-timeout",
    "delete", "release", "use", "watch", "ignore", "bury", "kick", "touch", "stats", "stats-job",
    "stats-tube", "list-tubes", "list-tube-used", "list-tubes-watched", "pause-tube",
)  # fmt: skip

#: The size at which beanstalkd begins another file of its log, unless told otherwise.
BINLOG_BYTES = 10 * 2**20

_DELAYED = (State.SCHEDULED, State.FAILED, State.BLOCKED)

# Plain numbers: they are looked up for each of very many tubes.
_PENDING, _IN_PROGRESS, _DEAD_LETTER = map(
    int, (State.PENDING, State.IN_PROGRESS, State.DEAD_LETTER)
)
_SCHEDULED, _FAILED, _BLOCKED = map(int, _DELAYED)


def yaml(values: Iterable[tuple[str, object]]) -> bytes:
    """A reply that holds a dictionary."""
    lines = ["---", *(f"{name}: {value}" for name, value in values), ""]
    return chunk("OK", "\n".join(lines).encode("utf-8"))


class _Jobs:
    """How many jobs are in which state."""

    def __init__(self) -> None:
        self.urgent = self.ready = self.reserved = self.delayed = self.buried = 0

    def add(self, queue: Queue) -> None:
        """Count those of one more queue: at no cost for each job."""
        for lane in queue.lanes.values():
            counts = lane.counts
            self.ready += counts[_PENDING]
            self.reserved += counts[_IN_PROGRESS]
            self.delayed += counts[_SCHEDULED] + counts[_FAILED] + counts[_BLOCKED]
            self.buried += counts[_DEAD_LETTER]
        for lane in queue.busy.values():
            self.urgent += lane.count_above(URGENT_ABOVE)

    def lines(self) -> list[tuple[str, object]]:
        """These numbers as both kinds of statistics tell them."""
        names = ("urgent", "ready", "reserved", "delayed", "buried")
        return [(f"current-jobs-{name}", getattr(self, name)) for name in names]


# --- the broker -----------------------------------------------------------------------


def stats(session: Session, command: Command) -> None:
    """Carry out a stats."""
    require(session, Action.READ, None)
    door, jobs = session.beanstalkd, _Jobs()
    ledger = session.service.broker.ledger
    for queue in ledger.queues.values():
        jobs.add(queue)
    counted = [(f"cmd-{name}", door.commands[name]) for name in COUNTED]
    totals: list[tuple[str, object]] = [
        ("job-timeouts", door.timeouts),
        ("total-jobs", total_submitted(ledger)),
        ("max-job-size", session.service.config.beanstalkd.max_job_bytes),
        ("current-tubes", sum(1 for _ in door.tubes.names())),
    ]
    session.replies.add(
        yaml([*jobs.lines(), *counted, *totals, *_connections(session), *_process(session)])
    )


def _connections(session: Session) -> list[tuple[str, object]]:
    sessions = session.beanstalkd.sessions
    return [
        ("current-connections", len(sessions)),
        ("current-producers", sum(1 for each in sessions if each.put_some)),
        ("current-workers", sum(1 for each in sessions if each.reserved_some)),
        ("current-waiting", sum(1 for each in sessions if each.waiting)),
        ("total-connections", session.beanstalkd.counted_connections),
    ]


def _process(session: Session) -> list[tuple[str, object]]:
    door, service = session.beanstalkd, session.service
    usage, system = resource.getrusage(resource.RUSAGE_SELF), os.uname()
    return [
        ("pid", os.getpid()),
        ("version", f'"{VERSION}"'),
        ("rusage-utime", f"{usage.ru_utime:.6f}"),
        ("rusage-stime", f"{usage.ru_stime:.6f}"),
        ("uptime", int(service.moments().wall - service.started_at)),
        ("binlog-oldest-index", 0),
        ("binlog-current-index", 0),
        ("binlog-records-migrated", 0),
        ("binlog-records-written", 0),
        ("binlog-max-size", BINLOG_BYTES),
        ("draining", "true" if door.draining else "false"),
        ("id", door.instance),
        ("hostname", system.nodename),
        ("os", system.version),
        ("platform", system.machine),
    ]


# --- a tube ---------------------------------------------------------------------------


def stats_tube(session: Session, command: Command) -> None:
    """Carry out a stats-tube."""
    name = command.tube
    tube = session.tubes.find(name) if session.may(Action.READ, name) else None
    session.replies.add(NOT_FOUND if tube is None else _tube(session, tube))


def _tube(session: Session, tube: Tube) -> bytes:
    jobs, queue = _Jobs(), session.service.broker.ledger.queues.get(tube.name)
    pause_s, left_s = 0, 0
    if queue is not None:
        jobs.add(queue)
        pause_s, left_s = _pause(session, tube, queue)
    waiting = sum(
        1 for each in session.beanstalkd.sessions if each.waiting and tube.name in each.watched
    )
    lines: list[tuple[str, object]] = [
        ("name", tube.name),
        *jobs.lines(),
        ("total-jobs", session.tubes.total_jobs(tube)),
        ("current-using", tube.using),
        ("current-watching", tube.watching),
        ("current-waiting", waiting),
        ("cmd-delete", tube.deletes),
        ("cmd-pause-tube", tube.pauses),
        ("pause", pause_s),
        ("pause-time-left", left_s),
    ]
    return yaml(lines)


def _pause(session: Session, tube: Tube, queue: Queue) -> tuple[int, int]:
    """For how long a tube is paused, and how much of that is left, whole seconds."""
    if not queue.paused:
        return 0, 0
    if queue.resume_at is None:
        return ENDLESS_S, ENDLESS_S
    left_s = max(0, int(queue.resume_at - session.service.moments().wall))
    return max(tube.pause_s, left_s), left_s


# --- a job ----------------------------------------------------------------------------


def stats_job(session: Session, command: Command) -> None:
    """Carry out a stats-job."""
    session.ask_for(command.number, lambda row: _job(session, row))


def _job(session: Session, row: TaskRow) -> bytes | Deferred[bytes]:
    if State(row.state) not in STATE_NAMES or not session.may(Action.READ, row.queue):
        return NOT_FOUND
    told = session.service.history(row.id)
    return told.addCallback(lambda history: _describe(session, row, history))


def _describe(session: Session, row: TaskRow, history: Sequence[HistoryRow]) -> bytes:
    service = session.service
    now, task = service.moments(), service.broker.ledger.tasks.get(row.id)
    state = State(row.state) if task is None else task.state
    ttr_s = row.options.lease_s or service.broker.ledger.policy.for_queue(row.queue).lease_s
    left_s = 0.0
    if task is not None and task.lease is not None:
        ttr_s, left_s = task.lease.lease_s, task.lease.ends_at - now.mono
    elif state in _DELAYED and row.run_at is not None:
        left_s = row.run_at - now.wall
    lines: list[tuple[str, object]] = [
        ("id", row.seq),
        ("tube", row.queue),
        ("state", STATE_NAMES[state]),
        ("pri", max(0, pri_of(row.priority))),
        ("age", int(now.wall - row.submitted_at)),
        ("delay", _delay_s(row, history)),
        ("ttr", int(ttr_s)),
        ("time-left", int(left_s)),
        ("file", 0),
        ("reserves", row.attempt),
    ]
    counts = [
        (name, sum(1 for one in history if counts_as(one))) for name, counts_as in _COUNTS.items()
    ]
    return yaml([*lines, *counts])


#: What in a job's history is counted as what.
_COUNTS: Mapping[str, Callable[[HistoryRow], bool]] = {
    "timeouts": lambda one: one.event == "lost" and one.detail == LEASE_EXPIRED,
    "releases": lambda one: one.event in ("released", "snoozed"),
    "buries": lambda one: one.event == "buried",
    "kicks": lambda one: one.event in ("revived", "run_now") and one.detail != CLAIMED_BY_ID,
}


def _delay_s(row: TaskRow, history: Sequence[HistoryRow]) -> int:
    """For how many seconds the job was last delayed when it was put or released."""
    since: float | None = row.submitted_at
    for one in history:
        if one.event in ("released", "snoozed"):
            since = one.at if one.event == "snoozed" else None
    return 0 if since is None or row.run_at is None else max(0, round(row.run_at - since))
