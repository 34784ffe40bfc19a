"""
Looking at tasks that wait, for people who ask huey for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from taskqueue.client.all_calls import AllCalls
from taskqueue.client.messages import Search
from taskqueue.contrib.connecting import Connecting
from taskqueue.core.task import State
from taskqueue.errors import UnknownTask

#: So many payloads are asked for at a time.
_AT_A_TIME = 100


def waiting_in(connecting: Connecting, queue: str, state: State) -> list[dict[str, Any]]:
    """Tasks of a queue in one state, in the order in which they were submitted."""
    search = Search(states=[state.word], queue=queue, order="oldest", limit=1000)

    async def all_pages(calls: AllCalls) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page = await calls.list_tasks(search)
        found += page.tasks
        while page.next is not None:
            page = await calls.list_tasks(search.from_place(page.next))
            found += page.tasks
        return found

    return connecting.run(all_pages)


def payloads_of(connecting: Connecting, tasks: Sequence[dict[str, Any]]) -> list[bytes]:
    """What tasks were submitted with; those that are forgotten meanwhile are left out."""

    async def all_payloads(calls: AllCalls) -> list[bytes]:
        found: list[bytes | BaseException] = []
        for first in range(0, len(tasks), _AT_A_TIME):
            some = [calls.payload(task["id"]) for task in tasks[first : first + _AT_A_TIME]]
            found += await asyncio.gather(*some, return_exceptions=True)
        return [payload for payload in map(_known, found) if payload is not None]

    return connecting.run(all_payloads)


def _known(payload: bytes | BaseException) -> bytes | None:
    if isinstance(payload, bytes):
        return payload
    if isinstance(payload, UnknownTask):
        return None
    raise payload
