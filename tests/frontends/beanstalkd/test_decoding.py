"""What a client sends is cut into commands, byte by byte as beanstalkd reads it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.frontends.beanstalkd.commands import (
    BAD_FORMAT,
    EXPECTED_CRLF,
    JOB_TOO_BIG,
    REFUSED,
    UNKNOWN_COMMAND,
    Command,
    read_line,
)
from taskqueue.frontends.beanstalkd.decoding import CommandDecoder

MOST = 10

NAME = "a" * 200

U32, U64 = 2**32 - 1, 2**64 - 1


class LineTests(SynchronousTestCase):
    """
    What a line says.  Each row was tried on beanstalkd 1.12, but for those of
    C{reserve-with-timeout}, which are read as 1.13 does.
    """

    def assertRefused(self, reply: bytes, *lines: bytes) -> None:
        for line in lines:
            command = read_line(line)
            self.assertEqual((command.verb, command.body), (REFUSED, reply), line)

    def test_commands(self) -> None:
        for line, command in {
            b"put 1 2 3 4": Command("put", 4, 1, 2, 3, counted="put"),
            b"put  01  2  3  4": Command("put", 4, 1, 2, 3, counted="put"),
            b"put 0 0 0 0": Command("put", ttr_s=1, counted="put"),
            b"put %d %d %d %d" % (U32, U32, U32, U32): Command(
                "put", U32, U32, U32, U32, counted="put"
            ),
            b"reserve": Command("reserve", -1, counted="reserve"),
            b"reserve-with-timeout 0": Command("reserve", counted="reserve-with-timeout"),
            b"reserve-with-timeout 7": Command("reserve", 7, counted="reserve-with-timeout"),
            b"reserve-with-timeout -1": Command("reserve", -1, counted="reserve-with-timeout"),
            b"reserve-with-timeout 2147483647": Command(
                "reserve", 2**31 - 1, counted="reserve-with-timeout"
            ),
            b"reserve-with-timeout 2147483648": Command(
                "reserve", -1, counted="reserve-with-timeout"
            ),
            b"reserve-with-timeout 4294967295": Command(
                "reserve", -1, counted="reserve-with-timeout"
            ),
            b"reserve-with-timeout 4294967297": Command(
                "reserve", 1, counted="reserve-with-timeout"
            ),
            b"reserve-with-timeout -4294967296": Command(
                "reserve", 0, counted="reserve-with-timeout"
            ),
            b"reserve-with-timeout 5x": Command("reserve", 5, counted="reserve-with-timeout"),
            b"reserve-job 3": Command("reserve-job", 3, counted="reserve-job"),
            b"delete %d" % U64: Command("delete", U64, counted="delete"),
            b"release 1 2 3": Command("release", 1, 2, 3, counted="release"),
            b"bury 1 2": Command("bury", 1, 2, counted="bury"),
            b"kick 9": Command("kick", 9, counted="kick"),
            b"kick  +9x": Command("kick", 9, counted="kick"),
            b"kick -1": Command("kick", U32, counted="kick"),
            b"kick %d" % 2**32: Command("kick", 0, counted="kick"),
            b"kick-job 1": Command("kick-job", 1, counted="kick-job"),
            b"touch 1": Command("touch", 1, counted="touch"),
            b"peek  1": Command("peek", 1, counted="peek"),
            b"peek-ready": Command("peek-ready", counted="peek-ready"),
            b"peek-delayed": Command("peek-delayed", counted="peek-delayed"),
            b"peek-buried": Command("peek-buried", counted="peek-buried"),
            b"stats": Command("stats", counted="stats"),
            b"stats-job 1": Command("stats-job", 1, counted="stats-job"),
            b"stats-tube a": Command("stats-tube", tube="a", counted="stats-tube"),
            b"use a-": Command("use", tube="a-", counted="use"),
            b"use +/;.$_()09azAZ": Command("use", tube="+/;.$_()09azAZ", counted="use"),
            b"watch " + NAME.encode(): Command("watch", tube=NAME, counted="watch"),
            b"ignore a": Command("ignore", tube="a", counted="ignore"),
            b"list-tubes": Command("list-tubes", counted="list-tubes"),
            b"list-tube-used": Command("list-tube-used", counted="list-tube-used"),
            b"list-tubes-watched": Command("list-tubes-watched", counted="list-tubes-watched"),
            b"pause-tube a 5": Command("pause-tube", delay_s=5, tube="a", counted="pause-tube"),
            b"pause-tubea  5": Command("pause-tube", delay_s=5, tube="a", counted="pause-tube"),
            b"quit": Command("quit"),
            b"quit now": Command("quit"),
        }.items():
            self.assertEqual(read_line(line), command, line)

    def test_unknown(self) -> None:
        self.assertRefused(
            UNKNOWN_COMMAND,
            *(b"", b"nonsense", b"PUT 0 0 0 0", b"put", b"peek", b"kick", b"delete", b" stats"),
            *(b"x" * 222, b"kick-job", b"use", b"touch"),
        )

    def test_malformed(self) -> None:
        self.assertRefused(
            BAD_FORMAT,
            *(b"put ", b"put 0 0 0", b"put -1 0 0 0", b"put 0 -1 0 0", b"put a 0 0 0"),
            *(b"put %d 0 0 0" % 2**32, b"put 0 0 0 %d" % 2**32, b"put 1x2 3 4"),
            *(b"reserve ", b"reserves", b"reserve-with-timeout", b"reserve-with-timeout "),
            *(b"reserve-with-timeout x", b"reserve-with-timeout %d" % 2**63, b"reserve-job"),
            *(b"delete x", b"delete 1x", b"delete 1 ", b"delete +1", b"delete %d" % 2**64),
            *(b"delete 1\t", b"release 1", b"release 1 2", b"release 1 2 3 4", b"release 1 2 x"),
            *(b"release 1 2 %d" % 2**32, b"release 1 %d 2" % 2**32, b"bury 1", b"bury 1 2x"),
            *(b"bury 1x 2", b"kick x", b"kick ", b"kick %d" % 2**64, b"kick-job x", b"touch 1a"),
            *(b"peek ", b"peek x", b"peek-readyx", b"stats x", b"statsx", b"stats-job 1 2"),
            *(b"stats-job 1A", b"stats-tube", b"stats-tube ", b"use  a", b"use a b", b"use -a"),
            *(b"use ", b"use \xc3\xa9", b"use a\0", b"\0", b"use " + b"a" * 201, b"watch a!"),
            *(b"ignore a b", b"list-tubesx", b"list-tube-usedx", b"list-tubes-watched "),
            *(b"pause-tube", b"pause-tube a", b"pause-tube a -1", b"pause-tube -a 1"),
            *(b"pause-tube a 1 ", b"pause-tube a! 1", b"pause-tube a %d" % 2**32),
            b"pause-tube " + b"a" * 201 + b" 1",
        )


class DecoderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.decoder = CommandDecoder(lambda: MOST)

    def said(self, *chunks: bytes) -> list[bytes | str]:
        """Of each command what it is: the body of a put, the reply to what is refused, the verb."""
        return [
            command.body if command.verb in ("put", REFUSED) else command.verb
            for chunk in chunks
            for command in self.decoder.feed(chunk)
        ]

    def test_a_body_is_whatever_it_is(self) -> None:
        self.assertEqual(
            self.said(
                b"put 0 0 1 10\r\n\r\nstats\r\nx\r\nput 0 0 1 0\r\n\r\nput 0 0 1 2\r\n\0\xff\r\n"
            ),
            [b"\r\nstats\r\nx", b"", b"\0\xff"],
        )

    def test_a_body_without_an_end(self) -> None:
        """As many bytes as it should have are taken, whatever they are."""
        self.assertEqual(
            self.said(
                b"put 0 0 1 3\r\nabcde", b"stats\r\n", b"put 0 0 1 1\r\na\r\r", b"\nstats\r\n"
            ),
            [EXPECTED_CRLF, "stats", EXPECTED_CRLF, UNKNOWN_COMMAND],
        )

    def test_a_job_that_is_too_big(self) -> None:
        """Its body is passed over, wherever it is cut, and nothing of it is held."""
        data = b"put 0 0 1 11\r\ndelete 9999\r\nstats\r\n"
        for cut in range(len(data)):
            self.assertEqual(self.said(data[:cut], data[cut:]), [JOB_TOO_BIG, "stats"], cut)
        self.said(b"put 0 0 1 4294967295 what ever\r\n", b"x" * 1000)
        self.assertEqual(self.decoder.buffered, 0)

    def test_a_limit_that_changes(self) -> None:
        most = [1]
        self.decoder = CommandDecoder(lambda: most[0])
        self.assertEqual(self.said(b"put 0 0 1 2\r\nab\r\n"), [JOB_TOO_BIG])
        most[0] = 2
        self.assertEqual(self.said(b"put 0 0 1 2\r\nab\r\n"), [b"ab"])

    def test_something_behind_the_size(self) -> None:
        """No body is awaited: what follows are commands."""
        self.assertEqual(
            self.said(b"put 0 0 1 1 \r\nx\r\nput 0 0 1 10b\r\n"),
            [BAD_FORMAT, UNKNOWN_COMMAND, BAD_FORMAT],
        )

    def test_lines_end_with_both_characters(self) -> None:
        self.assertEqual(
            self.said(b"stats\n", b"stats\r", b"\r\nstats\r", b"\n"), [BAD_FORMAT, "stats"]
        )

    def test_a_line_that_is_too_long(self) -> None:
        """It is refused when it ends, and not held until then; its last bytes are no command."""
        self.assertEqual(self.said(b"x" * 222 + b"\r\n"), [UNKNOWN_COMMAND])
        self.assertEqual(self.said(b"x" * 223 + b"\r\n"), [BAD_FORMAT])
        for cut in (10, 223, 224, 225, 300, 499, 500, 501):
            data = b"a" * 500 + b"\r\nstats\r\n"
            self.assertEqual(self.said(data[:cut], data[cut:]), [BAD_FORMAT, "stats"], cut)
        self.said(b"stats\r\n")
        self.assertEqual(self.said(b"y" * 10_000), [])
        self.assertLess(self.decoder.buffered, 225)
        self.assertEqual(self.said(b"y" * 10_000 + b"\r", b"\nstats\r\n"), [BAD_FORMAT, "stats"])
        self.assertEqual(self.said(b"y" * 10_000, b"\r\nstats\r\n"), [BAD_FORMAT, "stats"])

    def test_no_more_than_a_job_is_held(self) -> None:
        self.said(b"put 0 0 1 10\r\n0123456789")
        self.assertEqual(self.decoder.buffered, 10)
        self.said(b"\r")
        self.assertEqual(self.decoder.buffered, 11)
        self.assertEqual(self.said(b"\n"), [b"0123456789"])
        self.assertEqual(self.decoder.buffered, 0)

    def test_what_lines_say_is_remembered_for_few_and_short_ones(self) -> None:
        for number in range(3000):
            self.assertEqual(self.decoder.feed(b"touch %d\r\n" % number)[0].number, number)
        before = read_line.cache_info()
        self.assertLessEqual(before.currsize, 1024)
        self.decoder.feed(b"x" * 5000 + b"\r\n")
        self.assertEqual(read_line.cache_info().misses, before.misses)

    def test_one_command_that_is_all_that_came(self) -> None:
        for said in (b"stats\r\n", b"\r\n", b"x" * 300 + b"\r\n", b"put 0 0 1 3\r\na\r\n\r\n"):
            self.assertEqual([self.decoder.whole(said)], CommandDecoder(lambda: MOST).feed(said))
        for said in (
            *(b"stats\r\nstats\r\n", b"put 0 0 1 3\r\n", b"put 0 0 1 3\r\nabcd\r\n", b"stats"),
            *(b"put 0 0 1 11\r\n01234567890\r\n", b"put 0 0 1 1 x\r\na\r\n", b"a\r\nb", b"", b"\n"),
            *(b"put 0 0 1 3\r\nab\r\n", b"put 0 0 1 3\r\nabcde"),
        ):
            self.assertIsNone(self.decoder.whole(said), said)
        for begun in (b"sta", b"put 0 0 1 9\r\n", b"put 0 0 1 99\r\n", b"y" * 300):
            decoder = CommandDecoder(lambda: MOST)
            decoder.feed(begun)
            self.assertIsNone(decoder.whole(b"stats\r\n"), begun)


_LINES = st.sampled_from(
    [
        *(
            b"stats\r\n",
            b"use a\r\n",
            b"\r\n",
            b"nonsense\r\n",
            b"x" * 230 + b"\r\n",
            b"delete 1\r\n",
        ),
        *(b"put 0 0 1 3\r\nabc\r\n", b"put 0 0 1 3\r\nabcde", b"put 0 0 1 12\r\n" + b"z" * 14),
        *(
            b"put 0 0 1 1 x\r\n",
            b"reserve\r\n",
            b"put 0 0 1 0\r\n\r\n",
            b"a\0b\r\n",
            b"\r\r\n",
            b"\n",
        ),
    ]
)


class ChunkTests(SynchronousTestCase):
    @settings(derandomize=True, deadline=None)
    @given(st.lists(_LINES, max_size=12).map(b"".join), st.data())
    def test_chunks_do_not_matter(self, data: bytes, draw: st.DataObject) -> None:
        whole = CommandDecoder(lambda: MOST).feed(data)
        decoder, commands, start = CommandDecoder(lambda: MOST), list[Command](), 0
        while start < len(data):
            size = draw.draw(st.integers(1, len(data) - start))
            commands += decoder.feed(data[start : start + size])
            start += size
            self.assertLess(decoder.buffered, 300)
        self.assertEqual(commands, whole)
