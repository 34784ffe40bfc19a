import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue import framing
from taskqueue.errors import BadFrame, FatalClientError, FrameTooLarge
from taskqueue.framing import FrameDecoder, LineDecoder

fixed = settings(derandomize=True, deadline=None)


def framed(*bodies):
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


def cut(data, places):
    """The data in chunks that end at these places."""
    places = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def feed_all(decoder, chunks):
    """
    @return: all messages, and the failure in the end or None.
    """
    messages = []
    for chunk in chunks:
        try:
            messages += decoder.feed(chunk)
        except FatalClientError as error:
            return messages, error
    return messages, decoder.failure


places = st.lists(st.integers(0, 2**16), max_size=30) | st.just(range(2**16))


class Chunking(SynchronousTestCase):
    @fixed
    @given(st.lists(st.binary(min_size=1, max_size=40)), places)
    def test_frames(self, bodies, places):
        data = framed(*bodies)
        decoder = FrameDecoder(40)
        self.assertEqual(feed_all(decoder, cut(data, places)), (bodies, None))
        self.assertEqual(decoder.buffered, 0)

    @fixed
    @given(st.lists(st.binary(max_size=10).map(lambda line: line.replace(b"\n", b""))), places)
    def test_lines(self, lines, places):
        data = b"".join(line + b"\r\n" for line in lines)
        decoder = LineDecoder(10)
        self.assertEqual(feed_all(decoder, cut(data, places)), (lines, None))
        self.assertEqual(decoder.buffered, 0)

    @fixed
    @given(
        st.lists(
            st.binary(max_size=12)
            | st.sampled_from([b"\0\0\0\1x", b"\0\0\0\0", b"\0\0\0\5hello", b"\0\0\0\6", b"\r\n"])
        ).map(b"".join),
        places,
    )
    def test_cuts_make_no_difference(self, data, places):
        """Nor do they for garbage: the same messages, then the same failure."""
        for cls in (FrameDecoder, LineDecoder):
            messages, failure = feed_all(cls(5), [data])
            again, failure_again = feed_all(cls(5), cut(data, places))
            self.assertEqual(again, messages)
            self.assertIs(type(failure_again), type(failure))


class WholeMessages(SynchronousTestCase):
    """The short way for chunks that are one message comes to the same."""

    @fixed
    @given(st.lists(st.lists(st.binary(max_size=14), max_size=3), max_size=8), places)
    def test_no_difference(self, groups, places):
        chunks = [framed(*bodies) for bodies in groups]
        chunks = [*chunks, *cut(b"".join(chunks), places), *chunks]
        decoder = FrameDecoder(12)
        messages, failure = [], None
        for chunk in chunks:
            message = decoder.whole(chunk)
            if message is not None:
                messages.append(message)
                continue
            try:
                messages += decoder.feed(chunk)
            except FatalClientError as error:
                failure = error
                break
        expected, problem = feed_all(FrameDecoder(12), chunks)
        self.assertEqual(messages, expected)
        self.assertEqual(str(failure or decoder.failure), str(problem))

    def test_one_frame(self):
        decoder = FrameDecoder(3)
        self.assertEqual(decoder.whole(framed(b"abc")), b"abc")
        for other in (b"", b"\0\0\0", framed(b""), framed(b"abcd"), framed(b"a", b"b")):
            self.assertIs(decoder.whole(other), None)
        decoder.feed(b"\0")
        self.assertIs(decoder.whole(framed(b"abc")), None)

    def test_lines_have_no_short_way(self):
        self.assertIs(LineDecoder(10).whole(b"abc\n"), None)


class Frames(SynchronousTestCase):
    def test_bytes_are_held_until_complete(self):
        decoder = FrameDecoder()
        for data, held in ((b"\0\0", 2), (b"\0\3", 4), (b"ab", 6), (b"c\0", 1), (b"", 1)):
            messages = decoder.feed(data)
            self.assertEqual(messages, [b"abc"] if data == b"c\0" else [])
            self.assertEqual(decoder.buffered, held)

    def test_too_large_is_told_by_the_length_alone(self):
        for chunks in ([b"\0\0\0\6"], [b"\0\0\0", b"\6"], [b"\0\0\0\6abcdef"]):
            decoder = FrameDecoder(5)
            for chunk in chunks[:-1]:
                decoder.feed(chunk)
            error = self.assertRaises(FrameTooLarge, decoder.feed, chunks[-1])
            self.assertEqual(error.fields, {"length": 6, "limit": 5})
            self.assertEqual(decoder.buffered, 0)
        self.assertEqual(FrameDecoder(5).feed(framed(b"abcde")), [b"abcde"])

    def test_length_0(self):
        self.assertRaises(BadFrame, FrameDecoder().feed, bytes(4))

    def test_good_frames_before_a_bad_one(self):
        decoder = FrameDecoder(5)
        self.assertEqual(decoder.feed(framed(b"a", b"b", b"abcdef", b"c")), [b"a", b"b"])
        self.assertIsInstance(decoder.failure, FrameTooLarge)
        for data in (b"", framed(b"d")):
            self.assertRaises(FrameTooLarge, decoder.feed, data)
        self.assertEqual(decoder.buffered, 0)

    def test_announcing_takes_no_memory(self):
        decoder = FrameDecoder()
        decoder.feed((16 * 1024 * 1024).to_bytes(4, "big") + b"x")
        self.assertLess(decoder._held.__sizeof__(), 1000)


class Lines(SynchronousTestCase):
    def test_line_ends(self):
        decoder = LineDecoder()
        self.assertEqual(
            decoder.feed(b"a\nb\r\n\n\r\n\r\r\nc\rd\ne"), [b"a", b"b", b"", b"", b"\r", b"c\rd"]
        )
        self.assertEqual(decoder.buffered, 1)
        self.assertEqual(decoder.feed(b"\r"), [])
        self.assertEqual(decoder.feed(b"\n"), [b"e"])

    def test_limit(self):
        for chunks in ([b"abc\r\n"], [b"abc", b"\r", b"\n"], [b"abc\n"], [b"a", b"bc\r\n"]):
            self.assertEqual(feed_all(LineDecoder(3), chunks), ([b"abc"], None))
        for chunks in (
            [b"abcd\n"],
            [b"abc", b"d"],
            [b"abcd"],
            [b"abc\r", b"d\n"],
            [b"abc\r", b"\r"],
        ):
            messages, failure = feed_all(LineDecoder(3), chunks)
            self.assertEqual(messages, [])
            self.assertIsInstance(failure, FrameTooLarge)
            self.assertEqual(failure.fields["limit"], 3)
            self.assertGreater(failure.fields["length"], 3)

    def test_good_lines_before_a_bad_one(self):
        for data in (b"a\nb\nabcd\nc\n", b"a\nb\nabcd"):
            decoder = LineDecoder(3)
            self.assertEqual(decoder.feed(data), [b"a", b"b"])
            self.assertRaises(FrameTooLarge, decoder.feed, b"c\n")
            self.assertEqual(decoder.buffered, 0)


class Work:
    """Counts the bytes that are moved or searched."""

    def __init__(self):
        self.bytes = 0


class CountedBytes(bytes):
    """Received bytes that count what is sliced from them or searched in them."""

    work: Work

    def __getitem__(self, key):
        part = super().__getitem__(key)
        if isinstance(part, bytes):
            self.work.bytes += len(part)
        return part

    def __contains__(self, what):
        self.work.bytes += len(self)
        return super().__contains__(what)

    def split(self, *args):
        self.work.bytes += len(self)
        return super().split(*args)


def counted_buffer(work):
    class CountedBuffer(bytearray):
        """A buffer that counts what goes in, and what is looked at or taken out."""

        def __iadd__(self, data):
            work.bytes += len(data)
            return super().__iadd__(data)

        def __getitem__(self, key):
            part = super().__getitem__(key)
            work.bytes += len(part) if isinstance(part, bytearray) else 1
            return part

        def __delitem__(self, key):
            work.bytes += len(self)
            super().__delitem__(key)

        def __contains__(self, what):
            work.bytes += len(self)
            return super().__contains__(what)

        def find(self, *args):
            work.bytes += len(self)
            return super().find(*args)

        split = __add__ = None

    return CountedBuffer


class LinearWork(SynchronousTestCase):
    """The work for a stream is a small multiple of its length, however it is cut."""

    def work_for(self, cls, data, chunk_bytes):
        work = Work()
        framing.bytearray = counted_buffer(work)
        self.addCleanup(framing.__dict__.pop, "bytearray", None)
        decoder = cls(len(data))
        count = 0
        for start in range(0, len(data), chunk_bytes):
            chunk = CountedBytes(data[start : start + chunk_bytes])
            chunk.work = work
            count += len(decoder.feed(chunk))
        self.assertGreater(count, 0)
        self.assertIsNone(decoder.failure)
        return work.bytes

    def check(self, cls, data):
        for chunk_bytes in (1, 7, 64 * 1024, len(data)):
            work = self.work_for(cls, data, chunk_bytes)
            self.assertLess(work, 5 * len(data), f"in chunks of {chunk_bytes}")

    def test_one_large_frame(self):
        self.check(FrameDecoder, framed(bytes(200_000)))

    def test_many_small_frames(self):
        self.check(FrameDecoder, framed(*[b"abcdefghijkl"] * 20_000))

    def test_one_long_line(self):
        self.check(LineDecoder, b"x" * 200_000 + b"\n")

    def test_many_short_lines(self):
        self.check(LineDecoder, b"fifteen letters\n" * 20_000)

    def test_one_chunk_is_sliced_once(self):
        data = framed(bytes(100_000), bytes(100_000))
        self.assertLess(self.work_for(FrameDecoder, data, len(data)), len(data) + 100)
