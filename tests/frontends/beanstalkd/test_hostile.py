"""Clients that mean harm, or say very much at once."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from fuzz.targets.beanstalkd import run
from tests.frontends.beanstalkd.talking import BeanstalkdTestCase


class HostileTests(BeanstalkdTestCase):
    def test_it_is_told_and_goes_on(self) -> None:
        client = self.connect()
        for said, heard in {
            b"put 0 0 0 -1": b"BAD_FORMAT",
            b"put 0 0 0 99999999999999999999": b"BAD_FORMAT",
            b"put -5 0 0 1": b"BAD_FORMAT",
            b"delete 99999999999999999999999999": b"BAD_FORMAT",
            b"delete -1": b"BAD_FORMAT",
            b"kick 99999999999999999999999": b"BAD_FORMAT",
            b"use " + b"a" * 201: b"BAD_FORMAT",
            b"use \xe4\xf6\xfc": b"BAD_FORMAT",
            b"use a\0b": b"BAD_FORMAT",
            b"\0": b"BAD_FORMAT",
            b"x" * 5000: b"BAD_FORMAT",
            b"GET / HTTP/1.1": b"UNKNOWN_COMMAND",
            b"": b"UNKNOWN_COMMAND",
            b"delete 18446744073709551615": b"NOT_FOUND",
            b"peek 281474976710656": b"NOT_FOUND",
            b"touch 0": b"NOT_FOUND",
        }.items():
            self.assertSays(client, said, heard)
        self.put(client)

    def test_half_a_command_is_waited_for_only_so_long(self) -> None:
        limit_s = self.service.config.limits.message_timeout_s
        for half in (b"put 0 0 60 10\r\nabc", b"use a", b"put 0"):
            client = self.connect(b"list-tube-used")
            client.say(half)
            self.clock.advance(limit_s + 1)
            self.factory.check_times()
            self.assertTrue(client.wire.half_closed)

    def test_silence_is_no_offence(self) -> None:
        clients = [self.connect(), self.connect(b"use a"), self.connect(b"reserve")]
        self.clock.advance(100_000)
        self.factory.check_times()
        for client in clients:
            self.assertFalse(client.wire.half_closed)
        self.assertSays(clients[0], b"list-tube-used", b"USING default")

    def test_a_body_that_never_ends_is_not_kept(self) -> None:
        client = self.connect()
        client.say(b"put 0 0 60 4294967295\r\n")
        for _ in range(100):
            client.say(b"x" * 60_000)
        self.assertEqual(client.connection._decoder.buffered, 0)
        self.assertEqual(client.hear(), b"")

    def test_commands_behind_one_that_waits_are_bounded(self) -> None:
        """They are read on for a while, so that a client that goes away is noticed."""
        client = self.connect(b"reserve")
        said = 0
        while client.wire.producerState == "producing" and said < 10_000_000:
            client.say(b"list-tube-used\r\n" * 1000)
            said += 16_000
        self.assertLess(said, 200_000)
        self.put(self.connect())
        self.turns()
        self.assertEqual(client.hear().count(b"USING default\r\n"), said // 16)

    def test_who_does_not_read_is_paused_and_cut_off(self) -> None:
        client = self.connect()
        self.put(client, b"x" * 60_000)
        client.wire.buffer_bytes = 100_000
        for _ in range(1000):
            if client.wire.producerState != "producing":
                break
            client.say(b"peek 1\r\n")
            self.turns()
        self.assertEqual(client.wire.producerState, "paused")
        self.clock.advance(self.service.config.limits.slow_reader_timeout_s + 1)
        self.factory.check_times()
        self.assertTrue(client.wire.aborted)

    def test_others_have_their_turn_between_many_long_replies(self) -> None:
        """What takes nine bytes to ask for is not told as often as it is asked for at once."""
        client = self.connect()
        body = b"x" * 60_000
        self.put(client, body)
        for said in (b"peek 1\r\n", b"stats\r\n"):
            client = self.connect()
            client.say(said * 1000)
            self.assertLess(len(client.hear()), 4 * len(body))

    def test_much_that_was_asked_for_is_told_in_the_end(self) -> None:
        client = self.connect()
        body = b"x" * 60_000
        self.put(client, body)
        client.say(b"peek 1\r\n" * 10 + b"list-tube-used\r\n")
        self.turns()
        self.assertEqual(
            client.hear(), b"FOUND 1 60000\r\n%b\r\n" % body * 10 + b"USING default\r\n"
        )

    def test_what_waits_behind_a_promise_is_bounded(self) -> None:
        """While the store takes its time, replies are held, and not any number of them."""
        client = self.connect()
        body = b"x" * 60_000
        self.put(client, body)
        self.writer.holding = True
        client.say(b"put 0 0 60 1\r\ny\r\n")
        for _ in range(100):
            if client.wire.producerState == "producing":
                client.say(b"peek 1\r\n" * 1000)
            self.turns()
        held = sum(
            len(reply) for one in client.connection.session.replies._held for reply in one.replies
        )
        self.assertLess(held, 4 * len(body))
        self.writer.let_go()
        self.turns()
        self.assertTrue(client.hear().startswith(b"INSERTED 2\r\nFOUND 1 60000\r\n"))

    def test_too_many_connections(self) -> None:
        self.service.reconfigure(self.adapt("limits", max_connections=2))
        clients = [self.connect() for _ in range(3)]
        self.assertEqual([client.wire.half_closed for client in clients], [False, False, True])
        self.assertEqual(clients[2].hear(), b"")

    def test_too_many_that_wait(self) -> None:
        self.service.reconfigure(self.adapt("limits", max_waiting_claims=1))
        first, second = self.connect(b"reserve"), self.connect()
        self.assertSays(second, b"reserve", b"OUT_OF_MEMORY")
        self.assertSays(second, b"reserve-with-timeout 0", b"TIMED_OUT")
        first.go()
        self.assertEqual(self.ask(second, b"reserve"), b"")

    def test_too_many_that_wait_in_a_row(self) -> None:
        """Each is told, and what comes behind them is carried out."""
        self.service.reconfigure(self.adapt("limits", max_waiting_claims=1))
        self.connect(b"reserve")
        second = self.connect()
        heard = self.ask(second, b"reserve", b"reserve", b"reserve", b"list-tube-used")
        self.assertEqual(heard, b"OUT_OF_MEMORY\r\n" * 3 + b"USING default\r\n")

    def test_who_asks_too_often(self) -> None:
        """A bucket that is empty is filled again."""
        self.service.reconfigure(self.adapt("limits", max_tasks_per_s=2, max_requests_per_s=2))
        client = self.connect()
        said = [b"put 0 0 60 1", b"x"] * 5
        self.assertEqual(self.ask(client, *said).count(b"INSERTED"), 5)
        self.assertEqual(self.ask(client, *said), b"OUT_OF_MEMORY\r\n" * 5)
        self.clock.advance(10)
        self.put(client)
        heard = self.ask(client, *[b"kick 1"] * 6)
        self.assertEqual(heard.count(b"OUT_OF_MEMORY\r\n"), 2)

    def test_the_log_says_why_and_not_each_time(self) -> None:
        seen = EventLoggingObserver()
        globalLogPublisher.addObserver(seen)
        self.addCleanup(globalLogPublisher.removeObserver, seen)
        self.service.reconfigure(self.adapt("broker", queue_depth_threshold=1))
        client = self.connect()
        self.ask(client, *[b"put 0 0 60 1", b"x"] * 50)
        told = [event for event in seen if "is refused" in (event.get("log_format") or "")]
        self.assertEqual(len(told), 1)
        self.assertIn("queue_depth_threshold", told[0]["why"])


class PipelineTests(BeanstalkdTestCase):
    def test_very_many_commands_at_once(self) -> None:
        client = self.connect()
        count = 3000
        client.say(b"put 0 0 60 1\r\nx\r\n" * count)
        for _ in range(20):
            self.turns()
        expected = b"".join(b"INSERTED %d\r\n" % number for number in range(1, count + 1))
        self.assertEqual(client.hear(), expected)
        client.say(b"reserve-with-timeout 0\r\n" * (count + 1))
        self.turns()
        expected = b"".join(b"RESERVED %d 1\r\nx\r\n" % number for number in range(1, count + 1))
        self.assertEqual(client.hear(), expected + b"TIMED_OUT\r\n")
        client.say(b"".join(b"delete %d\r\n" % number for number in range(1, count + 1)))
        for _ in range(20):
            self.turns()
        self.assertEqual(client.hear(), b"DELETED\r\n" * count)

    def test_more_than_fits_into_one_answer(self) -> None:
        """Large jobs are claimed some at a time; the client does not notice."""
        self.service.reconfigure(self.adapt("limits", max_frame_bytes=200_000))
        client = self.connect()
        for _ in range(8):
            self.put(client, b"x" * 60_000)
        heard = self.ask(client, *[b"reserve-with-timeout 0"] * 9)
        self.assertEqual(heard.count(b"RESERVED "), 8)
        self.assertTrue(heard.endswith(b"TIMED_OUT\r\n"))

    def test_what_must_be_stored_holds_up_replies_and_not_commands(self) -> None:
        client, other = self.connect(), self.connect(b"reserve")
        self.writer.holding = True
        client.say(
            b"use a\r\nput 0 0 60 1\r\nx\r\nuse default\r\nput 0 0 60 1\r\ny\r\nlist-tube-used\r\n"
        )
        self.turns()
        self.assertEqual((client.hear(), other.hear()), (b"", b"RESERVED 2 1\r\ny\r\n"))
        self.writer.let_go()
        self.turns()
        self.assertEqual(
            client.hear(),
            b"USING a\r\nINSERTED 1\r\nUSING default\r\nINSERTED 2\r\nUSING default\r\n",
        )

    def test_what_is_looked_up_keeps_its_place(self) -> None:
        client = self.connect()
        for _ in range(3):
            self.put(client)
        self.reading.holding = True
        said = b"reserve-job 1\r\nbury 1 0\r\npeek-buried\r\nkick 1\r\npeek-ready\r\ndelete 2\r\n"
        client.say(said)
        self.turns()
        client.say(b"list-tube-used\r\n")
        self.reading.let_go()
        self.turns()
        self.assertEqual(
            client.hear(),
            b"RESERVED 1 1\r\nx\r\nBURIED\r\nFOUND 1 1\r\nx\r\nKICKED 1\r\nFOUND 1 1\r\nx\r\n"
            b"DELETED\r\nUSING default\r\n",
        )


_SAID = (
    "put 0 0 1 1\r\nx",
    "put 9 1 1 0\r\n",
    "put 0 0 1 70000",
    "put 0 0 1 3",
    *("reserve", "reserve-with-timeout 0", "reserve-job 1", "delete 1", "delete 2", "touch 1"),
    *("release 1 5 0", "release 2 5 1", "bury 1 2", "bury 2 2", "kick 1", "kick-job 2"),
    *("peek 1", "peek-ready", "peek-delayed", "peek-buried", "quit", ""),
    *("use a", "watch a", "ignore default", "ignore a", "list-tubes"),
    *("stats", "stats-tube a", "stats-job 1", "pause-tube default 1", "pause-tube default 0"),
)

_COMMANDS = st.sampled_from([f"{said}\r\n".encode() for said in _SAID])


class AnythingTests(SynchronousTestCase):
    """Whatever commands come in whatever order, the broker goes on, and its books are right."""

    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(st.lists(_COMMANDS, max_size=30).map(b"".join))
    def test_any_commands(self, data: bytes) -> None:
        run(data)
