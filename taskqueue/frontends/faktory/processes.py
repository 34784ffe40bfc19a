"""
Worker processes: each speaks over several connections under one name, its wid.

A process is a worker of the registry, so it is seen wherever workers are, and can be told to be
quiet or to terminate.  What it fetches it holds as reservations: however long it lives, each
runs for as long as the job says, whichever of its connections is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from twisted.python.failure import Failure

from taskqueue.core.changes import TaskRow
from taskqueue.core.leases import Holder, Lease
from taskqueue.core.ledger import Notice
from taskqueue.core.workers import ORDERS, Registration, Worker
from taskqueue.errors import BadRequest, TaskQueueError
from taskqueue.operations.ownership import check_registration, take_over
from taskqueue.operations.work import MOST_QUEUES

if TYPE_CHECKING:
    from taskqueue.frontends.faktory.session import FaktorySession
    from taskqueue.service import TaskQueueService

#: After how long without a BEAT a process counts as gone, seconds: as for Faktory's server.
SILENT_S = 60.0

#: What those are called that fetch without a wid: their address follows.
NAMELESS = "Faktory client at "


class Introduction(NamedTuple):
    """
    What a process says of itself in HELLO.
    """

    wid: str
    host: str | None
    pid: int | None


class Claimer(Holder):
    """Whoever fetches without a wid: one for each connection."""

    __slots__ = ()


class WorkerProcess:
    """
    A process that is connected.

    @ivar door: where it came in.
    @ivar sessions: its connections.
    @ivar order: what it was told to do, or does by itself; C{None}, or one of L{ORDERS}.
    """

    door = "faktory"

    def __init__(self, service: TaskQueueService, said: Introduction) -> None:
        self._service = service
        self.sessions: set[FaktorySession] = set()
        self.order: str | None = None
        self._info = Registration(
            said.wid,
            0,  # a restart finds its leases as nobody's, and not as those of a worker to come back
            (),
            host=said.host,
            pid=said.pid,
            reserves=True,
            stale_after_s=SILENT_S,
        )

    @property
    def wid(self) -> str:
        """Its name."""
        return self._info.id

    async def enter(self, session: FaktorySession) -> Worker:
        """
        Have it in the registry, as a worker of whoever C{session} is.

        @raises WorkerExists: another one is there by this name.
        @raises StaleIncarnation: the same.
        @raises BadRequest: there are too many workers.
        """
        if session.restricted is not None:
            check_registration(session, self.wid, self._info.queues)
        worker = await self._service.register(self._info, self)
        take_over(session, worker)
        await self._pass_on(worker)
        return worker

    async def fetches_from(self, session: FaktorySession, queues: Sequence[str]) -> Worker:
        """
        It fetches from these queues: so they are among those that it serves.

        @raises WorkerExists: as L{enter}, where the registry has forgotten it.
        """
        worker = self._service.broker.ledger.workers.find(self.wid)
        known = self._info.queues
        if worker is not None and worker.link is self and set(queues) <= set(known):
            return worker
        served = tuple(dict.fromkeys((*queues, *known)))[:MOST_QUEUES]
        self._info = self._info._replace(queues=served)
        return await self.enter(session)

    async def beat(
        self, session: FaktorySession, rss_bytes: int | None, state: str | None
    ) -> str | None:
        """
        It lives.

        @param state: what it says that it does: one of L{ORDERS}, C{None} where it just runs.
        @return: what it is to do: one of them, C{None} to go on.
        """
        await self.enter(session)
        worker = await self._service.heartbeat(
            self._info, self, rss_bytes=rss_bytes, in_hand=self._in_hand()
        )
        if state is not None:
            self._follow(state)
            await self._pass_on(worker)
        return self.order

    def _in_hand(self) -> int:
        worker = self._service.broker.ledger.workers.find(self.wid)
        return 0 if worker is None else len(worker.leases)

    async def _pass_on(self, worker: Worker) -> None:
        """An order that either side knows of the other one knows too; nobody goes back."""
        if worker.order is not None:
            self._follow(worker.order)
        if self.order is not None and self.order != worker.order:
            await self._service.order_worker(self.wid, self.order)

    def _follow(self, order: str) -> None:
        if self.order is None or ORDERS.index(order) > ORDERS.index(self.order):
            self.order = order

    def leave(self, session: FaktorySession) -> bool:
        """
        A connection of it is gone.  One that holds nothing has said all that it has to say with
        the last one; any other may come back.

        @return: whether it was the last one.
        """
        self.sessions.discard(session)
        if self.sessions:
            return False
        worker = self._service.broker.ledger.workers.find(self.wid)
        if worker is not None and worker.link is self:
            if worker.leases:
                self._service.holder_gone(worker)
            else:
                # That nothing ended with it need not be stored.
                self._service.deregister(self.wid).addErrback(_ignore)
        return True

    def outcomes(self, rows: Sequence[TaskRow]) -> None:
        """It watches no task."""

    def notice(self, notice: Notice) -> None:
        """There are no words for it in its language: it finds out when it reports."""


class WorkerProcesses:
    """The processes that are connected, by wid."""

    def __init__(self, service: TaskQueueService) -> None:
        self._service = service
        self._by_wid: dict[str, WorkerProcess] = {}

    def __len__(self) -> int:
        return len(self._by_wid)

    def find(self, wid: object) -> WorkerProcess | None:
        """The process of this name."""
        return self._by_wid.get(wid) if isinstance(wid, str) else None

    async def enter(self, session: FaktorySession, said: Introduction) -> WorkerProcess:
        """
        A connection introduces itself as one of a process.

        @raises ClientError: as L{WorkerProcess.enter} does.
        """
        process = self._by_wid.get(said.wid) or WorkerProcess(self._service, said)
        await process.enter(session)
        self._by_wid[said.wid] = process
        process.sessions.add(session)
        return process

    def leave(self, session: FaktorySession, process: WorkerProcess) -> None:
        """The connection is gone."""
        if process.leave(session) and self._by_wid.get(process.wid) is process:
            del self._by_wid[process.wid]


def _ignore(failure: Failure) -> None:
    """Nobody waits for an answer."""
    failure.trap(TaskQueueError)


def may_finish(session: FaktorySession, lease: Lease) -> bool:
    """
    Whether a job is the session's to finish: its process has fetched it, on whatever connection,
    before a restart too.

    Who has no wid finishes what it has fetched itself; and what another one without a wid from the
    same address has, as long as the job was never lost: so nobody else can have it.
    """
    holder = lease.holder
    if holder.incarnation:
        return False
    if session.process is not None:
        # A native client that never registered is called by its address, which a wid may be too.
        alike = holder.link is None or isinstance(holder.link, WorkerProcess)
        return alike and holder.name == session.process.wid
    if holder is session.claimer:
        return True
    nameless = isinstance(holder, Claimer) or holder.link is None
    alike = nameless and holder.name.startswith(f"{NAMELESS}{session.host}:")
    return alike and not lease.task.losses


def state_of(value: object) -> str | None:
    """
    What a process says that it does, in BEAT.

    @return: one of L{ORDERS}, C{None} where it runs.
    @raises BadRequest: it is something else.
    """
    if value is None or value == "" or value == "running":
        return None
    if value not in ORDERS:
        raise BadRequest("invalid BEAT: current_state is quiet or terminate")
    return str(value)
