"""
A worker for a backend's tasks, as C{manage.py taskqueue_worker} runs it.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import Any, NamedTuple

from django.core.management.base import CommandError
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.logger import STDLibLogObserver, globalLogBeginner

from taskqueue.client import Client
from taskqueue.contrib.django.backend import Backend
from taskqueue.contrib.django.reloading import Reload
from taskqueue.contrib.django.running import BACKEND_VARIABLE, WORKER_VARIABLE
from taskqueue.errors import TaskQueueError
from taskqueue.worker import WorkerService
from taskqueue.worker.signals import heed_signals
from taskqueue.worker.vitals import make_worker_id

#: Where child processes find what they run.
TASKS = "taskqueue.contrib.django.handlers:tasks"

#: How long the broker may take to answer a worker, seconds: nobody's request waits for it.
TIMEOUT_S = 30.0


class Order(NamedTuple):
    """
    What the command line says.

    @ivar queues: in order of preference.
    @ivar worker_id: C{None}: made up.
    @ivar reload: start anew when the code changes.
    @ivar how: more for L{WorkerService}.
    """

    backend: Backend
    queues: list[str]
    worker_id: str | None
    reload: bool
    how: dict[str, Any]


def serve(order: Order) -> None:
    """
    Run a worker until it is told to end, and anew whenever its code has changed, where that
    is ordered.

    @raises CommandError: it cannot run, or the broker does not want it.
    """
    problem: TaskQueueError | None = None
    reload: Reload | None = None

    async def body(reactor: Any) -> None:
        nonlocal problem, reload
        try:
            worker = make_worker(reactor, order)
            if order.reload:
                reload = Reload(worker, reactor)
            await _run(worker, reactor)
        except TaskQueueError as error:
            problem = error
        finally:
            if reload is not None:
                reload.stop()

    with suppress(SystemExit):
        react(lambda reactor: Deferred.fromCoroutine(body(reactor)))
    if problem is not None:
        raise CommandError(str(problem))
    if reload is not None and reload.wanted:
        start_anew()


def make_worker(reactor: Any, order: Order) -> WorkerService:
    """
    The worker that is ordered, not started.

    @raises BadRequest: its tasks cannot be imported, or something else is wrong.
    """
    worker_id = order.worker_id or make_worker_id()
    # Child processes inherit the environment.
    os.environ[BACKEND_VARIABLE] = order.backend.alias
    os.environ[WORKER_VARIABLE] = worker_id
    reach = order.backend.settings.reach._replace(timeout_s=TIMEOUT_S)
    client = Client(reach.address, reactor, **reach.client_options("django-worker"))
    return WorkerService(
        TASKS, client, reactor, queues=order.queues, worker_id=worker_id, **order.how
    )


async def _run(worker: WorkerService, reactor: Any) -> None:
    heed_signals(worker, reactor)
    reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)
    worker.startService()
    await worker.finished


def start_anew() -> None:
    """Let the same command begin again in this process, with the code as it is now."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def log_to_django(verbosity: int) -> None:
    """
    Have Python's C{logging}, as the settings configured it, log what the worker has to say;
    where they say nothing of it, it goes to the standard error stream.

    @param verbosity: 0-3, of the command line.
    """
    logger = logging.getLogger("taskqueue")
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s [%(levelname)s] %(message)s"))
        logger.addHandler(handler)
        levels = (logging.ERROR, logging.INFO, logging.DEBUG)
        logger.setLevel(levels[min(verbosity, 2)])
    observer = STDLibLogObserver("taskqueue")
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)
