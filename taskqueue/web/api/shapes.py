"""
What is in bodies and answers, as JSON schemas: what operations declare, and what
their answers look like.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskqueue.core.counters import COUNTED
from taskqueue.core.task import STATE_WORDS, TIERS, UNLESS_SET
from taskqueue.operations.fields import Form
from taskqueue.operations.schemas import Schema, schema_of

TEXT: Schema = {"type": "string"}
TEXT_OR_NONE: Schema = {"type": ["string", "null"]}
NUMBER: Schema = {"type": "number"}
NUMBER_OR_NONE: Schema = {"type": ["number", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
COUNT_OR_NONE: Schema = {"type": ["integer", "null"]}
TRUTH: Schema = {"type": "boolean"}
ANY: Schema = {}

_BASE64: Schema = {
    "type": "string",
    "contentEncoding": "base64",
    "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
}

#: The three ways to give a payload.
PAYLOADS: Mapping[str, Schema] = {
    "payload": {"type": "string", "description": "Text, taken as UTF-8."},
    "payload_json": {"description": "Any JSON value, stored as compact JSON."},
    "payload_b64": {**_BASE64, "description": "Bytes in base64."},
}

#: The three ways to give a value.
VALUES: Mapping[str, Schema] = {
    "value": {"type": "string", "description": "Text, taken as UTF-8."},
    "value_json": {"description": "Any JSON value, stored as compact JSON."},
    "value_b64": {**_BASE64, "description": "Bytes in base64."},
}

#: What stands for bytes in an answer.
BYTES: Mapping[str, Schema] = {"payload": TEXT, "payload_b64": TEXT}


def component(name: str) -> Schema:
    """A reference to one of L{COMPONENTS}."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(items: Schema) -> Schema:
    """A list of such items."""
    return {"type": "array", "items": items}


def counts(*names: str) -> Schema:
    """A number for each name."""
    return thing(dict.fromkeys(names, COUNT))


def by_name(values: Schema) -> Schema:
    """Values by names that are not known ahead."""
    return {"type": "object", "additionalProperties": values}


def thing(needed: Mapping[str, Schema], optional: Mapping[str, Schema] = {}) -> Schema:
    """An object with these fields, some of which may be missing."""
    return {
        "type": "object",
        "properties": {**needed, **optional},
        "required": list(needed),
    }


def fields_of(
    form: Form, *, without: tuple[str, ...] = (), instead: Mapping[str, Schema] = {}
) -> Schema:
    """
    The bodies that a form takes.

    @param without: fields that stand elsewhere.
    @param instead: fields, by name, that are told here; a payload becomes the
        three ways to give one.
    """
    properties: dict[str, Any] = {}
    for name, check in form.fields.items():
        if name == "payload":
            properties |= PAYLOADS
        elif name not in without:
            properties[name] = instead.get(name, schema_of(check))
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    needed = [name for name in form.required if name not in without]
    return {**schema, "required": needed} if needed else schema


def page(name: str, items: str, following: Schema) -> Schema:
    """A page of a list."""
    return thing({name: listed(component(items)), "next": following})


STATE: Schema = {"type": "string", "enum": list(STATE_WORDS)}
TIER_COUNTS = counts(*(tier[0] for tier in TIERS))
STATE_COUNTS = counts(*STATE_WORDS)
EVENT_COUNTS = counts(*COUNTED)
EVENT_RATES = thing(dict.fromkeys(COUNTED, NUMBER))

_DISTRIBUTION = thing(
    {
        "count": COUNT,
        "p50": NUMBER_OR_NONE,
        "p90": NUMBER_OR_NONE,
        "p99": NUMBER_OR_NONE,
    },
    {"mean": NUMBER_OR_NONE},
)

#: A bound of a task on its failures or losses: -1 for none, unless its queue's section sets one.
_BOUND: Schema = {"type": "integer", "minimum": UNLESS_SET}

_HISTORY_EVENT = thing(
    {"at": NUMBER, "event": TEXT, "attempt": COUNT},
    {"worker": TEXT, "started_at": NUMBER, "detail": TEXT},
)

_TASK = thing(
    {
        "id": {"type": "string", "format": "uuid"},
        "type": TEXT,
        "queue": TEXT,
        "priority": {"type": "integer"},
        "state": STATE,
        "attempt": COUNT,
        "failures": COUNT,
        "losses": COUNT,
        "submitted_at": NUMBER,
    },
    {
        **dict.fromkeys(("run_at", "expires_at", "claimed_at", "ended_at"), NUMBER),
        "worker": TEXT,
        "error": TEXT,
        "depends_on": listed(TEXT),
        "unique": TEXT,
        "unique_until": TEXT,
        "unique_ends_at": NUMBER,
        "cancel_requested": TRUTH,
        "headers": by_name(TEXT),
        "progress": ANY,
        "payload": TEXT,
        "payload_b64": TEXT,
        "result": TEXT,
        "result_b64": TEXT,
        "history": listed(_HISTORY_EVENT),
        "dependents": listed(TEXT),
        "options": thing(
            {},
            {
                **dict.fromkeys(("max_retries", "max_lost"), _BOUND),
                **dict.fromkeys(
                    ("lease_s", "retry_delay_s", "retry_max_delay_s", "retry_jitter"), NUMBER
                ),
                "on_dependency_failure": TEXT,
            },
        ),
    },
)

_QUEUE = thing(
    {
        "name": TEXT,
        "paused": TRUTH,
        "resume_at": NUMBER_OR_NONE,
        "max_depth": COUNT_OR_NONE,
        "draining": TRUTH,
        "depth": COUNT,
        "tiers": TIER_COUNTS,
        "states": STATE_COUNTS,
        "oldest_ready_s": NUMBER,
        "totals": EVENT_COUNTS,
    },
    {
        "types": listed(
            thing(
                {
                    "name": TEXT,
                    "ready": COUNT,
                    "states": STATE_COUNTS,
                    "totals": EVENT_COUNTS,
                    "wait_s": _DISTRIBUTION,
                    "run_s": _DISTRIBUTION,
                }
            )
        )
    },
)

_DELIVERY = thing(
    {
        "id": TEXT,
        "type": TEXT,
        "queue": TEXT,
        "priority": {"type": "integer"},
        "attempt": COUNT,
        "claimed_at": NUMBER_OR_NONE,
        "lease_left_s": NUMBER,
        "progress": ANY,
        "cancel_requested": TRUTH,
    }
)

_WORKER = thing(
    {
        "id": TEXT,
        "incarnation": COUNT,
        "queues": listed(TEXT),
        "types": {"type": ["array", "null"], "items": TEXT},
        "capacity": COUNT,
        "host": TEXT_OR_NONE,
        "pid": COUNT_OR_NONE,
        "registered_at": NUMBER,
        "beat_at": NUMBER,
        "connected": TRUTH,
        "door": TEXT_OR_NONE,
        "recovered": TRUTH,
        "stalled": TRUTH,
        "cpu_percent": NUMBER_OR_NONE,
        "rss_bytes": COUNT_OR_NONE,
        "in_hand": COUNT_OR_NONE,
        "leases": COUNT,
        "completed": COUNT,
        "failed": COUNT,
        "lost": COUNT,
        "order": {"type": ["string", "null"], "enum": ["quiet", "terminate", None]},
    },
    {"tasks": listed(_DELIVERY)},
)

_PERIODIC = thing(
    {
        "name": TEXT,
        "type": TEXT,
        "queue": TEXT,
        "priority": {"type": "integer"},
        "catch_up": TEXT,
        "catch_up_window_s": NUMBER,
        "overlap": TRUTH,
        "payload_bytes": COUNT,
        "paused": TRUTH,
        "next_at": NUMBER_OR_NONE,
        "last_at": NUMBER_OR_NONE,
        "last_task": TEXT_OR_NONE,
        "fired": COUNT,
        "skipped": COUNT,
    },
    {
        "every_s": NUMBER,
        "cron": TEXT,
        "tz": TEXT,
        "expires_in_s": NUMBER,
        "headers": by_name(TEXT),
        "max_retries": COUNT,
        "max_lost": COUNT,
        **dict.fromkeys(("lease_s", "retry_delay_s", "retry_max_delay_s", "retry_jitter"), NUMBER),
        "upcoming": listed(NUMBER),
        "payload": TEXT,
        "payload_b64": TEXT,
    },
)

_VALUE = thing(
    {"key": TEXT, "version": COUNT, "expires_at": NUMBER_OR_NONE},
    {"namespace": TEXT, "value": TEXT, "value_b64": TEXT, "bytes": COUNT},
)

_ERROR = thing({"code": TEXT, "message": TEXT}, {"field": TEXT})

_BULK_RESULT = thing(
    {
        "action": {"type": "string", "enum": ["cancel", "retry", "delete"]},
        "dry_run": TRUTH,
        "as_of": NUMBER,
        "more": TRUTH,
    },
    {
        "count": COUNT,
        "sample": listed(component("Task")),
        "done": COUNT,
        "changed_meanwhile": COUNT,
        "refusals": COUNT,
        "refused": listed(thing({"id": TEXT, "code": TEXT, "message": TEXT})),
    },
)

_GROUP = thing(
    {
        "error_group": TEXT,
        "count": COUNT,
        "types": by_name(COUNT),
        "queues": by_name(COUNT),
        "first_at": NUMBER,
        "last_at": NUMBER,
        "sample": TEXT,
    }
)

_PROBLEM = thing(
    {"type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT, "code": TEXT},
    {"field": TEXT, "retry_after_s": NUMBER},
)

_SUBMITTED = thing({"id": TEXT, "state": STATE, "existing": TRUTH})

#: The schemas that answers refer to, by name.
COMPONENTS: Mapping[str, Schema] = {
    "Task": _TASK,
    "TaskPage": page("tasks", "Task", COUNT_OR_NONE),
    "Submitted": _SUBMITTED,
    "SubmittedBatch": thing(
        {
            "accepted": COUNT,
            "refused": COUNT,
            "tasks": listed({"anyOf": [_SUBMITTED, thing({"error": _ERROR})]}),
        }
    ),
    "TaskState": thing({"id": TEXT, "state": STATE}),
    "BulkResult": _BULK_RESULT,
    "DeadLetterGroups": thing({"groups": listed(_GROUP), "examined": COUNT, "complete": TRUTH}),
    "Queue": _QUEUE,
    "QueuePage": page("queues", "Queue", TEXT_OR_NONE),
    "Purged": thing({}, {"cancelled": COUNT, "left": COUNT, "would_cancel": COUNT}),
    "RetriedQueue": thing({"retried": COUNT, "left": COUNT}),
    "Worker": _WORKER,
    "WorkerPage": page("workers", "Worker", TEXT_OR_NONE),
    "Periodic": _PERIODIC,
    "PeriodicPage": page("periodics", "Periodic", TEXT_OR_NONE),
    "Triggered": thing({"id": TEXT}),
    "Value": _VALUE,
    "ValuePage": page("values", "Value", TEXT_OR_NONE),
    "PutValue": thing({"namespace": TEXT, "key": TEXT, "version": COUNT}),
    "Increased": thing(
        {"namespace": TEXT, "key": TEXT, "count": {"type": "integer"}, "version": COUNT}
    ),
    "Namespace": thing({"namespace": TEXT, "count": COUNT}),
    "NamespacePage": page("namespaces", "Namespace", TEXT_OR_NONE),
    "Distribution": _DISTRIBUTION,
    "Problem": _PROBLEM,
}
