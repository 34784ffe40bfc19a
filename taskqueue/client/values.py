"""
Calls on values under keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from taskqueue.client.answers import only, per_item
from taskqueue.client.calls import Calls, given
from taskqueue.client.codecs import BYTES
from taskqueue.errors import TaskQueueError
from taskqueue.wire import Header, MessageType

#: How many keys one request may name.
MOST_KEYS = 1000

#: About as many bytes an item takes in a request beside its value, or fewer.
_ITEM_BYTES = 1024

#: How long a wait takes unless it says otherwise, seconds.
VALUE_WAIT_S = 30.0


class Value(NamedTuple):
    """
    A value under a key.

    @ivar version: no write before it had this number.
    @ivar expires_at: when it will be gone, seconds since the epoch; C{None}: it stays.
    """

    value: bytes
    version: int
    expires_at: float | None = None

    @classmethod
    def from_wire(cls, item: Header) -> Value:
        """The value that an item of an answer tells of."""
        return cls(item.get("value") or b"", item["version"], item.get("expires_at"))


class Listed(NamedTuple):
    """
    A key, without its value.

    @ivar bytes: how many the value has.
    @ivar expires_at: when it will be gone, seconds since 1970; C{None}: never.
    """

    key: str
    bytes: int
    version: int
    expires_at: float | None


class ValueCalls(Calls):
    """
    Calls on values: bytes under keys, in namespaces, that the broker keeps as safe as tasks.
    """

    async def put_value(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        expires_s: float | None = None,
        only_if: str | None = None,
        version: int | None = None,
    ) -> int | None:
        """
        Put a value under a key, instead of any that is there.

        Where there is a condition it is not sent again after a lost connection, since it
        might not hold any more because of itself.

        @param expires_s: how long it is there, seconds; C{None}: until it is deleted.
        @param only_if: C{"absent"} or C{"present"}: only where there is none, or one.
        @param version: only where the value there has this version; 0: where there is none.
        @return: its version; C{None} where the condition did not hold.
        @raises ValuesFull: the broker has no room for it.
        """
        condition = given(only_if=only_if, version=version)
        item = _item(namespace, key, value, expires_s) | condition
        header = {"values": [item]}
        answer = await self._ask(MessageType.PUT_VALUES, header, repeatable=not condition)
        return only(per_item(answer, "versions", _version))

    async def put_values(
        self, namespace: str, values: Mapping[str, bytes], *, expires_s: float | None = None
    ) -> list[int | TaskQueueError]:
        """
        Put many values, in as few requests as possible.

        @param values: by key.
        @return: for each its version, or L{ValuesFull} or another error.
        """
        await self.reached()
        items = (_item(namespace, key, value, expires_s) for key, value in values.items())
        versions: list[int | TaskQueueError] = []
        for some in _loads(items, self._session.limits.max_frame_bytes // 2):
            answer = await self._ask(MessageType.PUT_VALUES, {"values": some}, repeatable=True)
            versions += per_item(answer, "versions", int)
        return versions

    async def get_value(self, namespace: str, key: str) -> Value | None:
        """The value under a key; C{None} where there is none."""
        return (await self.get_values(namespace, [key])).get(key)

    async def get_values(self, namespace: str, keys: Iterable[str]) -> dict[str, Value]:
        """The values under these keys, as far as there are any, in as few requests as possible."""
        found: dict[str, Value] = {}
        left = list(keys)
        while left:
            header = {"namespace": namespace, "keys": left[:MOST_KEYS]}
            answer = await self._ask(MessageType.GET_VALUES, header, repeatable=True)
            found |= _by_key(answer)
            left = left[len(answer["values"]) :]
        return found

    async def take_value(self, namespace: str, key: str) -> Value | None:
        """
        The value under a key, which is gone from there then; C{None} where there is none.
        Of several who ask at a time one gets it.
        """
        header = {"namespace": namespace, "key": key}
        return _by_key(await self._ask(MessageType.TAKE_VALUE, header)).get(key)

    async def delete_values(self, namespace: str, keys: Iterable[str]) -> int:
        """
        Forget the values under these keys.

        @return: how many there were; after a lost connection, how many there still were.
        """
        deleted, every = 0, list(keys)
        for at in range(0, len(every), MOST_KEYS):
            header = {"namespace": namespace, "keys": every[at : at + MOST_KEYS]}
            answer = await self._ask(MessageType.DELETE_VALUES, header, repeatable=True)
            deleted += answer["deleted"]
        return deleted

    async def increase_value(
        self, namespace: str, key: str, by: int = 1, *, expires_s: float | None = None
    ) -> int:
        """
        Add to the number that a value is, in decimal text; where there is no value, to 0.

        @param by: may be negative.
        @param expires_s: how long it is there from now on; C{None}: as long as before.
        @return: the sum.
        @raises Conflict: the value is no number, or would leave -(2**53-1) to 2**53-1.
        """
        header = {"namespace": namespace, "key": key, "by": by} | given(expires_s=expires_s)
        count: int = (await self._ask(MessageType.INCREASE_VALUE, header))["count"]
        return count

    async def list_values(
        self,
        namespace: str,
        prefix: str = "",
        *,
        after: str | None = None,
        limit: int = 1000,
    ) -> list[tuple[str, Value]]:
        """
        Values in the order of their keys.

        @param prefix: what the keys begin with.
        @param after: the keys stand behind this one; that of the last value goes on.
        @param limit: at most how many.
        """
        asked: Header = {"namespace": namespace, "prefix": prefix} | given(after=after)
        items = await self._listed(asked, limit)
        return [(item["key"], Value.from_wire(item)) for item in items]

    async def list_keys(
        self, namespace: str, prefix: str = "", *, after: str | None = None, limit: int = 1000
    ) -> list[Listed]:
        """
        As L{list_values}, but how long the values are instead of what they are: these are not
        sent.
        """
        asked: Header = {"namespace": namespace, "prefix": prefix, "bytes": False}
        items = await self._listed(asked | given(after=after), limit)
        return [Listed(*(item[name] for name in Listed._fields)) for item in items]

    async def _listed(self, asked: Header, limit: int) -> list[Header]:
        """One page after the other."""
        found: list[Header] = []
        while len(found) < limit:
            header = asked | {"limit": min(limit - len(found), MOST_KEYS)}
            answer = await self._ask(MessageType.LIST_VALUES, header, repeatable=True)
            found += answer["values"]
            if answer["next"] is None:
                break
            asked = asked | {"after": answer["next"]}
        return found

    async def wait_values(
        self, namespace: str, known: Mapping[str, int], wait_s: float = VALUE_WAIT_S
    ) -> dict[str, Value]:
        """
        Wait until one of some values has another version than is known.

        @param known: by key the version, 0 for no value; up to 1,000.
        @param wait_s: how long to wait; 0 answers at once.
        @return: those that have another version, as soon as there are any; one that is gone
            ends the waiting, and is not among them.  None when the time is over.
        """
        header = {"namespace": namespace, "known": dict(known), "wait_s": wait_s}
        answer = await self._ask(MessageType.WAIT_VALUES, header, repeatable=True, wait_s=wait_s)
        return _by_key(answer)

    async def value_namespaces(self) -> dict[str, int]:
        """The namespaces that have values, each with how many it has."""
        found: dict[str, int] = {}
        after: str | None = None
        while True:
            header = given(after=after)
            answer = await self._ask(MessageType.LIST_NAMESPACES, header, repeatable=True)
            found |= {item["namespace"]: item["count"] for item in answer["namespaces"]}
            after = answer["next"]
            if after is None:
                return found


def _item(namespace: str, key: str, value: bytes, expires_s: float | None) -> Header:
    item = {"namespace": namespace, "key": key, "value": BYTES.encode(value)}
    return item | given(expires_s=expires_s)


def _version(version: int | None) -> int | None:
    return version


def _by_key(answer: Header) -> dict[str, Value]:
    found = (item for item in answer["values"] if item is not None)
    return {item["key"]: Value.from_wire(item) for item in found}


def _loads(items: Iterable[Header], most_bytes: int) -> Iterator[list[Header]]:
    """The items, as many at a time as one request can hold."""
    load: list[Header] = []
    size = 0
    for item in items:
        taken = len(item["value"]) + _ITEM_BYTES
        if load and (len(load) == MOST_KEYS or size + taken > most_bytes):
            yield load
            load, size = [], 0
        load.append(item)
        size += taken
    if load:
        yield load
