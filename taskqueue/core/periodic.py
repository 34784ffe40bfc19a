"""
Periodic tasks: what is submitted again and again, and which ticks count.

A tick is a moment at which a periodic task is due.  Each tick is dealt with
once: it fires (a task is submitted) or it is skipped.  The next tick and the
task are stored in one batch, and the task's id follows from the name and the
tick: so no crash lets a tick fire twice, or lets one be forgotten.

Which moments are ticks, a function tells that the broker is given: time zones
are read from files, which the core does not do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import floor
from typing import NamedTuple
from uuid import UUID, uuid5

from taskqueue.core.intake import Intake, Submission
from taskqueue.core.ledger import Ledger
from taskqueue.core.moments import Now
from taskqueue.core.submission import check_options
from taskqueue.core.task import DEFAULT_OPTIONS, DEFAULT_PRIORITY, State, TaskOptions
from taskqueue.errors import (
    BadRequest,
    Conflict,
    QueueFull,
    TaskQueueError,
    UnknownPeriodic,
)

#: How many periodic tasks there may be: each is looked at at every turn.
MOST_PERIODICS = 10_000

#: A tick that comes later than this was missed (the broker was down, or the clock
#: was set), seconds.  Below that it was only busy, or restarted.
ON_TIME_S = 10.0

#: How many ticks one call looks at.
SLICE = 1000

CATCH_UP = ("skip", "once", "all")

_IDS = UUID("5c7f6e0a-6d0f-5a37-9d6b-1f0d5d0c7a11")


class Periodic(NamedTuple):
    """
    What is to be submitted, and when.

    @ivar cron: a cron expression, in the time zone C{tz}; or C{None}.
    @ivar every_s: seconds between ticks, which are its multiples since the
        epoch; or C{None}.  One of the two is given.
    @ivar catch_up: what becomes of missed ticks: C{"skip"} them, fire the newest
        C{"once"}, or C{"all"} of them.
    @ivar catch_up_window_s: ticks missed longer ago are skipped in any case.
    @ivar overlap: whether a tick fires while the task of the one before lives.
    @ivar expires_in_s: the task expires so long after it was submitted.
    @ivar headers: opaque JSON text that travels with the task.
    """

    name: str
    type: str
    cron: str | None = None
    tz: str = "UTC"
    every_s: float | None = None
    catch_up: str = "once"
    catch_up_window_s: float = 3600.0
    overlap: bool = True
    payload: bytes = b""
    queue: str = "default"
    priority: int = DEFAULT_PRIORITY
    expires_in_s: float | None = None
    headers: str | None = None
    options: TaskOptions = DEFAULT_OPTIONS


class PeriodicRow(NamedTuple):
    """
    A periodic task and where it stands, as it is and as the store keeps it.

    @ivar next_at: the next tick; C{None} while it is paused, or where none comes.
    @ivar ticked_at: the newest tick that was dealt with, C{None} before the first.
    @ivar last_at: when it submitted a task last, by a tick or by hand.
    @ivar last_task: that task's id.
    @ivar fired: how many tasks it submitted.
    @ivar skipped: how many ticks it skipped.
    """

    definition: Periodic
    paused: bool = False
    next_at: float | None = None
    ticked_at: float | None = None
    last_at: float | None = None
    last_task: str | None = None
    fired: int = 0
    skipped: int = 0


class Tick(NamedTuple):
    """A tick that is to fire."""

    name: str
    at: float

    @property
    def task_id(self) -> str:
        """The id of its task."""
        return str(uuid5(_IDS, f"{self.name} {self.at!r}"))


#: Gives the first tick after a wall-clock moment, C{None} where there is none.
NextTick = Callable[[Periodic, float], float | None]


def next_multiple(definition: Periodic, after: float) -> float | None:
    """The ticks of periodic tasks with C{every_s}; those with C{cron} have none here."""
    every_s = definition.every_s
    if every_s is None:
        return None
    number = floor(after / every_s) + 1
    while number * every_s <= after:  # the quotient was rounded
        number += 1
    return number * every_s


def unknown_periodic(name: str) -> UnknownPeriodic:
    """The error for a name that no periodic task has."""
    return UnknownPeriodic(f"there is no periodic task {name!r}", name=name)


class Periodics:
    """The desk for periodic tasks."""

    def __init__(self, ledger: Ledger, intake: Intake, next_tick: NextTick) -> None:
        self._ledger = ledger
        self._intake = intake
        self._next_tick = next_tick

    # --- what people do -----------------------------------------------------------

    def get(self, name: str) -> PeriodicRow:
        """
        @raises UnknownPeriodic: there is none of this name.
        """
        row = self._ledger.periodics.get(name)
        if row is None:
            raise unknown_periodic(name)
        return row

    def put(self, definition: Periodic, now: Now) -> PeriodicRow:
        """
        Create a periodic task, or replace the one of the same name, which stays
        paused if it is.  Where nothing differs nothing changes, its next tick neither.

        @raises BadRequest: it has no next tick, or an option that no task may
            have, or there are too many.
        """
        known = self._ledger.periodics.get(definition.name)
        if known is not None and known.definition == definition:
            return known
        check_options(definition.options, self._ledger.policy)
        if known is None and len(self._ledger.periodics) >= MOST_PERIODICS:
            raise BadRequest(f"there are {MOST_PERIODICS} periodic tasks, as many as there may be")
        row = PeriodicRow(definition) if known is None else known._replace(definition=definition)
        next_at = self._following(row, now)
        if next_at is None:
            raise BadRequest(f"cron is {definition.cron!r}, which never comes", field="cron")
        return self._set(row._replace(next_at=None if row.paused else next_at))

    def delete(self, name: str) -> None:
        """
        Forget a periodic task; tasks that it submitted stay.

        @raises UnknownPeriodic: there is none of this name.
        """
        self.get(name)
        del self._ledger.periodics[name]
        self._ledger.changes.set_periodic(name, None)

    def pause(self, name: str, paused: bool, now: Now) -> PeriodicRow:
        """
        Let a periodic task rest, or go on with the first tick from now: those
        that passed meanwhile are not caught up with.

        @raises UnknownPeriodic: there is none of this name.
        """
        row = self.get(name)
        if row.paused is paused:
            return row
        next_at = None if paused else self._following(row, now)
        return self._set(row._replace(paused=paused, next_at=next_at))

    def trigger(self, name: str, now: Now) -> str:
        """
        Submit a periodic task's task now, paused or not; its ticks stay as they are.

        @return: the task's id.
        @raises UnknownPeriodic: there is none of this name.
        @raises Conflict: its task lives, and it must not overlap.
        @raises QueueFull: there is no room for it.
        @raises BadRequest: the broker takes no such task any more.
        """
        row = self.get(name)
        if self._overlaps(row):
            raise Conflict(
                f"periodic task {name!r} must not overlap, and its task {row.last_task} has not "
                f"ended",
                holder=row.last_task,
            )
        answer = self._submit(row, self._ledger.new_id(), now, {})
        if isinstance(answer, TaskQueueError):
            raise answer
        self._set(row._replace(last_at=now.wall, last_task=answer, fired=row.fired + 1))
        return answer

    # --- what time brings ---------------------------------------------------------

    def due(self, now: Now) -> tuple[list[Tick], bool]:
        """
        Skip the ticks that were missed and are not to be caught up with.

        @return: the ticks that are to fire, in order, for L{fire}; and whether
            there may be more.
        """
        wanted: list[Tick] = []
        looked_at = 0
        for row in list(self._ledger.periodics.values()):
            if row.next_at is None or row.next_at > now.wall:
                continue
            tick: float | None = row.next_at
            while tick is not None and tick <= now.wall:
                if looked_at >= SLICE:
                    return wanted, True
                looked_at += 1
                following = self._next_tick(row.definition, tick)
                if _is_wanted(row.definition, tick, following, now.wall):
                    wanted.append(Tick(row.definition.name, tick))
                else:
                    row = self._skip(row, following)
                tick = following
        return wanted, False

    def fire(
        self, ticks: Sequence[Tick], now: Now, stored: Mapping[str, State]
    ) -> list[tuple[str, TaskQueueError]]:
        """
        Submit the tasks of ticks.  A tick that was dealt with in the meantime is
        passed over; one for which there is no room stays due.

        @param stored: the states of tasks that are in the store only, as far
            as C{ticks} have their ids.
        @return: the names of those whose tasks were refused, with the reasons.
        """
        refused: list[tuple[str, TaskQueueError]] = []
        for tick in ticks:
            row = self._ledger.periodics.get(tick.name)
            if row is None or row.next_at != tick.at:
                continue
            following = self._next_tick(row.definition, tick.at)
            known = self._ledger.find(tick.task_id) is not None or tick.task_id in stored
            if known or self._overlaps(row):
                self._skip(row, following)
                continue
            answer = self._submit(row, tick.task_id, now, stored)
            if isinstance(answer, TaskQueueError):
                refused.append((tick.name, answer))
                if not isinstance(answer, QueueFull):
                    self._skip(row, following)
                continue
            self._set(
                row._replace(
                    next_at=following,
                    ticked_at=tick.at,
                    last_at=now.wall,
                    last_task=answer,
                    fired=row.fired + 1,
                )
            )
        return refused

    # --- how ------------------------------------------------------------------------

    def _following(self, row: PeriodicRow, now: Now) -> float | None:
        """The first tick from now that was never dealt with, wherever the clock was set to."""
        after = now.wall if row.ticked_at is None else max(now.wall, row.ticked_at)
        return self._next_tick(row.definition, after)

    def _set(self, row: PeriodicRow) -> PeriodicRow:
        name = row.definition.name
        self._ledger.periodics[name] = row
        self._ledger.changes.set_periodic(name, row)
        return row

    def _skip(self, row: PeriodicRow, following: float | None) -> PeriodicRow:
        """The next tick of C{row} does not fire."""
        return self._set(
            row._replace(next_at=following, ticked_at=row.next_at, skipped=row.skipped + 1)
        )

    def _overlaps(self, row: PeriodicRow) -> bool:
        """Whether another task now would live beside the one before, and must not."""
        return not row.definition.overlap and row.last_task in self._ledger.tasks

    def _submit(
        self, row: PeriodicRow, task_id: str, now: Now, stored: Mapping[str, State]
    ) -> str | TaskQueueError:
        wanted = row.definition
        expires_in_s = wanted.expires_in_s
        item = Submission(
            wanted.type,
            wanted.payload,
            wanted.queue,
            wanted.priority,
            task_id,
            None,
            None if expires_in_s is None else now.wall + expires_in_s,
            wanted.options,
            wanted.headers,
        )
        [answer] = self._intake.submit([item], now, stored)
        return answer if isinstance(answer, TaskQueueError) else answer.id


def _is_wanted(definition: Periodic, tick: float, following: float | None, wall: float) -> bool:
    """Whether a tick that is due fires, but for overlapping."""
    late_s = wall - tick
    if definition.catch_up == "all":
        return late_s <= max(definition.catch_up_window_s, ON_TIME_S)
    if following is not None and following <= wall:
        return False  # a newer one is due
    once = definition.catch_up == "once"
    return late_s <= (max(definition.catch_up_window_s, ON_TIME_S) if once else ON_TIME_S)
