"""What a field may hold, and how an error calls what it holds instead."""

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.errors import BadRequest, BatchTooLarge
from taskqueue.operations.fields import (
    DEEPEST,
    Form,
    boolean,
    headers,
    integer,
    json_value,
    list_of,
    name_text,
    shown,
    task_id,
    text,
)


def nested(levels, make=lambda inner: [inner]):
    value = 1
    for _ in range(levels):
        value = make(value)
    return value


class FieldTests(SynchronousTestCase):
    def refusal(self, check, value):
        """What is said about a value that is not taken."""
        error = self.assertRaises(BadRequest, check, value, "it")
        self.assertEqual(error.fields["field"], "it")
        return error.message

    def test_values_are_shown_as_in_json(self):
        for value, expected in (
            (None, "null"),
            (True, "true"),
            (1.5, "1.5"),
            ('a "b" é', '"a \\"b\\" é"'),
            ([1, 2], "a list of 2"),
            ({"a": 1}, "an object with 1 fields"),
            (b"abc", "3 bytes"),
        ):
            self.assertEqual(shown(value), expected)

    def test_values_are_shown_short(self):
        for value in ("x" * 10_000_000, 10**4000, -(10**4000)):
            self.assertEqual(len(shown(value)), 60)

    def test_values_too_deep_to_be_shown(self):
        """The parser lets a thousand levels through; showing them must not recurse."""
        message = self.refusal(integer(), nested(1000))
        self.assertEqual(message, "it is a list of 1, expected an integer from 0 to 2**53-1")

    def test_the_largest_integer_is_called_by_a_name_one_can_read(self):
        self.assertIn("from 1 to 2**53-1", self.refusal(integer(1), 2**53))
        self.assertEqual(integer()(2**53 - 1, "it"), 2**53 - 1)

    def test_json_is_bounded_in_depth(self):
        """What could be read but not be written again would spoil others' answers."""
        check = json_value(4096)
        for make in (lambda v: [v], lambda v: {"a": v}):
            self.assertEqual(check(nested(DEEPEST, make), "it"), nested(DEEPEST, make))
            self.assertIn("at most 32 levels", self.refusal(check, nested(DEEPEST + 1, make)))
            self.assertIn("at most 32 levels", self.refusal(check, nested(1000, make)))

    def test_json_is_bounded_in_length(self):
        check = json_value(10)
        self.assertEqual(check("12345678", "it"), "12345678")
        self.assertEqual(
            self.refusal(check, "123456789"), "it has 11 bytes as JSON, at most 10 are allowed"
        )

    def test_json_of_any_kind(self):
        for value in (None, True, 0, 10**30, 1.5, "", [], {}):
            self.assertEqual(json_value(100)(value, "it"), value)

    def test_headers_are_bounded_in_length(self):
        self.assertEqual(headers(10)({"a": "bc"}, "it"), '{"a":"bc"}')
        self.assertIn("at most 9 are allowed", self.refusal(headers(9), {"a": "bc"}))
        self.assertIsNone(headers(10)({}, "it"))

    def test_lists_name_the_item(self):
        error = self.assertRaises(BadRequest, list_of(name_text, 3), ["a", "b c"], "it")
        self.assertEqual(error.fields["field"], "it[1]")
        self.assertIn('it[1] is "b c", expected 1 to 128 characters', error.message)
        error = self.assertRaises(BatchTooLarge, list_of(name_text, 1), ["a", "b"], "it")
        self.assertEqual(error.message, "it has 2 items, at most 1 are allowed")

    def test_booleans_are_no_numbers(self):
        for check in (integer(), boolean, text(5)):
            wrong_kind = 1 if check is boolean else True
            self.refusal(check, wrong_kind)

    def test_task_ids_are_lowered(self):
        upper = "01893B2E-7F3A-7C5E-9B0D-3F1E2A4C6D80"
        self.assertEqual(task_id(upper, "it"), upper.lower())
        for bad in (upper[:-1], upper + "\n", "{" + upper + "}", upper.replace("-", ""), 5, None):
            self.refusal(task_id, bad)

    def test_line_ends_are_no_part_of_names(self):
        self.refusal(name_text, "default\n")


class FormTests(SynchronousTestCase):
    form = Form({"limit": integer(1, 10), "queue": name_text}, required=("queue",))

    def refusal(self, given):
        return self.assertRaises(BadRequest, self.form.parse, given)

    def test_good(self):
        self.assertEqual(self.form.parse({"queue": "q"}), {"queue": "q"})

    def test_missing(self):
        error = self.refusal({"limit": 1})
        self.assertEqual(error.message, "the request has no queue, which is required")
        self.assertEqual(error.fields["field"], "queue")

    def test_unknown(self):
        error = self.refusal({"queue": "q", "limits": 1})
        self.assertEqual(
            error.message,
            'the request has an unknown field "limits", did you mean limit? (known: limit, queue)',
        )

    def test_unknown_and_endless(self):
        """A name of megabytes is neither repeated nor compared in full."""
        error = self.refusal({"queue": "q", "x" * 4_000_000: 1})
        self.assertTrue(len(error.message) < 200)
        self.assertEqual(len(error.fields["field"]), 100)

    def test_no_object(self):
        for given in ([], "text", 1, None, True):
            self.assertIn("expected a JSON object", self.refusal(given).message)
