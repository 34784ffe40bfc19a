"""
One child process, as the worker sees it.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.app.context import DESCRIBED
from taskqueue.app.outcomes import Verdict
from taskqueue.client import Delivery
from taskqueue.client.writing import write_at_once
from taskqueue.errors import BadFrame, BadRequest
from taskqueue.worker.executors import NOT_BEGUN, Ended
from taskqueue.worker.pipes import (
    CONTROL_FD,
    REPLIES_FD,
    TASKS_FD,
    Decoder,
    Kind,
    Message,
    encode,
    parts,
)
from taskqueue.worker.stopping import CANCEL, TIMEOUT, Reason

#: For Twisted: the child reads from the first kind, and writes to the other.  Its
#: standard input has ended before it begins.
_PIPES = {0: "w", 1: "r", 2: "r", TASKS_FD: "w", REPLIES_FD: "r", CONTROL_FD: "w"}

#: How long a dead child's last words are waited for, where something that it has
#: started keeps its pipes open, seconds.
LAST_WORDS_S = 1.0

#: How much work is sent to a child ahead, seconds: enough to bridge the way there and
#: back, and little to wait for where another child could begin it.
AHEAD_S = 0.002

#: How many tasks are sent ahead at most.
MOST_AHEAD = 64

#: Of how many tasks the mean time counts.
_REMEMBERED = 16

#: After output, so many tasks are sent one by one: so each line finds its task.
_ALOUD = 32

_described = attrgetter(*DESCRIBED)

#: A longer line of output goes into the log in pieces, bytes.
LONGEST_LINE = 8192


class Sent(NamedTuple):
    """
    A task in a child, or on the way there.

    @ivar number: it is the so manyth that this child was sent.
    @ivar ended: told how it ended.
    """

    number: int
    token: int
    task: str
    ended: Ended


class ChildProcess(ProcessProtocol):
    """
    Starts a process, which runs one task at a time, and notices when it dies.

    Tiny tasks are sent ahead: the child begins the next one without asking.  Whatever
    has not begun can be L{recalled<recall>}.

    @ivar ready: fires when it has imported the tasks; fails with L{BadRequest}
        when it cannot, or ends.
    @ivar gone: fires when it has ended and everything it said has been heard.
    @ivar done: how many tasks it has run.
    @ivar rss_bytes: its memory after the newest task; 0 where nobody asked.
    @ivar leaving: it gets no more tasks.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        told: Callable[[Message], None],
        tasks: str,
        *,
        watch_memory: bool,
        began: Callable[[int], None] = lambda token: None,
        answered: Callable[[ChildProcess], None] = lambda child: None,
        most: int | None = None,
    ) -> None:
        """
        @param told: given progress and log lines.
        @param tasks: C{MODULE:NAME}.
        @param watch_memory: have it say how much it takes.
        @param began: given the token of a task sent ahead, when it begins.
        @param answered: called when it has said something about tasks, once for all
            that was heard together.
        @param most: of tasks before it is replaced.
        """
        self.ready: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()
        self.done = 0
        self.rss_bytes = 0
        self.leaving = False
        self._reactor = reactor
        self._told = told
        self._opening = {"tasks": tasks, "watch_memory": watch_memory, "path": sys.path}
        self._ready = False
        self._open = set(_PIPES)
        self._began = began
        self._answered = answered
        self._most = most
        self._sent: deque[Sent] = deque()
        self._number = 0
        self._recalled_at = 0
        self._looked_at = 0
        self._mean_s = 2 * AHEAD_S  # none is sent ahead before some have been quick
        self._aloud = 0
        self._last_task: str | None = None
        self._reason: Reason | None = None
        self._decoder = Decoder()
        self._lines = {1: b"", 2: b""}
        self._last_words: Any = None
        self._status: Failure | None = None

    def start(self, folder: str | None = None, env: Mapping[str, str] | None = None) -> None:
        """
        Start the process.

        @param folder: its working directory; the worker's own where not given.
        """
        self._reactor.spawnProcess(
            self,
            sys.executable,
            [sys.executable, "-m", "taskqueue.worker.child", str(os.getpid())],
            env=dict(os.environ if env is None else env),
            path=folder,
            childFDs=_PIPES,
        )

    @property
    def pid(self) -> int | None:
        """Its process id, while it is there."""
        return None if self.transport is None else self.transport.pid

    @property
    def serves(self) -> bool:
        """Whether it can be given tasks."""
        return self._ready and not self.leaving and TASKS_FD in self._open

    @property
    def idle(self) -> bool:
        """Whether it can be given a task, and has none."""
        return not self._sent and self.serves

    @property
    def token(self) -> int | None:
        """Of the task that it runs, or C{None}."""
        return self._sent[0].token if self._sent else None

    @property
    def room(self) -> int:
        """How many more tasks it may be sent: one, or some ahead of those that it has."""
        if not self.serves:
            return 0
        if not self._sent:
            return 1
        if self._aloud or self._recalled_at == self._sent[0].number:
            return 0
        return max(0, self._depth - len(self._sent) + 1)

    @property
    def _depth(self) -> int:
        mean_s = self._mean_s
        depth = MOST_AHEAD if mean_s * MOST_AHEAD <= AHEAD_S else int(AHEAD_S / mean_s)
        return depth if self._most is None else min(depth, self._most - self.done - 1)

    @property
    def wanted(self) -> int:
        """How many more tasks to send ahead: none before half of what was sent has ended."""
        return self.room if self._sent and self.ahead <= self._depth // 2 else 0

    @property
    def ahead(self) -> int:
        """How many tasks it has that have not begun."""
        return max(0, len(self._sent) - 1)

    @property
    def load(self) -> int:
        """How many tasks it has."""
        return len(self._sent)

    @property
    def _dead(self) -> bool:
        return self._status is not None

    # --- tasks ----------------------------------------------------------------------------

    def run(self, deliveries: Iterable[Delivery], ended: Ended) -> None:
        """
        Give it tasks, which it runs after those that it has.

        @param ended: told of each how it ended, or that it was L{NOT_BEGUN}.
        """
        if not self._sent:
            self._reason = None
        pieces: list[bytes] = []
        for delivery in deliveries:
            self._number += 1
            token = delivery.lease
            self._sent.append(Sent(self._number, token, delivery.id, ended))
            pieces += parts(Kind.RUN, token, _described(delivery), delivery.payload)
        self._write(TASKS_FD, b"".join(pieces))

    def recall(self) -> None:
        """Have it give back what has not begun."""
        if len(self._sent) > 1 and self._recalled_at != self._sent[0].number:
            self._recalled_at = self._sent[0].number
            self._write(CONTROL_FD, encode(Kind.RECALL, header=self._sent[-1].number))

    def look(self) -> None:
        """Recall what waits for a task that ran at the last look already."""
        if len(self._sent) > 1:
            if self._looked_at == self._sent[0].number:
                self.recall()
            self._looked_at = self._sent[0].number

    def _write(self, fd: int, message: bytes) -> None:
        if self.transport is not None and fd in self._open:
            pipes = self.transport.pipes  # type: ignore[attr-defined]  # that of Twisted has them
            write_at_once(pipes[fd], message)

    def tell(self, token: int, reason: Reason, *, strike: bool) -> None:
        """
        Have the running task know that it should stop.

        @param strike: raise an exception in it.
        """
        if self.token == token:
            self._reason = self._reason or reason
            message = encode(Kind.STOP, token, [reason, strike])
            self._write(CONTROL_FD, message)

    def kill(self) -> None:
        """End it at once."""
        if self.transport is not None and not self._dead:
            try:
                self.transport.signalProcess("KILL")
            except ProcessExitedAlready:
                return

    def leave(self) -> None:
        """Have it end by itself, after the task that it runs."""
        self.leaving = True
        if self.transport is not None and not self._dead:
            self.transport.closeChildFD(TASKS_FD)

    # --- what it says ---------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The process is there."""
        assert self.transport is not None
        self.transport.closeChildFD(0)
        self._write(TASKS_FD, encode(Kind.OPEN, header=self._opening))

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """It says something, or a task writes to its output."""
        if childFD != REPLIES_FD:
            self._output(childFD, data)
            return
        try:
            for message in self._decoder.feed(data):
                self._heard(message)
        except BadFrame as error:
            self._log.error("child {pid} is killed: {error}", pid=self.pid, error=error)
            self.kill()
        self._answered(self)

    def _heard(self, message: Message) -> None:
        if message.kind is Kind.DONE:
            status, rest, rss_bytes, took_s = message.header
            self.done += 1
            self.rss_bytes = rss_bytes or 0
            self._mean_s += (took_s - self._mean_s) / _REMEMBERED
            self._aloud = max(0, self._aloud - 1)
            self._ended(message.token, Verdict(status, message.body, *rest))
        elif message.kind is Kind.RECALLED:
            self._give_back(*message.header)
        elif message.kind is Kind.READY:
            self._ready = True
            self.ready.callback(None)
        elif message.kind is Kind.BROKEN:
            self._log.error("{trace}", trace=message.body.decode(errors="replace"))
            self.ready.errback(BadRequest(message.header))
        else:
            self._told(message)

    def _ended(self, token: int, verdict: Verdict) -> None:
        sent = self._sent
        if sent and sent[0].token == token:
            first = sent.popleft()
            self._last_task = first.task
            self._reason = None
            if sent:
                self._began(sent[0].token)
            first.ended(token, verdict)

    def _give_back(self, first: int, last: int) -> None:
        """The newest first: whoever puts each before the others has them in order."""
        kept: list[Sent] = []
        while self._sent and self._sent[-1].number >= first:
            sent = self._sent.pop()
            if sent.number > last:
                kept.append(sent)
            else:
                sent.ended(sent.token, NOT_BEGUN)
        self._sent.extend(reversed(kept))

    def _output(self, fd: int, data: bytes) -> None:
        self._aloud = _ALOUD
        *lines, self._lines[fd] = (self._lines[fd] + data).split(b"\n")
        if len(self._lines[fd]) > LONGEST_LINE:
            lines.append(self._lines[fd])
            self._lines[fd] = b""
        for line in lines:
            self._log_line(line)

    def _log_line(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        # What it writes comes by another pipe than its end, which may be read first.
        task = self._sent[0].task if self._sent else self._last_task
        if task is None:
            self._log.info("child {pid}: {text}", pid=self.pid, text=text)
        else:
            self._log.info("child {pid}, task {task}: {text}", pid=self.pid, task=task, text=text)

    # --- its end --------------------------------------------------------------------------

    def childConnectionLost(self, childFD: int) -> None:
        """A pipe has ended, which of one that was killed may be heard before its end is."""
        self._open.discard(childFD)

    def processExited(self, reason: Failure) -> None:
        """It has ended; something may still be in its pipes."""
        self._status = reason
        self._open.clear()
        self._last_words = self._reactor.callLater(LAST_WORDS_S, self._buried)

    def processEnded(self, reason: Failure) -> None:
        """It has ended, and everything it said has been heard."""
        self._status = reason
        self._buried()

    def _buried(self) -> None:
        if self._last_words is not None and self._last_words.active():
            self._last_words.cancel()
        if self.gone.called:
            return
        for fd, line in self._lines.items():
            if line:
                self._lines[fd] = b""
                self._log_line(line)
        if not self.ready.called:
            self.ready.errback(BadRequest(f"a child process {self.how_it_ended()} at its start"))
        if self._sent:
            # It died of the first one; the others have not begun.
            self._give_back(self._sent[0].number + 1, self._number)
            self._ended(self._sent[0].token, self._verdict_of_death())
        self.gone.callback(None)

    def how_it_ended(self) -> str:
        """In words, once it has."""
        value = None if self._status is None else self._status.value
        number = getattr(value, "signal", None)
        if number is not None:
            return f"died (signal {number})"
        return f"ended (exit status {getattr(value, 'exitCode', None)})"

    def _verdict_of_death(self) -> Verdict:
        if self._reason == CANCEL:
            return Verdict("cancelled")
        if self._reason == TIMEOUT:
            return Verdict("failed", error="it did not stop when asked to: its process was killed")
        return Verdict("failed", error=f"the worker's child process {self.how_it_ended()}")
