"""
Tubes: the queues that connections use and watch, and what is counted of them.

A queue of the broker may be there for its own reasons: it is configured, or it had tasks once.  A
tube exists for as long as somebody uses or watches it, or it has a job; with its last job, or when
the last connection that refers to it turns away, it is forgotten with all that was counted of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from taskqueue.core.lanes import Queue
from taskqueue.core.overview import queue_counts
from taskqueue.core.task import LIVE_STATES, State
from taskqueue.errors import QueueFull
from taskqueue.service import TaskQueueService

#: The tube of whoever has named none; it always exists.
DEFAULT_TUBE = "default"

#: States in which a task is a job: it is live, or it is buried.
JOB_STATES = (*LIVE_STATES, State.DEAD_LETTER)


class Tube:
    """
    What is known of a tube beside its jobs.

    @ivar using: how many connections put into it.
    @ivar watching: how many reserve from it.
    @ivar deletes: jobs of it that were deleted.
    @ivar pauses: how often it was paused.
    @ivar pause_s: for how long it was paused last, seconds.
    @ivar before: how many tasks its queue had got before it existed.
    """

    __slots__ = ("before", "deletes", "name", "pause_s", "pauses", "using", "watching")

    def __init__(self, name: str, before: int) -> None:
        self.name = name
        self.before = before
        self.using = self.watching = 0
        self.deletes = self.pauses = self.pause_s = 0


class Tubes:
    """All tubes of the broker, whichever connection refers to them."""

    def __init__(self, service: TaskQueueService) -> None:
        self._service = service
        self._tubes: dict[str, Tube] = {}

    def __len__(self) -> int:
        return len(self._tubes)

    def use(self, name: str) -> Tube:
        """
        One more connection puts into a tube.

        @raises QueueFull: it would be one tube too many.
        """
        tube = self._referred(name)
        tube.using += 1
        return tube

    def watch(self, name: str) -> Tube:
        """
        One more connection reserves from a tube.

        @raises QueueFull: it would be one tube too many.
        """
        tube = self._referred(name)
        tube.watching += 1
        return tube

    def stop_using(self, tube: Tube) -> None:
        """One connection less puts into C{tube}."""
        tube.using -= 1
        self._forget_unless_there(tube)

    def stop_watching(self, tube: Tube) -> None:
        """One connection less reserves from C{tube}."""
        tube.watching -= 1
        self._forget_unless_there(tube)

    def find(self, name: str) -> Tube | None:
        """The tube with this name, C{None} where there is none."""
        tube = self._tubes.get(name)
        if tube is not None:
            return None if self._forget_unless_there(tube) else tube
        if name == DEFAULT_TUBE or self._has_jobs(name):
            return self._make(name)
        return None

    def count_deletes(self, name: str, count: int = 1) -> None:
        """Jobs of a tube are deleted now."""
        tube = self._tubes.get(name) or self.find(name)
        if tube is not None:
            tube.deletes += count

    def total_jobs(self, tube: Tube) -> int:
        """How many jobs have come to be in a tube since it exists."""
        queue = self._queue(tube.name)
        return 0 if queue is None else max(0, queue_counts(queue)["submitted"] - tube.before)

    def names(self) -> Iterator[str]:
        """The names of all tubes, the oldest first."""
        yield DEFAULT_TUBE
        for tube in list(self._tubes.values()):
            if tube.name != DEFAULT_TUBE and not self._forget_unless_there(tube):
                yield tube.name
        for name in self._service.broker.ledger.queues:
            if name != DEFAULT_TUBE and name not in self._tubes and self._has_jobs(name):
                yield name

    def _referred(self, name: str) -> Tube:
        tube = self._tubes.get(name)
        if tube is not None and self._forget_unless_there(tube):
            tube = None
        if tube is None:
            bound = self._service.broker.ledger.policy.max_queues
            if len(self._tubes) >= bound:
                self._forget_all()
            if len(self._tubes) >= bound:
                raise QueueFull(
                    f"connections of beanstalkd's protocol use and watch {bound} tubes, which is "
                    f"the bound (limits.max_queues)",
                    retry_after_s=1.0,
                    queue=name,
                )
            tube = self._make(name)
        return tube

    def _make(self, name: str) -> Tube:
        queue = self._queue(name)
        before = 0
        # Jobs that are there already count as jobs of the tube, whoever submitted them.
        if queue is not None:
            there = sum(queue.count(state) for state in JOB_STATES)
            before = max(0, queue_counts(queue)["submitted"] - there)
        tube = self._tubes[name] = Tube(name, before)
        return tube

    def _forget_unless_there(self, tube: Tube) -> bool:
        """Forget a tube that exists no longer; returns whether it was forgotten."""
        if tube.using or tube.watching or tube.name == DEFAULT_TUBE or self._has_jobs(tube.name):
            return False
        self._tubes.pop(tube.name, None)
        return True

    def _forget_all(self) -> None:
        """Forget all that exist no longer."""
        for tube in list(self._tubes.values()):
            self._forget_unless_there(tube)

    def _queue(self, name: str) -> Queue | None:
        return self._service.broker.ledger.queues.get(name)

    def _has_jobs(self, name: str) -> bool:
        queue = self._queue(name)
        if queue is None:
            return False
        return bool(queue.depth or queue.count(State.IN_PROGRESS) or queue.count(State.DEAD_LETTER))


class WatchList:
    """
    The tubes that a connection reserves from, in the order in which beanstalkd lists them: one
    that is taken out makes room for the last.
    """

    __slots__ = ("_places", "tubes")

    def __init__(self, first: Tube) -> None:
        self.tubes = [first]
        self._places = {first.name: 0}

    def __len__(self) -> int:
        return len(self.tubes)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def add(self, tube: Tube) -> None:
        """Put in a tube that is not in yet."""
        self._places[tube.name] = len(self.tubes)
        self.tubes.append(tube)

    def remove(self, name: str) -> Tube:
        """Take out a tube that is in."""
        place = self._places.pop(name)
        tube, last = self.tubes[place], self.tubes.pop()
        if last is not tube:
            self.tubes[place] = last
            self._places[last.name] = place
        return tube
