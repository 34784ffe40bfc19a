"""
A child process's end of its pipes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from taskqueue.app.context import Context
from taskqueue.errors import TaskQueueError
from taskqueue.worker.pipes import Kind, encode


class Outbox:
    """
    Sends messages whole, from any thread.  It is the L{Sink} of every task.

    A soft stop is an exception that a signal raises in the main thread, between
    any two of its instructions.  In the middle of a message it would ruin the
    pipe: L{postponed} asks it to wait until the message is out.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._main = threading.get_ident()
        self._sending = False
        self._late: Callable[[], None] | None = None

    def send(self, kind: Kind, token: int = 0, header: Any = None, body: bytes = b"") -> None:
        """
        Say this; waits while the pipe is full.

        @raises BadRequest: JSON has no form for C{header}.
        @raises OSError: the worker is gone.
        """
        data = memoryview(encode(kind, token, header, body))
        if threading.get_ident() == self._main:
            self._send_from_main(data)
        else:
            self._write(data)

    def _send_from_main(self, data: memoryview) -> None:
        self._sending = True
        try:
            self._write(data)
        finally:
            self._sending = False
        late, self._late = self._late, None
        if late is not None:
            late()

    def _write(self, data: memoryview) -> None:
        with self._lock:
            while data:
                data = data[os.write(self._fd, data) :]

    def postponed(self, call: Callable[[], None]) -> bool:
        """
        Called in the main thread: whether a message is being sent there.  Then
        C{call} is made when it is out.
        """
        if self._sending:
            self._late = call
        return self._sending

    def forget_postponed(self) -> None:
        """The task that it was about has ended."""
        self._late = None

    def progress(self, context: Context, value: Any) -> None:
        """See L{Sink}."""
        self._tell(Kind.PROGRESS, context, value)

    def log(self, context: Context, message: str, fields: Mapping[str, Any]) -> None:
        """See L{Sink}."""
        told = {name: _plain(value) for name, value in fields.items()}
        self._tell(Kind.LOG, context, [str(message), told])

    def _tell(self, kind: Kind, context: Context, value: Any) -> None:
        try:
            self.send(kind, context.lease, value)
        except TaskQueueError as error:
            self.send(Kind.LOG, context.lease, [f"a report could not be sent: {error}", {}])


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)
