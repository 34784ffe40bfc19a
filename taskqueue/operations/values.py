"""
Operations on values under keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from taskqueue.access.permissions import Action
from taskqueue.core.rows import ValueRow
from taskqueue.core.value_desk import LARGEST_COUNT, Put
from taskqueue.errors import BadRequest, BatchTooLarge, PayloadTooLarge, TaskQueueError
from taskqueue.operations.answers import WhenStored
from taskqueue.operations.authorization import may, require
from taskqueue.operations.batches import Batch, read_with
from taskqueue.operations.caller import Caller
from taskqueue.operations.fields import (
    LONGEST_NAME,
    Form,
    boolean,
    integer,
    list_of,
    name_text,
    nullable,
    number,
    one_of,
    payload,
    raw_list,
    shown,
    text,
    wrong,
)
from taskqueue.operations.schemas import described
from taskqueue.operations.views import view_errors

Header = dict[str, Any]

_R = TypeVar("_R", bound=ValueRow | None)

#: How many values one request may put, get, delete, list or wait for.
MOST_VALUES = 1000

#: The longest key, bytes in UTF-8.
LONGEST_KEY_BYTES = 512


def value_key(value: Any, name: str) -> str:
    """The key of a value."""
    if type(value) is not str or not value or "\x00" in value:
        raise wrong(name, value, "a text of 1 to 512 bytes in UTF-8, without a NUL character")
    return _bounded(value, name)


def key_prefix(value: Any, name: str) -> str:
    """What keys begin with: any text that a key can begin with, or none."""
    if type(value) is not str or "\x00" in value:
        raise wrong(name, value, "a text of at most 512 bytes in UTF-8, without a NUL character")
    return _bounded(value, name)


def _bounded(value: str, name: str) -> str:
    try:
        length = len(value.encode())
    except UnicodeEncodeError:
        raise BadRequest(
            f"{name} has half of a surrogate pair, no whole text", field=name
        ) from None
    if length > LONGEST_KEY_BYTES:
        raise BadRequest(
            f"{name} has {length} bytes in UTF-8, at most {LONGEST_KEY_BYTES} are allowed",
            field=name,
        )
    return value


described(value_key, type="string", minLength=1, maxLength=LONGEST_KEY_BYTES)
described(key_prefix, type="string", maxLength=LONGEST_KEY_BYTES)

_KEYS = list_of(value_key, MOST_VALUES)
EXPIRES_S = nullable(number())
_ONLY_IF = nullable(one_of("absent", "present"))

# --- putting --------------------------------------------------------------------

VALUE = Form(
    {
        "namespace": name_text,
        "key": value_key,
        "value": payload,
        "expires_s": EXPIRES_S,
        "only_if": _ONLY_IF,
        "version": nullable(integer()),
    },
    required=("namespace", "key"),
)
PUT = Form({"values": raw_list}, required=("values",))


def put(caller: Caller, values: Header) -> WhenStored:
    """PUT_VALUES."""
    wall = caller.service.moments().wall
    read = read_with(VALUE, lambda item: new_put(caller, item, wall), "the value")
    batch = Batch(values["values"], MOST_VALUES, read, "values")
    answers = batch.merge(caller.service.put_values(batch.items))
    versions = [None if isinstance(answer, TaskQueueError) else answer for answer in answers]
    return WhenStored({"versions": versions, **view_errors(answers)})


def new_put(caller: Caller, item: Header, wall: float) -> Put:
    """
    A value that C{caller} puts.

    @param item: the fields of L{VALUE}.
    @raises BadRequest: there are two conditions.
    @raises Forbidden: the caller may not.
    @raises PayloadTooLarge: it is too long.
    """
    namespace, value = item["namespace"], item.get("value", b"")
    require(caller, Action.VALUES_WRITE, namespace)
    most_bytes = caller.service.config.limits.max_payload_bytes
    if len(value) > most_bytes:
        raise PayloadTooLarge(
            f"the value has {len(value)} bytes, at most {most_bytes} (max_payload_bytes) are"
            f" accepted",
            limit=most_bytes,
        )
    only_if, version = item.get("only_if"), item.get("version")
    if only_if is not None and version is not None:
        raise BadRequest("only_if and version are both given: give one of them", field="only_if")
    expires_s = item.get("expires_s")
    expires_at = None if expires_s is None else wall + expires_s
    return Put(namespace, item["key"], value, expires_at, only_if, version)


INCREASE = Form(
    {
        "namespace": name_text,
        "key": value_key,
        "by": integer(-LARGEST_COUNT, LARGEST_COUNT),
        "expires_s": EXPIRES_S,
    },
    required=("namespace", "key"),
)


def increase(caller: Caller, values: Header) -> WhenStored:
    """INCREASE_VALUE."""
    row = caller.service.increase_value(
        values["namespace"], values["key"], values.get("by", 1), values.get("expires_s")
    )
    return WhenStored({"count": int(row.value), "version": row.version})


# --- getting, taking, deleting ----------------------------------------------------

GET = Form({"namespace": name_text, "keys": _KEYS}, required=("namespace", "keys"))


def get(caller: Caller, values: Header) -> Header | WhenStored:
    """GET_VALUES: those of the first keys, as many as fit into one answer."""
    rows, stored = caller.service.values_of(values["namespace"], values["keys"])
    fitting = _fitting(caller, rows)
    answer = {"values": [None if row is None else view_value(row) for row in fitting]}
    return answer if stored else WhenStored(answer)


KEY = Form({"namespace": name_text, "key": value_key}, required=("namespace", "key"))


def take(caller: Caller, values: Header) -> WhenStored:
    """TAKE_VALUE."""
    row = caller.service.take_value(values["namespace"], values["key"])
    return WhenStored({"values": [None if row is None else view_value(row)]})


DELETE = Form(
    {"namespace": name_text, "keys": _KEYS, "version": nullable(integer(1))},
    required=("namespace", "keys"),
)


def delete(caller: Caller, values: Header) -> WhenStored:
    """DELETE_VALUES."""
    keys, version = values["keys"], values.get("version")
    if version is not None and len(keys) != 1:
        raise BadRequest(
            f"version is that of one value, and keys names {len(keys)}: delete one at a time, or"
            f" leave version out",
            field="version",
        )
    return WhenStored({"deleted": caller.service.delete_values(values["namespace"], keys, version)})


# --- listing ------------------------------------------------------------------------

#: Which values are listed, within a namespace.
LISTED = Form(
    {
        "prefix": key_prefix,
        "after": nullable(key_prefix),
        "limit": integer(1, MOST_VALUES),
        "bytes": boolean,
    }
)
LIST = Form({"namespace": name_text, **LISTED.fields}, required=("namespace",))


def list_values(caller: Caller, values: Header) -> Header | WhenStored:
    """LIST_VALUES."""
    with_bytes = values.get("bytes", True)
    rows, more, stored = caller.service.list_values(
        values["namespace"],
        values.get("prefix", ""),
        values.get("after"),
        values.get("limit", MOST_VALUES),
        _most_bytes(caller) if with_bytes else LARGEST_COUNT,
    )
    answer = {
        "values": [view_value(row, with_bytes=with_bytes) for row in rows],
        "next": rows[-1].key if more else None,
    }
    return answer if stored else WhenStored(answer)


NAMESPACES = Form({"limit": integer(1, MOST_VALUES), "after": nullable(text(LONGEST_NAME))})


def list_namespaces(caller: Caller, values: Header) -> Header:
    """LIST_NAMESPACES."""
    limit, after = values.get("limit", MOST_VALUES), values.get("after") or ""
    if caller.restricted is None:
        found = caller.service.value_namespaces(after, limit)
    else:
        found = caller.service.value_namespaces(
            after, limit, lambda name: may(caller, Action.VALUES_READ, name)
        )
    views = [{"namespace": name, "count": count} for name, count in found.items()]
    return {
        "namespaces": views,
        "next": views[-1]["namespace"] if len(views) == limit else None,
    }


# --- waiting ------------------------------------------------------------------------


def known_versions(value: Any, name: str) -> dict[str, int]:
    """An object of versions, by key."""
    if type(value) is not dict or not value:
        raise wrong(name, value, 'an object of versions by key, such as {"k": 0}')
    if len(value) > MOST_VALUES:
        raise BatchTooLarge(
            f"{name} has {len(value)} keys, at most {MOST_VALUES} are allowed",
            field=name,
            limit=MOST_VALUES,
        )
    version = integer()
    for key, known in value.items():
        version(known, f"{name}[{shown(value_key(key, name))}]")
    return value


described(
    known_versions,
    type="object",
    minProperties=1,
    maxProperties=MOST_VALUES,
    additionalProperties={"type": "integer", "minimum": 0},
)

WAIT = Form(
    {"namespace": name_text, "known": known_versions, "wait_s": number()},
    required=("namespace", "known"),
)


def wait(caller: Caller, values: Header) -> Deferred[Header]:
    """WAIT_VALUES."""
    broker = caller.service.config.broker
    wait_s = values.get("wait_s", broker.claim_wait_s)
    if wait_s > broker.claim_wait_max_s:
        raise wrong("wait_s", wait_s, f"at most {broker.claim_wait_max_s:g} (claim_wait_max_s)")

    def view(found: dict[str, ValueRow | None]) -> Header:
        rows = _fitting(caller, [row for row in found.values() if row is not None])
        gone = [key for key, row in found.items() if row is None]
        return {"values": [view_value(row) for row in rows], "gone": gone}

    def over(result: Any) -> Any:
        caller.claims_waiting -= 1
        return result

    caller.claims_waiting += 1
    waiting = caller.service.wait_values(values["namespace"], values["known"], wait_s, caller)
    return waiting.addBoth(over).addCallback(view)


# --- views --------------------------------------------------------------------------


def view_value(row: ValueRow, *, with_bytes: bool = True) -> Header:
    """A value; without its bytes, how many they are."""
    view: Header = {"key": row.key, "version": row.version, "expires_at": row.expires_at}
    if with_bytes:
        view["value"] = row.value
    else:
        view["bytes"] = len(row.value)
    return view


def _most_bytes(caller: Caller) -> int:
    """About how many bytes of values one answer may have."""
    return caller.service.config.limits.max_frame_bytes // 2


def _fitting(caller: Caller, rows: Sequence[_R]) -> Sequence[_R]:
    """The first of these values, as many as fit into one answer, or one."""
    left = _most_bytes(caller)
    for position, row in enumerate(rows):
        left -= 0 if row is None else len(row.value)
        if left < 0 and position:
            return rows[:position]
    return rows
