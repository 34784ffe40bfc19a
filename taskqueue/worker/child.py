"""
A worker's child process: C{python -m taskqueue.worker.child}.

It runs one task at a time in its main thread, so that a signal can end the task.
A thread listens on the pipe for control; when that ends, so has the worker, and
the child goes at once: its tasks are not its own any more.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

import psutil

from taskqueue.app.context import DESCRIBED, Context
from taskqueue.app.outcomes import TaskCancelled, Verdict
from taskqueue.app.verdicts import LONGEST_ERROR
from taskqueue.errors import TaskQueueError
from taskqueue.worker.outbox import Outbox
from taskqueue.worker.pipes import CONTROL_FD, REPLIES_FD, TASKS_FD, Decoder, Kind, Message
from taskqueue.worker.stopping import CANCEL, LEASE_LOST, TIMEOUT, TaskTimedOut
from taskqueue.worker.work import Work, load_tasks, works_of

#: Raises in the main thread what ends a task.
SOFT_STOP = signal.SIGUSR2

#: What a terminal, or whoever ends a whole group of processes, sends to the child
#: as well: only the worker decides when it goes.
_FOR_THE_WORKER = (signal.SIGINT, signal.SIGTERM, signal.SIGTSTP, signal.SIGUSR1, signal.SIGHUP)

_PIECE_BYTES = 256 * 1024

#: C{prctl}'s number for a signal at the death of the parent.
_PR_SET_PDEATHSIG = 1


class Child:
    """
    The life of one child.

    The task that runs, and what it was told to do, belong to the main thread; the
    thread that listens only notes a wish and sends the main thread a signal.

    Both ends number the deliveries on the pipe, from 1.  Which of them begins is
    decided under a lock, for the worker may recall those that have not.
    """

    def __init__(self, tasks_fd: int, replies_fd: int, control_fd: int) -> None:
        self._tasks_fd = tasks_fd
        self._control_fd = control_fd
        self._outbox = Outbox(replies_fd)
        self._main = threading.main_thread().ident or 0
        self._wishes: dict[int, str] = {}
        self._running: Context | None = None
        self._turn = threading.Lock()
        self._number = 0
        self._recalled_to = 0
        self._struck = False
        self._works: dict[str, Work] = {}
        self._process: psutil.Process | None = None

    def run(self) -> int:
        """
        Serve until the worker says no more.

        @return: the exit status.
        """
        signal.signal(SOFT_STOP, self._soft_stop)
        messages = self._messages(self._tasks_fd)
        opening = next(messages, None)
        if opening is None or not self._open(opening.header):
            return 1
        threading.Thread(target=self._listen, name="taskqueue control", daemon=True).start()
        self._outbox.send(Kind.READY, header=sorted(self._works))
        for message in messages:
            self._perform(message)
        return 0

    def _open(self, wanted: dict[str, Any]) -> bool:
        sys.path[:] = list(dict.fromkeys([*sys.path, *wanted["path"]]))
        try:
            self._works = works_of(load_tasks(wanted["tasks"]))
        except TaskQueueError as error:
            cause = error.__cause__ or error
            self._outbox.send(Kind.BROKEN, header=str(error), body=_trace(cause).encode())
            return False
        if wanted["watch_memory"]:
            self._process = psutil.Process()
        return True

    @staticmethod
    def _messages(fd: int) -> Iterator[Message]:
        decoder = Decoder()
        while data := os.read(fd, _PIECE_BYTES):
            yield from decoder.feed(data)

    # --- a task ---------------------------------------------------------------------------

    def _perform(self, message: Message) -> None:
        with self._turn:
            self._number += 1
            if self._number <= self._recalled_to:
                return
        began = time.perf_counter()
        verdict = self._verdict(message)
        took_s = time.perf_counter() - began
        rss_bytes = self._process.memory_info().rss if self._process else None
        status, result, *rest = verdict
        _flush()
        # Each by itself, although several could go in one message: what a crash leaves
        # without an answer has not ended.
        self._outbox.send(Kind.DONE, message.token, (status, rest, rss_bytes, took_s), result)

    def _verdict(self, message: Message) -> Verdict:
        described = dict(zip(DESCRIBED, message.header, strict=True))
        work = self._works.get(described["type"])
        if work is None:
            return Verdict("failed", error=f"the child has no task {described['type']!r}")
        context = work.context(self._outbox, described, message.body)
        # From here to the end of the try, a signal may raise between any two steps.
        try:
            self._begin(context)
            verdict = work.perform(message.body, context)
            self._running = None
        except BaseException as error:  # raised on the way, or by what ends processes
            self._running = None
            verdict = _verdict_of_stray(error, context)
        self._outbox.forget_postponed()
        return verdict

    def _begin(self, context: Context) -> None:
        self._struck = False
        self._running = context

    # --- being stopped --------------------------------------------------------------------

    def _listen(self) -> None:
        """In a thread of its own: pass on what the worker wants of the running task."""
        try:
            for message in self._messages(self._control_fd):
                if message.kind is Kind.RECALL:
                    self._recall(message.header)
                else:
                    self._stop(message.token, *message.header)
        finally:
            os._exit(1)  # the worker has gone, and nobody waits for what is running

    def _recall(self, last: int) -> None:
        with self._turn:  # the answer too: what comes after these must not be over before it is out
            first, self._recalled_to = self._number + 1, last
            self._outbox.send(Kind.RECALLED, header=(first, last))

    def _stop(self, token: int, reason: str, strike: bool) -> None:
        running = self._running
        if running is None or running.lease != token:
            return
        if reason == CANCEL:
            running.cancelled = True
        elif reason == LEASE_LOST:
            running.lease_lost = True
        if strike:
            self._wishes = {token: reason}
            signal.pthread_kill(self._main, SOFT_STOP)

    def _soft_stop(self, number: int, frame: FrameType | None) -> None:
        """Runs in the main thread, between two of its instructions."""
        if self._outbox.postponed(self._strike):
            return
        self._strike()

    def _strike(self) -> None:
        running = self._running
        reason = None if running is None else self._wishes.pop(running.lease, None)
        if reason is None or running is None or self._struck:
            return
        self._struck = True
        if reason == TIMEOUT:
            raise TaskTimedOut(f"task {running.id} has run for too long")
        raise TaskCancelled(f"task {running.id} is not wanted any more")


def _verdict_of_stray(error: BaseException, context: Context) -> Verdict:
    """Of an exception that struck outside the function, or that no function should raise."""
    if context.cancelled and isinstance(error, TaskCancelled):
        return Verdict("cancelled")
    return Verdict("failed", error=f"{type(error).__name__}: {error}"[:LONGEST_ERROR])


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-LONGEST_ERROR:]


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # closed by a task
            continue


def _die_with(parent: int) -> None:
    """Have the system end this process when the worker dies, where it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _ignored(number: int, frame: FrameType | None) -> None:
    """A handler, unlike SIG_IGN, is not inherited by what a task starts."""


def main() -> int:
    """
    Serve the worker whose process id is the first argument.

    @return: the exit status.
    """
    _die_with(int(sys.argv[1]))
    for number in _FOR_THE_WORKER:
        signal.signal(number, _ignored)
    for fd in (TASKS_FD, REPLIES_FD, CONTROL_FD):
        os.set_inheritable(fd, False)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # they are files
    return Child(TASKS_FD, REPLIES_FD, CONTROL_FD).run()


if __name__ == "__main__":
    sys.exit(main())
