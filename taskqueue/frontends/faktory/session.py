"""
A session: what one connection has said, holds and waits for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.access.identities import Identity
from taskqueue.core.changes import TaskRow
from taskqueue.core.delivery import Delivery
from taskqueue.core.leases import Holder
from taskqueue.core.ledger import Notice
from taskqueue.core.workers import Worker
from taskqueue.errors import (
    BadFrame,
    BadRequest,
    FatalClientError,
    InternalError,
    Overloaded,
    ShuttingDown,
    StoreError,
    StoreUnavailable,
    TaskQueueError,
)
from taskqueue.frontends.door_session import ForeignSession
from taskqueue.frontends.faktory import resp
from taskqueue.frontends.faktory.arguments import Command, read_command
from taskqueue.frontends.faktory.consuming import ack, beat, fail, fetch
from taskqueue.frontends.faktory.greeting import Challenge, read_hello, read_introduction
from taskqueue.frontends.faktory.mutating import flush, mutate
from taskqueue.frontends.faktory.numbers import info
from taskqueue.frontends.faktory.processes import NAMELESS, Claimer, WorkerProcess, WorkerProcesses
from taskqueue.frontends.faktory.producing import push, push_bulk
from taskqueue.frontends.faktory.queues import queue
from taskqueue.operations.answers import WhenStored
from taskqueue.operations.ownership import owner_of

if TYPE_CHECKING:
    from taskqueue.frontends.faktory.door import FaktoryDoor

Run = Callable[["FaktorySession", Command], Awaitable[bytes]]

#: What the numbers call a command, and what carries it out.
COMMANDS: Mapping[str, tuple[str, Run]] = {
    "PUSH": ("submit_task", push),
    "PUSHB": ("submit_task", push_bulk),
    "FETCH": ("claim_task", fetch),
    "ACK": ("task_result", ack),
    "FAIL": ("task_result", fail),
    "BEAT": ("heartbeat", beat),
    "INFO": ("get_stats", info),
    "QUEUE": ("faktory_queue", queue),
    "MUTATE": ("faktory_mutate", mutate),
    "FLUSH": ("faktory_flush", flush),
}

#: What only a server that is paid for has, and what the one that is not says about it.
ENTERPRISE: Mapping[str, str] = {
    "BATCH": "batch subsystem is only available in Faktory Enterprise",
    "TRACK": "tracking subsystem is only available in Faktory Enterprise",
}


class Peer(Protocol):
    """A connection, as its session sees it."""

    heard_all: bool

    def send_bytes(self, data: bytes) -> None:
        """Send an answer."""

    def wait(self) -> None:
        """Hand on no more commands until the one under way is answered."""

    def go_on(self) -> None:
        """Hand on more commands."""

    def finish(self) -> None:
        """Close after what was sent."""


class FaktorySession(ForeignSession):
    """
    Carries out one command after the other: each is answered before the next one begins.

    @ivar process: the worker process that it is a connection of; C{None} for one that never
        said a wid.
    @ivar claimer: in whose name it fetches, then.
    @ivar challenge: what the client has to prove.
    """

    _log = Logger()

    def __init__(
        self,
        door: FaktoryDoor,
        peer: Peer,
        fatal: Callable[[FatalClientError], None],
        challenge: Challenge,
    ) -> None:
        service = door.service
        super().__init__(service, "faktory", fatal, lambda: service.config.faktory.key)
        self.greeted = False
        self.claims_waiting = 0
        self.process: WorkerProcess | None = None
        self.claimer = Claimer(NAMELESS)
        self._door = door
        self._connection: Peer | None = peer
        self.challenge = challenge
        self._waits: Deferred[Any] | None = None

    # --- as operations see it ---------------------------------------------------------

    @property
    def processes(self) -> WorkerProcesses:
        """All that are connected."""
        return self._door.processes

    @property
    def knows(self) -> FaktoryDoor:
        """The door that it came in by."""
        return self._door

    @property
    def worker(self) -> Worker | None:
        """The worker that it speaks for, as long as that is registered."""
        if self.process is None:
            return None
        return self.service.broker.ledger.workers.find(self.process.wid)

    @property
    def holder(self) -> Holder:
        """In whose name it fetches."""
        return self.worker or self.claimer

    def authenticate(self, key: str | None) -> Identity:
        """Come in as whom this door stands for: its clients have no keys."""
        return self.authenticate_door()

    def introduce(self, client: str) -> None:
        """What introduces a client here is HELLO, which it has said."""

    def become(self, worker: Worker | None) -> None:
        """What speaks for a worker here is its process."""

    def outcomes(self, rows: Sequence[TaskRow]) -> None:
        """It watches no task."""

    def notice(self, notice: Notice) -> None:
        """There are no words for it in its language: it finds out when it reports."""

    def adopt(self, identity: Identity) -> None:
        """It is C{identity}, and may do what that may, from now on."""
        super().adopt(identity)
        self.claimer.owner = owner_of(identity)
        if self.restricted is not None:
            self.withdraw_claims()  # they may be for queues that are not allowed any more

    # --- beginning and end ------------------------------------------------------------

    def meet(self, host: str, peer: str) -> None:
        super().meet(host, peer)
        self.claimer.name = NAMELESS + peer

    def withdraw_claims(self) -> None:
        """A FETCH waits no more: there was nothing."""
        if self._waits is not None:
            self._waits.cancel()

    def close(self) -> None:
        """
        The connection is gone.  What it holds it holds on, as long as each job's reservation runs:
        another connection of the same process may finish it.
        """
        super().close()
        self.withdraw_claims()
        process, self.process = self.process, None
        if process is not None:
            self._door.processes.leave(self, process)
        self._connection = None

    # --- commands ---------------------------------------------------------------------

    def handle(self, line: bytes) -> None:
        """
        Carry out one command; no other one is to be given until it is answered.

        @raises FatalClientError: the connection must end.
        """
        command = read_command(line)
        if not self.greeted:
            self._carry_out(self._hello, command)
        elif command.verb == "END":
            if self._connection is not None:
                self._connection.finish()
        else:
            self._door.commands += 1
            self._carry_out(self._run, command)

    def _carry_out(self, run: Callable[[Command], Awaitable[bytes]], command: Command) -> None:
        self.unanswered += 1
        answering = Deferred.fromCoroutine(self._answer(run, command))
        if not answering.called and self._connection is not None:
            self._connection.wait()
        answering.addErrback(self._broken)

    async def _answer(self, run: Callable[[Command], Awaitable[bytes]], command: Command) -> None:
        try:
            answer = await run(command)
        except FatalClientError as error:
            self.unanswered -= 1
            self._fatal(error)
            return
        except Exception as error:
            answer = self._refusal(error)
        self.unanswered -= 1
        if self._connection is not None:
            self._connection.send_bytes(answer)
        if self._connection is not None:
            self._connection.go_on()

    def _broken(self, failure: Failure) -> None:
        self._log.failure("the connection of {peer} failed", failure, peer=self.peer)
        self._fatal(Overloaded("the broker failed unexpectedly; its log says why"))

    def _refusal(self, error: Exception) -> bytes:
        """Whatever went wrong, as an answer; only what nobody foresaw is logged."""
        if isinstance(error, StoreError):
            known: TaskQueueError = TaskQueueError(f"the store failed: {error}")
        elif isinstance(error, TaskQueueError):
            known = error
        else:
            self._log.failure("a command of {peer} failed", Failure(error), peer=self.peer)
            known = InternalError("internal error")
        self.service.traffic.nacks[known.code] += 1
        return resp.error(known.message)

    async def _run(self, command: Command) -> bytes:
        found = COMMANDS.get(command.verb)
        if found is None:
            problem = ENTERPRISE.get(command.verb, f"unknown command {command.verb}")
            raise BadRequest(problem)
        name, run = found
        self.service.traffic.requests[name] += 1
        return await run(self, command)

    async def _hello(self, command: Command) -> bytes:
        """
        HELLO.

        @raises FatalClientError: the client may not come in, or introduces itself in a wrong way.
        """
        said = read_hello(command)
        self.service.traffic.requests["hello"] += 1
        try:
            self._door.check_password(self.challenge, said, self.host)
            introduction = read_introduction(said)
            self.authenticate_door()
            if introduction is not None:
                self.process = await self.processes.enter(self, introduction)
        except FatalClientError:
            raise
        except (ShuttingDown, StoreUnavailable) as error:
            raise Overloaded(error.message) from None
        except TaskQueueError as error:
            raise BadFrame(error.message) from None
        self.greeted = True
        return resp.OK

    # --- waiting ----------------------------------------------------------------------

    async def settled(self, answer: WhenStored | Deferred[Any]) -> Any:
        """What an operation found, which it tells as C{found}, when it is stored."""
        if isinstance(answer, WhenStored):
            answer = self.service.journal.barrier(answer.header)
        header: dict[str, Any] = await answer
        return header["found"]

    async def claim(self, holder: Holder, queues: Sequence[str], wait_s: float) -> Delivery | None:
        """Claim one task, waiting for it as long as somebody is there to hear of it."""
        connection = self._connection
        if connection is None or connection.heard_all:
            wait_s = 0.0
        found: list[Delivery] | None = await self._while_there(
            self.service.claim(holder, queues, wait_s=wait_s)
        )
        return found[0] if found else None

    async def pause(self, seconds: float) -> None:
        """Wait, as long as somebody is there."""
        await self._while_there(deferLater(self.service.reactor, seconds))

    async def _while_there(self, waited: Deferred[Any]) -> Any:
        self._waits = waited
        self.claims_waiting += 1
        try:
            return await waited
        except CancelledError:
            return None
        finally:
            self._waits = None
            self.claims_waiting -= 1
