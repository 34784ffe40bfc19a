"""
Exchanges, queues and what binds them, as values of the broker: all processes see the same.

An exchange's values begin with its name, so that one look-up finds where a message goes.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from taskqueue.client.all_calls import AllCalls
from taskqueue.client.values import ValueCalls
from taskqueue.contrib.kombu.keeping import Kept
from taskqueue.contrib.kombu.messages import Limits
from taskqueue.contrib.kombu.names import broker_name

_T = TypeVar("_T")

#: Makes a call of the client's and waits for it.
Run = Callable[[Callable[[AllCalls], Coroutine[Any, Any, _T]]], _T]

#: Where all of it is kept.
NAMESPACE = "kombu"

#: How long what is temporary lives while it is consumed, unless it says longer, seconds: its
#: consumer writes it again.  And when nobody has consumed it yet.
CONSUMED_S = 60.0
UNUSED_S = 3600.0

#: How long a message lives at least in a queue that may go away.
LIFETIME_S = 3600.0

#: How long it is remembered how another process declared a queue, seconds; and of how many.
REMEMBERED_S = 30.0
MOST_REMEMBERED = 1000

#: What a component of a key is cut to.
_LONGEST = 100

_PAGE = 1000


class Queue(NamedTuple):
    """
    A queue as it was declared.

    @ivar name: kombu's.
    @ivar expires_s: how long it stays when it is not consumed (C{x-expires}).
    @ivar ttl_s: how long messages stay in it (C{x-message-ttl}).
    @ivar temporary: it goes with its consumer (C{auto_delete}, C{exclusive}).
    """

    name: str
    expires_s: float | None = None
    ttl_s: float | None = None
    temporary: bool = False

    @classmethod
    def declared(
        cls,
        name: str,
        arguments: dict[str, Any] | None,
        *,
        auto_delete: bool = False,
        exclusive: bool = False,
    ) -> Queue:
        """
        The queue that a declaration means.

        @raises ValueError: an argument is no number of milliseconds.
        """
        arguments = arguments or {}
        return cls(
            name,
            _seconds(arguments, "x-expires"),
            _seconds(arguments, "x-message-ttl"),
            bool(auto_delete or exclusive),
        )

    @property
    def lasting(self) -> bool:
        """It stays until somebody deletes it."""
        return self.expires_s is None and not self.temporary

    def lives_s(self, consumed: bool) -> float | None:
        """How long its values live without being written again; C{None}: for ever."""
        if self.lasting:
            return None
        if self.expires_s is not None:
            return max(self.expires_s, CONSUMED_S)
        return CONSUMED_S if consumed else UNUSED_S

    @property
    def limits(self) -> Limits:
        """How long messages live in it."""
        if self.lasting:
            return Limits(self.ttl_s)
        return Limits(self.ttl_s, max(LIFETIME_S, self.expires_s or 0.0))


class Binding(NamedTuple):
    """What leads from an exchange to a queue."""

    exchange: str
    routing_key: str
    queue: Queue


def _seconds(arguments: dict[str, Any], name: str) -> float | None:
    value = arguments.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or value < 0:
        raise ValueError(f"{name} is {value!r}, expected a number of milliseconds")
    return float(value) / 1000


class Topology:
    """
    What has been declared.

    @param run: makes a call and waits for it.
    @param prefix: what the names of queues begin with at the broker; what has another one
        is apart from this.
    """

    def __init__(self, run: Run[Any], prefix: str) -> None:
        self._run = run
        self._prefix = prefix
        # As they were declared here, or read not long ago, and when that ends; the newest last.
        self._queues: dict[str, tuple[Queue | None, float]] = {}

    # --- names --------------------------------------------------------------------------------

    def address(self, queue: str) -> str:
        """A queue's name at the broker."""
        return broker_name(self._prefix + queue)

    def _exchange_key(self, exchange: str) -> str:
        return f"x/{_part(self._prefix)}/{_part(exchange)}/"

    def _binding_key(self, exchange: str, routing_key: str, queue: str) -> str:
        digest = hashlib.sha256(json.dumps([routing_key, queue]).encode()).hexdigest()
        return self._exchange_key(exchange) + digest[:32]

    def _queue_key(self, queue: str) -> str:
        return f"q/{_part(self._prefix)}/{_part(queue)}"

    # --- exchanges ----------------------------------------------------------------------------

    def exchange(self, name: str) -> dict[str, Any] | None:
        """An exchange as it was declared; C{None} where it was not."""
        key = self._exchange_key(name)
        value = self._run(lambda calls: calls.get_value(NAMESPACE, key))
        return None if value is None else json.loads(value.value)

    def declare_exchange(self, name: str, declared: dict[str, Any]) -> dict[str, Any]:
        """Declare an exchange; returns it as it was declared first."""
        found = self.exchange(name)
        if found is not None:
            return found
        key = self._exchange_key(name)
        self._put(key, declared, None, only_if="absent")
        return declared

    def delete_exchange(self, name: str) -> None:
        """Forget an exchange and its bindings."""
        prefix = self._exchange_key(name)
        self._delete([key for key, _ in self._list(prefix)])

    # --- bindings -----------------------------------------------------------------------------

    def bind(self, binding: Binding) -> None:
        """Let messages to the exchange get into the queue."""
        kept = self.kept_binding(binding, consumed=False)
        value = json.loads(kept.value)
        self._put(kept.key, value, binding.queue.lives_s(consumed=False))

    def unbind(self, exchange: str, routing_key: str, queue: str) -> None:
        """Let them get there no more."""
        self._delete([self._binding_key(exchange, routing_key, queue)])

    def bindings(self, exchange: str) -> tuple[dict[str, Any] | None, list[Binding]]:
        """An exchange as it was declared, and all that it is bound to."""
        key = self._exchange_key(exchange)
        declared, found = None, []
        for each, value in self._list(key):
            if each == key:
                declared = json.loads(value)
            else:
                found.append(_binding(value))
        return declared, found

    def all_bindings(self) -> Iterator[Binding]:
        """Every binding of every exchange."""
        for key, value in self._list(f"x/{_part(self._prefix)}/"):
            if not key.endswith("/"):
                yield _binding(value)

    # --- queues -------------------------------------------------------------------------------

    def declare_queue(self, queue: Queue) -> None:
        """Let a queue be there, as it is said now."""
        kept = self.kept_queue(queue, consumed=False)
        if self._find(queue.name) != queue or not queue.lasting:
            self._put(kept.key, json.loads(kept.value), queue.lives_s(consumed=False))
        self._remember(queue.name, queue, math.inf)

    def queue(self, name: str) -> Queue | None:
        """A queue as it was declared; C{None} where it was not, or where it has expired."""
        found = self._find(name)
        self._remember(name, found, time.monotonic() + REMEMBERED_S)
        return found

    def _remember(self, name: str, queue: Queue | None, until: float) -> None:
        self._queues.pop(name, None)
        self._queues[name] = queue, until
        if len(self._queues) > MOST_REMEMBERED:
            del self._queues[next(iter(self._queues))]

    def _find(self, name: str) -> Queue | None:
        value = self._run(lambda calls: calls.get_value(NAMESPACE, self._queue_key(name)))
        return None if value is None else Queue(**json.loads(value.value))

    def known(self, name: str) -> Queue:
        """A queue as this process knows it, or as the broker does."""
        found, until = self._queues.get(name, (None, -math.inf))
        if until < time.monotonic():
            found = self.queue(name)
        return found or Queue(name)

    def delete_queue(self, name: str, bindings: list[Binding] | None = None) -> None:
        """
        Forget a queue and what leads to it.

        @param bindings: where they are known.
        """
        self._queues.pop(name, None)
        if bindings is None:
            bindings = [one for one in self.all_bindings() if one.queue.name == name]
        keys = [self._binding_key(one.exchange, one.routing_key, name) for one in bindings]
        self._delete([*keys, self._queue_key(name)])

    def kept_consumer(self, queue: Queue, consumer: str) -> Kept:
        """What says, as long as it is written again, that somebody consumes a queue."""
        key = f"{self._queue_key(queue.name)}/{consumer}"
        return Kept(NAMESPACE, key, b"", CONSUMED_S)

    def consumed_elsewhere(self, queue: Queue, consumer: str) -> bool:
        """Whether others consume a queue when this one does no more."""
        key = self._queue_key(queue.name)
        self._delete([f"{key}/{consumer}"])
        return any(True for _ in self._list(f"{key}/"))

    # --- as values ------------------------------------------------------------------------------

    def kept_queue(self, queue: Queue, consumed: bool = True) -> Kept:
        """A queue's value, as its consumer writes it again."""
        value = json.dumps(queue._asdict()).encode()
        return Kept(NAMESPACE, self._queue_key(queue.name), value, queue.lives_s(consumed) or 0.0)

    def kept_binding(self, binding: Binding, consumed: bool = True) -> Kept:
        """A binding's value, as the consumer of its queue writes it again."""
        queue = binding.queue
        value = json.dumps({**binding._asdict(), "queue": queue._asdict()}).encode()
        key = self._binding_key(binding.exchange, binding.routing_key, queue.name)
        return Kept(NAMESPACE, key, value, queue.lives_s(consumed) or 0.0)

    def _put(self, key: str, value: Any, expires_s: float | None, **how: Any) -> None:
        data = json.dumps(value).encode()
        self._run(lambda calls: calls.put_value(NAMESPACE, key, data, expires_s=expires_s, **how))

    def _delete(self, keys: list[str]) -> None:
        self._run(lambda calls: calls.delete_values(NAMESPACE, keys))

    def _list(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        after: str | None = None
        while True:
            page = self._run(
                partial(
                    ValueCalls.list_values,
                    namespace=NAMESPACE,
                    prefix=prefix,
                    after=after,
                    limit=_PAGE,
                )
            )
            for key, value in page:
                yield key, value.value
            if len(page) < _PAGE:
                return
            after = page[-1][0]


def _binding(value: bytes) -> Binding:
    read = json.loads(value)
    return Binding(read["exchange"], read["routing_key"], Queue(**read["queue"]))


def _part(name: str) -> str:
    """A component of a key: without slashes, not too long, and no other name's."""
    quoted = quote(name, safe="")
    if len(quoted) <= _LONGEST:
        return quoted
    return f"{quoted[: _LONGEST - 33]}.{hashlib.sha256(name.encode()).hexdigest()[:32]}"
