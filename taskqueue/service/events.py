"""
Events: what happens in the broker, for those who look on.

Nothing of this costs anything while nobody listens: the journal then has no
observer, and no timer runs.  While somebody does, so many changes of tasks are told one
by one each second, and the others are counted.  The newest events are kept, while
somebody listens and for a while after, so that who lost the connection goes on
where it was.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from taskqueue import strictjson
from taskqueue.core.changes import Changes
from taskqueue.core.overview import total_counts, total_states
from taskqueue.core.periodic import PeriodicRow
from taskqueue.core.task import TIERS, State, Task
from taskqueue.service.event_words import (
    MOST_QUEUES,
    Event,
    EventListener,
    Standing,
    Wanted,
    change_of,
    place_of,
    standing_of,
    view_change,
    view_counted,
    view_of_worker,
    view_queue,
    view_standing,
)

if TYPE_CHECKING:
    from taskqueue.service.service import TaskQueueService

#: How many may listen at a time.
MOST_LISTENERS = 100

#: How many events are kept, and for how long after the last listener left, seconds.
KEPT = 5000
LINGER_S = 60.0

#: How many changes of tasks are told one by one each second; and how many more of those
#: that somebody asked for by task, queue or type.
TOLD_EACH_S = 100
ASKED_FOR_EACH_S = 500


class TooManyListeners(Exception):
    """There are as many listeners as there may be."""


class Events(Service):
    """
    Tells listeners what happens.

    @ivar epoch: what stands before the numbers: numbers of different epochs have
        nothing to do with each other.
    """

    _log = Logger()

    def __init__(self, service: TaskQueueService) -> None:
        self.setName("events")
        self._service = service
        self._listeners: dict[EventListener, Wanted] = {}
        self._loop = LoopingCall(self._tick)
        self._forget()

    def _forget(self) -> None:
        self.epoch = token_hex(4)
        self._number = 0
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._dropped = 0
        self._kinds: frozenset[str] = frozenset()
        self._out: list[Event] = []
        self._told = self._asked_for = self._silent_s = 0
        self._rest: Counter[tuple[str, State]] = Counter()
        self._workers: dict[str, Standing] = {}
        self._queues: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self._listeners)

    # --- who listens ---------------------------------------------------------------

    def listen(
        self, listener: EventListener, wanted: Wanted, last: tuple[str, int] | None = None
    ) -> list[Event] | None:
        """
        Tell C{listener} what happens from now on, until it leaves.

        @param last: the epoch and number of the newest event that it has heard.
        @return: what it missed since; C{None} where that is not known.
        @raises TooManyListeners: no more may listen.
        """
        if len(self._listeners) >= MOST_LISTENERS:
            raise TooManyListeners
        missed = [] if last is None else self._missed(wanted, *last)
        self._listeners[listener] = wanted
        self._kinds |= wanted.kinds
        if not self._loop.running:
            self._begin()
        return missed

    def leave(self, listener: EventListener) -> None:
        """Tell C{listener} nothing more."""
        self._listeners.pop(listener, None)
        self._silent_s = 0

    def _missed(self, wanted: Wanted, epoch: str, number: int) -> list[Event] | None:
        known = epoch == self.epoch and self._dropped <= number <= self._number
        if not known or not wanted.kinds <= self._kinds:
            return None
        since = [event for event in self._kept if event.number > number]
        # Those that it asked for may be among those that were only counted.
        counted = any(event.kind == "many" for event in since) and "task" in wanted.kinds
        if counted and wanted.is_special:
            return None
        return [event for event in since if wanted.matches(event)]

    def _begin(self) -> None:
        ledger = self._service.broker.ledger
        self._service.journal.observe = self._note
        self._workers = {worker.name: standing_of(worker) for worker in ledger.workers}
        self._queues = frozenset(ledger.queues)
        self._loop.clock = self._service.reactor
        self._loop.start(1.0, now=False)

    def stopService(self) -> Deferred[None] | None:
        """Tell all listeners that it is over."""
        super().stopService()
        for listener in list(self._listeners):
            self._guarded(listener.over)
        self._end()
        return None

    def _end(self) -> None:
        if self._loop.running:
            self._loop.stop()
            self._service.journal.observe = None
        self._listeners.clear()
        self._forget()

    # --- what the journal stores -----------------------------------------------------

    def _note(self, changes: Changes) -> Callable[[], None] | None:
        """
        A group of changes is put together: note what it says, as it will be
        something else soon.

        @return: tells of it, once it is stored.
        """
        try:
            marked = changes.marked()
            told = list(self._views(marked.tasks)) if "task" in self._kinds else []
            if not (told or marked.queues or marked.periodics):
                return None
            return lambda: self._stored(told, marked.queues, marked.periodics)
        except Exception:
            self._log.failure("events of a group cannot be told")
            return None

    def _views(self, tasks: Iterable[Task]) -> Iterator[dict[str, Any]]:
        """What is told of tasks one by one; the others are counted."""
        at = self._service.moments().wall
        asking = [wanted for wanted in self._listeners.values() if wanted.is_special]
        rest: list[Task] = []
        for task in tasks:
            if self._told < TOLD_EACH_S:
                self._told += 1
            elif self._asked_for < ASKED_FOR_EACH_S and any(w.asks_for(task) for w in asking):
                self._asked_for += 1
            else:
                rest.append(task)
                continue
            yield view_change(task, at)
        if rest:
            self._rest.update([(task.lane.queue.name, task.state) for task in rest])

    def _stored(
        self,
        told: list[dict[str, Any]],
        queues: Sequence[str],
        periodics: Sequence[tuple[str, PeriodicRow | None]],
    ) -> None:
        try:
            for view in told:
                self._add("task", view, view["queue"], view["type"], view["id"])
            for name in queues:
                self._add_queue(name)
            for name, row in periodics:
                view = {"name": name, "deleted": True} if row is None else view_standing(row)
                self._add("periodic", view, *place_of(row))
            self._tell()
        except Exception:
            self._log.failure("events of a group cannot be told")

    # --- each second -------------------------------------------------------------------

    def _tick(self) -> None:
        try:
            self._told = self._asked_for = 0
            self._add_counted()
            if "worker" in self._kinds:
                self._look_at_workers()
            if "queue" in self._kinds:
                self._look_at_queues()
            if any("stats" in wanted.kinds for wanted in self._listeners.values()):
                self._add("stats", self._stats())
            self._tell()
        except Exception:
            self._log.failure("events of a second cannot be told")
        if not self._listeners:
            self._silent_s += 1
            if self._silent_s >= LINGER_S:
                self._end()

    def _add_counted(self) -> None:
        if self._rest:
            counted, self._rest = self._rest, Counter()
            view = view_counted(counted, self._service.moments().wall)
            self._add("many", view, counted=counted)

    def _look_at_workers(self) -> None:
        workers = {worker.name: worker for worker in self._service.broker.ledger.workers}
        before, self._workers = self._workers, {n: standing_of(w) for n, w in workers.items()}
        for name in before.keys() - workers.keys():
            self._add("worker", {"change": "gone", "worker": {"id": name}})
        for name, standing in self._workers.items():
            change = change_of(before.get(name), standing)
            if change is not None:
                self._add("worker", {"change": change, "worker": view_of_worker(workers[name])})

    def _look_at_queues(self) -> None:
        queues = self._service.broker.ledger.queues
        if len(queues) != len(self._queues):
            for name in list(queues.keys() - self._queues)[:MOST_QUEUES]:
                self._add_queue(name)
            self._queues = frozenset(queues)

    def _stats(self) -> dict[str, Any]:
        service = self._service
        ledger = service.broker.ledger
        tiers = [sum([q.tiers[t] for q in ledger.queues.values()]) for t in range(len(TIERS))]
        return {
            "at": service.moments().wall,
            "depth": ledger.depth,
            "tiers": dict(zip([tier[0] for tier in TIERS], tiers, strict=True)),
            "in_progress": len(ledger.leases),
            "waiting_claims": len(ledger.claims),
            "workers": len(ledger.workers),
            "held_bytes": ledger.held_bytes,
            "healthy": service.journal.trouble is None,
            "states": total_states(ledger),
            "totals": total_counts(ledger),
            "rates": service.samples.rates(),
        }

    # --- telling -----------------------------------------------------------------------

    def _add_queue(self, name: str) -> None:
        queue = self._service.broker.ledger.queues.get(name)
        if queue is not None:
            self._add("queue", view_queue(queue, self._service.moments()), name)

    def _add(
        self,
        kind: str,
        view: dict[str, Any],
        queue: str | None = None,
        task_type: str | None = None,
        task: str | None = None,
        counted: Mapping[tuple[str, State], int] | None = None,
    ) -> None:
        self._number += 1
        data = strictjson.dumps(view)
        event = Event(self._number, kind, queue, task_type, task, data, counted)
        self._out.append(event)
        if kind != "stats":
            if len(self._kept) == KEPT:
                self._dropped = self._kept[0].number
            self._kept.append(event._replace(counted=None) if counted else event)

    def _tell(self) -> None:
        out, self._out = self._out, []
        if not out:
            return
        for listener, wanted in list(self._listeners.items()):
            events = [told for event in out if (told := wanted.told(event)) is not None]
            if events:
                self._guarded(listener.hear, events)

    def _guarded(self, tell: Callable[..., None], *args: Any) -> None:
        """What goes wrong with one listener must cost no other."""
        try:
            tell(*args)
        except Exception:
            self._log.failure("a listener cannot be told, and others are told all the same")
