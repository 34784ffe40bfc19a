"""What requests do with half a character: it is refused where it would be lost."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.errors import BadRequest
from taskqueue.wire import MessageType, decode, encode, encode_request

#: About one text in four has half a character.
texts = st.text(st.sampled_from("aé\U0001f600\ud800\udfff"), max_size=1)
values = st.recursive(
    st.none() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


class Requests(SynchronousTestCase):
    def refused(self, kind, header):
        error = self.assertRaises(BadRequest, encode_request, kind, header)
        self.assertIn(error.fields["field"], str(error))
        return error.fields["field"]

    def test_two_keys_do_not_become_one(self):
        for key in ("a\ud800", "a\udfff"):
            item = {"namespace": "n", "key": key, "value": b"v"}
            header = {"id": 1, "values": [{**item, "key": "a"}, item]}
            error = self.assertRaises(BadRequest, encode_request, MessageType.PUT_VALUES, header)
            self.assertEqual(
                str(error),
                f"values[1].key has half a character in it, the lone surrogate "
                f"U+{ord(key[1]):04X}, which cannot be sent: encode the text, or replace that.",
            )
            self.assertEqual(error.fields, {"field": "values[1].key"})

    def test_the_place_is_named(self):
        half = "\udc00"
        for header, place in (
            ({"namespace": half}, "namespace"),
            ({"keys": ("a", half)}, "keys[1]"),
            ({"common": {"headers": {"trace": half}}}, "common.headers.trace"),
            ({"tasks": [{"headers": {half: "x"}}]}, "a key in tasks[0].headers"),
            ({"results": {"error": half}}, "results.error"),
            ({"tasks": [{"error": half}]}, "tasks[0].error"),
            ({"reports": [{"progress": 1, "task": half}]}, "reports[0].task"),
            ({half: 1}, "a key"),
        ):
            self.assertEqual(self.refused(MessageType.SUBMIT_TASK, header), place)

    def test_what_people_read_has_a_blemish(self):
        for header, kept in (
            ({"results": [{"task": "a", "error": "half \ud800"}]}, "half ?"),
            ({"reports": [{"task": "a", "progress": {"at": ["\ud800"]}}]}, {"at": ["?"]}),
        ):
            frame = encode_request(MessageType.REPORT_PROGRESS, header)
            ((name, [item]),) = decode(frame[4:])[1].items()
            self.assertEqual(item[{"results": "error", "reports": "progress"}[name]], kept)

    @settings(derandomize=True, deadline=None)
    @given(st.dictionaries(texts, values, max_size=3))
    def test_what_is_sent_says_what_was_meant(self, header):
        kind = MessageType.GET_STATS
        try:
            frame = encode_request(kind, header)
        except BadRequest as error:
            self.assertIn("half a character", str(error))
            self.assertIn("\\ud", repr(header))
        else:
            self.assertEqual(frame, encode(kind, header))
            self.assertEqual(decode(frame[4:])[1], header)
