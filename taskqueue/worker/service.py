"""
A worker as other programs embed it, and as the command runs it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from taskqueue.client import Client
from taskqueue.errors import BadRequest
from taskqueue.worker.bounds import check_recycling
from taskqueue.worker.executors import Executor
from taskqueue.worker.executors.processes import Processes
from taskqueue.worker.work import load_tasks
from taskqueue.worker.worker import STOP_TIMEOUT_S, Worker

ExecutorName = Literal["processes", "threads"]


class WorkerService(Worker):
    """
    A worker that finds its tasks by name, and runs them in child processes or in
    threads::

        worker = WorkerService("myapp.tasks:app", "tq://broker:7780", reactor, concurrency=8)
        worker.setServiceParent(application)
    """

    def __init__(
        self,
        tasks: Any,
        broker: Client | str,
        reactor: Any,
        *,
        executor: ExecutorName = "processes",
        concurrency: int = 1,
        recycle_after: int | None = None,
        recycle_mb: float | None = None,
        queues: Sequence[str] = ("default",),
        prefetch: int | None = None,
        worker_id: str | None = None,
        incarnation: int | None = None,
        stop_timeout_s: float = STOP_TIMEOUT_S,
        prepare: Callable[[Client], Awaitable[None]] | None = None,
        **pool: Any,
    ) -> None:
        """
        What is not named here is as for L{Worker}.

        @param tasks: C{MODULE:NAME} of an L{App} or of a mapping of task type to
            function; for threads, one of these itself will do.
        @param broker: its address, or a client that is not started yet.
        @param recycle_after: a child process is replaced after so many tasks.
        @param recycle_mb: a child process is replaced when it takes more memory,
            in MB of 2**20 bytes.
        @param pool: more for L{Processes}.
        @raises BadRequest: C{tasks} are none, or cannot be imported, or a number is out of its
            bounds.
        """
        check_recycling(recycle_after, recycle_mb)
        chosen: Executor | None = None
        if executor == "processes":
            chosen = Processes(
                *(_named(tasks), concurrency, reactor),
                recycle_after=recycle_after,
                recycle_mb=recycle_mb,
                **pool,
            )
        elif executor != "threads":
            raise BadRequest(f"there is no executor {executor!r}: say processes or threads")
        elif recycle_after is not None or recycle_mb is not None:
            raise BadRequest("threads are not recycled: say so for processes only")
        super().__init__(
            load_tasks(tasks) if isinstance(tasks, str) else tasks,
            Client(broker, reactor, name="taskqueue-worker") if isinstance(broker, str) else broker,
            reactor,
            queues=queues,
            concurrency=concurrency,
            pool=chosen,
            prefetch=prefetch,
            worker_id=worker_id,
            incarnation=incarnation,
            stop_timeout_s=stop_timeout_s,
            prepare=prepare,
        )


def _named(tasks: Any) -> str:
    if not isinstance(tasks, str):
        raise BadRequest(
            "child processes import their tasks: name them as MODULE:NAME, or use threads"
        )
    return tasks
