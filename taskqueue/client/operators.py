"""
Calls of those who run the broker.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from taskqueue.client.calls import Calls, given
from taskqueue.client.messages import Purged
from taskqueue.wire import MessageType

Json = dict[str, Any]

#: The longest name of a queue, characters.
_LONGEST_NAME = 200


class Retried(NamedTuple):
    """How many dead letters of a queue run again, and how many it still has."""

    retried: int
    left: int


class OperatorCalls(Calls):
    """Calls of those who run the broker.  What is listed has the protocol's fields."""

    async def ping(self) -> float:
        """The broker's clock: seconds since the epoch."""
        answer = await self._ask(MessageType.PING, {}, repeatable=True)
        time: float = answer["time"]
        return time

    async def stats(self) -> Json:
        """The whole broker in numbers."""
        answer = await self._ask(MessageType.GET_STATS, {}, repeatable=True)
        stats: Json = answer["stats"]
        return stats

    async def queues(self) -> list[Json]:
        """Every queue in numbers."""
        return await self._list_all(MessageType.LIST_QUEUES, "queues")

    async def queue(self, name: str) -> Json | None:
        """One queue in numbers; C{None} where there is none of that name."""
        # A page begins after a name: after this one, nothing can stand before C{name}.
        before = f"{name[:-1]}{chr(ord(name[-1]) - 1)}~"[:_LONGEST_NAME]
        header = {"after": before, "limit": 1}
        answer = await self._ask(MessageType.LIST_QUEUES, header, repeatable=True)
        found: list[Json] = answer["queues"]
        return found[0] if found and found[0]["name"] == name else None

    async def workers(self) -> list[Json]:
        """Every registered worker."""
        return await self._list_all(MessageType.LIST_WORKERS, "workers")

    async def _list_all(self, message_type: MessageType, name: str) -> list[Json]:
        """One page after the other."""
        found: list[Json] = []
        after: str | None = None
        while True:
            answer = await self._ask(message_type, given(after=after), repeatable=True)
            found += answer[name]
            after = answer["next"]
            if after is None:
                return found

    async def pause(self, queue: str, for_s: float | None = None) -> None:
        """
        Hand out no tasks of a queue, for a while or until L{resume}.

        @param for_s: how long.
        """
        header = {"queue": queue} | given(for_s=for_s)
        await self._ask(MessageType.PAUSE_QUEUE, header, repeatable=True)

    async def resume(self, queue: str) -> None:
        """Hand out tasks of a queue again."""
        await self._ask(MessageType.RESUME_QUEUE, {"queue": queue}, repeatable=True)

    async def set_queue(self, queue: str, max_depth: int | None) -> None:
        """Bound how many tasks may wait in a queue; C{None}: no bound of its own."""
        header = {"queue": queue, "max_depth": max_depth}
        await self._ask(MessageType.SET_QUEUE, header, repeatable=True)

    async def purge(self, queue: str, limit: int = 10_000) -> Purged:
        """Cancel what waits in a queue, up to C{limit} tasks."""
        answer = await self._ask(MessageType.PURGE_QUEUE, {"queue": queue, "limit": limit})
        return Purged(answer["cancelled"], answer["left"])

    async def retry_queue(self, queue: str, limit: int = 10_000) -> Retried:
        """
        Let dead letters of a queue run again, up to C{limit} of them: those first that have been
        so longest.
        """
        answer = await self._ask(MessageType.RETRY_QUEUE, {"queue": queue, "limit": limit})
        return Retried(answer["retried"], answer["left"])

    async def backup(self, name: str) -> tuple[str, int]:
        """
        Have the broker copy its store, while it runs.

        @param name: of the file, without a path.
        @return: the file's path at the broker, and its size in bytes.
        """
        answer = await self._ask(MessageType.BACKUP, {"name": name})
        return answer["path"], answer["bytes"]

    async def audit(self) -> Json:
        """
        Have the broker compare its books, its leases and its store with the tasks.

        @return: what was found; without a difference, C{found} is 0.
        @raises StoreUnavailable: the store fails.
        """
        answer = await self._ask(MessageType.AUDIT, {}, repeatable=True)
        return {name: value for name, value in answer.items() if name != "id"}

    async def order_worker(self, worker: str, order: str) -> None:
        """
        Tell a worker, at its next heartbeat, to stop.

        @param order: C{"quiet"}: claim no more; C{"terminate"}: finish and end.
        @raises UnknownWorker: it is not registered.
        """
        header = {"worker": worker, "order": order}
        await self._ask(MessageType.ORDER_WORKER, header, repeatable=True)
