"""
Every error of the project, in one tree.

Each error has a stable, upper-case wire ``code`` and carries its details as
``fields``.  The first line of a class's docstring is its default message.
L{ClientError} keeps the connection that caused it; L{FatalClientError} ends it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self


class TaskQueueError(Exception):
    """The task queue could not do what was asked."""

    code: ClassVar[str] = "ERROR"

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after_s: float | None = None,
        **fields: Any,
    ) -> None:
        if message is None:
            message = (type(self).__doc__ or "").strip().partition("\n")[0]
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.fields = fields

    def __str__(self) -> str:
        return self.message

    def alone(self) -> Self:
        """
        Itself, without its traceback.

        Who keeps an error as an answer must not keep the frames in which it was raised: they
        hold what was asked, payloads too, and where they hold the answers as well, it is a cycle,
        which stays until the garbage collector comes.
        """
        return self.with_traceback(None)


class ClientError(TaskQueueError):
    """The request cannot be carried out; the connection goes on."""

    code = "BAD_REQUEST"


class FatalClientError(TaskQueueError):
    """The connection cannot be trusted any more and is closed."""

    code = "BAD_FRAME"


# --- what is wrong with a request -------------------------------------------


class BadRequest(ClientError):
    """The request is malformed."""

    code = "BAD_REQUEST"


class UnknownOperation(ClientError):
    """There is no such operation."""

    code = "UNKNOWN_OPERATION"


class BatchTooLarge(ClientError):
    """The request names more items than one batch may hold."""

    code = "BATCH_TOO_LARGE"


class PayloadTooLarge(ClientError):
    """The payload is larger than the broker accepts."""

    code = "PAYLOAD_TOO_LARGE"


class TooManyRequests(ClientError):
    """This connection has too many unanswered requests."""

    code = "TOO_MANY_REQUESTS"


# --- what is wrong with the state of things ----------------------------------


class UnknownTask(ClientError):
    """There is no task with this id."""

    code = "UNKNOWN_TASK"


class Conflict(ClientError):
    """It is not in a state that allows this."""

    code = "CONFLICT"


class LeaseLost(ClientError):
    """This lease is not the task's current one; the task is untouched."""

    code = "LEASE_LOST"


class UnknownDependency(ClientError):
    """A dependency names a task that does not exist."""

    code = "UNKNOWN_DEPENDENCY"


class DependencyCycle(ClientError):
    """The dependencies of this batch form a cycle."""

    code = "DEPENDENCY_CYCLE"


class UnknownPeriodic(ClientError):
    """There is no periodic task with this name."""

    code = "UNKNOWN_PERIODIC"


class UnknownQueue(ClientError):
    """There is no such queue."""

    code = "UNKNOWN_QUEUE"


class UnknownWorker(ClientError):
    """This worker is not registered."""

    code = "UNKNOWN_WORKER"


class WorkerExists(ClientError):
    """A live worker with this id and incarnation is connected already."""

    code = "WORKER_EXISTS"


class StaleIncarnation(ClientError):
    """A newer incarnation of this worker has registered."""

    code = "STALE_INCARNATION"


# --- not you -----------------------------------------------------------------


class Forbidden(ClientError):
    """This is not allowed to whoever asks."""

    code = "FORBIDDEN"


class RateLimited(ClientError):
    """Too much was asked in too short a time; try again later."""

    code = "RATE_LIMITED"


# --- not now -----------------------------------------------------------------


class QueueFull(ClientError):
    """The queue is full; try again later."""

    code = "QUEUE_FULL"


class ValuesFull(ClientError):
    """There is no room for more values; delete some, or let them expire."""

    code = "VALUES_FULL"


class StoreUnavailable(ClientError):
    """The store cannot write at the moment, so nothing can be accepted."""

    code = "STORE_UNAVAILABLE"


class ShuttingDown(ClientError):
    """The broker is stopping and takes no new work."""

    code = "SHUTTING_DOWN"


class InternalError(ClientError):
    """The broker failed unexpectedly; its log says why."""

    code = "INTERNAL_ERROR"


# --- what ends a connection --------------------------------------------------


class BadFrame(FatalClientError):
    """The bytes received are not a frame of this protocol."""

    code = "BAD_FRAME"


class FrameTooLarge(FatalClientError):
    """The frame is larger than the broker accepts."""

    code = "FRAME_TOO_LARGE"


class HelloRequired(FatalClientError):
    """The first message of a connection must be HELLO."""

    code = "HELLO_REQUIRED"


class Unauthenticated(FatalClientError):
    """The broker has to know who asks: a valid key is needed."""

    code = "UNAUTHENTICATED"


class UnsupportedVersion(FatalClientError):
    """The broker speaks none of the offered protocol versions."""

    code = "UNSUPPORTED_VERSION"


class TooManyConnections(FatalClientError):
    """The broker has as many connections as it may; try again later."""

    code = "TOO_MANY_CONNECTIONS"


class TimedOut(FatalClientError):
    """The connection was silent for too long."""

    code = "TIMEOUT"


class Overloaded(FatalClientError):
    """The broker has too much to hold at the moment; connect again later."""

    code = "OVERLOADED"


class SlowReader(FatalClientError):
    """The peer does not read what it is sent."""

    code = "SLOW_READER"


# --- what keeps a broker from starting or running ----------------------------


class ConfigError(TaskQueueError):
    """The configuration is not usable."""

    code = "CONFIG"

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class StoreError(TaskQueueError):
    """The store failed."""

    code = "STORE"


class StoreLocked(StoreError):
    """Another broker uses this data directory."""

    code = "STORE_LOCKED"


class StoreCorrupt(StoreError):
    """The store's file is damaged."""

    code = "STORE_CORRUPT"


class StoreVersion(StoreError):
    """The store was written by a newer version of taskqueue."""

    code = "STORE_VERSION"


class StoreFailed(StoreError):
    """The store could not write or read; it may work again later."""

    code = "STORE_FAILED"


# --- what only a client sees ---------------------------------------------------


class ConnectionLost(TaskQueueError):
    """The connection to the broker was lost before the answer came."""

    code = "CONNECTION_LOST"


class CannotConnect(TaskQueueError):
    """There is no connection to the broker."""

    code = "CANNOT_CONNECT"


class AnswerTimedOut(TaskQueueError):
    """The broker did not answer in time; it may yet do what was asked."""

    code = "ANSWER_TIMED_OUT"


class TaskFailed(TaskQueueError):
    """The task ended without a result."""

    code = "TASK_FAILED"


def by_code() -> dict[str, type[TaskQueueError]]:
    """
    Every error class by its wire code, for clients to raise what a NACK names.

    @return: code to class; of two classes with one code, the most specific.
    """
    found: dict[str, type[TaskQueueError]] = {}
    pending: list[type[TaskQueueError]] = [TaskQueueError]
    while pending:
        cls = pending.pop(0)
        found[cls.code] = cls
        pending.extend(cls.__subclasses__())
    return found
