"""
Changing the fate of tasks: cancelling, reviving, forgetting them.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from taskqueue.operations.caller import Caller
from taskqueue.operations.fields import Form, boolean, integer, nullable
from taskqueue.operations.tasks import IDS
from taskqueue.operations.views import view_errors, view_states
from taskqueue.operations.visibility import each_allowed
from taskqueue.wire import MessageType

Header = dict[str, Any]

DELETE = Form({"tasks": IDS}, required=("tasks",))
RUN_NOW = Form({"tasks": IDS}, required=("tasks",))
CANCEL = Form({"tasks": IDS, "running": boolean}, required=("tasks",))
RETRY = Form({"tasks": IDS, "max_retries": nullable(integer(0, 1000))}, required=("tasks",))


def cancel(caller: Caller, values: Header) -> Deferred[Header]:
    """CANCEL_TASK."""
    service, running = caller.service, values.get("running", False)
    answers = each_allowed(
        caller, MessageType.CANCEL_TASK, values["tasks"], lambda ids: service.cancel(ids, running)
    )
    return answers.addCallback(view_states)


def retry(caller: Caller, values: Header) -> Deferred[Header]:
    """RETRY_TASK."""
    service, most = caller.service, values.get("max_retries")
    answers = each_allowed(
        caller, MessageType.RETRY_TASK, values["tasks"], lambda ids: service.retry(ids, most)
    )
    return answers.addCallback(view_states)


def run_now(caller: Caller, values: Header) -> Deferred[Header]:
    """RUN_NOW."""
    answers = each_allowed(caller, MessageType.RUN_NOW, values["tasks"], caller.service.run_now)
    return answers.addCallback(view_states)


def delete(caller: Caller, values: Header) -> Deferred[Header]:
    """DELETE_TASK."""
    answers = each_allowed(caller, MessageType.DELETE_TASK, values["tasks"], caller.service.delete)
    return answers.addCallback(
        lambda found: {"deleted": sum(a is None for a in found), **view_errors(found)}
    )
