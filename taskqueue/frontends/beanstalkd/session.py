"""
A session: what one connection uses, watches, holds and waits for.

Commands are carried out one after another.  One that waits (for a job, or for the store) stops
what comes after it on the same connection: the connection hands on no more until it is replied to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from taskqueue.access.identities import Identity
from taskqueue.access.permissions import Action
from taskqueue.core.delivery import Delivery
from taskqueue.core.leases import Holder, Lease
from taskqueue.core.ledger import Notice
from taskqueue.core.rows import TaskRow
from taskqueue.core.task import FIRST_ENDED, State, Task
from taskqueue.frontends.beanstalkd.margins import SoonestEnd
from taskqueue.frontends.beanstalkd.replies import NOT_FOUND, Replies
from taskqueue.frontends.beanstalkd.reserving import Reserving
from taskqueue.frontends.beanstalkd.tubes import DEFAULT_TUBE, Tube, Tubes, WatchList
from taskqueue.frontends.door_session import ForeignSession
from taskqueue.operations.authorization import may
from taskqueue.operations.ownership import owner_of

if TYPE_CHECKING:
    from taskqueue.frontends.beanstalkd.connection import BeanstalkdConnection
    from taskqueue.frontends.beanstalkd.door import BeanstalkdDoor

#: Why parsing is paused while a command waits for its reply.
WAITS = "a command waits for its reply"


#: How the names of those begin who have reserved jobs.
HOLDER = "beanstalkd client "

#: So many reservations that are over are not worth being forgotten.
_FEW = 64

#: Why parsing is paused when much was replied: until that was sent, and others had their turn.
RESTS = "much was replied"

#: After so many bytes of long replies, about.  A read of a few thousand commands would otherwise
#: become as many jobs of up to 1 GiB each, in one turn of the reactor.
MOST_LONG_BYTES = 64 * 1024

#: Why parsing is paused when somebody has quit.
QUITS = "nothing more is to be said"


class Session(ForeignSession):
    """
    What somebody at the door of beanstalkd's protocol has said, holds and waits for.

    @ivar holder: in whose name jobs are reserved.
    @ivar ends: finds the first of its reservations that ends.
    @ivar beanstalkd: the door that it has come in by.
    @ivar came_in: it is known who it is.
    @ivar tube: what it puts into.
    @ivar watched: what it reserves from.
    @ivar replies: what it is told.
    @ivar put_some: it has put a job.
    @ivar reserved_some: it has reserved, or tried to.
    @ivar reserving: carries out its reserves, once there are any.
    @ivar waiting: a reserve of it waits for a job.
    """

    def __init__(self, door: BeanstalkdDoor, connection: BeanstalkdConnection) -> None:
        service = door.service
        super().__init__(
            service,
            connection.factory.language,
            connection.end,
            lambda: service.config.beanstalkd.key,
        )
        self.beanstalkd = door
        self.connection = connection
        self.holder = Holder("")
        self.ends = SoonestEnd()
        self.holder.link = self
        self.tube: Tube = door.tubes.use(DEFAULT_TUBE)
        self.watched = WatchList(door.tubes.watch(DEFAULT_TUBE))
        self.replies = Replies(lambda: service.journal, self._send)
        self.came_in = False
        self._quits = False
        self._rest: IDelayedCall | None = None
        self._rests_until_sent = False
        self.put_some = self.reserved_some = False
        self.reserving: Reserving | None = None
        self.waiting = False
        self._held: dict[int, Lease] = {}
        self._queues: tuple[str, ...] | None = None
        door.sessions.add(self)

    # --- who it is ------------------------------------------------------------------

    def meet(self, host: str, peer: str) -> None:
        super().meet(host, peer)
        self.holder.name = self.replies.peer = f"{HOLDER}{peer}"
        self.beanstalkd.counted_connections += 1

    def come_in(self) -> None:
        """
        It says something for the first time.

        @raises Unauthenticated: nobody may come in at this door.
        """
        self.authenticate_door()
        self.came_in = True

    def adopt(self, identity: Identity) -> None:
        super().adopt(identity)
        self.holder.owner = owner_of(identity)
        self._queues = None
        if self.restricted is not None:
            self.withdraw_claims()  # they may be for tubes that are not allowed any more

    def may(self, action: Action, tube: str) -> bool:
        """Whether it may do something with the jobs of a tube."""
        return self.restricted is None or may(self, action, tube)

    @property
    def tubes(self) -> Tubes:
        """All tubes, whoever refers to them."""
        return self.beanstalkd.tubes

    # --- what it refers to ------------------------------------------------------------

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues of the tubes that it watches, as far as it may."""
        if self._queues is None:
            names = [tube.name for tube in self.watched.tubes]
            self._queues = tuple(name for name in names if self.may(Action.CLAIM, name))
        return self._queues

    def watch_changed(self) -> None:
        """It watches other tubes than before."""
        self._queues = None

    def find_now(self, number: int) -> Task | None:
        """The task with a number, as far as that can be told without asking the store."""
        lease = self.lease(number)
        return self.service.numbered_now(number) if lease is None else lease.task

    def reserved(self, delivery: Delivery) -> int:
        """It has reserved a job; returns the job's number."""
        lease = self.holder.leases[delivery.lease]
        number = lease.task.seq
        self._held[number] = lease
        return number

    def lease(self, number: int) -> Lease | None:
        """Its reservation of a job; C{None} where it has none, or not any more."""
        lease = self._held.get(number)
        if lease is not None and lease.is_over:
            del self._held[number]
            return None
        return lease

    # --- what it is told --------------------------------------------------------------

    def _send(self, count: int, data: bytes) -> None:
        self.unanswered -= count
        self.connection.send_bytes(data)
        if self.replies:
            return
        if self._quits:
            self.connection.finish()
        elif self._rests_until_sent:
            self._rests_until_sent = False
            self.connection.resume_parsing(RESTS)

    def give(self) -> None:
        """Send what was replied, as soon as it may be."""
        held = self.replies.give()
        if held:
            self.unanswered += held
            self.connection.pause_if_full()
            self.rest_if_long()

    def rest_if_long(self) -> None:
        """Hand on no more for now where the replies are long."""
        if self.replies.long_bytes > MOST_LONG_BYTES:
            self.replies.long_bytes = 0
            self.connection.pause_parsing(RESTS, reading=True)
            if self._rest is None:
                self._rest = self.service.reactor.callLater(0, self._rested)
            self.give()

    def _rested(self) -> None:
        """Others have had their turn."""
        self._rest = None
        if self.replies:
            self._rests_until_sent = True
        else:
            self.connection.resume_parsing(RESTS)

    def quit(self) -> None:
        """It wants no more: close, when it has been told all that is still to be told."""
        self.give()
        if self.replies:
            self._quits = True
            self.connection.pause_parsing(QUITS, reading=True)
        else:
            self.connection.finish()

    def begin_to_wait(self) -> None:
        """A command waits for its reply: what comes after it is not looked at."""
        self.give()
        self.unanswered += 1
        self.connection.pause_parsing(WAITS, reading=True)

    def end_to_wait(self, reply: bytes, *, promise: bool = False) -> None:
        """This is what the command that waits is replied."""
        if not self.open:
            return
        self.unanswered -= 1
        if promise:
            self.replies.promise((reply,))
        else:
            self.replies.add(reply)
        self.go_on()

    def go_on(self) -> None:
        """Send what was replied, and look at what comes after it."""
        self.give()
        self.connection.resume_parsing(WAITS)

    def reply_later(self, reply: Deferred[bytes], *, promise: bool = False) -> None:
        """
        Reply to a command when it is known what.

        @param promise: what is replied says that something was done.
        """
        self.begin_to_wait()

        def told(found: bytes) -> None:
            self.end_to_wait(found, promise=promise)

        reply.addCallback(told).addErrback(self._not_found_out)

    def ask_for(
        self,
        number: int,
        act: Callable[[TaskRow], bytes | Deferred[bytes]],
        *,
        promise: bool = False,
    ) -> None:
        """
        Reply to a command on a job that may be known to the store only.

        @param act: carries it out on the job, as it durably stands; returns the reply.
        """
        task = self.find_now(number)
        gone = task is not None and FIRST_ENDED <= task.state is not State.DEAD_LETTER
        if gone or number >= self.next_number:
            self.replies.add(NOT_FOUND)
            return

        def told(row: TaskRow | None) -> bytes | Deferred[bytes]:
            return NOT_FOUND if row is None else act(row)

        self.reply_later(self.service.find_numbered(number).addCallback(told), promise=promise)

    @property
    def next_number(self) -> int:
        """The number of the next job: none has it yet, nor a larger one."""
        return self.service.broker.ledger.next_seq

    def _not_found_out(self, failure: Failure) -> None:
        if self.open:
            self.unanswered -= 1
            error = failure.value
            self.replies.refuse(error if isinstance(error, Exception) else RuntimeError(str(error)))
            self.go_on()

    def notice(self, notice: Notice) -> None:
        """Something happened to a reservation: nobody is told of it in this protocol."""
        if notice.kind == "lease_lost":
            self.beanstalkd.timeouts += 1
            self._forget_over()

    def _forget_over(self) -> None:
        """Forget reservations that are over where they outnumber the others."""
        held = self._held
        if len(held) > 2 * len(self.holder.leases) + _FEW:
            self._held = {number: one for number, one in held.items() if not one.is_over}

    # --- its end ----------------------------------------------------------------------

    def withdraw_claims(self) -> None:
        if self.holder.claims:
            self.service.broker.ledger.withdraw_claims(self.holder)
            self.service.after(self.service.moments())

    def close(self) -> None:
        if not self.open:
            return
        super().close()
        self.replies.close()
        if self._rest is not None:
            self._rest.cancel()
        door = self.beanstalkd
        door.sessions.discard(self)
        for tube in self.watched.tubes:
            door.tubes.stop_watching(tube)
        door.tubes.stop_using(self.tube)
        self.service.holder_gone(self.holder)
        self.holder.link = None
