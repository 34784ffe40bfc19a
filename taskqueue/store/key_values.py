"""
Values under keys as rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from taskqueue.core.rows import ValueRow

#: A row as it is bound; NULL for the version drops it.
COLUMNS = ("version", "namespace", "key", "expires_at", "value")

SELECT = f"SELECT {', '.join(COLUMNS)} FROM key_values"

#: One walk through the table, in the order of its key; see salvage.
WALK = f"{SELECT} NOT INDEXED WHERE version > ? ORDER BY version LIMIT ?"


def bound(rows: Iterable[ValueRow]) -> list[Any]:
    """The values of all rows, one after another."""
    values: list[Any] = []
    for namespace, key, value, version, expires_at in rows:
        values += (version, namespace, key, expires_at, value)
    return values


def value_row(values: Sequence[Any]) -> ValueRow | None:
    """
    A stored row as the core knows it, C{None} where no taskqueue can have written it.

    @param values: in the order of L{COLUMNS}.
    """
    version, namespace, key, expires_at, value = values
    if not (type(namespace) is str and type(key) is str and type(value) is bytes):
        return None
    if expires_at is not None and type(expires_at) is not float:
        return None
    return _new(ValueRow, (namespace, key, value, version, expires_at))


#: Makes a named tuple of a plain one, without a call of a Python function.
_new = tuple.__new__
