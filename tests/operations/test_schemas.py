"""
Tests of what checks say that they take: what a schema allows and what a check lets pass
must be the same.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import validator_for
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.errors import BadRequest, BatchTooLarge
from taskqueue.operations import administration, fields, periodics, tasks, work
from taskqueue.operations.schemas import or_null, schema_of
from taskqueue.operations.table import OPERATIONS

ID = "01893b2e-7f3a-7c5e-9b0d-3f1e2a4c6d80"

#: Values around every bound that the checks below have.
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 12),
    st.sampled_from([2**53 - 1, 2**53, -1, 0.5, 2.5, 9.5, 1e300, "", "a", "ab", "abcd", "a b"]),
    st.sampled_from(
        ["01893b2e-7f3a-7c5e-9b0d-3f1e2a4c6d80", "01893B2E-7F3A-7C5E-9B0D-3F1E2A4C6D80"]
    ),
    st.lists(st.integers(0, 3), max_size=4),
    st.dictionaries(st.sampled_from("ab"), st.one_of(st.text("xy", max_size=2), st.integers())),
)

CHECKS = {
    "integer": fields.integer(0, 10),
    "any integer": fields.integer(),
    "number": fields.number(0.5, 9.5),
    "moment": fields.moment,
    "boolean": fields.boolean,
    "text": fields.text(3, least=1),
    "name": fields.name_text,
    "file": fields.file_name,
    "id": fields.task_id,
    "word": fields.one_of("a", "b"),
    "list": fields.list_of(fields.integer(0, 2), 3, least=1),
    "nullable": fields.nullable(fields.integer(0, 10)),
    "nullable word": fields.nullable(fields.one_of("a", "b")),
    "list of anything": fields.raw_list,
    "object": fields.raw_object,
    "headers": fields.headers(1000),
}


def lets_pass(check: fields.Check, value: Any) -> bool:
    try:
        check(value, "x")
    except (BadRequest, BatchTooLarge):
        return False
    return True


class SchemaTests(SynchronousTestCase):
    @given(name=st.sampled_from(sorted(CHECKS)), value=VALUES)
    @settings(derandomize=True, deadline=None, max_examples=2000)
    def test_means_the_same(self, name: str, value: Any) -> None:
        check = CHECKS[name]
        allowed = validator_for(schema_of(check), validate_formats=True).is_valid(value)
        # JSON has one kind of numbers; the checks tell 1.0 from 1.
        if type(value) is float and value.is_integer():
            return
        self.assertEqual(lets_pass(check, value), allowed, (name, value, schema_of(check)))

    def test_every_field_is_described(self) -> None:
        forms = [operation.form for operation in OPERATIONS.values()]
        forms += [tasks.TASK, tasks.COMMON, work.RESULT, periodics.PERIODIC, administration.BOUND]
        for form in forms:
            for name, check in form.fields.items():
                # Bytes are told by those who know how they travel; and any JSON is any.
                if name not in ("payload", "result", "progress"):
                    self.assertTrue(schema_of(check), name)

    def test_or_null(self) -> None:
        self.assertEqual(or_null({"type": "string"}), {"type": ["string", "null"]})
        either = {"anyOf": [{"type": "string"}, {"type": "number"}]}
        self.assertEqual(or_null(either), {"anyOf": [either, {"type": "null"}]})
        self.assertEqual(or_null({}), {})
        self.assertEqual(schema_of(lambda value, name: value), {})
