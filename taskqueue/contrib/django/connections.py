"""
Connections to brokers, one for each process and broker however many threads and backends
use it.

Django makes a backend for each thread, so what they share cannot stand in them.  A client
connects at its first call, again where the connection is lost, anew in a process that was
forked, and is closed when the interpreter ends.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from taskqueue.client.blocking import BlockingClient
from taskqueue.client.lifetimes import renew_lock_in_child
from taskqueue.contrib.django.options import Reach
from taskqueue.errors import Unauthenticated, UnsupportedVersion

#: What the broker's operators read of who is connected.
NAME = "django"

#: A client that the broker has refused with one of these does not connect again.
_FOR_GOOD = (Unauthenticated, UnsupportedVersion)

_lock = threading.Lock()
_clients: dict[Reach, BlockingClient] = {}


def client_for(reach: Reach) -> BlockingClient:
    """
    The client of this process for a broker.

    @raises BadRequest: a file of TLS or of the key cannot be used.
    """
    client = _clients.get(reach)
    if client is None:
        with _lock:
            client = _clients.get(reach)
            if client is None:
                client = BlockingClient(reach.address, **reach.client_options(NAME))
                _clients[reach] = client
    return client


@contextmanager
def connected(reach: Reach) -> Iterator[BlockingClient]:
    """
    The client of this process for a broker, to be called within the context.  One that is of
    no use any more makes room for another: its key may be mended while the process runs.

    @raises BadRequest: a file of TLS or of the key cannot be used.
    """
    client = client_for(reach)
    try:
        yield client
    except _FOR_GOOD:
        with _lock:
            if _clients.get(reach) is client:
                del _clients[reach]
        client.close()
        raise


def close_clients() -> None:
    """Close all of this process; whoever asks for one again gets another."""
    with _lock:
        clients = list(_clients.values())
        _clients.clear()
    for client in clients:
        client.close()


renew_lock_in_child(__name__)
