"""
Clients that mean no good, or are broken.
"""

from __future__ import annotations

import json
from time import process_time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.frontends.faktory.failing import Reason, error_of, read_reason, reason_of
from taskqueue.frontends.faktory.filtering import Glob
from tests.frontends.faktory.clients import JOB, FaktoryTestCase


class HostileTests(FaktoryTestCase):
    def test_in_any_pieces(self) -> None:
        """However the bytes come in, the answers are the same."""
        jobs = [{**JOB, "jid": f"job-{n:08}", "args": ["é\u2028"]} for n in range(3)]
        said = "".join(f"PUSH {json.dumps(job)}\r\n" for job in jobs) + "FETCH default\r\n"
        for size in (1, 2, 3, 7, 64, 1000):
            client = self.connect()
            data = said.encode()
            for place in range(0, len(data), size):
                client.say_raw(data[place : place + size])
            self.clock.pump([1 / 128] * 10)
            *pushed, job = client.hear()
            self.assertEqual(pushed, ["OK"] * 3)
            jid = json.loads(job)["jid"]
            self.assertEqual(self.ask(client, "ACK", {"jid": jid}), "OK")
            client.say("FLUSH")
            self.clock.pump([1 / 128] * 10)

    def test_no_name_ends_the_line_of_an_answer(self) -> None:
        client = self.connect()
        for name in ("a\r\n+OK", "\n", "\x00", "\u2028", "é" * 200):
            for field in ("queue", "jobtype", "at"):
                text = self.refused(client, "PUSH", {**JOB, field: name})
                self.assertNotIn("\n", text)
        for jid in ("no\r\n+OK such", "x" * 100_000):
            self.assertLess(len(self.refused(client, "FAIL", {"jid": jid})), 1100)

    def test_too_many_connections(self) -> None:
        self.limit(max_connections=2)
        for _ in range(2):
            self.connect()
        client = self.meet()
        [error] = client.hear()
        self.assertIn("max_connections", str(error))
        self.assertTrue(client.wire.half_closed)

    def test_who_says_much_while_a_command_waits_is_read_no_further(self) -> None:
        client = self.connect()
        client.say("FETCH", "default")
        for _ in range(100):
            if client.wire.producerState != "producing":
                break
            client.say_raw(b"INFO\r\n" * 1000)
        self.assertEqual(client.wire.producerState, "paused")

    def test_half_a_command(self) -> None:
        client = self.connect()
        client.say_raw(b"PUSH {")
        self.clock.advance(60)
        self.factory.check_times()
        self.assertIn("message_timeout_s", str(client.hear()[0]))


class GlobTests(SynchronousTestCase):
    def test_as_redis_has_it(self) -> None:
        """The cases of its own function, stringmatchlen."""
        cases = [
            ("*", "", True),
            ("", "", True),
            ("", "a", False),
            ("a?c", "abc", True),
            ("a?c", "ac", False),
            ("h[ae]llo", "hallo", True),
            ("h[^e]llo", "hello", False),
            ("h[a-c]llo", "hbllo", True),
            ("h[c-a]llo", "hbllo", True),
            (r"h\[llo", "h[llo", True),
            ("*ab*ab*", "xabxab", True),
            ("*ab*ab*", "xabx", False),
            ("ab*ba", "aba", False),
            ("a*b*c", "abc", True),
            ("*.*.*", "a.b", False),
            (r"*\\", "x\\", True),
            ("[]x", "x", False),
            ("[^]x", "yx", True),
            ("[abc", "b", True),
            ("*\n*", "a\nb", True),
            (".+(", ".+(", True),
        ]
        for pattern, text, expected in cases:
            self.assertEqual(Glob(pattern).matches(text), expected, (pattern, text))

    def test_no_pattern_takes_long(self) -> None:
        began = process_time()
        self.assertFalse(Glob("*a" * 499 + "*b").matches("a" * 100_000))
        self.assertLess(process_time() - began, 2.0)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


class ReasonTests(SynchronousTestCase):
    @given(TEXTS, TEXTS, st.lists(TEXTS, max_size=4))
    @settings(derandomize=True, deadline=None)
    def test_what_is_kept_is_what_is_shown(
        self, errtype: str, message: str, lines: list[str]
    ) -> None:
        reason = read_reason({"errtype": errtype, "message": message, "backtrace": lines})
        self.assertEqual(reason_of(error_of(reason)), reason)

    @given(TEXTS)
    @settings(derandomize=True, deadline=None)
    def test_any_error_can_be_shown(self, error: str) -> None:
        self.assertIsInstance(reason_of(error), Reason)

    def test_a_type_with_a_colon_in_it(self) -> None:
        reason = read_reason({"errtype": "Errno::ENOENT: a\nb", "message": "no"})
        self.assertEqual(reason.errtype, "Errno::ENOENT:a b")
        self.assertEqual(reason_of(error_of(reason)), reason)

    def test_what_looks_like_a_backtrace(self) -> None:
        for message in ("a\nBacktrace:\n- b", "a\nBacktrace:", "Backtrace:\n- x"):
            for lines in ((), ("Backtrace:",), ("x\nBacktrace:\n- y",)):
                reason = Reason("E", message, lines)
                self.assertEqual(reason_of(error_of(reason)), reason)
