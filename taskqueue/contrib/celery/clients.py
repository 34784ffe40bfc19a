"""
The clients of a process, for all backends of one broker: Celery makes a backend for each thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from taskqueue.client.all_calls import AllCalls
from taskqueue.client.blocking import BlockingClient
from taskqueue.client.greeting import ends_for_good
from taskqueue.client.lifetimes import renew_lock_in_child
from taskqueue.client.options import ClientOptions
from taskqueue.contrib.kombu.direct import DirectClient, can_be_direct
from taskqueue.errors import FatalClientError

_T = TypeVar("_T")

#: Makes a call and waits for it.
Call = Callable[[AllCalls], Coroutine[Any, Any, _T]]


class Clients:
    """
    One client for what is answered at once, and one that may wait, which has a thread.  One
    that the broker has refused makes room for another: its key may be replaced meanwhile.
    """

    def __init__(self, address: str, how: ClientOptions) -> None:
        """
        @raises BadRequest: the address is none, or a file of TLS or of the key cannot be used.
        """
        self._address = address
        self._how = how
        self._waiting = BlockingClient(address, **how)
        self._direct = DirectClient(address, how) if can_be_direct(address) else None

    def run(self, call: Call[_T]) -> _T:
        """Make a call that is answered at once."""
        return self.wait(call) if self._direct is None else self._direct.run(call)

    def wait(self, call: Call[_T]) -> _T:
        """Make a call that may take its time; others may be made meanwhile."""
        client = self._waiting
        try:
            return client.run(call)
        except FatalClientError as error:
            if ends_for_good(error, greeted=False):  # not what is too large, which others are not
                self._give_up(client)
            raise

    def close(self) -> None:
        """Disconnect; whoever wants clients for this address again gets others."""
        with _lock:
            for wanted in [name for name, one in _shared.items() if one is self]:
                del _shared[wanted]
        self._waiting.close()
        if self._direct is not None:
            self._direct.close()

    def _give_up(self, client: BlockingClient) -> None:
        with _lock:
            if self._waiting is client:
                self._waiting = BlockingClient(self._address, **self._how)
        client.close()


_lock = threading.Lock()
_shared: WeakValueDictionary[str, Clients] = WeakValueDictionary()


def shared_clients(address: str, how: ClientOptions) -> Clients:
    """
    The clients for this address, made in this way.

    @raises BadRequest: the address is none, or a file of TLS or of the key cannot be used.
    """
    wanted = f"{address} {sorted(how.items(), key=str)!r}"
    with _lock:
        clients = _shared.get(wanted)
        if clients is None:
            clients = _shared[wanted] = Clients(address, how)
        return clients


renew_lock_in_child(__name__)
