"""
Whatever a peer sends, it is told what is wrong, nobody else notices, and
nothing of it stays: requests, batches, frames and streams that are wrong as a
whole.
"""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from taskqueue.config import BrokerConfig, LimitsConfig
from taskqueue.wire import MessageType, encode
from tests.operations.bad_input import ACK, LEASE, NACK, RIGHT, BadInputTests
from tests.operations.world import FIRST, LANGUAGES, as_json


class RequestTests(BadInputTests):
    """Requests that are wrong as a whole."""

    def setUp(self):
        self.start()

    def test_ids(self):
        for language in LANGUAGES:
            peer = self.connect(language)
            for bad in (True, -1, 2**53, 1.5, "x" * 65, [], {}, 10**400):
                peer.send_bytes(peer.raw(MessageType.PING, b'{"id":%s}' % as_json(bad)))
                [(kind, answer)] = peer.new()
                self.assertEqual((kind, answer["code"]), (NACK, "BAD_REQUEST"), bad)
                self.assertEqual(answer["field"], "id")
                self.assertNotIn("id", answer)
            for good in (0, 2**53 - 1, "", "x" * 64):
                peer.send_bytes(peer.raw(MessageType.PING, b'{"id":%s}' % as_json(good)))
                [(kind, answer)] = peer.new()
                self.assertEqual((kind, answer["id"]), (ACK, good))

    def test_headers_that_are_no_objects(self):
        peer = self.connect("framed")
        for text in (b"", b"[]", b"null", b"1", b'"x"', b"true", b" ", b"\xff", b"{}{}", b"\n{}"):
            peer.send_bytes(struct.pack(">IB", 1 + len(text), 18) + text)
            [(kind, answer)] = peer.new()
            self.assertEqual((kind, answer["code"]), (NACK, "BAD_REQUEST"), text)
            self.assertIn("a JSON object on one line", answer["message"])
        self.assertNobodyNoticed()

    def test_lines_that_are_no_objects(self):
        peer = self.connect("lines")
        for text in (b"[]", b"null", b"1", b"hello", b"\xff", b"{}", b'{"op":1}', b'{"op":[]}'):
            peer.send_bytes(text + b"\n")
            [(kind, answer)] = peer.new()
            self.assertEqual((kind, answer["code"]), (NACK, "BAD_REQUEST"), text)
        peer.send_bytes(b"\n  \n\r\n")
        self.assertEqual(peer.new(), [])
        self.assertNobodyNoticed()

    def test_unknown_operations(self):
        peer = self.connect("framed")
        for number in (0, max(MessageType) + 1, 127, 255):
            peer.send_bytes(struct.pack(">IB", 9, number) + b'{"id":5}')
            [(kind, answer)] = peer.new()
            self.assertEqual((kind, answer["code"]), (NACK, "UNKNOWN_OPERATION"))
            self.assertEqual(answer["id"], 5)
        for kind in (ACK, NACK, MessageType.EVENT):
            answer = self.verdict(peer, kind, b'{"tasks":[]}')
            self.assertEqual(answer[1]["code"], "BAD_REQUEST")
            self.assertIn("sent by the broker only", answer[1]["message"])
        self.assertNobodyNoticed()

    def test_duplicate_ids_in_a_batch(self):
        """The second is the first."""
        peer = self.connect("framed")
        fresh = FIRST[:-1] + "9"
        tasks = [{"type": "t", "id": fresh}, {"type": "other", "id": fresh.upper()}]
        kind, answer = peer.ask(MessageType.SUBMIT_TASK, tasks=tasks)
        self.assertEqual((kind, answer), (ACK, {"tasks": [fresh, fresh], "existing": [1]}))
        both = [{"task": fresh, "lease": 1, "status": "completed"}] * 2
        kind, answer = peer.ask(MessageType.TASK_RESULT, results=both)
        self.assertEqual([e["code"] for e in answer["errors"]], ["LEASE_LOST"] * 2)
        kind, answer = peer.ask(MessageType.CANCEL_TASK, tasks=[fresh, fresh])
        self.assertEqual((answer["states"], answer["errors"][0]["item"]), (["cancelled", None], 1))
        kind, answer = peer.ask(MessageType.DELETE_TASK, tasks=[fresh, fresh])
        self.assertEqual((answer["deleted"], answer["errors"][0]["code"]), (1, "UNKNOWN_TASK"))
        self.assertNobodyNoticed()

    def test_a_bad_item_costs_itself_only(self):
        for language in LANGUAGES:
            peer = self.connect(language)
            raw = b'{"tasks":[{"type":"a"},null,[],5,{"type":""},{"type":"b"}]}'
            kind, answer = self.verdict(peer, MessageType.SUBMIT_TASK, raw)
            self.assertEqual(kind, ACK)
            self.assertEqual([bool(i) for i in answer["tasks"]], [True, *[False] * 4, True])
            self.assertEqual([e["item"] for e in answer["errors"]], [1, 2, 3, 4])
        self.assertNobodyNoticed()


class LimitTests(BadInputTests):
    """More than is allowed."""

    def setUp(self):
        self.start(
            limits=LimitsConfig(max_frame_bytes=2048, max_payload_bytes=100),
            broker=BrokerConfig(max_batch_submit=3, max_batch_claim=4, max_batch_results=2),
        )

    def test_batches(self):
        item = {"type": "t"}
        for kind, name, most in (
            (MessageType.SUBMIT_TASK, "tasks", 3),
            (MessageType.TASK_RESULT, "results", 2),
            (MessageType.EXTEND_LEASE, "leases", 2),
            (MessageType.RELEASE_TASK, "leases", 2),
            (MessageType.REPORT_PROGRESS, "reports", 2),
        ):
            for language in LANGUAGES:
                peer = self.connect(language)
                kept = self.world.ledger.depth
                answer = self.verdict(peer, kind, as_json({name: [item] * (most + 1)}))
                self.assertEqual((answer[0], answer[1]["code"]), (NACK, "BATCH_TOO_LARGE"))
                self.assertEqual(answer[1]["limit"], most)
                self.assertIn(f"{name} has {most + 1} items, at most {most}", answer[1]["message"])
                self.assertEqual(self.world.ledger.depth, kept)
                answer = self.verdict(peer, kind, as_json({name: [item] * most}))
                self.assertEqual(answer[0], ACK)
        self.assertNobodyNoticed()

    def test_claims(self):
        answer = self.verdict(self.connect("framed"), MessageType.CLAIM_TASK, b'{"limit":5}')
        self.assertEqual(answer[1]["field"], "limit")
        self.assertIn("at most 4 (max_batch_claim)", answer[1]["message"])

    def test_payloads(self):
        for language in LANGUAGES:
            peer = self.connect(language)
            for size, code in ((100, None), (101, "PAYLOAD_TOO_LARGE")):
                kind, answer = peer.ask(
                    MessageType.SUBMIT_TASK, tasks=[{"type": "t", "payload": b"x" * size}]
                )
                errors = answer.get("errors", [{}])
                self.assertEqual((kind, errors[0].get("code")), (ACK, code))
            self.assertEqual(errors[0]["limit"], 100)
            result = {**LEASE, "status": "completed", "result": b"x" * 101}
            kind, answer = peer.ask(MessageType.TASK_RESULT, results=[result])
            self.assertEqual(answer["errors"][0]["code"], "PAYLOAD_TOO_LARGE")
        self.assertEqual(self.world.ledger.tasks[FIRST].state.word, "in_progress")
        self.assertNobodyNoticed()

    def test_results_of_failures(self):
        result = {**LEASE, "status": "failed", "result": b"x"}
        _, answer = self.connect("framed").ask(MessageType.TASK_RESULT, results=[result])
        self.assertIn("a failed one has an error", answer["errors"][0]["message"])

    def test_sizes(self):
        """The bytes behind a header are exactly those that it tells of."""
        peer = self.connect("framed")
        for sizes, follows in (
            ([1], b""),
            ([0], b"\nx"),
            ([2], b"\nx"),
            ([1], b"\nxy"),
            ([-1], b"\nx"),
            ([True], b"\nx"),
            ([1.0], b"\nx"),
            (["1"], b"\nx"),
            ([None], b"\nx"),
            ([2**63], b"\nx"),
            ([10**400], b"\nx"),
            ([1, 10**9], b"\nxy"),
        ):
            tasks = [{"type": "t", "size": size} for size in sizes]
            text = as_json({"id": 7, "tasks": tasks}) + follows
            peer.send_bytes(struct.pack(">IB", 1 + len(text), 1) + text)
            [(kind, answer)] = peer.new()
            self.assertEqual((kind, answer["code"]), (NACK, "BAD_REQUEST"), text)
            self.assertEqual(answer["id"], 7)
            self.assertIn("size", answer["message"])
        answer = self.verdict(peer, MessageType.SUBMIT_TASK, b'{"tasks":[{"payload":"x"}]}')
        self.assertIn("send its bytes after the header", answer[1]["message"])
        self.assertNobodyNoticed()

    def test_payloads_in_lines(self):
        peer = self.connect("lines")
        for item in (
            {"payload": 5},
            {"payload": None},
            {"payload": ["x"]},
            {"payload_b64": "?"},
            {"payload_b64": 5},
            {"payload_b64": "YQ"},
            {"payload": "x", "payload_b64": "eA=="},
        ):
            text = as_json({"tasks": [{"type": "t", **item}]})
            kind, answer = self.verdict(peer, MessageType.SUBMIT_TASK, text)
            self.assertEqual((kind, answer["code"]), (NACK, "BAD_REQUEST"), item)
            self.assertIn("tasks[0]: ", answer["message"])
            self.assertIn("payload", answer["message"])
        answer = self.verdict(peer, MessageType.SUBMIT_TASK, b'{"tasks":[{"type":"t","size":1}]}')
        self.assertEqual(answer[1]["errors"][0]["field"], "size")
        self.assertNobodyNoticed()


class StreamTests(BadInputTests):
    """Bytes that are no messages, and connections that end in the middle of one."""

    def setUp(self):
        self.start(limits=LimitsConfig(max_frame_bytes=2048))

    def assertEnded(self, peer, code):
        kind, answer = peer.new()[-1]
        self.assertEqual((kind, answer["code"]), (NACK, code))
        self.assertNotIn("id", answer)
        self.assertPresentable(answer)
        self.assertTrue(peer.over)
        peer.send_bytes(encode(MessageType.PING, {}))
        self.assertEqual(peer.new(), [], "it is closing")

    def test_frames_of_length_0(self):
        peer = self.connect("framed")
        peer.send_bytes(encode(MessageType.PING, {"id": 1}) + b"\0\0\0\0")
        self.assertEndedAfterAnswer(peer, "BAD_FRAME")

    def assertEndedAfterAnswer(self, peer, code):
        """What was right before is answered."""
        sent = peer.new()
        self.assertEqual(sent[0][0], ACK)
        self.assertEqual(sent[1][1]["code"], code)
        self.assertTrue(peer.over)
        self.assertNobodyNoticed()
        self.assertAllGivenBack()

    def test_frames_over_the_limit(self):
        peer = self.connect("framed")
        peer.send_bytes(encode(MessageType.PING, {"id": 1}) + struct.pack(">I", 2049))
        self.assertEndedAfterAnswer(peer, "FRAME_TOO_LARGE")

    def test_frames_at_the_limit(self):
        peer = self.connect("framed")
        text = b'{"id":1' + b" " * (2047 - 8) + b"}"
        peer.send_bytes(struct.pack(">IB", 2048, 18) + text)
        self.assertEqual(peer.new()[0][0], ACK)

    def test_lines_over_the_limit(self):
        for end in (b"", b"\n"):
            peer = self.connect("lines")
            peer.send_bytes(b"x" * 2049 + end)
            if not end:
                peer.send_bytes(b"x")
            self.assertEnded(peer, "FRAME_TOO_LARGE")

    def test_other_protocols(self):
        """The usual strangers are told so, and go."""
        for greeting in (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"\xff" * 100,
        ):
            peer = self.world.meet()
            self.peers.append(peer)
            peer.send_bytes(greeting)
            self.assertEnded(peer, "FRAME_TOO_LARGE")
        peer = self.connect("lines")
        peer.send_bytes(b"GET / HTTP/1.1\r\n\r\n")
        self.assertIn("JSON", peer.new()[0][1]["message"])
        self.assertNobodyNoticed()
        self.assertAllGivenBack()

    def test_anything_before_hello(self):
        for kind, header in RIGHT.items():
            if kind is MessageType.HELLO:
                continue
            peer = self.world.meet()
            self.peers.append(peer)
            peer.send(kind, header)
            self.assertEnded(peer, "HELLO_REQUIRED")
        self.assertAllGivenBack()

    def test_versions(self):
        peer = self.world.meet()
        self.peers.append(peer)
        peer.send(MessageType.HELLO, {"id": 1, "versions": [2, 3]})
        self.assertEnded(peer, "UNSUPPORTED_VERSION")
        self.assertEqual(peer.received[-1][1]["versions"], [1])

    def test_disconnect_in_the_middle(self):
        """After each byte of a submission: it is done whole, or not at all."""
        frame = encode(MessageType.SUBMIT_TASK, {"tasks": [{"type": "t", "payload": b"abc"}]})
        line = b'{"op":"submit","tasks":[{"type":"t","payload":"abc"}]}\n'
        for language, message in (("framed", frame), ("lines", line)):
            for cut in range(len(message) + 1):
                depth = self.world.ledger.depth
                peer = self.connect(language)
                peer.send_bytes(message[:cut])
                peer.leave()
                self.assertEqual(self.world.ledger.depth - depth, cut == len(message))
        self.assertNobodyNoticed()
        self.assertAllGivenBack()

    def test_dribble(self):
        """One byte at a time: the answers are those to whole messages."""
        peer = self.world.meet()
        self.peers.append(peer)
        stream = encode(MessageType.HELLO, {"id": 1}) + encode(MessageType.CLAIM_TASK, {"id": 2})
        for byte in stream + b"\0\0\0\0":
            peer.send_bytes(bytes([byte]))
        kinds = [kind for kind, _ in peer.new()]
        self.assertEqual(kinds, [ACK, ACK, NACK])
        self.assertAllGivenBack()

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(st.lists(st.binary(max_size=40), max_size=5), st.sampled_from(LANGUAGES))
    def test_garbage(self, chunks, language):
        peer = self.world.meet(language)
        for chunk in chunks:
            peer.send_bytes(chunk)
        for kind, answer in peer.new():
            self.assertEqual(kind, NACK)
            self.assertPresentable(answer)
        peer.leave()
        self.assertNobodyNoticed()
        self.assertEqual(len(self.world.factories[language].connections), language == "framed")
