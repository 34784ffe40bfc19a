"""
A session: what one connection has said, holds and waits for, whatever language
it speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.access.identities import Identity
from taskqueue.core.changes import TaskRow
from taskqueue.core.leases import Holder
from taskqueue.core.ledger import Notice
from taskqueue.core.workers import Worker
from taskqueue.errors import (
    BadRequest,
    ClientError,
    FatalClientError,
    HelloRequired,
    InternalError,
    StoreError,
    StoreUnavailable,
    TaskQueueError,
    UnknownWorker,
)
from taskqueue.frontends.door_session import DoorSession, say_nothing
from taskqueue.operations.answers import Pending, WhenStored
from taskqueue.operations.authorization import admit
from taskqueue.operations.fields import LARGEST_INTEGER
from taskqueue.operations.needs import NEEDS
from taskqueue.operations.ownership import owner_of
from taskqueue.operations.table import OPERATIONS, Answer, perform
from taskqueue.operations.typed import PREPARE
from taskqueue.operations.typed_events import reply_outcomes
from taskqueue.operations.views import view_error, view_notice, view_outcomes
from taskqueue.operations.visibility import readable
from taskqueue.service import TaskQueueService
from taskqueue.transport.naming import PeerCertificate
from taskqueue.wire import Header, MessageType
from taskqueue.wire.typed import LONGEST_REQUEST_ID, Message, Reply

#: How large a message with several events may grow, about.
MOST_EVENT_BYTES = 1024 * 1024

#: What numbers and logs call a message.
_NAMES = {kind: kind.name.lower() for kind in MessageType}

#: The messages that have no typed reader.
_UNTYPED = ("", None)

#: Sends one message to the peer.
Send = Callable[[MessageType, Message], None]


class Session(DoorSession):
    """
    Turns requests into commands, and what comes of them into answers: the one
    place where errors become NACKs.

    """

    _log = Logger()

    def __init__(
        self,
        service: TaskQueueService,
        peer: str,
        send: Send,
        fatal: Callable[[FatalClientError], None],
        *,
        hello_required: bool,
        typed: bool = False,
        door: str = "",
        certificate: Callable[[], PeerCertificate | None] = lambda: None,
    ) -> None:
        """
        @param typed: whether C{send} takes typed messages.
        @param door: where the peer came in, for the audit log.
        @param certificate: tells whom the peer's certificate names, once there is one.
        """
        super().__init__(service, door, fatal, certificate, peer=peer)
        self._hello_required = hello_required
        self._worker: Worker | None = None
        self.claims_waiting = 0
        self.greeted = not hello_required and service.gate.open
        self._own = Holder(peer)
        self._own.link = self
        self._send = send
        self._view_outcomes: Callable[[Sequence[TaskRow]], Message]
        self._view_outcomes = reply_outcomes if typed else view_outcomes

    def meet(self, host: str, peer: str) -> None:
        super().meet(host, peer)
        self._own.name = peer

    @property
    def worker(self) -> Worker | None:
        """The worker that it speaks for, as long as that is registered."""
        worker = self._worker
        if worker is None or self.service.broker.ledger.workers.find(worker.name) is not worker:
            return None
        return worker

    @property
    def holder(self) -> Holder:
        """
        In whose name it claims.

        @raises UnknownWorker: its worker was struck out meanwhile.
        """
        if self._worker is None:
            return self._own
        worker = self.worker
        if worker is None:
            raise UnknownWorker(
                f"worker {self._worker.name!r} of this connection is registered no more: it was "
                f"evicted, replaced or deregistered; register it again, or send a heartbeat",
                worker=self._worker.name,
            )
        return worker

    @property
    def busy(self) -> bool:
        """Whether its silence is no sign that it is of no more use to anybody."""
        return bool(
            self.unanswered
            or self.worker is not None
            or self._own.leases
            or self.service.watches.is_watching(self)
        )

    def _let_in(self) -> None:
        """
        It asks for something without having said HELLO.

        @raises HelloRequired: it must say that first.
        @raises Unauthenticated: the same, as it must say who it is.
        """
        if self._hello_required:
            raise HelloRequired
        self.authenticate(None)
        self.greeted = True

    def adopt(self, identity: Identity) -> None:
        """It is C{identity}, and may do what that may, from now on."""
        super().adopt(identity)
        self._own.owner = owner_of(identity)
        if self.restricted is not None and self.claims_waiting:
            self.withdraw_claims()  # they may be for queues that are not allowed any more

    def introduce(self, client: str) -> None:
        """Its program said HELLO."""
        self.greeted = True
        if client:
            self._own.name = f"{client} at {self.peer}"

    def become(self, worker: Worker | None) -> None:
        """It speaks for C{worker} from now on."""
        if self.open:
            self._worker = worker
        elif worker is not None:
            self.service.holder_gone(worker)

    def withdraw_claims(self) -> None:
        """Its claims wait no more: they are answered with no tasks; and so with values."""
        ledger = self.service.broker.ledger
        for holder in (self._own, self.worker):
            if holder is not None:
                ledger.withdraw_claims(holder)
        self.service.after(self.service.moments())
        self.service.end_value_waits(self)

    def close(self) -> None:
        super().close()
        self.service.watches.drop(self)
        self.service.end_value_waits(self)
        self.service.holder_gone(self._own)
        worker, self._worker = self._worker, None
        if worker is not None and worker.link is self:
            self.service.holder_gone(worker)
        self._own.link = None
        self._send = say_nothing

    # --- requests -----------------------------------------------------------------

    def handle(self, message_type: MessageType, header: Header) -> None:
        """
        Carry out one request.

        @raises HelloRequired: the peer did not introduce itself first.
        @raises Unauthenticated: the broker does not know who it is.
        """
        request_id = header.pop("id", None)
        if request_id is not None and not _is_request_id(request_id):
            self.refuse(None, BadRequest(_REQUEST_ID, field="id"))
            return
        if not self.greeted and message_type is not MessageType.HELLO:
            self._let_in()
        self.service.traffic.requests[_NAMES[message_type]] += 1
        operation = OPERATIONS.get(message_type)
        if operation is None:
            problem = f"{message_type.name} is sent by the broker only"
            self.refuse(request_id, BadRequest(problem))
            return
        try:
            if operation.need.audited:
                self.service.fair_use.request(self.identity, self.host)
            answer = perform(self, message_type, operation, header)
        except FatalClientError:
            raise
        except Exception as error:
            self._failed(error, request_id)
        else:
            self._give(answer, request_id)

    def handle_typed(self, body: bytes) -> bool:
        """
        Carry out a request whose frame can be read straight into typed values.

        @param body: the frame, without its length.
        @return: whether it could; if not, nothing has happened, and the request is to
            be decoded for L{handle}.
        """
        name, prepare = PREPARE.get(body[0], _UNTYPED)
        if prepare is None or not self.greeted:
            return False
        prepared = prepare(self, body)
        if prepared is None:
            return False
        self.service.traffic.requests[name] += 1
        try:
            if self.restricted is not None:
                admit(self, NEEDS[MessageType(body[0])], {})
            answer = prepared.run(self, *prepared.arguments)
        except Exception as error:
            self._failed(error, prepared.id)
        else:
            self._give(answer, prepared.id)
        return True

    def _give(self, answer: Answer, request_id: Any) -> None:
        """Answer a request, at once or when that can be."""
        if isinstance(answer, (dict, Reply)):
            self._acknowledge(answer, request_id)
        elif isinstance(answer, WhenStored):
            self._hold(answer.header, request_id)
        else:
            self._wait_for(answer, request_id)

    def _hold(self, answer: Message, request_id: Any) -> None:
        """Answer a request when all that has changed so far is stored."""
        self.unanswered += 1
        try:
            held = self.service.journal.hold(Pending(self, request_id), answer)
        except TaskQueueError as error:
            self.refused(error, request_id)
        else:
            if not held:
                self.answered(answer, request_id)

    def _wait_for(
        self,
        answer: Pending | Deferred[Header] | Deferred[Message],
        request_id: Any,
    ) -> None:
        """See to it that a request is answered when that can be."""
        self.unanswered += 1
        if isinstance(answer, Pending):
            answer.asker = self
            answer.request_id = request_id
        else:
            answer.addCallbacks(
                self.answered,
                self.refused,
                callbackArgs=(request_id,),
                errbackArgs=(request_id,),
            )

    def answered(self, answer: Message, request_id: Any) -> None:
        """Send an answer that a request has waited for."""
        self.unanswered -= 1
        try:
            self._acknowledge(answer, request_id)
        except Exception as error:
            self._failed(error, request_id)

    def refused(self, error: Failure | Exception, request_id: Any) -> None:
        """Say why a request that has waited gets no answer."""
        self.unanswered -= 1
        self._failed(error.value if isinstance(error, Failure) else error, request_id)

    def _acknowledge(self, answer: Message, request_id: Any) -> None:
        if isinstance(answer, Reply):
            if request_id is not None:
                answer.header.id = request_id
        else:
            errors = answer.get("errors")
            if errors:
                self.service.traffic.nacks.update(error["code"] for error in errors)
            if request_id is not None:
                answer["id"] = request_id
        if not self.open:
            return
        try:
            self._send(MessageType.ACK, answer)
        except ClientError as error:  # it is too long for a message
            self.refuse(request_id, error)

    def _failed(self, error: BaseException | None, request_id: Any) -> None:
        """Turn whatever went wrong into a NACK; only what nobody foresaw is logged."""
        if isinstance(error, FatalClientError):
            self._fatal(error)
        elif isinstance(error, ClientError):
            self.refuse(request_id, error)
        elif isinstance(error, StoreError):
            self.refuse(
                request_id, StoreUnavailable(f"the store failed: {error}", retry_after_s=1.0)
            )
        else:
            self._log.failure("a request of {peer} failed", Failure(error), peer=self.peer)
            self.refuse(request_id, InternalError())

    def refuse(self, request_id: Any, error: TaskQueueError) -> None:
        """Answer a request with a NACK."""
        self.service.traffic.nacks[error.code] += 1
        if self.open:
            self._send(MessageType.NACK, nack(error, request_id))

    # --- what it is told unasked ------------------------------------------------------

    def outcomes(self, rows: Sequence[TaskRow]) -> None:
        """Tasks that it watches have ended."""
        if self.restricted is not None:
            rows = [row for row in rows if readable(self, row.queue)]
            if not rows:
                return
        # As many messages as it takes for the peer to accept each.
        most_bytes = min(MOST_EVENT_BYTES, self.service.config.limits.max_frame_bytes // 2)
        first, size = 0, 0
        for position, row in enumerate(rows):
            weight = _weight_bytes(row)
            if size + weight > most_bytes and position > first:
                self._push(self._view_outcomes(rows[first:position]))
                first, size = position, 0
            size += weight
        self._push(self._view_outcomes(rows[first:]))

    def notice(self, notice: Notice) -> None:
        """Something happened to a delivery that it holds."""
        self._push({"events": [view_notice(notice)]})

    def _push(self, event: Message) -> None:
        if self.open:
            self._send(MessageType.EVENT, event)


def _weight_bytes(row: TaskRow) -> int:
    """About as many bytes as the event of a task's end can take in a message."""
    return 512 + len(row.result or b"") + 4 * len(row.error or "")


_REQUEST_ID = (
    f"id is neither an integer from 0 to {LARGEST_INTEGER} nor a text of at most "
    f"{LONGEST_REQUEST_ID} characters"
)


def _is_request_id(value: Any) -> bool:
    if type(value) is int:
        return 0 <= value <= LARGEST_INTEGER
    return type(value) is str and len(value) <= LONGEST_REQUEST_ID


def nack(error: TaskQueueError, request_id: Any = None) -> Header:
    """The header that refuses a request, or ends a connection."""
    header = view_error(error)
    if request_id is not None:
        header["id"] = request_id
    return header
