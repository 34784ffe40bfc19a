"""
Results of taskiq's tasks, as values of the broker.
"""

from __future__ import annotations

from typing import Any, Unpack

from taskiq import AsyncResultBackend, TaskiqResult
from taskiq.abc.serializer import TaskiqSerializer
from taskiq.depends.progress_tracker import TaskProgress
from taskiq.exceptions import ResultGetError

from taskqueue.client.addresses import DEFAULT_ADDRESS
from taskqueue.client.options import ClientOptions
from taskqueue.client.values import Value
from taskqueue.contrib.naming import queue_name
from taskqueue.contrib.taskiq.connecting import Connecting
from taskqueue.errors import BadRequest

#: How long results are kept, seconds: a day.
KEEP_S = 86_400.0


class ResultIsMissing(ResultGetError):
    """There is no result of this task."""

    __template__ = "There is no result of task {task_id}: it has not ended, or ended too long ago"
    task_id: str


class TaskqueueResultBackend(AsyncResultBackend[Any]):
    """
    Keeps results, and how far tasks are, at the broker.

    A result can be read as often as one likes until C{expires_s} is over, or, where
    C{keep_results} is false, once.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        namespace: str = "taskiq-results",
        expires_s: float | None = KEEP_S,
        keep_results: bool = True,
        serializer: TaskiqSerializer | None = None,
        **how: Unpack[ClientOptions],
    ) -> None:
        """
        @param address: of the broker, as L{TaskqueueBroker} takes it.
        @param namespace: of the values.
        @param expires_s: how long results are kept; C{None}: for ever.
        @param keep_results: whether a result stays when it has been read.
        @param serializer: of results; C{None}: JSON.
        @param how: C{name}, C{timeout_s}, C{tls}, C{api_key}; see L{ClientSettings}.
        @raises BadRequest: one of these cannot be used.
        """
        self.namespace = queue_name(namespace, "the namespace of results")
        if expires_s is not None and expires_s <= 0:
            raise BadRequest(f"expires_s is {expires_s!r}, expected seconds, or None for ever")
        self.connecting = Connecting("this result backend", address, **how)
        self._expires_s = expires_s
        self._keep_results = keep_results
        self._serializer = serializer

    async def startup(self) -> None:
        """
        Connect.

        @raises CannotConnect: there is no broker; or what it refused the connection with.
        """
        await self.connecting.begin(patient=False)

    async def shutdown(self) -> None:
        """Disconnect."""
        await self.connecting.end()

    # --- results --------------------------------------------------------------------------

    async def set_result(self, task_id: str, result: TaskiqResult[Any]) -> None:
        """Keep a task's result."""
        await self._put(task_id, result)

    async def is_result_ready(self, task_id: str) -> bool:
        """Whether there is a result of this task."""
        client = self.connecting.client
        return await client.get_value(self.namespace, task_id) is not None

    async def get_result(self, task_id: str, with_logs: bool = False) -> TaskiqResult[Any]:
        """
        A task's result.

        @raises ResultIsMissing: there is none.
        """
        client = self.connecting.client
        read = client.get_value if self._keep_results else client.take_value
        value = await read(self.namespace, task_id)
        if value is None:
            raise ResultIsMissing(task_id=task_id)
        result: TaskiqResult[Any] = self._read(TaskiqResult, value)
        if not with_logs:
            result.log = None
        return result

    # --- progress -------------------------------------------------------------------------

    async def set_progress(self, task_id: str, progress: TaskProgress[Any]) -> None:
        """Keep how far a task is."""
        await self._put(_progress_of(task_id), progress)

    async def get_progress(self, task_id: str) -> TaskProgress[Any] | None:
        """How far a task is; C{None} where it has not said so."""
        value = await self.connecting.client.get_value(self.namespace, _progress_of(task_id))
        return None if value is None else self._read(TaskProgress, value)

    # --- as bytes -------------------------------------------------------------------------

    async def _put(self, key: str, model: Any) -> None:
        if self._serializer is None:
            data = model.model_dump_json().encode()
        else:
            data = self._serializer.dumpb(model.model_dump())
        client = self.connecting.client
        await client.put_value(self.namespace, key, data, expires_s=self._expires_s)

    def _read(self, kind: Any, value: Value) -> Any:
        if self._serializer is None:
            return kind.model_validate_json(value.value)
        return kind.model_validate(self._serializer.loadb(value.value))


def _progress_of(task_id: str) -> str:
    return f"{task_id}:progress"
