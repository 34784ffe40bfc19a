"""
Clients of the native protocol, with three faces.

For Twisted, L{connect} and L{Client} here; for asyncio, L{taskqueue.client.aio};
for callers that wait, L{taskqueue.client.blocking}.  What belongs to Twisted is
imported when it is asked for, and so not in programs that use the others.
"""

from typing import TYPE_CHECKING, Any

from taskqueue.client.codecs import Codec, register
from taskqueue.client.handles import TaskHandle
from taskqueue.client.messages import (
    Delivery,
    Lost,
    Orders,
    Outcome,
    Purged,
    Report,
    Search,
    Submission,
    TaskList,
)
from taskqueue.client.submitting import Progress
from taskqueue.client.tls import TLS
from taskqueue.client.values import Value

if TYPE_CHECKING:
    from taskqueue.client.client import Client, connect

__all__ = [
    "TLS",
    "Client",
    "Codec",
    "Delivery",
    "Lost",
    "Orders",
    "Outcome",
    "Progress",
    "Purged",
    "Report",
    "Search",
    "Submission",
    "TaskHandle",
    "TaskList",
    "Value",
    "connect",
    "register",
]


def __getattr__(name: str) -> Any:
    if name in ("Client", "connect"):
        from taskqueue.client import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
