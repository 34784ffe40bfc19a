"""
A submitted task in the hands of who submitted it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

from taskqueue.client.codecs import Codec


class Face(Protocol):
    """A client: makes calls its own way, be it with Deferreds, coroutines or by waiting."""

    def perform(self, name: str, *args: Any, **how: Any) -> Any:
        """What the call with this name gives."""


class TaskHandle(str):
    """
    A task's id, which knows how to ask about the task.

    It is the id wherever one is expected.  Its methods give what methods of its
    client give: a Deferred, a coroutine, or, of a client that waits, the value.
    It can be awaited for its result.  Pickled or copied, it is the id alone.

    @ivar codec: reads the result.
    @ivar existing: the task was there before, with the same unique key or the id
        that was chosen for this one; it is as it was, whatever was submitted now.
    """

    __slots__ = ("_face", "codec", "existing")

    _face: Face
    codec: Codec
    existing: bool

    def __new__(cls, task_id: str, face: Face, codec: Codec, existing: bool = False) -> TaskHandle:
        self = super().__new__(cls, task_id)
        self._face, self.codec, self.existing = face, codec, existing
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (self.id,)

    def __await__(self) -> Generator[Any, Any, Any]:
        """The result, when the task has ended."""
        wait: Generator[Any, Any, Any] = self.result().__await__()
        return wait

    @property
    def id(self) -> str:
        """The id as a plain text."""
        return str(self)

    def result(self, timeout: float | None = None) -> Any:
        """
        Wait for what the task's handler returned, as L{codec} reads it.

        @param timeout: seconds; C{None}: for ever.
        @raises TaskFailed: it ended without a result.
        @raises AnswerTimedOut: it has not ended in time.
        """
        return self._face.perform("result", self, timeout, self.codec)

    def outcome(self, timeout: float | None = None) -> Any:
        """Wait for the task to end; an L{Outcome}, however that was."""
        return self._face.perform("outcome", self, timeout)

    def status(self, history: bool = False) -> Any:
        """Where the task is in its life, as the protocol says; C{None}: it is forgotten."""
        return self._face.perform("view", self, history)

    def payload(self) -> Any:
        """What the task was submitted with, as bytes."""
        return self._face.perform("payload", self)

    def cancel(self, running: bool = False) -> Any:
        """
        Cancel the task if it waits, and with C{running} ask for it if it runs.

        @raises Conflict: it cannot be cancelled any more.
        """
        return self._face.perform("cancel_one", self, running)

    def retry(self, max_retries: int | None = None) -> Any:
        """
        Let the task, a dead letter, run again.

        @raises Conflict: it is none.
        """
        return self._face.perform("retry_one", self, max_retries)

    def delete(self) -> Any:
        """
        Have the task, which has ended, forgotten entirely.

        @raises Conflict: it has not ended.
        """
        return self._face.perform("delete_one", self)
