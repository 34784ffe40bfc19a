"""
What lives as long as somebody consumes it: temporary queues and their bindings.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from twisted.logger import Logger

from taskqueue.client.all_calls import AllCalls
from taskqueue.errors import TaskQueueError

#: A value is written again this often in its life.
TIMES = 3.0


class Kept(NamedTuple):
    """A value that expires by itself, so long after it was written."""

    namespace: str
    key: str
    value: bytes
    lifetime_s: float


class Keeping:
    """Writes values again before they expire; in the event loop's thread."""

    _log = Logger()

    def __init__(self, calls: AllCalls) -> None:
        self._calls = calls
        self._writing: dict[str, asyncio.Task[None]] = {}

    def keep(self, queue: str, values: list[Kept]) -> None:
        """Keep what there is of a queue, until L{let_go}."""
        self.let_go(queue)
        if values:
            self._writing[queue] = asyncio.get_running_loop().create_task(self._write(values))

    def let_go(self, queue: str) -> None:
        """Let what there is of a queue expire."""
        if (writing := self._writing.pop(queue, None)) is not None:
            writing.cancel()

    async def _write(self, values: list[Kept]) -> None:
        while True:
            for one in values:
                try:
                    await self._calls.put_value(
                        one.namespace, one.key, one.value, expires_s=one.lifetime_s
                    )
                except TaskQueueError as error:
                    self._log.warn("{key} was not kept alive: {error}", key=one.key, error=error)
            await asyncio.sleep(min(one.lifetime_s for one in values) / TIMES)

    async def end(self) -> None:
        """Keep nothing any more."""
        for queue in list(self._writing):
            self.let_go(queue)
