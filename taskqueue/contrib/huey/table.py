"""
Values of one namespace, as a table of keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from taskqueue.client.all_calls import AllCalls
from taskqueue.contrib.connecting import Connecting
from taskqueue.contrib.naming import queue_name
from taskqueue.errors import BadRequest


def text_of(key: str | bytes) -> str:
    """
    A key, which huey has in both forms.

    @raises BadRequest: it is no text.
    """
    if isinstance(key, str):
        return key
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"the key {key!r} is not UTF-8") from None


class Table:
    """Keys and their values, in a namespace of their own."""

    def __init__(self, connecting: Connecting, namespace: str) -> None:
        """@raises BadRequest: there can be no such namespace."""
        self._connecting = connecting
        self._namespace = queue_name(namespace, "the namespace, which huey's name begins,")

    def put(
        self,
        key: str | bytes,
        value: bytes,
        expires_s: float | None = None,
        only_if: Any = None,
    ) -> bool:
        """Store a value; whether it was, where there is a condition."""
        name = text_of(key)
        version = self._connecting.run(
            lambda calls: calls.put_value(
                self._namespace, name, value, expires_s=expires_s, only_if=only_if
            )
        )
        return version is not None

    def get(self, key: str | bytes) -> bytes | None:
        """The value of a key."""
        name = text_of(key)
        value = self._connecting.run(lambda calls: calls.get_value(self._namespace, name))
        return None if value is None else value.value

    def get_many(self, keys: Sequence[str | bytes]) -> dict[str, bytes]:
        """The values of those keys that have one."""
        names = [text_of(key) for key in keys]
        found = self._connecting.run(lambda calls: calls.get_values(self._namespace, names))
        return {name: value.value for name, value in found.items()}

    def take(self, key: str | bytes) -> bytes | None:
        """The value of a key, which is gone then."""
        name = text_of(key)
        value = self._connecting.run(lambda calls: calls.take_value(self._namespace, name))
        return None if value is None else value.value

    def wait(self, key: str | bytes, wait_s: float) -> bool:
        """Whether a key has a value within so many seconds."""
        return self._connecting.wait_value(self._namespace, text_of(key), wait_s) is not None

    def delete(self, *keys: str | bytes) -> bool:
        """Delete keys; whether any was there."""
        names = [text_of(key) for key in keys]
        deleted = self._connecting.run(lambda calls: calls.delete_values(self._namespace, names))
        return bool(deleted)

    def increase(self, key: str | bytes, by: int) -> int:
        """Add to a number; what it is now."""
        name = text_of(key)
        return self._connecting.run(lambda calls: calls.increase_value(self._namespace, name, by))

    def items(self, limit: int | None = None, to: str | None = None) -> list[tuple[str, bytes]]:
        """
        All keys and their values, in the order of keys.

        @param limit: how many at most.
        @param to: keys that are greater are left out.
        """
        found: list[tuple[str, bytes]] = []
        after: str | None = None
        while limit is None or len(found) < limit:
            page = self._connecting.run(partial(_page, self._namespace, after))
            found += [(key, value.value) for key, value in page if to is None or key <= to]
            if not page or (to is not None and page[-1][0] > to):
                break
            after = page[-1][0]
        return found[:limit]

    def flush(self) -> None:
        """Delete all keys."""
        while some := self.items(limit=1000):
            self.delete(*(key for key, _ in some))


async def _page(namespace: str, after: str | None, calls: AllCalls) -> list[tuple[str, Any]]:
    page: list[tuple[str, Any]] = await calls.list_values(namespace, after=after)
    return page
