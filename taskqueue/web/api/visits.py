"""
Visits: one request each, as those see it who carry it out, and as operations do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlencode

from twisted.internet.defer import Deferred, succeed

from taskqueue.access.identities import Identity
from taskqueue.access.permissions import Permissions
from taskqueue.core.changes import TaskRow
from taskqueue.core.leases import Holder
from taskqueue.core.ledger import Notice
from taskqueue.core.workers import Worker
from taskqueue.errors import Unauthenticated
from taskqueue.operations.answers import Header, Pending, WhenStored
from taskqueue.operations.authorization import admit, permissions_of
from taskqueue.operations.needs import NEEDS
from taskqueue.operations.table import OPERATIONS, perform
from taskqueue.operations.visibility import readable
from taskqueue.service import TaskQueueService
from taskqueue.web.api.endpoints import ROOT
from taskqueue.web.credentials import DOOR, host_of, session_token
from taskqueue.wire import MessageType


class Visitor:
    """
    Who asks over HTTP, as operations see callers: somebody who holds nothing
    beyond one request.

    @ivar open: whether the connection is still there.
    """

    door = DOOR

    def __init__(self, service: TaskQueueService, host: str, identity: Identity) -> None:
        """
        @param host: the address that it came from.
        """
        self.service = service
        self.host = host
        self.be(identity)
        self.claims_waiting = 0
        self.open = True
        self._holder = Holder(f"HTTP from {host}")
        self._ended: Callable[[Sequence[TaskRow]], None] | None = None

    @property
    def worker(self) -> Worker | None:
        """None: workers register on connections that last."""
        return None

    @property
    def holder(self) -> Holder:
        """In whose name it would claim."""
        return self._holder

    def be(self, identity: Identity) -> None:
        """It is C{identity}, and may do what that may, from now on."""
        self._identity = identity
        self.restricted: Permissions | None = permissions_of(identity)

    @property
    def identity(self) -> Identity:
        """Who it is."""
        return self._identity

    def authenticate(self, key: str | None) -> Identity:
        """Who it is: known from the request's headers."""
        return self._identity

    def introduce(self, client: str) -> None:
        """Its name is of no use to anybody."""

    def become(self, worker: Worker | None) -> None:
        """It is never a worker."""

    def when_ended(self, hear: Callable[[Sequence[TaskRow]], None] | None) -> None:
        """Pass on the ends of the tasks that it watches."""
        self._ended = hear

    def outcomes(self, rows: Sequence[TaskRow]) -> None:
        """Tasks that it watches have ended."""
        if self._ended is not None:
            self._ended([row for row in rows if readable(self, row.queue)])

    def notice(self, notice: Notice) -> None:
        """It holds no delivery that there could be something to say about."""


class Visit:
    """
    One request.

    @ivar visitor: who asks.
    @ivar path: the address below L{ROOT}, escapes and all.
    @ivar places: what stands in the path for the names in braces.
    @ivar query: the parameters.
    @ivar body: the fields of the body.
    @ivar request: as Twisted has it, for answers that are no L{Reply}.
    """

    def __init__(
        self,
        service: TaskQueueService,
        request: Any,
        path: str,
        places: Mapping[str, str],
        query: Header,
        body: Header,
        identity: Identity,
    ) -> None:
        self.service = service
        self.request = request
        self.path = path
        self.places = places
        self.query = query
        self.body = body
        self.visitor = Visitor(service, host_of(request), identity)
        self._waiting: list[Callable[[], None]] = []
        self._dismissed: Callable[[], None] | None = None

    @property
    def open(self) -> bool:
        """Whether somebody waits for the answer."""
        return self.visitor.open

    def wait(self, call: Callable[[], None]) -> None:
        """Call this when there is no use in waiting any longer."""
        self._waiting.append(call)

    def wait_no_longer(self) -> None:
        """The connection is gone, or the broker stops."""
        calls, self._waiting = self._waiting, []
        for call in calls:
            call()

    def when_dismissed(self, call: Callable[[], None]) -> None:
        """Call this where the visitor may stay no longer."""
        self._dismissed = call

    def check_identity(self) -> None:
        """Somebody's permissions have changed, or time has passed: may the visitor stay?"""
        visitor, gate = self.visitor, self.service.gate
        current = gate.refresh(visitor.identity)
        if current is not None and current.kind in ("user", "key"):
            token = session_token(self.request)
            current = current if token is None else gate.by_session(token)
        if current is visitor.identity:
            return
        if current is not None:
            visitor.be(current)
        if self._dismissed is not None:
            self._dismissed()
        else:
            self.wait_no_longer()

    def hung_up(self) -> None:
        """The connection is gone."""
        self.visitor.open = False
        self.wait_no_longer()

    def ask(self, kind: MessageType, header: Header) -> Deferred[Header]:
        """
        Carry out an operation.

        @param header: its fields.
        @return: fires with the fields of the answer; fails with one of
            L{taskqueue.errors}.
        @raises BadRequest: a field cannot be what it is.
        """
        self.count(kind)
        self.check_valid()
        # What was not read into typed values is answered with plain ones.
        answer: Any = perform(self.visitor, kind, OPERATIONS[kind], header)
        if isinstance(answer, WhenStored):
            return self.service.journal.barrier(cast(Header, answer.header))
        if isinstance(answer, Deferred):
            return answer
        assert not isinstance(answer, Pending), "claims are not for HTTP"
        return succeed(answer)

    def check_valid(self) -> None:
        """
        @raises Unauthenticated: the visitor was let in, but may stay no longer.
        """
        if self.service.gate.refresh(self.visitor.identity) is None:
            raise Unauthenticated("the key or session is not valid any more: sign in again")

    def admit(self, kind: MessageType, **values: Any) -> None:
        """
        Let the visitor ask for something that is looked at here, as it may ask for an operation.

        @param values: of the operation's fields, those that say in which queue.
        @raises Forbidden: it may not.
        @raises Unauthenticated: it may stay no longer.
        """
        self.check_valid()
        admit(self.visitor, NEEDS[kind], values)

    def count(self, kind: MessageType) -> None:
        """An operation is asked for."""
        self.service.traffic.requests[kind.name.lower()] += 1

    def address(self, path: str, **query: Any) -> str:
        """The address of a path below L{ROOT}, with the query of this request and C{query}."""
        given = [
            (name.decode("utf-8"), value.decode("utf-8"))
            for name, values in self.request.args.items()
            for value in values
            if name.decode("utf-8") not in query
        ]
        return f"{ROOT}{path}?{urlencode([*given, *query.items()])}"

    def next_page(self, following: Any) -> str:
        """The address of the page after this one, where there is one."""
        return "" if following is None else self.address(self.path, after=following)
