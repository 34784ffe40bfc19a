"""Writing at once, as far as that goes."""

from __future__ import annotations

from typing import Any

from twisted.internet.main import CONNECTION_LOST
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.client import writing


class Descriptor:
    """Takes some bytes, and keeps what is written the usual way."""

    connected = 1
    disconnecting = False
    TLS = False

    def __init__(self, takes: Any) -> None:
        self.takes = takes
        self.taken = b""
        self._tempDataBuffer: list[bytes] = []
        self.dataBuffer = b""

    def writeSomeData(self, data: bytes) -> Any:
        if isinstance(self.takes, int):
            self.taken += data[: self.takes]
            return min(self.takes, len(data))
        return self.takes

    def write(self, data: bytes) -> None:
        self._tempDataBuffer.append(data)


class WritingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(writing, "_PLAIN", (Descriptor,))

    def written(self, takes: Any, *said: bytes, **state: Any) -> tuple[bytes, bytes]:
        """What was taken at once, and what was kept."""
        descriptor = Descriptor(takes)
        vars(descriptor).update(state)
        for data in said:
            writing.write_at_once(descriptor, data)
        return descriptor.taken, b"".join(descriptor._tempDataBuffer)

    def test_all_is_taken(self) -> None:
        self.assertEqual(self.written(9, b"one", b"two"), (b"onetwo", b""))

    def test_some_is_taken(self) -> None:
        """And what comes after the rest does not go before it."""
        self.assertEqual(self.written(2, b"one", b"two"), (b"on", b"etwo"))
        self.assertEqual(self.written(0, b"one"), (b"", b"one"))

    def test_nobody_is_there(self) -> None:
        self.assertEqual(self.written(CONNECTION_LOST, b"one"), (b"", b"one"))

    def test_what_goes_the_usual_way(self) -> None:
        for state in (
            {"connected": 0},
            {"disconnecting": True},
            {"TLS": True},
            {"dataBuffer": b"before"},
        ):
            self.assertEqual(self.written(9, b"one", **state), (b"", b"one"), state)
        long = bytes(writing.LONGEST_BYTES + 1)
        self.assertEqual(self.written(2**20, long), (b"", long))

    def test_what_must_be_changed_before_it_is_written(self) -> None:
        self.patch(writing, "_PLAIN", ())
        self.assertEqual(self.written(9, b"one"), (b"", b"one"))
