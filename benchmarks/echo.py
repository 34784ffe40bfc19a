"""
A server that says what the broker says, and does nothing: Twisted and the frames,
which is what no broker on Twisted can be faster than.

Its answers were recorded from the broker: the same sizes, the same number of frames.
All it knows is how many batches there are, so that workers get no more than was
submitted.  Frames are told apart by their length and their kind; what arrives
together is answered with one write.

Run: C{python -m benchmarks.echo BATCH}; it prints its port.
"""

from __future__ import annotations

import sys
from collections import deque

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from benchmarks.peers import native
from benchmarks.peers.course import PAYLOAD
from benchmarks.wire_path import Broker

Answers = dict[int, bytes]


def recorded(batch: int) -> Answers:
    """What the broker answers to a request of each kind, in batches of C{batch}."""
    broker = Broker()

    def ask(request: bytes) -> bytes:
        broker.connection.dataReceived(request)
        broker.clock.advance(0.01)
        answer: bytes = broker.transport.value()
        broker.transport.clear()
        return answer

    answers = {native.HELLO: ask(native.GREETING)}
    answers[native.SUBMIT] = ask(native.submission([PAYLOAD] * batch))
    claim = native.frame(native.CLAIM, b'{"id":0,"limit":%d,"wait_s":5}' % batch)
    answers[native.CLAIM] = ask(claim)
    deliveries = native.DELIVERY.findall(answers[native.CLAIM])
    answers[native.RESULT] = ask(native.results(deliveries))
    broker.close()
    return answers


class Echo(Protocol):
    """Answers each request with what was recorded for its kind."""

    factory: EchoFactory

    def __init__(self) -> None:
        self._buffer = b""

    def dataReceived(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        at, size, answers = 0, len(buffer), []
        while size - at > 4:
            end = at + 4 + int.from_bytes(buffer[at : at + 4], "big")
            if end > size:
                break
            answers.append(self.factory.answer(buffer[at + 4], self))
            at = end
        self._buffer = buffer[at:]
        self.transport.write(b"".join(answers))


class EchoFactory(Factory):
    """Counts the batches that nobody has claimed."""

    protocol = Echo
    noisy = False

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._ready = 0
        self._waiting: deque[Echo] = deque()

    def answer(self, kind: int, asker: Echo) -> bytes:
        """What to say at once; a claim may have to wait."""
        if kind == native.SUBMIT:
            if self._waiting:
                self._waiting.popleft().transport.write(self._answers[native.CLAIM])
            else:
                self._ready += 1
        elif kind == native.CLAIM:
            if not self._ready:
                self._waiting.append(asker)
                return b""
            self._ready -= 1
        return self._answers[kind]


def main() -> None:
    """Serve until somebody ends it."""
    factory = EchoFactory(recorded(int(sys.argv[1])))
    listening = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
    print(listening.getHost().port, flush=True)
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
