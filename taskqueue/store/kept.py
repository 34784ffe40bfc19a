"""
Tasks in dictionaries: their rows, their history, and in which order those that ended may go.

Whole batches are taken over at a time, by what dictionaries do with many keys at once:
a call for each row would cost more than all the rest.  A task that changes keeps the row
with which it was inserted, and its newest change beside it; who reads gets both as one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby, repeat
from math import inf
from operator import itemgetter
from typing import Any

from taskqueue.core.changes import HistoryRow, TaskRow, TaskUpdate
from taskqueue.core.task import ENDED_STATES, FIRST_ENDED, State, Until
from taskqueue.store.ends import Ends
from taskqueue.store.ordered import Ordered
from taskqueue.store.pending import rewritten, updated

#: About what a row takes in memory, with its id and all that leads to it, beside its texts;
#: what a change of it takes, and an event.
ROW_BYTES = 750
UPDATE_BYTES = 300
EVENT_BYTES = 300

#: How much more than it may a store keeps of ended tasks until it wants to be swept.
_SLACK_BYTES = 2**20

#: So few ended tasks that are gone are not worth looking for.
_SMALL = 1024

#: Queue, type and state.
Kind = tuple[str, str, State]

_ENDED, _DEAD = int(FIRST_ENDED), int(State.DEAD_LETTER)

#: In these, tasks may go to make room.
_SPARE_STATES = tuple(int(state) for state in ENDED_STATES if state is not State.DEAD_LETTER)

# Both kinds of rows begin with the place in line, and end alike.
_SEQ, _ID, _UNIQUE = itemgetter(0), itemgetter(1), itemgetter(TaskRow._fields.index("unique"))
_LANE = itemgetter(TaskRow._fields.index("queue"), TaskRow._fields.index("type"))
_STATE = TaskRow._fields.index("state") - len(TaskRow._fields)
_END = itemgetter(_STATE, TaskRow._fields.index("ended_at") - len(TaskRow._fields))
_ROW_TEXTS = itemgetter(
    *(TaskRow._fields.index(name) for name in ("headers", "payload", "error", "result"))
)
_UPDATE_TEXTS = itemgetter(*(TaskUpdate._fields.index(name) for name in ("error", "result")))


class Kept:
    """
    @ivar most_ended_bytes: see L{IStore<taskqueue.store.interface.IStore>}.
    @ivar rows: as the tasks were inserted, by C{seq}.
    @ivar seqs: by id.
    @ivar order: of the C{seq}s.
    @ivar history: by C{seq}.
    @ivar text_bytes: of all payloads, headers, errors and results.
    """

    def __init__(self) -> None:
        self.most_ended_bytes: int | None = None
        self.rows: dict[int, TaskRow] = {}
        self.seqs: dict[str, int] = {}
        self.order = Ordered(self.rows)
        self.history: dict[int, list[HistoryRow]] = {}
        self._updates: dict[int, TaskUpdate] = {}
        # Ended tasks: those that may go to make room, and those that may not.
        self._spare: set[int] = set()
        self._fixed: set[int] = set()
        # By when they may go; those that hold their keys for a time stand apart.
        self._ends = {int(state): Ends() for state in ENDED_STATES}
        self._windows = {int(state): Ends() for state in ENDED_STATES}
        # When tasks ended last, wall-clock seconds: windows that end before are over.
        self._moment = -inf
        self.text_bytes = self._event_bytes = self._spare_bytes = 0

    # --- what there is --------------------------------------------------------------

    def current(self, seq: int) -> TaskRow:
        """A task as it stands now."""
        row, update = self.rows[seq], self._updates.get(seq)
        return row if update is None else updated(row, update)

    def has_ended(self, seq: int) -> bool:
        return seq in self._spare or seq in self._fixed

    def ended(self) -> Iterator[TaskRow]:
        """The ended tasks, in any order."""
        return map(self.current, chain(self._spare, self._fixed))

    def windows(self, beyond: float) -> list[TaskRow]:
        """The ended tasks that hold their keys for a time that ends later, by C{seq}."""
        rows = map(self.current, sorted(chain(self._spare, self._fixed)))
        return [row for row in rows if window_end(row) > beyond]

    def dead_letters(self, queue: str, limit: int) -> list[TaskRow]:
        """Up to C{limit} of a queue, those that ended first first."""
        found: dict[int, TaskRow] = {}
        last_at: float | None = None
        for at, seqs in self._ends[_DEAD].in_order():
            if len(found) >= limit and last_at != at:
                break
            found.update(self._dead_of(queue, at, seqs))
            last_at = at
        for at, seqs in self._windows[_DEAD].in_order():
            found.update(self._dead_of(queue, at, seqs))
        return sorted(found.values(), key=lambda row: (row.ended_at, row.seq))[:limit]

    def _dead_of(self, queue: str, at: float, seqs: list[int]) -> dict[int, TaskRow]:
        rows = map(self.current, self._still(_DEAD, at, seqs))
        return {row.seq: row for row in rows if row.queue == queue}

    @property
    def memory_bytes(self) -> int:
        """About what all tasks and their history take in memory, payloads included."""
        rows = ROW_BYTES * len(self.rows) + UPDATE_BYTES * len(self._updates)
        return rows + self.text_bytes + self._event_bytes

    # --- changes --------------------------------------------------------------------

    def insert(self, rows: Sequence[TaskRow]) -> None:
        new = dict(zip(map(_SEQ, rows), rows, strict=True))
        if len(new) == len(rows) and self.rows.keys().isdisjoint(new):
            self._lay(new)
            return
        for row in rows:
            if row.seq in self.rows:
                known = self.current(row.seq)
                self._lift([row.seq])
                row = rewritten(known, row)
            self._lay({row.seq: row})

    def update(self, updates: Sequence[TaskUpdate]) -> None:
        known = self.rows
        new = dict(zip(map(_SEQ, updates), updates, strict=True))
        if not new.keys() <= known.keys():
            updates = [update for update in updates if update.seq in known]
            new = dict(zip(map(_SEQ, updates), updates, strict=True))
        ended = not (self._spare.isdisjoint(new) and self._fixed.isdisjoint(new))
        if len(new) == len(updates) and not ended:
            self._amend(new)
            return
        for update in updates:  # of tasks that had ended, or several of one
            row = updated(self.current(update.seq), update)
            self._lift([row.seq])
            self._lay({row.seq: row})

    def _lay(self, rows: dict[int, TaskRow]) -> None:
        """These rows are new here."""
        self.rows.update(rows)
        self.seqs.update(zip(map(_ID, rows.values()), rows, strict=True))
        self.order.extend(rows)
        size = _texts(_ROW_TEXTS, rows.values())
        self.text_bytes += size
        ended = [row for row in rows.values() if row[_STATE] >= _ENDED]  # type: ignore[operator]  # an int
        if ended:
            spare = self._end(ended)
            if len(spare) < len(rows) or self.history:
                self._spare_bytes += self._weigh(spare)
            else:
                self._spare_bytes += size + ROW_BYTES * len(rows)
            self._close_windows()

    def _amend(self, updates: dict[int, TaskUpdate]) -> None:
        """Tasks that are here, and had not ended, have changed so."""
        if self._updates:
            old = filter(None, map(self._updates.get, updates))
            self.text_bytes -= _texts(_UPDATE_TEXTS, old)
        self._updates.update(updates)
        self.text_bytes += _texts(_UPDATE_TEXTS, updates.values())
        ended = [update for update in updates.values() if update[_STATE] >= _ENDED]  # type: ignore[operator]  # an int
        if ended:
            self._spare_bytes += self._weigh(self._end(ended))
            self._close_windows()

    def _lift(self, seqs: Sequence[int]) -> list[TaskRow]:
        """
        Take rows out, and all that is known of them but their history.

        @return: them, as they were inserted.
        """
        self.order.lose(len(seqs))
        spare = self._spare.intersection(seqs)
        bare = len(spare) == len(seqs) and not self._updates and not self.history
        if not bare:
            self._spare_bytes -= self._weigh(spare)
        self._spare -= spare
        self._fixed.difference_update(seqs)
        rows = [*map(self.rows.pop, seqs)]
        size = _texts(_ROW_TEXTS, rows)
        self.text_bytes -= size
        if bare:
            self._spare_bytes -= size + ROW_BYTES * len(rows)
        if self._updates:
            updates = filter(None, map(self._updates.pop, seqs, repeat(None)))
            self.text_bytes -= _texts(_UPDATE_TEXTS, updates)
        found = [*map(self.seqs.pop, map(_ID, rows), repeat(None))]
        if found != seqs:  # an id may have been used again meanwhile
            for row, seq in zip(rows, found, strict=True):
                if seq is not None and seq != row.seq:
                    self.seqs[row.id] = seq
        return rows

    def remove(self, seqs: list[int]) -> None:
        """Forget these tasks, which are here, and their history."""
        self._lift(seqs)
        if self.history:
            for seq in seqs:
                for event in self.history.pop(seq, ()):
                    self._event_bytes -= _event_bytes(event)

    def record(self, event: HistoryRow) -> None:
        events = self.history.setdefault(event.seq, [])
        if all(event[:4] != known[:4] for known in events):
            events.append(event)
            size = _event_bytes(event)
            self._event_bytes += size
            if event.seq in self._spare:
                self._spare_bytes += size

    # --- ended tasks ----------------------------------------------------------------

    def _end(self, ended: Sequence[TaskRow | TaskUpdate]) -> list[int]:
        """
        These tasks have ended.

        @return: those of them that may go to make room.
        """
        spare: list[int] = []
        for (state, at), run in groupby(ended, _END):
            seqs = [*map(_SEQ, run)]
            windows = self._windowed(seqs)
            if windows:
                if at is not None:
                    for seq, ends_at in windows.items():
                        self._windows[state].add(max(at, ends_at), [seq])
                self._fixed.update(windows)
                seqs = [seq for seq in seqs if seq not in windows]
            if at is not None:
                self._moment = at
                self._ends[state].add(at, seqs)
            if at is None or state == _DEAD:
                self._fixed.update(seqs)
            else:
                spare += seqs
        self._spare.update(spare)
        self._forget_gone()
        return spare

    def _windowed(self, seqs: list[int]) -> dict[int, float]:
        """Those of these tasks that hold their keys for a time, and how long."""
        rows = [*map(self.rows.__getitem__, seqs)]
        if not any(map(_UNIQUE, rows)):
            return {}
        return {row.seq: end for row in rows if (end := window_end(row)) > -inf}

    def _close_windows(self) -> None:
        """What held its key until before the last tasks ended may go to make room as well."""
        for state in _SPARE_STATES:
            windows = self._windows[state]
            while windows.has_before(self._moment):
                at, seqs = windows.take()
                over = self._still(state, at, seqs)
                self._ends[state].add(at, over)
                over = [seq for seq in over if seq in self._fixed]
                self._fixed.difference_update(over)
                self._spare.update(over)
                self._spare_bytes += self._weigh(over)

    def _weigh(self, seqs: Iterable[int]) -> int:
        """About what these tasks take in memory."""
        known = [*seqs]
        size = ROW_BYTES * len(known)
        size += _texts(_ROW_TEXTS, map(self.rows.__getitem__, known))
        if self._updates:
            updates = [*filter(None, map(self._updates.get, known))]
            size += _texts(_UPDATE_TEXTS, updates) + UPDATE_BYTES * len(updates)
        if self.history:
            events = chain.from_iterable(map(self.history.get, known, repeat(())))
            size += sum(map(_event_bytes, events))
        return size

    def _still(self, state: int, at: float, seqs: Iterable[int]) -> list[int]:
        """Those of these tasks that are here, and ended so."""
        rows, updates, known = self.rows, self._updates, [*seqs]
        found: list[Any] = [*map(rows.get, known)]
        if all(found) and not any(map(_UNIQUE, found)):
            ends = map(_END, map(updates.get, known, found) if updates else found)
            if [*ends].count((state, at)) == len(known):
                return known  # as nearly always
        return [seq for seq in known if seq in rows and self._is_still(state, at, seq)]

    def _is_still(self, state: int, at: float, seq: int) -> bool:
        row = self.rows[seq]
        newest = self._updates.get(seq) or row
        end = newest.ended_at
        if row.unique is not None and end is not None:
            end = max(end, window_end(row))
        return newest.state == state and end == at

    # --- what goes ------------------------------------------------------------------

    @property
    def wants_sweep(self) -> bool:
        """Whether more is kept of ended tasks than may be, by more than a little."""
        return self._excess() > _SLACK_BYTES

    def sweep(self, before: Mapping[State, float], limit: int) -> Counter[Kind]:
        """As L{IStore.sweep<taskqueue.store.interface.IStore.sweep>}."""
        swept: Counter[Kind] = Counter()
        for state, moment in before.items():
            for ends in (self._ends[state], self._windows[state]):
                while (left := limit - swept.total()) > 0 and ends.has_before(moment):
                    self._sweep_first(ends, state, left, swept)
        while (left := limit - swept.total()) > 0 and self._excess() > 0 and self._spare:
            self._sweep_oldest(left, swept)
        return swept

    def _excess(self) -> int:
        most = self.most_ended_bytes
        return 0 if most is None else self._spare_bytes - most

    def _sweep_first(self, ends: Ends, state: int, most: int, swept: Counter[Kind]) -> None:
        """Remove up to C{most} tasks of those that may go first."""
        at, seqs = ends.take()
        due = self._still(state, at, seqs)
        if len(due) > most:
            ends.add(at, due[most:])
            del due[most:]
        if due:
            rows = map(self.rows.__getitem__, due)
            for (queue, task_type), count in Counter(map(_LANE, rows)).items():
                swept[queue, task_type, State(state)] += count
            self.remove(due)

    def _sweep_oldest(self, most: int, swept: Counter[Kind]) -> None:
        """Remove some of the tasks that may go to make room, of those that ended first."""
        state = min(_SPARE_STATES, key=lambda each: self._ends[each].first_at)
        average = max(self._spare_bytes // len(self._spare), 1)
        self._sweep_first(self._ends[state], state, min(most, -(-self._excess() // average)), swept)

    def _forget_gone(self) -> None:
        """Drop what stands among the ends and is here no more, where that is most of it."""
        every = chain(self._ends.values(), self._windows.values())
        standing = sum([ends.count for ends in every])
        if standing <= 2 * (len(self._spare) + len(self._fixed)) + _SMALL:
            return
        for kept in (self._ends, self._windows):
            for state, ends in kept.items():
                runs = [(at, self._still(state, at, seqs)) for at, seqs in ends.in_order()]
                ends.keep([run for run in runs if run[1]])


def kind_of(row: TaskRow) -> Kind:
    """By what ended tasks are counted."""
    return row.queue, row.type, State(row.state)


def window_end(row: TaskRow) -> float:
    """Until when the task holds its key, whatever becomes of it."""
    unique = row.unique
    if unique is None or unique.until is not Until.WINDOW or unique.ends_at is None:
        return -inf
    return unique.ends_at


def _texts(texts: itemgetter[Any], rows: Iterable[TaskRow | TaskUpdate]) -> int:
    """How long some columns of these rows are together."""
    return sum(map(len, filter(None, chain.from_iterable(map(texts, rows)))))


def _event_bytes(event: HistoryRow) -> int:
    return EVENT_BYTES + len(event.detail or "")
