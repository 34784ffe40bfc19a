"""
A TCP proxy that cuts connections, in the middle of what is being said.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class CuttingProxy:
    """
    Stands between clients and a broker that may come back on another port.

    @ivar port: where it listens, on 127.0.0.1.
    @ivar cut: how many connections it has cut.
    """

    def __init__(self, target: Callable[[], int]) -> None:
        """
        @param target: the broker's port now, or 0 while there is none.
        """
        self.cut = 0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._doomed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self._target()), timeout=5)
                broker.settimeout(None)
            except OSError:
                client.close()
                continue
            pair = client, broker
            with self._lock:
                self._pairs.add(pair)
            for source, sink in (pair, pair[::-1]):
                threading.Thread(target=self._pump, args=(source, sink, pair), daemon=True).start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        try:
            while data := source.recv(65536):
                if self._doomed.is_set():
                    sink.sendall(data[: len(data) // 2])
                    self._doomed.clear()
                    self.cut += 1
                    break
                sink.sendall(data)
        except OSError:
            pass
        self._end(pair)

    def _end(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            self._pairs.discard(pair)
        for end in pair:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def cut_next(self) -> None:
        """Pass on half of whatever is said next, and cut that connection."""
        self._doomed.set()

    def close(self) -> None:
        """Let everything go."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in list(self._pairs):
            self._end(pair)
