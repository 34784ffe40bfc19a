"""
What checks take, as JSON schemas: for documents that are made of the declarations
that check requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Check = Callable[[Any, str], Any]

#: A JSON schema (2020-12, as in OpenAPI 3.1).
Schema = dict[str, Any]

_SCHEMAS: dict[Check, Schema] = {}


def described(check: Check, **schema: Any) -> Check:
    """
    Note which values a check takes.

    @return: the check.
    """
    _SCHEMAS[check] = schema
    return check


def schema_of(check: Check) -> Schema:
    """The values that C{check} takes; any, where that was never said."""
    return dict(_SCHEMAS.get(check, {}))


def or_null(schema: Schema) -> Schema:
    """What C{schema} takes, and null."""
    kind = schema.get("type")
    if type(kind) is not str:
        return {"anyOf": [schema, {"type": "null"}]} if schema else {}
    nullable = {**schema, "type": [kind, "null"]}
    if "enum" in nullable:
        nullable["enum"] = [*nullable["enum"], None]
    return nullable
