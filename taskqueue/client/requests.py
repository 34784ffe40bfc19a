"""
One request on its way, from the first attempt to its one answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskqueue.client.framework import Delayed, Framework
from taskqueue.errors import FrameTooLarge
from taskqueue.wire import Header, MessageType, encode, encode_request

#: Makes a whole frame, given the request's id.
Frame = Callable[[int], bytes]


class Request:
    """
    What is asked, and who wants to know.

    @ivar repeatable: asking twice does no harm, so it is sent again after a
        lost connection.
    @ivar late: given the answer when nobody takes it any more.
    @ivar wait_until: when the waiting that a claim asks for is over, on the
        loop's clock; sent again, it asks for what is left of it.
    @ivar sends: how many times it has been sent.
    """

    __slots__ = (
        "_encoded",
        "_header",
        "_settle",
        "id",
        "kind",
        "late",
        "repeatable",
        "sends",
        "timer",
        "wait_until",
    )

    def __init__(
        self,
        request_id: int,
        kind: MessageType,
        header: Header | Frame,
        settle: Callable[[Header | Exception], bool | None] | None,
        *,
        repeatable: bool = False,
        late: Callable[[Header], None] | None = None,
        wait_until: float | None = None,
        faithful: bool = False,
    ) -> None:
        """
        @param header: or what makes the whole frame, given the request's id.
        @param settle: given the answer's header, or the error that a NACK names;
            returns C{False} where nobody takes it.
        @param faithful: half a character in a text is no C{?} but an error.
        @raises BadRequest: the header holds what cannot be sent.
        """
        self.id = request_id
        self.kind = kind
        self.repeatable = repeatable
        self.late = late
        self.wait_until = wait_until
        self.sends = 0
        self.timer: Delayed | None = None
        self._settle = settle
        if isinstance(header, dict):
            self._header = None if wait_until is None else header
            write = encode_request if faithful else encode
            self._encoded = write(kind, {"id": request_id, **header})
        else:
            self._header = None
            self._encoded = header(request_id)

    @property
    def length(self) -> int:
        """Bytes of the frame, its length field left out."""
        return len(self._encoded) - 4

    @property
    def wanted(self) -> bool:
        """Whether anybody waits for the answer."""
        return self._settle is not None

    def frame(self, now: float) -> bytes:
        """The bytes to send at C{now}, on the loop's clock."""
        if self._header is not None and self.wait_until is not None and self.sends:
            left_s = max(0.0, self.wait_until - now)
            self._encoded = encode(self.kind, {"id": self.id, **self._header, "wait_s": left_s})
        return self._encoded

    def settle(self, answer: Header | Exception) -> None:
        """Tell whoever waits, once; an answer that came late goes to L{late}."""
        settle = self.forget()
        taken = settle is not None and settle(answer) is not False
        if not (taken or self.late is None or isinstance(answer, Exception)):
            self.late(answer)

    def withdraw(self) -> None:
        """Nobody waits any more."""
        self.forget()

    def forget(self) -> Callable[[Header | Exception], bool | None] | None:
        """Nobody waits any more; returns who did."""
        settle, self._settle = self._settle, None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return settle


def into_future(framework: Framework, future: Any) -> Callable[[Header | Exception], bool]:
    """
    What settles C{future}, and returns whether that takes the answer: with asyncio, a
    future may have been cancelled, and the request is withdrawn a turn of the loop later.
    """

    def settle(answer: Header | Exception) -> bool:
        if isinstance(answer, Exception):
            framework.reject(future, answer)
            return True
        return framework.resolve(future, answer)

    return settle


def fits(request: Request, limit: int) -> bool:
    """Whether a request is within the broker's longest frame; it fails where not."""
    if request.length <= limit:
        return True
    request.settle(
        FrameTooLarge(
            f"The request has {request.length} bytes, and the broker accepts {limit}:"
            " split it, or send less data.",
            length=request.length,
            limit=limit,
        )
    )
    return False
