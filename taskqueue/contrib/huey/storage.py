"""
What huey stores, at the broker: tasks as tasks, and everything else as values.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Unpack

from huey.constants import EmptyData
from huey.storage import BaseStorage

from taskqueue.client.addresses import DEFAULT_ADDRESS
from taskqueue.client.all_calls import AllCalls
from taskqueue.client.messages import Delivery, Report
from taskqueue.client.options import ClientOptions
from taskqueue.contrib.claiming import BlockingWorker
from taskqueue.contrib.connecting import Connecting
from taskqueue.contrib.huey.schedule import Schedule, seconds_until
from taskqueue.contrib.huey.table import Table, text_of
from taskqueue.contrib.huey.waiting import payloads_of, waiting_in
from taskqueue.contrib.naming import priority_at, queue_name, type_name
from taskqueue.core.task import State
from taskqueue.errors import BadRequest

Key = str | bytes

#: The type of tasks of which nothing but bytes is known.
_NAMELESS = "huey"

#: The longest error that is kept with a dead letter, characters.
_LONGEST_ERROR = 16_384


class DescribedBytes(bytes):
    """
    A serialized task that says what it is.

    @ivar task_name: for people.
    @ivar priority: as huey has it.
    @ivar eta: the moment before which it is not to be executed.
    """

    task_name = _NAMELESS
    priority: float | None = None
    eta: datetime | None = None

    @classmethod
    def of(
        cls, data: bytes, task_name: str, priority: float | None, eta: datetime | None
    ) -> DescribedBytes:
        """The same bytes, with all that."""
        described = cls(data)
        described.task_name = type_name(task_name)
        described.priority, described.eta = priority, eta
        return described


class TaskqueueStorage(BaseStorage):
    """
    A storage of huey.

    Used by itself, as C{Huey(storage_class=TaskqueueStorage)}, a task is gone when a worker
    has it, as with huey's own storages; L{TaskqueueHuey} does better.

    @cvar blocking: C{dequeue} waits, at the broker.
    @cvar priority: 0 is the usual one, larger ones are more urgent.
    """

    blocking = True
    priority = True

    def __init__(  # type: ignore[misc]  # huey calls the queue what clients call themselves
        self,
        name: str = "huey",
        address: str = DEFAULT_ADDRESS,
        *,
        read_timeout: float = 1.0,
        result_expires_s: float | None = None,
        lease_s: float | None = None,
        utc: bool | None = None,
        **how: Unpack[ClientOptions],
    ) -> None:
        """
        @param name: of the queue; the namespaces of values begin with it.
        @param address: C{tq://host:port}, with TLS C{tqs://host:port}, several of these with
            commas between, or C{unix:/path}.
        @param read_timeout: how long C{dequeue} waits for a task, seconds.
        @param result_expires_s: how long results are kept; C{None}: until they are read.
        @param lease_s: how long a worker may give no sign of life before others get what it
            has; C{None}: as the broker's configuration says.
        @param utc: whether moments are UTC, or else local time; C{None}: unknown, so that
            what is scheduled can only wait for huey's scheduler, and not at the broker.
        @param how: C{timeout_s}, C{tls}, C{api_key}; see L{ClientSettings}.
        @raises BadRequest: one of these cannot be used.
        """
        super().__init__(queue_name(name, "huey's name"))
        if read_timeout < 0:
            raise BadRequest(f"read_timeout is {read_timeout!r}, expected seconds")
        self._connecting = Connecting(address, **{**how, "name": "huey"})
        self._worker = BlockingWorker(self._connecting, "huey")
        self._read_timeout_s = read_timeout
        self._result_expires_s = result_expires_s
        self._lease_s = lease_s
        self._utc = utc
        self._results = Table(self._connecting, f"{name}.results")
        self._counters = Table(self._connecting, f"{name}.counters")
        self._schedule = Schedule(Table(self._connecting, f"{name}.schedule"))

    def close(self) -> None:
        """Give back what this process holds, and disconnect; the next call connects again."""
        self._worker.end()
        self._connecting.close()

    # --- the queue ------------------------------------------------------------------------

    def enqueue(self, data: bytes, priority: float | None = None) -> None:
        """
        Enqueue a task; when this returns, the broker will not lose it.

        @raises BadRequest: the broker has no such priority.
        """
        # A task with a moment would come to a worker first, which had to schedule it.
        eta = data.eta if isinstance(data, DescribedBytes) else None
        self._submit(data, priority_at(priority), None if eta is None else self._left_s(eta))

    def _left_s(self, moment: datetime) -> float | None:
        """How long it is until a moment, where that is known and it is ahead."""
        left_s = 0.0 if self._utc is None else seconds_until(moment, self._utc)
        return left_s if left_s > 0 else None

    def _submit(self, data: bytes, priority: int, run_in_s: float | None) -> None:
        kind = data.task_name if isinstance(data, DescribedBytes) else _NAMELESS
        options: dict[str, Any] = {"queue": self.name, "priority": priority, "run_in_s": run_in_s}
        self._connecting.run(lambda calls: calls.submit(kind, bytes(data), **options))

    def dequeue(self) -> bytes | None:
        """The next task, which is gone then; C{None} where none came."""
        delivery = self.take()
        # Without an answer to this one, somebody else has it by now.
        if delivery is not None and self.finish(delivery):
            return delivery.payload
        return None

    def queue_size(self) -> int:
        """How many tasks may be begun."""
        queue = self._connecting.run(lambda calls: calls.queue(self.name))
        return 0 if queue is None else int(queue["states"]["pending"])

    def enqueued_items(self, limit: int | None = None) -> list[bytes]:
        """The tasks that would be dequeued next."""
        tasks = waiting_in(self._connecting, self.name, State.PENDING)
        tasks.sort(key=lambda task: -task["priority"])
        return payloads_of(self._connecting, tasks[:limit])

    def flush_queue(self) -> None:
        """Cancel every task that may be begun."""
        self._cancel(State.PENDING)

    def _cancel(self, state: State) -> None:
        while tasks := waiting_in(self._connecting, self.name, state):
            ids = [task["id"] for task in tasks]
            for first in range(0, len(ids), 1000):
                some = ids[first : first + 1000]
                self._connecting.run(partial(_cancel, some))

    # --- deliveries -----------------------------------------------------------------------

    def take(self) -> Delivery | None:
        """The next task, which is held until one of the following is called."""
        got = self._worker.claim([self.name], 1, self._read_timeout_s, self._lease_s)
        return got[0] if got else None

    def finish(self, delivery: Delivery) -> bool:
        """The task has ended; whether it was still held."""
        return self._worker.settle(Report(delivery.id, delivery.lease, State.COMPLETED))

    def bury(self, delivery: Delivery, error: str) -> None:
        """The task cannot be executed: it is a dead letter, for people to see."""
        report = Report(
            *(delivery.id, delivery.lease, State.FAILED),
            error=error[:_LONGEST_ERROR],
            permanent=True,
        )
        self._worker.settle(report)

    def give_back(self, delivery: Delivery) -> None:
        """Let others have the task."""
        self._worker.release([delivery.holding])

    # --- the schedule ---------------------------------------------------------------------

    def add_to_schedule(self, data: bytes, ts: datetime) -> None:
        """
        Execute a task at a moment.

        Where it is known what C{ts} means, a task waits at the broker, and is in the queue in
        time; what is due already, or cannot be compared with a clock, waits for C{read_schedule}.
        """
        left_s = self._left_s(ts)
        if left_s is None:
            self._schedule.add(data, ts)
        else:
            priority = data.priority if isinstance(data, DescribedBytes) else None
            self._submit(data, priority_at(priority), left_s)

    def read_schedule(self, ts: datetime) -> list[bytes]:
        """What is due and does not come into the queue by itself; it is gone then."""
        return self._schedule.take_due(ts)

    def schedule_size(self) -> int:
        """How many tasks wait for their moment."""
        at_broker = waiting_in(self._connecting, self.name, State.SCHEDULED)
        return self._schedule.size() + len(at_broker)

    def scheduled_items(self, limit: int | None = None) -> list[bytes]:
        """Tasks that wait for their moment, soonest first."""
        tasks = waiting_in(self._connecting, self.name, State.SCHEDULED)
        tasks.sort(key=lambda task: task["run_at"])
        due = self._schedule.items(limit)
        return (due + payloads_of(self._connecting, tasks[:limit]))[:limit]

    def flush_schedule(self) -> None:
        """Forget what waits for its moment."""
        self._schedule.flush()
        self._cancel(State.SCHEDULED)

    # --- results, locks and revocations ---------------------------------------------------

    def put_data(self, key: Key, value: bytes, is_result: bool = False) -> None:
        """Store a value, a result for C{result_expires_s} at the longest."""
        self._results.put(key, value, self._result_expires_s if is_result else None)

    def peek_data(self, key: Key) -> Any:
        """The value of a key, or C{EmptyData}."""
        value = self._results.get(key)
        return EmptyData if value is None else value

    def peek_many(self, keys: Sequence[Key]) -> dict[Key, bytes]:
        """The values of those keys that have one."""
        found = self._results.get_many(keys)
        return {key: found[text_of(key)] for key in keys if text_of(key) in found}

    def pop_data(self, key: Key) -> Any:
        """The value of a key, which is gone then, or C{EmptyData}."""
        value = self._results.take(key)
        return EmptyData if value is None else value

    def wait_result(
        self,
        key: Key,
        timeout: float | None = None,
        backoff: float = 1.15,
        max_delay: float = 1.0,
    ) -> bool:
        """Whether a key has a value within C{timeout} seconds; nobody polls for it."""
        return self._results.wait(key, float("inf") if timeout is None else timeout)

    def delete_data(self, key: Key) -> bool:
        """Delete a key; whether it was there."""
        return self._results.delete(key)

    def has_data_for_key(self, key: Key) -> bool:
        """Whether a key has a value."""
        return self._results.get(key) is not None

    def put_if_empty(self, key: Key, value: bytes, ttl: float | None = None) -> bool:
        """Store a value where there is none, for C{ttl} seconds; whether it was done."""
        return self._results.put(key, value, ttl, only_if="absent")

    def result_store_size(self) -> int:
        """How many keys have a value."""
        return len(self._results.items())

    def result_items(self) -> dict[str, bytes]:
        """All keys and their values."""
        return dict(self._results.items())

    def flush_results(self) -> None:
        """Delete all keys."""
        self._results.flush()

    # --- counters -------------------------------------------------------------------------

    def incr(self, key: Key, amount: int = 1) -> int:
        """Add to a counter, which begins at 0; its new value."""
        return self._counters.increase(key, amount)

    def delete_counter(self, key: Key) -> None:
        """Let a counter begin anew."""
        self._counters.delete(key)

    def flush_counters(self) -> None:
        """Let all counters begin anew."""
        self._counters.flush()


async def _cancel(tasks: Sequence[str], calls: AllCalls) -> None:
    """One that was begun meanwhile is left alone."""
    await calls.cancel(tasks)
