"""
What taskiq is to send later, or again and again.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from taskiq import ScheduledTask, ScheduleSource
from taskiq.kicker import AsyncKicker

from taskqueue.contrib.naming import queue_name
from taskqueue.contrib.taskiq.broker import TaskqueueBroker, sending
from taskqueue.errors import BadRequest
from taskqueue.ids import new_task_id

#: In what is kept of a schedule: the task that waits at the broker, or the whole schedule.
_TASK, _SCHEDULE = "task", "schedule"


class TaskqueueScheduleSource(ScheduleSource):
    """
    Keeps schedules at the broker.

    What is to be sent at one moment waits at the broker as a task, and needs no C{taskiq
    scheduler} process; what is sent again and again is kept as a value, for that process.
    """

    def __init__(self, broker: TaskqueueBroker, *, namespace: str = "taskiq-schedules") -> None:
        """
        @param broker: whose connection is used, and where tasks are sent.
        @param namespace: of the values.
        @raises BadRequest: there can be no such namespace, or C{broker} is none of ours.
        """
        if not isinstance(broker, TaskqueueBroker):
            raise BadRequest(f"the broker is {broker!r}, expected a TaskqueueBroker")
        self._broker = broker
        self.namespace = queue_name(namespace, "the namespace of schedules")

    async def get_schedules(self) -> list[ScheduledTask]:
        """What is to be sent again and again."""
        return [
            ScheduledTask.model_validate(kept[_SCHEDULE])
            async for kept in self._kept()
            if _SCHEDULE in kept
        ]

    async def _kept(self) -> AsyncIterator[dict[str, Any]]:
        after: str | None = None
        client = self._broker.connecting.client
        while page := await client.list_values(self.namespace, after=after):
            for key, value in page:
                after = key
                yield json.loads(value.value)

    async def add_schedule(self, schedule: ScheduledTask) -> None:
        """Keep a schedule, in the place of one with the same id."""
        await self.delete_schedule(schedule.schedule_id)
        if schedule.time is not None and schedule.cron is None and schedule.interval is None:
            await self._send_at(_moment(schedule.time), schedule)
        else:
            kept = {_SCHEDULE: schedule.model_dump(mode="json")}
            await self._keep(schedule.schedule_id, kept, None)

    async def _send_at(self, run_at: float, schedule: ScheduledTask) -> None:
        task_id = new_task_id()
        # First, so that whatever waits can be cancelled.
        left_s = max(1.0, run_at - time.time())
        await self._keep(schedule.schedule_id, {_TASK: task_id}, left_s)
        kicker: AsyncKicker[Any, Any] = AsyncKicker(
            schedule.task_name, self._broker, dict(schedule.labels)
        )
        kicker.with_task_id(schedule.task_id).with_labels(schedule_id=schedule.schedule_id)
        with sending(id=task_id, run_at=run_at, run_in_s=None):
            await kicker.kiq(*schedule.args, **schedule.kwargs)

    async def _keep(self, key: str, kept: dict[str, Any], expires_s: float | None) -> None:
        client = self._broker.connecting.client
        value = json.dumps(kept).encode()
        await client.put_value(self.namespace, key, value, expires_s=expires_s)

    async def delete_schedule(self, schedule_id: str) -> None:
        """Forget a schedule; what waits at the broker for its moment is cancelled."""
        client = self._broker.connecting.client
        value = await client.take_value(self.namespace, schedule_id)
        if value is not None and (task := json.loads(value.value).get(_TASK)):
            await client.cancel([task])


def _moment(moment: datetime) -> float:
    """Seconds since the epoch; without a time zone it is UTC, as taskiq has it."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
