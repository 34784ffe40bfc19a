"""
Calls on periodic tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

from taskqueue.client.answers import only, per_item
from taskqueue.client.calls import given
from taskqueue.client.codecs import Codec, codec_of, encoded
from taskqueue.client.handles import TaskHandle
from taskqueue.client.messages import Duration, in_full
from taskqueue.client.operators import Json, OperatorCalls
from taskqueue.wire import MessageType


class PeriodicOptions(TypedDict, total=False):
    """When a periodic task is due, and how its tasks are to be treated; see the protocol."""

    cron: str | None
    tz: str
    every_s: float | None
    every: Duration
    catch_up: str
    catch_up_window_s: float
    catch_up_window: Duration
    overlap: bool
    queue: str
    priority: int
    expires_in_s: float | None
    expires_in: Duration
    max_retries: int | None
    max_lost: int | None
    lease_s: float | None
    lease: Duration
    retry_delay_s: float | None
    retry_delay: Duration
    retry_max_delay_s: float | None
    retry_max_delay: Duration
    retry_jitter: float | None
    headers: Mapping[str, str] | None


class PeriodicCalls(OperatorCalls):
    """Calls on tasks that the broker submits again and again."""

    async def put_periodic(
        self,
        name: str,
        type: str,
        payload: Any = None,
        *,
        codec: str | Codec | None = None,
        **options: Unpack[PeriodicOptions],
    ) -> Json:
        """
        Have a task submitted again and again, or change the one of this name; one
        that is the same already keeps its next tick.

        @param type: the name of the handler that can run it.
        @param payload: bytes, or a value for the codec; C{None} is nothing.
        @param options: C{cron} or C{every_s}, and others.
        @return: C{"name"}, C{"paused"} and C{"next_at"}.
        @raises BadRequest: what is wrong with it.
        """
        writer = self._codec if codec is None else codec_of(codec)
        item = in_full(options) | {"name": name, "type": type}
        item["payload"] = b"" if payload is None else encoded(payload, writer)
        header = {"periodics": [given(**item)]}
        answer = await self._ask(MessageType.PUT_PERIODIC, header, repeatable=True)
        put: Json = only(per_item(answer, "periodics", dict))
        return put

    async def periodics(self) -> list[Json]:
        """Every periodic task, by name: what it is, and when it is due."""
        return await self._list_all(MessageType.LIST_PERIODIC, "periodics")

    async def delete_periodic(self, name: str) -> None:
        """
        Submit a periodic task no more; what was submitted stays.

        @raises UnknownPeriodic: there is none with this name.
        """
        await self._ask(MessageType.DELETE_PERIODIC, {"name": name})

    async def pause_periodic(self, name: str, paused: bool = True) -> float | None:
        """
        Let a periodic task rest, or with C{paused=False} go on.

        @return: its next tick, seconds since the epoch; C{None} while it rests.
        @raises UnknownPeriodic: there is none with this name.
        """
        header = {"name": name, "paused": paused}
        answer = await self._ask(MessageType.PAUSE_PERIODIC, header, repeatable=True)
        next_at: float | None = answer["next_at"]
        return next_at

    async def trigger_periodic(self, name: str) -> TaskHandle:
        """
        Submit a periodic task's task now; its ticks stay as they are.

        @raises UnknownPeriodic: there is none with this name.
        @raises Conflict: it must not overlap, and the task before has not ended.
        """
        answer = await self._ask(MessageType.TRIGGER_PERIODIC, {"name": name})
        return TaskHandle(answer["task"], self._face, self._codec)
