"""
A model of the whole: any order of commands, failing commits and crashes.

Hypothesis draws the steps; after each one the books are recounted, and what the
store would give a new broker is compared with what this one knew when it last
stored something.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core import ledger as ledger_module
from taskqueue.core.audit import audit
from taskqueue.core.changes import Batch, QueueRow, TaskRow, ValueRow, row_of
from taskqueue.core.delivery import Delivery
from taskqueue.core.intake import Accepted, Submission
from taskqueue.core.leases import Holder
from taskqueue.core.ledger import Ledger
from taskqueue.core.moments import Now
from taskqueue.core.periodic import CATCH_UP, Periodic, PeriodicRow
from taskqueue.core.policy import Policy, QueuePolicy
from taskqueue.core.task import FIRST_ENDED, UNLESS_SET, State, Task, TaskOptions, Until
from taskqueue.core.unique import KeyHolder, holds
from taskqueue.core.value_desk import Put
from taskqueue.core.waiting import Claim
from taskqueue.errors import (
    ClientError,
    Conflict,
    LeaseLost,
    QueueFull,
    StoreUnavailable,
    UnknownTask,
)
from taskqueue.ids import NUMBERED, number_of
from taskqueue.store import Filter, MemoryStore, Page
from tests.core.world import World

POLICY = Policy(
    default=QueuePolicy(max_retries=1, max_lost=1),
    depth_threshold=25,
    max_held_bytes=60,
    recent_ended=3,
)
IDS = [f"t{number}" for number in range(8)]
OPTIONS = [
    TaskOptions(),
    TaskOptions(on_dependency_failure="run"),
    TaskOptions(max_retries=0, max_lost=0),
    TaskOptions(lease_s=5.0, retry_delay_s=1.0),
    TaskOptions(max_retries=UNLESS_SET, max_lost=UNLESS_SET),
]

ids = st.sampled_from(IDS)
queues = st.sampled_from(["q1", "q2"])
some_queues = st.sampled_from([("q1",), ("q2", "q1"), ("q1", "q2")])
some_types = st.sampled_from([None, frozenset("a"), frozenset("ab"), frozenset("bcd")])
numbers = st.integers(0, 1000)
holders = st.integers(0, 4)
new_priorities = st.sampled_from([None, None, 0, 2, -7])
offsets = st.sampled_from([None, None, 3.0, 20.0])


def submission(
    task_type: str,
    payload: bytes,
    queue: str,
    priority: int,
    task_id: str | None,
    run_in: float | None,
    expires_in: float | None,
    options: TaskOptions,
    depends_on: tuple[str, ...],
    unique: tuple[Any, ...],
) -> Submission:
    """As a producer would send it, but for moments that are still distances."""
    return Submission(
        task_type,
        payload,
        queue,
        priority,
        task_id,
        run_in,
        None if expires_in is None else expires_in + (run_in or 0.0),
        options,
        None,
        depends_on,
        *unique,
    )


submissions = st.builds(
    submission,
    st.sampled_from("abc"),
    st.sampled_from([b"", b"x", b"yyyy"]),
    queues,
    st.sampled_from([0, 1, 2, -(2**32)]),
    st.none() | ids | st.just(NUMBERED),
    offsets,
    offsets,
    st.sampled_from(OPTIONS),
    st.just(()) | st.lists(ids, max_size=2).map(tuple),
    st.just(())
    | st.tuples(
        st.sampled_from(["k1", "k2", "k3"]),
        st.sampled_from(list(Until)),
        st.sampled_from([20.0, 4.0, 200.0]),
    )
    | st.tuples(st.sampled_from(["k1", "k2", "k3"]), st.sampled_from([Until.SUCCESS, Until.START])),
)


class Picture(NamedTuple):
    """All of a ledger that must survive a crash."""

    tasks: list[TaskRow]
    ended: dict[tuple[str, str, State], int]
    queues: list[QueueRow]
    next_seq: int
    periodics: dict[str, PeriodicRow]
    values: set[ValueRow]
    keys: dict[str, KeyHolder]


def picture(ledger: Ledger) -> Picture:
    lanes = [lane for queue in ledger.queues.values() for lane in queue.lanes.values()]
    set_on = [
        QueueRow(queue.name, queue.paused, queue.resume_at, queue.max_depth)
        for queue in ledger.queues.values()
    ]
    return Picture(
        sorted(row_of(task) for task in ledger.tasks.values()),
        {
            (lane.queue.name, lane.type, state): lane.counts[state]
            for lane in lanes
            for state in State
            if state >= FIRST_ENDED and lane.counts[state]
        },
        sorted(row for row in set_on if row[1:] != (False, None, None)),
        ledger.next_seq,
        dict(ledger.periodics),
        set(ledger.values.everything()),
        dict(ledger.keys.holders),
    )


class Group(NamedTuple):
    """What is on its way into the store, and what depends on its arrival."""

    batch: Batch
    ended: list[Task]
    picture: Picture
    replies: list[tuple[int, State]]
    revived: list[int]


class BrokerMachine(RuleBasedStateMachine):
    """A service around the core: it stores, answers when that is done, and may crash."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.store.open()
        self.world = World(POLICY, reserve=False)
        self.highest_token = 0
        self.set_back = False
        self.deliveries: list[Delivery] = []
        self.rows: list[TaskRow] = []
        self.told: dict[int, list[State]] = {}
        self.revivals: Counter[int] = Counter()
        self.stored = picture(self.world.ledger)
        self.lifeless()
        self.start()

    @property
    def ledger(self) -> Ledger:
        return self.world.ledger

    @property
    def now(self) -> Now:
        return self.world.now

    def lifeless(self) -> None:
        """Forget what only lives in a process."""
        self.group: Group | None = None
        self.replies: list[tuple[int, State]] = []
        self.revived: list[int] = []
        self.claimers = [Holder("h0"), Holder("h1")]
        self.incarnations = [1, 1, 1]

    def start(self) -> None:
        """Ask for tokens, as the service does before it listens."""
        try:
            self.ledger.tokens_left()
        except StoreUnavailable:
            self.commit_all()
        assert self.ledger.tokens_left() > 0

    # --- the service's part -------------------------------------------------------

    def reply(self, task_id: str, state: State) -> None:
        """What a client will be told about a task, once it is stored."""
        task = self.ledger.find(task_id)
        assert task is not None and task.state is state
        self.replies.append((task.seq, state))

    def drain(self) -> Group:
        if self.group is None:
            self.group = Group(
                *self.world.drain(), picture(self.ledger), self.replies, self.revived
            )
            self.replies, self.revived = [], []
        return self.group

    def commit(self) -> None:
        group, self.group = self.drain(), None
        seqs = [row.seq for row in (*group.batch.inserts, *group.batch.updates)]
        assert len(set(seqs)) == len(seqs), "each task is written once"
        self.store.commit(group.batch)
        self.stored = group.picture
        self.check_store(group)
        if group.batch.token_ceiling is not None:
            self.ledger.tokens_reserved(group.batch.token_ceiling)
        self.revivals.update(group.revived)
        for task in group.ended:
            told = self.told.setdefault(task.seq, [])
            told.append(task.state)
            assert len(told) <= 1 + self.revivals[task.seq], (task, told)
        self.ledger.forget_stored(group.ended, prune=True)

    def check_store(self, group: Group) -> None:
        """What was stored is all there, and what will be answered now is true."""
        recovery = self.store.recover()
        found = list(recovery.tasks)
        assert found == self.stored.tasks, difference(found, self.stored.tasks)
        assert recovery.ended == self.stored.ended
        assert recovery.next_seq == self.stored.next_seq
        assert {row.definition.name: row for row in recovery.periodics} == self.stored.periodics
        assert set(self.store.key_values()) == self.stored.values
        changed = {*group.batch.removed, *self.ledger.forgotten, *group.revived}
        rows = {row.seq: row for row in self.everything()} if group.replies else {}
        for seq, state in group.replies:
            if seq not in changed:
                row = rows[seq]
                assert state < FIRST_ENDED or row.state == state, (row, state)
        for row in found:
            self.check_budgets(row)

    def everything(self) -> list[TaskRow]:
        """Every task in the store, ended ones too, without payloads."""
        return self.store.find(Filter(), Page(limit=10**6))

    def check_budgets(self, row: TaskRow) -> None:
        """Failures and losses are those that the history tells, and within their budgets."""
        events = [event.event for event in self.store.history(row.seq)]
        if "revived" in events:
            events = events[len(events) - events[::-1].index("revived") :]
        assert row.failures == events.count("failed"), (row, events)
        assert row.losses == events.count("lost"), (row, events)
        retries, losses = row.options.max_retries, row.options.max_lost
        assert row.failures <= POLICY.default.bound("max_retries", retries)
        assert row.losses <= POLICY.default.bound("max_lost", losses)

    def commit_all(self) -> None:
        while self.group is not None or self.ledger.changes:
            self.commit()

    def serve(self) -> None:
        """What the service does after every command."""
        given_out = self.ledger.next_token
        served = self.world.broker.desk.serve(self.now)
        given_out = self.ledger.next_token - given_out
        assert given_out == sum(len(deliveries) for _, deliveries in served), "none gets lost"
        for claim, deliveries in served:
            assert deliveries
            assert len(deliveries) <= claim.limit
            assert not self.ledger.claims.remove(claim), "it waits no longer"
            self.check_deliveries(claim, deliveries)
        for claim in self.ledger.withdrawn:
            assert not self.ledger.claims.remove(claim)
        self.ledger.withdrawn.clear()
        self.ledger.notices.clear()

    def check_deliveries(self, claim: Claim, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            assert delivery.lease > self.highest_token, "tokens grow for ever"
            self.highest_token = delivery.lease
            assert delivery.queue in claim.queues
            assert claim.types is None or delivery.type in claim.types
            lease = self.ledger.leases.by_token[delivery.lease]
            assert lease.holder is claim.holder
            assert lease.ends_at > self.now.mono
        self.deliveries += deliveries

    def holder(self, index: int) -> Holder:
        """Two unregistered claimers, three workers (which are registered at need)."""
        if index < 2:
            return self.claimers[index]
        name = f"w{index}"
        incarnation = self.incarnations[index - 2]
        return self.world.beat(name, incarnation)

    def delivery(self, number: int) -> Delivery | None:
        """One of the deliveries ever made, the newest ones more often."""
        if not self.deliveries:
            return None
        return self.deliveries[-1 - min(number % 7, number % len(self.deliveries))]

    def say(self, delivery: Delivery, command: Callable[[], object]) -> None:
        """
        A worker says something about a delivery.  With the current token it is
        heard; with another one the task is untouched.
        """
        lease = self.ledger.leases.by_token.get(delivery.lease)
        valid = lease is not None and lease.task.id == delivery.id
        task = self.ledger.find(delivery.id)
        before = None if task is None else row_of(task)
        held = list(self.ledger.leases.by_token)
        try:
            command()
        except LeaseLost:
            assert not valid
        except Conflict:
            assert valid
            assert task is not None and not task.cancel_requested
        if not valid:
            assert list(self.ledger.leases.by_token) == held
            assert task is None or row_of(task) == before
        self.serve()

    def known_id(self, task_id: str, items: list[Submission]) -> str:
        """An id to depend on: seldom an unknown one."""
        number = IDS.index(task_id)
        live = list(self.ledger.tasks)
        if not live or number == 7 or any(item.id == task_id for item in items):
            return task_id
        return live[number % min(3, len(live))]

    # --- submitting -----------------------------------------------------------------

    @rule(items=st.lists(submissions, min_size=1, max_size=4))
    def submit(self, items: list[Submission]) -> None:
        wall = self.world.wall
        items = [
            item._replace(
                run_at=None if item.run_at is None else wall + item.run_at,
                expires_at=None if item.expires_at is None else wall + item.expires_at,
                depends_on=tuple(self.known_id(d, items) for d in item.depends_on),
            )
            for item in items
        ]
        if self.ledger.changes._removed or (self.group and self.group.batch.removed):
            self.commit_all()  # else the store still has what is deleted
        intake = self.world.broker.intake
        rows = self.store.records(intake.unknown_ids(items))
        stored = {row.id: State(row.state) for row in rows}
        assert all(state >= FIRST_ENDED for state in stored.values())
        answers = intake.submit(items, self.now, stored)
        assert len(answers) == len(items)
        for item, answer in zip(items, answers, strict=True):
            if not isinstance(answer, Accepted):
                assert isinstance(answer, ClientError)
                continue
            made = number_of(answer.id) is not None and not answer.existing
            assert made is (item.id == NUMBERED and not answer.existing)
            assert made or item.id in (None, answer.id) or (answer.existing and item.unique)
            assert item.unique is None or answer.existing or self.is_alone(item.unique)
            if self.ledger.find(answer.id) is not None:
                self.reply(answer.id, self.world.state(answer.id))
            else:
                assert answer.existing
                assert answer.id in stored or answer.id in self.keepers()
        self.serve()

    def keepers(self) -> set[str]:
        """Ids of the tasks that hold keys."""
        return {holder.id for holder in self.ledger.keys.holders.values()}

    def is_alone(self, key: str) -> bool:
        """Whether one task at most holds C{key}, by the words of all, stored or in memory."""
        rows = {row.seq: row for row in self.everything()}
        rows |= {task.seq: row_of(task) for task in self.ledger.ended.values()}
        rows |= {task.seq: row_of(task) for task in self.ledger.tasks.values()}
        holding = [
            row.id
            for row in rows.values()
            if row.unique is not None
            and row.unique.key == key
            and row.seq not in self.ledger.forgotten
            and holds(row, self.now.wall)
        ]
        return self.set_back or len(holding) <= 1

    @initialize(count=st.integers(1, 6), start=numbers)
    def fill(self, count: int, start: int) -> None:
        """Something to begin with, else most runs would be over before anything happens."""
        for number in range(start, start + count):
            self.submit(
                [
                    Submission(
                        "abc"[number % 3],
                        b"x",
                        "q1" if number % 4 else "q2",
                        number % 3,
                        IDS[number % len(IDS)] if number % 2 else None,
                        options=OPTIONS[number % len(OPTIONS)],
                    )
                ]
            )

    # --- claiming -------------------------------------------------------------------

    def expected(self, claim: Claim) -> list[str] | None:
        """What a claim must get, found by sorting; C{None} where expiry interferes."""
        found: list[Task] = []
        for name in claim.queues:
            queue = self.ledger.queues.get(name)
            if queue is None or queue.paused:
                continue
            ready = [
                task
                for task in self.ledger.tasks.values()
                if task.state is State.PENDING
                and task.queue == name
                and (claim.types is None or task.type in claim.types)
            ]
            if any(t.expires_at is not None and t.expires_at <= self.now.wall for t in ready):
                return None
            ready.sort(key=lambda task: (-task.priority, task.seq))
            found += ready
        if claim.by_priority:
            found.sort(key=lambda task: (-task.priority, task.seq))
        return [task.id for task in found][: claim.limit]

    @rule(
        index=holders,
        names=some_queues,
        types=some_types,
        limit=st.integers(1, 4),
        lease_s=st.sampled_from([None, 5.0, 60.0]),
        by_priority=st.booleans(),
    )
    def claim(
        self,
        index: int,
        names: tuple[str, ...],
        types: frozenset[str] | None,
        limit: int,
        lease_s: float | None,
        by_priority: bool = False,
    ) -> None:
        claim = Claim(self.holder(index), names, types, limit, lease_s, by_priority=by_priority)
        expected = self.expected(claim)
        try:
            left = self.ledger.tokens_left()
            deliveries = self.world.broker.desk.claim(claim, self.now)
        except StoreUnavailable:
            assert self.ledger.next_token == self.ledger.token_ceiling
            return
        if expected is not None:
            assert [delivery.id for delivery in deliveries] == expected[:left]
        self.check_deliveries(claim, deliveries)
        self.serve()

    @rule(
        index=holders,
        names=some_queues,
        types=some_types,
        limit=st.integers(1, 3),
        by_priority=st.booleans(),
    )
    def wait(
        self,
        index: int,
        names: tuple[str, ...],
        types: frozenset[str] | None,
        limit: int,
        by_priority: bool,
    ) -> None:
        """A long poll: it waits only where there was nothing."""
        until = self.now.mono + 30
        claim = Claim(self.holder(index), names, types, limit, None, until, None, by_priority)
        try:
            deliveries = self.world.broker.desk.claim(claim, self.now)
        except StoreUnavailable:
            return
        if deliveries:
            self.check_deliveries(claim, deliveries)
        else:
            self.ledger.claims.add(claim)
        self.serve()

    @rule(index=holders, limit=st.integers(1, 4), fate=numbers)
    def work(self, index: int, limit: int, fate: int) -> None:
        """Claim whatever there is, and do with each delivery one of the usual things."""
        known = len(self.deliveries)
        self.claim(index, ("q1", "q2"), None, limit, None)
        for delivery in self.deliveries[known:]:
            if fate % 4 == 0:
                self.say(delivery, lambda d=delivery: self.world.fail(d))  # type: ignore[misc]
            elif fate % 4 == 1:
                self.say(delivery, lambda d=delivery: self.world.complete(d))  # type: ignore[misc]
            fate //= 3

    @rule(seconds=st.sampled_from([5.0, 31.0]))
    def lose(self, seconds: float) -> None:
        """Nobody says anything about what was claimed, and time passes."""
        self.world.tick(seconds)
        self.serve()

    # --- what workers say -------------------------------------------------------------

    @rule(number=numbers)
    def complete(self, number: int) -> None:
        if (delivery := self.delivery(number)) is not None:
            self.say(delivery, lambda: self.reply(delivery.id, self.world.complete(delivery, b"r")))

    @rule(
        number=numbers,
        permanent=st.booleans(),
        error=st.sampled_from([None, "x"]),
        again=st.booleans(),
    )
    def fail(self, number: int, permanent: bool, error: str | None, again: bool) -> None:
        if (delivery := self.delivery(number)) is None:
            return
        self.say(delivery, lambda: self.world.fail(delivery, error, permanent=permanent))
        if again:
            self.say(delivery, lambda: self.world.fail(delivery, error, permanent=permanent))

    @rule(number=numbers, other=numbers)
    def confuse(self, number: int, other: int) -> None:
        """Two tokens of one worker are mixed up."""
        first, second = self.delivery(number), self.delivery(other)
        if first is not None and second is not None:
            mixed = first._replace(lease=second.lease)
            self.say(mixed, lambda: self.world.complete(mixed))

    @rule(number=numbers)
    def yield_to_cancel(self, number: int) -> None:
        if (delivery := self.delivery(number)) is not None:
            self.say(delivery, lambda: self.world.report(delivery, State.CANCELLED))

    @rule(number=numbers, delay_s=st.sampled_from([0.0, 4.0]), priority=new_priorities)
    def release(self, number: int, delay_s: float, priority: int | None) -> None:
        if (delivery := self.delivery(number)) is None:
            return
        task_id, token = delivery.id, delivery.lease
        release = self.world.broker.desk.release
        self.say(delivery, lambda: release(task_id, token, delay_s, self.now, priority))

    @rule(number=numbers, priority=new_priorities)
    def bury(self, number: int, priority: int | None) -> None:
        if (delivery := self.delivery(number)) is None:
            return
        task_id, token = delivery.id, delivery.lease
        bury = self.world.broker.desk.bury
        self.say(delivery, lambda: self.reply(task_id, bury(task_id, token, self.now, priority)))

    @rule(number=numbers, lease_s=st.sampled_from([None, 2.0, 90.0]))
    def extend(self, number: int, lease_s: float | None) -> None:
        if (delivery := self.delivery(number)) is not None:
            extend = self.world.broker.desk.extend
            self.say(delivery, lambda: extend(delivery.id, delivery.lease, lease_s, self.now))

    # --- workers ------------------------------------------------------------------------

    @rule(index=st.integers(2, 4))
    def heartbeat(self, index: int) -> None:
        worker = self.holder(index)
        for lease in worker.leases.values():
            assert lease.ends_at >= self.now.mono + lease.lease_s
        self.serve()

    @rule(index=st.integers(2, 4))
    def new_incarnation(self, index: int) -> None:
        self.incarnations[index - 2] += 1
        assert not self.holder(index).leases
        self.serve()

    @rule(index=holders)
    def disconnect(self, index: int) -> None:
        holder = self.holder(index)
        self.world.broker.upkeep.connection_lost(holder, self.now)
        assert index >= 2 or not holder.leases
        assert all(claim.holder is not holder for claim in self.ledger.claims)
        self.serve()

    @rule(index=st.integers(2, 4))
    def deregister(self, index: int) -> None:
        worker = self.ledger.workers.find(f"w{index}")
        if worker is not None:
            self.world.broker.control.strike(worker, "deregistered", self.now)
            assert not worker.leases
            assert all(claim.holder is not worker for claim in self.ledger.claims)
            self.serve()

    # --- control ------------------------------------------------------------------------

    def some_id(self, number: int) -> str:
        """The id of a live task, if there is one; of an ended or unknown one now and then."""
        live = list(self.ledger.tasks)
        return live[number % len(live)] if live and number % 8 else IDS[number % len(IDS)]

    @rule(number=numbers, running=st.booleans())
    def cancel(self, number: int, running: bool) -> None:
        task_id = self.some_id(number)
        try:
            state = self.world.cancel(task_id, running)
        except (Conflict, UnknownTask):
            return
        assert state is State.CANCELLED or running
        self.reply(task_id, state)
        self.serve()

    @rule(name=queues, for_s=st.sampled_from([None, 10.0, 1.0, 5.0]))
    def pause(self, name: str, for_s: float | None) -> None:
        self.world.broker.control.pause(name, self.now, for_s)
        self.serve()

    @rule(name=queues)
    def resume(self, name: str) -> None:
        if name in self.ledger.queues:
            self.world.broker.control.resume(name)
            self.serve()

    @rule(name=queues, depth=st.sampled_from([None, None, 0, 3]))
    def bound(self, name: str, depth: int | None) -> None:
        self.world.broker.control.bound(name, depth)
        self.serve()

    @rule(name=queues, limit=st.sampled_from([1, 1, 2, 100]))
    def purge(self, name: str, limit: int) -> None:
        queue = self.ledger.queues.get(name)
        if queue is not None:
            depth = queue.depth
            cancelled, left = self.world.broker.control.purge(name, limit, self.now)
            assert left == queue.depth
            assert cancelled <= min(limit, depth)
            self.serve()

    def row(self, number: int) -> TaskRow | None:
        """
        A task as the store has it, or had it a while ago: as in the service, where
        others act between reading and acting.  Only where memory knows nothing of
        it, and so cannot tell that it changed, it must be as stored now.
        """
        self.commit_all()  # as the service does before it reads
        ended = [row for row in self.everything() if row.state >= FIRST_ENDED]
        dead = [row for row in ended if row.state == State.DEAD_LETTER]
        choice = dead if dead and number % 4 else ended
        if choice:
            self.rows.append(choice[number % len(choice)])
        if not self.rows:
            return None
        row = self.rows[-1 - (number % 5 == 0) * (number % len(self.rows))]
        payload = self.store.payloads([row.seq]).get(row.seq)
        if self.ledger.find(row.id) is None and row.seq not in self.ledger.forgotten:
            [row] = [known for known in self.everything() if known.seq == row.seq] or [None]
        return None if row is None else row._replace(payload=payload)

    @rule(number=numbers, max_retries=st.sampled_from([None, 0, 2]))
    def revive(self, number: int, max_retries: int | None) -> None:
        row = self.row(number)
        if row is None:
            return
        try:
            state = self.world.broker.control.revive(row, self.now, max_retries)
        except (Conflict, UnknownTask):
            return
        assert state in (State.PENDING, State.BLOCKED)
        self.revived.append(row.seq)
        self.serve()

    @rule(number=numbers, name=queues, limit=st.integers(1, 3), one=st.booleans())
    def run_now(self, number: int, name: str, limit: int, one: bool) -> None:
        """What waits for its time: one task, or the first of a queue."""
        kicks = self.world.broker.kicks
        waiting = [
            task
            for task in self.ledger.tasks.values()
            if task.state in (State.SCHEDULED, State.FAILED)
        ]
        if one:
            chosen = waiting[number % len(waiting)].id if waiting else self.some_id(number)
            try:
                self.reply(chosen, self.world.broker.control.run_now(chosen, self.now))
            except (Conflict, UnknownTask):
                assert not waiting
        else:
            mine = [task for task in waiting if task.queue == name]
            mine.sort(key=lambda task: (self.ledger.delayed._moments[task.seq], task.seq))
            assert kicks.run_soonest_now(name, limit, self.now) == len(mine[:limit])
            for place, task in enumerate(mine):
                assert (task.state is State.PENDING) is (place < limit)
        self.serve()

    @rule(index=holders, number=numbers)
    def claim_one(self, index: int, number: int) -> None:
        """One task is claimed, whatever stands before it, unless it is one that cannot be."""
        claim = Claim(self.holder(index), ("q1", "q2"), None, 1)
        task_id = self.some_id(number)
        task = self.ledger.tasks.get(task_id)
        claimable = (State.PENDING, State.SCHEDULED, State.FAILED)
        wanted = task is not None and task.state in claimable
        try:
            deliveries = self.world.broker.desk.claim_task(task_id, claim, self.now)
        except StoreUnavailable:
            assert self.ledger.next_token == self.ledger.token_ceiling
            return
        assert wanted or not deliveries
        if wanted and not deliveries:
            assert self.ledger.ended[task_id].state is State.EXPIRED
        self.check_deliveries(claim, deliveries)
        self.serve()

    @rule(number=numbers)
    def kill(self, number: int) -> None:
        """A task that waits is made a dead letter."""
        task_id = self.some_id(number)
        try:
            state = self.world.broker.control.kill(task_id, self.now)
        except (Conflict, UnknownTask):
            return
        assert state is State.DEAD_LETTER
        self.reply(task_id, state)
        self.serve()

    @rule(name=queues, limit=st.integers(1, 3))
    def kick(self, name: str, limit: int) -> None:
        """The dead letters of a queue, those first that have been so longest."""
        self.commit_all()
        rows = self.store.dead_letters(name, limit)
        dead = [row for row in self.everything() if row.state == State.DEAD_LETTER]
        dead = [row for row in dead if row.queue == name]
        assert rows == sorted(dead, key=lambda row: (row.ended_at, row.seq))[:limit]
        payloads = self.store.payloads([row.seq for row in rows])
        whole = [row._replace(payload=payloads[row.seq]) for row in rows]
        revived = self.world.broker.kicks.revive_all(whole, self.now)
        assert revived == [row.seq for row in rows if row.id in self.ledger.tasks]
        self.revived += revived
        self.serve()

    @rule(number=numbers)
    def delete(self, number: int) -> None:
        row = self.row(number)
        if row is None:
            return
        try:
            self.world.broker.control.delete(row)
        except (Conflict, UnknownTask):
            return
        self.serve()

    # --- values -----------------------------------------------------------------------------

    @rule(
        key=st.sampled_from("ab"),
        value=st.sampled_from([b"1", b"xyz"]),
        expires_in=offsets,
        only_if=st.sampled_from([None, None, "absent", "present"]),
    )
    def put_value(
        self, key: str, value: bytes, expires_in: float | None, only_if: str | None
    ) -> None:
        """Its version is above those of all others, and above all places in line."""
        expires_at = None if expires_in is None else self.world.wall + expires_in
        newest = max((row.version for row in self.ledger.values.everything()), default=0)
        known = self.ledger.values.find("n", key, self.world.wall)
        put = Put("n", key, value, expires_at, only_if)
        version = self.world.broker.values.put(put, self.now)
        holds = only_if is None or (only_if == "present") is (known is not None)
        assert (version is not None) is holds
        if version is not None:
            assert version > newest
            assert version not in {task.seq for task in self.ledger.tasks.values()}

    @rule(key=st.sampled_from("ab"))
    def take_value(self, key: str) -> None:
        known = self.ledger.values.find("n", key, self.world.wall)
        assert self.world.broker.values.take("n", key, self.now) == known
        assert self.ledger.values.held("n", key) is None or known is None

    @rule()
    def sweep_values(self) -> None:
        self.world.broker.values.expire(self.now)
        wall = self.world.wall
        every = self.ledger.values.everything()
        assert all(row.expires_at is None or row.expires_at > wall for row in every)

    # --- again and again ------------------------------------------------------------------

    @rule(
        name=st.sampled_from(["p1", "p2"]),
        every_s=st.sampled_from([7.0, 30.0]),
        catch_up=st.sampled_from(CATCH_UP),
        overlap=st.booleans(),
    )
    def put_periodic(self, name: str, every_s: float, catch_up: str, overlap: bool) -> None:
        self.world.broker.periodics.put(
            Periodic(
                name,
                "a",
                every_s=every_s,
                catch_up=catch_up,
                catch_up_window_s=40.0,
                overlap=overlap,
                queue="q1",
                payload=b"x",
            ),
            self.now,
        )

    @rule(name=st.sampled_from(["p1", "p2"]), paused=st.booleans())
    def pause_periodic(self, name: str, paused: bool) -> None:
        if name in self.ledger.periodics:
            self.world.broker.periodics.pause(name, paused, self.now)

    @rule(name=st.sampled_from(["p1", "p2"]))
    def trigger_periodic(self, name: str) -> None:
        if name in self.ledger.periodics:
            try:
                task_id = self.world.broker.periodics.trigger(name, self.now)
            except (Conflict, QueueFull):
                return
            self.reply(task_id, State.PENDING)
            self.serve()

    # --- time -----------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 1.0, 5.0, 12.0, 31.0, 100.0]), upkeep=st.booleans())
    def time(self, seconds: float, upkeep: bool) -> None:
        if upkeep:
            self.world.tick(seconds)
        else:
            self.world.pass_time(seconds)
        self.serve()

    @rule(seconds=st.sampled_from([-50.0, -5.0, 5.0, 50.0]))
    def jump(self, seconds: float) -> None:
        """The wall clock is set: no lease ends and no worker is evicted by that."""
        upkeep, leases = self.world.broker.upkeep, self.ledger.leases
        upkeep.expire_leases(self.now)
        upkeep.evict_stale(self.now)
        held = dict(leases.by_token)
        self.world.wall += seconds
        self.set_back = self.set_back or seconds < 0
        self.world.tick()
        assert leases.by_token == held
        self.serve()

    # --- storing, and losing everything else --------------------------------------------------

    @rule()
    def store_everything(self) -> None:
        self.commit_all()
        assert self.stored[:-1] == picture(self.ledger)[:-1]

    @rule()
    def store_one_group(self) -> None:
        self.commit()

    @rule()
    def fail_to_store(self) -> None:
        """The group stays as it is, to be sent again; commands go on meanwhile."""
        self.drain()

    @rule()
    def crash(self) -> None:
        old = self.world
        self.world = World(POLICY, reserve=False)
        self.world.wall, self.world.mono, self.world._ids = old.wall, old.mono, old._ids
        self.lifeless()
        self.incarnations = [2, 2, 2]
        self.world.restore(self.store.recover())
        self.world.restore_values(self.store)
        assert audit(self.ledger) == []
        self.world.restore_windows(self.store)
        restored = picture(self.ledger)
        assert restored[:-1] == self.stored[:-1], difference(restored.tasks, self.stored.tasks)
        self.check_keys(restored.keys)
        assert not self.ledger.changes
        self.start()
        for worker in self.ledger.workers:
            self.incarnations[int(worker.name[1:]) - 2] = worker.incarnation

    def check_keys(self, restored: dict[str, KeyHolder]) -> None:
        """Who held a key when something was stored last holds it, unless its time is over."""
        wall = self.world.wall
        held = {
            key: holder.id
            for key, holder in self.stored.keys.items()
            if holder.ends_at is None or holder.ends_at > wall
        }
        found = {key: holder.id for key, holder in restored.items()}
        assert found == held or (self.set_back and held.keys() <= found.keys()), (found, held)

    # --- always -------------------------------------------------------------------------------

    @invariant()
    def books_are_right(self) -> None:
        assert audit(self.ledger) == []

    @invariant()
    def an_end_that_is_not_stored_is_remembered(self) -> None:
        assert all(self.ledger.find(task.id) is not None for task in self.ledger.changes.ended)

    @invariant()
    def those_above_a_priority_are_counted(self) -> None:
        """Whatever has ended in its line, or come back."""
        for queue in self.ledger.queues.values():
            ready = [
                task.priority
                for task in self.ledger.tasks.values()
                if task.state is State.PENDING and task.lane.queue is queue
            ]
            for above in (-(2**32) - 1, -8, 0, 1, 2):
                found = sum(lane.count_above(above) for lane in queue.lanes.values())
                assert found == sum(priority > above for priority in ready)

    @invariant()
    def one_holder_a_key(self) -> None:
        wall = self.now.wall
        for task in self.ledger.tasks.values():
            if task.unique is not None and holds(task, wall) and not self.set_back:
                holder = self.ledger.keys.holder(task.unique.key, wall)
                assert holder is not None and holder.seq == task.seq, (task, holder)

    @invariant()
    def one_valid_token_a_task(self) -> None:
        tasks = Counter(lease.task.id for lease in self.ledger.leases.by_token.values())
        assert not tasks or max(tasks.values()) == 1


def difference(found: list[Any], expected: list[Any]) -> str:
    """What is in one of two lists only."""
    missing = [item for item in expected if item not in found]
    return f"missing: {missing}, unexpected: {[item for item in found if item not in expected]}"


@contextmanager
def few_tokens(case: SynchronousTestCase) -> Iterator[None]:
    """Reserve few tokens at a time, so that running out of them is common."""
    patcher = case.patch(ledger_module, "TOKEN_BLOCK", 8)
    yield
    patcher.restore()


class ModelTests(SynchronousTestCase):
    def test_any_order_of_events(self) -> None:
        with few_tokens(self):
            run_state_machine_as_test(
                BrokerMachine,
                settings=settings(
                    derandomize=True,
                    deadline=None,
                    max_examples=500,
                    stateful_step_count=80,
                    suppress_health_check=list(HealthCheck),
                ),
            )
