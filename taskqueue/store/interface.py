"""
What the service asks of a store.

Every method blocks, and raises L{StoreFailed} when the medium fails (full
disk, I/O error): the store stays usable and the caller may try again.
C{open}, C{recover} and C{close} are called from one thread at start and stop.
Meanwhile C{commit} comes from one writer thread, C{checkpoint} and C{sweep} from
another, and all reads (and C{backup}) from a third, at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from zope.interface import Attribute, Interface

from taskqueue.core.changes import Batch, HistoryRow, OpenWindow, QueueRow, TaskRow
from taskqueue.core.periodic import PeriodicRow
from taskqueue.core.rows import ValueRow
from taskqueue.core.task import State

#: (queue, type, state) of ended tasks: how many the store holds.
EndedCounts = dict[tuple[str, str, State], int]


class Recovery(NamedTuple):
    """
    What a broker needs to go on where another stopped.

    @ivar tasks: every task that has not ended, with its payload, by C{seq}
        ascending; may be consumed once.  Where not all payloads are wanted, some have a
        size in place of it.
    @ivar queues: what operators set on queues.
    @ivar token_ceiling: every token ever given out is below it.
    @ivar next_seq: every C{seq} ever given out is below it.
    @ivar ended: how many ended tasks are kept, by queue, type and state.
    @ivar periodics: the periodic tasks, by name.
    """

    tasks: Iterable[TaskRow]
    queues: list[QueueRow]
    token_ceiling: int
    next_seq: int
    ended: EndedCounts
    periodics: list[PeriodicRow]


class Filter(NamedTuple):
    """
    Which tasks L{IStore.find} returns; a task must match every field that is
    not C{None}.  Ranges are half open: from <= value < to.

    @ivar error_contains: text that the newest error must contain.
    @ivar queues: the task must be in one of these.
    """

    states: Sequence[State] | None = None
    queue: str | None = None
    type: str | None = None
    worker: str | None = None
    priority_from: int | None = None
    priority_to: int | None = None
    submitted_from: float | None = None
    submitted_to: float | None = None
    ended_from: float | None = None
    ended_to: float | None = None
    error_contains: str | None = None
    queues: frozenset[str] | None = None


class Page(NamedTuple):
    """
    Which part of the matches: up to C{limit} of them, newest submission first
    (C{descending}) or oldest, beyond the C{seq} C{after} (C{None}: from the
    beginning), up to the C{seq} C{until}, which is part of it (C{None}: to the end).
    """

    limit: int = 100
    after: int | None = None
    descending: bool = True
    until: int | None = None

    def has(self, seq: int) -> bool:
        """Whether a task with this C{seq} can be on the page."""
        first, last = self.after, self.until
        if self.descending:
            return (first is None or seq < first) and (last is None or seq >= last)
        return (first is None or seq > first) and (last is None or seq <= last)


class Backlog(NamedTuple):
    """
    What is safe, but not yet where searches and standard tools look.

    @ivar rows: about so many rows.
    @ivar size_bytes: about so many bytes of memory.
    @ivar age_s: for how long the oldest of it has waited, seconds.
    @ivar log_bytes: of the commit log on the medium.
    """

    rows: int = 0
    size_bytes: int = 0
    age_s: float = 0.0
    log_bytes: int = 0


class IStore(Interface):
    """Where tasks are kept safe."""

    inline = Attribute("True where every call is quick and may run in the caller's thread.")
    wants_checkpoint = Attribute("True where C{checkpoint} should be called without delay.")
    most_ended_bytes = Attribute(
        "How many bytes of memory completed, cancelled and expired tasks may take, None for any;"
        " for a store that keeps them there, which the service tells it."
    )
    wants_sweep = Attribute("True where it keeps more of them: C{sweep} should be called.")
    memory_bytes = Attribute(
        "About how many bytes of memory everything in it takes, payloads of tasks that have not"
        " ended included, which the core shares; 0 for a store that keeps tasks on a medium."
    )

    def open() -> None:
        """
        Take the store into use, creating or migrating it as needed.

        @raises StoreLocked: another process has it open.
        @raises StoreCorrupt: it is damaged; the message says what to do.
        @raises StoreVersion: a newer version wrote it.
        @raises StoreFailed: it cannot be created or read.
        """

    def recover(payload_bytes: int | None = None) -> Recovery:
        """
        What the last owner left.

        @param payload_bytes: of payloads so many bytes are wanted, those of the tasks that come
            first; C{None}: all of them.  Small ones are given in any case, and a
            store may give more.
        @raises StoreCorrupt: it cannot be read whole.
        """

    def open_windows(beyond: float) -> list[OpenWindow]:
        """
        The ended tasks that hold their unique keys until a wall-clock moment
        later than C{beyond}, by C{seq} ascending; called with L{recover}.
        """

    def key_values() -> Iterable[ValueRow]:
        """
        All values, in any order, also those that have expired; may be consumed once.  Called
        with L{recover}.

        @raises StoreCorrupt: also while it is consumed.
        """

    def commit(batch: Batch) -> None:
        """
        Make C{batch} durable, all or nothing.

        @raises StoreFailed: nothing of it was stored.
        """

    def records(ids: Sequence[str]) -> list[TaskRow]:
        """The tasks with these ids, without payload but with result; unknown ones are left out."""

    def numbered(seqs: Sequence[int]) -> list[TaskRow]:
        """
        The tasks with these places in line, as C{records} returns them; unknown ones are left
        out.
        """

    def dead_letters(queue: str, limit: int) -> list[TaskRow]:
        """
        Up to C{limit} dead letters of a queue, without payload and result, those that ended first
        first (of one moment: by C{seq}).
        """

    def ended_ids(after: int, limit: int) -> list[tuple[int, str]]:
        """
        The C{seq} and id of up to C{limit} ended tasks whose C{seq} is above
        C{after}, by C{seq} ascending.
        """

    def payloads(seqs: Sequence[int]) -> dict[int, bytes]:
        """The payloads of these tasks; unknown ones are left out."""

    def history(seq: int) -> list[HistoryRow]:
        """The events of one task, oldest first."""

    def find(filter: Filter, page: Page) -> list[TaskRow]:
        """The matching tasks of one page, without payload and result."""

    def sweep(before: Mapping[State, float], limit: int) -> EndedCounts:
        """
        Remove up to C{limit} ended tasks, with their history, whose
        C{ended_at} is below their state's moment in C{before}; where a task
        holds its unique key for a time of its own (C{Until.WINDOW}), the end of
        that must be below it too.  Then, up to the same C{limit}, those that ended
        first, where more is kept than C{most_ended_bytes}; but no dead letter, and none that
        holds its key for a time that is not over.

        @return: how many were removed, by queue, type and state.
        """

    def checkpoint() -> None:
        """
        Bring what was committed to where it is to stay, and compact; called again and
        again, beside commits.

        @raises StoreFailed: it cannot; nothing is lost, and it is tried again.
        """

    def backlog() -> Backlog:
        """How much C{checkpoint} would have to do; may be called in any thread."""

    def backup(path: str) -> int:
        """
        Write a consistent copy to C{path}, which must not exist, while
        commits go on.

        @return: its size in bytes.
        """

    def size() -> int:
        """The bytes that the store takes on its medium."""

    def close() -> None:
        """Give the store back; harmless when it is not open."""
