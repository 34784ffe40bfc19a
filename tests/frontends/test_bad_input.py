"""
Whatever a peer sends, it is told what is wrong, nobody else notices, and
nothing of it stays.

What is allowed is read from the page of the protocol, so that the page and the
broker are held against each other.
"""

import json
import struct

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.config import BrokerConfig, LimitsConfig
from taskqueue.operations.table import OPERATIONS
from taskqueue.wire import MessageType, encode
from tests.operations import page
from tests.operations.world import FIRST, LANGUAGES, SECOND, World, as_json

ACK, NACK = MessageType.ACK, MessageType.NACK
REFUSALS = ("BAD_REQUEST", "BATCH_TOO_LARGE")

TABLES = page.tables()


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


#: Values that JSON can have, each wrong for most fields.
VALUES = [
    *(None, True, False, 0, 1, -1, -0.5, 0.5, 1.5, 1e308, -1e308),
    *(255, 256, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**400, -(10**400)),
    *("", " ", "x", "a b", "é", "\x00", "default\n", "../x", ".x", "x" * 70_000, "pending", "run"),
    *(FIRST, FIRST.upper(), FIRST[:-1], f"{FIRST}\n", f"{{{FIRST}}}", "completed", "quiet"),
    *([], [1], ["x"], [None], [""], [[]], [{}], [True], [FIRST], ["x"] * 101, [1.5], ["a b"]),
    *({}, {"a": 1}, {"a": "b"}, {"a": None}, {"type": "t"}, {"": ""}),
    *(nested(31), nested(32)),
]

#: As deep as the parser goes, and what it is as good as.
DEEP = (nested(33), b"[" * 1000 + b"]" * 1000)

#: What is no JSON at all, or not the JSON that is spoken here.
NO_JSON = [
    *(b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"9" * 5000, b"", b"{", b"]", b"+1"),
    *(b"'a'", b"tru", b'"a', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff"', b'"\xed\xa0\x80"'),
    b"[" * 5000 + b"]" * 5000,
]

_LEASE = {"task": FIRST, "lease": 1}
_WORKER = {"worker": "w", "incarnation": 1}

#: For every operation, a request that is right.
RIGHT = {
    MessageType.HELLO: {},
    MessageType.PING: {},
    MessageType.SUBMIT_TASK: {"tasks": [{"type": "t"}]},
    MessageType.CLAIM_TASK: {"wait_s": 0, "types": ["nothing"]},
    MessageType.TASK_RESULT: {"results": [{**_LEASE, "status": "completed"}]},
    MessageType.HEARTBEAT: _WORKER,
    MessageType.REGISTER_WORKER: _WORKER,
    MessageType.DEREGISTER_WORKER: {"worker": "nobody"},
    MessageType.EXTEND_LEASE: {"leases": [_LEASE]},
    MessageType.RELEASE_TASK: {"leases": [_LEASE]},
    MessageType.REPORT_PROGRESS: {"reports": [{**_LEASE, "progress": 1}]},
    MessageType.QUERY_STATUS: {"tasks": [FIRST]},
    MessageType.WATCH: {},
    MessageType.UNWATCH: {},
    MessageType.LIST_TASKS: {},
    MessageType.GET_PAYLOAD: {"task": FIRST},
    MessageType.CANCEL_TASK: {"tasks": [FIRST]},
    MessageType.RETRY_TASK: {"tasks": [FIRST]},
    MessageType.DELETE_TASK: {"tasks": [FIRST]},
    MessageType.GET_STATS: {},
    MessageType.LIST_QUEUES: {},
    MessageType.LIST_WORKERS: {},
    MessageType.ORDER_WORKER: {"worker": "w", "order": "quiet"},
    MessageType.PAUSE_QUEUE: {"queue": "q"},
    MessageType.RESUME_QUEUE: {"queue": "q"},
    MessageType.SET_QUEUE: {"queue": "q", "max_depth": 1},
    MessageType.PURGE_QUEUE: {"queue": "q"},
    MessageType.BACKUP: {"name": "copy"},
}

#: What has bytes of its own, which each language tells in its own way.
PARTS = ("payload", "result")


def places():
    """
    Every field of every request.

    @return: operation, the path to the object that holds it, and the field.
    """
    for kind in OPERATIONS:
        for title, fields in TABLES[kind].items():
            if title == "Request":
                yield from ((kind, (), field) for field in fields)
            elif title.startswith("Items of ") and not title.startswith("Items of the answer"):
                name = title.removeprefix("Items of ")
                yield from ((kind, (name, 0), field) for field in fields)
                if name == "tasks":
                    shared = [f for f in fields if f.name not in ("id", *PARTS)]
                    yield from ((kind, ("common",), field) for field in shared)


def with_value(header, path, name, raw):
    """The JSON text of C{header} in which one field has a value that is given as text."""
    copy = json.loads(json.dumps(header))
    place = copy
    for step in path:
        if step == "common":
            place = place.setdefault("common", {})
        else:
            place = place[step]
    place[name] = "\x1a"
    return as_json(copy).replace(b'"\\u001a"', raw)


class BadInputTests(SynchronousTestCase):
    """What the tests of bad input have in common."""

    def start(self, **sections):
        """
        A broker with two tasks, the first of which somebody holds; and somebody
        else, who is to notice nothing.
        """
        self.world = World(**sections)
        self.addCleanup(self.world.close)
        self.bystander = self.world.connect()
        tasks = [{"type": "t", "id": i, "payload": b"\x00\xff"} for i in (FIRST, SECOND)]
        self.bystander.ask(MessageType.SUBMIT_TASK, tasks=tasks)
        self.bystander.ask(MessageType.CLAIM_TASK, lease_s=86400)
        self.peers = []

    def connect(self, language):
        peer = self.world.connect(language)
        self.peers.append(peer)
        return peer

    def verdict(self, peer, kind, text):
        """
        Send a request.

        @return: its answer, or the NACK that ended the connection; C{None}
            where the answer is still to come.
        """
        peer._ids += 1
        wanted = peer._ids
        comma = b"" if text == b"{}" else b","
        peer.send_bytes(peer.raw(kind, b'{"id":%d' % wanted + comma + text[1:]))
        answers = [m for m in peer.new() if m[0] in (ACK, NACK)]
        for answer in answers:
            self.assertPresentable(answer[1])
        own = [a for a in answers if a[1].get("id") == wanted]
        ended = [a for a in answers if peer.over]
        unread = [a for a in answers if "id" not in a[1]]
        return next(iter(own + ended + unread), None)

    def assertPresentable(self, answer):
        """No error is unexpected, and each says something to a person, in words of the wire."""
        for error in (answer, *answer.get("errors", ())):
            if "code" not in error:
                continue
            self.assertNotEqual(error["code"], "INTERNAL_ERROR", error)
            message = error["message"]
            self.assertTrue(10 < len(message) < 500, message)
            for word in ("Traceback", "File ", "<class", "NoneType", "object at", "None", "True"):
                self.assertNotIn(word, message)

    def assertNobodyNoticed(self):
        """The others' answers are right, the books agree, and nothing was logged."""
        kind, answer = self.bystander.ask(MessageType.GET_PAYLOAD, task=SECOND)
        self.assertEqual((kind, answer["tasks"]), (ACK, [{"id": SECOND, "payload": b"\x00\xff"}]))
        self.assertEqual(self.world.problems(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def assertAllGivenBack(self):
        """With every connection gone (and every worker's grace over), nothing is taken."""
        for peer in (*self.peers, self.bystander):
            peer.leave()
        self.world.pass_time(11)
        self.assertEqual(self.world.leftovers(), [])
        self.assertEqual(self.flushLoggedErrors(), [])


class FieldTests(BadInputTests):
    """Every field of every operation with every kind of wrong value."""

    def refusals(self, answer, name):
        """The errors in C{answer} that name this field."""
        kind, header = answer
        errors = [header] if kind is NACK else header.get("errors", [])
        return [
            error
            for error in errors
            if error["code"] in REFUSALS
            and (error.get("field") == name or error.get("field", "").startswith(f"{name}["))
        ]

    def probe(self, language, kind, path, field):
        is_allowed = page.allowed(field.value)
        peer = self.connect(language)
        values = [(value, as_json(value)) for value in VALUES + page.edges(field.value)]
        for value, raw in [*values, DEEP]:
            text = with_value(RIGHT[kind], path, field.name, raw)
            answer = self.verdict(peer, kind, text)
            place = f"{kind.name} {path} {field.name} = {text[:200]!r}: {answer}"
            if not is_allowed(value):
                self.assertIsNotNone(answer, place)
                refusals = self.refusals(answer, field.name)
                self.assertTrue(refusals, place)
                self.assertIn(field.name, refusals[0]["message"], place)
                if path != ("common",):
                    self.assertIs(answer[0], ACK if path else NACK, place)
                continue
            if answer is not None and field.name != "expires_at":
                self.assertEqual(self.refusals(answer, field.name), [], place)
            peer.leave()  # whatever it took or became does not meet the next value
            peer = self.connect(language)

    def test_wrong_values(self):
        count = 0
        for kind, path, field in places():
            for language in LANGUAGES:
                if field.name not in PARTS:
                    self.start()
                    self.probe(language, kind, path, field)
                    # What was right may have cancelled or paused the task: it is there still.
                    _, answer = self.bystander.ask(MessageType.GET_PAYLOAD, task=FIRST)
                    self.assertEqual(answer["tasks"][0]["payload"], b"\x00\xff")
                    self.assertEqual(self.world.problems(), [])
                    self.assertAllGivenBack()
                    count += 1
        self.assertTrue(count > 200, count)

    def test_no_json(self):
        """The message cannot be read, so neither can its id; the next one can."""
        self.start()
        for language in LANGUAGES:
            peer = self.connect(language)
            for kind, path, field in places():
                for raw in NO_JSON:
                    text = with_value(RIGHT[kind], path, field.name, raw)
                    answer = self.verdict(peer, kind, text)
                    self.assertEqual((answer[0], answer[1]["code"]), (NACK, "BAD_REQUEST"), text)
                    self.assertNotIn("id", answer[1])
        self.assertNobodyNoticed()
        self.assertAllGivenBack()

    def test_missing_fields(self):
        self.start()
        for kind, path, field in places():
            if field.default != "required" or path == ("common",):
                continue
            header = json.loads(json.dumps(RIGHT[kind]))
            place = header
            for step in path:
                place = place[step]
            del place[field.name]
            for language in LANGUAGES:
                answer = self.verdict(self.connect(language), kind, as_json(header))
                self.assertTrue(self.refusals(answer, field.name), f"{kind.name}: {answer}")
        self.assertNobodyNoticed()
        self.assertAllGivenBack()

    def test_unknown_fields(self):
        """Refused with the fields that there are, and a guess at what was meant."""
        self.start()
        for kind, path, field in places():
            typo = field.name + "z"
            for language in LANGUAGES:
                peer = self.connect(language)
                answer = self.verdict(peer, kind, with_value(RIGHT[kind], path, typo, b"1"))
                refusals = self.refusals(answer, typo)
                self.assertTrue(refusals, f"{kind.name}: {answer}")
                self.assertIn("did you mean ", refusals[0]["message"])
                self.assertIn(field.name, refusals[0]["message"])
        self.assertNobodyNoticed()
        self.assertAllGivenBack()

    def test_operations_without_fields(self):
        self.start()
        peer = self.connect("framed")
        for kind, right in RIGHT.items():
            if "Request" not in TABLES[kind]:
                self.assertEqual(right, {})
                answer = self.verdict(peer, kind, b'{"x":1}')
                self.assertIn("(known: none)", answer[1]["message"])


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
        for number in (0, 32, 127, 255):
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
            result = {**_LEASE, "status": "completed", "result": b"x" * 101}
            kind, answer = peer.ask(MessageType.TASK_RESULT, results=[result])
            self.assertEqual(answer["errors"][0]["code"], "PAYLOAD_TOO_LARGE")
        self.assertEqual(self.world.ledger.tasks[FIRST].state.word, "in_progress")
        self.assertNobodyNoticed()

    def test_results_of_failures(self):
        result = {**_LEASE, "status": "failed", "result": b"x"}
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


# --- anything at all --------------------------------------------------------------------

_NAMES = sorted({field.name for _, _, field in places()} | {"id", "size", "result_size"})
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.sampled_from([2**53, 2**63, 10**400, 0.5, 1e308, "", "t", "default", "w", "completed"])
    | st.sampled_from([FIRST, SECOND, "cancelled", "failed", "quiet", "run", "newest"])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)


def _objects(values):
    return st.dictionaries(st.sampled_from(_NAMES), values, max_size=6)


_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | _objects(inner), max_leaves=12
)


@st.composite
def _requests(draw):
    """An operation with a header that is right but for some fields, or not at all."""
    kind = draw(st.sampled_from(sorted(RIGHT)))
    header = dict(RIGHT[kind]) if draw(st.booleans()) else {}
    known = sorted(OPERATIONS[kind].form.fields) or _NAMES
    for name in draw(st.lists(st.sampled_from(known), max_size=3)):
        header[name] = draw(_JSON)
    return kind, header | draw(st.just({}) | _objects(_JSON))


class AnythingTests(BadInputTests):
    @settings(
        derandomize=True,
        deadline=None,
        max_examples=400,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.lists(_requests(), min_size=1, max_size=6), st.sampled_from(LANGUAGES))
    def test_any_requests(self, requests, language):
        """No request is answered INTERNAL_ERROR, breaks the books, or leaves anything."""
        world = World()
        peer = world.connect(language)
        peer.ask(MessageType.SUBMIT_TASK, tasks=[{"type": "t", "id": i} for i in (FIRST, SECOND)])
        peer.ask(MessageType.CLAIM_TASK)
        for kind, header in requests:
            if peer.over:
                break
            peer.send_bytes(self.message(peer, kind, header))
            for _, answer in peer.new():
                self.assertPresentable(answer)
            self.assertEqual(world.problems(), [], (kind, header))
        peer.leave()
        world.pass_time(11)
        self.assertEqual(world.leftovers(), [])
        self.assertEqual(self.flushLoggedErrors(), [])
        world.close()

    def message(self, peer, kind, header):
        text = as_json(header)
        return peer.raw(kind, text if len(text) > 2 else b'{"id":0}')
