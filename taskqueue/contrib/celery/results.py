"""
Waiting for results: by one question to the broker that is answered when one of them is there.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from celery import states
from celery.backends.asynchronous import BaseResultConsumer

from taskqueue.client.all_calls import AllCalls
from taskqueue.client.values import MOST_KEYS, Value
from taskqueue.contrib.kombu.transport import PASSING_ERRORS
from taskqueue.errors import AnswerTimedOut, CannotConnect, ConnectionLost

#: How long one question waits where nobody says it, seconds.
WAIT_S = 1.0

#: What is no reason to stop waiting.
PASSING = (AnswerTimedOut, CannotConnect, ConnectionLost, *PASSING_ERRORS)


class ResultConsumer(BaseResultConsumer):
    """What results are waited for, and which versions of them are known."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._known: dict[str, int] = {}
        self._until: float | None = None

    def start(self, initial_task_id: str, **_: Any) -> None:
        """Wait for a first one."""
        self.consume_from(initial_task_id)

    def on_after_fork(self) -> None:
        """Nothing is waited for in a process that was just forked."""
        self._known = {}

    def consume_from(self, task_id: str) -> None:
        """Wait for this one too."""
        self._known.setdefault(self.backend.get_key_for_task(task_id), 0)

    def cancel_for(self, task_id: str) -> None:
        """Wait for it no more."""
        self._known.pop(self.backend.get_key_for_task(task_id), None)

    def on_wait_for_pending(self, result: Any, timeout: float | None = None, **_: Any) -> None:
        """Look what is there already, so that a time-out of 0 finds it."""
        # Celery asks again every second, and looks at the time only then.
        self._until = None if timeout is None else time.monotonic() + timeout
        results = getattr(result, "results", None)
        ids = [result.id] if results is None else [one.id for one in results]
        keys = [self.backend.get_key_for_task(task_id) for task_id in ids]
        for data in self.backend.mget(keys):
            if data:
                self._heard(data)

    def drain_events(self, timeout: float | None = None) -> None:
        """
        Wait until there is something new about one of them.

        @raises socket.timeout: there was not, in time.
        @raises TaskQueueError: there never will be: the key may not read them, for one.
        """
        wait_s = WAIT_S if timeout is None else timeout
        if self._until is not None:
            wait_s = max(0.0, min(wait_s, self._until - time.monotonic()))
        known = dict(self._known)
        if not known:
            time.sleep(wait_s)
            return
        try:
            found = self.backend.clients.wait(lambda calls: self._wait(calls, known, wait_s))
        except PASSING as error:
            # Celery takes this as a connection that comes back.
            raise OSError(str(error)) from error
        if not found:
            raise TimeoutError("no result came in time")
        for key, value in found.items():
            if key in self._known:
                self._known[key] = value.version
            self._heard(value.value)

    async def _wait(
        self, calls: AllCalls, known: dict[str, int], wait_s: float
    ) -> dict[str, Value]:
        """Ask with as many questions as it takes; the first that is answered will do."""
        keys = list(known)
        waits = [
            asyncio.ensure_future(
                calls.wait_values(
                    self.backend.namespace,
                    {key: known[key] for key in keys[start : start + MOST_KEYS]},
                    wait_s,
                )
            )
            for start in range(0, len(keys), MOST_KEYS)
        ]
        done, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in left:
            one.cancel()
        return {key: value for one in done for key, value in one.result().items()}

    def _heard(self, data: bytes) -> None:
        meta = self.backend.decode_result(data)
        self.on_state_change(meta, None)
        if meta["status"] in states.READY_STATES:
            self.cancel_for(meta["task_id"])
