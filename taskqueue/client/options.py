"""
What can be said when a client is made, whichever face it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from taskqueue.client.all_calls import TIMEOUT_S
from taskqueue.client.codecs import Codec


class ClientOptions(TypedDict, total=False):
    """The fields of L{ClientSettings}, as keyword arguments."""

    name: str
    timeout_s: float
    codec: str | Codec
    max_in_flight: int | None


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """
    How a client is made.

    @ivar name: what it calls itself towards the broker.
    @ivar timeout_s: how long an answer may take.
    @ivar codec: for payloads that are no bytes, and for their results.
    @ivar max_in_flight: most requests under way at a time; the broker's own bound
        holds all the same.
    """

    name: str = "taskqueue-client"
    timeout_s: float = TIMEOUT_S
    codec: str | Codec = "json"
    max_in_flight: int | None = None
