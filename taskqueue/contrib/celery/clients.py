"""
One client in a process for all backends of one broker: Celery makes a backend for each thread.
"""

from __future__ import annotations

import threading
from weakref import WeakValueDictionary

from taskqueue.client.blocking import BlockingClient
from taskqueue.client.options import ClientOptions

_lock = threading.Lock()
_clients: WeakValueDictionary[str, BlockingClient] = WeakValueDictionary()


def shared_client(address: str, how: ClientOptions) -> BlockingClient:
    """
    The client for this address, made in this way.

    @raises BadRequest: the address is none, or a file of TLS or of the key cannot be used.
    """
    wanted = f"{address} {sorted(how.items(), key=str)!r}"
    with _lock:
        client = _clients.get(wanted)
        if client is None:
            client = _clients[wanted] = BlockingClient(address, **how)
        return client
