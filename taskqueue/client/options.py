"""
What can be said when a client is made, whichever face it has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

from taskqueue.client.all_calls import TIMEOUT_S
from taskqueue.client.codecs import Codec
from taskqueue.client.credentials import ApiKey
from taskqueue.client.tls import TLS


class ClientOptions(TypedDict, total=False):
    """The fields of L{ClientSettings}, as keyword arguments."""

    name: str
    timeout_s: float
    codec: str | Codec
    max_in_flight: int | None
    tls: TLS | bool | None
    api_key: str | ApiKey | None


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """
    How a client is made.

    @ivar name: what it calls itself towards the broker.
    @ivar timeout_s: how long an answer may take.
    @ivar codec: for payloads that are no bytes, and for their results.
    @ivar max_in_flight: most requests under way at a time; the broker's own bound
        holds all the same.
    @ivar tls: how connections are encrypted; C{True}: with what the environment and this
        machine say; C{None}: so for addresses that begin with C{tqs://}, others not at all.
    @ivar api_key: the key by which the broker knows this client, or where it is; C{None}: what
        C{TASKQUEUE_API_KEY} has, or else the file that C{TASKQUEUE_API_KEY_FILE} names, or
        else none.
    """

    name: str = "taskqueue-client"
    timeout_s: float = TIMEOUT_S
    codec: str | Codec = "json"
    max_in_flight: int | None = None
    tls: TLS | bool | None = None
    api_key: str | ApiKey | None = field(default=None, repr=False)
