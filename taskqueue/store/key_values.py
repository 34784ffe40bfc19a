"""
Values under keys as rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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


def value_rows(
    found: Iterable[Sequence[Any]], strange: Callable[[int], None]
) -> Iterator[ValueRow]:
    """
    Stored rows as the core knows them.

    @param found: each in the order of L{COLUMNS}.
    @param strange: called with the version of each that no taskqueue can have written, which
        is left out.
    """
    # There may be a million: what is done for each is done here, and namespaces are few.
    namespaces: dict[str, str] = {}
    for version, namespace, key, expires_at, value in found:
        if (
            type(value) is bytes
            and type(key) is str
            and type(namespace) is str
            and (expires_at is None or type(expires_at) is float)
        ):
            namespace = namespaces.setdefault(namespace, namespace)
            yield _new(ValueRow, (namespace, key, value, version, expires_at))
        else:
            strange(version)


#: Makes a named tuple of a plain one, without a call of a Python function.
_new = tuple.__new__
