"""What a worker and its children say to each other."""

from __future__ import annotations

import os
import threading

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.app.context import DESCRIBED, Context
from taskqueue.errors import BadFrame, BadRequest
from taskqueue.worker.outbox import Outbox
from taskqueue.worker.pipes import Decoder, Kind, Message, encode

MESSAGES = st.builds(
    Message,
    st.sampled_from(Kind),
    st.integers(0, 2**64 - 1),
    st.one_of(st.none(), st.lists(st.text(max_size=5), max_size=3)),
    st.binary(max_size=50),
)


class Pipes(SynchronousTestCase):
    @settings(derandomize=True, deadline=None, max_examples=60)
    @given(st.lists(MESSAGES, max_size=5), st.lists(st.integers(1, 40), min_size=1, max_size=9))
    def test_however_the_bytes_arrive(self, messages: list[Message], sizes: list[int]) -> None:
        data = b"".join(encode(*message) for message in messages)
        decoder, found, turn = Decoder(), [], 0
        while data:
            size = sizes[turn % len(sizes)]
            turn += 1
            piece, data = data[:size], data[size:]
            found += decoder.feed(piece)
        self.assertEqual(found, messages)

    def test_half_a_character_is_replaced(self) -> None:
        for kind in (Kind.DONE, Kind.LOG):
            (message,) = Decoder().feed(encode(kind, 1, ["an error \udc80", 2]))
            self.assertEqual(message.header, ["an error ?", 2])

    def test_a_long_message_in_many_pieces(self) -> None:
        data = encode(Kind.RUN, 1, ["x"], b"y" * 100_000) + encode(Kind.RUN, 2)
        decoder, found = Decoder(), []
        for start in range(0, len(data), 1000):
            found += decoder.feed(data[start : start + 1000])
        self.assertEqual([(m.token, len(m.body)) for m in found], [(1, 100_000), (2, 0)])

    def test_what_is_no_message(self) -> None:
        self.assertRaises(BadFrame, list, Decoder().feed(b"\xff" * 8 + bytes(9)))

    def test_what_has_no_form(self) -> None:
        self.assertRaises(BadRequest, encode, Kind.PROGRESS, 1, object())


class Struck(Exception):
    """What a signal raises in these tests."""


class Sending(SynchronousTestCase):
    def setUp(self) -> None:
        self.reading, writing = os.pipe()
        self.addCleanup(os.close, self.reading)
        self.addCleanup(os.close, writing)
        self.outbox = Outbox(writing)
        described: dict = dict.fromkeys(DESCRIBED)
        self.context = Context(self.outbox, {**described, "lease": 7})

    def sent(self) -> list[Message]:
        return list(Decoder().feed(os.read(self.reading, 1 << 16)))

    def strike(self) -> None:
        raise Struck

    def test_a_strike_in_the_middle_of_a_message_waits_for_its_end(self) -> None:
        write = self.outbox._write

        def struck(data: memoryview) -> None:
            self.assertTrue(self.outbox.postponed(self.strike))
            write(data)

        self.patch(self.outbox, "_write", struck)
        self.assertRaises(Struck, self.outbox.send, Kind.READY)
        self.assertEqual(self.sent(), [Message(Kind.READY, 0, None, b"")])

    def test_a_strike_at_another_time_need_not_wait(self) -> None:
        self.assertFalse(self.outbox.postponed(self.strike))
        self.outbox.send(Kind.READY)

    def test_a_strike_that_comes_too_late(self) -> None:
        self.outbox._sending = True
        self.outbox.postponed(self.strike)
        self.outbox.forget_postponed()
        self.outbox.send(Kind.READY)

    def test_other_threads_are_not_struck(self) -> None:
        sending = threading.Thread(target=self.outbox.send, args=(Kind.READY,))
        self.outbox._late = self.strike
        sending.start()
        sending.join()
        self.assertEqual(len(self.sent()), 1)

    def test_what_a_task_says(self) -> None:
        self.context.progress([1])
        self.context.log("so far", n=1, what=object)
        self.context.progress({1, 2})
        progress, line, refused = self.sent()
        self.assertEqual(progress, Message(Kind.PROGRESS, 7, [1], b""))
        self.assertEqual(line.header, ["so far", {"n": 1, "what": repr(object)}])
        self.assertIn("could not be sent", refused.header[0])
