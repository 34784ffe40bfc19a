"""
Who comes in by frames and lines, and who has to leave.
"""

from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.access.keyring import CertificateEntry, Keyring
from taskqueue.transport.naming import PeerCertificate
from taskqueue.wire import MessageType
from tests.operations.keys import MADE_AT, Keys
from tests.operations.world import FIRST, LANGUAGES, NEW_YEAR, World

ACK, NACK, EVENT = MessageType.ACK, MessageType.NACK, MessageType.EVENT


class GateTestCase(SynchronousTestCase):
    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)
        self.gate = self.world.service.gate

    def keys(self, **words):
        self.known = Keys(self.gate, **words)
        return self.known

    def enter(self, name, language="framed"):
        peer = self.world.meet(language)
        kind, answer = peer.ask(MessageType.HELLO, key=self.known[name])
        self.assertIs(kind, ACK, answer)
        return peer

    def assertSentAway(self, peer, code="UNAUTHENTICATED"):
        """It was told why, last of all, and the connection ends."""
        peer.new()
        kind, header = peer.received[-1]
        self.assertEqual((kind, header["code"]), (NACK, code))
        self.assertNotIn("id", header)
        self.assertTrue(peer.over)
        return header["message"]


class ComingInTests(GateTestCase):
    def test_open(self):
        """While nobody needs to authenticate, HELLO needs no key, and lines no HELLO."""
        self.assertTrue(self.gate.open)
        kind, answer = self.world.meet("framed").ask(MessageType.HELLO)
        self.assertIs(kind, ACK)
        self.assertNotIn("identity", answer)
        kind, _ = self.world.meet("lines").ask(MessageType.GET_STATS)
        self.assertIs(kind, ACK)

    def test_with_a_key(self):
        self.keys(mailer=["submit:mail", "read:mail"])
        for language in LANGUAGES:
            peer = self.world.meet(language)
            kind, answer = peer.ask(MessageType.HELLO, key=self.known["mailer"], client="c/1")
            self.assertIs(kind, ACK, answer)
            self.assertEqual(
                answer["identity"],
                {
                    "name": "mailer",
                    "kind": "key",
                    "role": None,
                    "permissions": ["submit:mail", "read:mail"],
                    "expires_at": None,
                },
            )
            kind, _ = peer.ask(MessageType.QUERY_STATUS, tasks=[FIRST])
            self.assertIs(kind, ACK)

    def test_without_a_key(self):
        self.keys(mailer=["submit:mail"])
        for language in LANGUAGES:
            peer = self.world.meet(language)
            peer.send(MessageType.HELLO, {"id": 1})
            self.assertIn("HELLO and a key", self.assertSentAway(peer))
        self.assertEqual(self.world.service.traffic.refused["UNAUTHENTICATED"], 2)

    def test_without_hello(self):
        self.keys(mailer=["submit:mail"])
        for language, code in (("framed", "HELLO_REQUIRED"), ("lines", "UNAUTHENTICATED")):
            for kind in (MessageType.PING, MessageType.SUBMIT_TASK, MessageType.CLAIM_TASK):
                peer = self.world.meet(language)
                peer.send(kind, {"tasks": [{"type": "t"}]} if kind == 1 else {})
                self.assertSentAway(peer, code)
        self.assertEqual(self.world.ledger.tasks, {})

    def test_a_wrong_key(self):
        self.keys(mailer=["submit:mail"])
        known = self.known["mailer"]
        flipped = known[:-1] + ("a" if known[-1] != "a" else "b")
        for language in LANGUAGES:
            self.world.clock.advance(1000)  # the wrong ones before are forgiven
            for wrong in ("secret", "tq_x_y", known[:-1], flipped):
                peer = self.world.meet(language)
                peer.send(MessageType.HELLO, {"id": 1, "key": wrong})
                self.assertIn("not known", self.assertSentAway(peer))
                self.assertNotIn(wrong, repr(peer.received))

    def test_what_is_no_key(self):
        self.keys(mailer=["submit:mail"])
        for wrong in (7, "", "x" * 1025, ["secret"], {"a": "secret"}):
            peer = self.world.meet()
            kind, answer = peer.ask(MessageType.HELLO, key=wrong)
            self.assertEqual((kind, answer["code"], answer["field"]), (NACK, "BAD_REQUEST", "key"))
            self.assertNotIn("secret", answer["message"])

    def test_many_wrong_keys(self):
        """Whoever tries many waits longer and longer; who has a true one does not."""
        self.keys(mailer=["submit:mail"])
        found = []
        for number in range(12):
            peer = self.world.meet()
            peer.send(MessageType.HELLO, {"id": 1, "key": f"wrong {number}"})
            peer.new()
            found.append(peer.received[-1][1])
        self.assertEqual(found[0]["code"], "UNAUTHENTICATED")
        self.assertEqual(found[-1]["code"], "RATE_LIMITED")
        self.assertGreater(found[-1]["retry_after_s"], 0)
        self.enter("mailer")

    def test_a_key_where_none_is_needed(self):
        """It counts: what it may not do, it may not do here either."""
        self.gate._mode = "open_to_everyone"
        keys = self.keys(mailer=["submit:mail"])
        self.assertTrue(self.gate.open)
        peer = self.enter("mailer")
        kind, answer = peer.ask(MessageType.GET_STATS)
        self.assertEqual((kind, answer["code"]), (NACK, "FORBIDDEN"))
        peer = self.world.connect()
        peer.ask(MessageType.GET_STATS)
        kind, _ = peer.ask(MessageType.HELLO, key=keys["mailer"])
        self.assertIs(kind, ACK)
        kind, answer = peer.ask(MessageType.GET_STATS)
        self.assertEqual((kind, answer["code"]), (NACK, "FORBIDDEN"))

    def test_another_key_on_the_same_connection(self):
        self.keys(one=["read"], two=["admin"])
        peer = self.enter("one")
        kind, answer = peer.ask(MessageType.HELLO, key=self.known["two"])
        self.assertEqual((kind, answer["code"]), (NACK, "BAD_REQUEST"))
        self.assertIn("key 'one'", answer["message"])
        kind, answer = peer.ask(MessageType.AUDIT)
        self.assertEqual(answer["code"], "FORBIDDEN")
        for again in ({"key": self.known["one"]}, {}):
            kind, answer = peer.ask(MessageType.HELLO, **again)
            self.assertEqual((kind, answer["identity"]["name"]), (ACK, "one"))

    def test_with_a_certificate(self):
        entry = CertificateEntry(
            name="worker", id="c1", subject="CN=worker", allow=("claim:q",), created_at=MADE_AT
        )
        self.gate.adopt(Keyring(certificates=(entry,)))
        for language in LANGUAGES:
            for hello in (True, False):
                peer = self.world.meet(language)
                peer.connection.session._certificate = lambda: PeerCertificate("CN=worker", ())
                if hello or language == "framed":
                    _, answer = peer.ask(MessageType.HELLO)
                    self.assertEqual(answer["identity"]["kind"], "certificate")
                kind, _ = peer.ask(MessageType.CLAIM_TASK, queues=["q"], wait_s=0)
                self.assertIs(kind, ACK)
                kind, answer = peer.ask(MessageType.CLAIM_TASK, wait_s=0)
                self.assertEqual((kind, answer["code"]), (NACK, "FORBIDDEN"))
            peer = self.world.meet(language)
            peer.connection.session._certificate = lambda: PeerCertificate("CN=other", ())
            peer.send(MessageType.HELLO, {})
            self.assertIn("stands for nobody here (CN=other)", self.assertSentAway(peer))


class LeavingTests(GateTestCase):
    def check_revoked(self, language):
        self.keys(mailer=["submit", "claim", "read"])
        peer = self.enter("mailer", language)
        peer.ask(MessageType.SUBMIT_TASK, tasks=[{"type": "t"}])
        _, answer = peer.ask(MessageType.CLAIM_TASK)
        self.assertEqual(len(answer["tasks"]), 1)
        peer.ask(MessageType.WATCH, queues=["default"])
        peer.send(MessageType.CLAIM_TASK, {"id": 77, "wait_s": 30})
        self.known.revoke("mailer")
        self.assertIn("revoked", self.assertSentAway(peer))
        [claimed] = [header for _, header in peer.received if header.get("id") == 77]
        self.assertEqual(claimed["tasks"], [])
        peer.leave()
        self.assertEqual(self.world.leftovers(), [])
        again = self.world.meet(language)
        again.send(MessageType.HELLO, {"key": self.known["mailer"]})
        self.assertIn("revoked", self.assertSentAway(again))

    def test_revoked_in_frames(self):
        """What it held goes the way of a lost connection."""
        self.check_revoked("framed")

    def test_revoked_in_lines(self):
        self.check_revoked("lines")

    def test_others_stay(self):
        self.keys(one=["admin"], two=["admin"])
        stays, goes = self.enter("one"), self.enter("two")
        self.known.revoke("two")
        self.assertSentAway(goes)
        self.assertIs(stays.ask(MessageType.PING)[0], ACK)
        self.assertEqual(stays.new(), [])

    def test_nothing_is_given_to_who_was_sent_away(self):
        self.keys(one=["claim"], two=["submit"])
        goes, producer = self.enter("one"), self.enter("two")
        goes.send(MessageType.CLAIM_TASK, {"id": 5, "wait_s": 30})
        self.known.revoke("one")
        producer.ask(MessageType.SUBMIT_TASK, tasks=[{"type": "t"}])
        self.assertEqual(len(self.world.ledger.leases), 0)

    def test_expired(self):
        self.keys(stays=["admin"])
        at = datetime.fromtimestamp(NEW_YEAR + 10, UTC)
        self.known.add("passes", "admin", expires_at=at)
        stays, passes = self.enter("stays"), self.enter("passes")
        _, answer = self.enter("passes").ask(MessageType.HELLO)
        self.assertEqual(answer["identity"]["expires_at"], NEW_YEAR + 10)
        self.world.pass_time(9)
        self.gate.expire()
        self.assertIs(passes.ask(MessageType.PING)[0], ACK)
        self.world.pass_time(1.5)
        self.gate.expire()
        self.assertSentAway(passes)
        self.assertIs(stays.ask(MessageType.PING)[0], ACK)

    def test_the_gate_is_shut(self):
        """With the first key, who came in without one has to leave."""
        peers = [self.world.connect(), self.world.meet("lines")]
        peers[1].ask(MessageType.PING)
        silent = [self.world.meet("framed"), self.world.meet("lines")]
        self.keys(first=["admin"])
        for peer in (*peers, *silent):
            self.assertIn("not valid any more", self.assertSentAway(peer))

    def test_permissions_change(self):
        self.keys(one=["claim", "read"], admin=["admin"])
        peer, admin = self.enter("one"), self.enter("admin")
        peer.ask(MessageType.WATCH, queues=["default"])
        peer.send(MessageType.CLAIM_TASK, {"id": 5, "wait_s": 30})
        self.known.allow("one", "submit:own")
        self.assertEqual([h for _, h in peer.new() if h.get("id") == 5], [{"id": 5, "tasks": []}])
        kind, answer = peer.ask(MessageType.CLAIM_TASK)
        self.assertEqual((kind, answer["code"]), (NACK, "FORBIDDEN"))
        _, answer = admin.ask(MessageType.SUBMIT_TASK, tasks=[{"type": "t"}])
        admin.ask(MessageType.CANCEL_TASK, tasks=answer["tasks"])
        self.world.settle()
        self.assertEqual([kind for kind, _ in peer.new() if kind is EVENT], [])
        self.known.allow("one", "admin")
        self.assertIs(peer.ask(MessageType.GET_STATS)[0], ACK)
        self.assertIsNone(peer.connection.session.restricted)


class BrowserTests(GateTestCase):
    """What a page of some site can have a visitor's browser send to a port of this machine."""

    def test_http_where_lines_are_spoken(self):
        """Its body is not looked at: else any page could give orders to an open broker."""
        peer = self.world.meet("lines")
        order = b'{"op":"submit","tasks":[{"type":"t"}]}\n'
        head = b"POST /%s HTTP/1.1\r\nHost: 127.0.0.1:7782\r\ncontent-type: text/plain\r\n\r\n"
        peer.send_bytes(head % b"x" + order)
        self.assertIn("HTTP", self.assertSentAway(peer, "BAD_FRAME"))
        self.assertEqual(self.world.ledger.tasks, {})

    def test_what_only_looks_like_it(self):
        peer = self.world.meet("lines")
        for line in (b"POST", b"hello", b"POST / HTTP", b'{"op":"POST / HTTP/1.1"}'):
            peer.send_bytes(line + b"\n")
        self.assertEqual([kind for kind, _ in peer.new()], [NACK] * 4)
        self.assertFalse(peer.over)
