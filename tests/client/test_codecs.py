"""How values become payloads and results become values."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.client import codecs
from taskqueue.client.codecs import BYTES, JSON, codec_of, encoded
from taskqueue.errors import BadRequest

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abä"), inner),
    max_leaves=10,
)


class Upper:
    name = "upper"

    def encode(self, value):
        return value.upper().encode()

    def decode(self, data):
        return data.decode().lower()


class Json(SynchronousTestCase):
    @settings(derandomize=True, deadline=None)
    @given(VALUES)
    def test_there_and_back(self, value) -> None:
        self.assertEqual(JSON.decode(JSON.encode(value)), value)

    def test_it_is_compact(self) -> None:
        self.assertEqual(JSON.encode({"a": [1, "ä/<"]}), '{"a":[1,"ä/<"]}'.encode())

    def test_nothing_is_none(self) -> None:
        self.assertIsNone(JSON.decode(b""))

    def test_what_has_no_form(self) -> None:
        for value in (float("nan"), {1}, object(), {"a": b"x"}, "\ud800", 1 + 2j):
            error = self.assertRaises(BadRequest, JSON.encode, value)
            self.assertIn("cannot be written as JSON", str(error))

    def test_what_is_none(self) -> None:
        for data in (b"{", b"NaN", b"\xff", b"1e999"):
            self.assertRaises(BadRequest, JSON.decode, data)

    def test_a_pickle_is_not_read(self) -> None:
        import pickle

        self.assertRaises(BadRequest, JSON.decode, pickle.dumps({"a": 1}))


class Registry(SynchronousTestCase):
    def test_by_name(self) -> None:
        self.assertIs(codec_of("json"), JSON)
        self.assertIs(codec_of("bytes"), BYTES)
        self.assertIs(codec_of(BYTES), BYTES)

    def test_an_unknown_name_is_explained(self) -> None:
        for name in ("pickle", "msgpack"):
            error = self.assertRaises(BadRequest, codec_of, name)
            self.assertIn("there are bytes, json", str(error))

    def test_ones_own(self) -> None:
        self.patch(codecs, "_codecs", dict(codecs._codecs))
        upper = Upper()
        codecs.register(upper)
        codecs.register(upper)
        self.assertIs(codec_of("upper"), upper)
        self.assertRaises(BadRequest, codecs.register, Upper())


class Payloads(SynchronousTestCase):
    def test_bytes_are_left_alone(self) -> None:
        for value in (b"x", bytearray(b"x"), memoryview(b"x")):
            self.assertEqual(encoded(value, JSON), b"x")
            self.assertEqual(type(BYTES.encode(value)), bytes)

    def test_values_are_written(self) -> None:
        self.assertEqual(encoded("x", JSON), b'"x"')
        self.assertRaises(BadRequest, encoded, "x", BYTES)
