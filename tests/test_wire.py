import base64
import copy
import json
import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue import framing, strictjson, wire
from taskqueue.errors import BadFrame, BadRequest, ClientError, FrameTooLarge, UnknownOperation
from taskqueue.wire import (
    MessageType,
    decode,
    decode_line,
    encode,
    encode_line,
    frames,
    items,
    lines,
)
from taskqueue.wire import messages as message_types

fixed = settings(derandomize=True, deadline=None)

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(
    lambda name: (
        name
        not in (
            "op",
            "ok",
            "tasks",
            "results",
            "events",
            "payload",
            "size",
            "payload_b64",
            "result",
            "result_size",
            "result_b64",
        )
    )
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
plain = st.dictionaries(names, scalars | st.lists(scalars, max_size=3), max_size=4)
blobs = st.binary(max_size=40) | st.sampled_from([b"", b"\n", b"{}\n\n", "h\u00e9".encode()])


@st.composite
def messages(draw):
    """Any message, with the parts that its items may have."""
    message_type = draw(st.sampled_from(MessageType))
    header = draw(plain)
    for name, parts in wire.ATTACHED.get(message_type, {}).items():
        if draw(st.booleans()):
            continue
        header[name] = []
        for item in draw(st.lists(plain | scalars, max_size=4)):
            if isinstance(item, dict):
                for part in parts:
                    if part.default is not None or draw(st.booleans()):
                        item[part.name] = draw(blobs)
            header[name].append(item)
    return message_type, header


def body_of(frame):
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    return frame[4:]


class Numbers(SynchronousTestCase):
    def test_never_change(self):
        """Clients of every age rely on these."""
        self.assertEqual(
            [
                (kind.name, kind.value)
                for kind in MessageType
                if kind in (1, 5, 12, 31, 37, 45, 46, 48)
            ],
            [
                ("SUBMIT_TASK", 1),
                ("ACK", 5),
                ("HELLO", 12),
                ("ORDER_WORKER", 31),
                ("AUDIT", 37),
                ("LIST_NAMESPACES", 45),
                ("RUN_NOW", 46),
                ("RETRY_QUEUE", 48),
            ],
        )
        self.assertEqual(sorted(MessageType), list(range(1, 49)))

    def test_each_has_a_name_for_lines(self):
        self.assertEqual(set(wire.OPERATIONS.values()), set(MessageType))
        for kind in MessageType:
            self.assertIs(wire.OPERATIONS[kind.name.lower()], kind)


class Frames(SynchronousTestCase):
    @fixed
    @given(messages())
    def test_round_trip(self, message):
        message_type, header = message
        before = copy.deepcopy(header)
        frame = encode(message_type, header)
        self.assertEqual(header, before)
        self.assertEqual(decode(body_of(frame)), (message_type, header))

    def test_bytes_on_the_wire(self):
        """Header on one line, then all payloads: in order, payload before result."""
        frame = encode(
            MessageType.ACK,
            {
                "id": 7,
                "events": [{"result": b"E"}],
                "tasks": [{"result": b"r1", "payload": b"p\n1"}, "x", {"payload": b""}],
                "results": [{"result": None}, {"payload": b"R"}],
            },
        )
        self.assertEqual(frame[:5], (len(frame) - 4).to_bytes(4, "big") + b"\x05")
        header, _, rest = frame[5:].partition(b"\n")
        self.assertEqual(rest, b"p\n1r1RE")
        self.assertEqual(
            json.loads(header),
            {
                "id": 7,
                "events": [{"result_size": 1}],
                "tasks": [{"result_size": 2, "size": 3}, "x", {"size": 0}],
                "results": [{}, {"size": 1}],
            },
        )

    def test_no_line_end_without_payloads(self):
        self.assertEqual(encode(MessageType.PING, {"id": 1}), b'\0\0\0\x09\x12{"id":1}')
        self.assertNotIn(b"\n", encode(MessageType.SUBMIT_TASK, {"tasks": [{"payload": b""}]}))

    def test_empty_payload(self):
        for body in (b'\x01{"tasks":[{"type":"t"}]}', b'\x01{"tasks":[{"type":"t","size":0}]}\n'):
            _, header = decode(body)
            self.assertEqual(header, {"tasks": [{"type": "t", "payload": b""}]})

    def test_no_payload_where_none_is_told(self):
        self.assertEqual(decode(b'\x05{"tasks":[{}]}')[1], {"tasks": [{}]})
        self.assertEqual(decode(b'\x03{"results":[{}]}')[1], {"results": [{}]})

    def test_items_of_other_shapes_are_left_to_others(self):
        for header in ({"tasks": [1, None, "a", []]}, {"tasks": {}}, {"tasks": 3}, {}):
            body = b"\x01" + json.dumps(header).encode()
            self.assertEqual(decode(body), (MessageType.SUBMIT_TASK, header))

    def test_sizes_that_are_none(self):
        for size in (b"-1", b"1.0", b"true", b'"1"', b"null", b"[]", b"{}"):
            body = b'\x01{"id":"q","tasks":[{},{"size":%s}]}\n1' % size
            error = self.assertRaises(BadRequest, decode, body)
            self.assertIn('tasks[1]: "size" must be a whole number', str(error))
            self.assertEqual(error.fields, {"id": "q"})

    def test_sizes_that_do_not_add_up(self):
        for sizes, rest, told in (
            ((2, 2), b"\n123", "add up to 4 bytes, but 3"),
            ((1, 1), b"\n123", "add up to 2 bytes, but 3"),
            ((0, 1), b"", "add up to 1 bytes, but 0"),
            ((0, 0), b"\n\n", "add up to 0 bytes, but 1"),
            ((10**30, 1), b"\n12", f"add up to {10**30 + 1} bytes, but 2"),
        ):
            tasks = ",".join(f'{{"size":{size}}}' for size in sizes)
            body = f'\x01{{"id":5,"tasks":[{tasks}]}}'.encode() + rest
            error = self.assertRaises(BadRequest, decode, body)
            self.assertIn(told, str(error))
            self.assertEqual(error.fields, {"id": 5})
        self.assertRaises(BadRequest, decode, b'\x12{"id":5,"tasks":[{"size":1}]}\n1')

    def test_payload_in_the_header(self):
        error = self.assertRaises(BadRequest, decode, b'\x01{"id":1,"tasks":[{"payload":"x"}]}')
        self.assertIn('tasks[0]: "payload" does not belong into the header', str(error))
        self.assertRaises(BadRequest, decode, b'\x03{"results":[{"result":1,"result_size":0}]}')

    def test_unknown_type(self):
        for number in (0, 49, 255):
            error = self.assertRaises(
                UnknownOperation, decode, bytes([number]) + b'{"id":9,"tasks":[{"size":1}]}\nx'
            )
            self.assertEqual(error.fields, {"id": 9})
            self.assertIn(f"no message type {number};", str(error))

    def test_bad_header(self):
        for header in (b"", b"\n", b"[]", b"{", b'{\n"id":1}', b'{"a":NaN}', b'"\xff"', b"\n{}"):
            error = self.assertRaises(BadRequest, decode, b"\x12" + header)
            self.assertIn("must be a JSON object on one line", str(error))

    def test_id_of_another_shape(self):
        for request_id in (b"null", b"true", b"[1]", b"1.5"):
            error = self.assertRaises(UnknownOperation, decode, b'\x00{"id":%s}' % request_id)
            self.assertEqual(error.fields, {})

    def test_empty_frame(self):
        self.assertRaises(BadFrame, decode, b"")

    def test_header_over_its_limit(self):
        decode(b'\x12{"a":1}', 7)
        decode(b'\x01{"tasks":[{"size":3}]}\nxyz', 22)
        error = self.assertRaises(BadRequest, decode, b'\x12{"a":1}', 6)
        self.assertIn("has 7 bytes, and may have 6", str(error))

    def test_what_cannot_be_encoded(self):
        self.assertRaises(BadRequest, encode, MessageType.ACK, {"a": float("nan")})
        for payload in ("text", 1):
            for write in (encode, encode_line):
                header = {"tasks": [{"payload": payload}]}
                error = self.assertRaises(BadRequest, write, MessageType.SUBMIT_TASK, header)
                self.assertIn('"payload" must be bytes, not', str(error))

    def test_longer_than_any_frame(self):
        self.patch(frames, "_MAX_LENGTH", 31)
        self.assertEqual(
            len(encode(MessageType.SUBMIT_TASK, {"tasks": [{"payload": b"1234567"}]})), 35
        )
        error = self.assertRaises(
            FrameTooLarge, encode, MessageType.SUBMIT_TASK, {"tasks": [{"payload": b"12345678"}]}
        )
        self.assertEqual(error.fields, {"length": 32, "limit": 31})

    @fixed
    @given(
        st.binary()
        | st.builds(
            lambda number, parts: bytes([number]) + b"".join(parts),
            st.integers(0, 33),
            st.lists(
                st.sampled_from(
                    [
                        b'{"tasks":[',
                        b'{"size":1}',
                        b'{"result_size":2}',
                        b'{"size":-1}',
                        b",",
                        b"]}",
                        b'{"results":[',
                        b'{"id":',
                        b"\n",
                        b"x",
                        b"1",
                        b"NaN",
                        b"1e999",
                        b'"\\ud800"',
                    ]
                ),
                max_size=8,
            ),
        )
    )
    def test_garbage(self, body):
        """Whatever comes, only the message is refused, or it can be sent on."""
        try:
            message_type, header = decode(body)
        except (ClientError, BadFrame) as error:
            self.assertIs(type(error) is BadFrame, not body)
            return
        self.assertEqual(decode(body_of(encode(message_type, header))), (message_type, header))


class Lines(SynchronousTestCase):
    @fixed
    @given(messages())
    def test_round_trip(self, message):
        message_type, header = message
        before = copy.deepcopy(header)
        line = encode_line(message_type, header)
        self.assertEqual(header, before)
        self.assertEqual(line.index(b"\n"), len(line) - 1)
        self.assertEqual(decode_line(line[:-1]), (message_type, header))

    def test_answers(self):
        self.assertEqual(
            encode_line(MessageType.ACK, {"id": 1}), b'{"op":"ack","ok":true,"id":1}\n'
        )
        self.assertEqual(encode_line(MessageType.NACK, {}), b'{"op":"nack","ok":false}\n')
        self.assertEqual(encode_line(MessageType.EVENT, {}), b'{"op":"event"}\n')

    def test_bytes_as_text_or_base64(self):
        line = encode_line(
            MessageType.ACK,
            {"tasks": [{"payload": "h\u00e9\n".encode(), "result": b"\xff"}, {"payload": None}]},
        )
        self.assertEqual(
            json.loads(line)["tasks"], [{"payload": "h\u00e9\n", "result_b64": "/w=="}, {}]
        )

    def test_short_names(self):
        for name, kind in (("submit", MessageType.SUBMIT_TASK), ("stats", MessageType.GET_STATS)):
            self.assertIs(decode_line(b'{"op":"%s"}' % name.encode())[0], kind)

    def test_payloads(self):
        for item, payload in (
            (b'{"payload":"h\\u00e9"}', "h\u00e9".encode()),
            (b'{"payload":""}', b""),
            (b"{}", b""),
            (b'{"payload_b64":"/w=="}', b"\xff"),
            (b'{"payload_b64":""}', b""),
        ):
            self.assertEqual(
                decode_line(b'{"op":"submit","tasks":[%s]}' % item)[1],
                {"tasks": [{"payload": payload}]},
            )

    def test_bad_payloads(self):
        for item, told in (
            (b'{"payload":1}', '"payload" must be a text; send other data as "payload_b64"'),
            (b'{"payload":{"a":1}}', '"payload" must be a text'),
            (b'{"payload":null}', '"payload" must be a text'),
            (b'{"payload":"","payload_b64":""}', "not both"),
            (b'{"payload_b64":1}', "must be a text in base64"),
            (b'{"payload_b64":"/w="}', "not valid base64"),
            (b'{"payload_b64":"/w==\\n"}', "not valid base64"),
            (b'{"payload_b64":"/w==/w=="}', "not valid base64"),
            (b'{"payload_b64":"_w=="}', "not valid base64"),
            (b'{"payload_b64":"\\u00e9w=="}', "not valid base64"),
        ):
            line = b'{"op":"submit","id":"a","tasks":[{},%s]}' % item
            error = self.assertRaises(BadRequest, decode_line, line)
            self.assertIn("tasks[1]: ", str(error))
            self.assertIn(told, str(error))
            self.assertEqual(error.fields, {"id": "a"})
        self.assertRaises(BadRequest, decode_line, b'{"op":"result","results":[{"result":1}]}')

    def test_operations_that_are_none(self):
        for line, cls, told in (
            (b'{"op":"submitt_task","id":3}', UnknownOperation, "did you mean 'submit_task'?"),
            (b'{"op":"STATS","id":3}', UnknownOperation, "did you mean 'stats'?"),
            (b'{"op":"x","id":3}', UnknownOperation, "documentation"),
            (b'{"op":"%s","id":3}' % (b"claim" * 100_000), UnknownOperation, "no operation 'claim"),
            (b'{"op":5,"id":3}', BadRequest, 'as "op"'),
            (b'{"id":3}', BadRequest, 'as "op"'),
        ):
            error = self.assertRaises(cls, decode_line, line)
            self.assertIn(told, str(error))
            self.assertLess(len(str(error)), 200)
            self.assertEqual(error.fields, {"id": 3})

    def test_not_an_object(self):
        for line in (b"", b"  ", b"[]", b"stats", b'{"op":"stats"', b'{"op":"stats","a":Infinity}'):
            self.assertRaises(BadRequest, decode_line, line)
        self.assertIn("empty", str(self.assertRaises(BadRequest, decode_line, b" ")))

    @fixed
    @given(
        st.binary()
        | st.lists(
            st.sampled_from(
                [
                    b'{"op":"submit","tasks":[',
                    b'{"payload":"x"}',
                    b'{"payload_b64":"eA=="}',
                    b"]}",
                    b'{"op":"ack"',
                    b",",
                    b'"events":[',
                    b'{"result_b64":1}',
                    b"}",
                    b'{"op":"event",',
                ]
            )
        ).map(b"".join)
    )
    def test_garbage(self, line):
        try:
            message_type, header = decode_line(line)
        except ClientError:
            return
        again = encode_line(message_type, header)
        self.assertEqual(decode_line(again[:-1]), (message_type, header))


class Purity(SynchronousTestCase):
    def test_no_twisted(self):
        """The codec can be used without Twisted, by a blocking client say."""
        for module in (frames, lines, message_types, items, strictjson, framing):
            path = Path(module.__file__)
            self.assertIsNone(re.search(r"(import|from) twisted", path.read_text()), path)

    def test_base64_is_canonical(self):
        for data in (b"\xff", b"\xff\xfe", b"\xff\xfe\xfd"):
            line = encode_line(MessageType.EVENT, {"events": [{"payload": data}]})
            self.assertIn(base64.b64encode(data), line)
