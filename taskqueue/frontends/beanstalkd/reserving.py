"""
reserve: jobs are handed out, now or when there are some.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from taskqueue.access.permissions import Action
from taskqueue.core.delivery import Delivery
from taskqueue.core.rows import TaskRow
from taskqueue.core.task import FIRST_ENDED, State
from taskqueue.core.waiting import Claim
from taskqueue.errors import ShuttingDown, TaskQueueError, UnknownTask
from taskqueue.frontends.beanstalkd.commands import Command
from taskqueue.frontends.beanstalkd.mapping import STATE_NAMES
from taskqueue.frontends.beanstalkd.replies import DEADLINE_SOON, NOT_FOUND, TIMED_OUT
from taskqueue.operations.authorization import forbidden

if TYPE_CHECKING:
    from taskqueue.frontends.beanstalkd.session import Session

#: Before a reservation ends, for so long nobody who holds it is made to wait, seconds.
SAFETY_MARGIN_S = 1.0

#: So many reserves in a row are carried out in one go.
MOST_AT_ONCE = 1000


def reserve(session: Session, command: Command) -> None:
    """Carry out a reserve."""
    session.reserved_some = True
    if session.reserving is None:
        session.reserving = Reserving(session)
    try:
        session.reserving.begin(command.number)
    except ShuttingDown:
        session.replies.add(TIMED_OUT)


def reserve_many(session: Session, waiting: deque[Command]) -> None:
    """
    Carry out the reserves that come first in C{waiting}: they are one claim for as many jobs.
    One that has to wait is the last.
    """
    session.reserved_some = True
    wanted = 0
    for command in waiting:
        if command.verb != "reserve" or wanted == MOST_AT_ONCE:
            break
        wanted += 1
    taking = _Taking(session, waiting, wanted)
    try:
        taking.begin()
    except ShuttingDown:
        _next(session, waiting)
        session.replies.add(TIMED_OUT)
    except TaskQueueError as error:
        _next(session, waiting)
        session.replies.refuse(error)


def _next(session: Session, waiting: deque[Command]) -> Command:
    """Take the next reserve, and count it."""
    command = waiting.popleft()
    session.beanstalkd.commands[command.counted] += 1
    return command


def _claim(session: Session, limit: int) -> Claim:
    queues = session.queues
    if not queues:
        raise forbidden(session, Action.CLAIM, session.watched.tubes[0].name)
    max_bytes = session.service.config.limits.max_frame_bytes // 2
    return Claim(session.holder, queues, None, limit, max_bytes=max_bytes, by_priority=True)


def reserve_job(session: Session, command: Command) -> None:
    """Carry out a reserve-job."""
    number = command.number
    task = session.find_now(number)
    if task is not None and task.state < FIRST_ENDED:
        _reserve_one(session, task.id, task.queue)
    else:
        session.ask_for(number, lambda row: _reserved_row(session, row))


def _reserve_one(session: Session, task_id: str, queue: str) -> None:
    """Reserve a job that is known."""
    if not session.may(Action.CLAIM, queue):
        session.replies.add(NOT_FOUND)
        return
    session.reply_later(_reserving_one(session, task_id))


def _reserved_row(session: Session, row: TaskRow) -> bytes | Deferred[bytes]:
    """Reserve a job that the store knows."""
    if State(row.state) not in STATE_NAMES or not session.may(Action.CLAIM, row.queue):
        return NOT_FOUND
    return _reserving_one(session, row.id)


def _reserving_one(session: Session, task_id: str) -> Deferred[bytes]:
    claim = Claim(session.holder, (), None, 1)

    def told(delivery: Delivery | None) -> bytes:
        if delivery is None:
            return NOT_FOUND
        session.reserved_some = True
        return _reserved(session, delivery)

    def not_reserved(failure: Failure) -> bytes:
        failure.trap(UnknownTask)
        return NOT_FOUND

    return session.service.claim_task(task_id, claim).addCallback(told).addErrback(not_reserved)


class _Taking:
    """
    Reserves that are being carried out; told what they get, where that is not known at once.
    """

    def __init__(self, session: Session, waiting: deque[Command], wanted: int) -> None:
        self._session = session
        self._waiting = waiting
        self._wanted = wanted
        self._known = False
        self._paused = False

    def begin(self) -> None:
        """
        @raises TaskQueueError: nothing can be claimed.
        """
        session = self._session
        found = session.service.take(_claim(session, self._wanted), 0.0, self)
        if found is not None:
            self._found(found)
        elif not self._known:  # their payloads are being read from the store
            self._paused = True
            session.begin_to_wait()

    def callback(self, result: list[Delivery]) -> None:
        """These are the jobs."""
        self._known = True
        if self._session.open:
            self._found(result)
            self._go_on()

    def errback(self, fail: Exception) -> None:
        """They cannot be read."""
        self._known = True
        if self._session.open:
            _next(self._session, self._waiting)
            self._session.replies.refuse(fail)
            self._go_on()

    def _go_on(self) -> None:
        """Let the connection hand on what follows, if it waits for this."""
        if self._paused:
            self._session.unanswered -= 1
            self._session.go_on()

    def _found(self, deliveries: Sequence[Delivery]) -> None:
        session, waiting = self._session, self._waiting
        for delivery in deliveries:
            _next(session, waiting)
            session.replies.add(_reserved(session, delivery))
        if deliveries and len(deliveries) < self._wanted:
            return  # there may be more, which did not fit into one claim
        for _ in range(self._wanted - len(deliveries)):
            command = _next(session, waiting)
            try:
                reserve(session, command)
            except TaskQueueError as error:
                session.replies.refuse(error)
            if session.waiting:
                break


def _reserved(session: Session, delivery: Delivery) -> bytes:
    body = delivery.payload
    return b"RESERVED %d %d\r\n%b\r\n" % (session.reserved(delivery), len(body), body)


def soonest_end(session: Session) -> float:
    """The monotonic moment at which the first of its reservations ends."""
    return session.ends.of(session.holder.leases)


def is_deadline_soon(session: Session) -> bool:
    """Whether a reservation ends so soon that its holder must not be made to wait."""
    if not session.holder.leases:
        return False
    return soonest_end(session) - SAFETY_MARGIN_S <= session.service.moments().mono


class Reserving:
    """
    Carries out a session's reserves for one job, which may have to wait: for a job, for their
    time, or for the end of an earlier reservation.  There is one at a time.
    """

    __slots__ = ("_claim", "_heard", "_margin", "_session", "_taking")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._claim: Claim | None = None
        self._margin: IDelayedCall | None = None
        self._taking = False
        #: What it was told while it was taking.
        self._heard: Sequence[Delivery] | Exception | None = None

    def begin(self, number: int) -> None:
        """
        Reply now, or wait.

        @param number: for how many seconds it may wait, below 0 for as long as it takes.
        @raises TaskQueueError: nothing can be claimed.
        """
        session = self._session
        claim = self._claim
        if claim is None or claim.queues is not session.queues:
            claim = self._claim = _claim(session, 1)
        wait_s = 0.0
        if number and not session.connection.heard_all and not is_deadline_soon(session):
            wait_s = inf if number < 0 else number
        found = self._take(claim, wait_s)
        if found is None:
            session.begin_to_wait()
            session.waiting = True
            self._watch_margin()
        elif found:
            session.replies.add(_reserved(session, found[0]))
        else:
            session.replies.add(DEADLINE_SOON if is_deadline_soon(session) else TIMED_OUT)

    def _take(self, claim: Claim, wait_s: float) -> Sequence[Delivery] | None:
        """What there is now; C{None} where it will be told."""
        self._taking = True
        try:
            found = self._session.service.take(claim, wait_s, self)
        finally:
            self._taking = False
        if found is not None:
            return found
        heard, self._heard = self._heard, None
        if heard is not None:
            self._claim = None  # its payload was read, or could not be: it has done what it can
        if isinstance(heard, Exception):
            raise heard
        return heard

    def _watch_margin(self) -> None:
        """Wait no longer than until a reservation of the same connection ends soon."""
        session = self._session
        if not session.waiting or not session.holder.leases:
            return
        left_s = soonest_end(session) - SAFETY_MARGIN_S - session.service.moments().mono
        if left_s > 0:
            self._margin = session.service.reactor.callLater(left_s, self._margin_reached)
        else:
            self._reply(DEADLINE_SOON)

    def _margin_reached(self) -> None:
        self._margin = None
        self._watch_margin()

    def callback(self, result: Sequence[Delivery]) -> None:
        """These are the jobs: one, or none where the time is over."""
        if self._taking:
            self._heard = result
        elif result:
            self._reply(_reserved(self._session, result[0]))
        else:
            self._reply(TIMED_OUT)

    def errback(self, fail: Exception) -> None:
        """There is none to be had."""
        session = self._session
        if self._taking:
            self._heard = fail
        elif self._over():
            session.unanswered -= 1
            session.replies.refuse(fail)
            session.go_on()

    def _reply(self, reply: bytes) -> None:
        if self._over():
            self._session.end_to_wait(reply)

    def _over(self) -> bool:
        """It waits no longer; whether it did, and there is somebody to be told."""
        session = self._session
        if self._margin is not None:
            self._margin.cancel()
            self._margin = None
        if not session.waiting:
            return False
        session.waiting = False
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.reply = None
            session.service.broker.ledger.claims.remove(claim)
        return session.open
