"""
A lane: the ready tasks of one (queue, type), for each priority a line, in
the order of submission.

A task that comes back (a retry, a lost lease), or
became ready later than one that was submitted after it, does not belong at the
end of its line: such tasks stand beside the lines, in a heap of order keys and a
dictionary by key.  Whichever of the two has the smaller key is next.

Nothing is searched: a task that ends while it waits (cancel, expiry) stays in
its line as a leftover, which is skipped when its turn comes; where leftovers
outnumber tasks, they are swept out.  So putting in and taking out cost the same
however many tasks wait, and however many priorities are in use (but for the logarithms of
the heaps).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING

from taskqueue.core.counters import Counters
from taskqueue.core.lines import Line
from taskqueue.core.task import State, Task, order_key

if TYPE_CHECKING:
    from taskqueue.core.lanes import Queue

#: Heaps and lanes shorter than this are not worth compacting.
_SMALL = 64

#: So many lines are looked at to find the task that has been ready longest.
MOST_LINES = 1000

_PENDING = State.PENDING

_SEQ = attrgetter("seq")


class Lane:
    """
    The ready tasks of one type in one queue, and the counts of all of its tasks.

    @ivar counts: tasks of this lane by L{State}; of ended states: how many are
        still kept in the store.
    @ivar size: how many are ready.
    @ivar head: the order key of the first ready task, C{None} where there is none.
    @ivar lines: by priority; the first of each is ready.
    @ivar leftovers: tasks in C{lines} that have ended.
    @ivar returned: the tasks beside the lines, by order key, in the order in
        which they became ready.
    """

    __slots__ = (
        "_keys",
        "_open_lines",
        "_priorities",
        "counters",
        "counts",
        "head",
        "leftovers",
        "lines",
        "queue",
        "returned",
        "size",
        "type",
    )

    def __init__(self, queue: Queue, task_type: str) -> None:
        self.queue = queue
        self.type = task_type
        self.lines: dict[int, Line] = {}
        self._open_lines = queue.open_lines
        self._priorities: list[int] = []  # a heap of those of the lines, negated, and leftovers
        self.returned: dict[int, Task] = {}
        self._keys: list[int] = []  # a heap of those of the returned, and leftovers
        self.size = 0
        self.head: int | None = None
        self.leftovers = 0
        self.counts = [0] * len(State)
        self.counters = Counters()

    def __iter__(self) -> Iterator[Task]:
        """The ready tasks, in no order."""
        for line in self.lines.values():
            yield from line.ready()
        yield from self.returned.values()

    def longest_ready(self) -> list[Task]:
        """
        Of each line, and of the tasks beside them, the one that became ready first; where there
        are very many lines, of those that are longest there.  (A line that was opened later
        holds an older task only where that one came back.)
        """
        firsts = [line[line.gone] for line in islice(self.lines.values(), MOST_LINES)]
        firsts += islice(self.returned.values(), 1)
        return firsts  # type: ignore[return-value]  # only what was taken is None

    def upcoming(self, limit: int) -> list[Task]:
        """
        The first C{limit} ready tasks of the lines (what came back to the lane is not looked
        at), most urgent first.
        """
        found: list[Task] = []
        for priority in self._urgent():
            line = self.lines[priority]
            nearest = line[line.gone : line.gone + limit - len(found)]
            found += [task for task in nearest if task is not None and task.state is _PENDING]
            if len(found) >= limit:
                break
        return found

    def _urgent(self) -> Iterator[int]:
        """
        The priorities of the lines, highest first: the heap is walked as the tree that it is, so
        that the first few cost the same however many there are.
        """
        heap, last = self._priorities, None
        open_ends = [(heap[0], 0)] if heap else []
        while open_ends:
            value, place = heappop(open_ends)
            for child in (2 * place + 1, 2 * place + 2):
                if child < len(heap):
                    heappush(open_ends, (heap[child], child))
            if value != last and -value in self.lines:
                last = value
                yield -value

    def samples(self, distance: int) -> list[Task]:
        """Of the first line the first task, and one so far behind it or the last."""
        line = self._first_line()
        places = {line.gone, min(line.gone + distance, len(line) - 1)}
        return [task for place in places if line and (task := line[place]) is not None]

    def count_above(self, priority: int) -> int:
        """
        How many ready tasks have a higher priority: a step for each line, and for each task
        beside the lines.
        """
        lined = sum([line.size for known, line in self.lines.items() if known > priority])
        if not self.returned:
            return lined
        bound = order_key(priority, 0)
        return lined + sum([key < bound for key in self.returned])

    def _first_line(self) -> Line:
        """The line of the highest priority, an empty one where there is none."""
        for priority in self._urgent():
            return self.lines[priority]
        return Line()

    @property
    def first(self) -> Task:
        """The first ready task; there must be one."""
        task = self.returned.get(self.head)  # type: ignore[arg-type]  # there is one
        return self._first_line().first if task is None else task

    def push(self, task: Task) -> None:
        """Put a task in at its place in line."""
        priority = task.priority
        key = order_key(priority, task.seq)
        line = self.lines.get(priority)
        if line is None:
            self._open(priority, Line((task,)))
        elif (last := line[-1]) is not None and last.seq < task.seq:
            line.append(task)
        else:
            self.returned[key] = task
            heappush(self._keys, key)
        self.size += 1
        if self.head is None or key < self.head:
            self.head = key
            self.queue.head_changed(self)

    def extend(self, tasks: Sequence[Task]) -> None:
        """
        Put in tasks of one priority, each later in line than any task before.
        """
        first = tasks[0]
        line = self.lines.get(first.priority)
        if line is None:
            self._open(first.priority, Line(tasks))
        else:
            line.extend(tasks)
        self.size += len(tasks)
        key = order_key(first.priority, first.seq)
        if self.head is None or key < self.head:
            self.head = key
            self.queue.head_changed(self)

    def _open(self, priority: int, line: Line) -> None:
        self.lines[priority] = line
        self._open_lines[0] += 1
        heappush(self._priorities, -priority)
        if len(self._priorities) > 2 * len(self.lines) + _SMALL:
            self._priorities = [-known for known in self.lines]
            heapify(self._priorities)

    def take(self, limit: int) -> list[Task]:
        """
        Take out the first C{limit} tasks, or all there are, in order.  Whoever
        calls this tells the queue that the head has changed.
        """
        found: list[Task] = []
        while self.size and len(found) < limit:
            if self.returned:
                taken = [self._take_one()]
            else:
                taken = self._take_run(limit - len(found))
            self.size -= len(taken)
            found = found + taken if found else taken
        self._find_head()
        return found

    def _take_run(self, limit: int) -> list[Task]:
        """From the first line only; none where it had but leftovers."""
        while -self._priorities[0] not in self.lines:
            heappop(self._priorities)
        priority = -self._priorities[0]
        line = self.lines[priority]
        taken = line.take(limit)
        self._skip(line, priority)
        if self.leftovers:
            ready = [task for task in taken if task.state is _PENDING]
            ended = len(taken) - len(ready)
            self.leftovers -= ended
            line.leftovers -= ended
            return ready
        return taken

    def _take_one(self) -> Task:
        """Of the first of the lines and the first of the returned, the first."""
        self._find_head()
        task = self.returned.pop(self.head, None)  # type: ignore[arg-type]  # there is one
        if task is not None:
            heappop(self._keys)
            return task
        return self._take_run(1)[0]

    def _skip(self, line: Line, priority: int) -> None:
        """Skip the leftovers at the front of a line; give up one without a ready task."""
        while line.gone < len(line):
            if line.first.state is _PENDING:
                return
            line.take(1)
            self.leftovers -= 1
            line.leftovers -= 1
        del self.lines[priority]
        self._open_lines[0] -= 1

    def _find_head(self) -> None:
        """Note which task is first."""
        if not self.size:
            self._open_lines[0] -= len(self.lines)
            self.lines.clear()
            self._priorities.clear()
            self._keys.clear()
            self.leftovers = 0
            self.head = None
            return
        priorities, lines, keys = self._priorities, self.lines, self._keys
        while priorities and -priorities[0] not in lines:
            heappop(priorities)
        while keys and keys[0] not in self.returned:
            heappop(keys)
        head = keys[0] if keys else None
        if priorities:
            first = lines[-priorities[0]].first
            key = order_key(first.priority, first.seq)
            if head is None or key < head:
                head = key
        self.head = head

    def discard(self, task: Task) -> None:
        """
        Take out a task that has ended, wherever it stands; harmless if it was
        taken already.
        """
        key = order_key(task.priority, task.seq)
        if self.head is None or key < self.head:
            return
        self.size -= 1
        if self.returned.pop(key, None) is None:
            self.leftovers += 1
            line = self.lines[task.priority]
            line.leftovers += 1
            if line.first is task:
                self._skip(line, task.priority)
        if key == self.head:
            self._find_head()
            self.queue.head_changed(self)
        elif len(self._keys) > 2 * len(self.returned) + _SMALL:
            self._keys = list(self.returned)
            heapify(self._keys)
        if self.leftovers > self.size + _SMALL:
            self._sweep()

    def withdraw(self, task: Task) -> None:
        """Take out a ready task, wherever it stands, that is claimed and may come back."""
        key = order_key(task.priority, task.seq)
        if self.returned.pop(key, None) is None:
            line = self.lines[task.priority]
            # In the order of their places: only what was taken is None, before all others.
            del line[bisect_left(line, task.seq, line.gone, key=_SEQ)]
            self._skip(line, task.priority)
        self.size -= 1
        if key == self.head:
            self._find_head()
            self.queue.head_changed(self)

    def _sweep(self) -> None:
        """Drop all leftovers from the lines."""
        ready = {priority: Line(line.ready()) for priority, line in self.lines.items()}
        self._open_lines[0] -= len(self.lines)
        self.lines = {priority: line for priority, line in ready.items() if line}
        self._open_lines[0] += len(self.lines)
        self._priorities = [-priority for priority in self.lines]
        heapify(self._priorities)
        self.leftovers = 0
