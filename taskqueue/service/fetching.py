"""
Payloads that are not in memory are read for claims, and ahead of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.core.broker import Broker
from taskqueue.core.delivery import Delivery
from taskqueue.core.lanes import Lane
from taskqueue.core.moments import Now
from taskqueue.core.paging import completed, page_in, read_ahead
from taskqueue.core.task import Task
from taskqueue.core.waiting import Claim
from taskqueue.errors import LeaseLost, StoreUnavailable

#: Reads the payloads of tasks by C{seq}.
Read = Callable[[Sequence[int]], Deferred[dict[int, bytes]]]

#: What a claimer is told to wait where payloads cannot be read, seconds.
RETRY_AFTER_S = 1.0

_log = Logger()


def fetch(
    broker: Broker, read: Read, claim: Claim, deliveries: list[Delivery]
) -> Deferred[list[Delivery]]:
    """
    Read what a claim's deliveries lack.

    @return: fires with them, but for those whose leases ended meanwhile; fails
        with L{StoreUnavailable} where the payloads cannot be read: the tasks
        have to be given back then.
    """
    absent, claim.absent = claim.absent, {}

    def complete(payloads: dict[int, bytes]) -> list[Delivery]:
        missing = [seq for seq in absent.values() if seq not in payloads]
        if missing:
            raise _unreadable(len(absent), f"it does not have those of {len(missing)}")
        held = broker.ledger.leases.by_token
        return [d for d in completed(deliveries, absent, payloads) if d.lease in held]

    def explain(failure: Failure) -> Failure:
        if failure.check(StoreUnavailable):
            return failure
        return Failure(_unreadable(len(absent), str(failure.value)))

    return read(list(absent.values())).addCallback(complete).addErrback(explain)


def give_back(broker: Broker, deliveries: Sequence[Delivery], now: Now) -> None:
    """Put tasks back that their claimer does not get; no retry is spent."""
    for delivery in deliveries:
        with suppress(LeaseLost):  # it ended meanwhile
            broker.desk.release(delivery.id, delivery.lease, 0.0, now)


def fetch_ahead(broker: Broker, read: Read, deliveries: Sequence[Delivery]) -> None:
    """Read the next payloads of the lanes that C{deliveries} came from, where that is due."""
    ledger = broker.ledger
    for queue, task_type in {(delivery.queue, delivery.type) for delivery in deliveries}:
        lane = ledger.queue(queue).lane(task_type)
        if lane in ledger.reading:
            continue
        tasks = read_ahead(ledger, lane)
        if tasks:
            ledger.reading.add(lane)
            found = read([task.seq for task in tasks])
            found.addCallback(_enter, broker, tasks).addErrback(_could_not)
            found.addBoth(_done, broker, lane)


def _enter(payloads: dict[int, bytes], broker: Broker, tasks: list[Task]) -> None:
    page_in(broker.ledger, tasks, payloads)


def _could_not(failure: Failure) -> None:
    """Whoever claims these tasks reads them, or is told."""
    _log.warn("payloads could not be read ahead: {error}", error=str(failure.value))


def _done(_: object, broker: Broker, lane: Lane) -> None:
    broker.ledger.reading.discard(lane)


def _unreadable(count: int, reason: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"the payloads of {count} tasks could not be read from the store ({reason}): the tasks "
        f"wait again, and no retry is spent",
        retry_after_s=RETRY_AFTER_S,
    )
