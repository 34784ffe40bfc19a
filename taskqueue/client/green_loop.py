"""
An event loop where threads are greenlets: all clients of a process share one.

Gevent and eventlet replace threads by greenlets, which take turns in one thread of the operating
system, and of that asyncio remembers which loop runs: there can be one only.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from taskqueue.client.lifetimes import renew_lock_in_child
from taskqueue.client.loop_thread import CLOSED, LoopThread
from taskqueue.errors import ConnectionLost

_T = TypeVar("_T")


def threads_are_greenlets() -> bool:
    """Whether C{threading} has been replaced by gevent's or eventlet's."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return True
    eventlet = sys.modules.get("eventlet.patcher")
    return eventlet is not None and bool(eventlet.is_monkey_patched("thread"))


class SharedLoop(LoopThread):
    """One client's share of the loop that all have."""

    _all: LoopThread | None = None
    _ending: threading.Event | None = None

    def __init__(self) -> None:
        self._mine: set[Future[Any]] = set()
        self._errands = set()
        self._lock = threading.RLock()
        self._stopped = False
        with _lock:
            if SharedLoop._all is None:
                if SharedLoop._ending is not None:
                    SharedLoop._ending.wait()
                SharedLoop._all = LoopThread("taskqueue")
            self._of_all = SharedLoop._all
        self._loop = self._of_all._loop

    @property
    def inside(self) -> bool:
        """Whether the caller is in the loop's greenlet, where waiting would be for ever."""
        return self._of_all.inside

    def begin(self, coroutine: Coroutine[Any, Any, _T]) -> Future[_T]:
        """
        Run a coroutine; what is returned can be given to L{wait} in another greenlet.

        @raises ConnectionLost: it has been stopped.
        """
        with self._lock:
            if not self._stopped:
                begun = self._of_all.begin(coroutine)
                self._mine.add(begun)
                begun.add_done_callback(self._mine.discard)
                return begun
        coroutine.close()
        raise ConnectionLost(CLOSED)

    def left_behind(self) -> None:
        """
        This process was forked: the loop is its parent's.  Its greenlet is here too, unlike a
        thread, and so is whoever waits for it: that ends.
        """
        if SharedLoop._all is self._of_all:
            SharedLoop._all = None
            self._of_all.left_behind()
            SharedLoop._ending = self._of_all.end_here()
        self.stop()

    def stop(self) -> None:
        """Give up what was begun here; others go on."""
        with self._lock:
            self._stopped = True
            left = list(self._mine)
        for begun in left:
            begun.cancel()
        for errand in list(self._errands):
            self._loop.call_soon_threadsafe(errand.cancel)


_lock = threading.Lock()


renew_lock_in_child(__name__)


def loop_for(name: str) -> LoopThread:
    """
    A loop for a client.

    @param name: of its thread, where it has one of its own.
    """
    return SharedLoop() if threads_are_greenlets() else LoopThread(name)
