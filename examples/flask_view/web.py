"""
The web application: C{flask --app examples.flask_view.web run}.
"""

from __future__ import annotations

import os
from functools import cache
from http import HTTPStatus
from typing import Any

from flask import Flask, abort, request, url_for

import taskqueue
from taskqueue.client.blocking import BlockingClient
from taskqueue.errors import CannotConnect, QueueFull, TaskQueueError

web = Flask(__name__)

Answer = tuple[dict[str, Any], HTTPStatus] | tuple[dict[str, Any], HTTPStatus, dict[str, str]]


@cache
def client() -> BlockingClient:
    """One client for all threads of this process; a forked process gets a connection of its own."""
    return taskqueue.connect(os.environ.get("TASKQUEUE_BROKER", "tq://127.0.0.1:7780"))


@web.post("/letters")
def post_letter() -> Answer:
    """Take a letter; it is safe when this is answered, and sent some time later."""
    letter = request.get_json()
    if not isinstance(letter, dict) or set(letter) != {"to", "subject"}:
        abort(HTTPStatus.BAD_REQUEST, "to and subject, please")
    # As examples.flask_view.tasks declares it; a site need not import what its workers do.
    task = client().submit(
        "send_email",
        letter,
        queue="mail",
        unique=f"mail:{letter['to']}:{letter['subject']}",
        unique_for=3600,
    )
    where = url_for("letter", task=task.id)
    return {"id": task.id, "status": where}, HTTPStatus.ACCEPTED, {"Location": where}


@web.get("/letters/<task>")
def letter(task: str) -> Answer:
    """Where a letter is."""
    try:
        (status,) = client().status([task])
    except TaskQueueError:
        status = None
    if status is None:
        abort(HTTPStatus.NOT_FOUND)
    return {"state": status["state"], "error": status.get("error")}, HTTPStatus.OK


@web.errorhandler(QueueFull)
@web.errorhandler(CannotConnect)
def busy(error: TaskQueueError) -> Answer:
    """Not now: the visitor is told when to come again."""
    pause = str(round(error.retry_after_s or 5))
    return {"error": error.message}, HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": pause}
