"""
Results of Celery's tasks as values of the broker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from celery import states
from celery.backends.asynchronous import AsyncBackendMixin
from celery.backends.base import BaseKeyValueStoreBackend
from celery.exceptions import ImproperlyConfigured
from kombu import Connection
from kombu.utils.encoding import bytes_to_str

from taskqueue.client.all_calls import AllCalls
from taskqueue.contrib.celery.chords import Chord
from taskqueue.contrib.celery.clients import Call, shared_clients
from taskqueue.contrib.celery.results import ResultConsumer
from taskqueue.contrib.kombu.names import broker_name
from taskqueue.contrib.kombu.options import (
    Options,
    address_of,
    client_options,
)
from taskqueue.contrib.kombu.transport import CONNECTION_ERRORS, PASSING_ERRORS
from taskqueue.errors import BadRequest, ConnectionLost

_T = TypeVar("_T")

#: Where results are kept, unless the URL names a virtual host.
NAMESPACE = "celery"

#: The longest key that is made of an id as it is, bytes; the broker takes 512, and what belongs
#: to a chord has longer ones than itself.
LONGEST_KEY_BYTES = 400


class Backend(BaseKeyValueStoreBackend, AsyncBackendMixin):
    """
    Keeps results, groups and the counters of chords.  Who waits for a result is woken when it
    is there.

    What C{result_backend_transport_options} may say is what L{Options} has, and C{ssl}.

    @ivar clients: what asks the broker.
    @ivar namespace: where all of it is at the broker.
    """

    key_t = bytes_to_str
    implements_incr = True
    supports_native_join = True
    supports_autoexpire = True
    persistent = True

    def __init__(
        self, app: Any = None, url: str | None = None, expires: Any = None, **how: Any
    ) -> None:
        super().__init__(app=app, url=url, expires_type=int, **how)
        if expires is not None:
            self.expires = self.prepare_expires(expires, int)
        given = dict(self.app.conf.get("result_backend_transport_options") or {})
        try:
            # The URL is read as that of a broker is.
            connection = Connection(url or "taskqueue://", ssl=given.get("ssl", False))
            places = connection.alt or [url or "taskqueue://"]
            options = Options.of(given)
            each = [Connection(place, ssl=given.get("ssl", False)) for place in places]
            address = ",".join(address_of(one) for one in each)
            self.clients = shared_clients(address, client_options(each[0], options))
        except BadRequest as error:
            raise ImproperlyConfigured(f"result_backend: {error}") from None
        host = (connection.virtual_host or "").strip("/")
        self.namespace = broker_name(f"{NAMESPACE}/{host}") if host else NAMESPACE
        self.result_consumer = ResultConsumer(
            self, self.app, self.accept, self._pending_results, self._pending_messages
        )

    # --- the broker -------------------------------------------------------------------------

    def run(self, call: Call[_T]) -> _T:
        """Make a call and wait for it."""
        return self.clients.run(call)

    def exception_safe_to_retry(self, exc: Exception) -> bool:
        """Whether the same may work later (C{result_backend_always_retry})."""
        return isinstance(exc, (*CONNECTION_ERRORS, *PASSING_ERRORS))

    def _get_key_for(self, prefix: str, id: Any, key: str = "") -> str:
        """The key of what has an id; where that is too long, of a digest of it."""
        made: str = super()._get_key_for(prefix, id, key)
        if len(made.encode()) <= LONGEST_KEY_BYTES:
            return made
        return f"{prefix}{hashlib.sha256(str(id).encode()).hexdigest()}{key}"

    # --- values -----------------------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        """What is under a key."""
        value = self.run(lambda calls: calls.get_value(self.namespace, key))
        return None if value is None else value.value

    def mget(self, keys: Iterable[str]) -> list[bytes | None]:
        """What is under each of these keys."""
        wanted = list(keys)
        found = self.run(lambda calls: calls.get_values(self.namespace, wanted))
        return [found[key].value if key in found else None for key in wanted]

    def set(self, key: str, value: Any) -> None:
        """Put something under a key, for C{result_expires}."""
        data = _bytes(value)
        self.run(
            lambda calls: calls.put_value(self.namespace, key, data, expires_s=self.expires or None)
        )

    def delete(self, key: str) -> None:
        """Forget what is under a key."""
        self.run(lambda calls: calls.delete_values(self.namespace, [key]))

    def incr(self, key: str) -> int:
        """Count."""
        return self.run(lambda calls: calls.increase_value(self.namespace, key))

    def expire(self, key: str, value: float | None) -> None:
        """Let what is under a key be there for so long from now on."""

        async def expire(calls: AllCalls) -> None:
            found = await calls.get_value(self.namespace, key)
            if found is not None:
                await calls.put_value(
                    self.namespace,
                    key,
                    found.value,
                    expires_s=value or None,
                    version=found.version,
                )

        self.run(expire)

    # --- results ----------------------------------------------------------------------------

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **how: Any,
    ) -> Any:
        """Store what became of a task; its success is never overwritten."""
        meta = self._get_result_meta(
            result=result, state=state, traceback=traceback, request=request
        )
        meta["task_id"] = bytes_to_str(task_id)
        key, data = self.get_key_for_task(task_id), _bytes(self.encode(meta))
        try:
            # Most tasks have no result yet: then this is all.
            first = self.run(
                lambda calls: calls.put_value(
                    self.namespace, key, data, expires_s=self.expires or None, only_if="absent"
                )
            )
        except ConnectionLost:  # it may have been stored, or not
            first = None
        if first is None and self._get_task_meta_for(task_id)["status"] != states.SUCCESS:
            self.set(key, data)
        return result

    def _apply_chord_incr(self, header_result_args: Any, body: Any, **how: Any) -> None:
        """A chord is about to be sent: each part is told how many there are."""
        group_id, results = header_result_args
        parts = list(results)
        super()._apply_chord_incr((group_id, parts), body, **how)
        # Celery looks for it here, and otherwise has every part read all of the group.
        body["chord_size"] = len(parts)

    def on_chord_part_return(self, request: Any, state: str, result: Any, **how: Any) -> None:
        """A task of a chord's header has ended."""
        if request.group:
            Chord(self, request, self.get_key_for_chord(request.group)).returned()

    # --- as Celery shows and copies it ------------------------------------------------------

    def as_uri(self, include_password: bool = False) -> str:
        """The backend's URL, without its key unless that is asked for."""
        return str(Connection(self.url or "taskqueue://").as_uri(include_password))

    def __reduce__(self, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = {**(kwargs or {}), "expires": self.expires, "url": self.url}
        return super().__reduce__(args, kwargs)


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)
