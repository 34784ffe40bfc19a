"""
Messages: their types, and which of their items have bytes of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple

Header = dict[str, Any]


class MessageType(IntEnum):
    """The second field of a frame.  Never reuse a number."""

    SUBMIT_TASK = 1
    CLAIM_TASK = 2
    TASK_RESULT = 3
    HEARTBEAT = 4
    ACK = 5
    NACK = 6
    QUERY_STATUS = 7
    CANCEL_TASK = 8
    GET_STATS = 9
    REGISTER_WORKER = 10
    DEREGISTER_WORKER = 11
    HELLO = 12
    EXTEND_LEASE = 13
    RELEASE_TASK = 14
    WATCH = 15
    EVENT = 16
    UNWATCH = 17
    PING = 18
    RETRY_TASK = 19
    LIST_TASKS = 20
    LIST_QUEUES = 21
    LIST_WORKERS = 22
    PAUSE_QUEUE = 23
    RESUME_QUEUE = 24
    SET_QUEUE = 25
    PURGE_QUEUE = 26
    REPORT_PROGRESS = 27
    BACKUP = 28
    DELETE_TASK = 29
    GET_PAYLOAD = 30
    ORDER_WORKER = 31
    PUT_PERIODIC = 32
    DELETE_PERIODIC = 33
    LIST_PERIODIC = 34
    PAUSE_PERIODIC = 35
    TRIGGER_PERIODIC = 36
    AUDIT = 37
    PUT_VALUES = 38
    GET_VALUES = 39
    TAKE_VALUE = 40
    DELETE_VALUES = 41
    INCREASE_VALUE = 42
    LIST_VALUES = 43
    WAIT_VALUES = 44
    LIST_NAMESPACES = 45
    RUN_NOW = 46
    BURY_TASK = 47
    RETRY_QUEUE = 48


#: Message type by the name that a line's C{"op"} has.
OPERATIONS: dict[str, MessageType] = {kind.name.lower(): kind for kind in MessageType} | {
    "submit": MessageType.SUBMIT_TASK,
    "claim": MessageType.CLAIM_TASK,
    "result": MessageType.TASK_RESULT,
    "status": MessageType.QUERY_STATUS,
    "cancel": MessageType.CANCEL_TASK,
    "stats": MessageType.GET_STATS,
    "register": MessageType.REGISTER_WORKER,
    "deregister": MessageType.DEREGISTER_WORKER,
    "extend": MessageType.EXTEND_LEASE,
    "release": MessageType.RELEASE_TASK,
    "bury": MessageType.BURY_TASK,
    "retry": MessageType.RETRY_TASK,
    "tasks": MessageType.LIST_TASKS,
    "queues": MessageType.LIST_QUEUES,
    "workers": MessageType.LIST_WORKERS,
    "pause": MessageType.PAUSE_QUEUE,
    "resume": MessageType.RESUME_QUEUE,
    "purge": MessageType.PURGE_QUEUE,
    "progress": MessageType.REPORT_PROGRESS,
    "delete": MessageType.DELETE_TASK,
    "payload": MessageType.GET_PAYLOAD,
    "order": MessageType.ORDER_WORKER,
    "periodics": MessageType.LIST_PERIODIC,
    "trigger": MessageType.TRIGGER_PERIODIC,
    "values": MessageType.LIST_VALUES,
    "namespaces": MessageType.LIST_NAMESPACES,
}


class Part(NamedTuple):
    """
    A piece of opaque bytes that an item may have.

    @ivar name: its key in memory, where it is C{bytes}; in a line, text.
    @ivar size: the key of its length in a frame's header.
    @ivar b64: its key in a line, where it is not text.
    @ivar default: what an item without it has; C{None}: nothing.
    """

    name: str
    size: str
    b64: str
    default: bytes | None = None


_PAYLOAD = Part("payload", "size", "payload_b64")
_VALUE = Part("value", "size", "value_b64")
_RESULT = Part("result", "result_size", "result_b64")

Lists = Mapping[str, tuple[Part, ...]]

_ANY_ITEMS: Lists = dict.fromkeys(("tasks", "results", "events"), (_PAYLOAD, _RESULT))

#: By message type: which lists of the header have items with bytes of their
#: own, and which.  The bytes of a frame follow in the order of this table, in a
#: list in the order of its items, in an item payload before result.
ATTACHED: Mapping[MessageType, Lists] = {
    MessageType.SUBMIT_TASK: {"tasks": (_PAYLOAD._replace(default=b""),)},
    MessageType.PUT_PERIODIC: {"periodics": (_PAYLOAD._replace(default=b""),)},
    MessageType.TASK_RESULT: {"results": (_RESULT,)},
    MessageType.PUT_VALUES: {"values": (_VALUE._replace(default=b""),)},
    MessageType.ACK: {**_ANY_ITEMS, "values": (_VALUE,)},
    MessageType.EVENT: _ANY_ITEMS,
}
