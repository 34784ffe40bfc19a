"""
What a channel of kombu's declares: exchanges, queues, and what binds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport.base import to_rabbitmq_queue_arguments
from kombu.transport.virtual.base import NotEquivalentError, queue_declare_ok_t
from kombu.utils.uuid import uuid

from taskqueue.contrib.kombu.link import Link
from taskqueue.contrib.kombu.topology import Binding, Queue, Topology
from taskqueue.errors import Forbidden


class Declaring:
    """The part of a channel that declares."""

    connection: Any
    exchange_types: dict[str, Any]
    _active_queues: list[str]
    _link: Link
    _topology: Topology

    def begin_declaring(self) -> None:
        """Nothing is declared on this channel yet."""
        self._declared: dict[str, Queue] = {}
        self._bound: dict[str, list[Binding]] = {}
        self._consumer = uuid()

    # --- exchanges --------------------------------------------------------------------------

    def exchange_declare(
        self,
        exchange: str | None = None,
        type: str = "direct",
        durable: bool = False,
        auto_delete: bool = False,
        arguments: Mapping[str, Any] | None = None,
        nowait: bool = False,
        passive: bool = False,
    ) -> None:
        """
        Declare an exchange.

        @raises ChannelError: there is none, and none is to be made; or it is of a type that
            there is not.
        @raises NotEquivalentError: there is another one of this name.
        """
        type = type or "direct"
        exchange = exchange or f"amq.{type}"
        if passive:
            if self._topology.exchange(exchange) is None:
                raise self._not_found("exchange", exchange, "Channel.exchange_declare")
            return
        self._known_type(type)
        wanted = {
            "type": type,
            "durable": durable,
            "auto_delete": auto_delete,
            "arguments": dict(arguments or {}),
        }
        found = self._topology.declare_exchange(exchange, wanted)
        if found["type"] != type:
            raise NotEquivalentError(
                f"exchange {exchange!r} is a {found['type']} exchange already, and cannot be"
                f" declared again as {type}: delete it first"
            )

    def _known_type(self, type: str) -> None:
        if type not in self.exchange_types:
            raise ChannelError(
                f"exchanges of type {type!r} are not supported; there are "
                f"{', '.join(sorted(self.exchange_types))}",
                (60, 40),
                "Channel.exchange_declare",
                "540",
            )

    def exchange_delete(
        self, exchange: str, if_unused: bool = False, nowait: bool = False, **_: Any
    ) -> None:
        """Forget an exchange and its bindings."""
        if if_unused and self._topology.bindings(exchange)[1]:
            return
        self._topology.delete_exchange(exchange)

    def typeof(self, exchange: str, default: str = "direct") -> Any:
        """What kind of exchange this is."""
        declared = self._topology.exchange(exchange) if exchange else None
        return self.exchange_types[(declared or {}).get("type") or default]

    def get_exchanges(self) -> list[str]:
        """The exchanges that something is bound to."""
        return sorted({binding.exchange for binding in self._topology.all_bindings()})

    def get_table(self, exchange: str) -> list[tuple[str, Any, str]]:
        """What is bound to an exchange."""
        declared, bindings = self._topology.bindings(exchange)
        kind = self.exchange_types[(declared or {}).get("type") or "direct"]
        return [
            kind.prepare_bind(one.queue.name, exchange, one.routing_key, None) for one in bindings
        ]

    def list_bindings(self) -> list[tuple[str, str, str]]:
        """Every binding: queue, exchange, routing key."""
        return [
            (one.queue.name, one.exchange, one.routing_key) for one in self._topology.all_bindings()
        ]

    # --- queues -----------------------------------------------------------------------------

    def prepare_queue_arguments(self, arguments: Any, **how: Any) -> Any:
        """Expiry and the life of messages, as RabbitMQ calls them."""
        return to_rabbitmq_queue_arguments(arguments, **how)

    def queue_declare(
        self,
        queue: str | None = None,
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Mapping[str, Any] | None = None,
        nowait: bool = False,
        **_: Any,
    ) -> Any:
        """
        Declare a queue.

        @return: its name, how many messages are in it, and 0.  Who may not read it is told of
            none: whoever publishes declares first, and asks no such thing.
        @raises ChannelError: there is none, and none is to be made.
        """
        name = queue or f"amq.gen-{uuid()}"
        if passive:
            if not self._has_queue(name):
                raise self._not_found("queue", name, "Channel.queue_declare")
        else:
            declared = Queue.declared(
                name, dict(arguments or {}), auto_delete=auto_delete, exclusive=exclusive
            )
            self._topology.declare_queue(declared)
            self._declared[name] = declared
        size = 0
        with suppress(Forbidden):
            size = self._size(name)
        return queue_declare_ok_t(name, size, 0)

    def _not_found(self, what: str, name: str, method: str) -> ChannelError:
        host = self.connection.client.virtual_host or "/"
        text = f"NOT_FOUND - no {what} {name!r} in vhost {host!r}"
        return ChannelError(text, (50, 10), method, "404")

    def _has_queue(self, queue: str, **_: Any) -> bool:
        return self._topology.queue(queue) is not None or self._size(queue) > 0

    def _new_queue(self, queue: str, **how: Any) -> None:
        self.queue_declare(queue, **how)

    def queue_bind(
        self,
        queue: str,
        exchange: str | None = None,
        routing_key: str = "",
        arguments: Any = None,
        **_: Any,
    ) -> None:
        """Let what is published to an exchange get into a queue."""
        exchange = exchange or "amq.direct"
        binding = Binding(exchange, routing_key or "", self._topology.known(queue))
        bound = self._bound.setdefault(queue, [])
        if binding not in bound:
            bound.append(binding)
        self._topology.bind(binding)
        if queue in self._active_queues:
            self._keep(queue)

    def queue_unbind(
        self,
        queue: str,
        exchange: str | None = None,
        routing_key: str = "",
        arguments: Any = None,
        **_: Any,
    ) -> None:
        """Let it get there no more."""
        exchange = exchange or "amq.direct"
        self._bound[queue] = [
            one
            for one in self._bound.get(queue, ())
            if (one.exchange, one.routing_key) != (exchange, routing_key or "")
        ]
        self._topology.unbind(exchange, routing_key or "", queue)
        if queue in self._active_queues:
            self._keep(queue)

    def queue_delete(
        self, queue: str, if_unused: bool = False, if_empty: bool = False, **_: Any
    ) -> None:
        """Forget a queue, what leads to it and what waits in it."""
        if (if_empty and self._size(queue)) or (if_unused and queue in self._active_queues):
            return
        self._keep_no_more(queue)
        declared = self._declared.pop(queue, None)
        bound = self._bound.pop(queue, None)
        # What is temporary was bound by who has it.
        alone = declared is not None and not declared.lasting
        self._topology.delete_queue(queue, bound or [] if alone else None)
        self._purge(queue)

    def _keep(self, queue: str) -> None:
        """Keep a temporary queue as long as it is consumed here."""
        declared = self._declared.get(queue)
        if declared is None or declared.lasting:
            return
        kept = [
            self._topology.kept_queue(declared),
            self._topology.kept_consumer(declared, self._consumer),
        ]
        kept += [self._topology.kept_binding(binding) for binding in self._bound.get(queue, ())]
        feed = self.connection.feed
        feed.loop.soon(feed.keeping.keep, queue, kept)

    def _keep_no_more(self, queue: str) -> None:
        feed = self.connection.feed_there_is
        if feed is not None:
            feed.loop.soon(feed.keeping.let_go, queue)

    def _let_go(self, queue: str) -> None:
        """It is not consumed here any more."""
        declared = self._declared.get(queue)
        if declared is None or declared.lasting:
            return
        self._keep_no_more(queue)
        # It goes with its last consumer, wherever that is.
        alone = not self._topology.consumed_elsewhere(declared, self._consumer)
        if declared.temporary and alone:
            self._delete_temporary(queue)

    def after_reply_message_received(self, queue: str) -> None:
        """A queue for one reply has served."""
        self._delete_temporary(queue)

    def _delete_temporary(self, queue: str) -> None:
        with suppress(Forbidden):  # what is left in it expires by itself
            self.queue_delete(queue)

    def _size(self, queue: str) -> int:
        return int(self._link.depth(self._topology.address(queue)))

    def _purge(self, queue: str) -> int:
        return int(self._link.purge_all(self._topology.address(queue)))

    def _delete(self, queue: str, *_: Any, **__: Any) -> None:
        self.queue_delete(queue)
