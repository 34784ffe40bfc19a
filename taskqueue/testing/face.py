"""
The other end of a task's handle.
"""

from __future__ import annotations

from typing import Any, Protocol

from taskqueue.client import Outcome
from taskqueue.client.answers import error_from, state_from
from taskqueue.client.codecs import Codec, codec_of
from taskqueue.core.task import State
from taskqueue.wire import Header, MessageType


class Asked(Protocol):
    """What is needed of a broker."""

    def ask(self, kind: MessageType, **header: Any) -> Header:
        """Ask it for something."""

    def outcome(self, task_id: str) -> Outcome:
        """How a task ended."""

    def view(self, task_id: str, history: bool = False) -> dict[str, Any]:
        """What it knows of a task."""


class Face:
    """What handles ask of a client."""

    def __init__(self, broker: Asked) -> None:
        self._broker = broker

    def perform(self, name: str, *args: Any, **how: Any) -> Any:
        """What the call with this name gives."""
        return getattr(self, name)(*args, **how)

    def result(self, task_id: str, timeout: float | None, codec: str | Codec) -> Any:
        return codec_of(codec).decode(self._broker.outcome(str(task_id)).value())

    def outcome(self, task_id: str, timeout: float | None = None) -> Outcome:
        return self._broker.outcome(str(task_id))

    def view(self, task_id: str, history: bool = False) -> dict[str, Any] | None:
        return self._broker.view(str(task_id), history)

    def payload(self, task_id: str) -> bytes:
        answer = self._broker.ask(MessageType.GET_PAYLOAD, task=str(task_id))
        return bytes(answer["tasks"][0].get("payload") or b"")

    def cancel_one(self, task_id: str, running: bool = False) -> State:
        return self._change(MessageType.CANCEL_TASK, task_id, running=running)

    def retry_one(self, task_id: str, max_retries: int | None = None) -> State:
        return self._change(MessageType.RETRY_TASK, task_id, max_retries=max_retries)

    def delete_one(self, task_id: str) -> None:
        answer = self._broker.ask(MessageType.DELETE_TASK, tasks=[str(task_id)])
        for error in answer.get("errors") or ():
            raise error_from(error)

    def _change(self, kind: MessageType, task_id: str, **how: Any) -> State:
        told = {name: value for name, value in how.items() if value is not None}
        answer = self._broker.ask(kind, tasks=[str(task_id)], **told)
        for error in answer.get("errors") or ():
            raise error_from(error)
        return state_from(answer["states"][0])
