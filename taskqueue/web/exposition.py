"""
C{/metrics}: what Prometheus and its kind read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Cooperator, TaskFinished, TaskStopped
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET

from taskqueue.errors import TaskQueueError
from taskqueue.web.pages import Page, turn_away

#: The last line of a text in the OpenMetrics format.
_END = b"# EOF\n"

#: Writes all families of a collector as text.
Encoder = Callable[[Collector], bytes]


class MetricsPage(Page):
    """
    The metrics, in the format that the client prefers: OpenMetrics, or the
    text format of Prometheus.

    They are read and written family by family, one in each turn of the reactor:
    with many series that takes a while, and the broker works on in between.
    """

    def __init__(
        self,
        registry: Collector,
        reactor: IReactorTime,
        why_not: Callable[[Any], TaskQueueError | None] = lambda request: None,
    ) -> None:
        """
        @param registry: all families; see L{taskqueue.web.metrics.make_registry}.
        @param why_not: why whoever sends a request may not see them; C{None}: it may.
        """
        super().__init__()
        self._registry = registry
        self._why_not = why_not

        def next_turn(step: Callable[[], None]) -> IDelayedCall:
            return reactor.callLater(0, step)

        self._cooperator = Cooperator(lambda: lambda: True, next_turn)

    def render_GET(self, request: Any) -> int | bytes:
        """Begin the answer; it is finished in later turns of the reactor."""
        error = self._why_not(request)
        if error is not None:
            return turn_away(request, error)
        encode, content_type = _format_for((request.getHeader(b"accept") or b"").decode("latin-1"))
        request.setHeader(b"content-type", content_type.encode("latin-1"))
        request.setHeader(b"cache-control", b"no-store")
        pieces: list[bytes] = []
        work = self._cooperator.cooperate(encoded(self._registry.collect(), encode, pieces))

        def hung_up(_: Failure) -> None:
            with suppress(TaskFinished):
                work.stop()

        request.notifyFinish().addErrback(hung_up)
        written = work.whenDone().addCallback(lambda _: _finish(request, b"".join(pieces)))
        written.addErrback(_failed, request)
        return NOT_DONE_YET


def encoded(families: Iterable[Metric], encode: Encoder, pieces: list[bytes]) -> Iterator[None]:
    """
    Write one family after another to C{pieces}, a step of the iteration for each.
    """
    end = b""
    for family in families:
        piece = encode(_Alone(family))
        if piece.endswith(_END):
            piece, end = piece.removesuffix(_END), _END
        pieces.append(piece)
        yield
    pieces.append(end)


def _format_for(accept: str) -> tuple[Encoder, str]:
    """How to write, and what that is called, for a client that accepts C{accept}."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        # The library cannot compare what is no version: the plain form is for everybody.
        return choose_encoder("")


class _Alone(Collector):
    """A collector of one family."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return [self._family]


def _finish(request: Any, body: bytes) -> None:
    request.setHeader(b"content-length", b"%d" % len(body))
    request.write(body)
    request.finish()


def _failed(failure: Failure, request: Any) -> None:
    if failure.check(TaskStopped) is None:
        request.processingFailed(failure)
