"""
Periodic tasks as rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from taskqueue.core.periodic import Periodic, PeriodicRow
from taskqueue.core.task import TaskOptions

#: In a row: the name, the payload, the rest of the definition as JSON, and where it stands.
COLUMNS = ("name", "payload", "definition", *PeriodicRow._fields[1:])

SELECT = f"SELECT {', '.join(COLUMNS)} FROM periodics ORDER BY name"


def bound(rows: Iterable[PeriodicRow]) -> list[Any]:
    """The values of all rows, one after another."""
    values: list[Any] = []
    for row in rows:
        definition = row.definition._asdict()
        name, payload = definition.pop("name"), definition.pop("payload")
        definition["options"] = row.definition.options._asdict()
        values += (name, payload, json.dumps(definition), *row[1:])
    return values


def periodic_row(values: Sequence[Any]) -> PeriodicRow:
    """
    A stored row as the core knows it.

    @param values: in the order of L{COLUMNS}.
    @raises ValueError: a column holds what no taskqueue wrote.
    """
    name, payload, text, paused, *rest = values
    try:
        definition = json.loads(text)
        options = TaskOptions(**definition.pop("options"))
        periodic = Periodic(name=name, payload=payload, options=options, **definition)
    except (TypeError, ValueError, KeyError, AttributeError) as problem:
        raise ValueError(f"periodic task {name} is unreadable: {problem}") from problem
    return PeriodicRow(periodic, bool(paused), *rest)
