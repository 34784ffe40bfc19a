"""
Threads for clients whose callers wait: one with an event loop, one for listeners.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from queue import SimpleQueue
from typing import Any, TypeVar

from twisted.logger import Logger

from taskqueue.client.errands import Errand
from taskqueue.client.lifetimes import disown
from taskqueue.errors import ConnectionLost

_T = TypeVar("_T")

#: What is said of a client that somebody has closed.
CLOSED = "this client is closed"


class LoopThread:
    """
    Runs coroutines while other threads wait for them.

    The thread is a daemon: it keeps no process from ending.

    @param name: of the thread.
    """

    def __init__(self, name: str) -> None:
        # Not what the program's policy makes: the selector has to be known after a fork.
        self._selector = selectors.DefaultSelector()
        self._loop = asyncio.SelectorEventLoop(self._selector)
        # A signal's handler may call while its thread holds it.
        self._lock = threading.RLock()
        self._errands: set[Errand[Any]] = set()
        self._stopped = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._give_up())
        finally:
            self._loop.close()
            self._ended.set()

    async def _give_up(self) -> None:
        """Let whoever still waits for a coroutine know that it will not end."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        while self._errands:
            for errand in list(self._errands):
                errand.cancel()
            await asyncio.sleep(0)

    @property
    def inside(self) -> bool:
        """Whether the caller is in this thread, where waiting would be for ever."""
        return threading.current_thread() is self._thread

    def begin(self, coroutine: Coroutine[Any, Any, _T]) -> Future[_T]:
        """
        Run a coroutine; what is returned can be given to L{wait} in another thread.

        @raises ConnectionLost: the thread has been stopped.
        """
        with self._lock:
            if not self._stopped:
                return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        coroutine.close()
        raise ConnectionLost(CLOSED)

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine and wait for it; see L{wait}."""
        return self.wait(self.begin(coroutine))

    def call(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """
        Run a coroutine that awaits futures only, as a client's calls do, and wait for it: that
        is quicker.

        @raises ConnectionLost: the thread has been stopped, or was meanwhile.
        """
        errand = Errand(coroutine, self._errands.discard)
        try:
            with self._lock:
                if self._stopped:
                    coroutine.close()
                    raise ConnectionLost(CLOSED)
                self._errands.add(errand)
                self._loop.call_soon_threadsafe(errand.begin)
            return errand.wait()
        except asyncio.CancelledError:
            if self._stopped:
                raise ConnectionLost(CLOSED) from None
            raise
        finally:
            if errand in self._errands:  # whatever interrupted the waiting
                self._loop.call_soon_threadsafe(errand.cancel)

    def wait(self, future: Future[_T]) -> _T:
        """
        Wait for a coroutine.  Whatever interrupts the waiting, C{KeyboardInterrupt} for
        one, cancels it.

        @raises ConnectionLost: the thread was stopped meanwhile.
        """
        try:
            return future.result()
        except CancelledError:
            if self._stopped:
                raise ConnectionLost(CLOSED) from None
            raise
        except BaseException:
            future.cancel()
            raise

    def left_behind(self) -> None:
        """
        This process was forked: the thread is its parent's, and so is what it waits for.  The
        kernel keeps the list of that once for both: whatever tears down the loop here, at
        the latest the end of the interpreter, must not find it.
        """
        for descriptor in list(self._selector.get_map() or ()):
            disown(descriptor)
        disown(self._selector)

    def end_here(self) -> threading.Event:
        """
        End the loop in a process that was forked, where it is a greenlet that is there too.
        What it reads from is L{left_behind} already, and that is not worth a word.

        @return: set when it has ended.
        """
        self._ended.clear()
        self._loop.set_exception_handler(lambda loop, context: None)
        self._loop.call_soon(self._loop.stop)
        return self._ended

    def stop(self) -> None:
        """End the loop and its thread."""
        with self._lock:
            self._stopped = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


class ListenerThread:
    """
    Calls listeners, one after the other, so that they may wait for the event loop.

    @param name: of the thread.
    """

    _log = Logger()

    def __init__(self, name: str) -> None:
        self._waiting: SimpleQueue[tuple[Callable[[Any], None], Any] | None] = SimpleQueue()
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def _serve(self) -> None:
        while (told := self._waiting.get()) is not None:
            listener, value = told
            try:
                listener(value)
            except Exception:
                self._log.failure("A listener failed")

    def tell(self, listener: Callable[[Any], None], value: Any) -> None:
        """Have C{listener} called with C{value}."""
        self._waiting.put((listener, value))

    def stop(self) -> None:
        """End the thread when it has told what it was to tell."""
        self._waiting.put(None)
