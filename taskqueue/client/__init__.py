"""
Clients of the native protocol.

C{connect()} gives a L{Client} for Twisted.
"""

from taskqueue.client.client import Client, connect
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

__all__ = [
    "Client",
    "Delivery",
    "Lost",
    "Orders",
    "Outcome",
    "Purged",
    "Report",
    "Search",
    "Submission",
    "TaskList",
    "connect",
]
