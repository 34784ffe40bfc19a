"""
The command that starts a worker.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from taskqueue.cli.running import OK, REFUSED, USAGE, complain, explain
from taskqueue.client import Client
from taskqueue.errors import BadRequest, TaskQueueError
from taskqueue.worker import Handler, Worker
from taskqueue.worker.handlers import checked


def load_handlers(named: str) -> dict[str, Handler]:
    """
    The mapping that C{MODULE:NAME} names; modules in the working directory count.

    @raises BadRequest: there is none, its module cannot be imported, or it is no
        mapping of task type to function.
    """
    module_name, colon, name = named.partition(":")
    if not module_name or not colon or not name:
        raise BadRequest(f"{named!r} does not name handlers: write MODULE:NAME, as in app:HANDLERS")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # whatever the module does when it is imported
        raise BadRequest(f"cannot import {module_name}: {type(error).__name__}: {error}") from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise BadRequest(f"module {module_name} has no {name}")
        found = getattr(found, part)
    return checked(found)


async def work(
    reactor: Any,
    address: str,
    timeout_s: float,
    handlers: dict[str, Handler],
    *,
    queues: Sequence[str],
    concurrency: int,
    worker_id: str | None,
    stop_timeout_s: float,
) -> int:
    """C{taskqueue worker}: until it is told to end."""
    try:
        worker = Worker(
            handlers,
            Client(address, reactor, name="taskqueue-worker", timeout_s=timeout_s),
            reactor,
            queues=queues,
            concurrency=concurrency,
            worker_id=worker_id,
            stop_timeout_s=stop_timeout_s,
        )
    except BadRequest as error:
        complain(str(error))
        return USAGE
    reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)
    worker.startService()
    try:
        await worker.finished
    except TaskQueueError as error:
        complain(explain(error))
        return REFUSED
    return OK
