import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue import strictjson
from taskqueue.errors import BadRequest

fixed = settings(derandomize=True, deadline=None)

# Surrogates are no text; texts that look suspicious must come through.
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["NaN", ": Infinity", "a, e", ", N", "1e400,", "\\ud800", "\\", "\U0001f600", "\x00\n\r"]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda children: st.lists(children) | st.dictionaries(texts, children),
    max_leaves=20,
)


def has_infinite_or_nan(value):
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(has_infinite_or_nan, value.values()))
    return isinstance(value, list) and any(map(has_infinite_or_nan, value))


class Many(SynchronousTestCase):
    """So many values that as objects they would take a hundred times the text's memory."""

    most = strictjson.MOST_VALUES

    def refused(self, text):
        error = self.assertRaises(BadRequest, strictjson.loads, text)
        self.assertIn(f"more than {self.most} values", str(error))

    def test_as_many_as_there_may_be(self):
        text = b"[" + b"0," * (self.most - 1) + b"0]"
        self.assertEqual(len(strictjson.loads(text)), self.most)
        self.refused(b"[" + b"0," * self.most + b"0]")

    def test_of_every_kind(self):
        for item in (b"[],", b"{},", b'"",', rb'"a\\",', rb'"\"",', b'"[",', b"{ } ,"):
            self.refused(b'{"a":[' + item * (self.most + 1) + b"0]}")

    def test_in_texts(self):
        """What stands in a text is no value."""
        for text in (b",", b"[{", rb",\"", rb"\\,", rb"\",\\"):
            data = b'["' + text * self.most + rb'",{"k,":"v,","\"":1}]'
            self.assertEqual(len(strictjson.loads(data)), 2)


class Reading(SynchronousTestCase):
    def refused(self, text):
        return str(self.assertRaises(BadRequest, strictjson.loads, text))

    def test_numbers_that_are_not_finite(self):
        long = b"9" * 309
        for number in [
            b"NaN",
            b"Infinity",
            b"-Infinity",
            b"1e400",
            b"-1E+400",
            b"1e0000000000400",
            b"0.1e310",
            long + b".0",
            b"-" + long + b".5",
            b"1" * 400 + b"e1",
            b"1e999999",
        ]:
            for text in (b"%s", b"[%s]", b'{"a":%s}', b'{"a": [ 1,\t%s\n ]}', b'{"a":1, "b":%s}'):
                with self.subTest(text % number):
                    self.refused(text % number)

    def test_long_numbers_anywhere(self):
        """However the digits lie towards the bytes that are looked at."""
        for offset in range(40):
            for length, ok in ((308, True), (309, False)):
                text = b'{"a":"%s","b":%s.0}' % (b"x" * offset, b"9" * length)
                if ok:
                    strictjson.loads(text)
                else:
                    self.refused(text)

    def test_large_but_finite(self):
        self.assertEqual(
            strictjson.loads(
                b"[1.7976931348623157e308,-0.0,1e-400,123456789012345678901234567890]"
            ),
            [1.7976931348623157e308, 0.0, 0.0, 123456789012345678901234567890],
        )

    def test_both_parsers_let_control_characters_through(self):
        for text in (b'["\t\x01",1]', b'["\t\x01",1e0]'):
            self.assertEqual(strictjson.loads(text), ["\t\x01", 1])

    def test_not_utf8(self):
        for text in (
            b'"\xff"',
            b'"\xed\xa0\x80"',
            b'{"\xc3":1}',
            b'"\xc0\x80"',
            b"\xff",
            b"\xa0{}",
        ):
            self.refused(text)
        self.assertEqual(self.refused(b'{"\xff":1}'), "This is not UTF-8, at byte 2.")

    def test_half_characters(self):
        for text in (b'"\\ud800"', b'["\\uDC00"]', b'{"\\ud83dx":1}', b'{"a":{"b":["\\udFFF"]}}'):
            self.assertIn("surrogate", self.refused(text))
        self.assertEqual(strictjson.loads(b'"\\ud83d\\uDE00 \\\\ud800"'), "\U0001f600 \\ud800")

    def test_not_json(self):
        for text in [
            b"",
            b" ",
            b"{",
            b'{"a":1}x',
            b'{"a":1}{}',
            b'{"a":1}\x00',
            b"\x00",
            b"{a:1}",
            b"{'a':1}",
            b"[1,]",
            b'{"a":1,}',
            b"tru",
            b"undefined",
            b'"a',
            b"{1:2}",
            b"\xef\xbb\xbf{}",
            b".5",
        ]:
            with self.subTest(text):
                self.assertIn("not valid JSON", self.refused(text))

    def test_too_deep(self):
        for depth in (1025, 1_000_000):
            self.refused(b"[" * depth + b"]" * depth)
            # Suspicious as well: the second parser must not fall over it.
            self.refused(b"[" * depth + b"1e1" + b"]" * depth)

    def test_nearly_too_deep(self):
        """How deep that goes depends on Python; what is let through can be written again."""
        text = b"[" * 1023 + b"1e1" + b"]" * 1023
        try:
            value = strictjson.loads(text)
        except BadRequest:
            return
        self.assertEqual(strictjson.loads(strictjson.dumps(value)), value)

    def test_too_many_digits(self):
        self.assertIn("digits", self.refused(b"[" + b"1" * 5000 + b"]"))

    def test_objects_only(self):
        self.assertEqual(strictjson.loads_object(b' {"a":1}\r'), {"a": 1})
        for text, name in (
            (b"[]", "a list"),
            (b'"x"', "a text"),
            (b"true", "true or false"),
            (b"null", "null"),
            (b"1", "a number"),
            (b"1.5", "a number"),
        ):
            error = self.assertRaises(BadRequest, strictjson.loads_object, text)
            self.assertIn(f"not {name}.", str(error))

    @fixed
    @given(values, st.booleans(), st.sampled_from([None, 2]))
    def test_agrees_with_the_standard_library(self, value, escape, indent):
        text = json.dumps(value, ensure_ascii=escape, indent=indent).encode()
        self.assertEqual(strictjson.loads(text), value)

    @fixed
    @given(
        st.lists(
            st.sampled_from(
                [
                    b"[",
                    b"]",
                    b"{",
                    b"}",
                    b",",
                    b":",
                    b'"',
                    b"\\ud800",
                    b"1",
                    b"0",
                    b"-",
                    b".",
                    b"e",
                    b"E+",
                    b"999",
                    b"NaN",
                    b"Infinity",
                    b" ",
                    b"\xff",
                    b"\xc3\xa9",
                    b"1" * 200,
                    b'"a"',
                ]
            )
        ).map(b"".join)
    )
    def test_garbage(self, text):
        try:
            value = strictjson.loads(text)
        except BadRequest:
            return
        self.assertFalse(has_infinite_or_nan(value))
        strictjson.dumps(value).decode()


class Writing(SynchronousTestCase):
    @fixed
    @given(values)
    def test_round_trip(self, value):
        text = strictjson.dumps(value)
        self.assertNotIn(b"\n", text)
        self.assertEqual(strictjson.loads(text), value)

    def test_compact(self):
        self.assertEqual(
            strictjson.dumps({"b": [1, "a/b\n<\u00e9>"], "a": None}),
            '{"b":[1,"a/b\\n<\u00e9>"],"a":null}'.encode(),
        )

    def test_half_a_character(self):
        self.assertEqual(strictjson.dumps(["a\ud800b"]), b'["a?b"]')

    def test_no_form(self):
        endless = []
        endless.append(endless)
        for value in (math.nan, math.inf, -math.inf, b"x", {1, 2}, object(), endless):
            self.assertRaises(BadRequest, strictjson.dumps, {"a": value})
