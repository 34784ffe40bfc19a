"""
What every store must do: one suite, run over each of them.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from taskqueue.core.changes import (
    Batch,
    HistoryRow,
    OpenWindow,
    QueueRow,
    TaskRow,
    ValueRow,
    empty_batch,
)
from taskqueue.core.task import (
    DEFAULT_OPTIONS,
    ENDED_STATES,
    FIRST_ENDED,
    LEAST_PRIORITY,
    State,
    Unique,
    Until,
)
from taskqueue.errors import StoreError, StoreFailed
from taskqueue.store import Filter, IStore, Page, SQLiteStore
from tests.store.rows import (
    EVERY_FIELD,
    HOURLY,
    NIGHTLY,
    NOW,
    VALUE,
    after,
    batch,
    lives,
    task,
    update,
    updated,
)

examples = settings(
    derandomize=True,
    deadline=None,
    max_examples=40,
    # One suite over several stores: that is what this check warns of.
    suppress_health_check=[HealthCheck.differing_executors],
)


def counted(rows: list[TaskRow]) -> dict[tuple[str, str, State], int]:
    """Ended tasks by kind, counted one by one."""
    return dict(
        Counter((row.queue, row.type, State(row.state)) for row in rows if row.state >= FIRST_ENDED)
    )


def bare(row: TaskRow) -> TaskRow:
    """As C{find} returns it."""
    return row._replace(payload=None, result=None)


def brute_force(rows: list[TaskRow], filter: Filter) -> list[TaskRow]:
    """The tasks that match, oldest first, by the filter's words alone."""

    def within(value: float | None, low: float | None, high: float | None) -> bool:
        if low is not None and (value is None or value < low):
            return False
        return high is None or (value is not None and value < high)

    return [
        row
        for row in sorted(rows)
        if (filter.states is None or row.state in [int(state) for state in filter.states])
        and filter.queue in (None, row.queue)
        and (filter.queues is None or row.queue in filter.queues)
        and filter.type in (None, row.type)
        and filter.worker in (None, row.worker)
        and within(row.priority, filter.priority_from, filter.priority_to)
        and within(row.submitted_at, filter.submitted_from, filter.submitted_to)
        and within(row.ended_at, filter.ended_from, filter.ended_to)
        and (
            filter.error_contains is None
            or (row.error is not None and filter.error_contains.lower() in row.error.lower())
        )
    ]


def _or_none(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


_moments = st.integers(0, 30).map(lambda n: NOW + n)
filters = st.builds(
    Filter,
    states=_or_none(st.lists(st.sampled_from(list(State)), max_size=4)),
    queue=_or_none(st.sampled_from(("default", "mail", "none such"))),
    queues=_or_none(st.frozensets(st.sampled_from(("default", "mail", "none such")))),
    type=_or_none(st.sampled_from(("send", "resize"))),
    worker=_or_none(st.sampled_from(("w0", "w1"))),
    priority_from=_or_none(st.integers(0, 255) | st.integers(LEAST_PRIORITY, 0)),
    priority_to=_or_none(st.integers(0, 255) | st.integers(LEAST_PRIORITY, 0)),
    submitted_from=_or_none(_moments),
    submitted_to=_or_none(_moments),
    ended_from=_or_none(_moments),
    ended_to=_or_none(_moments),
    error_contains=_or_none(st.sampled_from(("boom", "%", "_", "100% of 1", "nothing"))),
)
#: One condition or none at a time: else nearly every page would be empty.
narrow_filters = st.sampled_from(Filter._fields).flatmap(
    lambda name: filters.map(lambda full: Filter(**{name: getattr(full, name)}))
)


#: What one batch does to a few values: a new one under a key, or none any more.
_writes = st.dictionaries(
    st.tuples(st.sampled_from(("a", "b")), st.sampled_from(("k", "k2", "ü\x00"))),
    st.none()
    | st.tuples(
        st.sampled_from((0, 3, 1024, 1025, 5000)).map(bytes), st.none() | st.just(NOW + 0.5)
    ),
    max_size=6,
)


class StoreContract:
    """Mixed into a test case whose C{makeStore} makes a new, empty store, not open."""

    def makeStore(self) -> IStore:
        raise NotImplementedError

    def opened(self) -> IStore:
        store = self.makeStore()
        store.open()
        self.addCleanup(store.close)
        return store

    def holding(self, *batches: Batch) -> IStore:
        store = self.opened()
        for each in batches:
            store.commit(each)
        return store

    def reopened(self, store: IStore) -> IStore:
        store.close()
        store.open()
        return store

    def everything(self, store: IStore) -> list[TaskRow]:
        """All tasks that a store holds, whole, put together from its reads."""
        found = store.find(Filter(), Page(limit=10**6, descending=False))
        payloads = store.payloads([row.seq for row in found])
        records = store.records([row.id for row in found])
        return [record._replace(payload=payloads.get(record.seq)) for record in records]

    # --- values ---

    def test_valuesAreKept(self) -> None:
        other = VALUE._replace(namespace="a", key="k", version=8, expires_at=None)
        store = self.holding(batch(values=[VALUE, other], next_seq=2**53))
        self.assertEqual(set(store.key_values()), {VALUE, other})
        self.assertEqual(set(self.reopened(store).key_values()), {VALUE, other})
        self.assertEqual(store.recover().next_seq, 2**53)

    def test_aValueTakesThePlaceOfAnother(self) -> None:
        newer = VALUE._replace(value=b"newer", version=VALUE.version + 1, expires_at=None)
        store = self.holding(batch(values=[VALUE]), batch(values=[newer]))
        self.assertEqual(list(store.key_values()), [newer])
        store.checkpoint()
        self.assertEqual(list(self.reopened(store).key_values()), [newer])

    def test_anUnsetValueIsGone(self) -> None:
        other = VALUE._replace(namespace="other", version=8)
        store = self.holding(batch(values=[VALUE, other]))
        store.checkpoint()
        gone = [(VALUE.namespace, VALUE.key), ("never", "there")]
        store.commit(batch(unset=gone))
        self.assertEqual(list(store.key_values()), [other])
        self.assertEqual(list(self.reopened(store).key_values()), [other])

    @examples
    @given(st.lists(_writes, max_size=6), st.booleans())
    def test_valuesStandAsTheBatchesSay(
        self, writes: list[dict[tuple[str, str], tuple[bytes, float | None] | None]], twice: bool
    ) -> None:
        """Whether each batch is sent once or twice, settled in between or not, reopened or not."""
        store = self.opened()
        expected: dict[tuple[str, str], ValueRow] = {}
        version = 0
        for number, each in enumerate(writes):
            rows = []
            for place, written in each.items():
                version += 1
                expected.pop(place, None)
                if written is not None:
                    rows.append(ValueRow(*place, written[0], version, written[1]))
                    expected[place] = rows[-1]
            unset = [place for place, written in each.items() if written is None]
            for _ in range(1 + twice):
                store.commit(batch(values=rows, unset=unset, next_seq=version + 1))
            if number % 2:
                store.checkpoint()
        for found in (store, self.reopened(store)):
            self.assertEqual(set(found.key_values()), set(expected.values()))
            self.assertEqual(found.recover().next_seq, version + 1)

    # --- commit and recover ---

    def test_interface(self) -> None:
        verifyObject(IStore, self.makeStore())

    def test_newStoreIsEmpty(self) -> None:
        recovery = self.opened().recover()
        self.assertEqual(list(recovery.tasks), [])
        self.assertEqual(recovery[1:], ([], 0, 1, {}, []))

    def test_everyFieldSurvives(self) -> None:
        store = self.reopened(self.holding(batch([EVERY_FIELD])))
        self.assertEqual(list(store.recover().tasks), [EVERY_FIELD])
        (found,) = store.records([EVERY_FIELD.id])
        self.assertEqual(found, EVERY_FIELD._replace(payload=None))
        self.assertIs(type(found.cancel_requested), bool)

    def test_everyFieldOfAnUpdateSurvives(self) -> None:
        change = update(EVERY_FIELD._replace(seq=1))
        store = self.reopened(self.holding(batch([task(1)]), batch(updates=[change])))
        self.assertEqual(list(store.recover().tasks), [updated(task(1), change)])

    def test_recoversLiveTasksOnlyInOrderOfSeq(self) -> None:
        live = [task(seq, state=int(state)) for seq, state in enumerate(State, 1) if state < 5]
        ended = [task(seq + 20, state=int(state)) for seq, state in enumerate(ENDED_STATES)]
        store = self.holding(batch(ended), batch(live[::-1]))
        self.assertEqual(list(store.recover().tasks), live)

    def test_recoversAsManyPayloadsAsAreWanted(self) -> None:
        """Sizes stand in place of the others, but for small ones."""
        sizes = (100, 2000, 10, 64, 5000)
        rows = [task(seq, payload=bytes(size)) for seq, size in enumerate(sizes, 1)]
        rows[3] = rows[3]._replace(result=bytes(3000), error="once")
        store = self.reopened(self.holding(batch(rows)))
        for wanted, whole in ((None, 5), (10**6, 5), (150, 2), (99, 1), (0, 1)):
            expected = [
                row._replace(payload=size) if number >= whole and size >= 64 else row
                for number, (row, size) in enumerate(zip(rows, sizes, strict=True))
            ]
            self.assertEqual(list(store.recover(wanted).tasks), expected, wanted)

    def test_emptyBatch(self) -> None:
        store = self.holding(empty_batch())
        self.assertEqual(list(store.recover().tasks), [])

    def test_batchOfManyTasks(self) -> None:
        rows = [task(seq) for seq in range(1, 2600)]
        changes = [update(row, attempt=row.seq) for row in rows]
        store = self.holding(batch(rows), batch(updates=changes))
        self.assertEqual(
            list(store.recover().tasks),
            [updated(row, change) for row, change in zip(rows, changes, strict=True)],
        )
        self.assertEqual(len(store.records([row.id for row in rows])), 2599)
        self.assertEqual(len(store.payloads([row.seq for row in rows])), 2599)
        store.commit(batch(removed=[row.seq for row in rows[1:]]))
        self.assertEqual([row.seq for row in store.recover().tasks], [1])

    def test_updateOfAnUnknownTaskIsPassedOver(self) -> None:
        store = self.holding(batch([task(1)]), batch(updates=[update(task(2))]))
        self.assertEqual(self.everything(store), [task(1)])

    def test_tokenCeilingAndNextSeq(self) -> None:
        store = self.holding(batch(token_ceiling=1000, next_seq=5))
        store.commit(batch([task(8)], next_seq=9))
        recovery = self.reopened(store).recover()
        self.assertEqual((recovery.token_ceiling, recovery.next_seq), (1000, 9))

    def test_nextSeqBeyondTheNewestTask(self) -> None:
        store = self.reopened(self.holding(batch([task(8)], next_seq=12)))
        self.assertEqual(store.recover().next_seq, 12)

    def test_nextSeqNeverGoesBack(self) -> None:
        """Also not when the newest task is removed or swept, nor when a caller says so."""
        store = self.holding(batch([task(8)]), batch(removed=[8], next_seq=1))
        self.assertEqual(self.reopened(store).recover().next_seq, 9)
        store.commit(batch([task(20, state=int(State.COMPLETED), ended_at=NOW)]))
        store.sweep({State.COMPLETED: NOW + 1}, 10)
        self.assertEqual(self.reopened(store).recover().next_seq, 21)

    def test_tokenCeilingNeverGoesBack(self) -> None:
        store = self.holding(batch(token_ceiling=1000), batch(token_ceiling=10))
        self.assertEqual(store.recover().token_ceiling, 1000)

    def test_queues(self) -> None:
        paused = QueueRow("mail", True, NOW, 10)
        store = self.holding(batch(queues=[paused, QueueRow("a", False, None, None)]))
        store.commit(batch(queues=[QueueRow("a", True, None, 5)]))
        self.assertEqual(
            self.reopened(store).recover().queues, [QueueRow("a", True, None, 5), paused]
        )

    def test_commitAgain(self) -> None:
        """A caller that does not know whether a commit went through may send it again."""
        first = batch([task(1), task(2, state=int(State.COMPLETED)), task(3)], token_ceiling=10)
        second = batch(
            updates=[update(task(1), state=int(State.CANCELLED), result=b"r" * 2000)],
            history=[HistoryRow(1, NOW, "cancelled", 0, None, None, None)],
            removed=[3],
            next_seq=4,
        )
        once = self.holding(first, second)
        twice = self.holding(first, first, second, second)
        self.assertEqual(self.everything(twice), self.everything(once))
        self.assertEqual(twice.history(1), once.history(1))
        self.assertEqual(twice.recover()[1:], once.recover()[1:])

    def test_endedCounts(self) -> None:
        """Inserted as ended, ended, revived, ended otherwise, removed, swept."""
        ended = task(1, state=int(State.COMPLETED), ended_at=NOW)
        store = self.holding(batch([ended, task(2), task(3)]))
        key = ("default", "send_email")
        store.commit(batch(updates=[update(task(2), state=int(State.DEAD_LETTER))]))
        self.assertEqual(
            store.recover().ended, {(*key, State.COMPLETED): 1, (*key, State.DEAD_LETTER): 1}
        )
        store.commit(batch(updates=[update(task(2), state=int(State.PENDING))]))
        self.assertEqual(store.recover().ended, {(*key, State.COMPLETED): 1})
        store.commit(batch(updates=[update(ended, state=int(State.EXPIRED), ended_at=NOW)]))
        self.assertEqual(store.recover().ended, {(*key, State.EXPIRED): 1})
        store.sweep({State.EXPIRED: NOW + 1}, 10)
        self.assertEqual(store.recover().ended, {})

    @examples
    @given(lives())
    def test_whatWasCommittedIsThere(self, batches: list[Batch]) -> None:
        """The state after any batches, some sent twice, equals the state that they describe."""
        store = self.makeStore()
        store.open()
        try:
            for number, each in enumerate(batches):
                store.commit(each)
                if number % 2:
                    store.commit(each)
                    store.checkpoint()
            expected = [row for _, row in sorted(after(batches).items())]
            self.assertEqual(self.everything(store), expected)
            recovery = self.reopened(store).recover()
            self.assertEqual(list(recovery.tasks), [r for r in expected if r.state < FIRST_ENDED])
            self.assertEqual(recovery.ended, counted(expected))
            self.assertEqual(recovery.next_seq, batches[-1].next_seq)
        finally:
            store.close()

    # --- payloads, results, history ---

    def test_longPayloadsAndResults(self) -> None:
        for size in (0, 1, 1023, 1024, 1025, 100_000):
            with self.subTest(size=size):
                row = task(1, payload=b"p" * size, result=b"r" * size, state=5)
                store = self.holding(batch([row]))
                self.assertEqual(self.everything(store), [row])

    def test_resultsReplaceEachOther(self) -> None:
        """A long result, then none, then a short one: never an older one shines through."""
        store = self.holding(batch([task(1)]))
        for result in (b"long" * 1000, None, b"short", b"other" * 1000, b""):
            store.commit(batch(updates=[update(task(1), result=result)]))
            self.assertEqual(store.records(["task-1"])[0].result, result)
            self.assertEqual(store.payloads([1]), {1: b"payload 1"})

    def test_recordsInOrderOfTheQuestion(self) -> None:
        store = self.holding(batch([task(1), task(2), task(3)]))
        found = store.records(["task-3", "unknown", "task-1", "task-3"])
        self.assertEqual([row.seq for row in found], [3, 1])
        self.assertEqual(store.records([]), [])

    def test_numbered(self) -> None:
        """By their places in line: what is new, what has changed, and nothing that is gone."""
        rows = [task(seq, payload=bytes(2000)) for seq in range(1, 6)]
        store = self.reopened(self.holding(batch(rows)))
        done = update(rows[1], state=int(State.COMPLETED), ended_at=NOW, result=b"r")
        store.commit(batch([task(9)], [done], removed=[3]))
        found = {row.seq: row for row in store.numbered([9, 2, 3, 1, 7, 9])}
        expected = [rows[0], updated(rows[1], done), task(9)]
        self.assertEqual(found, {row.seq: row._replace(payload=None) for row in expected})
        self.assertEqual(store.numbered([]), [])

    def test_deadLettersInOrderOfTheirEnds(self) -> None:
        """In the database, changed since, and new; those of one moment by their places in line."""
        dead: dict[str, Any] = {"state": int(State.DEAD_LETTER), "result": b"r"}
        rows = [task(seq, ended_at=NOW - seq % 4, **dead) for seq in range(1, 9)]
        rows[4] = rows[4]._replace(queue="mail")
        rows[6] = rows[6]._replace(state=int(State.CANCELLED))
        store = self.reopened(self.holding(batch(rows)))

        def found(limit: int = 99) -> list[int]:
            letters = store.dead_letters("default", limit)
            self.assertTrue(all(row.payload is row.result is None for row in letters))
            return [row.seq for row in letters]

        self.assertEqual(found(), [3, 2, 6, 1, 4, 8])
        self.assertEqual([found(0), found(1), found(4)], [[], [3], [3, 2, 6, 1]])
        store.commit(
            batch(
                [task(9, ended_at=NOW - 2, **dead), rows[0]._replace(ended_at=NOW + 1)],
                [update(rows[1], state=int(State.PENDING), ended_at=None)],
                removed=[3],
            )
        )
        self.assertEqual([found(), found(2)], [[6, 9, 4, 8, 1], [6, 9]])
        self.assertEqual([row.seq for row in store.dead_letters("mail", 9)], [5])
        self.assertEqual(store.dead_letters("none", 9), [])

    def test_deadLettersBehindManyThatAreNoneAnyMore(self) -> None:
        dead: dict[str, Any] = {"state": int(State.DEAD_LETTER)}
        rows = [task(seq, ended_at=NOW + seq, **dead) for seq in range(1, 201)]
        store = self.reopened(self.holding(batch(rows)))
        changes = [update(row, state=0, ended_at=None) for row in rows[:150]]
        store.commit(batch(updates=changes))
        self.assertEqual([row.seq for row in store.dead_letters("default", 2)], [151, 152])
        self.assertEqual(len(store.dead_letters("default", 999)), 50)

    @examples
    @given(lives(("insert",)), st.integers(1, 5))
    def test_deadLettersEqualBruteForce(self, batches: list[Batch], limit: int) -> None:
        store = self.holding(*batches)
        rows = [row for row in after(batches).values() if row.state == State.DEAD_LETTER]
        rows.sort(key=lambda row: (row.ended_at, row.seq))
        expected = [bare(row) for row in rows if row.queue == "mail"]
        self.assertEqual(store.dead_letters("mail", limit), expected[:limit])

    def test_writtenAgain(self) -> None:
        """Priority, expiry, options and what can change; what it is, and its payload, stay."""
        store = self.reopened(self.holding(batch([EVERY_FIELD, task(8, payload=bytes(5000))])))
        newer = EVERY_FIELD._replace(
            priority=LEAST_PRIORITY,
            expires_at=None,
            options=DEFAULT_OPTIONS,
            state=int(State.DEAD_LETTER),
            ended_at=NOW,
        )
        again = [newer._replace(payload=None), task(8, payload=None, priority=-7)]
        for each in (store, self.reopened(store)):
            store.commit(batch(again))
            expected = [newer, task(8, payload=bytes(5000), priority=-7)]
            self.assertEqual(self.everything(each), expected)
        self.assertEqual(self.everything(self.reopened(store)), expected)

    def test_endedIdsInOrderOfSeq(self) -> None:
        rows = [
            task(seq, state=State.PENDING if seq % 3 else State.COMPLETED) for seq in range(1, 10)
        ]
        store = self.holding(batch(inserts=rows))
        ended = [(row.seq, row.id) for row in rows if row.state == State.COMPLETED]
        self.assertEqual(store.ended_ids(0, 10), ended)
        self.assertEqual(store.ended_ids(3, 1), ended[1:2])
        self.assertEqual(store.ended_ids(9, 10), [])

    def test_payloadsOfUnknownTasks(self) -> None:
        store = self.holding(batch([task(1)]))
        self.assertEqual(store.payloads([1, 2]), {1: b"payload 1"})
        self.assertEqual(store.payloads([]), {})

    def test_history(self) -> None:
        """In the order in which it happened, also where the clock stood or went back."""
        events = [
            HistoryRow(1, NOW, "failed", 1, "w", NOW - 1, "Boom"),
            HistoryRow(1, NOW, "dead_letter", 1, None, None, None),
            HistoryRow(1, NOW - 5, "revived", 1, None, None, None),
        ]
        other = HistoryRow(2, NOW, "failed", 1, "w", None, None)
        store = self.holding(batch([task(1), task(2)], history=[events[0], other, events[1]]))
        store.commit(batch(history=[events[2]]))
        self.assertEqual(self.reopened(store).history(1), events)
        self.assertEqual(store.history(3), [])

    def test_removedWithAllThatBelongsToIt(self) -> None:
        event = HistoryRow(1, NOW, "failed", 1, None, None, None)
        long = task(1, payload=b"p" * 5000, result=b"r" * 5000)
        store = self.holding(batch([long, task(2)], history=[event]), batch(removed=[1]))
        self.assertEqual(self.everything(store), [task(2)])
        self.assertEqual(store.history(1), [])
        self.assertEqual(store.payloads([1]), {})

    # --- find ---

    @examples
    @given(lives(), st.lists(narrow_filters | filters, min_size=1, max_size=12), st.integers(1, 4))
    def test_findEqualsBruteForce(
        self, batches: list[Batch], wanted: list[Filter], limit: int
    ) -> None:
        """Page after page, in both directions, until there is no more."""
        store = self.makeStore()
        store.open()
        try:
            for each in batches:
                store.commit(each)
            rows = list(after(batches).values())
            for filter in wanted:
                expected = [bare(row) for row in brute_force(rows, filter)]
                for descending in (False, True):
                    pages = self.pages(store, filter, limit, descending)
                    self.assertEqual(pages, expected[::-1] if descending else expected)
        finally:
            store.close()

    def pages(self, store: IStore, filter: Filter, limit: int, descending: bool) -> list[TaskRow]:
        """All matches, fetched page by page."""
        found: list[TaskRow] = []
        position = None
        while page := store.find(filter, Page(limit, position, descending)):
            self.assertLessEqual(len(page), limit)
            found += page
            position = page[-1].seq
        return found

    def test_errorTextIsNoPattern(self) -> None:
        texts = ("100% sure", "100 sure", "a_b", "aXb", "Timeout", "back\\slash", "ÄRGER", None)
        store = self.holding(batch([task(n, error=text) for n, text in enumerate(texts, 1)]))

        def found(text: str) -> list[int]:
            page = Page(descending=False)
            return [row.seq for row in store.find(Filter(error_contains=text), page)]

        self.assertEqual(found("0% s"), [1])
        self.assertEqual(found("A_B"), [3])
        self.assertEqual(found("timeOUT"), [5])
        self.assertEqual(found("\\"), [6])
        self.assertEqual(found("Ärger"), [7])
        self.assertEqual(found("ärger"), [])  # the case of ASCII letters only
        self.assertEqual(found(""), [1, 2, 3, 4, 5, 6, 7])

    def test_rangesAreHalfOpen(self) -> None:
        """What a range ends with is not in it, what it begins with is."""
        rows = [task(n, priority=n, submitted_at=NOW + n, ended_at=NOW + n) for n in (1, 2, 3)]
        store = self.holding(batch(rows))
        for name, base in (("priority", 0), ("submitted", NOW), ("ended", NOW)):
            with self.subTest(name=name):
                bounds = {f"{name}_from": base + 2, f"{name}_to": base + 3}
                found = store.find(Filter(**bounds), Page())
                self.assertEqual([row.seq for row in found], [2])

    def test_findWithinAWindow(self) -> None:
        """What a page begins with is not on it, what it ends with is."""
        store = self.holding(batch([task(n) for n in range(1, 8)]))
        for first, descending, until, wanted in (
            (6, True, 3, [5, 4, 3]),
            (None, True, 6, [7, 6]),
            (2, False, 5, [3, 4, 5]),
            (None, False, 2, [1, 2]),
            (3, True, 3, []),
            (2, True, -100, [1]),
            (6, False, 100, [7]),
        ):
            page = Page(100, first, descending, until)
            self.assertEqual([row.seq for row in store.find(Filter(), page)], wanted, page)
        self.assertEqual(len(store.find(Filter(), Page(2, 7, True, 1))), 2)

    def test_findNothing(self) -> None:
        store = self.holding(batch([task(1)]))
        self.assertEqual(store.find(Filter(states=[]), Page()), [])
        self.assertEqual(store.find(Filter(), Page(limit=0)), [])

    # --- sweep ---

    def test_sweepStopsAtItsLimitOldestFirst(self) -> None:
        ended = [task(n, state=5, ended_at=NOW - n) for n in range(1, 8)]
        store = self.holding(batch(ended))
        swept = store.sweep({State.COMPLETED: NOW - 1}, 4)
        self.assertEqual(swept, {("default", "send_email", State.COMPLETED): 4})
        self.assertEqual([row.seq for row in self.everything(store)], [1, 2, 3])
        self.assertEqual(store.sweep({State.COMPLETED: NOW - 1}, 0), {})

    def test_sweepKeepsWhatItMust(self) -> None:
        """Live tasks, other states, the moment itself, and ends without a moment."""
        rows = [
            task(1, ended_at=NOW - 9),
            task(2, state=6, ended_at=NOW - 9),
            task(3, state=5, ended_at=NOW),
            task(4, state=5, ended_at=None),
            task(5, state=5, ended_at=NOW - 0.001, payload=b"p" * 5000),
        ]
        event = HistoryRow(5, NOW, "failed", 1, None, None, None)
        store = self.holding(batch(rows, history=[event]))
        swept = store.sweep({State.COMPLETED: NOW, State.CANCELLED: NOW}, 100)
        self.assertEqual(swept, {("default", "send_email", State.COMPLETED): 1})
        self.assertEqual(self.everything(store), rows[:4])
        self.assertEqual(store.history(5), [])

    def test_sweepSharesItsLimitBetweenStates(self) -> None:
        rows = [task(n, state=5 + n % 4, ended_at=NOW) for n in range(1, 21)]
        store = self.holding(batch(rows))
        swept = store.sweep(dict.fromkeys(ENDED_STATES, NOW + 1), 8)
        self.assertEqual(sum(swept.values()), 8)
        self.assertEqual(store.recover().ended, counted(self.everything(store)))
        self.assertEqual(len(self.everything(store)), 12)

    def test_sweepOfLiveTasksIsRefused(self) -> None:
        store = self.holding(batch([task(1, ended_at=NOW - 1)]))
        with self.assertRaisesRegex(ValueError, "pending have not ended"):
            store.sweep({State.PENDING: NOW}, 10)

    def test_sweepKeepsOpenWindows(self) -> None:
        """A key that is held for a time keeps its row until then; other keys keep none."""
        ended = {"state": 5, "ended_at": NOW - 9}
        rows = [
            task(1, unique=Unique("a", Until.WINDOW, NOW), **ended),
            task(2, unique=Unique("b", Until.WINDOW, NOW - 0.5), **ended),
            task(3, unique=Unique("c", Until.SUCCESS, NOW + 9), **ended),
            task(4, unique=Unique("d", Until.START), **ended),
        ]
        store = self.holding(batch(rows))
        store.sweep({State.COMPLETED: NOW}, 100)
        self.assertEqual(self.everything(store), rows[:1])

    # --- unique keys ---

    def test_openWindows(self) -> None:
        """Of ended tasks, those that hold their keys beyond the moment."""
        ended = {"state": 8, "ended_at": NOW}
        window = Unique("k1", Until.WINDOW, NOW + 5)
        rows = [
            task(1, unique=window, **ended),
            task(2, unique=window),
            task(3, unique=Unique("k3", Until.SUCCESS, NOW + 5), **ended),
            task(4, **ended),
            task(5, unique=window._replace(key="k5", ends_at=NOW + 6), **ended),
        ]
        store = self.reopened(self.holding(batch(rows)))
        first = OpenWindow(1, "task-1", State.EXPIRED, window)
        last = OpenWindow(5, "task-5", State.EXPIRED, window._replace(key="k5", ends_at=NOW + 6))
        self.assertEqual(store.open_windows(NOW), [first, last])
        self.assertEqual(store.open_windows(NOW + 5), [last])
        self.assertEqual(store.open_windows(NOW + 6), [])

    def test_keysSurviveChanges(self) -> None:
        """A change, and a task written anew as a whole, leave the key as it was."""
        row = task(1, unique=Unique("k", Until.START, NOW + 1))
        store = self.holding(batch([row]), batch(updates=[update(row, attempt=1)]))
        self.assertEqual(self.everything(store), [row._replace(attempt=1)])
        store.commit(batch([row._replace(attempt=2)]))
        self.assertEqual(self.everything(self.reopened(store)), [row._replace(attempt=2)])

    # --- periodic tasks ---

    def test_periodics(self) -> None:
        """Every field, by name; replaced as a whole; forgotten."""
        store = self.holding(batch(periodics=[HOURLY, NIGHTLY]))
        self.assertEqual(self.reopened(store).recover().periodics, [HOURLY, NIGHTLY])
        moved = HOURLY._replace(next_at=NOW + 9, ticked_at=NOW, last_task="x", fired=1)
        store.commit(batch(periodics=[moved], dropped=["nightly", "never was"]))
        self.assertEqual(self.reopened(store).recover().periodics, [moved])

    def test_aTickAndItsTaskAreStoredTogether(self) -> None:
        """What cannot be stored whole is not stored at all."""
        store = self.holding(batch([task(1)], periodics=[HOURLY]))
        moved = HOURLY._replace(next_at=NOW + 9)
        if isinstance(store, SQLiteStore):
            bad = batch([task(1, id="another")], periodics=[moved])
            with self.assertRaises(StoreError):
                store.commit(bad)
            self.assertEqual(store.recover().periodics, [HOURLY])
        store.commit(batch([task(2)], periodics=[moved]))
        store.commit(batch([task(2)], periodics=[moved]))
        self.assertEqual(store.recover().periodics, [moved])
        self.assertEqual(len(self.everything(store)), 2)

    # --- backup, size, open and close ---

    def test_backupIsAStore(self) -> None:
        """A backup, put into a data directory, is a store with the same content."""
        event = HistoryRow(7, NOW, "failed", 1, None, None, None)
        ended = task(9, state=5, payload=b"p" * 3000, result=b"r" * 3000)
        store = self.holding(
            batch(
                [EVERY_FIELD, ended],
                history=[event],
                queues=[QueueRow("a", True, None, None)],
                periodics=[NIGHTLY],
                token_ceiling=77,
                next_seq=15,
            )
        )
        directory = self.mktemp()
        os.mkdir(directory)
        path = os.path.join(directory, "taskqueue.db")
        size = store.backup(path)
        self.assertEqual(size, os.path.getsize(path))
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        copy = SQLiteStore(directory, check_on_start="full")
        copy.open()
        self.addCleanup(copy.close)
        self.assertEqual(self.everything(copy), self.everything(store))
        self.assertEqual(copy.history(7), [event])
        self.assertEqual(list(copy.recover().tasks), list(store.recover().tasks))
        self.assertEqual(copy.recover()[1:], store.recover()[1:])

    def test_backupOverwritesNothing(self) -> None:
        store = self.holding(batch([task(1)]))
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("precious")
        with self.assertRaisesRegex(StoreFailed, "exists already"):
            store.backup(path)
        with open(path) as file:
            self.assertEqual(file.read(), "precious")

    def test_backupAfterAnInterruptedOne(self) -> None:
        store = self.holding(batch([task(1)]))
        path = self.mktemp()
        with open(path + ".partial", "w") as file:
            file.write("torn")
        self.assertGreater(store.backup(path), 0)
        self.assertFalse(os.path.exists(path + ".partial"))

    def test_backupIntoNowhere(self) -> None:
        store = self.holding(batch([task(1)]))
        with self.assertRaisesRegex(StoreFailed, "No such file or directory"):
            store.backup(os.path.join(self.mktemp(), "missing", "x.db"))

    def test_sizeGrows(self) -> None:
        store = self.opened()
        before = store.size()
        store.commit(batch([task(1, payload=bytes(100_000))]))
        self.assertGreaterEqual(store.size(), before + 100_000)

    def test_openAndCloseTwice(self) -> None:
        store = self.opened()
        store.open()
        store.commit(batch([task(1)]))
        store.close()
        store.close()
        store.open()
        self.assertEqual(self.everything(store), [task(1)])

    def test_closedStoreSaysSo(self) -> None:
        store = self.makeStore()
        for use in (
            store.recover,
            lambda: store.commit(batch([task(1)])),
            lambda: store.records(["x"]),
            lambda: store.payloads([1]),
            lambda: store.history(1),
            lambda: store.open_windows(0.0),
            lambda: store.find(Filter(), Page()),
            lambda: store.sweep({}, 1),
            store.checkpoint,
            lambda: store.backup(self.mktemp()),
        ):
            with self.assertRaisesRegex(StoreFailed, "not open"):
                use()
