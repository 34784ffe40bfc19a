"""
Messages of kombu as tasks of the broker, and back.

A task's payload is the message in JSON, as other virtual transports of kombu write it,
with its body as text where it is some.  A task that somebody else has submitted is taken as
a message too: see L{foreign}.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from kombu.utils import json as kombu_json

from taskqueue.client.messages import Delivery, Submission
from taskqueue.contrib.kombu.names import broker_name, broker_priority, kombu_priority
from taskqueue.ids import new_task_id

Message = dict[str, Any]

#: The type of tasks that carry messages which are no calls of Celery's.
OTHER_TYPE = "kombu.message"

#: Beside a value, what says of which type it was (dates, for one) before JSON.
_TYPED = b'"__type__"'

#: The header of a task that names Celery's id of it.
ID_HEADER = "celery-id"

#: Longer than this no header of a task is made of Celery's id.
_LONGEST_ID = 255


class Limits(NamedTuple):
    """
    How long messages live in a queue, seconds; C{None}: until somebody takes them.

    @ivar ttl_s: by the queue's own rule (C{x-message-ttl}).
    @ivar lifetime_s: because the queue itself may go away.
    """

    ttl_s: float | None = None
    lifetime_s: float | None = None

    def shortest(self) -> float | None:
        """The first of both that ends."""
        ends = [one for one in self if one is not None]
        return min(ends) if ends else None


#: Of a queue that nobody has limited.
UNLIMITED = Limits()


def encode_body(message: Message) -> None:
    """Make the body of a message text, and say in its properties how."""
    body, properties = message["body"], message["properties"]
    if isinstance(body, str):
        properties["body_encoding"] = "utf-8"
        return
    raw = bytes(body)
    if str(message.get("content-encoding")).lower() == "utf-8":
        try:
            message["body"], properties["body_encoding"] = raw.decode(), "utf-8"
            return
        except UnicodeDecodeError:
            pass  # it says that it is text, and is not: what it is must come back
    message["body"] = base64.b64encode(raw).decode()
    properties["body_encoding"] = "base64"


def submission(message: Message, queue: str, limits: Limits, now: float) -> Submission:
    """
    The task that a message is, in one of the queues that it goes to.

    @param queue: its name at the broker.
    @param now: seconds since the epoch.
    """
    headers, properties = message["headers"], message["properties"]
    expires_at = _expires_at(properties.get("expiration"), limits.shortest(), now)
    run_at = eta_of(headers)
    if run_at is not None and (run_at <= now or (expires_at is not None and expires_at <= run_at)):
        # It is due; or would be gone by then, so that its consumer may hold it as elsewhere.
        run_at = None
    celery_id = headers.get("id")
    named = isinstance(celery_id, str) and len(celery_id) <= _LONGEST_ID
    return Submission(
        type_of(headers),
        kombu_json.dumps(message).encode(),
        queue,
        broker_priority(properties.get("priority")),
        new_task_id(),
        run_at,
        expires_at=expires_at,
        headers={ID_HEADER: celery_id} if named else None,
    )


def type_of(headers: Mapping[str, Any]) -> str:
    """The type of a message's task: the Celery task's name, where it calls one."""
    name = headers.get("task")
    return broker_name(name) if isinstance(name, str) and name else OTHER_TYPE


def eta_of(headers: Mapping[str, Any]) -> float | None:
    """
    When a call of Celery's is to run, seconds since the epoch.

    A time without a zone is the worker's affair: only that knows which one is meant.
    """
    eta = headers.get("eta")
    if not isinstance(eta, str):
        return None
    try:
        moment = datetime.fromisoformat(eta)
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.timestamp()


def _expires_at(expiration: Any, limit_s: float | None, now: float) -> float | None:
    """
    @param expiration: the message's own, in milliseconds, as text.
    """
    ends = [] if limit_s is None else [limit_s]
    if expiration is not None:
        try:
            # What is not ahead is refused; it may reach a consumer that waits.
            ends.append(max(float(expiration) / 1000, 0.001))
        except (TypeError, ValueError):
            raise ValueError(
                f"a message's expiration is {expiration!r}, and must be milliseconds, as a"
                " number or its text"
            ) from None
    return now + min(ends) if ends else None


def message_of(delivery: Delivery) -> Message:
    """The message that a delivery brings."""
    payload = delivery.payload
    try:
        message = json.loads(payload)
        if _TYPED in payload:
            message = kombu_json.loads(payload)
    except ValueError:
        message = None
    if not (isinstance(message, dict) and "body" in message and "properties" in message):
        message = foreign(delivery)
    properties = message["properties"]
    properties["delivery_tag"] = delivery.lease
    info = properties.setdefault("delivery_info", {})
    info["redelivered"] = message["redelivered"] = delivery.attempt > 1
    return message


def foreign(delivery: Delivery) -> Message:
    """
    A task that was submitted by another client, as a message.

    Where its payload is C{[args, kwargs, {}]} in JSON, it calls the Celery task of its
    type's name.
    """
    try:
        body, encoding = delivery.payload.decode(), "utf-8"
    except UnicodeDecodeError:
        body, encoding = base64.b64encode(delivery.payload).decode(), "base64"
    text = encoding == "utf-8"
    return {
        "body": body,
        "content-type": "application/json" if text else "application/data",
        "content-encoding": "utf-8" if text else "binary",
        "headers": {
            "lang": "py",
            "task": delivery.type,
            "id": delivery.id,
            "root_id": delivery.id,
            **delivery.headers,
        },
        "properties": {
            "correlation_id": delivery.id,
            "priority": kombu_priority(delivery.priority),
            "delivery_info": {"exchange": "", "routing_key": delivery.queue},
            "body_encoding": encoding,
        },
    }


def now() -> float:
    """Seconds since the epoch."""
    return time.time()
