"""
Visits: one request each, as those see it who carry it out, and as operations do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlencode

from twisted.internet.defer import Deferred, succeed

from taskqueue.core.changes import TaskRow
from taskqueue.core.leases import Holder
from taskqueue.core.ledger import Notice
from taskqueue.core.workers import Worker
from taskqueue.operations.answers import Header, Pending, WhenStored
from taskqueue.operations.table import OPERATIONS
from taskqueue.service import TaskQueueService
from taskqueue.web.api.endpoints import ROOT
from taskqueue.wire import MessageType


class Visitor:
    """
    Who asks over HTTP, as operations see callers: somebody who holds nothing
    beyond one request.

    @ivar open: whether the connection is still there.
    """

    def __init__(self, service: TaskQueueService, peer: str) -> None:
        self.service = service
        self.claims_waiting = 0
        self.open = True
        self._holder = Holder(peer)
        self._ended: Callable[[Sequence[TaskRow]], None] | None = None

    @property
    def worker(self) -> Worker | None:
        """None: workers register on connections that last."""
        return None

    @property
    def holder(self) -> Holder:
        """In whose name it would claim."""
        return self._holder

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
            self._ended(rows)

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
    ) -> None:
        self.service = service
        self.request = request
        self.path = path
        self.places = places
        self.query = query
        self.body = body
        self.visitor = Visitor(service, f"HTTP from {_host_of(request)}")
        self._waiting: list[Callable[[], None]] = []

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
        operation = OPERATIONS[kind]
        # What was not read into typed values is answered with plain ones.
        answer: Any = operation.run(self.visitor, operation.form.parse(header))
        if isinstance(answer, WhenStored):
            return self.service.journal.barrier(cast(Header, answer.header))
        if isinstance(answer, Deferred):
            return answer
        assert not isinstance(answer, Pending), "claims are not for HTTP"
        return succeed(answer)

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


def _host_of(request: Any) -> str:
    return str(getattr(request.getClientAddress(), "host", "a socket"))
