"""
Replies, in the order of the commands, each as soon as it may be given.

A reply that says that something was done is held until that is as durable as the configuration
asks for; what comes after it waits behind it.  Commands are not held: those that follow are
carried out meanwhile, and what they reply waits in the same line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.errors import StoreError, TaskQueueError
from taskqueue.service.journal import Journal

DELETED = b"DELETED\r\n"
RELEASED = b"RELEASED\r\n"
BURIED = b"BURIED\r\n"
KICKED = b"KICKED\r\n"
PAUSED = b"PAUSED\r\n"
TOUCHED = b"TOUCHED\r\n"
NOT_FOUND = b"NOT_FOUND\r\n"
NOT_IGNORED = b"NOT_IGNORED\r\n"
DEADLINE_SOON = b"DEADLINE_SOON\r\n"
TIMED_OUT = b"TIMED_OUT\r\n"
DRAINING = b"DRAINING\r\n"
OUT_OF_MEMORY = b"OUT_OF_MEMORY\r\n"
INTERNAL_ERROR = b"INTERNAL_ERROR\r\n"

#: How the replies begin that say that something was done for good.
_PROMISES = (b"INSERTED", b"DELETED", b"RELEASED", b"BURIED", b"KICKED", b"PAUSED")

#: A reply that is longer is much more than what asked for it.
LONG_BYTES = 256


def chunk(head: str, data: bytes) -> bytes:
    """A line, which the length of C{data} ends, and the data."""
    return b"%b %d\r\n%b\r\n" % (head.encode("ascii"), len(data), data)


class _Held:
    """
    Replies that wait together until all that has changed so far is stored, or for those before.

    @ivar settled: they need not wait for the store any more.
    """

    __slots__ = ("_owner", "replies", "settled")

    def __init__(self, owner: Replies, replies: Sequence[bytes], settled: bool) -> None:
        self._owner = owner
        self.replies = replies
        self.settled = settled

    def callback(self, _: Any) -> None:
        """It is stored."""
        self.settled = True
        self._owner.send_settled()

    def errback(self, fail: Exception) -> None:
        """Nobody knows whether it is."""
        self.replies = [
            OUT_OF_MEMORY if reply.startswith(_PROMISES) else reply for reply in self.replies
        ]
        self._owner.note(fail)
        self.callback(None)


class Replies:
    """
    The replies of one connection.

    @ivar peer: what to call it in the log.
    @ivar long_bytes: how many bytes the long replies have had; whoever sees to it that they
        do not become too many begins anew.
    """

    _log = Logger()

    def __init__(self, journal: Callable[[], Journal], send: Callable[[int, bytes], None]) -> None:
        """
        @param send: sends what was replied; to how many commands that is that were held.
        """
        self._journal = journal
        self._send = send
        self.peer = ""
        self.long_bytes = 0
        self._said: list[bytes] = []
        self._promises = False
        self._held: deque[_Held] = deque()
        self._open = True
        self._noted = ""

    def __bool__(self) -> bool:
        """Whether any are yet to be sent."""
        return bool(self._said or self._held)

    def add(self, reply: bytes) -> None:
        """Reply to one command."""
        self._said.append(reply)
        if len(reply) > LONG_BYTES:
            self.long_bytes += len(reply)

    def say(self, replies: Sequence[bytes]) -> None:
        """Reply to several commands."""
        self._said += replies

    def promise(self, replies: Sequence[bytes]) -> None:
        """Reply, as soon as what has changed is stored."""
        if replies:
            self._said += replies
            self._promises = True

    def promise_one(self, reply: bytes) -> None:
        """Reply to one command, as soon as what has changed is stored."""
        self._said.append(reply)
        self._promises = True

    def give(self) -> int:
        """
        Send what was said since the last call, in its turn.

        @return: to how many commands a reply is held.
        """
        if not self._said:
            return 0
        said, self._said = self._said, []
        promises, self._promises = self._promises, False
        if self._held or (promises and self._journal().waits):
            return self._hold(_Held(self, said, not promises))
        self._send(0, b"".join(said))
        return 0

    def _hold(self, held: _Held) -> int:
        if not held.settled:
            try:
                held.settled = not self._journal().hold(held, None)
            except TaskQueueError as error:
                held.errback(error)
        if held.settled and not self._held:
            self._send(0, b"".join(held.replies))
            return 0
        self._held.append(held)
        return len(held.replies)

    def send_settled(self) -> None:
        """Send what need not wait any more."""
        count, replies = 0, list[bytes]()
        while self._held and self._held[0].settled:
            held = self._held.popleft()
            count += len(held.replies)
            replies += held.replies
        if replies and self._open:
            self._send(count, b"".join(replies))

    def refuse(self, error: Exception) -> None:
        """Reply to one command that it cannot be carried out, and say why in the log."""
        self.note(error)
        self.add(OUT_OF_MEMORY if error_is_passing(error) else INTERNAL_ERROR)

    def note(self, error: Exception) -> None:
        """
        Say in the log why somebody was refused, who is told a word: once for each kind of
        reason in a row.
        """
        if isinstance(error, TaskQueueError):
            if error.code != self._noted:
                self._noted = error.code
                self._log.warn(
                    "a command of {peer} is refused: {why}", peer=self.peer, why=str(error)
                )
        else:
            self._log.failure("a command of {peer} failed", Failure(error), peer=self.peer)

    def close(self) -> None:
        """Nobody is there to hear the rest."""
        self._open = False
        self._said.clear()
        self._held.clear()


def error_is_passing(error: Exception) -> bool:
    """Whether what was refused may be asked for again later."""
    if isinstance(error, StoreError):
        return True
    return isinstance(error, TaskQueueError) and error.retry_after_s is not None
