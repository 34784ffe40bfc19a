"""
Every field of every request with every kind of wrong value, and any requests at
all.

What is allowed is read from the page of the protocol, so that the page and the
broker are held against each other.
"""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskqueue.operations.table import OPERATIONS
from taskqueue.wire import MessageType
from tests.operations import page
from tests.operations.bad_input import ACK, NACK, RIGHT, BadInputTests
from tests.operations.world import FIRST, LANGUAGES, SECOND, World, as_json

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

#: What has bytes of its own, which each language tells in its own way.
PARTS = ("payload", "result", "value")


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
                    shared = [f for f in fields if f.name not in ("id", "unique", *PARTS)]
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
