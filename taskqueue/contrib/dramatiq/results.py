"""
Results of dramatiq's actors, as values of the broker.
"""

from __future__ import annotations

from typing import Any, Unpack

from dramatiq.encoder import Encoder
from dramatiq.results.backend import DEFAULT_TIMEOUT, Missing, ResultBackend
from dramatiq.results.errors import ResultMissing, ResultTimeout

from taskqueue.client.addresses import DEFAULT_ADDRESS
from taskqueue.client.options import ClientOptions
from taskqueue.contrib.connecting import Connecting
from taskqueue.contrib.dramatiq.errors import as_theirs
from taskqueue.contrib.naming import queue_name


class TaskqueueResultBackend(ResultBackend):
    """
    Keeps results at the broker, each for as long as dramatiq says.

    Who waits for one is told of it as soon as it is there, and asks for it once.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        namespace: str = "dramatiq-results",
        encoder: Encoder | None = None,
        use_namespace_prefix_keys: bool = False,
        connecting: Connecting | None = None,
        **how: Unpack[ClientOptions],
    ) -> None:
        """
        @param address: of the broker, as L{TaskqueueBroker} takes it.
        @param namespace: of the values.
        @param encoder: of results; C{None}: dramatiq's.
        @param use_namespace_prefix_keys: keys for people, instead of digests.
        @param connecting: a L{TaskqueueBroker}'s, to share its connection; the address and
            C{how} say nothing then.
        @param how: C{name}, C{timeout_s}, C{tls}, C{api_key}; see L{ClientSettings}.
        @raises BadRequest: the address or the namespace is none, or a file of TLS or of the key
            cannot be used.
        """
        super().__init__(
            namespace=queue_name(namespace, "the namespace of results"),
            encoder=encoder,
            use_namespace_prefix_keys=use_namespace_prefix_keys,
        )
        how.setdefault("name", "dramatiq")
        self._connecting = connecting or Connecting(address, **how)

    def close(self) -> None:
        """Disconnect; the next call connects again."""
        self._connecting.close()

    def get_result(self, message: Any, *, block: bool = False, timeout: int | None = None) -> Any:
        """
        The result of a message.

        @param block: whether to wait for it.
        @param timeout: how long, milliseconds; C{None}: 10 seconds.
        @raises ResultMissing: it is not there, and nobody waits for it.
        @raises ResultTimeout: it did not come in time.
        @raises ResultFailure: the actor failed.
        """
        key = self.build_message_key(message)
        if not block:
            result = self._get(key)
            if result is Missing:
                raise ResultMissing(message)
            return self.unwrap_result(result)
        wait_s = (DEFAULT_TIMEOUT if timeout is None else timeout) / 1000
        with as_theirs():
            value = self._connecting.wait_value(self.namespace, key, wait_s)
        if value is None:
            raise ResultTimeout(message)
        return self.unwrap_result(self.encoder.decode(value.value))

    def _get(self, message_key: str) -> Any:
        with as_theirs():
            value = self._connecting.run(lambda calls: calls.get_value(self.namespace, message_key))
        return Missing if value is None else self.encoder.decode(value.value)

    def _store(self, message_key: str, result: Any, ttl: int) -> None:
        data = self.encoder.encode(result)
        with as_theirs():
            self._connecting.run(
                lambda calls: calls.put_value(
                    self.namespace, message_key, data, expires_s=ttl / 1000
                )
            )
