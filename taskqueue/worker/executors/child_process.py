"""
One child process, as the worker sees it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.app.context import DESCRIBED
from taskqueue.app.outcomes import Verdict
from taskqueue.client import Delivery
from taskqueue.errors import BadFrame, BadRequest
from taskqueue.worker.pipes import CONTROL_FD, REPLIES_FD, TASKS_FD, Decoder, Kind, Message, encode
from taskqueue.worker.stopping import CANCEL, TIMEOUT, Reason

#: For Twisted: the child reads from the first kind, and writes to the other.  Its
#: standard input has ended before it begins.
_PIPES = {0: "w", 1: "r", 2: "r", TASKS_FD: "w", REPLIES_FD: "r", CONTROL_FD: "w"}

#: How long a dead child's last words are waited for, where something that it has
#: started keeps its pipes open, seconds.
LAST_WORDS_S = 1.0

#: A longer line of output goes into the log in pieces, bytes.
LONGEST_LINE = 8192


class ChildProcess(ProcessProtocol):
    """
    Starts a process, gives it one task at a time, and notices when it dies.

    @ivar ready: fires when it has imported the tasks; fails with L{BadRequest}
        when it cannot, or ends.
    @ivar gone: fires when it has ended and everything it said has been heard.
    @ivar done: how many tasks it has run.
    @ivar rss_bytes: its memory after the newest task; 0 where nobody asked.
    @ivar token: of the task that it runs, or C{None}.
    @ivar leaving: it gets no more tasks.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, told: Callable[[Message], None], tasks: str, *, watch_memory: bool
    ) -> None:
        """
        @param told: given progress and log lines.
        @param tasks: C{MODULE:NAME}.
        @param watch_memory: have it say how much it takes.
        """
        self.ready: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()
        self.done = 0
        self.rss_bytes = 0
        self.token: int | None = None
        self.leaving = False
        self._reactor = reactor
        self._told = told
        self._opening = {"tasks": tasks, "watch_memory": watch_memory, "path": sys.path}
        self._serves = False
        self._task = ""
        self._verdict: Deferred[Verdict] | None = None
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
    def idle(self) -> bool:
        """Whether it can be given a task."""
        return self._serves and not self.leaving and self.token is None and not self._dead

    @property
    def _dead(self) -> bool:
        return self._status is not None

    # --- tasks ----------------------------------------------------------------------------

    def run(self, delivery: Delivery) -> Deferred[Verdict]:
        """Give it a task; fires with how that ended, and does not fail."""
        self.token, self._task, self._reason = delivery.lease, delivery.id, None
        self._verdict = Deferred()
        header = [getattr(delivery, name) for name in DESCRIBED]
        message = encode(Kind.RUN, delivery.lease, header, delivery.payload)
        self._write(TASKS_FD, message)
        return self._verdict

    def _write(self, fd: int, message: bytes) -> None:
        if self.transport is not None and not self._dead:
            self.transport.writeToChild(fd, message)

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

    def _heard(self, message: Message) -> None:
        if message.kind is Kind.DONE:
            status, rest, rss_bytes = message.header
            self.done += 1
            self.rss_bytes = rss_bytes or 0
            self._ended(message.token, Verdict(status, message.body, *rest))
        elif message.kind is Kind.READY:
            self._serves = True
            self.ready.callback(None)
        elif message.kind is Kind.BROKEN:
            self._log.error("{trace}", trace=message.body.decode(errors="replace"))
            self.ready.errback(BadRequest(message.header))
        else:
            self._told(message)

    def _ended(self, token: int, verdict: Verdict) -> None:
        if self.token == token and self._verdict is not None:
            ended, self._verdict, self.token = self._verdict, None, None
            ended.callback(verdict)

    def _output(self, fd: int, data: bytes) -> None:
        *lines, self._lines[fd] = (self._lines[fd] + data).split(b"\n")
        if len(self._lines[fd]) > LONGEST_LINE:
            lines.append(self._lines[fd])
            self._lines[fd] = b""
        for line in lines:
            self._log_line(line)

    def _log_line(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        if self.token is None:
            self._log.info("child {pid}: {text}", pid=self.pid, text=text)
        else:
            self._log.info(
                "child {pid}, task {task}: {text}", pid=self.pid, task=self._task, text=text
            )

    # --- its end --------------------------------------------------------------------------

    def processExited(self, reason: Failure) -> None:
        """It has ended; something may still be in its pipes."""
        self._status = reason
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
        if self.token is not None:
            self._ended(self.token, self._verdict_of_death())
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
